package load

import (
	"context"
	"runtime"
	"time"
)

// pace calls f for n = 0, 1, 2 … at the given rate a second until the context ends or f fails, with the moment at which the
// call was due. When f is late, the calls that are due meanwhile follow at once and keep their moments.
//
// It sleeps in the kernel on a thread of its own: the runtime's timers are up to a millisecond late on a machine whose
// processors are idle, which would be seen as latency.
func pace(ctx context.Context, rate float64, f func(due time.Time) error) error {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	precise()
	began := time.Now()
	for n := 0; ctx.Err() == nil; n++ {
		due := began.Add(time.Duration(float64(n) / rate * float64(time.Second)))
		sleepUntil(ctx, due)
		if ctx.Err() != nil {
			break
		}
		if err := f(due); err != nil {
			if ctx.Err() != nil {
				break
			}
			return err
		}
	}
	return nil
}

// sleepUntil returns at t, or within a tenth of a second after the context has ended.
func sleepUntil(ctx context.Context, t time.Time) {
	const most = 100 * time.Millisecond
	for ctx.Err() == nil {
		left := time.Until(t)
		if left <= 0 {
			return
		}
		sleep(min(left, most))
	}
}
