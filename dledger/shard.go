package dledger

import (
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	pb "github.com/lni/dragonboat/v4/raftpb"

	"github.com/stelemq/stele/commitlog"
	"github.com/stelemq/stele/internal/vfs"
	"github.com/stelemq/stele/protocol/record"
)

const (
	// recordsKept is how many entry records of the reachable log stay in memory; older ones are read from .raft.
	recordsKept = 4096
	// generationShift: a leader epoch is generation<<20 + term.
	generationShift = 20
)

// LeaderEpochOf is the leader epoch of a Raft term in a generation.
func LeaderEpochOf(generation int32, t Term) record.LeaderEpoch {
	return record.LeaderEpoch(generation<<generationShift + int32(t)) //nolint:gosec // terms stay below 2^20
}

// shardObserver hears what happens to a shard's log, on the step worker, in log order.
type shardObserver interface {
	// appended: the records stand in the log (page cache); accepted data and voids alike.
	appended(recs []entryRecord)
	// saved: everything up to index is as durable as the topic asks.
	saved(index Index)
	// committed: recs, contiguous, have been committed and, here, saved.
	committed(recs []entryRecord)
	// damaged: stored bytes cannot be read, or do not check; it reports whether the replica is out of the partition now.
	damaged(err error) bool
	// leader: who leads in a term; replica 0 = nobody.
	leader(term Term, replica ReplicaID)
}

// shardLog is the Raft log of one partition replica: segment files for the bytes, entry records for the rest.
// Its step worker is the only writer.
type shardLog struct {
	key        shardKey
	generation int32
	dir        string
	fs         vfs.FS
	logger     *slog.Logger
	log        *openLog
	bad        atomic.Bool // found damaged: nothing more is saved or said
	// startReason is why the log start was last moved.
	startReason atomic.Pointer[string]
	durability
	worker atomic.Uint64 // the step worker that saves it; 0 = none has yet

	mu sync.RWMutex
	// mu guards:
	recs     []entryRecord // contiguous, the newest; recs[0] follows what only .raft has
	first    Index         // the first index that Raft can reach; snapshot.Index+1 or 1
	last     Index
	lastTerm Term
	hard     hardState
	hasHard  bool
	fence    fence
	snapshot pb.Snapshot
	// saved: entries up to it are durable as the topic asks. Invariant: checkpointed <= journaled <= last.
	savedIndex   Index
	journaled    Index
	checkpointed Index
	committedTo  Index
	state        replicaState // after committedTo
	foldedTo     Index
	folded       replicaState // after foldedTo, which follows the checkpoints
	stubUntil    Index        // entries up to it were committed before the start
	observer     shardObserver
	flushEvery   int64 // flush.messages; 1 = durable
	gone         bool

	ckptMu    sync.Mutex // held by a checkpoint and by a truncation
	file      replicaFile
	candidate replicaFile // what replica.json will say after the next roll
	writer    *raftWriter
	loaded    loadedRecords
}

func (s *shardLog) setJournaled(i Index) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.journaled = max(s.journaled, i)
}

func (s *shardLog) isDurable() bool {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.flushEvery <= 1
}

// logEnd is the end of the stored bytes as a sync point. Only the shard's worker may rely on it not moving.
func (s *shardLog) logEnd() syncPoint {
	e := s.log.End()
	return syncPoint{segment: e.Segment, pos: e.Pos}
}

// appendEntries appends what Raft wants saved, after any conflicting suffix has been removed. It returns the
// new records, and in run the stored bytes if they are few enough to ride in the journal.
func (s *shardLog) appendEntries(ents []pb.Entry) (recs []entryRecord, run inlineRun, err error) {
	if want := uint64(s.last) + 1; ents[0].Index != want {
		return nil, run, fmt.Errorf("shard %d: entry %d does not follow %d", s.key.shard, ents[0].Index, s.last)
	}
	recs = make([]entryRecord, len(ents))
	stored := make([]commitlog.Entry, 0, len(ents))
	fence := s.fence
	for i := range ents {
		fence = s.judge(&ents[i], &recs[i], fence)
		if recs[i].kind == kindData {
			stored = append(stored, commitlog.Entry{
				Batches: ents[i].Cmd[1:], Epoch: LeaderEpochOf(s.generation, recs[i].term),
			})
		}
	}
	if err := s.rollSpent(); err != nil {
		return nil, run, fmt.Errorf("append to %s: %w", s.dir, err)
	}
	end := s.log.End()
	if err := s.log.Append(stored); err != nil {
		return nil, run, fmt.Errorf("append to %s: %w", s.dir, err)
	}
	s.place(recs, stored, end)
	if err := s.assignEpochs(recs); err != nil {
		return nil, run, err
	}
	run = s.inlineCandidate(stored)
	s.mu.Lock()
	defer s.mu.Unlock()
	for i := range recs {
		if recs[i].kind == kindNoop {
			s.stubUntil = 0 // whoever leads has applied what it had; from here on it sends entries to followers
		}
	}
	s.recs = append(s.recs, recs...)
	s.last, s.lastTerm, s.fence = recs[len(recs)-1].index, recs[len(recs)-1].term, fence
	return recs, run, nil
}

// judge fills a record from a Raft entry and decides what kind it is.
func (s *shardLog) judge(e *pb.Entry, r *entryRecord, f fence) fence {
	*r = entryRecord{
		index: Index(e.Index), term: Term(e.Term), key: e.Key, client: e.ClientID, series: e.SeriesID,
	}
	switch {
	case e.Type == pb.ConfigChangeEntry:
		r.kind, r.payload = kindConfig, append([]byte(nil), e.Cmd...)
	case len(e.Cmd) == 0:
		r.kind = kindNoop
	default:
		ok, next := f.accepts(r.term, e.ClientID)
		switch {
		case !ok || len(e.Cmd) < 2:
			r.kind = kindVoid
		case e.ClientID&commandBit != 0:
			r.kind, r.payload = kindCommand, append([]byte(nil), e.Cmd[1:]...)
			f = next
		default:
			r.kind = kindData
			f = next
		}
	}
	return f
}

// place gives each record its offsets and its place in the segments.
func (s *shardLog) place(recs []entryRecord, stored []commitlog.Entry, end commitlog.End) {
	n := 0
	for i := range recs {
		r := &recs[i]
		if r.kind != kindData {
			r.segment, r.base, r.next, r.pos = end.Segment, end.Next, end.Next, uint32(end.Pos) //nolint:gosec // segments are below 2 GiB
			continue
		}
		e := &stored[n]
		n++
		r.segment, r.base, r.next = e.Segment, e.Base, e.Next
		r.pos, r.length, r.crc = uint32(e.Pos), uint32(e.Length), e.CRC //nolint:gosec // segments are below 2 GiB
		end = commitlog.End{Segment: e.Segment, Pos: e.Pos + e.Length, Next: e.Next}
	}
}

// assignEpochs tells the log where a new leader's epoch begins, even if it never writes a record.
func (s *shardLog) assignEpochs(recs []entryRecord) error {
	for i := range recs {
		if recs[i].kind != kindNoop {
			continue
		}
		if err := s.log.AssignEpoch(LeaderEpochOf(s.generation, recs[i].term), recs[i].next); err != nil {
			return fmt.Errorf("assign epoch in %s: %w", s.dir, err)
		}
	}
	return nil
}

// inlineCandidate copies the stored bytes of a small step that lies in one segment.
func (s *shardLog) inlineCandidate(stored []commitlog.Entry) inlineRun {
	if len(stored) == 0 {
		return inlineRun{}
	}
	first, last := &stored[0], &stored[len(stored)-1]
	n := last.Pos + last.Length - first.Pos
	if first.Segment != last.Segment || n > inlineShardMax || !s.isDurable() {
		return inlineRun{}
	}
	b := make([]byte, 0, n)
	for i := range stored {
		b = s.log.AppendStored(b, &stored[i])
	}
	return inlineRun{segment: first.Segment, pos: first.Pos, bytes: b}
}

// markSaved notes that everything appended is durable as the topic asks, and advances the commit index.
func (s *shardLog) markSaved(index Index) {
	s.mu.Lock()
	s.savedIndex = max(s.savedIndex, index)
	o := s.observer
	s.mu.Unlock()
	if o != nil {
		o.saved(index)
	}
}

// commitTo applies what is committed and saved, up to index.
func (s *shardLog) commitTo(index Index) error {
	s.mu.Lock()
	from, to := s.committedTo+1, min(index, s.savedIndex, s.last)
	if to < from {
		s.mu.Unlock()
		return nil
	}
	recs, err := s.rangeLocked(from, to)
	if err != nil {
		s.mu.Unlock()
		return err
	}
	for i := range recs {
		if err := s.applyLocked(&recs[i]); err != nil {
			s.mu.Unlock()
			return err
		}
	}
	s.committedTo = to
	o := s.observer
	s.mu.Unlock()
	if o != nil {
		o.committed(recs)
	}
	return nil
}

// applyLocked folds a committed entry into the replica's own state.
func (s *shardLog) applyLocked(r *entryRecord) error {
	if err := s.state.apply(r); err != nil {
		return err
	}
	if r.kind == kindCommand {
		return s.executeLocked(r)
	}
	return nil
}

// rangeLocked returns the records [from, to] as a slice that stays valid: records are never modified, only
// the slice is cut and extended.
func (s *shardLog) rangeLocked(from, to Index) ([]entryRecord, error) {
	if len(s.recs) > 0 && from >= s.recs[0].index && to <= s.last {
		lo := from - s.recs[0].index
		hi := to - s.recs[0].index + 1
		return s.recs[lo:hi:hi], nil
	}
	out := make([]entryRecord, 0, to-from+1)
	for i := from; i <= to; i++ {
		r, err := s.recordLocked(i)
		if err != nil {
			return nil, err
		}
		out = append(out, *r)
	}
	return out, nil
}

// syncData syncs the shard's segments.
func (s *shardLog) syncData(observe func(time.Duration)) error {
	end, start := s.logEnd(), time.Now()
	if err := s.log.Sync(); err != nil {
		return fmt.Errorf("sync %s: %w", s.dir, err)
	}
	if observe != nil {
		observe(time.Since(start))
	}
	s.markSynced(end)
	return nil
}
