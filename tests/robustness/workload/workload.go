package workload

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// Workload is a running workload. Its methods may be called concurrently, but Finish only once.
type Workload struct {
	Router       *Router
	Availability *Availability

	cfg    Config
	cancel context.CancelFunc
	stop   chan struct{}
	quiet  atomic.Bool
	values atomic.Int64
	ends   atomic.Pointer[[]int64]

	producers, consumers, others sync.WaitGroup
}

// Start starts the producers and consumers. They end with Finish, or when ctx ends.
func Start(ctx context.Context, cfg Config) *Workload {
	ctx, cancel := context.WithCancel(ctx)
	w := &Workload{cfg: cfg, cancel: cancel, stop: make(chan struct{}), Router: newRouter(cfg), Availability: newAvailability(cfg.Partitions)}
	w.others.Go(func() { w.Router.run(ctx) })
	for i := range cfg.Producers {
		run := newProducer(w, i).run
		if cfg.Acks != All {
			run = newWeakProducer(w, i).run
		}
		w.producers.Go(func() { run(ctx, w.stop) })
	}
	for p := range cfg.Partitions {
		for i := range cfg.Consumers {
			c := newConsumer(w, firstConsumer+i, p)
			w.consumers.Go(func() { c.run(ctx) })
		}
		w.others.Go(func() { w.watch(ctx, p) })
	}
	return w
}

// Acked is the number of values acknowledged so far.
func (w *Workload) Acked() int64 { return w.Availability.Acked() }

// Quiet has the producers issue nothing new, or go on.
func (w *Workload) Quiet(on bool) { w.quiet.Store(on) }

// settleTime is how long the end offsets must stay before they are taken for the end of what was written without waiting.
const settleTime = time.Second

var errUnread = errors.New("not everything was read")

// Finish stops the producers, waits until their batches are resolved and the consumers have read everything, and
// lets one more consumer read all from the start. When ctx ends before, it gives up and says so; what is
// unresolved then is recorded as unknown.
func (w *Workload) Finish(ctx context.Context) error {
	defer w.others.Wait()
	defer w.cancel()
	stopOnEnd := context.AfterFunc(ctx, w.cancel)
	defer stopOnEnd()
	close(w.stop)
	w.producers.Wait()
	ends, err := w.endOffsets(ctx)
	for w.cfg.Acks != All && err == nil { // what nobody waits for may still be on its way
		before := ends
		if err = pause(ctx, settleTime); err == nil {
			ends, err = w.endOffsets(ctx)
		}
		if slices.Equal(before, ends) {
			break
		}
	}
	if err != nil {
		w.cancel()
		w.consumers.Wait()
		return fmt.Errorf("end offsets: %w", err)
	}
	w.ends.Store(&ends)
	w.consumers.Wait()
	for p := range w.cfg.Partitions {
		c := newConsumer(w, finalConsumer, p)
		w.consumers.Go(func() { c.run(ctx) })
	}
	w.consumers.Wait()
	if ctx.Err() != nil {
		return fmt.Errorf("%w within the time: %w", errUnread, ctx.Err())
	}
	return nil
}

// LogStart asks the leader for the log start of a partition, trying until ctx ends.
func (w *Workload) LogStart(ctx context.Context, p int32) (int64, error) {
	for {
		c, route := w.Router.leaderConn(ctx, p)
		if c == nil {
			return 0, fmt.Errorf("partition %d: %w", p, ctx.Err())
		}
		start, err := listOffset(c, w.cfg.Topic, p, earliest, route.Epoch)
		c.close()
		if err == nil {
			return start, nil
		}
		w.Router.Refresh()
		if stopped := pause(ctx, retryPause); stopped != nil {
			return 0, fmt.Errorf("partition %d: %w; last: %w", p, stopped, err)
		}
	}
}

// endOffsets asks the leaders for the end of each partition, trying until ctx ends.
func (w *Workload) endOffsets(ctx context.Context) ([]int64, error) {
	ends := make([]int64, w.cfg.Partitions)
	for p := range w.cfg.Partitions {
		for {
			c, route := w.Router.leaderConn(ctx, p)
			if c == nil {
				return nil, fmt.Errorf("partition %d: %w", p, ctx.Err())
			}
			end, err := listOffset(c, w.cfg.Topic, p, latest, route.Epoch)
			c.close()
			if err == nil {
				ends[p] = end
				break
			}
			w.Router.Refresh()
			if stopped := pause(ctx, retryPause); stopped != nil {
				return nil, fmt.Errorf("partition %d: %w; last: %w", p, stopped, err)
			}
		}
	}
	return ends, nil
}
