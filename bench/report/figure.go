package report

import (
	"cmp"
	"fmt"
	"maps"
	"math"
	"slices"

	"github.com/stelemq/stele/bench/load"
)

// Figure is a quantity that a cell has a value of per round.
type Figure struct {
	Name string
	Unit string
	// Less is true where less is better.
	Less bool
}

// figures of a run of load, and how to read them.
var figures = []struct { //nolint:gochecknoglobals // a table
	Figure
	of func(*load.Result) (float64, bool)
}{
	{Figure{"rate", "MB/s", false}, func(r *load.Result) (float64, bool) { return r.MBPerSecond, true }},
	{Figure{"records", "1/s", false}, func(r *load.Result) (float64, bool) { return r.RecordsPerSecond, true }},
	{Figure{"p50", "ms", true}, latency(func(l *load.Latency) float64 { return l.P50 })},
	{Figure{"p99", "ms", true}, latency(func(l *load.Latency) float64 { return l.P99 })},
	{Figure{"p99.9", "ms", true}, latency(func(l *load.Latency) float64 { return l.P999 })},
	{Figure{"cpu", "s/GB", true}, brokers(func(b *load.Brokers) float64 { return b.CPUPerGB })},
	{Figure{"cpu/record", "s/M", true}, brokers(func(b *load.Brokers) float64 { return b.CPUPerMillion })},
	{Figure{"memory", "MB", true}, brokers(func(b *load.Brokers) float64 { return float64(b.RSS) / 1e6 })},
	{Figure{"written", "B/B", true}, func(r *load.Result) (float64, bool) { return r.WrittenPerByte, r.WrittenPerByte > 0 }},
	{Figure{"topic", "s", true}, func(r *load.Result) (float64, bool) { return r.TopicSeconds, r.Scenario.Partitions >= 100 }},
	{Figure{"errors", "", true}, func(r *load.Result) (float64, bool) { return float64(r.Errors), true }},
}

func latency(of func(*load.Latency) float64) func(*load.Result) (float64, bool) {
	return func(r *load.Result) (float64, bool) {
		if r.Latency == nil {
			return 0, false
		}
		return of(r.Latency), true
	}
}

func brokers(of func(*load.Brokers) float64) func(*load.Result) (float64, bool) {
	return func(r *load.Result) (float64, bool) {
		if r.Brokers == nil {
			return 0, false
		}
		return of(r.Brokers), true
	}
}

// Spread is the median of the rounds with the smallest and the largest.
type Spread struct{ Median, Min, Max float64 }

func spreadOf(v []float64) Spread {
	s := slices.Sorted(slices.Values(v))
	n := len(s)
	return Spread{Median: (s[(n-1)/2] + s[n/2]) / 2, Min: s[0], Max: s[n-1]}
}

func (s Spread) String() string {
	if s.Min == s.Max {
		return number(s.Median)
	}
	return fmt.Sprintf("%s [%s–%s]", number(s.Median), number(s.Min), number(s.Max))
}

// number shows three digits.
func number(v float64) string {
	switch a := math.Abs(v); {
	case v == 0:
		return "0"
	case a >= 1e6:
		return fmt.Sprintf("%.3gM", v/1e6)
	case a >= 1e4:
		return fmt.Sprintf("%.3gk", v/1e3)
	case a >= 100:
		return fmt.Sprintf("%.0f", v)
	case a >= 10:
		return fmt.Sprintf("%.1f", v)
	default:
		return fmt.Sprintf("%.3g", v)
	}
}

// Figures of a cell, those of loads first.
func (c *Cell) Figures() []Figure {
	var out []Figure
	for _, f := range figures {
		if _, ok := c.Spread(f.Name); ok && c.Values[f.Name] == nil {
			out = append(out, f.Figure)
		}
	}
	for _, name := range slices.SortedFunc(maps.Keys(c.Values), cmp.Compare) {
		out = append(out, Figure{Name: name, Unit: unitOf(name), Less: true})
	}
	return out
}

// unitOf a figure that is not of a load: durations are in milliseconds.
func unitOf(name string) string {
	switch name {
	case "memory":
		return "MB"
	case "given up":
		return "records"
	}
	return "ms"
}

// Spread of one figure over the rounds; false if the cell does not have it.
func (c *Cell) Spread(name string) (Spread, bool) {
	if v := c.Values[name]; len(v) > 0 {
		return spreadOf(v), true
	}
	for _, f := range figures {
		if f.Name != name {
			continue
		}
		var v []float64
		for i := range c.Runs {
			if x, ok := f.of(&c.Runs[i]); ok {
				v = append(v, x)
			}
		}
		if len(v) > 0 {
			return spreadOf(v), true
		}
	}
	return Spread{}, false
}
