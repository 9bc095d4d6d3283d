package group

import (
	"slices"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/stelemq/stele/broker/group/assignor"
	"github.com/stelemq/stele/protocol"
)

// classicRequests builds requests of a member of the classic protocol.

func subscriptionOf(version int16, owned assignor.Assignment, r *rig, topics ...string) []byte {
	s := kmsg.NewConsumerMemberMetadata()
	s.Version, s.Topics = version, topics
	for id, partitions := range owned {
		topic, _ := r.topics.TopicByID(id)
		s.OwnedPartitions = append(s.OwnedPartitions, kmsg.ConsumerMemberMetadataOwnedPartition{Topic: topic.Name, Partitions: partitions})
	}
	return s.AppendTo(nil)
}

func newJoin(member string, metadata []byte) *kmsg.JoinGroupRequest {
	req := kmsg.NewPtrJoinGroupRequest()
	req.Version, req.Group, req.MemberID, req.ProtocolType = 9, "g", member, "consumer"
	req.SessionTimeoutMillis, req.RebalanceTimeoutMillis = 10_000, 20_000
	req.Protocols = []kmsg.JoinGroupRequestProtocol{{Name: "cooperative-sticky", Metadata: metadata}}
	return req
}

func (r *rig) sync(member string, generation int32, assign ...kmsg.SyncGroupRequestGroupAssignment) *kmsg.SyncGroupResponse {
	r.t.Helper()
	req := kmsg.NewPtrSyncGroupRequest()
	req.Version, req.Group, req.MemberID, req.Generation, req.GroupAssignment = 5, "g", member, generation, assign
	return ask[*kmsg.SyncGroupResponse](r, req)
}

func (r *rig) classicBeat(member string, generation int32) protocol.Code {
	r.t.Helper()
	req := kmsg.NewPtrHeartbeatRequest()
	req.Version, req.Group, req.MemberID, req.Generation = 4, "g", member, generation
	return protocol.Code(ask[*kmsg.HeartbeatResponse](r, req).ErrorCode)
}

func (r *rig) assignmentIn(resp *kmsg.SyncGroupResponse) assignor.Assignment {
	r.t.Helper()
	wantCode(r.t, resp.ErrorCode, protocol.None)
	o, err := r.c.readClassicAssignment(resp.MemberAssignment, 0)
	if err != nil {
		r.t.Fatal(err)
	}
	return o.assignment()
}

// classicGroupOfOne makes a classic group whose only member owns all of the topic's partitions.
func classicGroupOfOne(r *rig, metadata []byte, all assignor.Assignment) (member string) {
	r.t.Helper()
	asked := ask[*kmsg.JoinGroupResponse](r, newJoin("", slices.Clone(metadata)))
	wantCode(r.t, asked.ErrorCode, protocol.MemberIDRequired)
	joined := ask[*kmsg.JoinGroupResponse](r, newJoin(asked.MemberID, slices.Clone(metadata)))
	wantCode(r.t, joined.ErrorCode, protocol.None)
	r.sync(asked.MemberID, joined.Generation, kmsg.SyncGroupRequestGroupAssignment{
		MemberID: asked.MemberID, MemberAssignment: r.c.classicAssignment(metadata, all),
	})
	return asked.MemberID
}

func TestConsumerMigration_UpAndDown(t *testing.T) {
	r := newRig(t)
	topic := r.topics.set("orders", 4)
	all := assignor.Assignment{topic: {0, 1, 2, 3}}
	old := classicGroupOfOne(r, subscriptionOf(1, nil, r, "orders"), all)

	b := r.beat("g", "b", 0, names("orders"))
	wantCode(t, b.ErrorCode, protocol.None)
	k := r.group("g")
	if b.MemberEpoch != 2 || len(given(b)) != 0 || k.classic != 1 || k.members[old].assigned.assignment().Size() != 4 {
		t.Fatalf("epoch %d, given %v\n%s", b.MemberEpoch, given(b), describeBody(k))
	}
	// The classic member is told by its next heartbeat, says that it still owns everything, and is to keep two.
	if code := r.classicBeat(old, 1); code != protocol.RebalanceInProgress {
		t.Fatalf("heartbeat: %v", code)
	}
	join := ask[*kmsg.JoinGroupResponse](r, newJoin(old, subscriptionOf(1, all, r, "orders")))
	wantCode(t, join.ErrorCode, protocol.None)
	keeps := r.assignmentIn(r.sync(old, join.Generation))
	if join.Generation != 1 || keeps.Size() != 2 || join.LeaderID != "" {
		t.Fatalf("generation %d, leader %q, keeps %v", join.Generation, join.LeaderID, keeps)
	}
	if got := given(r.beat("g", "b", 2)); got.Size() != 0 {
		t.Fatalf("b was given %v before they were given up", got)
	}
	if code := r.classicBeat(old, 1); code != protocol.RebalanceInProgress {
		t.Fatalf("heartbeat while partitions are to be given up: %v", code)
	}
	join = ask[*kmsg.JoinGroupResponse](r, newJoin(old, subscriptionOf(1, keeps, r, "orders")))
	if again := r.assignmentIn(r.sync(old, join.Generation)); join.Generation != 2 || !again.Equal(keeps) {
		t.Fatalf("generation %d, keeps %v, then %v", join.Generation, keeps, again)
	}
	if code := r.classicBeat(old, 2); code != protocol.None {
		t.Fatalf("heartbeat when settled: %v", code)
	}
	if got := given(r.beat("g", "b", 2)); got.Size() != 2 || k.state() != "Stable" {
		t.Fatalf("b was given %v, %s", got, k.state())
	}
	wantCode(t, r.sync(old, 1).ErrorCode, protocol.IllegalGeneration)
	wantCode(t, r.sync("b", 2).ErrorCode, protocol.UnknownMemberID)

	// The last member of the consumer protocol leaves: the group is classic again, and rebalances.
	r.beat("g", "b", -1)
	g := r.c.groups["g"]
	if g.body.groupType() != typeClassic || g.body.state() != "PreparingRebalance" {
		t.Fatalf("%s %s", g.body.groupType(), g.body.state())
	}
	if code := r.classicBeat(old, 2); code != protocol.RebalanceInProgress {
		t.Fatalf("heartbeat: %v", code)
	}
	if replayed := r.replayed().groups["g"]; replayed.body.groupType() != typeClassic || replayed.body.size() != 1 {
		t.Fatalf("replayed: %s with %d members", replayed.body.groupType(), replayed.body.size())
	}
	join = ask[*kmsg.JoinGroupResponse](r, newJoin(old, subscriptionOf(1, keeps, r, "orders")))
	if join.LeaderID != old || join.Generation != 3 {
		t.Fatalf("leader %q in generation %d", join.LeaderID, join.Generation)
	}
}

func TestConsumerMigration_Policies(t *testing.T) {
	for policy, may := range map[MigrationPolicy]struct{ up, down bool }{
		MigrationBidirectional: {true, true}, MigrationUpgrade: {true, false}, MigrationDowngrade: {false, true}, MigrationDisabled: {false, false},
	} {
		t.Run(string(policy), func(t *testing.T) {
			r := newRig(t, func(cfg *Config) { cfg.Consumer.Migration = policy })
			topic := r.topics.set("orders", 4)
			classicGroupOfOne(r, subscriptionOf(1, nil, r, "orders"), assignor.Assignment{topic: {0, 1, 2, 3}})
			resp := r.beat("g", "b", 0, names("orders"))
			if up := resp.ErrorCode == 0; up != may.up {
				t.Fatalf("upgraded: %v (%v)", up, protocol.Code(resp.ErrorCode))
			}
			if !may.up {
				wantCode(t, resp.ErrorCode, protocol.GroupIDNotFound)
				return
			}
			r.beat("g", "b", -1)
			if down := r.c.groups["g"].body.groupType() == typeClassic; down != may.down {
				t.Errorf("downgraded: %v", down)
			}
		})
	}
}

func TestConsumerMigration_OtherUsersOfGroupsStay(t *testing.T) {
	r := newRig(t)
	r.topics.set("orders", 4)
	req := newJoin("", []byte{1})
	req.Version, req.ProtocolType = 3, "connect"
	r.send(req, func(kmsg.Response) {})
	wantCode(t, r.beat("g", "b", 0, names("orders")).ErrorCode, protocol.GroupIDNotFound)
	if r.c.groups["g"].body.groupType() != typeClassic {
		t.Error("a group of Connect has become a consumer group")
	}
}

func TestConsumerMigration_EmptyGroupsChangeAtOnce(t *testing.T) {
	r := newRig(t, func(cfg *Config) { cfg.Consumer.Migration = MigrationDisabled })
	topic := r.topics.set("orders", 4)
	metadata := subscriptionOf(1, nil, r, "orders")
	old := classicGroupOfOne(r, slices.Clone(metadata), assignor.Assignment{topic: {0, 1, 2, 3}})
	leave := kmsg.NewPtrLeaveGroupRequest()
	leave.Version, leave.Group, leave.Members = 4, "g", []kmsg.LeaveGroupRequestMember{{MemberID: old}}
	ask[*kmsg.LeaveGroupResponse](r, leave)
	if got := given(r.beat("g", "b", 0, names("orders"))); got.Size() != 4 {
		t.Fatalf("given %v", got)
	}
	r.beat("g", "b", -1)
	classicGroupOfOne(r, metadata, assignor.Assignment{topic: {0, 1, 2, 3}})
	if got := r.c.groups["g"].body.groupType(); got != typeClassic {
		t.Errorf("the group is %s", got)
	}
}

// A member of the classic protocol that is told to join again and does not is out, and so is one that does not sync.
func TestConsumerMigration_ClassicMembersInTime(t *testing.T) {
	r := newRig(t)
	topic := r.topics.set("orders", 4)
	old := classicGroupOfOne(r, subscriptionOf(1, nil, r, "orders"), assignor.Assignment{topic: {0, 1, 2, 3}})
	b := r.beat("g", "b", 0, names("orders"))
	for range 4 {
		_ = r.classicBeat(old, 1)
		b = r.beat("g", "b", b.MemberEpoch)
		r.pass(6 * time.Second)
	}
	if g := r.c.groups["g"]; g.body.size() != 1 {
		t.Errorf("a member that has not joined again within its rebalance timeout is still in")
	}
}

// kafka-go says version 1 and leaves out the owned partitions that version 1 added.
func TestConsumerMigration_SubscriptionCutShort(t *testing.T) {
	r := newRig(t)
	topic := r.topics.set("orders", 4)
	metadata := subscriptionOf(0, nil, r, "orders")
	metadata[1] = 1
	classicGroupOfOne(r, metadata, assignor.Assignment{topic: {0, 1, 2, 3}})
	wantCode(t, r.beat("g", "b", 0, names("orders")).ErrorCode, protocol.None)
}

// Static members keep their partitions when their process comes back with the other protocol.
func TestConsumerMigration_StaticMember(t *testing.T) {
	r := newRig(t)
	topic := r.topics.set("orders", 4)
	instance := "i"
	s := r.beat("g", "s", 0, names("orders"), static(instance))
	r.beat("g", "s", -2, static(instance))
	req := newJoin("", subscriptionOf(1, nil, r, "orders"))
	req.InstanceID = &instance
	join := ask[*kmsg.JoinGroupResponse](r, req)
	wantCode(t, join.ErrorCode, protocol.None)
	g := r.c.groups["g"]
	if g.body.groupType() != typeClassic || g.body.state() != "Stable" || join.Generation != s.MemberEpoch {
		t.Fatalf("%s %s, generation %d", g.body.groupType(), g.body.state(), join.Generation)
	}
	sync := kmsg.NewPtrSyncGroupRequest()
	sync.Version, sync.Group, sync.MemberID, sync.InstanceID, sync.Generation = 5, "g", join.MemberID, &instance, join.Generation
	if got := r.assignmentIn(ask[*kmsg.SyncGroupResponse](r, sync)); !got.Equal(assignor.Assignment{topic: {0, 1, 2, 3}}) {
		t.Errorf("it was given %v", got)
	}
	back := r.beat("g", "s3", 0, names("orders"), static(instance))
	wantCode(t, back.ErrorCode, protocol.None)
	if got := given(back); got.Size() != 4 || r.group("g").classic != 0 {
		t.Errorf("back in the consumer protocol it was given %v\n%s", got, describeBody(r.group("g")))
	}
}
