//go:build robustness

package robustness

import (
	"testing"
	"time"
)

// TestR5_PauseLeader stops a leader with SIGSTOP and lets it go on when another leads: it acknowledges and serves
// nothing in its old epoch.
func TestR5_PauseLeader(t *testing.T) {
	o := three()
	o.weak = true
	s := newScenario(t, "R5 SIGSTOP of a leader, which wakes", o)
	longest := 30 * time.Second
	if testing.Short() {
		longest = 3 * time.Second
	}
	for range count(100, 5) {
		victim := s.c.Node(s.leader())
		s.fault([]int32{victim.ID}, victim.Pause, s.random(time.Second, longest), victim.Resume)
		s.between(0, 500*time.Millisecond)
	}
	s.finish()
}

// TestR6_Partition cuts the network in every shape that three nodes allow: what is in the minority acknowledges
// nothing with acks=all, the majority goes on, and after healing nothing is lost.
func TestR6_Partition(t *testing.T) {
	o := three()
	o.weak = true
	s := newScenario(t, "R6 symmetric partition", o)
	s.c.NeedCuts()
	for i := range count(100, 6) {
		hold := s.random(500*time.Millisecond, 5*time.Second)
		id := s.leader()
		switch i % 3 {
		case 0: // clients reach the node, others do not
			var since int64
			s.fault([]int32{id}, func() { s.c.Isolate(id); since = s.strong.rec.Now() }, hold, func() { s.isolated(id, since); s.c.Heal() })
		case 1: // nobody reaches it
			s.fault([]int32{id}, func() { s.c.SetLink(id, false) }, hold, func() { s.c.SetLink(id, true) })
		case 2: // a bridge: two nodes reach each other only through the third, which has a majority with each
			others := s.c.Others(id)
			s.fault(others, func() { s.c.Split(others[:1], others[1:2]) }, hold, s.c.Heal)
		}
		s.between(0, 500*time.Millisecond)
	}
	s.finish()
}

// TestR7_OneWay cuts one direction: a leader that is heard but hears nobody must step down, and one that hears but
// is not heard must be replaced.
func TestR7_OneWay(t *testing.T) {
	s := newScenario(t, "R7 one-way partition", three())
	s.c.NeedCuts()
	began := s.epochs()
	for i := range count(100, 6) {
		id := s.leader()
		others := s.c.Others(id)
		inject := func() { s.c.CutOneWay(id, others...) }
		if i%2 == 1 {
			inject = func() {
				for _, other := range others {
					s.c.CutOneWay(other, id)
				}
			}
		}
		s.fault([]int32{id}, inject, s.random(500*time.Millisecond, 5*time.Second), s.c.Heal)
		s.between(0, 500*time.Millisecond)
	}
	s.figures.note("%.1f leader epochs per fault and partition", float64(s.epochs()-began)/float64(s.setup.partitions*s.figures.faults))
	s.finish()
}

// TestR8_Flapping takes the link of one broker down and up every 100 ms: the others go on, and terms do not run away.
func TestR8_Flapping(t *testing.T) {
	s := newScenario(t, "R8 flapping link", three())
	s.c.NeedCuts()
	lasts, calm := 60*time.Second, 10*time.Second
	if testing.Short() {
		lasts, calm = 10*time.Second, 3*time.Second
	}
	for range count(20, 1) {
		acked, at := s.strong.Acked(), time.Now()
		s.wait(calm)
		before := float64(s.strong.Acked()-acked) / time.Since(at).Seconds()
		id, began := s.leader(), s.epochs()
		s.strong.Availability.MaxGap()
		acked, at = s.strong.Acked(), time.Now()
		for up := false; time.Since(at) < lasts || !up; up = !up {
			s.c.SetLink(id, up)
			s.wait(100 * time.Millisecond)
		}
		during := float64(s.strong.Acked()-acked) / time.Since(at).Seconds()
		epochs := float64(s.epochs()-began) / time.Since(at).Minutes() / float64(s.setup.partitions)
		s.c.Heal()
		s.healed()
		s.figures.faults++
		s.figures.note("%.0f %% of the throughput kept, %.1f leader epochs/min and partition", 100*during/before, epochs)
		if during < before/10 {
			t.Errorf("seed %d: %.0f values/s with a flapping link, %.0f without", s.seed, during, before)
		}
	}
	s.finish()
}

// TestR20_PauseKill is a deposed leader that wakes and is killed, with nobody else left of a majority for a while:
// five brokers; the leader is paused, or cut off, then two others are killed, then the first wakes.
func TestR20_PauseKill(t *testing.T) {
	o := three()
	if o.nodes > 1 {
		o.nodes = 5
	}
	s := newScenario(t, "R20 pause-kill and part-kill, five brokers", o)
	s.c.NeedCuts()
	for i := range count(20, 2) {
		id := s.leader()
		first, others := s.c.Node(id), s.c.Others(id)
		s.rng.Shuffle(len(others), func(i, j int) { others[i], others[j] = others[j], others[i] })
		a, b := s.c.Node(others[0]), s.c.Node(others[1])
		pause, resume := first.Pause, first.Resume
		if i%2 == 1 {
			pause, resume = func() { s.c.Isolate(id) }, s.c.Heal
		}
		s.fault([]int32{id}, pause, s.random(time.Second, 5*time.Second), func() {
			a.Kill()
			b.Kill()
			resume()
			s.between(0, 3*time.Second) // those with two replicas among the three that are left go on
			a.Start()
			b.Start()
		})
	}
	s.finish()
}

// epochs is how far the leader epochs of all partitions have come.
func (s *scenario) epochs() (sum int64) {
	for p := range int32(s.setup.partitions) {
		route, _ := s.strong.Router.Route(p)
		sum += int64(route.Epoch)
	}
	return sum
}
