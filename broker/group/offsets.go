package group

import (
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/stelemq/stele/protocol"
)

// consumerCommit is the first version of OffsetCommit that knows KIP-848 groups, and groups that are not there.
const consumerCommit = 9

// commit: OffsetCommit v0-v10. Topics that do not exist have been answered by the caller, and from v10 on it has filled in
// the names.
func (c *Coordinator) commit(now time.Time, r *Request, req *kmsg.OffsetCommitRequest) {
	g, code := c.committer(req)
	if code == protocol.None {
		code = g.body.checkCommit(c, g, now, req)
	}
	if code != protocol.None {
		c.fail(r, code)
		if g != nil {
			c.forgetEmpty(g)
		}
		return
	}
	resp := kmsg.NewPtrOffsetCommitResponse()
	for i := range req.Topics {
		t := &req.Topics[i]
		out := kmsg.OffsetCommitResponseTopic{Topic: t.Topic, TopicID: t.TopicID}
		for j := range t.Partitions {
			p := &t.Partitions[j]
			code := protocol.None
			if p.Metadata != nil && len(*p.Metadata) > c.cfg.MaxMetadataBytes {
				code = protocol.OffsetMetadataTooLarge
			} else {
				o := newOffset(now, req, p)
				g.setOffset(t.Topic, p.Partition, o)
				c.emit(offsetRecord(g.id, t.Topic, p.Partition, o))
			}
			out.Partitions = append(out.Partitions, kmsg.OffsetCommitResponseTopicPartition{Partition: p.Partition, ErrorCode: int16(code)})
		}
		resp.Topics = append(resp.Topics, out)
	}
	c.answer(r, resp)
	c.forgetEmpty(g)
}

// committer finds the group of a commit. Whoever keeps its offsets here without using groups makes one by its first commit.
func (c *Coordinator) committer(req *kmsg.OffsetCommitRequest) (*group, protocol.Code) {
	if req.Group == "" {
		return nil, protocol.InvalidGroupID
	}
	g := c.find(req.Group)
	switch {
	case g != nil:
		return g, protocol.None
	case req.Version < 1 || req.Generation < 0:
		return c.ensure(req.Group), protocol.None
	case req.Version >= consumerCommit:
		return nil, protocol.GroupIDNotFound
	}
	return nil, protocol.IllegalGeneration
}

func newOffset(now time.Time, req *kmsg.OffsetCommitRequest, p *kmsg.OffsetCommitRequestTopicPartition) *offset {
	o := &offset{offset: p.Offset, leaderEpoch: -1, committed: now.UnixMilli(), expires: -1}
	if req.Version >= 6 {
		o.leaderEpoch = p.LeaderEpoch
	}
	if p.Metadata != nil {
		o.metadata = *p.Metadata
	}
	if req.Version == 1 && p.Timestamp >= 0 {
		o.committed = p.Timestamp
	}
	if req.Version >= 2 && req.Version <= 4 && req.RetentionTimeMillis >= 0 {
		o.expires = o.committed + req.RetentionTimeMillis
	}
	return o
}

func (k *classicGroup) checkCommit(c *Coordinator, g *group, now time.Time, req *kmsg.OffsetCommitRequest) protocol.Code {
	generation, member, instance := req.Generation, req.MemberID, instanceOf(req.InstanceID)
	if req.Version < 1 {
		generation, member = -1, ""
	}
	if generation < 0 && k.status == stateEmpty {
		return protocol.None // an administrator, or a consumer that keeps its offsets here without being a member
	}
	if generation < 0 && member == "" && instance == "" {
		return protocol.UnknownMemberID
	}
	if code := k.check(member, instance); code != protocol.None {
		return code
	}
	switch {
	case generation != k.generation:
		return protocol.IllegalGeneration
	case k.status == stateCompleting:
		return protocol.RebalanceInProgress
	}
	c.armSession(g, member, now.Add(k.members[member].sessionTimeout))
	return protocol.None
}

func (c *Coordinator) replayOffset(r Record) error {
	key, err := readOffsetKey(r.Key)
	if err != nil {
		return err
	}
	if r.Value == nil {
		if g := c.groups[key.Group]; g != nil {
			g.dropOffset(key.Topic, key.Partition)
			c.forgetEmpty(g)
		}
		return nil
	}
	o, err := readOffsetValue(r.Value)
	if err != nil {
		return err
	}
	c.ensure(key.Group).setOffset(key.Topic, key.Partition, o)
	return nil
}
