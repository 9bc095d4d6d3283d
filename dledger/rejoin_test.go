package dledger

import (
	"context"
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
