package dledger

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/lni/dragonboat/v4/raftio"
	pb "github.com/lni/dragonboat/v4/raftpb"

	"github.com/stelemq/stele/internal/vfs"
)

// What dragonboat expects of its log storage, after its own tests of pebble and tan.

// contractRig is a shard with a no-op and nine entries of 100 bytes and more, all committed.
func contractRig(t *testing.T, fsys vfs.FS) (*rig, *soleLog) {
	t.Helper()
	r, err := openRig(fsys, soleSpecs())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := r.close(); err != nil {
			t.Error(err)
		}
	})
	l, rng := newSoleLog(2), rand.New(rand.NewPCG(4, 4))
	if err := l.lead(r); err != nil {
		t.Fatal(err)
	}
	for range 9 {
		if err := l.append(r, rng, 100); err != nil {
			t.Fatal(err)
		}
	}
	return r, l
}

func TestLogDB_IterateEntriesBySize(t *testing.T) {
	r, l := contractRig(t, vfs.NewMem())
	db := r.h.db
	all, size, err := db.IterateEntries(nil, 0, 2, 1, 1, 11, 0)
	if err != nil || len(all) != 10 {
		t.Fatalf("%d entries, %v", len(all), err)
	}
	sum := uint64(0)
	for i := range all {
		sum += uint64(all[i].SizeUpperLimit())
		if all[i].Index != uint64(i)+1 || all[i].Term != l.term || (i > 0 && !bytes.HasPrefix(all[i].Cmd, []byte{0})) {
			t.Fatalf("entry %d: %+v", i, all[i])
		}
	}
	if size != sum {
		t.Fatalf("size %d, want %d", size, sum)
	}
	for low := uint64(1); low < 11; low++ {
		for limit := uint64(1); limit < sum+10; limit += 97 {
			got, size, err := db.IterateEntries(nil, 0, 2, 1, low, 11, limit)
			if err != nil || len(got) == 0 {
				t.Fatalf("from %d, limit %d: %d entries, %v", low, limit, len(got), err)
			}
			last := uint64(got[len(got)-1].SizeUpperLimit())
			if size > limit && size-last > limit || size <= limit && low+uint64(len(got)) != 11 {
				t.Fatalf("from %d, limit %d: %d entries of %d bytes", low, limit, len(got), size)
			}
		}
	}
	// It appends to what it is given, and counts on.
	got, size2, err := db.IterateEntries(all[:3:3], 1000, 2, 1, 4, 6, 1<<30)
	if err != nil || len(got) != 5 || size2 != 1000+uint64(all[3].SizeUpperLimit()+all[4].SizeUpperLimit()) {
		t.Fatalf("%d entries of %d bytes, %v", len(got), size2, err)
	}
	if got, _, err := db.IterateEntries(nil, 0, 2, 1, 8, 30, 1<<30); err != nil || len(got) != 3 {
		t.Fatalf("behind the end: %d entries, %v", len(got), err)
	}
}

// countFS counts the reads of segments.
type countFS struct {
	vfs.FS
	reads atomic.Int64
}

type countFile struct {
	vfs.File
	fs *countFS
}

func (c *countFS) Open(name string) (vfs.File, error)   { return c.wrap(c.FS.Open(name)) }
func (c *countFS) Create(name string) (vfs.File, error) { return c.wrap(c.FS.Create(name)) }
func (c *countFS) wrap(f vfs.File, err error) (vfs.File, error) {
	if err != nil || !strings.HasSuffix(f.Name(), ".log") {
		return f, err
	}
	return &countFile{f, c}, nil
}

func (f *countFile) ReadAt(p []byte, off int64) (int, error) {
	f.fs.reads.Add(1)
	return f.File.ReadAt(p, off)
}

func TestLogDB_TermLookupReadsNoPayload(t *testing.T) {
	fsys := &countFS{FS: vfs.NewMem()}
	r, l := contractRig(t, fsys)
	before := fsys.reads.Load()
	for i := uint64(1); i <= 10; i++ {
		got, _, err := r.h.db.IterateEntries(nil, 0, 2, 1, i, i+1, 0)
		if err != nil || len(got) != 1 || got[0].Term != l.term || got[0].Index != i {
			t.Fatalf("entry %d: %+v, %v", i, got, err)
		}
	}
	if n := fsys.reads.Load() - before; n != 0 {
		t.Fatalf("%d reads of segments", n)
	}
}

func TestLogDB_ReadRaftStateRanges(t *testing.T) {
	r, l := contractRig(t, vfs.NewMem())
	for _, c := range []struct{ last, first, count uint64 }{{0, 1, 10}, {4, 5, 6}, {9, 10, 1}, {10, 0, 0}} {
		rs, err := r.h.db.ReadRaftState(2, 1, c.last)
		if err != nil || rs.FirstIndex != c.first || rs.EntryCount != c.count {
			t.Fatalf("behind %d: %+v, %v", c.last, rs, err)
		}
		if rs.State.Term != l.term || rs.State.Vote != 1 || rs.State.Commit != 10 {
			t.Fatalf("behind %d: %+v", c.last, rs.State)
		}
	}
	if _, err := r.h.db.ReadRaftState(3, 1, 0); !errors.Is(err, raftio.ErrNoSavedLog) {
		t.Fatalf("a new replica: %v", err)
	}
	for _, k := range [][2]uint64{{9, 1}, {2, 2}} {
		if _, err := r.h.db.ReadRaftState(k[0], k[1], 0); err == nil || errors.Is(err, raftio.ErrNoSavedLog) {
			t.Fatalf("shard %d replica %d: %v", k[0], k[1], err)
		}
	}
}

func TestLogDB_BootstrapSurvives(t *testing.T) {
	mem := vfs.NewMem()
	r, err := openRig(mem, soleSpecs())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := r.h.db.GetBootstrapInfo(2, 1); !errors.Is(err, raftio.ErrNoBootstrapInfo) {
		t.Fatalf("before it was saved: %v", err)
	}
	want := pb.Bootstrap{Addresses: map[uint64]string{1: "a", 2: "b"}, Type: pb.OnDiskStateMachine}
	if err := r.h.db.SaveBootstrapInfo(2, 1, want); err != nil {
		t.Fatal(err)
	}
	lost := crash(mem)
	if err := r.close(); err != nil {
		t.Fatal(err)
	}
	if r, err = openRig(lost, soleSpecs()); err != nil {
		t.Fatal(err)
	}
	defer r.close() //nolint:errcheck // nothing is promised here
	got, err := r.h.db.GetBootstrapInfo(2, 1)
	if err != nil || fmt.Sprint(got.Addresses) != fmt.Sprint(want.Addresses) || got.Type != want.Type || got.Join {
		t.Fatalf("%+v, %v", got, err)
	}
}

// At a start the snapshot is the base of the log: the entries behind it are all there, and what is reported of them is
// consistent. Without members, there is none.
func TestLogDB_SnapshotIsTheBaseOfTheLog(t *testing.T) {
	mem := vfs.NewMem()
	r, err := openRig(mem, soleSpecs())
	if err != nil {
		t.Fatal(err)
	}
	db, l, rng := r.h.db, newSoleLog(2), rand.New(rand.NewPCG(4, 5))
	cc := pb.ConfigChange{Type: pb.AddNode, ReplicaID: 1, Address: nodeTarget(1), Initialize: true}
	b, err := cc.Marshal()
	if err != nil {
		t.Fatal(err)
	}
	l.term = 1
	if err := l.save(r, pb.Entry{Type: pb.ConfigChangeEntry, Cmd: b}); err != nil {
		t.Fatal(err)
	}
	if err := l.lead(r); err != nil {
		t.Fatal(err)
	}
	for i := range 60 { // several segments of 4 KiB
		if err := l.append(r, rng, 300); err != nil {
			t.Fatal(err)
		}
		if i%7 == 0 {
			if err := r.h.journal.Checkpoint(); err != nil {
				t.Fatal(err)
			}
		}
	}
	if ss, err := db.GetSnapshot(2, 1); err != nil || ss.Index != 0 {
		t.Fatalf("%+v, %v", ss, err)
	}
	if err := r.close(); err != nil {
		t.Fatal(err)
	}
	if r, err = openRig(mem, soleSpecs()); err != nil {
		t.Fatal(err)
	}
	defer r.close() //nolint:errcheck // nothing is promised here
	db = r.h.db
	ss, err := db.GetSnapshot(2, 1)
	if err != nil || ss.Index == 0 || !ss.Dummy || ss.OnDiskIndex != ss.Index || ss.Membership.Addresses[1] != nodeTarget(1) {
		t.Fatalf("%+v, %v", ss, err)
	}
	rs, err := db.ReadRaftState(2, 1, ss.Index)
	if err != nil || rs.FirstIndex != ss.Index+1 || rs.FirstIndex+rs.EntryCount != l.index+1 || rs.State.Commit < ss.Index || rs.State.Commit > l.index {
		t.Fatalf("snapshot %d, last %d: %+v, %v", ss.Index, l.index, rs, err)
	}
	got, _, err := db.IterateEntries(nil, 0, 2, 1, rs.FirstIndex, l.index+1, 0)
	if err != nil || uint64(len(got)) != rs.EntryCount {
		t.Fatalf("%d entries, %v", len(got), err)
	}
	if opened, err := (&partitionSM{db.shards[2]}).Open(nil); err != nil || opened != ss.Index {
		t.Fatalf("the state machine opens at %d, %v", opened, err)
	}
	newer := pb.Snapshot{ShardID: 2, Index: ss.Index + 3, Term: ss.Term, Dummy: true}
	for _, s := range []pb.Snapshot{newer, ss} { // an older one does not come back
		if err := db.SaveSnapshots([]pb.Update{{ShardID: 2, ReplicaID: 1, Snapshot: s}}); err != nil {
			t.Fatal(err)
		}
		if got, err := db.GetSnapshot(2, 1); err != nil || got.Index != newer.Index {
			t.Fatalf("%d, %v", got.Index, err)
		}
	}
}

func TestLogDB_CompactionIsDoneAtOnce(t *testing.T) {
	r, _ := contractRig(t, vfs.NewMem())
	if err := r.h.db.RemoveEntriesTo(2, 1, 5); err != nil {
		t.Fatal(err)
	}
	ch, err := r.h.db.CompactEntriesTo(2, 1, 5)
	if err != nil {
		t.Fatal(err)
	}
	select {
	case <-ch:
	default:
		t.Fatal("the channel has nothing")
	}
	if got, _, err := r.h.db.IterateEntries(nil, 0, 2, 1, 6, 11, 0); err != nil || len(got) != 5 {
		t.Fatalf("%d entries behind, %v", len(got), err)
	}
}

// memoMetadata remembers the commands.
type memoMetadata struct{ got []byte }

func (m *memoMetadata) Apply(_ Index, c []byte) []byte {
	m.got = append(m.got, c...)
	return bytes.Clone(m.got)
}
func (m *memoMetadata) Snapshot() ([]byte, error) { return m.got, nil }
func (m *memoMetadata) Restore(b []byte) error    { m.got = b; return nil }

// The metadata group's log and the partitions' stand in one log storage, over restarts and metadata snapshots.
func TestLogDB_MetadataAndPartitionsOverRestarts(t *testing.T) {
	dir := t.TempDir()
	want := ""
	for round := range 3 {
		h, err := Open(t.Context(), Options{Dir: dir, NodeID: 1, StateMachine: &memoMetadata{}, Fatal: func(err error) { t.Errorf("fatal: %v", err) }})
		if err != nil {
			t.Fatal(err)
		}
		p, err := h.StartPartition(t.Context(), soleSpecs()[0])
		if err != nil {
			t.Fatal(err)
		}
		awaitLeader(t, p)
		for i := range metadataSnapshotEntries / 2 { // beyond a snapshot in the last rounds
			c := string(rune('a' + (round+i)%26))
			want += c
			got, err := h.Propose(t.Context(), []byte(c))
			if err != nil || string(got) != want {
				t.Fatalf("round %d, command %d: %d bytes, want %d: %v", round, i, len(got), len(want), err)
			}
		}
		appendN(t, p, round*5, 5)
		nodes, err := h.db.ListNodeInfo()
		if err != nil || len(nodes) != 2 {
			t.Fatalf("%v, %v", nodes, err)
		}
		closeHost(t, h)
	}
}

// What follows a few megabytes is left for the next time: Raft drops the last entry, which has no bytes.
func TestLogDB_IterateEntriesBoundsMessages(t *testing.T) {
	r, err := openRig(vfs.NewMem(), soleSpecs())
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := r.close(); err != nil {
			t.Error(err)
		}
	}()
	l, rng := newSoleLog(2), rand.New(rand.NewPCG(4, 4))
	if err := l.lead(r); err != nil {
		t.Fatal(err)
	}
	const n, payload = 20, 500 << 10
	for range n {
		if err := l.append(r, rng, payload); err != nil {
			t.Fatal(err)
		}
	}
	const limit = 64 << 20
	for low := uint64(1); low < n+2; {
		ents, size, err := r.h.db.IterateEntries(nil, 0, 2, 1, low, n+2, limit)
		if err != nil {
			t.Fatal(err)
		}
		if size > limit { // as dragonboat's LogReader does
			ents = ents[:len(ents)-1]
		}
		bytes := 0
		for i := range ents {
			bytes += len(ents[i].Cmd)
			if e := &ents[i]; e.Index != low+uint64(i) || e.Index > 1 && len(e.Cmd) < payload {
				t.Fatalf("entry %d of %d bytes at %d", e.Index, len(e.Cmd), low+uint64(i))
			}
		}
		if len(ents) == 0 || bytes > messageBytes+2*payload {
			t.Fatalf("%d entries, %d bytes from %d", len(ents), bytes, low)
		}
		low += uint64(len(ents))
	}
	all, _, err := r.h.db.IterateEntries(nil, 0, 2, 1, 1, n+2, 1<<63)
	if err != nil || len(all) != n+1 {
		t.Fatalf("without a limit: %d entries, %v", len(all), err)
	}
}
