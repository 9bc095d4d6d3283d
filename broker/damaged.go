package broker

import (
	"errors"

	"github.com/stelemq/stele/broker/metadata"
	"github.com/stelemq/stele/dledger"
)

// Damaged takes the news that a replica here cannot be used any more (dledger.Options.Damaged): the cluster gives this node
// a new one in its place, which is fetched from the others. It does not block.
func (b *Broker) Damaged(spec dledger.PartitionSpec, cause error) {
	if p := b.partitions.find(metadata.TopicID(spec.TopicID), spec.Partition); p != nil && p.spec.Replica == spec.Replica {
		p.damaged.Store(true)
	}
	go b.replaceDamaged(spec, cause)
}

func (b *Broker) replaceDamaged(spec dledger.PartitionSpec, cause error) {
	log := b.log.With("topic", spec.Topic, "partition", spec.Partition, "replica", spec.Replica)
	_, err := b.retryPropose(b.running, &metadata.ChangeReplicas{Steps: []metadata.ReplicaChange{{
		Topic: metadata.TopicID(spec.TopicID), Partition: spec.Partition, Shard: metadata.ShardID(spec.Shard),
		Replace: metadata.ReplicaID(spec.Replica),
	}}})
	if err != nil {
		if b.running.Err() == nil && !errors.Is(err, dledger.ErrClosed) {
			log.Error("damaged replica could not be replaced", "error", err, "cause", cause)
		}
		return
	}
	log.Warn("damaged replica is replaced by a new one", "cause", cause)
}
