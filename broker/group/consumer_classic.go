package group

import (
	"slices"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/stelemq/stele/broker/group/assignor"
	"github.com/stelemq/stele/protocol"
)

// Members of the classic protocol may take part in a consumer group, one process after the other being moved. The broker
// assigns for all. What a heartbeat does for the others, a classic member does in three: it hears of a new target by
// REBALANCE_IN_PROGRESS, says what it has given up in JoinGroup, and takes its partitions by SyncGroup. Nothing of it
// waits for other members.

// joinConsumer: JoinGroup in a consumer group.
func (c *Coordinator) joinConsumer(now time.Time, r *Request, req *kmsg.JoinGroupRequest, g *group) {
	k, _ := g.body.(*consumerGroup)
	if len(k.members) == 0 {
		c.emptyToClassic(g, k)
		c.join(now, r, req)
		return
	}
	id, instance := req.MemberID, instanceOf(req.InstanceID)
	subscription, code := c.checkClassicJoin(k, req)
	if code == protocol.None && id == "" {
		id = r.Client.ID + "-" + c.cfg.NewID()
		if instance == "" && req.Version >= knownMember {
			resp, _ := Failure(req, protocol.MemberIDRequired).(*kmsg.JoinGroupResponse)
			resp.MemberID = id
			c.answer(r, resp)
			return
		}
	}
	before := (*consumerMember)(nil)
	if code == protocol.None {
		before, code = c.classicJoiner(k, req, id)
	}
	if code != protocol.None {
		c.fail(r, code)
		return
	}
	replaced := before
	if before.id != id { // a static member's new process
		before = c.replaceStaticMember(g, k, before, id)
	}
	m := before.clone()
	m.updateFromJoin(r, req, subscription)
	c.updateMember(now, g, k, before, m)
	after, fenced := c.reconcile(now, g, k, m, c.claimedByClassic(subscription), true)
	if fenced { // claimed is never nil, so only a state that this version does not know and partitions in it
		c.fail(r, protocol.UnknownMemberID)
		return
	}

	resp := kmsg.NewPtrJoinGroupResponse()
	resp.MemberID, resp.Generation = after.id, after.epoch
	resp.ProtocolType, resp.Protocol = new(protocolConsumer), new(after.classic.protocols[0].name)
	c.answer(r, resp)
	c.timers.cancel(timerKey{timerJoin, g.id, after.id})
	if replaced.id != after.id && replaced.classic == nil && c.mayDowngrade(k, nil) {
		c.downgrade(now, g, k, nil, after)
		return
	}
	c.armConsumerSession(g, after, now)
	c.fenceAfter(timerSync, g, after.id, now.Add(time.Duration(after.rebalanceTimeoutMillis)*time.Millisecond), ReasonSync, nil)
}

// checkClassicJoin checks what can be before the member is looked for, and reads its subscription.
func (c *Coordinator) checkClassicJoin(k *consumerGroup, req *kmsg.JoinGroupRequest) (*kmsg.ConsumerMemberMetadata, protocol.Code) {
	if len(k.members) >= c.cfg.Consumer.MaxSize && k.members[req.MemberID] == nil && k.staticMember(instanceOf(req.InstanceID)) == nil {
		return nil, protocol.GroupMaxSizeReached
	}
	if req.ProtocolType != protocolConsumer || len(req.Protocols) == 0 {
		return nil, protocol.InconsistentGroupProtocol
	}
	common := false
	for i := range req.Protocols {
		common = common || k.protocols[req.Protocols[i].Name] == k.classic
	}
	subscription, err := readSubscription(req.Protocols[0].Metadata)
	if !common || err != nil {
		return nil, protocol.InconsistentGroupProtocol
	}
	return subscription, protocol.None
}

// classicJoiner finds the member that joins, or the one whose place it takes, or makes a new one.
func (c *Coordinator) classicJoiner(k *consumerGroup, req *kmsg.JoinGroupRequest, id string) (*consumerMember, protocol.Code) {
	if instance := instanceOf(req.InstanceID); instance != "" {
		if m := k.staticMember(instance); m != nil && req.MemberID == "" {
			return m, protocol.None
		}
		if req.MemberID != "" {
			return k.find(req.MemberID, instance)
		}
	}
	if m := k.members[id]; m != nil {
		return m, protocol.None
	}
	return newConsumerMember(id), protocol.None
}

// updateFromJoin takes over what a JoinGroup says.
func (m *consumerMember) updateFromJoin(r *Request, req *kmsg.JoinGroupRequest, s *kmsg.ConsumerMemberMetadata) {
	m.instanceID, m.clientID, m.clientHost = instanceOf(req.InstanceID), r.Client.ID, r.Client.Host
	m.rebalanceTimeoutMillis = req.RebalanceTimeoutMillis
	if req.Version < 1 || m.rebalanceTimeoutMillis < 0 {
		m.rebalanceTimeoutMillis = req.SessionTimeoutMillis
	}
	m.topics, m.regex, m.assignor = sortedStrings(s.Topics), "", ""
	if s.Rack != nil {
		m.rack = *s.Rack
	}
	m.classic = &classicMetadata{sessionTimeoutMillis: req.SessionTimeoutMillis}
	for i := range req.Protocols {
		// The bytes are the connection's, and something else once the request has been answered.
		m.classic.protocols = append(m.classic.protocols, classicProtocol{req.Protocols[i].Name, slices.Clone(req.Protocols[i].Metadata)})
	}
}

// syncConsumer: SyncGroup in a consumer group. The assignment is there, nobody is waited for.
func (c *Coordinator) syncConsumer(now time.Time, r *Request, req *kmsg.SyncGroupRequest, g *group) {
	k, _ := g.body.(*consumerGroup)
	m, code := k.findClassic(req.MemberID, instanceOf(req.InstanceID), req.Generation)
	switch {
	case code != protocol.None:
	case req.ProtocolType != nil && *req.ProtocolType != protocolConsumer,
		req.Protocol != nil && *req.Protocol != m.classic.protocols[0].name:
		code = protocol.InconsistentGroupProtocol
	case m.epoch < k.targetEpoch && m.state != memberUnrevoked:
		c.awaitJoin(now, g, m)
		code = protocol.RebalanceInProgress
	}
	if code != protocol.None {
		c.fail(r, code)
		return
	}
	c.timers.cancel(timerKey{timerSync, g.id, m.id})
	c.armConsumerSession(g, m, now)
	resp := kmsg.NewPtrSyncGroupResponse()
	resp.ProtocolType, resp.Protocol = req.ProtocolType, req.Protocol
	resp.MemberAssignment = c.classicAssignment(m.classic.protocols[0].metadata, m.assigned.assignment())
	c.answer(r, resp)
}

// heartbeatClassicInConsumer: Heartbeat in a consumer group. REBALANCE_IN_PROGRESS tells the member to join again.
func (c *Coordinator) heartbeatClassicInConsumer(now time.Time, r *Request, req *kmsg.HeartbeatRequest, g *group) {
	k, _ := g.body.(*consumerGroup)
	m, code := k.findClassic(req.MemberID, instanceOf(req.InstanceID), req.Generation)
	if code == protocol.None {
		c.refreshSubscription(now, g, k, "")
		c.refreshTarget(now, g, k)
		c.armConsumerSession(g, m, now)
		if m.epoch < k.targetEpoch || m.state == memberUnrevoked || m.state == memberUnreleased && !k.awaitsOthers(m) {
			c.awaitJoin(now, g, m)
			code = protocol.RebalanceInProgress
		}
	}
	c.fail(r, code) // None is an answer like the others
}

// leaveConsumer: LeaveGroup in a consumer group.
func (c *Coordinator) leaveConsumer(now time.Time, r *Request, req *kmsg.LeaveGroupRequest, g *group) {
	k, _ := g.body.(*consumerGroup)
	members := req.Members
	if req.Version < 3 {
		members = []kmsg.LeaveGroupRequestMember{{MemberID: req.MemberID}}
	}
	resp := kmsg.NewPtrLeaveGroupResponse()
	var gone []*consumerMember
	left := make(map[string]bool)
	for i := range members {
		id, instance := members[i].MemberID, instanceOf(members[i].InstanceID)
		if s := k.staticMember(instance); instance != "" && id == "" && s != nil {
			id = s.id // an administrator removes a static member by its instance id
		}
		m, code := k.find(id, instance)
		if code == protocol.None && (m.classic == nil || left[m.id]) {
			code = protocol.UnknownMemberID
		}
		if code == protocol.None {
			gone, left[m.id] = append(gone, m), true
		}
		resp.Members = append(resp.Members, kmsg.LeaveGroupResponseMember{MemberID: id, InstanceID: members[i].InstanceID, ErrorCode: int16(code)})
	}
	if len(gone) > 0 {
		c.removeConsumers(now, g, k, gone, ReasonLeft)
	}
	if req.Version < 3 {
		resp.ErrorCode, resp.Members = resp.Members[0].ErrorCode, nil
	}
	c.answer(r, resp)
}

// findClassic finds a member of the classic protocol in its generation.
func (k *consumerGroup) findClassic(id, instance string, generation int32) (*consumerMember, protocol.Code) {
	m, code := k.find(id, instance)
	switch {
	case code != protocol.None:
		return nil, code
	case m.classic == nil:
		return nil, protocol.UnknownMemberID
	case m.epoch != generation:
		return nil, protocol.IllegalGeneration
	}
	return m, protocol.None
}

// awaitsOthers tells whether partitions of the member's target are still another's.
func (k *consumerGroup) awaitsOthers(m *consumerMember) bool {
	for topic, partitions := range k.target[m.id] {
		for _, p := range partitions {
			if owner := k.owner(topic, p); owner != "" && owner != m.id {
				return true
			}
		}
	}
	return false
}

// awaitJoin starts the time in which a member that was told to has to join again, unless it runs.
func (c *Coordinator) awaitJoin(now time.Time, g *group, m *consumerMember) {
	if !c.timers.has(timerKey{timerJoin, g.id, m.id}) {
		c.fenceAfter(timerJoin, g, m.id, now.Add(time.Duration(m.rebalanceTimeoutMillis)*time.Millisecond), ReasonRejoin, nil)
	}
}

// claimedByClassic are the partitions that a classic member says it still owns. One of the eager kind has given up all.
func (c *Coordinator) claimedByClassic(s *kmsg.ConsumerMemberMetadata) assignor.Assignment {
	claimed := make(assignor.Assignment)
	for i := range s.OwnedPartitions {
		if topic, ok := c.cfg.Topics.Topic(s.OwnedPartitions[i].Topic); ok {
			claimed[topic.ID] = append(claimed[topic.ID], s.OwnedPartitions[i].Partitions...)
		}
	}
	return claimed
}
