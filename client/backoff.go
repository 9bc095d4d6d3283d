package client

import (
	"context"
	"math/rand/v2"
	"time"
)

const (
	firstBackoff   = 50 * time.Millisecond
	longestBackoff = time.Second
)

// backoff is a wait that doubles, from 50 ms to 1 s, with a fifth of jitter.
type backoff struct{ next time.Duration }

func (b *backoff) duration() time.Duration {
	b.next = min(max(2*b.next, firstBackoff), longestBackoff)
	return b.next - rand.N(b.next/5) //nolint:gosec // jitter
}

// sleep waits; its error is the context's.
func (b *backoff) sleep(ctx context.Context) error {
	t := time.NewTimer(b.duration())
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

func (b *backoff) reset() { b.next = 0 }
