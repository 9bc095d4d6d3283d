package bootstrap

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/stelemq/stele/dledger"
)

// The metadata is replicated by one Raft group after another: a new one takes the place of the old when the majority of its
// voters is gone for ever and an operator recovers what a survivor has. Nodes tell each other by hello to which they belong;
// whoever hears of a newer one of the same cluster leaves its own for good and joins that one, with all that it holds.

const (
	// groupInterval is how often a node without a controller asks the others for their group; with one it asks every
	// groupPatience-th time.
	groupInterval = 3 * time.Second
	groupPatience = 10
)

// newerGroup is a metadata group that takes the place of this node's.
type newerGroup struct {
	group     dledger.ShardID
	addresses []string // of members
	heard     chan struct{}
	// rival is a group that was founded as often as this node's: two operators have recovered one cluster.
	rival error
}

func groupOf(id Identity) dledger.ShardID {
	if id.MetadataGroup == 0 {
		return dledger.MetadataShard
	}
	return dledger.ShardID(id.MetadataGroup)
}

// MetadataSpec is this node's part in replicating the metadata.
func (s *State) MetadataSpec() dledger.MetadataSpec {
	typed := func(m map[uint64]int32) map[dledger.ReplicaID]int32 {
		if m == nil {
			return nil
		}
		out := make(map[dledger.ReplicaID]int32, len(m))
		for r, node := range m {
			out[dledger.ReplicaID(r)] = node
		}
		return out
	}
	id := s.Identity()
	newer, _ := s.newerGroup()
	return dledger.MetadataSpec{
		Group: groupOf(id), Replica: dledger.ReplicaID(id.MetadataReplica), Founders: typed(s.Founders()), Known: typed(s.Known()), Left: newer != 0,
	}
}

// FoundGroup writes down that this node is the founder of a metadata group, its only voter. The node must have founded it
// (dledger.FoundMetadata). It is durable when it returns.
func (s *State) FoundGroup(group dledger.ShardID) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.id.MetadataGroup, s.id.MetadataReplica = uint64(group), founderReplica
	s.peers.Founding = &Founding{
		ClusterID: s.id.ClusterID, Group: uint64(group), Founders: []int32{s.id.NodeID}, Directories: map[int32]string{s.id.NodeID: s.id.DirectoryID},
	}
	s.peers.Removed, s.peers.RemovedBy = "", "" // by the group before
	s.forgetReplicasLocked()
	return s.writeLocked()
}

// founderReplica is the replica of a founder who is alone.
const founderReplica = 1

// GroupSpec is the part of this node in a metadata group that it is about to found.
func (s *State) GroupSpec(group dledger.ShardID) dledger.MetadataSpec {
	return dledger.MetadataSpec{Group: group, Replica: founderReplica, Founders: map[dledger.ReplicaID]int32{founderReplica: s.Identity().NodeID}}
}

// forgetReplicasLocked forgets which replicas of the metadata the other nodes had: they were those of another group.
func (s *State) forgetReplicasLocked() {
	for i := range s.peers.Nodes {
		s.peers.Nodes[i].Replica = 0
	}
}

// noteGroup is called with the metadata group of each member that is heard.
func (s *State) noteGroup(cluster string, group uint64, node int32, address string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.id.MetadataReplica == 0 || cluster != s.id.ClusterID || node == s.id.NodeID {
		return
	}
	mine, theirs := groupOf(s.id), groupOf(Identity{MetadataGroup: group})
	n := &s.newer
	switch had := dledger.MetadataRecoveries(theirs); {
	case had < dledger.MetadataRecoveries(mine) || theirs == mine:
	case had == dledger.MetadataRecoveries(mine):
		n.rival = fmt.Errorf("%w: the metadata of cluster %s was recovered on this node and, apart from it, where node %d at %s belongs. Stop the nodes of one side, run 'broker cluster recover-metadata --force' on the founder of the other, and start them again",
			ErrRefused, cluster, node, address)
	case had < dledger.MetadataRecoveries(n.group) || address == "":
	default:
		if n.group != theirs {
			n.group, n.addresses = theirs, nil
		}
		if !slices.Contains(n.addresses, address) {
			n.addresses = append(n.addresses, address)
		}
		select {
		case n.heard <- struct{}{}:
		default:
		}
	}
}

// newerGroup is the group that this node has to follow, and the addresses of its members; 0 if there is none.
func (s *State) newerGroup() (dledger.ShardID, []string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.newer.group, slices.Clone(s.newer.addresses)
}

func (s *State) rivalGroup() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	err := s.newer.rival
	s.newer.rival = nil
	return err
}

// rejoined makes this node a replica of another metadata group. It is durable when it returns.
func (s *State) rejoined(a joinAnswer) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if a.Cluster != s.id.ClusterID || a.Node != s.id.NodeID {
		return fmt.Errorf("%w: node %d of cluster %s is taken for node %d of cluster %s", ErrForeign, s.id.NodeID, s.id.ClusterID, a.Node, a.Cluster)
	}
	s.forgetReplicasLocked()
	s.learnLocked(a.Nodes)
	s.id.MetadataGroup, s.id.MetadataReplica, s.peers.Founding = a.Group, a.Replica, nil
	if err := s.writeLocked(); err != nil {
		return err
	}
	s.newer.group, s.newer.addresses = 0, nil
	return nil
}

// followNewer leaves this node's metadata group for a newer one. It reports whether there is nothing left to do.
func (m *Member) followNewer(ctx context.Context) (done bool) {
	group, addresses := m.State.newerGroup()
	if group == 0 {
		return true
	}
	m.Host.LeaveMetadata()
	var failed error
	for _, address := range addresses {
		a, err := m.State.askJoin(ctx, m.Transport, address, m.Address, m.Rack, 0)
		if err == nil && dledger.ShardID(a.Group) != group {
			err = fmt.Errorf("it answers for group %d, not %d", a.Group, group)
		}
		if err == nil {
			err = m.State.rejoined(a)
		}
		if err != nil {
			failed = errors.Join(failed, fmt.Errorf("%s: %w", address, err))
			continue
		}
		for node, address := range m.State.Addresses() {
			m.Transport.SetAddress(node, address)
		}
		if err := m.Host.FollowMetadata(m.State.MetadataSpec()); err != nil {
			m.Logger.Error("this node has joined the recovered metadata, and takes part in it after a restart only", "error", err)
			return true
		}
		m.Logger.Warn("the metadata was recovered: this node has left the old group and joined the new one", "group", uint64(group), "metadata_replica", a.Replica)
		return true
	}
	m.Logger.Warn("the metadata was recovered, and this node waits to join its new group", "group", uint64(group), "error", failed)
	return false
}

// askGroups hears from the other nodes to which group they belong.
func (m *Member) askGroups(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, checkTimeout)
	defer cancel()
	done := make(chan struct{}, 8)
	addresses := m.State.Addresses()
	for _, address := range addresses {
		go func() {
			_, _ = m.State.askHello(ctx, m.Transport, address, m.Address) // what it says is noted
			done <- struct{}{}
		}()
	}
	for range addresses {
		<-done
	}
	if err := m.State.rivalGroup(); err != nil {
		m.Logger.Error("two metadata groups of one cluster", "error", err)
	}
}
