package broker

import (
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/stelemq/stele/broker/metadata"
	"github.com/stelemq/stele/protocol"
	"github.com/stelemq/stele/protocol/record"
)

// DescribeProducers: v0
//
// Behaviour: the idempotent producers that the leader of a partition remembers.

func (k *call) describeProducers(req *kmsg.DescribeProducersRequest) kmsg.Response {
	resp := kmsg.NewPtrDescribeProducersResponse()
	image := k.b.opts.Metadata.Image()
	for i := range req.Topics {
		rt := &req.Topics[i]
		out := kmsg.NewDescribeProducersResponseTopic()
		out.Topic = rt.Topic
		invalid := metadata.ValidateTopicName(rt.Topic)
		for _, partition := range rt.Partitions {
			p := kmsg.NewDescribeProducersResponseTopicPartition()
			p.Partition = partition
			if invalid != nil {
				text := invalid.Error()
				p.ErrorCode, p.ErrorMessage = k.code(protocol.InvalidTopicException), &text
			} else {
				k.fillProducers(image, rt.Topic, &p)
			}
			out.Partitions = append(out.Partitions, p)
		}
		resp.Topics = append(resp.Topics, out)
	}
	return resp
}

func (k *call) fillProducers(image *metadata.Image, topic string, out *kmsg.DescribeProducersResponseTopicPartition) {
	t, ok := image.Topic(topic)
	if !ok || out.Partition < 0 || int(out.Partition) >= len(t.Partitions) {
		out.ErrorCode = k.code(protocol.UnknownTopicOrPartition)
		return
	}
	var log PartitionLog
	if p := k.b.partitions.shard(dledgerShard(t.Partitions[out.Partition].Shard)); p != nil {
		log = p.open()
	}
	if log == nil || !log.Leadership().IsLeader {
		out.ErrorCode = k.code(protocol.NotLeaderOrFollower)
		return
	}
	for _, p := range log.Producers() {
		a := kmsg.NewDescribeProducersResponseTopicPartitionActiveProducer()
		a.ProducerID, a.ProducerEpoch, a.LastSequence, a.LastTimestamp = p.ID, int32(p.Epoch), p.LastSequence, p.LastTimestamp
		a.CoordinatorEpoch, a.CurrentTxnStartOffset = p.CoordinatorEpoch, -1
		if p.TxnFirstOffset != record.NoOffset {
			a.CurrentTxnStartOffset = int64(p.TxnFirstOffset)
		}
		out.ActiveProducers = append(out.ActiveProducers, a)
	}
}
