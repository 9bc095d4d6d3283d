package broker

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// groupMetrics counts what happens to groups; it implements group.Events.
type groupMetrics struct {
	rebalances *prometheus.CounterVec
	duration   prometheus.Histogram
}

// RebalanceBegan implements group.Events.
func (m *groupMetrics) RebalanceBegan(group, reason string) {
	m.rebalances.WithLabelValues(group, reason).Inc()
}

// RebalanceEnded implements group.Events.
func (m *groupMetrics) RebalanceEnded(_ string, took time.Duration) {
	m.duration.Observe(took.Seconds())
}
