package client

import (
	"cmp"
	"maps"
	"slices"
)

// AssignMember is a member of a group as an Assignor sees it.
type AssignMember struct {
	ID, Instance string
	Topics       []string
	// Owned are the partitions that it held in Generation, -1 where it does not say.
	Owned      []TopicPartition
	Generation int32
}

// Assignor shares partitions out among the members of a group. Its name is what members have in common, so it must be that
// of Kafka's assignor that does the same.
type Assignor interface {
	Name() string
	// Cooperative: members keep their partitions through a rebalance, and give up only what is to go to others.
	Cooperative() bool
	// Assign returns each member's partitions. partitions is how many each topic has. Every partition that somebody is
	// subscribed to goes to one member, except that of a cooperative assignor what changes hands goes to nobody yet.
	Assign(members []AssignMember, partitions map[string]int) map[string][]TopicPartition
}

// Range gives each member a range of each topic's partitions.
func Range() Assignor { return rangeAssignor{} }

// RoundRobin deals the partitions of all topics out in turn.
func RoundRobin() Assignor { return roundRobin{} }

// CooperativeSticky balances the number of partitions and moves as few as that takes, without stopping the others.
func CooperativeSticky() Assignor { return cooperativeSticky{} }

// byInstance are the members by instance id, then member id, as Kafka sorts them.
func byInstance(members []AssignMember) []AssignMember {
	out := slices.Clone(members)
	slices.SortFunc(out, func(a, b AssignMember) int {
		if (a.Instance == "") != (b.Instance == "") {
			if a.Instance != "" {
				return -1
			}
			return 1
		}
		return cmp.Or(cmp.Compare(a.Instance, b.Instance), cmp.Compare(a.ID, b.ID))
	})
	return out
}

type rangeAssignor struct{}

func (rangeAssignor) Name() string      { return "range" }
func (rangeAssignor) Cooperative() bool { return false }

func (rangeAssignor) Assign(members []AssignMember, partitions map[string]int) map[string][]TopicPartition {
	out := map[string][]TopicPartition{}
	for _, topic := range slices.Sorted(maps.Keys(partitions)) {
		var takers []string
		for _, m := range byInstance(members) {
			if slices.Contains(m.Topics, topic) {
				takers = append(takers, m.ID)
			}
		}
		next := 0
		for i, id := range takers {
			n := partitions[topic] / len(takers)
			if i < partitions[topic]%len(takers) {
				n++
			}
			for range n {
				out[id] = append(out[id], TopicPartition{topic, int32(next)}) //nolint:gosec // bounded by the topic
				next++
			}
		}
	}
	return out
}

type roundRobin struct{}

func (roundRobin) Name() string      { return "roundrobin" }
func (roundRobin) Cooperative() bool { return false }

func (roundRobin) Assign(members []AssignMember, partitions map[string]int) map[string][]TopicPartition {
	out := map[string][]TopicPartition{}
	order := byInstance(members)
	turn := 0
	for _, tp := range allPartitions(partitions) {
		for range order {
			m := order[turn%len(order)]
			turn++
			if slices.Contains(m.Topics, tp.Topic) {
				out[m.ID] = append(out[m.ID], tp)
				break
			}
		}
	}
	return out
}

func allPartitions(partitions map[string]int) []TopicPartition {
	var out []TopicPartition
	for _, topic := range slices.Sorted(maps.Keys(partitions)) {
		for p := range partitions[topic] {
			out = append(out, TopicPartition{topic, int32(p)}) //nolint:gosec // bounded by the topic
		}
	}
	return out
}

type cooperativeSticky struct{}

func (cooperativeSticky) Name() string      { return "cooperative-sticky" }
func (cooperativeSticky) Cooperative() bool { return true }

func (cooperativeSticky) Assign(members []AssignMember, partitions map[string]int) map[string][]TopicPartition {
	order := byInstance(members)
	topics := make(map[string]map[string]bool, len(order))
	shares := make(map[string][]TopicPartition, len(order))
	for i := range order {
		topics[order[i].ID] = map[string]bool{}
		for _, t := range order[i].Topics {
			topics[order[i].ID][t] = true
		}
		shares[order[i].ID] = nil
	}
	holder := holders(order, partitions, topics)
	for _, tp := range allPartitions(partitions) {
		if id, ok := holder[tp]; ok {
			shares[id] = append(shares[id], tp)
		}
	}
	for _, tp := range allPartitions(partitions) {
		if _, held := holder[tp]; !held {
			if id, ok := leastLoaded(order, topics, shares, tp.Topic); ok {
				shares[id] = append(shares[id], tp)
			}
		}
	}
	balance(order, topics, shares)
	// What somebody else still holds is given to nobody until it has been given up.
	for id := range shares {
		shares[id] = slices.DeleteFunc(shares[id], func(tp TopicPartition) bool { h, held := holder[tp]; return held && h != id })
	}
	return shares
}

// holders says who holds what. Of two that claim the same, the one of the later generation does.
func holders(members []AssignMember, partitions map[string]int, topics map[string]map[string]bool) map[TopicPartition]string {
	holder := map[TopicPartition]string{}
	since := map[TopicPartition]int32{}
	for i := range members {
		m := &members[i]
		for _, tp := range m.Owned {
			if int(tp.Partition) >= partitions[tp.Topic] || !topics[m.ID][tp.Topic] {
				continue
			}
			if _, claimed := holder[tp]; !claimed || m.Generation > since[tp] {
				holder[tp], since[tp] = m.ID, m.Generation
			}
		}
	}
	return holder
}

func leastLoaded(members []AssignMember, topics map[string]map[string]bool, shares map[string][]TopicPartition, topic string) (string, bool) {
	best := ""
	for i := range members {
		if id := members[i].ID; topics[id][topic] && (best == "" || len(shares[id]) < len(shares[best])) {
			best = id
		}
	}
	return best, best != ""
}

// balance moves partitions to members that have at least two fewer, until there are none. Each move makes the sum of the
// squares smaller, so it ends.
func balance(members []AssignMember, topics map[string]map[string]bool, shares map[string][]TopicPartition) {
	for moved := true; moved; {
		moved = false
		for i := range members {
			from := members[i].ID
			for n := len(shares[from]) - 1; n >= 0; n-- {
				tp := shares[from][n]
				to, ok := leastLoaded(members, topics, shares, tp.Topic)
				if ok && len(shares[from]) >= len(shares[to])+2 {
					shares[from] = slices.Delete(shares[from], n, n+1)
					shares[to] = append(shares[to], tp)
					moved = true
				}
			}
		}
	}
}
