package group

import (
	"time"

	"github.com/stelemq/stele/broker/group/assignor"
)

// refreshTarget computes the target of the group epoch, now or, where the last one is younger than the interval, when
// it is due: members that come together are then assigned together.
func (c *Coordinator) refreshTarget(now time.Time, g *group, k *consumerGroup) {
	if k.epoch <= k.targetEpoch || len(k.members) == 0 {
		return
	}
	due := time.UnixMilli(k.targetAt).Add(c.cfg.Consumer.AssignmentInterval)
	// A time ahead of ours is another broker's clock: not waited for longer than the interval.
	if k.targetEpoch > 0 && due.After(now) && !due.After(now.Add(c.cfg.Consumer.AssignmentInterval)) {
		c.timers.set(timerKey{timerAssignment, g.id, ""}, due, func(now time.Time) {
			if g.body == k && k.epoch > k.targetEpoch && len(k.members) > 0 {
				c.computeTarget(now, g, k)
			}
		})
		return
	}
	c.computeTarget(now, g, k)
}

// computeTarget assigns anew and records what has changed.
func (c *Coordinator) computeTarget(now time.Time, g *group, k *consumerGroup) {
	c.timers.cancel(timerKey{timerAssignment, g.id, ""})
	ordered := k.ordered()
	members := make([]assignor.Member, len(ordered))
	partitions := make(map[TopicID]int32)
	subscriptions := make(map[string][]TopicID)
	for i, m := range ordered {
		members[i] = assignor.Member{
			ID: m.id, InstanceID: m.instanceID, Topics: c.topicIDs(k, m, subscriptions), Current: k.target[m.id],
		}
	}
	for _, topic := range c.subscribedTopics(k) {
		partitions[topic.ID] = int32(topic.Partitions) //nolint:gosec // a number of partitions
	}
	target := c.preferredAssignor(k).Assign(members, partitions)
	for i, m := range ordered {
		if old, ok := k.target[m.id]; !ok || !old.Equal(target[i]) {
			c.writeTarget(g, k, m.id, target[i])
		}
	}
	c.writeTargetEpoch(g, k, k.epoch, now.UnixMilli())
}

// preferredAssignor is the one that most members ask for, the first configured where none do.
func (c *Coordinator) preferredAssignor(k *consumerGroup) assignor.Assignor {
	votes := make(map[string]int)
	for _, m := range k.members {
		if m.assignor != "" {
			votes[m.assignor]++
		}
	}
	best := c.cfg.Consumer.Assignors[0]
	for _, name := range c.cfg.Consumer.Assignors {
		if votes[name] > votes[best] {
			best = name
		}
	}
	chosen, ok := c.cfg.Consumer.assignor(best)
	if !ok {
		return assignor.Uniform{} // configurations are checked; this is a test's
	}
	return chosen
}
