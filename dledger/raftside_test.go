package dledger

import (
	"bytes"
	"errors"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stelemq/stele/dledger/raftfile"
	"github.com/stelemq/stele/internal/vfs"
	"github.com/stelemq/stele/internal/vfs/vfstest"
)

// Rules of what stands beside the segments, one test each, as in rules_test.go.

// A value that was changed reads well and is damage all the same.
func TestReplicaFile_ChangedValueIsDamage(t *testing.T) {
	mem := vfs.NewMem()
	if err := mem.MkdirAll(rigDir); err != nil {
		t.Fatal(err)
	}
	if err := writeReplicaFile(mem, rigDir, &replicaFile{Shard: 2, Replica: 1, Next: 1234}); err != nil {
		t.Fatal(err)
	}
	b, err := vfs.ReadFile(mem, filepath.Join(rigDir, replicaFileName))
	if err != nil {
		t.Fatal(err)
	}
	if f, err := readReplicaFile(mem, rigDir); err != nil || f.Next != 1234 {
		t.Fatalf("%+v %v", f, err)
	}
	changed := bytes.Replace(b, []byte("1234"), []byte("1235"), 1)
	if err := vfs.WriteFileAtomic(mem, rigDir, replicaFileName, changed); err != nil {
		t.Fatal(err)
	}
	if f, err := readReplicaFile(mem, rigDir); !errors.Is(err, ErrCorrupt) {
		t.Errorf("%+v %v", f, err)
	}
}

// raftFiles are the .raft files of the sole log.
func raftFiles(t *testing.T, fsys vfs.FS) []string {
	t.Helper()
	names, err := fsys.ReadDir(soleDir)
	if err != nil {
		t.Fatal(err)
	}
	var out []string
	for _, n := range names {
		if strings.HasSuffix(n, ".raft") {
			out = append(out, filepath.Join(soleDir, n))
		}
	}
	return out
}

// closedShard is a log of several segments that was closed, with nothing left to replay.
func closedShard(t *testing.T) (*vfs.Mem, *soleLog) {
	t.Helper()
	mem := vfs.NewMem()
	r, l := oneShard(t, mem, 3000, 3000, 3000, 100, 100)
	if err := r.close(); err != nil {
		t.Fatal(err)
	}
	return mem, l
}

// Where all of Raft's own records are gone, the batches still tell a term that was in use.
func TestSalvage_TermIsAboveThoseOfTheBatches(t *testing.T) {
	mem, l := closedShard(t)
	journal, err := mem.ReadDir(rigDir + "/journal")
	if err != nil {
		t.Fatal(err)
	}
	for i := range journal {
		journal[i] = filepath.Join(rigDir, "journal", journal[i])
	}
	for _, name := range append(journal, raftFiles(t, mem)...) {
		if err := mem.Remove(name); err != nil {
			t.Fatal(err)
		}
	}
	f, err := mem.Open(filepath.Join(soleDir, replicaFileName))
	if err != nil {
		t.Fatal(err)
	}
	vfstest.Flip(t, f, 20)
	r, err := openRig(mem, soleSpecs()[:1])
	if err != nil {
		t.Fatal(err)
	}
	defer r.close() //nolint:errcheck // nothing is promised here
	if s := r.h.db.shards[2]; s.hard.Term <= Term(l.term) || l.term < 1 || s.log.End().Next != l.next {
		t.Errorf("goes on with %+v at %d after term %d and offset %d", s.hard, s.log.End().Next, l.term, l.next)
	}
}

// A .raft file of a segment that a truncation has removed must not be taken up when the log rolls there again.
func TestRecover_RemovesRaftFilesBeyondTheLog(t *testing.T) {
	mem, l := closedShard(t)
	if err := raftfile.Create(mem, soleDir, l.next+1000); err != nil {
		t.Fatal(err)
	}
	if err := mem.SyncDir(soleDir); err != nil {
		t.Fatal(err)
	}
	before := len(raftFiles(t, mem))
	r, err := openRig(mem, soleSpecs()[:1])
	if err != nil {
		t.Fatal(err)
	}
	lost := crash(mem)
	if now := len(raftFiles(t, mem)); now != before-1 {
		t.Errorf("%d .raft files, before %d", now, before)
	}
	if now := len(raftFiles(t, lost)); now != before-1 {
		t.Errorf("%d .raft files after a power loss, before %d", now, before)
	}
	if err := r.close(); err != nil {
		t.Fatal(err)
	}
}

// What follows a torn record would be hidden by it.
func TestRecover_CutsTheTornTailOfRaftFiles(t *testing.T) {
	mem, _ := closedShard(t)
	files := raftFiles(t, mem)
	name := files[len(files)-1]
	f, err := mem.Open(name)
	if err != nil {
		t.Fatal(err)
	}
	size, err := f.Size()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.WriteAt([]byte("torn"), size); err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(f.Sync(), f.Close()); err != nil {
		t.Fatal(err)
	}
	r, err := openRig(mem, soleSpecs()[:1])
	if err != nil {
		t.Fatal(err)
	}
	defer r.close() //nolint:errcheck // nothing is promised here
	if b, err := vfs.ReadFile(mem, name); err != nil || int64(len(b)) != size {
		t.Errorf("%d bytes, %v; without the torn record it had %d", len(b), err, size)
	}
}

// Entries whose records are missing at the beginning cannot be served to anybody.
func TestRecover_MissingBeginningOfRaftFiles(t *testing.T) {
	mem, _ := closedShard(t)
	files := raftFiles(t, mem)
	if len(files) < 2 {
		t.Fatalf("%d segments", len(files))
	}
	if err := mem.Remove(files[0]); err != nil {
		t.Fatal(err)
	}
	if r, err := openRig(mem, withPeers()); !damaged(err) {
		if err == nil {
			err = r.close()
		}
		t.Errorf("a replica without its first records: %v", err)
	}
}

// What is not known to be committed is not read below the high watermark, by whoever is asked: the leader, and what it has
// become when others have gone on without it.
func TestRead_NothingAboveTheHighWatermark(t *testing.T) {
	c := newCluster(t, 3)
	for i := range c.hosts {
		c.start(i)
	}
	c.create(16, LogConfig{FlushMessages: 1, MinInSyncReplicas: 1})
	c.produce(16, batchOf(t, 1, -1, -1, -1))
	old := c.leader(16)
	p := c.partition(old, 16)
	c.nets[old].isolate(true)
	done := make(chan AppendResult, 1)
	err := p.Append(t.Context(), &AppendRequest{
		Batch: batchOf(t, 1, -1, -1, -1), Acks: AcksLeader, Timeout: 20 * time.Second, Done: func(r AppendResult) { done <- r },
	})
	if err != nil {
		t.Fatal(err)
	}
	if r := <-done; r.Err != nil || r.BaseOffset != 1 {
		t.Fatalf("%+v", r)
	}
	check := func(who string) {
		t.Helper()
		for limit, want := range map[ReadLimit]int{ReadToHighWatermark: 0, ReadToLastStable: 0, ReadToLogEnd: 1} {
			b, off, err := p.Read(nil, ReadRequest{From: 1, Limit: limit, MaxBytes: 1 << 20, AtLeastOne: true})
			if err != nil || off.HighWatermark != 1 || off.LogEnd != 2 || (len(b) > 0) != (want > 0) {
				t.Errorf("%s, limit %d: %d bytes, %+v, %v", who, limit, len(b), off, err)
			}
		}
	}
	check("the leader")
	await(t, "it resigns", func() bool { return !p.isLeader.Load() })
	check("a follower")
}
