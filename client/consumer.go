package client

import (
	"context"
	"io"
	"sync"
	"time"

	"github.com/stelemq/stele/protocol/record"
)

// OutOfRange is what to do when the broker no longer has, or does not have
// yet, the offset that is to be read next.
type OutOfRange int8

const (
	// OutOfRangeStart goes on at the start of the log. It is the default.
	OutOfRangeStart OutOfRange = iota
	// OutOfRangeEnd goes on at the end.
	OutOfRangeEnd
	// OutOfRangeFail makes Poll return the error.
	OutOfRangeFail
)

// Assignment is a partition to be read.
type Assignment struct {
	Topic     string
	Partition int32
	From      Position  // the zero value is the start
	To        *Position // where to stop, exclusive; nil: never
}

// ConsumerOptions say what to read and how much to hold.
type ConsumerOptions struct {
	// Assign are the partitions to be read, each once.
	Assign []Assignment
	// MaxWait is how long a broker holds a fetch while there is nothing new.
	// Default: 500 ms.
	MaxWait time.Duration
	// MinBytes is how much a broker collects before it answers, within
	// MaxWait. Default: 1.
	MinBytes int
	// PartitionBytes bounds an answer per partition, and FetchBytes as a whole;
	// a batch that is larger comes nevertheless. Defaults: 1 MiB and 16 MiB.
	PartitionBytes int
	FetchBytes     int
	// BufferBytes bounds what is fetched ahead; the answers that are on their
	// way when it is reached come on top. Default: 32 MiB.
	BufferBytes int
	// DecompressBytes bounds what one batch may grow to. Default: 256 MiB.
	DecompressBytes int
	// RequestTimeout is how long an answer may take beyond MaxWait.
	// Default: 30 s.
	RequestTimeout time.Duration
	// OutOfRange is what to do when an offset is outside the log.
	OutOfRange OutOfRange
}

func (o ConsumerOptions) withDefaults() ConsumerOptions {
	if o.MaxWait <= 0 {
		o.MaxWait = 500 * time.Millisecond
	}
	o.MinBytes = max(o.MinBytes, 1)
	if o.PartitionBytes <= 0 {
		o.PartitionBytes = 1 << 20
	}
	if o.FetchBytes <= 0 {
		o.FetchBytes = 16 << 20
	}
	if o.BufferBytes <= 0 {
		o.BufferBytes = 32 << 20
	}
	if o.DecompressBytes <= 0 {
		o.DecompressBytes = 256 << 20
	}
	if o.RequestTimeout <= 0 {
		o.RequestTimeout = 30 * time.Second
	}
	return o
}

// Consumer reads the partitions that it is assigned. It fetches ahead, one
// long poll per broker at a time, follows leaders as they move, and gives the
// records of each partition in the order of their offsets.
//
// One fetcher goroutine per broker asks for batches and checks their
// checksums; one looks positions and leaders up; Poll decompresses.
type Consumer struct {
	client *Client
	opts   ConsumerOptions
	pool   *pool
	stop   context.CancelFunc
	wg     sync.WaitGroup
	wake   chan struct{} // of the manager, capacity 1
	avail  chan struct{} // of Poll, capacity 1

	mu sync.Mutex
	// mu guards:
	life     context.Context //nolint:containedctx // the life of the goroutines, for those that start later
	closed   bool
	err      error // what Poll returns from now on
	parts    []*fetchPartition
	fetchers map[int32]*fetcher
	ready    []chunk
	buffered int // Invariant: the sum of the bytes in ready
}

// fetchPartition is a partition that is read. The Consumer's mutex guards it.
type fetchPartition struct {
	Assignment
	fetcher  *fetcher // nil: no leader known
	resolved bool     // offset and stop are known
	offset   int64    // to be fetched next
	stop     int64    // -1: never
	position int64    // after the last record that Poll returned
	start    int64    // of the log, as last heard; -1: not heard
	end      int64    // the high watermark, as last heard; -1: not heard
	maxBytes int32
	buffered int
	stale    bool // its leader may have moved
	retryAt  time.Time
	wait     backoff
	missing  time.Time // since when its topic is denied
}

// done tells whether everything up to the stop is fetched.
func (part *fetchPartition) done() bool {
	return part.resolved && part.stop >= 0 && part.offset >= part.stop
}

// chunk is what one answer brought of a partition.
type chunk struct {
	part    *fetchPartition
	batches []byte
	from    int64 // records before it were read already
	size    int   // what it counts in Consumer.buffered
}

// Progress is how far a partition is read.
type Progress struct {
	Topic     string
	Partition int32
	// Position is the offset of the next record that Poll has not returned.
	Position int64
	// LogStart and HighWatermark are as the leader last told them, -1 if it has
	// not.
	LogStart      int64
	HighWatermark int64
}

// Lag is the number of offsets between position and high watermark; 0 if it is
// not known.
func (p Progress) Lag() int64 { return max(0, p.HighWatermark-p.Position) }

// NewConsumer returns a Consumer and starts it.
func (c *Client) NewConsumer(o ConsumerOptions) (*Consumer, error) {
	o = o.withDefaults()
	if len(o.Assign) == 0 {
		return nil, &Error{Op: "new consumer", Reason: "nothing is assigned to it"}
	}
	life, stop := context.WithCancel(context.Background())
	k := &Consumer{
		client: c, opts: o, pool: newPool(c), life: life, stop: stop,
		wake: make(chan struct{}, 1), avail: make(chan struct{}, 1),
		fetchers: make(map[int32]*fetcher),
	}
	for _, a := range o.Assign {
		k.parts = append(k.parts, &fetchPartition{
			Assignment: a, stop: -1, start: -1, end: -1, maxBytes: int32(min(o.PartitionBytes, 1<<30)), //nolint:gosec // bounded
		})
	}
	poke(k.wake)
	k.wg.Go(func() { k.manage(life) })
	return k, nil
}

// Poll returns the next records, at least one, all of one partition: those of
// one batch. Their bytes stay valid and must not be changed. The error is
// io.EOF when every partition has been read to where it was to stop; any other
// error but the context's is final. Poll must not be called concurrently.
func (k *Consumer) Poll(ctx context.Context) ([]Record, error) {
	for {
		k.mu.Lock()
		if len(k.ready) > 0 {
			records, err := k.takeLocked()
			k.mu.Unlock()
			if err != nil || len(records) > 0 {
				return records, err
			}
			continue
		}
		err := k.pollErrorLocked()
		k.mu.Unlock()
		if err != nil {
			return nil, err
		}
		select {
		case <-k.avail:
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		}
	}
}

// pollErrorLocked is what Poll returns when there is nothing to return.
func (k *Consumer) pollErrorLocked() error {
	switch {
	case k.closed:
		return ErrClosed
	case k.err != nil:
		return k.err
	}
	for _, part := range k.parts {
		if !part.done() {
			return nil
		}
	}
	return io.EOF
}

// takeLocked takes a batch from the first chunk and decodes it, with the mutex
// released meanwhile.
func (k *Consumer) takeLocked() ([]Record, error) {
	c := &k.ready[0]
	part, from, stop := c.part, c.from, c.part.stop
	b, rest, err := record.Next(c.batches)
	c.batches = rest
	if err != nil || len(rest) == 0 {
		k.dropLocked()
	}
	if err != nil {
		return nil, &Error{Op: "read " + part.name(), Reason: err.Error(), Err: err}
	}
	k.mu.Unlock()
	records, err := k.decode(part, b, from, stop)
	k.mu.Lock()
	if err != nil {
		k.err = &Error{Op: "read " + part.name(), Reason: err.Error(), Err: err}
		return nil, k.err
	}
	part.position = max(part.position, int64(b.NextOffset()))
	if stop >= 0 {
		part.position = min(part.position, stop)
	}
	return records, nil
}

// dropLocked ends the first chunk and makes its room free.
func (k *Consumer) dropLocked() {
	c := k.ready[0]
	k.ready[0] = chunk{}
	k.ready = k.ready[1:]
	k.buffered -= c.size
	c.part.buffered -= c.size
	for _, f := range k.fetchers {
		f.poke()
	}
}

// Progress returns how far each partition is read, in the order of their
// assignment.
func (k *Consumer) Progress() []Progress {
	k.mu.Lock()
	defer k.mu.Unlock()
	out := make([]Progress, 0, len(k.parts))
	for _, part := range k.parts {
		out = append(out, Progress{part.Topic, part.Partition, part.position, part.start, part.end})
	}
	return out
}

// Close stops the Consumer. Records that were returned stay valid. It is
// idempotent.
func (k *Consumer) Close() error {
	k.mu.Lock()
	k.closed = true
	k.ready, k.buffered = nil, 0
	k.mu.Unlock()
	poke(k.avail)
	k.stop()
	k.pool.close()
	k.wg.Wait()
	return nil
}

// Ready tells whether Poll would return without waiting.
func (k *Consumer) Ready() bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	return len(k.ready) > 0 || k.pollErrorLocked() != nil
}

// HighWatermark returns the high watermark of a partition as its leader last
// told it, -1 if it has not.
func (k *Consumer) HighWatermark(topic string, partition int32) int64 {
	k.mu.Lock()
	defer k.mu.Unlock()
	for _, part := range k.parts {
		if part.Partition == partition && part.Topic == topic {
			return part.end
		}
	}
	return -1
}
