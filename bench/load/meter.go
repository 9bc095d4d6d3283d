package load

import (
	"sync"
	"sync/atomic"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"
)

// Latencies between these bounds are kept with three digits; what lies outside counts as the bound.
const (
	shortest = time.Microsecond
	longest  = 10 * time.Minute
)

// Meter counts what a run does. Workers write to it and anybody may look at it meanwhile. The zero value is not ready.
type Meter struct {
	records, bytes, errors atomic.Int64
	lastError              atomic.Pointer[error]
	observe                func(time.Duration)

	mu sync.Mutex
	// mu guards:
	from, to time.Time // latencies of what was due in [from, to) are kept; both zero: none yet
	kept     *hdrhistogram.Histogram
	recent   *hdrhistogram.Histogram // since the last Snapshot
}

// NewMeter returns a Meter. observe, if not nil, hears every latency that is kept.
func NewMeter(observe func(time.Duration)) *Meter {
	h := func() *hdrhistogram.Histogram {
		return hdrhistogram.New(int64(shortest/time.Microsecond), int64(longest/time.Microsecond), 3)
	}
	return &Meter{kept: h(), recent: h(), observe: observe}
}

// done counts records that were acknowledged, or read.
func (m *Meter) done(records, bytes int) {
	m.records.Add(int64(records))
	m.bytes.Add(int64(bytes))
}

// failed counts records that were given up.
func (m *Meter) failed(records int, err error) {
	m.errors.Add(int64(records))
	m.lastError.Store(&err)
}

// latency notes how long after it was due something happened.
func (m *Meter) latency(due, now time.Time) {
	took := now.Sub(due)
	v := int64(min(max(took, shortest), longest) / time.Microsecond)
	m.mu.Lock()
	defer m.mu.Unlock()
	_ = m.recent.RecordValue(v) // within the bounds
	if m.from.IsZero() || due.Before(m.from) || !m.to.IsZero() && !due.Before(m.to) {
		return
	}
	_ = m.kept.RecordValue(v)
	if m.observe != nil {
		m.observe(took)
	}
}

// open and shut say when measuring begins and ends.
func (m *Meter) open(t time.Time) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.from = t
}

func (m *Meter) shut(t time.Time) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.to = t
}

// Err is the last error of a record, or nil.
func (m *Meter) Err() error {
	if p := m.lastError.Load(); p != nil {
		return *p
	}
	return nil
}

// Snapshot is what was done so far.
type Snapshot struct {
	Records, Bytes, Errors int64
	// P50 and P99 are of the latencies since the Snapshot before, 0 if there were none.
	P50, P99 time.Duration
}

// Snapshot looks at the meter.
func (m *Meter) Snapshot() Snapshot {
	m.mu.Lock()
	defer m.mu.Unlock()
	s := Snapshot{Records: m.records.Load(), Bytes: m.bytes.Load(), Errors: m.errors.Load()}
	if m.recent.TotalCount() > 0 {
		s.P50, s.P99 = quantile(m.recent, 50), quantile(m.recent, 99)
		m.recent.Reset()
	}
	return s
}

func quantile(h *hdrhistogram.Histogram, percent float64) time.Duration {
	return time.Duration(h.ValueAtQuantile(percent)) * time.Microsecond
}
