package main

import (
	"os"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/stelemq/stele/bench/load"
	"github.com/stelemq/stele/internal/cli"
)

// sizeFlag is a number of bytes with a unit.
type sizeFlag struct{ n *int64 }

func (f sizeFlag) String() string {
	if f.n == nil || *f.n == 0 {
		return ""
	}
	return cli.Bytes(*f.n)
}

func (f sizeFlag) Set(text string) (err error) {
	*f.n, err = cli.ParseBytes(text)
	return err //nolint:wrapcheck // pflag says which flag
}

func (sizeFlag) Type() string { return "size" }

// scenarioFlags are a scenario as flags.
type scenarioFlags struct {
	s                  load.Scenario
	bytes, batch, fill int64
	acks, random       int
	all                string
}

func (f *scenarioFlags) add(flags *pflag.FlagSet) {
	f.bytes = 1 << 10
	flags.Var(sizeFlag{&f.bytes}, "bytes", "size of a record's value")
	flags.IntVarP(&f.s.Partitions, "partitions", "p", 6, "partitions of the topic, which is made for the run")
	flags.IntVarP(&f.s.Replicas, "replicas", "r", 1, "replicas of each partition")
	flags.BoolVar(&f.s.Durable, "durable", false, "sync before each acknowledgement (flush.messages=1)")
	flags.StringVar(&f.all, "acks", "all", "all, 1 or 0")
	flags.IntVar(&f.s.Rate, "rate", 0, "records a `second`; 0 is as fast as possible")
	flags.IntVar(&f.s.Clients, "clients", 1, "producers or consumers, each with connections of its own")
	flags.DurationVar(&f.s.Linger, "linger", 0, "how long a batch waits for more records; default 5ms, with a rate not at all")
	flags.Var(sizeFlag{&f.batch}, "batch", "size of a batch; default 1 MiB, 64 KiB of raw loads")
	flags.BoolVar(&f.s.OneBatchEach, "one-batch-each", false, "every record in a batch of its own")
	flags.IntVar(&f.s.InFlight, "in-flight", 0, "raw requests of a connection that are not answered; default 8, with a rate 512")
	flags.StringVar(&f.s.Compression, "compression", "none", "none, gzip, snappy, lz4 or zstd")
	flags.IntVar(&f.random, "random", 100, "`percent` of the bytes that cannot be compressed")
	flags.Var(sizeFlag{&f.fill}, "fill", "what is written before reading begins; default 512 MiB")
	flags.DurationVar(&f.s.WarmUp, "warm-up", time.Second, "load before what is measured")
	flags.DurationVar(&f.s.Duration, "duration", 5*time.Second, "what is measured")
}

func (f *scenarioFlags) scenario(kind string) (load.Scenario, error) {
	s := f.s
	s.Kind, s.Bytes, s.BatchBytes, s.FillBytes, s.Random = kind, int(f.bytes), int(f.batch), f.fill, &f.random
	switch f.all {
	case "all", "-1":
		f.acks = -1
	case "1":
		f.acks = 1
	case "0":
		f.acks = 0
	default:
		return s, usageErrorf("--acks %s: want all, 1 or 0", f.all)
	}
	s.Acks = &f.acks
	s, err := s.WithDefaults()
	if err != nil {
		return s, &codeError{exitUsage, err}
	}
	return s, nil
}

func newBenchLoad(st streams, kind, short, example string) *cobra.Command {
	b := &benchRun{streams: st}
	var f scenarioFlags
	var rounds int
	cmd := &cobra.Command{
		Use: kind, Short: short, Example: example, Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			s, err := f.scenario(kind)
			if err != nil {
				return err
			}
			end, err := b.begin(os.Args[1:])
			if err != nil {
				return err
			}
			defer end()
			file := b.file(s.Name, "cluster")
			for range rounds {
				r, err := b.once(cmd.Context(), s)
				if err != nil {
					return err
				}
				cell := file.Cell(s.Name, "cluster")
				cell.Runs = append(cell.Runs, r)
			}
			return b.finish(file)
		},
	}
	b.addFlags(cmd, true)
	f.add(cmd.Flags())
	cmd.Flags().IntVar(&rounds, "rounds", 1, "how often; the median and the range are shown")
	return cmd
}
