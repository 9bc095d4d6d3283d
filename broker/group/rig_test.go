package group_test

import (
	"fmt"
	"iter"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/stelemq/stele/broker/group"
	"github.com/stelemq/stele/protocol"
)

// rig drives a coordinator over a log that commits when told.
type rig struct {
	t   *testing.T
	cfg group.Config
	c   *group.Coordinator
	now time.Time
	ids int
	// log is what is committed; pending are appends on their way, in order.
	log     []group.Record
	pending []appended
	// hold keeps appends from committing by themselves.
	hold bool
}

type appended struct {
	records []group.Record
	answers []group.Answer
}

func newRig(t *testing.T, change func(*group.Config)) *rig {
	t.Helper()
	r := &rig{t: t, cfg: group.Defaults(), now: time.UnixMilli(1_700_000_000_000)}
	r.cfg.InitialRebalanceDelay = 0
	r.cfg.NewID = func() string { r.ids++; return fmt.Sprintf("id%d", r.ids) }
	r.cfg.Topics = topics{"t": 4, "u": 2}
	if change != nil {
		change(&r.cfg)
	}
	r.c = group.New(r.cfg)
	r.c.Lead(r.now)
	return r
}

// topics are those that exist, with their partitions.
type topics map[string]int

func (m topics) Topic(name string) (group.Topic, bool) {
	n, ok := m[name]
	return group.Topic{Name: name, ID: group.TopicID{name[0]}, Partitions: n, Racks: func(int) []string { return nil }}, ok
}

func (m topics) TopicByID(id group.TopicID) (group.Topic, bool) { return m.Topic(string(id[:1])) }

func (m topics) All() iter.Seq[group.Topic] {
	return func(yield func(group.Topic) bool) {
		for name := range m {
			if t, _ := m.Topic(name); !yield(t) {
				return
			}
		}
	}
}
func (m topics) Version() uint64 { return 1 }

// answer is where a response will be.
type answer[R kmsg.Response] struct {
	t    *testing.T
	resp R
	ok   bool
}

// get returns the response, which must have come.
func (a *answer[R]) get() R {
	a.t.Helper()
	if !a.ok {
		a.t.Fatal("no answer yet")
	}
	return a.resp
}

func ask[R kmsg.Response](r *rig, req kmsg.Request) *answer[R] {
	r.t.Helper()
	a := &answer[R]{t: r.t}
	r.send(req, func(resp kmsg.Response) {
		if a.ok {
			r.t.Errorf("%T was answered twice", req)
		}
		got, ok := resp.(R)
		if !ok {
			r.t.Errorf("%T was answered with %T", req, resp)
		}
		a.resp, a.ok = got, true
	})
	return a
}

func (r *rig) send(req kmsg.Request, reply func(kmsg.Response)) {
	r.c.Handle(r.now, &group.Request{Client: group.Client{ID: "client", Host: "/10.0.0.1"}, Req: req, Reply: reply})
	r.take()
}

// take appends what the coordinator has made.
func (r *rig) take() {
	records, answers := r.c.Take()
	r.pending = append(r.pending, appended{records, answers})
	if !r.hold {
		r.commit(len(r.pending))
	}
}

// commit commits the first n appends.
func (r *rig) commit(n int) {
	for _, p := range r.pending[:n] {
		r.log = append(r.log, p.records...)
		for _, a := range p.answers {
			a.Send(protocol.None)
		}
	}
	r.pending = r.pending[n:]
}

// pass lets time go by, carrying out what becomes due on the way.
func (r *rig) pass(d time.Duration) {
	end := r.now.Add(d)
	for {
		at, ok := r.c.NextDeadline()
		if !ok || at.After(end) {
			break
		}
		if at.After(r.now) {
			r.now = at
		}
		r.c.Tick(r.now)
		r.take()
	}
	r.now = end
}

// failOver has another replica take over with what is committed.
func (r *rig) failOver() {
	r.t.Helper()
	r.c.Abandon(protocol.NotCoordinator)
	for _, p := range r.pending {
		for _, a := range p.answers {
			a.Send(protocol.NotCoordinator)
		}
	}
	r.pending = nil
	r.c = group.New(r.cfg)
	for _, rec := range r.log {
		if err := r.c.Replay(rec); err != nil {
			r.t.Fatal(err)
		}
	}
	r.c.Lead(r.now)
}

func joinRequest(member string, protocols ...string) *kmsg.JoinGroupRequest {
	req := kmsg.NewPtrJoinGroupRequest()
	req.Version, req.Group, req.MemberID, req.ProtocolType = 9, "g", member, "consumer"
	req.SessionTimeoutMillis, req.RebalanceTimeoutMillis = 10_000, 30_000
	if len(protocols) == 0 {
		protocols = []string{"range"}
	}
	for _, p := range protocols {
		req.Protocols = append(req.Protocols, kmsg.JoinGroupRequestProtocol{Name: p, Metadata: subscription("t")})
	}
	return req
}

func subscription(topics ...string) []byte {
	m := kmsg.NewConsumerMemberMetadata()
	m.Topics = topics
	return m.AppendTo(nil)
}

func (r *rig) join(req *kmsg.JoinGroupRequest) *answer[*kmsg.JoinGroupResponse] {
	r.t.Helper()
	return ask[*kmsg.JoinGroupResponse](r, req)
}

// enter joins as a new member, which comes back with the id it is told.
func (r *rig) enter(protocols ...string) (id string, a *answer[*kmsg.JoinGroupResponse]) {
	r.t.Helper()
	first := r.join(joinRequest("", protocols...)).get()
	if first.ErrorCode != int16(protocol.MemberIDRequired) || first.MemberID == "" {
		r.t.Fatalf("first join: %+v, want MEMBER_ID_REQUIRED and an id", first)
	}
	return first.MemberID, r.join(joinRequest(first.MemberID, protocols...))
}

func (r *rig) sync(member string, generation int32, assignments map[string]string) *answer[*kmsg.SyncGroupResponse] {
	r.t.Helper()
	req := kmsg.NewPtrSyncGroupRequest()
	req.Version, req.Group, req.MemberID, req.Generation = 5, "g", member, generation
	for m, a := range assignments {
		req.GroupAssignment = append(req.GroupAssignment, kmsg.SyncGroupRequestGroupAssignment{MemberID: m, MemberAssignment: []byte(a)})
	}
	return ask[*kmsg.SyncGroupResponse](r, req)
}

func (r *rig) heartbeat(member string, generation int32) protocol.Code {
	r.t.Helper()
	req := kmsg.NewPtrHeartbeatRequest()
	req.Version, req.Group, req.MemberID, req.Generation = 4, "g", member, generation
	return protocol.Code(ask[*kmsg.HeartbeatResponse](r, req).get().ErrorCode)
}

func commitRequest(member string, generation int32, offset int64) *kmsg.OffsetCommitRequest {
	req := kmsg.NewPtrOffsetCommitRequest()
	req.Version, req.Group, req.MemberID, req.Generation = 8, "g", member, generation
	p := kmsg.NewOffsetCommitRequestTopicPartition()
	p.Offset, p.LeaderEpoch = offset, 7
	req.Topics = []kmsg.OffsetCommitRequestTopic{{Topic: "t", Partitions: []kmsg.OffsetCommitRequestTopicPartition{p}}}
	return req
}

func (r *rig) commitOffset(member string, generation int32, offset int64) protocol.Code {
	r.t.Helper()
	return protocol.Code(ask[*kmsg.OffsetCommitResponse](r, commitRequest(member, generation, offset)).get().Topics[0].Partitions[0].ErrorCode)
}

// committed is the offset of a partition of topic t, -1 where there is none.
func (r *rig) committed(partition int32) int64 {
	r.t.Helper()
	req := kmsg.NewPtrOffsetFetchRequest()
	req.Version, req.Group = 7, "g"
	req.Topics = []kmsg.OffsetFetchRequestTopic{{Topic: "t", Partitions: []int32{partition}}}
	return ask[*kmsg.OffsetFetchResponse](r, req).get().Topics[0].Partitions[0].Offset
}

// describe is the group as DescribeGroups shows it.
func (r *rig) describe() kmsg.DescribeGroupsResponseGroup {
	r.t.Helper()
	req := kmsg.NewPtrDescribeGroupsRequest()
	req.Version, req.Groups = 6, []string{"g"}
	return ask[*kmsg.DescribeGroupsResponse](r, req).get().Groups[0]
}

// stable makes a group of n members in a generation that they own; the first leads.
func (r *rig) stable(n int) (members []string, generation int32) {
	r.t.Helper()
	var joins []*answer[*kmsg.JoinGroupResponse]
	for range n {
		id, a := r.enter()
		members = append(members, id)
		joins = append(joins, a)
		for i, m := range members[:len(members)-1] {
			joins[i] = r.join(joinRequest(m))
		}
	}
	last := joins[n-1].get()
	generation = last.Generation
	assignments := map[string]string{}
	for i, m := range members {
		assignments[m] = fmt.Sprint("a", i)
	}
	for i, m := range members[1:] {
		a := r.sync(m, generation, nil)
		if a.ok {
			r.t.Fatalf("member %d synced before the leader", i+1)
		}
	}
	if code := r.sync(members[0], generation, assignments).get().ErrorCode; code != 0 {
		r.t.Fatalf("leader's sync: %d", code)
	}
	return members, generation
}

func wantCode(t *testing.T, what string, got int16, want protocol.Code) {
	t.Helper()
	if protocol.Code(got) != want {
		t.Errorf("%s: %v, want %v", what, protocol.Code(got), want)
	}
}
