//go:build robustness

package robustness

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/stelemq/stele/tests/robustness/history"
	"github.com/stelemq/stele/tests/robustness/workload"
)

// How a workload is checked and how long things may take.
const (
	partitions = 6
	// perRound is the least number of values that each round must see acknowledged before the kill.
	perRound = 300
)

// run is one workload on one broker.
type run struct {
	t    *testing.T
	node *node
	seed uint64
	rng  *rand.Rand
	load *workload.Workload
	rec  *history.Recorder
	file *os.File
}

func begin(t *testing.T) *run {
	t.Helper()
	r := &run{t: t, node: newNode(t), seed: *seed}
	if r.seed == 0 {
		r.seed = uint64(time.Now().UnixNano())
	}
	r.rng = rand.New(rand.NewPCG(r.seed, 0))
	t.Logf("seed %d, broker %s", r.seed, r.node.addr)
	var err error
	if r.file, err = os.Create(filepath.Join(r.node.dir, "history.jsonl")); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = r.file.Close() })
	r.rec = history.NewRecorder(r.file)
	cfg := workload.Config{
		Bootstrap: []string{r.node.addr}, Topic: fmt.Sprintf("robustness-%d", time.Now().UnixNano()), Partitions: partitions,
		Producers: 4, Consumers: 2, InFlight: 5, Pause: 2 * time.Millisecond, MaxBatch: 8, SegmentBytes: 1 << 20, Seed: r.seed, Recorder: r.rec,
	}
	ctx, cancel := context.WithTimeout(t.Context(), serveTimeout)
	defer cancel()
	if err := workload.CreateTopic(ctx, cfg); err != nil {
		t.Fatalf("%v\n%s", err, r.node.tail())
	}
	r.load = workload.Start(t.Context(), cfg)
	return r
}

// await waits until n more values are acknowledged, and returns how long the first of them took.
func (r *run) await(n int64) time.Duration {
	r.t.Helper()
	began, from, first := time.Now(), r.load.Acked(), time.Duration(0)
	for r.load.Acked() < from+n {
		if first == 0 && r.load.Acked() > from {
			first = time.Since(began)
		}
		if time.Since(began) > serveTimeout {
			r.t.Fatalf("%d of %d values acknowledged within %v\n%s", r.load.Acked()-from, n, serveTimeout, r.node.tail())
		}
		r.wait(2 * time.Millisecond)
	}
	if first == 0 {
		first = time.Since(began)
	}
	return first
}

func (r *run) wait(d time.Duration) {
	r.t.Helper()
	select {
	case <-r.t.Context().Done():
		r.t.Fatal(r.t.Context().Err())
	case <-time.After(d):
	}
}

// finish ends the workload and judges its history.
func (r *run) finish(o history.Options) *history.Report {
	r.t.Helper()
	ctx, cancel := context.WithTimeout(r.t.Context(), finishTimeout)
	defer cancel()
	if err := r.load.Finish(ctx); err != nil {
		r.t.Errorf("finish: %v", err)
	}
	ops, err := r.rec.Finish()
	if err != nil {
		r.t.Fatal(err)
	}
	report := history.Check(ops, o)
	r.t.Logf("%d sends, %d polls; values: %d acknowledged, %d failed, %d unknown (%d of them written), %d read, %d lost, %d duplicates",
		report.Sends, report.Polls, report.Acked, report.Failed, report.Unknown, report.Revived, report.Read, report.Lost(), report.Count[history.Duplicate])
	return report
}

// TestKill_SingleBrokerUnderLoad kills the only broker with -9, again and again, while idempotent producers write
// with acks=all and several batches in flight: nothing acknowledged is lost, nothing is there twice, and offsets
// are dense (R3 with one node).
func TestKill_SingleBrokerUnderLoad(t *testing.T) {
	n := count(200, 15)
	r := begin(t)
	var back []time.Duration
	again := 0
	r.await(perRound)
	for range n {
		r.wait(time.Duration(r.rng.Int64N(int64(400 * time.Millisecond))))
		r.node.kill(t)
		r.wait(time.Duration(r.rng.Int64N(int64(50 * time.Millisecond))))
		for r.node.start(t); r.node.bin != "" && r.rng.IntN(4) == 0; r.node.start(t) {
			// Again, while it recovers.
			r.wait(time.Duration(r.rng.Int64N(int64(150 * time.Millisecond))))
			r.node.kill(t)
			again++
		}
		back = append(back, r.await(perRound))
	}
	report := r.finish(history.Options{Partitions: partitions, MinAcked: n * perRound, MaxUnknown: 0.01})
	for _, v := range report.Violations {
		t.Error(v)
	}
	if !report.Passed() {
		t.Errorf("seed %d, violations: %v\n%s", r.seed, report.Count, sizes(r.node.data))
	}
	if r.node.bin != "" {
		r.node.kill(t)
		r.node.verify(t)
	}
	slices.Sort(back)
	t.Logf("%d kills, and %d while recovering; from the start to the first acknowledgement: p50 %v, p99 %v, max %v", n, again, back[len(back)/2], back[len(back)*99/100], back[len(back)-1])
}

// TestControl_StaleDataIsFound is the control of the scenario above: a copy of the data from an earlier moment is
// put back after a kill, which loses what was acknowledged since, and the history must show it.
func TestControl_StaleDataIsFound(t *testing.T) {
	r := begin(t)
	if r.node.data == "" {
		t.Skip("the data directory of the broker is not known: set STELE_ROBUSTNESS_DATA")
	}
	stale := filepath.Join(t.TempDir(), "stale")
	r.await(perRound)
	r.node.kill(t)
	copyTree(t, r.node.data, stale)
	r.node.start(t)
	r.await(perRound)
	r.node.kill(t)
	if err := os.RemoveAll(r.node.data); err != nil {
		t.Fatal(err)
	}
	copyTree(t, stale, r.node.data)
	r.node.start(t)
	r.await(perRound)
	report := r.finish(history.Options{Partitions: partitions, MaxUnknown: 1})
	found := report.Count[history.LostWrite] + report.Count[history.Vanished] + report.Count[history.Unseen] + report.Count[history.InconsistentOffsets]
	if found == 0 {
		t.Fatalf("acknowledged values were taken away, and the history shows no loss: %v", report.Count)
	}
	t.Logf("found: %v", report.Count)
}

// TestR30_RollingRestart ends one broker after the other with SIGTERM and starts it again: it hands its leaderships over, no
// producer loses anything by it, and each partition is away for a moment only.
func TestR30_RollingRestart(t *testing.T) {
	s := newScenario(t, "R30 rolling restart", three())
	var gaps []time.Duration
	errors := int64(0)
	for range count(20, 1) {
		for _, n := range s.c.Nodes {
			s.strong.Availability.MaxGap()
			failed := s.strong.Availability.Errors(s.partitions())
			if err := n.Terminate(stopTimeout); err != nil {
				t.Error(err)
			}
			s.wait(300 * time.Millisecond)
			gaps = append(gaps, s.strong.Availability.Gaps()...)
			n.Start()
			s.healed()
			errors += s.strong.Availability.Errors(s.partitions()) - failed
			s.figures.faults++
		}
	}
	s.figures.note("longest gap of each partition and restart p50 / p99 / max %s; %d answers that were retried", quantiles(gaps), errors)
	s.finish()
}
