package broker

import (
	"context"
	"sync"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/stelemq/stele/broker/metadata"
	"github.com/stelemq/stele/protocol"
)

// InitProducerId: v0-v5
//
// Behaviour: gives an idempotent producer an id that nobody else has, with epoch 0. Ids are taken from
// the cluster's metadata in blocks.
//
// Version notes: from v3 a producer may name the id it has; without a transactional id it gets a new one
// all the same, as in Kafka.
//
// Not implemented: transactions. A transactional id is answered COORDINATOR_NOT_AVAILABLE, what Kafka
// answers while nobody coordinates it.

// producerIDBlock is how many ids are taken at a time.
const producerIDBlock = 1000

// producerIDs hands out ids from this node's block.
type producerIDs struct {
	b *Broker

	mu        sync.Mutex
	next, end int64 // mu guards: [next, end) are free
}

func (p *producerIDs) take(ctx context.Context) (int64, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.next == p.end {
		r, err := p.b.propose(ctx, &metadata.AllocateProducerIDs{Node: p.b.opts.NodeID, Count: producerIDBlock})
		if err != nil {
			return 0, err
		}
		p.next, p.end = r.FirstProducerID, r.FirstProducerID+producerIDBlock
	}
	p.next++
	return p.next - 1, nil
}

func (k *call) initProducerID(req *kmsg.InitProducerIDRequest) kmsg.Response {
	resp := kmsg.NewPtrInitProducerIDResponse()
	resp.ProducerID, resp.ProducerEpoch = -1, -1
	switch {
	case req.TransactionalID != nil && *req.TransactionalID == "",
		req.Version >= 3 && (req.ProducerID < 0) != (req.ProducerEpoch < 0):
		resp.ErrorCode = k.code(protocol.InvalidRequest)
		return resp
	case req.TransactionalID != nil && req.TransactionTimeoutMillis <= 0:
		resp.ErrorCode = k.code(protocol.InvalidTransactionTimeout)
		return resp
	case req.TransactionalID != nil:
		resp.ErrorCode = k.code(protocol.CoordinatorNotAvailable)
		return resp
	}
	ctx, cancel := context.WithTimeout(k.ctx, proposeTimeout)
	defer cancel()
	id, err := k.b.producerIDs.take(ctx)
	if err != nil {
		k.b.log.Warn("no producer ids", "error", err)
		resp.ErrorCode = k.code(protocol.CoordinatorLoadInProgress) // retriable for every client
		return resp
	}
	resp.ProducerID, resp.ProducerEpoch = id, 0
	return resp
}
