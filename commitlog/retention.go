package commitlog

import (
	"fmt"
	"slices"

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
		if err := s.remove(deletedSuffix); err != nil {
			return deleted, l.fail(err)
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
