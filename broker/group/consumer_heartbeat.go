package group

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/stelemq/stele/broker/group/assignor"
	"github.com/stelemq/stele/protocol"
)

// refusal is why a request of the consumer protocol is refused.
type refusal struct {
	code protocol.Code
	text string
}

func refuse(code protocol.Code, format string, args ...any) *refusal {
	return &refusal{code, fmt.Sprintf(format, args...)}
}

// ConsumerGroupHeartbeat: v0-v1. Joining (epoch 0), staying and leaving (-1, static members -2) are one request, which is
// never held.
func (c *Coordinator) consumerHeartbeat(now time.Time, r *Request, req *kmsg.ConsumerGroupHeartbeatRequest) {
	resp, refused := kmsg.NewPtrConsumerGroupHeartbeatResponse(), c.checkConsumerHeartbeat(req)
	switch {
	case refused != nil:
	case req.MemberEpoch == epochLeave || req.MemberEpoch == epochStaticLeave:
		refused = c.consumerLeave(now, req, resp)
	default:
		refused = c.consumerStay(now, r, req, resp)
	}
	if refused != nil {
		resp = kmsg.NewPtrConsumerGroupHeartbeatResponse()
		resp.ErrorCode, resp.ErrorMessage = int16(refused.code), &refused.text
	}
	c.answer(r, resp)
}

// checkConsumerHeartbeat checks what can be without knowing the group.
//
//nolint:gocognit // a list of rules
func (c *Coordinator) checkConsumerHeartbeat(req *kmsg.ConsumerGroupHeartbeatRequest) *refusal {
	invalid := func(text string) *refusal { return refuse(protocol.InvalidRequest, "%s", text) }
	switch {
	case strings.TrimSpace(req.Group) == "":
		return invalid("GroupId can't be empty.")
	case req.InstanceID != nil && strings.TrimSpace(*req.InstanceID) == "":
		return invalid("InstanceId can't be empty.")
	case req.RackID != nil && strings.TrimSpace(*req.RackID) == "":
		return invalid("RackId can't be empty.")
	case req.MemberID == "" && (req.Version >= 1 || req.MemberEpoch != epochJoin):
		return invalid("MemberId can't be empty.")
	case len(req.Group) > maxKeyString || len(req.MemberID) > maxKeyString || len(instanceOf(req.SubscribedTopicRegex)) > maxKeyString:
		return invalid("GroupId, MemberId or SubscribedTopicRegex is too long.")
	case req.MemberEpoch < epochStaticLeave:
		return invalid("MemberEpoch is invalid.")
	case req.MemberEpoch == epochStaticLeave && req.InstanceID == nil:
		return invalid("InstanceId can't be null.")
	}
	if req.MemberEpoch == epochJoin {
		switch {
		case req.RebalanceTimeoutMillis == -1:
			return invalid("RebalanceTimeoutMs must be provided in first request.")
		case req.Topics == nil || len(req.Topics) > 0:
			return invalid("TopicPartitions must be empty when (re-)joining.")
		case req.SubscribedTopicNames == nil && req.SubscribedTopicRegex == nil:
			return invalid("Either SubscribedTopicNames or SubscribedTopicRegex must be non-null when (re-)joining.")
		}
	}
	if req.ServerAssignor != nil {
		if _, ok := c.cfg.Consumer.assignor(*req.ServerAssignor); !ok || *req.ServerAssignor == "" {
			return refuse(protocol.UnsupportedAssignor, "ServerAssignor %s is not supported. Supported assignors: %s.",
				*req.ServerAssignor, strings.Join(c.cfg.Consumer.Assignors, ", "))
		}
	}
	if req.SubscribedTopicRegex != nil {
		if _, err := compileRegex(*req.SubscribedTopicRegex); err != nil {
			return refuse(protocol.InvalidRegularExpression, "SubscribedTopicRegex `%s` is not a valid regular expression: %v.", *req.SubscribedTopicRegex, err)
		}
	}
	return nil
}

// consumerStay is the heartbeat of a member that joins or stays.
func (c *Coordinator) consumerStay(now time.Time, r *Request, req *kmsg.ConsumerGroupHeartbeatRequest, resp *kmsg.ConsumerGroupHeartbeatResponse) *refusal {
	id, instance := req.MemberID, instanceOf(req.InstanceID)
	if id == "" {
		id = c.cfg.NewID()
	}
	claimed := claimedPartitions(req.Topics)
	g, k, refused := c.consumerGroup(now, req.Group, id, instance, req.MemberEpoch == epochJoin)
	if refused != nil {
		return refused
	}
	before, refused := c.heartbeatMember(g, k, req, id, claimed)
	if refused != nil {
		c.forgetUnused(g, k)
		return refused
	}

	m := before.clone()
	m.clientID, m.clientHost = r.Client.ID, r.Client.Host
	m.classic = nil
	m.updateFrom(req)
	c.updateMember(now, g, k, before, m)
	after, fenced := c.reconcile(now, g, k, m, claimed, req.Topics != nil)
	if fenced {
		return refuse(protocol.FencedMemberEpoch, "The consumer group member is in a unknown state. The member must abandon all its partitions and rejoin.")
	}
	c.armConsumerSession(g, after, now)

	resp.MemberID, resp.MemberEpoch = &after.id, after.epoch
	resp.HeartbeatIntervalMillis = millis32(c.cfg.Consumer.heartbeatOf(g.id))
	full := req.MemberEpoch == epochJoin ||
		req.RebalanceTimeoutMillis != -1 && (req.SubscribedTopicNames != nil || req.SubscribedTopicRegex != nil) && req.Topics != nil
	if full || !after.assigned.samePartitions(before.assigned) {
		resp.Assignment = assignmentOf(after.assigned)
	}
	return nil
}

// heartbeatMember finds the member that sends a heartbeat, or makes a new one.
func (c *Coordinator) heartbeatMember(g *group, k *consumerGroup, req *kmsg.ConsumerGroupHeartbeatRequest, id string, claimed assignor.Assignment) (*consumerMember, *refusal) {
	joins := req.MemberEpoch == epochJoin
	if req.InstanceID != nil {
		m := k.staticMember(*req.InstanceID)
		switch {
		case m == nil && !joins:
			return nil, refuse(protocol.UnknownMemberID, "Instance id %s is unknown.", *req.InstanceID)
		case m == nil:
		case joins && m.id != id:
			if m.classic == nil && m.epoch != epochStaticLeave {
				return nil, refuse(protocol.UnreleasedInstanceID, "Static member %s with instance id %s cannot join the group because the instance id is owned by %s member.", id, *req.InstanceID, m.id)
			}
			return c.replaceStaticMember(g, k, m, id), nil
		case m.id != id:
			return nil, refuse(protocol.FencedInstanceID, "Static member %s with instance id %s was fenced by member %s.", id, *req.InstanceID, m.id)
		default:
			return m, checkEpoch(m, req, claimed)
		}
	}
	m := k.members[id]
	switch {
	case m != nil:
		return m, checkEpoch(m, req, claimed)
	case joins:
		return newConsumerMember(id), nil
	}
	return nil, refuse(protocol.UnknownMemberID, "Member %s is not a member of group %s.", id, g.id)
}

// checkEpoch compares the epoch that a member comes with. Epoch 0 is a member that begins anew under its id.
func checkEpoch(m *consumerMember, req *kmsg.ConsumerGroupHeartbeatRequest, claimed assignor.Assignment) *refusal {
	epoch := req.MemberEpoch
	switch {
	case epoch == epochJoin || epoch == m.epoch:
		return nil
	case epoch > m.epoch:
		return refuse(protocol.FencedMemberEpoch, "The consumer group member has a greater member epoch (%d) than the one known by the group coordinator (%d). The member must abandon all its partitions and rejoin.", epoch, m.epoch)
	case epoch == m.previousEpoch && req.Topics != nil && m.ownsAll(claimed):
		return nil // the answer with the new epoch was lost
	}
	return refuse(protocol.FencedMemberEpoch, "The consumer group member has a smaller member epoch (%d) than the one known by the group coordinator (%d). The member must abandon all its partitions and rejoin.", epoch, m.epoch)
}

// ownsAll tells whether the member is assigned all of these.
func (m *consumerMember) ownsAll(claimed assignor.Assignment) bool {
	for topic, partitions := range claimed {
		for _, p := range partitions {
			if !m.assigned.has(topic, p) {
				return false
			}
		}
	}
	return true
}

// replaceStaticMember lets a new process take a static member's place: it gets what the old one had.
func (c *Coordinator) replaceStaticMember(g *group, k *consumerGroup, old *consumerMember, id string) *consumerMember {
	m, target := old.clone(), k.target[old.id]
	m.id, m.epoch, m.previousEpoch = id, 0, 0
	c.writeGone(g, k, old)
	c.writeMember(g, k, m)
	c.writeTarget(g, k, id, target)
	c.writeAssignment(g, k, m)
	return m
}

// updateFrom takes over what a heartbeat says; what it leaves out stays.
func (m *consumerMember) updateFrom(req *kmsg.ConsumerGroupHeartbeatRequest) {
	if req.InstanceID != nil {
		m.instanceID = *req.InstanceID
	}
	if req.RackID != nil {
		m.rack = *req.RackID
	}
	if req.RebalanceTimeoutMillis != -1 {
		m.rebalanceTimeoutMillis = req.RebalanceTimeoutMillis
	}
	if req.ServerAssignor != nil {
		m.assignor = *req.ServerAssignor
	}
	if req.SubscribedTopicNames != nil {
		m.topics = sortedStrings(req.SubscribedTopicNames)
	}
	if req.SubscribedTopicRegex != nil {
		m.regex = *req.SubscribedTopicRegex
	}
}

// updateMember records what a member has told and has the group go on: a new epoch where it is needed, a new target
// where it is due.
func (c *Coordinator) updateMember(now time.Time, g *group, k *consumerGroup, before, m *consumerMember) {
	_, known := k.members[m.id]
	reason := ""
	switch {
	case !known:
		reason = ReasonJoined
	case !sameSubscription(before, m):
		reason = ReasonChanged
	}
	if !known || !before.sameMetadata(m) {
		c.writeMember(g, k, m)
	}
	if reason != "" {
		c.dropRegexes(g, k)
	}
	c.refreshSubscription(now, g, k, reason)
	c.refreshTarget(now, g, k)
}

func sameSubscription(a, b *consumerMember) bool {
	return a.regex == b.regex && slices.Equal(a.topics, b.topics)
}

// reconcile takes a member one step further and returns it as it is then.
func (c *Coordinator) reconcile(now time.Time, g *group, k *consumerGroup, m *consumerMember, claimed assignor.Assignment, told bool) (after *consumerMember, fenced bool) {
	step := reconciliation{
		member: m, targetEpoch: k.targetEpoch, target: k.target[m.id], subscribed: c.subscribedIDs(k, m),
		owner: k.owner, claimed: claimed, told: told,
	}
	after, fenced = step.next()
	if fenced || after.sameAssignment(m) {
		return m, fenced
	}
	c.writeAssignment(g, k, after)
	if after.classic == nil && after.state == memberUnrevoked {
		c.armRevocation(g, after, now)
	} else {
		c.timers.cancel(timerKey{timerRebalance, g.id, after.id})
	}
	if !k.began.IsZero() && after.reconciledTo(k.epoch) && k.settled() {
		c.cfg.Events.RebalanceEnded(g.id, now.Sub(k.began))
		k.began = time.Time{}
	}
	return after, false
}

// consumerGroup returns the group that a member of the consumer protocol talks to. One that joins makes it, or turns a
// classic group into it.
func (c *Coordinator) consumerGroup(now time.Time, id, member, instance string, create bool) (*group, *consumerGroup, *refusal) {
	g := c.find(id)
	if g == nil {
		if !create {
			return nil, nil, refuse(protocol.GroupIDNotFound, "Consumer group %s not found.", id)
		}
		g = c.ensure(id)
	}
	k, ok := g.body.(*consumerGroup)
	if ok {
		if create && len(k.members) >= c.cfg.Consumer.MaxSize && k.members[member] == nil && k.staticMember(instance) == nil {
			return nil, nil, refuse(protocol.GroupMaxSizeReached, "The consumer group has reached its maximum capacity of %d members.", c.cfg.Consumer.MaxSize)
		}
		return g, k, nil
	}
	if !create {
		return nil, nil, refuse(protocol.GroupIDNotFound, "Group %s is not a consumer group.", id)
	}
	k, refused := c.upgrade(now, g)
	return g, k, refused
}

// forgetUnused drops a group that a refused join has made.
func (c *Coordinator) forgetUnused(g *group, k *consumerGroup) {
	if k.epoch == 0 && len(k.members) == 0 {
		g.body = newClassicGroup()
		c.forgetEmpty(g)
	}
}

func claimedPartitions(topics []kmsg.ConsumerGroupHeartbeatRequestTopic) assignor.Assignment {
	claimed := make(assignor.Assignment, len(topics))
	for i := range topics {
		claimed[topics[i].TopicID] = append(claimed[topics[i].TopicID], topics[i].Partitions...)
	}
	return claimed
}

func assignmentOf(o ownership) *kmsg.ConsumerGroupHeartbeatResponseAssignment {
	a := kmsg.NewConsumerGroupHeartbeatResponseAssignment()
	partitions := o.assignment()
	for _, topic := range sortedTopics(partitions) {
		a.Topics = append(a.Topics, kmsg.ConsumerGroupHeartbeatResponseAssignmentTopic{TopicID: topic, Partitions: partitions[topic]})
	}
	return &a
}
