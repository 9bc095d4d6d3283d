package dledger

import (
	"runtime"
	"testing"
)

// A replica at rest costs at most half a MiB of heap; with dragonboat's own settings it is 1.2 MiB.
func TestSoftSettings_HeapOfAReplica(t *testing.T) {
	const n = 64
	heap := func() uint64 {
		runtime.GC()
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return m.HeapAlloc
	}
	dir := t.TempDir()
	h, _ := startHost(t, dir, 1, 1, Options{})
	defer closeHost(t, h)
	before := heap()
	for i := range n {
		spec := PartitionSpec{Topic: "more", Partition: int32(i), Shard: ShardID(100 + i), Replica: 1, Members: map[ReplicaID]int32{1: 1}, Config: LogConfig{SegmentBytes: 1 << 20, FlushMessages: 1}}
		p, err := h.StartPartition(t.Context(), spec)
		if err != nil {
			t.Fatal(err)
		}
		awaitLeader(t, p)
	}
	each := (heap() - before) / n
	t.Logf("%d KiB of heap a replica", each>>10)
	if each > 512<<10 {
		t.Fatalf("%d KiB of heap a replica", each>>10)
	}
}
