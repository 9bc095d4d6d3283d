package dledger

import (
	"errors"
	"path/filepath"
	"testing"

	"github.com/stelemq/stele/internal/vfs"
)

const testJournalDir = "/data/journal"

// openTestJournal replays what is there and begins a fresh file.
func openTestJournal(t *testing.T, fsys vfs.FS, size int64) (*journal, *journalReplay) {
	t.Helper()
	j, replay, err := startJournal(fsys, size)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := j.close(); err != nil {
			t.Error(err)
		}
	})
	return j, replay
}

// testShard is a shard of which the journal only needs the key.
func testShard(id ShardID) *shardLog { return &shardLog{key: shardKey{id, 1}, gone: true} }

func save(t *testing.T, j *journal, s *shardLog, h hardState, recs ...entryRecord) {
	t.Helper()
	if err := saveTo(j, s, h, recs...); err != nil {
		t.Fatal(err)
	}
}

func saveTo(j *journal, s *shardLog, h hardState, recs ...entryRecord) error {
	return j.commit(&saveRequest{durable: true, ready: make(chan struct{}, 1), saves: []*shardSave{{
		shard: s, durable: true, record: shardRecord{key: s.key, hard: &h, entries: recs},
	}}})
}

func startJournal(fsys vfs.FS, size int64) (*journal, *journalReplay, error) {
	if err := makeDirs(fsys, testJournalDir); err != nil {
		return nil, nil, err
	}
	replay, err := replayJournal(fsys, testJournalDir)
	if err != nil {
		return nil, nil, err
	}
	j, err := openJournal(journalOptions{
		fs: fsys, dir: testJournalDir, size: size, fatal: func(error) {}, // commit returns it, too
	}, replay)
	if err != nil {
		return nil, nil, err
	}
	return j, replay, j.begin(replay)
}

func replayed(t *testing.T, fsys vfs.FS) *journalReplay {
	t.Helper()
	r, err := replayJournal(fsys, testJournalDir)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func TestJournal_WhatWasCommittedIsReplayedAfterPowerLoss(t *testing.T) {
	fsys := vfs.NewMem()
	j, _ := openTestJournal(t, fsys, 1<<20)
	a, b := testShard(2), testShard(3)
	for i := Index(1); i <= 10; i++ {
		save(t, j, a, hardState{Term: 3, Vote: 1, Commit: i - 1}, sampleRecord(i))
		save(t, j, b, hardState{Term: 5, Vote: 1}, sampleRecord(i))
	}
	got := replayed(t, crash(fsys))
	if got.damage != nil {
		t.Fatal(got.damage)
	}
	p := got.shards[a.key]
	if len(p.entries) != 10 || p.hard != (hardState{3, 1, 9}) {
		t.Fatalf("shard a: %d entries, %+v", len(p.entries), p.hard)
	}
	if p := got.shards[b.key]; len(p.entries) != 10 || p.hard.Term != 5 {
		t.Fatalf("shard b: %d entries, %+v", len(p.entries), p.hard)
	}
}

func TestJournal_LaterEntriesSupersede(t *testing.T) {
	fsys := vfs.NewMem()
	j, _ := openTestJournal(t, fsys, 1<<20)
	s := testShard(2)
	save(t, j, s, hardState{Term: 3}, sampleRecord(1), sampleRecord(2), sampleRecord(3))
	newer := sampleRecord(2)
	newer.term = 4
	save(t, j, s, hardState{Term: 4}, newer)
	p := replayed(t, fsys).shards[s.key]
	if len(p.entries) != 2 || p.entries[1].term != 4 {
		t.Fatalf("entries %+v", p.entries)
	}
	r := &saveRequest{durable: true, ready: make(chan struct{}, 1), saves: []*shardSave{{
		shard: s, durable: true, record: shardRecord{key: s.key, truncate: 2},
	}}}
	if err := j.commit(r); err != nil {
		t.Fatal(err)
	}
	p = replayed(t, fsys).shards[s.key]
	if len(p.entries) != 1 || p.truncate != 2 {
		t.Fatalf("after the truncation: entries %+v, truncate %d", p.entries, p.truncate)
	}
}

func TestJournal_FilesAreRecycledAndHardStatesCarriedOver(t *testing.T) {
	fsys := vfs.NewMem()
	j, _ := openTestJournal(t, fsys, 64<<10)
	quiet, busy := testShard(2), testShard(3)
	save(t, j, quiet, hardState{Term: 9, Vote: 1, Commit: 4})
	for i := Index(1); i <= 20000; i++ {
		save(t, j, busy, hardState{Term: 3}, sampleRecord(i))
	}
	if j.cur.seq < 10 {
		t.Fatalf("only %d files were begun", j.cur.seq)
	}
	got := replayed(t, crash(fsys))
	if got.damage != nil {
		t.Fatal(got.damage)
	}
	if h := got.shards[quiet.key].hard; h != (hardState{9, 1, 4}) {
		t.Fatalf("hard state of the quiet shard: %+v", h)
	}
	p := got.shards[busy.key]
	if n := len(p.entries); n == 0 || p.entries[n-1].index != 20000 {
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
	for i := Index(1); i <= 5; i++ {
		save(t, j, s, hardState{Term: 3}, sampleRecord(i))
		ends = append(ends, j.cur.pos)
	}
	name := filepath.Join(testJournalDir, "0.journal")
	f, err := fsys.Open(name)
	if err != nil {
		t.Fatal(err)
	}
	for pos := int64(journalHeaderSize); pos < ends[4]; pos += 7 {
		flip(t, f, pos)
		got := replayed(t, fsys)
		p := got.shards[s.key]
		n := 0
		if p != nil {
			n = len(p.entries)
		}
		switch {
		case pos < ends[3] && got.damage == nil:
			t.Fatalf("flip at %d: not found, %d entries", pos, n)
		case pos >= ends[3] && (got.damage != nil || n != 4):
			t.Fatalf("flip at %d in the last frame: %v, %d entries", pos, got.damage, n)
		}
		if got.damage != nil && !errors.Is(got.damage, ErrCorrupt) {
			t.Fatalf("damage does not match ErrCorrupt: %v", got.damage)
		}
		flip(t, f, pos)
	}
}

func flip(t *testing.T, f vfs.File, pos int64) {
	t.Helper()
	var b [1]byte
	if _, err := f.ReadAt(b[:], pos); err != nil {
		t.Fatal(err)
	}
	b[0] ^= 0x10
	if _, err := f.WriteAt(b[:], pos); err != nil {
		t.Fatal(err)
	}
}

// crash returns what is left when everything that was not synced is lost.
func crash(fsys *vfs.Mem) *vfs.Mem { return fsys.CrashClone(vfs.Crash{}) }
