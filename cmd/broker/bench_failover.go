package main

import (
	"context"
	"os"
	"os/exec"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/stelemq/stele/bench/load"
)

func newBenchFailover(st streams) *cobra.Command {
	b := &benchRun{streams: st}
	var f scenarioFlags
	var kill string
	cmd := &cobra.Command{
		Use: "failover", Short: "The longest gap of each partition after a leader was killed", Args: cobra.NoArgs,
		Long: `Writes to every partition at a rate (a second and partition), runs the command that kills the broker which leads partition
0, and reports the longest time without an acknowledgement: of the partitions that it led, and of the others.

{} in the command is replaced by the broker's id.`,
		Example: "  broker dev -n 3 && broker bench failover -r 3 --kill 'broker dev kill {}'\n  broker bench failover -b k1:9092 -r 3 --kill 'ssh k{} pkill -9 java'",
		RunE: func(cmd *cobra.Command, _ []string) error {
			if kill == "" {
				return usageErrorf("--kill is missing: the command that kills broker {}")
			}
			s, err := f.scenario(load.Produce)
			if err != nil {
				return err
			}
			end, err := b.begin(os.Args[1:])
			if err != nil {
				return err
			}
			defer end()
			ctx := cmd.Context()
			gaps, err := load.Failover(ctx, b.target(), s, func(id int32) error {
				return b.shell(ctx, strings.ReplaceAll(kill, "{}", strconv.Itoa(int(id))))
			})
			if err != nil {
				return err //nolint:wrapcheck // says what failed
			}
			file := b.file("failover", "cluster")
			cell := file.Cell("failover", "cluster")
			cell.Add("gap of its partitions", gaps.Killed.Seconds()*1000)
			cell.Add("gap of the others", gaps.Others.Seconds()*1000)
			cell.Add("given up", float64(gaps.Errors))
			return b.finish(file)
		},
	}
	b.addFlags(cmd, true)
	f.add(cmd.Flags())
	_ = cmd.Flags().Set("rate", "100")
	_ = cmd.Flags().Set("replicas", "3")
	_ = cmd.Flags().Set("duration", "15s")
	cmd.Flags().StringVar(&kill, "kill", "", "the `command` that kills broker {}")
	return cmd
}

func (b *benchRun) shell(ctx context.Context, command string) error {
	c := exec.CommandContext(ctx, "sh", "-c", command) //nolint:gosec // the user's own
	c.Stdout, c.Stderr = b.err, b.err
	return c.Run() //nolint:wrapcheck // its output says why
}
