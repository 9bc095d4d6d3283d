package compare

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"time"

	"github.com/stelemq/stele/bench/load"
	"github.com/stelemq/stele/bench/machine"
	"github.com/stelemq/stele/bench/report"
)

// Limits of a round.
const (
	// movedMost is how much the disk may change within a round.
	movedMost = 1.5
	// repeats is how often a round is measured again when it changed more.
	repeats = 2
	// joinTimeout bounds the wait until brokers that listen know each other.
	joinTimeout = 20 * time.Second
	// probeWrites is how many syncs a probe of the disk is.
	probeWrites = 500
)

// Comparison measures the scenarios of a plan on systems.
type Comparison struct {
	Plan    *Plan
	Systems []System
	// Dir is where the disk is probed: the file system of the data.
	Dir string
	// Say tells of progress, a line at a time.
	Say io.Writer
	// Observe, if not nil, gets the meter of each run before it begins.
	Observe func(*load.Meter)
	// Save, if not nil, is called after each scenario with what is known by then.
	Save func(*report.File) error
}

// Run measures everything and puts it into the file. Where a system fails in a round, the file says so and the others go on;
// an error ends everything: an interrupt, a cluster that does not start.
func (c *Comparison) Run(ctx context.Context, into *report.File) error {
	var sizes []int // of clusters, in the order of the plan
	for _, s := range c.Plan.Scenarios {
		if !slices.Contains(sizes, s.Replicas) {
			sizes = append(sizes, s.Replicas)
		}
	}
	for _, n := range sizes {
		if err := c.group(ctx, n, into); err != nil {
			return err
		}
	}
	return nil
}

// group measures the scenarios for clusters of n brokers: those that only put load on them first, with all clusters up, and
// then those that start and kill brokers.
func (c *Comparison) group(ctx context.Context, n int, into *report.File) error {
	var loads, kills []load.Scenario
	for _, s := range c.Plan.Scenarios {
		switch {
		case s.Replicas != n:
		case slices.Contains(load.Kinds(), s.Kind):
			loads = append(loads, s)
		default:
			kills = append(kills, s)
		}
	}
	if len(loads) > 0 {
		if err := c.loads(ctx, n, loads, into); err != nil {
			return err
		}
	}
	for i := range kills {
		if err := c.rounds(ctx, &kills[i], func(ctx context.Context, sys int) error { return c.life(ctx, sys, &kills[i], into) }); err != nil {
			return err
		}
		if err := c.save(into); err != nil {
			return err
		}
	}
	return nil
}

func (c *Comparison) loads(ctx context.Context, n int, scenarios []load.Scenario, into *report.File) (err error) {
	clusters := make([]Cluster, len(c.Systems))
	defer func() {
		for _, cl := range clusters {
			if cl != nil {
				err = errors.Join(err, cl.Stop())
			}
		}
	}()
	for i, sys := range c.Systems {
		fmt.Fprintf(c.Say, "starting %s, %d broker(s)\n", sys.Name(), n)
		if clusters[i], err = sys.Start(ctx, n); err != nil {
			return err //nolint:wrapcheck // names the system
		}
		if err := c.warmSoon(ctx, clusters[i], n); err != nil {
			return fmt.Errorf("warm up %s: %w", sys.Name(), err)
		}
	}
	for i := range scenarios {
		s := &scenarios[i]
		err := c.rounds(ctx, s, func(ctx context.Context, sys int) error {
			return c.measure(ctx, clusters[sys], s, into.Cell(s.Name, c.Systems[sys].Name()))
		})
		if err != nil {
			return err
		}
		if err := c.save(into); err != nil {
			return err
		}
	}
	return nil
}

func (c *Comparison) save(into *report.File) error {
	if c.Save == nil {
		return nil
	}
	return c.Save(into)
}

// rounds calls f for each system in turn, in the opposite order every second time.
func (c *Comparison) rounds(ctx context.Context, s *load.Scenario, f func(ctx context.Context, sys int) error) error {
	for round := range c.Plan.Rounds {
		order := make([]int, len(c.Systems))
		for i := range order {
			order[i] = i
		}
		if round%2 == 1 {
			slices.Reverse(order)
		}
		for _, sys := range order {
			if ctx.Err() != nil {
				return context.Cause(ctx) //nolint:wrapcheck // an interrupt
			}
			fmt.Fprintf(c.Say, "%s: %s, round %d of %d: ", s.Name, c.Systems[sys].Name(), round+1, c.Plan.Rounds)
			if err := f(ctx, sys); err != nil {
				return err
			}
		}
	}
	return nil
}

// warmSoon warms a cluster up as soon as it lets itself: brokers that listen may not know all others yet.
func (c *Comparison) warmSoon(ctx context.Context, cl Cluster, n int) error {
	for deadline := time.Now().Add(joinTimeout); ; {
		err := c.warm(ctx, cl, n)
		if err == nil || ctx.Err() != nil || time.Now().After(deadline) {
			return err
		}
		select {
		case <-ctx.Done():
		case <-time.After(200 * time.Millisecond):
		}
	}
}

// warm puts a load on a cluster that is not measured: just-in-time compilers, caches and files get what they need.
func (c *Comparison) warm(ctx context.Context, cl Cluster, n int) error {
	for _, kind := range []string{load.Produce, load.Consume} {
		s := load.Scenario{Kind: kind, Replicas: n, FillBytes: 64 << 20, WarmUp: time.Millisecond, Duration: c.Plan.WarmUp / 2}
		if _, err := load.Run(ctx, target(cl), s, load.NewMeter(nil)); err != nil {
			return err //nolint:wrapcheck // the caller says whom it warmed up
		}
	}
	return nil
}

func target(cl Cluster) load.Target {
	t := cl.Target()
	t.Topic = fmt.Sprintf("bench-%d", time.Now().UnixNano())
	return t
}

// measure runs a load once, again if the disk changed meanwhile.
func (c *Comparison) measure(ctx context.Context, cl Cluster, s *load.Scenario, cell *report.Cell) error {
	for again := 0; ; again++ {
		machine.Settle()
		before, err := machine.Sync(c.Dir, probeWrites)
		if err != nil {
			return err //nolint:wrapcheck // says what failed
		}
		disk, known := machine.DiskWritten(c.Dir)
		meter := load.NewMeter(nil)
		if c.Observe != nil {
			c.Observe(meter)
		}
		r, err := load.Run(ctx, target(cl), *s, meter)
		if ctx.Err() != nil {
			return context.Cause(ctx) //nolint:wrapcheck // an interrupt
		}
		if err != nil {
			fmt.Fprintf(c.Say, "failed: %v\n", err)
			cell.Failed = append(cell.Failed, err.Error())
			return nil
		}
		machine.Settle()
		if now, ok := machine.DiskWritten(c.Dir); known && ok && s.Writes() && r.TotalBytes > 0 {
			r.WrittenPerByte = float64(now-disk) / float64(r.TotalBytes)
		}
		after, err := machine.Sync(c.Dir, probeWrites)
		if err != nil {
			return err //nolint:wrapcheck // says what failed
		}
		r.Before, r.After = &before, &after
		if machine.Moved(before, after) > movedMost && again < repeats {
			cell.Repeated++
			fmt.Fprint(c.Say, "the disk changed, again: ")
			continue
		}
		cell.Runs = append(cell.Runs, r)
		fmt.Fprintln(c.Say, summary(&r))
		return nil
	}
}

func summary(r *load.Result) string {
	text := fmt.Sprintf("%.0f records/s, %.1f MB/s", r.RecordsPerSecond, r.MBPerSecond)
	if r.Latency != nil {
		text += fmt.Sprintf(", p50 %.2f ms, p99 %.2f ms", r.Latency.P50, r.Latency.P99)
	}
	if r.Brokers != nil {
		text += fmt.Sprintf(", %.2f CPU s/GB", r.Brokers.CPUPerGB)
	}
	if r.Errors > 0 {
		text += fmt.Sprintf(", %d errors (%s)", r.Errors, r.Error)
	}
	return text
}
