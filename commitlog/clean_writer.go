package commitlog

import (
	"errors"
	"fmt"
	"math"

	"github.com/stelemq/stele/internal/vfs"
	"github.com/stelemq/stele/protocol/record"
)

// cleanBuffer is how much output is gathered before it is written.
const cleanBuffer = 1 << 20

// errTooLarge: what is left of a group takes more than a segment can hold.
var errTooLarge = errors.New("commitlog: compacted segment of more than 2 GiB")

// cleanWriter writes the batches of a compacted segment, without holes: the offsets of batches that were dropped belong to the
// batch before them where that has no producer, and else to an empty batch. No batch reaches over the beginning of a leader
// epoch, so that the epochs made anew from the segment are those of the log.
type cleanWriter struct {
	f     vfs.File
	wait  func(n int) error
	index *memIndex
	base  record.Offset
	pos   int64 // of buf in the file

	buf []byte
	// last is the newest batch, held back in buf from there on: it may have to be extended. −1: none.
	last int
	// gap: the offsets [gapFrom, gapTo), of gapEpoch, belong to no batch yet.
	gapFrom, gapTo record.Offset
	gapEpoch       record.LeaderEpoch
}

func newCleanWriter(f vfs.File, base record.Offset, interval int, wait func(int) error) *cleanWriter {
	return &cleanWriter{f: f, wait: wait, index: newMemIndex(interval), base: base, last: -1, gapFrom: record.NoOffset}
}

// drop leaves a batch out.
func (w *cleanWriter) drop(b record.Batch) {
	if w.gapFrom != record.NoOffset && w.gapEpoch != b.LeaderEpoch() {
		w.fill()
	}
	if w.gapFrom == record.NoOffset {
		w.gapFrom, w.gapEpoch = b.BaseOffset(), b.LeaderEpoch()
	}
	w.gapTo = b.NextOffset()
}

// fill gives the gap to a batch.
func (w *cleanWriter) fill() {
	from, to := w.gapFrom, w.gapTo
	if from == record.NoOffset {
		return
	}
	w.gapFrom = record.NoOffset
	if w.last >= 0 {
		b := record.Batch(w.buf[w.last:])
		if !b.HasProducerID() && b.LeaderEpoch() == w.gapEpoch && !b.Attributes().Control() {
			b.Extend(to)
			return
		}
	}
	w.settle()
	w.last = len(w.buf)
	w.buf = record.AppendGap(w.buf, from, to, w.gapEpoch)
}

// settle notes the batch that was held back in the index: it stays as it is.
func (w *cleanWriter) settle() {
	if w.last < 0 {
		return
	}
	b := record.Batch(w.buf[w.last:])
	w.index.add(relOf(b.LastOffset(), w.base), w.pos+int64(w.last), len(b), b.MaxTimestamp())
	w.last = -1
}

// add writes a batch as it is.
func (w *cleanWriter) add(b record.Batch) error {
	return w.build(func(dst []byte) ([]byte, error) { return append(dst, b...), nil })
}

// build writes the batch that f appends.
func (w *cleanWriter) build(f func(dst []byte) ([]byte, error)) (err error) {
	w.fill()
	w.settle()
	if len(w.buf) >= cleanBuffer {
		if err := w.flush(); err != nil {
			return err
		}
	}
	at := len(w.buf)
	out, err := f(w.buf)
	if err != nil {
		return err
	}
	w.buf, w.last = out, at
	return nil
}

// flush writes what is settled.
func (w *cleanWriter) flush() error {
	if len(w.buf) == 0 {
		return nil
	}
	if w.pos+int64(len(w.buf)) > math.MaxInt32 {
		return errTooLarge
	}
	if err := w.wait(len(w.buf)); err != nil {
		return err
	}
	if _, err := w.f.WriteAt(w.buf, w.pos); err != nil {
		return fmt.Errorf("write compacted segment: %w", err)
	}
	w.pos += int64(len(w.buf))
	w.buf = w.buf[:0]
	return nil
}

// finish writes the rest, and returns the size.
func (w *cleanWriter) finish() (int64, error) {
	w.fill()
	w.settle()
	if err := w.flush(); err != nil {
		return 0, err
	}
	w.index.seal()
	return w.pos, nil
}
