package dledger

import (
	"math/rand/v2"
	"testing"

	"github.com/stelemq/stele/internal/vfs"
	"github.com/stelemq/stele/internal/vfs/vfstest"
)

// syncMutants are the kinds of sync call: the power-loss test must fail without any of them.
func syncMutants() []vfstest.SyncMutant {
	return []vfstest.SyncMutant{
		{Name: "journal: frame", Drop: vfstest.SyncIn(".journal", "journal.(*Journal).syncFile"), Test: saves},
		{Name: "journal: header at rotation", Drop: vfstest.SyncIn(".journal", "journal.(*Journal).writeHeader", "journal.(*Journal).Begin"), Test: saves},
		{Name: "journal: end frame at rotation", Drop: vfstest.SyncIn(".journal", "journal.(*Journal).rotate", "journal.(*Journal).writeHeader"), Test: saves},
		{Name: "journal: header at the start", Drop: vfstest.SyncIn(".journal", "journal.(*Journal).writeHeader", "journal.(*Journal).rotate"), Test: saves},
		{Name: "journal: name of a slot", Drop: vfstest.SyncDirIn("journal.(*Journal).openSlot"), Test: saves},
		{Name: "journal: its directory", Drop: vfstest.SyncDirIn("vfs.MakeDirs"), Test: saves},
		{Name: "segment: in a flush", Drop: vfstest.SyncIn(".log", "journal.(*segmentSyncs).start"), Test: saves},
		{Name: "segment: in a checkpoint", Drop: vfstest.SyncIn(".log", "dledger.(*shardLog).Checkpoint"), Test: saves},
		{Name: "segment: in recovery", Drop: vfstest.SyncIn(".log", "dledger.(*recovery).persist"), Test: saves},
		{Name: "segment: its name", Drop: vfstest.SyncDirIn("commitlog.(*Log).syncNames"), Test: saves},
		{Name: "segment: truncation", Drop: vfstest.SyncIn(".log", "commitlog.(*Log).truncate"), Test: saves},
		{Name: ".raft: in a checkpoint", Drop: vfstest.SyncIn(".raft", "dledger.(*shardLog).Checkpoint"), Test: saves},
		{Name: ".raft: in recovery", Drop: vfstest.SyncIn(".raft", "dledger.(*recovery).persist"), Test: saves},
		{Name: ".raft: its name", Drop: vfstest.SyncDirIn("raftfile.(*Writer).open"), Test: saves},
		{Name: "replica.json: its bytes", Drop: vfstest.SyncIn(".json.tmp", "vfs.WriteFileAtomic"), Test: saves},
		{Name: "replica.json: its name", Drop: vfstest.SyncDirIn("dledger.writeReplicaFile"), Test: saves},
		{Name: "partition directory: its name", Drop: vfstest.SyncDirIn("commitlog.checkMetadata"), Test: saves},
	}
}

// saves is the power-loss test.
func saves(seed uint64, wrap func(vfs.FS) vfs.FS) error {
	rng := rand.New(rand.NewPCG(seed, 2))
	w := workload{
		seed: seed, steps: 30, restarts: 1, wrap: wrap, want: func(int) bool { return rng.IntN(10) == 0 }, crash: crashModes(rng),
	}
	points, err := w.run()
	for i := 0; err == nil && i < len(points); i++ {
		err = points[i].check()
	}
	return err
}

// For each kind of sync call: without it the power-loss test fails.
func TestSave_NoSyncIsSuperfluous(t *testing.T) { vfstest.RunSyncMutants(t, syncMutants()) }
