package group

import (
	"slices"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/stelemq/stele/protocol"
)

// SyncGroup: v0-v5
func (c *Coordinator) sync(now time.Time, r *Request, req *kmsg.SyncGroupRequest) {
	g, k, code := c.classic(req.Group)
	if code == protocol.None && k == nil {
		c.syncConsumer(now, r, req, g)
		return
	}
	if code == protocol.None {
		code = k.checkSync(req)
	}
	if code != protocol.None {
		c.fail(r, code)
		return
	}
	m := k.members[req.MemberID]
	delete(k.unsynced, m.id)
	if k.status == stateStable {
		c.armSession(g, m.id, now.Add(m.sessionTimeout))
		c.answer(r, k.answerSync(m))
		return
	}
	if m.syncing != nil {
		c.fail(m.syncing, protocol.UnknownMemberID)
	}
	m.syncing = r
	if m.id != k.leader {
		return
	}
	k.dropAssignments()
	for i := range req.GroupAssignment {
		if o := k.members[req.GroupAssignment[i].MemberID]; o != nil {
			o.assignment = slices.Clone(req.GroupAssignment[i].MemberAssignment) // the bytes are the connection's
		}
	}
	k.become(stateStable)
	k.write(c, g, now)
	c.cfg.Events.RebalanceEnded(g.id, now.Sub(k.began))
	for _, o := range k.ordered() {
		if o.syncing != nil {
			c.answer(o.syncing, k.answerSync(o))
			o.syncing = nil
			c.armSession(g, o.id, now.Add(o.sessionTimeout))
		}
	}
}

func (k *classicGroup) checkSync(req *kmsg.SyncGroupRequest) protocol.Code {
	code := k.check(req.MemberID, instanceOf(req.InstanceID))
	switch {
	case code != protocol.None:
		return code
	case req.Generation != k.generation:
		return protocol.IllegalGeneration
	case req.ProtocolType != nil && *req.ProtocolType != k.kind, req.Protocol != nil && *req.Protocol != k.protocol:
		return protocol.InconsistentGroupProtocol
	case k.status == stateEmpty:
		return protocol.UnknownMemberID
	case k.status == statePreparing:
		return protocol.RebalanceInProgress
	}
	return protocol.None
}

func (k *classicGroup) answerSync(m *classicMember) kmsg.Response {
	resp := kmsg.NewPtrSyncGroupResponse()
	resp.ProtocolType, resp.Protocol = optional(k.kind), optional(k.protocol)
	resp.MemberAssignment = m.assignment
	if resp.MemberAssignment == nil {
		resp.MemberAssignment = []byte{}
	}
	return resp
}

// classic finds a group that members of the classic protocol talk about. With None and no classic group it is of the other
// type.
func (c *Coordinator) classic(id string) (*group, *classicGroup, protocol.Code) {
	if id == "" {
		return nil, nil, protocol.InvalidGroupID
	}
	g := c.find(id)
	if g == nil {
		return nil, nil, protocol.UnknownMemberID
	}
	k, _ := g.body.(*classicGroup)
	return g, k, protocol.None
}

// Heartbeat: v0-v4
func (c *Coordinator) heartbeat(now time.Time, r *Request, req *kmsg.HeartbeatRequest) {
	g, k, code := c.classic(req.Group)
	if code == protocol.None && k == nil {
		c.heartbeatClassicInConsumer(now, r, req, g)
		return
	}
	if code == protocol.None {
		code = k.checkHeartbeat(req)
	}
	if code == protocol.None || code == protocol.RebalanceInProgress {
		c.armSession(g, req.MemberID, now.Add(k.members[req.MemberID].sessionTimeout))
	}
	c.fail(r, code) // None is an answer like the others
}

func (k *classicGroup) checkHeartbeat(req *kmsg.HeartbeatRequest) protocol.Code {
	code := k.check(req.MemberID, instanceOf(req.InstanceID))
	switch {
	case code != protocol.None:
		return code
	case req.Generation != k.generation:
		return protocol.IllegalGeneration
	case k.status == stateEmpty:
		return protocol.UnknownMemberID
	case k.status == statePreparing:
		return protocol.RebalanceInProgress
	}
	return protocol.None
}
