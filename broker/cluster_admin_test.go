package broker

import (
	"fmt"
	"slices"
	"testing"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/stelemq/stele/broker/metadata"
	"github.com/stelemq/stele/dledger"
	"github.com/stelemq/stele/protocol"
)

// apply carries out a metadata command.
func (b *testBroker) apply(t *testing.T, c metadata.Command) metadata.Result {
	t.Helper()
	r, err := b.propose(t.Context(), c)
	if err != nil {
		t.Fatalf("%T: %v", c, err)
	}
	return r
}

// addNodes registers brokers that are not there.
func (b *testBroker) addNodes(t *testing.T, nodes ...int32) {
	t.Helper()
	for _, n := range nodes {
		b.apply(t, &metadata.RegisterBroker{
			Node: n, Endpoints: []metadata.Endpoint{{Listener: "PLAINTEXT", Host: "127.0.0.1", Port: 1}}, Incarnation: fmt.Sprint(n), DirectoryID: fmt.Sprint("dir-", n),
		})
	}
}

// place creates a topic on nodes.
func (b *testBroker) place(t *testing.T, topic string, id byte, replicas ...[]int32) {
	t.Helper()
	b.apply(t, &metadata.CreateTopics{Topics: []metadata.NewTopic{{Name: topic, ID: metadata.TopicID{id}, Replicas: replicas}}})
}

func (b *testBroker) partitionOf(t *testing.T, topic string, index int) *metadata.Partition {
	t.Helper()
	tp, ok := b.host.machine.Image().Topic(topic)
	if !ok {
		t.Fatalf("no topic %s", topic)
	}
	return &tp.Partitions[index]
}

func alterRequest(version int16, topic string, partition int32, replicas []int32) *kmsg.AlterPartitionAssignmentsRequest {
	return &kmsg.AlterPartitionAssignmentsRequest{
		Version: version, AllowReplicationFactorChange: true, TimeoutMillis: 5000,
		Topics: []kmsg.AlterPartitionAssignmentsRequestTopic{{
			Topic: topic, Partitions: []kmsg.AlterPartitionAssignmentsRequestTopicPartition{{Partition: partition, Replicas: replicas}},
		}},
	}
}

func TestAlterPartitionReassignments(t *testing.T) {
	b := startBroker(t)
	b.addNodes(t, 2, 3)
	c := b.dial(t)
	b.place(t, "t", 1, []int32{1}, []int32{1})
	for _, row := range []struct {
		name      string
		topic     string
		partition int32
		replicas  []int32
		want      protocol.Code
	}{
		{"unknown topic", "x", 0, []int32{1}, protocol.UnknownTopicOrPartition},
		{"unknown partition", "t", 2, []int32{1}, protocol.UnknownTopicOrPartition},
		{"negative partition", "t", -1, []int32{1}, protocol.UnknownTopicOrPartition},
		{"nothing to cancel", "t", 0, nil, protocol.NoReassignmentInProgress},
		{"nowhere", "t", 0, []int32{}, protocol.InvalidReplicaAssignment},
		{"twice", "t", 0, []int32{1, 1}, protocol.InvalidReplicaAssignment},
		{"stranger", "t", 0, []int32{1, 9}, protocol.InvalidReplicaAssignment},
		{"grow", "t", 0, []int32{1, 2, 3}, protocol.None},
		{"cancel", "t", 0, nil, protocol.None},
		{"move", "t", 0, []int32{2}, protocol.None},
	} {
		for _, version := range []int16{0, 1} {
			if version == 0 && row.want == protocol.None {
				continue // once
			}
			r := ask[*kmsg.AlterPartitionAssignmentsResponse](c, alterRequest(version, row.topic, row.partition, row.replicas))
			if got := protocol.Code(r.Topics[0].Partitions[0].ErrorCode); r.ErrorCode != 0 || got != row.want || (got == protocol.None) != (r.Topics[0].Partitions[0].ErrorMessage == nil) {
				t.Errorf("%s v%d: %v, want %v", row.name, version, got, row.want)
			}
		}
	}
	fixed := alterRequest(1, "t", 1, []int32{2, 3})
	fixed.AllowReplicationFactorChange = false
	r := ask[*kmsg.AlterPartitionAssignmentsResponse](c, fixed)
	if got := protocol.Code(r.Topics[0].Partitions[0].ErrorCode); got != protocol.InvalidReplicationFactor || r.AllowReplicationFactorChange {
		t.Errorf("a change of the replication factor: %v", got)
	}
	b.host.mu.Lock()
	b.host.proposeErr = dledger.ErrTimeout
	b.host.mu.Unlock()
	if r := ask[*kmsg.AlterPartitionAssignmentsResponse](c, alterRequest(1, "t", 1, []int32{2})); r.ErrorCode == 0 {
		t.Error("no error without a majority of the metadata")
	}
}

func TestListPartitionReassignments(t *testing.T) {
	b := startBroker(t)
	b.addNodes(t, 2, 3)
	c := b.dial(t)
	b.place(t, "t", 1, []int32{1}, []int32{1})
	list := func(topics ...kmsg.ListPartitionReassignmentsRequestTopic) []kmsg.ListPartitionReassignmentsResponseTopic {
		return ask[*kmsg.ListPartitionReassignmentsResponse](c, &kmsg.ListPartitionReassignmentsRequest{Topics: topics}).Topics
	}
	if got := list(); len(got) != 0 {
		t.Errorf("%+v", got)
	}
	ask[*kmsg.AlterPartitionAssignmentsResponse](c, alterRequest(1, "t", 1, []int32{3, 2}))
	got := list()
	if len(got) != 1 || got[0].Topic != "t" || len(got[0].Partitions) != 1 {
		t.Fatalf("%+v", got)
	}
	p := got[0].Partitions[0]
	if p.Partition != 1 || !slices.Equal(p.AddingReplicas, []int32{3, 2}) || !slices.Equal(p.RemovingReplicas, []int32{1}) || !slices.Equal(p.Replicas, []int32{1, 3, 2}) {
		t.Errorf("%+v", p)
	}
	named := func(topic string, partitions ...int32) kmsg.ListPartitionReassignmentsRequestTopic {
		return kmsg.ListPartitionReassignmentsRequestTopic{Topic: topic, Partitions: partitions}
	}
	if got := list(named("t", 0, 7), named("x", 0)); len(got) != 0 {
		t.Errorf("%+v", got)
	}
	if got := list(named("t", 1)); len(got) != 1 {
		t.Errorf("%+v", got)
	}
}

func TestElectLeaders(t *testing.T) {
	b := startBroker(t)
	b.addNodes(t, 2)
	c := b.dial(t)
	b.place(t, "t", 1, []int32{1}) // led by this node, and preferred here
	b.place(t, "u", 2, []int32{2, 1}, []int32{2})
	log := b.host.log(t, "u", 0)
	elect := func(version int16, kind int8, topic string, partition int32) protocol.Code {
		r := ask[*kmsg.ElectLeadersResponse](c, &kmsg.ElectLeadersRequest{
			Version: version, ElectionType: kind, TimeoutMillis: 100, Topics: []kmsg.ElectLeadersRequestTopic{{Topic: topic, Partitions: []int32{partition}}},
		})
		if r.ErrorCode != 0 {
			return protocol.Code(r.ErrorCode)
		}
		return protocol.Code(r.Topics[0].Partitions[0].ErrorCode)
	}
	for _, row := range []struct {
		name      string
		kind      int8
		topic     string
		partition int32
		want      protocol.Code
	}{
		{"unknown topic", electPreferred, "x", 0, protocol.UnknownTopicOrPartition},
		{"unknown partition", electPreferred, "t", 1, protocol.UnknownTopicOrPartition},
		{"unknown type", 7, "t", 0, protocol.InvalidRequest},
		{"leads already", electPreferred, "t", 0, protocol.ElectionNotNeeded},
		{"leads already, unclean", electUnclean, "t", 0, protocol.ElectionNotNeeded},
		{"preferred is not in sync", electPreferred, "u", 0, protocol.PreferredLeaderNotAvailable},
		{"preferred does not lead, nobody does", electPreferred, "u", 1, protocol.PreferredLeaderNotAvailable},
	} {
		if got := elect(2, row.kind, row.topic, row.partition); got != row.want {
			t.Errorf("%s: %v, want %v", row.name, got, row.want)
		}
	}
	log.mu.Lock()
	log.leader.ISR = []int32{1, 2}
	log.mu.Unlock()
	if got := elect(0, electUnclean, "u", 0); got != protocol.None {
		t.Errorf("hand over: %v", got)
	}
	log.mu.Lock()
	changes := slices.Clone(log.changes)
	log.changeErr = dledger.ErrMembership
	log.leader = dledger.Leadership{Leader: 1, Epoch: 7, IsLeader: true, Voters: []int32{1, 2}, ISR: []int32{1, 2}}
	log.mu.Unlock()
	if len(changes) != 1 {
		t.Errorf("handed over %v", changes)
	}
	if got := elect(1, electPreferred, "u", 0); got != protocol.PreferredLeaderNotAvailable {
		t.Errorf("refused: %v", got)
	}
	// All partitions: those that need none are left out.
	r := ask[*kmsg.ElectLeadersResponse](c, &kmsg.ElectLeadersRequest{Version: 2, TimeoutMillis: 100})
	if len(r.Topics) != 1 || r.Topics[0].Topic != "u" || len(r.Topics[0].Partitions) != 2 {
		t.Errorf("%+v", r.Topics)
	}
	// Unclean: the wish stands in the metadata for the controller; without a live replica there is no hope.
	if got := elect(2, electUnclean, "u", 1); got != protocol.RequestTimedOut || !b.partitionOf(t, "u", 1).Recover {
		t.Errorf("unclean: %v", got)
	}
	br, _ := b.host.machine.Image().Broker(2)
	b.apply(t, &metadata.FenceBrokers{Brokers: []metadata.BrokerEpoch{{Node: 2, Epoch: br.Epoch}}})
	if got := elect(2, electUnclean, "u", 1); got != protocol.EligibleLeadersNotAvailable {
		t.Errorf("unclean with all replicas dead: %v", got)
	}
}

func TestUnregisterBroker(t *testing.T) {
	b := startBroker(t)
	b.addNodes(t, 2, 3)
	c := b.dial(t)
	b.place(t, "t", 1, []int32{3})
	unregister := func(node int32) protocol.Code {
		return protocol.Code(ask[*kmsg.UnregisterBrokerResponse](c, &kmsg.UnregisterBrokerRequest{BrokerID: node}).ErrorCode)
	}
	if got := unregister(9); got != protocol.BrokerIDNotRegistered {
		t.Errorf("unknown: %v", got)
	}
	if got := unregister(2); got != protocol.InvalidRequest {
		t.Errorf("alive: %v", got)
	}
	for _, node := range []int32{2, 3} {
		br, _ := b.host.machine.Image().Broker(node)
		b.apply(t, &metadata.FenceBrokers{Brokers: []metadata.BrokerEpoch{{Node: node, Epoch: br.Epoch}}})
	}
	if got := unregister(3); got != protocol.InvalidRequest {
		t.Errorf("with replicas: %v", got)
	}
	if got := unregister(2); got != protocol.None {
		t.Errorf("dead: %v", got)
	}
	if _, ok := b.host.machine.Image().Broker(2); ok {
		t.Error("it is still registered")
	}
}
