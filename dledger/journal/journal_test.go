package journal

import (
	"errors"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/stelemq/stele/dledger/raftfile"
	"github.com/stelemq/stele/internal/vfs"
	"github.com/stelemq/stele/internal/vfs/vfstest"
)

const testJournalDir = "/data/journal"

// openTestJournal replays what is there and begins a fresh file.
func openTestJournal(t *testing.T, fsys vfs.FS, size int64) (*Journal, *Replayed) {
	t.Helper()
	j, replay, err := startJournal(fsys, size)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := j.Close(); err != nil {
			t.Error(err)
		}
	})
	return j, replay
}

// stubShard is a replica of which the journal has nothing to say at a checkpoint.
type stubShard struct {
	Durability
	key    Key
	done   *Checkpointed // of its checkpoints; nil: nothing is said of it
	ckptMu sync.Mutex    // held: its checkpoint waits
}

var _ Shard = (*stubShard)(nil)

func testShard(id raftfile.ShardID) *stubShard { return &stubShard{key: Key{id, 1}} }

func (s *stubShard) Key() Key                           { return s.key }
func (s *stubShard) SyncData(func(time.Duration)) error { return nil }
func (s *stubShard) SetJournaled(raftfile.Index)        {}
func (s *stubShard) Checkpoint() (Checkpointed, error) {
	s.ckptMu.Lock()
	defer s.ckptMu.Unlock()
	if s.done != nil {
		return *s.done, nil
	}
	return Checkpointed{Gone: true}, nil
}

func save(t *testing.T, j *Journal, s *stubShard, h HardState, recs ...raftfile.Entry) {
	t.Helper()
	if err := saveTo(j, s, h, recs...); err != nil {
		t.Fatal(err)
	}
}

func saveTo(j *Journal, s *stubShard, h HardState, recs ...raftfile.Entry) error {
	return j.Commit(&Request{Durable: true, Saves: []*Save{{
		Shard: s, Durable: true, Record: Record{Key: s.key, Hard: &h, Entries: recs},
	}}})
}

func startJournal(fsys vfs.FS, size int64) (*Journal, *Replayed, error) {
	if err := vfs.MakeDirs(fsys, testJournalDir); err != nil {
		return nil, nil, err
	}
	replay, err := Replay(fsys, testJournalDir)
	if err != nil {
		return nil, nil, err
	}
	j, err := Open(Options{
		FS: fsys, Dir: testJournalDir, Size: size, Fatal: func(error) {}, // commit returns it, too
	}, replay)
	if err != nil {
		return nil, nil, err
	}
	return j, replay, j.Begin(replay)
}

func replayed(t *testing.T, fsys vfs.FS) *Replayed {
	t.Helper()
	r, err := Replay(fsys, testJournalDir)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func TestJournal_WhatWasCommittedIsReplayedAfterPowerLoss(t *testing.T) {
	fsys := vfs.NewMem()
	j, _ := openTestJournal(t, fsys, 1<<20)
	a, b := testShard(2), testShard(3)
	for i := raftfile.Index(1); i <= 10; i++ {
		save(t, j, a, HardState{Term: 3, Vote: 1, Commit: i - 1}, sampleEntry(i))
		save(t, j, b, HardState{Term: 5, Vote: 1}, sampleEntry(i))
	}
	got := replayed(t, fsys.CrashClone(vfs.Crash{}))
	if got.Damage != nil {
		t.Fatal(got.Damage)
	}
	p := got.Shards[a.key]
	if len(p.Entries) != 10 || p.Hard != (HardState{3, 1, 9}) {
		t.Fatalf("shard a: %d entries, %+v", len(p.Entries), p.Hard)
	}
	if p := got.Shards[b.key]; len(p.Entries) != 10 || p.Hard.Term != 5 {
		t.Fatalf("shard b: %d entries, %+v", len(p.Entries), p.Hard)
	}
}

func TestJournal_LaterEntriesSupersede(t *testing.T) {
	fsys := vfs.NewMem()
	j, _ := openTestJournal(t, fsys, 1<<20)
	s := testShard(2)
	save(t, j, s, HardState{Term: 3}, sampleEntry(1), sampleEntry(2), sampleEntry(3))
	newer := sampleEntry(2)
	newer.Term = 4
	save(t, j, s, HardState{Term: 4}, newer)
	p := replayed(t, fsys).Shards[s.key]
	if len(p.Entries) != 2 || p.Entries[1].Term != 4 {
		t.Fatalf("entries %+v", p.Entries)
	}
	r := &Request{Durable: true, Saves: []*Save{{
		Shard: s, Durable: true, Record: Record{Key: s.key, Truncate: 2},
	}}}
	if err := j.Commit(r); err != nil {
		t.Fatal(err)
	}
	p = replayed(t, fsys).Shards[s.key]
	if len(p.Entries) != 1 || p.Truncate != 2 {
		t.Fatalf("after the truncation: entries %+v, truncate %d", p.Entries, p.Truncate)
	}
}

func TestJournal_FilesAreRecycledAndHardStatesCarriedOver(t *testing.T) {
	fsys := vfs.NewMem()
	j, _ := openTestJournal(t, fsys, 64<<10)
	quiet, busy := testShard(2), testShard(3)
	save(t, j, quiet, HardState{Term: 9, Vote: 1, Commit: 4})
	for i := raftfile.Index(1); i <= 20000; i++ {
		save(t, j, busy, HardState{Term: 3}, sampleEntry(i))
	}
	if j.cur.seq < 10 {
		t.Fatalf("only %d files were begun", j.cur.seq)
	}
	got := replayed(t, fsys.CrashClone(vfs.Crash{}))
	if got.Damage != nil {
		t.Fatal(got.Damage)
	}
	if h := got.Shards[quiet.key].Hard; h != (HardState{9, 1, 4}) {
		t.Fatalf("hard state of the quiet shard: %+v", h)
	}
	p := got.Shards[busy.key]
	if n := len(p.Entries); n == 0 || p.Entries[n-1].Index != 20000 {
		t.Fatalf("newest entries of the busy shard are missing: %d", n)
	}
}

// Every way of losing bytes of the last frame is a torn tail; damage to any frame that a later one calls durable
// is found.
func TestJournal_TornTailAndDamage(t *testing.T) {
	fsys := vfs.NewMem()
	j, _ := openTestJournal(t, fsys, 1<<20)
	s := testShard(2)
	var ends []int64
	for i := raftfile.Index(1); i <= 5; i++ {
		save(t, j, s, HardState{Term: 3}, sampleEntry(i))
		ends = append(ends, j.cur.pos)
	}
	name := filepath.Join(testJournalDir, "0.journal")
	f, err := fsys.Open(name)
	if err != nil {
		t.Fatal(err)
	}
	for pos := int64(HeaderSize); pos < ends[4]; pos += 7 {
		vfstest.Flip(t, f, pos)
		got := replayed(t, fsys)
		p := got.Shards[s.key]
		n := 0
		if p != nil {
			n = len(p.Entries)
		}
		switch {
		case pos < ends[3] && got.Damage == nil:
			t.Fatalf("flip at %d: not found, %d entries", pos, n)
		case pos >= ends[3] && (got.Damage != nil || n != 4):
			t.Fatalf("flip at %d in the last frame: %v, %d entries", pos, got.Damage, n)
		}
		if got.Damage != nil && !errors.Is(got.Damage, raftfile.ErrCorrupt) {
			t.Fatalf("damage does not match ErrCorrupt: %v", got.Damage)
		}
		vfstest.Flip(t, f, pos)
	}
}

func sampleEntry(i raftfile.Index) raftfile.Entry {
	return raftfile.Entry{
		Index: i, Term: 3, Key: 77, Client: 3<<32 | uint64(i), Segment: 100, Base: 200, Next: 210,
		Pos: 4096, Length: 512, CRC: 0xdeadbeef, Kind: raftfile.KindData,
	}
}
