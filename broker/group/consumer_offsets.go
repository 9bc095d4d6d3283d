package group

import (
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/stelemq/stele/protocol"
)

// checkCommit: the member's epoch commits everything. An older epoch commits what the member has owned since then or
// longer (KIP-1251): an epoch bump that crosses a commit on its way costs nothing as long as the partition has not been
// somebody else's in between.
func (k *consumerGroup) checkCommit(c *Coordinator, _ *group, _ time.Time, req *kmsg.OffsetCommitRequest) protocol.Code {
	epoch, member := req.Generation, req.MemberID
	if req.Version < 1 {
		epoch, member = -1, ""
	}
	if epoch < 0 && len(k.members) == 0 {
		return protocol.None // an administrator, or a consumer that keeps its offsets here without being a member
	}
	m := k.members[member]
	switch {
	case m == nil:
		return protocol.UnknownMemberID
	case m.classic == nil && req.Version < consumerCommit:
		return protocol.UnsupportedVersion
	case epoch == m.epoch:
		return protocol.None
	case epoch > m.epoch || !c.ownedSince(m, epoch, req):
		return m.stale()
	}
	return protocol.None
}

// ownedSince tells whether the member was given all partitions of a commit at or before an epoch and owns them still.
func (c *Coordinator) ownedSince(m *consumerMember, epoch int32, req *kmsg.OffsetCommitRequest) bool {
	for i := range req.Topics {
		t := &req.Topics[i]
		id := t.TopicID
		if id == (TopicID{}) {
			topic, ok := c.cfg.Topics.Topic(t.Topic)
			if !ok {
				return false
			}
			id = topic.ID
		}
		for j := range t.Partitions {
			p, ok := m.assigned.find(id, t.Partitions[j].Partition)
			if !ok {
				p, ok = m.revoking.find(id, t.Partitions[j].Partition)
			}
			if !ok || epoch < p.epoch {
				return false
			}
		}
	}
	return true
}

// stale is the answer to a member that comes with an epoch that is not its own.
func (m *consumerMember) stale() protocol.Code {
	if m.classic != nil {
		return protocol.IllegalGeneration
	}
	return protocol.StaleMemberEpoch
}

func (k *consumerGroup) checkFetch(member *string, epoch int32) protocol.Code {
	if member == nil && epoch < 0 {
		return protocol.None
	}
	m := k.members[instanceOf(member)]
	switch {
	case m == nil:
		return protocol.UnknownMemberID
	case epoch != m.epoch:
		return m.stale()
	}
	return protocol.None
}
