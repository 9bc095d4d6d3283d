package broker

import (
	"fmt"

	"github.com/stelemq/stele/broker/metadata"
	"github.com/stelemq/stele/dledger"
)

// A topic that is deleted while a broker is down, or moves away from it, leaves directories there that nobody would ever
// look at again. They are renamed, and the operator deletes them: what the metadata does not know may be what the metadata
// has lost.

// replicaDirName is the directory of a partition's replica.
func replicaDirName(topic string, partition int) string {
	return fmt.Sprintf("%s-%d", topic, partition)
}

// setStraysAside renames the directories of replicas that are not this node's. It is called when the metadata is
// known to be current: this start has been registered in it.
func (b *Broker) setStraysAside() {
	idle, err := b.opts.Host.IdleReplicas() // before the image: what is made later belongs to what the image has
	if err != nil {
		b.log.Error("directories without a partition could not be looked for", "error", err)
		return
	}
	image := b.opts.Metadata.Image()
	if want := b.opts.Config.ClusterID; image.ClusterID() == "" || want != "" && want != image.ClusterID() {
		return
	}
	mine := b.replicasOf(image)
	for _, r := range idle {
		if !mine[r.Name] {
			b.setAside(r, "no partition of this node")
		}
	}
}

// replicasOf are the directories that this node is to have.
func (b *Broker) replicasOf(image *metadata.Image) map[string]bool {
	mine := map[string]bool{}
	for t := range image.Topics() {
		for i := range t.Partitions {
			if _, ok := t.Partitions[i].ReplicaOn(b.opts.NodeID); ok {
				mine[replicaDirName(t.Name, i)] = true
			}
		}
	}
	return mine
}

func (b *Broker) setAside(r dledger.ReplicaDir, why string) {
	to, err := b.opts.Host.SetAside(r)
	switch {
	case err != nil:
		b.log.Error("directory without a partition could not be set aside", "dir", r.Name, "shard", uint64(r.Shard), "error", err)
	case to != "":
		b.log.Warn("directory set aside: delete it if nobody misses it", "dir", r.Name, "to", to, "shard", uint64(r.Shard), "why", why)
	}
}

// stopAndSetAside ends a replica that an image without it took the place of one with it: not a command that deleted it, but
// a snapshot, or metadata that was recovered from a node that had less.
func (b *Broker) stopAndSetAside(spec dledger.PartitionSpec) error {
	if err := b.opts.Host.StopPartition(spec); err != nil {
		return fmt.Errorf("stop: %w", err)
	}
	b.setAside(dledger.ReplicaDir{
		Name: replicaDirName(spec.Topic, int(spec.Partition)), Shard: spec.Shard, Replica: spec.Replica, Generation: spec.Generation,
	}, "the metadata was replaced by metadata without it")
	return nil
}
