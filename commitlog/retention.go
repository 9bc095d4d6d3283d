package commitlog

import (
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"time"

	"github.com/stelemq/stele/protocol/record"
)

// AdvanceLogStart moves the log start offset up to o; a lower o does nothing. It is not stored: the
// caller gives it to Recovery.Finish again. Nothing is deleted. Errors: ErrOffsetOutOfRange, ErrClosed.
func (l *Log) AdvanceLogStart(o record.Offset, reason string) error {
	l.wmu.Lock()
	defer l.wmu.Unlock()
	if err := l.usable(); err != nil {
		return err
	}
	if int64(o) > l.next.Load() {
		return fmt.Errorf("%w: log start %d beyond the end %d", ErrOffsetOutOfRange, o, l.next.Load())
	}
	if o <= l.LogStart() {
		return nil
	}
	l.start.Store(int64(o))
	l.epochs.truncateStart(o)
	l.env.opts.Logger.Debug("log start advanced", "log_start_offset", int64(o), "reason", reason)
	return nil
}

// DeleteSegmentsBelow deletes the segments that lie wholly below o and below the log start, never the
// active one, and returns their bases. Reads that are under way end well.
func (l *Log) DeleteSegmentsBelow(o record.Offset) (deleted []record.Offset, err error) {
	l.filesMu.Lock()
	defer l.filesMu.Unlock()
	l.wmu.Lock()
	defer l.wmu.Unlock()
	if err := l.usable(); err != nil {
		return nil, err
	}
	o = min(o, l.LogStart())
	segs := *l.segments.Load()
	n := 0
	for n+1 < len(segs) && segs[n+1].base <= o {
		n++
	}
	if n == 0 {
		return nil, nil
	}
	l.env.derivedMu.Lock()
	defer l.env.derivedMu.Unlock()
	kept := slices.Clone(segs[n:])
	if err := l.keepStateOf(kept[0].base); err != nil {
		return nil, l.fail(err)
	}
	l.segments.Store(&kept)
	l.smu.Lock()
	l.unsynced = slices.DeleteFunc(slices.Clone(l.unsynced), func(s *segment) bool { return s.base < kept[0].base })
	l.smu.Unlock()
	for _, s := range segs[:n] {
		for _, f := range []*lazyFile{s.log, s.index, s.timeIndex} {
			f.close()
			if err := l.discard(f.path); err != nil {
				return deleted, l.fail(err)
			}
		}
		deleted = append(deleted, s.base)
		// One after the other: a power loss leaves no hole between segments.
		if err := l.env.fs.SyncDir(l.env.dir); err != nil {
			return deleted, l.fail(fmt.Errorf("sync directory: %w", err))
		}
	}
	for _, at := range slices.Clone(l.snapshots) {
		if at < kept[0].base {
			if err := l.removeSnapshotLocked(at); err != nil {
				return deleted, l.fail(err)
			}
		}
	}
	return deleted, nil
}

// doomedFile is a renamed file that is to be removed.
type doomedFile struct {
	path string
	due  time.Time
}

// discard takes a file out of the log: renamed, so that a removal cut short is known for what it is, and removed now or by
// RemoveDeleted.
func (l *Log) discard(path string) error {
	away := path + deletedSuffix
	err := l.env.fs.Rename(path, away)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("rename segment file: %w", err)
	}
	if delay := l.cfg.Load().DeleteDelay; delay > 0 {
		l.smu.Lock()
		l.doomed = append(l.doomed, doomedFile{away, l.env.opts.Now().Add(delay)})
		l.smu.Unlock()
		return nil
	}
	if err := l.env.fs.Remove(away); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("remove segment file: %w", err)
	}
	return nil
}

// RemoveDeleted removes the files that have left the log for as long as Config.DeleteDelay; what remains when the log is
// closed goes at the next start. Concurrent. The caller sees to it that the log is not closed meanwhile.
func (l *Log) RemoveDeleted() error {
	if err := l.usable(); err != nil {
		return err
	}
	now := l.env.opts.Now()
	l.smu.Lock()
	var due []string
	l.doomed = slices.DeleteFunc(l.doomed, func(d doomedFile) bool {
		if d.due.After(now) {
			return false
		}
		due = append(due, d.path)
		return true
	})
	l.smu.Unlock()
	for _, path := range due {
		if err := l.env.fs.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("commitlog: remove deleted file: %w", err)
		}
	}
	return nil
}

// keepStateOf makes durable what the batches below base say of producers and epochs: the snapshot that
// was taken where the first kept segment begins. Caller holds env.derivedMu.
func (l *Log) keepStateOf(base record.Offset) error {
	if slices.ContainsFunc(l.pending, func(p snapshot) bool { return p.at <= base }) {
		if err := l.checkpointLocked(); err != nil {
			return err
		}
	}
	return l.syncNames(true)
}
