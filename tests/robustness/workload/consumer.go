package workload

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync/atomic"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/stelemq/stele/tests/robustness/history"
)

const (
	fetchWaitMillis = 200
	fetchTimeout    = 2 * time.Second
	partitionBytes  = 256 << 10
	// A consumer sometimes goes back by up to this many offsets when it connects anew.
	rewind = 500
)

// consumer reads one partition by assignment and keeps its position over every failure.
type consumer struct {
	cfg       Config
	router    *Router
	process   int
	partition int32
	final     bool
	rng       *rand.Rand
	next      int64
	gone      bool // the position is no longer in the log, or what stands there cannot be read
	// ends is nil until the end offsets are known at which the consumer may stop.
	ends *atomic.Pointer[[]int64]
}

func newConsumer(w *Workload, process int, partition int32) *consumer {
	return &consumer{
		cfg: w.cfg, router: w.Router, process: process, partition: partition, final: process == finalConsumer, ends: &w.ends,
		rng: rand.New(rand.NewPCG(w.cfg.Seed, uint64(process)<<16|uint64(partition))),
	}
}

// run reads until it has reached the end, or ctx ends.
func (c *consumer) run(ctx context.Context) {
	c.assign(0)
	for !c.done() && ctx.Err() == nil {
		conn, route := c.router.leaderConn(ctx, c.partition)
		if conn == nil {
			return
		}
		stop := context.AfterFunc(ctx, conn.close)
		var err error
		for err == nil && !c.done() {
			err = c.fetch(conn, route)
		}
		stop()
		conn.close()
		if c.done() {
			return
		}
		c.router.Refresh()
		if pause(ctx, retryPause) != nil {
			return
		}
		if !c.final && !c.cfg.Trims && c.rng.IntN(8) == 0 {
			c.assign(max(0, c.next-c.rng.Int64N(rewind)))
		}
	}
}

func (c *consumer) done() bool {
	if c.gone {
		return true
	}
	ends := c.ends.Load()
	return ends != nil && c.next >= (*ends)[c.partition]
}

func (c *consumer) assign(offset int64) {
	c.next = offset
	now := c.cfg.Recorder.Now()
	c.cfg.Recorder.Record(history.Op{
		Kind: history.Assign, Process: c.process, Partition: c.partition, Status: history.OK, Start: now,
		Offset: offset, HighWatermark: history.None, LogStart: history.None, Final: c.final,
	})
}

var errMoved = errors.New("another broker leads")

// fetch makes one request and records what came.
func (c *consumer) fetch(conn *conn, route Route) error {
	if now, _ := c.router.Route(c.partition); now.Epoch > route.Epoch {
		return errMoved
	}
	req := kmsg.NewPtrFetchRequest()
	req.SetVersion(12)
	req.ReplicaID, req.MaxWaitMillis, req.MinBytes, req.MaxBytes, req.SessionEpoch = -1, fetchWaitMillis, 1, partitionBytes, -1
	topic := kmsg.NewFetchRequestTopic()
	topic.Topic = c.cfg.Topic
	part := kmsg.NewFetchRequestTopicPartition()
	part.Partition, part.FetchOffset, part.PartitionMaxBytes = c.partition, c.next, partitionBytes
	part.CurrentLeaderEpoch, part.LastFetchedEpoch = route.Epoch, -1
	topic.Partitions = append(topic.Partitions, part)
	req.Topics = append(req.Topics, topic)
	resp := kmsg.NewPtrFetchResponse()
	start := c.cfg.Recorder.Now()
	if err := conn.doWithin(req, resp, fetchTimeout); err != nil {
		return err
	}
	if err := errorOf(resp.ErrorCode); err != nil {
		return err
	}
	if len(resp.Topics) != 1 || len(resp.Topics[0].Partitions) != 1 || resp.Topics[0].Partitions[0].Partition != c.partition {
		return fmt.Errorf("%w to Fetch", errAnswer)
	}
	return c.took(conn, &resp.Topics[0].Partitions[0], start, route)
}

// skip goes on at the log start, if the position lies before it.
func (c *consumer) skip(conn *conn, route Route) error {
	first, err := listOffset(conn, c.cfg.Topic, c.partition, earliest, route.Epoch)
	if err != nil {
		return err
	}
	if first <= c.next {
		return errMoved // it is the end that lies before
	}
	c.assign(first)
	return nil
}

// took records an answer and advances the position.
func (c *consumer) took(conn *conn, part *kmsg.FetchResponseTopicPartition, start int64, route Route) error {
	op := history.Op{
		Kind: history.Poll, Process: c.process, Partition: c.partition, Status: history.OK, Start: start, Node: route.Node, Epoch: route.Epoch,
		Offset: c.next, HighWatermark: part.HighWatermark, LogStart: part.LogStartOffset, Final: c.final,
	}
	if part.CurrentLeader.LeaderID > 0 {
		c.router.learn(c.partition, part.CurrentLeader.LeaderID, part.CurrentLeader.LeaderEpoch)
	}
	switch err := errorOf(part.ErrorCode); {
	case errors.Is(err, codeOffsetOutOfRange) && c.cfg.Trims:
		return c.skip(conn, route)
	case errors.Is(err, codeOffsetOutOfRange):
		op.Lost, op.Error, op.HighWatermark = true, err.Error(), history.None
		c.gone = true
		c.cfg.Recorder.Record(op)
		return nil
	case err != nil:
		return err
	}
	entries, err := parseBatches(part.RecordBatches, c.partition, c.next)
	for _, e := range entries {
		c.next = e.offset + 1
		if e.damaged {
			op.Damaged = append(op.Damaged, e.offset)
			continue
		}
		op.Values, op.Offsets, op.Epochs = append(op.Values, e.value), append(op.Offsets, e.offset), append(op.Epochs, e.epoch)
	}
	if err != nil {
		op.Error = err.Error()
		op.Damaged = append(op.Damaged, c.next)
		c.gone = true
	}
	c.cfg.Recorder.Record(op)
	return nil
}
