package group

import (
	"fmt"
	"slices"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/stelemq/stele/broker/group/assignor"
	"github.com/stelemq/stele/protocol"
)

// A live group changes its type member by member: the first member of the consumer protocol that joins turns a classic
// group into a consumer group (upgrade), the last one that leaves turns it back (downgrade). The others go on with what
// they own. All records of a conversion are in one batch.

// upgrade makes a consumer group of a classic one, or says why not.
func (c *Coordinator) upgrade(now time.Time, g *group) (*consumerGroup, *refusal) {
	old, _ := g.body.(*classicGroup)
	if old.status == stateEmpty {
		c.emit(old.tombstones(g, nil)...)
		k := newConsumerGroup()
		g.body = k
		return k, nil
	}
	switch {
	case !c.cfg.Consumer.Migration.upgrades():
		return nil, refuse(protocol.GroupIDNotFound, "Group %s is not a consumer group.", g.id)
	case old.kind != protocolConsumer:
		return nil, refuse(protocol.GroupIDNotFound, "Cannot upgrade the classic group %s to a consumer group because it does not use the consumer embedded protocol.", g.id)
	case len(old.members) >= c.cfg.Consumer.MaxSize:
		return nil, refuse(protocol.GroupMaxSizeReached, "The consumer group has reached its maximum capacity of %d members.", c.cfg.Consumer.MaxSize)
	}
	k, err := c.fromClassic(old)
	if err != nil {
		return nil, refuse(protocol.GroupIDNotFound, "Cannot upgrade the classic group %s to a consumer group because the embedded consumer protocol is malformed.", g.id)
	}
	for _, m := range old.ordered() {
		for _, held := range []*Request{m.joining, m.syncing} {
			if held != nil {
				c.fail(held, protocol.RebalanceInProgress)
			}
		}
		m.joining, m.syncing = nil, nil
		c.timers.cancel(timerKey{timerSession, g.id, m.id})
	}
	for id := range old.pending {
		c.timers.cancel(timerKey{timerSession, g.id, id})
	}
	c.timers.cancel(timerKey{timerJoin, g.id, ""})
	c.timers.cancel(timerKey{timerSync, g.id, ""})

	c.emit(old.tombstones(g, nil)...)
	g.body = k
	members := k.ordered()
	for _, m := range members {
		c.writeMember(g, k, m)
	}
	k.hash = subscriptionHash(c.subscribedTopics(k))
	c.writeEpoch(now, g, k, k.epoch, ReasonProtocol)
	for _, m := range members {
		c.writeTarget(g, k, m.id, m.assigned.assignment())
	}
	c.writeTargetEpoch(g, k, k.epoch, 0)
	for _, m := range members {
		c.writeAssignment(g, k, m)
		c.armConsumerSession(g, m, now)
	}
	return k, nil
}

// fromClassic makes a consumer group of the members and assignments of a classic one. Members that have not had an answer
// to their first join are left out: they join again.
func (c *Coordinator) fromClassic(old *classicGroup) (*consumerGroup, error) {
	k := newConsumerGroup()
	k.epoch, k.targetEpoch = old.generation, old.generation
	for _, o := range old.ordered() {
		if o.isNew {
			continue
		}
		metadata := o.metadata(old.protocol)
		if len(metadata) == 0 && len(o.protocols) > 0 {
			metadata = o.protocols[0].Metadata
		}
		subscription, err := readSubscription(metadata)
		if err != nil {
			return nil, err
		}
		assigned, err := c.readClassicAssignment(o.assignment, old.generation)
		if err != nil {
			return nil, err
		}
		m := &consumerMember{
			id: o.id, instanceID: o.instance, clientID: o.clientID, clientHost: o.host,
			topics: sortedStrings(subscription.Topics), rebalanceTimeoutMillis: millis32(o.rebalanceTimeout),
			rack:    instanceOf(subscription.Rack),
			classic: &classicMetadata{sessionTimeoutMillis: millis32(o.sessionTimeout)},
			currentAssignment: currentAssignment{
				epoch: old.generation, previousEpoch: old.generation, state: memberStable, assigned: assigned,
			},
		}
		for i := range o.protocols {
			m.classic.protocols = append(m.classic.protocols, classicProtocol{o.protocols[i].Name, o.protocols[i].Metadata})
		}
		k.setMember(m)
	}
	return k, nil
}

// emptyToClassic lets classic members have a consumer group that has no members.
func (c *Coordinator) emptyToClassic(g *group, k *consumerGroup) {
	c.timers.cancel(timerKey{timerAssignment, g.id, ""})
	c.emit(k.tombstones(g, nil)...)
	g.body = newClassicGroup()
}

// mayDowngrade tells whether the group can become classic once gone (nil: nobody) has left it.
func (c *Coordinator) mayDowngrade(k *consumerGroup, gone *consumerMember) bool {
	left := len(k.members)
	if gone != nil {
		left--
	}
	if !c.cfg.Consumer.Migration.downgrades() || k.classic != left || left == 0 || left > c.cfg.MaxSize {
		return false
	}
	for _, m := range k.members {
		if m == gone {
			continue
		}
		if _, err := readSubscription(m.classic.protocols[0].metadata); err != nil {
			return false
		}
	}
	return true
}

// downgrade makes a classic group of a consumer group without gone. Its members rebalance, by themselves from now on;
// only where joined has just taken a static member's place and everybody has its partitions they need not.
func (c *Coordinator) downgrade(now time.Time, g *group, k *consumerGroup, gone, joined *consumerMember) {
	settled := gone == nil && k.settled()
	c.emit(k.tombstones(g, nil)...)
	c.timers.cancel(timerKey{timerAssignment, g.id, ""})
	body := newClassicGroup()
	body.kind, body.generation, body.status = protocolConsumer, k.epoch, stateStable
	for _, m := range k.ordered() {
		c.cancelConsumerTimers(g, m.id)
		if m != gone {
			body.add(m.toClassic())
		}
	}
	body.protocol = body.vote()
	for _, m := range body.members {
		m.assignment = c.classicAssignment(m.metadata(body.protocol), k.target[m.id])
	}
	g.body = body
	if joined != nil {
		body.leader = joined.id
	}
	body.write(c, g, now)
	for _, m := range body.members {
		c.armSession(g, m.id, now.Add(m.sessionTimeout))
	}
	if !settled {
		c.prepare(now, g, body, ReasonProtocol)
	}
}

func (m *consumerMember) toClassic() *classicMember {
	o := &classicMember{
		id: m.id, instance: m.instanceID, clientID: m.clientID, host: m.clientHost,
		sessionTimeout:   time.Duration(m.classic.sessionTimeoutMillis) * time.Millisecond,
		rebalanceTimeout: time.Duration(m.rebalanceTimeoutMillis) * time.Millisecond,
	}
	for _, p := range m.classic.protocols {
		o.protocols = append(o.protocols, kmsg.JoinGroupRequestProtocol{Name: p.name, Metadata: p.metadata})
	}
	return o
}

// readSubscription reads what a consumer says in JoinGroup. Versions above those known are read as the highest known:
// fields are only ever added at the end. Some clients (kafka-go) say version 1 and leave out what it added; then what
// version 0 has is taken, where Kafka gives up.
func readSubscription(metadata []byte) (*kmsg.ConsumerMemberMetadata, error) {
	s := kmsg.NewConsumerMemberMetadata()
	err := s.ReadFrom(metadata)
	if err != nil && len(metadata) > 2 {
		oldest := append([]byte{0, 0}, metadata[2:]...)
		s = kmsg.NewConsumerMemberMetadata()
		err = s.ReadFrom(oldest)
	}
	if err != nil {
		return nil, fmt.Errorf("%w: subscription: %w", ErrRecord, err)
	}
	return &s, nil
}

// readClassicAssignment reads what a classic member was given; topics that are gone are left out.
func (c *Coordinator) readClassicAssignment(assignment []byte, epoch int32) (ownership, error) {
	o := make(ownership)
	if len(assignment) == 0 {
		return o, nil
	}
	a := kmsg.NewConsumerMemberAssignment()
	if err := a.ReadFrom(assignment); err != nil {
		return nil, fmt.Errorf("%w: assignment: %w", ErrRecord, err)
	}
	for i := range a.Topics {
		topic, ok := c.cfg.Topics.Topic(a.Topics[i].Topic)
		if !ok || len(a.Topics[i].Partitions) == 0 {
			continue
		}
		for _, p := range a.Topics[i].Partitions {
			o[topic.ID] = append(o[topic.ID], owned{index: p, epoch: epoch})
		}
		slices.SortFunc(o[topic.ID], compareOwned)
		o[topic.ID] = slices.Compact(o[topic.ID])
	}
	return o, nil
}

// classicAssignment is an assignment in the form of the version that the member's subscription is of.
func (c *Coordinator) classicAssignment(subscription []byte, target assignor.Assignment) []byte {
	a := kmsg.NewConsumerMemberAssignment()
	if s, err := readSubscription(subscription); err == nil {
		a.Version = max(0, s.Version)
	}
	for _, id := range sortedTopics(target) {
		if topic, ok := c.cfg.Topics.TopicByID(id); ok {
			a.Topics = append(a.Topics, kmsg.ConsumerMemberAssignmentTopic{Topic: topic.Name, Partitions: target[id]})
		}
	}
	return a.AppendTo(nil)
}
