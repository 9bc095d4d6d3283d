package dledger

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/stelemq/stele/protocol/record"
)

// nextGeneration is what the metadata says after an unclean election: one founder, the others joining.
func nextGeneration(old PartitionSpec, shard ShardID, survivor int) PartitionSpec {
	next := old
	next.Shard, next.Generation = shard, old.Generation+1
	next.Members = map[ReplicaID]int32{10: int32(survivor + 1)}
	next.Replica = 10
	return next
}

// Two of three nodes are gone for ever; the third goes on with everything it has, in higher epochs.
func TestGeneration_SurvivorGoesOn(t *testing.T) {
	c := newCluster(t, 3)
	for i := range c.hosts {
		c.start(i)
	}
	c.create(16, LogConfig{SegmentBytes: 4 << 10, FlushMessages: 1, UncleanLeaderElection: true})
	for n := range 30 {
		if r := c.produce(16, batchOf(t, 3, 7, 0, int32(3*n))); r.Err != nil {
			t.Fatal(r.Err)
		}
	}
	c.equal(16)
	lead := c.leader(16)
	survivor := (lead + 1) % 3
	before := content(t, c.partition(survivor, 16))
	epoch := c.partition(lead, 16).Leadership().Epoch
	c.stop(lead)
	c.stop((lead + 2) % 3)

	old := c.specs[16]
	old.Replica = ReplicaID(survivor + 1)
	next := nextGeneration(old, 17, survivor)
	delete(c.specs, 16)
	for _, restart := range []bool{false, true} { // the second time after a restart in between
		if restart {
			c.stop(survivor)
			c.start(survivor)
		} else if err := c.hosts[survivor].StopPartition(old); err != nil {
			t.Fatal(err)
		}
		h := c.hosts[survivor]
		if restart {
			if _, err := h.StartPartition(context.Background(), old); !errors.Is(err, ErrOldGeneration) {
				t.Fatalf("the old generation over the new one: %v", err)
			}
		}
		p, err := h.StartPartition(context.Background(), next)
		if err != nil {
			t.Fatal(err)
		}
		awaitLeader(t, p)
		if e := p.Leadership().Epoch; e <= epoch || e>>generationShift != 1 {
			t.Fatalf("leader epoch %d after %d", e, epoch)
		}
		if got := content(t, p); string(got[:len(before)]) != string(before) {
			t.Fatal("the log has changed")
		}
		if restart {
			break
		}
		// A batch that was acknowledged before is still known, one that follows gets the next offset.
		if r := appendWait(t, p, batchOf(t, 3, 7, 0, 87)); r.Err != nil || r.BaseOffset != 87 {
			t.Fatalf("duplicate: %+v", r)
		}
		if r := appendWait(t, p, batchOf(t, 3, 7, 0, 90)); r.Err != nil || r.BaseOffset != 90 {
			t.Fatalf("after the election: %+v", r)
		}
	}
}

// A directory of another topic is not taken over.
func TestGeneration_OfAnotherTopicIsRefused(t *testing.T) {
	c := newCluster(t, 1)
	c.start(0)
	spec := PartitionSpec{Topic: "t", TopicID: [16]byte{1}, Shard: 16, Replica: 1, Members: map[ReplicaID]int32{1: 1}, Config: LogConfig{SegmentBytes: 1 << 20, FlushMessages: 1}}
	p, err := c.hosts[0].StartPartition(context.Background(), spec)
	if err != nil {
		t.Fatal(err)
	}
	awaitLeader(t, p)
	appendWait(t, p, batchOf(t, 1, -1, -1, -1))
	if err := c.hosts[0].StopPartition(spec); err != nil {
		t.Fatal(err)
	}
	next := nextGeneration(spec, 17, 0)
	next.TopicID = [16]byte{2}
	if _, err := c.hosts[0].StartPartition(context.Background(), next); err == nil {
		t.Fatal("it was taken over")
	}
	p, err = c.hosts[0].StartPartition(context.Background(), spec)
	if err != nil {
		t.Fatal(err)
	}
	awaitLeader(t, p)
	if hw := p.Offsets().HighWatermark; hw != 1 {
		t.Fatalf("high watermark %d", hw)
	}
}

// A leader of a topic that allows unclean election acknowledges nothing while the controller may take it for gone.
func TestGeneration_FenceStopsAcknowledging(t *testing.T) {
	h, ps := startHost(t, t.TempDir(), 1, 1, Options{ControllerLease: time.Second})
	defer closeHost(t, h)
	p := ps[0]
	p.SetConfig(LogConfig{SegmentBytes: 1 << 20, FlushMessages: 1, UncleanLeaderElection: true})
	if r := appendWait(t, p, batchOf(t, 1, -1, -1, -1)); !errors.Is(r.Err, ErrNotLeader) {
		t.Fatalf("never heard the controller: %+v", r)
	}
	h.HeardController(time.Now())
	if r := appendWait(t, p, batchOf(t, 1, -1, -1, -1)); r.Err != nil || r.BaseOffset != 0 {
		t.Fatalf("within the lease: %+v", r)
	}
	h.HeardController(time.Now().Add(-time.Hour)) // an old answer takes nothing away
	if p.fenced() {
		t.Fatal("fenced by an old answer")
	}
	h.controllerAt.Store(monotonic() - int64(2*time.Second))
	if r := appendWait(t, p, batchOf(t, 1, -1, -1, -1)); !errors.Is(r.Err, ErrNotLeader) {
		t.Fatalf("after the lease: %+v", r)
	}
	// What is on its way when the lease ends is not acknowledged either.
	p.mu.Lock()
	done := make(chan AppendResult, 1)
	due := p.answerLocked(&pendingAppend{acks: AcksAll, base: 5, done: func(r AppendResult) { done <- r }}, nil, nil)
	p.mu.Unlock()
	if len(due) != 1 || !errors.Is(due[0].res.Err, ErrTimeout) || due[0].res.BaseOffset != record.NoOffset {
		t.Fatalf("on its way: %+v", due)
	}
	p.SetConfig(LogConfig{SegmentBytes: 1 << 20, FlushMessages: 1})
	if r := appendWait(t, p, batchOf(t, 1, -1, -1, -1)); r.Err != nil {
		t.Fatalf("a topic that does not allow it: %+v", r)
	}
}
