package broker

import (
	"context"
	"errors"
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

// errNoTransport: another broker would have to be called, but this node is alone.
var errNoTransport = errors.New("broker: this node reaches no other")

// transferLeader asks the leader of a partition, this node or another one, to hand over to the voter on a node.
func (b *Broker) transferLeader(ctx context.Context, leader int32, shard metadata.ShardID, to int32) error {
	q := transferRequest{Shard: shard, To: to}
	if leader == b.opts.NodeID {
		_, err := b.hearTransfer(ctx, leader, &q)
		return err
	}
	if b.opts.Transport == nil {
		return errNoTransport
	}
	_, err := callNode[transferRequest, struct{}](ctx, b.opts.Transport, leader, callTransfer, &q)
	return err
}
