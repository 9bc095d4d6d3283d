package dledger

import (
	"context"
	"os"
	"slices"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/stelemq/stele/protocol/record"
)

// producers offers small batches at a fixed rate to another partition and to the one that somebody catches up in, and
// notes how long after its intended moment each was acknowledged: open loop, no coordinated omission.
type producers struct {
	mu   sync.Mutex
	took []time.Duration
	errs int
	stop chan struct{}
	done sync.WaitGroup
}

func produceSteadily(c *testCluster, perSecond, payload int, shards ...ShardID) *producers {
	p := &producers{stop: make(chan struct{})}
	batch := benchBatch(record.HeaderLen + payload)
	p.done.Go(func() {
		const every = 5 * time.Millisecond
		tick := time.NewTicker(every)
		defer tick.Stop()
		began, n := time.Now(), 0
		for {
			select {
			case <-p.stop:
				return
			case <-tick.C:
			}
			for due := int(time.Since(began).Seconds() * float64(perSecond)); n < due; n++ {
				intended := began.Add(time.Duration(n) * time.Second / time.Duration(perSecond))
				for _, h := range c.hosts {
					if h == nil {
						continue
					}
					q := h.partition(shards[n%len(shards)])
					if q == nil || !q.isLeader.Load() {
						continue
					}
					p.done.Add(1)
					err := q.Append(context.Background(), &AppendRequest{
						Batch: batch, Acks: AcksAll, Timeout: 10 * time.Second, Done: func(r AppendResult) {
							defer p.done.Done()
							p.mu.Lock()
							defer p.mu.Unlock()
							if r.Err != nil {
								p.errs++
							} else {
								p.took = append(p.took, time.Since(intended))
							}
						},
					})
					if err != nil {
						p.done.Done()
					}
					break
				}
			}
		}
	})
	return p
}

// lap logs what has been measured since the last lap.
func (p *producers) lap(t *testing.T, what string) {
	t.Helper()
	p.mu.Lock()
	took, errs := p.took, p.errs
	p.took, p.errs = nil, 0
	p.mu.Unlock()
	slices.Sort(took)
	if len(took) == 0 {
		t.Logf("%s: nothing acknowledged, %d errors", what, errs)
		return
	}
	at := func(q float64) time.Duration { return took[int(float64(len(took)-1)*q)].Round(10 * time.Microsecond) }
	t.Logf("%s: %d acknowledged, %d errors, p50 %v p90 %v p99 %v p99.9 %v", what, len(took), errs, at(.5), at(.9), at(.99), at(.999))
}

// write appends so many MiB as fast as it goes.
func (c *testCluster) write(shard ShardID, mib int) {
	c.t.Helper()
	batch := benchBatch(64 << 10)
	slots := make(chan struct{}, 32)
	for n := 0; n < mib*16; {
		p := c.partition(c.leader(shard), shard)
		slots <- struct{}{}
		err := p.Append(context.Background(), &AppendRequest{Batch: batch, Acks: AcksAll, Timeout: 20 * time.Second, Done: func(AppendResult) { <-slots }})
		if err != nil {
			<-slots
			continue
		}
		n++
	}
	for range cap(slots) {
		slots <- struct{}{}
	}
}

func mustMeasure(t *testing.T) {
	t.Helper()
	if os.Getenv("STELE_MEASURE") == "" {
		t.Skip("measures; set STELE_MEASURE")
	}
}

func measured(name string, otherwise int) int {
	if n, err := strconv.Atoi(os.Getenv(name)); err == nil {
		return n
	}
	return otherwise
}

// What a new learner of a large partition costs producers, and how long it takes.
func TestMeasure_LearnerCatchesUp(t *testing.T) {
	mustMeasure(t)
	c := newCluster(t, 4)
	rate := int64(measured("STELE_RATE_MIB", 0)) << 20
	c.options = func(o *Options) { o.reach, o.JournalFileBytes, o.CatchUpRate = 100, 32<<20, rate }
	for i := range c.hosts {
		c.start(i)
	}
	for _, s := range []ShardID{16, 17} {
		c.specs[s] = PartitionSpec{
			Topic: "t", Partition: int32(s), Shard: s, Members: map[ReplicaID]int32{1: 1, 2: 2, 3: 3},
			Config: LogConfig{SegmentBytes: 256 << 20, FlushMessages: 1},
		}
		for i := range 3 {
			c.run(i, c.specs[s])
		}
	}
	mib := measured("STELE_MIB", 1024)
	c.write(16, mib)
	c.equalOffsets(16)
	for i := range 3 {
		c.restart(i)
		c.leader(16)
	}
	c.leader(17)
	load := produceSteadily(c, 500, 1024, 16, 17)
	time.Sleep(time.Second) //nolint:forbidigo // it measures
	load.lap(t, "warm-up")
	time.Sleep(5 * time.Second) //nolint:forbidigo // it measures
	load.lap(t, "before")
	began := time.Now()
	p := c.add(16, 4, 3)
	await(t, "installed", func() bool { return p.catching.installed.Load() > 0 })
	took := time.Since(began)
	load.lap(t, "while it catches up")
	lead := c.partition(c.leader(16), 16)
	await(t, "close", func() bool { return lead.Offsets().HighWatermark-p.Offsets().HighWatermark < 50 })
	t.Logf("%d MiB in %v: %.0f MiB/s; in step after %v", mib, took, float64(mib)/took.Seconds(), time.Since(began))
	time.Sleep(3 * time.Second) //nolint:forbidigo // it measures
	load.lap(t, "after")
	close(load.stop)
	load.done.Wait()
}

// What a follower costs producers that was away for a while and gets what it lacks from the Raft log.
func TestMeasure_FollowerLags(t *testing.T) {
	mustMeasure(t)
	c := newCluster(t, 3)
	c.options = func(o *Options) { o.JournalFileBytes = 32 << 20 }
	for i := range c.hosts {
		c.start(i)
	}
	config := LogConfig{SegmentBytes: 256 << 20, FlushMessages: 1}
	c.create(16, config)
	c.create(17, config)
	down := (c.leader(16) + 1) % 3
	if down == c.leader(17) {
		down = (c.leader(16) + 2) % 3
	}
	c.stop(down)
	mib := measured("STELE_MIB", 200)
	c.write(16, mib)
	load := produceSteadily(c, 500, 1024, 16, 17)
	time.Sleep(time.Second) //nolint:forbidigo // it measures
	load.lap(t, "warm-up")
	time.Sleep(5 * time.Second) //nolint:forbidigo // it measures
	load.lap(t, "before")
	began := time.Now()
	c.start(down)
	p := c.partition(down, 16)
	lead := c.partition(c.leader(16), 16)
	await(t, "in step", func() bool { return lead.Offsets().HighWatermark-p.Offsets().HighWatermark < 50 })
	took := time.Since(began)
	load.lap(t, "while it catches up")
	t.Logf("%d MiB in %v: %.0f MiB/s", mib, took, float64(mib)/took.Seconds())
	time.Sleep(3 * time.Second) //nolint:forbidigo // it measures
	load.lap(t, "after")
	close(load.stop)
	load.done.Wait()
}

// equalOffsets waits until all replicas have the same log end.
func (c *testCluster) equalOffsets(shard ShardID) {
	c.t.Helper()
	lead := c.partition(c.leader(shard), shard)
	for _, h := range c.hosts {
		if h == nil || h.partition(shard) == nil {
			continue
		}
		await(c.t, "the same offsets", func() bool { return h.partition(shard).Offsets() == lead.Offsets() })
	}
}
