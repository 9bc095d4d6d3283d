package dledger

import (
	"bytes"
	"context"
	"math/rand/v2"
	"path/filepath"
	"testing"

	pb "github.com/lni/dragonboat/v4/raftpb"

	"github.com/stelemq/stele/dledger/raftfile"
	"github.com/stelemq/stele/internal/vfs"
	"github.com/stelemq/stele/protocol/record"
)

// moveLogStart has the leader move the log start so far before the high watermark.
func (c *testCluster) moveLogStart(shard ShardID, before record.Offset) record.Offset {
	c.t.Helper()
	var to record.Offset
	c.change(shard, func(ctx context.Context, p *Partition) error {
		to = p.Offsets().HighWatermark - before
		return p.AdvanceLogStart(ctx, to)
	})
	return to
}

// first is where a node's files of a partition begin.
func first(p *Partition) record.Offset { return p.shard.log.Segments()[0].Base }

// The segments below the log start go on all replicas; one that is down meanwhile gets what is left, and nothing else. All
// go on over restarts.
func TestTrim_DeletesOnAllReplicas(t *testing.T) {
	c := newCluster(t, 3)
	for i := range c.hosts {
		c.start(i)
	}
	c.create(16, LogConfig{SegmentBytes: 2 << 10, FlushMessages: 1})
	c.fill(16, 60)
	c.equal(16)
	down := (c.leader(16) + 1) % 3
	c.stop(down)
	c.fill(16, 100)
	start := c.moveLogStart(16, 20)
	c.fill(16, 5)
	for i, h := range c.hosts {
		if h == nil {
			continue
		}
		p := c.partition(i, 16)
		await(t, "segments are deleted", func() bool { return first(p) > start-60 && first(p) <= start })
		await(t, "records are deleted", func() bool {
			names, err := filepath.Glob(filepath.Join(p.shard.dir, "*.raft"))
			return err == nil && len(names) > 0 && filepath.Base(names[0]) >= raftfile.Name(first(p))
		})
	}
	c.start(down)
	p := c.partition(down, 16)
	await(t, "the lagging replica has what is left", func() bool {
		return p.Offsets() == c.partition(c.leader(16), 16).Offsets() && p.catching.installed.Load() == 1
	})
	if at := first(p); at <= start-60 || at > start {
		t.Fatalf("the files of the lagging replica begin at %d, the log at %d", at, start)
	}
	for i := range c.hosts {
		c.restart(i)
		c.leader(16)
	}
	c.fill(16, 30)
	for i := range c.hosts {
		p := c.partition(i, 16)
		lead := c.partition(c.leader(16), 16)
		await(t, "in step", func() bool { return p.Offsets() == lead.Offsets() })
		if got := p.Offsets().LogStart; got != start {
			t.Fatalf("node %d: log start %d, not %d", i+1, got, start)
		}
		for from := start; from < p.Offsets().HighWatermark; {
			b, _, err := p.Read(nil, ReadRequest{From: from, MaxBytes: 1 << 20, AtLeastOne: true})
			if err != nil || len(b) == 0 {
				t.Fatalf("node %d at %d: %d bytes, %v", i+1, from, len(b), err)
			}
			for len(b) > 0 {
				batch, rest, err := record.Next(b)
				if err != nil {
					t.Fatal(err)
				}
				from, b = batch.NextOffset(), rest
			}
		}
	}
	// Again, with everything gone but the newest segment.
	start = c.moveLogStart(16, 0)
	c.fill(16, 20)
	for i := range c.hosts {
		p := c.partition(i, 16)
		await(t, "segments are deleted again", func() bool { return first(p) > start-60 })
	}
}

// A lone replica does the same, and starts again from what is left.
func TestTrim_LoneReplica(t *testing.T) {
	c := newCluster(t, 1)
	c.start(0)
	c.create(16, LogConfig{SegmentBytes: 2 << 10, FlushMessages: 1})
	c.fill(16, 100)
	start := c.moveLogStart(16, 10)
	c.fill(16, 2)
	await(t, "segments are deleted", func() bool { return first(c.partition(0, 16)) > start-60 })
	c.restart(0)
	c.leader(16)
	if got := c.partition(0, 16).Offsets().LogStart; got != start {
		t.Fatalf("log start %d, not %d", got, start)
	}
	c.fill(16, 5)
}

// Power is lost at every operation while segments are deleted: what lies above the log start is there.
func TestTrim_PowerLossAtEveryOperation(t *testing.T) {
	b := &behindCase{}
	rng := rand.New(rand.NewPCG(6, 6))
	ents := behindLog(rng)
	last := &ents[len(ents)-1]
	seq := uint32(last.ClientID) & sequenceMask
	for i, cmd := range [][]byte{encodeCommand(commandLogStart, 45), encodeCommand(commandExpireProducers, 0)} {
		ents = append(ents, pb.Entry{
			Index: last.Index + uint64(i) + 1, Key: 1, Term: 3, Type: pb.EncodedEntry,
			ClientID: clientID(3, seq+uint32(i)+1, true), Cmd: append([]byte{0}, cmd...),
		})
	}
	mem := vfs.NewMem()
	efs := vfs.NewErrFS(mem)
	r, p, err := openBehind(efs, behindSpec(b))
	if err != nil {
		t.Fatal(err)
	}
	if err := feed(r, ents, 3, 1, uint64(len(ents))); err != nil {
		t.Fatal(err)
	}
	s := p.shard
	want, err := stored(s, s.log.End().Next)
	if err != nil {
		t.Fatal(err)
	}
	began := s.log.Segments()[0].Base
	crash := crashModes(rng)
	var points []*vfs.Mem
	efs.Plan(&vfs.Fault{Kinds: vfs.OpMutating, N: 1 << 60, Match: func(string) bool {
		points = append(points, crash(mem))
		return false
	}})
	if err := r.h.journal.Checkpoint(); err != nil {
		t.Fatal(err)
	}
	_, upTo, err := s.prepareTrim()
	if err != nil || upTo == 0 {
		t.Fatalf("up to %d, %v", upTo, err)
	}
	if err := r.h.db.RemoveEntriesTo(2, 1, uint64(upTo)); err != nil {
		t.Fatal(err)
	}
	if ready, _, err := s.prepareTrim(); err != nil || !ready {
		t.Fatalf("ready %v, %v", ready, err)
	}
	if n, err := s.deleteSuperfluous(); err != nil || n < 3 {
		t.Fatalf("%d segments deleted, %v", n, err)
	}
	efs.Plan(nil)
	points = append(points, mem.CrashClone(vfs.Crash{}))
	if err := r.close(); err != nil {
		t.Fatal(err)
	}
	points = append(points, mem)
	shorter := 0
	for i, fs := range points {
		r, p, err := openBehind(fs, behindSpec(b))
		if err != nil {
			t.Fatalf("operation %d of %d: %v", i, len(points), err)
		}
		s := p.shard
		if s.log.Segments()[0].Base > began {
			shorter++
		}
		got, err := stored(s, s.log.End().Next)
		if err != nil || s.last != Index(len(ents)) || !bytes.HasSuffix(got, want) {
			t.Fatalf("operation %d of %d: last %d, %d bytes from %d, want %d from 45: %v", i, len(points), s.last, len(got), s.log.LogStart(), len(want), err)
		}
		more := pb.Entry{Index: uint64(s.last) + 1, Term: 9, Key: 1}
		if err := feed(r, []pb.Entry{more}, 9, 1, more.Index); err != nil {
			t.Fatal(err)
		}
		if err := r.close(); err != nil {
			t.Fatal(err)
		}
	}
	if shorter == 0 || shorter == len(points) {
		t.Fatalf("%d of %d points have fewer segments", shorter, len(points))
	}
}
