package load

import (
	"context"
	"fmt"
	"time"

	"github.com/stelemq/stele/client"
	"github.com/stelemq/stele/protocol/record"
)

// sampleEvery is how many records of a load without rate share one measured latency.
const sampleEvery = 256

// openLoopBuffer bounds what a producer with a rate may have unanswered; when it is full, records are late, and their
// latency says so.
const openLoopBuffer = 256 << 20

// producers are the scenario's clients, each with connections of its own.
func (r *session) producers() []worker {
	out := make([]worker, r.s.Clients)
	for i := range out {
		out[i] = func(ctx context.Context) error { return r.produce(ctx, i, nil) }
	}
	return out
}

// produce writes until the context ends, and waits for the answers. acked, if not nil, is called for each record of a load
// with a rate instead of noting its latency.
func (r *session) produce(ctx context.Context, i int, acked func(due time.Time)) error {
	c, err := r.target.connect(fmt.Sprintf("bench-%d", i))
	if err != nil {
		return err
	}
	defer c.Close() //nolint:errcheck // what was sent is answered by then
	p, err := c.NewProducer(r.producerOptions())
	if err != nil {
		return err //nolint:wrapcheck // says what is wrong
	}
	if r.s.Rate > 0 {
		err = r.produceAtRate(ctx, p, i, acked)
	} else {
		err = r.produceAll(ctx, p)
	}
	drain, cancel := context.WithTimeout(context.WithoutCancel(ctx), drainTimeout)
	defer cancel()
	if ended := p.Close(drain); err == nil {
		err = ended
	}
	return err
}

func (r *session) producerOptions() client.ProducerOptions {
	codec, _ := record.ParseCodec(r.s.Compression) // checked
	o := client.ProducerOptions{
		Acks: client.AcksAll, Codec: codec, Linger: r.s.Linger, BatchBytes: r.s.BatchBytes, Partitioner: spread(),
		OnBatch: func(b client.BatchDelivery) {
			if b.Err != nil {
				r.meter.failed(b.Records, b.Err)
				return
			}
			r.meter.done(b.Records, b.Bytes)
		},
	}
	switch *r.s.Acks {
	case 0:
		o.Acks = client.AcksNone
	case 1:
		o.Acks = client.AcksLeader
	}
	if r.s.OneBatchEach {
		o.BatchBytes = 1 // a record that is larger goes in a batch of its own
	}
	if r.s.Rate > 0 {
		o.BufferBytes = openLoopBuffer
	}
	return o
}

// spread deals records round the partitions: in long runs where they may be batched, one by one where each is on its own.
func spread() client.Partitioner {
	var n uint32
	return func(_ *client.Record, partitions int32) int32 {
		n++                                  // one goroutine chooses
		return int32(n % uint32(partitions)) //nolint:gosec // a number of partitions
	}
}

// produceAll writes as fast as the producer takes records.
func (r *session) produceAll(ctx context.Context, p *client.Producer) error {
	v := newValues(r.s.Bytes, *r.s.Random)
	rec := client.Record{Topic: r.target.Topic}
	for n := 0; ctx.Err() == nil; n++ {
		rec.Value = v.take()
		var done func(client.Delivery)
		if n%sampleEvery == 0 {
			began := time.Now()
			done = func(d client.Delivery) {
				if d.Err == nil {
					r.meter.latency(began, time.Now())
				}
			}
		}
		if err := p.Produce(ctx, &rec, done); err != nil {
			if ctx.Err() != nil {
				return nil //nolint:nilerr // the run is over
			}
			return err //nolint:wrapcheck // says operation and topic
		}
	}
	return nil
}

// produceAtRate writes each record when it is due.
func (r *session) produceAtRate(ctx context.Context, p *client.Producer, i int, acked func(time.Time)) error {
	v := newValues(r.s.Bytes, *r.s.Random)
	rec := client.Record{Topic: r.target.Topic}
	if acked == nil {
		acked = func(due time.Time) { r.meter.latency(due, time.Now()) }
	}
	rate := float64(r.s.Rate) / float64(r.s.Clients)
	if err := wait(ctx, time.Duration(float64(i)/float64(r.s.Rate)*float64(time.Second))); err != nil { // not all at once
		return nil //nolint:nilerr // it ended before it began
	}
	return pace(ctx, rate, func(due time.Time) error {
		rec.Value = v.take()
		stamp(rec.Value, due)
		return p.Produce(ctx, &rec, func(d client.Delivery) {
			if d.Err == nil {
				acked(due)
			}
		})
	})
}
