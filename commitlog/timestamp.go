package commitlog

import (
	"errors"
	"io/fs"

	"github.com/stelemq/stele/protocol/record"
)

// maxBatchOutput bounds what a batch may decompress to when a record in it is looked for by time.
const maxBatchOutput = 256 << 20

// TimestampOffset is a record found by its time; Timestamp −1 and Offset record.NoOffset where none.
type TimestampOffset struct {
	Timestamp int64
	Offset    record.Offset
	Epoch     record.LeaderEpoch
}

func noTimestampOffset() TimestampOffset {
	return TimestampOffset{Timestamp: noTimestamp, Offset: record.NoOffset, Epoch: record.NoEpoch}
}

// errFound ends a scan.
var errFound = errors.New("found")

// OffsetForTimestamp finds the first record in [log start, upTo) whose timestamp is at or after ts.
// Errors: *CorruptionError, ErrClosed. Concurrent.
func (l *Log) OffsetForTimestamp(ts int64, upTo record.Offset) (TimestampOffset, error) {
	return l.stable(func() (TimestampOffset, error) {
		segs := *l.segments.Load()
		start, limit := l.LogStart(), min(upTo, record.Offset(l.next.Load()))
		for i, s := range segs {
			next := l.nextOf(segs, i)
			if next <= start || s.base >= limit {
				continue
			}
			latest, err := s.maxTimestamp(next)
			if err != nil {
				return noTimestampOffset(), err
			}
			if latest.ts < ts {
				continue
			}
			found, err := l.searchTime(s, next, ts, start, limit)
			if err != nil || found.Offset != record.NoOffset {
				return found, err
			}
		}
		return noTimestampOffset(), nil
	})
}

// stable repeats a lookup during which the log was truncated.
func (l *Log) stable(f func() (TimestampOffset, error)) (TimestampOffset, error) {
	for {
		if l.closed.Load() {
			return noTimestampOffset(), ErrClosed
		}
		cuts, first := l.cuts.Load(), (*l.segments.Load())[0]
		t, err := f()
		switch {
		case cuts%2 != 0 || l.cuts.Load() != cuts:
			l.awaitWriter()
		case errors.Is(err, fs.ErrNotExist) && (*l.segments.Load())[0] != first:
			// retention deleted the segment that was being read
		default:
			if errors.Is(err, ErrCorrupt) {
				count(l.env.opts.Metrics.Corrupted)
			}
			return t, err
		}
	}
}

// searchTime finds the first record of s at or after ts in [start, limit).
func (l *Log) searchTime(s *segment, next record.Offset, ts int64, start, limit record.Offset) (TimestampOffset, error) {
	from, err := s.lookupTime(ts, next)
	if err != nil {
		return noTimestampOffset(), err
	}
	found := noTimestampOffset()
	size := s.size.Load()
	pos, first, err := s.seek(next, max(from, start, s.base), size)
	if err != nil {
		return found, err
	}
	err = scanSegment(s, pos, size, first.base, true, func(b record.Batch, pos int64, _ int) error {
		if b.BaseOffset() >= limit {
			return errFound
		}
		if b.MaxTimestamp() < ts || b.LastOffset() < start {
			return nil
		}
		t, err := firstAt(b, ts, start)
		if err != nil {
			return &CorruptionError{Path: s.log.path, Pos: pos, Err: err}
		}
		if t.Offset != record.NoOffset && t.Offset < limit {
			found = t
			return errFound
		}
		return nil
	})
	if errors.Is(err, errFound) {
		err = nil
	}
	return found, err
}

// firstAt finds the first record of a batch at or after ts, and at or after offset start.
func firstAt(b record.Batch, ts int64, start record.Offset) (TimestampOffset, error) {
	if b.Attributes().LogAppendTime() && whole(b) {
		return TimestampOffset{b.MaxTimestamp(), max(b.BaseOffset(), start), b.LeaderEpoch()}, nil
	}
	for r, err := range b.Records(maxBatchOutput) {
		if err != nil {
			return noTimestampOffset(), err //nolint:wrapcheck // wrapped by the caller
		}
		if r.Timestamp >= ts && r.Offset >= start {
			return TimestampOffset{r.Timestamp, r.Offset, b.LeaderEpoch()}, nil
		}
	}
	return noTimestampOffset(), nil
}

// whole reports whether a batch has all of its records still.
func whole(b record.Batch) bool { return b.Count() == b.LastOffsetDelta()+1 }

// MaxTimestamp finds the record with the largest timestamp in [log start, upTo); the first of several.
// Errors: *CorruptionError, ErrClosed. Concurrent.
func (l *Log) MaxTimestamp(upTo record.Offset) (TimestampOffset, error) {
	return l.stable(func() (TimestampOffset, error) {
		segs := *l.segments.Load()
		start, limit := l.LogStart(), min(upTo, record.Offset(l.next.Load()))
		best := noTimestampOffset()
		for i, s := range segs {
			next := l.nextOf(segs, i)
			if next <= start || s.base >= limit {
				continue
			}
			latest, err := s.maxTimestamp(next)
			if err != nil {
				return best, err
			}
			if latest.ts <= best.Timestamp {
				continue
			}
			t, err := l.maxInSegment(s, next, latest, start, limit)
			if err != nil {
				return best, err
			}
			if t.Timestamp > best.Timestamp {
				best = t
			}
		}
		return best, nil
	})
}

// maxInSegment finds the largest timestamp of s in [start, limit); latest is that of the whole segment.
func (l *Log) maxInSegment(s *segment, next record.Offset, latest timeEntry, start, limit record.Offset) (TimestampOffset, error) {
	best := noTimestampOffset()
	from, size := s.base, s.size.Load()
	if at := s.base + record.Offset(latest.rel); start <= s.base && at < limit {
		from = at // the batch that holds it is known
	}
	pos, first, err := s.seek(next, max(from, start), size)
	if err != nil {
		return best, err
	}
	err = scanSegment(s, pos, size, first.base, true, func(b record.Batch, pos int64, _ int) error {
		if b.BaseOffset() >= limit || best.Timestamp >= latest.ts {
			return errFound
		}
		if b.MaxTimestamp() <= best.Timestamp {
			return nil
		}
		if err := maxInBatch(b, start, limit, &best); err != nil {
			return &CorruptionError{Path: s.log.path, Pos: pos, Err: err}
		}
		return nil
	})
	if errors.Is(err, errFound) {
		err = nil
	}
	return best, err
}

func maxInBatch(b record.Batch, start, limit record.Offset, best *TimestampOffset) error {
	if b.Attributes().LogAppendTime() && whole(b) {
		*best = TimestampOffset{b.MaxTimestamp(), max(b.BaseOffset(), start), b.LeaderEpoch()}
		return nil
	}
	for r, err := range b.Records(maxBatchOutput) {
		if err != nil {
			return err //nolint:wrapcheck // wrapped by the caller
		}
		if r.Offset >= start && r.Offset < limit && r.Timestamp > best.Timestamp {
			*best = TimestampOffset{r.Timestamp, r.Offset, b.LeaderEpoch()}
		}
	}
	return nil
}

// SegmentMaxTimestamp is the largest timestamp of a segment's batches, −1 if it has none. Concurrent.
// Errors: ErrNoSuchSegment, *CorruptionError.
func (l *Log) SegmentMaxTimestamp(base record.Offset) (int64, error) {
	segs, i := l.find(base)
	if i < 0 || segs[i].base != base {
		return noTimestamp, ErrNoSuchSegment
	}
	t, err := segs[i].maxTimestamp(l.nextOf(segs, i))
	return t.ts, err
}

// maxTimestamp is the largest timestamp of the segment and the last offset of the batch that holds it.
func (s *segment) maxTimestamp(next record.Offset) (timeEntry, error) {
	s.imu.Lock()
	defer s.imu.Unlock()
	if err := s.ensureIndexLocked(next); err != nil {
		return timeEntry{}, err
	}
	if m := s.mem.Load(); m != nil {
		return m.max(), s.damage
	}
	if s.maxKnown {
		return s.maxTime, nil
	}
	e, ok, err := s.lastTimeLocked()
	if err != nil {
		return e, err
	}
	if ok {
		s.maxTime, s.maxKnown = e, true
		return e, nil
	}
	if err := s.rebuildIndexLocked(next); err != nil {
		return e, err
	}
	if m := s.mem.Load(); m != nil {
		return m.max(), s.damage
	}
	return s.maxTime, nil
}

// lastTimeLocked reads the last entry of the time index and reports whether it is true.
func (s *segment) lastTimeLocked() (timeEntry, bool, error) {
	if s.times == 0 {
		return timeEntry{ts: noTimestamp}, true, nil
	}
	var b [timeIndexEntryLen]byte
	if err := s.readTime(b[:], s.times-1); err != nil {
		return timeEntry{}, false, err
	}
	e := decodeTimeEntry(b[:])
	ok, err := s.timeTrue(e)
	return e, ok, err
}

func (s *segment) readTime(p []byte, i int) error {
	f, err := s.timeIndex.acquire()
	if err != nil {
		return err
	}
	defer s.timeIndex.release()
	return readFull(f, p, int64(i)*timeIndexEntryLen)
}

// timeTrue holds a time entry against the batch that it names: time indexes have no checksum. Caller
// holds imu; the offset index is not asked: it may lie too.
func (s *segment) timeTrue(e timeEntry) (bool, error) {
	pos, last := int64(0), record.Offset(-1)
	if s.offsets > 0 {
		f, err := s.index.acquire()
		if err != nil {
			return false, err
		}
		defer s.index.release()
		i, b, err := lookupFile(f, s.offsets, indexEntryLen, func(b []byte) bool { return decodeIndexEntry(b).rel <= e.rel })
		if err != nil {
			return false, err
		}
		if i >= 0 {
			x := decodeIndexEntry(b[:])
			pos, last = int64(x.pos), s.base+record.Offset(x.rel)
		}
	}
	return s.timeAt(e, pos, last)
}

// timeAt reports whether the batch that a time entry names holds its timestamp; the walk to it begins
// at the batch at pos, which ends with offset last.
func (s *segment) timeAt(e timeEntry, pos int64, last record.Offset) (bool, error) {
	want := s.base + record.Offset(e.rel)
	_, b, err := s.walk(pos, last, want, s.size.Load())
	if errors.Is(err, ErrCorrupt) {
		return false, nil
	}
	return err == nil && b.next-1 == want && b.maxTs == e.ts, err
}

// lookupTime returns an offset before which every record of the segment is older than ts.
func (s *segment) lookupTime(ts int64, next record.Offset) (record.Offset, error) {
	if m := s.mem.Load(); m != nil {
		return s.lookupTimeMem(m, ts)
	}
	s.imu.Lock()
	defer s.imu.Unlock()
	for first := true; ; first = false {
		if err := s.ensureIndexLocked(next); err != nil {
			return 0, err
		}
		if s.mem.Load() != nil || s.times == 0 {
			break
		}
		e, ok, err := s.lookupTimeFileLocked(ts)
		if err != nil || !ok {
			return s.base, err
		}
		if ok, err = s.timeTrue(e); err != nil {
			return 0, err
		}
		if ok {
			return s.base + record.Offset(e.rel), nil
		}
		if !first {
			break
		}
		if err := s.rebuildIndexLocked(next); err != nil {
			return 0, err
		}
	}
	if m := s.mem.Load(); m != nil {
		return s.lookupTimeMem(m, ts)
	}
	return s.base, nil
}

// lookupTimeMem is lookupTime in the index in memory, whose first entries may come from a file.
func (s *segment) lookupTimeMem(m *memIndex, ts int64) (record.Offset, error) {
	e, ok := m.lookupTime(ts)
	if !ok {
		return s.base, nil
	}
	good, err := s.timeTrueMem(m, e)
	if err != nil || !good {
		return s.base, err // the whole segment is read instead
	}
	return s.base + record.Offset(e.rel), nil
}

func (s *segment) timeTrueMem(m *memIndex, e timeEntry) (bool, error) {
	pos, last := int64(0), record.Offset(-1)
	if x, ok := m.lookup(int64(e.rel)); ok {
		pos, last = int64(x.pos), s.base+record.Offset(x.rel)
	}
	return s.timeAt(e, pos, last)
}

func (s *segment) lookupTimeFileLocked(ts int64) (timeEntry, bool, error) {
	f, err := s.timeIndex.acquire()
	if err != nil {
		return timeEntry{}, false, err
	}
	defer s.timeIndex.release()
	i, b, err := lookupFile(f, s.times, timeIndexEntryLen, func(b []byte) bool { return decodeTimeEntry(b).ts <= ts })
	return decodeTimeEntry(b[:]), i >= 0, err
}
