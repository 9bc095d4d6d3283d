package group

import (
	"fmt"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/stelemq/stele/protocol"
)

// replayConsumer applies a record of a KIP-848 group; versions that are not known are passed over.
func (c *Coordinator) replayConsumer(version int16, r Record) error {
	_, _ = version, r
	return nil
}

// handleConsumer carries out a request of a KIP-848 member; false: the request is of another kind.
func (c *Coordinator) handleConsumer(now time.Time, r *Request) bool {
	_, _ = now, r
	return false
}

// consumerFailure is Failure for the requests of KIP-848 members.
func consumerFailure(req kmsg.Request, code protocol.Code) kmsg.Response {
	panic(fmt.Sprintf("group: request %T failed with %v", req, code))
}

// joinConsumer, syncConsumer, heartbeatClassicInConsumer and leaveConsumer are requests of the classic protocol to a group
// that is of the other type.
func (c *Coordinator) joinConsumer(_ time.Time, r *Request, _ *kmsg.JoinGroupRequest, _ *group) {
	c.fail(r, protocol.InconsistentGroupProtocol)
}

func (c *Coordinator) syncConsumer(_ time.Time, r *Request, _ *kmsg.SyncGroupRequest, _ *group) {
	c.fail(r, protocol.UnknownMemberID)
}

func (c *Coordinator) heartbeatClassicInConsumer(_ time.Time, r *Request, _ *kmsg.HeartbeatRequest, _ *group) {
	c.fail(r, protocol.UnknownMemberID)
}

func (c *Coordinator) leaveConsumer(_ time.Time, r *Request, _ *kmsg.LeaveGroupRequest, _ *group) {
	c.fail(r, protocol.UnknownMemberID)
}
