package group

import (
	"testing"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/stelemq/stele/broker/group/assignor"
	"github.com/stelemq/stele/protocol"
)

func (r *rig) commitOffsets(version int16, member string, epoch int32, topic TopicID, partitions ...int32) protocol.Code {
	r.t.Helper()
	req := kmsg.NewPtrOffsetCommitRequest()
	req.Version, req.Group, req.MemberID, req.Generation = version, "g", member, epoch
	name, _ := r.topics.TopicByID(topic)
	t := kmsg.OffsetCommitRequestTopic{Topic: name.Name}
	if version >= 10 {
		t.TopicID = topic
	}
	for _, p := range partitions {
		part := kmsg.NewOffsetCommitRequestTopicPartition()
		part.Partition, part.Offset = p, 7
		t.Partitions = append(t.Partitions, part)
	}
	req.Topics = append(req.Topics, t)
	return protocol.Code(ask[*kmsg.OffsetCommitResponse](r, req).Topics[0].Partitions[0].ErrorCode)
}

// Commits by the epoch: the member's own, an older one that covers the partitions (KIP-1251), and all others.
func TestConsumer_CommitsByEpoch(t *testing.T) {
	r := newRig(t)
	topic := r.topics.set("orders", 4)
	all := given(r.beat("g", "a", 0, names("orders")))
	b := r.beat("g", "b", 0, names("orders"))
	keeps := given(r.beat("g", "a", 1, owning(all)))
	gone := assignor.Assignment{topic: {}}
	for _, p := range all[topic] {
		if !keeps.Has(topic, p) {
			gone[topic] = append(gone[topic], p)
		}
	}
	want := func(what string, got, want protocol.Code) {
		t.Helper()
		if got != want {
			t.Errorf("%s: %v, want %v", what, got, want)
		}
	}
	want("what is to be given up", r.commitOffsets(9, "a", 1, topic, gone[topic]...), protocol.None)
	r.beat("g", "a", 1, owning(keeps)) // a is in epoch 2 and does not know it yet
	for _, version := range []int16{9, 10} {
		want("an older epoch, partitions of which are still its own", r.commitOffsets(version, "a", 1, topic, keeps[topic]...), protocol.None)
		want("an older epoch, partitions that it has given up", r.commitOffsets(version, "a", 1, topic, gone[topic]...), protocol.StaleMemberEpoch)
		want("its epoch, partitions that it has given up", r.commitOffsets(version, "a", 2, topic, gone[topic]...), protocol.None) // as Kafka
		want("a later epoch", r.commitOffsets(version, "a", 3, topic, keeps[topic]...), protocol.StaleMemberEpoch)
		want("a member that is not there", r.commitOffsets(version, "x", 2, topic, 0), protocol.UnknownMemberID)
		want("nobody, while there are members", r.commitOffsets(version, "", -1, topic, 0), protocol.UnknownMemberID)
	}
	want("a version that does not know epochs", r.commitOffsets(8, "a", 2, topic, 0), protocol.UnsupportedVersion)

	b = r.beat("g", "b", b.MemberEpoch)
	want("an epoch before the partition was given to it", r.commitOffsets(9, "b", 1, topic, gone[topic]...), protocol.StaleMemberEpoch)
	want("its own", r.commitOffsets(9, "b", b.MemberEpoch, topic, gone[topic]...), protocol.None)

	// The same after the records alone.
	r.failover()
	want("after a failover", r.commitOffsets(9, "a", 1, topic, keeps[topic]...), protocol.None)
	want("after a failover, given up", r.commitOffsets(9, "a", 1, topic, gone[topic]...), protocol.StaleMemberEpoch)

	r.beat("g", "a", -1)
	r.beat("g", "b", -1)
	want("nobody, in an empty group", r.commitOffsets(9, "", -1, topic, 0), protocol.None)
}

func TestConsumer_FetchesByEpoch(t *testing.T) {
	r := newRig(t)
	topic := r.topics.set("orders", 1)
	a := r.beat("g", "a", 0, names("orders"))
	wantCode(t, int16(r.commitOffsets(9, "a", a.MemberEpoch, topic, 0)), protocol.None)
	fetch := func(member *string, epoch int32) protocol.Code {
		req := kmsg.NewPtrOffsetFetchRequest()
		req.Version = 9
		g := kmsg.NewOffsetFetchRequestGroup()
		g.Group, g.MemberID, g.MemberEpoch = "g", member, epoch
		g.Topics = []kmsg.OffsetFetchRequestGroupTopic{{Topic: "orders", Partitions: []int32{0}}}
		req.Groups = append(req.Groups, g)
		return protocol.Code(ask[*kmsg.OffsetFetchResponse](r, req).Groups[0].ErrorCode)
	}
	member, other := "a", "x"
	for _, row := range []struct {
		member *string
		epoch  int32
		want   protocol.Code
	}{
		{nil, -1, protocol.None},
		{&member, 1, protocol.None},
		{&member, 2, protocol.StaleMemberEpoch},
		{&member, 0, protocol.StaleMemberEpoch},
		{&other, 1, protocol.UnknownMemberID},
	} {
		if got := fetch(row.member, row.epoch); got != row.want {
			t.Errorf("epoch %d: %v, want %v", row.epoch, got, row.want)
		}
	}
}
