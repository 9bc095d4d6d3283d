package commitlog

import (
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"path/filepath"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/stelemq/stele/internal/vfs"
	"github.com/stelemq/stele/protocol/record"
)

// Preallocation grows in steps: the first is small, so that a thousand idle partitions do not eat a disk.
const (
	firstAllocation = 1 << 20
	allocationStep  = 16 << 20
)

// segment is one .log file with its two indexes.
type segment struct {
	env  *environment
	base record.Offset
	log  *lazyFile

	// size is how many bytes readers may see. The writer grows it after the bytes are written.
	size atomic.Int64
	// mem is the index in memory: always of the active segment, and of closed ones whose files are damaged.
	mem atomic.Pointer[memIndex]

	// The writer's own:
	allocated   int64
	firstAppend time.Time
	haste       float64                      // which part of segment.jitter.ms is taken off the segment's age
	flushed     struct{ offsets, times int } // entries of mem that stand in the files, guarded by env.derivedMu

	// Positions of what is synced, guarded by Log.smu.
	synced    int64
	nameDirty bool // the file's name has not been synced
	pinned    bool // log is pinned: active, or not synced

	index, timeIndex *lazyFile
	imu              sync.Mutex
	// replaced: the segment has been compacted, its files' names are another's; imu guards.
	replaced bool
	// imu guards the index files of a closed segment:
	checked  bool
	offsets  int // entries
	times    int
	maxTime  timeEntry
	maxKnown bool
	damage   error // of the segment, if mem covers only what lies before it
}

// environment is what the segments of a log share.
type environment struct {
	fs   vfs.FS
	dir  string
	opts *Options
	// derivedMu serialises what writes derived files (indexes of the active segment, epochs, producer
	// snapshots): Sync, roll, TruncateTo and Close. Taken after Log.wmu, before all other locks.
	derivedMu sync.Mutex
}

func (e *environment) path(name string) string { return filepath.Join(e.dir, name) }

func newSegment(env *environment, base record.Offset) *segment {
	lazy := func(suffix string) *lazyFile {
		return newLazyFile(env.fs, fileName(env.dir, base, suffix), env.opts.Files)
	}
	return &segment{
		env: env, base: base, log: lazy(logSuffix), index: lazy(indexSuffix), timeIndex: lazy(timeIndexSuffix),
		haste: rand.Float64(), //nolint:gosec // spreads load, no secret
	}
}

// jitter is how much earlier than by its age the segment is closed.
func (s *segment) jitter(cfg *Config) time.Duration {
	return time.Duration(s.haste * float64(min(cfg.SegmentJitter, cfg.SegmentAge)))
}

// preallocate reserves blocks for a write of n bytes at pos.
func (s *segment) preallocate(f vfs.File, pos, n, limit int64) error {
	if pos+n <= s.allocated {
		return nil
	}
	step := int64(allocationStep)
	if s.allocated == 0 {
		step = firstAllocation
	}
	to := max(pos+n, min(max(s.allocated, pos)+step, limit))
	err := f.Preallocate(pos, to-pos)
	if errors.Is(err, syscall.ENOSPC) {
		err = nil // less than a whole step is free: the write itself may still fit, or says that it does not
	}
	if err != nil {
		return fmt.Errorf("preallocate: %w", err)
	}
	s.allocated = to
	return nil
}

// trim gives back blocks reserved beyond the end.
func (s *segment) trim() error {
	size := s.size.Load()
	if s.allocated <= size {
		return nil
	}
	f, err := s.log.acquire()
	if err != nil {
		return err
	}
	defer s.log.release()
	s.allocated = 0
	if err := f.Truncate(size); err != nil {
		return fmt.Errorf("trim: %w", err)
	}
	return nil
}

// flushIndex writes the entries that the files lack. Caller holds env.derivedMu.
func (s *segment) flushIndex(m *memIndex) error {
	offsets, times, ni, nj := m.encode(s.flushed.offsets, s.flushed.times)
	if err := storeIndex(s.env.fs, s.timeIndex.path, times, int64(s.flushed.times)*timeIndexEntryLen); err != nil {
		return err
	}
	if err := storeIndex(s.env.fs, s.index.path, offsets, int64(s.flushed.offsets)*indexEntryLen); err != nil {
		return err
	}
	s.flushed.offsets, s.flushed.times = ni, nj
	return nil
}

// syncIndex makes both index files durable.
func (s *segment) syncIndex() error {
	for _, l := range []*lazyFile{s.timeIndex, s.index} {
		f, err := l.fs.Open(l.path)
		if err != nil {
			return fmt.Errorf("open index: %w", err)
		}
		if err := errors.Join(f.Sync(), f.Close()); err != nil {
			return fmt.Errorf("sync index: %w", err)
		}
	}
	return nil
}

// endRel is the first relative offset beyond the segment, given the next offset of the log.
func (s *segment) endRel(next record.Offset) int64 { return int64(next - s.base) }

// ensureIndex checks the index files of a closed segment once, and makes them anew if they are missing
// or damaged. next is the base of the following segment. Caller holds imu.
func (s *segment) ensureIndexLocked(next record.Offset) error {
	if s.replaced {
		return errReplaced
	}
	if s.checked || s.mem.Load() != nil {
		return nil
	}
	size := s.size.Load()
	ob, err1 := readFile(s.env.fs, s.index.path, size/minBatchLen*indexEntryLen)
	tb, err2 := readFile(s.env.fs, s.timeIndex.path, size/minBatchLen*timeIndexEntryLen)
	if err := errors.Join(err1, err2); err == nil {
		offsets, err1 := decodeIndex(ob, size)
		times, err2 := decodeTimeIndex(tb, s.endRel(next))
		if err1 == nil && err2 == nil && s.complete(offsets, times, next) {
			s.checked, s.offsets, s.times = true, len(ob)/indexEntryLen, len(tb)/timeIndexEntryLen
			return nil
		}
	} else if !errors.Is(err, fs.ErrNotExist) && !errors.Is(err, ErrCorrupt) {
		return err
	}
	return s.rebuildIndexLocked(next)
}

// complete reports whether the last entries fit each other, the batch that they point to and the
// segment's end: a file that has been cut short still looks well.
func (s *segment) complete(offsets []indexEntry, times []timeEntry, next record.Offset) bool {
	var last indexEntry
	size, want := s.size.Load(), record.Offset(-1)
	if k := len(offsets); k > 0 {
		last = offsets[k-1]
		want = s.base + record.Offset(last.rel)
		_, b, err := s.walk(int64(last.pos), want, want, size)
		if err != nil || len(times) == 0 || b.maxTs > times[len(times)-1].ts {
			return false
		}
	}
	_, b, err := s.walk(int64(last.pos), want, next-1, size)
	return err == nil && b.next == next
}

// rebuildIndexLocked makes the index of a closed segment from its batches. Caller holds imu.
func (s *segment) rebuildIndexLocked(next record.Offset) error {
	if s.replaced {
		return errReplaced
	}
	m, err := s.scanIndex(next)
	if errors.Is(err, ErrCorrupt) {
		// What lies before the damage stays readable; the damage is reported where it is read.
		s.env.opts.Logger.Error("segment is damaged", "base_offset", int64(s.base), "err", err)
		s.damage = err
		s.mem.Store(m)
		return nil
	}
	if err != nil {
		return err
	}
	m.seal()
	s.env.opts.Logger.Warn("index made anew", "base_offset", int64(s.base))
	count(s.env.opts.Metrics.IndexRebuilt)
	s.maxKnown, s.maxTime = true, m.max()
	s.index.retire()
	s.timeIndex.retire()
	ob, tb, ni, nj := m.encode(0, 0)
	if err := errors.Join(storeIndex(s.env.fs, s.index.path, ob, 0), storeIndex(s.env.fs, s.timeIndex.path, tb, 0)); err != nil {
		// An index is derived: it serves from memory where its file cannot be written.
		s.env.opts.Logger.Warn("index kept in memory", "base_offset", int64(s.base), "err", err)
		s.mem.Store(m)
		return nil
	}
	s.checked, s.offsets, s.times = true, ni, nj
	return nil
}

// scanIndex computes the index from the headers of all batches; with an error, of those before it.
func (s *segment) scanIndex(next record.Offset) (*memIndex, error) {
	f, err := s.log.acquire()
	if err != nil {
		return nil, err
	}
	defer s.log.release()
	m := newMemIndex(s.env.opts.IndexIntervalBytes)
	sc := newScanner(f, 0, s.size.Load(), s.base, false)
	defer sc.close()
	for {
		b, pos, err := sc.step()
		if err != nil {
			return m, err
		}
		if b == nil && sc.next != next {
			return m, &CorruptionError{Path: s.log.path, Pos: pos, Err: errShort}
		}
		if b == nil {
			return m, nil
		}
		if b.NextOffset() > next {
			return m, &CorruptionError{Path: s.log.path, Pos: pos, Err: errOrder}
		}
		m.add(relOf(b.LastOffset(), s.base), pos, int(sc.pos-pos), b.MaxTimestamp())
	}
}

// lookup returns the position of a batch at or before o, and the last offset of that batch; (0, -1) is
// the segment's beginning.
func (s *segment) lookup(o, next record.Offset) (pos int64, last record.Offset, err error) {
	rel := int64(o - s.base)
	if m := s.mem.Load(); m != nil {
		if e, ok := m.lookup(rel); ok {
			return int64(e.pos), s.base + record.Offset(e.rel), nil
		}
		return 0, -1, nil
	}
	s.imu.Lock()
	if err := s.ensureIndexLocked(next); err != nil {
		s.imu.Unlock()
		return 0, -1, err
	}
	n := s.offsets
	s.imu.Unlock()
	if s.mem.Load() != nil {
		return s.lookup(o, next)
	}
	if n == 0 {
		return 0, -1, nil
	}
	f, err := s.index.acquire()
	if err != nil {
		return 0, -1, err
	}
	defer s.index.release()
	i, b, err := lookupFile(f, n, indexEntryLen, func(b []byte) bool { return int64(decodeIndexEntry(b).rel) <= rel })
	if err != nil || i < 0 {
		return 0, -1, err
	}
	e := decodeIndexEntry(b[:])
	return int64(e.pos), s.base + record.Offset(e.rel), nil
}

// distrust makes the index anew after it has been caught lying.
func (s *segment) distrust(next record.Offset) error {
	if s.mem.Load() != nil {
		return nil
	}
	s.imu.Lock()
	defer s.imu.Unlock()
	s.checked = false
	return s.rebuildIndexLocked(next)
}

func count(f func()) {
	if f != nil {
		f()
	}
}
