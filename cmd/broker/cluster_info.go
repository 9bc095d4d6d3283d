package main

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/stelemq/stele/client"
)

// clusterInfo is the answer of `broker cluster info`.
type clusterInfo struct {
	ID         string     `json:"cluster_id"`
	Controller int32      `json:"controller"`
	Topics     int        `json:"topics"`
	Partitions int        `json:"partitions"`
	Nodes      []nodeInfo `json:"nodes"`
}

type nodeInfo struct {
	ID         int32  `json:"node"`
	Address    string `json:"address"`
	Rack       string `json:"rack,omitempty"`
	State      string `json:"state"`
	Controller bool   `json:"controller"`
	// MetadataRole is leader, voter, observer, none, or unknown while there is no controller.
	MetadataRole string `json:"metadata_role"`
	Leaders      int    `json:"leaders"`
	Replicas     int    `json:"replicas"`
}

func newClusterInfo(s streams) *cobra.Command {
	a := &admin{streams: s}
	cmd := &cobra.Command{
		Use: "info", Short: "Show the brokers of a cluster and what they hold", Args: cobra.NoArgs,
		Long: `Shows the brokers under the addresses that clients are told, the partitions each leads and holds.
ROLE is the part in replicating the metadata: the leader, marked *, is the controller; voters decide; observers follow.`,
		Example: "  broker cluster info\n  broker cluster info -b kafka.example.com:9092 -o json",
		RunE: func(cmd *cobra.Command, _ []string) error {
			return a.ask(cmd.Context(), func(ctx context.Context, c *client.Client) (answer, error) { return describeCluster(ctx, c) })
		},
	}
	a.addFlags(cmd)
	return cmd
}

func describeCluster(ctx context.Context, c *client.Client) (answer, error) {
	v, err := view(ctx, c, true)
	if err != nil {
		return answer{}, err
	}
	topics := v.topics
	info := clusterInfo{ID: v.id, Controller: v.controller, Topics: len(topics)}
	leads, holds := map[int32]int{}, map[int32]int{}
	for i := range topics {
		info.Partitions += len(topics[i].Partitions)
		for _, p := range topics[i].Partitions {
			leads[p.Leader]++
			for _, r := range p.Replicas {
				holds[r]++
			}
		}
	}
	a := answer{kind: "ClusterInfo"}
	nodes := section{header: []string{"NODE", "ADDRESS", "RACK", "STATE", "ROLE", "LEADERS", "REPLICAS"}}
	for i := range v.nodes {
		b := &v.nodes[i]
		n := nodeInfo{
			ID: b.ID, Address: b.Addr(), Rack: b.Rack, State: b.state(), Controller: b.ID == v.controller, Leaders: leads[b.ID], Replicas: holds[b.ID],
			MetadataRole: v.metadataRole(b.ID),
		}
		role := n.MetadataRole
		if role == "leader" {
			role = "leader *"
		}
		info.Nodes = append(info.Nodes, n)
		a.names = append(a.names, fmt.Sprint(n.ID))
		nodes.rows = append(nodes.rows, []string{fmt.Sprint(n.ID), n.Address, n.Rack, n.State, role, fmt.Sprint(n.Leaders), fmt.Sprint(n.Replicas)})
	}
	a.items = []clusterInfo{info}
	a.sections = []section{{rows: [][]string{
		{"CLUSTER", info.ID}, {"TOPICS", fmt.Sprint(info.Topics)}, {"PARTITIONS", fmt.Sprint(info.Partitions)},
	}}, nodes}
	return a, nil
}
