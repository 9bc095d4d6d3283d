package dledger

import (
	"time"

	pb "github.com/lni/dragonboat/v4/raftpb"
)

// SaveRaftState makes the updates of one step worker's shards durable as their topics ask. Order: commits that
// need nothing new are applied first, so that they do not wait for a disk; then bytes go to the
// segments, records to the journal, and one sync covers all; then what has become committed by it.
func (d *logDB) SaveRaftState(updates []pb.Update, worker uint64) error {
	st := &d.steps[worker%uint64(len(d.steps))]
	st.saves, st.meta = st.saves[:0], st.meta[:0]
	d.stalls.begin(worker)
	err := d.save(updates, st, worker)
	d.stalls.end(worker)
	if err != nil {
		// Returning would let dragonboat acknowledge what is not there; its own way is to panic. The process ends; whatever
		// has failed, the other shards save nothing more either.
		if d.journal == nil {
			d.fatal(err)
			return err
		}
		_ = d.journal.fail(err)
	}
	return nil
}

func (d *logDB) save(updates []pb.Update, st *stepState, worker uint64) error {
	if d.journal == nil { // no partitions are open
		return d.saveMetadata(updates, worker)
	}
	if err := d.journal.failed(); err != nil {
		return err // nothing more is saved or acknowledged
	}
	began := time.Now()
	durable := false
	for i := range updates {
		s, err := d.shard(updates[i].ShardID, updates[i].ReplicaID)
		if err != nil {
			return err
		}
		if s == nil {
			st.meta = append(st.meta, updates[i])
			continue
		}
		s.worker.Store(worker)
		if s.condemned() {
			continue // nothing of it will be said
		}
		sv, err := d.prepare(s, &updates[i])
		if damaged(err) && s.condemn(err) {
			continue
		}
		if err != nil {
			return err
		}
		if sv != nil {
			st.saves = append(st.saves, sv)
			durable = durable || sv.durable
		}
	}
	if len(st.meta) > 0 {
		if err := d.saveMetadata(st.meta, worker); err != nil {
			return err
		}
	}
	if len(st.saves) > 0 {
		if st.request.ready == nil {
			st.request.ready = make(chan struct{}, 1)
		}
		st.request.saves, st.request.durable, st.request.err = st.saves, durable, nil
		if err := d.journal.commit(&st.request); err != nil {
			return err
		}
		d.metrics.save.Observe(time.Since(began).Seconds())
	}
	return finish(st.saves)
}

// saveMetadata saves updates of the metadata group, and marks how far its log is.
func (d *logDB) saveMetadata(updates []pb.Update, worker uint64) error {
	return d.mark.save(updates, func() error {
		return d.meta.SaveRaftState(updates, worker) //nolint:wrapcheck // dragonboat's own error
	})
}

// finish tells the shards what has become durable and committed.
func finish(saves []*shardSave) error {
	for _, sv := range saves {
		if n := len(sv.record.entries); n > 0 {
			sv.shard.markSaved(sv.record.entries[n-1].index)
		}
		if h := sv.record.hard; h != nil {
			if err := sv.shard.commitTo(h.Commit); err != nil {
				return err
			}
		}
	}
	return nil
}

// prepare appends an update's entries to the segments and describes what the journal must say of them. It returns
// nil if nothing must be saved.
func (d *logDB) prepare(s *shardLog, ud *pb.Update) (*shardSave, error) {
	if ud.LeaderUpdate.Term > 0 {
		s.noteLeader(Term(ud.LeaderUpdate.Term), ReplicaID(ud.LeaderUpdate.LeaderID))
	}
	sv := &shardSave{shard: s, record: shardRecord{key: s.key}}
	if !pb.IsEmptyState(ud.State) {
		h := hardState{Term(ud.Term), ReplicaID(ud.Vote), Index(ud.Commit)}
		// What is already saved and stays need not wait. Entries that this update replaces are not what is
		// committed, even if their indexes are.
		known := h.Commit
		if len(ud.EntriesToSave) > 0 {
			known = min(known, Index(ud.EntriesToSave[0].Index)-1)
		}
		if err := s.commitTo(known); err != nil {
			return nil, err
		}
		// A vote or a term is always synced, with everything before it.
		sv.durable = s.setHard(h)
		sv.record.hard = &h
	}
	if len(ud.EntriesToSave) > 0 {
		if err := d.saveEntries(s, sv, ud.EntriesToSave); err != nil {
			return nil, err
		}
	} else if !sv.durable {
		// Only the commit index has moved. It is written with the next record: losing it loses nothing.
		return nil, nil //nolint:nilnil // nothing to save
	}
	if sv.record.hard == nil {
		h := s.hardNow()
		sv.record.hard = &h
	}
	sv.record.hard.Commit = min(sv.record.hard.Commit, s.lastIndex())
	sv.end = s.logEnd()
	return sv, nil
}

func (d *logDB) saveEntries(s *shardLog, sv *shardSave, ents []pb.Entry) error {
	if first := Index(ents[0].Index); first <= s.lastIndex() {
		if err := d.removeSuffix(s, first); err != nil {
			return err
		}
	}
	recs, run, err := s.appendEntries(ents)
	if err != nil {
		return err
	}
	sv.record.entries, sv.data = recs, run
	sv.durable = sv.durable || s.isDurable()
	for i := range recs {
		sv.durable = sv.durable || recs[i].kind == kindConfig
	}
	s.notifyAppended(recs)
	return nil
}

// removeSuffix drops conflicting entries: first in the journal, durably, then in the files.
func (d *logDB) removeSuffix(s *shardLog, from Index) error {
	r := saveRequest{durable: true, ready: make(chan struct{}, 1), saves: []*shardSave{{
		shard: s, durable: true, record: shardRecord{key: s.key, truncate: from},
	}}}
	if err := d.journal.commit(&r); err != nil {
		return err
	}
	if err := s.truncate(from); err != nil {
		return err
	}
	d.journal.truncated(s.key)
	return nil
}

func (s *shardLog) lastIndex() Index {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.last
}

func (s *shardLog) hardNow() hardState {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.hard
}

// setHard remembers the hard state and reports whether its term or vote is new.
func (s *shardLog) setHard(h hardState) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	changed := !s.hasHard || h.Term != s.hard.Term || h.Vote != s.hard.Vote
	s.hard, s.hasHard = h, true
	return changed
}

func (s *shardLog) noteLeader(t Term, r ReplicaID) {
	s.mu.RLock()
	o := s.observer
	s.mu.RUnlock()
	if o != nil {
		o.leader(t, r)
	}
}

func (s *shardLog) notifyAppended(recs []entryRecord) {
	s.mu.RLock()
	o := s.observer
	s.mu.RUnlock()
	if o != nil {
		o.appended(recs)
	}
}
