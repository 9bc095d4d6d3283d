package broker

import (
	"context"
	"fmt"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/stelemq/stele/broker/metadata"
	"github.com/stelemq/stele/protocol"
)

// UnregisterBroker: v0
//
// Behaviour: takes a dead broker that has no replicas out of the cluster. As its replicas would otherwise be
// missing for ever, a broker that still has some, or that is alive, is refused: decommission it.

func (k *call) unregisterBroker(req *kmsg.UnregisterBrokerRequest) kmsg.Response {
	resp := kmsg.NewPtrUnregisterBrokerResponse()
	if b, ok := k.b.opts.Metadata.Image().Broker(req.BrokerID); ok && !b.Fenced {
		text := fmt.Sprintf("Broker %d is alive; decommission it instead.", req.BrokerID)
		resp.ErrorCode, resp.ErrorMessage = k.code(protocol.InvalidRequest), &text
		return resp
	}
	ctx, cancel := context.WithTimeout(k.ctx, proposeTimeout)
	defer cancel()
	if _, err := k.b.propose(ctx, &metadata.RemoveNode{Node: req.BrokerID}); err != nil {
		code, text := refusal(err)
		resp.ErrorCode, resp.ErrorMessage = k.code(code), text
	}
	return resp
}
