package bootstrap

import (
	"errors"
	"fmt"

	"github.com/stelemq/stele/broker/metadata"
)

// A node that has been taken out of the cluster gets no more of the metadata, so nothing in its own tells it. The others do, in
// their answers to hello: who asks with a replica of the metadata that has been retired, and whose directory no node of the
// cluster has, is not part of it any more, and never will be again. It keeps that, and ends.

// ErrRemoved: the cluster goes on without this directory.
var ErrRemoved = errors.New("not part of the cluster any more")

// Reasons why a directory is not part of its cluster, as on the wire and in peers.json.
const (
	removedNode      = "decommissioned" // the node was taken out
	removedDirectory = "replaced"       // the node has another directory now
)

// removed is what became of a directory by the metadata, empty if it may be part of the cluster.
func removed(image *metadata.Image, q *helloRequest) string {
	if node, ok := image.RetiredMetadataReplicas()[metadata.ReplicaID(q.Replica)]; !ok || node != q.Node || q.Directory == "" {
		return ""
	}
	switch b, ok := image.Broker(q.Node); {
	case !ok:
		return removedNode
	case b.DirectoryID != "" && b.DirectoryID != q.Directory:
		return removedDirectory
	}
	return ""
}

// judgeBy has answers to hello say who is not part of the cluster any more.
func (s *State) judgeBy(machine *metadata.Machine) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.judge = machine
}

// judged is what the metadata of this node, if it has any, says of a member that asks.
func (s *State) judged(q *helloRequest) string {
	s.mu.Lock()
	machine, id := s.judge, s.id
	s.mu.Unlock()
	if machine == nil || q.Cluster == "" || q.Cluster != id.ClusterID || q.Group != id.MetadataGroup {
		return ""
	}
	return removed(machine.Image(), q)
}

// noteRemoved keeps that a member has said that this directory is not part of the cluster any more.
func (s *State) noteRemoved(reason, address string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.peers.Removed == reason {
		return nil
	}
	s.peers.Removed, s.peers.RemovedBy = reason, address
	return s.writePeersLocked()
}

// Removed is nil as long as nobody has said that this directory is not part of the cluster any more; it stays so over
// restarts. Errors: ErrRemoved, with what to do.
func (s *State) Removed() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.peers.Removed == "" {
		return nil
	}
	if s.peers.Removed == removedDirectory {
		return fmt.Errorf("%w: node %d of cluster %s has another data directory now, and %s was given up for it. Set log.dirs to that one; or, if this is another machine, empty %s and start with another --node-id and --join %s",
			ErrRemoved, s.id.NodeID, s.id.ClusterID, s.dir, s.dir, s.peers.RemovedBy)
	}
	return fmt.Errorf("%w: node %d was taken out of cluster %s (broker node decommission), which has its records on other nodes: nothing in %s is needed. Switch this broker off for good; or, to take it in again, empty %s and start with --join %s",
		ErrRemoved, s.id.NodeID, s.id.ClusterID, s.dir, s.dir, s.peers.RemovedBy)
}
