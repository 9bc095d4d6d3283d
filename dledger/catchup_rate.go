package dledger

import (
	"context"
	"fmt"
	"math"
	"time"

	"golang.org/x/time/rate"
)

// throttle bounds the bytes per second that a node hands to replicas that catch up, so that producers hardly notice.
type throttle struct{ limit *rate.Limiter } // nil: no bound

// newThrottle bounds by bytesPerSecond; 0 and less: no bound.
func newThrottle(bytesPerSecond int64) throttle {
	// A burst is as much as one answer: what is larger waits in parts.
	return throttle{rate.NewLimiter(throttleRate(bytesPerSecond), 2*catchUpChunk)}
}

func throttleRate(bytesPerSecond int64) rate.Limit {
	if bytesPerSecond <= 0 || bytesPerSecond == math.MaxInt64 {
		return rate.Inf
	}
	return rate.Limit(bytesPerSecond)
}

func (t throttle) set(bytesPerSecond int64) { t.limit.SetLimit(throttleRate(bytesPerSecond)) }

// unbounded reports whether there is no bound at the moment.
func (t throttle) unbounded() bool { return t.limit == nil || t.limit.Limit() == rate.Inf }

// SetCatchUpRate changes Options.CatchUpRate at run time; 0 and less: no bound.
func (h *Host) SetCatchUpRate(bytesPerSecond int64) {
	h.catchUpRate.set(bytesPerSecond)
	h.db.lagRate.set(bytesPerSecond)
}

func (t throttle) wait(ctx context.Context, bytes int) error {
	if t.unbounded() {
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
	if t.unbounded() {
		return upTo
	}
	return min(upTo, uint64(max(t.limit.Tokens(), 0)))
}

// take uses bytes up without waiting, also such as are not left.
func (t throttle) take(bytes uint64) {
	if t.unbounded() {
		return
	}
	for now := time.Now(); bytes > 0; {
		n := min(bytes, uint64(t.limit.Burst())) //nolint:gosec // positive
		t.limit.ReserveN(now, int(n))            //nolint:gosec // at most the burst
		bytes -= n
	}
}
