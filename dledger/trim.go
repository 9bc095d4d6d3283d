package dledger

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"time"

	"github.com/lni/dragonboat/v4"

	"github.com/stelemq/stele/dledger/raftfile"
	"github.com/stelemq/stele/protocol/record"
)

// Retention: a command moves the log start on all replicas (Partition.AdvanceLogStart); each then deletes by itself the
// segments that lie wholly below. Before that, replica.json must hold what their entries had built up, and Raft must not want
// to read them any more: its log is made to begin behind them. A follower that still lacks some of them catches up from
// files (catchup.go).

const (
	trimTick = 30 * time.Second
	// trimRetry is how soon what could not go yet is tried again; the pause doubles.
	trimRetry   = 250 * time.Millisecond
	trimTimeout = 10 * time.Second
)

// trimmer deletes what lies below log starts.
func (h *Host) trimmer() {
	wait := trimTick
	timer := time.NewTimer(wait)
	defer timer.Stop()
	for {
		select {
		case <-h.ctx.Done():
			return
		case <-timer.C:
			wait = min(2*wait, trimTick)
		case <-h.trim:
			wait = trimRetry
		}
		checkpointed := false
		for _, p := range h.all() {
			if err := p.shard.removeDeleted(); err != nil {
				p.logger.Warn("deleted files remain", "error", err)
			}
			if len(p.shard.superfluous()) == 0 || p.shard.condemned() {
				continue
			}
			if !checkpointed { // one for all of them
				checkpointed = true
				if err := h.journal.Checkpoint(); err != nil {
					_ = h.journal.Fail(err)
					return
				}
			}
			if err := h.trimPartition(p); err != nil {
				_ = h.journal.Fail(err)
				return
			}
		}
		if !checkpointed {
			wait = trimTick // nothing is left to do
		}
		timer.Reset(wait)
	}
}

// trimSoon wakes the trimmer.
func (h *Host) trimSoon() {
	select {
	case h.trim <- struct{}{}:
	default:
	}
}

// removeDeleted removes files that left the log long enough ago (file.delete.delay.ms).
func (s *shardLog) removeDeleted() error {
	s.ckptMu.Lock() // the log stays open meanwhile
	defer s.ckptMu.Unlock()
	if s.isGone() {
		return nil
	}
	return s.log.now().RemoveDeleted() //nolint:wrapcheck // says all
}

// superfluous are the bases of the segments that lie wholly below the log start.
func (s *shardLog) superfluous() (out []record.Offset) {
	if s.isGone() {
		return nil
	}
	segs, start := s.log.Segments(), s.log.LogStart()
	for i := range segs[:len(segs)-1] {
		if segs[i+1].Base > start {
			break
		}
		out = append(out, segs[i].Base)
	}
	return out
}

// trimPartition goes as far as it can: the rest follows when more is committed or Raft has let go. Errors are of writing.
func (h *Host) trimPartition(p *Partition) error {
	s := p.shard
	ready, compact, err := s.prepareTrim()
	if err != nil {
		if s.condemn(err) {
			return nil
		}
		return err
	}
	if compact > 0 {
		_ = h.compactRaft(p, compact) // tried again
		return nil                    // RemoveEntriesTo wakes the trimmer
	}
	if !ready {
		return nil
	}
	deleted, err := s.deleteSuperfluous()
	if err == nil && deleted > 0 {
		reason := reasonUnknown
		if r := s.startReason.Load(); r != nil {
			reason = *r
		}
		h.metrics.deleted.WithLabelValues(reason).Add(float64(deleted))
		p.logger.Info("segments deleted", "segments", deleted, "log_start", int64(s.log.LogStart()))
	}
	if s.isGone() {
		return nil
	}
	return err
}

// compactRaft makes Raft's log begin behind an index. It is refused while nothing has been applied since the last time.
func (h *Host) compactRaft(p *Partition, upTo Index) error {
	ctx, cancel := context.WithTimeout(h.ctx, trimTimeout)
	defer cancel()
	_, err := h.nodes.SyncRequestSnapshot(libraryContext(ctx), uint64(p.spec.Shard), dragonboat.SnapshotOption{
		OverrideCompactionOverhead: true, CompactionIndex: uint64(upTo),
	})
	if err != nil {
		p.logger.Debug("the raft log is not compacted yet", "up_to", uint64(upTo), "error", err)
		return fmt.Errorf("compact raft log: %w", err)
	}
	return nil
}

// prepareTrim makes replica.json reach beyond the segments that are to go. It returns up to which index Raft must let go
// first, or that they may be deleted now.
func (s *shardLog) prepareTrim() (ready bool, compact Index, err error) {
	s.ckptMu.Lock()
	defer s.ckptMu.Unlock()
	gone := s.superfluous()
	if len(gone) == 0 {
		return false, 0, nil
	}
	base, err := s.baseBehind(gone[len(gone)-1])
	if err != nil {
		return false, 0, err
	}
	return s.letGo(base, base)
}

// letGo makes replica.json reach beyond the segments below base, which is where one begins, and its log start at least to
// logStart. It returns up to which index Raft must let go first, or that nobody needs the entries in those segments any more.
// ckptMu is held.
func (s *shardLog) letGo(base, logStart record.Offset) (ready bool, compact Index, err error) {
	s.mu.Lock()
	last := s.lastBelowLocked(base)
	at := min(s.checkpointed, s.committedTo)
	file := &s.file
	if file.Index < last || file.Segment < base || file.LogStart < logStart {
		if at < last {
			s.mu.Unlock()
			return false, 0, nil
		}
		file, err = s.captureLocked(at)
	}
	first := s.first
	s.mu.Unlock()
	if err != nil || file == nil || file.LogStart < logStart {
		return false, 0, err
	}
	f := *file
	if f.Segment < base {
		f.Segment, f.Position = base, 0 // it ends where the next segment begins
	}
	if f != s.file {
		if err := writeReplicaFile(s.fs, s.dir, &f); err != nil {
			return false, 0, err
		}
		s.mu.Lock()
		s.file, s.candidate = f, f
		s.mu.Unlock()
	}
	if first <= last {
		return false, last, nil
	}
	return true, 0, nil
}

// baseBehind is where the segment after another begins.
func (s *shardLog) baseBehind(base record.Offset) (record.Offset, error) {
	for _, x := range s.log.Segments() {
		if x.Base > base {
			return x.Base, nil
		}
	}
	return 0, fmt.Errorf("%w: no segment behind %d in %s", ErrCorrupt, base, s.dir)
}

// lastBelowLocked is an index at or behind the last entry whose record stands with a segment below base.
func (s *shardLog) lastBelowLocked(base record.Offset) Index {
	for i := range s.recs {
		if s.recs[i].Segment >= base {
			return s.recs[i].Index - 1
		}
	}
	return s.last
}

// deleteSuperfluous deletes segments below the log start and their .raft files.
func (s *shardLog) deleteSuperfluous() (int, error) {
	s.ckptMu.Lock()
	defer s.ckptMu.Unlock()
	gone := s.superfluous()
	if len(gone) == 0 {
		return 0, nil
	}
	s.mu.RLock()
	reach := s.file.Segment
	s.mu.RUnlock()
	deleted, err := s.log.DeleteSegmentsBelow(reach)
	if err != nil {
		return len(deleted), fmt.Errorf("delete segments of %s: %w", s.dir, err)
	}
	s.mu.Lock()
	s.loaded = loadedRecords{}
	s.mu.Unlock()
	first := s.log.Segments()[0].Base
	err = s.writer.CloseBelow(first)
	names, err2 := s.fs.ReadDir(s.dir)
	if err = errors.Join(err, err2); err != nil {
		return len(deleted), fmt.Errorf("delete records of %s: %w", s.dir, err)
	}
	for _, n := range names {
		if !strings.HasSuffix(n, ".raft") || n >= raftfile.Name(first) {
			continue
		}
		if err := s.fs.Remove(filepath.Join(s.dir, n)); err != nil && !notExist(err) {
			return len(deleted), fmt.Errorf("delete records of %s: %w", s.dir, err)
		}
	}
	return len(deleted), nil
}
