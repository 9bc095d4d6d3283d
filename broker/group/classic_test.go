package group_test

import (
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/stelemq/stele/broker/group"
	"github.com/stelemq/stele/protocol"
)

func TestJoin_FirstMembersWaitForOthers(t *testing.T) {
	r := newRig(t, func(c *group.Config) { c.InitialRebalanceDelay = 3 * time.Second })
	_, a := r.enter()
	r.pass(2 * time.Second)
	_, b := r.enter()
	r.pass(2 * time.Second)
	if a.ok || b.ok {
		t.Fatal("the join phase ended although somebody had come in the meantime")
	}
	r.pass(2 * time.Second)
	if x, y := a.get(), b.get(); x.Generation != 1 || y.Generation != 1 || len(x.Members) != 2 || len(y.Members) != 0 {
		t.Errorf("answers %+v and %+v, want one generation, and the members for the leader alone", x, y)
	}
}

func TestJoin_Refusals(t *testing.T) {
	for name, row := range map[string]struct {
		change func(*kmsg.JoinGroupRequest)
		want   protocol.Code
	}{
		"no group":                 {func(q *kmsg.JoinGroupRequest) { q.Group = "" }, protocol.InvalidGroupID},
		"session too short":        {func(q *kmsg.JoinGroupRequest) { q.SessionTimeoutMillis = 5999 }, protocol.InvalidSessionTimeout},
		"session too long":         {func(q *kmsg.JoinGroupRequest) { q.SessionTimeoutMillis = 1_800_001 }, protocol.InvalidSessionTimeout},
		"unknown member":           {func(q *kmsg.JoinGroupRequest) { q.MemberID = "who" }, protocol.UnknownMemberID},
		"unknown member, no group": {func(q *kmsg.JoinGroupRequest) { q.Group, q.MemberID = "h", "who" }, protocol.UnknownMemberID},
		"other protocol type":      {func(q *kmsg.JoinGroupRequest) { q.ProtocolType = "connect" }, protocol.InconsistentGroupProtocol},
		"no protocol in common": {func(q *kmsg.JoinGroupRequest) {
			q.Protocols = []kmsg.JoinGroupRequestProtocol{{Name: "sticky"}}
		}, protocol.InconsistentGroupProtocol},
		"no protocols, new group": {func(q *kmsg.JoinGroupRequest) { q.Group, q.Protocols = "h", nil }, protocol.InconsistentGroupProtocol},
		"no type, new group":      {func(q *kmsg.JoinGroupRequest) { q.Group, q.ProtocolType = "h", "" }, protocol.InconsistentGroupProtocol},
		"group is full":           {func(*kmsg.JoinGroupRequest) {}, protocol.GroupMaxSizeReached},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t, func(c *group.Config) {
				if row.want == protocol.GroupMaxSizeReached {
					c.MaxSize = 1
				}
			})
			r.stable(1)
			req := joinRequest("")
			row.change(req)
			wantCode(t, "join", r.join(req).get().ErrorCode, row.want)
			if d := r.describe(); d.State != "Stable" || len(d.Members) != 1 {
				t.Errorf("the group is %s with %d members after it", d.State, len(d.Members))
			}
		})
	}
}

func TestJoin_VotesChooseProtocol(t *testing.T) {
	r := newRig(t, nil)
	a, _ := r.enter("cooperative", "range", "roundrobin")
	_, _ = r.enter("roundrobin", "range")
	got := r.join(joinRequest(a, "cooperative", "range", "roundrobin")).get()
	if *got.Protocol != "range" && *got.Protocol != "roundrobin" {
		t.Errorf("protocol %q, want one that both support", *got.Protocol)
	}
	r2 := newRig(t, nil)
	x, _ := r2.enter("range", "roundrobin")
	y, _ := r2.enter("roundrobin", "range")
	_ = r2.join(joinRequest(x, "range", "roundrobin"))
	z, last := r2.enter("roundrobin", "range")
	_ = z
	_ = r2.join(joinRequest(x, "range", "roundrobin"))
	_ = r2.join(joinRequest(y, "roundrobin", "range"))
	if p := *last.get().Protocol; p != "roundrobin" {
		t.Errorf("protocol %q, want roundrobin by two votes of three", p)
	}
}

func TestGroup_OneGeneration(t *testing.T) {
	r := newRig(t, nil)
	members, generation := r.stable(3)
	for i, m := range members {
		if got := string(r.sync(m, generation, nil).get().MemberAssignment); got != "a"+string(rune('0'+i)) {
			t.Errorf("assignment of member %d is %q", i, got)
		}
		if code := r.heartbeat(m, generation); code != protocol.None {
			t.Errorf("heartbeat of member %d: %v", i, code)
		}
	}
	d := r.describe()
	if d.State != "Stable" || d.Protocol != "range" || d.ProtocolType != "consumer" || len(d.Members) != 3 || string(d.Members[1].MemberAssignment) != "a1" ||
		d.Members[0].ClientHost != "/10.0.0.1" {
		t.Errorf("described as %+v", d)
	}
}

// Nobody learns of an assignment that is not committed.
func TestSync_WaitsForTheRecord(t *testing.T) {
	r := newRig(t, nil)
	id, a := r.enter()
	generation := a.get().Generation
	r.hold = true
	s := r.sync(id, generation, map[string]string{id: "x"})
	if s.ok {
		t.Fatal("the assignment was told before it was committed")
	}
	r.failOver()
	wantCode(t, "sync after the failure", s.get().ErrorCode, protocol.NotCoordinator)
	r.hold = false
	wantCode(t, "sync at the next coordinator", r.sync(id, generation, nil).get().ErrorCode, protocol.UnknownMemberID)
}

func TestSync_Refusals(t *testing.T) {
	r := newRig(t, nil)
	members, generation := r.stable(2)
	for name, row := range map[string]struct {
		change func(*kmsg.SyncGroupRequest)
		want   protocol.Code
	}{
		"no group":       {func(q *kmsg.SyncGroupRequest) { q.Group = "" }, protocol.InvalidGroupID},
		"unknown group":  {func(q *kmsg.SyncGroupRequest) { q.Group = "h" }, protocol.UnknownMemberID},
		"unknown member": {func(q *kmsg.SyncGroupRequest) { q.MemberID = "who" }, protocol.UnknownMemberID},
		"old generation": {func(q *kmsg.SyncGroupRequest) { q.Generation-- }, protocol.IllegalGeneration},
		"other protocol": {func(q *kmsg.SyncGroupRequest) { s := "sticky"; q.Protocol = &s }, protocol.InconsistentGroupProtocol},
		"other type":     {func(q *kmsg.SyncGroupRequest) { s := "connect"; q.ProtocolType = &s }, protocol.InconsistentGroupProtocol},
	} {
		req := kmsg.NewPtrSyncGroupRequest()
		req.Version, req.Group, req.MemberID, req.Generation = 5, "g", members[1], generation
		row.change(req)
		wantCode(t, name, ask[*kmsg.SyncGroupResponse](r, req).get().ErrorCode, row.want)
	}
	r.enter()
	wantCode(t, "sync while others join", r.sync(members[1], generation, nil).get().ErrorCode, protocol.RebalanceInProgress)
}

func TestSession_EndsWithoutHeartbeats(t *testing.T) {
	r := newRig(t, nil)
	members, generation := r.stable(2)
	for range 4 {
		r.pass(4 * time.Second)
		if code := r.heartbeat(members[0], generation); code != protocol.None {
			if code != protocol.RebalanceInProgress {
				t.Fatalf("heartbeat: %v", code)
			}
			break
		}
	}
	a := r.join(joinRequest(members[0])).get()
	if a.Generation != generation+1 || len(a.Members) != 1 {
		t.Errorf("after the other's session: %+v", a)
	}
	if code := r.heartbeat(members[1], generation); code != protocol.UnknownMemberID {
		t.Errorf("heartbeat of the one that has gone: %v", code)
	}
}

func TestRebalance_DropsWhoDoesNotJoinAgain(t *testing.T) {
	r := newRig(t, nil)
	members, _ := r.stable(2)
	_, a := r.enter()
	r.join(joinRequest(members[0]))
	for range 9 { // it lives, but does not join
		r.pass(3 * time.Second)
		_ = r.heartbeat(members[1], 2)
	}
	if a.ok {
		t.Fatal("the join phase ended before the rebalance timeout")
	}
	r.pass(4 * time.Second)
	if got := a.get(); got.Generation != 3 || got.LeaderID != members[0] {
		t.Errorf("answer %+v", got)
	}
	if d := r.describe(); len(d.Members) != 2 {
		t.Errorf("%d members, want 2", len(d.Members))
	}
}

func TestRebalance_DropsWhoDoesNotSync(t *testing.T) {
	r := newRig(t, nil)
	leader, _ := r.stable(1)
	id, _ := r.enter()
	g := r.join(joinRequest(leader[0])).get().Generation
	r.sync(leader[0], g, nil).get()
	for range 10 {
		r.pass(3500 * time.Millisecond)
		_ = r.heartbeat(leader[0], g)
		_ = r.heartbeat(id, g)
	}
	if code := r.heartbeat(id, g); code != protocol.UnknownMemberID {
		t.Errorf("heartbeat of a member that never synced: %v", code)
	}
}

func TestLeave(t *testing.T) {
	r := newRig(t, nil)
	members, generation := r.stable(2)
	req := kmsg.NewPtrLeaveGroupRequest()
	req.Version, req.Group = 5, "g"
	req.Members = []kmsg.LeaveGroupRequestMember{{MemberID: members[1]}, {MemberID: "who"}}
	resp := ask[*kmsg.LeaveGroupResponse](r, req).get()
	wantCode(t, "leave", resp.Members[0].ErrorCode, protocol.None)
	wantCode(t, "leave of nobody", resp.Members[1].ErrorCode, protocol.UnknownMemberID)
	if code := r.heartbeat(members[0], generation); code != protocol.RebalanceInProgress {
		t.Errorf("heartbeat after another has left: %v", code)
	}
	old := kmsg.NewPtrLeaveGroupRequest()
	old.Version, old.Group, old.MemberID = 1, "g", members[0]
	wantCode(t, "leave v1", ask[*kmsg.LeaveGroupResponse](r, old).get().ErrorCode, protocol.None)
	if d := r.describe(); d.State != "Empty" || len(d.Members) != 0 {
		t.Errorf("described as %+v", d)
	}
	wantCode(t, "leave twice", ask[*kmsg.LeaveGroupResponse](r, old).get().ErrorCode, protocol.UnknownMemberID)
}

func staticJoin(member, instance string) *kmsg.JoinGroupRequest {
	req := joinRequest(member)
	req.InstanceID = &instance
	return req
}

func TestStatic_ReplacedWithoutRebalance(t *testing.T) {
	for name, row := range map[string]struct {
		version int16
		skip    bool
	}{"v9": {9, true}, "v7": {7, false}} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t, nil)
			first := r.join(staticJoin("", "one")).get()
			r.sync(first.MemberID, 1, map[string]string{first.MemberID: "mine"}).get()
			again := staticJoin("", "one")
			again.Version = row.version
			second := r.join(again).get()
			if second.Generation != 1 || second.MemberID == first.MemberID || second.SkipAssignment != row.skip || (second.LeaderID == second.MemberID) != row.skip {
				t.Errorf("answer %+v", second)
			}
			if got := string(r.sync(second.MemberID, 1, nil).get().MemberAssignment); got != "mine" {
				t.Errorf("assignment %q", got)
			}
			for what, code := range map[string]protocol.Code{
				"heartbeat": r.heartbeat(first.MemberID, 1), "commit": r.commitOffset(first.MemberID, 1, 1),
			} {
				if code != protocol.UnknownMemberID { // they do not name their instance
					t.Errorf("%s of the one before: %v", what, code)
				}
			}
			hb := kmsg.NewPtrHeartbeatRequest()
			one := "one"
			hb.Version, hb.Group, hb.MemberID, hb.Generation, hb.InstanceID = 4, "g", first.MemberID, 1, &one
			wantCode(t, "heartbeat of the one before", ask[*kmsg.HeartbeatResponse](r, hb).get().ErrorCode, protocol.FencedInstanceID)
			wantCode(t, "join of the one before", r.join(staticJoin(first.MemberID, "one")).get().ErrorCode, protocol.FencedInstanceID)
			r.failOver()
			if code := r.heartbeat(second.MemberID, 1); code != protocol.None {
				t.Errorf("heartbeat at the next coordinator: %v", code)
			}
		})
	}
}

func TestFailOver_KeepsMembersGenerationAndOffsets(t *testing.T) {
	r := newRig(t, nil)
	members, generation := r.stable(3)
	if code := r.commitOffset(members[1], generation, 42); code != protocol.None {
		t.Fatal(code)
	}
	before := r.describe()
	r.failOver()
	after := r.describe()
	if after.State != "Stable" || len(after.Members) != len(before.Members) || r.committed(0) != 42 {
		t.Errorf("after: %+v, committed %d", after, r.committed(0))
	}
	for i, m := range members {
		if code := r.heartbeat(m, generation); code != protocol.None {
			t.Errorf("heartbeat of member %d: %v", i, code)
		}
		if got := string(r.sync(m, generation, nil).get().MemberAssignment); got != string(before.Members[i].MemberAssignment) {
			t.Errorf("assignment of member %d: %q, was %q", i, got, before.Members[i].MemberAssignment)
		}
	}
	r.pass(11 * time.Second)
	if d := r.describe(); len(d.Members) != 0 {
		t.Errorf("%d members live on without heartbeats", len(d.Members))
	}
}

// A replica that led and leads no more goes back to what is recorded.
func TestResign_IsWhatTheRecordsSay(t *testing.T) {
	r := newRig(t, nil)
	members, generation := r.stable(2)
	_, third := r.enter() // a rebalance that nobody will finish
	r.c.Resign(protocol.NotCoordinator)
	wantCode(t, "the join that waited", third.get().ErrorCode, protocol.NotCoordinator)
	r.c.Lead(r.now)
	for _, m := range members {
		if code := r.heartbeat(m, generation); code != protocol.None {
			t.Errorf("heartbeat: %v", code)
		}
	}
	if d := r.describe(); d.State != "Stable" || len(d.Members) != 2 {
		t.Errorf("described as %+v", d)
	}
}

func TestNewMember_IsDroppedWhenItNeverComesBack(t *testing.T) {
	r := newRig(t, nil)
	members, _ := r.stable(1)
	r.join(joinRequest("")).get() // is told its id and forgets it
	a := r.join(joinRequest(members[0]))
	if a.ok {
		t.Fatal("the join phase did not wait for the one that was told its id")
	}
	r.pass(11 * time.Second)
	a.get()
}
