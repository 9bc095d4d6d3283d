package commitlog

import (
	"github.com/stelemq/stele/protocol/record"
)

// filter appends to the output what stays of a batch (Kafka's Cleaner.shouldRetainRecord, MemoryRecords.filterTo) and
// reports whether that is anything else than the batch itself.
func (t *cleanTurn) filter(w *cleanWriter, b record.Batch) (changed bool, err error) {
	n := int64(b.Count())
	t.stats.RecordsRead += n
	switch {
	case b.Attributes().Control(), b.BaseOffset() >= t.end:
		return false, w.add(b) // markers stay: what they belong to may be there still
	case n == 0 && t.lastOfProducer(b):
		return false, w.add(b)
	case n == 0:
		w.drop(b)
		return true, nil
	}
	data, err := t.records(b)
	if err != nil {
		return false, err
	}
	kept, tombstones, err := t.judge(b, data)
	if err != nil {
		return false, err
	}
	t.stats.RecordsRemoved += n - int64(kept)
	if kept == 0 {
		if !t.lastOfProducer(b) {
			w.drop(b)
			return true, nil
		}
		return true, w.build(func(dst []byte) ([]byte, error) { return record.AppendEmpty(dst, b), nil })
	}
	horizon := int64(record.NoHorizon)
	if tombstones && !b.Attributes().DeleteHorizon() && !b.Attributes().Transactional() {
		horizon = t.now + t.o.Policy.DeleteRetention.Milliseconds()
	}
	if kept == int(n) && horizon == record.NoHorizon {
		return false, w.add(b)
	}
	return true, w.build(func(dst []byte) ([]byte, error) {
		dst, err := record.Thin(dst, b, data, horizon, func(i int) bool { return t.keep[i] })
		if err != nil {
			return nil, t.corrupt(b, err)
		}
		return dst, nil
	})
}

// judge decides about each record of a batch, in t.keep, and says how many stay and whether one of them is a tombstone.
//
// A tombstone stays until the horizon in its batch's header, which the first turn sets that meets it (KIP-534): by then what
// it deletes has gone, and consumers have had delete.retention.ms to see it.
func (t *cleanTurn) judge(b record.Batch, data []byte) (kept int, tombstones bool, err error) {
	expired := b.Attributes().DeleteHorizon() && b.BaseTimestamp() <= t.now
	transactional := b.Attributes().Transactional()
	t.keep = append(t.keep[:0], make([]bool, b.Count())...)
	err = b.Keys(data, func(i int, k record.KeyView) {
		switch {
		case k.Offset >= t.end:
		case k.Key == nil:
			return // from when the topic was not compacted: it has no place in it
		case k.Offset < t.keys.newest(k.Key):
			return
		case !k.HasValue && expired && !transactional:
			t.stats.TombstonesRemoved++
			return
		}
		t.keep[i] = true
		kept++
		tombstones = tombstones || !k.HasValue
	})
	if err != nil {
		return 0, false, t.corrupt(b, err)
	}
	return kept, tombstones, nil
}

// lastOfProducer reports whether a batch holds the last sequence number of a producer that is remembered: a log whose state
// is made anew from its batches must find it.
func (t *cleanTurn) lastOfProducer(b record.Batch) bool {
	if !b.HasProducerID() {
		return false
	}
	p, ok := t.l.producers.Get(b.ProducerID())
	if !ok {
		return false
	}
	known := p.Batches()
	return len(known) > 0 && known[len(known)-1].LastOffset == b.LastOffset() && p.Epoch == b.ProducerEpoch()
}
