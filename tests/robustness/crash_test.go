//go:build robustness

package robustness

import (
	"testing"
	"time"
)

// TestR1_KillLeader kills the leader of a partition with -9, chases the next one, and starts it again: nothing
// acknowledged is lost, nothing is there twice.
func TestR1_KillLeader(t *testing.T) {
	o := three()
	o.weak = true
	s := newScenario(t, "R1 kill -9 of a leader", o)
	for range count(200, 6) {
		victim := s.c.Node(s.leader())
		s.fault([]int32{victim.ID}, victim.Kill, s.random(0, 500*time.Millisecond), victim.Start)
		s.between(0, 500*time.Millisecond)
	}
	s.finish()
}

// TestR2_KillFollower kills a broker with -9: producers to the partitions that it follows meet no error, and wait
// no longer than before.
func TestR2_KillFollower(t *testing.T) {
	s := newScenario(t, "R2 kill -9 of a follower", three())
	var before, during []time.Duration
	for range count(200, 5) {
		calm := time.Now()
		s.wait(time.Second)
		victim := s.c.Node(s.pick())
		followed := s.ledBy(s.c.Others(victim.ID)...)
		failed := s.strong.Availability.Errors(followed)
		at := time.Now()
		before = append(before, s.strong.Availability.Latencies(calm, at)...)
		led := len(s.ledBy(victim.ID))
		s.fault([]int32{victim.ID}, victim.Kill, time.Second, func() {
			during = append(during, s.strong.Availability.Latencies(at, time.Now())...)
			if n := s.strong.Availability.Errors(followed) - failed; n > 0 {
				t.Errorf("seed %d: %d errors in partitions that node %d followed; it led %d others", s.seed, n, victim.ID, led)
			}
			victim.Start()
		})
	}
	s.figures.note("write latency p99 before %v, with a follower gone %v", round(quantile(before, 99)), round(quantile(during, 99)))
	s.finish()
}

// TestR3_KillAll kills every broker with -9 at once and starts them again.
func TestR3_KillAll(t *testing.T) {
	s := newScenario(t, "R3 kill -9 of all", three())
	for range count(50, 4) {
		s.allDown(func() { s.between(0, 200*time.Millisecond) })
	}
	s.finish()
}
