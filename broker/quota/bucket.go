package quota

import (
	"math"
	"time"
)

// bucket holds what may be used at once: a window's worth for each of Kafka's windows. It may be overdrawn by one request,
// and is full at first.
type bucket struct {
	tokens float64
	at     time.Time
}

func (b *bucket) refill(now time.Time, perSecond float64) {
	most := perSecond * windows
	if b.at.IsZero() {
		b.tokens = most
	} else if passed := now.Sub(b.at); passed > 0 {
		b.tokens = min(most, b.tokens+passed.Seconds()*perSecond)
	}
	b.tokens = min(b.tokens, most)
	b.at = now
}

// wait is how long it takes until nothing is owed.
func (b *bucket) wait(perSecond float64) time.Duration {
	if b.tokens >= 0 {
		return 0
	}
	return time.Duration(math.Ceil(-b.tokens / perSecond * float64(time.Second)))
}

// Mutate counts partitions that a client creates or deletes, and returns for how long it must be left alone. With strict,
// nothing is counted and ok is false while the client owes something already.
func (m *Meter) Mutate(user, clientID string, partitions int, strict bool, now time.Time) (wait time.Duration, ok bool) {
	if !m.Active() {
		return 0, true
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.table.Empty() {
		return 0, true
	}
	most, who, bounded := m.table.limit(Mutation, user, clientID)
	if !bounded {
		return 0, true
	}
	b := &m.subject(counted{Mutation, who}).bucket
	b.refill(now, most)
	if strict && b.tokens < 0 {
		return min(b.wait(most), ThrottleMax), false
	}
	b.tokens -= float64(partitions)
	if strict {
		return 0, true // what it owes now the next one pays
	}
	return min(b.wait(most), ThrottleMax), true
}

// Connect counts a connection from an address. A wait above 0 means that the address makes too many: the connection is not
// counted, and should be closed after that time.
func (m *Meter) Connect(address string, now time.Time) time.Duration {
	if !m.Active() {
		return 0
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.table.Empty() {
		return 0
	}
	most, ok := m.table.connections(address)
	if !ok {
		return 0
	}
	r := m.rate(counted{Connection, subject{user: address}})
	r.add(now, 1)
	wait := r.wait(now, most)
	if wait > 0 {
		r.add(now, -1)
	}
	return min(wait, windowSize)
}
