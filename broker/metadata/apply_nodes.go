package metadata

import (
	"maps"
	"slices"

	"github.com/stelemq/stele/protocol"
)

// applyNodes carries out commands that change brokers alone.
func (i *Image) applyNodes(c Command) (r Result, known bool) {
	switch c := c.(type) {
	case *RegisterBroker:
		return i.registerBroker(c), true
	case *FenceBrokers:
		return i.fenceBrokers(c), true
	case *UnfenceBroker:
		return i.unfenceBroker(c), true
	case *SetNodeState:
		return i.setNodeState(c), true
	case *RemoveNode:
		return i.removeNode(c), true
	case *NewMetadataReplica:
		return i.newMetadataReplica(c), true
	}
	return Result{}, false
}

// putBroker replaces or adds a broker.
func (i *Image) putBroker(b *Broker) {
	i.brokers = maps.Clone(i.brokers)
	i.brokers[b.Node] = b
	i.nextNode = max(i.nextNode, b.Node+1)
	i.nextMetadata = max(i.nextMetadata, b.MetadataReplica+1)
}

// changeBroker replaces a broker by a changed copy; it reports whether there is one.
func (i *Image) changeBroker(node int32, change func(*Broker)) bool {
	old, ok := i.brokers[node]
	if !ok {
		return false
	}
	b := *old
	change(&b)
	i.putBroker(&b)
	return true
}

func (i *Image) registerBroker(c *RegisterBroker) Result {
	if c.Node < 0 || len(c.Endpoints) == 0 {
		return refuse(protocol.InvalidRequest, "a broker needs a node id and an address")
	}
	b := Broker{Node: c.Node}
	if old, ok := i.brokers[c.Node]; ok {
		b = *old
	}
	if c.DirectoryID != "" && b.DirectoryID != "" && c.DirectoryID != b.DirectoryID ||
		c.MetadataReplica != 0 && b.MetadataReplica != 0 && c.MetadataReplica != b.MetadataReplica {
		return refuse(protocol.InvalidRegistration, "node %d is known by the data directory %s and metadata replica %d, but this is directory %s and replica %d: it has to join anew",
			c.Node, b.DirectoryID, b.MetadataReplica, c.DirectoryID, c.MetadataReplica)
	}
	if b.staleCopy(c) {
		return refuse(protocol.InvalidRegistration, "the data directory %s of node %d is a copy from before the node's last start: it does not know what the node has voted and acknowledged since. Put the right directory back, or empty this one: the node then comes back with new replicas",
			c.DirectoryID, c.Node)
	}
	if _, gone := i.retired[c.MetadataReplica]; gone {
		return refuse(protocol.InvalidRegistration, "metadata replica %d of node %d has been retired: the node has to join anew", c.MetadataReplica, c.Node)
	}
	if i.clusterID == "" {
		i.clusterID = c.ClusterID
	}
	b.Rack, b.Endpoints, b.Incarnation, b.Epoch, b.Fenced = c.Rack, c.Endpoints, c.Incarnation, i.index, false
	if c.RaftAddress != "" {
		b.RaftAddress = c.RaftAddress
	}
	if c.DirectoryID != "" {
		b.DirectoryID = c.DirectoryID
	}
	if c.MetadataReplica != 0 {
		b.MetadataReplica = c.MetadataReplica
	}
	i.putBroker(&b)
	return Result{ClusterID: i.clusterID}
}

// staleCopy reports whether a directory that registers does not remember its own last registration.
func (b *Broker) staleCopy(c *RegisterBroker) bool {
	return len(c.Follows) > 0 && b.Incarnation != "" && b.DirectoryID == c.DirectoryID && c.DirectoryID != "" &&
		b.Incarnation != c.Incarnation && !slices.Contains(c.Follows, b.Incarnation)
}

func (i *Image) fenceBrokers(c *FenceBrokers) Result {
	for _, f := range c.Brokers {
		if b, ok := i.brokers[f.Node]; ok && b.Epoch == f.Epoch {
			i.changeBroker(f.Node, func(b *Broker) { b.Fenced = true })
		}
	}
	return Result{}
}

func (i *Image) unfenceBroker(c *UnfenceBroker) Result {
	if b, ok := i.brokers[c.Node]; ok && b.Epoch == c.Epoch && b.Registered() {
		i.changeBroker(c.Node, func(b *Broker) { b.Fenced = false })
	}
	return Result{}
}

func (i *Image) setNodeState(c *SetNodeState) Result {
	switch c.State {
	case NodeActive, NodeDraining, NodeDecommissioning:
	default:
		return refuse(protocol.InvalidRequest, "unknown state of a node: %q", c.State)
	}
	if !i.changeBroker(c.Node, func(b *Broker) { b.State = c.State }) {
		return unknownNode(c.Node)
	}
	return Result{}
}

func unknownNode(node int32) Result {
	return refuse(protocol.BrokerIDNotRegistered, "Broker ID %d is not currently registered", node)
}

func (i *Image) removeNode(c *RemoveNode) Result {
	b, ok := i.brokers[c.Node]
	if !ok {
		return unknownNode(c.Node)
	}
	if n := i.replicasOn(c.Node); n > 0 {
		return refuse(protocol.InvalidRequest, "Broker %d still has replicas of %d partition(s); decommission it first.", c.Node, n)
	}
	i.brokers = maps.Clone(i.brokers)
	delete(i.brokers, c.Node)
	i.brokerConfigs = maps.Clone(i.brokerConfigs)
	delete(i.brokerConfigs, c.Node)
	i.retire(b.MetadataReplica, c.Node)
	return Result{}
}

// replicasOn counts the partitions with a replica on a node, in whatever state, or that are to get one.
func (i *Image) replicasOn(node int32) int {
	n := 0
	for t := range i.Topics() {
		for p := range t.Partitions {
			if _, ok := t.Partitions[p].ReplicaOn(node); ok || slices.Contains(t.Partitions[p].Target, node) {
				n++
			}
		}
	}
	return n
}

func (i *Image) retire(id ReplicaID, node int32) {
	if id == 0 {
		return
	}
	i.retired = maps.Clone(i.retired)
	i.retired[id] = node
}

func (i *Image) newMetadataReplica(c *NewMetadataReplica) Result {
	b, ok := i.brokers[c.Node]
	if !ok {
		return unknownNode(c.Node)
	}
	if b.MetadataReplica != c.Replaces {
		return Result{MetadataReplica: b.MetadataReplica}
	}
	i.retire(b.MetadataReplica, c.Node)
	id := i.nextMetadata
	i.changeBroker(c.Node, func(b *Broker) { b.MetadataReplica = id })
	return Result{MetadataReplica: id}
}
