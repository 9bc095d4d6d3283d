package workload

import (
	"context"
	"fmt"
	"io"
	"strconv"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/stelemq/stele/tests/robustness/history"
)

const codeTopicExists = 36

// CreateTopic creates the topic of the workload, and waits until each of its partitions has a leader that answers.
// It asks one broker after the other, until ctx ends.
func CreateTopic(ctx context.Context, cfg Config) error {
	var last error
	for created := false; !created; {
		for _, addr := range cfg.Bootstrap {
			if last = createTopic(ctx, addr, cfg); last == nil {
				created = true
				break
			}
		}
		if err := pause(ctx, retryPause); err != nil {
			return fmt.Errorf("create topic: %w; last: %w", err, last)
		}
	}
	cfg.Recorder = history.NewRecorder(io.Discard) // what is said before the workload begins is no part of its history
	w := &Workload{cfg: cfg, Router: newRouter(cfg)}
	routing, cancel := context.WithCancel(ctx)
	w.others.Go(func() { w.Router.run(routing) })
	defer w.others.Wait()
	defer cancel()
	if _, err := w.endOffsets(ctx); err != nil {
		return fmt.Errorf("a new topic has no leader: %w", err)
	}
	return nil
}

func createTopic(ctx context.Context, addr string, cfg Config) error {
	c, err := dialOnce(ctx, addr)
	if err != nil {
		return err
	}
	defer c.close()
	topic := kmsg.NewCreateTopicsRequestTopic()
	topic.Topic, topic.NumPartitions, topic.ReplicationFactor = cfg.Topic, cfg.Partitions, max(cfg.Replicas, 1)
	set := func(name string, value int) {
		if value > 0 {
			topic.Configs = append(topic.Configs, kmsg.CreateTopicsRequestTopicConfig{Name: name, Value: new(strconv.Itoa(value))})
		}
	}
	for k, v := range cfg.Settings {
		topic.Configs = append(topic.Configs, kmsg.CreateTopicsRequestTopicConfig{Name: k, Value: &v})
	}
	if cfg.Assignment != nil {
		topic.NumPartitions, topic.ReplicationFactor = -1, -1
		for p, nodes := range cfg.Assignment {
			topic.ReplicaAssignment = append(topic.ReplicaAssignment, kmsg.CreateTopicsRequestTopicReplicaAssignment{Partition: int32(p), Replicas: nodes})
		}
	}
	set("segment.bytes", cfg.SegmentBytes)
	set("min.insync.replicas", cfg.MinISR)
	req := kmsg.NewPtrCreateTopicsRequest()
	req.SetVersion(5)
	req.TimeoutMillis = 10_000
	req.Topics = append(req.Topics, topic)
	resp := kmsg.NewPtrCreateTopicsResponse()
	if err := c.do(req, resp); err != nil {
		return err
	}
	if len(resp.Topics) != 1 {
		return fmt.Errorf("%w: %d topics", errAnswer, len(resp.Topics))
	}
	if n := resp.Topics[0].ErrorCode; n != codeTopicExists {
		return errorOf(n)
	}
	return nil
}
