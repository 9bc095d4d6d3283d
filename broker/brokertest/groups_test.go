package brokertest_test

import (
	"context"
	"fmt"
	"testing"
	"time"

	kafka "github.com/segmentio/kafka-go"

	"github.com/stelemq/stele/broker"
	"github.com/stelemq/stele/broker/brokertest"
)

// quickGroups has groups form at once and their topic be small.
func quickGroups(c *broker.Config) {
	c.Groups.InitialRebalanceDelay = 0
	c.OffsetsTopic.Partitions = 4
	c.NumPartitions = 3
}

func produceValues(t *testing.T, address, topic string, from, n int) {
	t.Helper()
	w := &kafka.Writer{Addr: kafka.TCP(address), Topic: topic, AllowAutoTopicCreation: true, BatchTimeout: time.Millisecond, RequiredAcks: kafka.RequireAll}
	defer func() { _ = w.Close() }()
	messages := make([]kafka.Message, n)
	for i := range messages {
		messages[i] = kafka.Message{Key: fmt.Appendf(nil, "k%d", from+i), Value: fmt.Appendf(nil, "v%d", from+i)}
	}
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	if err := w.WriteMessages(ctx, messages...); err != nil {
		t.Fatal(err)
	}
}

// consumeValues reads n values as a member of a group and commits each.
func consumeValues(t *testing.T, address, topic, id string, n int) map[string]int {
	t.Helper()
	r := kafka.NewReader(kafka.ReaderConfig{
		Brokers: []string{address}, GroupID: id, Topic: topic, MaxWait: 100 * time.Millisecond, StartOffset: kafka.FirstOffset,
		HeartbeatInterval: 200 * time.Millisecond, SessionTimeout: 6 * time.Second, JoinGroupBackoff: 50 * time.Millisecond,
	})
	defer func() {
		if err := r.Close(); err != nil {
			t.Errorf("close reader: %v", err)
		}
	}()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	got := map[string]int{}
	for range n {
		m, err := r.FetchMessage(ctx)
		if err != nil {
			t.Fatalf("fetch after %d of %d: %v", len(got), n, err)
		}
		got[string(m.Value)]++
		if err := r.CommitMessages(ctx, m); err != nil {
			t.Fatalf("commit: %v", err)
		}
	}
	return got
}

// A group consumes and commits; after a restart of the broker it goes on where it was.
func TestGroup_OffsetsSurviveRestart(t *testing.T) {
	dir := t.TempDir()
	b := brokertest.Start(t, brokertest.Options{Dir: dir, Config: quickGroups})
	produceValues(t, b.Address(), "events", 0, 30)
	first := consumeValues(t, b.Address(), "events", "app", 30)
	if len(first) != 30 {
		t.Fatalf("%d values, want 30", len(first))
	}
	if err := b.Stop(); err != nil {
		t.Fatal(err)
	}
	b = brokertest.Start(t, brokertest.Options{Dir: dir, Config: quickGroups})
	produceValues(t, b.Address(), "events", 30, 10)
	second := consumeValues(t, b.Address(), "events", "app", 10)
	for v, n := range second {
		if first[v] > 0 || n > 1 {
			t.Errorf("%s was consumed before the restart and after it", v)
		}
	}
}
