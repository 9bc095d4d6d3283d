package brokertest_test

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/stelemq/stele/broker"
	"github.com/stelemq/stele/broker/brokertest"
	"github.com/stelemq/stele/client"
)

// ownership is who was given what in which generation.
type ownership struct {
	mu     sync.Mutex
	owners map[int32]map[client.TopicPartition]string
	values map[string]bool
	wrong  []string
}

func (o *ownership) given(name string, generation int32, partitions []client.TopicPartition) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.owners[generation] == nil {
		o.owners[generation] = map[client.TopicPartition]string{}
	}
	for _, tp := range partitions {
		if other := o.owners[generation][tp]; other != "" && other != name {
			o.wrong = append(o.wrong, fmt.Sprintf("generation %d: %v has %s and %s", generation, tp, other, name))
		}
		o.owners[generation][tp] = name
	}
}

func (o *ownership) read() int {
	o.mu.Lock()
	defer o.mu.Unlock()
	return len(o.values)
}

// Coordinators are cut off and stopped while members come and go and commit: no partition has two owners in one generation,
// and every record is read.
func TestGroup_RebalancesWhileCoordinatorsFail(t *testing.T) {
	c := brokertest.StartCluster(t, 3, brokertest.Options{Config: func(cfg *broker.Config) {
		cfg.Groups.InitialRebalanceDelay, cfg.OffsetsTopic.Partitions = 0, 2
	}})
	createTopic(t, dialAddress(t, c.Addresses()[0]), "t", 6, 3)
	o := &ownership{owners: map[int32]map[client.TopicPartition]string{}, values: map[string]bool{}}
	var wg sync.WaitGroup
	names := 0
	join := func(assignors ...client.Assignor) context.CancelFunc {
		names++
		name := fmt.Sprint("m", names)
		ctx, stop := context.WithCancel(t.Context())
		k := newClient(t, c)
		wg.Go(func() {
			for ctx.Err() == nil {
				runMember(ctx, t, k, o, name, assignors)
			}
		})
		return stop
	}
	produced := 0
	p, err := newClient(t, c).NewProducer(client.ProducerOptions{DeliveryTimeout: 30 * time.Second})
	if err != nil {
		t.Fatal(err)
	}
	produce := func(n int) {
		for range n {
			produced++
			if _, err := p.ProduceSync(t.Context(), &client.Record{Topic: "t", Key: fmt.Appendf(nil, "%d", produced), Value: fmt.Appendf(nil, "%d", produced)}); err != nil {
				t.Fatal(err)
			}
		}
	}
	allRead := func(when string) {
		t.Helper()
		eventually(t, "all is read "+when, func() bool { return o.read() == produced })
	}
	stops := []context.CancelFunc{join(client.Range()), join(client.Range())}
	produce(30)
	allRead("at first")
	for node := int32(1); node <= 3; node++ {
		stops = append(stops, join(client.Range())) // a rebalance, in the midst of which
		c.Isolate(node, true)
		stops[0]() // who asks the one that is cut off learns nothing until it is back
		stops = stops[1:]
		eventually(t, "others lead", func() bool { return takenOver(t, c, node) })
		c.Isolate(node, false)
		produce(20)
		allRead(fmt.Sprint("after node ", node, " was cut off"))
		stops = append(stops, join(client.Range()))
		c.Stop(node)
		produce(20)
		stops[0]()
		stops = stops[1:]
		allRead(fmt.Sprint("while node ", node, " is stopped"))
		c.Start(node)
	}
	for _, stop := range stops {
		stop()
	}
	wg.Wait()
	if err := p.Close(t.Context()); err != nil {
		t.Error(err)
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	for _, w := range o.wrong {
		t.Error(w)
	}
	if len(o.owners) < 6 {
		t.Errorf("%d generations: the members did not rebalance", len(o.owners))
	}
	t.Logf("%d generations, %d records", len(o.owners), produced)
}

// takenOver reports whether the others have a coordinator of the group that is not the node that is cut off.
func takenOver(t *testing.T, c *brokertest.Cluster, node int32) bool {
	t.Helper()
	cut := c.Addresses()[node-1]
	g := &groupClient{t: t, group: "g", addresses: slices.DeleteFunc(c.Addresses(), func(a string) bool { return a == cut })}
	defer g.close()
	return g.connect(t.Context()) && g.nc.RemoteAddr().String() != cut
}

// runMember reads until ctx ends or the member fails for good.
func runMember(ctx context.Context, t *testing.T, k *client.Client, o *ownership, name string, assignors []client.Assignor) {
	t.Helper()
	var g *client.GroupConsumer
	ready := make(chan struct{})
	g, err := k.NewGroupConsumer(client.GroupOptions{
		Group: "g", Topics: []string{"t"}, Assignors: assignors, AutoCommit: 100 * time.Millisecond, HeartbeatInterval: 100 * time.Millisecond,
		SessionTimeout: 6 * time.Second, RebalanceTimeout: 6 * time.Second,
		OnAssigned: func(generation int32, _ []client.TopicPartition) {
			<-ready
			owned, _ := g.Assignment()
			o.given(name, generation, owned)
		},
	})
	if err != nil {
		t.Error(err)
		return
	}
	close(ready)
	defer func() { _ = g.Close() }() // its last commit may meet a coordinator that has gone
	for {
		records, err := g.Poll(ctx)
		if err != nil {
			if ctx.Err() == nil {
				t.Logf("%s: %v", name, err)
			}
			return
		}
		o.mu.Lock()
		for i := range records {
			o.values[string(records[i].Value)] = true
		}
		o.mu.Unlock()
	}
}
