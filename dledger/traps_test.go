package dledger

import (
	"bytes"
	"context"
	"errors"
	"math/rand/v2"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/lni/dragonboat/v4"
	"github.com/lni/dragonboat/v4/client"
	pb "github.com/lni/dragonboat/v4/raftpb"

	"github.com/stelemq/stele/dledger/raftfile"
	"github.com/stelemq/stele/internal/vfs"
	"github.com/stelemq/stele/protocol/record"
)

// The traps of building a partition on dragonboat, one test each, as far as one node shows them.

// proposed is a proposal on its way.
type proposed struct {
	client uint64
	cmd    []byte
}

// fakeRaft takes a partition's proposals; the test decides which become entries, and when.
type fakeRaft struct{ sent []proposed }

var _ dragonboat.INodeUser = (*fakeRaft)(nil)

func (f *fakeRaft) ShardID() uint64   { return 2 }
func (f *fakeRaft) ReplicaID() uint64 { return 1 }
func (f *fakeRaft) Propose(s *client.Session, cmd []byte, _ time.Duration) (*dragonboat.RequestState, error) {
	f.sent = append(f.sent, proposed{s.ClientID, append([]byte{0}, cmd...)})
	return &dragonboat.RequestState{}, nil
}
func (f *fakeRaft) ReadIndex(time.Duration) (*dragonboat.RequestState, error) { return nil, nil }

func (f *fakeRaft) take() []proposed {
	out := f.sent
	f.sent = nil
	return out
}

// fakePartition is a partition on a rig that leads term 1.
type fakePartition struct {
	*Partition
	raft *fakeRaft
	r    *rig
	term uint64
}

func newFakePartition(t *testing.T) *fakePartition {
	t.Helper()
	spec := soleSpecs()[0]
	r, err := openRig(vfs.NewMem(), []PartitionSpec{spec})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := r.close(); err != nil {
			t.Error(err)
		}
	})
	r.h.admission, r.h.space = newAdmission(1<<20), &spaceGuard{fs: r.h.opts.FS, dir: rigDir}
	f := &fakePartition{raft: &fakeRaft{}, r: r, term: 1}
	s := r.h.db.shards[spec.Shard]
	f.Partition = newPartition(r.h, spec, s)
	f.user, s.observer = f.raft, f.Partition
	f.leader(1, 1)
	if f.append(batchOf(t, 1, -1, -1, -1), AcksAll, nil) == nil {
		t.Fatal("appended before the no-op of the term")
	}
	f.save(t, true, pb.Entry{Type: pb.ApplicationEntry})
	return f
}

// save makes entries of the term and commits them, or not.
func (f *fakePartition) save(t *testing.T, commit bool, ents ...pb.Entry) {
	t.Helper()
	for i := range ents {
		ents[i].Index, ents[i].Term, ents[i].Key = uint64(f.shard.last)+uint64(i)+1, f.term, 1
	}
	st := pb.State{Term: f.term, Vote: 1, Commit: uint64(f.shard.committedTo)}
	if commit {
		st.Commit = uint64(f.shard.last) + uint64(len(ents))
	}
	if err := f.r.save([]pb.Update{{ShardID: 2, ReplicaID: 1, EntriesToSave: ents, State: st}}); err != nil {
		t.Fatal(err)
	}
}

// arrive makes proposals entries.
func (f *fakePartition) arrive(t *testing.T, commit bool, ps ...proposed) {
	t.Helper()
	ents := make([]pb.Entry, len(ps))
	for i, p := range ps {
		ents[i] = pb.Entry{Type: pb.EncodedEntry, ClientID: p.client, Cmd: p.cmd}
	}
	f.save(t, commit, ents...)
}

func (f *fakePartition) append(b []byte, acks Acks, done func(AppendResult)) error {
	if done == nil {
		done = func(AppendResult) {}
	}
	return f.Append(context.Background(), &AppendRequest{Batch: b, Acks: acks, Timeout: time.Minute, Done: done})
}

// submit makes a proposal of its own of a batch, however many are on their way.
func (f *fakePartition) submit(t *testing.T, b []byte, acks Acks, done func(AppendResult)) {
	t.Helper()
	if err := f.append(b, acks, done); err != nil {
		t.Fatal(err)
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if len(f.queue) == 0 {
		return
	}
	was := f.queueBytes
	f.queueBytes = entryBytesMax // as if it were a full entry
	f.proposeLocked()
	f.queueBytes -= entryBytesMax - was
}

func TestTrap_PatchingNeverModifiesCmd(t *testing.T) {
	r, err := openRig(vfs.NewMem(), soleSpecs())
	if err != nil {
		t.Fatal(err)
	}
	defer r.close() //nolint:errcheck // nothing is promised here
	rng := rand.New(rand.NewPCG(1, 1))
	l := newSoleLog(2)
	if err := l.lead(r); err != nil {
		t.Fatal(err)
	}
	for _, size := range []int{10, 3000, 100000} { // copied, written from where it lies, alone in its segment
		l.seq = nextSequence(l.seq)
		cmd := append(append([]byte{0}, testBatch(rng, size)...), testBatch(rng, size)...)
		before := bytes.Clone(cmd)
		var stop atomic.Bool
		var wg sync.WaitGroup
		wg.Go(func() { // the transport, which sends the slice meanwhile
			for !stop.Load() {
				_ = raftfile.Castagnoli(0, cmd)
			}
		})
		err := l.save(r, pb.Entry{Type: pb.EncodedEntry, ClientID: clientID(Term(l.term), l.seq, false), Cmd: cmd})
		stop.Store(true)
		wg.Wait()
		if err != nil || !bytes.Equal(cmd, before) {
			t.Fatalf("%d bytes: the command was modified (%v)", size, err)
		}
	}
}

func TestTrap_WhatAnotherTermValidatedIsVoid(t *testing.T) {
	f := newFakePartition(t)
	answered := make(chan AppendResult, 1)
	f.submit(t, batchOf(t, 3, -1, -1, -1), AcksAll, func(r AppendResult) { answered <- r })
	late := f.raft.take()
	f.leader(2, 0) // the term ends
	if r := <-answered; !errors.Is(r.Err, ErrNotLeader) {
		t.Fatalf("%+v", r)
	}
	f.term = 2
	f.leader(2, 1)
	f.save(t, true, pb.Entry{Type: pb.ApplicationEntry})
	end := f.shard.log.End()
	f.arrive(t, true, late...)
	if got := f.shard.log.End(); got != end {
		t.Fatalf("the log grew from %+v to %+v", end, got)
	}
	if k := f.shard.recs[len(f.shard.recs)-1].Kind; k != raftfile.KindVoid {
		t.Fatalf("kind %d", k)
	}
}

func TestTrap_AFollowerForwardsNothing(t *testing.T) {
	f := newFakePartition(t)
	f.leader(2, 2)
	if err := f.append(batchOf(t, 1, -1, -1, -1), AcksAll, nil); !errors.Is(err, ErrNotLeader) {
		t.Fatalf("append: %v", err)
	}
	if err := f.propose(t.Context(), encodeCommand(commandLogStart, 0)); !errors.Is(err, ErrNotLeader) {
		t.Fatalf("command: %v", err)
	}
	if n := len(f.raft.take()); n != 0 {
		t.Fatalf("%d proposals", n)
	}
}

// Raft drops some of the proposals: they and all behind them are proposed again, and stand in the log in their order, once.
func TestTrap_AGapIsProposedAgainInOrder(t *testing.T) {
	for dropped := range 6 {
		f := newFakePartition(t)
		var order []record.Offset
		for i := range 6 {
			f.submit(t, batchOf(t, 1+i, -1, -1, -1), AcksAll, func(r AppendResult) {
				if r.Err != nil {
					t.Error(r.Err)
				}
				order = append(order, r.BaseOffset)
			})
		}
		ps := f.raft.take()
		if len(ps) != 6 {
			t.Fatalf("%d proposals", len(ps))
		}
		f.arrive(t, true, append(append([]proposed(nil), ps[:dropped]...), ps[dropped+1:]...)...)
		again := f.raft.take()
		if dropped == 5 { // nothing came behind it: the sweeper finds out
			if len(again) != 0 {
				t.Fatal("proposed again without need")
			}
			f.inflight[0].state = nil
			f.sweep(time.Now())
			again = f.raft.take()
		}
		if len(again) != 6-dropped {
			t.Fatalf("dropped %d: %d proposed again", dropped, len(again))
		}
		f.arrive(t, true, again...)
		if n := len(f.raft.take()); n != 0 {
			t.Fatalf("dropped %d: %d more proposals after all have arrived", dropped, n)
		}
		if len(order) != 6 {
			t.Fatalf("dropped %d: %d answers", dropped, len(order))
		}
		want := record.Offset(0)
		for i, o := range order {
			if o != want {
				t.Fatalf("dropped %d: answers %v", dropped, order)
			}
			want += record.Offset(1 + i)
		}
		if end := f.shard.log.End().Next; end != want {
			t.Fatalf("dropped %d: log end %d, want %d", dropped, end, want)
		}
	}
}

// The twins of proposals that were made twice are void; they are no reason to propose anything again.
func TestTrap_TwinsMakeNoMoreTwins(t *testing.T) {
	f := newFakePartition(t)
	for range 3 {
		f.submit(t, batchOf(t, 1, -1, -1, -1), AcksAll, nil)
	}
	first := f.raft.take()
	f.mu.Lock()
	f.reproposeLocked() // although nothing was lost
	f.reproposed = 0
	f.mu.Unlock()
	twins := f.raft.take()
	f.arrive(t, true, first...)
	f.submit(t, batchOf(t, 1, -1, -1, -1), AcksAll, nil)
	next := f.raft.take()
	f.arrive(t, true, twins...)
	if n := len(f.raft.take()); n != 0 {
		t.Fatalf("%d proposals because of twins", n)
	}
	f.arrive(t, true, next...)
	if end := f.shard.log.End().Next; end != 4 {
		t.Fatalf("log end %d", end)
	}
}

// A timeout answers the client, who may use the buffer again; the batch stays in flight with what it was.
func TestTrap_ATimeoutIsNoRefusal(t *testing.T) {
	f := newFakePartition(t)
	b := batchOf(t, 2, -1, -1, -1)
	var got AppendResult
	f.submit(t, b, AcksAll, func(r AppendResult) { got = r })
	f.raft.take() // dropped
	f.sweep(time.Now().Add(time.Hour))
	if !errors.Is(got.Err, ErrTimeout) {
		t.Fatalf("%+v", got)
	}
	f.mu.Lock()
	f.reproposed = 0
	f.reproposeLocked()
	f.mu.Unlock()
	f.arrive(t, true, f.raft.take()...)
	stored, _, err := f.Read(nil, ReadRequest{MaxBytes: 1 << 20})
	if err != nil || len(stored) != len(b) || !bytes.Equal(stored[record.PatchLen:], b[record.PatchLen:]) {
		t.Fatalf("stored %d bytes: %v", len(stored), err)
	}
}

// A batch repeated while it is in flight is answered as its own acks ask, not as those of the first.
func TestPartition_RepetitionWaitsForItsOwnAcks(t *testing.T) {
	f := newFakePartition(t)
	var order []string
	note := func(s string) func(AppendResult) {
		return func(r AppendResult) {
			if r.Err != nil || r.BaseOffset != 0 {
				t.Errorf("%s: %+v", s, r)
			}
			order = append(order, s)
		}
	}
	f.submit(t, batchOf(t, 1, 7, 0, 0), AcksNone, note("none"))
	if err := f.append(batchOf(t, 1, 7, 0, 0), AcksAll, note("all")); err != nil {
		t.Fatal(err)
	}
	if err := f.append(batchOf(t, 1, 7, 0, 0), AcksLeader, note("leader")); err != nil {
		t.Fatal(err)
	}
	ps := f.raft.take()
	f.arrive(t, false, ps...)
	if len(order) != 2 || order[0] != "none" || order[1] != "leader" {
		t.Fatalf("saved: %v", order)
	}
	f.submit(t, batchOf(t, 1, -1, -1, -1), AcksNone, nil)
	f.arrive(t, true, f.raft.take()...)
	if len(order) != 3 || len(ps) != 1 {
		t.Fatalf("committed: %v, %d proposals", order, len(ps))
	}
	if n := f.pendingN.Load(); n != 0 {
		t.Fatalf("%d still pending", n)
	}
	if n := f.host.admission.inUse(); n != 0 {
		t.Fatalf("%d bytes still in flight", n)
	}
}

// The bound holds, blocks, serves in order of arrival, and lets one that is larger than it pass alone.
func TestTrap_AdmissionBoundIsHeldAndBlocks(t *testing.T) {
	a := newAdmission(100)
	ctx := t.Context()
	for range 2 {
		if err := a.acquire(ctx, 50); err != nil {
			t.Fatal(err)
		}
	}
	short, cancel := context.WithTimeout(ctx, time.Millisecond)
	defer cancel()
	if err := a.acquire(short, 1); !errors.Is(err, context.DeadlineExceeded) {
		t.Fatalf("over the bound: %v", err)
	}
	var served atomic.Int32
	var wg sync.WaitGroup
	for i, n := range []int64{80, 10, 500} { // the last one alone
		wg.Go(func() {
			if err := a.acquire(ctx, n); err != nil {
				t.Error(err)
			}
			served.Add(1)
			a.release(n)
		})
		for { // the next one comes later
			a.mu.Lock()
			waiting := len(a.waiters)
			a.mu.Unlock()
			if waiting == i+1 {
				break
			}
			runtime.Gosched()
		}
	}
	if a.inUse() != 100 {
		t.Fatalf("%d in use", a.inUse())
	}
	a.release(50)
	a.mu.Lock()
	if len(a.waiters) != 3 {
		t.Error("the small one overtook the large one")
	}
	a.mu.Unlock()
	a.release(50)
	wg.Wait()
	if a.inUse() != 0 || served.Load() != 3 {
		t.Fatalf("%d in use, %d served", a.inUse(), served.Load())
	}
}

func TestTrap_BytesInFlightAreBounded(t *testing.T) {
	const limit = 64 << 10
	h, ps := startHost(t, t.TempDir(), 2, 1, Options{InFlightBytes: limit})
	defer closeHost(t, h)
	var wg sync.WaitGroup
	var most atomic.Int64
	for i := range 16 {
		wg.Go(func() {
			for range 10 {
				if r := appendWait(t, ps[i%2], batchOf(t, 500, -1, -1, -1)); r.Err != nil {
					t.Error(r.Err)
				}
				if n := h.InFlightBytes(); n > most.Load() {
					most.Store(n)
				}
			}
		})
	}
	wg.Wait()
	if most.Load() > limit {
		t.Fatalf("%d bytes in flight at most", most.Load())
	}
	await(t, "nothing is in flight", func() bool { return h.InFlightBytes() == 0 }) // it is given back after the answer
}

// A group with one voter campaigns at once: it leads before an election timeout could have passed.
func TestTrap_ASingleVoterCampaignsAtOnce(t *testing.T) {
	h, _ := startHost(t, t.TempDir(), 0, 1, Options{})
	defer closeHost(t, h)
	best := time.Hour
	for i := range ShardID(10) {
		spec := soleSpecs()[0]
		spec.Topic, spec.Shard = string(rune('a'+i)), 10+i
		began := time.Now()
		p, err := h.StartPartition(t.Context(), spec)
		if err != nil {
			t.Fatal(err)
		}
		awaitLeader(t, p)
		best = min(best, time.Since(began))
	}
	if best >= tickMillis*electionTicks*time.Millisecond {
		t.Fatalf("the fastest of ten took %v", best)
	}
}

// The commit index that Raft is told at the start is one that the log has: else dragonboat panics.
func TestTrap_CommitIsNeverBeyondTheLog(t *testing.T) {
	spec := rigSpecs()[2] // relaxed: a power loss takes the tail
	mem := vfs.NewMem()
	r, err := openRig(mem, []PartitionSpec{spec})
	if err != nil {
		t.Fatal(err)
	}
	l := newSoleLog(spec.Shard)
	rng := rand.New(rand.NewPCG(1, 2))
	if err := l.lead(r); err != nil {
		t.Fatal(err)
	}
	for range 10 {
		if err := l.append(r, rng, 100); err != nil {
			t.Fatal(err)
		}
	}
	// The records' frame is durable, their bytes are not.
	lost := mem.CrashClone(vfs.Crash{Lossy: func(n string) bool { return len(n) > 4 && n[len(n)-4:] == ".log" }})
	if err := r.close(); err != nil {
		t.Fatal(err)
	}
	if r, err = openRig(lost, []PartitionSpec{spec}); err != nil {
		t.Fatal(err)
	}
	defer r.close() //nolint:errcheck // nothing is promised here
	rs, err := r.h.db.ReadRaftState(uint64(spec.Shard), 1, 0)
	last := rs.FirstIndex + rs.EntryCount - 1
	if err != nil || rs.State.Commit > last || last >= l.index {
		t.Fatalf("%v: commit %d, last %d of %d", err, rs.State.Commit, last, l.index)
	}
}

// What the state machine said before a start is not asked again for its bytes; a leader that sends entries to a follower
// reads them.
func TestTrap_StubsAreForReplayOnly(t *testing.T) {
	image, logs := soleImage(t, false)
	r, err := openRig(image, soleSpecs())
	if err != nil {
		t.Fatal(err)
	}
	defer r.close() //nolint:errcheck // nothing is promised here
	s := r.h.db.shards[2]
	stubs := func() (n int) {
		ents, _, err := s.iterate(nil, 0, s.first, s.last+1, 0, throttle{})
		if err != nil {
			t.Fatal(err)
		}
		for i := range ents {
			if ents[i].ClientID != 0 && ents[i].ClientID&commandBit == 0 && bytes.Equal(ents[i].Cmd, noBytes()) {
				n++
			}
		}
		return n
	}
	if stubs() == 0 {
		t.Fatal("nothing was committed before the start")
	}
	if err := logs[0].lead(r); err != nil {
		t.Fatal(err)
	}
	if n := stubs(); n != 0 {
		t.Fatalf("%d entries without bytes for a follower", n)
	}
}
