package controller

import (
	"slices"

	"github.com/stelemq/stele/broker/metadata"
)

// decommission moves replicas away from nodes that are to go, a bounded number of partitions at a time, and
// removes the nodes that have none left.
func (c *Controller) decommission(v *View, d *scan, a *Actions) {
	var moves metadata.AlterReassignments
	placer := metadata.NewPlacer(v.Image)
	room := c.cfg.MovesMax - d.moving
	for _, pl := range d.leaving {
		underWay := pl.p.Target != nil // one more does not count twice
		if !v.led(pl.state) || room <= 0 && !underWay {
			continue
		}
		if target, ok := withoutDecommissioned(v, placer, pl.p.Wanted()); ok {
			moves.Changes = append(moves.Changes, metadata.Reassignment{Topic: pl.topic.ID, Partition: pl.index, Target: target})
			if !underWay {
				room--
			}
		}
	}
	if len(moves.Changes) > 0 {
		a.Commands = append(a.Commands, &moves)
	}
	for _, b := range v.Image.Brokers() {
		if b.State == metadata.NodeDecommissioning && d.held[b.Node] == 0 && outOfGroup(v, b) {
			a.Commands = append(a.Commands, &metadata.RemoveNode{Node: b.Node})
			a.Notes = append(a.Notes, Note{Text: "node removed: it was decommissioned and has no replicas left", Node: b.Node})
		}
	}
}

// withoutDecommissioned replaces nodes being decommissioned by others; false: there are none to take over.
// The first place, of the preferred leader, stays in its place.
func withoutDecommissioned(v *View, placer *metadata.Placer, nodes []int32) ([]int32, bool) {
	target := slices.Clone(nodes)
	for n, node := range target {
		if b, ok := v.Image.Broker(node); ok && b.State != metadata.NodeDecommissioning {
			continue
		}
		next, ok := placer.Replace(slices.DeleteFunc(slices.Clone(target), func(o int32) bool { return o == node }), node)
		if !ok {
			return nil, false
		}
		target[n] = next
	}
	return target, true
}

// outOfGroup reports whether a node has no part in the metadata group any more: who is removed from the
// metadata while Raft still counts its vote would take the majority along when it is switched off.
func outOfGroup(v *View, b *metadata.Broker) bool {
	if b.MetadataReplica == 0 {
		return true
	}
	return len(v.Members) > 0 && !slices.ContainsFunc(v.Members, func(m Member) bool { return m.Node == b.Node })
}
