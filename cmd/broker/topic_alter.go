package main

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/stelemq/stele/client"
)

// topicAlter is `broker topic alter`.
type topicAlter struct {
	admin
	configs  []string
	replicas int
	all      bool
	wait     time.Duration
	dryRun   bool
}

// alteredConfig is a line of the answer.
type alteredConfig struct {
	Topic  string `json:"topic"`
	Config string `json:"config"`
	Old    string `json:"old"`
	New    string `json:"new"`
}

func newTopicAlter(s streams) *cobra.Command {
	t := &topicAlter{admin: admin{streams: s}}
	cmd := &cobra.Command{
		Use: "alter NAME [KEY=VALUE...]", Short: "Change settings of a topic, or how many replicas it has",
		Long: `KEY=VALUE sets, -c KEY- goes back to the default. --replicas moves each partition to so many replicas, on the nodes
that carry least; existing ones stay where they are.`,
		Example: `  broker topic alter logs segment.bytes=64MiB
  broker topic alter logs min.insync.replicas=2 -c segment.ms-
  broker topic alter logs --replicas 3
  broker topic alter --all --replicas 3 --dry-run`,
		ValidArgsFunction: t.completeTopics,
		RunE: func(cmd *cobra.Command, args []string) error {
			names, changes, err := t.parse(args)
			if err != nil {
				return err
			}
			return t.run(cmd.Context(), names, changes)
		},
	}
	t.addFlags(cmd)
	cmd.Flags().StringArrayVarP(&t.configs, "topic-config", "c", nil, "a setting, `key=value`, or key- for the default; repeatable")
	cmd.Flags().IntVar(&t.replicas, "replicas", 0, "number of replicas of each partition")
	cmd.Flags().BoolVar(&t.all, "all", false, "all topics")
	addMoveFlags(cmd, &t.wait, &t.dryRun)
	return cmd
}

// parse sorts names and settings.
func (t *topicAlter) parse(args []string) ([]string, []client.ConfigChange, error) {
	var names []string
	if !t.all {
		if len(args) == 0 {
			return nil, nil, usageErrorf("which topic? Name it, or say --all")
		}
		names, args = args[:1], args[1:]
	}
	var changes []client.ConfigChange
	for _, text := range append(slices.Clone(args), t.configs...) {
		if key, ok := strings.CutSuffix(text, "-"); ok && key != "" && !strings.Contains(text, "=") {
			changes = append(changes, client.ConfigChange{Name: key})
			continue
		}
		one, err := parseConfigs([]string{text})
		if err != nil {
			return nil, nil, usageErrorf("%s: want key=value, or key- for the default", text)
		}
		for key, value := range one {
			changes = append(changes, client.ConfigChange{Name: key, Value: &value})
		}
	}
	if len(changes) == 0 && t.replicas == 0 {
		return nil, nil, usageErrorf("nothing to change: give key=value, or --replicas")
	}
	if t.replicas < 0 {
		return nil, nil, usageErrorf("--replicas %d: want 1 or more", t.replicas)
	}
	return names, changes, nil
}

func (t *topicAlter) run(ctx context.Context, names []string, changes []client.ConfigChange) error {
	if len(changes) > 0 {
		err := t.ask(ctx, func(ctx context.Context, c *client.Client) (answer, error) { return t.alter(ctx, c, names, changes) })
		if err != nil {
			return err
		}
	}
	if t.replicas == 0 {
		return nil
	}
	m := &mover{admin: &t.admin, wait: t.wait, dryRun: t.dryRun}
	return m.run(ctx, func(ctx context.Context, c *client.Client) ([]client.Reassignment, error) {
		topics, err := t.topics(ctx, c, names)
		if err != nil {
			return nil, err
		}
		nodes, err := c.Nodes(ctx)
		if err != nil {
			return nil, err //nolint:wrapcheck // says all
		}
		every, err := c.Topics(ctx)
		if err != nil {
			return nil, err //nolint:wrapcheck // says all
		}
		return planReplicas(topics, every, nodes, t.replicas)
	})
}

func (t *topicAlter) topics(ctx context.Context, c *client.Client, names []string) ([]client.Topic, error) {
	if t.all {
		return c.Topics(ctx) //nolint:wrapcheck // says all
	}
	var topics []client.Topic
	for _, n := range names {
		topic, err := c.Topic(ctx, n)
		if err != nil {
			return nil, err //nolint:wrapcheck // says all
		}
		topics = append(topics, *topic)
	}
	return topics, nil
}

func (t *topicAlter) alter(ctx context.Context, c *client.Client, names []string, changes []client.ConfigChange) (answer, error) {
	topics, err := t.topics(ctx, c, names)
	if err != nil {
		return answer{}, err
	}
	a := answer{kind: "TopicAlterList", sections: []section{{header: []string{"TOPIC", "CONFIG", "OLD", "NEW"}}}}
	items := []alteredConfig{}
	for i := range topics {
		name := topics[i].Name
		if topics[i].Internal && t.all {
			continue
		}
		before, err := c.TopicConfigs(ctx, name)
		if err != nil {
			return answer{}, err //nolint:wrapcheck // says all
		}
		if err := c.AlterTopicConfigs(ctx, name, changes, t.dryRun); err != nil {
			return answer{}, err //nolint:wrapcheck // says all
		}
		for _, ch := range changes {
			row := alteredConfig{Topic: name, Config: ch.Name, New: "(default)"}
			for _, k := range before {
				if k.Name == ch.Name {
					row.Old = k.Value
				}
			}
			if ch.Value != nil {
				row.New = *ch.Value
			}
			items = append(items, row)
			a.sections[0].rows = append(a.sections[0].rows, []string{row.Topic, row.Config, row.Old, row.New})
		}
	}
	a.items = items
	return a, nil
}

// planReplicas gives each partition of topics n replicas: those it has, and new ones on the nodes that carry least, on other
// racks first; or fewer, from the end of its list. every are all topics, for what nodes carry.
func planReplicas(topics, every []client.Topic, nodes []client.Node, n int) ([]client.Reassignment, error) {
	racks, load := map[int32]string{}, map[int32]int{}
	for _, node := range nodes {
		if !node.Fenced {
			racks[node.ID] = node.Rack
		}
	}
	if len(racks) < n {
		return nil, fmt.Errorf("only %s up; %d replicas need %d nodes", areUp(len(racks)), n, n)
	}
	for i := range every {
		for _, p := range every[i].Partitions {
			for _, r := range p.Replicas {
				load[r]++
			}
		}
	}
	var plan []client.Reassignment
	for i := range topics {
		for _, p := range topics[i].Partitions {
			want := slices.Clone(p.Replicas[:min(n, len(p.Replicas))])
			for len(want) < n {
				next := leastLoaded(racks, load, want)
				load[next]++
				want = append(want, next)
			}
			if !slices.Equal(want, p.Replicas) {
				plan = append(plan, client.Reassignment{Topic: topics[i].Name, Partition: p.ID, Replicas: want})
			}
		}
	}
	return plan, nil
}

func areUp(n int) string {
	if n == 1 {
		return "1 node is"
	}
	return fmt.Sprintf("%d nodes are", n)
}

func leastLoaded(racks map[int32]string, load map[int32]int, not []int32) int32 {
	used := map[string]bool{}
	for _, r := range not {
		used[racks[r]] = true
	}
	var free []int32
	for node := range racks {
		if !slices.Contains(not, node) {
			free = append(free, node)
		}
	}
	slices.SortFunc(free, func(a, b int32) int {
		if x, y := used[racks[a]], used[racks[b]]; x != y {
			if x {
				return 1
			}
			return -1
		}
		return cmp.Or(cmp.Compare(load[a], load[b]), cmp.Compare(a, b))
	})
	return free[0]
}

func newTopicAddPartitions(s streams) *cobra.Command {
	a := &admin{streams: s}
	total := 0
	cmd := &cobra.Command{
		Use: "add-partitions NAME --to TOTAL", Short: "Give a topic more partitions", Args: cobra.ExactArgs(1),
		Long:              "Records with a key that are produced from then on may go to another partition than before. A topic cannot lose partitions.",
		Example:           "  broker topic add-partitions logs --to 12",
		ValidArgsFunction: a.completeTopics,
		RunE: func(cmd *cobra.Command, args []string) error {
			if total < 1 {
				return usageErrorf("how many in all? Say it with --to")
			}
			return a.ask(cmd.Context(), func(ctx context.Context, c *client.Client) (answer, error) {
				t, err := c.Topic(ctx, args[0])
				if err != nil {
					return answer{}, err //nolint:wrapcheck // says all
				}
				if err := c.CreatePartitions(ctx, args[0], total); err != nil {
					return answer{}, err //nolint:wrapcheck // says all
				}
				item := struct {
					Topic string `json:"topic"`
					From  int    `json:"from"`
					To    int    `json:"to"`
				}{args[0], len(t.Partitions), total}
				return answer{kind: "TopicPartitions", items: []any{item}, names: args, sections: []section{{rows: [][]string{
					{args[0], "OK", fmt.Sprintf("%d → %s", item.From, plural(total, "partition"))},
				}}}}, nil
			})
		},
	}
	a.addFlags(cmd)
	cmd.Flags().IntVar(&total, "to", 0, "number of partitions in `total`")
	return cmd
}
