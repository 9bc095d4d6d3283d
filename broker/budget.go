package broker

import (
	"context"
	"sync"
)

// budget bounds bytes: take waits while the limit is reached. It lets one taker through above the limit
// when nothing is held, so that something larger than the limit passes alone.
type budget struct {
	limit int64

	mu      sync.Mutex
	used    int64           // mu guards
	waiting []chan struct{} // mu guards; first come, first served
}

func newBudget(limit int64) *budget { return &budget{limit: limit} }

// take waits until n bytes may be held. It returns the context's error if that ends first.
func (b *budget) take(ctx context.Context, n int64) error {
	b.mu.Lock()
	if len(b.waiting) == 0 && b.fitsLocked(n) {
		b.used += n
		b.mu.Unlock()
		return nil
	}
	turn := make(chan struct{}, 1)
	b.waiting = append(b.waiting, turn)
	b.mu.Unlock()
	for {
		select {
		case <-turn:
		case <-ctx.Done():
			b.leave(turn)
			return context.Cause(ctx)
		}
		b.mu.Lock()
		if b.waiting[0] == turn && b.fitsLocked(n) {
			b.used += n
			b.waiting = b.waiting[1:]
			b.wakeLocked()
			b.mu.Unlock()
			return nil
		}
		b.mu.Unlock()
	}
}

// give returns n bytes.
func (b *budget) give(n int64) {
	b.mu.Lock()
	b.used -= n
	b.wakeLocked()
	b.mu.Unlock()
}

func (b *budget) fitsLocked(n int64) bool { return b.used == 0 || b.used+n <= b.limit }

func (b *budget) wakeLocked() {
	if len(b.waiting) > 0 {
		select {
		case b.waiting[0] <- struct{}{}:
		default:
		}
	}
}

func (b *budget) leave(turn chan struct{}) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for i, w := range b.waiting {
		if w == turn {
			b.waiting = append(b.waiting[:i:i], b.waiting[i+1:]...)
			break
		}
	}
	b.wakeLocked()
}
