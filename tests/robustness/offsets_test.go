//go:build robustness

package robustness

import (
	"context"
	"fmt"
	"maps"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/stelemq/stele/client"
)

// TestR22_RestartWhileGroupOffsetsAreCompacted kills brokers while groups commit as fast as they can and the segments of
// __consumer_offsets are rolled and compacted all the time (W6). The newest acknowledged offset of each group and partition is there at
// the end, or a newer one whose fate nobody was told, whichever broker coordinates: each in turn does, with what its own compaction has
// left or what it has fetched of others'. An offset that was deleted does not come back.
func TestR22_RestartWhileGroupOffsetsAreCompacted(t *testing.T) {
	o := three()
	o.partitions = 4
	o.settings = []string{
		"log.cleaner.backoff.ms=50ms", "log.retention.check.interval.ms=100ms", "log.roll.ms=1s", "log.cleaner.min.cleanable.ratio=0.01",
		"log.cleaner.delete.retention.ms=100ms", "offsets.topic.num.partitions=2", "offsets.topic.segment.bytes=1MiB",
	}
	s := newScenario(t, "R22 kill -9 while offsets of groups are compacted", o)
	w := s.commit(6, 300)
	for range count(100, 3) {
		s.between(200*time.Millisecond, time.Second)
		s.killLeaderOrAll(4, 3*time.Second)
	}
	w.finish()
	for _, n := range s.c.Nodes {
		w.checkCommitted("before node " + fmt.Sprint(n.ID) + " is killed")
		s.fault([]int32{n.ID}, n.Kill, 0, n.Start)
	}
	w.checkCommitted("at the end")
	s.figures.note("%d commits of %d offsets of groups, %d records left", w.written, len(w.keys), w.left)
	s.finish()
}

// committedPartitions is how many partitions each group commits for.
const committedPartitions = 4

// commit begins to commit offsets of so many groups, each by one writer, one request at a time.
func (s *scenario) commit(writers, groups int) *keyWriters {
	s.t.Helper()
	c, err := client.New(client.Options{Bootstrap: s.c.Bootstrap(), ClientID: "commits"})
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() { _ = c.Close() })
	w := &keyWriters{s: s, client: c, topic: "__consumer_offsets", keys: map[string]*keyState{}, start: map[int32]int64{}}
	topic := client.NewTopic{Name: fmt.Sprintf("committed-%d", s.seed%1_000_000), Partitions: committedPartitions, ReplicationFactor: s.setup.replicas}
	s.do("create a topic", func(ctx context.Context) error {
		results, err := c.CreateTopics(ctx, []client.NewTopic{topic}, false)
		if err == nil && results[0].Err != nil {
			err = results[0].Err
		}
		return err
	})
	ctx, cancel := context.WithCancel(context.WithoutCancel(s.t.Context()))
	w.stop = cancel
	s.t.Cleanup(w.end)
	for i := range writers {
		rng := rand.New(rand.NewPCG(s.seed, uint64(200+i)))
		w.wg.Go(func() { w.runCommits(ctx, topic.Name, i, groups/writers, rng) })
	}
	return w
}

func (w *keyWriters) runCommits(ctx context.Context, topic string, writer, groups int, rng *rand.Rand) {
	for n := int64(1); ctx.Err() == nil; n++ {
		// Some commit all the time, others hardly ever: what they have committed last is old, and has been compacted.
		u := rng.Float64()
		group := fmt.Sprintf("writer-%d-group-%d", writer, int(u*u*u*float64(groups)))
		offsets := map[client.TopicPartition]int64{}
		for range 1 + rng.IntN(committedPartitions) {
			offsets[client.TopicPartition{Topic: topic, Partition: rng.Int32N(committedPartitions)}] = n
		}
		commit := func() error { return w.client.CommitOffsets(ctx, group, offsets) }
		if rng.IntN(10) == 0 {
			clear(offsets)
			tp := client.TopicPartition{Topic: topic, Partition: rng.Int32N(committedPartitions)}
			offsets[tp] = 0 // none
			commit = func() error { return w.client.DeleteOffsets(ctx, group, tp.Topic, tp.Partition) }
		}
		for tp, o := range offsets {
			w.begin(committedKey(group, tp), o)
		}
		err := commit()
		for tp, o := range offsets {
			w.settle(committedKey(group, tp), o, err)
		}
	}
}

func committedKey(group string, tp client.TopicPartition) string {
	return fmt.Sprintf("%s/%d", group, tp.Partition)
}

// checkCommitted asks the coordinators for what all groups have committed.
func (w *keyWriters) checkCommitted(when string) {
	w.s.t.Helper()
	groups := map[string]bool{}
	for key := range w.keys {
		groups[key[:len(key)-2]] = true
	}
	got := map[string]int64{}
	for group := range maps.Keys(groups) {
		w.s.do("fetch the offsets of "+group, func(ctx context.Context) error {
			committed, err := w.client.Committed(ctx, group)
			for tp, c := range committed {
				got[committedKey(group, tp)] = c.Offset
			}
			return err
		})
	}
	left := 0
	w.s.do("read __consumer_offsets", func(ctx context.Context) error {
		left = 0
		return w.records(ctx, func(*client.Record) error { left++; return nil })
	})
	w.mu.Lock()
	defer w.mu.Unlock()
	w.left = left
	w.judge(when, got)
	if w.written > 3000 && left > w.written*3/4 {
		w.s.t.Errorf("seed %d, %s: %d of %d records are left: hardly anything is compacted", w.s.seed, when, left, w.written)
	}
}
