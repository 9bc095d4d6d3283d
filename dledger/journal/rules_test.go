package journal

import (
	"errors"
	"path/filepath"
	"testing"
	"time"

	"github.com/stelemq/stele/dledger/raftfile"
	"github.com/stelemq/stele/internal/vfs"
)

// The checkpointer may take a slot that writers leave to it.
func TestJournal_TheCheckpointerDoesNotWaitForItself(t *testing.T) {
	mem := vfs.NewMem()
	j, _, err := startJournal(mem, 8<<10)
	if err != nil {
		t.Fatal(err)
	}
	save(t, j, testShard(2), HardState{Term: 3}, sampleEntry(1))
	j.ckpt.Lock() // none runs by itself
	j.wmu.Lock()
	for len(j.free) > spareSlots {
		if err := j.rotate(spareSlots); err != nil {
			t.Fatal(err)
		}
	}
	j.cur.pos = j.size - FrameHeaderSize // full
	j.wmu.Unlock()
	j.ckpt.Unlock()
	done := make(chan error, 1)
	go func() { done <- j.Checkpoint() }()
	select {
	case err := <-done:
		if err != nil {
			t.Fatal(err)
		}
	case <-time.After(20 * time.Second):
		t.Fatal("the checkpointer waits for itself")
	}
	if err := j.Close(); err != nil {
		t.Fatal(err)
	}
}

// A truncation that the files do not follow yet is known after a power loss however many files have been recycled since.
func TestJournal_TruncationInProgressSurvivesRecycling(t *testing.T) {
	mem := vfs.NewMem()
	j, _, err := startJournal(mem, 8<<10)
	if err != nil {
		t.Fatal(err)
	}
	s := testShard(2)
	s.done = &Checkpointed{Index: 4}
	save(t, j, s, HardState{Term: 3}, sampleEntry(1), sampleEntry(2), sampleEntry(3), sampleEntry(4))
	if err := j.Checkpoint(); err != nil {
		t.Fatal(err)
	}
	if err := j.Commit(&Request{Durable: true, Saves: []*Save{{
		Shard: s, Durable: true, Record: Record{Key: s.key, Truncate: 3},
	}}}); err != nil {
		t.Fatal(err)
	}
	for range 2 * slotCount {
		j.wmu.Lock()
		err := j.rotate(spareSlots)
		j.wmu.Unlock()
		if err := errors.Join(err, j.Checkpoint()); err != nil {
			t.Fatal(err)
		}
		replay, err := Replay(mem.CrashClone(vfs.Crash{}), testJournalDir)
		if err != nil || replay.Damage != nil {
			t.Fatal(err, replay.Damage)
		}
		if p := replay.Shards[s.key]; p == nil || p.Truncate != 3 || p.Checkpoint > 2 {
			t.Fatalf("replayed %+v", p)
		}
	}
	if err := j.Close(); err != nil {
		t.Fatal(err)
	}
}

// Replay: a record with a checkpoint and a truncation says both; entries behind a gap do not follow those before it.
func TestReplay_Folds(t *testing.T) {
	o := &Replayed{Shards: map[Key]*Pending{}}
	key := Key{2, 1}
	o.add(&Record{Key: key, Checkpoint: 5, Truncate: 8})
	if p := o.Shards[key]; p.Truncate != 8 || p.Checkpoint != 5 {
		t.Errorf("checkpoint with a truncation: %+v", p)
	}
	o = &Replayed{Shards: map[Key]*Pending{}}
	o.add(&Record{Key: key, Entries: []raftfile.Entry{sampleEntry(1), sampleEntry(2)}})
	o.add(&Record{Key: key, Entries: []raftfile.Entry{sampleEntry(7)}})
	if p := o.Shards[key]; len(p.Entries) != 1 || p.Entries[0].Index != 7 {
		t.Errorf("behind a gap: %+v", p.Entries)
	}
}

// Replay: whether a frame that does not check was durable is told by what follows it.
func TestReplay_TornOrDamaged(t *testing.T) {
	file := func(seq uint64, durable ...int64) *replayFile {
		f := &replayFile{seq: seq, bytes: make([]byte, HeaderSize)}
		for _, d := range durable {
			b := finishFrame(append(beginFrame(nil), 1, 2, 3, 4, 5, 6, 7, 8), frameRecords, seq, int64(len(f.bytes)), d)
			f.bytes = append(f.bytes, b...)
		}
		f.bytes = append(f.bytes, make([]byte, 256)...)
		return f
	}
	const second = HeaderSize + FrameHeaderSize + 8 // where the second frame stands
	spoilt := func(f *replayFile) *replayFile { f.bytes[HeaderSize] ^= 1; return f }
	for name, row := range map[string]struct {
		f     *replayFile
		later []replayFile
		want  bool
	}{
		"nothing follows":                         {spoilt(file(1, 0)), nil, true},
		"the next says nothing of it":             {spoilt(file(1, 0, HeaderSize)), nil, true},
		"the next says that it was durable":       {spoilt(file(1, 0, second)), nil, false},
		"a later file has been begun":             {spoilt(file(1, 0)), []replayFile{*file(2)}, true},
		"a later file has frames, so it is whole": {spoilt(file(1, 0)), []replayFile{*file(2, 0)}, false},
	} {
		if got := torn(row.f, HeaderSize, row.later); got != row.want {
			t.Errorf("%s: torn is %v", name, got)
		}
	}
}

// Replay: a live file that is missing is damage.
func TestReplay_MissingFile(t *testing.T) {
	mem := vfs.NewMem()
	j, _, err := startJournal(mem, 8<<10)
	if err != nil {
		t.Fatal(err)
	}
	s := testShard(2)
	j.ckpt.Lock() // nothing is recycled
	var names []string
	for i := raftfile.Index(1); i <= 3; i++ {
		if err := saveTo(j, s, HardState{Term: 3}, sampleEntry(i)); err != nil {
			t.Fatal(err)
		}
		names = append(names, filepath.Join(testJournalDir, filepath.Base(j.cur.file.Name())))
		if i < 3 {
			j.wmu.Lock()
			err := j.rotate(spareSlots - 1)
			j.wmu.Unlock()
			if err != nil {
				t.Fatal(err)
			}
		}
	}
	killed := mem.CrashClone(vfs.Crash{KeepPercent: 100})
	j.ckpt.Unlock()
	if err := j.Close(); err != nil {
		t.Fatal(err)
	}
	if got := replayed(t, killed); got.Damage != nil {
		t.Fatal(got.Damage)
	}
	for _, n := range names[:2] {
		m := killed.CrashClone(vfs.Crash{KeepPercent: 100})
		if err := m.Remove(n); err != nil {
			t.Fatal(err)
		}
		if got := replayed(t, m); got.Damage == nil || !got.Shards[s.key].Suspect {
			t.Errorf("%s is missing: %v", n, got.Damage)
		}
	}
}
