package metadata

import (
	"cmp"
	"fmt"
	"slices"

	"github.com/stelemq/stele/protocol"
)

// Place chooses nodes for new partitions: the first of each list is the preferred leader. It spreads
// leaders, then replicas over the brokers that carry least, and the replicas of a partition over racks
// where there are several. It depends on its arguments alone.
//
// Brokers that are alive come first, then those that drain, then fenced ones: a topic may be created while
// a broker restarts, but its majority must be alive, or it could not begin. Decommissioned brokers get
// nothing.
func Place(i *Image, partitions, replicationFactor int) ([][]int32, *Error) {
	if partitions < 1 {
		return nil, &Error{protocol.InvalidPartitions, "Number of partitions must be larger than 0."}
	}
	if replicationFactor < 1 {
		return nil, &Error{protocol.InvalidReplicationFactor, "Replication factor must be larger than 0."}
	}
	placer := NewPlacer(i)
	live := placer.live()
	fail := func(format string, args ...any) ([][]int32, *Error) {
		return nil, &Error{protocol.InvalidReplicationFactor, fmt.Sprintf("Unable to replicate the partition %d time(s): ", replicationFactor) + fmt.Sprintf(format, args...)}
	}
	switch {
	case len(placer.nodes) < replicationFactor:
		return fail("The target replication factor of %d cannot be reached because only %d broker(s) are registered.", replicationFactor, len(placer.nodes))
	case live == 0:
		return fail("All brokers are currently fenced.")
	case live < replicationFactor/2+1:
		return fail("The target replication factor of %d cannot be reached because only %d broker(s) are alive.", replicationFactor, live)
	}
	out := make([][]int32, partitions)
	for p := range out {
		out[p] = placer.place(replicationFactor)
	}
	return out, nil
}

// Placer chooses nodes one after the other and remembers what it has given to each.
type Placer struct{ nodes []*candidate }

type candidate struct {
	node int32
	rack string
	rank rank
	load Load
}

// rank is how readily a broker is taken, the lowest first.
type rank int

const (
	rankLive rank = iota
	rankDraining
	rankFenced
)

// NewPlacer returns a placer over the brokers that may get replicas.
func NewPlacer(i *Image) *Placer {
	p := &Placer{}
	for _, b := range i.Brokers() {
		if !b.Registered() || b.State == NodeDecommissioning {
			continue
		}
		c := &candidate{node: b.Node, rack: b.Rack, load: i.NodeLoad(b.Node)}
		switch {
		case b.Fenced:
			c.rank = rankFenced
		case b.State == NodeDraining:
			c.rank = rankDraining
		}
		p.nodes = append(p.nodes, c)
	}
	return p
}

func (p *Placer) live() int {
	n := 0
	for _, c := range p.nodes {
		if c.rank != rankFenced {
			n++
		}
	}
	return n
}

// place chooses the nodes of a new partition.
func (p *Placer) place(rf int) []int32 {
	chosen := make([]int32, 0, rf)
	for len(chosen) < rf {
		first := len(chosen) == 0
		best := p.best(chosen, first)
		chosen = append(chosen, best.node)
		best.load.Replicas++
		if first {
			best.load.Leaders++
		}
	}
	return chosen
}

// best is the broker to take next beside those chosen; nil: there is none.
func (p *Placer) best(chosen []int32, leader bool) *candidate {
	racks := make([]string, 0, len(chosen))
	for _, c := range p.nodes {
		if slices.Contains(chosen, c.node) {
			racks = append(racks, c.rack)
		}
	}
	var best *candidate
	for _, c := range p.nodes {
		if !slices.Contains(chosen, c.node) && (best == nil || lighter(c, best, racks, leader)) {
			best = c
		}
	}
	return best
}

// Replace chooses a live broker for a replica that has to leave a node, beside those that stay; false:
// there is none. The choice counts as load of that broker.
func (p *Placer) Replace(stay []int32, gone int32) (int32, bool) {
	best := p.best(append(slices.Clone(stay), gone), false)
	if best == nil || best.rank != rankLive {
		return -1, false
	}
	best.load.Replicas++
	return best.node, true
}

// lighter reports whether a should be taken before b.
func lighter(a, b *candidate, racks []string, leader bool) bool {
	if leader {
		return cmp.Or(cmp.Compare(a.rank, b.rank), cmp.Compare(a.load.Leaders, b.load.Leaders),
			cmp.Compare(a.load.Replicas, b.load.Replicas), cmp.Compare(a.node, b.node)) < 0
	}
	used := func(c *candidate) int {
		if c.rack != "" && slices.Contains(racks, c.rack) {
			return 1
		}
		return 0
	}
	return cmp.Or(cmp.Compare(a.rank, b.rank), cmp.Compare(used(a), used(b)), cmp.Compare(a.load.Replicas, b.load.Replicas),
		cmp.Compare(a.node, b.node)) < 0
}
