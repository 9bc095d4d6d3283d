package brokertest_test

import (
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/stelemq/stele/broker"
	"github.com/stelemq/stele/broker/brokertest"
	"github.com/stelemq/stele/client"
	"github.com/stelemq/stele/protocol"
)

// A group's lag is told once in the cluster, also of partitions of which the coordinator's node has no replica.
func TestMetrics_LagOfPartitionsThatAreElsewhere(t *testing.T) {
	c := brokertest.StartCluster(t, 3, brokertest.Options{Config: func(o *broker.Config) {
		quickGroups(o)
		o.HTTPListen = "127.0.0.1:0"
	}})
	p := dialAddress(t, c.Node(1).Address())
	req := kmsg.NewPtrCreateTopicsRequest()
	req.Version, req.TimeoutMillis = 4, 10_000
	topic := kmsg.NewCreateTopicsRequestTopic()
	topic.Topic, topic.NumPartitions, topic.ReplicationFactor = "t", -1, -1
	for i := range int32(3) {
		topic.ReplicaAssignment = append(topic.ReplicaAssignment, kmsg.CreateTopicsRequestTopicReplicaAssignment{Partition: i, Replicas: []int32{i + 1}})
	}
	req.Topics = append(req.Topics, topic)
	created := kmsg.NewPtrCreateTopicsResponse()
	if p.ask(req, created); created.Topics[0].ErrorCode != 0 {
		t.Fatal(protocol.Code(created.Topics[0].ErrorCode))
	}
	k, err := client.New(client.Options{Bootstrap: c.Addresses()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = k.Close() })
	pr, err := k.NewProducer(client.ProducerOptions{Partitioner: client.ByRecord})
	if err != nil {
		t.Fatal(err)
	}
	commits := map[client.TopicPartition]int64{}
	for part := range int32(3) {
		for n := range 5 {
			if _, err := pr.ProduceSync(t.Context(), &client.Record{Topic: "t", Partition: part, Value: fmt.Append(nil, n)}); err != nil {
				t.Fatal(err)
			}
		}
		commits[client.TopicPartition{Topic: "t", Partition: part}] = 2
	}
	commit := func() {
		t.Helper()
		if err := k.CommitOffsets(t.Context(), "g", commits); err != nil {
			t.Fatal(err)
		}
	}
	commit()
	lags := func() map[string][]string {
		out := map[string][]string{}
		for _, b := range c.Nodes() {
			for _, m := range regexp.MustCompile(`(?m)^(stele_group_lag_\w+\{[^}]*\}) (\S+)$`).FindAllStringSubmatch(scrape(t, b), -1) {
				out[m[1]] = append(out[m[1]], m[2])
			}
		}
		return out
	}
	expect := func(what, lag string) {
		t.Helper()
		eventually(t, what, func() bool {
			got := lags()
			for part := range 3 {
				if v := got[fmt.Sprintf(`stele_group_lag_records{group="g",partition="%d",topic="t"}`, part)]; len(v) != 1 || v[0] != lag {
					return false
				}
			}
			v := got[`stele_group_lag_seconds{group="g",topic="t"}`]
			if len(v) != 1 {
				return false
			}
			age, err := strconv.ParseFloat(v[0], 64)
			return err == nil && (age > 0) == (lag != "0")
		})
	}
	expect("each partition has a lag of 3, once", "3")
	for tp := range commits {
		commits[tp] = 9 // beyond the end
	}
	commit()
	expect("no lag below zero", "0")
	for name, values := range lags() {
		for _, v := range values {
			if strings.HasPrefix(v, "-") {
				t.Errorf("%s %s", name, v)
			}
		}
	}
}
