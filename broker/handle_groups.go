package broker

import (
	"github.com/twmb/franz-go/pkg/kmsg"
)

// JoinGroup: v0-v9, SyncGroup: v0-v5, Heartbeat: v0-v4, LeaveGroup: v0-v5
//
// Behaviour: package group's. JoinGroup and SyncGroup wait for the other members, and hold back later answers of the
// connection, as Kafka does.

func (k *call) joinGroup(req *kmsg.JoinGroupRequest) kmsg.Response {
	resp := k.coordinate(req.Group, req).waitLong()
	if r, ok := resp.(*kmsg.JoinGroupResponse); ok {
		k.note(r.ErrorCode)
	}
	return resp
}

func (k *call) syncGroup(req *kmsg.SyncGroupRequest) kmsg.Response {
	resp := k.coordinate(req.Group, req).waitLong()
	if r, ok := resp.(*kmsg.SyncGroupResponse); ok {
		k.note(r.ErrorCode)
	}
	return resp
}

func (k *call) heartbeat(req *kmsg.HeartbeatRequest) kmsg.Response {
	resp := k.coordinate(req.Group, req).wait()
	if r, ok := resp.(*kmsg.HeartbeatResponse); ok {
		k.note(r.ErrorCode)
	}
	return resp
}

func (k *call) leaveGroup(req *kmsg.LeaveGroupRequest) kmsg.Response {
	resp := k.coordinate(req.Group, req).wait()
	if r, ok := resp.(*kmsg.LeaveGroupResponse); ok {
		k.note(r.ErrorCode)
	}
	return resp
}
