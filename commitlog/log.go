package commitlog

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/stelemq/stele/protocol/record"
)

// SegmentInfo describes one segment.
type SegmentInfo struct {
	Base record.Offset
	Size int64 // bytes
}

// End is where a log ends.
type End struct {
	Segment record.Offset // base offset of the last segment
	Pos     int64         // the byte of it after the last one
	Next    record.Offset // the offset that the next record gets
}

// Log is one replica's log. See the package comment for who may call what at the same time.
//
// Lock order: cleanMu, filesMu, wmu, environment.derivedMu, smu; the locks of segments, producers and epochs are leaves.
type Log struct {
	env environment

	cfg       atomic.Pointer[Config]
	segments  atomic.Pointer[[]*segment] // immutable, ascending, never empty; the last one is active
	start     atomic.Int64               // log start offset
	next      atomic.Int64               // log end offset
	cuts      atomic.Uint64              // grows before and after each truncation: odd while one is going on
	failure   atomic.Pointer[failure]
	epochs    epochs
	producers *ProducerStates
	hints     hints

	closed atomic.Bool

	cleaned     atomic.Pointer[cleanedState]
	cancelClean atomic.Pointer[context.CancelFunc] // of the turn of compaction under way
	stopping    atomic.Bool                        // no further turn begins
	cleanMu     sync.Mutex                         // held by a turn of compaction
	filesMu     sync.Mutex                         // held while files of closed segments are removed or replaced

	wmu sync.Mutex
	// wmu serialises writers and guards:
	scratch  appendState
	unstored bool // something has changed that no checkpoint would notice

	smu sync.Mutex
	// smu guards, with segment.synced and segment.nameDirty:
	end        End
	unsynced   []*segment // closed segments whose index files have not been synced
	sinceCheck int64      // bytes appended since the last checkpoint of derived state
	rolled     bool       // since the last checkpoint
	doomed     []doomedFile

	// derived state on disk, guarded by env.derivedMu:
	snapshots    []record.Offset // of .snapshot files, ascending
	pending      []snapshot      // taken where segments begin, not stored yet, ascending
	epochsStored uint64          // value of epochs.changes that the checkpoint file holds
}

// snapshot is an encoded producer snapshot.
type snapshot struct {
	at    record.Offset
	bytes []byte
}

// failure is the error that ended the log.
type failure struct{ err error }

// fail makes err sticky and returns it. The first failure stays.
func (l *Log) fail(err error) error {
	if err == nil {
		return nil
	}
	l.failure.CompareAndSwap(nil, &failure{fmt.Errorf("commitlog: log %s has failed: %w", l.env.dir, err)})
	return l.failure.Load().err
}

// Err is the error that ended the log, nil while it works.
func (l *Log) Err() error {
	if f := l.failure.Load(); f != nil {
		return f.err
	}
	return nil
}

// usable reports why the writer may not go on.
func (l *Log) usable() error {
	if l.closed.Load() {
		return ErrClosed
	}
	return l.Err()
}

// SetConfig changes what may change at run time; it holds from the next Append on. Concurrent.
func (l *Log) SetConfig(c Config) {
	c = c.withDefaults()
	l.cfg.Store(&c)
}

// Dir is the log's directory.
func (l *Log) Dir() string { return l.env.dir }

// LogStart is the first offset that may be read.
func (l *Log) LogStart() record.Offset { return record.Offset(l.start.Load()) }

// End is where the next entry goes (if it does not start a new segment).
func (l *Log) End() End {
	l.smu.Lock()
	defer l.smu.Unlock()
	return l.end
}

// LatestEpoch is the newest leader epoch assigned, record.NoEpoch if none.
func (l *Log) LatestEpoch() record.LeaderEpoch { return l.epochs.latest() }

// EpochAt is the leader epoch in force at o, record.NoEpoch if none is known.
func (l *Log) EpochAt(o record.Offset) record.LeaderEpoch {
	c := l.epochs.cursor()
	return c.at(o)
}

// Segments lists the segments, ascending; the last one is active.
func (l *Log) Segments() []SegmentInfo {
	segs := *l.segments.Load()
	out := make([]SegmentInfo, len(segs))
	for i, s := range segs {
		out[i] = SegmentInfo{Base: s.base, Size: s.size.Load()}
	}
	return out
}

// Size is the sum of the segments' bytes.
func (l *Log) Size() (n int64) {
	for _, s := range *l.segments.Load() {
		n += s.size.Load()
	}
	return n
}

// find returns the segment that holds o: the last one that begins at or before it, and the base of the
// one after it (the log's end for the active one). nil if o lies below all.
func (l *Log) find(o record.Offset) (segs []*segment, i int) {
	segs = *l.segments.Load()
	i, ok := slices.BinarySearchFunc(segs, o, func(s *segment, o record.Offset) int {
		switch {
		case s.base < o:
			return -1
		case s.base > o:
			return 1
		default:
			return 0
		}
	})
	if !ok {
		i--
	}
	return segs, i
}

// nextOf is the base of the segment after segs[i], the log's end for the last one.
func (l *Log) nextOf(segs []*segment, i int) record.Offset {
	if i+1 < len(segs) {
		return segs[i+1].base
	}
	return record.Offset(l.next.Load())
}

func (l *Log) active() *segment {
	segs := *l.segments.Load()
	return segs[len(segs)-1]
}

// segment returns the segment with this base.
func (l *Log) segment(base record.Offset) (*segment, error) {
	segs, i := l.find(base)
	if i < 0 || segs[i].base != base {
		return nil, fmt.Errorf("%w: %d", ErrNoSuchSegment, base)
	}
	return segs[i], nil
}

// ProducerEntry is a copy of what the log knows of a producer. Concurrent.
func (l *Log) ProducerEntry(id int64) (Producer, bool) { return l.producers.Get(id) }

// Producers lists the producers that the log knows, by id. Concurrent.
func (l *Log) Producers() []Producer { return l.producers.All() }

// ExpireProducers forgets the producers without an open transaction whose last timestamp lies before
// beforeMillis, and returns their ids. What it forgot may be back after a start that has to scan.
func (l *Log) ExpireProducers(beforeMillis int64) ([]int64, error) {
	l.wmu.Lock()
	defer l.wmu.Unlock()
	if err := l.usable(); err != nil {
		return nil, err
	}
	ids := l.producers.Expire(beforeMillis)
	l.unstored = l.unstored || len(ids) > 0
	return ids, nil
}

// AssignEpoch notes that leader epoch e begins at start, even before there is a batch of it.
func (l *Log) AssignEpoch(e record.LeaderEpoch, start record.Offset) error {
	l.wmu.Lock()
	defer l.wmu.Unlock()
	if err := l.usable(); err != nil {
		return err
	}
	if e < 0 || start < l.LogStart() || start > record.Offset(l.next.Load()) {
		return fmt.Errorf("%w: epoch %d at %d", ErrOffsetOutOfRange, e, start)
	}
	l.epochs.assign(e, start)
	return nil
}

// Close flushes the indexes and the producer state, syncs and closes the log. It is idempotent. Of a
// log that has failed it only closes the files and returns the failure.
func (l *Log) Close() error {
	defer l.stopCleaning()()
	l.wmu.Lock()
	defer l.wmu.Unlock()
	if l.closed.Swap(true) {
		return nil
	}
	err := l.Err()
	if err == nil {
		err = l.fail(l.closeClean())
	}
	for _, s := range *l.segments.Load() {
		s.log.close()
		s.index.close()
		s.timeIndex.close()
	}
	return err
}

func (l *Log) closeClean() error {
	l.env.derivedMu.Lock()
	defer l.env.derivedMu.Unlock()
	a := l.active()
	if err := a.trim(); err != nil {
		return err
	}
	if err := l.syncSegments(*l.segments.Load()); err != nil {
		return err
	}
	if l.derivedStoredLocked() {
		return l.syncNames(false)
	}
	if err := l.checkpointLocked(); err != nil {
		return err
	}
	return l.syncNames(true)
}

// derivedStoredLocked reports whether a checkpoint would store what is stored already.
func (l *Log) derivedStoredLocked() bool {
	l.smu.Lock()
	defer l.smu.Unlock()
	if _, changes := l.epochs.snapshot(); changes != l.epochsStored || l.unstored || l.rolled || l.sinceCheck > 0 {
		return false
	}
	next := record.Offset(l.next.Load())
	if k := len(l.snapshots); k > 0 {
		return l.snapshots[k-1] == next
	}
	return next == (*l.segments.Load())[0].base
}
