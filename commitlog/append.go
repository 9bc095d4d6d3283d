package commitlog

import (
	"fmt"
	"math"
	"slices"
	"time"

	"github.com/stelemq/stele/internal/vfs"
	"github.com/stelemq/stele/protocol/record"
)

// copyBatch is the size up to which a batch is copied next to its patched header instead of being
// written from where it lies: for small ones a copy costs less than two more slices in the vector.
const copyBatch = 2 << 10

// writeStep is the most that one call writes. The page cache takes a piece of memory as large as the call where it can, and
// what is large was free for long: a hypervisor has taken it away meanwhile and gives it back page by page. Calls of a
// mebibyte took five times the processor time of these, see docs/performance.md.
const writeStep = 256 << 10

// Entry is what Append writes as one piece: it never spans two segments.
type Entry struct {
	// Batches are whole batches back to back, whose own CRCs somebody has checked. They are neither modified nor kept.
	Batches []byte
	// Epoch is written to each batch as its partition leader epoch.
	Epoch record.LeaderEpoch

	// Set by Append: offsets [Base, Next), the bytes [Pos, Pos+Length) of Segment, and record.StoredCRC
	// over them.
	Base, Next record.Offset
	Segment    record.Offset
	Pos        int64
	Length     int64
	CRC        uint32
}

// appendState is the writer's scratch, reused by every Append.
type appendState struct {
	headers []byte   // patched headers, and small batches whole
	vec     [][]byte // what is written
	step    [][]byte // what of it one call writes
}

// Append writes entries at the end of the log, in order, and sets their positions. It starts a new
// segment before an entry that would make the active one too large, or when that one is too old.
// Readers may see the entries on return; they are not durable before a Sync.
//
// Errors: ErrInvalidBatch (nothing was written, the log works on), ErrClosed, or the failure that
// ended the log.
func (l *Log) Append(entries []Entry) error {
	l.wmu.Lock()
	defer l.wmu.Unlock()
	if err := l.usable(); err != nil {
		return err
	}
	if len(entries) == 0 {
		return nil
	}
	next := record.Offset(l.next.Load())
	var total int64
	for i := range entries {
		if err := place(&entries[i], next); err != nil {
			return fmt.Errorf("entry %d: %w", i, err)
		}
		next = entries[i].Next
		total += entries[i].Length
	}
	cfg := l.cfg.Load()
	var now time.Time
	for rest := entries; len(rest) > 0; {
		now = l.env.opts.Now()
		if l.mustRoll(cfg, &rest[0], now) {
			if err := l.roll(); err != nil {
				return l.fail(err)
			}
		}
		n := l.fitting(cfg, rest)
		if err := l.write(rest[:n], cfg, now); err != nil {
			return l.fail(err)
		}
		rest = rest[n:]
	}
	if f := l.env.opts.Metrics.Appended; f != nil {
		f(len(entries), total)
	}
	return nil
}

// place checks an entry's structure and sets its offsets and length.
func place(e *Entry, next record.Offset) error {
	e.Base = next
	if len(e.Batches) == 0 {
		return fmt.Errorf("%w: no batch", ErrInvalidBatch)
	}
	for rest := e.Batches; len(rest) > 0; {
		b, r, err := record.Next(rest)
		if err != nil {
			return fmt.Errorf("%w: %w", ErrInvalidBatch, err)
		}
		if b.LastOffsetDelta() < 0 {
			return fmt.Errorf("%w: last offset delta %d", ErrInvalidBatch, b.LastOffsetDelta())
		}
		next += record.Offset(b.LastOffsetDelta()) + 1
		rest = r
	}
	e.Next, e.Length = next, int64(len(e.Batches))
	if e.Length > math.MaxInt32 || next-e.Base > math.MaxInt32 || next < 0 {
		return fmt.Errorf("%w: entry too large", ErrInvalidBatch)
	}
	return nil
}

// fits reports whether an entry may stand at pos of segment s.
func fits(cfg *Config, s *segment, pos int64, e *Entry) bool {
	if int64(e.Next-1-s.base) > math.MaxInt32 {
		return false // index entries hold relative offsets in 31 bits
	}
	return pos == 0 || pos+e.Length <= cfg.SegmentBytes
}

func (l *Log) mustRoll(cfg *Config, e *Entry, now time.Time) bool {
	s := l.active()
	pos := s.size.Load()
	if !fits(cfg, s, pos, e) {
		return true
	}
	return pos > 0 && (now.Sub(s.firstAppend) >= cfg.SegmentAge-s.jitter(cfg) || s.mem.Load().full(cfg.MaxIndexBytes))
}

// fitting is how many of the entries go into the active segment, at least one.
func (l *Log) fitting(cfg *Config, entries []Entry) int {
	s := l.active()
	pos := s.size.Load()
	for n := range entries {
		if n > 0 && !fits(cfg, s, pos, &entries[n]) {
			return n
		}
		pos += entries[n].Length
	}
	return len(entries)
}

// write writes entries to the active segment in one vector.
func (l *Log) write(entries []Entry, cfg *Config, now time.Time) error {
	s := l.active()
	from := s.size.Load()
	total := l.assemble(s, entries, from)
	f, err := s.log.acquire()
	if err != nil {
		return err
	}
	defer s.log.release()
	if err := s.preallocate(f, from, total, cfg.SegmentBytes); err != nil {
		return err
	}
	err = l.scratch.write(f, from)
	clear(l.scratch.vec) // the caller's bytes are not kept
	clear(l.scratch.step[:cap(l.scratch.step)])
	if err != nil {
		return fmt.Errorf("write segment %d at %d: %w", s.base, from, err)
	}
	if from == 0 {
		s.firstAppend = now
	}
	l.derive(s, entries)
	next := entries[len(entries)-1].Next
	l.smu.Lock()
	l.end = End{Segment: s.base, Pos: from + total, Next: next}
	l.sinceCheck += total
	l.smu.Unlock()
	s.size.Store(from + total)
	l.next.Store(int64(next))
	return nil
}

// write writes the vector at off, in steps of writeStep.
func (a *appendState) write(f vfs.File, off int64) error {
	a.step = a.step[:0]
	room := writeStep
	for _, b := range a.vec {
		for len(b) > room {
			a.step = append(a.step, b[:room])
			if err := writeVec(f, a.step, off); err != nil {
				return err
			}
			off += writeStep
			b, room, a.step = b[room:], writeStep, a.step[:0]
		}
		if len(b) > 0 {
			a.step, room = append(a.step, b), room-len(b)
		}
	}
	return writeVec(f, a.step, off)
}

func writeVec(f vfs.File, v [][]byte, off int64) (err error) {
	if len(v) == 1 {
		_, err = f.WriteAt(v[0], off)
	} else {
		_, err = f.WriteVec(v, off)
	}
	return err //nolint:wrapcheck // wrapped by the caller
}

// assemble builds the vector: patched copies of the first 16 bytes of each batch, and the rest of it
// from where it lies. It sets the entries' positions and checksums, and returns the length.
func (l *Log) assemble(s *segment, entries []Entry, pos int64) (total int64) {
	a := &l.scratch
	need := 0
	for i := range entries {
		for rest := entries[i].Batches; len(rest) > 0; {
			n := int(batchLen(rest))
			need += headerBytes(n)
			rest = rest[n:]
		}
	}
	// Nothing may move while the vector points into it.
	a.headers, a.vec = slices.Grow(a.headers[:0], need), a.vec[:0]
	from := 0 // of the run of headers that is not in the vector yet
	for i := range entries {
		e := &entries[i]
		e.Segment, e.Pos, e.CRC = s.base, pos+total, 0
		base := e.Base
		for rest := e.Batches; len(rest) > 0; {
			n := int(batchLen(rest))
			b := record.Batch(rest[:n])
			e.CRC = record.StoredCRCOfValid(e.CRC, b, base, e.Epoch)
			var patch [record.PatchLen]byte
			record.Patch(&patch, b, base, e.Epoch)
			a.headers = append(a.headers, patch[:]...)
			if n <= copyBatch {
				a.headers = append(a.headers, b[record.PatchLen:]...)
			} else {
				a.vec = append(a.vec, a.headers[from:len(a.headers):len(a.headers)], b[record.PatchLen:])
				from = len(a.headers)
			}
			base += record.Offset(b.LastOffsetDelta()) + 1
			rest = rest[n:]
		}
		total += e.Length
	}
	if from < len(a.headers) {
		a.vec = append(a.vec, a.headers[from:])
	}
	return total
}

func headerBytes(batch int) int {
	if batch <= copyBatch {
		return batch
	}
	return record.PatchLen
}

// derive brings indexes, producer state and epochs up to the entries just written.
func (l *Log) derive(s *segment, entries []Entry) {
	// A checkpoint takes the producer state first: epochs and indexes must be ahead of it.
	for i := range entries {
		if e := &entries[i]; e.Epoch >= 0 && e.Epoch != l.epochs.latest() {
			l.epochs.assign(e.Epoch, e.Base)
		}
	}
	m := s.mem.Load()
	l.producers.mu.Lock()
	for i := range entries {
		e := &entries[i]
		base, pos := e.Base, e.Pos
		for rest := e.Batches; len(rest) > 0; {
			n := int(batchLen(rest))
			b := record.Batch(rest[:n])
			last := base + record.Offset(b.LastOffsetDelta())
			m.add(relOf(last, s.base), pos, n, b.MaxTimestamp())
			l.producers.updateLocked(b, base)
			base, pos, rest = last+1, pos+int64(n), rest[n:]
		}
	}
	l.producers.mu.Unlock()
}

// Roll closes the active segment and starts a new one at the log's end, unless the active one is empty.
func (l *Log) Roll() error {
	l.wmu.Lock()
	defer l.wmu.Unlock()
	if err := l.usable(); err != nil {
		return err
	}
	if l.active().size.Load() == 0 {
		return nil
	}
	return l.fail(l.roll())
}

func (l *Log) roll() error {
	l.env.derivedMu.Lock()
	defer l.env.derivedMu.Unlock()
	old, base := l.active(), record.Offset(l.next.Load())
	if err := old.trim(); err != nil {
		return fmt.Errorf("roll: %w", err)
	}
	s, err := l.createSegment(base)
	if err != nil {
		return fmt.Errorf("roll: %w", err)
	}
	m := old.mem.Load()
	m.seal()
	if err := old.flushIndex(m); err != nil {
		return fmt.Errorf("roll: %w", err)
	}
	old.imu.Lock()
	old.checked, old.offsets, old.times = true, old.flushed.offsets, old.flushed.times
	old.maxKnown, old.maxTime = true, m.max()
	old.imu.Unlock()
	l.takeSnapshotLocked()
	segs := append(slices.Clone(*l.segments.Load()), s)
	l.smu.Lock()
	l.unsynced = append(l.unsynced, old)
	l.rolled = true
	l.end = End{Segment: base, Next: base}
	l.smu.Unlock()
	l.segments.Store(&segs)
	old.mem.Store(nil) // readers find the files checked
	count(l.env.opts.Metrics.Rolled)
	return nil
}

// takeSnapshotLocked keeps the producer state as of now, where a segment begins, for the next checkpoint.
func (l *Log) takeSnapshotLocked() {
	ps, at := l.producers.snapshot()
	l.pending = append(l.pending, snapshot{at, AppendProducerSnapshot(nil, ps)})
}

// createSegment creates an empty active segment; its name is not durable yet.
func (l *Log) createSegment(base record.Offset) (*segment, error) {
	s := newSegment(&l.env, base)
	f, err := l.env.fs.Create(s.log.path)
	if err != nil {
		return nil, fmt.Errorf("create segment: %w", err)
	}
	s.log.pin(f)
	s.pinned = true
	s.mem.Store(newMemIndex(l.cfg.Load().IndexIntervalBytes))
	s.firstAppend = l.env.opts.Now()
	s.nameDirty = true
	return s, nil
}

// AppendStored appends the bytes of e as they are stored to dst. e has been appended.
func (l *Log) AppendStored(dst []byte, e *Entry) []byte {
	dst = slices.Grow(dst, len(e.Batches))
	base := e.Base
	for rest := e.Batches; len(rest) > 0; {
		n := int(batchLen(rest))
		b := record.Batch(rest[:n])
		var patch [record.PatchLen]byte
		record.Patch(&patch, b, base, e.Epoch)
		dst = append(append(dst, patch[:]...), b[record.PatchLen:]...)
		base += record.Offset(b.LastOffsetDelta()) + 1
		rest = rest[n:]
	}
	return dst
}
