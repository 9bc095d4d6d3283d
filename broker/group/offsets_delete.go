package group

import (
	"maps"
	"slices"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/stelemq/stele/protocol"
)

// deleteOffsets: OffsetDelete v0
func (c *Coordinator) deleteOffsets(r *Request, req *kmsg.OffsetDeleteRequest) {
	g := c.find(req.Group)
	switch {
	case req.Group == "":
		c.fail(r, protocol.InvalidGroupID)
		return
	case g == nil:
		c.fail(r, protocol.GroupIDNotFound)
		return
	case g.body.size() > 0 && g.body.protocolType() != protocolConsumer:
		c.fail(r, protocol.NonEmptyGroup) // whose topics nobody can tell
		return
	}
	resp := kmsg.NewPtrOffsetDeleteResponse()
	for i := range req.Topics {
		t := &req.Topics[i]
		out := kmsg.OffsetDeleteResponseTopic{Topic: t.Topic}
		code := protocol.None
		if subscribed, known := g.body.subscribes(t.Topic); g.body.size() > 0 && (subscribed || !known) {
			code = protocol.GroupSubscribedToTopic
		}
		for j := range t.Partitions {
			p := t.Partitions[j].Partition
			if code == protocol.None && g.offset(t.Topic, p) != nil {
				c.dropOffset(g, t.Topic, p)
			}
			out.Partitions = append(out.Partitions, kmsg.OffsetDeleteResponseTopicPartition{Partition: p, ErrorCode: int16(code)})
		}
		resp.Topics = append(resp.Topics, out)
	}
	c.answer(r, resp)
	c.forgetEmpty(g)
}

func (c *Coordinator) dropOffset(g *group, topic string, partition int32) {
	g.dropOffset(topic, partition)
	c.emit(Record{Key: offsetKey(g.id, topic, partition)})
}

// deleteGroups: DeleteGroups v0-v3
func (c *Coordinator) deleteGroups(r *Request, req *kmsg.DeleteGroupsRequest) {
	resp := kmsg.NewPtrDeleteGroupsResponse()
	for _, id := range req.Groups {
		out := kmsg.DeleteGroupsResponseGroup{Group: id}
		g := c.find(id)
		switch {
		case id == "":
			out.ErrorCode = int16(protocol.InvalidGroupID)
		case g == nil:
			out.ErrorCode, out.ErrorMessage = int16(protocol.GroupIDNotFound), new("Group "+id+" not found.")
		case g.body.size() > 0 || g.body.state() == statePreparing.String():
			out.ErrorCode, out.ErrorMessage = int16(protocol.NonEmptyGroup), new("The group "+id+" is not empty.")
		default:
			c.dropGroup(g)
		}
		resp.Groups = append(resp.Groups, out)
	}
	c.answer(r, resp)
}

// dropGroup removes a group without members and everything that is recorded of it.
func (c *Coordinator) dropGroup(g *group) {
	for _, topic := range slices.Sorted(maps.Keys(g.offsets)) {
		for _, p := range slices.Sorted(maps.Keys(g.offsets[topic])) {
			c.dropOffset(g, topic, p)
		}
	}
	c.emit(g.body.tombstones(g, nil)...)
	c.cancelTimers(g)
	c.forget(g)
}

// cancelTimers ends every timer of a group.
func (c *Coordinator) cancelTimers(g *group) {
	for key := range c.timers.byKey {
		if key.group == g.id {
			c.timers.cancel(key)
		}
	}
}

// TopicsDeleted drops what is committed for topics that are gone: should one of the name come again, it begins anew.
func (c *Coordinator) TopicsDeleted(gone func(topic string) bool) {
	for _, g := range c.groups {
		for topic := range g.offsets {
			if !gone(topic) {
				continue
			}
			for _, p := range slices.Sorted(maps.Keys(g.offsets[topic])) {
				c.dropOffset(g, topic, p)
			}
		}
		c.forgetEmpty(g)
	}
}

// expireOffsets drops what has been kept long enough, and groups of which nothing is left (KIP-211).
func (c *Coordinator) expireOffsets(now time.Time) {
	c.timers.set(timerKey{kind: timerRetention}, now.Add(c.cfg.RetentionCheck), c.expireOffsets)
	for _, g := range c.groups {
		for topic := range g.offsets {
			for p, o := range g.offsets[topic] {
				if c.expired(now, g, topic, o) {
					c.dropOffset(g, topic, p)
				}
			}
		}
		if len(g.offsets) == 0 && g.body.size() == 0 && g.body.state() == stateEmpty.String() {
			c.dropGroup(g)
		}
	}
}

func (c *Coordinator) expired(now time.Time, g *group, topic string, o *offset) bool {
	ms := now.UnixMilli()
	since, empty := g.body.emptySince()
	subscribed, known := g.body.subscribes(topic)
	switch {
	case g.body.size() > 0 && (subscribed || !known), g.body.state() != stateEmpty.String() && g.body.state() != stateStable.String():
		return false
	case o.expires >= 0:
		return ms >= o.expires
	case c.cfg.OffsetsRetention <= 0:
		return false
	}
	from := o.committed
	if empty && since >= 0 && g.body.protocolType() != "" {
		from = max(from, since)
	}
	return ms-from >= c.cfg.OffsetsRetention.Milliseconds()
}

// subscribes reads the subscriptions of consumers.
func (k *classicGroup) subscribes(topic string) (subscribed, known bool) {
	if k.kind != protocolConsumer || k.status != stateStable {
		return false, len(k.members) == 0
	}
	for _, m := range k.members {
		var s kmsg.ConsumerMemberMetadata
		if err := s.ReadFrom(m.metadata(k.protocol)); err != nil {
			return false, false
		}
		if slices.Contains(s.Topics, topic) {
			return true, true
		}
	}
	return false, true
}
