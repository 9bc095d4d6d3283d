package broker

import (
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/stelemq/stele/broker/group"
	"github.com/stelemq/stele/protocol"
)

// groupClient is who sent the request, as groups remember it.
func (k *call) groupClient() group.Client {
	c := group.Client{Host: "/" + k.conn.remote.String()}
	if h, _, err := protocol.ParseRequestHeader(k.slot.req.b); err == nil {
		c.ID = string(h.ClientID)
	}
	return c
}

// groupCall is a request on its way to a coordinator.
type groupCall struct {
	k      *call
	req    kmsg.Request
	answer chan kmsg.Response
}

// coordinate hands a request to the coordinator of a group.
func (k *call) coordinate(id string, req kmsg.Request) *groupCall {
	co, code := k.b.coordinators.of(id)
	if code != protocol.None {
		g := &groupCall{k: k, req: req, answer: make(chan kmsg.Response, 1)}
		g.answer <- group.Failure(req, code)
		return g
	}
	return k.ask(co, req)
}

// coordinateEach hands a request about several groups to the coordinator of each; of makes the request about one.
func (k *call) coordinateEach(ids []string, of func(id []string) kmsg.Request) []*groupCall {
	calls := make([]*groupCall, len(ids))
	for i := range ids {
		calls[i] = k.coordinate(ids[i], of(ids[i:i+1:i+1]))
	}
	return calls
}

// ask hands a request to a coordinator.
func (k *call) ask(co *coordinator, req kmsg.Request) *groupCall {
	g := &groupCall{k: k, req: req, answer: make(chan kmsg.Response, 1)}
	co.enqueue(&group.Request{Client: k.groupClient(), Req: req, Reply: func(r kmsg.Response) { g.answer <- r }})
	return g
}

// wait returns the answer. Who hears nothing in time asks another coordinator: whether the change has been made is not known.
func (g *groupCall) wait() kmsg.Response {
	timer := time.NewTimer(g.k.b.opts.Config.CommitTimeout)
	defer timer.Stop()
	select {
	case r := <-g.answer:
		return r
	case <-timer.C:
	case <-g.k.ctx.Done():
	}
	return group.Failure(g.req, protocol.CoordinatorNotAvailable)
}

// waitLong is wait for requests that other members have to answer first. The group's timers bound it.
func (g *groupCall) waitLong() kmsg.Response {
	select {
	case r := <-g.answer:
		return r
	case <-g.k.ctx.Done():
	case <-g.k.b.drained:
	}
	return group.Failure(g.req, protocol.NotCoordinator)
}

// note counts an error that a coordinator has answered.
func (k *call) note(code int16) {
	if code != 0 {
		_ = k.code(protocol.Code(code))
	}
}
