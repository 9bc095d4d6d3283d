package workload

import (
	"context"
	"fmt"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/stelemq/stele/tests/robustness/history"
)

// watchInterval is the time between two looks at one partition.
const watchInterval = 150 * time.Millisecond

// Timestamps that ListOffsets takes for offsets.
const (
	latest   = -1
	earliest = -2
)

// watch asks the leaders of a partition for its offsets and the ends of its epochs, and records what they say.
func (w *Workload) watch(ctx context.Context, partition int32) {
	for ctx.Err() == nil {
		c, route := w.Router.leaderConn(ctx, partition)
		if c == nil {
			return
		}
		stop := context.AfterFunc(ctx, c.close)
		var err error
		for err == nil && pause(ctx, watchInterval) == nil {
			if now, _ := w.Router.Route(partition); now.Epoch > route.Epoch {
				break
			}
			if err = w.watchOffsets(c, partition, route); err == nil {
				err = w.watchEpochs(c, partition, route)
			}
		}
		stop()
		c.close()
		if err != nil {
			w.Router.Refresh()
			if pause(ctx, retryPause) != nil {
				return
			}
		}
	}
}

func (w *Workload) watchOffsets(c *conn, partition int32, route Route) error {
	for _, timestamp := range []int64{latest, earliest} {
		op := history.Op{
			Kind: history.Offsets, Partition: partition, Status: history.OK, Start: w.cfg.Recorder.Now(), Node: route.Node, Epoch: route.Epoch,
			Offset: history.None, HighWatermark: history.None, LogStart: history.None,
		}
		offset, err := listOffset(c, w.cfg.Topic, partition, timestamp, route.Epoch)
		if err != nil {
			return err
		}
		if timestamp == latest {
			op.HighWatermark = offset
		} else {
			op.LogStart = offset
		}
		w.cfg.Recorder.Record(op)
	}
	return nil
}

// watchEpochs asks where the epochs end that are past.
func (w *Workload) watchEpochs(c *conn, partition int32, route Route) error {
	epochs := w.Router.Epochs(partition)
	const newest = 4
	for _, e := range epochs[max(0, len(epochs)-newest):] {
		if e >= route.Epoch {
			continue
		}
		op := history.Op{
			Kind: history.EpochEnd, Partition: partition, Status: history.OK, Start: w.cfg.Recorder.Now(), Node: route.Node, Epoch: route.Epoch,
			Asked: e, HighWatermark: history.None, LogStart: history.None,
		}
		req := kmsg.NewPtrOffsetForLeaderEpochRequest()
		req.SetVersion(4)
		req.ReplicaID = -1
		part := kmsg.NewOffsetForLeaderEpochRequestTopicPartition()
		part.Partition, part.CurrentLeaderEpoch, part.LeaderEpoch = partition, route.Epoch, e
		req.Topics = []kmsg.OffsetForLeaderEpochRequestTopic{{Topic: w.cfg.Topic, Partitions: []kmsg.OffsetForLeaderEpochRequestTopicPartition{part}}}
		resp := kmsg.NewPtrOffsetForLeaderEpochResponse()
		if err := c.doWithin(req, resp, fetchTimeout); err != nil {
			return err
		}
		if len(resp.Topics) != 1 || len(resp.Topics[0].Partitions) != 1 {
			return fmt.Errorf("%w to OffsetForLeaderEpoch", errAnswer)
		}
		answer := resp.Topics[0].Partitions[0]
		if err := errorOf(answer.ErrorCode); err != nil {
			return err
		}
		op.Answered, op.Offset = answer.LeaderEpoch, answer.EndOffset
		w.cfg.Recorder.Record(op)
	}
	return nil
}

// listOffset asks the leader for one offset. epoch is the leader epoch that it must have; -1: any.
func listOffset(c *conn, name string, partition int32, timestamp int64, epoch int32) (int64, error) {
	req := kmsg.NewPtrListOffsetsRequest()
	req.SetVersion(6)
	req.ReplicaID = -1
	part := kmsg.NewListOffsetsRequestTopicPartition()
	part.Partition, part.Timestamp, part.CurrentLeaderEpoch = partition, timestamp, epoch
	req.Topics = []kmsg.ListOffsetsRequestTopic{{Topic: name, Partitions: []kmsg.ListOffsetsRequestTopicPartition{part}}}
	resp := kmsg.NewPtrListOffsetsResponse()
	if err := c.doWithin(req, resp, fetchTimeout); err != nil {
		return 0, err
	}
	if len(resp.Topics) != 1 || len(resp.Topics[0].Partitions) != 1 {
		return 0, fmt.Errorf("%w to ListOffsets", errAnswer)
	}
	answer := resp.Topics[0].Partitions[0]
	if err := errorOf(answer.ErrorCode); err != nil {
		return 0, err
	}
	if answer.Offset < 0 {
		return 0, fmt.Errorf("%w to ListOffsets: offset %d", errAnswer, answer.Offset)
	}
	return answer.Offset, nil
}
