package quota

import (
	"sync"
	"sync/atomic"
	"time"
)

const (
	// ThrottleMax is the longest that a client is left alone at once; it is judged anew then. Kafka bounds request quotas
	// alike, by one window.
	ThrottleMax = 30 * time.Second
	// requestThrottleMax is that of request quotas.
	requestThrottleMax = windowSize
	// subjectsMax bounds the clients that are counted; above it those that have been silent longest are forgotten.
	subjectsMax = 10_000
)

type counted struct {
	kind Kind
	who  subject
}

// Meter counts what clients use. Safe for concurrent use.
type Meter struct {
	mu    sync.Mutex
	table *Table            // mu guards
	rates map[counted]*rate // mu guards

	active atomic.Bool // somebody is bounded
}

// NewMeter makes a meter that bounds nobody.
func NewMeter() *Meter { return &Meter{rates: map[counted]*rate{}} }

// Active reports whether anybody is bounded: otherwise nothing need be counted.
func (m *Meter) Active() bool { return m.active.Load() }

// SetTable changes what is allowed. What has been counted stays.
func (m *Meter) SetTable(t *Table) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.table = t
	m.active.Store(!t.Empty())
	if t.Empty() {
		clear(m.rates)
	}
}

// Use counts n bytes, or for [Request] so many seconds, by a client, and returns for how long it must be left alone.
func (m *Meter) Use(k Kind, user, clientID string, n float64, now time.Time) time.Duration {
	if !m.Active() {
		return 0
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.table.Empty() {
		return 0
	}
	most, who, ok := m.table.limit(k, user, clientID)
	if !ok {
		return 0
	}
	r := m.rate(counted{k, who}, now)
	longest := ThrottleMax
	if k == Request {
		n *= 100 // of hundredths of a processor
		longest = requestThrottleMax
	}
	r.add(now, n)
	return min(r.wait(now, most), longest)
}

// Return takes back what was counted but is not used after all: an answer that was throttled carries no data.
func (m *Meter) Return(k Kind, user, clientID string, n float64, now time.Time) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.table.Empty() {
		return
	}
	if _, who, ok := m.table.limit(k, user, clientID); ok {
		m.rate(counted{k, who}, now).add(now, -n)
	}
}

func (m *Meter) rate(c counted, now time.Time) *rate {
	r, ok := m.rates[c]
	if !ok {
		if len(m.rates) >= subjectsMax {
			m.forget(now)
		}
		r = &rate{}
		m.rates[c] = r
	}
	return r
}

// forget drops those that have used nothing for as long as the windows reach, or else the one that was silent longest.
func (m *Meter) forget(now time.Time) {
	var oldest counted
	var at time.Time
	for c, r := range m.rates {
		if now.Sub(r.last) > windows*windowSize {
			delete(m.rates, c)
			continue
		}
		if at.IsZero() || r.last.Before(at) {
			oldest, at = c, r.last
		}
	}
	if len(m.rates) >= subjectsMax {
		delete(m.rates, oldest)
	}
}
