package group

import (
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/stelemq/stele/protocol"
)

// consumerLeave is a heartbeat with a member epoch of -1: the member leaves, or of -2: a static member's process ends
// and another one is going to take its place; until its session ends it keeps what it has.
func (c *Coordinator) consumerLeave(now time.Time, req *kmsg.ConsumerGroupHeartbeatRequest, resp *kmsg.ConsumerGroupHeartbeatResponse) *refusal {
	g := c.find(req.Group)
	if g == nil {
		return refuse(protocol.GroupIDNotFound, "Group %s not found.", req.Group)
	}
	k, ok := g.body.(*consumerGroup)
	if !ok {
		return refuse(protocol.GroupIDNotFound, "Group %s is not a consumer group.", req.Group)
	}
	m, code := k.find(req.MemberID, instanceOf(req.InstanceID))
	switch code {
	case protocol.None:
	case protocol.FencedInstanceID:
		return refuse(code, "Static member %s with instance id %s was fenced by member %s.", req.MemberID, *req.InstanceID, k.static[*req.InstanceID])
	default:
		return refuse(code, "Member %s is not a member of group %s.", req.MemberID, g.id)
	}
	resp.MemberID, resp.MemberEpoch = &req.MemberID, req.MemberEpoch
	if req.MemberEpoch == epochStaticLeave {
		left := m.clone()
		left.epoch, left.revoking = epochStaticLeave, nil
		c.writeAssignment(g, k, left)
		c.timers.cancel(timerKey{timerRebalance, g.id, m.id})
		return nil
	}
	c.removeConsumers(now, g, k, []*consumerMember{m}, ReasonLeft)
	return nil
}

// removeConsumers takes members out. Where the last one of the consumer protocol goes, the group may become classic.
func (c *Coordinator) removeConsumers(now time.Time, g *group, k *consumerGroup, gone []*consumerMember, reason string) {
	if len(gone) == 1 && gone[0].classic == nil && c.mayDowngrade(k, gone[0]) && len(k.members) > 1 {
		c.downgrade(now, g, k, gone[0], nil)
		return
	}
	for _, m := range gone {
		c.writeGone(g, k, m)
	}
	k.hash = subscriptionHash(c.subscribedTopics(k))
	c.writeEpoch(now, g, k, k.epoch+1, reason)
	if len(k.members) == 0 {
		c.cfg.Events.RebalanceEnded(g.id, now.Sub(k.began))
		k.began = time.Time{}
	}
	c.refreshTarget(now, g, k)
}

// armConsumerSession starts a member's session anew: members of the classic protocol bring their own length of it.
func (c *Coordinator) armConsumerSession(g *group, m *consumerMember, now time.Time) {
	session := c.cfg.Consumer.sessionOf(g.id)
	if m.classic != nil {
		session = time.Duration(m.classic.sessionTimeoutMillis) * time.Millisecond
	}
	c.fenceAfter(timerSession, g, m.id, now.Add(session), ReasonSession, nil)
}

// armRevocation starts the time in which a member has to give up what it was told to.
func (c *Coordinator) armRevocation(g *group, m *consumerMember, now time.Time) {
	epoch := m.epoch
	c.fenceAfter(timerRebalance, g, m.id, now.Add(time.Duration(m.rebalanceTimeoutMillis)*time.Millisecond), ReasonRevoke,
		func(m *consumerMember) bool { return m.epoch == epoch && m.state == memberUnrevoked })
}

// fenceAfter takes a member out at a time unless it has been put off or canceled, or still is false by then.
func (c *Coordinator) fenceAfter(kind timerKind, g *group, member string, at time.Time, reason string, still func(*consumerMember) bool) {
	c.timers.set(timerKey{kind, g.id, member}, at, func(now time.Time) {
		k, ok := g.body.(*consumerGroup)
		if !ok || k.members[member] == nil || still != nil && !still(k.members[member]) {
			return
		}
		c.removeConsumers(now, g, k, []*consumerMember{k.members[member]}, reason)
	})
}

func (c *Coordinator) cancelConsumerTimers(g *group, member string) {
	for _, kind := range []timerKind{timerSession, timerRebalance, timerJoin, timerSync} {
		c.timers.cancel(timerKey{kind, g.id, member})
	}
}
