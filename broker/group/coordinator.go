package group

import (
	"fmt"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/stelemq/stele/protocol"
)

// Client is who sent a request.
type Client struct {
	// ID is the client id of the request, Host the address it came from, as Kafka writes it ("/127.0.0.1").
	ID, Host string
}

// Request is one request to a [Coordinator]. It must concern this coordinator's groups alone: who drives it splits requests
// that name several.
type Request struct {
	Client Client
	// Req has its version set.
	Req kmsg.Request
	// Reply takes the answer, exactly once; it must not block.
	Reply func(kmsg.Response)
}

// Answer is a response that waits for the records before it to be committed.
type Answer struct {
	request *Request
	resp    kmsg.Response
}

// Send sends the answer; with a code other than None the failure by it instead.
func (a Answer) Send(code protocol.Code) {
	if code != protocol.None {
		a.request.Fail(code)
		return
	}
	a.request.Reply(a.resp)
}

// Fail answers the request with an error.
func (r *Request) Fail(code protocol.Code) { r.Reply(Failure(r.Req, code)) }

// Coordinator is the state of one partition of __consumer_offsets. It belongs to one goroutine.
type Coordinator struct {
	cfg     Config
	groups  map[string]*group
	timers  timers
	leading bool

	// What Take returns.
	records []Record
	answers []Answer
}

// New returns an empty coordinator that does not lead.
func New(cfg Config) *Coordinator {
	if cfg.Events == nil {
		cfg.Events = noEvents{}
	}
	return &Coordinator{cfg: cfg, groups: map[string]*group{}}
}

// Replay applies one committed record. Records of kinds that are not known are passed over, as Kafka does.
// Errors: ErrRecord; the state is as before.
func (c *Coordinator) Replay(r Record) error {
	version, err := keyVersion(r.Key)
	if err != nil {
		return err
	}
	switch version {
	case keyOffsetOld, keyOffset:
		return c.replayOffset(r)
	case keyGroup:
		return c.replayGroup(r)
	default:
		return c.replayConsumer(version, r)
	}
}

// Lead begins to answer requests: sessions begin anew.
func (c *Coordinator) Lead(now time.Time) {
	c.leading = true
	for _, g := range c.groups {
		g.body.lead(c, g, now)
	}
	c.timers.set(timerKey{kind: timerRetention}, now.Add(c.cfg.RetentionCheck), c.expireOffsets)
}

// Resign ends that: requests that wait are answered with code, and the state is again what the records say. Everything that
// Take has returned must be committed; otherwise the coordinator has to be made anew by [Coordinator.Abandon] and Replay.
func (c *Coordinator) Resign(code protocol.Code) {
	c.Abandon(code)
	for id, g := range c.groups {
		if !g.body.resign(c, g) && len(g.offsets) == 0 {
			delete(c.groups, id)
		}
	}
}

// Abandon answers every request that waits with code. The state must not be used any more.
func (c *Coordinator) Abandon(code protocol.Code) {
	c.leading = false
	for _, a := range c.answers {
		a.Send(code)
	}
	c.answers, c.records = nil, nil
	for _, g := range c.groups {
		g.body.abandon(code)
	}
	c.timers.clear()
}

// Tick carries out what is due.
func (c *Coordinator) Tick(now time.Time) { c.timers.fire(now) }

// NextDeadline is when Tick has to be called next, false: not before the next request.
func (c *Coordinator) NextDeadline() (time.Time, bool) { return c.timers.next() }

// Take returns the records made since the last Take, to be appended as one batch, and the answers that wait for them. They
// belong to the caller.
func (c *Coordinator) Take() ([]Record, []Answer) {
	records, answers := c.records, c.answers
	c.records, c.answers = nil, nil
	return records, answers
}

// emit adds records to what Take returns. The state has been changed accordingly by the caller.
func (c *Coordinator) emit(r ...Record) { c.records = append(c.records, r...) }

// answer adds an answer to what Take returns.
func (c *Coordinator) answer(r *Request, resp kmsg.Response) {
	c.answers = append(c.answers, Answer{request: r, resp: resp})
}

// fail answers a request with an error, in its turn.
func (c *Coordinator) fail(r *Request, code protocol.Code) { c.answer(r, Failure(r.Req, code)) }

// Handle carries out a request. The answer comes by Take, now or after later calls.
func (c *Coordinator) Handle(now time.Time, r *Request) {
	switch req := r.Req.(type) {
	case *kmsg.JoinGroupRequest:
		c.join(now, r, req)
	case *kmsg.SyncGroupRequest:
		c.sync(now, r, req)
	case *kmsg.HeartbeatRequest:
		c.heartbeat(now, r, req)
	case *kmsg.LeaveGroupRequest:
		c.leave(now, r, req)
	case *kmsg.OffsetCommitRequest:
		c.commit(now, r, req)
	case *kmsg.OffsetFetchRequest:
		c.fetch(r, req)
	case *kmsg.OffsetDeleteRequest:
		c.deleteOffsets(r, req)
	case *kmsg.DeleteGroupsRequest:
		c.deleteGroups(r, req)
	case *kmsg.ListGroupsRequest:
		c.listGroups(r, req)
	case *kmsg.DescribeGroupsRequest:
		c.describeGroups(r, req)
	default:
		if !c.handleConsumer(now, r) {
			panic(fmt.Sprintf("group: request %T", req))
		}
	}
}
