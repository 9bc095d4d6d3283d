package broker

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/stelemq/stele/dledger/transport"
)

// Calls between brokers, one file each; bodies and answers are JSON.

// codeNotController is the answer of a broker that does not lead the metadata group.
const codeNotController = "not_controller"

var errNotController = errors.New("this broker does not lead the metadata")

// handleCalls answers the other brokers' calls from now on.
func (b *Broker) handleCalls() {
	t := b.opts.Transport
	if t == nil {
		return
	}
	t.Handle(callAnnounce, answer(b.hearAnnouncement))
	t.Handle(callHeartbeat, answer(b.hearHeartbeat))
	t.Handle(callTransfer, answer(b.hearTransfer))
	t.Handle(callSurvey, answer(b.hearSurvey))
	t.Handle(callPartitionStatus, answer(b.hearPartitionStatus))
	t.Handle(callQuorum, answer(b.hearQuorum))
	t.Handle(callLags, answer(b.hearLags))
}

// answer decodes a call's body and encodes its answer.
func answer[Q, A any](f func(ctx context.Context, from int32, q *Q) (A, error)) transport.Handler {
	return func(ctx context.Context, from transport.Caller, body []byte) ([]byte, error) {
		var q Q
		if err := json.Unmarshal(body, &q); err != nil {
			return nil, fmt.Errorf("decode: %w", err)
		}
		a, err := f(ctx, from.Node, &q)
		if errors.Is(err, errNotController) {
			return nil, &transport.Coded{Code: codeNotController, Err: err}
		}
		if err != nil {
			return nil, err
		}
		out, err := json.Marshal(a)
		if err != nil {
			return nil, fmt.Errorf("encode: %w", err)
		}
		return out, nil
	}
}

// callNode calls another broker, or this one.
func callNode[Q, A any](ctx context.Context, t *transport.Transport, node int32, method string, q *Q) (A, error) {
	var a A
	body, err := json.Marshal(q)
	if err != nil {
		return a, fmt.Errorf("encode %s: %w", method, err)
	}
	raw, err := t.Call(ctx, node, method, body)
	if err != nil {
		return a, err //nolint:wrapcheck // names the method
	}
	if err := json.Unmarshal(raw, &a); err != nil {
		return a, fmt.Errorf("decode the answer to %s: %w", method, err)
	}
	return a, nil
}
