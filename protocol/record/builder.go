package record

import (
	"encoding/binary"
	"fmt"
	"math"
	"slices"
)

// Builder makes batches. The zero value is ready; a Builder may be used again after Reset. It is not safe for concurrent use.
type Builder struct {
	buf   []byte // room for the header, then records
	count int32

	baseTime int64
	maxTime  int64

	producerID    int64
	producerEpoch int16
	baseSequence  int32
	idempotent    bool
	attr          Attributes

	err error
}

// Reset forgets all records and settings; memory is kept, so a batch that Build made before may change afterwards.
func (b *Builder) Reset() { *b = Builder{buf: b.buf[:0]} }

// SetProducer makes the batch one of an idempotent producer, with the sequence number of its first record.
func (b *Builder) SetProducer(id int64, epoch int16, baseSequence int32) {
	b.producerID, b.producerEpoch, b.baseSequence, b.idempotent = id, epoch, baseSequence, true
}

// SetTransactional marks the batch as part of a transaction; it needs SetProducer.
func (b *Builder) SetTransactional(v bool) { b.set(attrTransactional, v) }

// SetControl marks the batch as one of markers (see ControlRecord), which only brokers write.
func (b *Builder) SetControl(v bool) { b.set(attrControl, v) }

func (b *Builder) set(bit Attributes, v bool) {
	b.attr &^= bit
	if v {
		b.attr |= bit
	}
}

// Append adds a record, copied. Its Offset is ignored: records are numbered from the base offset on. What cannot be
// appended (a batch of more than 2 GiB) makes Build fail.
func (b *Builder) Append(r Record) {
	if b.err != nil {
		return
	}
	if len(b.buf) == 0 {
		b.buf = append(b.buf, make([]byte, HeaderLen)...)
	}
	if b.count == 0 {
		b.baseTime, b.maxTime = r.Timestamp, r.Timestamp
	}
	n := b.bodyLen(r)
	if int64(len(b.buf))+int64(n)+maxVarint32 > math.MaxInt32 || b.count == math.MaxInt32 {
		b.err = fmt.Errorf("%w: batch of more than 2 GiB", ErrTooLarge)
		return
	}
	p := slices.Grow(b.buf, n+maxVarint32)
	p = appendVarint(p, int64(n))
	p = append(p, 0) // attributes
	p = appendVarint(p, r.Timestamp-b.baseTime)
	p = appendVarint(p, int64(b.count))
	p = appendNullableBytes(p, r.Key)
	p = appendNullableBytes(p, r.Value)
	p = appendVarint(p, int64(len(r.Headers)))
	for _, h := range r.Headers {
		p = appendVarint(p, int64(len(h.Key)))
		p = append(p, h.Key...)
		p = appendNullableBytes(p, h.Value)
	}
	b.buf = p
	b.count++
	b.maxTime = max(b.maxTime, r.Timestamp)
}

// maxVarint32 is the longest varint of 32 bits.
const maxVarint32 = 5

// bodyLen is the length of r as encoded next, without the length itself.
func (b *Builder) bodyLen(r Record) int {
	base := b.baseTime
	n := 1 + varintLen(r.Timestamp-base) + varintLen(int64(b.count)) + nullableLen(r.Key) + nullableLen(r.Value)
	n += varintLen(int64(len(r.Headers)))
	for _, h := range r.Headers {
		n += varintLen(int64(len(h.Key))) + len(h.Key) + nullableLen(h.Value)
	}
	return n
}

// Count is the number of records appended.
func (b *Builder) Count() int { return int(b.count) }

// Len is the length of the batch in bytes as it would be without compression.
func (b *Builder) Len() int { return max(len(b.buf), HeaderLen) }

// LenWith is at least what Len would be with r appended.
func (b *Builder) LenWith(r Record) int {
	if b.count == 0 {
		one := Builder{baseTime: r.Timestamp}
		return HeaderLen + one.bodyLen(r) + maxVarint32
	}
	return b.Len() + b.bodyLen(r) + maxVarint32
}

// Build makes the batch, with base offset 0 and leader epoch NoEpoch. Level is the codec's, DefaultLevel for its default. Without compression the
// batch aliases the builder's memory: it is valid until Append or Reset. Building twice makes the same batch twice.
//
// Errors: ErrInvalid (no records, transactional without a producer), ErrTooLarge, ErrCodec.
func (b *Builder) Build(codec Codec, level int) (Batch, error) {
	switch {
	case b.err != nil:
		return nil, b.err
	case b.count == 0:
		return nil, fmt.Errorf("%w: no records", ErrInvalid)
	case b.attr.Transactional() && !b.idempotent:
		return nil, fmt.Errorf("%w: transactional without a producer id", ErrInvalid)
	case !codec.Known():
		return nil, fmt.Errorf("%w: %d", ErrCodec, codec)
	}
	out := b.buf
	if codec != None {
		var err error
		if out, err = compress(make([]byte, HeaderLen, HeaderLen+len(b.buf)/2), b.buf[HeaderLen:], codec, level); err != nil {
			return nil, err
		}
		if len(out) > math.MaxInt32 {
			return nil, fmt.Errorf("%w: batch of more than 2 GiB", ErrTooLarge)
		}
	}
	b.putHeader(out, b.attr|Attributes(codec))
	return Batch(slices.Clip(out)), nil
}

func (b *Builder) putHeader(p []byte, attr Attributes) {
	id, epoch, sequence := NoProducerID, NoProducerEpoch, NoSequence
	if b.idempotent {
		id, epoch, sequence = b.producerID, b.producerEpoch, b.baseSequence
	}
	be, noEpoch := binary.BigEndian, NoEpoch
	be.PutUint64(p[posBaseOffset:], 0)
	be.PutUint32(p[posLength:], uint32(len(p)-lengthOverhead))
	be.PutUint32(p[posLeaderEpoch:], uint32(noEpoch))
	p[posMagic] = MagicV2
	be.PutUint16(p[posAttributes:], uint16(attr))
	be.PutUint32(p[posLastOffsetDelta:], uint32(b.count-1))
	be.PutUint64(p[posBaseTimestamp:], uint64(b.baseTime))
	be.PutUint64(p[posMaxTimestamp:], uint64(b.maxTime))
	be.PutUint64(p[posProducerID:], uint64(id))
	be.PutUint16(p[posProducerEpoch:], uint16(epoch))
	be.PutUint32(p[posBaseSequence:], uint32(sequence))
	be.PutUint32(p[posCount:], uint32(b.count))
	be.PutUint32(p[posCRC:], CRC(0, p[posAttributes:]))
}
