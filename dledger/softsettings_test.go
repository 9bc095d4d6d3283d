package dledger

import (
	"runtime"
	"testing"
)

// To start a replica allocates at most half a MiB and some; with dragonboat's own settings it is 1.2 MiB and more.
func TestSoftSettings_HeapOfAReplica(t *testing.T) {
	const n = 64
	allocated := func() uint64 { // never goes down
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return m.TotalAlloc
	}
	dir := t.TempDir()
	h, _ := startHost(t, dir, 1, 1, Options{})
	defer closeHost(t, h)
	before := allocated()
	for i := range n {
		spec := PartitionSpec{Topic: "more", Partition: int32(i), Shard: ShardID(100 + i), Replica: 1, Members: map[ReplicaID]int32{1: 1}, Config: LogConfig{SegmentBytes: 1 << 20, FlushMessages: 1}}
		p, err := h.StartPartition(t.Context(), spec)
		if err != nil {
			t.Fatal(err)
		}
		awaitLeader(t, p)
	}
	each := (allocated() - before) / n
	t.Logf("%d KiB allocated a replica", each>>10)
	if each > 800<<10 {
		t.Fatalf("%d KiB allocated a replica", each>>10)
	}
}
