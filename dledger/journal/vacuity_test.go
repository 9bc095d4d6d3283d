package journal

import (
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/stelemq/stele/dledger/raftfile"
	"github.com/stelemq/stele/internal/vfs"
	"github.com/stelemq/stele/internal/vfs/vfstest"
)

// hardStatesOverRecycling saves one shard's hard state once and another's entries until all slots have been used again, and
// loses power at every operation of a rotation or a checkpoint.
func hardStatesOverRecycling(_ uint64, wrap func(vfs.FS) vfs.FS) error {
	const want = 7
	mem := vfs.NewMem()
	efs := vfs.NewErrFS(mem)
	j, _, err := startJournal(wrap(efs), 8<<10)
	if err != nil {
		return err
	}
	quiet, busy := testShard(2), testShard(3)
	if err := saveTo(j, quiet, HardState{Term: want, Vote: 1}); err != nil {
		return err
	}
	var lost []*vfs.Mem
	efs.Plan(&vfs.Fault{Kinds: vfs.OpMutating, N: 1 << 60, Match: func(string) bool {
		if stack := vfstest.Callers(); vfstest.Called(stack, "journal.(*Journal).rotate") || vfstest.Called(stack, "journal.(*Journal).retire") {
			lost = append(lost, mem.CrashClone(vfs.Crash{}))
		}
		return false
	}})
	for i := raftfile.Index(1); i <= 600; i++ {
		if err := saveTo(j, busy, HardState{Term: 3}, sampleEntry(i)); err != nil {
			return err
		}
	}
	efs.Plan(nil)
	if err := j.Close(); err != nil {
		return err
	}
	if j.cur.seq < 2*slotCount {
		return fmt.Errorf("only %d files were begun", j.cur.seq)
	}
	for i, fs := range lost {
		r, err := Replay(fs, testJournalDir)
		if err == nil && r.Damage != nil {
			err = r.Damage
		}
		if err != nil {
			return fmt.Errorf("point %d: %w", i, err)
		}
		if p := r.Shards[quiet.key]; p == nil || p.Hard.Term != want {
			return fmt.Errorf("point %d: the hard state is lost", i)
		}
	}
	return nil
}

// hardStatesOverStart opens a journal with the hard states of many shards, more than a page, and loses power at every operation
// of that.
func hardStatesOverStart(seed uint64, wrap func(vfs.FS) vfs.FS) error {
	const shards = 200
	mem := vfs.NewMem()
	j, _, err := startJournal(mem, 64<<10)
	if err != nil {
		return err
	}
	for i := range raftfile.ShardID(shards) {
		if err := saveTo(j, testShard(2+i), HardState{Term: 5, Vote: 1}); err != nil {
			return err
		}
	}
	if err := j.Close(); err != nil {
		return err
	}
	rng := rand.New(rand.NewPCG(seed, 4))
	efs := vfs.NewErrFS(mem)
	var lost []*vfs.Mem
	efs.Plan(&vfs.Fault{Kinds: vfs.OpMutating, N: 1 << 60, Match: func(string) bool {
		for range 8 {
			lost = append(lost, mem.CrashClone(vfs.Crash{KeepPercent: 50, Rand: rng}))
		}
		return false
	}})
	if j, _, err = startJournal(wrap(efs), 64<<10); err != nil {
		return err
	}
	if err := j.Close(); err != nil {
		return err
	}
	for i, fs := range lost {
		r, err := Replay(fs, testJournalDir)
		if err == nil && r.Damage != nil {
			err = r.Damage
		}
		if err != nil {
			return fmt.Errorf("point %d: %w", i, err)
		}
		for k := range raftfile.ShardID(shards) {
			if p := r.Shards[Key{2 + k, 1}]; p == nil || p.Hard.Term != 5 {
				return fmt.Errorf("point %d: the hard state of shard %d is lost", i, 2+k)
			}
		}
	}
	return nil
}

func TestJournal_HardStatesSurviveRecyclingAndStart(t *testing.T) {
	asItIs := func(f vfs.FS) vfs.FS { return f }
	if err := hardStatesOverRecycling(0, asItIs); err != nil {
		t.Error(err)
	}
	for seed := range uint64(4) {
		if err := hardStatesOverStart(seed, asItIs); err != nil {
			t.Error(err)
		}
	}
}

// Without the syncs that hard states rest on, they are lost.
func TestJournal_NoSyncOfHardStatesIsSuperfluous(t *testing.T) {
	vfstest.RunSyncMutants(t, []vfstest.SyncMutant{
		{Name: "journal: hard states before recycling", Drop: vfstest.SyncIn(".journal", "journal.(*Journal).retire"), Test: hardStatesOverRecycling},
		{Name: "journal: hard states at the start", Drop: vfstest.SyncIn(".journal", "journal.(*Journal).Begin", "journal.(*Journal).writeHeader", "journal.(*Journal).endReplayed"), Test: hardStatesOverStart},
	})
}
