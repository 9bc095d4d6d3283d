package broker

import (
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/stelemq/stele/dledger"
	"github.com/stelemq/stele/protocol"
	"github.com/stelemq/stele/protocol/record"
)

// OffsetForLeaderEpoch: v0-v4
//
// Behaviour: the largest epoch not above the one asked for, and the offset at which it ended (the log
// end offset if it is the current one); (-1, -1) for an epoch above ours (KIP-101, KIP-320).
//
// Version notes: v1 answers the epoch; v2 the client's current leader epoch is checked.

func (k *call) offsetForLeaderEpoch(req *kmsg.OffsetForLeaderEpochRequest) kmsg.Response {
	resp := kmsg.NewPtrOffsetForLeaderEpochResponse()
	image := k.b.opts.Metadata.Image()
	until := time.Now().Add(leaseWait)
	for i := range req.Topics {
		rt := &req.Topics[i]
		t, code := k.b.topicNamed(image, rt.Topic)
		out := kmsg.NewOffsetForLeaderEpochResponseTopic()
		out.Topic = rt.Topic
		for j := range rt.Partitions {
			rp := &rt.Partitions[j]
			r := kmsg.NewOffsetForLeaderEpochResponseTopicPartition()
			r.Partition, r.LeaderEpoch, r.EndOffset = rp.Partition, -1, -1
			pcode := code
			if pcode == protocol.None {
				var l leading
				if l, pcode = k.b.lead(t, rp.Partition, rp.CurrentLeaderEpoch); pcode == protocol.None {
					epoch, end, err := k.endOfEpoch(l, rp.LeaderEpoch, until)
					if pcode = k.b.logCode(err); pcode == protocol.None {
						r.LeaderEpoch, r.EndOffset = int32(epoch), int64(end)
					}
				}
			}
			if pcode != protocol.None {
				r.ErrorCode = k.code(pcode)
			}
			out.Partitions = append(out.Partitions, r)
		}
		resp.Topics = append(resp.Topics, out)
	}
	return resp
}

func (k *call) endOfEpoch(l leading, epoch int32, until time.Time) (record.LeaderEpoch, record.Offset, error) {
	if epoch < 0 || epoch > int32(l.leader.Epoch) {
		return record.NoEpoch, record.NoOffset, nil
	}
	if !awaitLease(k.ctx, l.log, until) {
		return record.NoEpoch, record.NoOffset, dledger.ErrNotLeader
	}
	return l.log.EndOffsetForEpoch(record.LeaderEpoch(epoch)) //nolint:wrapcheck // translated to a code by the caller
}
