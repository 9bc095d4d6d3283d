package main

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/stelemq/stele/client"
)

func newGroup(s streams) *cobra.Command {
	return parent("group", "List, describe, seek and delete consumer groups",
		"  broker group list\n  broker group describe app1\n  broker group seek app1 --to @-1h\n  broker group delete app1", groupAdmin,
		newGroupList(s), newGroupDescribe(s), newGroupSeek(s), newGroupDelete(s), newGroupOffsetDelete(s))
}

// groupRow is a group in the answer of group list.
type groupRow struct {
	Group       string `json:"group"`
	State       string `json:"state"`
	Type        string `json:"type"`
	Protocol    string `json:"protocol_type"`
	Coordinator int32  `json:"coordinator"`
}

func newGroupList(s streams) *cobra.Command {
	a := &admin{streams: s}
	var states []string
	cmd := &cobra.Command{
		Use: "list", Short: "List the groups of the cluster", Args: cobra.NoArgs,
		Long:    `Lists the groups of all coordinators. --state keeps those in a state: stable, empty, preparingrebalance …`,
		Example: "  broker group list\n  broker group list --state empty\n  broker group list -o name",
		RunE: func(cmd *cobra.Command, _ []string) error {
			return a.ask(cmd.Context(), func(ctx context.Context, c *client.Client) (answer, error) { return listGroups(ctx, c, states) })
		},
	}
	a.addFlags(cmd)
	cmd.Flags().StringSliceVar(&states, "state", nil, "only groups in this `state`, several by commas")
	return cmd
}

func listGroups(ctx context.Context, c *client.Client, states []string) (answer, error) {
	groups, err := c.Groups(ctx)
	rows := []groupRow{}
	a := answer{kind: "GroupList"}
	table := section{header: []string{"GROUP", "STATE", "TYPE", "PROTOCOL-TYPE", "COORDINATOR"}}
	for _, g := range groups {
		if len(states) > 0 && !slices.ContainsFunc(states, func(s string) bool { return strings.EqualFold(s, g.State) }) {
			continue
		}
		rows = append(rows, groupRow{g.ID, g.State, g.Type, g.ProtocolType, g.Coordinator})
		a.names = append(a.names, g.ID)
		table.rows = append(table.rows, []string{g.ID, g.State, g.Type, g.ProtocolType, strconv.Itoa(int(g.Coordinator))})
	}
	if err != nil && len(rows) == 0 {
		return answer{}, err //nolint:wrapcheck // says all
	}
	a.items, a.sections = rows, []section{table}
	return a, err //nolint:wrapcheck // says all
}

// completeGroups proposes the ids of groups.
func (a *admin) completeGroups(cmd *cobra.Command, _ []string, _ string) ([]string, cobra.ShellCompDirective) {
	var names []string
	_ = a.once(cmd.Context(), func(ctx context.Context, c *client.Client) error {
		groups, err := c.Groups(ctx)
		for _, g := range groups {
			names = append(names, g.ID)
		}
		return err //nolint:wrapcheck // not shown
	})
	return names, cobra.ShellCompDirectiveNoFileComp
}

func newGroupDelete(s streams) *cobra.Command {
	a := &admin{streams: s}
	var yes bool
	cmd := &cobra.Command{
		Use: "delete GROUP...", Short: "Delete groups and what they have committed", Args: cobra.MinimumNArgs(1),
		Long: `Deletes groups without members, and their committed offsets: who joins again begins anew. On a terminal it asks for
the name again, elsewhere it needs --yes.`,
		Example:           "  broker group delete app1\n  broker group delete app1 app2 --yes",
		ValidArgsFunction: a.completeGroups,
		RunE: func(cmd *cobra.Command, names []string) error {
			if err := confirmNames(s, yes, names, "This deletes the committed offsets of %s."); err != nil {
				return err
			}
			return a.ask(cmd.Context(), func(ctx context.Context, c *client.Client) (answer, error) { return deleteGroups(ctx, c, names) })
		},
	}
	a.addFlags(cmd)
	cmd.Flags().BoolVar(&yes, "yes", false, "do not ask")
	return cmd
}

func newGroupOffsetDelete(s streams) *cobra.Command {
	a := &admin{streams: s}
	var yes bool
	var topic string
	cmd := &cobra.Command{
		Use: "offset-delete GROUP --topic TOPIC", Short: "Delete what a group has committed for a topic", Args: cobra.ExactArgs(1),
		Long:              `Deletes the committed offsets of a topic that no member of the group is subscribed to.`,
		Example:           "  broker group offset-delete app1 --topic logs --yes",
		ValidArgsFunction: a.completeGroups,
		RunE: func(cmd *cobra.Command, names []string) error {
			if topic == "" {
				return usageErrorf("--topic says what to delete")
			}
			if err := confirmNames(s, yes, names, "This deletes the committed offsets of "+topic+" of %s."); err != nil {
				return err
			}
			return a.ask(cmd.Context(), func(ctx context.Context, c *client.Client) (answer, error) {
				return deleteGroupOffsets(ctx, c, names[0], topic)
			})
		},
	}
	a.addFlags(cmd)
	cmd.Flags().BoolVar(&yes, "yes", false, "do not ask")
	cmd.Flags().StringVarP(&topic, "topic", "t", "", "the `topic` whose offsets go")
	return cmd
}

func deleteGroupOffsets(ctx context.Context, c *client.Client, group, topic string) (answer, error) {
	committed, err := c.Committed(ctx, group)
	if err != nil {
		return answer{}, err //nolint:wrapcheck // says all
	}
	var partitions []int32
	for tp := range committed {
		if tp.Topic == topic {
			partitions = append(partitions, tp.Partition)
		}
	}
	if len(partitions) == 0 {
		return answer{}, fmt.Errorf("group %q has committed nothing for %q", group, topic) //nolint:err113 // for people
	}
	if err := c.DeleteOffsets(ctx, group, topic, partitions...); err != nil {
		return answer{}, err //nolint:wrapcheck // says all
	}
	slices.Sort(partitions)
	return answer{
		kind: "GroupOffsetDelete", items: []map[string]any{{"group": group, "topic": topic, "partitions": partitions}}, names: []string{group},
		sections: []section{{rows: [][]string{{group, topic, ids(partitions), "DELETED"}}}},
	}, nil
}
