package main

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/stelemq/stele/client"
)

// listedTopic is a topic in the answer of `broker topic list`.
type listedTopic struct {
	Name       string `json:"name"`
	Partitions int    `json:"partitions"`
	Replicas   int    `json:"replicas"`
	Internal   bool   `json:"internal"`
	Health     string `json:"health"`
}

func newTopicList(s streams) *cobra.Command {
	t := &admin{streams: s}
	var internal bool
	cmd := &cobra.Command{
		Use: "list", Short: "List topics", Args: cobra.NoArgs,
		Example: "  broker topic list\n  broker topic list -o json\n  broker topic list -o name",
		RunE: func(cmd *cobra.Command, _ []string) error {
			return t.ask(cmd.Context(), func(ctx context.Context, c *client.Client) (answer, error) {
				topics, err := c.Topics(ctx)
				if err != nil {
					return answer{}, err //nolint:wrapcheck // says all
				}
				return listAnswer(topics, internal), nil
			})
		},
	}
	t.addFlags(cmd)
	cmd.Flags().BoolVar(&internal, "internal", false, "include internal topics")
	return cmd
}

func listAnswer(topics []client.Topic, internal bool) answer {
	table := section{header: []string{"NAME", "PARTITIONS", "REPLICAS", "HEALTH"}}
	items := []listedTopic{}
	a := answer{kind: "TopicList"}
	for i := range topics {
		t := &topics[i]
		if t.Internal && !internal {
			continue
		}
		row := listedTopic{Name: t.Name, Partitions: len(t.Partitions), Replicas: replicas(t), Internal: t.Internal, Health: health(t)}
		items = append(items, row)
		a.names = append(a.names, row.Name)
		table.rows = append(table.rows, []string{row.Name, fmt.Sprint(row.Partitions), fmt.Sprint(row.Replicas), row.Health})
	}
	a.items, a.sections = items, []section{table}
	return a
}

func replicas(t *client.Topic) int {
	most := 0
	for i := range t.Partitions {
		most = max(most, len(t.Partitions[i].Replicas))
	}
	return most
}

// health is the worst state of a topic's partitions, in words.
func health(t *client.Topic) string {
	offline, under := 0, 0
	for i := range t.Partitions {
		switch p := &t.Partitions[i]; {
		case p.Leader < 0 || p.Err != nil:
			offline++
		case len(p.ISR) < len(p.Replicas):
			under++
		}
	}
	switch {
	case t.Err != nil:
		return "error"
	case offline > 0:
		return fmt.Sprintf("offline(%d)", offline)
	case under > 0:
		return fmt.Sprintf("under-replicated(%d)", under)
	default:
		return "ok"
	}
}
