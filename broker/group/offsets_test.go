package group_test

import (
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/stelemq/stele/broker/group"
	"github.com/stelemq/stele/protocol"
)

func TestCommit_Codes(t *testing.T) {
	for name, row := range map[string]struct {
		member     func(members []string) string
		generation int32 // added to the group's
		change     func(*kmsg.OffsetCommitRequest)
		prepare    func(*rig, []string)
		want       protocol.Code
	}{
		"a member":                {want: protocol.None},
		"old generation":          {generation: -1, want: protocol.IllegalGeneration},
		"nobody":                  {member: func([]string) string { return "who" }, want: protocol.UnknownMemberID},
		"simple, while there are": {change: func(q *kmsg.OffsetCommitRequest) { q.MemberID, q.Generation = "", -1 }, want: protocol.UnknownMemberID},
		"v0, while there are":     {change: func(q *kmsg.OffsetCommitRequest) { q.Version = 0 }, want: protocol.UnknownMemberID},
		"no group":                {change: func(q *kmsg.OffsetCommitRequest) { q.Group = "" }, want: protocol.InvalidGroupID},
		"unknown group, v8":       {change: func(q *kmsg.OffsetCommitRequest) { q.Group = "h" }, want: protocol.IllegalGeneration},
		"unknown group, v9":       {change: func(q *kmsg.OffsetCommitRequest) { q.Group, q.Version = "h", 9 }, want: protocol.GroupIDNotFound},
		"unknown group, simple":   {change: func(q *kmsg.OffsetCommitRequest) { q.Group, q.MemberID, q.Generation = "h", "", -1 }, want: protocol.None},
		"while others join":       {prepare: func(r *rig, _ []string) { r.enter() }, want: protocol.None},
		"before the assignment":   {prepare: func(r *rig, m []string) { r.join(joinRequest(m[0])) }, generation: 1, want: protocol.RebalanceInProgress},
		"metadata too long": {change: func(q *kmsg.OffsetCommitRequest) {
			s := strings.Repeat("x", 4097)
			q.Topics[0].Partitions[0].Metadata = &s
		}, want: protocol.OffsetMetadataTooLarge},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t, nil)
			members, generation := r.stable(1)
			if row.prepare != nil {
				row.prepare(r, members)
			}
			req := commitRequest(members[0], generation+row.generation, 5)
			if row.member != nil {
				req.MemberID = row.member(members)
			}
			if row.change != nil {
				row.change(req)
			}
			wantCode(t, "commit", ask[*kmsg.OffsetCommitResponse](r, req).get().Topics[0].Partitions[0].ErrorCode, row.want)
		})
	}
}

func TestFetch_SeesOnlyWhatItMayAndSurvives(t *testing.T) {
	r := newRig(t, nil)
	req := commitRequest("", -1, 9)
	text := "here"
	req.Topics[0].Partitions[0].Metadata = &text
	r.hold = true
	a := ask[*kmsg.OffsetCommitResponse](r, req)
	fetch := kmsg.NewPtrOffsetFetchRequest()
	fetch.Version = 9
	fetch.Groups = []kmsg.OffsetFetchRequestGroup{{Group: "g", MemberEpoch: -1}, {Group: "none", MemberEpoch: -1}}
	f := ask[*kmsg.OffsetFetchResponse](r, fetch)
	if a.ok || f.ok {
		t.Fatal("answered before the commit")
	}
	r.commit(2)
	got := f.get()
	p := got.Groups[0].Topics[0].Partitions[0]
	if p.Offset != 9 || p.LeaderEpoch != 7 || *p.Metadata != "here" || len(got.Groups[1].Topics) != 0 {
		t.Errorf("fetched %+v", got)
	}
	r.failOver()
	if r.hold = false; r.committed(0) != 9 || r.committed(1) != -1 {
		t.Errorf("after a failure: %d and %d", r.committed(0), r.committed(1))
	}
}

func TestDelete(t *testing.T) {
	r := newRig(t, nil)
	members, generation := r.stable(1)
	_ = r.commitOffset(members[0], generation, 5)
	del := kmsg.NewPtrDeleteGroupsRequest()
	del.Version, del.Groups = 3, []string{"g", "none", ""}
	got := ask[*kmsg.DeleteGroupsResponse](r, del).get().Groups
	wantCode(t, "with members", got[0].ErrorCode, protocol.NonEmptyGroup)
	wantCode(t, "unknown", got[1].ErrorCode, protocol.GroupIDNotFound)
	wantCode(t, "no id", got[2].ErrorCode, protocol.InvalidGroupID)

	od := kmsg.NewPtrOffsetDeleteRequest()
	od.Group = "g"
	od.Topics = []kmsg.OffsetDeleteRequestTopic{{Topic: "t", Partitions: []kmsg.OffsetDeleteRequestTopicPartition{{Partition: 0}}}}
	wantCode(t, "subscribed", ask[*kmsg.OffsetDeleteResponse](r, od).get().Topics[0].Partitions[0].ErrorCode, protocol.GroupSubscribedToTopic)
	r.pass(time.Minute)
	wantCode(t, "offset", ask[*kmsg.OffsetDeleteResponse](r, od).get().Topics[0].Partitions[0].ErrorCode, protocol.None)
	if r.committed(0) != -1 {
		t.Error("the offset is still there")
	}
	del.Groups = []string{"g"}
	wantCode(t, "empty", ask[*kmsg.DeleteGroupsResponse](r, del).get().Groups[0].ErrorCode, protocol.None)
	r.failOver()
	wantCode(t, "described", r.describe().ErrorCode, protocol.GroupIDNotFound)
}

func TestRetention_BeginsWhenTheGroupIsEmpty(t *testing.T) {
	r := newRig(t, func(c *group.Config) { c.OffsetsRetention = time.Hour })
	members, generation := r.stable(1)
	_ = r.commitOffset(members[0], generation, 5)
	for range 1000 {
		r.pass(9 * time.Second) // two and a half hours with heartbeats
		if code := r.heartbeat(members[0], generation); code != protocol.None {
			t.Fatal(code)
		}
	}
	if r.committed(0) != 5 {
		t.Fatal("the offset of a member that lives is gone")
	}
	r.pass(50 * time.Minute)
	if r.committed(0) != 5 {
		t.Fatal("the offset is gone within the retention time")
	}
	r.pass(25 * time.Minute)
	if r.committed(0) != -1 {
		t.Error("the offset is still there")
	}
	wantCode(t, "described", r.describe().ErrorCode, protocol.GroupIDNotFound)
	r.failOver()
	wantCode(t, "described by the next", r.describe().ErrorCode, protocol.GroupIDNotFound)
}

func TestRetention_OfTheCommitItself(t *testing.T) {
	r := newRig(t, nil)
	req := commitRequest("", -1, 5)
	req.Version, req.RetentionTimeMillis = 3, 60_000
	ask[*kmsg.OffsetCommitResponse](r, req).get()
	r.failOver() // the time to expire is recorded
	if r.committed(0) != 5 {
		t.Fatal("the offset is gone at once")
	}
	r.pass(20 * time.Minute)
	if r.committed(0) != -1 {
		t.Error("the offset is still there")
	}
}

func TestTopicsDeleted(t *testing.T) {
	r := newRig(t, nil)
	_ = r.commitOffset("", -1, 5)
	r.c.TopicsDeleted(func(topic string) bool { return topic == "t" })
	r.take()
	if r.committed(0) != -1 {
		t.Error("the offset of a deleted topic is still there")
	}
	r.failOver()
	if r.committed(0) != -1 {
		t.Error("it is back")
	}
}

func TestList_Filters(t *testing.T) {
	r := newRig(t, nil)
	r.stable(1)
	simple := commitRequest("", -1, 1)
	simple.Group = "simple"
	ask[*kmsg.OffsetCommitResponse](r, simple).get()
	for name, row := range map[string]struct {
		states, types []string
		want          int
	}{
		"all": {nil, nil, 2}, "stable": {[]string{"stable"}, nil, 1}, "empty": {[]string{"Empty"}, nil, 1}, "dead": {[]string{"Dead"}, nil, 0},
		"classic": {nil, []string{"Classic"}, 2}, "consumer": {nil, []string{"consumer"}, 0},
	} {
		req := kmsg.NewPtrListGroupsRequest()
		req.Version, req.StatesFilter, req.TypesFilter = 5, row.states, row.types
		if got := ask[*kmsg.ListGroupsResponse](r, req).get().Groups; len(got) != row.want {
			t.Errorf("%s: %+v, want %d", name, got, row.want)
		}
	}
}

// Values known from Java.
func TestPartitionOf(t *testing.T) {
	for id, want := range map[string]int32{"": 0, "a": 47, "app": 1, "grüße": 23, "😀": 49} {
		if got := group.PartitionOf(id, 50); got != want {
			t.Errorf("%q: %d, want %d", id, got, want)
		}
	}
}

func FuzzReplay(f *testing.F) {
	f.Add([]byte{0, 1}, []byte{0, 3})
	f.Add([]byte{0, 2, 0, 1, 'g'}, []byte{0, 3, 0, 0})
	f.Fuzz(func(_ *testing.T, key, value []byte) {
		c := group.New(group.Defaults())
		_ = c.Replay(group.Record{Key: key, Value: value})
		_ = c.Replay(group.Record{Key: key})
	})
}
