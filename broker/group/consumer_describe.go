package group

import (
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/stelemq/stele/broker/group/assignor"
	"github.com/stelemq/stele/protocol"
)

// Types of members in ConsumerGroupDescribe v1.
const (
	memberTypeClassic  = 0
	memberTypeConsumer = 1
)

// ConsumerGroupDescribe: v0-v1
func (c *Coordinator) consumerDescribe(r *Request, req *kmsg.ConsumerGroupDescribeRequest) {
	resp := kmsg.NewPtrConsumerGroupDescribeResponse()
	for _, id := range req.Groups {
		out := kmsg.NewConsumerGroupDescribeResponseGroup()
		out.Group = id
		g := c.find(id)
		var k *consumerGroup
		if g != nil {
			k, _ = g.body.(*consumerGroup)
		}
		switch {
		case k != nil:
			c.describeConsumer(k, &out)
			if req.IncludeAuthorizedOperations {
				out.AuthorizedOperations = groupOperations
			}
		case g != nil:
			out.ErrorCode, out.ErrorMessage = int16(protocol.GroupIDNotFound), new("Group "+id+" is not a consumer group.")
		default:
			out.ErrorCode, out.ErrorMessage = int16(protocol.GroupIDNotFound), new("Group "+id+" not found.")
		}
		resp.Groups = append(resp.Groups, out)
	}
	c.answer(r, resp)
}

func (c *Coordinator) describeConsumer(k *consumerGroup, out *kmsg.ConsumerGroupDescribeResponseGroup) {
	out.State, out.Epoch, out.AssignmentEpoch, out.AssignorName = k.state(), k.epoch, k.targetEpoch, c.preferredAssignor(k).Name()
	for _, m := range k.ordered() {
		d := kmsg.NewConsumerGroupDescribeResponseGroupMember()
		d.MemberID, d.InstanceID, d.RackID = m.id, optional(m.instanceID), optional(m.rack)
		d.MemberEpoch, d.ClientID, d.ClientHost = m.epoch, m.clientID, m.clientHost
		d.SubscribedTopics, d.SubscribedTopicRegex = append([]string{}, m.topics...), optional(m.regex)
		d.MemberType = memberTypeConsumer
		if m.classic != nil {
			d.MemberType = memberTypeClassic
		}
		d.Assignment = c.describeAssignment(m.assigned.assignment())
		d.TargetAssignment = c.describeAssignment(k.target[m.id])
		out.Members = append(out.Members, d)
	}
}

// describeAssignment names the topics; those that have been deleted are left out.
func (c *Coordinator) describeAssignment(a assignor.Assignment) kmsg.Assignment {
	out := kmsg.NewAssignment()
	for _, id := range sortedTopics(a) {
		if topic, ok := c.cfg.Topics.TopicByID(id); ok {
			out.TopicPartitions = append(out.TopicPartitions, kmsg.AssignmentTopicPartition{TopicID: id, Topic: topic.Name, Partitions: a[id]})
		}
	}
	return out
}
