package dledger

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"path/filepath"
	"testing"
	"time"

	"github.com/stelemq/stele/protocol/record"
)

// keyValues writes random values, and tombstones, of few keys to a compacted partition.
type keyValues struct {
	c     *testCluster
	shard ShardID
	rng   *rand.Rand
	want  map[string]string
}

func compactedConfig() LogConfig {
	return LogConfig{SegmentBytes: 4 << 10, FlushMessages: 1, Compact: true, MinDirtyRatio: 0.01}
}

func (k *keyValues) write(n int) {
	k.c.t.Helper()
	for range n {
		key, value := fmt.Sprintf("key-%d", k.rng.IntN(20)), fmt.Sprintf("value-%d", k.rng.Int())
		r := record.Record{Timestamp: time.Now().UnixMilli(), Key: []byte(key), Value: []byte(value)}
		if k.rng.IntN(4) == 0 {
			r.Value = nil
		}
		var b record.Builder
		b.Append(r)
		out, err := b.Build(record.None, 0)
		if err != nil {
			k.c.t.Fatal(err)
		}
		if res := k.c.produce(k.shard, out); res.Err != nil {
			k.c.t.Fatal(res.Err)
		}
		if r.Value == nil {
			delete(k.want, key)
		} else {
			k.want[key] = value
		}
	}
}

// read is what a consumer makes of a replica from the beginning to its high watermark, and how many records it reads.
func (k *keyValues) read(p *Partition) (map[string]string, int) {
	k.c.t.Helper()
	got, n := map[string]string{}, 0
	off := p.Offsets()
	for from := off.LogStart; from < off.HighWatermark; {
		b, _, err := p.Read(nil, ReadRequest{From: from, MaxBytes: 1 << 20, AtLeastOne: true})
		if err != nil || len(b) == 0 {
			k.c.t.Fatalf("%d bytes at %d, %v", len(b), from, err)
		}
		for len(b) > 0 {
			batch, rest, err := record.Next(b)
			if err != nil {
				k.c.t.Fatal(err)
			}
			from, b = batch.NextOffset(), rest
			for r, err := range batch.Records(1 << 20) {
				if err != nil {
					k.c.t.Fatal(err)
				}
				n++
				if r.Value == nil {
					delete(got, string(r.Key))
				} else {
					got[string(r.Key)] = string(r.Value)
				}
			}
		}
	}
	return got, n
}

// check holds all replicas that run against what was written.
func (k *keyValues) check() {
	k.c.t.Helper()
	lead := k.c.partition(k.c.leader(k.shard), k.shard)
	for i, h := range k.c.hosts {
		if h == nil {
			continue
		}
		p := k.c.partition(i, k.shard)
		await(k.c.t, "in step", func() bool { return p.Offsets() == lead.Offsets() })
		if got, _ := k.read(p); !maps.Equal(got, k.want) {
			k.c.t.Fatalf("node %d: %v, want %v", i+1, got, k.want)
		}
	}
}

// cleanAll compacts on all nodes that run, until nothing is dirty.
func (k *keyValues) cleanAll() {
	k.c.t.Helper()
	for i, h := range k.c.hosts {
		if h == nil {
			continue
		}
		p := k.c.partition(i, k.shard)
		await(k.c.t, fmt.Sprintf("node %d is compacted", i+1), func() bool {
			h.cleanClaimed(p)
			if p.cleaning.failed.Load() {
				k.c.t.Fatalf("node %d: compaction failed", i+1)
			}
			plan, err := p.shard.log.now().Cleanable(p.config.Load().compactPolicy(), p.shard.committedOffset())
			return err == nil && plan.DirtyBytes == 0
		})
	}
}

// Replicas compact on their own and stay equal by key, over restarts and changes of the leader. One that was down while
// tombstones went, and one that is new, do not bring back what those had deleted.
func TestCompaction_ReplicasStayEqualByKey(t *testing.T) {
	c := newCluster(t, 3)
	// A leader keeps what a replica in sync may still ask for.
	c.options = func(o *Options) { o.ReplicaLagTimeMax = 500 * time.Millisecond }
	for i := range c.hosts {
		c.start(i)
	}
	c.create(16, compactedConfig())
	k := &keyValues{c: c, shard: 16, rng: rand.New(rand.NewPCG(1, 1)), want: map[string]string{}}
	k.write(200)
	k.cleanAll()
	k.check()
	for i := range c.hosts {
		p := c.partition(i, 16)
		if _, n := k.read(p); n > 120 {
			t.Errorf("node %d holds %d of 200 records of 20 keys", i+1, n)
		}
		raft, _ := filepath.Glob(filepath.Join(p.shard.dir, "*.raft"))
		logs, _ := filepath.Glob(filepath.Join(p.shard.dir, "*.log"))
		if len(raft) != len(logs) {
			t.Errorf("node %d: %d segments and %d .raft files", i+1, len(logs), len(raft))
		}
	}
	down := (c.leader(16) + 1) % 3
	c.stop(down)
	// What it holds dies elsewhere, and the tombstones go, too: they need not be kept at all.
	for range 3 {
		k.write(150)
		k.cleanAll()
	}
	c.start(down)
	p := c.partition(down, 16)
	await(t, "the lagging replica has caught up from files", func() bool { return p.catching.installed.Load() == 1 })
	k.check()
	if p.shard.log.now().Rewritten() == 0 {
		t.Error("the lagging replica does not know that what it has is compacted")
	}
	for i := range c.hosts {
		c.restart(i)
		c.leader(16)
		k.write(40)
		k.check()
	}
	k.cleanAll()
	k.check()
}

// A replica that is in step but for what a compaction has not touched keeps what it has.
func TestCompaction_ShortLagKeepsThePrefix(t *testing.T) {
	c := newCluster(t, 3)
	for i := range c.hosts {
		c.start(i)
	}
	c.create(16, compactedConfig())
	k := &keyValues{c: c, shard: 16, rng: rand.New(rand.NewPCG(2, 1)), want: map[string]string{}}
	k.write(200)
	k.cleanAll()
	down := (c.leader(16) + 1) % 3
	base := c.partition(down, 16).Offsets().LogEnd
	c.stop(down)
	k.write(150)
	m, err := c.partition(c.leader(16), 16).manifest()
	if err != nil || m.Rewritten > base || m.Rewritten == 0 {
		t.Fatalf("rewritten up to %d, the replica ends at %d: %v", m.Rewritten, base, err)
	}
	c.start(down)
	k.check()
}

// Whoever fetches while segments are replaced begins again: it must not mix what was before with what is after.
func TestCompaction_FetchIsOfOneState(t *testing.T) {
	c := newCluster(t, 1)
	c.start(0)
	c.create(16, compactedConfig())
	k := &keyValues{c: c, shard: 16, rng: rand.New(rand.NewPCG(3, 1)), want: map[string]string{}}
	k.write(200)
	p := c.partition(0, 16)
	m, err := p.manifest()
	if err != nil {
		t.Fatal(err)
	}
	q := &catchUpQuestion{Shard: 16, From: m.First, UpTo: m.Next, State: m.State}
	if _, err := p.serve(callBatches, q); err != nil {
		t.Fatal(err)
	}
	p.cleaning.served.Store(0) // long ago
	k.cleanAll()
	if _, err := p.serve(callBatches, q); err == nil {
		t.Fatal("batches of another state are served")
	}
	if m, err = p.manifest(); err != nil || m.Rewritten == 0 {
		t.Fatalf("%+v, %v", m, err)
	}
	q.State = m.State
	if _, err := p.serve(callBatches, q); err != nil {
		t.Fatal(err)
	}
}

// The cleaner itself: threads find what is dirty, and rest from what cannot be compacted.
func TestCleaner_FindsWhatIsDirty(t *testing.T) {
	c := newCluster(t, 1)
	c.options = func(o *Options) {
		o.Cleaner = CleanerOptions{Threads: 2, Backoff: 5 * time.Millisecond, DedupeBytes: 1 << 20}
	}
	c.start(0)
	c.create(16, compactedConfig())
	c.create(17, compactedConfig())
	for _, shard := range []ShardID{16, 17} {
		k := &keyValues{c: c, shard: shard, rng: rand.New(rand.NewPCG(uint64(shard), 1)), want: map[string]string{}}
		k.write(400)
		p := c.partition(0, shard)
		await(t, "it is compacted", func() bool { _, n := k.read(p); return n < 150 })
		k.check()
	}
}
