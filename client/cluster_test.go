package client

import (
	"context"
	"errors"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/stelemq/stele/broker/brokertest"
	"github.com/stelemq/stele/protocol"
)

// bootstrap is the broker at STELE_TEST_BOOTSTRAP, any broker of Kafka's
// protocol, or one of ours that is started for the test.
func bootstrap(t *testing.T) string {
	t.Helper()
	if addr := os.Getenv("STELE_TEST_BOOTSTRAP"); addr != "" {
		return addr
	}
	return brokertest.Start(t, brokertest.Options{}).Address()
}

// cluster returns a Client of a broker.
func cluster(t *testing.T, addr string, change ...func(*Options)) *Client {
	t.Helper()
	o := Options{Bootstrap: strings.Split(addr, ",")}
	for _, f := range change {
		f(&o)
	}
	c, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	return c
}

// newTopic creates a topic for one test and waits for its leaders.
func newTopic(t *testing.T, c *Client, partitions int, configs map[string]string) string {
	t.Helper()
	name := strings.ToLower(strings.NewReplacer("/", "-", "_", "-").Replace(t.Name())) + "-" + time.Now().Format("150405.000000")
	res, err := c.CreateTopics(t.Context(), []NewTopic{{Name: name, Partitions: partitions, ReplicationFactor: 1, Configs: configs}}, false)
	if err != nil {
		t.Fatal(err)
	}
	if res[0].Err != nil {
		t.Fatal(res[0].Err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		_, _ = c.DeleteTopics(ctx, name)
	})
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	if _, err := c.WaitTopic(ctx, name, false); err != nil {
		t.Fatal(err)
	}
	return name
}

func TestCluster_Topics(t *testing.T) {
	c := cluster(t, bootstrap(t))
	ctx := t.Context()
	name := newTopic(t, c, 3, map[string]string{"retention.ms": "3600000"})

	k, err := c.Cluster(ctx)
	if err != nil || len(k.Brokers) == 0 || k.ID == "" {
		t.Fatalf("Cluster: %+v, %v", k, err)
	}
	topic, err := c.Topic(ctx, name)
	if err != nil || len(topic.Partitions) != 3 || topic.Partitions[2].Leader < 0 {
		t.Fatalf("Topic: %+v, %v", topic, err)
	}
	again, err := c.CreateTopics(ctx, []NewTopic{{Name: name}}, false)
	if err != nil || !errors.Is(again[0].Err, protocol.TopicAlreadyExists) {
		t.Fatalf("creating it again: %+v, %v", again, err)
	}
	configs, err := c.TopicConfigs(ctx, name)
	if err != nil {
		t.Fatal(err)
	}
	found := false
	for _, k := range configs {
		if k.Name == "retention.ms" {
			found = k.Value == "3600000" && k.Source == SourceTopic
		}
	}
	if !found {
		t.Fatalf("retention.ms is not there as set: %+v", configs)
	}
	offsets, err := c.Offsets(ctx, name, End())
	if err != nil || len(offsets) != 3 || offsets[0] != 0 {
		t.Fatalf("Offsets: %v, %v", offsets, err)
	}
	if err := c.CreatePartitions(ctx, name, 5); err != nil {
		t.Fatal(err)
	}
	_, err = c.Topic(ctx, name[:len(name)-1]+"x")
	if !errors.Is(err, ErrUnknownTopic) || !strings.Contains(err.Error(), `Did you mean "`+name+`"?`) {
		t.Fatalf("a topic misspelt: %v", err)
	}
}
