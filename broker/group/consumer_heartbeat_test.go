package group

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/stelemq/stele/broker/group/assignor"
	"github.com/stelemq/stele/protocol"
)

func TestConsumer_FirstMemberGetsAll(t *testing.T) {
	r := newRig(t)
	topic := r.topics.set("orders", 3)
	resp := r.beat("g", "a", 0, names("orders"))
	wantCode(t, resp.ErrorCode, protocol.None)
	if resp.MemberEpoch != 1 || *resp.MemberID != "a" || resp.HeartbeatIntervalMillis != 5000 {
		t.Errorf("answered %+v", resp)
	}
	if got := given(resp); !slices.Equal(got[topic], []int32{0, 1, 2}) {
		t.Errorf("given %v", got)
	}
	if state := r.group("g").state(); state != "Stable" {
		t.Errorf("state %s", state)
	}
	// A heartbeat that says nothing new changes and records nothing.
	before := len(r.log)
	if resp := r.beat("g", "a", 1, owning(given(resp))); resp.Assignment != nil || len(r.log) != before {
		t.Errorf("an idle heartbeat made %d records and was answered %+v", len(r.log)-before, resp)
	}
}

func TestConsumer_RevokesBeforeItAssigns(t *testing.T) {
	r := newRig(t)
	topic := r.topics.set("orders", 4)
	all := given(r.beat("g", "a", 0, names("orders")))

	b := r.beat("g", "b", 0, names("orders"))
	if b.MemberEpoch != 2 || len(given(b)) != 0 {
		t.Fatalf("b was given %v in epoch %d while a owns it all", given(b), b.MemberEpoch)
	}
	if state := r.group("g").state(); state != "Reconciling" {
		t.Errorf("state %s", state)
	}
	a := r.beat("g", "a", 1, owning(all))
	keeps := given(a)
	if a.MemberEpoch != 1 || keeps.Size() != 2 {
		t.Fatalf("a keeps %v in epoch %d; it has to give up two and stay in its epoch", keeps, a.MemberEpoch)
	}
	if b := r.beat("g", "b", 2); b.Assignment != nil {
		t.Fatalf("b was given %v before a let go", given(b))
	}
	if a := r.beat("g", "a", 1); a.MemberEpoch != 1 {
		t.Fatalf("a went on without saying what it owns")
	}
	if a := r.beat("g", "a", 1, owning(keeps)); a.MemberEpoch != 2 {
		t.Fatalf("a has let go and is in epoch %d", a.MemberEpoch)
	}
	gets := given(r.beat("g", "b", 2))
	if gets.Size() != 2 || gets.Has(topic, keeps[topic][0]) {
		t.Fatalf("b was given %v, a keeps %v", gets, keeps)
	}
	if state := r.group("g").state(); state != "Stable" {
		t.Errorf("state %s", state)
	}
}

func TestConsumer_RequestsThatAreRefused(t *testing.T) {
	r := newRig(t, func(cfg *Config) { cfg.Consumer.MaxSize = 2 })
	r.topics.set("orders", 4)
	a := given(r.beat("g", "a", 0, names("orders")))
	s := r.beat("g", "s", 0, names("orders"), static("i"))
	rows := []struct {
		name string
		req  *kmsg.ConsumerGroupHeartbeatRequest
		want protocol.Code
	}{
		{"no group", newBeat("", "a", 1), protocol.InvalidRequest},
		{"a group id that no record can hold", newBeat(strings.Repeat("g", 1<<15), "a", 0, names("orders")), protocol.InvalidRequest},
		{"no member id", newBeat("g", "", 0, names("orders")), protocol.InvalidRequest},
		{"an empty instance id", newBeat("g", "a", 1, static("")), protocol.InvalidRequest},
		{"an unknown negative epoch", newBeat("g", "a", -3), protocol.InvalidRequest},
		{"a static leave without instance id", newBeat("g", "a", -2), protocol.InvalidRequest},
		{"a join that owns something", newBeat("g", "a", 0, names("orders"), owning(a)), protocol.InvalidRequest},
		{"a join without subscription", newBeat("g", "a", 0), protocol.InvalidRequest},
		{"an unknown assignor", newBeat("g", "a", 1, by("sticky")), protocol.UnsupportedAssignor},
		{"a malformed expression", newBeat("g", "a", 1, regex("(")), protocol.InvalidRegularExpression},
		{"a look-behind, which RE2 does not have", newBeat("g", "a", 1, regex("(?<=a)b")), protocol.InvalidRegularExpression},
		{"an unknown group", newBeat("h", "a", 1), protocol.GroupIDNotFound},
		{"an unknown group left", newBeat("h", "a", -1), protocol.GroupIDNotFound},
		{"an unknown member", newBeat("g", "x", 1), protocol.UnknownMemberID},
		{"an unknown member that leaves", newBeat("g", "x", -1), protocol.UnknownMemberID},
		{"a later epoch", newBeat("g", "a", 9), protocol.FencedMemberEpoch},
		{"a full group", newBeat("g", "x", 0, names("orders")), protocol.GroupMaxSizeReached},
		{"a static member in use", newBeat("g", "s2", 0, names("orders"), static("i")), protocol.UnreleasedInstanceID},
		{"an unknown instance", newBeat("g", "s", s.MemberEpoch, static("j")), protocol.UnknownMemberID},
		{"an instance of another", newBeat("g", "a", s.MemberEpoch, static("i")), protocol.FencedInstanceID},
		{"an instance of another left", newBeat("g", "a", -1, static("i")), protocol.FencedInstanceID},
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			before := len(r.log)
			resp := ask[*kmsg.ConsumerGroupHeartbeatResponse](r, row.req)
			wantCode(t, resp.ErrorCode, row.want)
			if resp.ErrorMessage == nil || *resp.ErrorMessage == "" {
				t.Error("the answer does not say why")
			}
			if len(r.log) != before {
				t.Errorf("a refused request made %d records", len(r.log)-before)
			}
		})
	}
	if _, ok := r.c.groups["h"]; ok {
		t.Error("a refused request made a group")
	}
}

func TestConsumer_V0GetsItsIDFromTheCoordinator(t *testing.T) {
	r := newRig(t)
	r.topics.set("orders", 1)
	resp := r.beat("g", "", 0, names("orders"), func(req *kmsg.ConsumerGroupHeartbeatRequest) { req.Version = 0 })
	wantCode(t, resp.ErrorCode, protocol.None)
	if resp.MemberID == nil || *resp.MemberID == "" {
		t.Error("no member id")
	}
}

func TestConsumer_EpochOfALostAnswer(t *testing.T) {
	r := newRig(t)
	r.topics.set("orders", 4)
	all := given(r.beat("g", "a", 0, names("orders")))
	r.beat("g", "b", 0, names("orders"))
	keeps := given(r.beat("g", "a", 1, owning(all)))
	r.beat("g", "a", 1, owning(keeps)) // the answer with epoch 2 is lost
	again := r.beat("g", "a", 1, owning(keeps))
	if wantCode(t, again.ErrorCode, protocol.None); again.MemberEpoch != 2 {
		t.Errorf("epoch %d", again.MemberEpoch)
	}
	// With what it has given up, or without saying what it owns, it is fenced.
	wantCode(t, r.beat("g", "a", 1, owning(all)).ErrorCode, protocol.FencedMemberEpoch)
	wantCode(t, r.beat("g", "a", 1).ErrorCode, protocol.FencedMemberEpoch)
	// Fenced, it comes back under the same id.
	back := r.beat("g", "a", 0, names("orders"))
	if wantCode(t, back.ErrorCode, protocol.None); back.MemberEpoch != 2 || !given(back).Equal(keeps) {
		t.Errorf("epoch %d, given %v", back.MemberEpoch, given(back))
	}
}

func TestConsumer_StaticMemberComesBack(t *testing.T) {
	r := newRig(t)
	r.topics.set("orders", 4)
	s := r.beat("g", "s", 0, names("orders"), static("i"))
	wantCode(t, r.beat("g", "s2", 0, names("orders"), static("i")).ErrorCode, protocol.UnreleasedInstanceID)

	left := r.beat("g", "s", -2, static("i"))
	if wantCode(t, left.ErrorCode, protocol.None); left.MemberEpoch != -2 {
		t.Errorf("epoch %d", left.MemberEpoch)
	}
	b := r.beat("g", "b", 0, names("orders"))
	if given(b).Size() != 0 {
		t.Errorf("b was given %v of a static member that is coming back", given(b))
	}
	epoch := r.group("g").epoch
	back := r.beat("g", "s2", 0, names("orders"), static("i"))
	wantCode(t, back.ErrorCode, protocol.None)
	if r.group("g").epoch != epoch {
		t.Error("a static member that comes back must not set off a rebalance")
	}
	if got := given(back); got.Size() != 2 || !subset(got, given(s)) {
		t.Errorf("it had %v and was given %v", given(s), got)
	}
	wantCode(t, r.beat("g", "s", s.MemberEpoch, static("i")).ErrorCode, protocol.FencedInstanceID)
}

// A heartbeat without an instance id says that it has not changed (KIP-848), not that there is none.
func TestConsumer_InstanceIDMayBeLeftOut(t *testing.T) {
	r := newRig(t)
	r.topics.set("t", 2)
	first := r.beat("g", "p1", 0, names("t"), static("i"))
	wantCode(t, r.beat("g", "p1", first.MemberEpoch).ErrorCode, protocol.None)
	wantCode(t, r.beat("g", "p1", first.MemberEpoch, static("i")).ErrorCode, protocol.None)
	wantCode(t, r.beat("g", "p2", 0, names("t"), static("i")).ErrorCode, protocol.UnreleasedInstanceID)
}

func TestConsumer_StaticMemberDoesNotComeBack(t *testing.T) {
	r := newRig(t)
	r.topics.set("orders", 4)
	r.beat("g", "s", 0, names("orders"), static("i"))
	b := r.beat("g", "b", 0, names("orders"))
	r.beat("g", "s", -2, static("i"))
	for range 5 {
		r.pass(10 * time.Second)
		b = r.beat("g", "b", b.MemberEpoch)
	}
	if k := r.group("g"); len(k.members) != 1 || k.members["b"].assigned.assignment().Size() != 4 {
		t.Errorf("members %v", describeBody(k))
	}
}

func TestConsumer_SessionAndRevocationEnd(t *testing.T) {
	r := newRig(t)
	r.topics.set("orders", 4)
	all := given(r.beat("g", "a", 0, names("orders")))
	b := r.beat("g", "b", 0, names("orders"))
	r.beat("g", "a", 1, owning(all)) // told to give up two; never does
	for range 6 {
		r.pass(9 * time.Second)
		r.beat("g", "a", 1, owning(all))
		b = r.beat("g", "b", b.MemberEpoch)
	}
	if r.group("g").members["a"] == nil {
		t.Fatal("a is out before its rebalance timeout")
	}
	r.pass(9 * time.Second)
	if r.group("g").members["a"] != nil {
		t.Fatal("a has not given up its partitions and is still in")
	}
	wantCode(t, r.beat("g", "a", 1, owning(all)).ErrorCode, protocol.UnknownMemberID)
	if got := given(r.beat("g", "b", b.MemberEpoch)); got.Size() != 4 {
		t.Errorf("b was given %v", got)
	}
	r.pass(45 * time.Second)
	if k := r.group("g"); len(k.members) != 0 || k.state() != "Empty" {
		t.Errorf("%d members, %s, after the session", len(k.members), k.state())
	}
}

func TestConsumer_TopicsChange(t *testing.T) {
	r := newRig(t)
	orders := r.topics.set("orders", 1)
	a := r.beat("g", "a", 0, names("orders", "later"))
	r.topics.set("orders", 3)
	a = r.beat("g", "a", a.MemberEpoch)
	if got := given(a); len(got[orders]) != 3 || a.MemberEpoch != 2 {
		t.Fatalf("new partitions: given %v in epoch %d", got, a.MemberEpoch)
	}
	later := r.topics.set("later", 2)
	a = r.beat("g", "a", a.MemberEpoch)
	if got := given(a); len(got[later]) != 2 {
		t.Fatalf("new topic: given %v", got)
	}
	r.topics.set("unrelated", 1)
	if resp := r.beat("g", "a", a.MemberEpoch); resp.MemberEpoch != a.MemberEpoch {
		t.Errorf("a topic that nobody subscribes to bumped the epoch")
	}
	r.topics.drop("orders")
	a = r.beat("g", "a", a.MemberEpoch)
	if got := given(a); len(got) != 1 || len(got[later]) != 2 {
		t.Fatalf("deleted topic: given %v", got)
	}
	a = r.beat("g", "a", a.MemberEpoch, owning(given(a)))
	if k := r.group("g"); a.MemberEpoch != k.epoch || k.state() != "Stable" {
		t.Errorf("epoch %d of %d, %s", a.MemberEpoch, k.epoch, k.state())
	}
}

func TestConsumer_RegularExpression(t *testing.T) {
	r := newRig(t)
	r.topics.set("orders-eu", 1)
	r.topics.set("orders-us", 1)
	r.topics.set("reorders-eu", 1)
	a := r.beat("g", "a", 0, regex("orders-.*"))
	if got := given(a); got.Size() != 2 {
		t.Fatalf("given %v; the whole name has to match", got)
	}
	r.topics.set("orders-as", 1)
	r.pass(11 * time.Second)
	a = r.beat("g", "a", a.MemberEpoch)
	if got := given(a); got.Size() != 3 {
		t.Fatalf("a new topic that matches: given %v", got)
	}
	if subscribed, known := r.group("g").subscribes("orders-as"); !subscribed || !known {
		t.Error("the group is not known to subscribe to what its expression matches")
	}
	// By a name in addition, then by names alone.
	a = r.beat("g", "a", a.MemberEpoch, names("reorders-eu"))
	if got := given(a); got.Size() != 4 {
		t.Fatalf("an expression and a name: given %v", got)
	}
	a = r.beat("g", "a", a.MemberEpoch, names("reorders-eu"), regex(""))
	if got := given(a); got.Size() != 1 || len(r.group("g").regexes) != 0 {
		t.Fatalf("given %v, expressions %v", got, r.group("g").regexes)
	}
}

func TestConsumer_AssignmentInterval(t *testing.T) {
	r := newRig(t, func(cfg *Config) { cfg.Consumer.AssignmentInterval = time.Second })
	r.topics.set("orders", 6)
	a := r.beat("g", "a", 0, names("orders"))
	if given(a).Size() != 6 {
		t.Fatalf("the first assignment is not to wait: %v", given(a))
	}
	r.pass(100 * time.Millisecond)
	b := r.beat("g", "b", 0, names("orders"))
	c := r.beat("g", "c", 0, names("orders"))
	k := r.group("g")
	if k.state() != "Assigning" || k.epoch != 3 || k.targetEpoch != 1 || b.MemberEpoch != 1 || c.MemberEpoch != 1 {
		t.Fatalf("%s, epoch %d, target %d, members %d, %d", k.state(), k.epoch, k.targetEpoch, b.MemberEpoch, c.MemberEpoch)
	}
	r.pass(900 * time.Millisecond)
	if k.targetEpoch != 3 || k.target["b"].Size() != 2 || k.target["c"].Size() != 2 {
		t.Fatalf("target %d: %v", k.targetEpoch, k.target)
	}
	// A subscription that is given up takes effect before the next target.
	r.pass(10 * time.Millisecond)
	a = r.beat("g", "a", 1, owning(given(a)))
	a = r.beat("g", "a", 1, owning(given(a)))
	if got := given(r.beat("g", "a", a.MemberEpoch, names())); got.Size() != 0 || r.group("g").state() != "Assigning" {
		t.Errorf("given %v, %s", got, r.group("g").state())
	}
}

func TestConsumer_AssignorIsVotedFor(t *testing.T) {
	r := newRig(t)
	one, two := r.topics.set("one", 2), r.topics.set("two", 2)
	describe := func() string {
		req := kmsg.NewPtrConsumerGroupDescribeRequest()
		req.Version, req.Groups = 1, []string{"g"}
		return ask[*kmsg.ConsumerGroupDescribeResponse](r, req).Groups[0].AssignorName
	}
	r.beat("g", "a", 0, names("one", "two"), by("range"))
	if got := describe(); got != "range" {
		t.Errorf("assignor %s", got)
	}
	r.beat("g", "b", 0, names("one", "two"))
	want := assignor.Assignment{one: {0}, two: {0}}
	if got := r.group("g").target["a"]; !got.Equal(want) {
		t.Errorf("target %v, want %v by range", got, want)
	}
	r.beat("g", "c", 0, names("one", "two"), by("uniform"))
	r.beat("g", "d", 0, names("one", "two"), by("uniform"))
	if got := describe(); got != "uniform" {
		t.Errorf("assignor %s", got)
	}
}

func TestConsumer_Failover(t *testing.T) {
	r := newRig(t)
	r.topics.set("orders", 4)
	all := given(r.beat("g", "a", 0, names("orders"), regex("x.*")))
	r.beat("g", "b", 0, names("orders"))
	keeps := given(r.beat("g", "a", 1, owning(all)))
	r.failover()
	r.pass(44 * time.Second) // sessions begin anew
	if a := r.beat("g", "a", 1, owning(keeps)); a.MemberEpoch != 2 {
		t.Errorf("a: epoch %d", a.MemberEpoch)
	}
	if b := r.beat("g", "b", 2); given(b).Size() != 2 {
		t.Errorf("b: given %v", given(b))
	}
	// The time to give up partitions begins anew, too.
	r.beat("g", "c", 0, names("orders"))
	r.beat("g", "a", 2, owning(keeps))
	r.failover()
	for range 7 {
		r.pass(9 * time.Second)
		r.beat("g", "a", 2, owning(keeps))
	}
	if r.group("g").members["a"] != nil && r.group("g").members["a"].state == memberUnrevoked {
		t.Error("a is in the group although it has not given up what it was told to")
	}
}

func TestConsumer_Leave(t *testing.T) {
	r := newRig(t)
	r.topics.set("orders", 4)
	r.beat("g", "a", 0, names("orders"))
	b := r.beat("g", "b", 0, names("orders"))
	if resp := r.beat("g", "a", -1); resp.MemberEpoch != -1 || resp.ErrorCode != 0 {
		t.Errorf("answered %+v", resp)
	}
	if got := given(r.beat("g", "b", b.MemberEpoch)); got.Size() != 4 {
		t.Errorf("b was given %v", got)
	}
	r.beat("g", "b", -1)
	if state := r.group("g").state(); state != "Empty" {
		t.Errorf("state %s", state)
	}
	if len(r.c.timers.byKey) != 1 { // the retention's
		t.Errorf("timers are left: %v", r.c.timers.byKey)
	}
}

func subset(a, b assignor.Assignment) bool {
	for topic, partitions := range a {
		for _, p := range partitions {
			if !b.Has(topic, p) {
				return false
			}
		}
	}
	return true
}

// A group's own settings hold from a member's next heartbeat on.
func TestConsumer_SettingsOfAGroup(t *testing.T) {
	var session, heartbeat time.Duration
	r := newRig(t, func(c *Config) {
		c.Consumer.OfGroup = func(id string) (time.Duration, time.Duration) {
			if id == "g" {
				return session, heartbeat
			}
			return 0, 0
		}
	})
	r.topics.set("t", 1)
	for _, id := range []string{"g", "h"} {
		if a := r.beat(id, "a", 0, names("t")); a.HeartbeatIntervalMillis != 5000 {
			t.Errorf("%s: heartbeats of %d ms without a setting", id, a.HeartbeatIntervalMillis)
		}
	}
	session, heartbeat = 60*time.Second, 7*time.Second
	for id, want := range map[string]int32{"g": 7000, "h": 5000} {
		if a := r.beat(id, "a", 1); a.ErrorCode != 0 || a.HeartbeatIntervalMillis != want {
			t.Errorf("%s: code %d, heartbeats of %d ms, want %d", id, a.ErrorCode, a.HeartbeatIntervalMillis, want)
		}
	}
	r.pass(50 * time.Second)
	for id, want := range map[string]protocol.Code{"g": protocol.None, "h": protocol.UnknownMemberID} {
		if a := r.beat(id, "a", 1); protocol.Code(a.ErrorCode) != want {
			t.Errorf("%s after 50 s: %d, want %v", id, a.ErrorCode, want)
		}
	}
}
