package brokertest_test

import (
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/stelemq/stele/broker"
	"github.com/stelemq/stele/broker/brokertest"
)

// Changes of the metadata that wait for a majority do not keep a broker from stopping: nobody can decide them.
func TestStop_WithoutMetadataMajority(t *testing.T) {
	c := brokertest.StartCluster(t, 3, brokertest.Options{Config: func(c *broker.Config) { c.ShutdownTimeout = 30 * time.Second }})
	b := c.Node(1)
	c.Isolate(1, true)
	eventually(t, "no controller", func() bool { _, ok := b.Host.Controller(); return !ok })
	create := connect(t, b)
	req := &kmsg.CreateTopicsRequest{Version: 4, TimeoutMillis: 60_000, Topics: []kmsg.CreateTopicsRequestTopic{{Topic: "late", NumPartitions: 1, ReplicationFactor: 1}}}
	if _, err := create.nc.Write(request(req)); err != nil {
		t.Fatal(err)
	}
	ids := connect(t, b)
	if _, err := ids.nc.Write(request(&kmsg.InitProducerIDRequest{Version: 1})); err != nil {
		t.Fatal(err)
	}
	eventually(t, "both requests wait", func() bool { return b.Proposing() >= 2 })
	began := time.Now()
	c.Stop(1)
	if took := time.Since(began); took > 10*time.Second {
		t.Errorf("stopping took %s", took)
	}
}
