package client

import (
	"time"

	"github.com/stelemq/stele/protocol/record"
)

// Acks is what a broker must have done before it acknowledges a record.
type Acks int8

const (
	// AcksAll waits for the topic's promise: stored by a majority, and by at
	// least min.insync.replicas. It is the default.
	AcksAll Acks = iota
	// AcksLeader waits for the leader alone.
	AcksLeader
	// AcksNone waits for nothing; a record counts as delivered when it is sent.
	AcksNone
)

// wire is the value in a Produce request.
func (a Acks) wire() int16 {
	switch a {
	case AcksLeader:
		return 1
	case AcksNone:
		return 0
	case AcksAll:
	}
	return -1
}

// inFlightMax is how many batches of a partition, and requests to a broker,
// may be unanswered. Brokers remember the last five batches of a producer to
// recognise one that is sent again.
const inFlightMax = 5

// requestBytesMax bounds a request with batches of several partitions.
const requestBytesMax = 8 << 20

// ProducerOptions say how records are collected and sent. The zero value is
// safe: idempotent, acknowledged by all.
type ProducerOptions struct {
	// Acks is what to wait for. Anything but AcksAll turns idempotence off, as
	// a broker forgets nothing of it only then.
	Acks Acks
	// NotIdempotent sends without producer id: a batch that is sent again may
	// be stored twice, and only one batch per partition is in flight, or the
	// order would not survive it.
	NotIdempotent bool
	// Codec and Level compress batches. Level 0 is the codec's default.
	Codec record.Codec
	Level int
	// Linger is how long a batch waits for more records. Negative: not at all.
	// Default: 5 ms.
	Linger time.Duration
	// BatchBytes is the size at which a batch is sent without waiting, before
	// compression. A larger record goes in a batch of its own. Default: 1 MiB.
	BatchBytes int
	// BufferBytes bounds the memory for records that are not acknowledged;
	// Produce waits for room. Default: 32 MiB.
	BufferBytes int
	// DeliveryTimeout is how long a record is tried before it is given up,
	// while no answer to it is due. Default: 2 min.
	DeliveryTimeout time.Duration
	// RequestTimeout is how long one answer is waited for; the broker gives up
	// waiting for replicas within it. Default: 30 s.
	RequestTimeout time.Duration
	// Partitioner chooses partitions. Default: ByKey.
	Partitioner Partitioner
	// NoTopicCreation asks brokers not to create a topic that does not exist,
	// where they would (auto.create.topics.enable).
	NoTopicCreation bool
	// OnBatch, if set, is called for every batch that is done with. See
	// Producer.Produce for what it must not do.
	OnBatch func(BatchDelivery)
}

func (o ProducerOptions) withDefaults() ProducerOptions {
	if o.Acks != AcksAll {
		o.NotIdempotent = true
	}
	if o.Linger == 0 {
		o.Linger = 5 * time.Millisecond
	}
	o.Linger = max(o.Linger, 0)
	if o.BatchBytes <= 0 {
		o.BatchBytes = 1 << 20
	}
	if o.BufferBytes <= 0 {
		o.BufferBytes = 32 << 20
	}
	if o.DeliveryTimeout <= 0 {
		o.DeliveryTimeout = 2 * time.Minute
	}
	if o.RequestTimeout <= 0 {
		o.RequestTimeout = 30 * time.Second
	}
	if o.Partitioner == nil {
		o.Partitioner = ByKey
	}
	return o
}

func (o *ProducerOptions) inFlight() int {
	if o.NotIdempotent && o.Acks != AcksNone {
		return 1
	}
	return inFlightMax
}

// Delivery is what became of a record.
type Delivery struct {
	Topic     string
	Partition int32
	// Offset is -1 if it is not known: with AcksNone, or if Err is not nil.
	Offset int64
	// Err is why the record was given up. If it is ErrTimeout or
	// ErrConnectionLost, it may have been stored nevertheless.
	Err error
}

// BatchDelivery is what became of a batch.
type BatchDelivery struct {
	Topic      string
	Partition  int32
	BaseOffset int64 // -1 if it is not known
	Records    int
	Bytes      int // of keys, values and headers
	Err        error
}
