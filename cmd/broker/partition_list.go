package main

import (
	"context"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/stelemq/stele/client"
)

func newPartition(s streams) *cobra.Command {
	return parent("partition", "Look at partitions, move them and their leaders",
		"  broker partition list --under-replicated\n  broker partition status logs/0\n  broker partition move logs/0 --to 1,2,4", groupAdmin,
		newPartitionList(s), newPartitionStatus(s), newPartitionMove(s), newPartitionTransfer(s), newPartitionRecover(s))
}

func newPartitionList(s streams) *cobra.Command {
	a := &admin{streams: s}
	var under, offline, underMin, atMin, check bool
	cmd := &cobra.Command{
		Use: "list [TOPIC...]", Short: "List partitions, all or those in trouble",
		Long: `Lists partitions. With one of the flags only those in that trouble, with several those in any of them; --check makes
the exit code 10 if there are any.`,
		Example:           "  broker partition list logs\n  broker partition list --under-replicated --offline\n  broker partition list --under-min-isr --check",
		ValidArgsFunction: a.completeTopics,
		RunE: func(cmd *cobra.Command, topics []string) error {
			var kinds []partitionKind
			for kind, on := range map[partitionKind]bool{
				partitionUnderRepl: under, partitionOffline: offline, partitionUnderMin: underMin, partitionAtMin: atMin,
			} {
				if on {
					kinds = append(kinds, kind)
				}
			}
			found := 0
			err := a.ask(cmd.Context(), func(ctx context.Context, c *client.Client) (answer, error) {
				parts, err := listPartitions(ctx, c, topics, kinds)
				found = len(parts)
				if err != nil {
					return answer{}, err
				}
				return partitionTable(parts), nil
			})
			if err == nil && check && found > 0 {
				return &codeError{exitFinding, nil}
			}
			return err
		},
	}
	a.addFlags(cmd)
	cmd.Flags().BoolVar(&under, "under-replicated", false, "with replicas that are not in sync")
	cmd.Flags().BoolVar(&offline, "offline", false, "without a leader")
	cmd.Flags().BoolVar(&underMin, "under-min-isr", false, "with fewer replicas in sync than min.insync.replicas: acks=all is refused")
	cmd.Flags().BoolVar(&atMin, "at-min-isr", false, "with exactly min.insync.replicas in sync: the next loss stops writing")
	cmd.Flags().BoolVar(&check, "check", false, "exit code 10 if there are any")
	return cmd
}

func listPartitions(ctx context.Context, c *client.Client, topics []string, kinds []partitionKind) ([]partitionView, error) {
	v := &clusterView{minISR: map[string]int{}}
	var err error
	if v.topics, err = c.Topics(ctx, topics...); err != nil {
		return nil, err //nolint:wrapcheck // says all
	}
	for i := range v.topics {
		if t := &v.topics[i]; t.Err != nil && len(topics) > 0 {
			return nil, t.Err
		}
	}
	if err := v.askMinISR(ctx, c); err != nil {
		return nil, err
	}
	var out []partitionView
	for _, p := range v.partitions() {
		wanted := len(kinds) == 0
		for _, k := range kinds {
			wanted = wanted || p.is(k)
		}
		if wanted {
			out = append(out, p)
		}
	}
	return out, nil
}

func partitionTable(parts []partitionView) answer {
	if parts == nil {
		parts = []partitionView{}
	}
	a := answer{kind: "PartitionList", items: parts}
	table := section{header: []string{"TOPIC", "PARTITION", "LEADER", "EPOCH", "ISR", "REPLICAS", "STATE"}}
	for i := range parts {
		p := &parts[i]
		var state []string
		for _, k := range p.Troubles {
			state = append(state, string(k))
		}
		if len(state) == 0 {
			state = []string{"ok"}
		}
		a.names = append(a.names, slashed(p))
		table.rows = append(table.rows, []string{
			p.Topic, fmt.Sprint(p.Partition), orDash(int64(p.Leader)), orDash(int64(p.Epoch)), ids(p.ISR), ids(p.Replicas), strings.Join(state, ","),
		})
	}
	a.sections = []section{table}
	return a
}
