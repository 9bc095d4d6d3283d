package commitlog_test

import (
	"fmt"
	"math"
	"path/filepath"
	"testing"

	"github.com/stelemq/stele/commitlog"
	"github.com/stelemq/stele/internal/vfs"
	"github.com/stelemq/stele/protocol/record"
)

// benchLog is a log on the host's file system that is emptied when it has grown to limit.
func benchLog(b *testing.B) *commitlog.Log {
	b.Helper()
	r, err := commitlog.OpenRecovery(filepath.Join(b.TempDir(), "t-0"), commitlog.Options{Topic: "t"})
	must(b, err)
	l, err := r.Finish(commitlog.End{}, 0)
	must(b, err)
	b.Cleanup(func() { must(b, l.Close()) })
	return l
}

const benchLimit = 512 << 20

// BenchmarkAppend appends batches to the page cache, with and without the checks of a produced batch,
// one batch an entry and eight.
func BenchmarkAppend(b *testing.B) {
	for _, size := range []int{100, 1 << 10, 16 << 10, 128 << 10, 1 << 20} {
		for _, per := range []int{1, 8} {
			if size*per > 1<<20 {
				continue
			}
			for _, validate := range []bool{false, true} {
				b.Run(fmt.Sprintf("size=%d/batches=%d/validate=%v", size, per, validate), func(b *testing.B) {
					one := batch(b, max(size/1000, 1), size, 1, &producer{id: 1})
					var all []byte
					for range per {
						all = append(all, one...)
					}
					l := benchLog(b)
					es := []commitlog.Entry{{Batches: all, Epoch: 1}}
					b.SetBytes(int64(len(all)))
					b.ReportAllocs()
					for b.Loop() {
						if validate {
							for rest := all; len(rest) > 0; {
								x, r, err := record.Next(rest)
								must(b, err)
								must(b, x.Validate())
								rest = r
							}
						}
						must(b, l.Append(es))
						if l.End().Pos > benchLimit {
							b.StopTimer()
							must(b, l.TruncateTo(0))
							b.StartTimer()
						}
					}
				})
			}
		}
	}
}

// BenchmarkRead reads 1 MiB at a time from the page cache, checksums included: in sequence, and from
// offsets all over a closed segment.
func BenchmarkRead(b *testing.B) {
	for _, size := range []int{1 << 10, 16 << 10, 1 << 20} {
		l := benchLog(b)
		one := batch(b, max(size/1000, 1), size, 1, nil)
		for l.End().Pos < 64<<20 {
			appendOne(b, l, one, 1)
		}
		end := l.End().Next
		must(b, l.Roll())
		step := record.Offset(one.LastOffsetDelta()) + 1
		b.Run(fmt.Sprintf("sequential/size=%d", size), func(b *testing.B) {
			var buf []byte
			var err error
			from, n := record.Offset(0), int64(0)
			b.ReportAllocs()
			for b.Loop() {
				buf, err = l.Read(buf[:0], from, math.MaxInt64, 1<<20, true)
				must(b, err)
				n += int64(len(buf))
				if from += record.Offset(len(buf)/len(one)) * step; from >= end {
					from = 0
				}
			}
			b.SetBytes(n / int64(b.N))
		})
		b.Run(fmt.Sprintf("random/size=%d", size), func(b *testing.B) {
			var buf []byte
			var err error
			b.ReportAllocs()
			b.SetBytes(int64(len(one)))
			for i := record.Offset(0); b.Loop(); i++ {
				buf, err = l.Read(buf[:0], i*7919*step%end, math.MaxInt64, len(one), true)
				must(b, err)
			}
		})
	}
}

// BenchmarkOpen opens and closes a clean partition.
func BenchmarkOpen(b *testing.B) {
	dir := filepath.Join(b.TempDir(), "t-0")
	e := vfs.NewErrFS(vfs.OS{})
	open := func(end commitlog.End) *commitlog.Log {
		r, err := commitlog.OpenRecovery(dir, commitlog.Options{FS: e, Topic: "t"})
		must(b, err)
		l, err := r.Finish(end, 0)
		must(b, err)
		return l
	}
	l := open(commitlog.End{})
	for i := range 1000 {
		appendOne(b, l, batch(b, 10, 1000, int64(i), &producer{id: 1, seq: int32(10 * i)}), 1)
	}
	end := l.End()
	must(b, l.Close())
	ops, syncs := e.Count(vfs.OpAll), e.Count(vfs.OpSync|vfs.OpSyncDir)
	for b.Loop() {
		must(b, open(end).Close())
	}
	b.ReportMetric(float64(e.Count(vfs.OpAll)-ops)/float64(b.N), "calls/op")
	b.ReportMetric(float64(e.Count(vfs.OpSync|vfs.OpSyncDir)-syncs)/float64(b.N), "syncs/op")
}
