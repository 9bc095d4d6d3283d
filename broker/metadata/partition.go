package metadata

import (
	"fmt"
	"slices"
)

// ShardID names one generation of one partition. Never reused; see dledger.ShardID.
type ShardID uint64

// ReplicaID names a replica within a partition, or of the metadata log. Never reused; see
// dledger.ReplicaID.
type ReplicaID uint64

// FirstShard is the first shard id given to a partition; those below are the cluster's own.
const FirstShard ShardID = 16

// ReplicaState is what a replica is to be. The wish is declarative: the partition's leader makes Raft
// follow it, one change at a time.
type ReplicaState uint8

// States of a replica.
const (
	// Voter takes part in elections and majorities.
	Voter ReplicaState = iota
	// Learner is to be added and, when it has caught up, promoted. It becomes a Voter by ReplicaStates.
	Learner
	// Leaving is to be removed from Raft. It is dropped by ReplicaStates.
	Leaving
)

// String returns voter, learner or leaving.
func (s ReplicaState) String() string {
	switch s {
	case Voter:
		return "voter"
	case Learner:
		return "learner"
	case Leaving:
		return "leaving"
	}
	return fmt.Sprintf("ReplicaState(%d)", uint8(s))
}

// MarshalText writes String.
func (s ReplicaState) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// UnmarshalText reads what MarshalText wrote.
func (s *ReplicaState) UnmarshalText(b []byte) error {
	for _, known := range []ReplicaState{Voter, Learner, Leaving} {
		if string(b) == known.String() {
			*s = known
			return nil
		}
	}
	return fmt.Errorf("metadata: replica state %q", b)
}

// Replica is one copy of a partition.
type Replica struct {
	Node  int32        `json:"node"`
	ID    ReplicaID    `json:"id"`
	State ReplicaState `json:"state,omitzero"`
	// Gone: its disk was replaced or its files are damaged, so it will not vote again however alive its node
	// is. It is Leaving, too.
	Gone bool `json:"gone,omitempty"`
	// Voted: it is Leaving and was a Voter before, so Raft may still count its vote.
	Voted bool `json:"voted,omitempty"`
}

// Partition is one partition as the cluster wants it. Immutable.
type Partition struct {
	Shard      ShardID `json:"shard"`
	Generation int32   `json:"generation"`
	// Replicas in order of preference. A node has at most one that is not Leaving.
	// Invariant: at least one Voter, unless the disks of all of them were replaced.
	Replicas []Replica `json:"replicas"`
	// NextReplica is the id that the next replica gets. Invariant: above every id ever given, over all
	// generations.
	NextReplica ReplicaID `json:"next_replica"`
	// Founders are the voters with which this generation's Raft group begins; every other replica joins.
	// Invariant: not empty.
	Founders []ReplicaID `json:"founders,omitempty"`
	// Target are the nodes that a reassignment in progress ends with, in order of preference; nil: none.
	Target []int32 `json:"target,omitempty"`
	// Origin are the nodes before the reassignment, to which cancelling it returns.
	Origin []int32 `json:"origin,omitempty"`
	// Recover: an operator has asked for a new generation from what has survived, whatever the topic's
	// unclean.leader.election.enable says.
	Recover bool `json:"recover,omitempty"`
}

// normalize fills what the first version of the snapshot did not have.
func (p *Partition) normalize() {
	if len(p.Founders) > 0 {
		return
	}
	for _, r := range p.Replicas {
		p.Founders = append(p.Founders, r.ID)
	}
}

// PreferredLeader is the node that should lead when all is well: the first voter.
func (p *Partition) PreferredLeader() int32 {
	for _, r := range p.Replicas {
		if r.State == Voter {
			return r.Node
		}
	}
	return p.Replicas[0].Node
}

// ReplicaOn returns the replica on a node; where a node has a new one besides one that leaves, the new one.
func (p *Partition) ReplicaOn(node int32) (Replica, bool) {
	var found Replica
	ok := false
	for _, r := range p.Replicas {
		if r.Node == node && (!ok || r.ID > found.ID) {
			found, ok = r, true
		}
	}
	return found, ok
}

// Replica returns the replica with an id.
func (p *Partition) Replica(id ReplicaID) (Replica, bool) {
	for _, r := range p.Replicas {
		if r.ID == id {
			return r, true
		}
	}
	return Replica{}, false
}

// Founder reports whether a replica is one of those with which the generation began: any other one joins
// an existing group.
func (p *Partition) Founder(id ReplicaID) bool { return slices.Contains(p.Founders, id) }

// Nodes returns the node ids of all replicas in order of preference, each once, those that come and go
// included: what Kafka calls the partition's replicas.
func (p *Partition) Nodes() []int32 {
	nodes := make([]int32, 0, len(p.Replicas))
	for _, r := range p.Replicas {
		if !slices.Contains(nodes, r.Node) {
			nodes = append(nodes, r.Node)
		}
	}
	return nodes
}

// NodesIn returns the node ids of the replicas in a state, in order of preference.
func (p *Partition) NodesIn(s ReplicaState) []int32 {
	nodes := make([]int32, 0, len(p.Replicas))
	for _, r := range p.Replicas {
		if r.State == s {
			nodes = append(nodes, r.Node)
		}
	}
	return nodes
}

// Counts reports whether Raft may still count the replica's vote.
func (r Replica) Counts() bool { return r.State == Voter || r.Voted }

// Voters counts the replicas in state Voter.
func (p *Partition) Voters() int {
	n := 0
	for _, r := range p.Replicas {
		if r.State == Voter {
			n++
		}
	}
	return n
}

// staying counts the replicas that are not Leaving.
func (p *Partition) staying() int {
	n := 0
	for _, r := range p.Replicas {
		if r.State != Leaving {
			n++
		}
	}
	return n
}

// Wanted returns the nodes that the partition has or will have when nothing is under way any more.
func (p *Partition) Wanted() []int32 {
	if p.Target != nil {
		return p.Target
	}
	nodes := make([]int32, 0, len(p.Replicas))
	for _, r := range p.Replicas {
		if r.State != Leaving {
			nodes = append(nodes, r.Node)
		}
	}
	return nodes
}

// Adding and Removing are a reassignment in progress as ListPartitionReassignments shows it.
func (p *Partition) Adding() []int32 { return without(p.Target, p.Origin) }

// Removing are the nodes that lose their replica when the reassignment ends.
func (p *Partition) Removing() []int32 {
	if p.Target == nil {
		return nil
	}
	return without(p.Origin, p.Target)
}

func without(nodes, gone []int32) []int32 {
	var out []int32
	for _, n := range nodes {
		if !slices.Contains(gone, n) {
			out = append(out, n)
		}
	}
	return out
}
