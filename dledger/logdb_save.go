package dledger

import (
	"time"

	pb "github.com/lni/dragonboat/v4/raftpb"

	"github.com/stelemq/stele/dledger/journal"
	"github.com/stelemq/stele/dledger/raftfile"
)

// SaveRaftState makes the updates of one step worker's shards durable as their topics ask. Order: commits that
// need nothing new are applied first, so that they do not wait for a disk; then bytes go to the
// segments, records to the journal, and one sync covers all; then what has become committed by it.
func (d *logDB) SaveRaftState(updates []pb.Update, worker uint64) error {
	st := &d.steps[worker%uint64(len(d.steps))]
	st.saves, st.shards, st.meta = st.saves[:0], st.shards[:0], st.meta[:0]
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
		_ = d.journal.Fail(err)
	}
	return nil
}

func (d *logDB) save(updates []pb.Update, st *stepState, worker uint64) error {
	if d.journal == nil { // no partitions are open
		return d.saveMetadata(updates, worker)
	}
	if err := d.journal.Failed(); err != nil {
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
			st.saves, st.shards = append(st.saves, sv), append(st.shards, s)
			durable = durable || sv.Durable
		}
	}
	if len(st.meta) > 0 {
		if err := d.saveMetadata(st.meta, worker); err != nil {
			return err
		}
	}
	if len(st.saves) > 0 {
		st.request.Saves, st.request.Durable = st.saves, durable
		if err := d.journal.Commit(&st.request); err != nil {
			return err
		}
		d.metrics.save.Observe(time.Since(began).Seconds())
	}
	return finish(st.saves, st.shards)
}

// saveMetadata saves updates of the metadata group, and marks how far its log is.
func (d *logDB) saveMetadata(updates []pb.Update, worker uint64) error {
	return d.mark.save(updates, func() error {
		return d.meta.SaveRaftState(updates, worker) //nolint:wrapcheck // dragonboat's own error
	})
}

// finish tells the shards what has become durable and committed.
func finish(saves []*journal.Save, shards []*shardLog) error {
	for i, sv := range saves {
		if n := len(sv.Record.Entries); n > 0 {
			shards[i].markSaved(sv.Record.Entries[n-1].Index)
		}
		if h := sv.Record.Hard; h != nil {
			if err := shards[i].commitTo(h.Commit); err != nil {
				return err
			}
		}
	}
	return nil
}

// prepare appends an update's entries to the segments and describes what the journal must say of them. It returns
// nil if nothing must be saved.
func (d *logDB) prepare(s *shardLog, ud *pb.Update) (*journal.Save, error) {
	if ud.LeaderUpdate.Term > 0 {
		s.noteLeader(Term(ud.LeaderUpdate.Term), ReplicaID(ud.LeaderUpdate.LeaderID))
	}
	sv := &journal.Save{Shard: s, Record: journal.Record{Key: s.key}}
	if !pb.IsEmptyState(ud.State) {
		h := journal.HardState{Term: Term(ud.Term), Vote: ReplicaID(ud.Vote), Commit: Index(ud.Commit)}
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
		sv.Durable = s.setHard(h)
		sv.Record.Hard = &h
	}
	if len(ud.EntriesToSave) > 0 {
		if err := d.saveEntries(s, sv, ud.EntriesToSave); err != nil {
			return nil, err
		}
	} else if !sv.Durable {
		// Only the commit index has moved. It is written with the next record: losing it loses nothing.
		return nil, nil //nolint:nilnil // nothing to save
	}
	if sv.Record.Hard != nil {
		s.lender.forgetBefore(sv.Record.Hard.Term) // what Raft had of earlier terms has been appended above
	}
	if sv.Record.Hard == nil {
		h := s.hardNow()
		sv.Record.Hard = &h
	}
	sv.Record.Hard.Commit = min(sv.Record.Hard.Commit, s.lastIndex())
	sv.End = s.logEnd()
	return sv, nil
}

func (d *logDB) saveEntries(s *shardLog, sv *journal.Save, ents []pb.Entry) error {
	if first := Index(ents[0].Index); first <= s.lastIndex() {
		if err := d.removeSuffix(s, first); err != nil {
			return err
		}
	}
	recs, run, err := s.appendEntries(ents)
	if err != nil {
		return err
	}
	sv.Record.Entries, sv.Data = recs, run
	sv.Durable = sv.Durable || s.isDurable()
	for i := range recs {
		sv.Durable = sv.Durable || recs[i].Kind == raftfile.KindConfig
	}
	s.notifyAppended(recs)
	return nil
}

// removeSuffix drops conflicting entries: first in the journal, durably, then in the files.
func (d *logDB) removeSuffix(s *shardLog, from Index) error {
	r := journal.Request{Durable: true, Saves: []*journal.Save{{
		Shard: s, Durable: true, Record: journal.Record{Key: s.key, Truncate: from},
	}}}
	if err := d.journal.Commit(&r); err != nil {
		return err
	}
	if err := s.truncate(from); err != nil {
		return err
	}
	d.journal.Truncated(s.key)
	return nil
}

func (s *shardLog) lastIndex() Index {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.last
}

func (s *shardLog) hardNow() journal.HardState {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.hard
}

// setHard remembers the hard state and reports whether its term or vote is new.
func (s *shardLog) setHard(h journal.HardState) bool {
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

func (s *shardLog) notifyAppended(recs []raftfile.Entry) {
	s.mu.RLock()
	o := s.observer
	s.mu.RUnlock()
	if o != nil {
		o.appended(recs)
	}
}
