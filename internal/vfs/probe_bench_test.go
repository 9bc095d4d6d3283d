package vfs_test

import (
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/stelemq/stele/internal/vfs"
)

// BenchmarkSyncProbe says what the disk below STELE_BENCH_DIR (the temporary directory if unset) makes of a durable 4 KiB
// write. Durable figures mean nothing without it: on shared machines it moves by an order of magnitude.
func BenchmarkSyncProbe(b *testing.B) {
	dir := os.Getenv("STELE_BENCH_DIR")
	if dir == "" {
		dir = b.TempDir()
	}
	name := filepath.Join(dir, "sync-probe")
	f, err := vfs.OS{}.Create(name)
	if err != nil {
		b.Fatal(err)
	}
	defer func() { _, _ = f.Close(), os.Remove(name) }()
	page := make([]byte, 4096)
	took := make([]time.Duration, 0, b.N)
	for i := 0; b.Loop(); i++ {
		began := time.Now()
		if _, err := f.WriteAt(page, int64(i%1024)*4096); err != nil {
			b.Fatal(err)
		}
		if err := f.Sync(); err != nil {
			b.Fatal(err)
		}
		took = append(took, time.Since(began))
	}
	slices.Sort(took)
	b.ReportMetric(float64(took[len(took)/2].Microseconds()), "p50-us")
	b.ReportMetric(float64(took[len(took)*99/100].Microseconds()), "p99-us")
}
