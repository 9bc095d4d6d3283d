package load

import (
	"context"
	"errors"
	"slices"
	"testing"
	"testing/synctest"
	"time"
)

func TestScenario_WithDefaults(t *testing.T) {
	for _, kind := range Kinds() {
		s, err := Scenario{Kind: kind}.WithDefaults()
		if err != nil {
			t.Errorf("%s: %v", kind, err)
		}
		if *s.Acks != -1 || s.Name == "" || s.Duration <= 0 || s.BatchBytes <= 0 {
			t.Errorf("%s: %+v", kind, s)
		}
	}
}

func TestScenario_Refuses(t *testing.T) {
	two, much := 2, 101
	for name, s := range map[string]Scenario{
		"kind":        {Kind: "dance"},
		"bytes":       {Bytes: 7}, // too small for the moment at which it is due
		"acks":        {Acks: &two},
		"random":      {Random: &much},
		"partitions":  {Partitions: -1},
		"rate":        {Rate: -1},
		"compression": {Compression: "rar"},
		"duration":    {Duration: -time.Second},
	} {
		if _, err := s.WithDefaults(); !errors.Is(err, ErrScenario) {
			t.Errorf("%s: %v, want ErrScenario", name, err)
		}
	}
}

// A record that is late keeps the moment at which it was due: that is what the latency counts from.
func TestPace_KeepsMomentsWhenLate(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	const rate, calls = 1000, 30
	var due []time.Time
	began := time.Now()
	err := pace(ctx, rate, func(at time.Time) error {
		if due = append(due, at); len(due) == calls {
			cancel()
		}
		if len(due) == 10 { // the tenth takes as long as ten
			<-time.After(10 * time.Millisecond)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	for i := 1; i < len(due); i++ {
		if gap := due[i].Sub(due[i-1]); gap != time.Second/rate {
			t.Fatalf("call %d was due %s after the one before, want %s", i, gap, time.Second/rate)
		}
	}
	if took := time.Since(began); took < (calls-1)*time.Second/rate {
		t.Errorf("%d calls within %s, before they were due", calls, took)
	}
}

func TestPace_EndsWithTheErrorOfF(t *testing.T) {
	want := errors.New("full")
	if err := pace(t.Context(), 1e6, func(time.Time) error { return want }); !errors.Is(err, want) {
		t.Errorf("got %v", err)
	}
}

func TestMeter_KeepsLatenciesOfTheWindowOnly(t *testing.T) {
	m := NewMeter(nil)
	now := time.Now()
	m.latency(now.Add(-time.Hour), now) // before measuring begins
	m.open(now)
	for _, ms := range []int{1, 2, 3, 1000} {
		m.latency(now, now.Add(time.Duration(ms)*time.Millisecond))
	}
	m.shut(now.Add(time.Second))
	m.latency(now.Add(time.Second), now.Add(time.Hour)) // due after it ended
	l := newLatency(m.kept)
	if l.Count != 4 || l.P50 < 1.99 || l.P50 > 2.01 || l.Max < 999 || l.Max > 1001 {
		t.Errorf("%+v", l)
	}
}

func TestMeter_SnapshotForgetsRecentLatencies(t *testing.T) {
	m := NewMeter(nil)
	now := time.Now()
	m.latency(now, now.Add(time.Second))
	m.done(3, 30)
	m.failed(1, errors.New("no"))
	if s := m.Snapshot(); s.Records != 3 || s.Bytes != 30 || s.Errors != 1 || s.P99 < 990*time.Millisecond {
		t.Errorf("%+v", s)
	}
	if s := m.Snapshot(); s.P99 != 0 || s.Records != 3 {
		t.Errorf("%+v", s)
	}
}

func TestValues_CarryTheirMomentAndAreTheSameEachTime(t *testing.T) {
	a, b := newValues(100, 50), newValues(100, 50)
	first := slices.Clone(a.take())
	if !slices.Equal(first, b.take()) {
		t.Error("two systems would get different values")
	}
	if slices.ContainsFunc(first[50:], func(c byte) bool { return c != 0 }) {
		t.Error("more than half of the bytes are random")
	}
	at := time.Unix(1, 2)
	stamp(first, at)
	if got, ok := stamped(first); !ok || !got.Equal(at) {
		t.Errorf("got %v, %v", got, ok)
	}
	if _, ok := stamped(first[:7]); ok {
		t.Error("a short value has a moment")
	}
}

func TestGapClock(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newGapClock(3)
		g.ack(0, nil) // before it is started: does not count
		g.start()
		time.Sleep(time.Second)
		g.ack(0, nil)
		g.ack(1, errors.New("given up"))
		time.Sleep(3 * time.Second)
		g.ack(0, nil)
		g.ack(1, nil)
		time.Sleep(time.Second)
		longest, failed := g.stop()
		if want := []time.Duration{3 * time.Second, 4 * time.Second, 5 * time.Second}; !slices.Equal(longest, want) || failed != 1 {
			t.Errorf("longest %v, want %v; failed %d, want 1", longest, want, failed)
		}
	})
}
