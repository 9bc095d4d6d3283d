package brokertest_test

import (
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/stelemq/stele/broker/brokertest"
	"github.com/stelemq/stele/protocol"
)

func describeQuorum(t *testing.T, b *brokertest.Broker, version int16) *kmsg.DescribeQuorumResponse {
	t.Helper()
	req, resp := kmsg.NewPtrDescribeQuorumRequest(), kmsg.NewPtrDescribeQuorumResponse()
	req.Version = version
	req.Topics = []kmsg.DescribeQuorumRequestTopic{{Topic: "__cluster_metadata", Partitions: []kmsg.DescribeQuorumRequestTopicPartition{{}}}}
	connect(t, b).ask(req, resp)
	return resp
}

// Any broker says who votes on the metadata, and how far each is.
func TestDescribeQuorum_EveryBrokerKnowsTheVoters(t *testing.T) {
	c := brokertest.StartCluster(t, 3, brokertest.Options{})
	for _, b := range c.Nodes() {
		for version := range int16(3) {
			var p kmsg.DescribeQuorumResponseTopicPartition
			var resp *kmsg.DescribeQuorumResponse
			eventually(t, "three voters that have everything", func() bool {
				resp = describeQuorum(t, b, version)
				p = resp.Topics[0].Partitions[0]
				ok := p.ErrorCode == 0 && len(p.CurrentVoters) == 3 && len(p.Observers) == 0 && p.LeaderEpoch > 0
				for _, v := range p.CurrentVoters {
					ok = ok && v.LogEndOffset == p.HighWatermark
				}
				return ok
			})
			for _, v := range p.CurrentVoters {
				if age := time.Now().UnixMilli() - v.LastCaughtUpTimestamp; version >= 1 && (age < 0 || age > 60_000) {
					t.Errorf("v%d: node %d caught up %d ms ago", version, v.ReplicaID, age)
				}
			}
			if version == 2 && (len(resp.Nodes) != 3 || resp.Nodes[0].Listeners[0].Name != "CONTROLLER") {
				t.Errorf("nodes %+v", resp.Nodes)
			}
		}
	}
	leader := describeQuorum(t, c.Node(1), 0).Topics[0].Partitions[0].LeaderID
	c.Stop(leader)
	other := c.Nodes()[0]
	eventually(t, "another controller, and the voter that is down behind", func() bool {
		p := describeQuorum(t, other, 2).Topics[0].Partitions[0]
		return p.ErrorCode == 0 && p.LeaderID != leader && len(p.CurrentVoters) == 3
	})
}

func TestDescribeQuorum_OtherPartitions(t *testing.T) {
	b := brokertest.Start(t, brokertest.Options{})
	for _, row := range []struct {
		topic     string
		partition int32
	}{{"logs", 0}, {"__cluster_metadata", 1}} {
		req, resp := kmsg.NewPtrDescribeQuorumRequest(), kmsg.NewPtrDescribeQuorumResponse()
		req.Version = 2
		req.Topics = []kmsg.DescribeQuorumRequestTopic{{Topic: row.topic, Partitions: []kmsg.DescribeQuorumRequestTopicPartition{{Partition: row.partition}}}}
		connect(t, b).ask(req, resp)
		if got := protocol.Code(resp.Topics[0].Partitions[0].ErrorCode); got != protocol.UnknownTopicOrPartition {
			t.Errorf("%s-%d: %v", row.topic, row.partition, got)
		}
	}
}
