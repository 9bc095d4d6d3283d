package client

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/stelemq/stele/protocol/record"
)

// Producer collects records into batches and sends them to the leaders of
// their partitions. All methods may be called concurrently; records that one
// goroutine produces to a partition are stored in that order.
//
// One sender goroutine per broker builds, compresses and writes requests; one
// goroutine asks for metadata and producer ids; one gives up what is overdue.
type Producer struct {
	client *Client
	opts   ProducerOptions
	pool   *pool
	stop   context.CancelFunc // ends the goroutines
	wg     sync.WaitGroup
	wake   chan struct{} // of the manager, capacity 1

	mu sync.Mutex
	// mu guards:
	life       context.Context //nolint:containedctx // the life of the goroutines, for those that start later
	closed     bool
	topics     map[string]*producerTopic
	senders    map[int32]*sender
	builders   []*record.Builder // to be used again
	identity   identity
	identified bool
	buffered   int           // Invariant: the sum of batch.reserved
	blocked    int           // calls of Produce that wait for room
	flushing   int           // calls of Flush that wait
	room       chan struct{} // closed when room may have been made
	reports    []report      // of batches that are done with, in order
	delivering bool          // a goroutine is making the calls of reports
	current    []report      // those that it is at
}

// NewProducer returns a Producer. It does no I/O until the first record.
func (c *Client) NewProducer(o ProducerOptions) (*Producer, error) {
	o = o.withDefaults()
	if o.BatchBytes > o.BufferBytes {
		return nil, &Error{Op: "new producer", Reason: "BatchBytes is larger than BufferBytes"}
	}
	life, stop := context.WithCancel(context.Background())
	p := &Producer{
		client: c, opts: o, pool: newPool(c), life: life, stop: stop,
		wake:     make(chan struct{}, 1),
		topics:   make(map[string]*producerTopic),
		senders:  make(map[int32]*sender),
		identity: noIdentity, identified: o.NotIdempotent,
		room: make(chan struct{}),
	}
	p.wg.Go(func() { p.manage(life) })
	p.wg.Go(func() { p.expire(life) })
	return p, nil
}

// Produce takes a record. Its bytes are copied before Produce returns.
//
// The first record of a topic waits for the topic's metadata. Later ones wait
// only while the buffer is full; the context bounds both waits. An error means
// that the record was not taken, and done is not called.
//
// If done is not nil, it is called once, when the record is acknowledged or
// given up, from a goroutine of the Producer's, which it must not hold up; it
// must not call Flush or Close. Calls come one at a time, and per partition in
// the order of the records, unless batches had to be sent again.
func (p *Producer) Produce(ctx context.Context, r *Record, done func(Delivery)) error {
	size := r.sizeMax()
	if size+record.HeaderLen > p.opts.BufferBytes {
		return &Error{
			Op: "produce to " + r.Topic, Reason: fmt.Sprintf("a record of %d bytes is larger than the buffer", size), Err: ErrTooLarge,
		}
	}
	millis := timestampMillis(r.Timestamp)
	p.mu.Lock()
	defer p.mu.Unlock()
	for {
		if p.closed {
			return ErrClosed
		}
		t := p.topics[r.Topic]
		if t == nil {
			if err := p.loadTopicLocked(ctx, r.Topic); err != nil {
				return err
			}
			continue
		}
		part, err := p.chooseLocked(t, r)
		if err != nil {
			return err
		}
		b := part.openFor(size, p.opts.BatchBytes)
		reserve := size
		if b == nil {
			reserve += record.HeaderLen
		}
		if p.buffered > 0 && p.buffered+reserve > p.opts.BufferBytes {
			if err := p.waitForRoomLocked(ctx); err != nil {
				return err
			}
			continue
		}
		p.buffered += reserve
		if b == nil {
			b = p.openLocked(part)
		}
		p.appendLocked(b, r, millis, reserve, done)
		return nil
	}
}

func timestampMillis(t time.Time) int64 {
	if t.IsZero() {
		t = time.Now()
	}
	return t.UnixMilli()
}

// appendLocked puts a record into an open batch.
func (p *Producer) appendLocked(b *batch, r *Record, millis int64, reserve int, done func(Delivery)) {
	b.builder.Append(record.Record{Timestamp: millis, Key: r.Key, Value: r.Value, Headers: r.Headers})
	b.reserved += reserve
	b.bytes += len(r.Key) + len(r.Value)
	if done != nil {
		b.callbacks = append(b.callbacks, callback{b.records, done})
	}
	b.records++
	first, full := b.records == 1, b.reserved >= p.opts.BatchBytes
	if full {
		b.part.close(b)
	}
	if first || full {
		b.part.wakeSender()
	}
}

// ProduceSync produces one record and waits for what becomes of it.
func (p *Producer) ProduceSync(ctx context.Context, r *Record) (Delivery, error) {
	result := make(chan Delivery, 1)
	if err := p.Produce(ctx, r, func(d Delivery) { result <- d }); err != nil {
		return Delivery{}, err
	}
	select {
	case d := <-result:
		return d, d.Err
	case <-ctx.Done():
		return Delivery{}, context.Cause(ctx)
	}
}

// waitForRoomLocked waits until memory may have been released. Batches do not
// linger meanwhile.
func (p *Producer) waitForRoomLocked(ctx context.Context) error {
	p.blocked++
	room := p.room
	p.wakeSendersLocked()
	p.mu.Unlock()
	var err error
	select {
	case <-room:
	case <-ctx.Done():
		err = context.Cause(ctx)
	}
	p.mu.Lock()
	p.blocked--
	return err
}

// roomMadeLocked wakes who waits for room.
func (p *Producer) roomMadeLocked() {
	if p.blocked > 0 {
		close(p.room)
		p.room = make(chan struct{})
	}
}

// Flush sends what is waiting and returns when every record that was produced
// before the call is acknowledged or given up, or when the context ends.
func (p *Producer) Flush(ctx context.Context) error {
	p.mu.Lock()
	waits := p.unfinishedLocked()
	p.flushing++
	p.wakeSendersLocked()
	p.mu.Unlock()
	defer func() {
		p.mu.Lock()
		p.flushing--
		p.mu.Unlock()
	}()
	for _, done := range waits {
		select {
		case <-done:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
	return nil
}

// unfinishedLocked returns a channel for each batch whose report has not been
// made, closed when it has.
func (p *Producer) unfinishedLocked() []chan struct{} {
	var waits []chan struct{}
	add := func(b *batch) {
		if b.done == nil {
			b.done = make(chan struct{})
		}
		waits = append(waits, b.done)
	}
	for _, t := range p.topics {
		for _, part := range t.parts {
			for _, b := range part.queue {
				add(b)
			}
		}
	}
	for _, r := range p.reports {
		add(r.batch)
	}
	for _, r := range p.current {
		add(r.batch)
	}
	return waits
}

// Close flushes, until the context ends, gives up what is left, and stops the
// Producer. Its error is that of the flush. It is idempotent.
func (p *Producer) Close(ctx context.Context) error {
	err := p.Flush(ctx)
	p.mu.Lock()
	first := !p.closed
	p.closed = true
	p.roomMadeLocked()
	p.mu.Unlock()
	p.stop()
	p.pool.close()
	p.wg.Wait()
	if first {
		p.giveUp(func(*batch) bool { return true }, func(*batch) error { return ErrClosed })
	}
	return err
}

func (p *Producer) wakeSendersLocked() {
	for _, s := range p.senders {
		s.poke()
	}
}

// poke wakes the goroutine that takes from a channel of capacity 1.
func poke(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}
