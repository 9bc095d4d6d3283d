package brokertest_test

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/stelemq/stele/broker"
	"github.com/stelemq/stele/broker/brokertest"
	"github.com/stelemq/stele/protocol"
)

// consumerMember is a member of the consumer protocol (KIP-848): it takes and gives up what it is told at once.
type consumerMember struct {
	client *groupClient // may be shared by members that take turns
	id     string
	topic  string

	epoch int32
	owns  []kmsg.ConsumerGroupHeartbeatRequestTopic
}

func (m *consumerMember) count() int {
	n := 0
	for i := range m.owns {
		n += len(m.owns[i].Partitions)
	}
	return n
}

// beat sends a heartbeat; epoch -1 leaves.
func (m *consumerMember) beat(ctx context.Context) (protocol.Code, error) {
	req := kmsg.NewPtrConsumerGroupHeartbeatRequest()
	req.Version, req.Group, req.MemberID, req.MemberEpoch = 1, m.client.group, m.id, m.epoch
	if req.Topics = m.owns; m.epoch == 0 {
		req.RebalanceTimeoutMillis, req.SubscribedTopicNames = 60_000, []string{m.topic}
		req.Topics = []kmsg.ConsumerGroupHeartbeatRequestTopic{}
	}
	r, err := m.client.ask(ctx, req, func() kmsg.Response { return kmsg.NewPtrConsumerGroupHeartbeatResponse() },
		func(r kmsg.Response) int16 { return r.(*kmsg.ConsumerGroupHeartbeatResponse).ErrorCode })
	if err != nil {
		return 0, err
	}
	resp, _ := r.(*kmsg.ConsumerGroupHeartbeatResponse)
	if resp.ErrorCode != 0 {
		return protocol.Code(resp.ErrorCode), nil
	}
	m.epoch = resp.MemberEpoch
	if resp.Assignment != nil {
		m.owns = []kmsg.ConsumerGroupHeartbeatRequestTopic{}
		for _, t := range resp.Assignment.Topics {
			m.owns = append(m.owns, kmsg.ConsumerGroupHeartbeatRequestTopic{TopicID: t.TopicID, Partitions: t.Partitions})
		}
	}
	return protocol.None, nil
}

func describeConsumerGroup(ctx context.Context, g *groupClient) (*kmsg.ConsumerGroupDescribeResponseGroup, error) {
	req := kmsg.NewPtrConsumerGroupDescribeRequest()
	req.Version, req.Groups = 1, []string{g.group}
	r, err := g.ask(ctx, req, func() kmsg.Response { return kmsg.NewPtrConsumerGroupDescribeResponse() },
		func(r kmsg.Response) int16 { return r.(*kmsg.ConsumerGroupDescribeResponse).Groups[0].ErrorCode })
	if err != nil {
		return nil, err
	}
	out := &r.(*kmsg.ConsumerGroupDescribeResponse).Groups[0]
	if out.ErrorCode != 0 {
		return nil, protocol.Code(out.ErrorCode).Err()
	}
	return out, nil
}

// A thousand members come at once and are settled, each with its partition, within three seconds. They send heartbeats
// ten times a second: what is measured is the coordinator, not the interval.
func TestConsumerGroup_ThousandMembersSettle(t *testing.T) {
	if testing.Short() {
		t.Skip("a topic of a thousand partitions takes its time")
	}
	const members, connections, limit = 1000, 100, 3 * time.Second
	b := brokertest.Start(t, brokertest.Options{Config: quickGroups})
	createTopic(t, dialAddress(t, b.Address()), "t", members, 1)
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	probe := &groupClient{t: t, addresses: []string{b.Address()}, group: "g"}
	for !probe.connect(ctx) { // until __consumer_offsets is there
		pauseFor(ctx, 20*time.Millisecond)
	}
	defer probe.close()

	working, stop := context.WithCancel(ctx)
	defer stop()
	began := time.Now()
	var wg sync.WaitGroup
	for i := range connections {
		wg.Go(func() {
			client := &groupClient{t: t, addresses: []string{b.Address()}, group: "g"}
			defer client.close()
			mine := make([]*consumerMember, members/connections)
			for j := range mine {
				mine[j] = &consumerMember{client: client, id: fmt.Sprintf("m%03d-%02d", i, j), topic: "t"}
			}
			for working.Err() == nil {
				for _, m := range mine {
					code, err := m.beat(working)
					if err == nil && code != protocol.None {
						t.Errorf("%s: %v", m.id, code)
						return
					}
				}
				pauseFor(working, 100*time.Millisecond)
			}
		})
	}
	settled := func() bool {
		g, err := describeConsumerGroup(ctx, probe)
		if err != nil || g.State != "Stable" || len(g.Members) != members {
			return false
		}
		for i := range g.Members {
			if n := len(g.Members[i].Assignment.TopicPartitions); n != 1 || len(g.Members[i].Assignment.TopicPartitions[0].Partitions) != 1 {
				return false
			}
		}
		return true
	}
	for !settled() {
		if ctx.Err() != nil {
			t.Fatal("the group has not settled within a minute")
		}
		pauseFor(ctx, 50*time.Millisecond) // a description of a thousand members takes its time, too
	}
	took := time.Since(began)
	stop()
	wg.Wait()
	t.Logf("%d members are settled after %v", members, took)
	if took > limit && !raceEnabled {
		t.Errorf("%v, want at most %v", took, limit)
	}
}

// Coordinators are cut off and stopped: members keep their epochs and partitions, and no partition has two owners.
func TestConsumerGroup_SurvivesItsCoordinators(t *testing.T) {
	c := brokertest.StartCluster(t, 3, brokertest.Options{Config: func(cfg *broker.Config) { cfg.OffsetsTopic.Partitions = 3 }})
	createTopic(t, dialAddress(t, c.Addresses()[0]), "t", 8, 3)
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	members := make([]*consumerMember, 4)
	for i := range members {
		members[i] = &consumerMember{client: &groupClient{t: t, addresses: c.Addresses(), group: "g"}, id: fmt.Sprint("m", i), topic: "t"}
	}
	beats := func(what string) {
		t.Helper()
		for _, m := range members {
			if code, err := m.beat(ctx); err != nil || code != protocol.None {
				t.Fatalf("%s %s: %v, %v", m.id, what, code, err)
			}
		}
	}
	eventually(t, "all have two partitions", func() bool {
		beats("at first")
		for _, m := range members {
			if m.count() != 2 {
				return false
			}
		}
		return true
	})
	for range 2 {
		beats("when settled")
	}
	epoch := members[0].epoch
	for node := int32(1); node <= 3; node++ {
		c.Isolate(node, true)
		beats(fmt.Sprint("while node ", node, " is cut off"))
		c.Isolate(node, false)
		c.Stop(node)
		beats(fmt.Sprint("while node ", node, " is stopped"))
		c.Start(node)
	}
	seen := map[string]string{}
	for _, m := range members {
		if m.epoch != epoch || m.count() != 2 {
			t.Errorf("%s has %d partitions in epoch %d; it was %d", m.id, m.count(), m.epoch, epoch)
		}
		for _, topic := range m.owns {
			for _, p := range topic.Partitions {
				key := fmt.Sprintf("%x-%d", topic.TopicID, p)
				if other, taken := seen[key]; taken {
					t.Errorf("%s belongs to %s and to %s", key, other, m.id)
				}
				seen[key] = m.id
			}
		}
	}
	if len(seen) != 8 {
		t.Errorf("%d partitions have owners, want 8", len(seen))
	}
	for _, m := range members {
		m.epoch = -1
		if code, err := m.beat(ctx); err != nil || code != protocol.None {
			t.Errorf("%s leaves: %v, %v", m.id, code, err)
		}
		m.client.close()
	}
}
