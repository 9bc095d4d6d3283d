package dledger

import (
	"fmt"

	pb "github.com/lni/dragonboat/v4/raftpb"

	"github.com/stelemq/stele/dledger/journal"
	"github.com/stelemq/stele/dledger/raftfile"
)

// Checkpoint makes what the journal says of the shard's entries stand in its own files, synced.
func (s *shardLog) Checkpoint() (journal.Checkpointed, error) {
	s.ckptMu.Lock()
	defer s.ckptMu.Unlock()
	s.mu.Lock()
	if s.gone {
		s.mu.Unlock()
		return journal.Checkpointed{Gone: true}, nil
	}
	upTo := s.journaled
	var recs []raftfile.Entry
	var err error
	if upTo > s.checkpointed {
		recs, err = s.rangeLocked(s.checkpointed+1, upTo)
		recs = append([]raftfile.Entry(nil), recs...)
	}
	s.mu.Unlock()
	if err != nil {
		return s.checkpointFailed(err)
	}
	if err := s.SyncData(nil); err != nil {
		return journal.Checkpointed{}, err
	}
	if err := s.writer.Write(recs); err != nil {
		return journal.Checkpointed{}, fmt.Errorf("checkpoint %s: %w", s.dir, err)
	}
	s.mu.Lock()
	s.checkpointed = upTo
	file, err := s.rolledLocked()
	s.trimLocked()
	s.mu.Unlock()
	if err != nil {
		return s.checkpointFailed(err)
	}
	if file != nil {
		if err := writeReplicaFile(s.fs, s.dir, file); err != nil {
			return journal.Checkpointed{}, err
		}
		s.mu.Lock()
		s.file = *file
		s.mu.Unlock()
	}
	return journal.Checkpointed{Index: upTo, Sync: s.SyncedTo()}, nil
}

// checkpointFailed: records could not be read. A damaged replica needs no checkpoint.
func (s *shardLog) checkpointFailed(err error) (journal.Checkpointed, error) {
	if s.condemn(err) {
		return journal.Checkpointed{Gone: true}, nil
	}
	return journal.Checkpointed{}, err
}

// trimLocked drops records from memory that .raft has and that are not among the newest.
func (s *shardLog) trimLocked() {
	keep := min(s.checkpointed, s.committedTo)
	if len(s.recs) < 2*recordsKept || keep < s.recs[0].Index {
		return
	}
	n := min(int64(keep-s.recs[0].Index), int64(len(s.recs)-recordsKept)) //nolint:gosec // indexes are below 2^63
	if n > 0 {
		s.recs = append([]raftfile.Entry(nil), s.recs[n:]...)
	}
}

// rolledLocked returns what replica.json is to say if the log has rolled since the last time: the state of the roll
// before, so that restarts read the records of one to two segments. nil if it has not rolled.
func (s *shardLog) rolledLocked() (*replicaFile, error) {
	active := s.log.End().Segment
	if s.candidate.Index > 0 && active == s.candidate.Segment {
		return nil, nil //nolint:nilnil // nothing to write
	}
	i := min(s.checkpointed, s.committedTo)
	if i <= s.file.Index {
		return nil, nil //nolint:nilnil // nothing newer
	}
	now, err := s.captureLocked(i)
	if err != nil || now == nil {
		return nil, err
	}
	was := s.candidate
	if s.candidate = *now; was.Index == 0 {
		return nil, nil //nolint:nilnil // the first segment
	}
	return &was, nil
}

// captureLocked describes the state after an index that is committed and checkpointed; nil before the first.
func (s *shardLog) captureLocked(i Index) (*replicaFile, error) {
	if i == 0 {
		return nil, nil //nolint:nilnil // nothing yet
	}
	if s.foldedTo < i {
		recs, err := s.rangeLocked(s.foldedTo+1, i)
		if err != nil {
			return nil, err
		}
		for k := range recs {
			if err := s.folded.apply(&recs[k]); err != nil {
				return nil, err
			}
		}
		s.foldedTo = i
	}
	r, err := s.recordLocked(i)
	if err != nil {
		return nil, err
	}
	f := s.file
	f.Index, f.Term, f.LogStart, f.Next = i, r.Term, s.folded.logStart, r.Next
	f.Segment, f.Position = r.Segment, int64(r.Pos)+int64(r.Length)
	if f.Fence, err = s.fenceAtLocked(i); err != nil {
		return nil, err
	}
	if f.Membership, err = toBase64(&s.folded.membership); err != nil {
		return nil, err
	}
	return &f, nil
}

func copyMembership(m pb.Membership) pb.Membership {
	out := pb.Membership{
		ConfigChangeId: m.ConfigChangeId, Addresses: map[uint64]string{}, NonVotings: map[uint64]string{},
		Removed: map[uint64]bool{}, Witnesses: map[uint64]string{},
	}
	for k, v := range m.Addresses {
		out.Addresses[k] = v
	}
	for k, v := range m.NonVotings {
		out.NonVotings[k] = v
	}
	for k, v := range m.Removed {
		out.Removed[k] = v
	}
	for k, v := range m.Witnesses {
		out.Witnesses[k] = v
	}
	return out
}
