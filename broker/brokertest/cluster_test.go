package brokertest_test

import (
	"fmt"
	"net"
	"slices"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/stelemq/stele/broker/brokertest"
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
