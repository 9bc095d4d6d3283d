package dledger

import (
	"fmt"
	"path/filepath"
	"slices"

	"github.com/stelemq/stele/dledger/raftfile"
	"github.com/stelemq/stele/protocol/record"
)

// truncate removes the entries from an index on: a new leader has others there. The journal already says so,
// durably, so a crash in between ends the same way.
func (s *shardLog) truncate(from Index) error {
	s.ckptMu.Lock()
	defer s.ckptMu.Unlock()
	s.mu.Lock()
	defer s.mu.Unlock()
	if from <= s.committedTo {
		return fmt.Errorf("shard %d: truncation at %d below the commit index %d", s.key.Shard, from, s.committedTo)
	}
	cut, err := s.firstDataLocked(from)
	if err != nil {
		return err
	}
	if cut != nil {
		if err := s.truncateSegments(cut.Base); err != nil {
			return err
		}
	}
	prev, err := s.stateBeforeLocked(from)
	if err != nil {
		return err
	}
	if n := len(s.recs); n > 0 {
		s.recs = s.recs[:max(0, int64(from)-int64(s.recs[0].Index))] //nolint:gosec // indexes are below 2^63
	}
	if from <= s.checkpointed {
		if err := s.cutRaftFiles(from); err != nil {
			return err
		}
	}
	s.last, s.lastTerm = from-1, prev
	s.journaled, s.savedIndex = min(s.journaled, s.last), min(s.savedIndex, s.last)
	s.checkpointed = min(s.checkpointed, s.last)
	s.loaded = loadedRecords{}
	s.fence, err = s.fenceAtLocked(s.last)
	return err
}

// firstDataLocked finds the first entry with bytes from an index on.
func (s *shardLog) firstDataLocked(from Index) (*raftfile.Entry, error) {
	for i := from; i <= s.last; i++ {
		r, err := s.recordLocked(i)
		if err != nil {
			return nil, err
		}
		if r.Kind == raftfile.KindData {
			return r, nil
		}
	}
	return nil, nil //nolint:nilnil // nothing to cut
}

// cutRaftFiles removes the records of the entries from an index on. A checkpoint then ends where .raft ends: should the
// newest record be damaged, none that was superseded stands in for it.
func (s *shardLog) cutRaftFiles(from Index) error {
	for _, seg := range slices.Backward(s.log.Segments()) {
		recs, _, err := raftfile.Read(s.fs, s.dir, seg.Base)
		if err != nil {
			return err
		}
		if len(recs) == 0 {
			continue
		}
		n := 0
		for n < len(recs) && recs[n].Index < from {
			n++
		}
		if n < len(recs) {
			if err := s.writer.Replace(seg.Base, recs[:n]); err != nil {
				return err
			}
		}
		if n > 0 {
			break
		}
	}
	return nil
}

func (s *shardLog) truncateSegments(o record.Offset) error {
	before := s.log.Segments()
	if err := s.log.TruncateTo(o); err != nil {
		return fmt.Errorf("truncate %s: %w", s.dir, err)
	}
	end := s.logEnd()
	s.Cut(end)
	if err := s.writer.Forget(end.Segment + 1); err != nil {
		return err
	}
	removed := false
	for _, seg := range before {
		if seg.Base > end.Segment {
			removed = true
			if err := s.fs.Remove(filepath.Join(s.dir, raftfile.Name(seg.Base))); err != nil && !notExist(err) {
				return fmt.Errorf("remove .raft: %w", err)
			}
		}
	}
	if !removed {
		return nil
	}
	// They must not come back: the log may roll at the same offset again, after other entries.
	if err := s.fs.SyncDir(s.dir); err != nil {
		return fmt.Errorf("sync %s: %w", s.dir, err)
	}
	return nil
}

// stateBeforeLocked returns the term of the entry before an index.
func (s *shardLog) stateBeforeLocked(from Index) (Term, error) {
	if from-1 == s.file.Index {
		return s.file.Term, nil
	}
	r, err := s.recordLocked(from - 1)
	if err != nil {
		return 0, err
	}
	return r.Term, nil
}

// fenceAtLocked returns the fence after an index: that of the last accepted proposal up to it.
func (s *shardLog) fenceAtLocked(i Index) (fence, error) {
	for ; i > s.file.Index; i-- {
		r, err := s.recordLocked(i)
		if err != nil {
			return fence{}, err
		}
		if r.Kind == raftfile.KindData || r.Kind == raftfile.KindCommand {
			return fence{Term: uint32(r.Client >> 32), Sequence: uint32(r.Client) & sequenceMask}, nil //nolint:gosec // by layout
		}
	}
	return s.file.Fence, nil
}
