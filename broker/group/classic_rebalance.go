package group

import (
	"time"

	"github.com/stelemq/stele/protocol"
)

// rebalance begins a rebalance, or goes on with the one in progress.
func (c *Coordinator) rebalance(now time.Time, g *group, k *classicGroup, reason string) {
	if k.status == statePreparing {
		c.maybeComplete(now, g, k)
		return
	}
	c.prepare(now, g, k, reason)
}

// prepare asks all members to join again.
func (c *Coordinator) prepare(now time.Time, g *group, k *classicGroup, reason string) {
	if k.status == stateCompleting {
		k.dropAssignments()
		for _, m := range k.ordered() {
			if m.syncing != nil {
				c.fail(m.syncing, protocol.RebalanceInProgress)
				m.syncing = nil
				c.armSession(g, m.id, now.Add(m.sessionTimeout))
			}
		}
	}
	c.timers.cancel(timerKey{timerSync, g.id, ""})
	c.cfg.Events.RebalanceBegan(g.id, reason)
	k.began = now
	k.initial = k.status == stateEmpty
	k.become(statePreparing)
	if k.initial && c.cfg.InitialRebalanceDelay > 0 {
		k.newMember = false
		c.awaitMore(now, g, k, k.rebalanceTimeout())
		return
	}
	k.initial = false
	if k.allJoined() {
		c.completeJoin(now, g, k)
		return
	}
	c.armJoin(now, g, k)
}

// armJoin ends the join phase when its time is over.
func (c *Coordinator) armJoin(now time.Time, g *group, k *classicGroup) {
	c.timers.set(timerKey{timerJoin, g.id, ""}, now.Add(k.rebalanceTimeout()), func(now time.Time) { c.completeJoin(now, g, k) })
}

// awaitMore gives the first members of a group time, so that they do not each set off a rebalance: as long as others keep
// coming, at most for left.
func (c *Coordinator) awaitMore(now time.Time, g *group, k *classicGroup, left time.Duration) {
	delay := min(c.cfg.InitialRebalanceDelay, left)
	c.timers.set(timerKey{timerJoin, g.id, ""}, now.Add(delay), func(now time.Time) {
		if rest := left - delay; k.newMember && rest > 0 {
			k.newMember = false
			c.awaitMore(now, g, k, rest)
			return
		}
		k.initial = false
		c.completeJoin(now, g, k)
	})
}

// maybeComplete ends the join phase when everybody is there.
func (c *Coordinator) maybeComplete(now time.Time, g *group, k *classicGroup) {
	if k.status == statePreparing && !k.initial && k.allJoined() {
		c.completeJoin(now, g, k)
	}
}

// completeJoin begins the next generation with those who have joined.
func (c *Coordinator) completeJoin(now time.Time, g *group, k *classicGroup) {
	if k.status != statePreparing {
		return
	}
	c.timers.cancel(timerKey{timerJoin, g.id, ""})
	for _, m := range k.ordered() {
		if m.joining == nil && m.instance == "" {
			c.removeMember(g, k, m, protocol.UnknownMemberID)
		}
	}
	if len(k.members) > 0 && !k.electLeader() {
		c.armJoin(now, g, k) // static members alone, none of which is here
		return
	}
	k.generation++
	clear(k.unsynced)
	if len(k.members) == 0 {
		k.protocol, k.leader, k.initial = "", "", false
		k.become(stateEmpty)
		k.write(c, g, now)
		c.cfg.Events.RebalanceEnded(g.id, now.Sub(k.began))
		return
	}
	k.protocol = k.vote()
	k.become(stateCompleting)
	for _, m := range k.ordered() {
		if m.joining != nil {
			c.answer(m.joining, k.answerJoin(m))
		}
		m.joining, m.isNew = nil, false
		k.unsynced[m.id] = struct{}{}
		c.armSession(g, m.id, now.Add(m.sessionTimeout))
	}
	c.timers.set(timerKey{timerSync, g.id, ""}, now.Add(k.rebalanceTimeout()), func(now time.Time) { c.expireSync(now, g, k) })
}

// electLeader sees to it that a member that has joined leads; false: nobody has.
func (k *classicGroup) electLeader() bool {
	if m := k.members[k.leader]; m != nil && m.joining != nil {
		return true
	}
	for _, m := range k.ordered() {
		if m.joining != nil {
			k.leader = m.id
			return true
		}
	}
	return false
}

// expireSync removes the members that have not asked for their assignments in time.
func (c *Coordinator) expireSync(now time.Time, g *group, k *classicGroup) {
	if len(k.unsynced) == 0 || k.status != stateCompleting && k.status != stateStable {
		return
	}
	for _, m := range k.ordered() {
		if _, missing := k.unsynced[m.id]; missing {
			c.removeMember(g, k, m, protocol.UnknownMemberID)
		}
	}
	c.prepare(now, g, k, ReasonSync)
}

// removeMember takes a member out of the group and answers what waits of it.
func (c *Coordinator) removeMember(g *group, k *classicGroup, m *classicMember, code protocol.Code) {
	c.timers.cancel(timerKey{timerSession, g.id, m.id})
	for _, r := range []*Request{m.joining, m.syncing} {
		if r != nil {
			c.fail(r, code)
		}
	}
	m.joining, m.syncing = nil, nil
	k.remove(m)
}

// armSession starts a member's session, or that of one who has been told its id, anew.
func (c *Coordinator) armSession(g *group, member string, until time.Time) {
	c.timers.set(timerKey{timerSession, g.id, member}, until, func(now time.Time) { c.expireSession(now, g, member) })
}

func (c *Coordinator) expireSession(now time.Time, g *group, member string) {
	k, ok := g.body.(*classicGroup)
	if !ok {
		return
	}
	if _, ok := k.pending[member]; ok {
		delete(k.pending, member)
		c.maybeComplete(now, g, k)
		c.forgetEmpty(g)
		return
	}
	m := k.members[member]
	if m == nil || m.waits() && !m.isNew {
		return // its requests are held: its session begins when they are answered
	}
	c.removeMember(g, k, m, protocol.UnknownMemberID)
	c.afterRemoval(now, g, k, ReasonSession)
}

// afterRemoval has the others go on without a member.
func (c *Coordinator) afterRemoval(now time.Time, g *group, k *classicGroup, reason string) {
	switch k.status {
	case stateStable, stateCompleting:
		c.prepare(now, g, k, reason)
	case statePreparing:
		c.maybeComplete(now, g, k)
	case stateEmpty:
	}
}

func (k *classicGroup) dropAssignments() {
	for _, m := range k.members {
		m.assignment = nil
	}
}
