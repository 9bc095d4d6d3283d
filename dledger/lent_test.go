package dledger

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	pb "github.com/lni/dragonboat/v4/raftpb"

	"github.com/stelemq/stele/dledger/raftfile"
	"github.com/stelemq/stele/protocol/record"
)

// A single replica's partition lends Raft the bytes of its proposals; see lent.go.

func lentBatch(seed uint64, payload int) record.Batch {
	return testBatch(rand.New(rand.NewPCG(seed, seed)), payload)
}

// stored reads all that f has.
func (f *fakePartition) stored(t *testing.T) []byte {
	t.Helper()
	b, _, err := f.Read(nil, ReadRequest{MaxBytes: 1 << 24})
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// sameStored compares what is stored with batches, but for what the log patches.
func sameStored(stored []byte, want ...record.Batch) error {
	for i, w := range want {
		if len(stored) < len(w) {
			return fmt.Errorf("batch %d: %d bytes are left, want %d", i, len(stored), len(w))
		}
		got := record.Batch(stored[:len(w)])
		if !bytes.Equal(got[record.PatchLen:], w[record.PatchLen:]) {
			return fmt.Errorf("batch %d differs", i)
		}
		if err := got.VerifyCRC(); err != nil {
			return fmt.Errorf("batch %d: %w", i, err)
		}
		stored = stored[len(w):]
	}
	if len(stored) > 0 {
		return fmt.Errorf("%d bytes too many", len(stored))
	}
	return nil
}

func (l *lender) count() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.lent)
}

func TestLent_RaftGetsNoBytes(t *testing.T) {
	f := newFakePartition(t)
	small, large := lentBatch(1, lendMin/2), lentBatch(2, 300<<10)
	for _, b := range []record.Batch{small, large} {
		f.submit(t, b, AcksAll, nil)
	}
	ps := f.raft.take()
	if len(ps) != 2 || !bytes.Equal(ps[0].cmd[1:], small) || len(ps[1].cmd) != 2 {
		t.Fatalf("%d proposals", len(ps))
	}
	f.arrive(t, true, ps...)
	if err := sameStored(f.stored(t), small, large); err != nil {
		t.Fatal(err)
	}
	if n := f.shard.lender.count(); n != 0 {
		t.Fatalf("%d loans are left", n)
	}
}

// What comes in while a proposal is on its way is joined in a buffer that is used again.
func TestLent_SeveralBatchesInOneEntry(t *testing.T) {
	f := newFakePartition(t)
	var want []record.Batch
	for round := range uint64(20) {
		for i := range uint64(3) {
			b := lentBatch(10*round+i, 3000)
			want = append(want, b)
			if err := f.append(b, AcksAll, nil); err != nil {
				t.Fatal(err)
			}
		}
		// The first is on its way alone, the others together.
		for _, size := range []int{2 + record.HeaderLen + 3000, 2} {
			ps := f.raft.take()
			if len(ps) != 1 || len(ps[0].cmd) > size {
				t.Fatalf("%d proposals", len(ps))
			}
			f.arrive(t, true, ps...)
		}
	}
	if err := sameStored(f.stored(t), want...); err != nil {
		t.Fatal(err)
	}
}

// The bytes may be used for something else from the answer on, and not before: whoever takes them earlier is found out.
func TestLent_BytesAreFreeAfterTheAnswerOnly(t *testing.T) {
	for _, early := range []bool{false, true} {
		f := newFakePartition(t)
		b := lentBatch(3, 100<<10)
		want := bytes.Clone(b)
		free := func() {
			for i := range b {
				b[i] = poison
			}
		}
		f.submit(t, b, AcksAll, func(r AppendResult) {
			if r.Err != nil {
				t.Error(r.Err)
			}
			free()
		})
		if early {
			free()
			ents := []pb.Entry{{Type: pb.EncodedEntry, ClientID: f.raft.take()[0].client, Cmd: []byte{0, lentMark}, Index: uint64(f.shard.last) + 1, Term: f.term}}
			if _, _, err := f.shard.appendEntries(ents); err == nil {
				t.Fatal("poisoned bytes were stored")
			}
			continue
		}
		f.arrive(t, true, f.raft.take()...)
		if err := sameStored(f.stored(t), want); err != nil {
			t.Fatal(err)
		}
	}
}

// An entry that counts is never stored without its bytes, nor with others.
func TestLent_EntryWithoutBytesEndsTheProcess(t *testing.T) {
	f := newFakePartition(t)
	f.submit(t, lentBatch(4, 8<<10), AcksAll, nil)
	p := f.raft.take()[0]
	f.shard.lender.take(p.client) // the sabotage
	before := f.shard.last
	ents := []pb.Entry{{Type: pb.EncodedEntry, ClientID: p.client, Cmd: p.cmd, Index: uint64(before) + 1, Term: f.term}}
	if _, _, err := f.shard.appendEntries(ents); !errors.Is(err, errBytesGone) || f.shard.last != before {
		t.Fatalf("%v, %d entries", err, f.shard.last-before)
	}
}

// A proposal that is void keeps its bytes: it is made again. Its twin needs none.
func TestLent_AGapAndATwin(t *testing.T) {
	f := newFakePartition(t)
	a, b := lentBatch(5, 8<<10), lentBatch(6, 8<<10)
	f.submit(t, a, AcksAll, nil)
	f.submit(t, b, AcksAll, nil)
	first := f.raft.take()
	f.arrive(t, true, first[1]) // the other one was dropped: void
	f.mu.Lock()
	f.reproposed = 0
	f.reproposeLocked()
	f.mu.Unlock()
	again := f.raft.take()
	if len(again) < 2 {
		again = append(again, first[1])
	}
	f.arrive(t, true, again...)
	f.arrive(t, true, first...) // twins
	if err := sameStored(f.stored(t), a, b); err != nil {
		t.Fatal(err)
	}
	if n := f.shard.lender.count(); n != 0 {
		t.Fatalf("%d loans are left", n)
	}
	// To a replica that has joined meanwhile the void ones go without bytes.
	for i := f.shard.last; i > f.shard.last-2; i-- {
		m := pb.Message{Entries: []pb.Entry{{Type: pb.EncodedEntry, Index: uint64(i), Term: f.term, ClientID: first[i-f.shard.last+1].client, Cmd: []byte{0, lentMark}}}}
		if !f.shard.complete(&m) || !bytes.Equal(m.Entries[0].Cmd, noBytes()) {
			t.Fatalf("entry %d: %d bytes", i, len(m.Entries[0].Cmd))
		}
	}
}

// When a term is over its loans are: what Raft has of it by then is appended before.
func TestLent_EndsWithItsTerm(t *testing.T) {
	f := newFakePartition(t)
	a, b := lentBatch(7, 8<<10), lentBatch(8, 8<<10)
	f.submit(t, a, AcksAll, nil)
	f.submit(t, b, AcksAll, nil)
	ps := f.raft.take()
	last := uint64(f.shard.last)
	err := f.r.save([]pb.Update{{
		ShardID: 2, ReplicaID: 1, State: pb.State{Term: 2, Vote: 1, Commit: last + 1}, LeaderUpdate: pb.LeaderUpdate{Term: 2},
		EntriesToSave: []pb.Entry{
			{Type: pb.EncodedEntry, Index: last + 1, Term: 1, Key: 1, ClientID: ps[0].client, Cmd: ps[0].cmd},
			{Type: pb.EncodedEntry, Index: last + 2, Term: 2, Key: 1, ClientID: ps[1].client, Cmd: ps[1].cmd}, // void: of another term
		},
	}})
	if err != nil {
		t.Fatal(err)
	}
	if n := f.shard.lender.count(); n != 0 {
		t.Fatalf("%d loans are left", n)
	}
	if err := sameStored(f.stored(t), a); err != nil {
		t.Fatal(err)
	}
	if r, err := f.shard.recordLocked(Index(last + 2)); err != nil || r.Kind != raftfile.KindVoid {
		t.Fatalf("%+v, %v", r, err)
	}
}

// What goes to another node carries its bytes, wherever they are; Raft's own entries stay as they are.
func TestLent_ToAnotherNode(t *testing.T) {
	f := newFakePartition(t)
	b := lentBatch(9, 8<<10)
	f.submit(t, b, AcksAll, nil)
	p := f.raft.take()[0]
	e := pb.Entry{Type: pb.EncodedEntry, Index: uint64(f.shard.last) + 1, Term: f.term, ClientID: p.client, Cmd: p.cmd}
	check := func(when string, e pb.Entry, sent bool) {
		t.Helper()
		own := []pb.Entry{{Type: pb.ApplicationEntry, Index: e.Index - 1, Term: e.Term}, e}
		m := pb.Message{Type: pb.Replicate, Entries: own}
		if ok := f.shard.complete(&m); ok != sent {
			t.Fatalf("%s: complete is %v", when, ok)
		}
		if !isLent(&own[1]) {
			t.Fatalf("%s: Raft's entry was changed", when)
		}
		if sent && (len(m.Entries) != 2 || !bytes.Equal(m.Entries[1].Cmd[1:][record.PatchLen:], b[record.PatchLen:]) || !intact(m.Entries)) {
			t.Fatalf("%s: other bytes", when)
		}
		if intact(own) {
			t.Fatalf("%s: another node would take an entry without bytes", when)
		}
	}
	check("before the append", e, true)
	f.arrive(t, true, p)
	check("after it", e, true)
	check("of another term", pb.Entry{Type: e.Type, Index: e.Index, Term: e.Term + 1, ClientID: e.ClientID, Cmd: e.Cmd}, false)
	check("of another proposal", pb.Entry{Type: e.Type, Index: e.Index, Term: e.Term, ClientID: e.ClientID + 1, Cmd: e.Cmd}, false)
	check("behind the end", pb.Entry{Type: e.Type, Index: e.Index + 1, Term: e.Term, ClientID: e.ClientID + 1, Cmd: e.Cmd}, false)
}

// A partition with one replica grows to three while large batches come in.
func TestLent_PartitionGrows(t *testing.T) {
	c := newCluster(t, 3)
	const shard = ShardID(16)
	for i := range 3 {
		c.start(i)
	}
	c.specs[shard] = PartitionSpec{
		Topic: "grows", Shard: shard, Members: map[ReplicaID]int32{1: 1}, Config: LogConfig{SegmentBytes: 1 << 20, FlushMessages: 1 << 40},
	}
	c.run(0, c.specs[shard])
	c.leader(shard)
	p := c.partition(0, shard)
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	var wg sync.WaitGroup
	var acked atomic.Int64
	for w := range uint64(4) {
		wg.Go(func() {
			for n := uint64(0); ctx.Err() == nil; n++ {
				b := lentBatch(w<<32|n, 20<<10)
				done := make(chan AppendResult, 1)
				if p.Append(ctx, &AppendRequest{Batch: b, Acks: AcksAll, Timeout: 20 * time.Second, Done: func(r AppendResult) { done <- r }}) != nil {
					continue
				}
				if r := <-done; r.Err == nil {
					acked.Add(1)
					for i := range b { // it may be used for something else now
						b[i] = poison
					}
				}
			}
		})
	}
	for id := ReplicaID(2); id <= 3; id++ {
		at := acked.Load()
		await(t, "records of the leader alone", func() bool { return acked.Load() > at+50 })
		c.add(shard, id, int(id)-1) //nolint:gosec // small
		c.change(shard, func(ctx context.Context, p *Partition) error { return p.Promote(ctx, id) })
	}
	stop()
	wg.Wait()
	c.equal(shard)
	for rest := content(t, p); len(rest) > 0; {
		b, after, err := record.Next(rest)
		if err != nil || b.Validate() != nil {
			t.Fatalf("a batch does not check: %v", err)
		}
		rest = after
	}
}
