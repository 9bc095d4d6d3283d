package dledger

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/stelemq/stele/protocol/record"
)

// shortReach is a cluster whose leaders reach hardly anything of their logs after a start.
func shortReach(t *testing.T, nodes int) *testCluster {
	t.Helper()
	c := newCluster(t, nodes)
	c.options = func(o *Options) { o.reach = 4 }
	for i := range c.hosts {
		c.start(i)
	}
	return c
}

// fill produces n batches of some records each.
func (c *testCluster) fill(shard ShardID, n int) {
	c.t.Helper()
	for i := range n {
		if r := c.produce(shard, batchOf(c.t, 1+i%3, -1, -1, -1)); r.Err != nil {
			c.t.Fatal(r.Err)
		}
	}
}

// restart closes a node and starts it again.
func (c *testCluster) restart(i int) {
	c.t.Helper()
	c.stop(i)
	c.start(i)
}

// add makes a learner on a node and waits until the leader counts it as a member.
func (c *testCluster) add(shard ShardID, id ReplicaID, i int) *Partition {
	c.t.Helper()
	change := func(ctx context.Context, p *Partition) error { return p.AddLearner(ctx, id, int32(i+1)) }
	c.change(shard, change)
	spec := c.specs[shard]
	spec.Replica, spec.Join = id, true
	p, err := c.hosts[i].StartPartition(context.Background(), spec)
	if err != nil {
		c.t.Fatal(err)
	}
	return p
}

// change has the leader change the membership, however often that has moved meanwhile.
func (c *testCluster) change(shard ShardID, f func(context.Context, *Partition) error) {
	c.t.Helper()
	await(c.t, "a change of the membership", func() bool {
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		defer cancel()
		err := f(ctx, c.partition(c.leader(shard), shard))
		if err != nil {
			c.t.Logf("membership: %v", err)
		}
		return err == nil
	})
}

// sameFiles compares the bytes of all segments of two nodes, however they are cut.
func (c *testCluster) sameFiles(shard ShardID, a, b int) {
	c.t.Helper()
	read := func(i int) []byte {
		p := c.partition(i, shard)
		var out []byte
		for _, seg := range p.shard.log.Segments() {
			x, err := os.ReadFile(filepath.Join(p.shard.dir, fmt.Sprintf("%020d.log", seg.Base)))
			if err != nil {
				c.t.Fatal(err)
			}
			out = append(out, x...)
		}
		return out
	}
	x, y := read(a), read(b)
	if !slices.Equal(x, y) {
		c.t.Fatalf("nodes %d and %d hold %d and %d bytes that differ", a+1, b+1, len(x), len(y))
	}
}

// A follower that was down while the others went on and restarted is out of reach of their Raft logs. It keeps what it has
// and fetches the rest.
func TestCatchUp_FollowerBeyondTheLog(t *testing.T) {
	c := shortReach(t, 3)
	c.create(16, LogConfig{SegmentBytes: 2 << 10, FlushMessages: 1})
	c.fill(16, 20)
	c.equal(16)
	down := (c.leader(16) + 1) % 3
	c.stop(down)
	c.fill(16, 60)
	for i := range c.hosts {
		if i != down {
			c.restart(i)
			c.leader(16)
		}
	}
	c.fill(16, 20)
	c.start(down)
	c.equal(16)
	p := c.partition(down, 16)
	if n := p.catching.installed.Load(); n == 0 {
		t.Fatal("it has not caught up from files: the test has tested nothing")
	}
	for i := range c.hosts {
		c.sameFiles(16, down, i)
	}
	// What it has is worth a vote.
	c.fill(16, 5)
	c.stop((down + 1) % 3)
	c.fill(16, 5)
	c.restart(down)
	c.equal(16)
}

func TestCatchUp_LearnerIsPromotedAndLeads(t *testing.T) {
	c := shortReach(t, 4)
	c.options = func(o *Options) { o.reach = 4 }
	spec := PartitionSpec{
		Topic: "t", Partition: 16, Shard: 16, Members: map[ReplicaID]int32{1: 1, 2: 2, 3: 3},
		Config: LogConfig{SegmentBytes: 2 << 10, FlushMessages: 1},
	}
	c.specs[16] = spec
	for i := range 3 {
		c.run(i, spec)
	}
	c.fill(16, 80)
	for i := range 3 {
		c.restart(i)
		c.leader(16)
	}
	p := c.add(16, 4, 3)
	c.equal(16)
	if p.catching.installed.Load() == 0 {
		t.Fatal("it has not caught up from files: the test has tested nothing")
	}
	c.sameFiles(16, 3, c.leader(16))
	c.change(16, func(ctx context.Context, p *Partition) error { return p.Promote(ctx, 4) })
	c.change(16, func(ctx context.Context, p *Partition) error {
		if p.host.opts.NodeID == 1 {
			return p.TransferLeadership(ctx, 4)
		}
		return p.Remove(ctx, 1)
	})
	c.fill(16, 10)
	await(t, "the former learner leads", func() bool {
		lead := c.leader(16)
		if lead == 3 {
			return true
		}
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		_ = c.partition(lead, 16).TransferLeadership(ctx, 4)
		return false
	})
	c.fill(16, 10)
	if e := c.partition(3, 16).shard.log.LatestEpoch(); e == record.NoEpoch {
		t.Fatal("no epoch")
	}
}

// The node that a replica catches up from is lost on the way: it goes on from another, with what it has.
func TestCatchUp_SourceDies(t *testing.T) {
	c := newCluster(t, 4)
	c.options = func(o *Options) { o.reach, o.CatchUpRate = 4, 2<<20 }
	for i := range c.hosts {
		c.start(i)
	}
	c.specs[16] = PartitionSpec{
		Topic: "t", Partition: 16, Shard: 16, Members: map[ReplicaID]int32{1: 1, 2: 2, 3: 3},
		Config: LogConfig{SegmentBytes: 1 << 20, FlushMessages: 1},
	}
	for i := range 3 {
		c.run(i, c.specs[16])
	}
	c.write(16, 8)
	for i := range 3 {
		c.restart(i)
		c.leader(16)
	}
	p := c.add(16, 9, 3)
	staged := func() record.Offset {
		p.catching.mu.Lock()
		defer p.catching.mu.Unlock()
		if p.catching.stage == nil {
			return 0
		}
		return p.catching.stage.log.End().Next
	}
	await(t, "a part has come", func() bool { return staged() > 0 })
	had := staged()
	if p.catching.installed.Load() > 0 {
		t.Fatal("it was too fast to be cut off")
	}
	lost := c.leader(16)
	c.stop(lost)
	c.leader(16)
	await(t, "it has caught up", func() bool { return p.catching.installed.Load() > 0 })
	if had == 0 {
		t.Fatal("nothing had come")
	}
	c.start(lost)
	c.equal(16)
	c.sameFiles(16, 3, lost)
}

// A replica that is stopped or deleted while it catches up lets go, and nothing of it is left.
func TestCatchUp_StoppedOnTheWay(t *testing.T) {
	c := newCluster(t, 4)
	c.options = func(o *Options) { o.reach, o.CatchUpRate = 4, 2<<20 }
	for i := range c.hosts {
		c.start(i)
	}
	c.specs[16] = PartitionSpec{
		Topic: "t", Partition: 16, Shard: 16, Members: map[ReplicaID]int32{1: 1, 2: 2, 3: 3},
		Config: LogConfig{SegmentBytes: 1 << 20, FlushMessages: 1},
	}
	for i := range 3 {
		c.run(i, c.specs[16])
	}
	c.write(16, 8)
	for i := range 3 {
		c.restart(i)
		c.leader(16)
	}
	p := c.add(16, 9, 3)
	spec := p.Spec()
	staging := func(p *Partition) func() bool {
		return func() bool {
			p.catching.mu.Lock()
			defer p.catching.mu.Unlock()
			return p.catching.stage != nil
		}
	}
	await(t, "it begins", staging(p))
	if err := c.hosts[3].StopPartition(spec); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(filepath.Join(p.shard.dir, stageDirName)); !os.IsNotExist(err) {
		t.Fatalf("the stage is left: %v", err)
	}
	p, err := c.hosts[3].StartPartition(context.Background(), spec)
	if err != nil {
		t.Fatal(err)
	}
	await(t, "it begins again", staging(p))
	if err := c.hosts[3].DeletePartition(spec); err != nil {
		t.Fatal(err)
	}
	// Its id is burnt; another comes in its place.
	c.change(16, func(ctx context.Context, p *Partition) error { return p.Remove(ctx, 9) })
	p = c.add(16, 10, 3)
	await(t, "it begins once more", staging(p))
	c.stop(3)
}
