package quota

import (
	"container/list"
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

// subjectRate is what one of them uses.
type subjectRate struct {
	counted
	rate
	bucket bucket // of Mutation
}

// Meter counts what clients use. Safe for concurrent use.
type Meter struct {
	mu    sync.Mutex
	table *Table                    // mu guards
	rates map[counted]*list.Element // of silent; mu guards
	// silent has a *subjectRate of each, whoever used something last in front.
	silent list.List // mu guards

	active atomic.Bool // somebody is bounded
}

// NewMeter makes a meter that bounds nobody.
func NewMeter() *Meter { return &Meter{rates: map[counted]*list.Element{}} }

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
		m.silent.Init()
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
	r := m.rate(counted{k, who})
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
		m.rate(counted{k, who}).add(now, -n)
	}
}

// rate of a subject, which becomes the one that used something last. Those that are silent longest are forgotten; what each
// call costs does not depend on how many there are, since client ids are whatever clients say.
func (m *Meter) rate(c counted) *rate { return &m.subject(c).rate }

func (m *Meter) subject(c counted) *subjectRate {
	if at, ok := m.rates[c]; ok {
		m.silent.MoveToFront(at)
		return at.Value.(*subjectRate) //nolint:errcheck,forcetypeassert // nothing else is in it
	}
	if len(m.rates) >= subjectsMax {
		last := m.silent.Back()
		delete(m.rates, m.silent.Remove(last).(*subjectRate).counted) //nolint:errcheck,forcetypeassert // as above
	}
	r := &subjectRate{counted: c}
	m.rates[c] = m.silent.PushFront(r)
	return r
}
