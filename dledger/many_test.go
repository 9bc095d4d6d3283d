package dledger

import (
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/stelemq/stele/internal/vfs"
	"github.com/stelemq/stele/protocol/record"
)

// A thousand partitions are made, appended to, killed, power included, and opened again.
func TestHost_AThousandPartitions(t *testing.T) {
	if testing.Short() {
		t.Skip("takes seconds")
	}
	n := 1000
	if raceEnabled {
		n = 200
	}
	mem, dir := vfs.NewMem(), t.TempDir()
	start := func(fsys vfs.FS) (*Host, []*Partition) {
		t.Helper()
		began := time.Now()
		h, err := Open(t.Context(), Options{
			Dir: dir, NodeID: 1, FS: fsys, StateMachine: nopMetadata{}, Fatal: func(err error) { t.Errorf("fatal: %v", err) },
		})
		if err != nil {
			t.Fatal(err)
		}
		ps := make([]*Partition, n)
		errs := make([]error, n)
		var wg sync.WaitGroup
		slots := make(chan struct{}, 16)
		for i := range ps {
			slots <- struct{}{}
			wg.Go(func() {
				defer func() { <-slots }()
				ps[i], errs[i] = h.StartPartition(t.Context(), PartitionSpec{
					Topic: "many", Partition: int32(i), Shard: ShardID(2 + i), Replica: 1,
					Members: map[ReplicaID]int32{1: 1}, Config: LogConfig{FlushMessages: 1, SegmentBytes: 1 << 20},
				})
			})
		}
		wg.Wait()
		for i, p := range ps {
			if errs[i] != nil {
				t.Fatal(errs[i])
			}
			awaitLeader(t, p)
		}
		t.Logf("%d partitions lead after %v", n, time.Since(began))
		return h, ps
	}
	h, ps := start(mem)
	began := time.Now()
	answers := make(chan error, n)
	for i, p := range ps {
		err := p.Append(t.Context(), &AppendRequest{
			Batch: batchOf(t, 1+i%3, -1, -1, -1), Acks: AcksAll, Timeout: time.Minute,
			Done: func(r AppendResult) { answers <- r.Err },
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	for range ps {
		if err := <-answers; err != nil {
			t.Fatal(err)
		}
	}
	t.Logf("one append to each took %v", time.Since(began))
	lost := mem.CrashClone(vfs.Crash{})
	closeHost(t, h)
	h, ps = start(lost)
	defer closeHost(t, h)
	for i, p := range ps {
		if off, want := p.Offsets(), record.Offset(1+i%3); off.LogStart != 0 || off.HighWatermark != want || off.LogEnd != want {
			t.Fatal(fmt.Sprint(i, off))
		}
	}
}
