package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/stelemq/stele/bench/load"
	"github.com/stelemq/stele/bench/machine"
	"github.com/stelemq/stele/bench/report"
	"github.com/stelemq/stele/internal/cli"
)

func newBench(s streams) *cobra.Command {
	return parent("bench", "Measure a cluster, this one or any that speaks Kafka's protocol",
		`  broker bench produce --bytes 1KiB --duration 10s
  broker bench e2e --rate 1000 -b other:9092
  broker bench compare --peer kafka            # this program and a real Kafka, side by side
  broker bench diff before.json after.json`,
		groupAdmin,
		newBenchLoad(s, load.Produce, "Write as fast as possible, or at a rate", "  broker bench produce --bytes 100 --partitions 64\n  broker bench produce --rate 10000 --one-batch-each"),
		newBenchLoad(s, load.Consume, "Read what was written before", "  broker bench consume --fill 1GiB"),
		newBenchLoad(s, load.E2E, "Write at a rate and read; the latency is from due to read", "  broker bench e2e --rate 1000"),
		newBenchLoad(s, load.RawProduce, "The ceiling: batches that were encoded beforehand", "  broker bench raw-produce --batch 64KiB --clients 4"),
		newBenchLoad(s, load.RawFetch, "The ceiling of reading: batches are not decoded", "  broker bench raw-fetch"),
		newBenchLoad(s, load.Cold, "Write at a rate while old records are read from the disk", "  broker bench cold --rate 1000 --fill 2GiB"),
		newBenchFailover(s), newBenchPartitions(s), newBenchStart(s), newBenchMatrix(s), newBenchCompare(s), newBenchDiff(s),
	)
}

// benchRun is what all measuring commands share: where the results go, and what is told meanwhile.
type benchRun struct {
	streams
	brokers string
	pids    []int
	json    string
	html    string
	metrics string
	probe   string
	format  string
	command string
	live    *benchLive
}

func (b *benchRun) addFlags(cmd *cobra.Command, remote bool) {
	f := cmd.Flags()
	if remote {
		f.StringVarP(&b.brokers, "brokers", "b", cli.DefaultBrokers(), "brokers to ask first, `host:port`, several by commas")
		f.IntSliceVar(&b.pids, "pid", nil, "processes of the brokers on this machine: what they use is measured")
	}
	f.StringVar(&b.json, "out", "", "`file` for the results as JSON")
	f.StringVar(&b.html, "html", "", "`file` for the results as a page")
	f.StringVar(&b.metrics, "metrics", "", "`address` to serve the generator's metrics for Prometheus on while it runs")
	f.StringVar(&b.probe, "probe-dir", "", "`directory` on the brokers' disk: its syncs are timed before and after each run")
	f.StringVarP(&b.format, "output", "o", "text", "text or json")
}

// begin checks the flags and starts what accompanies the runs; the caller calls the function that it returns at the end.
func (b *benchRun) begin(args []string) (end func(), err error) {
	if b.format != "text" && b.format != "json" {
		return nil, usageErrorf("-o %s: want text or json", b.format)
	}
	b.command = "broker " + strings.Join(args, " ")
	b.live = newBenchLive(b.err)
	stop := func() {}
	if b.metrics != "" {
		if stop, err = b.live.serve(b.metrics); err != nil {
			return nil, err
		}
	}
	return stop, nil
}

func (b *benchRun) target() load.Target {
	return load.Target{Brokers: strings.Split(b.brokers, ","), PIDs: b.pids, Topic: fmt.Sprintf("bench-%d", time.Now().UnixNano())}
}

func (b *benchRun) file(title string, systems ...string) *report.File {
	dir := b.probe
	if dir == "" {
		dir = "."
	}
	return report.NewFile(title, b.command, machine.ReadFacts(dir), systems...)
}

// once measures a scenario once.
func (b *benchRun) once(ctx context.Context, s load.Scenario) (load.Result, error) {
	var before, after machine.Probe
	var err error
	const writes = 500
	if b.probe != "" {
		if before, err = machine.Sync(b.probe, writes); err != nil {
			return load.Result{}, err //nolint:wrapcheck // says what failed
		}
	}
	meter := b.live.meter()
	stop := b.live.draw(s.Name)
	r, err := load.Run(ctx, b.target(), s, meter)
	stop()
	if err != nil {
		return r, err //nolint:wrapcheck // says what failed
	}
	if b.probe != "" {
		if after, err = machine.Sync(b.probe, writes); err != nil {
			return r, err //nolint:wrapcheck // says what failed
		}
		r.Before, r.After = &before, &after
	}
	return r, nil
}

// finish writes the results where they were asked for.
func (b *benchRun) finish(f *report.File) error {
	if b.json != "" {
		if err := f.Write(b.json); err != nil {
			return err //nolint:wrapcheck // says operation and path
		}
	}
	if b.html != "" {
		if err := writePage(b.html, f); err != nil {
			return err
		}
	}
	if b.format == "json" {
		return writeJSON(b.out, "BenchmarkResults", f)
	}
	return f.Text(b.out) //nolint:wrapcheck // of stdout
}

func writePage(path string, f *report.File) error {
	page, err := os.Create(path)
	if err != nil {
		return err //nolint:wrapcheck // says operation and path
	}
	return errors.Join(f.HTML(page), page.Close())
}

func writeJSON(w io.Writer, kind string, items any) error {
	text, err := (&answer{kind: kind, items: items}).json()
	if err != nil {
		return fmt.Errorf("print: %w", err)
	}
	_, err = w.Write(text)
	return err //nolint:wrapcheck // of stdout
}
