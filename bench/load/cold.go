package load

import (
	"context"
	"os"

	"github.com/stelemq/stele/bench/machine"
)

// cold are producers with a rate, and a reader of old records for which the page cache is emptied first where that is
// allowed. What is counted and timed is the producers' part.
func (r *session) cold(ctx context.Context) ([]worker, error) {
	if err := r.fill(ctx, r.s.FillBytes); err != nil {
		return nil, err
	}
	dropCaches()
	leaders, err := r.leaders(ctx)
	if err != nil {
		return nil, err
	}
	out := r.producers()
	reading := *r
	reading.meter = NewMeter(nil)
	for address, parts := range leaders {
		out = append(out, func(ctx context.Context) error { return reading.rawFetch(ctx, address, parts) })
	}
	return out, nil
}

// dropCaches empties the page cache, as root on Linux.
func dropCaches() {
	machine.Settle()
	_ = os.WriteFile("/proc/sys/vm/drop_caches", []byte("1"), 0) // the result says nothing if it is not allowed
}
