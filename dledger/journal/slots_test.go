package journal

import (
	"path/filepath"
	"testing"
	"time"

	"github.com/stelemq/stele/dledger/raftfile"
	"github.com/stelemq/stele/internal/vfs"
	"github.com/stelemq/stele/internal/vfs/vfstest"
)

// Writers wait for a slow checkpoint until only the checkpointer may begin a file. A start after a crash finds a slot.
func TestJournal_AStartFindsAFreeSlot(t *testing.T) {
	mem := vfs.NewMem()
	j, _, err := startJournal(mem, 8<<10)
	if err != nil {
		t.Fatal(err)
	}
	slow := testShard(2)
	slow.ckptMu.Lock() // a checkpoint waits here
	stopped := make(chan error, 1)
	go func() {
		for i := raftfile.Index(1); ; i++ {
			if err := saveTo(j, slow, HardState{Term: 3}, sampleEntry(i)); err != nil || i > 5000 {
				stopped <- err
				return
			}
		}
	}()
	deadline := time.Now().Add(10 * time.Second)
	for waiting := false; !waiting; {
		j.wmu.Lock()
		waiting = len(j.free) == spareSlots && j.cur.pos > j.size-600
		j.wmu.Unlock()
		if time.Now().After(deadline) {
			t.Fatal("the writer never waits")
		}
	}
	var images []*vfs.Mem
	images = append(images, mem.CrashClone(vfs.Crash{KeepPercent: 100}))
	slow.ckptMu.Unlock()
	if err := <-stopped; err != nil {
		t.Fatal(err)
	}
	images = append(images, mem.CrashClone(vfs.Crash{KeepPercent: 100}), mem.CrashClone(vfs.Crash{}))
	if err := j.Close(); err != nil {
		t.Fatal(err)
	}
	for i, m := range images {
		j, replay, err := startJournal(m, 8<<10)
		if err != nil || replay.Damage != nil {
			t.Fatalf("image %d: %v, %v", i, err, replay)
		}
		if err := j.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

// The checkpointer begins a file with all others in use but one; the journal as it is then opens again.
func TestJournal_TheCheckpointerLeavesASlot(t *testing.T) {
	mem := vfs.NewMem()
	j, _, err := startJournal(mem, 8<<10)
	if err != nil {
		t.Fatal(err)
	}
	j.wmu.Lock()
	for len(j.free) > spareSlots-1 { // as put does it for the checkpointer
		if err := j.rotate(spareSlots - 1); err != nil {
			t.Fatal(err)
		}
	}
	j.wmu.Unlock()
	killed := mem.CrashClone(vfs.Crash{KeepPercent: 100})
	if err := j.Close(); err != nil {
		t.Fatal(err)
	}
	if j, _, err = startJournal(killed, 8<<10); err != nil {
		t.Fatal(err)
	}
	if err := j.Close(); err != nil {
		t.Fatal(err)
	}
}

// A damaged header of the file in use does not make the one before it the newest again.
func TestJournal_AnOlderFileIsNeverTheNewestAgain(t *testing.T) {
	mem := vfs.NewMem()
	for term := raftfile.Term(1); term < 6; term++ {
		j, replay, err := startJournal(mem, 8<<10)
		if err != nil {
			t.Fatal(err)
		}
		if err := saveTo(j, testShard(2), HardState{Term: term}); err != nil {
			t.Fatal(err)
		}
		name := filepath.Join(testJournalDir, filepath.Base(j.cur.file.Name()))
		if err := j.Close(); err != nil {
			t.Fatal(err)
		}
		if replay.Last == 0 {
			continue
		}
		for pos := range int64(32) {
			m := mem.CrashClone(vfs.Crash{KeepPercent: 100})
			f, err := m.Open(name)
			if err != nil {
				t.Fatal(err)
			}
			vfstest.Flip(t, f, pos)
			if r, err := Replay(m, testJournalDir); err == nil && r.Damage == nil {
				t.Fatalf("flip at %d: term %d of %d, and no damage", pos, r.Shards[Key{2, 1}].Hard.Term, term)
			}
		}
	}
}
