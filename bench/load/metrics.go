package load

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// Metrics are those of the generator, for Prometheus: bench_records_total, bench_bytes_total, bench_errors_total and
// bench_latency_seconds.
type Metrics struct {
	Registry *prometheus.Registry
	latency  prometheus.Histogram
	current  func() *Meter
}

// NewMetrics returns them; current is the meter of the run that goes on, or nil.
func NewMetrics(current func() *Meter) *Metrics {
	m := &Metrics{Registry: prometheus.NewRegistry(), current: current}
	m.latency = prometheus.NewHistogram(prometheus.HistogramOpts{
		Name: "bench_latency_seconds", Help: "From when a record was due to its acknowledgement, or its arrival.",
		Buckets: prometheus.ExponentialBuckets(0.0001, 2, 20),
	})
	counter := func(name, help string, of func(*Meter) int64) prometheus.Collector {
		return prometheus.NewCounterFunc(prometheus.CounterOpts{Name: name, Help: help}, func() float64 {
			if meter := m.current(); meter != nil {
				return float64(of(meter))
			}
			return 0
		})
	}
	m.Registry.MustRegister(
		m.latency,
		counter("bench_records_total", "Records that were acknowledged or read in the run that goes on.", func(m *Meter) int64 { return m.records.Load() }),
		counter("bench_bytes_total", "Bytes of their values.", func(m *Meter) int64 { return m.bytes.Load() }),
		counter("bench_errors_total", "Records that were given up.", func(m *Meter) int64 { return m.errors.Load() }),
	)
	return m
}

// Observe notes a latency; it is for NewMeter.
func (m *Metrics) Observe(d time.Duration) { m.latency.Observe(d.Seconds()) }
