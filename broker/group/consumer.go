package group

import (
	"fmt"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/stelemq/stele/protocol"
)

// handleConsumer carries out a request of a KIP-848 member; false: the request is of another kind.
func (c *Coordinator) handleConsumer(now time.Time, r *Request) bool {
	switch req := r.Req.(type) {
	case *kmsg.ConsumerGroupHeartbeatRequest:
		c.consumerHeartbeat(now, r, req)
	case *kmsg.ConsumerGroupDescribeRequest:
		c.consumerDescribe(r, req)
	default:
		return false
	}
	return true
}

// consumerFailure is Failure for the requests of KIP-848 members.
func consumerFailure(req kmsg.Request, code protocol.Code) kmsg.Response {
	switch req := req.(type) {
	case *kmsg.ConsumerGroupHeartbeatRequest:
		resp := kmsg.NewPtrConsumerGroupHeartbeatResponse()
		resp.ErrorCode = int16(code)
		return resp
	case *kmsg.ConsumerGroupDescribeRequest:
		resp := kmsg.NewPtrConsumerGroupDescribeResponse()
		for _, id := range req.Groups {
			g := kmsg.NewConsumerGroupDescribeResponseGroup()
			g.Group, g.ErrorCode = id, int16(code)
			resp.Groups = append(resp.Groups, g)
		}
		return resp
	}
	panic(fmt.Sprintf("group: request %T failed with %v", req, code))
}
