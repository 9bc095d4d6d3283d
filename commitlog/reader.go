package commitlog

import (
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"sync"

	"github.com/stelemq/stele/internal/vfs"
	"github.com/stelemq/stele/protocol/record"
)

// hints remember where the last reads ended, so that a consumer that goes on finds its place without
// the index.
type hints struct {
	mu sync.Mutex
	// mu guards:
	at   [8]hint
	next int
}

type hint struct {
	seg    *segment
	offset record.Offset // base of the batch at pos
	pos    int64
	cuts   uint64 // value of Log.cuts when it was true
}

func (h *hints) put(x hint) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.at[h.next] = x
	h.next = (h.next + 1) % len(h.at)
}

func (h *hints) get(s *segment, o record.Offset, cuts uint64) (int64, bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for i := range h.at {
		if x := &h.at[i]; x.seg == s && x.offset == o && x.cuts == cuts {
			return x.pos, true
		}
	}
	return 0, false
}

// Read appends whole batches to dst: the one that holds from (it may begin before it) and those after
// it, up to the last whose next offset is at most upTo, as far as they fit in maxBytes. With atLeastOne
// the first one comes whole even if it is larger. Nothing is appended where from is at upTo or the
// log's end. The checksum of every batch has been verified.
//
// Errors: ErrOffsetOutOfRange, *CorruptionError (what lies before the damage is returned first, without
// an error), ErrClosed. Concurrent.
func (l *Log) Read(dst []byte, from, upTo record.Offset, maxBytes int, atLeastOne bool) ([]byte, error) {
	for {
		if l.closed.Load() {
			return dst, ErrClosed
		}
		cuts := l.cuts.Load()
		out, err := l.read(dst, from, upTo, maxBytes, atLeastOne)
		if e := (*epochError)(nil); errors.As(err, &e) {
			if out, err = l.readAgain(e, dst, from, upTo, maxBytes, atLeastOne); err == nil {
				return out, nil
			}
		}
		if cuts%2 == 0 && l.cuts.Load() == cuts {
			if errors.Is(err, ErrCorrupt) {
				count(l.env.opts.Metrics.Corrupted)
			}
			return out, err
		}
		l.awaitWriter() // a truncation was under way: what was read proves nothing
	}
}

// ReadStored is Read for copies of the log: it begins at the first segment's base, also where that lies below the log start.
// No truncation below upTo may run.
func (l *Log) ReadStored(dst []byte, from, upTo record.Offset, maxBytes int, atLeastOne bool) ([]byte, error) {
	switch {
	case from >= l.LogStart():
		return l.Read(dst, from, upTo, maxBytes, atLeastOne)
	case l.closed.Load():
		return dst, ErrClosed
	}
	out, err := l.readFiles(dst, from, upTo, maxBytes, atLeastOne)
	if errors.Is(err, ErrCorrupt) {
		count(l.env.opts.Metrics.Corrupted)
	}
	return out, err
}

// readAgain repeats a read that found a batch of the wrong leader epoch, if the epochs are what is wrong.
func (l *Log) readAgain(e *epochError, dst []byte, from, upTo record.Offset, maxBytes int, atLeastOne bool) ([]byte, error) {
	if ok, err := l.epochsTrue(l.epochs.around(e.at)); ok || err != nil {
		return dst, errors.Join(&e.CorruptionError, err)
	}
	if err := l.rebuildEpochs(); err != nil {
		return dst, err
	}
	return l.read(dst, from, upTo, maxBytes, atLeastOne)
}

// awaitWriter returns when the writer's present call has ended.
func (l *Log) awaitWriter() {
	l.wmu.Lock()
	defer l.wmu.Unlock()
}

func (l *Log) read(dst []byte, from, upTo record.Offset, maxBytes int, atLeastOne bool) ([]byte, error) {
	if from < l.LogStart() || int64(from) > l.next.Load() {
		return dst, fmt.Errorf("%w: %d is not in [%d, %d]", ErrOffsetOutOfRange, from, l.LogStart(), l.next.Load())
	}
	return l.readFiles(dst, from, upTo, maxBytes, atLeastOne)
}

// readFiles is read without regard to the log start.
func (l *Log) readFiles(dst []byte, from, upTo record.Offset, maxBytes int, atLeastOne bool) ([]byte, error) {
	before := len(dst)
	upTo = min(upTo, record.Offset(l.next.Load()))
	for from < upTo {
		segs, i := l.find(from)
		if i < 0 {
			return dst, fmt.Errorf("%w: %d", ErrOffsetOutOfRange, from)
		}
		r := segmentRead{
			l: l, s: segs[i], next: l.nextOf(segs, i), from: from, upTo: upTo,
			budget: maxBytes - (len(dst) - before), whole: atLeastOne && len(dst) == before,
		}
		out, done, err := r.read(dst)
		if err != nil {
			if len(out) > before && errors.Is(err, ErrCorrupt) {
				return out, nil // the next read begins at the damage and reports it
			}
			return dst[:before], l.readError(r.s, from, err)
		}
		dst = out
		if !done || i+1 == len(segs) {
			break
		}
		from = segs[i+1].base
	}
	return dst, nil
}

// readError makes reads of a segment that retention has just deleted out of range.
func (l *Log) readError(s *segment, from record.Offset, err error) error {
	if errors.Is(err, fs.ErrNotExist) && l.gone(s) {
		return fmt.Errorf("%w: %d", ErrOffsetOutOfRange, from)
	}
	return err
}

// segmentRead is one read within one segment.
type segmentRead struct {
	l      *Log
	s      *segment
	next   record.Offset // base of the following segment
	from   record.Offset
	upTo   record.Offset
	budget int
	whole  bool // the first batch comes whole
}

// read appends batches to dst; done: the segment's end was reached.
func (r *segmentRead) read(dst []byte) (out []byte, done bool, err error) {
	size := r.s.size.Load()
	if r.budget < record.HeaderLen && !r.whole {
		return dst, false, nil
	}
	f, err := r.s.log.acquire()
	if err != nil {
		return dst, false, err
	}
	defer r.s.log.release()
	pos, base, err := r.l.locate(r.s, r.next, r.from, size)
	if err == nil && pos >= size && r.from < r.next {
		err = r.corrupt(size, errShort)
	}
	if err != nil {
		return dst, false, err
	}
	out, good, err := r.steps(f, dst, pos, size, base)
	done = pos+good.bytes == size
	if good.bytes > 0 {
		r.l.hints.put(hint{seg: r.s, offset: good.next, pos: pos + good.bytes, cuts: r.l.cuts.Load()})
	}
	if err == nil && good.looked && done && good.next < min(r.next, r.upTo) {
		err = r.corrupt(size, errShort)
	}
	return out, done && good.looked, err
}

const (
	// readStep is how much is read at once, to be checked while the processor still has it at hand.
	readStep = 256 << 10
	// readHead is how much is read after a batch larger than a step, to see whether the next one fits.
	readHead = 4 << 10
)

// progress is how far a read has come.
type progress struct {
	bytes  int64         // of good batches
	next   record.Offset // after them
	last   int64         // length of the last of them
	need   int64         // length of the batch behind them; 0 = unknown
	end    bool          // that one is beyond the bound
	looked bool          // the first batch was within the budget
}

// steps reads and checks batches at pos as far as the budget reaches. It appends those that are good to dst.
func (r *segmentRead) steps(f vfs.File, dst []byte, pos, size int64, base record.Offset) ([]byte, progress, error) {
	start := len(dst)
	limit := min(int64(max(r.budget, record.HeaderLen)), size-pos)
	dst = slices.Grow(dst, int(limit))
	g := progress{next: base}
	for have, want := int64(0), min(limit, readStep); ; {
		p := dst[start : start+int(want)]
		if err := readFull(f, p[have:], pos+have); err != nil {
			return dst[:start], progress{}, err
		}
		have = want
		if !g.looked {
			first, err := r.header(p, pos, size, base)
			if err != nil {
				return dst[:start], g, err
			}
			if first > limit || first > int64(r.budget) {
				if !r.whole {
					return dst[:start], g, nil
				}
				limit = first
				dst = slices.Grow(dst[:start+int(have)], int(first-have))
			}
			g.looked = true
		}
		if err := r.verify(&g, p, pos, size); err != nil || g.end || have == limit {
			return dst[:start+int(g.bytes)], g, err
		}
		step := int64(readStep)
		if g.last > readStep && g.need == 0 {
			step = readHead
		}
		if g.bytes+g.need > limit {
			return dst[:start+int(g.bytes)], g, nil
		}
		want = min(limit, max(g.bytes+g.need, have+step))
	}
}

// header checks the header at the beginning of p and returns the batch's length.
func (r *segmentRead) header(p []byte, pos, size int64, from record.Offset) (int64, error) {
	if len(p) < record.HeaderLen {
		return 0, r.corrupt(pos, errTorn)
	}
	n, err := checkHeader(record.Batch(p[:record.HeaderLen]), from)
	if err != nil {
		return 0, r.corrupt(pos, err)
	}
	if n > size-pos {
		return 0, r.corrupt(pos, errTorn)
	}
	return n, nil
}

func (r *segmentRead) corrupt(pos int64, err error) error {
	return &CorruptionError{Path: r.s.log.path, Pos: pos, Err: err}
}

// verify moves g over the batches of p, which was read from pos on, that are whole, good and below upTo.
func (r *segmentRead) verify(g *progress, p []byte, pos, size int64) error {
	epochs := r.l.epochs.cursor()
	for g.need = 0; int64(len(p))-g.bytes >= record.HeaderLen; g.need = 0 {
		at := pos + g.bytes
		n, err := r.header(p[g.bytes:], at, size, g.next)
		if err != nil {
			return err
		}
		// Where nothing can be returned, that is said of good batches only: a damaged one may claim any offset.
		beyond := record.Batch(p[g.bytes:]).NextOffset() > r.upTo
		if beyond && g.bytes > 0 {
			g.end = true
			return nil
		}
		if g.need = n; int64(len(p))-g.bytes < n {
			return nil
		}
		b := record.Batch(p[g.bytes : g.bytes+n])
		if err := b.VerifyCRC(); err != nil {
			return r.corrupt(at, err)
		}
		if beyond {
			g.end = true
			return nil
		}
		if e := epochs.at(g.next); e != b.LeaderEpoch() && b.LeaderEpoch() >= 0 && g.next >= r.l.LogStart() {
			return &epochError{CorruptionError{Path: r.s.log.path, Pos: at, Err: errEpoch}, g.next}
		}
		g.bytes, g.last, g.next = g.bytes+n, n, b.NextOffset()
	}
	return nil
}

// errEpoch: the leader epoch of a batch is in no checksum of Kafka's.
var errEpoch = errors.New("batch is not of the leader epoch that was in force at its offset")

// epochError is damage of a batch's leader epoch, or of what is known of epochs.
type epochError struct {
	CorruptionError
	at record.Offset
}

// Unwrap makes it a *CorruptionError to others.
func (e *epochError) Unwrap() error { return &e.CorruptionError }

// locate returns the position and base of the first batch of s whose last offset is at or after o, size
// if there is none. What an index says is held against the batch that it points to.
func (l *Log) locate(s *segment, next, o record.Offset, size int64) (pos int64, base record.Offset, err error) {
	if o <= s.base {
		return 0, s.base, nil
	}
	if pos, ok := l.hints.get(s, o, l.cuts.Load()); ok && pos <= size {
		return pos, o, nil
	}
	pos, b, err := s.seek(next, o, size)
	return pos, b.base, err
}

// seek is locate without hints; it returns the header's offsets too.
func (s *segment) seek(next, o record.Offset, size int64) (pos int64, b batchInfo, err error) {
	for first := true; ; first = false {
		at, last, err := s.lookup(o, next)
		if err != nil {
			return 0, b, err
		}
		if at < size {
			pos, b, err = s.walk(at, last, o, size)
		} else {
			err = &CorruptionError{Path: s.index.path, Err: errIndex}
		}
		if err == nil || !first || !errors.Is(err, ErrCorrupt) || last < 0 {
			return pos, b, err
		}
		if s.mem.Load() != nil {
			return s.walk(0, -1, o, size) // entries read from a file at the start: the long way
		}
		if err := s.distrust(next); err != nil {
			return 0, b, err
		}
	}
}

// batchInfo is what a walk learns from a header.
type batchInfo struct {
	base, next record.Offset
	epoch      record.LeaderEpoch
	maxTs      int64
}

// walk goes from the batch at pos to the first one whose last offset is at or after o. last is the last
// offset that the batch at pos must have, −1 if nothing is known of it.
func (s *segment) walk(pos int64, last, o record.Offset, size int64) (int64, batchInfo, error) {
	f, err := s.log.acquire()
	if err != nil {
		return 0, batchInfo{}, err
	}
	defer s.log.release()
	sc := newScanner(f, pos, size, baseAt(s, pos), false)
	defer sc.close()
	sc.chunk = seekChunk
	for {
		b, at, err := sc.step()
		if err != nil || b == nil {
			return at, batchInfo{}, err
		}
		if last >= 0 && b.LastOffset() != last {
			return at, batchInfo{}, &CorruptionError{Path: s.index.path, Pos: at, Err: errIndex}
		}
		last = -1
		if b.LastOffset() >= o {
			return at, batchInfo{b.BaseOffset(), b.NextOffset(), b.LeaderEpoch(), b.MaxTimestamp()}, nil
		}
	}
}

// ReadAt fills p with stored bytes of a segment, as an Entry's Pos and Length name them. They are not
// verified: hold them against Entry.CRC. Concurrent, but not with a truncation below pos+len(p).
// Errors: ErrNoSuchSegment, *CorruptionError where the segment is shorter, ErrClosed.
func (l *Log) ReadAt(base record.Offset, pos int64, p []byte) error {
	if l.closed.Load() {
		return ErrClosed
	}
	s, err := l.segment(base)
	if err != nil {
		return err
	}
	if pos < 0 || pos+int64(len(p)) > s.size.Load() {
		return &CorruptionError{Path: s.log.path, Pos: pos, Err: errTorn}
	}
	f, err := s.log.acquire()
	if err != nil {
		return err
	}
	defer s.log.release()
	return readFull(f, p, pos)
}

// EndOffsetForEpoch answers OffsetForLeaderEpoch as Kafka does (LeaderEpochFileCache.endOffsetFor): the
// largest epoch at or below e and where the next one begins, the log's end for the latest; (−1, −1) for
// an epoch not known yet; e itself and the first known start for one older than all. Concurrent.
func (l *Log) EndOffsetForEpoch(e record.LeaderEpoch) (record.LeaderEpoch, record.Offset, error) {
	for first := true; ; first = false {
		cuts := l.cuts.Load()
		epoch, end, used := l.epochs.endOffset(e, record.Offset(l.next.Load()))
		ok, err := l.epochsTrue(used)
		if cuts%2 != 0 || l.cuts.Load() != cuts {
			l.awaitWriter()
			continue
		}
		if err != nil {
			return record.NoEpoch, record.NoOffset, err
		}
		if ok || !first {
			return epoch, end, nil
		}
		if err := l.rebuildEpochs(); err != nil {
			return record.NoEpoch, record.NoOffset, err
		}
	}
}

// epochsTrue holds entries against the batches that they point to: the checkpoint's text has no checksum.
func (l *Log) epochsTrue(es []epochEntry) (bool, error) {
	for _, e := range es {
		if e.start < l.LogStart() || int64(e.start) >= l.next.Load() {
			continue
		}
		segs, i := l.find(e.start)
		if i < 0 {
			continue
		}
		pos, b, err := segs[i].seek(l.nextOf(segs, i), e.start, segs[i].size.Load())
		switch {
		case errors.Is(err, fs.ErrNotExist) && l.gone(segs[i]):
			continue
		case err != nil:
			return false, err
		case pos >= segs[i].size.Load():
			continue // a hole that compaction has left
		case b.epoch < e.epoch, b.base <= e.start && b.epoch != e.epoch, b.base < e.start && e.start != l.LogStart():
			return false, nil
		}
	}
	return true, nil
}

// rebuildEpochs makes the epochs anew from the headers of all batches.
func (l *Log) rebuildEpochs() error {
	l.wmu.Lock()
	defer l.wmu.Unlock()
	if l.closed.Load() {
		return ErrClosed
	}
	list, err := scanEpochs(*l.segments.Load())
	if err != nil {
		return err
	}
	l.env.opts.Logger.Warn("leader epochs made anew", "entries", len(list))
	if latest := l.epochs.latest(); len(list) == 0 || latest > list[len(list)-1].epoch {
		// The newest epoch may have no batch yet.
		if old, _ := l.epochs.snapshot(); old[len(old)-1].start == record.Offset(l.next.Load()) {
			list = append(list, old[len(old)-1])
		}
	}
	l.epochs.replace(list)
	l.epochs.truncateStart(l.LogStart())
	return nil
}

// scanEpochs reads the headers of all batches of the segments.
func scanEpochs(segs []*segment) ([]epochEntry, error) {
	var c epochs
	for _, s := range segs {
		if err := scanSegment(s, 0, s.size.Load(), s.base, false, func(b record.Batch, _ int64, _ int) error {
			if e := b.LeaderEpoch(); e >= 0 && e != c.latest() {
				c.assign(e, b.BaseOffset())
			}
			return nil
		}); err != nil {
			return nil, err
		}
	}
	return c.list, nil
}

// scanSegment calls f for the batches in [pos, end) of a segment, with where each begins and its length.
func scanSegment(s *segment, pos, end int64, next record.Offset, crc bool, f func(b record.Batch, pos int64, n int) error) error {
	if pos >= end {
		return nil
	}
	file, err := s.log.acquire()
	if err != nil {
		return err
	}
	defer s.log.release()
	sc := newScanner(file, pos, end, next, crc)
	defer sc.close()
	for {
		b, at, err := sc.step()
		if err != nil || b == nil {
			return err
		}
		if err := f(b, at, int(sc.pos-at)); err != nil {
			return err
		}
	}
}
