package dledger

import (
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	pb "github.com/lni/dragonboat/v4/raftpb"

	"github.com/stelemq/stele/commitlog"
	"github.com/stelemq/stele/dledger/journal"
	"github.com/stelemq/stele/dledger/raftfile"
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
	appended(recs []raftfile.Entry)
	// saved: everything up to index is as durable as the topic asks.
	saved(index Index)
	// committed: recs, contiguous, have been committed and, here, saved.
	committed(recs []raftfile.Entry)
	// damaged: stored bytes cannot be read, or do not check; it reports whether the replica is out of the partition now.
	damaged(err error) bool
	// leader: who leads in a term; replica 0 = nobody.
	leader(term Term, replica ReplicaID)
}

// shardLog is the Raft log of one partition replica: segment files for the bytes, entry records for the rest.
// Its step worker is the only writer.
type shardLog struct {
	key        journal.Key
	generation int32
	dir        string
	fs         vfs.FS
	logger     *slog.Logger
	log        *openLog
	bad        atomic.Bool // found damaged: nothing more is saved or said
	// startReason is why the log start was last moved.
	startReason atomic.Pointer[string]
	journal.Durability
	worker atomic.Uint64 // the step worker that saves it; 0 = none has yet
	lender lender

	mu sync.RWMutex
	// mu guards:
	recs     []raftfile.Entry // contiguous, the newest; recs[0] follows what only .raft has
	first    Index            // the first index that Raft can reach; snapshot.Index+1 or 1
	last     Index
	lastTerm Term
	hard     journal.HardState
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
	writer    *raftfile.Writer
	loaded    loadedRecords
}

// Key names the replica to the journal.
func (s *shardLog) Key() journal.Key { return s.key }

// SetJournaled notes up to which entry the journal has the records.
func (s *shardLog) SetJournaled(i Index) {
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
func (s *shardLog) logEnd() journal.SyncPoint {
	e := s.log.End()
	return journal.SyncPoint{Segment: e.Segment, Pos: e.Pos}
}

// appendEntries appends what Raft wants saved, after any conflicting suffix has been removed. It returns the
// new records, and in run the stored bytes if they are few enough to ride in the journal.
func (s *shardLog) appendEntries(ents []pb.Entry) (recs []raftfile.Entry, run journal.Run, err error) {
	if want := uint64(s.last) + 1; ents[0].Index != want {
		return nil, run, fmt.Errorf("shard %d: entry %d does not follow %d", s.key.Shard, ents[0].Index, s.last)
	}
	recs = make([]raftfile.Entry, len(ents))
	stored := make([]commitlog.Entry, 0, len(ents))
	fence := s.fence
	for i := range ents {
		fence = s.judge(&ents[i], &recs[i], fence)
		if recs[i].Kind == raftfile.KindData {
			b, err := s.lender.bytesOf(&ents[i])
			if err != nil {
				return nil, run, fmt.Errorf("append to %s: %w", s.dir, err)
			}
			stored = append(stored, commitlog.Entry{Batches: b, Epoch: LeaderEpochOf(s.generation, recs[i].Term)})
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
	s.extend(recs, fence)
	s.lender.settle(recs) // after extend: whoever does not find the bytes here any more finds them in the log
	return recs, run, nil
}

// extend makes the log known to be longer by recs.
func (s *shardLog) extend(recs []raftfile.Entry, f fence) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for i := range recs {
		if recs[i].Kind == raftfile.KindNoop {
			s.stubUntil = 0 // whoever leads has applied what it had; from here on it sends entries to followers
		}
	}
	s.recs = append(s.recs, recs...)
	s.last, s.lastTerm, s.fence = recs[len(recs)-1].Index, recs[len(recs)-1].Term, f
}

// judge fills a record from a Raft entry and decides what kind it is.
func (s *shardLog) judge(e *pb.Entry, r *raftfile.Entry, f fence) fence {
	*r = raftfile.Entry{
		Index: Index(e.Index), Term: Term(e.Term), Key: e.Key, Client: e.ClientID, Series: e.SeriesID,
	}
	switch {
	case e.Type == pb.ConfigChangeEntry:
		r.Kind, r.Payload = raftfile.KindConfig, append([]byte(nil), e.Cmd...)
	case len(e.Cmd) == 0:
		r.Kind = raftfile.KindNoop
	default:
		ok, next := f.accepts(r.Term, e.ClientID)
		switch {
		case !ok || len(e.Cmd) < 2:
			r.Kind = raftfile.KindVoid
		case e.ClientID&commandBit != 0:
			r.Kind, r.Payload = raftfile.KindCommand, append([]byte(nil), e.Cmd[1:]...)
			f = next
		default:
			r.Kind = raftfile.KindData
			f = next
		}
	}
	return f
}

// place gives each record its offsets and its place in the segments.
func (s *shardLog) place(recs []raftfile.Entry, stored []commitlog.Entry, end commitlog.End) {
	n := 0
	for i := range recs {
		r := &recs[i]
		if r.Kind != raftfile.KindData {
			r.Segment, r.Base, r.Next, r.Pos = end.Segment, end.Next, end.Next, uint32(end.Pos) //nolint:gosec // segments are below 2 GiB
			continue
		}
		e := &stored[n]
		n++
		r.Segment, r.Base, r.Next = e.Segment, e.Base, e.Next
		r.Pos, r.Length, r.CRC = uint32(e.Pos), uint32(e.Length), e.CRC //nolint:gosec // segments are below 2 GiB
		end = commitlog.End{Segment: e.Segment, Pos: e.Pos + e.Length, Next: e.Next}
	}
}

// assignEpochs tells the log where a new leader's epoch begins, even if it never writes a record.
func (s *shardLog) assignEpochs(recs []raftfile.Entry) error {
	for i := range recs {
		if recs[i].Kind != raftfile.KindNoop {
			continue
		}
		if err := s.log.AssignEpoch(LeaderEpochOf(s.generation, recs[i].Term), recs[i].Next); err != nil {
			return fmt.Errorf("assign epoch in %s: %w", s.dir, err)
		}
	}
	return nil
}

// inlineCandidate copies the stored bytes of a small step that lies in one segment.
func (s *shardLog) inlineCandidate(stored []commitlog.Entry) journal.Run {
	if len(stored) == 0 {
		return journal.Run{}
	}
	first, last := &stored[0], &stored[len(stored)-1]
	n := last.Pos + last.Length - first.Pos
	if first.Segment != last.Segment || n > journal.InlineMax || !s.isDurable() {
		return journal.Run{}
	}
	b := make([]byte, 0, n)
	for i := range stored {
		b = s.log.AppendStored(b, &stored[i])
	}
	return journal.Run{Segment: first.Segment, Pos: first.Pos, Bytes: b}
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
func (s *shardLog) applyLocked(r *raftfile.Entry) error {
	if err := s.state.apply(r); err != nil {
		return err
	}
	if r.Kind == raftfile.KindCommand {
		return s.executeLocked(r)
	}
	return nil
}

// rangeLocked returns the records [from, to] as a slice that stays valid: records are never modified, only
// the slice is cut and extended.
func (s *shardLog) rangeLocked(from, to Index) ([]raftfile.Entry, error) {
	if len(s.recs) > 0 && from >= s.recs[0].Index && to <= s.last {
		lo := from - s.recs[0].Index
		hi := to - s.recs[0].Index + 1
		return s.recs[lo:hi:hi], nil
	}
	out := make([]raftfile.Entry, 0, to-from+1)
	for i := from; i <= to; i++ {
		r, err := s.recordLocked(i)
		if err != nil {
			return nil, err
		}
		out = append(out, *r)
	}
	return out, nil
}

// SyncData syncs the shard's segments.
func (s *shardLog) SyncData(observe func(time.Duration)) error {
	end, start := s.logEnd(), time.Now()
	if err := s.log.Sync(); err != nil {
		return fmt.Errorf("sync %s: %w", s.dir, err)
	}
	if observe != nil {
		observe(time.Since(start))
	}
	s.MarkSynced(end)
	return nil
}
