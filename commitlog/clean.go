package commitlog

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"time"

	"github.com/stelemq/stele/protocol/record"
)

// Compaction, as Kafka's LogCleaner does it: of each key the newest record stays, with its offset. A turn reads what has been
// appended since the turn before (the dirty part), notes the newest offset of each key in it, and writes all segments up to
// there anew without the records that have a newer one. Segments are swapped by renames (clean_swap.go).
//
// Unlike Kafka's, compacted segments have no holes: the offsets of batches that have gone belong to the batch before, or to
// an empty one in their place (cleanWriter). So what holds of all segments holds of these: each batch begins where the one
// before ends, and a base offset that has been damaged, which no checksum covers, is seen. Leader epochs begin with a batch,
// as they did.

// CompactPolicy is when a topic's logs are compacted, and how; names in comments are Kafka's topic configurations.
type CompactPolicy struct {
	// DeleteRetention is how long a tombstone is kept once the records that it deletes are gone (delete.retention.ms).
	DeleteRetention time.Duration
	// MinDirtyRatio is how much of a log is dirty before a turn is worth it (min.cleanable.dirty.ratio).
	MinDirtyRatio float64
	// MinLag is how old the records of a segment are before it is compacted (min.compaction.lag.ms), MaxLag how old a record may
	// become in the dirty part (max.compaction.lag.ms; 0 or math.MaxInt64: any age).
	MinLag, MaxLag time.Duration
}

// Cleanable is what a turn of compaction would do.
type Cleanable struct {
	// UpTo is where the dirty segments that may be compacted end: the base of a segment.
	UpTo record.Offset
	// CleanBytes lie before the dirty part, DirtyBytes are those of the dirty segments up to UpTo.
	CleanBytes, DirtyBytes int64
	// Overdue: MaxLag has passed.
	Overdue bool
}

// Ratio is how much of what would be read is dirty, between 0 and 1.
func (c Cleanable) Ratio() float64 {
	if c.DirtyBytes == 0 {
		return 0
	}
	return float64(c.DirtyBytes) / float64(c.CleanBytes+c.DirtyBytes)
}

// Due reports whether a policy wants the turn.
func (c Cleanable) Due(p CompactPolicy) bool {
	return c.DirtyBytes > 0 && (c.Overdue || c.Ratio() > p.MinDirtyRatio)
}

// Cleanable tells what could be compacted now: closed segments that end at or below upTo, that lie above the log start and
// are old enough. Errors: *CorruptionError, ErrClosed, or of reading. Concurrent.
func (l *Log) Cleanable(p CompactPolicy, upTo record.Offset) (Cleanable, error) {
	if l.closed.Load() {
		return Cleanable{}, ErrClosed
	}
	now := l.env.opts.Now()
	segs, start, dirty := *l.segments.Load(), l.LogStart(), l.cleaned.Load().clean
	c := Cleanable{UpTo: segs[0].base}
	oldest := int64(math.MaxInt64)
	for i, s := range segs[:len(segs)-1] {
		next := segs[i+1].base
		if next > upTo {
			break
		}
		size := s.size.Load()
		switch {
		case next <= start: // about to be deleted
		case next <= dirty:
			c.CleanBytes += size
		default:
			newest, err := s.maxTimestamp(next)
			if err != nil {
				return c, err
			}
			if p.MinLag > 0 && newest.ts > now.Add(-p.MinLag).UnixMilli() {
				return c, nil
			}
			first, err := s.firstTimestamp()
			if err != nil {
				return c, err
			}
			c.DirtyBytes += size
			oldest = min(oldest, first)
			c.Overdue = p.MaxLag > 0 && p.MaxLag < math.MaxInt64 && oldest < now.Add(-p.MaxLag).UnixMilli()
		}
		c.UpTo = next
	}
	return c, nil
}

// firstTimestamp is the largest timestamp of a segment's first batch, math.MaxInt64 where it has none.
func (s *segment) firstTimestamp() (int64, error) {
	f, err := s.log.acquire()
	if err != nil {
		return 0, err
	}
	defer s.log.release()
	var h [record.HeaderLen]byte
	if err := readFull(f, h[:], 0); err != nil {
		return 0, err
	}
	if ts := record.Batch(h[:]).MaxTimestamp(); ts >= 0 {
		return ts, nil
	}
	return math.MaxInt64, nil
}

// CleanOptions are those of one turn.
type CleanOptions struct {
	Policy CompactPolicy
	// UpTo bounds the segments that are written anew: none of them reaches beyond.
	UpTo record.Offset
	// MapBytes bounds the memory for keys.
	MapBytes int64
	// Wait is called before so many bytes are read or written; an error ends the turn. nil: no limit.
	Wait func(ctx context.Context, bytes int) error
	// Swap is called around each replacement of segments by compacted ones; an error before f is called ends the turn. nil: f is
	// called.
	Swap func(ctx context.Context, f func() error) error
}

// CleanStats is what a turn has done.
type CleanStats struct {
	ReadBytes, WrittenBytes       int64
	RecordsRead, RecordsRemoved   int64
	TombstonesRemoved             int64
	SegmentsBefore, SegmentsAfter int
	Keys                          int
	// Dirty is where the dirty part begins now.
	Dirty record.Offset
	Took  time.Duration
}

// errStopped ends a turn whose log is being closed.
var errStopped = fmt.Errorf("%w: compaction stopped", ErrClosed)

// Clean carries a turn out. A crash at any moment, and an error, leave each segment as it was or compacted. One turn runs at a
// time; everything else may run meanwhile, and Close ends the turn.
//
// Errors: *CorruptionError (nothing is removed because of it), ErrClosed, ctx's, of writing (the log goes on), or the failure
// that ended the log.
func (l *Log) Clean(ctx context.Context, o CleanOptions) (CleanStats, error) {
	l.cleanMu.Lock()
	defer l.cleanMu.Unlock()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	l.cancelClean.Store(&cancel)
	if err := l.usable(); err != nil || l.stopping.Load() {
		return CleanStats{}, errors.Join(err, errStopped)
	}
	began := time.Now()
	t := &cleanTurn{l: l, o: o, ctx: ctx, now: l.env.opts.Now().UnixMilli()}
	err := t.run()
	t.stats.Took, t.stats.Dirty = time.Since(began), l.cleaned.Load().clean
	if err != nil && l.stopping.Load() {
		err = errStopped
	}
	return t.stats, err
}

// stopCleaning ends a turn for good and keeps others from beginning until release is called.
func (l *Log) stopCleaning() (release func()) {
	l.stopping.Store(true)
	if cancel := l.cancelClean.Load(); cancel != nil {
		(*cancel)()
	}
	l.cleanMu.Lock()
	return l.cleanMu.Unlock
}

// Rewritten is the offset below which batches may not be what was appended any more; 0 if nothing has been compacted.
func (l *Log) Rewritten() record.Offset { return l.cleaned.Load().rewritten }

// cleanTurn is one turn of compaction.
type cleanTurn struct {
	l     *Log
	o     CleanOptions
	ctx   context.Context //nolint:containedctx // of this call of Clean
	now   int64           // milliseconds
	stats CleanStats

	keys *keyMap
	end  record.Offset // records from here on are not in the map, and stay
	data []byte        // of a batch, decompressed
	keep []bool        // of its records
}

func (t *cleanTurn) wait(n int) error {
	if err := t.ctx.Err(); err != nil {
		return fmt.Errorf("compaction: %w", err)
	}
	if t.o.Wait == nil {
		return nil
	}
	return t.o.Wait(t.ctx, n)
}

// segments are those that the turn may touch, above the log start, with the base of the one after them.
func (t *cleanTurn) segments() (segs []*segment, next record.Offset) {
	all, start := *t.l.segments.Load(), t.l.LogStart()
	t.l.smu.Lock()
	defer t.l.smu.Unlock()
	for i, s := range all[:len(all)-1] {
		end := all[i+1].base
		if end <= start {
			continue
		}
		// What has not been synced, or whose index has not, is being looked after by a checkpoint.
		if end > t.o.UpTo || s.synced < s.size.Load() || t.l.unsyncedLocked(s) {
			break
		}
		segs, next = append(segs, s), end
	}
	return segs, next
}

func (l *Log) unsyncedLocked(s *segment) bool { return slices.Contains(l.unsynced, s) }

func (t *cleanTurn) run() error {
	segs, next := t.segments()
	state := *t.l.cleaned.Load()
	dirty := state.clean
	if len(segs) == 0 || dirty >= next {
		return nil
	}
	dirty = max(dirty, segs[0].base)
	if err := t.buildMap(segs, dirty, next); err != nil {
		return err
	}
	defer t.keys.release()
	touched := segs
	for n, s := range segs {
		if s.base >= t.end {
			touched, next = segs[:n], s.base
			break
		}
	}
	// Said before anything is removed: whoever catches up from this replica must know.
	if err := t.l.storeCleaned(cleanedState{state.clean, max(state.rewritten, next)}); err != nil {
		return err
	}
	for _, g := range t.group(touched, next) {
		if err := t.cleanGroup(g); err != nil {
			return err
		}
	}
	return t.l.storeCleaned(cleanedState{t.end, max(state.rewritten, next)})
}

// buildMap notes the newest offset of each key in [dirty, next), as far as there is room: up to t.end.
func (t *cleanTurn) buildMap(segs []*segment, dirty, next record.Offset) (err error) {
	if t.keys, err = newKeyMap(int64(next-dirty), max(t.o.MapBytes, 8*keySlotBytes)); err != nil {
		return err
	}
	t.end = next
	for i, s := range segs {
		if i+1 < len(segs) && segs[i+1].base <= dirty {
			continue
		}
		err := t.scan(s, func(b record.Batch) error {
			if b.NextOffset() <= dirty {
				return nil
			}
			return t.noteKeys(b)
		})
		if errors.Is(err, errStop) {
			break
		}
		if err != nil {
			t.keys.release()
			return err
		}
	}
	t.stats.Keys = t.keys.used
	if t.end <= dirty { // not reached: a map holds one key at least
		t.keys.release()
		return fmt.Errorf("commitlog: no room for a single key")
	}
	return nil
}

// scan reads a segment with its checksums verified. What cannot be read ends the turn.
func (t *cleanTurn) scan(s *segment, f func(b record.Batch) error) error {
	return scanSegment(s, 0, s.size.Load(), s.base, true, func(b record.Batch, _ int64, n int) error {
		if err := t.wait(n); err != nil {
			return err
		}
		t.stats.ReadBytes += int64(n)
		return f(b)
	})
}

// noteKeys puts the keys of a batch into the map; errStop: it is full. Records of transactions do not replace others: whether
// they count is not known here.
func (t *cleanTurn) noteKeys(b record.Batch) error {
	if b.Count() == 0 || b.Attributes().Control() || b.Attributes().Transactional() {
		return nil
	}
	data, err := t.records(b)
	if err != nil {
		return err
	}
	full := record.NoOffset
	if err := b.Keys(data, func(_ int, k record.KeyView) {
		if full == record.NoOffset && k.Key != nil && !t.keys.put(k.Key, k.Offset) {
			full = k.Offset
		}
	}); err != nil {
		return t.corrupt(b, err)
	}
	if full != record.NoOffset {
		t.end = full
		return errStop
	}
	return nil
}

// records are those of a batch, decompressed; valid until the next call.
func (t *cleanTurn) records(b record.Batch) ([]byte, error) {
	data, err := b.Decompress(t.data, maxBatchOutput)
	if err != nil {
		return nil, t.corrupt(b, err)
	}
	if b.Attributes().Codec() != record.None {
		t.data = data
	}
	return data, nil
}

// corrupt is the error of a batch that checks and cannot be read all the same: a producer sent it so. Nothing is known to be
// damaged, so the replica stays.
func (t *cleanTurn) corrupt(b record.Batch, err error) error {
	return fmt.Errorf("commitlog: batch at offset %d of %s cannot be compacted: %w", b.BaseOffset(), t.l.env.dir, err)
}

// cleanGroup is consecutive segments that become one.
type cleanGroup struct {
	segs []*segment
	next record.Offset // base of the segment after them
}

// group puts segments together that are no larger than one may be.
func (t *cleanTurn) group(segs []*segment, next record.Offset) (groups []cleanGroup) {
	limit := t.l.cfg.Load().SegmentBytes
	var size int64
	for i, s := range segs {
		end := next
		if i+1 < len(segs) {
			end = segs[i+1].base
		}
		n := s.size.Load()
		if k := len(groups); k > 0 && size+n <= limit && int64(end-groups[k-1].segs[0].base) <= math.MaxInt32 {
			groups[k-1].segs, groups[k-1].next = append(groups[k-1].segs, s), end
			size += n
			continue
		}
		groups, size = append(groups, cleanGroup{[]*segment{s}, end}), n
	}
	return groups
}
