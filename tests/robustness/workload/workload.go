package workload

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"sync"
	"sync/atomic"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// Workload is a running workload. Its methods may be called concurrently, but Finish only once.
type Workload struct {
	cfg    Config
	cancel context.CancelFunc
	stop   chan struct{}
	values atomic.Int64
	acked  atomic.Int64
	ends   atomic.Pointer[[]int64]

	producers, consumers sync.WaitGroup
}

// CreateTopic creates the topic of the workload and waits until its partitions have leaders.
func CreateTopic(ctx context.Context, cfg Config) error {
	c, err := dial(ctx, cfg.Addr)
	if err != nil {
		return err
	}
	defer c.close()
	topic := kmsg.NewCreateTopicsRequestTopic()
	topic.Topic, topic.NumPartitions, topic.ReplicationFactor = cfg.Topic, cfg.Partitions, 1
	if cfg.SegmentBytes > 0 {
		topic.Configs = []kmsg.CreateTopicsRequestTopicConfig{{Name: "segment.bytes", Value: new(strconv.Itoa(cfg.SegmentBytes))}}
	}
	req := kmsg.NewPtrCreateTopicsRequest()
	req.SetVersion(5)
	req.TimeoutMillis = 10_000
	req.Topics = append(req.Topics, topic)
	resp := kmsg.NewPtrCreateTopicsResponse()
	if err := c.do(req, resp); err != nil {
		return fmt.Errorf("create topic: %w", err)
	}
	if len(resp.Topics) != 1 {
		return fmt.Errorf("create topic: %w: %d topics", errAnswer, len(resp.Topics))
	}
	if err := errorOf(resp.Topics[0].ErrorCode); err != nil {
		return fmt.Errorf("create topic: %w", err)
	}
	_, err = endOffsets(ctx, cfg)
	return err
}

// Start starts the producers and consumers. They end with Finish, or when ctx ends.
func Start(ctx context.Context, cfg Config) *Workload {
	ctx, cancel := context.WithCancel(ctx)
	w := &Workload{cfg: cfg, cancel: cancel, stop: make(chan struct{})}
	for i := range cfg.Producers {
		p := newProducer(cfg, i, &w.values, &w.acked)
		w.producers.Go(func() { p.run(ctx, w.stop) })
	}
	for i := range cfg.Consumers {
		c := newConsumer(cfg, firstConsumer+i, &w.ends)
		// An error here means that ctx ended; what was not read then is found in the history.
		w.consumers.Go(func() { _ = c.run(ctx) })
	}
	return w
}

// Acked is the number of values acknowledged so far.
func (w *Workload) Acked() int64 { return w.acked.Load() }

// Finish stops the producers, waits until their batches are resolved and the consumers have read everything, and
// lets one more consumer read all from the start. When ctx ends before, it gives up and says so; what is
// unresolved then is recorded as unknown.
func (w *Workload) Finish(ctx context.Context) error {
	defer w.cancel()
	stopOnEnd := context.AfterFunc(ctx, w.cancel)
	defer stopOnEnd()
	close(w.stop)
	w.producers.Wait()
	ends, err := endOffsets(ctx, w.cfg)
	if err != nil {
		w.cancel()
		w.consumers.Wait()
		return fmt.Errorf("end offsets: %w", err)
	}
	w.ends.Store(&ends)
	w.consumers.Wait()
	if err := newConsumer(w.cfg, finalConsumer, &w.ends).run(ctx); err != nil {
		return fmt.Errorf("final reading: %w", err)
	}
	if err := ctx.Err(); err != nil {
		return fmt.Errorf("final reading: %w", err)
	}
	return nil
}

var errNoOffset = errors.New("no offset for a partition")

// endOffsets asks for the end of each partition, trying until ctx ends.
func endOffsets(ctx context.Context, cfg Config) ([]int64, error) {
	for {
		c, err := dial(ctx, cfg.Addr)
		if err != nil {
			return nil, err
		}
		ends, err := listEnds(c, cfg)
		c.close()
		if err == nil {
			return ends, nil
		}
		if stopped := pause(ctx, retryPause); stopped != nil {
			return nil, fmt.Errorf("%w; last: %w", stopped, err)
		}
	}
}

func listEnds(c *conn, cfg Config) ([]int64, error) {
	req := kmsg.NewPtrListOffsetsRequest()
	req.SetVersion(6)
	req.ReplicaID = -1
	topic := kmsg.NewListOffsetsRequestTopic()
	topic.Topic = cfg.Topic
	ends := make([]int64, cfg.Partitions)
	for p := range ends {
		part := kmsg.NewListOffsetsRequestTopicPartition()
		part.Partition, part.Timestamp, part.CurrentLeaderEpoch = int32(p), -1, -1
		topic.Partitions = append(topic.Partitions, part)
		ends[p] = -1
	}
	req.Topics = append(req.Topics, topic)
	resp := kmsg.NewPtrListOffsetsResponse()
	if err := c.do(req, resp); err != nil {
		return nil, err
	}
	for _, t := range resp.Topics {
		for _, p := range t.Partitions {
			if err := errorOf(p.ErrorCode); err != nil {
				return nil, err
			}
			if p.Partition >= 0 && p.Partition < cfg.Partitions {
				ends[p.Partition] = p.Offset
			}
		}
	}
	for _, end := range ends {
		if end < 0 {
			return nil, errNoOffset
		}
	}
	return ends, nil
}
