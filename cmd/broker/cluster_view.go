package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/stelemq/stele/client"
	"github.com/stelemq/stele/protocol"
)

// clusterView is a cluster as commands judge it.
type clusterView struct {
	id         string
	controller int32
	nodes      []nodeView
	topics     []client.Topic
	// quorum is who replicates the metadata, nil where nobody tells.
	quorum *client.Quorum
	// alone: the broker that was asked knows of no controller.
	alone bool
	// minISR is min.insync.replicas by topic, where it was asked for.
	minISR map[string]int
}

type nodeView struct {
	client.Node
	// unreachable is why it could not be reached from here, nil if it was, or nobody tried.
	unreachable error
}

// up: the cluster counts on the node.
func (n *nodeView) up() bool { return !n.Fenced && n.unreachable == nil }

func (n *nodeView) state() string {
	switch {
	case n.Fenced:
		return "fenced"
	case n.unreachable != nil:
		return "unreachable"
	default:
		return "up"
	}
}

// metadataRole is a node's part in replicating the metadata.
func (v *clusterView) metadataRole(node int32) string {
	q := v.quorum
	in := func(replicas []client.QuorumReplica) bool {
		return slices.ContainsFunc(replicas, func(r client.QuorumReplica) bool { return r.Node == node })
	}
	switch {
	case q == nil:
		return "unknown"
	case q.Leader == node:
		return "leader"
	case in(q.Observers): // also where the vote of a former disk has not gone yet
		return "observer"
	case in(q.Voters):
		return "voter"
	}
	return "none"
}

// reachTimeout bounds the attempt to reach one node: those that are down must not cost the whole timeout.
const reachTimeout = 1500 * time.Millisecond

// view asks for everything. reach also tries to connect to every node.
func view(ctx context.Context, c *client.Client, reach bool) (*clusterView, error) {
	nodes, err := c.Nodes(ctx)
	if err != nil {
		return nil, err //nolint:wrapcheck // says all
	}
	topics, err := c.Topics(ctx)
	if err != nil {
		return nil, err //nolint:wrapcheck // says all
	}
	cluster, err := c.Cluster(ctx)
	if err != nil {
		return nil, err //nolint:wrapcheck // says all
	}
	v := &clusterView{id: cluster.ID, controller: cluster.ControllerID, topics: topics, minISR: map[string]int{}}
	v.quorum, err = c.Quorum(ctx)
	switch {
	case err != nil && ctx.Err() != nil:
		return nil, err //nolint:wrapcheck // says all
	case errors.Is(err, protocol.NotLeaderOrFollower):
		v.alone = true
	}
	var wg sync.WaitGroup
	v.nodes = make([]nodeView, len(nodes))
	for i := range nodes {
		v.nodes[i].Node = nodes[i]
		if reach && !nodes[i].Fenced {
			wg.Go(func() {
				ctx, cancel := context.WithTimeout(ctx, reachTimeout)
				defer cancel()
				v.nodes[i].unreachable = c.Reach(ctx, nodes[i].Broker)
			})
		}
	}
	wg.Wait()
	return v, nil
}

// askMinISR asks for min.insync.replicas of topics that have partitions that lack replicas.
func (v *clusterView) askMinISR(ctx context.Context, c *client.Client) error {
	for i := range v.topics {
		t := &v.topics[i]
		if t.Err != nil || !slices.ContainsFunc(t.Partitions, func(p client.Partition) bool { return len(p.ISR) < len(p.Replicas) }) {
			continue
		}
		n, err := minISR(ctx, c, t)
		if err != nil {
			return err
		}
		v.minISR[t.Name] = n
	}
	return nil
}

// minISR is how many replicas must have a record of a topic before acks=all is answered.
func minISR(ctx context.Context, c *client.Client, t *client.Topic) (int, error) {
	configs, err := c.TopicConfigs(ctx, t.Name)
	if err != nil {
		return 0, err //nolint:wrapcheck // says all
	}
	for _, k := range configs {
		if n, err := strconv.Atoi(k.Value); k.Name == "min.insync.replicas" && err == nil && n > 0 {
			return max(n, majority(replicas(t))), nil
		}
	}
	return majority(replicas(t)), nil
}

func majority(n int) int { return n/2 + 1 }

// partitionKind is one way in which a partition may be in trouble.
type partitionKind string

const (
	partitionOffline    partitionKind = "offline"
	partitionUnderMin   partitionKind = "under-min-isr"
	partitionAtMin      partitionKind = "at-min-isr"
	partitionUnderRepl  partitionKind = "under-replicated"
	partitionUnreadable partitionKind = "error"
)

// partitionView is a partition with what is wrong with it.
type partitionView struct {
	Topic     string          `json:"topic"`
	Partition int32           `json:"partition"`
	Leader    int32           `json:"leader"`
	Epoch     int32           `json:"leader_epoch"`
	ISR       []int32         `json:"isr"`
	Replicas  []int32         `json:"replicas"`
	Offline   []int32         `json:"offline,omitempty"`
	Troubles  []partitionKind `json:"troubles"`
}

func (p *partitionView) name() string { return fmt.Sprintf("%s-%d", p.Topic, p.Partition) }

func (p *partitionView) is(k partitionKind) bool { return slices.Contains(p.Troubles, k) }

// partitions are all partitions of the cluster.
func (v *clusterView) partitions() []partitionView {
	var out []partitionView
	for i := range v.topics {
		t := &v.topics[i]
		for k := range t.Partitions {
			p := &t.Partitions[k]
			row := partitionView{
				Topic: t.Name, Partition: p.ID, Leader: p.Leader, Epoch: p.LeaderEpoch, ISR: p.ISR, Replicas: p.Replicas, Offline: p.Offline,
				Troubles: []partitionKind{},
			}
			least, asked := v.minISR[t.Name]
			switch {
			case p.Leader < 0:
				row.Troubles = append(row.Troubles, partitionOffline)
			case p.Err != nil:
				row.Troubles = append(row.Troubles, partitionUnreadable)
			}
			if len(p.ISR) < len(p.Replicas) {
				row.Troubles = append(row.Troubles, partitionUnderRepl)
			}
			if asked && p.Leader >= 0 && len(p.ISR) < least {
				row.Troubles = append(row.Troubles, partitionUnderMin)
			}
			if asked && p.Leader >= 0 && len(p.ISR) == least && len(p.ISR) < len(p.Replicas) {
				row.Troubles = append(row.Troubles, partitionAtMin)
			}
			out = append(out, row)
		}
	}
	return out
}

// some names a few of many partitions.
func some(parts []partitionView) string {
	const most = 5
	var names []string
	for i := range parts[:min(most, len(parts))] {
		names = append(names, parts[i].name())
	}
	text := strings.Join(names, ", ")
	if more := len(parts) - most; more > 0 {
		text += fmt.Sprintf(" and %d more", more)
	}
	return text
}

func filter(parts []partitionView, k partitionKind) []partitionView {
	var out []partitionView
	for _, p := range parts {
		if p.is(k) {
			out = append(out, p)
		}
	}
	return out
}
