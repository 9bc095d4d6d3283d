package dledger

import (
	"context"
	"fmt"

	"golang.org/x/time/rate"
)

// throttle bounds the bytes per second that a node hands to replicas that catch up, so that producers hardly notice.
type throttle struct{ limit *rate.Limiter } // nil: no bound

func newThrottle(bytesPerSecond int64) throttle {
	if bytesPerSecond <= 0 {
		return throttle{}
	}
	// A burst is as much as one answer: what is larger waits in parts.
	return throttle{rate.NewLimiter(rate.Limit(bytesPerSecond), 2*catchUpChunk)}
}

func (t throttle) wait(ctx context.Context, bytes int) error {
	if t.limit == nil {
		return nil
	}
	for bytes > 0 {
		n := min(bytes, t.limit.Burst())
		if err := t.limit.WaitN(ctx, n); err != nil {
			return fmt.Errorf("throttle: %w", err)
		}
		bytes -= n
	}
	return nil
}
