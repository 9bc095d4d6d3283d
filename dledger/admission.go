package dledger

import (
	"context"
	"fmt"
	"sync"
)

// admission bounds the bytes in flight, from their arrival to their answer. Without the bound elections collapse
// and throughput drops: what a broker has accepted and not yet stored delays its heartbeats.
// Waiters are served in order of arrival.
type admission struct {
	limit int64

	mu sync.Mutex
	// mu guards:
	used    int64
	waiters []*admissionWaiter
}

type admissionWaiter struct {
	bytes int64
	ready chan struct{}
}

func newAdmission(limit int64) *admission { return &admission{limit: limit} }

// acquire takes bytes, waiting while others hold too many. One request larger than the limit passes when nothing
// else is in flight. Errors: ctx's.
func (a *admission) acquire(ctx context.Context, bytes int64) error {
	a.mu.Lock()
	if len(a.waiters) == 0 && a.fitsLocked(bytes) {
		a.used += bytes
		a.mu.Unlock()
		return nil
	}
	w := &admissionWaiter{bytes: bytes, ready: make(chan struct{})}
	a.waiters = append(a.waiters, w)
	a.mu.Unlock()
	select {
	case <-w.ready:
		return nil
	case <-ctx.Done():
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	for i, x := range a.waiters {
		if x == w {
			a.waiters = append(a.waiters[:i], a.waiters[i+1:]...)
			a.grantLocked()
			return fmt.Errorf("admission: %w", ctx.Err())
		}
	}
	return nil // granted at the same moment; the caller releases as usual
}

func (a *admission) fitsLocked(bytes int64) bool { return a.used == 0 || a.used+bytes <= a.limit }

func (a *admission) release(bytes int64) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.used -= bytes
	a.grantLocked()
}

func (a *admission) grantLocked() {
	for len(a.waiters) > 0 && a.fitsLocked(a.waiters[0].bytes) {
		w := a.waiters[0]
		a.waiters = a.waiters[1:]
		a.used += w.bytes
		close(w.ready)
	}
}

// inUse returns the bytes in flight.
func (a *admission) inUse() int64 {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.used
}
