//go:build robustness

package robustness

import (
	"context"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stelemq/stele/tests/robustness/history"
	"github.com/stelemq/stele/tests/robustness/replicas"
	"github.com/stelemq/stele/tests/robustness/rig"
	"github.com/stelemq/stele/tests/robustness/workload"
)

var (
	rounds = flag.Int("rounds", 0, "faults per scenario; 0: its own count")
	scale  = flag.Float64("scale", 1, "share of each scenario's own count of faults")
	seed   = flag.Uint64("seed", 0, "of all random choices; 0: from the clock")
	nodes  = flag.Int("nodes", 3, "brokers of most scenarios; with 1 only what one can do")
	later  = flag.Bool("later", false, "also try what the broker is known not to do yet")
	binary = flag.String("broker", "", "the broker to try; empty: built from this tree")
)

// How long things may take.
const (
	// serveTimeout is how long a partition may take to acknowledge again, and a cluster to start.
	serveTimeout = 90 * time.Second
	// lagTime is after what time a replica that is behind is no longer in sync: short, so that what a fault
	// leaves behind is seen.
	lagTime = time.Second
	// healTimeout is how long replicas may take to be in sync again.
	healTimeout = 120 * time.Second
	// finishTimeout is for what is unresolved, and for reading everything.
	finishTimeout = 120 * time.Second
	stopTimeout   = 60 * time.Second
)

// setup says what a scenario needs.
type setup struct {
	nodes, partitions int
	replicas, minISR  int
	weak              bool                        // also a workload with acks=1
	assignment        func(partition int) []int32 // where replicas are; nil: the cluster decides
	trims             bool                        // the log start moves
	maxBatch          int                         // values; 0: 8
	lossy             bool                        // what was acknowledged before an unclean election may be lost
	topic             map[string]string           // further settings of the strong topic
	later             string                      // what the broker does not do yet
	sabotaged         bool                        // the brokers are expected to fail
	damage            bool                        // the scenario damages files, which nobody may have read at the end
	binary            string
	settings          []string
	own               func(node int32) []string // settings of one broker
	mount             func(node int32, dir string) (string, func(), error)
	pause             time.Duration // between two batches of a producer
	unknown           float64       // the share of unknown results that is allowed; 0: 1 %
}

// three is three brokers with every partition on all of them.
func three() setup {
	if *nodes == 1 {
		return setup{nodes: 1, partitions: 12, replicas: 1, minISR: 1}
	}
	return setup{nodes: *nodes, partitions: 12, replicas: 3, minISR: 2}
}

// scenario is a cluster under load, to which things happen.
type scenario struct {
	t            *testing.T
	setup        setup
	seed         uint64
	rng          *rand.Rand
	c            *rig.Cluster
	strong, weak *judged
	figures      figures
}

// judged is a workload and its history.
type judged struct {
	*workload.Workload
	cfg      workload.Config
	rec      *history.Recorder
	isolated []history.Window
	cuts     []history.Window // in which another leader was elected uncleanly
}

// newRand returns another source of random choices, of the same seed.
func (s *scenario) newRand() *rand.Rand { return rand.New(rand.NewPCG(s.seed, 1)) }

// count is how many faults to inject.
func count(full, short int) int {
	switch {
	case *rounds > 0:
		return *rounds
	case testing.Short():
		return short
	}
	return max(1, int(float64(full)**scale))
}

// newScenario starts a cluster and the workloads on it, and waits until each partition has acknowledged something.
func newScenario(t *testing.T, name string, o setup) *scenario {
	t.Helper()
	if o.later != "" && !*later {
		t.Skipf("%s: tried with -later", o.later)
	}
	s := &scenario{t: t, setup: o, seed: *seed}
	if s.seed == 0 {
		s.seed = uint64(time.Now().UnixNano())
	}
	s.rng = rand.New(rand.NewPCG(s.seed, 0))
	s.figures.name = name
	bin := o.binary
	if bin == "" {
		if bin = *binary; bin == "" {
			bin = rig.Build(t, nil)
		}
	}
	settings := append([]string{"replica.lag.time.max.ms=" + lagTime.String(), "journal.file.bytes=1MiB"}, o.settings...)
	s.c = rig.New(t, rig.Options{Nodes: o.nodes, Binary: bin, Settings: settings, Own: o.own, Mount: o.mount, MayDie: o.sabotaged})
	t.Logf("seed %d, %s", s.seed, s.c.Dir)
	s.c.Start()
	s.strong = s.load(workload.All, 8, 2)
	if o.weak {
		s.weak = s.load(workload.Leader, 2, 1)
	}
	s.await(s.mark(s.partitions()), "the first write")
	s.awaitSync()
	return s
}

// load creates a topic and starts a workload on it.
func (s *scenario) load(acks workload.Acks, producers, consumers int) *judged {
	s.t.Helper()
	name := []string{"strong", "leader", "none"}[acks]
	file, err := os.Create(filepath.Join(s.c.Dir, "history-"+name+".jsonl"))
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() { _ = file.Close() })
	j := &judged{rec: history.NewRecorder(file)}
	pause := s.setup.pause
	if pause == 0 {
		pause = 10 * time.Millisecond
	}
	j.cfg = workload.Config{
		Bootstrap: s.c.Bootstrap(), Topic: fmt.Sprintf("%s-%d", name, s.seed%1_000_000), Partitions: int32(s.setup.partitions),
		Replicas: int16(s.setup.replicas), MinISR: s.setup.minISR, Acks: acks, Producers: producers, Consumers: consumers, InFlight: 5,
		Pause: pause, MaxBatch: 8, SegmentBytes: 1 << 20, Seed: s.seed, Recorder: j.rec,
	}
	j.cfg.Trims = s.setup.trims
	if s.setup.maxBatch > 0 {
		j.cfg.MaxBatch = s.setup.maxBatch
	}
	if acks == workload.All {
		j.cfg.Settings = s.setup.topic
	}
	for p := range s.setup.partitions {
		if s.setup.assignment != nil {
			j.cfg.Assignment = append(j.cfg.Assignment, s.setup.assignment(p))
		}
	}
	ctx, cancel := context.WithTimeout(s.t.Context(), serveTimeout)
	defer cancel()
	if err := workload.CreateTopic(ctx, j.cfg); err != nil {
		s.t.Fatalf("seed %d: %v", s.seed, err)
	}
	j.Workload = workload.Start(context.WithoutCancel(s.t.Context()), j.cfg)
	return j
}

// partitions are all partitions of the workload.
func (s *scenario) partitions() (all []int32) {
	for p := range int32(s.setup.partitions) {
		all = append(all, p)
	}
	return all
}

// ledBy are the partitions that any of the nodes leads.
func (s *scenario) ledBy(nodes ...int32) (led []int32) {
	for _, n := range nodes {
		led = append(led, s.strong.Router.Led(n)...)
	}
	return led
}

// mark begins to wait for writes to the partitions that are sent from now on.
func (s *scenario) mark(partitions []int32) *workload.Mark {
	return s.strong.Availability.Mark(partitions)
}

// await waits for a mark, and returns how long each partition took.
func (s *scenario) await(m *workload.Mark, what string) []time.Duration {
	s.t.Helper()
	select {
	case <-m.Done():
	case <-s.t.Context().Done():
		s.t.Fatal(s.t.Context().Err())
	case <-time.After(serveTimeout):
		_, missing := m.Took()
		s.t.Fatalf("seed %d: %s: partitions %v have acknowledged nothing within %v", s.seed, what, missing, serveTimeout)
	}
	took, _ := m.Took()
	return took
}

// inSync reports whether all replicas are in sync, and not only taken for it by new leaders.
func (s *scenario) inSync() bool {
	return s.strong.Router.InSync(s.setup.replicas, lagTime+lagTime/4)
}

// awaitSync waits until every replica is in sync, and returns how long that took.
func (s *scenario) awaitSync() time.Duration {
	s.t.Helper()
	began := time.Now()
	for !s.inSync() {
		if time.Since(began) > healTimeout {
			s.t.Fatalf("seed %d: replicas are not in sync after %v", s.seed, healTimeout)
		}
		s.wait(10 * time.Millisecond)
	}
	return time.Since(began)
}

func (s *scenario) wait(d time.Duration) {
	s.t.Helper()
	select {
	case <-s.t.Context().Done():
		s.t.Fatal(s.t.Context().Err())
	case <-time.After(d):
	}
}

// between waits for a random time.
func (s *scenario) between(from, to time.Duration) { s.wait(s.random(from, to)) }

func (s *scenario) random(from, to time.Duration) time.Duration {
	return from + time.Duration(s.rng.Int64N(int64(to-from)+1))
}

// pick returns a random node.
func (s *scenario) pick() int32 { return s.c.Nodes[s.rng.IntN(len(s.c.Nodes))].ID }

// leader returns the leader of a random partition.
func (s *scenario) leader() int32 {
	s.t.Helper()
	for began := time.Now(); ; s.wait(5 * time.Millisecond) {
		if route, _ := s.strong.Router.Route(s.rng.Int32N(int32(s.setup.partitions))); route.Node > 0 {
			return route.Node
		}
		if time.Since(began) > serveTimeout {
			s.t.Fatalf("seed %d: no partition has a leader", s.seed)
		}
	}
}

// fault injects one fault that hits nodes, waits until the partitions that they led acknowledge again without
// them, holds it for a while, heals it and waits until all replicas are in sync.
func (s *scenario) fault(nodes []int32, inject func(), hold time.Duration, heal func()) {
	s.t.Helper()
	hit := s.ledBy(nodes...)
	s.strong.Availability.MaxGap()
	m := s.mark(hit)
	inject()
	began := time.Now()
	s.figures.available = append(s.figures.available, s.await(m, "after a fault")...)
	s.wait(hold - time.Since(began))
	heal()
	s.healed()
	s.figures.faults++
}

// healed waits until all partitions are written to and all replicas are in sync.
func (s *scenario) healed() {
	s.t.Helper()
	all := s.mark(s.partitions())
	if lagging := !s.inSync(); lagging {
		s.figures.heal = append(s.figures.heal, s.awaitSync())
	}
	s.await(all, "after healing")
	s.figures.gap = max(s.figures.gap, s.strong.Availability.MaxGap())
}

// isolated notes that a node could not reach a majority since a moment of the history.
func (s *scenario) isolated(node int32, since int64) {
	s.strong.isolated = append(s.strong.isolated, history.Window{Node: node, From: since, To: s.strong.rec.Now()})
}

// finish ends the workloads, judges their histories, stops the cluster and compares the replicas.
func (s *scenario) finish() {
	s.t.Helper()
	s.c.Heal()
	unknown := s.setup.unknown
	if unknown == 0 {
		unknown = 0.01
	}
	report := s.judge(s.strong, history.Options{MaxUnknown: unknown, Isolated: s.strong.isolated, MinAcked: 100 * max(1, s.figures.faults)})
	s.figures.add(report)
	if s.weak != nil {
		s.figures.weak = s.judge(s.weak, history.Options{MaxUnknown: 0.5, Weak: true})
	}
	if err := s.c.Terminate(stopTimeout); err != nil {
		s.t.Error(err)
	}
	s.compareReplicas()
	s.figures.report(s.t)
}

// compareReplicas compares the files of all replicas after a clean stop.
func (s *scenario) compareReplicas() {
	s.t.Helper()
	var dirs []string
	for _, n := range s.c.Nodes {
		dirs = append(dirs, n.Files)
	}
	result, err := replicas.Compare(dirs)
	if err != nil {
		s.t.Error(err)
	}
	for _, d := range result.Differences {
		s.t.Errorf("seed %d, replicas differ: %s", s.seed, d)
	}
	for _, d := range result.Damaged {
		if !s.setup.damage {
			s.t.Errorf("seed %d, damage: %s", s.seed, d)
		}
	}
	if len(result.Damaged) > 0 {
		s.figures.note("damage in %d replicas that nobody has read", len(result.Damaged))
	}
	if want := (s.setup.replicas - 1) * s.setup.partitions; result.Pairs < want {
		s.t.Errorf("%d pairs of replicas were compared, want at least %d", result.Pairs, want)
	}
	s.figures.note("%d pairs of replicas identical", result.Pairs-len(result.Differences))
}

// judge ends one workload and checks its history.
func (s *scenario) judge(j *judged, o history.Options) *history.Report {
	s.t.Helper()
	report := s.check(j, o)
	if s.setup.lossy {
		return report
	}
	for _, v := range report.Violations {
		s.t.Error(v)
	}
	if !report.Passed() {
		s.t.Errorf("seed %d, %s: violations: %v", s.seed, j.cfg.Topic, report.Count)
	}
	return report
}

// check ends one workload and returns what its history shows.
func (s *scenario) check(j *judged, o history.Options) *history.Report {
	s.t.Helper()
	limit := finishTimeout
	if s.setup.sabotaged {
		limit = 20 * time.Second
	}
	ctx, cancel := context.WithTimeout(s.t.Context(), limit)
	defer cancel()
	if err := j.Finish(ctx); err != nil && !s.setup.sabotaged {
		s.t.Errorf("seed %d: finish: %v", s.seed, err)
	}
	ops, err := j.rec.Finish()
	if err != nil {
		s.t.Fatal(err)
	}
	if j.cuts != nil {
		wrong, before := j.checkFence(ops)
		for _, w := range wrong[:min(len(wrong), 10)] {
			s.t.Errorf("seed %d: %s", s.seed, w)
		}
		s.figures.note("%d batches acknowledged by former leaders behind a cut, %d of them after a new one had", before+len(wrong), len(wrong))
		if before == 0 {
			s.t.Errorf("seed %d: the former leaders acknowledged nothing at all behind the cut: the test proves nothing", s.seed)
		}
	}
	o.Partitions, o.Trims = int32(s.setup.partitions), s.setup.trims
	return history.Check(ops, o)
}
