package metadata

import (
	"cmp"
	"fmt"
	"slices"

	"github.com/stelemq/stele/protocol"
)

// Place chooses nodes for new partitions: the first of each list is the preferred leader. It spreads
// leaders, then replicas over the live brokers that carry least, and the replicas of a partition over
// racks where there are several. It depends on its arguments alone.
func Place(i *Image, partitions, replicationFactor int) ([][]int32, *Error) {
	if partitions < 1 {
		return nil, &Error{protocol.InvalidPartitions, "Number of partitions must be larger than 0."}
	}
	if replicationFactor < 1 {
		return nil, &Error{protocol.InvalidReplicationFactor, "Replication factor must be larger than 0."}
	}
	nodes := candidates(i)
	if len(nodes) < replicationFactor {
		return nil, &Error{protocol.InvalidReplicationFactor, fmt.Sprintf("Unable to replicate the partition %d time(s): The target replication factor of %d cannot be reached because only %d broker(s) are registered.",
			replicationFactor, replicationFactor, len(nodes))}
	}
	out := make([][]int32, partitions)
	for p := range out {
		out[p] = placeOne(nodes, replicationFactor)
	}
	return out, nil
}

type candidate struct {
	node int32
	rack string
	load Load
}

func candidates(i *Image) []*candidate {
	var out []*candidate
	for _, b := range i.Brokers() {
		if !b.Fenced {
			out = append(out, &candidate{node: b.Node, rack: b.Rack, load: i.NodeLoad(b.Node)})
		}
	}
	return out
}

func placeOne(nodes []*candidate, rf int) []int32 {
	chosen := make([]int32, 0, rf)
	racks := make([]string, 0, rf)
	for len(chosen) < rf {
		first := len(chosen) == 0
		var best *candidate
		for _, c := range nodes {
			if slices.Contains(chosen, c.node) {
				continue
			}
			if best == nil || lighter(c, best, racks, first) {
				best = c
			}
		}
		chosen, racks = append(chosen, best.node), append(racks, best.rack)
		best.load.Replicas++
		if first {
			best.load.Leaders++
		}
	}
	return chosen
}

// lighter reports whether a should be taken before b.
func lighter(a, b *candidate, racks []string, leader bool) bool {
	if leader {
		return cmp.Or(cmp.Compare(a.load.Leaders, b.load.Leaders), cmp.Compare(a.load.Replicas, b.load.Replicas),
			cmp.Compare(a.node, b.node)) < 0
	}
	used := func(c *candidate) int {
		if c.rack != "" && slices.Contains(racks, c.rack) {
			return 1
		}
		return 0
	}
	return cmp.Or(cmp.Compare(used(a), used(b)), cmp.Compare(a.load.Replicas, b.load.Replicas),
		cmp.Compare(a.node, b.node)) < 0
}
