package broker

import (
	"testing"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/stelemq/stele/protocol"
)

// TestAsKafka_ListOffsetsEarliestHasItsEpoch: a consumer takes the epoch of the offset it begins at from here.
func TestAsKafka_ListOffsetsEarliestHasItsEpoch(t *testing.T) {
	b := startBroker(t)
	c := b.dial(t)
	c.createTopic("t", 1)
	l := b.host.log(t, "t", 0)
	l.set(func() {
		l.next, l.leader.Epoch = 9, 7
		l.epochs = append(l.epochs[:0:0], fakeEpoch{epoch: 3, start: 0}, fakeEpoch{epoch: 7, start: 5})
	})
	for _, timestamp := range []int64{timeEarliest, timeEarliestLocal} {
		req := &kmsg.ListOffsetsRequest{Version: 8, ReplicaID: -1, Topics: []kmsg.ListOffsetsRequestTopic{{
			Topic: "t", Partitions: []kmsg.ListOffsetsRequestTopicPartition{{CurrentLeaderEpoch: -1, Timestamp: timestamp}},
		}}}
		if p := ask[*kmsg.ListOffsetsResponse](c, req).Topics[0].Partitions[0]; p.ErrorCode != 0 || p.Offset != 0 || p.LeaderEpoch != 3 {
			t.Errorf("%d: %+v", timestamp, p)
		}
	}
}

// TestAsKafka_CreateTopicsRefusals holds the texts that Kafka 4.3 answers: people search for them.
func TestAsKafka_CreateTopicsRefusals(t *testing.T) {
	b := startBroker(t)
	c := b.dial(t)
	assign := func(nodes ...[]int32) (out []kmsg.CreateTopicsRequestTopicReplicaAssignment) {
		for i, n := range nodes {
			out = append(out, kmsg.CreateTopicsRequestTopicReplicaAssignment{Partition: int32(i), Replicas: n})
		}
		return out
	}
	config := func(name, value string) []kmsg.CreateTopicsRequestTopicConfig {
		return []kmsg.CreateTopicsRequestTopicConfig{{Name: name, Value: &value}}
	}
	for text, row := range map[string]struct {
		topic kmsg.CreateTopicsRequestTopic
		code  protocol.Code
	}{
		"Topic name is invalid: '.' is not allowed":  {kmsg.CreateTopicsRequestTopic{Topic: "."}, protocol.InvalidTopicException},
		"Topic name is invalid: '..' is not allowed": {kmsg.CreateTopicsRequestTopic{Topic: ".."}, protocol.InvalidTopicException},
		"Topic name is invalid: 'a b' contains one or more characters other than ASCII alphanumerics, '.', '_' and '-'": {
			kmsg.CreateTopicsRequestTopic{Topic: "a b"}, protocol.InvalidTopicException,
		},
		"Creation of internal topic __cluster_metadata is prohibited.": {
			kmsg.CreateTopicsRequestTopic{Topic: "__cluster_metadata"}, protocol.InvalidRequest,
		},
		"Invalid value shred for configuration cleanup.policy: String must be one of: compact, delete": {
			kmsg.CreateTopicsRequestTopic{Topic: "t", Configs: config("cleanup.policy", "delete,shred")}, protocol.InvalidConfig,
		},
		"The manual partition assignment includes broker 99, but no such broker is registered.": {
			kmsg.CreateTopicsRequestTopic{Topic: "t", ReplicaAssignment: assign([]int32{99})}, protocol.InvalidReplicaAssignment,
		},
		"The manual partition assignment includes broker 2, but no such broker is registered.": {
			kmsg.CreateTopicsRequestTopic{Topic: "t", ReplicaAssignment: assign([]int32{1}, []int32{1, 2})}, protocol.InvalidReplicaAssignment,
		},
	} {
		row.topic.NumPartitions, row.topic.ReplicationFactor = -1, -1
		r := ask[*kmsg.CreateTopicsResponse](c, &kmsg.CreateTopicsRequest{Version: 7, TimeoutMillis: 1000, Topics: []kmsg.CreateTopicsRequestTopic{row.topic}})
		got := r.Topics[0]
		if got.ErrorCode != int16(row.code) || got.ErrorMessage == nil || *got.ErrorMessage != text {
			t.Errorf("%s: %d %v", text, got.ErrorCode, deref(got.ErrorMessage))
		}
		if got.Configs == nil {
			t.Errorf("%s: configurations are null, not empty", text)
		}
	}
}

func deref(s *string) string {
	if s == nil {
		return "null"
	}
	return *s
}

// TestAsKafka_MetadataByIDIsRefusedBeforeV12: as a whole, since the client cannot mean it.
func TestAsKafka_MetadataByIDIsRefusedBeforeV12(t *testing.T) {
	b := startBroker(t)
	c := b.dial(t)
	r := ask[*kmsg.MetadataResponse](c, &kmsg.MetadataRequest{Version: 11, Topics: []kmsg.MetadataRequestTopic{{TopicID: [16]byte{1}}}})
	if len(r.Topics) != 1 || r.Topics[0].ErrorCode != int16(protocol.InvalidRequest) || len(r.Brokers) != 0 {
		t.Errorf("%+v", r)
	}
}

func TestAsKafka_DescribeClusterEndpointTypes(t *testing.T) {
	b := startBroker(t)
	c := b.dial(t)
	for kind, want := range map[int8]struct {
		code protocol.Code
		text string
	}{
		3: {protocol.UnsupportedEndpointType, "Unsupported endpoint type 3"},
	} {
		r := ask[*kmsg.DescribeClusterResponse](c, &kmsg.DescribeClusterRequest{Version: 1, EndpointType: kind})
		if r.ErrorCode != int16(want.code) || deref(r.ErrorMessage) != want.text {
			t.Errorf("%d: %d %s", kind, r.ErrorCode, deref(r.ErrorMessage))
		}
	}
}
