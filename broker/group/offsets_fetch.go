package group

import (
	"maps"
	"slices"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/stelemq/stele/protocol"
)

// fetch: OffsetFetch v0-v10. From v8 on it may name several groups, all of this coordinator; from v10 on the caller has
// filled in the names of the topics.
func (c *Coordinator) fetch(r *Request, req *kmsg.OffsetFetchRequest) {
	resp := kmsg.NewPtrOffsetFetchResponse()
	if req.Version >= 8 {
		for i := range req.Groups {
			resp.Groups = append(resp.Groups, c.fetchGroup(req, &req.Groups[i]))
		}
		c.answer(r, resp)
		return
	}
	want := kmsg.OffsetFetchRequestGroup{Group: req.Group, MemberEpoch: -1}
	if req.Topics != nil || req.Version < 2 {
		want.Topics = []kmsg.OffsetFetchRequestGroupTopic{}
	}
	for i := range req.Topics {
		want.Topics = append(want.Topics, kmsg.OffsetFetchRequestGroupTopic{Topic: req.Topics[i].Topic, Partitions: req.Topics[i].Partitions})
	}
	got := c.fetchGroup(req, &want)
	if got.ErrorCode != 0 {
		c.fail(r, protocol.Code(got.ErrorCode))
		return
	}
	for i := range got.Topics {
		t := kmsg.OffsetFetchResponseTopic{Topic: got.Topics[i].Topic}
		for _, p := range got.Topics[i].Partitions {
			t.Partitions = append(t.Partitions, kmsg.OffsetFetchResponseTopicPartition{
				Partition: p.Partition, Offset: p.Offset, LeaderEpoch: p.LeaderEpoch, Metadata: p.Metadata, ErrorCode: p.ErrorCode,
			})
		}
		resp.Topics = append(resp.Topics, t)
	}
	c.answer(r, resp)
}

func (c *Coordinator) fetchGroup(req *kmsg.OffsetFetchRequest, want *kmsg.OffsetFetchRequestGroup) kmsg.OffsetFetchResponseGroup {
	out := kmsg.OffsetFetchResponseGroup{Group: want.Group}
	g := c.find(want.Group)
	if g == nil {
		g = &group{id: want.Group, body: newClassicGroup()} // nothing is committed
		if want.MemberID != nil && *want.MemberID != "" && want.MemberEpoch >= 0 {
			out.ErrorCode = int16(protocol.UnknownMemberID)
			return out
		}
	}
	if code := g.body.checkFetch(want.MemberID, want.MemberEpoch); code != protocol.None {
		out.ErrorCode = int16(code)
		return out
	}
	if want.Topics == nil {
		out.Topics = c.fetchAll(g, req.Version)
		return out
	}
	for i := range want.Topics {
		t := kmsg.OffsetFetchResponseGroupTopic{Topic: want.Topics[i].Topic, TopicID: want.Topics[i].TopicID}
		for _, p := range want.Topics[i].Partitions {
			t.Partitions = append(t.Partitions, answerOffset(p, g.offset(t.Topic, p)))
		}
		out.Topics = append(out.Topics, t)
	}
	return out
}

// fetchAll answers everything that is committed; by id only what exists.
func (c *Coordinator) fetchAll(g *group, version int16) []kmsg.OffsetFetchResponseGroupTopic {
	out := []kmsg.OffsetFetchResponseGroupTopic{}
	for _, name := range slices.Sorted(maps.Keys(g.offsets)) {
		t := kmsg.OffsetFetchResponseGroupTopic{Topic: name}
		if version >= 10 {
			topic, ok := c.cfg.Topics.Topic(name)
			if !ok {
				continue
			}
			t.TopicID = topic.ID
		}
		for _, p := range slices.Sorted(maps.Keys(g.offsets[name])) {
			t.Partitions = append(t.Partitions, answerOffset(p, g.offset(name, p)))
		}
		out = append(out, t)
	}
	return out
}

func answerOffset(partition int32, o *offset) kmsg.OffsetFetchResponseGroupTopicPartition {
	p := kmsg.OffsetFetchResponseGroupTopicPartition{Partition: partition, Offset: -1, LeaderEpoch: -1, Metadata: new("")}
	if o != nil {
		p.Offset, p.LeaderEpoch, p.Metadata = o.offset, o.leaderEpoch, new(o.metadata)
	}
	return p
}

func (k *classicGroup) checkFetch(*string, int32) protocol.Code { return protocol.None }
