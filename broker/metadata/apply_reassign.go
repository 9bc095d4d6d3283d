package metadata

import (
	"fmt"
	"slices"

	"github.com/stelemq/stele/protocol"
)

func (e *editor) alterReassignments(c *AlterReassignments) Result {
	var r Result
	for n := range c.Changes {
		change := &c.Changes[n]
		r.Partitions = append(r.Partitions, PartitionResult{
			Topic: change.Topic, Partition: change.Partition, Error: e.reassign(change),
		})
	}
	return r
}

func (e *editor) reassign(c *Reassignment) *Error {
	p, code := e.partition(c.Topic, c.Partition)
	if code != protocol.None {
		return &Error{code, "The partition is not known."}
	}
	if c.Target == nil {
		return p.cancel()
	}
	if err := e.i.CheckTarget(c.Target); err != nil {
		return err
	}
	if p.Target == nil {
		p.Origin = p.Wanted()
	}
	p.Target = slices.Clone(c.Target)
	// What a former target has brought and this one does not want need not be waited for.
	for _, r := range p.Replicas {
		if r.State == Learner && !slices.Contains(p.Target, r.Node) {
			p.leave(r.ID)
		}
	}
	p.sort(p.Target)
	p.settle()
	return nil
}

// CheckTarget says whether a partition may be moved to these nodes: known, not being decommissioned, each
// once, at least one.
func (i *Image) CheckTarget(nodes []int32) *Error {
	if len(nodes) == 0 {
		return &Error{protocol.InvalidReplicaAssignment, "The manual partition assignment includes an empty replica list."}
	}
	for n, node := range nodes {
		if slices.Contains(nodes[:n], node) {
			return &Error{protocol.InvalidReplicaAssignment, fmt.Sprintf("The manual partition assignment includes the broker %d more than once.", node)}
		}
		b, ok := i.brokers[node]
		if ok && b.State == NodeDecommissioning {
			return &Error{protocol.InvalidReplicaAssignment, fmt.Sprintf("The manual partition assignment includes broker %d, which is being decommissioned.", node)}
		}
		if !ok || !b.Registered() {
			return &Error{protocol.InvalidReplicaAssignment, fmt.Sprintf("The manual partition assignment includes broker %d, but no such broker is registered.", node)}
		}
	}
	return nil
}

// cancel ends a reassignment: at once where nothing has left yet, otherwise by going back.
func (p *Partition) cancel() *Error {
	if p.Target == nil {
		return &Error{protocol.NoReassignmentInProgress, "There is no reassignment in progress for this partition."}
	}
	back := p.Origin
	for _, node := range back {
		if r, ok := p.ReplicaOn(node); !ok || r.State == Leaving {
			p.Target = back
			p.sort(back)
			p.settle()
			return nil
		}
	}
	for _, r := range p.Replicas {
		if !slices.Contains(back, r.Node) {
			p.leave(r.ID)
		}
	}
	p.Target, p.Origin = nil, nil
	p.sort(back)
	return nil
}
