package record

import (
	"encoding/binary"
	"fmt"
	"math"
)

// HeaderLen is the length in bytes of a RecordBatch v2 header, up to and including the record count.
const HeaderLen = 61

// PatchLen is how many first bytes Patch makes: base offset (8), length (4), partition leader epoch (4).
const PatchLen = 16

// MagicV2 is the only record format of this package.
const MagicV2 = 2

// NoProducerID, NoProducerEpoch and NoSequence stand in batches of producers that are not idempotent.
const (
	NoProducerID    int64 = -1
	NoProducerEpoch int16 = -1
	NoSequence      int32 = -1
)

// Where the fields of the header stand (see the package comment).
const (
	posBaseOffset      = 0
	posLength          = 8
	posLeaderEpoch     = 12
	posMagic           = 16
	posCRC             = 17
	posAttributes      = 21
	posLastOffsetDelta = 23
	posBaseTimestamp   = 27
	posMaxTimestamp    = 35
	posProducerID      = 43
	posProducerEpoch   = 51
	posBaseSequence    = 53
	posCount           = 57

	lengthOverhead = 12                         // bytes before what the length field counts
	minLength      = HeaderLen - lengthOverhead // smallest length field of a v2 batch
	minLengthV0    = 14                         // smallest length field of any record format
)

// Batch is a view of exactly one RecordBatch v2: len == 12 + its length field, magic 2. It owns nothing.
//
// Accessors of a Batch that Next did not return may panic if it is shorter than HeaderLen; Validate checks that.
type Batch []byte

// Next cuts the first batch from b and returns what follows it. It looks at the length and the magic only; the
// batch aliases b. A caller loops while len(rest) > 0.
//
// Errors: ErrIncomplete (b ends before the batch), ErrMagic, ErrCorrupt (impossible length).
func Next(b []byte) (batch Batch, rest []byte, err error) {
	if len(b) < lengthOverhead {
		return nil, b, ErrIncomplete
	}
	length := int64(int32(binary.BigEndian.Uint32(b[posLength:])))
	if length < minLengthV0 {
		return nil, b, fmt.Errorf("%w: length %d", ErrCorrupt, length)
	}
	if len(b) <= posMagic {
		return nil, b, ErrIncomplete
	}
	if b[posMagic] != MagicV2 {
		return nil, b, fmt.Errorf("%w: magic %d", ErrMagic, int8(b[posMagic]))
	}
	if length < minLength {
		return nil, b, fmt.Errorf("%w: length %d", ErrCorrupt, length)
	}
	end := lengthOverhead + length
	if int64(len(b)) < end {
		return nil, b, ErrIncomplete
	}
	return Batch(b[:end:end]), b[end:], nil
}

// BaseOffset is the offset of the first record, or of where it once stood if compaction removed it.
func (b Batch) BaseOffset() Offset { return Offset(b.int64(posBaseOffset)) }

// LastOffset is the offset of the last record, inclusive.
func (b Batch) LastOffset() Offset { return b.BaseOffset() + Offset(b.LastOffsetDelta()) }

// NextOffset is the offset after the last record.
func (b Batch) NextOffset() Offset { return b.LastOffset() + 1 }

// LastOffsetDelta is LastOffset - BaseOffset.
func (b Batch) LastOffsetDelta() int32 { return b.int32(posLastOffsetDelta) }

// LeaderEpoch is the partition leader epoch that stands in the header; a producer's batch holds none that counts.
func (b Batch) LeaderEpoch() LeaderEpoch { return LeaderEpoch(b.int32(posLeaderEpoch)) }

// Magic is the version of the format: 2.
func (b Batch) Magic() int8 { return int8(b[posMagic]) }

// CRC is the checksum that stands in the header. It covers everything from the attributes on.
func (b Batch) CRC() uint32 { return binary.BigEndian.Uint32(b[posCRC:]) }

// Attributes are the flags of the batch.
func (b Batch) Attributes() Attributes { return Attributes(b.int16(posAttributes)) }

// BaseTimestamp is the time to which the records' timestamps are relative, in ms since 1970.
func (b Batch) BaseTimestamp() int64 { return b.int64(posBaseTimestamp) }

// MaxTimestamp is the largest timestamp of the records, in ms since 1970; the time of the append if Attributes say so.
func (b Batch) MaxTimestamp() int64 { return b.int64(posMaxTimestamp) }

// ProducerID is the id of an idempotent producer, NoProducerID of others.
func (b Batch) ProducerID() int64 { return b.int64(posProducerID) }

// HasProducerID is true in batches of idempotent producers.
func (b Batch) HasProducerID() bool { return b.ProducerID() > NoProducerID }

// ProducerEpoch is the epoch of the producer id.
func (b Batch) ProducerEpoch() int16 { return b.int16(posProducerEpoch) }

// BaseSequence is the producer's sequence number of the first record, NoSequence if it has none.
func (b Batch) BaseSequence() int32 { return b.int32(posBaseSequence) }

// LastSequence is the producer's sequence number of the last record: after MaxInt32 follows 0. NoSequence if it has none.
func (b Batch) LastSequence() int32 {
	base := b.BaseSequence()
	if base == NoSequence {
		return NoSequence
	}
	return AddSequence(base, b.LastOffsetDelta())
}

// Count is the number of records in the batch.
func (b Batch) Count() int32 { return b.int32(posCount) }

// Payload is what follows the header: the records, compressed if the attributes say so. It aliases b.
func (b Batch) Payload() []byte { return b[HeaderLen:] }

// AddSequence is the sequence number n after seq, for seq and n not negative: after MaxInt32 follows 0.
func AddSequence(seq, n int32) int32 {
	if seq > math.MaxInt32-n {
		return n - (math.MaxInt32 - seq) - 1
	}
	return seq + n
}

func (b Batch) int16(pos int) int16 { return int16(binary.BigEndian.Uint16(b[pos:])) }
func (b Batch) int32(pos int) int32 { return int32(binary.BigEndian.Uint32(b[pos:])) }
func (b Batch) int64(pos int) int64 { return int64(binary.BigEndian.Uint64(b[pos:])) }

// Attributes are the flags of a batch.
type Attributes int16

// Bits of Attributes.
const (
	attrCodec         = 0x07
	attrLogAppendTime = 1 << 3
	attrTransactional = 1 << 4
	attrControl       = 1 << 5
	attrDeleteHorizon = 1 << 6
)

// Codec is how the records are compressed; it may be one that does not exist (see Codec.Known).
func (a Attributes) Codec() Codec { return Codec(a & attrCodec) }

// LogAppendTime is true if MaxTimestamp is the time of the append and counts for every record.
func (a Attributes) LogAppendTime() bool { return a&attrLogAppendTime != 0 }

// Transactional is true for records that belong to a transaction, and for its markers.
func (a Attributes) Transactional() bool { return a&attrTransactional != 0 }

// Control is true for batches of markers, which a broker writes and consumers skip.
func (a Attributes) Control() bool { return a&attrControl != 0 }

// DeleteHorizon is true if BaseTimestamp is the time at which compaction may remove tombstones and markers (KIP-534).
func (a Attributes) DeleteHorizon() bool { return a&attrDeleteHorizon != 0 }
