package workload

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync/atomic"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/stelemq/stele/tests/robustness/history"
)

const (
	fetchWaitMillis = 50
	fetchBytes      = 8 << 20
	partitionBytes  = 256 << 10
	// A consumer sometimes goes back by up to this many offsets when it connects anew.
	rewind = 500
)

// consumer reads all partitions by assignment and keeps its positions over every failure.
type consumer struct {
	cfg     Config
	process int
	final   bool
	rng     *rand.Rand
	next    []int64
	gone    []bool // partitions whose position is no longer in the log
	// ends is nil until the end offsets are known at which the consumer may stop.
	ends *atomic.Pointer[[]int64]
}

func newConsumer(cfg Config, process int, ends *atomic.Pointer[[]int64]) *consumer {
	return &consumer{
		cfg: cfg, process: process, final: process == finalConsumer, ends: ends,
		rng:  rand.New(rand.NewPCG(cfg.Seed, uint64(process))),
		next: make([]int64, cfg.Partitions), gone: make([]bool, cfg.Partitions),
	}
}

// run reads until it has reached the ends, or ctx ends.
func (c *consumer) run(ctx context.Context) error {
	for p := range c.cfg.Partitions {
		c.assign(p, 0)
	}
	for {
		conn, err := dial(ctx, c.cfg.Addr)
		if err != nil {
			return err
		}
		for err == nil && !c.done() && ctx.Err() == nil {
			err = c.fetch(conn)
		}
		conn.close()
		if c.done() {
			return nil
		}
		if err := pause(ctx, retryPause); err != nil {
			return err
		}
		if !c.final && c.rng.IntN(4) == 0 {
			p := c.rng.Int32N(c.cfg.Partitions)
			c.assign(p, max(0, c.next[p]-c.rng.Int64N(rewind)))
		}
	}
}

func (c *consumer) done() bool {
	ends := c.ends.Load()
	if ends == nil {
		return false
	}
	for p, end := range *ends {
		if c.next[p] < end && !c.gone[p] {
			return false
		}
	}
	return true
}

func (c *consumer) assign(p int32, offset int64) {
	c.next[p] = offset
	now := c.cfg.Recorder.Now()
	c.cfg.Recorder.Record(history.Op{
		Kind: history.Assign, Process: c.process, Partition: p, Status: history.OK, Start: now,
		Offset: offset, HighWatermark: history.None, LogStart: history.None, Final: c.final,
	})
}

// fetch makes one request for all partitions and records what came.
func (c *consumer) fetch(conn *conn) error {
	req := kmsg.NewPtrFetchRequest()
	req.SetVersion(12)
	req.ReplicaID, req.MaxWaitMillis, req.MinBytes, req.MaxBytes, req.SessionEpoch = -1, fetchWaitMillis, 1, fetchBytes, -1
	topic := kmsg.NewFetchRequestTopic()
	topic.Topic = c.cfg.Topic
	for p, next := range c.next {
		if c.gone[p] {
			continue
		}
		part := kmsg.NewFetchRequestTopicPartition()
		part.Partition, part.FetchOffset, part.PartitionMaxBytes = int32(p), next, partitionBytes
		part.CurrentLeaderEpoch, part.LastFetchedEpoch = -1, -1
		topic.Partitions = append(topic.Partitions, part)
	}
	if len(topic.Partitions) == 0 {
		return errors.New("every position is gone")
	}
	req.Topics = append(req.Topics, topic)
	resp := kmsg.NewPtrFetchResponse()
	start := c.cfg.Recorder.Now()
	if err := conn.do(req, resp); err != nil {
		return err
	}
	if err := errorOf(resp.ErrorCode); err != nil {
		return err
	}
	for _, t := range resp.Topics {
		for i := range t.Partitions {
			if err := c.took(&t.Partitions[i], start); err != nil {
				return err
			}
		}
	}
	return nil
}

// took records the answer for one partition and advances its position.
func (c *consumer) took(part *kmsg.FetchResponseTopicPartition, start int64) error {
	p := part.Partition
	if p < 0 || p >= c.cfg.Partitions {
		return fmt.Errorf("%w: partition %d", errAnswer, p)
	}
	op := history.Op{
		Kind: history.Poll, Process: c.process, Partition: p, Status: history.OK, Start: start,
		Offset: c.next[p], HighWatermark: part.HighWatermark, LogStart: part.LogStartOffset, Final: c.final,
	}
	switch err := errorOf(part.ErrorCode); {
	case errors.Is(err, codeOffsetOutOfRange):
		op.Lost, op.Error, op.HighWatermark = true, err.Error(), history.None
		c.gone[p] = true
		c.cfg.Recorder.Record(op)
		return nil
	case err != nil:
		return err
	}
	entries, err := parseBatches(part.RecordBatches, p, c.next[p])
	for _, e := range entries {
		c.next[p] = e.offset + 1
		if e.damaged {
			op.Damaged = append(op.Damaged, e.offset)
			continue
		}
		op.Values, op.Offsets, op.Epochs = append(op.Values, e.value), append(op.Offsets, e.offset), append(op.Epochs, e.epoch)
	}
	if err != nil {
		op.Error = err.Error()
		op.Damaged = append(op.Damaged, c.next[p])
		c.gone[p] = true
	}
	c.cfg.Recorder.Record(op)
	return nil
}
