package broker

import (
	"context"
	"errors"

	"github.com/stelemq/stele/broker/metadata"
	"github.com/stelemq/stele/dledger"
)

// errNoTransport: another broker would have to be called, but this node is alone.
var errNoTransport = errors.New("broker: this node reaches no other")

func dledgerShard(s metadata.ShardID) dledger.ShardID { return dledger.ShardID(s) }

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
