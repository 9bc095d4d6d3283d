package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/stelemq/stele/client"
)

// parseNodes reads node ids separated by commas.
func parseNodes(text string) ([]int32, error) {
	var nodes []int32
	for part := range strings.SplitSeq(text, ",") {
		n, err := strconv.ParseInt(strings.TrimSpace(part), 10, 32)
		if err != nil || n < 0 || slices.Contains(nodes, int32(n)) {
			return nil, usageErrorf("%q: want different node ids, as in 1,2,3", text)
		}
		nodes = append(nodes, int32(n))
	}
	return nodes, nil
}

func newPartitionMove(s streams) *cobra.Command {
	a := &admin{streams: s}
	var to string
	var wait time.Duration
	var dryRun bool
	slow := &throttled{}
	cmd := &cobra.Command{
		Use: "move TOPIC/PARTITION --to NODE,...", Short: "Move a partition's replicas to other nodes", Args: cobra.ExactArgs(1),
		Long: `New replicas are added first and become voters when they have caught up; then the old ones go. The first node is the
preferred leader. The move goes on by itself when this command is interrupted; run it again to watch it.`,
		Example: "  broker partition move logs/0 --to 1,2,4\n  broker partition move logs/0 --to 1,2,4 --dry-run",
		RunE: func(cmd *cobra.Command, args []string) error {
			topic, partition, err := parsePartition(args[0])
			if err != nil {
				return err
			}
			if to == "" {
				return usageErrorf("to which nodes? Name them with --to")
			}
			nodes, err := parseNodes(to)
			if err != nil {
				return err
			}
			m := &mover{admin: a, wait: wait, dryRun: dryRun}
			return slow.run(cmd.Context(), a, func() error {
				return m.run(cmd.Context(), func(ctx context.Context, c *client.Client) ([]client.Reassignment, error) {
					return onePartition(ctx, c, client.Reassignment{Topic: topic, Partition: partition, Replicas: nodes})
				})
			})
		},
	}
	a.addFlags(cmd)
	cmd.Flags().StringVar(&to, "to", "", "the `nodes` that are to hold it, the preferred leader first")
	addMoveFlags(cmd, &wait, &dryRun)
	slow.addFlag(cmd)
	return cmd
}

func addMoveFlags(cmd *cobra.Command, wait *time.Duration, dryRun *bool) {
	cmd.Flags().DurationVar(wait, "wait", time.Hour, "how long to watch the move; 0s: do not")
	cmd.Flags().BoolVar(dryRun, "dry-run", false, "only say what would happen")
}

func onePartition(ctx context.Context, c *client.Client, want client.Reassignment) ([]client.Reassignment, error) {
	t, err := c.Topic(ctx, want.Topic)
	if err != nil {
		return nil, err //nolint:wrapcheck // says all
	}
	if int(want.Partition) >= len(t.Partitions) {
		return nil, fmt.Errorf("topic %q has partitions 0 to %d", want.Topic, len(t.Partitions)-1)
	}
	return []client.Reassignment{want}, nil
}

// mover carries a plan of reassignments out and watches it.
type mover struct {
	*admin
	wait   time.Duration
	dryRun bool
}

// movedPartition is a line of the plan.
type movedPartition struct {
	Topic     string  `json:"topic"`
	Partition int32   `json:"partition"`
	From      []int32 `json:"from"`
	To        []int32 `json:"to"`
	Status    string  `json:"status"`
}

func (m *mover) run(ctx context.Context, plan func(context.Context, *client.Client) ([]client.Reassignment, error)) error {
	var moves []client.Reassignment
	err := m.ask(ctx, func(ctx context.Context, c *client.Client) (answer, error) {
		var err error
		if moves, err = plan(ctx, c); err != nil {
			return answer{}, err
		}
		a, todo, err := m.start(ctx, c, moves)
		moves = todo
		return a, err
	})
	if err != nil || m.dryRun || m.wait <= 0 || len(moves) == 0 {
		return err
	}
	return m.watch(ctx, moves)
}

// start makes the plan and, unless it is only a rehearsal, begins what of it is to be done.
func (m *mover) start(ctx context.Context, c *client.Client, moves []client.Reassignment) (a answer, todo []client.Reassignment, err error) {
	topics, err := c.Topics(ctx)
	if err != nil {
		return answer{}, nil, err //nolint:wrapcheck // says all
	}
	a = answer{kind: "ReassignmentPlan", sections: []section{{header: []string{"TOPIC", "PARTITION", "FROM", "TO", "STATUS"}}}}
	items := []movedPartition{}
	for _, w := range moves {
		row := movedPartition{Topic: w.Topic, Partition: w.Partition, From: replicasOf(topics, w.Topic, w.Partition), To: w.Replicas, Status: "MOVING"}
		switch {
		case slices.Equal(row.From, row.To):
			row.Status = "THERE-ALREADY"
		case m.dryRun:
			row.Status = "WOULD-MOVE"
		default:
			todo = append(todo, w)
		}
		items = append(items, row)
		a.sections[0].rows = append(a.sections[0].rows, []string{row.Topic, fmt.Sprint(row.Partition), ids(row.From), ids(row.To), row.Status})
	}
	a.items = items
	if len(todo) == 0 {
		return a, nil, nil
	}
	if err := c.Reassign(ctx, todo); err != nil {
		return answer{}, nil, err //nolint:wrapcheck // says all
	}
	return a, todo, nil
}

func replicasOf(topics []client.Topic, name string, partition int32) []int32 {
	for i := range topics {
		if topics[i].Name == name && int(partition) < len(topics[i].Partitions) {
			return topics[i].Partitions[partition].Replicas
		}
	}
	return nil
}

// watch says how many partitions are still moving until none is.
func (m *mover) watch(ctx context.Context, moves []client.Reassignment) error {
	ours := map[string]bool{}
	for _, w := range moves {
		ours[fmt.Sprintf("%s/%d", w.Topic, w.Partition)] = true
	}
	deadline, last := time.Now().Add(m.wait), -1
	for {
		left := 0
		err := m.once(ctx, func(ctx context.Context, c *client.Client) error {
			moving, err := c.Reassigning(ctx)
			for i := range moving {
				if ours[fmt.Sprintf("%s/%d", moving[i].Topic, moving[i].Partition)] {
					left++
				}
			}
			return err //nolint:wrapcheck // says all
		})
		switch {
		case ctx.Err() != nil:
			fmt.Fprintln(m.err, "interrupted: the move goes on by itself")
			return context.Cause(ctx) //nolint:wrapcheck // an interrupt
		case err != nil && !client.Retriable(err):
			return err
		case err == nil && left == 0:
			fmt.Fprintf(m.err, "%s moved\n", plural(len(ours), "partition"))
			return nil
		case err == nil && left != last:
			last = left
			fmt.Fprintf(m.err, "%d of %s moved\n", len(ours)-left, plural(len(ours), "partition"))
		case time.Now().After(deadline):
			return errors.New("not moved in time; the move goes on by itself")
		}
		select {
		case <-ctx.Done():
		case <-time.After(300 * time.Millisecond):
		}
	}
}

func newPartitionRecover(s streams) *cobra.Command {
	a := &admin{streams: s}
	var dryRun, yes bool
	cmd := &cobra.Command{
		Use: "recover TOPIC/PARTITION", Short: "Let a partition go on that has lost its majority for good", Args: cobra.ExactArgs(1),
		Long: `The longest surviving replica becomes the partition. What only the lost replicas had, acknowledged records too, is
lost for ever: their nodes, if they come back, are cut back to the new history. Look with --dry-run first.`,
		Example: "  broker partition recover logs/0 --dry-run\n  broker partition recover logs/0 --yes",
		RunE: func(cmd *cobra.Command, args []string) error {
			topic, partition, err := parsePartition(args[0])
			if err != nil {
				return err
			}
			if !dryRun && !yes {
				return usageErrorf("recovering %s may lose acknowledged records: look with --dry-run, then say --yes", args[0])
			}
			return a.ask(cmd.Context(), func(ctx context.Context, c *client.Client) (answer, error) {
				return recoverPartition(ctx, c, topic, partition, dryRun)
			})
		},
	}
	a.addFlags(cmd)
	cmd.Flags().BoolVar(&dryRun, "dry-run", false, "only say what would happen")
	cmd.Flags().BoolVar(&yes, "yes", false, "do it")
	return cmd
}

func recoverPartition(ctx context.Context, c *client.Client, topic string, partition int32, dryRun bool) (answer, error) {
	t, err := c.Topic(ctx, topic)
	if err != nil {
		return answer{}, err //nolint:wrapcheck // says all
	}
	if int(partition) >= len(t.Partitions) {
		return answer{}, fmt.Errorf("topic %q has partitions 0 to %d", topic, len(t.Partitions)-1)
	}
	v, err := view(ctx, c, true)
	if err != nil {
		return answer{}, err
	}
	p := &t.Partitions[partition]
	var up, down []int32
	for _, r := range p.Replicas {
		i := slices.IndexFunc(v.nodes, func(n nodeView) bool { return n.ID == r })
		if i >= 0 && v.nodes[i].up() {
			up = append(up, r)
		} else {
			down = append(down, r)
		}
	}
	name := fmt.Sprintf("%s/%d", topic, partition)
	result := struct {
		Partition string  `json:"partition"`
		Status    string  `json:"status"`
		Survivors []int32 `json:"survivors"`
		Lost      []int32 `json:"lost"`
	}{name, "RECOVERING", up, down}
	switch {
	case p.Leader >= 0:
		result.Status = "NOT-NEEDED"
	case len(up) >= majority(len(p.Replicas)):
		return answer{}, fmt.Errorf("%s has a majority of its replicas (nodes %s): it elects a leader by itself", name, ids(up))
	case len(up) == 0:
		return answer{}, fmt.Errorf("%s has no replica left on a node that is up: start one of the nodes %s", name, ids(down))
	case dryRun:
		result.Status = "WOULD-RECOVER"
	default:
		err = c.ElectLeader(ctx, topic, partition, true)
	}
	return answer{kind: "PartitionRecovery", items: []any{result}, sections: []section{{
		header: []string{"PARTITION", "STATUS", "SURVIVORS", "LOST"}, rows: [][]string{{name, result.Status, ids(up), ids(down)}},
	}}}, err //nolint:wrapcheck // says all
}
