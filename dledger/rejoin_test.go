package dledger

import (
	"context"
	"errors"
	"testing"
)

// A replica that joined and was promoted starts again: the log that it starts from says first that it is a learner.
func TestRestart_OfAPromotedReplica(t *testing.T) {
	c := newCluster(t, 4)
	for i := range c.hosts {
		c.start(i)
	}
	spec := PartitionSpec{
		Topic: "t", Partition: 16, Shard: 16, Members: map[ReplicaID]int32{1: 1, 2: 2, 3: 3},
		Config: LogConfig{SegmentBytes: 1 << 20, FlushMessages: 1},
	}
	c.specs[16] = spec
	for i := range 3 {
		c.run(i, spec)
	}
	c.fill(16, 5)
	c.add(16, 4, 3)
	c.change(16, func(ctx context.Context, p *Partition) error { return p.Promote(ctx, 4) })
	c.fill(16, 5)
	c.equal(16)

	delete(c.specs, 16) // the host is started without it, and it as what it is
	joined := spec
	joined.Replica, joined.Join = 4, true
	for range 2 {
		c.stop(3)
		c.start(3)
		p, err := c.hosts[3].StartPartition(context.Background(), joined)
		if err != nil {
			t.Fatal(err)
		}
		c.specs[16] = spec
		c.fill(16, 5)
		delete(c.specs, 16)
		await(t, "the promoted replica votes again", func() bool {
			self, known := p.roster.Load().find(4)
			return known && self.voter && p.Offsets().HighWatermark == c.partition(0, 16).Offsets().HighWatermark
		})
	}
}

// Once a founder has been replaced by the metadata the others are told to join, should they have to begin anew. One that
// has begun goes on as what it is: a voter, also where its log is still whole from the first entry.
func TestRestart_OfAFounderAmongReplacedOnes(t *testing.T) {
	c := newCluster(t, 3)
	spec := PartitionSpec{
		Topic: "t", Partition: 16, Shard: 16, Members: map[ReplicaID]int32{1: 1, 2: 2, 3: 3},
		Config: LogConfig{SegmentBytes: 1 << 20, FlushMessages: 1},
	}
	for i := range c.hosts {
		c.start(i)
		c.run(i, spec)
	}
	c.specs[16] = spec
	c.fill(16, 5)
	delete(c.specs, 16) // the host is started without it
	c.stop(1)
	c.start(1)
	again := spec
	again.Replica, again.Join, again.Members = 2, true, map[ReplicaID]int32{2: 2, 3: 3, 4: 1}
	p, err := c.hosts[1].StartPartition(t.Context(), again)
	if err != nil {
		t.Fatal(err)
	}
	c.specs[16] = spec
	c.fill(16, 5)
	await(t, "it votes and has all", func() bool {
		self, known := p.roster.Load().find(2)
		return known && self.voter && p.Offsets().HighWatermark == c.partition(0, 16).Offsets().HighWatermark
	})
}

// Replica ids are never reused and only grow. Metadata that is being replayed may speak of a replica that was replaced
// long ago: it must neither be opened on the files of the later one nor delete them.
func TestStart_OfAReplacedReplicaLeavesTheLaterOneAlone(t *testing.T) {
	dir := t.TempDir()
	spec := PartitionSpec{Topic: "t", Partition: 0, Shard: 16, Replica: 4, Members: map[ReplicaID]int32{4: 1}, Config: LogConfig{SegmentBytes: 1 << 20, FlushMessages: 1}}
	h, _ := startHost(t, dir, 1, 0, Options{})
	p, err := h.StartPartition(t.Context(), spec)
	if err != nil {
		t.Fatal(err)
	}
	await(t, "it leads", p.isLeader.Load)
	appendN(t, p, 0, 5)
	closeHost(t, h)

	h, _ = startHost(t, dir, 1, 0, Options{})
	defer func() { closeHost(t, h) }()
	old := spec
	old.Replica, old.Members = 2, map[ReplicaID]int32{2: 1}
	if _, err := h.StartPartition(t.Context(), old); !errors.Is(err, ErrOldGeneration) {
		t.Fatalf("%v, want %v", err, ErrOldGeneration)
	}
	if err := h.DeletePartition(old); err != nil {
		t.Fatal(err)
	}
	if p, err = h.StartPartition(t.Context(), spec); err != nil {
		t.Fatal(err)
	}
	await(t, "it leads again", p.isLeader.Load)
	wantLog(t, p, 0, 5)
	if err := h.DeletePartition(old); err != nil || h.partition(16) == nil {
		t.Fatalf("%v: the later replica must go on", err)
	}
	wantLog(t, p, 0, 5)

	// A later one begins anew: what the former has promised ended with it.
	closeHost(t, h)
	h, _ = startHost(t, dir, 1, 0, Options{})
	later := spec
	later.Replica, later.Members = 7, map[ReplicaID]int32{7: 1}
	if p, err = h.StartPartition(t.Context(), later); err != nil {
		t.Fatal(err)
	}
	wantLog(t, p, 0, 0)
}
