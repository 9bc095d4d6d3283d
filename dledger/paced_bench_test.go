package dledger

import (
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stelemq/stele/protocol/record"
)

// BenchmarkPaced offers 10,000 small durable batches a second, each to the next partition, whether or not the others have
// been answered, and reports how long after its intended moment each was: open loop, no coordinated omission.
func BenchmarkPaced(b *testing.B) {
	for _, parts := range []int{10, 1000} {
		b.Run(fmt.Sprintf("partitions=%d", parts), func(b *testing.B) { benchPaced(b, parts) })
	}
}

const (
	pacedPerTick = 20
	pacedTick    = 2 * time.Millisecond
)

func benchPaced(b *testing.B, parts int) {
	var frames, saves, frameBytes atomic.Int64
	h, ps := startHost(b, benchDir(b), parts, 1, Options{
		Fatal: func(err error) { b.Fatalf("fatal: %v", err) },
		frames: func(n, s int) {
			frames.Add(1)
			saves.Add(int64(s))
			frameBytes.Add(int64(n))
		},
	})
	batch := benchBatch(record.HeaderLen + 100)
	syncs0, cpu0 := fsyncs(b, h), processCPU()
	var (
		mu   sync.Mutex
		took []time.Duration
		wg   sync.WaitGroup
	)
	tick := time.NewTicker(pacedTick)
	defer tick.Stop()
	began := time.Now()
	b.ResetTimer()
	for n := 0; n < b.N; {
		<-tick.C
		for due := int(time.Since(began)/pacedTick+1) * pacedPerTick; n < min(due, b.N); n++ {
			intended := began.Add(time.Duration(n/pacedPerTick) * pacedTick)
			wg.Add(1)
			err := ps[n%parts].Append(b.Context(), &AppendRequest{
				Batch: batch, Acks: AcksAll, Timeout: time.Minute,
				Done: func(r AppendResult) {
					defer wg.Done()
					if r.Err != nil {
						b.Error(r.Err)
					}
					mu.Lock()
					took = append(took, time.Since(intended))
					mu.Unlock()
				},
			})
			if err != nil {
				b.Fatal(err)
			}
		}
	}
	wg.Wait()
	b.StopTimer()
	seconds := b.Elapsed().Seconds()
	b.ReportMetric((fsyncs(b, h)-syncs0)/seconds, "fsyncs/s")
	b.ReportMetric(float64(frames.Load())/seconds, "frames/s")
	b.ReportMetric(float64(saves.Load())/float64(frames.Load()), "steps/frame")
	b.ReportMetric((processCPU()-cpu0).Seconds()/seconds, "cpu-s/s")
	b.ReportMetric(float64(frameBytes.Load())/seconds/1e6, "journal-MB/s")
	slices.Sort(took)
	for _, q := range []struct {
		name string
		at   float64
	}{{"p50-ms", 0.5}, {"p99-ms", 0.99}, {"p999-ms", 0.999}} {
		d := took[min(len(took)-1, int(float64(len(took))*q.at))]
		b.ReportMetric(float64(d)/float64(time.Millisecond), q.name)
	}
	b.ReportMetric(float64(len(took))/b.Elapsed().Seconds(), "records/s")
	if err := h.Close(); err != nil {
		b.Fatal(err)
	}
}
