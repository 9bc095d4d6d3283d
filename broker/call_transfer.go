package broker

import (
	"context"
	"fmt"
	"time"

	"github.com/stelemq/stele/broker/metadata"
	"github.com/stelemq/stele/dledger"
)

// Call "transfer": the controller asks the leader of a partition to hand it to another voter. The answer is
// empty; it comes when it is done, or why it is not.
const callTransfer = "transfer"

// transferTimeout bounds one hand-over.
const transferTimeout = 2 * time.Second

type transferRequest struct {
	Shard metadata.ShardID `json:"shard"`
	To    int32            `json:"to"`
}

func (b *Broker) hearTransfer(ctx context.Context, _ int32, q *transferRequest) (struct{}, error) {
	var log PartitionLog
	if p := b.partitions.shard(dledger.ShardID(q.Shard)); p != nil {
		log = p.open()
	}
	if log == nil {
		return struct{}{}, fmt.Errorf("shard %d: %w", q.Shard, dledger.ErrNotLeader)
	}
	ctx, cancel := context.WithTimeout(ctx, transferTimeout)
	defer cancel()
	if err := log.TransferLeadership(ctx, q.To); err != nil {
		return struct{}{}, fmt.Errorf("shard %d: %w", q.Shard, err)
	}
	return struct{}{}, nil
}
