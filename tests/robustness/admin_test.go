//go:build robustness

package robustness

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/stelemq/stele/tests/robustness/history"
	"github.com/stelemq/stele/tests/robustness/rig"
	"github.com/stelemq/stele/tests/robustness/workload"
)

// five is five brokers with every partition on three of them.
func five() setup {
	o := three()
	if o.nodes > 1 {
		o.nodes = 5
	}
	return o
}

// strike does one of several harms to a broker, waits and takes it back.
func (s *scenario) strike(n *rig.Node, hold time.Duration) {
	s.t.Helper()
	switch s.rng.IntN(3) {
	case 0:
		n.Kill()
		s.wait(hold)
		n.Start()
	case 1:
		n.Pause()
		s.wait(hold)
		n.Resume()
	case 2:
		s.c.Isolate(n.ID)
		since := s.strong.rec.Now()
		s.wait(hold)
		s.isolated(n.ID, since)
		s.c.Heal()
	}
}

// within is ctx of the test with a limit.
func (s *scenario) within(limit time.Duration) (context.Context, context.CancelFunc) {
	return context.WithTimeout(s.t.Context(), limit)
}

// do carries out an administrative request, which must succeed in the end.
func (s *scenario) do(what string, f func(context.Context) error) time.Duration {
	s.t.Helper()
	ctx, cancel := s.within(serveTimeout)
	defer cancel()
	began := time.Now()
	if err := f(ctx); err != nil {
		s.t.Fatalf("seed %d: %s: %v", s.seed, what, err)
	}
	return time.Since(began)
}

// settled waits until no partition is being moved.
func (s *scenario) settled() {
	s.t.Helper()
	for began := time.Now(); ; s.wait(50 * time.Millisecond) {
		moving := 0
		s.do("list reassignments", func(ctx context.Context) (err error) {
			moving, err = workload.Moving(ctx, s.c.Bootstrap())
			return err
		})
		if moving == 0 {
			return
		}
		if time.Since(began) > healTimeout {
			s.t.Fatalf("seed %d: %d reassignments are stuck", s.seed, moving)
		}
	}
}

// nodesAt returns so many random nodes.
func (s *scenario) nodesAt(n int) []int32 {
	ids := s.everybody()
	s.rng.Shuffle(len(ids), func(i, j int) { ids[i], ids[j] = ids[j], ids[i] })
	return ids[:n]
}

// TestR23_MembershipChange moves replicas between five brokers while one of them is killed, stopped or cut off: the one
// that leads, one that comes, one that goes, or any.
func TestR23_MembershipChange(t *testing.T) {
	s := newScenario(t, "R23 replicas move while brokers fail", five())
	s.c.NeedCuts()
	moved := 0
	for range count(200, 4) {
		targets := map[int32][]int32{}
		for range 4 {
			targets[s.rng.Int32N(int32(s.setup.partitions))] = s.nodesAt(s.setup.replicas)
		}
		hit := s.c.Node(s.leader())
		if all := slices.Concat(slices.Collect(maps.Values(targets))...); s.rng.IntN(2) == 0 {
			hit = s.c.Node(all[s.rng.IntN(len(all))])
		}
		s.do("reassign", func(ctx context.Context) error {
			return workload.Reassign(ctx, s.c.Bootstrap(), s.strong.cfg.Topic, targets)
		})
		s.between(0, 800*time.Millisecond)
		s.strong.Availability.MaxGap()
		s.strike(s.c.Node(hit.ID), s.random(500*time.Millisecond, 3*time.Second))
		s.settled()
		s.healed()
		s.figures.faults++
		moved += len(targets)
		s.placed(targets)
	}
	s.figures.note("%d partitions moved, none stuck", moved)
	s.finish()
}

// placed checks that every broker says that the replicas are where they were wanted.
func (s *scenario) placed(targets map[int32][]int32) {
	s.t.Helper()
	for _, n := range s.c.Nodes {
		for began := time.Now(); ; s.wait(50 * time.Millisecond) {
			ctx, cancel := s.within(serveTimeout)
			_, topics, err := workload.Cluster(ctx, n.Addr())
			cancel()
			wrong := ""
			for p, want := range targets {
				if t := topics[s.strong.cfg.Topic]; err == nil && (int(p) >= len(t.Replicas) || !workload.SameNodes(t.Replicas[p], want)) {
					wrong = fmt.Sprintf("partition %d is wanted on %v: %+v", p, want, t.Replicas)
				}
			}
			if err == nil && wrong == "" {
				break
			}
			if time.Since(began) > serveTimeout {
				s.t.Fatalf("seed %d: node %d: %v %s", s.seed, n.ID, err, wrong)
			}
		}
	}
}

// controller returns who any broker says is the controller.
func (s *scenario) controller() int32 {
	s.t.Helper()
	for began := time.Now(); ; s.wait(20 * time.Millisecond) {
		for _, addr := range s.c.Bootstrap() {
			ctx, cancel := s.within(time.Second)
			id, _, err := workload.Cluster(ctx, addr)
			cancel()
			if err == nil && id > 0 && s.c.Node(id).Alive() {
				return id
			}
		}
		if time.Since(began) > serveTimeout {
			s.t.Fatalf("seed %d: no controller", s.seed)
		}
	}
}

// TestR26_ControllerKilled kills the controller with -9: another decides soon, and records do not wait for it.
func TestR26_ControllerKilled(t *testing.T) {
	s := newScenario(t, "R26 kill -9 of the controller", three())
	var admin []time.Duration
	for i := range count(100, 3) {
		victim := s.c.Node(s.controller())
		s.fault([]int32{victim.ID}, func() {
			victim.Kill()
			admin = append(admin, s.do("create a topic", func(ctx context.Context) error {
				return workload.Create(ctx, s.c.Bootstrap(), fmt.Sprintf("made-%d", i), 1, 2, nil)
			}))
		}, 0, victim.Start)
	}
	s.figures.note("a topic could be created after %s", quantiles(admin))
	s.finish()
}

// TestR26_MetadataMajorityLost takes three of five brokers, with them the majority of the metadata's voters: the other two
// hold a majority of each partition, and go on.
func TestR26_MetadataMajorityLost(t *testing.T) {
	o := five()
	if o.nodes != 5 {
		t.Skip("needs five brokers")
	}
	o.assignment = func(p int) []int32 { return []int32{1, 2, int32(3 + p%3)} }
	s := newScenario(t, "R26 majority of the metadata's voters lost", o)
	s.voters(5)
	hold := 60 * time.Second
	if testing.Short() {
		hold = 12 * time.Second
	}
	var gap time.Duration
	for range count(20, 1) {
		hit := s.ledBy(3, 4, 5)
		m := s.mark(hit)
		for _, id := range []int32{3, 4, 5} {
			s.c.Node(id).Kill()
		}
		s.figures.available = append(s.figures.available, s.await(m, "without three brokers")...)
		s.strong.Availability.MaxGap()
		acked := s.strong.Acked()
		s.wait(hold)
		gap = max(gap, s.strong.Availability.MaxGap())
		if s.strong.Acked() == acked {
			t.Errorf("seed %d: nothing is acknowledged without the metadata's majority", s.seed)
		}
		s.await(s.mark(s.partitions()), "without the metadata's majority")
		ctx, cancel := s.within(time.Second)
		if err := workload.Create(ctx, s.c.Bootstrap(), "impossible", 1, 1, nil); err == nil {
			t.Errorf("seed %d: a topic was created without the metadata's majority", s.seed)
		}
		cancel()
		s.c.Start()
		took := s.do("create a topic", func(ctx context.Context) error {
			return workload.Create(ctx, s.c.Bootstrap(), fmt.Sprintf("possible-%d", s.figures.faults), 1, 3, nil)
		})
		s.healed()
		s.figures.faults++
		s.figures.note("%v without, longest gap meanwhile %v, a topic could be created %v after the others' start", hold, round(gap), round(took))
	}
	s.finish()
}

// voters waits until so many nodes vote in the metadata.
func (s *scenario) voters(want int) {
	s.t.Helper()
	var have []int32
	for began := time.Now(); ; s.wait(50 * time.Millisecond) {
		s.do("describe the quorum", func(ctx context.Context) (err error) {
			have, err = workload.Voters(ctx, s.c.Bootstrap())
			return err
		})
		if len(have) == want {
			return
		}
		if time.Since(began) > serveTimeout {
			s.t.Fatalf("seed %d: nodes %v vote in the metadata, want %d", s.seed, have, want)
		}
	}
}

// churn makes, changes and deletes topics and moves replicas, until it is stopped. It keeps what it was told, and asks again
// until it is told something.
type churn struct {
	s      *scenario
	topics map[string]int // partitions
	done   map[string]int
	stop   chan struct{}
	group  sync.WaitGroup
}

func (s *scenario) churn() *churn {
	c := &churn{s: s, topics: map[string]int{}, done: map[string]int{}, stop: make(chan struct{})}
	c.group.Go(c.run)
	return c
}

func (c *churn) run() {
	rng := c.s.newRand()
	addrs := c.s.c.Bootstrap()
	for i := 0; ; i++ {
		select {
		case <-c.stop:
			return
		case <-time.After(time.Duration(rng.IntN(300)) * time.Millisecond):
		}
		names := slices.Sorted(maps.Keys(c.topics))
		ctx, cancel := context.WithTimeout(context.WithoutCancel(c.s.t.Context()), serveTimeout)
		var err error
		var what string
		switch op := rng.IntN(6); {
		case len(names) == 0 || op == 0 && len(names) < 8:
			what = "create"
			name := fmt.Sprintf("churn-%d", i)
			if err = workload.Create(ctx, addrs, name, 3, 3, map[string]string{"retention.ms": "3600000"}); err == nil {
				c.topics[name] = 3
			}
		case op == 1:
			what = "delete"
			name := names[rng.IntN(len(names))]
			if err = workload.Delete(ctx, addrs, name); err == nil {
				delete(c.topics, name)
			}
		case op == 2:
			what = "add partitions"
			name := names[rng.IntN(len(names))]
			if err = workload.Grow(ctx, addrs, name, int32(c.topics[name]+1)); err == nil {
				c.topics[name]++
			}
		case op == 3:
			what = "configure"
			err = workload.Configure(ctx, addrs, c.s.strong.cfg.Topic, "segment.bytes", strconv.Itoa(1<<20+rng.IntN(4)<<18))
		default:
			what = "reassign"
			ids := c.s.everybody()
			rng.Shuffle(len(ids), func(i, j int) { ids[i], ids[j] = ids[j], ids[i] })
			to := map[int32][]int32{rng.Int32N(int32(c.s.setup.partitions)): ids[:c.s.setup.replicas]}
			err = workload.Reassign(ctx, addrs, c.s.strong.cfg.Topic, to)
		}
		cancel()
		if err != nil {
			c.s.t.Errorf("seed %d: %s: %v", c.s.seed, what, err)
			return
		}
		c.done[what]++
	}
}

// finish ends it and compares what every broker says with what the churn was told.
func (c *churn) finish() {
	c.s.t.Helper()
	close(c.stop)
	c.group.Wait()
	c.s.settled()
	for _, n := range c.s.c.Nodes {
		for began := time.Now(); ; c.s.wait(50 * time.Millisecond) {
			ctx, cancel := c.s.within(serveTimeout)
			_, topics, err := workload.Cluster(ctx, n.Addr())
			cancel()
			have := map[string]int{}
			for name, t := range topics {
				if len(name) > 6 && name[:6] == "churn-" {
					have[name] = t.Partitions
				}
			}
			if err == nil && maps.Equal(have, c.topics) {
				break
			}
			if time.Since(began) > serveTimeout {
				c.s.t.Errorf("seed %d: node %d knows the topics %v, want %v (%v)", c.s.seed, n.ID, have, c.topics, err)
				break
			}
		}
	}
	c.s.figures.note("administration: %v", c.done)
}

// TestW5_AdminChurn makes, changes and deletes topics and moves replicas while brokers are killed, stopped and cut off.
func TestW5_AdminChurn(t *testing.T) {
	s := newScenario(t, "W5 administration while brokers fail", five())
	s.c.NeedCuts()
	c := s.churn()
	for range count(100, 5) {
		s.between(0, time.Second)
		victim := s.c.Node(s.pick())
		if s.rng.IntN(3) == 0 {
			victim = s.c.Node(s.controller())
		}
		s.strong.Availability.MaxGap()
		s.strike(victim, s.random(500*time.Millisecond, 3*time.Second))
		s.healed()
		s.figures.faults++
	}
	c.finish()
	s.healed()
	s.finish()
}

// TestW4_Unacknowledged writes with acks=0 while leaders are killed and cut off: what is there is there once, in
// order, and stays; what is lost is counted.
func TestW4_Unacknowledged(t *testing.T) {
	s := newScenario(t, "W4 acks=0 while leaders fail", three())
	s.c.NeedCuts()
	none := s.load(workload.None, 4, 1)
	for range count(50, 4) {
		s.strong.Availability.MaxGap()
		s.strike(s.c.Node(s.leader()), s.random(500*time.Millisecond, 2*time.Second))
		s.healed()
		s.figures.faults++
	}
	s.c.Heal()
	r := s.judge(none, history.Options{Weak: true, Unacknowledged: true})
	if r.Read == 0 || r.Read > r.Unknown {
		t.Errorf("seed %d: %d values were written with acks=0, and %d read", s.seed, r.Unknown, r.Read)
	}
	s.figures.note("acks=0: %d written, %d lost", r.Unknown, r.Unknown-r.Read)
	s.finish()
}
