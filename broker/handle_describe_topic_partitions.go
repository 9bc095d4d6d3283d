package broker

import (
	"slices"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/stelemq/stele/broker/metadata"
	"github.com/stelemq/stele/protocol"
)

// DescribeTopicPartitions: v0
//
// Behaviour: topics by name in order, all where none is named, in pages: an answer holds as many
// partitions as the client wants, 2000 at most, and a cursor to go on from.
//
// Not implemented: eligible leader replicas, empty as in a cluster without that feature.

// describePartitionsMax is Kafka's max.request.partition.size.limit.
const describePartitionsMax = 2000

func (k *call) describeTopicPartitions(req *kmsg.DescribeTopicPartitionsRequest) kmsg.Response {
	resp := kmsg.NewPtrDescribeTopicPartitionsResponse()
	image := k.b.opts.Metadata.Image()
	names := k.namesFrom(image, req)
	first := int32(0)
	if c := req.Cursor; c != nil {
		named := slices.ContainsFunc(req.Topics, func(t kmsg.DescribeTopicPartitionsRequestTopic) bool { return t.Topic == c.Topic })
		if c.Partition < 0 || len(req.Topics) > 0 && !named {
			return k.refuseCursor(req)
		}
		if len(names) > 0 && names[0] == c.Topic {
			first = c.Partition
		}
	}
	room := max(min(int(req.ResponsePartitionLimit), describePartitionsMax), 1)
	for _, name := range names {
		t, code := k.b.topicNamed(image, name)
		if code != protocol.None {
			if metadata.ValidateTopicName(name) != nil {
				code = protocol.InvalidTopicException
			}
			out := kmsg.NewDescribeTopicPartitionsResponseTopic()
			out.Topic, out.ErrorCode, out.AuthorizedOperations = &name, k.code(code), topicOperations
			resp.Topics = append(resp.Topics, out)
			continue
		}
		if room == 0 {
			resp.NextCursor = &kmsg.DescribeTopicPartitionsResponseNextCursor{Topic: name, Partition: first}
			return resp
		}
		out := k.topicPartitions(image, t, first, room)
		room -= len(out.Partitions)
		next := int(first) + len(out.Partitions)
		resp.Topics = append(resp.Topics, out)
		if next < len(t.Partitions) {
			resp.NextCursor = &kmsg.DescribeTopicPartitionsResponseNextCursor{Topic: name, Partition: int32(next)} //nolint:gosec // bounded by the metadata
			return resp
		}
		first = 0
	}
	return resp
}

// namesFrom returns the topics to describe, in order, from the cursor on.
func (k *call) namesFrom(image *metadata.Image, req *kmsg.DescribeTopicPartitionsRequest) []string {
	var names []string
	if len(req.Topics) == 0 {
		names = image.TopicNames()
	} else {
		for i := range req.Topics {
			names = append(names, req.Topics[i].Topic)
		}
		slices.Sort(names)
		names = slices.Compact(names)
	}
	if req.Cursor != nil {
		from, _ := slices.BinarySearch(names, req.Cursor.Topic)
		names = names[from:]
	}
	return names
}

// refuseCursor answers a cursor that is not of the request's topics.
func (k *call) refuseCursor(req *kmsg.DescribeTopicPartitionsRequest) kmsg.Response {
	resp := kmsg.NewPtrDescribeTopicPartitionsResponse()
	for i := range req.Topics {
		out := kmsg.NewDescribeTopicPartitionsResponseTopic()
		out.Topic, out.ErrorCode = &req.Topics[i].Topic, k.code(protocol.InvalidRequest)
		resp.Topics = append(resp.Topics, out)
	}
	return resp
}

func (k *call) topicPartitions(image *metadata.Image, t *metadata.Topic, first int32, room int) kmsg.DescribeTopicPartitionsResponseTopic {
	out := kmsg.NewDescribeTopicPartitionsResponseTopic()
	name := t.Name
	out.Topic, out.TopicID, out.IsInternal, out.AuthorizedOperations = &name, t.ID, metadata.InternalTopic(name), topicOperations
	local := k.b.partitions.topic(t.ID)
	for i := int(first); i < len(t.Partitions) && len(out.Partitions) < room; i++ {
		s := k.b.standing(image, local, t, int32(i)) //nolint:gosec // bounded by the metadata
		out.Partitions = append(out.Partitions, kmsg.DescribeTopicPartitionsResponseTopicPartition{
			ErrorCode: int16(s.code), Partition: int32(i), LeaderID: s.leader, LeaderEpoch: s.epoch, //nolint:gosec // bounded by the metadata
			Replicas: s.replicas, ISR: s.isr, OfflineReplicas: s.offline,
			// Empty, not null: Java's admin client reads the lists without looking.
			EligibleLeaderReplicas: []int32{}, LastKnownELR: []int32{},
		})
	}
	return out
}
