package dledger

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// metrics is what Prometheus sees of a host. Units stand in the names.
type metrics struct {
	fsync         prometheus.Histogram
	save          prometheus.Histogram
	proposal      prometheus.Histogram
	leaderChanges prometheus.Counter
	isrChanges    prometheus.Counter
	corrupt       prometheus.Counter
	recovery      prometheus.Gauge
	// readDisk counts what is read of segments: there is no cache but the system's.
	readDisk prometheus.Counter
	// deleted counts segments that went, by reason.
	deleted *prometheus.CounterVec
	cleaner cleanerMetrics
}

// deletedTopic is why segments go when a partition is deleted here.
const deletedTopic = "topic_deleted"

// newMetrics makes the metrics and registers them, if there is where.
func newMetrics(h *Host, r prometheus.Registerer) *metrics {
	histogram := func(name, help string) prometheus.Histogram {
		return prometheus.NewHistogram(prometheus.HistogramOpts{
			Namespace: "stele", Name: name, Help: help, NativeHistogramBucketFactor: 1.1,
			NativeHistogramMaxBucketNumber: 160, NativeHistogramMinResetDuration: time.Hour,
			Buckets: []float64{0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10},
		})
	}
	m := &metrics{
		fsync:    histogram("storage_fsync_duration_seconds", "Time of one sync of the journal or of a partition's segments."),
		save:     histogram("storage_append_duration_seconds", "Time to append a step's records and to make them as durable as their topics ask."),
		proposal: histogram("raft_proposal_duration_seconds", "Time from a batch's arrival to its answer, acks=all."),
		leaderChanges: prometheus.NewCounter(prometheus.CounterOpts{
			Namespace: "stele", Name: "raft_leader_changes_total", Help: "Changes of a partition's leader or term seen here.",
		}),
		isrChanges: prometheus.NewCounter(prometheus.CounterOpts{
			Namespace: "stele", Name: "replica_isr_changes_total", Help: "Changes of the in-sync replicas of partitions led here.",
		}),
		corrupt: prometheus.NewCounter(prometheus.CounterOpts{
			Namespace: "stele", Name: "storage_corrupt_batches_total", Help: "Reads and recoveries that met stored bytes that are not what was written.",
		}),
		recovery: prometheus.NewGauge(prometheus.GaugeOpts{
			Namespace: "stele", Name: "storage_recovery_duration_seconds", Help: "Time the last start took to replay the journal and recover partitions.",
		}),
	}
	read := prometheus.NewCounterVec(prometheus.CounterOpts{
		Namespace: "stele", Name: "storage_read_bytes_total",
		Help: "Bytes of record batches read from segments; the system's page cache counts as disk.",
	}, []string{"source"})
	m.readDisk = read.WithLabelValues("disk")
	m.deleted = prometheus.NewCounterVec(prometheus.CounterOpts{
		Namespace: "stele", Name: "storage_segments_deleted_total", Help: "Segments deleted, by reason.",
	}, []string{"reason"})
	for _, reason := range append(startReasons(), deletedTopic) {
		m.deleted.WithLabelValues(reason) // there from the start: a rate needs its zero
	}
	m.cleaner = newCleanerMetrics(h, r)
	if r != nil {
		r.MustRegister(read, m.deleted, m.fsync, m.save, m.proposal, m.leaderChanges, m.isrChanges, m.corrupt, m.recovery, &hostCollector{h})
	}
	return m
}

func (m *metrics) observeFsync(d time.Duration) { m.fsync.Observe(d.Seconds()) }

// hostCollector tells at a scrape what is known anyway.
type hostCollector struct{ h *Host }

type hostDesc struct {
	name, help string
	labels     []string
}

func (d hostDesc) desc() *prometheus.Desc {
	return prometheus.NewDesc("stele_"+d.name, d.help, d.labels, nil)
}

func (c *hostCollector) descs() (logSize, free, total, low, applyLag, term *prometheus.Desc) {
	return hostDesc{"storage_log_size_bytes", "Bytes of record batches stored.", nil}.desc(),
		hostDesc{"storage_disk_free_bytes", "Bytes free for this process.", []string{"path"}}.desc(),
		hostDesc{"storage_disk_total_bytes", "Size of the file system.", []string{"path"}}.desc(),
		hostDesc{"storage_low_space", "1 while appends are refused because the disk's reserve is reached.", []string{"path"}}.desc(),
		hostDesc{"raft_apply_lag_entries", "Entries appended and not yet committed, all partitions.", nil}.desc(),
		hostDesc{"raft_term", "Term of the group.", []string{"group"}}.desc()
}

func (c *hostCollector) Describe(ch chan<- *prometheus.Desc) {
	a, b, d, e, f, t := c.descs()
	for _, x := range []*prometheus.Desc{a, b, d, e, f, t} {
		ch <- x
	}
}

func (c *hostCollector) Collect(ch chan<- prometheus.Metric) {
	logSize, free, total, low, applyLag, term := c.descs()
	gauge := func(d *prometheus.Desc, v float64, labels ...string) {
		ch <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, v, labels...)
	}
	var bytes int64
	var lag Index
	for _, p := range c.h.all() {
		bytes += p.Size()
		p.shard.mu.RLock()
		lag += p.shard.last - p.shard.committedTo
		p.shard.mu.RUnlock()
	}
	gauge(logSize, float64(bytes))
	gauge(applyLag, float64(lag))
	if f, t, err := c.h.opts.FS.Free(c.h.opts.Dir); err == nil {
		gauge(free, float64(f), c.h.opts.Dir)
		gauge(total, float64(t), c.h.opts.Dir)
	}
	gauge(low, asFloat(c.h.LowSpace()), c.h.opts.Dir)
	if _, t, _, err := c.h.nodes.GetLeaderID(uint64(c.h.metadataGroup())); err == nil {
		gauge(term, float64(t), "meta")
	}
}

func asFloat(b bool) float64 {
	if b {
		return 1
	}
	return 0
}
