package commitlog

import (
	"errors"
	"fmt"
	"io/fs"
	"math"
	"path/filepath"
	"slices"
	"time"

	"github.com/stelemq/stele/protocol/record"
)

// Finish cuts everything after end and opens the log. Indexes, leader epochs and producer state are
// taken from their files as far as a producer snapshot vouches for them, and computed from the batches
// beyond it, whose checksums are verified on the way. Nothing is synced but what must not come back;
// everything counts as dirty until the first Sync. A new log that begins at o has
// End{Segment: o, Next: o}.
//
// The Recovery is used up, also by an error.
// Errors: *CorruptionError (bytes are missing or damaged before end), ErrOffsetOutOfRange,
// ErrUnsupportedVersion, ErrClosed.
func (r *Recovery) Finish(end End, logStart record.Offset) (*Log, error) {
	if r.done {
		return nil, ErrClosed
	}
	r.done = true
	l, err := r.finish(end, logStart)
	if err != nil {
		r.closeFiles()
		return nil, fmt.Errorf("commitlog: recover %s: %w", r.env.dir, err)
	}
	return l, nil
}

func (r *Recovery) finish(end End, logStart record.Offset) (*Log, error) {
	if err := r.check(end, logStart); err != nil {
		return nil, err
	}
	l := &Log{producers: NewProducerStates(end.Segment)}
	l.env.fs, l.env.dir, l.env.opts = r.env.fs, r.env.dir, &r.opts
	l.SetConfig(r.opts.Config)
	l.end = end
	l.next.Store(int64(end.Next))
	l.start.Store(int64(logStart))
	if err := r.cut(l, end); err != nil {
		return nil, err
	}
	for _, s := range r.segs {
		s.env = &l.env
	}
	l.segments.Store(&r.segs)
	if err := r.loadCleaned(l); err != nil {
		return nil, err
	}
	// A producer snapshot vouches for indexes and epochs below its offset.
	from, ps, err := l.newestSnapshotLocked(end.Next)
	if err != nil {
		return nil, err
	}
	l.producers.reset(ps, from)
	if err := r.loadEpochs(l, from); err != nil {
		return nil, err
	}
	if err := r.catchUp(l, from); err != nil {
		return nil, err
	}
	l.epochs.truncateStart(logStart)
	return l, r.activate(l)
}

// cut removes what lies after end: segments, bytes, and producer snapshots, which must not come back
// when the log has grown differently. Left-over files go too.
func (r *Recovery) cut(l *Log, end End) error {
	i, ok := r.find(end.Segment)
	if !ok {
		if _, err := r.writable(end.Segment); err != nil {
			return err
		}
	}
	later := slices.Clone(r.segs[i+1:])
	r.segs = slices.Clip(r.segs[:i+1])
	s := r.segs[i]
	if s.size.Load() > end.Pos {
		f, err := s.log.acquire()
		if err != nil {
			return err
		}
		defer s.log.release()
		if err := f.Truncate(end.Pos); err != nil {
			return fmt.Errorf("truncate segment %d: %w", s.base, err)
		}
		if err := f.Sync(); err != nil { // as in Log.truncate
			return fmt.Errorf("sync segment %d: %w", s.base, err)
		}
		s.size.Store(end.Pos)
	}
	for _, n := range r.names {
		if at, ok := parseName(n, snapshotSuffix); ok {
			l.snapshots = append(l.snapshots, at)
		} else if r.isOrphan(n) {
			if err := r.env.fs.Remove(filepath.Join(r.env.dir, n)); err != nil && !errors.Is(err, fs.ErrNotExist) {
				return fmt.Errorf("remove left-over file: %w", err)
			}
		}
	}
	slices.Sort(l.snapshots)
	limit := end.Next
	if r.changed != record.NoOffset {
		limit = min(limit, r.changed)
	}
	for _, s := range later {
		s.env = &l.env
	}
	return l.removeBeyond(later, limit)
}

// loadEpochs reads the leader-epoch-checkpoint as far as it is vouched for.
func (r *Recovery) loadEpochs(l *Log, from record.Offset) error {
	if _, exists := slices.BinarySearch(r.names, epochsName); exists {
		l.epochsStored = math.MaxUint64 // whatever it holds, until it is known to be the list
	}
	if from == r.segs[0].base {
		return nil // every batch will be read
	}
	b, err := readFile(l.env.fs, l.env.path(epochsName), maxCheckpointBytes)
	var list []epochEntry
	if err == nil {
		list, err = parseEpochs(b)
	}
	switch {
	case err == nil:
		l.epochs.replace(list)
		l.epochsStored = l.epochs.changes
	case errors.Is(err, ErrUnsupportedVersion):
		return fmt.Errorf("%s: %w", epochsName, err)
	case errors.Is(err, fs.ErrNotExist), errors.Is(err, ErrCorrupt), errors.Is(err, errCheckpoint):
		l.env.opts.Logger.Warn("leader epochs are made anew", "err", err)
		if list, err = scanEpochs(*l.segments.Load()); err != nil {
			return err
		}
		l.epochs.replace(list)
	default:
		return err
	}
	if from == l.LogStart() {
		// Cut at the log start, the epoch of what has been deleted begins exactly there.
		l.epochs.truncateEnd(from + 1)
		return nil
	}
	l.epochs.truncateEnd(from)
	return nil
}

// catchUp reads all batches from the vouched offset on and what indexes need before it.
func (r *Recovery) catchUp(l *Log, from record.Offset) error {
	for i, s := range r.segs {
		next := l.nextOf(r.segs, i)
		last := i+1 == len(r.segs)
		if !last && s.size.Load() == 0 {
			return &CorruptionError{Path: s.log.path, Err: errShort}
		}
		if !last && next <= from {
			continue // closed and vouched for: its indexes are checked when they are used
		}
		m, reached, err := r.catchUpSegment(l, s, next, from)
		if err != nil {
			return err
		}
		if reached != next {
			return &CorruptionError{
				Path: s.log.path, Pos: s.size.Load(),
				Err: fmt.Errorf("%w: batches end at offset %d, the segment at %d", errOrder, reached, next),
			}
		}
		if last {
			s.mem.Store(m)
			return nil
		}
		m.seal()
		if err := s.flushIndex(m); err != nil {
			return err
		}
		s.checked, s.offsets, s.times = true, s.flushed.offsets, s.flushed.times
		s.maxKnown, s.maxTime = true, m.max()
		l.unsynced = append(l.unsynced, s)
		l.rolled = true
		l.takeSnapshotLocked()
	}
	return nil
}

// catchUpSegment reads one segment; it returns the index and the offset after the last batch.
func (r *Recovery) catchUpSegment(l *Log, s *segment, next, from record.Offset) (*memIndex, record.Offset, error) {
	offsets, times, err := r.vouchedIndex(s, next, from)
	if err != nil {
		return nil, 0, err
	}
	m, at := resumeIndex(l.cfg.Load().IndexIntervalBytes, offsets, times)
	if len(m.times) > 0 {
		// Timestamps have no checksum; the last one decides what the segment's largest is.
		if good, err := s.timeTrueMem(m, m.max()); err != nil {
			return nil, 0, err
		} else if !good {
			return r.withoutIndex(l, s, next, from)
		}
	}
	s.flushed.offsets, s.flushed.times = len(m.offsets), len(m.times)
	reached, expect := s.base, int32(-1)
	if len(offsets) > 0 {
		expect = offsets[len(offsets)-1].rel
	}
	err = scanSegment(s, at, s.size.Load(), baseAt(s, at), true, func(b record.Batch, pos int64, n int) error {
		if expect >= 0 && relOf(b.LastOffset(), s.base) != expect {
			return errIndex
		}
		if expect >= 0 && b.MaxTimestamp() > m.maxTs {
			return errIndex // the time index lacks entries
		}
		expect = -1
		m.add(relOf(b.LastOffset(), s.base), pos, n, b.MaxTimestamp())
		reached = b.NextOffset()
		if b.BaseOffset() < from {
			return nil
		}
		l.sinceCheck += int64(n)
		if e := b.LeaderEpoch(); e >= 0 && e != l.epochs.latest() {
			l.epochs.assign(e, b.BaseOffset())
		}
		l.producers.Update(b)
		return nil
	})
	if err != nil && expect >= 0 && (errors.Is(err, errIndex) || errors.Is(err, ErrCorrupt)) {
		return r.withoutIndex(l, s, next, from)
	}
	return m, reached, err
}

// withoutIndex is catchUpSegment after the index has been caught pointing to batches that are not there.
func (r *Recovery) withoutIndex(l *Log, s *segment, next, from record.Offset) (*memIndex, record.Offset, error) {
	l.env.opts.Logger.Warn("index is made anew", "base_offset", int64(s.base))
	count(l.env.opts.Metrics.IndexRebuilt)
	if err := s.clearIndex(); err != nil {
		return nil, 0, err
	}
	return r.catchUpSegment(l, s, next, from)
}

// vouchedIndex reads the entries of the index files that lie below from. Of damaged files it takes none.
// Files with more than that are cut: what is left must be good for other readers too.
func (r *Recovery) vouchedIndex(s *segment, next, from record.Offset) ([]indexEntry, []timeEntry, error) {
	size := s.size.Load()
	ob, err1 := r.indexBytes(s.index.path, size/minBatchLen*indexEntryLen)
	tb, err2 := r.indexBytes(s.timeIndex.path, size/minBatchLen*timeIndexEntryLen)
	if err := errors.Join(err1, err2); err != nil {
		return nil, nil, err
	}
	offsets, times := vouchedEntries(ob, tb, size, min(s.endRel(next), max(s.endRel(from), 0)))
	if len(ob) > 0 || len(tb) > 0 {
		if err := errors.Join(
			r.cutIndex(s.index.path, len(ob), len(offsets)*indexEntryLen),
			r.cutIndex(s.timeIndex.path, len(tb), len(times)*timeIndexEntryLen),
		); err != nil {
			return nil, nil, err
		}
	}
	return offsets, times, nil
}

// vouchedEntries decodes the entries below endRel. Damage before them makes all worthless: the two
// indexes are only good together.
func vouchedEntries(ob, tb []byte, size, endRel int64) ([]indexEntry, []timeEntry) {
	offsets, err1 := decodeIndex(ob, size)
	times, err2 := decodeTimeIndex(tb, math.MaxInt32+1)
	i, _ := slices.BinarySearchFunc(offsets, endRel, func(e indexEntry, rel int64) int { return int(int64(e.rel) - rel) })
	j, _ := slices.BinarySearchFunc(times, endRel, func(e timeEntry, rel int64) int { return int(int64(e.rel) - rel) })
	if err1 != nil && i == len(offsets) || err2 != nil && j == len(times) {
		return nil, nil
	}
	return offsets[:i], times[:j]
}

// indexBytes reads an index file, nothing where it is missing or larger than it can be.
func (r *Recovery) indexBytes(path string, limit int64) ([]byte, error) {
	if _, found := slices.BinarySearch(r.names, filepath.Base(path)); !found {
		return nil, nil
	}
	b, err := readFile(r.env.fs, path, max(limit, maxEmptyIndex))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	return b, err
}

// maxEmptyIndex is what an index file may hold beyond its segment: Kafka preallocates 10 MiB.
const maxEmptyIndex = 16 << 20

func (r *Recovery) cutIndex(path string, have, want int) error {
	if have == want {
		return nil
	}
	f, err := r.env.fs.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("open index: %w", err)
	}
	return errors.Join(f.Truncate(int64(want)), f.Close())
}

// activate makes the last segment ready to append to.
func (r *Recovery) activate(l *Log) error {
	s, err := r.writable(r.segs[len(r.segs)-1].base)
	if err != nil {
		return err
	}
	s.allocated = s.size.Load()
	s.firstAppend = r.opts.Now()
	if s.size.Load() == 0 {
		return nil
	}
	f, err := s.log.acquire()
	if err != nil {
		return err
	}
	defer s.log.release()
	var h [record.HeaderLen]byte
	if err := readFull(f, h[:], 0); err != nil {
		return err
	}
	// The age of the segment goes on from its first batch, unless that one claims to be from the future.
	if ts := record.Batch(h[:]).MaxTimestamp(); ts > 0 && time.UnixMilli(ts).Before(s.firstAppend) {
		s.firstAppend = time.UnixMilli(ts)
	}
	return nil
}
