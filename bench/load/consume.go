package load

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/stelemq/stele/client"
)

// consumers read the whole topic, again and again, after it was filled. Each reads all of it: a fan-out.
func (r *session) consumers(ctx context.Context) ([]worker, error) {
	if err := r.fill(ctx, r.s.FillBytes); err != nil {
		return nil, err
	}
	out := make([]worker, r.s.Clients)
	for i := range out {
		out[i] = func(ctx context.Context) error {
			c, err := r.target.connect(fmt.Sprintf("bench-%d", i))
			if err != nil {
				return err
			}
			defer c.Close() //nolint:errcheck // nothing is pending
			for ctx.Err() == nil {
				if err := r.readThrough(ctx, c); err != nil && ctx.Err() == nil {
					return err
				}
			}
			return nil
		}
	}
	return out, nil
}

// readThrough reads all partitions from start to end once.
func (r *session) readThrough(ctx context.Context, c *client.Client) error {
	end := client.End()
	o := client.ConsumerOptions{OutOfRange: client.OutOfRangeFail}
	for p := range r.s.Partitions {
		o.Assign = append(o.Assign, client.Assignment{Topic: r.target.Topic, Partition: int32(p), To: &end}) //nolint:gosec // bounded
	}
	k, err := c.NewConsumer(o)
	if err != nil {
		return err //nolint:wrapcheck // says what is wrong
	}
	defer k.Close() //nolint:errcheck // nothing is pending
	for {
		records, err := k.Poll(ctx)
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err //nolint:wrapcheck // says operation and object
		}
		bytes := 0
		for i := range records {
			bytes += len(records[i].Value)
		}
		r.meter.done(len(records), bytes)
	}
}

// endToEnd are producers with a rate, and consumers that note when what was due arrives.
func (r *session) endToEnd(context.Context) ([]worker, error) {
	out := make([]worker, 0, 2*r.s.Clients)
	silent := func(time.Time) {}
	for i := range r.s.Clients {
		out = append(out, func(ctx context.Context) error { return r.produceQuietly(ctx, i, silent) })
	}
	return append(out, r.tail), nil
}

// produceQuietly is produce, with records counted by whoever reads them.
func (r *session) produceQuietly(ctx context.Context, i int, acked func(time.Time)) error {
	quiet := *r
	quiet.meter = NewMeter(nil)
	err := quiet.produce(ctx, i, acked)
	if failed := quiet.meter.Snapshot().Errors; failed > 0 {
		r.meter.failed(int(failed), quiet.meter.Err())
	}
	return err
}

// tail reads what is written from now on.
func (r *session) tail(ctx context.Context) error {
	c, err := r.target.connect("bench-tail")
	if err != nil {
		return err
	}
	defer c.Close() //nolint:errcheck // nothing is pending
	var o client.ConsumerOptions
	for p := range r.s.Partitions {
		o.Assign = append(o.Assign, client.Assignment{Topic: r.target.Topic, Partition: int32(p)}) //nolint:gosec // bounded
	}
	k, err := c.NewConsumer(o)
	if err != nil {
		return err //nolint:wrapcheck // says what is wrong
	}
	defer k.Close() //nolint:errcheck // nothing is pending
	for {
		records, err := k.Poll(ctx)
		if ctx.Err() != nil {
			return nil
		}
		if err != nil {
			return err //nolint:wrapcheck // says operation and object
		}
		now, bytes := time.Now(), 0
		for i := range records {
			bytes += len(records[i].Value)
			if due, ok := stamped(records[i].Value); ok {
				r.meter.latency(due, now)
			}
		}
		r.meter.done(len(records), bytes)
	}
}
