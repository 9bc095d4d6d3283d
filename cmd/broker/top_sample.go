package main

import (
	"cmp"
	"context"
	"slices"
	"sync"
	"time"

	"github.com/stelemq/stele/client"
)

// How much of a large cluster `broker top` asks for each time, and how many questions are under way at once.
const (
	topGroupsMax = 200
	topAtOnce    = 8

	// topAnswerTimeout bounds the wait for one answer.
	topAnswerTimeout = time.Second
)

// topSample is a cluster at one moment.
type topSample struct {
	at    time.Time
	nodes []nodeView
	// topics with their partitions; ends of those that answered.
	topics []client.Topic
	ends   map[string]map[int32]int64
	groups []topGroupSample
	// groupsLeft were not asked about: there are too many.
	groupsLeft int
}

type topGroupSample struct {
	id, state string
	committed map[client.TopicPartition]int64
}

// takeTopSample asks the cluster. Commits are read before the ends of logs, so that no lag is below what it is.
func takeTopSample(ctx context.Context, c *client.Client, internal bool) (*topSample, error) {
	v, err := view(ctx, c, false)
	if err != nil {
		return nil, err
	}
	s := &topSample{nodes: v.nodes}
	for i := range v.topics {
		if internal || !v.topics[i].Internal {
			s.topics = append(s.topics, v.topics[i])
		}
	}
	// Brokers that are down must not cost the whole time: what they would have said is left out.
	known, done := context.WithTimeout(ctx, topAnswerTimeout)
	groups, _ := c.Groups(known) // of the brokers that answer
	done()
	s.groupsLeft = max(0, len(groups)-topGroupsMax)
	groups = groups[:min(len(groups), topGroupsMax)]
	s.groups = make([]topGroupSample, len(groups))
	each(len(groups), func(i int) {
		g := topGroupSample{id: groups[i].ID, state: groups[i].State, committed: map[client.TopicPartition]int64{}}
		ctx, cancel := context.WithTimeout(ctx, topAnswerTimeout)
		defer cancel()
		offsets, _ := c.Committed(ctx, g.id) // who does not answer has no lag this time
		for tp, o := range offsets {
			g.committed[tp] = o.Offset
		}
		s.groups[i] = g
	})
	s.ends = c.EndOffsets(ctx, s.topics, topAnswerTimeout)
	s.at = time.Now()
	return s, nil
}

// each calls f for 0 to n-1, a few at once.
func each(n int, f func(i int)) {
	var wg sync.WaitGroup
	next := make(chan int)
	for range min(n, topAtOnce) {
		wg.Go(func() {
			for i := range next {
				f(i)
			}
		})
	}
	for i := range n {
		next <- i
	}
	close(next)
	wg.Wait()
}

// topReport is what `broker top` shows. Rates are null until two samples have been taken.
type topReport struct {
	Time            time.Time      `json:"time"`
	Nodes           []topNode      `json:"nodes"`
	Topics          []topTopic     `json:"topics"`
	Groups          []topGroupView `json:"groups"`
	Partitions      int            `json:"partitions"`
	Offline         int            `json:"offline_partitions"`
	UnderReplicated int            `json:"under_replicated_partitions"`
	Rate            *float64       `json:"records_per_second"`
	// GroupsLeft were not asked about.
	GroupsLeft int `json:"groups_left,omitempty"`
}

type topNode struct {
	Node            int32    `json:"node"`
	Address         string   `json:"address"`
	State           string   `json:"state"`
	Leaders         int      `json:"leaders"`
	Replicas        int      `json:"replicas"`
	UnderReplicated int      `json:"under_replicated"` // partitions in whose in-sync replicas it is missing
	Rate            *float64 `json:"records_per_second"`
}

type topTopic struct {
	Topic           string   `json:"topic"`
	Partitions      int      `json:"partitions"`
	Records         int64    `json:"end_offsets"` // sum of the ends of its logs
	Rate            *float64 `json:"records_per_second"`
	Offline         int      `json:"offline"`
	UnderReplicated int      `json:"under_replicated"`
}

type topGroupView struct {
	Group string `json:"group"`
	State string `json:"state"`
	Lag   int64  `json:"lag"`
	// Rate is what it commits; negative when it was set back.
	Rate *float64 `json:"records_per_second"`
}

// report compares a sample with the one before it, nil for none.
func (s *topSample) report(before *topSample) topReport {
	r := topReport{Time: s.at, GroupsLeft: s.groupsLeft, Topics: []topTopic{}, Groups: []topGroupView{}, Nodes: []topNode{}}
	seconds := 0.0
	if before != nil {
		seconds = s.at.Sub(before.at).Seconds()
	}
	rate := func(n int64) *float64 {
		if seconds <= 0 {
			return nil
		}
		v := float64(n) / seconds
		return &v
	}
	nodes := map[int32]*nodeCount{}
	for i := range s.nodes {
		nodes[s.nodes[i].ID] = &nodeCount{}
	}
	total := int64(0)
	for i := range s.topics {
		row, grown := s.topic(&s.topics[i], before, nodes)
		row.Rate = rate(grown)
		total += grown
		r.Partitions += row.Partitions
		r.Offline += row.Offline
		r.UnderReplicated += row.UnderReplicated
		r.Topics = append(r.Topics, row)
	}
	r.Rate = rate(total)
	for i := range s.nodes {
		n := &s.nodes[i]
		r.Nodes = append(r.Nodes, topNode{n.ID, n.Addr(), n.state(), nodes[n.ID].leads, nodes[n.ID].holds, nodes[n.ID].lacks, rate(nodes[n.ID].grew)})
	}
	for i := range s.groups {
		r.Groups = append(r.Groups, s.groups[i].report(s, before, rate))
	}
	value := func(v *float64) float64 {
		if v == nil {
			return 0
		}
		return *v
	}
	slices.SortFunc(r.Topics, func(a, b topTopic) int {
		return cmp.Or(cmp.Compare(value(b.Rate), value(a.Rate)), cmp.Compare(b.Records, a.Records), cmp.Compare(a.Topic, b.Topic))
	})
	slices.SortFunc(r.Groups, func(a, b topGroupView) int {
		return cmp.Or(cmp.Compare(b.Lag, a.Lag), cmp.Compare(a.Group, b.Group))
	})
	return r
}

// nodeCount is what a node has to do with partitions: those it leads, holds, and is not in sync of, and by how many records
// those grew that it leads.
type nodeCount struct {
	leads, holds, lacks int
	grew                int64
}

// topic looks at one topic, and counts for the nodes.
func (s *topSample) topic(t *client.Topic, before *topSample, nodes map[int32]*nodeCount) (row topTopic, grown int64) {
	count := func(node int32) *nodeCount {
		if nodes[node] == nil {
			nodes[node] = &nodeCount{} // it has gone meanwhile
		}
		return nodes[node]
	}
	row = topTopic{Topic: t.Name, Partitions: len(t.Partitions)}
	for _, p := range t.Partitions {
		count(p.Leader).leads++
		for _, n := range p.Replicas {
			count(n).holds++
			if !slices.Contains(p.ISR, n) {
				count(n).lacks++
			}
		}
		if p.Leader < 0 {
			row.Offline++
		}
		if len(p.ISR) < len(p.Replicas) {
			row.UnderReplicated++
		}
		end, ok := s.ends[t.Name][p.ID]
		if !ok {
			continue
		}
		row.Records += end
		if before == nil {
			continue
		}
		if old, ok := before.ends[t.Name][p.ID]; ok && end > old { // a topic that was made anew begins at 0
			grown += end - old
			count(p.Leader).grew += end - old
		}
	}
	return row, grown
}

func (g *topGroupSample) report(s, before *topSample, rate func(int64) *float64) topGroupView {
	row := topGroupView{Group: g.id, State: g.state}
	var old map[client.TopicPartition]int64
	if before != nil {
		for i := range before.groups {
			if before.groups[i].id == g.id {
				old = before.groups[i].committed
			}
		}
	}
	moved := int64(0)
	for tp, offset := range g.committed {
		if end, ok := s.ends[tp.Topic][tp.Partition]; ok {
			row.Lag += max(0, end-offset)
		}
		if was, ok := old[tp]; ok {
			moved += offset - was
		}
	}
	row.Rate = rate(moved)
	return row
}
