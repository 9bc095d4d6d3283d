package broker

import (
	"errors"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/stelemq/stele/broker/group"
	"github.com/stelemq/stele/dledger"
	"github.com/stelemq/stele/protocol"
	"github.com/stelemq/stele/protocol/record"
)

// groupBroker runs a broker with one group coordinator, over the fake log that is returned.
func groupBroker(t *testing.T, change ...func(*Options)) (*testBroker, *testConn, *fakeLog) {
	t.Helper()
	b := startBroker(t, append([]func(*Options){func(o *Options) {
		o.Config.OffsetsTopic.Partitions, o.Config.Groups.InitialRebalanceDelay = 1, 0
	}}, change...)...)
	c := b.dial(t)
	c.createTopic("t", 2)
	found := ask[*kmsg.FindCoordinatorResponse](c, &kmsg.FindCoordinatorRequest{Version: 4, CoordinatorKeys: []string{"g"}})
	if f := found.Coordinators[0]; f.ErrorCode != 0 || f.NodeID != 1 || f.Port == 0 {
		t.Fatalf("coordinator %+v", f)
	}
	return b, c, b.host.log(t, offsetsTopic, 0)
}

func commitOf(offset int64) *kmsg.OffsetCommitRequest {
	p := kmsg.NewOffsetCommitRequestTopicPartition()
	p.Offset = offset
	return &kmsg.OffsetCommitRequest{Version: 7, Group: "g", Generation: -1, Topics: []kmsg.OffsetCommitRequestTopic{
		{Topic: "t", Partitions: []kmsg.OffsetCommitRequestTopicPartition{p}},
		{Topic: "none", Partitions: []kmsg.OffsetCommitRequestTopicPartition{p}},
	}}
}

func commitCodes(r *kmsg.OffsetCommitResponse) (known, unknown protocol.Code) {
	return protocol.Code(r.Topics[0].Partitions[0].ErrorCode), protocol.Code(r.Topics[1].Partitions[0].ErrorCode)
}

func fetchOf() *kmsg.OffsetFetchRequest {
	return &kmsg.OffsetFetchRequest{Version: 7, Group: "g", Topics: []kmsg.OffsetFetchRequestTopic{{Topic: "t", Partitions: []int32{0}}}}
}

// committedOf is what the group has committed, once the coordinator answers.
func committedOf(t *testing.T, c *testConn) int64 {
	t.Helper()
	var offset int64
	eventually(t, func() bool {
		r := ask[*kmsg.OffsetFetchResponse](c, fetchOf())
		if r.ErrorCode == 0 {
			offset = r.Topics[0].Partitions[0].Offset
		}
		return r.ErrorCode == 0
	})
	return offset
}

func TestCoordinator_CommitsAndFetches(t *testing.T) {
	b, c, l := groupBroker(t)
	if known, unknown := commitCodes(ask[*kmsg.OffsetCommitResponse](c, commitOf(5))); known != protocol.None || unknown != protocol.UnknownTopicOrPartition {
		t.Errorf("codes %v and %v", known, unknown)
	}
	if got := committedOf(t, c); got != 5 {
		t.Errorf("committed %d", got)
	}
	tp, _ := b.host.machine.Image().Topic(offsetsTopic)
	var acks []dledger.Acks
	l.set(func() { acks = slices.Clone(l.acks) })
	if tp.Configs["cleanup.policy"] != "compact" || acks[0] != dledger.AcksAll {
		t.Errorf("configs %v, acks %v", tp.Configs, acks)
	}
	// By id: what exists, and what does not.
	topic, _ := b.host.machine.Image().Topic("t")
	byID := commitOf(6)
	byID.Version = 10
	byID.Topics[0].TopicID, byID.Topics[1].TopicID = topic.ID, [16]byte{9}
	r := ask[*kmsg.OffsetCommitResponse](c, byID)
	if known, unknown := commitCodes(r); known != protocol.None || unknown != protocol.UnknownTopicID || r.Topics[0].TopicID != topic.ID {
		t.Errorf("by id: %v and %v, %+v", known, unknown, r.Topics[0])
	}
	f := ask[*kmsg.OffsetFetchResponse](c, &kmsg.OffsetFetchRequest{Version: 10, Groups: []kmsg.OffsetFetchRequestGroup{
		{Group: "g", MemberEpoch: -1, Topics: []kmsg.OffsetFetchRequestGroupTopic{{TopicID: topic.ID, Partitions: []int32{0}}, {TopicID: [16]byte{9}, Partitions: []int32{0}}}},
		{Group: "h", MemberEpoch: -1},
	}})
	if g := f.Groups[0]; g.Topics[0].Partitions[0].Offset != 6 || protocol.Code(g.Topics[1].Partitions[0].ErrorCode) != protocol.UnknownTopicID || f.Groups[1].Group != "h" {
		t.Errorf("fetched %+v", f)
	}
}

// Nobody is told of a commit that may be lost, and what the log does not hold is not remembered.
func TestCoordinator_FailedAppends(t *testing.T) {
	for name, row := range map[string]struct {
		set  func(*fakeLog)
		want protocol.Code
	}{
		"refused":          {func(l *fakeLog) { l.appendErr = errors.New("no") }, protocol.CoordinatorNotAvailable},
		"not the leader":   {func(l *fakeLog) { l.answerErr = dledger.ErrNotLeader }, protocol.NotCoordinator},
		"too few replicas": {func(l *fakeLog) { l.leader.ISR = nil }, protocol.CoordinatorNotAvailable},
	} {
		t.Run(name, func(t *testing.T) {
			_, c, l := groupBroker(t)
			if known, _ := commitCodes(ask[*kmsg.OffsetCommitResponse](c, commitOf(5))); known != protocol.None {
				t.Fatal(known)
			}
			l.set(func() { row.set(l) })
			if known, _ := commitCodes(ask[*kmsg.OffsetCommitResponse](c, commitOf(6))); known != row.want {
				t.Errorf("code %v, want %v", known, row.want)
			}
			l.set(func() { l.appendErr, l.answerErr, l.leader.ISR = nil, nil, []int32{1} })
			if got := committedOf(t, c); got != 5 {
				t.Errorf("committed %d, want 5", got)
			}
			eventually(t, func() bool {
				known, _ := commitCodes(ask[*kmsg.OffsetCommitResponse](c, commitOf(7)))
				return known == protocol.None
			})
			if got := committedOf(t, c); got != 7 {
				t.Errorf("committed %d, want 7", got)
			}
		})
	}
}

func TestCoordinator_LosesLeadershipWithACommitOnItsWay(t *testing.T) {
	_, c, l := groupBroker(t)
	l.set(func() { l.hold = true })
	id := c.send(commitOf(5))
	eventually(t, func() bool { l.mu.Lock(); defer l.mu.Unlock(); return len(l.held) == 1 })
	l.set(func() { l.leader.IsLeader = false })
	r, _ := c.receive(commitOf(5), id).(*kmsg.OffsetCommitResponse)
	if known, _ := commitCodes(r); known != protocol.NotCoordinator {
		t.Errorf("code %v, want NOT_COORDINATOR", known)
	}
	if r := ask[*kmsg.OffsetFetchResponse](c, fetchOf()); protocol.Code(r.ErrorCode) != protocol.NotCoordinator {
		t.Errorf("fetch: %v", protocol.Code(r.ErrorCode))
	}
	l.release()
	l.set(func() { l.leader.IsLeader, l.leader.Epoch = true, l.leader.Epoch+1 })
	if got := committedOf(t, c); got != 5 { // it was in the log after all
		t.Errorf("committed %d, want 5", got)
	}
}

func TestCoordinator_SaysThatItIsLoading(t *testing.T) {
	_, c, l := groupBroker(t)
	if known, _ := commitCodes(ask[*kmsg.OffsetCommitResponse](c, commitOf(5))); known != protocol.None {
		t.Fatal(known)
	}
	l.set(func() { l.answerErr = dledger.ErrNotLeader }) // its state is to be read again
	ask[*kmsg.OffsetCommitResponse](c, commitOf(6))
	l.set(func() { l.answerErr, l.readErr = nil, errors.New("cannot be read") })
	eventually(t, func() bool {
		return protocol.Code(ask[*kmsg.OffsetFetchResponse](c, fetchOf()).ErrorCode) == protocol.CoordinatorLoadInProgress ||
			committedOf(t, c) == 5 // it had been read before the log failed
	})
	l.set(func() { l.readErr = nil })
	if got := committedOf(t, c); got != 5 {
		t.Errorf("committed %d", got)
	}
}

// A leader that may have been replaced tells no offsets.
func TestCoordinator_AnswersWithinItsLease(t *testing.T) {
	_, c, l := groupBroker(t)
	l.set(func() { l.inLease = false })
	id := c.send(fetchOf())
	other := make(chan kmsg.Response, 1)
	go func() { other <- c.receive(fetchOf(), id) }()
	select {
	case <-other:
		t.Fatal("answered outside the lease")
	case <-time.After(50 * time.Millisecond):
	}
	l.set(func() { l.inLease = true })
	if r, _ := (<-other).(*kmsg.OffsetFetchResponse); r.ErrorCode != 0 {
		t.Errorf("code %d", r.ErrorCode)
	}
}

// What comes while appends are on their way goes into one batch.
func TestCoordinator_BatchesCommits(t *testing.T) {
	b, c, l := groupBroker(t)
	l.set(func() { l.hold = true })
	const clients = 50
	ids := make([]int32, clients)
	conns := make([]*testConn, clients)
	for i := range conns {
		conns[i] = b.dial(t)
		ids[i] = conns[i].send(commitOf(int64(i)))
		if i == 0 {
			eventually(t, func() bool { l.mu.Lock(); defer l.mu.Unlock(); return len(l.held) == 1 })
		}
	}
	_ = c
	k := b.coordinators.here()[0]
	eventually(t, func() bool {
		l.mu.Lock()
		defer l.mu.Unlock()
		k.mu.Lock()
		defer k.mu.Unlock()
		records := 0
		for _, batch := range l.batches {
			records += int(batch.Count())
		}
		return len(l.batches) == coordinatorAppends && len(k.queue)+records == clients
	})
	l.release()
	for i := range conns {
		if r, ok := conns[i].receive(commitOf(0), ids[i]).(*kmsg.OffsetCommitResponse); !ok || r.Topics[0].Partitions[0].ErrorCode != 0 {
			t.Errorf("client %d: %+v", i, r)
		}
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if n := len(l.batches); n > coordinatorAppends+3 {
		t.Errorf("%d commits in %d batches", clients, n)
	}
}

func TestCoordinator_TopicDeletion(t *testing.T) {
	_, c, _ := groupBroker(t)
	ask[*kmsg.OffsetCommitResponse](c, commitOf(5))
	ask[*kmsg.DeleteTopicsResponse](c, &kmsg.DeleteTopicsRequest{Version: 1, TopicNames: []string{"t"}, TimeoutMillis: 5000})
	eventually(t, func() bool { return committedOf(t, c) == -1 })
}

func TestFindCoordinator_Kinds(t *testing.T) {
	b, c, _ := groupBroker(t, func(o *Options) { o.Config.TransactionsTopic.Partitions = 2 })
	for version := range int16(7) {
		req := &kmsg.FindCoordinatorRequest{Version: version, CoordinatorKey: "g", CoordinatorKeys: []string{"g", "h"}}
		r := ask[*kmsg.FindCoordinatorResponse](c, req)
		if version < 4 && (r.ErrorCode != 0 || r.NodeID != 1) || version >= 4 && (len(r.Coordinators) != 2 || r.Coordinators[1].Key != "h" || r.Coordinators[1].NodeID != 1) {
			t.Errorf("v%d: %+v", version, r)
		}
	}
	r := ask[*kmsg.FindCoordinatorResponse](c, &kmsg.FindCoordinatorRequest{Version: 6, CoordinatorType: 1, CoordinatorKeys: []string{"tx"}})
	if _, ok := b.host.machine.Image().Topic(transactionsTopic); !ok || r.Coordinators[0].ErrorCode != 0 || r.Coordinators[0].NodeID != 1 {
		t.Errorf("transaction: %+v", r)
	}
	r = ask[*kmsg.FindCoordinatorResponse](c, &kmsg.FindCoordinatorRequest{Version: 6, CoordinatorType: 2, CoordinatorKeys: []string{"g:t:0"}})
	if protocol.Code(r.Coordinators[0].ErrorCode) != protocol.InvalidRequest || r.Coordinators[0].NodeID != -1 {
		t.Errorf("share: %+v", r)
	}
	l := b.host.log(t, offsetsTopic, 0)
	l.set(func() { l.leader.IsLeader, l.leader.Leader = false, -1 })
	eventually(t, func() bool {
		r = ask[*kmsg.FindCoordinatorResponse](c, &kmsg.FindCoordinatorRequest{Version: 6, CoordinatorKeys: []string{"g"}})
		return protocol.Code(r.Coordinators[0].ErrorCode) == protocol.CoordinatorNotAvailable && r.Coordinators[0].NodeID == -1
	})
}

func TestProduce_InternalTopicsAreClosed(t *testing.T) {
	_, c, _ := groupBroker(t)
	r := ask[*kmsg.ProduceResponse](c, produceRequest(offsetsTopic, 0, batchOf(t, "a")))
	if code := protocol.Code(r.Topics[0].Partitions[0].ErrorCode); code != protocol.InvalidTopicException {
		t.Errorf("code %v", code)
	}
}

func TestMetrics_Groups(t *testing.T) {
	b, c, _ := groupBroker(t, withHTTP)
	batch := batchOf(t, "a", "b", "c")
	c.produce("t", 0, batch)
	ask[*kmsg.OffsetCommitResponse](c, commitOf(1))
	status, body := get(t, b, "/metrics")
	if status != http.StatusOK {
		t.Fatal(status)
	}
	for _, line := range []string{
		`stele_groups{state="Empty"} 1`, `stele_group_members{group="g"} 0`, `stele_group_committed_offset{group="g",partition="0",topic="t"} 1`,
		`stele_group_lag_records{group="g",partition="0",topic="t"} 2`, `stele_group_lag_seconds{group="g",topic="t"} `,
	} {
		if !strings.Contains(body, "\n"+line) {
			t.Errorf("no line %s", line)
		}
	}
	if _, err := (prometheus.Gatherers{b.gatherer}).Gather(); err != nil { // as the registry would check them
		t.Error(err)
	}
	ask[*kmsg.OffsetCommitResponse](c, commitOf(9)) // beyond the end
	if _, body = get(t, b, "/metrics"); !strings.Contains(body, `stele_group_lag_records{group="g",partition="0",topic="t"} 0`) {
		t.Error("the lag of a commit beyond the end is not 0")
	}
}

// A replica that was far behind gets a log of which compaction has removed tombstones: what they deleted must not stay.
func TestCoordinator_ReadsACompactedLogAgain(t *testing.T) {
	_, c, l := groupBroker(t)
	for offset := range int64(5) {
		if known, _ := commitCodes(ask[*kmsg.OffsetCommitResponse](c, commitOf(offset))); known != protocol.None {
			t.Fatal(known)
		}
	}
	l.set(func() { l.leader.IsLeader = false })
	eventually(t, func() bool {
		return protocol.Code(ask[*kmsg.OffsetFetchResponse](c, fetchOf()).ErrorCode) == protocol.NotCoordinator
	})
	// Another leader has deleted the group, compaction has removed every trace of it, and others have gone on.
	other, err := buildGroupBatch([]group.Record{{Key: []byte{0, 1, 0, 1, 'h', 0, 1, 't', 0, 0, 0, 0}}}, 1)
	if err != nil {
		t.Fatal(err)
	}
	l.set(func() {
		stored := slices.Clone(other)
		var head [record.PatchLen]byte
		record.Patch(&head, other, 20, 6)
		copy(stored, head[:])
		l.batches, l.next = []record.Batch{stored}, 21
		l.leader.IsLeader, l.leader.Epoch = true, 6
	})
	if got := committedOf(t, c); got != -1 {
		t.Errorf("committed %d, but the group was deleted", got)
	}
}
