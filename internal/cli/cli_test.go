package cli

import (
	"errors"
	"fmt"
	"testing"
	"time"
)

func TestParseBytes(t *testing.T) {
	for give, want := range map[string]int64{"0": 0, "1048576": 1 << 20, "64KiB": 64 << 10, "1MiB": 1 << 20, "1m": 1 << 20, "1.5kB": 1500, "2GB": 2e9, "7b": 7, "1 MiB": 1 << 20} {
		if got, err := ParseBytes(give); err != nil || got != want {
			t.Errorf("%s: %d, %v", give, got, err)
		}
	}
	for _, bad := range []string{"", "x", "1x", "1kb2", "-1", "1.2.3", "9999999999TiB", "KiB"} {
		if got, err := ParseBytes(bad); err == nil {
			t.Errorf("%q is taken for %d", bad, got)
		}
	}
}

func TestParseDuration(t *testing.T) {
	for give, want := range map[string]time.Duration{"5ms": 5 * time.Millisecond, "7d": 168 * time.Hour, "1d12h": 36 * time.Hour, "2w": 336 * time.Hour, "-1h": -time.Hour, "0": 0, "1w1d1s": 8*24*time.Hour + time.Second} {
		if got, err := ParseDuration(give); err != nil || got != want {
			t.Errorf("%s: %v, %v", give, got, err)
		}
	}
	for _, bad := range []string{"", "-", "d", "5", "--1h", "1d-1h", "1x"} {
		if got, err := ParseDuration(bad); err == nil {
			t.Errorf("%q is taken for %v", bad, got)
		}
	}
}

func TestParseRate(t *testing.T) {
	for give, want := range map[string]float64{"500": 500, "500/s": 500, "30/m": 0.5, "3600/h": 1} {
		if got, err := ParseRate(give); err != nil || got != want {
			t.Errorf("%s: %v, %v", give, got, err)
		}
	}
	for _, bad := range []string{"", "0", "-1/s", "x/s", "1/d", "Inf"} {
		if _, err := ParseRate(bad); err == nil {
			t.Errorf("%q is taken", bad)
		}
	}
}

func TestHumanUnits(t *testing.T) {
	for got, want := range map[string]string{
		Bytes(5): "5 B", Bytes(1536): "1.5 KiB", Bytes(7444889): "7.1 MiB", Bytes(5 << 40): "5.0 TiB",
		Count(48213): "48 213", Count(-1234567): "-1 234 567", Count(999): "999", Count(-100): "-100",
		Plural(1, "record"): "1 record", Plural(0, "record"): "0 records",
		Elapsed(12 * time.Millisecond): "12ms", Elapsed(1900 * time.Millisecond): "1.9s", Elapsed(125 * time.Second): "2m5s",
	} {
		if got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
}

func TestExitCode(t *testing.T) {
	for _, row := range []struct {
		err  error
		want int
	}{
		{nil, 0}, {errors.New("x"), 1}, {Usagef("x"), 2}, {fmt.Errorf("flags: %w", Usagef("x")), 2}, {ErrInterrupted, 130},
	} {
		if got := ExitCode(row.err); got != row.want {
			t.Errorf("%v: %d, want %d", row.err, got, row.want)
		}
	}
}

func TestConnection_Bootstrap(t *testing.T) {
	c := Connection{Brokers: "a, b:1,,[::1]:2"}
	if got := fmt.Sprint(c.Bootstrap()); got != "[a:9092 b:1 [::1]:2]" {
		t.Error(got)
	}
}
