package workload

import (
	"slices"
	"sync"
	"time"
)

// Availability keeps when each partition acknowledged writes. Its methods may be called concurrently.
type Availability struct {
	mu sync.Mutex
	// mu guards:
	values    int64
	last      []time.Time     // acknowledgement
	gap       []time.Duration // the longest time between two
	errors    []int64         // what producers met
	latencies []latency
	marks     []*Mark
}

type latency struct {
	at   time.Time
	took time.Duration
}

func newAvailability(partitions int32) *Availability {
	return &Availability{last: make([]time.Time, partitions), gap: make([]time.Duration, partitions), errors: make([]int64, partitions)}
}

// acked notes an acknowledgement of what was sent, the last time, at sent.
func (a *Availability) acked(p int32, values int, sent time.Time, took time.Duration) {
	a.mu.Lock()
	defer a.mu.Unlock()
	now := time.Now()
	a.values += int64(values)
	if !a.last[p].IsZero() {
		a.gap[p] = max(a.gap[p], now.Sub(a.last[p]))
	}
	a.last[p] = now
	a.latencies = append(a.latencies, latency{now, took})
	a.marks = slices.DeleteFunc(a.marks, func(m *Mark) bool {
		if _, wanted := m.missing[p]; wanted && !sent.Before(m.at) {
			delete(m.missing, p)
			m.took = append(m.took, now.Sub(m.at))
		}
		if len(m.missing) > 0 {
			return false
		}
		close(m.done)
		return true
	})
}

func (a *Availability) failed(p int32) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.errors[p]++
}

// Acked is the number of values acknowledged so far.
func (a *Availability) Acked() int64 {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.values
}

// Errors is how often producers met an error in one of the partitions, all that are retried included.
func (a *Availability) Errors(partitions []int32) (n int64) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, p := range partitions {
		n += a.errors[p]
	}
	return n
}

// MaxGap is the longest time between two acknowledgements of one partition since the last call, the time since
// the last acknowledgement included.
func (a *Availability) MaxGap() (longest time.Duration) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for p := range a.gap {
		longest = max(longest, a.gap[p])
		if !a.last[p].IsZero() {
			longest = max(longest, time.Since(a.last[p]))
		}
		a.gap[p] = 0
	}
	return longest
}

// Gaps returns for each partition the longest time between two acknowledgements since the last call of MaxGap, the time
// since the last acknowledgement included.
func (a *Availability) Gaps() (gaps []time.Duration) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for p := range a.gap {
		gap := a.gap[p]
		if !a.last[p].IsZero() {
			gap = max(gap, time.Since(a.last[p]))
		}
		gaps = append(gaps, gap)
	}
	return gaps
}

// Latencies returns how long the writes took that were acknowledged from one time to the other, ascending.
func (a *Availability) Latencies(from, to time.Time) (took []time.Duration) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, l := range a.latencies {
		if l.at.After(from) && !l.at.After(to) {
			took = append(took, l.took)
		}
	}
	slices.Sort(took)
	return took
}

// Mark waits for partitions to acknowledge what was sent after a moment.
type Mark struct {
	at      time.Time
	missing map[int32]struct{}
	took    []time.Duration
	done    chan struct{}
	mu      *sync.Mutex
}

// Mark begins to wait, from now on.
func (a *Availability) Mark(partitions []int32) *Mark {
	a.mu.Lock()
	defer a.mu.Unlock()
	m := &Mark{at: time.Now(), missing: map[int32]struct{}{}, done: make(chan struct{}), mu: &a.mu}
	for _, p := range partitions {
		m.missing[p] = struct{}{}
	}
	if len(partitions) == 0 {
		close(m.done)
		return m
	}
	a.marks = append(a.marks, m)
	return m
}

// Done is closed when every partition has acknowledged something.
func (m *Mark) Done() <-chan struct{} { return m.done }

// Took are the times that the partitions took, and those that have not acknowledged anything.
func (m *Mark) Took() (took []time.Duration, missing []int32) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for p := range m.missing {
		missing = append(missing, p)
	}
	slices.Sort(missing)
	return slices.Clone(m.took), missing
}
