package compat

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// adminTool runs one of Kafka's administration tools against the broker and returns what it prints.
func adminTool(t *testing.T, tool string, args ...string) string {
	t.Helper()
	return string(javaTool(t, nil, tool, append([]string{"--bootstrap-server", theBroker.bootstrap}, args...)...))
}

func wantSaid(t *testing.T, said string, words ...string) {
	t.Helper()
	for _, w := range words {
		if !strings.Contains(said, w) {
			t.Errorf("lacks %q:\n%s", w, said)
		}
	}
}

// TestJava_Configs is kafka-configs: settings of topics, brokers, clients, users, groups and client metrics.
func TestJava_Configs(t *testing.T) {
	t.Parallel()
	need(t, javaClient())
	topic := newTopic(t, 1)
	configs := func(args ...string) string { return adminTool(t, "ConfigCommand", args...) }
	for _, row := range []struct {
		entity []string
		add    string
		want   string
		remove string
	}{
		{[]string{"--entity-type", "topics", "--entity-name", topic}, "retention.ms=7654321,cleanup.policy=[compact,delete]", "retention.ms=7654321", "retention.ms"},
		{[]string{"--entity-type", "brokers", "--entity-default"}, "log.segment.bytes=7654321", "log.segment.bytes=7654321", "log.segment.bytes"},
		{[]string{"--entity-type", "brokers", "--entity-name", "1"}, "max.connections.per.ip=12345", "max.connections.per.ip=12345", "max.connections.per.ip"},
		{[]string{"--entity-type", "clients", "--entity-name", "quota-" + topic}, "producer_byte_rate=1048576,consumer_byte_rate=2097152", "producer_byte_rate=1048576", "producer_byte_rate"},
		{[]string{"--entity-type", "users", "--entity-name", "u-" + topic, "--entity-type", "clients", "--entity-default"}, "request_percentage=150", "request_percentage=150", "request_percentage"},
		{[]string{"--entity-type", "groups", "--entity-name", "g-" + topic}, "consumer.session.timeout.ms=50000", "consumer.session.timeout.ms=50000", "consumer.session.timeout.ms"},
		{[]string{"--entity-type", "client-metrics", "--entity-name", "m-" + topic}, "interval.ms=10000,metrics=[org.apache.kafka.producer.]", "interval.ms=10000", "interval.ms"},
	} {
		wantSaid(t, configs(append([]string{"--alter", "--add-config", row.add}, row.entity...)...), "Completed updating")
		wantSaid(t, configs(append([]string{"--describe"}, row.entity...)...), row.want)
		wantSaid(t, configs(append([]string{"--alter", "--delete-config", row.remove}, row.entity...)...), "Completed updating")
		if said := configs(append([]string{"--describe"}, row.entity...)...); strings.Contains(said, row.want) && !strings.Contains(said, "DEFAULT_CONFIG:"+row.want) {
			t.Errorf("still there after --delete-config:\n%s", said)
		}
	}
	wantSaid(t, configs("--describe", "--all", "--entity-type", "topics", "--entity-name", topic), "max.message.bytes=1048588", "synonyms={")
	wantSaid(t, configs("--describe", "--all", "--entity-type", "brokers", "--entity-name", "1"), "log.dirs=", "STATIC_BROKER_CONFIG")
}

// TestJava_LogDirs is kafka-log-dirs.
func TestJava_LogDirs(t *testing.T) {
	t.Parallel()
	need(t, javaClient())
	topic := newTopic(t, 2)
	franzProduce(t, topic, "none", generate(shape{}, 20, 3))
	wantSaid(t, adminTool(t, "LogDirsCommand", "--describe", "--topic-list", topic), `"partition":"`+topic+`-1"`, `"logDir":`, `"offsetLag":0`)
}

// TestJava_LeaderElectionAndReassignment are kafka-leader-election and kafka-reassign-partitions, as far as one broker goes.
func TestJava_LeaderElectionAndReassignment(t *testing.T) {
	t.Parallel()
	need(t, javaClient())
	topic := newTopic(t, 1)
	adminTool(t, "LeaderElectionCommand", "--election-type", "preferred", "--topic", topic, "--partition", "0")
	dir := t.TempDir()
	topics, plan := filepath.Join(dir, "topics.json"), filepath.Join(dir, "plan.json")
	write := func(path, text string) {
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write(topics, `{"version":1,"topics":[{"topic":"`+topic+`"}]}`)
	wantSaid(t, adminTool(t, "ReassignPartitionsCommand", "--generate", "--topics-to-move-json-file", topics, "--broker-list", "1"), "Proposed partition reassignment configuration", topic)
	write(plan, `{"version":1,"partitions":[{"topic":"`+topic+`","partition":0,"replicas":[1]}]}`)
	wantSaid(t, adminTool(t, "ReassignPartitionsCommand", "--execute", "--reassignment-json-file", plan, "--throttle", "50000000"), "Successfully started partition reassignment")
	wantSaid(t, adminTool(t, "ReassignPartitionsCommand", "--verify", "--reassignment-json-file", plan), "is completed", "Clearing broker-level throttles", "Clearing topic-level throttles")
	wantSaid(t, adminTool(t, "ReassignPartitionsCommand", "--list"), "No partition reassignments found")
}

// TestJava_FeaturesAndQuorum are kafka-features and kafka-metadata-quorum.
func TestJava_FeaturesAndQuorum(t *testing.T) {
	t.Parallel()
	need(t, javaClient())
	wantSaid(t, adminTool(t, "FeatureCommand", "describe"), "metadata.version", "group.version", "FinalizedVersionLevel: 1")
	wantSaid(t, adminTool(t, "FeatureCommand", "upgrade", "--feature", "group.version=1", "--dry-run"), "group.version can be upgraded to 1")
	wantSaid(t, adminTool(t, "MetadataQuorumCommand", "describe", "--status"), "LeaderId:", "MaxFollowerLag:", `"id": 1`)
	wantSaid(t, adminTool(t, "MetadataQuorumCommand", "describe", "--replication", "--human-readable"), "Leader", "ms ago")
}

// TestJava_ClientMetrics is kafka-client-metrics.
func TestJava_ClientMetrics(t *testing.T) {
	t.Parallel()
	need(t, javaClient())
	name := strings.ToLower(topicName(t.Name()))
	wantSaid(t, adminTool(t, "ClientMetricsCommand", "--alter", "--name", name, "--metrics", "org.apache.kafka.producer.", "--interval", "1000", "--match", "client_id=nobody"), "Altered client metrics config")
	wantSaid(t, adminTool(t, "ClientMetricsCommand", "--list"), name)
	wantSaid(t, adminTool(t, "ClientMetricsCommand", "--describe", "--name", name), "interval.ms=1000", "match=client_id=nobody")
	wantSaid(t, adminTool(t, "ClientMetricsCommand", "--delete", "--name", name), "Deleted client metrics config")
}

// TestJava_ProducersAndBrokers are kafka-transactions describe-producers, kafka-cluster and kafka-broker-api-versions.
func TestJava_ProducersAndBrokers(t *testing.T) {
	t.Parallel()
	need(t, javaClient())
	topic := newTopic(t, 1)
	javaTool(t, nil, "ProducerPerformance", "--bootstrap-server", theBroker.bootstrap, "--topic", topic, "--num-records", "10", "--record-size", "10", "--throughput", "-1")
	wantSaid(t, adminTool(t, "TransactionsCommand", "describe-producers", "--topic", topic, "--partition", "0"), "ProducerId", "LastSequence", "9")
	wantSaid(t, string(javaTool(t, nil, "ClusterTool", "cluster-id", "--bootstrap-server", theBroker.bootstrap)), "Cluster ID:")
	wantSaid(t, adminTool(t, "BrokerApiVersionsCommand"), "DescribeQuorum(55): 0 to 2", "UpdateFeatures(57): 0 to 2")
}
