package commitlog_test

import (
	"bytes"
	"context"
	"fmt"
	"math"
	"math/rand/v2"
	"path/filepath"
	"testing"

	"github.com/stelemq/stele/commitlog"
	"github.com/stelemq/stele/internal/vfs"
	"github.com/stelemq/stele/protocol/record"
)

// BenchmarkClean compacts 256 MiB of which half of the records have a newer one. MB/s are those of the log, each byte counted
// once.
func BenchmarkClean(b *testing.B) {
	for _, size := range []int{100, 1000} {
		for _, codec := range []record.Codec{record.None, record.Zstd} {
			b.Run(fmt.Sprintf("%d bytes %v", size, codec), func(b *testing.B) { benchClean(b, size, codec) })
		}
	}
}

func benchClean(b *testing.B, size int, codec record.Codec) {
	const total = 256 << 20
	dir := filepath.Join(b.TempDir(), "t-0")
	o := options(vfs.OS{})
	o.SegmentBytes = 64 << 20
	rng := rand.New(rand.NewPCG(1, 1))
	records := total / (size + 20)
	value := make([]byte, size)
	for i := range value {
		value[i] = byte('a' + rng.IntN(16))
	}
	for b.Loop() {
		b.StopTimer()
		must(b, vfs.OS{}.RemoveAll(dir))
		r, err := commitlog.OpenRecovery(dir, o)
		must(b, err)
		l, err := r.Finish(commitlog.End{}, 0)
		must(b, err)
		for n := 0; n < records; {
			var bld record.Builder
			for range max(1, 16<<10/size) {
				copy(value, fmt.Sprint(rng.Int()))
				bld.Append(record.Record{Timestamp: int64(n), Key: fmt.Appendf(nil, "key-%010d", rng.IntN(records/2)), Value: value})
				n++
			}
			out, err := bld.Build(codec, record.DefaultLevel)
			must(b, err)
			must(b, l.Append([]commitlog.Entry{{Batches: bytes.Clone(out), Epoch: 1}}))
		}
		must(b, l.Roll())
		must(b, l.Sync())
		b.SetBytes(l.Size())
		b.StartTimer()
		s, err := l.Clean(context.Background(), commitlog.CleanOptions{UpTo: math.MaxInt64, MapBytes: 128 << 20})
		must(b, err)
		b.ReportMetric(float64(s.RecordsRemoved)/float64(s.RecordsRead)*100, "%removed")
		b.StopTimer()
		must(b, l.Close())
		b.StartTimer()
	}
}
