package brokertest_test

import (
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/stelemq/stele/broker"
	"github.com/stelemq/stele/broker/brokertest"
	"github.com/stelemq/stele/broker/metadata"
	"github.com/stelemq/stele/dledger"
	"github.com/stelemq/stele/protocol"
)

// eventually polls until ok.
func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	deadline := time.NewTimer(20 * time.Second)
	defer deadline.Stop()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for !ok() {
		select {
		case <-tick.C:
		case <-deadline.C:
			t.Fatalf("within 20 s: %s", what)
		}
	}
}

func dialAddress(t *testing.T, address string) *producer {
	t.Helper()
	var d net.Dialer
	nc, err := d.DialContext(t.Context(), "tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = nc.Close() })
	return &producer{t: t, nc: nc, id: -1, epoch: -1}
}

func createTopic(t *testing.T, p *producer, name string, partitions int32, factor int16) {
	t.Helper()
	resp := kmsg.NewPtrCreateTopicsResponse()
	p.ask(&kmsg.CreateTopicsRequest{Version: 4, TimeoutMillis: 10_000, Topics: []kmsg.CreateTopicsRequestTopic{
		{Topic: name, NumPartitions: partitions, ReplicationFactor: factor},
	}}, resp)
	if c := resp.Topics[0].ErrorCode; c != 0 {
		t.Fatalf("create %s: %v %v", name, protocol.Code(c), resp.Topics[0].ErrorMessage)
	}
}

func describe(p *producer, topic string) kmsg.MetadataResponseTopic {
	p.t.Helper()
	req := kmsg.NewPtrMetadataRequest()
	req.Version = 9
	req.Topics = []kmsg.MetadataRequestTopic{{Topic: &topic}}
	resp := kmsg.NewPtrMetadataResponse()
	p.ask(req, resp)
	return resp.Topics[0]
}

func TestCluster_EveryBrokerKnowsTheLeadersOfATopicThatWasJustCreated(t *testing.T) {
	c := brokertest.StartCluster(t, 3, brokertest.Options{})
	one := dialAddress(t, c.Addresses()[0])
	// One replica: two of the brokers have no replica of the partition.
	for _, factor := range []int16{1, 3} {
		name := fmt.Sprintf("factor-%d", factor)
		createTopic(t, one, name, 3, factor)
		for n, address := range c.Addresses() {
			got := describe(dialAddress(t, address), name)
			for _, p := range got.Partitions {
				if p.ErrorCode != 0 || p.Leader < 1 || !slices.Contains(p.Replicas, p.Leader) || p.LeaderEpoch < 0 {
					t.Errorf("%s by node %d: %+v", name, n+1, p)
				}
			}
		}
		eventually(t, "all replicas of "+name+" are in sync by every broker's word", func() bool {
			for _, address := range c.Addresses() {
				for _, p := range describe(dialAddress(t, address), name).Partitions {
					if len(p.ISR) != int(factor) || len(p.OfflineReplicas) != 0 {
						return false
					}
				}
			}
			return true
		})
	}
}

func TestCluster_ANewLeaderIsKnownEverywhere(t *testing.T) {
	c := brokertest.StartCluster(t, 3, brokertest.Options{})
	createTopic(t, dialAddress(t, c.Addresses()[0]), "t", 1, 3)
	before := describe(dialAddress(t, c.Addresses()[0]), "t").Partitions[0]
	gone := before.Leader
	c.Stop(gone)
	for node := int32(1); node <= 3; node++ {
		if node == gone {
			continue
		}
		eventually(t, fmt.Sprintf("node %d knows the new leader", node), func() bool {
			p := describe(dialAddress(t, c.Addresses()[node-1]), "t").Partitions[0]
			return p.ErrorCode == 0 && p.Leader != gone && p.LeaderEpoch > before.LeaderEpoch
		})
	}
	c.Start(gone)
	eventually(t, "the node that came back knows the leader, and is in sync", func() bool {
		p := describe(dialAddress(t, c.Addresses()[gone-1]), "t").Partitions[0]
		return p.ErrorCode == 0 && p.LeaderEpoch > before.LeaderEpoch && len(p.ISR) == 3
	})
}

// propose has a node propose a metadata command, as the controller would.
func propose(t *testing.T, b *brokertest.Broker, c metadata.Command) metadata.Result {
	t.Helper()
	command, err := metadata.Encode(c)
	if err != nil {
		t.Fatal(err)
	}
	raw, err := b.Host.Propose(t.Context(), command)
	if err != nil {
		t.Fatal(err)
	}
	r, err := metadata.DecodeResult(raw)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func partitionOf(t *testing.T, b *brokertest.Broker, topic string) (metadata.TopicID, *metadata.Partition) {
	t.Helper()
	found, ok := b.Metadata.Image().Topic(topic)
	if !ok {
		t.Fatalf("no topic %s", topic)
	}
	return found.ID, &found.Partitions[0]
}

func TestCluster_ReplicasFollowTheWish(t *testing.T) {
	c := brokertest.StartCluster(t, 3, brokertest.Options{})
	one := dialAddress(t, c.Addresses()[0])
	createTopic(t, one, "t", 1, 1)
	old := describe(one, "t").Partitions[0].Leader
	next := old%3 + 1
	p := dialAddress(t, c.Addresses()[old-1])
	for i := range int64(50) {
		p.want(-1, 1, protocol.None, i)
	}
	id, part := partitionOf(t, c.Node(old), "t")
	shard := part.Shard
	propose(t, c.Node(old), &metadata.ChangeReplicas{Steps: []metadata.ReplicaChange{{Topic: id, Shard: shard, Add: &next}}})
	eventually(t, "the new replica votes and is in sync", func() bool {
		got := describe(one, "t").Partitions[0]
		return len(got.ISR) == 2
	})
	_, part = partitionOf(t, c.Node(old), "t")
	first, _ := part.ReplicaOn(old)
	second, _ := part.ReplicaOn(next)
	propose(t, c.Node(old), &metadata.ReplicaStates{Reports: []metadata.ReplicaReport{
		{Topic: id, Shard: shard, Voters: []metadata.ReplicaID{first.ID, second.ID}},
	}})
	propose(t, c.Node(old), &metadata.ChangeReplicas{Steps: []metadata.ReplicaChange{{Topic: id, Shard: shard, Leave: first.ID}}})
	eventually(t, "the old replica has handed over and is gone", func() bool {
		got := describe(one, "t").Partitions[0]
		return got.Leader == next && slices.Equal(got.ISR, []int32{next})
	})
	propose(t, c.Node(next), &metadata.ReplicaStates{Reports: []metadata.ReplicaReport{
		{Topic: id, Shard: shard, Voters: []metadata.ReplicaID{second.ID}},
	}})
	eventually(t, "the files of the old replica are gone", func() bool {
		_, err := os.Stat(filepath.Join(c.Node(old).Dir, "t-0"))
		return errors.Is(err, os.ErrNotExist)
	})
	dialAddress(t, c.Addresses()[next-1]).want(-1, 1, protocol.None, 50)
}

func TestCluster_ABrokerThatIsSilentIsFencedUntilItIsHeard(t *testing.T) {
	c := brokertest.StartCluster(t, 3, brokertest.Options{Config: func(o *broker.Config) {
		o.SessionTimeout, o.HeartbeatInterval = 600*time.Millisecond, 100*time.Millisecond
	}})
	createTopic(t, dialAddress(t, c.Addresses()[0]), "t", 1, 3)
	lost := describe(dialAddress(t, c.Addresses()[0]), "t").Partitions[0].Leader
	other := lost%3 + 1
	c.Isolate(lost, true)
	eventually(t, "the silent broker is fenced, and another leads", func() bool {
		p := describe(dialAddress(t, c.Addresses()[other-1]), "t").Partitions[0]
		return p.ErrorCode == 0 && p.Leader != lost && slices.Equal(p.OfflineReplicas, []int32{lost}) && !slices.Contains(p.ISR, lost)
	})
	c.Isolate(lost, false)
	eventually(t, "it is heard and in sync again", func() bool {
		p := describe(dialAddress(t, c.Addresses()[other-1]), "t").Partitions[0]
		return p.ErrorCode == 0 && len(p.OfflineReplicas) == 0 && len(p.ISR) == 3
	})
}

func TestCluster_AReassignmentIsCarriedOut(t *testing.T) {
	c := brokertest.StartCluster(t, 3, brokertest.Options{})
	one := dialAddress(t, c.Addresses()[0])
	createTopic(t, one, "t", 1, 2)
	id, part := partitionOf(t, c.Node(1), "t")
	for i := range int64(20) {
		dialAddress(t, c.Addresses()[describe(one, "t").Partitions[0].Leader-1]).want(-1, 1, protocol.None, i)
	}
	gone := part.Replicas[0].Node
	var target []int32
	for node := int32(1); node <= 3; node++ {
		if node != gone {
			target = append(target, node)
		}
	}
	propose(t, c.Node(1), &metadata.AlterReassignments{Changes: []metadata.Reassignment{{Topic: id, Target: target}}})
	eventually(t, "the partition has moved", func() bool {
		p := describe(one, "t").Partitions[0]
		_, wish := partitionOf(t, c.Node(1), "t")
		return wish.Target == nil && slices.Equal(p.Replicas, target) && len(p.ISR) == 2 && slices.Contains(target, p.Leader)
	})
	eventually(t, "the files it left are gone", func() bool {
		_, err := os.Stat(filepath.Join(c.Node(gone).Dir, "t-0"))
		return errors.Is(err, os.ErrNotExist)
	})
	dialAddress(t, c.Addresses()[describe(one, "t").Partitions[0].Leader-1]).want(-1, 1, protocol.None, 20)
}

func fetchFrom(p *producer, topic string, offset int64) kmsg.FetchResponseTopicPartition {
	p.t.Helper()
	req := kmsg.NewPtrFetchRequest()
	req.Version, req.MaxWaitMillis, req.MaxBytes = 11, 50, 1<<20
	part := kmsg.NewFetchRequestTopicPartition()
	part.FetchOffset, part.PartitionMaxBytes, part.CurrentLeaderEpoch = offset, 1<<20, -1
	req.Topics = []kmsg.FetchRequestTopic{{Topic: topic, Partitions: []kmsg.FetchRequestTopicPartition{part}}}
	resp := kmsg.NewPtrFetchResponse()
	p.ask(req, resp)
	return resp.Topics[0].Partitions[0]
}

func latest(p *producer, topic string) (protocol.Code, int64) {
	p.t.Helper()
	part := kmsg.NewListOffsetsRequestTopicPartition()
	part.Timestamp, part.CurrentLeaderEpoch = -1, -1
	resp := kmsg.NewPtrListOffsetsResponse()
	p.ask(&kmsg.ListOffsetsRequest{Version: 4, ReplicaID: -1, Topics: []kmsg.ListOffsetsRequestTopic{
		{Topic: topic, Partitions: []kmsg.ListOffsetsRequestTopicPartition{part}},
	}}, resp)
	r := resp.Topics[0].Partitions[0]
	return protocol.Code(r.ErrorCode), r.Offset
}

func TestCluster_FollowersServeWhatIsCommitted(t *testing.T) {
	c := brokertest.StartCluster(t, 3, brokertest.Options{})
	createTopic(t, dialAddress(t, c.Addresses()[0]), "t", 1, 3)
	leader := describe(dialAddress(t, c.Addresses()[0]), "t").Partitions[0].Leader
	dialAddress(t, c.Addresses()[leader-1]).want(-1, 3, protocol.None, 0)
	for node := int32(1); node <= 3; node++ {
		p := dialAddress(t, c.Addresses()[node-1])
		eventually(t, fmt.Sprintf("node %d serves the records", node), func() bool {
			r := fetchFrom(p, "t", 0)
			return r.ErrorCode == 0 && len(r.RecordBatches) > 0 && r.HighWatermark == 3
		})
	}
}

func TestCluster_ACutOffLeaderSaysNothingOfTheEnd(t *testing.T) {
	c := brokertest.StartCluster(t, 3, brokertest.Options{})
	createTopic(t, dialAddress(t, c.Addresses()[0]), "t", 1, 3)
	old := describe(dialAddress(t, c.Addresses()[0]), "t").Partitions[0].Leader
	p := dialAddress(t, c.Addresses()[old-1])
	p.want(-1, 1, protocol.None, 0)
	if code, end := latest(p, "t"); code != 0 || end != 1 {
		t.Fatalf("%v %d", code, end)
	}
	c.Isolate(old, true)
	// At once: it still believes that it leads.
	for range 20 {
		if code, end := latest(p, "t"); code == 0 && end != 1 {
			t.Fatalf("%d", end)
		}
	}
	other := dialAddress(t, c.Addresses()[old%3])
	var next int32
	eventually(t, "another leads", func() bool {
		next = describe(other, "t").Partitions[0].Leader
		return next > 0 && next != old
	})
	dialAddress(t, c.Addresses()[next-1]).want(-1, 1, protocol.None, 1)
	if code, end := latest(p, "t"); code == 0 {
		t.Errorf("an old leader tells an old end, %d", end)
	}
	if r := fetchFrom(p, "t", 1); r.ErrorCode == 0 && r.HighWatermark < 2 {
		t.Errorf("an old leader answers at the end of its log: %+v", r)
	}
	c.Isolate(old, false)
	eventually(t, "it follows and knows the end", func() bool {
		r := fetchFrom(p, "t", 1)
		return r.ErrorCode == 0 && r.HighWatermark == 2
	})
}

func scrape(t *testing.T, b *brokertest.Broker) string {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+b.HTTPAddr().String()+"/metrics", http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	k := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	resp, err := k.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return string(body)
}

func TestCluster_Metrics(t *testing.T) {
	c := brokertest.StartCluster(t, 3, brokertest.Options{Config: func(o *broker.Config) { o.HTTPListen = "127.0.0.1:0" }})
	createTopic(t, dialAddress(t, c.Addresses()[0]), "t", 2, 3)
	leader := describe(dialAddress(t, c.Addresses()[0]), "t").Partitions[0].Leader
	other, third := leader%3+1, (leader+1)%3+1
	for _, line := range []string{
		`stele_cluster_nodes{state="alive"} 3`, `stele_cluster_nodes{state="fenced"} 0`, `stele_cluster_topics 1`, `stele_cluster_partitions 2`,
		`stele_cluster_offline_partitions 0`, `stele_partition_in_sync_replicas{partition="0",topic="t"} 3`,
		`stele_replica_under_replicated_partitions 0`, `stele_replica_under_min_isr_partitions 0`,
		fmt.Sprintf(`stele_replica_max_lag_records{peer="%d"} 0`, other),
	} {
		eventually(t, line, func() bool { return strings.Contains(scrape(t, c.Node(leader)), line+"\n") })
	}
	for _, name := range []string{"stele_raft_peer_rtt_seconds", "stele_raft_transport_errors_total"} {
		if text := scrape(t, c.Node(leader)); !strings.Contains(text, fmt.Sprintf(`%s{peer="%d"}`, name, other)) {
			t.Errorf("no %s", name)
		}
	}
	controllers := 0
	for _, b := range c.Nodes() {
		controllers += strings.Count(scrape(t, b), `stele_raft_is_leader{group="meta"} 1`)
	}
	if controllers != 1 {
		t.Errorf("%d controllers", controllers)
	}
	c.Stop(other)
	c.Stop(third)
	eventually(t, "partitions without a majority are offline", func() bool {
		return strings.Contains(scrape(t, c.Node(leader)), "stele_cluster_offline_partitions 2\n")
	})
}

func TestCluster_ProducerIDsAreGivenByEveryBroker(t *testing.T) {
	c := brokertest.StartCluster(t, 3, brokertest.Options{})
	seen := map[int64]bool{}
	for _, address := range c.Addresses() {
		resp := kmsg.NewPtrInitProducerIDResponse()
		dialAddress(t, address).ask(&kmsg.InitProducerIDRequest{}, resp)
		if resp.ErrorCode != 0 || seen[resp.ProducerID] {
			t.Errorf("%+v", resp)
		}
		seen[resp.ProducerID] = true
	}
}

func TestCluster_RefusesAppendsThatTooFewReplicasWouldGet(t *testing.T) {
	c := brokertest.StartCluster(t, 3, brokertest.Options{DLedger: func(o *dledger.Options) { o.ReplicaLagTimeMax = 300 * time.Millisecond }})
	one := dialAddress(t, c.Addresses()[0])
	least := "3"
	resp := kmsg.NewPtrCreateTopicsResponse()
	one.ask(&kmsg.CreateTopicsRequest{Version: 4, TimeoutMillis: 10_000, Topics: []kmsg.CreateTopicsRequestTopic{{
		Topic: "t", NumPartitions: 1, ReplicationFactor: 3, Configs: []kmsg.CreateTopicsRequestTopicConfig{{Name: "min.insync.replicas", Value: &least}},
	}}}, resp)
	if resp.Topics[0].ErrorCode != 0 {
		t.Fatalf("%+v", resp.Topics[0])
	}
	eventually(t, "all are in sync", func() bool { return len(describe(one, "t").Partitions[0].ISR) == 3 })
	leader := describe(one, "t").Partitions[0].Leader
	p := dialAddress(t, c.Addresses()[leader-1])
	p.want(-1, 1, protocol.None, 0)
	c.Stop(leader%3 + 1)
	eventually(t, "it is refused before the append", func() bool {
		code, _ := p.send(-1, 1)
		if code != protocol.NotEnoughReplicas && code != protocol.NotEnoughReplicasAfterAppend && code != protocol.None {
			t.Fatal(code)
		}
		return code == protocol.NotEnoughReplicas
	})
}
