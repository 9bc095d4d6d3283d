package dledger

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"os"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	dto "github.com/prometheus/client_model/go"
	"golang.org/x/sys/unix"

	"github.com/stelemq/stele/dledger/raftfile"
	"github.com/stelemq/stele/protocol/record"
)

// nopMetadata is a cluster without state.
type nopMetadata struct{}

func (nopMetadata) Apply(Index, []byte) []byte { return nil }
func (nopMetadata) Snapshot() ([]byte, error)  { return nil, nil }
func (nopMetadata) Restore([]byte) error       { return nil }

// startHost opens a host on the real file system with n led partitions.
func startHost(tb testing.TB, dir string, n int, flush int64, o Options) (*Host, []*Partition) {
	tb.Helper()
	o.Dir, o.NodeID, o.StateMachine = dir, 1, nopMetadata{}
	if o.Fatal == nil {
		o.Fatal = func(err error) { tb.Errorf("fatal: %v", err) }
	}
	h, err := Open(tb.Context(), o)
	if err != nil {
		tb.Fatal(err)
	}
	parts := make([]*Partition, n)
	for i := range parts {
		spec := PartitionSpec{
			Topic: "bench", Partition: int32(i), Shard: ShardID(2 + i), Replica: 1,
			Members: map[ReplicaID]int32{1: 1},
			Config:  LogConfig{FlushMessages: flush, SegmentBytes: 256 << 20},
		}
		if parts[i], err = h.StartPartition(tb.Context(), spec); err != nil {
			tb.Fatal(err)
		}
	}
	for _, p := range parts {
		awaitLeader(tb, p)
	}
	return h, parts
}

func awaitLeader(tb testing.TB, p *Partition) {
	tb.Helper()
	ch := make(chan struct{}, 1)
	defer p.Subscribe(ch)()
	deadline := time.After(20 * time.Second)
	for !p.Leadership().IsLeader {
		select {
		case <-ch:
		case <-time.After(time.Millisecond):
		case <-deadline:
			tb.Fatalf("partition %d has no leader", p.spec.Partition)
		}
	}
}

// append one batch and wait for its answer.
func appendWait(tb testing.TB, p *Partition, b []byte) AppendResult {
	done := make(chan AppendResult, 1)
	err := p.Append(tb.Context(), &AppendRequest{
		Batch: record.Batch(b), Acks: AcksAll, Timeout: 30 * time.Second, Done: func(r AppendResult) { done <- r },
	})
	if err != nil {
		return AppendResult{BaseOffset: record.NoOffset, Err: err}
	}
	return <-done
}

// inFlightFor is how many batches are in flight in all, as in the study of the log storage: fewer where they are large.
func inFlightFor(size, parts int) int {
	total := 256
	switch {
	case size >= 1<<20:
		total = 16
	case size >= 128<<10:
		total = 48
	case size >= 16<<10:
		total = 128
	}
	return max(1, total/parts)
}

// processIO returns the bytes that the process has caused to be written.
func processIO() int64 {
	b, err := os.ReadFile("/proc/self/io")
	if err != nil {
		return 0
	}
	for line := range bytes.SplitSeq(b, []byte("\n")) {
		if v, ok := bytes.CutPrefix(line, []byte("write_bytes: ")); ok {
			n, _ := strconv.ParseInt(string(v), 10, 64)
			return n
		}
	}
	return 0
}

// BenchmarkPartition appends batches to one-voter partitions in a closed loop: dledger alone, no protocol.
func BenchmarkPartition(b *testing.B) {
	for _, mode := range []string{"relaxed", "durable"} {
		for _, parts := range []int{1, 8, 64, 1000} {
			for _, size := range []int{1 << 10, 16 << 10, 128 << 10, 1 << 20} {
				b.Run(fmt.Sprintf("%s/partitions=%d/bytes=%d", mode, parts, size), func(b *testing.B) {
					benchPartition(b, mode == "durable", parts, size)
				})
			}
		}
	}
}

func benchPartition(b *testing.B, durable bool, parts, size int) {
	flush := int64(1 << 60)
	if durable {
		flush = 1
	}
	h, ps := startHost(b, benchDir(b), parts, flush, Options{
		Fatal: func(err error) { b.Fatalf("fatal: %v", err) },
	})
	batch := benchBatch(size)
	b.SetBytes(int64(size))
	var left atomic.Int64
	left.Store(int64(b.N))
	var wg sync.WaitGroup
	io0 := processIO()
	b.ResetTimer()
	for _, p := range ps {
		for range inFlightFor(size, parts) {
			wg.Go(func() {
				done := make(chan AppendResult, 1)
				req := AppendRequest{
					Batch: batch, Acks: AcksAll, Timeout: time.Minute, Done: func(r AppendResult) { done <- r },
				}
				for left.Add(-1) >= 0 {
					if err := p.Append(b.Context(), &req); err != nil {
						b.Error(err)
						return
					}
					if r := <-done; r.Err != nil {
						b.Error(r.Err)
						return
					}
				}
			})
		}
	}
	wg.Wait()
	b.StopTimer()
	stored := float64(b.N) * float64(size)
	b.ReportMetric(fsyncs(b, h)/b.Elapsed().Seconds(), "fsyncs/s")
	if err := h.Close(); err != nil {
		b.Fatal(err)
	}
	b.ReportMetric(float64(processIO()-io0)/stored, "written/stored")
}

// fsyncs is how many syncs have been made so far for acknowledgements.
func fsyncs(b *testing.B, h *Host) float64 {
	b.Helper()
	var m dto.Metric
	if err := h.metrics.fsync.Write(&m); err != nil {
		b.Fatal(err)
	}
	return float64(m.GetHistogram().GetSampleCount())
}

// processCPU is the processor time, of users and the kernel, that the process has taken.
func processCPU() time.Duration {
	var u unix.Rusage
	if unix.Getrusage(unix.RUSAGE_SELF, &u) != nil {
		return 0
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// benchDir is below STELE_BENCH_DIR, if set: the file system matters.
func benchDir(b *testing.B) string {
	b.Helper()
	root := os.Getenv("STELE_BENCH_DIR")
	if root == "" {
		return b.TempDir()
	}
	dir, err := os.MkdirTemp(root, "stele-bench-") //nolint:usetesting // on the file system that was asked for
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = os.RemoveAll(dir) })
	return dir
}

func benchBatch(size int) record.Batch {
	b := make([]byte, size)
	be := binary.BigEndian
	be.PutUint32(b[8:], uint32(size-12))
	b[16] = 2
	be.PutUint64(b[43:], ^uint64(0))
	be.PutUint16(b[51:], ^uint16(0))
	be.PutUint32(b[53:], ^uint32(0))
	be.PutUint32(b[23:], 9)
	be.PutUint32(b[57:], 10)
	for i := record.HeaderLen; i < size; i++ {
		b[i] = byte(i * 7)
	}
	be.PutUint32(b[17:], raftfile.Castagnoli(0, b[21:]))
	return b
}
