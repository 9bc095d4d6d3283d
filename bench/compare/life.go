package compare

import (
	"context"
	"fmt"
	"time"

	"github.com/stelemq/stele/bench/load"
	"github.com/stelemq/stele/bench/machine"
	"github.com/stelemq/stele/bench/report"
)

// lifeTimeout bounds a step with a start in it.
const lifeTimeout = 3 * time.Minute

// idleFor is how long a broker rests before its memory is read.
const idleFor = 5 * time.Second

// life measures what needs clusters of its own: starts, restarts, failovers.
func (c *Comparison) life(ctx context.Context, sys int, s *load.Scenario, into *report.File) error {
	cell := into.Cell(s.Name, c.Systems[sys].Name())
	limited, cancel := context.WithTimeout(ctx, lifeTimeout)
	defer cancel()
	machine.Settle()
	began := time.Now()
	cl, err := c.Systems[sys].Start(limited, s.Replicas)
	if err == nil {
		switch s.Kind {
		case Start:
			err = c.start(limited, began, cl, s, cell)
		case Restart:
			err = c.restart(limited, cl, s, cell)
		case Failover:
			err = c.failover(limited, cl, s, cell)
		}
		if stopped := cl.Stop(); err == nil {
			err = stopped
		}
	}
	if ctx.Err() != nil {
		return context.Cause(ctx) //nolint:wrapcheck // an interrupt
	}
	if err != nil { // a system that fails a round does not end the measurement of the others
		fmt.Fprintf(c.Say, "failed: %v\n", err)
		cell.Failed = append(cell.Failed, err.Error())
	}
	return nil
}

func (c *Comparison) start(ctx context.Context, began time.Time, cl Cluster, s *load.Scenario, cell *report.Cell) error {
	if err := load.First(ctx, target(cl), s.Durable); err != nil {
		return err //nolint:wrapcheck // says what failed
	}
	took := time.Since(began)
	select {
	case <-time.After(idleFor):
	case <-ctx.Done():
		return context.Cause(ctx) //nolint:wrapcheck // an interrupt
	}
	u, err := machine.ReadUsage(cl.Target().PIDs)
	if err != nil {
		return err //nolint:wrapcheck // says which process
	}
	cell.Add("first ack", took.Seconds()*1000)
	cell.Add("memory", float64(u.RSS)/1e6)
	fmt.Fprintf(c.Say, "first ack after %s, %.0f MB at rest\n", took.Round(time.Millisecond), float64(u.RSS)/1e6)
	return nil
}

func (c *Comparison) restart(ctx context.Context, cl Cluster, s *load.Scenario, cell *report.Cell) error {
	t := target(cl)
	if err := load.Fill(ctx, t, *s, s.FillBytes); err != nil {
		return err //nolint:wrapcheck // says what failed
	}
	if err := cl.Kill(1); err != nil {
		return err //nolint:wrapcheck // names the system
	}
	began := time.Now()
	if err := cl.Restart(1); err != nil {
		return err //nolint:wrapcheck // names the system
	}
	if err := load.First(ctx, t, s.Durable); err != nil {
		return err //nolint:wrapcheck // says what failed
	}
	took := time.Since(began)
	cell.Add("first ack", took.Seconds()*1000)
	fmt.Fprintf(c.Say, "first ack after %s\n", took.Round(time.Millisecond))
	return nil
}

func (c *Comparison) failover(ctx context.Context, cl Cluster, s *load.Scenario, cell *report.Cell) error {
	if err := c.warm(ctx, cl, s.Replicas); err != nil {
		return err
	}
	gaps, err := load.Failover(ctx, target(cl), *s, cl.Kill)
	if err != nil {
		return err //nolint:wrapcheck // says what failed
	}
	cell.Add("gap of its partitions", gaps.Killed.Seconds()*1000)
	cell.Add("gap of the others", gaps.Others.Seconds()*1000)
	cell.Add("given up", float64(gaps.Errors))
	fmt.Fprintf(c.Say, "longest gap of its partitions %s, of the others %s, %d records given up\n",
		gaps.Killed.Round(time.Millisecond), gaps.Others.Round(time.Millisecond), gaps.Errors)
	return nil
}
