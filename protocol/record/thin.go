package record

import (
	"encoding/binary"
	"fmt"
	"math"
	"slices"
)

// KeyView is what compaction looks at in a record.
type KeyView struct {
	Offset   Offset
	Key      []byte // nil if null; aliases the data
	HasValue bool
}

// Keys calls f for each record of the batch with its place in it; data is what b.Decompress returned. Nothing is allocated:
// values and headers are not looked at. Errors: ErrInvalid.
func (b Batch) Keys(data []byte, f func(i int, k KeyView)) error {
	base, count := b.BaseOffset(), b.Count()
	for i := range count {
		body, rest, ok := nextBody(data)
		if !ok {
			return fmt.Errorf("%w: record %d of %d", ErrInvalid, i, count)
		}
		data = rest
		_, p, ok1 := varlong(body[1:])
		delta, p, ok2 := varint(p)
		key, p, ok3 := nullableBytes(p)
		n, p, ok4 := varint(p)
		if !ok1 || !ok2 || !ok3 || !ok4 || delta < 0 || delta > b.LastOffsetDelta() || int(n) > len(p) {
			return fmt.Errorf("%w: record %d of %d", ErrInvalid, i, count)
		}
		f(int(i), KeyView{base + Offset(delta), key, n >= 0})
	}
	if len(data) > 0 {
		return fmt.Errorf("%w: %d bytes after %d records", ErrInvalid, len(data), count)
	}
	return nil
}

// nextBody splits the first record off, without its length; it has at least one byte, the attributes.
func nextBody(data []byte) (body, rest []byte, ok bool) {
	n, rest, ok := varint(data)
	if !ok || n < 1 || int(n) > len(rest) {
		return nil, nil, false
	}
	return rest[:n], rest[n:], true
}

// Thin appends batch b to dst with those records alone for which keep, called with each record's place in the batch, is
// true; data is what b.Decompress returned. Offsets, sequence numbers, the codec and everything else stay, as Kafka's cleaner
// has it; the largest timestamp is that of the records left. A horizon other than NoHorizon becomes the batch's delete horizon
// (KIP-534). At least one record must be kept. dst may not overlap b.
//
// Errors: ErrInvalid, ErrTooLarge.
func Thin(dst []byte, b Batch, data []byte, horizon int64, keep func(i int) bool) ([]byte, error) {
	at := len(dst)
	dst = append(dst, b[:HeaderLen]...)
	shift := int64(0) // what a record's timestamp delta grows by
	base := b.BaseTimestamp()
	if horizon != NoHorizon {
		shift, base = base-horizon, horizon
	}
	codec := b.Attributes().Codec()
	var body []byte
	if codec == None {
		body = dst
	} else {
		body = make([]byte, 0, len(data))
	}
	latest, kept := int64(math.MinInt64), int32(0)
	for i, rest := int32(0), data; i < b.Count(); i++ {
		whole := rest
		p, after, ok := nextBody(rest)
		if !ok {
			return nil, fmt.Errorf("%w: record %d of %d", ErrInvalid, i, b.Count())
		}
		rest = after
		if !keep(int(i)) {
			continue
		}
		delta, tail, ok := varlong(p[1:])
		if !ok {
			return nil, fmt.Errorf("%w: record %d of %d", ErrInvalid, i, b.Count())
		}
		kept++
		latest = max(latest, delta+b.BaseTimestamp())
		if shift == 0 {
			body = append(body, whole[:len(whole)-len(rest)]...)
		} else {
			body = appendRecord(body, p[0], delta+shift, tail)
		}
	}
	if kept == 0 {
		return nil, fmt.Errorf("%w: no records", ErrInvalid)
	}
	if codec == None {
		dst = body
	} else {
		var err error
		if dst, err = compress(dst, body, codec, DefaultLevel); err != nil {
			return nil, err
		}
	}
	if len(dst)-at > math.MaxInt32 {
		return nil, fmt.Errorf("%w: batch of more than 2 GiB", ErrTooLarge)
	}
	p := dst[at:]
	if horizon != NoHorizon {
		binary.BigEndian.PutUint16(p[posAttributes:], uint16(b.Attributes()|attrDeleteHorizon)) //nolint:gosec // bits
	}
	if !b.Attributes().LogAppendTime() {
		binary.BigEndian.PutUint64(p[posMaxTimestamp:], uint64(latest)) //nolint:gosec // bits
	}
	binary.BigEndian.PutUint64(p[posBaseTimestamp:], uint64(base)) //nolint:gosec // bits
	binary.BigEndian.PutUint32(p[posCount:], uint32(kept))         //nolint:gosec // not negative
	seal(p)
	return dst, nil
}

// NoHorizon: the batch's delete horizon, or that it has none, stays.
const NoHorizon = math.MinInt64

// appendRecord appends a record with a timestamp delta of its own; tail is what follows that.
func appendRecord(dst []byte, attributes byte, delta int64, tail []byte) []byte {
	dst = appendVarint(dst, int64(1+varintLen(delta)+len(tail)))
	dst = append(dst, attributes)
	dst = appendVarint(dst, delta)
	return append(dst, tail...)
}

// seal sets length and checksum of a batch.
func seal(p []byte) {
	binary.BigEndian.PutUint32(p[posLength:], uint32(len(p)-lengthOverhead)) //nolint:gosec // bounded by the callers
	binary.BigEndian.PutUint32(p[posCRC:], CRC(0, p[posAttributes:]))
}

// AppendEmpty appends what is left of a batch without its records: the header, with which a producer's last sequence
// number and epoch stay known (Kafka's DefaultRecordBatch.writeEmptyHeader).
func AppendEmpty(dst []byte, b Batch) []byte {
	at := len(dst)
	dst = append(dst, b[:HeaderLen]...)
	p := dst[at:]
	attr := b.Attributes() &^ (attrCodec | attrDeleteHorizon)
	binary.BigEndian.PutUint16(p[posAttributes:], uint16(attr)) //nolint:gosec // bits
	binary.BigEndian.PutUint64(p[posBaseTimestamp:], math.MaxUint64)
	binary.BigEndian.PutUint32(p[posCount:], 0)
	seal(p)
	return dst
}

// AppendGap appends a batch without records and without a producer that stands for the offsets [from, to).
func AppendGap(dst []byte, from, to Offset, e LeaderEpoch) []byte {
	at := len(dst)
	dst = slices.Grow(dst, HeaderLen)[:at+HeaderLen]
	p := dst[at:]
	clear(p)
	be := binary.BigEndian
	be.PutUint64(p[posBaseOffset:], uint64(from)) //nolint:gosec // not negative
	be.PutUint32(p[posLeaderEpoch:], uint32(e))   //nolint:gosec // bits
	p[posMagic] = MagicV2
	be.PutUint32(p[posLastOffsetDelta:], uint32(to-from-1)) //nolint:gosec // the caller bounds it
	for _, pos := range []int{posBaseTimestamp, posMaxTimestamp, posProducerID} {
		be.PutUint64(p[pos:], math.MaxUint64)
	}
	be.PutUint16(p[posProducerEpoch:], math.MaxUint16)
	be.PutUint32(p[posBaseSequence:], math.MaxUint32)
	seal(p)
	return dst
}

// Extend makes a batch, in place, reach up to an offset, exclusive: it stands for the offsets behind its own, too. Not for
// batches of idempotent producers, whose sequence numbers follow from it.
func (b Batch) Extend(to Offset) {
	binary.BigEndian.PutUint32(b[posLastOffsetDelta:], uint32(to-b.BaseOffset()-1)) //nolint:gosec // the caller bounds it
	seal(b)
}
