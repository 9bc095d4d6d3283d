package dledger

import (
	"errors"
	"testing"
)

// A directory that holds a newer replica is neither opened as an older one nor removed for it: who asks has read an old
// image of the metadata.
func TestHost_OldReplicaLeavesTheDirectoryAlone(t *testing.T) {
	dir := t.TempDir()
	h, _ := startHost(t, dir, 0, 1, Options{})
	defer closeHost(t, h)
	newer := PartitionSpec{Topic: "t", Shard: 20, Replica: 5, Members: map[ReplicaID]int32{5: 1}, Config: LogConfig{SegmentBytes: 1 << 20, FlushMessages: 1}}
	p, err := h.StartPartition(t.Context(), newer)
	if err != nil {
		t.Fatal(err)
	}
	awaitLeader(t, p)
	if r := appendWait(t, p, batchOf(t, 3, -1, -1, -1)); r.Err != nil {
		t.Fatal(r.Err)
	}
	older := newer
	older.Replica, older.Join = 2, true
	for _, running := range []bool{true, false} {
		if err := h.DeletePartition(older); err != nil {
			t.Fatalf("running %v: %v", running, err)
		}
		if err := h.StopPartition(older); err != nil {
			t.Fatalf("running %v: %v", running, err)
		}
		if running {
			if r := appendWait(t, p, batchOf(t, 3, -1, -1, -1)); r.Err != nil {
				t.Fatalf("the newer replica was stopped: %v", r.Err)
			}
			if err := h.StopPartition(newer); err != nil {
				t.Fatal(err)
			}
		}
		if _, err := h.StartPartition(t.Context(), older); !errors.Is(err, ErrOldGeneration) {
			t.Fatalf("started as an older replica: %v", err)
		}
	}
	if p, err = h.StartPartition(t.Context(), newer); err != nil {
		t.Fatal(err)
	}
	awaitLeader(t, p)
	if hw := p.Offsets().HighWatermark; hw != 6 {
		t.Fatalf("high watermark %d", hw)
	}
}
