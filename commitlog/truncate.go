package commitlog

import (
	"errors"
	"fmt"
	"io/fs"
	"slices"

	"github.com/stelemq/stele/protocol/record"
)

// TruncateTo drops [o, end). o is the base of a batch, or the log's end. Indexes, epochs and producer
// state follow. The bytes are not durably gone: after a start the caller's End decides again.
//
// Errors: ErrOffsetOutOfRange, ErrNotBatchBoundary, *CorruptionError (nothing has changed), ErrClosed,
// or the failure that ended the log.
func (l *Log) TruncateTo(o record.Offset) error {
	l.wmu.Lock()
	defer l.wmu.Unlock()
	if err := l.usable(); err != nil {
		return err
	}
	next := record.Offset(l.next.Load())
	if o == next {
		l.epochs.truncateEnd(o)
		return nil
	}
	segs, i := l.find(o)
	if o < l.LogStart() || o > next || i < 0 {
		return fmt.Errorf("%w: truncation to %d of [%d, %d]", ErrOffsetOutOfRange, o, l.LogStart(), next)
	}
	s := segs[i]
	var pos int64
	if o > s.base {
		at, b, err := s.seek(l.nextOf(segs, i), o, s.size.Load())
		if err != nil {
			return err
		}
		if b.base != o {
			return fmt.Errorf("%w: %d", ErrNotBatchBoundary, o)
		}
		pos = at
	}
	l.env.derivedMu.Lock()
	defer l.env.derivedMu.Unlock()
	m, err := l.cutIndex(s, l.nextOf(segs, i), pos)
	if err != nil {
		return err
	}
	l.cuts.Add(1)
	defer l.cuts.Add(1)
	return l.fail(l.truncate(segs, i, pos, o, m))
}

// cutIndex returns the index of s as of position pos.
func (l *Log) cutIndex(s *segment, next record.Offset, pos int64) (*memIndex, error) {
	var offsets []indexEntry
	var times []timeEntry
	if m := s.mem.Load(); m != nil {
		offsets, times = slices.Clone(m.offsets), slices.Clone(m.times) // this goroutine is the only writer
	} else {
		s.imu.Lock()
		err := s.ensureIndexLocked(next)
		s.imu.Unlock()
		if err != nil {
			return nil, err
		}
		if s.mem.Load() != nil {
			return l.cutIndex(s, next, pos)
		}
		if offsets, times, err = s.readIndex(next); err != nil {
			return nil, err
		}
		s.flushed.offsets, s.flushed.times = len(offsets), len(times)
	}
	k, _ := slices.BinarySearchFunc(offsets, pos, func(e indexEntry, pos int64) int { return int(int64(e.pos) - pos) })
	m, at := resumeIndex(l.cfg.Load().IndexIntervalBytes, offsets[:k], times)
	err := scanSegment(s, at, pos, baseAt(s, at), false, func(b record.Batch, at int64, n int) error {
		m.add(relOf(b.LastOffset(), s.base), at, n, b.MaxTimestamp())
		return nil
	})
	return m, err
}

// baseAt is the base offset that a batch at pos must have, as far as the position tells: −1 where an
// index entry points, which knows the last one.
func baseAt(s *segment, pos int64) record.Offset {
	if pos == 0 {
		return s.base
	}
	return -1
}

// readIndex reads the checked index files of a closed segment.
func (s *segment) readIndex(next record.Offset) ([]indexEntry, []timeEntry, error) {
	size := s.size.Load()
	ob, err1 := readFile(s.env.fs, s.index.path, size/minBatchLen*indexEntryLen)
	tb, err2 := readFile(s.env.fs, s.timeIndex.path, size/minBatchLen*timeIndexEntryLen)
	if err := errors.Join(err1, err2); err != nil {
		return nil, nil, err
	}
	offsets, err1 := decodeIndex(ob, size)
	times, err2 := decodeTimeIndex(tb, s.endRel(next))
	return offsets, times, errors.Join(err1, err2)
}

// resumeIndex returns an index that goes on after the given offset entries, and the position from which
// batches are to be added. Time entries beyond them are dropped: they come again.
func resumeIndex(interval int, offsets []indexEntry, times []timeEntry) (m *memIndex, from int64) {
	m = newMemIndex(interval)
	if len(offsets) == 0 {
		return m, 0
	}
	last := offsets[len(offsets)-1]
	k, _ := slices.BinarySearchFunc(times, last.rel, func(e timeEntry, rel int32) int {
		if e.rel <= rel {
			return -1
		}
		return 1
	})
	m.offsets, m.times = slices.Clip(offsets), slices.Clip(times[:k])
	if k > 0 {
		m.maxTs, m.maxTsRel = times[k-1].ts, times[k-1].rel
	}
	return m, int64(last.pos)
}

// truncate makes segs[i] the active segment, cut at pos, where o begins.
func (l *Log) truncate(segs []*segment, i int, pos int64, o record.Offset, m *memIndex) error {
	s, later := segs[i], segs[i+1:]
	kept := slices.Clone(segs[:i+1])
	f, err := s.log.acquire()
	if err != nil {
		return err
	}
	defer s.log.release()
	if !s.pinned {
		s.log.pin(f)
	}
	s.flushed.offsets, s.flushed.times = min(s.flushed.offsets, len(m.offsets)), min(s.flushed.times, len(m.times))
	s.imu.Lock()
	s.checked, s.maxKnown = false, false
	s.imu.Unlock()
	s.index.retire()
	s.timeIndex.retire()
	s.mem.Store(m)
	l.smu.Lock()
	s.pinned = true
	s.synced = min(s.synced, pos)
	l.end = End{Segment: s.base, Pos: pos, Next: o}
	l.unsynced = slices.DeleteFunc(slices.Clone(l.unsynced), func(x *segment) bool { return x.base >= s.base })
	l.smu.Unlock()
	l.next.Store(int64(o))
	s.size.Store(pos)
	l.segments.Store(&kept)
	if err := f.Truncate(pos); err != nil {
		return fmt.Errorf("truncate segment %d to %d: %w", s.base, pos, err)
	}
	// The cut is durable before the log grows: were it lost after a roll, the old tail would stand at the end
	// of a closed segment, where no End would cut it.
	if err := f.Sync(); err != nil {
		return fmt.Errorf("sync segment %d: %w", s.base, err)
	}
	s.allocated, l.unstored = 0, true // the index files may hold more than they should
	if pos == 0 {
		if err := s.clearIndex(); err != nil {
			return err
		}
	}
	l.epochs.truncateEnd(o)
	if err := l.removeBeyond(later, o); err != nil {
		return err
	}
	return l.reloadProducers(o)
}

// removeBeyond removes whole segments, and the producer snapshots beyond o. They must not come back
// after a power loss, when the log may have grown differently: their removal is synced.
func (l *Log) removeBeyond(later []*segment, o record.Offset) error {
	removed := len(later) > 0
	l.pending = slices.DeleteFunc(l.pending, func(p snapshot) bool { return p.at > o })
	for _, s := range later {
		if err := s.remove(); err != nil {
			return err
		}
	}
	for _, at := range slices.Clone(l.snapshots) {
		if at > o {
			removed = true
			if err := l.removeSnapshotLocked(at); err != nil {
				return err
			}
		}
	}
	if !removed {
		return nil
	}
	if err := l.env.fs.SyncDir(l.env.dir); err != nil {
		return fmt.Errorf("sync directory: %w", err)
	}
	return nil
}

// clearIndex empties the index files of a segment that has become empty.
func (s *segment) clearIndex() error {
	s.flushed.offsets, s.flushed.times = 0, 0
	for _, l := range []*lazyFile{s.index, s.timeIndex} {
		f, err := s.env.fs.Open(l.path)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return fmt.Errorf("open index: %w", err)
		}
		if err := errors.Join(f.Truncate(0), f.Close()); err != nil {
			return fmt.Errorf("clear index: %w", err)
		}
	}
	return nil
}

// remove closes and removes a segment's files.
func (s *segment) remove() error {
	for _, f := range []*lazyFile{s.log, s.index, s.timeIndex} {
		f.close()
		if err := s.env.fs.Remove(f.path); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("remove segment file: %w", err)
		}
	}
	return nil
}

// reloadProducers makes the producer state of the log anew from the newest snapshot and the batches
// after it. Caller holds env.derivedMu.
func (l *Log) reloadProducers(end record.Offset) error {
	segs := *l.segments.Load()
	at, ps, err := l.newestSnapshotLocked(end)
	if err != nil {
		return err
	}
	l.producers.reset(ps, at)
	for i, s := range segs {
		next := l.nextOf(segs, i)
		if next <= at && i+1 < len(segs) {
			continue
		}
		pos, first := int64(0), batchInfo{base: s.base}
		if at > s.base {
			var err error
			if pos, first, err = s.seek(next, at, s.size.Load()); err != nil {
				return err
			}
		}
		if err := scanSegment(s, pos, s.size.Load(), first.base, true, func(b record.Batch, _ int64, _ int) error {
			l.producers.Update(b)
			return nil
		}); err != nil {
			return err
		}
	}
	return nil
}

// newestSnapshotLocked returns the newest good producer snapshot at or below end, and its offset: the
// log's first one where there is none.
func (l *Log) newestSnapshotLocked(end record.Offset) (record.Offset, []Producer, error) {
	first := (*l.segments.Load())[0].base
	for _, p := range slices.Backward(l.pending) { // newer than all that are stored
		if p.at <= end {
			ps, err := ParseProducerSnapshot(p.bytes)
			return p.at, ps, err
		}
	}
	for _, o := range slices.Backward(l.snapshots) {
		if o > end || o < first {
			continue
		}
		ps, err := readSnapshot(&l.env, o)
		if err == nil {
			return o, ps, nil
		}
		if !errors.Is(err, ErrCorrupt) && !errors.Is(err, ErrUnsupportedVersion) {
			return 0, nil, err
		}
		l.env.opts.Logger.Warn("producer snapshot set aside", "offset", int64(o), "err", err)
		if err := l.removeSnapshotLocked(o); err != nil {
			return 0, nil, err
		}
	}
	return first, nil, nil
}

// readSnapshot reads a producer snapshot. Errors: ErrCorrupt, ErrUnsupportedVersion.
func readSnapshot(env *environment, o record.Offset) ([]Producer, error) {
	path := fileName(env.dir, o, snapshotSuffix)
	b, err := readFile(env.fs, path, snapshotHeaderLen+maxSnapshotEntries*snapshotEntryLen)
	if err != nil {
		return nil, err
	}
	ps, err := ParseProducerSnapshot(b)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return ps, nil
}
