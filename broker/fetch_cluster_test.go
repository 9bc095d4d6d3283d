package broker

import (
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/stelemq/stele/broker/metadata"
	"github.com/stelemq/stele/dledger"
	"github.com/stelemq/stele/protocol"
)

// withPeer makes another broker known, by the address that clients would be sent to.
func withPeer(t *testing.T, b *testBroker, node int32, rack string) {
	t.Helper()
	_, err := b.propose(t.Context(), &metadata.RegisterBroker{
		Node: node, Rack: rack, Incarnation: "x", Endpoints: []metadata.Endpoint{{Listener: "PLAINTEXT", Host: "other", Port: 9}},
	})
	if err != nil {
		t.Fatal(err)
	}
}

func fetchOne(c *testConn, version int16, id [16]byte, offset int64, change func(*kmsg.FetchRequest)) (kmsg.FetchResponseTopicPartition, *kmsg.FetchResponse) {
	req := fetchRequest(version, "t", id, 0, offset)
	if change != nil {
		change(req)
	}
	r := ask[*kmsg.FetchResponse](c, req)
	return r.Topics[0].Partitions[0], r
}

func TestFetch_FromAFollower(t *testing.T) {
	b := startBroker(t)
	withPeer(t, b, 2, "")
	c := b.dial(t)
	id := c.createTopic("t", 1)
	c.produce("t", 0, batchOf(t, "a"))
	c.produce("t", 0, batchOf(t, "b"))
	l := b.host.log(t, "t", 0)
	l.set(func() {
		l.leader = dledger.Leadership{Leader: 2, Epoch: 6, Voters: []int32{1, 2}}
		l.follows, l.hwHeld, l.hw = true, true, 1
	})
	for offset, want := range map[int64]protocol.Code{0: 0, 1: 0, 2: protocol.OffsetNotAvailable, 3: protocol.OffsetOutOfRange} {
		p, _ := fetchOne(c, 12, id, offset, func(r *kmsg.FetchRequest) { r.MaxWaitMillis = 1 })
		if p.ErrorCode != int16(want) || want == 0 && (p.HighWatermark != 1 || (len(p.RecordBatches) > 0) != (offset == 0)) {
			t.Errorf("offset %d: %+v", offset, p)
		}
	}
	if p, _ := fetchOne(c, 10, id, 0, nil); p.ErrorCode != int16(protocol.NotLeaderOrFollower) {
		t.Errorf("a client that knows nothing of followers: %+v", p)
	}
	l.set(func() { l.follows = false })
	p, r := fetchOne(c, 16, id, 0, nil)
	if p.ErrorCode != int16(protocol.NotLeaderOrFollower) || p.CurrentLeader.LeaderID != 2 || p.CurrentLeader.LeaderEpoch != 6 ||
		len(r.Brokers) != 1 || r.Brokers[0].NodeID != 2 || r.Brokers[0].Host != "other" {
		t.Errorf("a follower that has not heard of its term: %+v %+v", p, r.Brokers)
	}
}

func TestFetch_NamesAReplicaInTheClientsRack(t *testing.T) {
	b := startBroker(t, func(o *Options) { o.Config.Rack = "a" })
	for node, rack := range map[int32]string{2: "b", 3: "b", 4: "c"} {
		withPeer(t, b, node, rack)
	}
	c := b.dial(t)
	id := c.createTopic("t", 1)
	c.produce("t", 0, batchOf(t, "x"))
	l := b.host.log(t, "t", 0)
	l.set(func() {
		l.leader.ISR = []int32{1, 2, 3}
		l.lags = map[int32]int64{2: 1, 3: 0}
	})
	for rack, want := range map[string]int32{"": -1, "a": -1, "b": 3, "c": -1, "d": -1} {
		p, _ := fetchOne(c, 12, id, 0, func(r *kmsg.FetchRequest) { r.Rack = rack })
		if p.ErrorCode != 0 || p.PreferredReadReplica != want || (len(p.RecordBatches) == 0) != (want >= 0) {
			t.Errorf("rack %q: %+v", rack, p)
		}
	}
	// Nobody in the rack has what is asked for.
	l.set(func() { l.lags = map[int32]int64{2: 1, 3: 1} })
	if p, _ := fetchOne(c, 12, id, 1, func(r *kmsg.FetchRequest) { r.Rack, r.MaxWaitMillis = "b", 1 }); p.PreferredReadReplica != -1 {
		t.Errorf("%+v", p)
	}
}

func TestLease_ALeaderThatMayBeReplacedSaysNothingOfTheEnd(t *testing.T) {
	b := startBroker(t)
	c := b.dial(t)
	id := c.createTopic("t", 1)
	c.produce("t", 0, batchOf(t, "x"))
	l := b.host.log(t, "t", 0)
	list := func(timestamp int64) protocol.Code {
		return protocol.Code(ask[*kmsg.ListOffsetsResponse](c, &kmsg.ListOffsetsRequest{Version: 7, ReplicaID: -1, Topics: []kmsg.ListOffsetsRequestTopic{{
			Topic: "t", Partitions: []kmsg.ListOffsetsRequestTopicPartition{{CurrentLeaderEpoch: -1, Timestamp: timestamp}},
		}}}).Topics[0].Partitions[0].ErrorCode)
	}
	l.set(func() { l.inLease = false })
	if code := list(timeLatest); code != protocol.NotLeaderOrFollower {
		t.Errorf("the end: %v", code)
	}
	if code := list(timeEarliest); code != protocol.None {
		t.Errorf("the beginning: %v", code)
	}
	if p, _ := fetchOne(c, 12, id, 0, nil); p.ErrorCode != 0 || len(p.RecordBatches) == 0 {
		t.Errorf("what was read from the log is right whoever leads: %+v", p)
	}
	if p, _ := fetchOne(c, 12, id, 1, func(r *kmsg.FetchRequest) { r.MaxWaitMillis = 1 }); p.ErrorCode != int16(protocol.NotLeaderOrFollower) {
		t.Errorf("at the end: %+v", p)
	}
	// The lease comes back while it is waited for.
	soon := time.AfterFunc(50*time.Millisecond, func() { l.set(func() { l.inLease = true }) })
	defer soon.Stop()
	if code := list(timeLatest); code != protocol.None {
		t.Errorf("the end, once the others have been heard: %v", code)
	}
}

func TestProduce_TellsWhoLeads(t *testing.T) {
	b := startBroker(t)
	withPeer(t, b, 2, "")
	c := b.dial(t)
	id := c.createTopic("t", 1)
	l := b.host.log(t, "t", 0)
	l.set(func() { l.leader = dledger.Leadership{Leader: -1, Epoch: 6} })
	tp, _ := b.host.machine.Image().Topic("t")
	// The leader has told this broker before its replica has heard of the election.
	b.leaders.take(2, &announcement{Incarnation: "x", Sequence: 1, Full: true, Partitions: []announced{
		{Shard: tp.Partitions[0].Shard, Leader: 2, Epoch: 7, ISR: []int32{1, 2}},
	}})
	req := produceRequest("t", 0, batchOf(t, "x"))
	req.Version, req.Topics[0].TopicID = 10, id
	r := ask[*kmsg.ProduceResponse](c, req)
	p := r.Topics[0].Partitions[0]
	if p.ErrorCode != int16(protocol.NotLeaderOrFollower) || p.CurrentLeader.LeaderID != 2 || p.CurrentLeader.LeaderEpoch != 7 ||
		len(r.Brokers) != 1 || r.Brokers[0].Port != 9 {
		t.Errorf("%+v %+v", p, r.Brokers)
	}
	if m := ask[*kmsg.MetadataResponse](c, &kmsg.MetadataRequest{Version: 9, Topics: []kmsg.MetadataRequestTopic{{Topic: &tp.Name}}}).Topics[0].Partitions[0]; m.Leader != 2 || m.LeaderEpoch != 7 || len(m.ISR) != 2 {
		t.Errorf("%+v", m)
	}
}
