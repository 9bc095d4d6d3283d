package broker

import (
	"context"
	"errors"
	"sync"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/stelemq/stele/broker/metadata"
	"github.com/stelemq/stele/protocol"
	"github.com/stelemq/stele/protocol/record"
)

// DeleteRecords: v0-v2
//
// Behaviour: the leader of each partition moves its log start up to the offset, -1 for the high watermark, by a command of
// the partition's log: on all replicas, never back. The answer comes when a majority has it, with the log start; segments
// that lie wholly below go in the background. An offset above the high watermark is OFFSET_OUT_OF_RANGE, one below the log
// start changes nothing. Topics that are compacted alone are refused with POLICY_VIOLATION, internal ones with
// INVALID_TOPIC_EXCEPTION.
//
// Version notes: v2 is flexible. Partitions are dealt with side by side.

func (k *call) deleteRecords(req *kmsg.DeleteRecordsRequest) kmsg.Response {
	resp := kmsg.NewPtrDeleteRecordsResponse()
	ctx, cancel := context.WithTimeout(k.ctx, requestTimeout(req.TimeoutMillis))
	defer cancel()
	image := k.b.opts.Metadata.Image()
	var wg sync.WaitGroup
	slots := make(chan struct{}, deletesAtOnce)
	for i := range req.Topics {
		out := kmsg.NewDeleteRecordsResponseTopic()
		out.Topic = req.Topics[i].Topic
		out.Partitions = make([]kmsg.DeleteRecordsResponseTopicPartition, len(req.Topics[i].Partitions))
		t, code := k.b.topicNamed(image, out.Topic)
		if code == protocol.None && metadata.InternalTopic(out.Topic) {
			code = protocol.InvalidTopicException
		}
		for j := range req.Topics[i].Partitions {
			want, r := &req.Topics[i].Partitions[j], &out.Partitions[j]
			*r = kmsg.NewDeleteRecordsResponseTopicPartition()
			r.Partition, r.LowWatermark, r.ErrorCode = want.Partition, -1, int16(code)
			if code != protocol.None {
				continue
			}
			slots <- struct{}{}
			wg.Go(func() {
				defer func() { <-slots }()
				low, code := k.deleteUpTo(ctx, t, want.Partition, record.Offset(want.Offset))
				r.LowWatermark, r.ErrorCode = int64(low), int16(code)
			})
		}
		resp.Topics = append(resp.Topics, out)
	}
	wg.Wait()
	for i := range resp.Topics {
		for j := range resp.Topics[i].Partitions {
			if code := protocol.Code(resp.Topics[i].Partitions[j].ErrorCode); code != protocol.None {
				k.code(code)
			}
		}
	}
	return resp
}

// deletesAtOnce bounds the partitions of one request whose commands are under way.
const deletesAtOnce = 32

// deleteUpTo moves the log start of one partition and returns it, or -1 and why not.
func (k *call) deleteUpTo(ctx context.Context, t *metadata.Topic, index int32, to record.Offset) (record.Offset, protocol.Code) {
	l, code := k.b.lead(t, index, noEpochCheck)
	if code != protocol.None {
		return record.NoOffset, code
	}
	if !l.partition.topic.settings.Load().Delete {
		return record.NoOffset, protocol.PolicyViolation
	}
	low, err := l.log.DeleteRecords(ctx, to)
	switch {
	case errors.Is(err, context.DeadlineExceeded):
		return record.NoOffset, protocol.RequestTimedOut
	case err != nil:
		return record.NoOffset, k.b.logCode(err)
	}
	return low, protocol.None
}
