//go:build robustness

package robustness

import (
	"context"
	"testing"
	"time"
)

// TestR22_RestartWhileFilesComeAndGo kills brokers while segments are rolled and deleted by retention, and the state of
// replicas is saved, all the time. The log start moves forward only, and what lies behind it is there.
func TestR22_RestartWhileFilesComeAndGo(t *testing.T) {
	o := three()
	o.trims = true
	o.partitions, o.maxBatch = 4, 40 // so that each has much to keep
	o.topic = map[string]string{"retention.bytes": "1048576", "file.delete.delay.ms": "100"}
	o.settings = []string{"log.retention.check.interval.ms=100ms"}
	s := newScenario(t, "R22 kill -9 while files are rolled and deleted", o)
	for range count(100, 4) {
		s.between(0, time.Second)
		s.killLeaderOrAll(3, time.Second)
	}
	s.trimmed()
	s.finish()
}

// trimmed checks that retention took something from each partition.
func (s *scenario) trimmed() {
	s.t.Helper()
	least := int64(-1)
	for _, p := range s.partitions() {
		var start int64
		s.do("ask for the log start", func(ctx context.Context) (err error) {
			start, err = s.strong.LogStart(ctx, p)
			return err
		})
		if start == 0 {
			s.t.Errorf("seed %d: nothing of partition %d was deleted: the test proves nothing", s.seed, p)
		}
		if least < 0 || start < least {
			least = start
		}
	}
	s.figures.note("log starts at %d or later", least)
}
