package metadata

import (
	"encoding/json"
	"errors"

	"github.com/stelemq/stele/protocol"
)

const kindRecoverCluster = "recover_cluster"

// RecoverCluster is the first command of a new metadata log, in the place of one that has lost the majority of its voters
// for ever: everything becomes as in Snapshot, except that only Node has a replica of the metadata and counts as alive. All
// other nodes join anew and keep their partitions. It does not depend on the image before it: a node that comes from the old log has one.
//
// Indexes go on behind those of the old log, so that epochs of brokers keep growing.
// Refused with INVALID_REQUEST: the snapshot cannot be read, or does not know the node.
type RecoverCluster struct {
	// Snapshot is what [Machine.Snapshot] returned.
	Snapshot json.RawMessage `json:"snapshot"`
	Node     int32           `json:"node"`
	// Replica is the only voter of the new log.
	Replica ReplicaID `json:"replica"`
}

func (*RecoverCluster) kind() string { return kindRecoverCluster }

// recovered returns the image after a RecoverCluster at an index of the new log.
func recovered(index uint64, c *RecoverCluster) (*Image, Result, error) {
	i, err := decodeSnapshot(c.Snapshot)
	if err != nil {
		return nil, Result{}, err
	}
	if _, ok := i.brokers[c.Node]; !ok || c.Replica == 0 {
		return nil, refuse(protocol.InvalidRequest, "node %d with metadata replica %d cannot go on from a snapshot that does not know it", c.Node, c.Replica), nil
	}
	i.indexBase = i.index
	i.index += index
	i.retired = map[ReplicaID]int32{}
	for node, b := range i.brokers {
		copied := *b
		copied.MetadataReplica, copied.Fenced = 0, true // until it is heard
		copied.Incarnation = ""                         // there may have been later starts
		if node == c.Node {
			copied.MetadataReplica, copied.Fenced = c.Replica, b.Fenced
		}
		i.brokers[node] = &copied
	}
	i.nextMetadata = max(i.nextMetadata, c.Replica+1)
	return i, Result{Node: c.Node, MetadataReplica: c.Replica, ClusterID: i.clusterID}, nil
}

// recover carries out a RecoverCluster; it reports whether the command is one.
func (m *Machine) recover(index uint64, c Command) (Result, bool) {
	r, ok := c.(*RecoverCluster)
	if !ok {
		return Result{}, false
	}
	next, result, err := recovered(index, r)
	switch {
	case errors.Is(err, ErrUnsupportedVersion):
		m.stop(err)
		result = refuse(protocol.UnsupportedVersion, "%v", err)
	case err != nil:
		result = refuse(protocol.InvalidRequest, "%v", err)
	case next != nil:
		m.publish(Change{Image: next, All: true})
	}
	return result, true
}
