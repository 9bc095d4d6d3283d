package dledger

import (
	"errors"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/stelemq/stele/commitlog"
)

// cleanerMetrics is what Prometheus sees of compaction.
type cleanerMetrics struct {
	turns             *prometheus.CounterVec
	read, written     prometheus.Counter
	removed, duration prometheus.Counter
	ratio             prometheus.Gauge
}

func newCleanerMetrics(h *Host, r prometheus.Registerer) cleanerMetrics {
	counter := func(name, help string) prometheus.Counter {
		return prometheus.NewCounter(prometheus.CounterOpts{Namespace: "stele", Name: name, Help: help})
	}
	m := cleanerMetrics{
		turns: prometheus.NewCounterVec(prometheus.CounterOpts{
			Namespace: "stele", Name: "storage_cleaner_turns_total", Help: "Turns of compaction, by result.",
		}, []string{"result"}),
		read:     counter("storage_cleaner_read_bytes_total", "Bytes that compaction has read; the dirty part of a log is read twice."),
		written:  counter("storage_cleaner_written_bytes_total", "Bytes of segments that compaction has written."),
		removed:  counter("storage_cleaner_removed_records_total", "Records that compaction has removed."),
		duration: counter("storage_cleaner_duration_seconds_total", "Time spent compacting, over all threads."),
		ratio: prometheus.NewGauge(prometheus.GaugeOpts{
			Namespace: "stele", Name: "storage_cleaner_max_dirty_ratio", Help: "Dirty part of the dirtiest compacted log here, between 0 and 1.",
		}),
	}
	for _, result := range []string{"ok", "failed"} {
		m.turns.WithLabelValues(result)
	}
	if r != nil {
		r.MustRegister(m.turns, m.read, m.written, m.removed, m.duration, m.ratio, prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Namespace: "stele", Name: "storage_cleaner_uncleanable_partitions", Help: "Partitions whose last turn of compaction failed.",
		}, func() (n float64) {
			for _, p := range h.all() {
				n += asFloat(p.cleaning.failed.Load())
			}
			return n
		}))
	}
	return m
}

func (m *cleanerMetrics) observe(s *commitlog.CleanStats, err error) {
	switch {
	case errors.Is(err, commitlog.ErrClosed):
	case err != nil:
		m.turns.WithLabelValues("failed").Inc()
	default:
		m.turns.WithLabelValues("ok").Inc()
	}
	m.read.Add(float64(s.ReadBytes))
	m.written.Add(float64(s.WrittenBytes))
	m.removed.Add(float64(s.RecordsRemoved))
	m.duration.Add(s.Took.Seconds())
}
