package dledger

import (
	"context"
	"fmt"
	"time"

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

// left is how many bytes, at most upTo, may be taken now.
func (t throttle) left(upTo uint64) uint64 {
	if t.limit == nil {
		return upTo
	}
	return min(upTo, uint64(max(t.limit.Tokens(), 0)))
}

// take uses bytes up without waiting, also such as are not left.
func (t throttle) take(bytes uint64) {
	if t.limit == nil {
		return
	}
	for now := time.Now(); bytes > 0; {
		n := min(bytes, uint64(t.limit.Burst())) //nolint:gosec // positive
		t.limit.ReserveN(now, int(n))            //nolint:gosec // at most the burst
		bytes -= n
	}
}
