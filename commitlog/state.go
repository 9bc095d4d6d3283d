package commitlog

import (
	"errors"
	"fmt"
	"slices"

	"github.com/stelemq/stele/protocol/record"
)

// EpochStart says that a leader epoch begins at an offset.
type EpochStart struct {
	Epoch record.LeaderEpoch
	Start record.Offset
}

// State is what the batches below an offset have built up: with it, a log that begins there knows what the whole one does.
type State struct {
	Offset record.Offset
	// Epochs begin below Offset, ascending.
	Epochs    []EpochStart
	Producers []Producer
	// Rewritten is the offset below which batches may not be what was appended (Log.Rewritten of where they come from).
	Rewritten record.Offset
}

// errStop ends a scan.
var errStop = errors.New("stop")

// Epochs lists the leader epochs and where each begins, ascending. Concurrent.
func (l *Log) Epochs() []EpochStart {
	list, _ := l.epochs.snapshot()
	out := make([]EpochStart, len(list))
	for i, e := range list {
		out[i] = EpochStart{e.epoch, e.start}
	}
	return out
}

// StateAt returns the state as of o, which must be the base of a batch or the log's end; no truncation below o may run. It
// reads the batches between the newest producer snapshot at or below o and o. Concurrent otherwise.
// Errors: ErrOffsetOutOfRange, *CorruptionError, fs.ErrNotExist (retention was faster), ErrClosed.
func (l *Log) StateAt(o record.Offset) (State, error) {
	if err := l.usable(); err != nil {
		return State{}, err
	}
	segs := *l.segments.Load()
	if o < segs[0].base || int64(o) > l.next.Load() {
		return State{}, fmt.Errorf("%w: state at %d", ErrOffsetOutOfRange, o)
	}
	l.env.derivedMu.Lock()
	at, ps, err := l.newestSnapshotLocked(o)
	l.env.derivedMu.Unlock()
	if err != nil {
		return State{}, err
	}
	states := NewProducerStates(at)
	states.reset(ps, at)
	if err := l.scanProducers(states, at, o); err != nil {
		return State{}, err
	}
	st := State{Offset: o, Producers: states.All(), Rewritten: min(l.Rewritten(), o)}
	for _, e := range l.Epochs() {
		if e.Start < o {
			st.Epochs = append(st.Epochs, e)
		}
	}
	return st, nil
}

// scanProducers notes the batches of [from, to).
func (l *Log) scanProducers(states *ProducerStates, from, to record.Offset) error {
	segs := *l.segments.Load()
	for i, s := range segs {
		next := l.nextOf(segs, i)
		if next <= from && i+1 < len(segs) || s.base >= to {
			continue
		}
		size := s.size.Load()
		pos, first := int64(0), batchInfo{base: s.base}
		if from > s.base {
			var err error
			if pos, first, err = s.seek(next, from, size); err != nil {
				return err
			}
		}
		err := scanSegment(s, pos, size, first.base, true, func(b record.Batch, _ int64, _ int) error {
			if b.BaseOffset() >= to {
				return errStop
			}
			states.Update(b)
			return nil
		})
		if err != nil && !errors.Is(err, errStop) {
			return err
		}
	}
	return nil
}

// Begin creates an empty log that begins at st.Offset and knows of what is below what st says. The directory must have no
// segments. Errors as Recovery.Finish.
func Begin(dir string, o Options, st State) (*Log, error) {
	r, err := OpenRecovery(dir, o)
	if err != nil {
		return nil, err
	}
	if len(r.segs) > 0 {
		return nil, errors.Join(fmt.Errorf("commitlog: %s is not empty", dir), r.Close())
	}
	l, err := r.Finish(End{Segment: st.Offset, Next: st.Offset}, st.Offset)
	if err != nil {
		return nil, err
	}
	list := make([]epochEntry, 0, len(st.Epochs))
	for _, e := range st.Epochs {
		list = append(list, epochEntry{e.Epoch, e.Start})
	}
	l.epochs.replace(list)
	l.producers.reset(slices.Clone(st.Producers), st.Offset)
	l.env.derivedMu.Lock()
	l.takeSnapshotLocked()
	l.env.derivedMu.Unlock()
	l.unstored = true
	// Written in any case: the files may be moved to where another log's were.
	l.cleaned.Store(&cleanedState{clean: record.NoOffset})
	if err := l.storeCleaned(cleanedState{0, st.Rewritten}); err != nil {
		return nil, errors.Join(err, l.Close())
	}
	return l, nil
}

// PositionOf returns where in its segment the batches below o end: those of the last segment that begins below o. o is the
// base of a batch or the log's end, above the first segment's base. Errors: ErrOffsetOutOfRange, ErrNotBatchBoundary,
// *CorruptionError.
func (l *Log) PositionOf(o record.Offset) (int64, error) {
	segs, i := l.find(o - 1)
	if i < 0 || int64(o) > l.next.Load() {
		return 0, fmt.Errorf("%w: position of %d", ErrOffsetOutOfRange, o)
	}
	s := segs[i]
	size := s.size.Load()
	if o == l.nextOf(segs, i) {
		return size, nil
	}
	pos, b, err := s.seek(l.nextOf(segs, i), o, size)
	if err != nil {
		return 0, err
	}
	if b.base != o {
		return 0, fmt.Errorf("%w: %d", ErrNotBatchBoundary, o)
	}
	return pos, nil
}
