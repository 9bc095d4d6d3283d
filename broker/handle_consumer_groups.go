package broker

import (
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/stelemq/stele/broker/group"
	"github.com/stelemq/stele/protocol"
)

// ConsumerGroupHeartbeat: v0-v1, ConsumerGroupDescribe: v0-v1 (KIP-848)
//
// Behaviour: package group's. No heartbeat waits for other members. Each group is asked of its own coordinator; one that is
// not here is answered with NOT_COORDINATOR. With the feature group.version at 0 both are refused (UNSUPPORTED_VERSION).
//
// Version notes: heartbeat v1: subscriptions by regular expression, and member ids that clients make (KIP-1082); describe
// v1: the protocol that each member speaks.

func (k *call) consumerGroupHeartbeat(req *kmsg.ConsumerGroupHeartbeatRequest) kmsg.Response {
	if !k.consumerGroupsOn() {
		return group.Failure(req, k.refused(protocol.UnsupportedVersion))
	}
	resp := k.coordinate(req.Group, req).wait()
	if r, ok := resp.(*kmsg.ConsumerGroupHeartbeatResponse); ok {
		k.note(r.ErrorCode)
	}
	return resp
}

func (k *call) consumerGroupDescribe(req *kmsg.ConsumerGroupDescribeRequest) kmsg.Response {
	if !k.consumerGroupsOn() {
		return group.Failure(req, k.refused(protocol.UnsupportedVersion))
	}
	calls := k.coordinateEach(req.Groups, func(id []string) kmsg.Request {
		one := *req
		one.Groups = id
		return &one
	})
	resp := kmsg.NewPtrConsumerGroupDescribeResponse()
	for _, c := range calls {
		if r, ok := c.wait().(*kmsg.ConsumerGroupDescribeResponse); ok {
			for i := range r.Groups {
				k.note(r.Groups[i].ErrorCode)
			}
			resp.Groups = append(resp.Groups, r.Groups...)
		}
	}
	return resp
}

// consumerGroupsOn tells whether the cluster has the consumer protocol switched on.
func (k *call) consumerGroupsOn() bool {
	f := featureNamed("group.version")
	return f != nil && f.level(k.b.opts.Metadata.Image()) > 0
}

// refused counts an error that the whole request is answered with.
func (k *call) refused(code protocol.Code) protocol.Code {
	k.note(int16(code))
	return code
}
