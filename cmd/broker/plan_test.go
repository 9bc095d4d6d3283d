package main

import (
	"fmt"
	"strings"
	"testing"

	"github.com/stelemq/stele/client"
)

func TestPlanReplicas(t *testing.T) {
	node := func(id int32, rack string, fenced bool) client.Node {
		return client.Node{Broker: client.Broker{ID: id, Rack: rack}, Fenced: fenced}
	}
	topic := func(replicas ...[]int32) []client.Topic {
		t := client.Topic{Name: "t"}
		for i, r := range replicas {
			t.Partitions = append(t.Partitions, client.Partition{ID: int32(i), Replicas: r})
		}
		return []client.Topic{t}
	}
	for _, row := range []struct {
		name   string
		topics []client.Topic
		nodes  []client.Node
		n      int
		want   string
	}{
		{"stays where it is, spreads the rest", topic([]int32{1}, []int32{1}), []client.Node{node(1, "", false), node(2, "", false), node(3, "", false)}, 2, "[1 2] [1 3]"},
		{"other racks first", topic([]int32{1}), []client.Node{node(1, "a", false), node(2, "a", false), node(3, "b", false)}, 2, "[1 3]"},
		{"not on fenced nodes", topic([]int32{1}), []client.Node{node(1, "", false), node(2, "", true), node(3, "", false)}, 2, "[1 3]"},
		{"fewer, from the end", topic([]int32{3, 1, 2}), []client.Node{node(1, "", false), node(2, "", false), node(3, "", false)}, 1, "[3]"},
		{"nothing to do", topic([]int32{1, 2}), []client.Node{node(1, "", false), node(2, "", false)}, 2, ""},
		{"too few nodes", topic([]int32{1}), []client.Node{node(1, "", false), node(2, "", true)}, 2, "only 1 node is up; 2 replicas need 2 nodes"},
	} {
		plan, err := planReplicas(row.topics, row.topics, row.nodes, row.n)
		var got []string
		for _, p := range plan {
			got = append(got, fmt.Sprint(p.Replicas))
		}
		if err != nil {
			got = []string{err.Error()}
		}
		if text := strings.Join(got, " "); text != row.want {
			t.Errorf("%s: %q, want %q", row.name, text, row.want)
		}
	}
}

func TestPromiseOf(t *testing.T) {
	for _, row := range []struct {
		replicas         int
		configs          string
		mode, lose, stop string
	}{
		{1, "", "quorum", "everything", "its one node"},
		{3, "", "quorum", "disks of 2 of 3", "2 or more of 3 replicas are down"},
		{5, "", "quorum", "disks of 3 of 5", "3 or more of 5 replicas are down"},
		{3, "min.insync.replicas=1", "quorum", "disks of 2 of 3", "2 or more of 3"},
		{3, "min.insync.replicas=3", "protection", "disk of 1 of 3 replicas", "1 or more of 3 replicas are down (acks=all needs 3)"},
		{3, "min.insync.replicas=5", "quorum", "nothing is acknowledged", "always"},
		{3, "unclean.leader.election.enable=true", "availability", "when 2 of 3 replicas are lost", "for a moment"},
		{3, "flush.messages=1000", "quorum", "2 of 3 nodes lose power at once", "2 or more"},
	} {
		var configs []client.Config
		if key, value, ok := strings.Cut(row.configs, "="); ok {
			configs = append(configs, client.Config{Name: key, Value: value})
		}
		got := promiseOf(row.replicas, configs)
		if got.Mode != row.mode || !strings.Contains(got.MayLose, row.lose) || !strings.Contains(got.WritesStop, row.stop) {
			t.Errorf("%d replicas, %q: %+v", row.replicas, row.configs, got)
		}
	}
}

func quorumOf(wanted int, voters []int32, observers ...int32) *client.Quorum {
	q := &client.Quorum{Leader: voters[0], Wanted: wanted}
	for _, n := range voters {
		q.Voters = append(q.Voters, client.QuorumReplica{Node: n})
	}
	for _, n := range observers {
		q.Observers = append(q.Observers, client.QuorumReplica{Node: n})
	}
	return q
}

// What is wrong with a cluster, from what it says.
func TestHealth_Reasons(t *testing.T) {
	part := func(id, leader int32, isr []int32) client.Partition {
		return client.Partition{ID: id, Leader: leader, Replicas: []int32{1, 2, 3}, ISR: isr}
	}
	up := func(ids ...int32) []nodeView {
		var out []nodeView
		for id := int32(1); id <= 3; id++ {
			n := nodeView{Node: client.Node{Broker: client.Broker{ID: id}, Fenced: true}}
			for _, u := range ids {
				n.Fenced = n.Fenced && u != id
			}
			out = append(out, n)
		}
		return out
	}
	for _, row := range []struct {
		name  string
		view  clusterView
		kinds string
		text  string
	}{
		{"healthy", clusterView{nodes: up(1, 2, 3), topics: []client.Topic{{Name: "t", Partitions: []client.Partition{part(0, 1, []int32{1, 2, 3})}}}}, "", ""},
		{"a node is down", clusterView{nodes: up(1, 3), topics: []client.Topic{{Name: "t", Partitions: []client.Partition{part(0, 1, []int32{1, 3})}}}}, "node_down,under_replicated", "node 2"},
		{"two nodes are down", clusterView{nodes: up(1), topics: []client.Topic{{Name: "t", Partitions: []client.Partition{part(0, -1, []int32{1})}}}}, "node_down,node_down,offline", "t-0 (1 of 3 replicas reachable, 2 needed)"},
		{"a replica catches up", clusterView{nodes: up(1, 2, 3), topics: []client.Topic{{Name: "t", Partitions: []client.Partition{part(0, 1, []int32{1, 3})}}}}, "under_replicated", "Wait: replicas catch up"},
		{"acks=all is refused", clusterView{nodes: up(1, 2, 3), minISR: map[string]int{"t": 3}, topics: []client.Topic{{Name: "t", Partitions: []client.Partition{part(0, 1, []int32{1, 3})}}}}, "under_min_isr,under_replicated", "acks=all is refused: t-0"},
		{"no controller", clusterView{nodes: up(1, 2, 3), controller: -1}, "no_controller", "cannot be created"},
		{"all vote", clusterView{nodes: up(1, 2, 3), quorum: quorumOf(3, []int32{1, 2, 3})}, "", ""},
		{"a new disk does not vote yet", clusterView{nodes: up(1, 2, 3), quorum: quorumOf(3, []int32{2, 3}, 1)}, "metadata_voters", "2 of 3 wanted brokers vote on the metadata; without a vote yet: node 1"},
		{"the vote of a former disk", clusterView{nodes: up(1, 2, 3), quorum: quorumOf(3, []int32{1, 2, 3}, 1)}, "metadata_voters", "stop no other broker"},
		{"one of two votes", clusterView{nodes: up(1, 2, 3), quorum: quorumOf(1, []int32{2}, 1)}, "", ""},
		{"a cluster that does not say how many should vote", clusterView{nodes: up(1, 2, 3), quorum: quorumOf(0, []int32{2}, 1, 3)}, "", ""},
	} {
		h := row.view.health()
		var kinds, texts []string
		for _, r := range h.Reasons {
			kinds, texts = append(kinds, r.Kind), append(texts, r.Text+" "+r.Remedy)
			if r.Remedy == "" {
				t.Errorf("%s: %s has no remedy", row.name, r.Kind)
			}
		}
		if got := strings.Join(kinds, ","); got != row.kinds || h.Healthy != (row.kinds == "") || !strings.Contains(strings.Join(texts, "\n"), row.text) {
			t.Errorf("%s: %q: %s", row.name, got, strings.Join(texts, "\n"))
		}
	}
}
