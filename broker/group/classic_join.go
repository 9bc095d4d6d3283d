package group

import (
	"slices"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/stelemq/stele/protocol"
)

// newMemberTimeout is how long a member that does not know its id yet may wait for the end of the join phase: it cannot send
// heartbeats, and its connection cannot be seen to have gone.
const newMemberTimeout = 5 * time.Minute

// knownMember is the first version of JoinGroup whose clients come back with the id that they are told (KIP-394).
const knownMember = 4

// JoinGroup: v0-v9
func (c *Coordinator) join(now time.Time, r *Request, req *kmsg.JoinGroupRequest) {
	session := time.Duration(req.SessionTimeoutMillis) * time.Millisecond
	switch {
	case req.Group == "":
		c.fail(r, protocol.InvalidGroupID)
		return
	case session < c.cfg.MinSessionTimeout || session > c.cfg.MaxSessionTimeout:
		c.fail(r, protocol.InvalidSessionTimeout)
		return
	}
	g := c.find(req.Group)
	if g == nil {
		if req.MemberID != "" {
			c.fail(r, protocol.UnknownMemberID)
			return
		}
		g = c.ensure(req.Group)
	}
	k, ok := g.body.(*classicGroup)
	if !ok {
		c.joinConsumer(now, r, req, g)
		return
	}
	if !k.accepts(req.MemberID, c.cfg.MaxSize) {
		if m := k.members[req.MemberID]; m != nil {
			c.removeMember(g, k, m, protocol.UnknownMemberID)
		}
		c.fail(r, protocol.GroupMaxSizeReached)
	} else if code := c.joinClassic(now, r, req, g, k); code != protocol.None {
		c.fail(r, code)
	}
	c.maybeComplete(now, g, k)
	c.forgetEmpty(g)
}

// forgetEmpty drops a group of which nothing is worth keeping, such as one that a refused join has made.
func (c *Coordinator) forgetEmpty(g *group) {
	k, ok := g.body.(*classicGroup)
	if ok && k.status == stateEmpty && len(k.members)+len(k.pending) == 0 && k.recorded == nil && len(g.offsets) == 0 && c.groups[g.id] == g {
		c.forget(g)
	}
}

// accepts reports whether the group has room.
func (k *classicGroup) accepts(member string, most int) bool {
	m := k.members[member]
	switch k.status {
	case stateEmpty:
		return true
	case statePreparing:
		// Those that have not joined again do not count: they may have gone.
		return m != nil && m.joining != nil || k.joining() < most
	default:
		return m != nil || len(k.members) < most
	}
}

// joinClassic takes a request in; a code other than None is its answer.
func (c *Coordinator) joinClassic(now time.Time, r *Request, req *kmsg.JoinGroupRequest, g *group, k *classicGroup) protocol.Code {
	if !k.supports(req.ProtocolType, req.Protocols) {
		return protocol.InconsistentGroupProtocol
	}
	instance := instanceOf(req.InstanceID)
	if req.MemberID == "" {
		return c.joinNew(now, r, req, g, k)
	}
	if _, ok := k.pending[req.MemberID]; ok {
		c.addMember(now, r, req, g, k, req.MemberID)
		return protocol.None
	}
	if code := k.check(req.MemberID, instance); code != protocol.None {
		return code
	}
	c.rejoin(now, r, req, g, k)
	return protocol.None
}

func (c *Coordinator) joinNew(now time.Time, r *Request, req *kmsg.JoinGroupRequest, g *group, k *classicGroup) protocol.Code {
	if instance := instanceOf(req.InstanceID); instance != "" {
		id := instance + "-" + c.cfg.NewID()
		if old, ok := k.static[instance]; ok {
			c.replaceStatic(now, r, req, g, k, k.members[old], id)
		} else {
			c.addMember(now, r, req, g, k, id)
		}
		return protocol.None
	}
	id := r.Client.ID + "-" + c.cfg.NewID()
	if req.Version < knownMember {
		c.addMember(now, r, req, g, k, id)
		return protocol.None
	}
	k.pending[id] = struct{}{}
	c.armSession(g, id, now.Add(time.Duration(req.SessionTimeoutMillis)*time.Millisecond))
	resp, _ := Failure(req, protocol.MemberIDRequired).(*kmsg.JoinGroupResponse)
	resp.MemberID = id
	c.answer(r, resp)
	return protocol.None
}

// addMember takes a new member in, which sets off a rebalance.
func (c *Coordinator) addMember(now time.Time, r *Request, req *kmsg.JoinGroupRequest, g *group, k *classicGroup, id string) {
	m := &classicMember{id: id, instance: instanceOf(req.InstanceID), clientID: r.Client.ID, host: r.Client.Host, isNew: true}
	m.update(req)
	m.joining = r
	if k.status == statePreparing && k.initial {
		k.newMember = true
	}
	k.add(m)
	c.armSession(g, id, now.Add(newMemberTimeout))
	c.rebalance(now, g, k, ReasonJoined)
}

// update takes over what a join says about the member.
func (m *classicMember) update(req *kmsg.JoinGroupRequest) {
	m.sessionTimeout = time.Duration(req.SessionTimeoutMillis) * time.Millisecond
	m.rebalanceTimeout = m.sessionTimeout
	if req.Version >= 1 && req.RebalanceTimeoutMillis >= 0 {
		m.rebalanceTimeout = time.Duration(req.RebalanceTimeoutMillis) * time.Millisecond
	}
	// What a request holds of bytes is its connection's.
	m.protocols = make([]kmsg.JoinGroupRequestProtocol, len(req.Protocols))
	for i := range req.Protocols {
		m.protocols[i] = kmsg.JoinGroupRequestProtocol{Name: req.Protocols[i].Name, Metadata: slices.Clone(req.Protocols[i].Metadata)}
	}
}

// rejoin is a join by a member that is known.
func (c *Coordinator) rejoin(now time.Time, r *Request, req *kmsg.JoinGroupRequest, g *group, k *classicGroup) {
	m := k.members[req.MemberID]
	same := m.matches(req.Protocols)
	switch {
	case k.status == stateCompleting && same:
		// The answer to its join was lost: the generation is the same.
		c.answer(r, k.answerJoin(m))
		c.armSession(g, m.id, now.Add(m.sessionTimeout))
	case k.status == stateStable && same && k.leader != m.id:
		resp := k.answerJoin(m)
		c.answer(r, resp)
		c.armSession(g, m.id, now.Add(m.sessionTimeout))
	default:
		c.replaceJoin(m, r)
		m.update(req)
		reason := ReasonChanged
		if same && k.leader == m.id {
			reason = ReasonLeader
		}
		c.rebalance(now, g, k, reason)
	}
}

// replaceJoin has a new request of the member wait. One that waited before is answered: nobody reads it any more.
func (c *Coordinator) replaceJoin(m *classicMember, r *Request) {
	if m.joining != nil {
		c.fail(m.joining, protocol.UnknownMemberID)
	}
	if m.syncing != nil {
		c.fail(m.syncing, protocol.RebalanceInProgress)
		m.syncing = nil
	}
	m.joining = r
}

// replaceStatic has a new process take a static member's place (KIP-345).
func (c *Coordinator) replaceStatic(now time.Time, r *Request, req *kmsg.JoinGroupRequest, g *group, k *classicGroup, old *classicMember, id string) {
	leader := k.leader
	for _, w := range []*Request{old.joining, old.syncing} {
		if w != nil {
			c.fail(w, protocol.FencedInstanceID)
		}
	}
	c.timers.cancel(timerKey{timerSession, g.id, old.id})
	m := *old
	m.id, m.joining, m.syncing, m.isNew = id, nil, nil, false
	m.clientID, m.host = r.Client.ID, r.Client.Host
	chosen := k.protocol
	m.update(req)
	delete(k.members, old.id)
	k.members[id], k.static[m.instance] = &m, id
	if _, unsynced := k.unsynced[old.id]; unsynced {
		delete(k.unsynced, old.id)
		k.unsynced[id] = struct{}{}
	}
	if k.leader == old.id {
		k.leader = id
	}
	c.armSession(g, id, now.Add(m.sessionTimeout))
	switch {
	case k.status == stateStable && k.vote() == chosen:
		// Nothing changes but the id: no rebalance (KIP-814 lets the leader skip the assignment).
		k.write(c, g, now)
		resp := k.answerJoin(&m)
		if resp.LeaderID == id {
			if req.Version >= 9 {
				resp.SkipAssignment = true
			} else {
				resp.LeaderID, resp.Members = leader, nil // it must not think that an assignment is its to make
			}
		}
		c.answer(r, resp)
	case k.status == stateStable, k.status == stateCompleting, k.status == statePreparing:
		m.joining = r
		c.rebalance(now, g, k, ReasonReplaced)
	default:
		c.fail(r, protocol.UnknownMemberID)
	}
}

// answerJoin is the answer to a join in the generation that is.
func (k *classicGroup) answerJoin(m *classicMember) *kmsg.JoinGroupResponse {
	resp := kmsg.NewPtrJoinGroupResponse()
	resp.Generation, resp.LeaderID, resp.MemberID = k.generation, k.leader, m.id
	resp.ProtocolType, resp.Protocol = optional(k.kind), new(k.protocol)
	if k.leader != m.id {
		return resp
	}
	for _, o := range k.ordered() {
		resp.Members = append(resp.Members, kmsg.JoinGroupResponseMember{
			MemberID: o.id, InstanceID: optional(o.instance), ProtocolMetadata: o.metadata(k.protocol),
		})
	}
	return resp
}
