package broker

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/stelemq/stele/broker/metadata"
	"github.com/stelemq/stele/dledger"
	"github.com/stelemq/stele/protocol"
)

// proposeTimeout bounds a metadata command where the client names no time.
const proposeTimeout = 30 * time.Second

// propose replicates a command and returns what became of it. A refusal of the command as a whole is
// returned as *metadata.Error.
func (b *Broker) propose(ctx context.Context, c metadata.Command) (metadata.Result, error) {
	command, err := metadata.Encode(c)
	if err != nil {
		return metadata.Result{}, err
	}
	b.proposing.Add(1)
	defer b.proposing.Add(-1)
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(b.ending, cancel)()
	raw, err := b.opts.Host.Propose(ctx, command)
	if err != nil {
		return metadata.Result{}, fmt.Errorf("propose: %w", err)
	}
	r, err := metadata.DecodeResult(raw)
	if err != nil {
		return metadata.Result{}, err
	}
	if r.Error != nil {
		return r, r.Error
	}
	return r, nil
}

// Proposing is how many changes of the metadata this broker waits for.
func (b *Broker) Proposing() int { return int(b.proposing.Load()) }

// refusal turns the error of propose into a code and words for the client.
func refusal(err error) (protocol.Code, *string) {
	var refused *metadata.Error
	if errors.As(err, &refused) {
		return refused.Code, &refused.Message
	}
	text := "The change could not be carried out: " + err.Error()
	return proposeCode(err), &text
}

// requestTimeout is how long a request's work may take, by the client's own word.
func requestTimeout(millis int32) time.Duration {
	if millis <= 0 {
		return proposeTimeout
	}
	return min(time.Duration(millis)*time.Millisecond, 10*proposeTimeout)
}

// retryPropose repeats a proposal until it succeeds, is refused, or ctx ends: at start there may be no
// leader yet.
func (b *Broker) retryPropose(ctx context.Context, c metadata.Command) (metadata.Result, error) {
	const pause = 20 * time.Millisecond
	for {
		r, err := b.propose(ctx, c)
		var refused *metadata.Error
		if err == nil || errors.As(err, &refused) || errors.Is(err, dledger.ErrClosed) {
			return r, err
		}
		b.log.Debug("metadata command failed, trying again", "error", err)
		select {
		case <-time.After(pause):
		case <-ctx.Done():
			return r, fmt.Errorf("%w (last attempt: %w)", context.Cause(ctx), err)
		}
	}
}
