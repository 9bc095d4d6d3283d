package client

import (
	"encoding/binary"
	"math"
	"time"

	"github.com/stelemq/stele/protocol/record"
)

// identity is a producer id and its epoch, as a broker gave it.
type identity struct {
	id    int64
	epoch int16
}

// noIdentity is that of a producer that is not idempotent.
var noIdentity = identity{-1, -1} //nolint:gochecknoglobals // a constant

// batch is a batch from its first record to its acknowledgement.
type batch struct {
	part    *partition
	created time.Time
	builder *record.Builder // nil once it serves another batch

	// Under the Producer's mutex:
	records   int
	bytes     int // of keys, values and headers
	reserved  int // of BufferBytes
	closed    bool
	inFlight  bool
	retried   bool // sent, and to be sent again
	ambiguous bool // sent, and not known to have been refused
	sequenced bool
	identity  identity
	sequence  int32
	callbacks []callback
	done      chan struct{} // made when somebody waits for it

	// Only by the sender that has it:
	built   record.Batch
	stamped bool // built carries identity and sequence
	sent    bool
}

// callback is one for the record at an index of the batch.
type callback struct {
	index int
	fn    func(Delivery)
}

// bytes of a RecordBatch v2 header that change after building.
const (
	crcAt        = 17
	crcFrom      = 21
	producerIDAt = 43
	epochAt      = 51
	sequenceAt   = 53
)

// stamp writes the producer's identity and the sequence into the built batch,
// and its checksum. A batch that was sent before is copied: the connection
// that broke under it may still be reading it.
func (b *batch) stamp(id identity, sequence int32) {
	if b.stamped {
		h := b.built
		if h.ProducerID() == id.id && h.ProducerEpoch() == id.epoch && h.BaseSequence() == sequence {
			return
		}
		if b.sent {
			b.built = append(record.Batch(nil), b.built...)
		}
	}
	binary.BigEndian.PutUint64(b.built[producerIDAt:], uint64(id.id))  //nolint:gosec // the same bits
	binary.BigEndian.PutUint16(b.built[epochAt:], uint16(id.epoch))    //nolint:gosec // the same bits
	binary.BigEndian.PutUint32(b.built[sequenceAt:], uint32(sequence)) //nolint:gosec // the same bits
	binary.BigEndian.PutUint32(b.built[crcAt:], record.CRC(0, b.built[crcFrom:]))
	b.stamped = true
}

// addSequence is the sequence n records later; it wraps from 2^31-1 to 0.
func addSequence(s int32, n int) int32 {
	return int32((int64(s) + int64(n)) & math.MaxInt32) //nolint:gosec // 31 bits
}
