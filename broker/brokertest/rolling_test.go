package brokertest_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"testing"
	"time"

	"github.com/stelemq/stele/broker/brokertest"
	"github.com/stelemq/stele/client"
)

// A rolling restart under load: the producer sees no error, and every record is there once.
func TestCluster_RollingRestartUnderLoad(t *testing.T) {
	c := brokertest.StartCluster(t, 3, brokertest.Options{})
	createTopic(t, dialAddress(t, c.Addresses()[0]), "t", 6, 3)
	k := newClient(t, c)
	producer, err := k.NewProducer(client.ProducerOptions{DeliveryTimeout: 20 * time.Second})
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	var mu sync.Mutex
	sent := map[string]bool{}
	longest := time.Duration(0)
	for worker := range 4 {
		wg.Go(func() {
			for i := 0; ctx.Err() == nil; i++ {
				value := fmt.Sprintf("%d-%d", worker, i)
				began := time.Now()
				_, err := producer.ProduceSync(t.Context(), &client.Record{Topic: "t", Key: fmt.Appendf(nil, "%d", i), Value: []byte(value)})
				mu.Lock()
				longest = max(longest, time.Since(began))
				if err != nil {
					t.Errorf("%s: %v", value, err)
				} else {
					sent[value] = true
				}
				mu.Unlock()
			}
		})
	}
	awaitSent := func(n int) {
		mu.Lock()
		from := len(sent)
		mu.Unlock()
		eventually(t, "records go on", func() bool {
			mu.Lock()
			defer mu.Unlock()
			return len(sent) >= from+n
		})
	}
	for node := int32(1); node <= 3; node++ {
		awaitSent(50)
		began := time.Now()
		c.Stop(node)
		stopped := time.Since(began)
		for _, b := range c.Nodes() {
			for _, p := range describe(dialAddress(t, b.Address()), "t").Partitions {
				if p.Leader == node || p.ErrorCode != 0 {
					t.Errorf("after node %d stopped: %+v", node, p)
				}
			}
		}
		awaitSent(50)
		c.Start(node)
		eventually(t, "all replicas are in sync again", func() bool {
			for _, p := range describe(dialAddress(t, c.Addresses()[node-1]), "t").Partitions {
				if len(p.ISR) != 3 {
					return false
				}
			}
			return true
		})
		t.Logf("node %d: stopped in %s", node, stopped)
	}
	awaitSent(50)
	stop()
	wg.Wait()
	t.Logf("%d records, the longest took %s", len(sent), longest)
	found := consumeAll(t, c, "t")
	for value := range sent {
		if found[value] != 1 {
			t.Errorf("%s is there %d times", value, found[value])
		}
	}
}

func newClient(t *testing.T, c *brokertest.Cluster) *client.Client {
	t.Helper()
	k, err := client.New(client.Options{Bootstrap: c.Addresses()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = k.Close() })
	return k
}

// consumeAll reads a topic's records and counts their values.
func consumeAll(t *testing.T, c *brokertest.Cluster, topic string) map[string]int {
	t.Helper()
	k := newClient(t, c)
	described, err := k.Topic(t.Context(), topic)
	if err != nil {
		t.Fatal(err)
	}
	end := client.End()
	var assign []client.Assignment
	for _, p := range described.Partitions {
		assign = append(assign, client.Assignment{Topic: topic, Partition: p.ID, From: client.Start(), To: &end})
	}
	consumer, err := k.NewConsumer(client.ConsumerOptions{Assign: assign})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = consumer.Close() }()
	found := map[string]int{}
	for {
		records, err := consumer.Poll(t.Context())
		if errors.Is(err, io.EOF) {
			return found
		}
		if err != nil {
			t.Fatal(err)
		}
		for _, r := range records {
			found[string(r.Value)]++
		}
	}
}

// All brokers may be stopped at once: who is left without a majority does not wait for it for long.
func TestCluster_AllStopAtOnce(t *testing.T) {
	c := brokertest.StartCluster(t, 3, brokertest.Options{})
	createTopic(t, dialAddress(t, c.Addresses()[0]), "t", 6, 3)
	began := time.Now()
	var wg sync.WaitGroup
	for _, b := range c.Nodes() {
		wg.Go(func() {
			if err := b.Stop(); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if took := time.Since(began); took > 5*time.Second {
		t.Errorf("stopped after %s", took)
	} else {
		t.Log(took)
	}
}
