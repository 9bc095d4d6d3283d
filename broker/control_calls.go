package broker

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/stelemq/stele/broker/metadata"
	"github.com/stelemq/stele/dledger"
)

// errNoTransport: another broker would have to be called, but this node is alone.
var errNoTransport = errors.New("broker: this node reaches no other")

func dledgerShard(s metadata.ShardID) dledger.ShardID { return dledger.ShardID(s) }

// transferLeader asks the leader of a partition, this node or another one, to hand over to the voter on a node.
func (b *Broker) transferLeader(ctx context.Context, leader int32, shard metadata.ShardID, to int32) error {
	if leader != b.opts.NodeID {
		return b.callTransferLeader(ctx, leader, shard, to)
	}
	var log PartitionLog
	if p := b.partitions.shard(dledgerShard(shard)); p != nil {
		log = p.open()
	}
	if log == nil {
		return fmt.Errorf("shard %d: %w", shard, dledger.ErrNotLeader)
	}
	if err := log.TransferLeadership(ctx, to); err != nil {
		return fmt.Errorf("shard %d: %w", shard, err)
	}
	return nil
}

// callTransferLeader is transferLeader for another broker.
func (b *Broker) callTransferLeader(ctx context.Context, leader int32, shard metadata.ShardID, to int32) error {
	if b.opts.Transport == nil {
		return errNoTransport
	}
	body, err := json.Marshal(struct {
		Shard metadata.ShardID `json:"shard"`
		To    int32            `json:"to"`
	}{shard, to})
	if err != nil {
		return fmt.Errorf("encode: %w", err)
	}
	_, err = b.opts.Transport.Call(ctx, leader, "transfer", body)
	return err //nolint:wrapcheck // names the method
}
