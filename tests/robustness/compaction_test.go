//go:build robustness

package robustness

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/stelemq/stele/client"
)

// TestR22_RestartWhileSegmentsAreCompacted kills brokers while segments are rolled and compacted all the time (W6). The newest
// acknowledged value of each key is there at the end, on whichever broker leads, or a newer one whose fate nobody was told; a
// key that was deleted does not come back; the log start does not go back.
func TestR22_RestartWhileSegmentsAreCompacted(t *testing.T) {
	o := three()
	o.partitions = 4
	o.settings = []string{"log.cleaner.backoff.ms=50ms", "log.retention.check.interval.ms=100ms"}
	s := newScenario(t, "R22 kill -9 while segments are compacted", o)
	w := s.writeKeys(6, 100)
	for range count(100, 6) {
		s.between(200*time.Millisecond, time.Second)
		s.killLeaderOrAll(4, 3*time.Second)
	}
	w.finish()
	// Each broker in turn leads, having had to compact or to fetch what others compacted.
	for _, n := range s.c.Nodes {
		w.check(fmt.Sprintf("with node %d down", n.ID))
		s.fault([]int32{n.ID}, n.Kill, 0, n.Start)
	}
	w.check("at the end")
	s.figures.note("%d writes to %d keys, %d records left", w.written, len(w.keys), w.left)
	s.finish()
}

// killLeaderOrAll kills a broker that leads, for at most so long, or once in so many times all of them for a moment.
func (s *scenario) killLeaderOrAll(once int, atMost time.Duration) {
	if s.rng.IntN(once) == 0 {
		s.allDown(func() { s.between(0, 100*time.Millisecond) })
		return
	}
	victim := s.c.Node(s.leader())
	s.fault([]int32{victim.ID}, victim.Kill, s.random(0, atMost), victim.Start)
}

// keyWriters write values, and tombstones, to keys of a compacted topic, each key by one of them, one write at a time.
type keyWriters struct {
	s       *scenario
	client  *client.Client
	topic   string
	stop    context.CancelFunc
	wg      sync.WaitGroup
	mu      sync.Mutex
	keys    map[string]*keyState // mu guards
	written int                  // mu guards
	left    int
	start   map[int32]int64 // log starts seen
}

// keyState is what may be read of a key: 0 is none.
type keyState struct {
	acked   int64
	unknown []int64 // sent after it, nobody knows whether stored
}

func (s *scenario) writeKeys(writers, keys int) *keyWriters {
	s.t.Helper()
	c, err := client.New(client.Options{Bootstrap: s.c.Bootstrap(), ClientID: "keys"})
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() { _ = c.Close() })
	w := &keyWriters{s: s, client: c, topic: fmt.Sprintf("keys-%d", s.seed%1_000_000), keys: map[string]*keyState{}, start: map[int32]int64{}}
	topic := client.NewTopic{Name: w.topic, Partitions: 2, ReplicationFactor: s.setup.replicas, Configs: map[string]string{
		"cleanup.policy": "compact", "segment.bytes": "1048576", "segment.ms": "500", "min.cleanable.dirty.ratio": "0.01", "delete.retention.ms": "100",
		"file.delete.delay.ms": "0", "min.insync.replicas": strconv.Itoa(s.setup.minISR),
	}}
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
		rng := rand.New(rand.NewPCG(s.seed, uint64(100+i)))
		w.wg.Go(func() { w.run(ctx, i, keys/writers, rng) })
	}
	return w
}

func (w *keyWriters) end() { w.stop(); w.wg.Wait() }

func (w *keyWriters) run(ctx context.Context, writer, keys int, rng *rand.Rand) {
	p, err := w.client.NewProducer(client.ProducerOptions{})
	if err != nil {
		w.s.t.Error(err)
		return
	}
	defer p.Close(context.Background())
	padding := make([]byte, 2000)
	for n := int64(1); ctx.Err() == nil; n++ {
		key := fmt.Sprintf("writer-%d-key-%d", writer, rng.IntN(keys))
		value := append(strconv.AppendInt(nil, n, 10), ' ')
		value = append(value, padding[:rng.IntN(len(padding))]...)
		want := n
		if rng.IntN(5) == 0 {
			value, want = nil, 0
		}
		w.begin(key, want)
		done := make(chan error, 1)
		err := p.Produce(ctx, &client.Record{Topic: w.topic, Key: []byte(key), Value: value}, func(d client.Delivery) { done <- d.Err })
		if err == nil {
			err = <-done
		}
		w.settle(key, want, err)
	}
}

func (w *keyWriters) begin(key string, value int64) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.keys[key] == nil {
		w.keys[key] = &keyState{}
	}
	w.keys[key].unknown = append(w.keys[key].unknown, value)
}

func (w *keyWriters) settle(key string, value int64, err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if err == nil {
		*w.keys[key] = keyState{acked: value}
		w.written++
	}
}

// finish ends the writers.
func (w *keyWriters) finish() {
	w.s.t.Helper()
	w.end()
	if w.written < 1000 {
		w.s.t.Errorf("seed %d: %d writes to the compacted topic: the test proves nothing", w.s.seed, w.written)
	}
}

// check reads the whole topic.
func (w *keyWriters) check(when string) {
	w.s.t.Helper()
	got, left := map[string]int64{}, 0
	w.s.do("read the compacted topic", func(ctx context.Context) error {
		clear(got)
		left = 0
		return w.readAll(ctx, func(key string, value int64) {
			left++
			got[key] = value
		})
	})
	w.mu.Lock()
	defer w.mu.Unlock()
	w.left = left
	w.judge(when, got)
}

// judge holds what was found of each key, 0 where there is nothing, against what may be. mu is held.
func (w *keyWriters) judge(when string, got map[string]int64) {
	w.s.t.Helper()
	for key, want := range w.keys {
		ok := got[key] == want.acked
		for _, v := range want.unknown {
			ok = ok || got[key] == v
		}
		if !ok {
			w.s.t.Errorf("seed %d, %s: %s is %d, acknowledged was %d, sent after it %v", w.s.seed, when, key, got[key], want.acked, want.unknown)
		}
	}
	if w.written > 20*len(w.keys) && w.left > w.written/2 {
		w.s.t.Errorf("seed %d, %s: %d of %d records are left: nothing is compacted", w.s.seed, when, w.left, w.written)
	}
}

// readAll reads all partitions from the log start to the end of the moment.
func (w *keyWriters) readAll(ctx context.Context, f func(key string, value int64)) error {
	return w.records(ctx, func(r *client.Record) error {
		value := int64(0)
		if v := r.Value; v != nil {
			if _, err := fmt.Sscanf(string(v[:min(len(v), 20)]), "%d ", &value); err != nil {
				return fmt.Errorf("value of %s: %w", r.Key, err)
			}
		}
		f(string(r.Key), value)
		return nil
	})
}

// records reads them all, partition by partition; log starts must not go back.
func (w *keyWriters) records(ctx context.Context, f func(r *client.Record) error) error {
	starts, err := w.client.Offsets(ctx, w.topic, client.Start())
	if err != nil {
		return err
	}
	for p, o := range starts {
		if o < w.start[p] {
			w.s.t.Errorf("seed %d: the log start of partition %d went back from %d to %d", w.s.seed, p, w.start[p], o)
		}
		w.start[p] = max(w.start[p], o)
	}
	end := client.End()
	var assign []client.Assignment
	for p := range starts {
		assign = append(assign, client.Assignment{Topic: w.topic, Partition: p, To: &end})
	}
	r, err := w.client.NewConsumer(client.ConsumerOptions{Assign: assign})
	if err != nil {
		return err
	}
	defer r.Close()
	for {
		records, err := r.Poll(ctx)
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		for i := range records {
			if err := f(&records[i]); err != nil {
				return err
			}
		}
	}
}
