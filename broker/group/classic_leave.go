package group

import (
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/stelemq/stele/protocol"
)

// LeaveGroup: v0-v5; from v3 on it names several members, static ones by their instance ids.
func (c *Coordinator) leave(now time.Time, r *Request, req *kmsg.LeaveGroupRequest) {
	members := req.Members
	if req.Version < 3 {
		members = []kmsg.LeaveGroupRequestMember{{MemberID: req.MemberID}}
	}
	resp := kmsg.NewPtrLeaveGroupResponse()
	g, k, code := c.classic(req.Group)
	if code == protocol.InvalidGroupID {
		c.fail(r, code)
		return
	}
	if code == protocol.None && k == nil {
		c.leaveConsumer(now, r, req, g)
		return
	}
	for i := range members {
		one := code
		if one == protocol.None {
			one = c.leaveOne(now, g, k, members[i].MemberID, instanceOf(members[i].InstanceID))
		}
		resp.Members = append(resp.Members, kmsg.LeaveGroupResponseMember{
			MemberID: members[i].MemberID, InstanceID: members[i].InstanceID, ErrorCode: int16(one),
		})
	}
	if req.Version < 3 {
		resp.ErrorCode, resp.Members = resp.Members[0].ErrorCode, nil
	}
	if k != nil {
		c.afterRemoval(now, g, k, ReasonLeft)
	}
	c.answer(r, resp)
	if g != nil {
		c.forgetEmpty(g)
	}
}

// leaveOne takes one member out of the group.
func (c *Coordinator) leaveOne(now time.Time, g *group, k *classicGroup, member, instance string) protocol.Code {
	if member == "" {
		id, ok := k.static[instance]
		if instance == "" || !ok {
			return protocol.UnknownMemberID
		}
		member = id
	} else if _, ok := k.pending[member]; ok {
		delete(k.pending, member)
		c.timers.cancel(timerKey{timerSession, g.id, member})
		c.maybeComplete(now, g, k)
		return protocol.None
	}
	if code := k.check(member, instance); code != protocol.None {
		return code
	}
	c.removeMember(g, k, k.members[member], protocol.UnknownMemberID)
	return protocol.None
}
