package main

import (
	"fmt"
	"os"

	"github.com/spf13/cobra"

	"github.com/stelemq/stele/bench/load"
)

func newBenchPartitions(st streams) *cobra.Command {
	b := &benchRun{streams: st}
	var f scenarioFlags
	var counts []int
	cmd := &cobra.Command{
		Use: "partitions", Short: "How the number of partitions changes what a topic costs", Args: cobra.NoArgs,
		Long: `Makes a topic with each number of partitions, one after the other, and writes to it at a rate, each record in a batch of
its own: the time until all partitions have a leader, the rate that was reached, the latency.`,
		Example: "  broker bench partitions --counts 1,10,100,1000 --rate 10000",
		RunE: func(cmd *cobra.Command, _ []string) error {
			f.s.OneBatchEach = true
			end, err := b.begin(os.Args[1:])
			if err != nil {
				return err
			}
			defer end()
			file := b.file("partitions", "cluster")
			for _, n := range counts {
				f.s.Partitions = n
				s, err := f.scenario(load.Produce)
				if err != nil {
					return err
				}
				s.Name = fmt.Sprintf("%d partitions", n)
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
	_ = cmd.Flags().MarkHidden("partitions")
	_ = cmd.Flags().Set("rate", "10000")
	cmd.Flags().IntSliceVar(&counts, "counts", []int{1, 10, 100, 1000}, "numbers of partitions")
	return cmd
}
