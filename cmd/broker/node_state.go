package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/spf13/cobra"

	"github.com/stelemq/stele/internal/cli"
)

// nodeReport is a node in the answer to GET /admin/v1/nodes.
type nodeReport struct {
	Node            int32              `json:"node"`
	Rack            string             `json:"rack,omitempty"`
	RaftAddress     string             `json:"raft_address,omitempty"`
	State           string             `json:"state"`
	Fenced          bool               `json:"fenced"`
	MetadataReplica uint64             `json:"metadata_replica,omitempty"`
	Replicas        int                `json:"replicas"`
	Leaders         int                `json:"leaders"`
	Preferred       int                `json:"preferred_leaders"`
	Blocked         []blockedPartition `json:"blocked,omitempty"`
}

func newNode(s streams) *cobra.Command {
	return parent("node", "List nodes, empty them and take them out",
		"  broker node list\n  broker node drain 2", groupAdmin,
		newNodeList(s),
		newNodeState(s, nodeStateCommand{
			use: "drain", short: "Take the leaderships away from a node, before maintenance",
			long: "The node keeps its replicas and goes on to hold records; nothing is led by it until it is undrained.",
			done: func(n *nodeReport) bool { return n.Leaders == 0 }, left: func(n *nodeReport) string { return plural(n.Leaders, "leader") },
			after: "node %d leads nothing any more. Afterwards: broker node undrain %d\n",
		}),
		newNodeState(s, nodeStateCommand{
			use: "undrain", short: "Let a node lead and take replicas again",
			long: "Ends drain, and decommission as long as the node is there.",
			done: func(*nodeReport) bool { return true }, after: "node %d is active\n",
		}),
		newNodeState(s, nodeStateCommand{
			use: "decommission", short: "Move everything off a node and take it out of the cluster",
			long: "Its replicas move to other nodes, one after the other; when it has none left it is removed, and its broker ends by itself.",
			left: func(n *nodeReport) string { return plural(n.Replicas, "replica") },
			done: func(n *nodeReport) bool { return false }, after: "node %d is not part of the cluster any more; its broker ends by itself\n",
		}))
}

func newNodeList(s streams) *cobra.Command {
	l := &localAdmin{streams: s}
	cmd := &cobra.Command{
		Use: "list", Short: "List the nodes with their Raft addresses and states", Args: cobra.NoArgs,
		Example: "  broker node list\n  broker node list -o json",
		RunE: func(cmd *cobra.Command, _ []string) error {
			return l.ask(cmd.Context(), func(ctx context.Context) (answer, error) {
				nodes, err := l.nodes(ctx)
				if err != nil {
					return answer{}, err
				}
				a := answer{kind: "NodeList", items: nodes}
				table := section{header: []string{"NODE", "RAFT-ADDRESS", "RACK", "STATE", "LEADERS", "REPLICAS"}}
				for i := range nodes {
					n := &nodes[i]
					state := n.State
					if n.Fenced {
						state += ",fenced"
					}
					a.names = append(a.names, fmt.Sprint(n.Node))
					table.rows = append(table.rows, []string{fmt.Sprint(n.Node), n.RaftAddress, n.Rack, state, fmt.Sprint(n.Leaders), fmt.Sprint(n.Replicas)})
				}
				a.sections = []section{table}
				return a, nil
			})
		},
	}
	l.addFlags(cmd)
	return cmd
}

func (l *localAdmin) nodes(ctx context.Context) ([]nodeReport, error) { return l.nodesBeside(ctx, -1) }

// nodesBeside asks another broker than one, if it can: a node that has left the cluster does not hear of it.
func (l *localAdmin) nodesBeside(ctx context.Context, node int32) ([]nodeReport, error) {
	var result struct {
		Nodes []nodeReport
		Self  *int32
	}
	err := l.callUntil(ctx, http.MethodGet, "/admin/v1/nodes", &result, func() bool { return result.Self == nil || *result.Self != node })
	return result.Nodes, err
}

// nodeStateCommand describes a command that sets what is wanted of a node.
type nodeStateCommand struct {
	use, short, long string
	// done tells from the node's state whether the wish is fulfilled, left what is missing; a node that is gone is done.
	done func(*nodeReport) bool
	left func(*nodeReport) string
	// after is said at the end.
	after string
}

func newNodeState(s streams, c nodeStateCommand) *cobra.Command {
	l := &localAdmin{streams: s}
	slow, kafka := &throttled{}, &admin{streams: s}
	var wait time.Duration
	force := false
	cmd := &cobra.Command{
		Use: c.use + " NODE", Short: c.short, Long: c.long, Args: cobra.ExactArgs(1),
		Example: "  broker node " + c.use + " 2",
		RunE: func(cmd *cobra.Command, args []string) error {
			nodes, err := parseNodes(args[0])
			if err != nil || len(nodes) != 1 {
				return usageErrorf("%q: want one node id", args[0])
			}
			if l.timeout <= 0 {
				return usageErrorf("--timeout %s: want more than 0s", l.timeout)
			}
			ctx, cancel := context.WithTimeout(cmd.Context(), l.timeout)
			defer cancel()
			path := fmt.Sprintf("/admin/v1/nodes/%d/%s", nodes[0], c.use)
			if force {
				path += "?force=true"
			}
			var n nodeReport
			if err := l.call(ctx, http.MethodPost, path, &n); err != nil {
				return err
			}
			if len(n.Blocked) > 0 {
				fmt.Fprintf(l.err, "these cannot go elsewhere for now: %s\n", blockedText(n.Blocked))
			}
			kafka.timeout = l.timeout
			return slow.run(cmd.Context(), kafka, func() error { return l.await(cmd.Context(), nodes[0], &c, wait) })
		},
	}
	l.addFlags(cmd)
	cmd.Flags().DurationVar(&wait, "wait", time.Hour, "how long to watch; 0s: do not")
	if c.use == "decommission" {
		slow.addFlag(cmd)
		cmd.Flags().StringVarP(&kafka.brokers, "brokers", "b", cli.DefaultBrokers(), "brokers to ask for --throttle, `host:port`, several by commas")
		cmd.Flags().BoolVar(&force, "force", false, "begin even if some partitions have nowhere to go yet")
	}
	return cmd
}

// await says what is left until nothing is.
func (l *localAdmin) await(ctx context.Context, node int32, c *nodeStateCommand, wait time.Duration) error {
	deadline, said := time.Now().Add(wait), ""
	for {
		bounded, cancel := context.WithTimeout(ctx, l.timeout)
		nodes, err := l.nodesBeside(bounded, node)
		cancel()
		if ctx.Err() != nil {
			fmt.Fprintln(l.err, "interrupted: it goes on by itself")
			return context.Cause(ctx) //nolint:wrapcheck // an interrupt
		}
		var found *nodeReport
		for i := range nodes {
			if nodes[i].Node == node {
				found = &nodes[i]
			}
		}
		switch {
		case err != nil:
			return err
		case found == nil || c.done(found):
			args := []any{node, node}
			fmt.Fprintf(l.err, c.after, args[:countVerbs(c.after)]...)
			return nil
		case wait <= 0:
			return nil
		case time.Now().After(deadline):
			return errors.New("not done in time; it goes on by itself")
		}
		if text := fmt.Sprintf("node %d: %s left", node, c.left(found)); text != said {
			said = text
			fmt.Fprintln(l.err, text)
		}
		select {
		case <-ctx.Done():
		case <-time.After(300 * time.Millisecond):
		}
	}
}

func countVerbs(format string) int {
	n := 0
	for _, r := range format {
		if r == '%' {
			n++
		}
	}
	return n
}
