package brokertest_test

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/stelemq/stele/broker"
	"github.com/stelemq/stele/broker/brokertest"
	"github.com/stelemq/stele/client"
)

// consumed is what members of a group have read, all together.
type consumed struct {
	mu     sync.Mutex
	values map[string]int
	owners map[client.TopicPartition]string
	wrong  []string
}

func (c *consumed) count() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.values)
}

// member runs a member of the group until ctx ends.
func (c *consumed) member(ctx context.Context, t *testing.T, k *client.Client, name string, assignors []client.Assignor) {
	t.Helper()
	take := func(_ int32, partitions []client.TopicPartition) {
		c.mu.Lock()
		defer c.mu.Unlock()
		for _, tp := range partitions {
			if other := c.owners[tp]; other != "" {
				c.wrong = append(c.wrong, fmt.Sprint(tp, " is given to ", name, " while ", other, " has it"))
			}
			c.owners[tp] = name
		}
	}
	give := func(_ int32, partitions []client.TopicPartition) {
		c.mu.Lock()
		defer c.mu.Unlock()
		for _, tp := range partitions {
			if c.owners[tp] == name {
				delete(c.owners, tp)
			}
		}
	}
	g, err := k.NewGroupConsumer(client.GroupOptions{
		Group: "g", Topics: []string{"t"}, Assignors: assignors, AutoCommit: 50 * time.Millisecond, HeartbeatInterval: 50 * time.Millisecond,
		SessionTimeout: 10 * time.Second, OnAssigned: take, OnRevoked: give, OnLost: give,
	})
	if err != nil {
		t.Error(err)
		return
	}
	for {
		records, err := g.Poll(ctx)
		if err != nil {
			if ctx.Err() == nil {
				t.Errorf("%s: %v", name, err)
			}
			break
		}
		c.mu.Lock()
		for i := range records {
			c.values[string(records[i].Value)]++
		}
		c.mu.Unlock()
	}
	owned, generation := g.Assignment()
	if err := g.Close(); err != nil {
		t.Errorf("%s: close: %v", name, err)
	}
	give(generation, owned)
}

// Members come and go; every record is read, by whatever the partitions are shared.
func TestGroupConsumer_MembersComeAndGo(t *testing.T) {
	for name, assignors := range map[string][]client.Assignor{
		"range": {client.Range()}, "roundrobin": {client.RoundRobin()}, "cooperative": {client.CooperativeSticky()}, "default": nil,
	} {
		t.Run(name, func(t *testing.T) {
			b := brokertest.Start(t, brokertest.Options{Config: func(c *broker.Config) {
				c.Groups.InitialRebalanceDelay, c.OffsetsTopic.Partitions = 0, 2
			}})
			k, err := client.New(client.Options{Bootstrap: []string{b.Address()}})
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { _ = k.Close() })
			createTopic(t, dialAddress(t, b.Address()), "t", 7, 1)
			c := &consumed{values: map[string]int{}, owners: map[client.TopicPartition]string{}}
			p, err := k.NewProducer(client.ProducerOptions{})
			if err != nil {
				t.Fatal(err)
			}
			sent := 0
			produce := func(n int) {
				for range n {
					sent++
					if _, err := p.ProduceSync(t.Context(), &client.Record{Topic: "t", Key: fmt.Appendf(nil, "%d", sent), Value: fmt.Appendf(nil, "%d", sent)}); err != nil {
						t.Fatal(err)
					}
				}
			}
			var wg sync.WaitGroup
			stops := map[string]context.CancelFunc{}
			start := func(name string) {
				ctx, stop := context.WithCancel(t.Context())
				stops[name] = stop
				wg.Go(func() { c.member(ctx, t, k, name, assignors) })
			}
			settled := func(members int) {
				t.Helper()
				eventually(t, fmt.Sprint("the partitions are shared among ", members), func() bool {
					c.mu.Lock()
					defer c.mu.Unlock()
					who := map[string]bool{}
					for _, m := range c.owners {
						who[m] = true
					}
					return len(c.owners) == 7 && len(who) == members
				})
			}
			produce(20)
			start("a")
			settled(1)
			start("b")
			start("c")
			settled(3)
			produce(50)
			stops["b"]()
			settled(2)
			produce(20)
			eventually(t, "all is read", func() bool { return c.count() == sent })
			for _, stop := range stops {
				stop()
			}
			wg.Wait()
			if len(c.wrong) > 0 {
				t.Error(c.wrong)
			}
			if err := p.Close(t.Context()); err != nil {
				t.Error(err)
			}
			committed, err := k.Committed(t.Context(), "g")
			total := int64(0)
			for _, o := range slices.Collect(maps.Values(committed)) {
				total += o.Offset
			}
			if err != nil || total > int64(sent) {
				t.Errorf("%d are committed, %d were sent (%v)", total, sent, err)
			}
		})
	}
}

// A member that ends while the group is still waiting for others leaves it: its request to join holds back what it sends on
// the same connection.
func TestGroupConsumer_LeavesWhileItJoins(t *testing.T) {
	b := brokertest.Start(t, brokertest.Options{Config: func(c *broker.Config) {
		c.Groups.InitialRebalanceDelay, c.OffsetsTopic.Partitions = time.Hour, 2
	}})
	k, err := client.New(client.Options{Bootstrap: []string{b.Address()}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = k.Close() })
	createTopic(t, dialAddress(t, b.Address()), "t", 1, 1)
	g, err := k.NewGroupConsumer(client.GroupOptions{Group: "g", Topics: []string{"t"}, RebalanceTimeout: time.Minute})
	if err != nil {
		t.Fatal(err)
	}
	members := func(want int) func() bool {
		return func() bool {
			d, err := k.DescribeGroup(t.Context(), "g")
			return err == nil && len(d.Members) == want
		}
	}
	eventually(t, "the group has a member that waits", members(1))
	began := time.Now()
	if err := g.Close(); err != nil {
		t.Fatal(err)
	}
	if took := time.Since(began); took > 2*time.Second { // it would give up after five
		t.Errorf("it took %s to leave", took)
	}
	eventually(t, "the group has no member", members(0))
}
