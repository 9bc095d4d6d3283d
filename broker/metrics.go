package broker

import (
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/stelemq/stele/protocol"
)

// metricsPrefix begins every name.
const metricsPrefix = "stele"

const (
	// nativeFactor is the resolution of native histograms.
	nativeFactor = 1.1
	// softwareMax bounds the kinds of clients that have a series of their own.
	softwareMax = 50
	// softwareLength is the longest name or version of a client that is shown.
	softwareLength = 64
	other          = "other"
)

// metrics is what Prometheus sees of the broker; what it sees of partitions is in partitionCollector.
type metrics struct {
	requests      *prometheus.CounterVec
	errors        *prometheus.CounterVec
	duration      *prometheus.HistogramVec
	phase         *prometheus.HistogramVec
	requestBytes  *prometheus.HistogramVec
	responseBytes *prometheus.HistogramVec

	connections *prometheus.GaugeVec
	opened      *prometheus.CounterVec
	closed      *prometheus.CounterVec
	clients     *prometheus.GaugeVec

	rejected *prometheus.CounterVec

	uncleanElections prometheus.Counter
	throttled        *prometheus.CounterVec
	groups           *groupMetrics

	mu       sync.Mutex
	software map[clientSoftware]struct{} // mu guards: those with a series
}

// apiMetrics are the series of one API, looked up once.
type apiMetrics struct {
	requests                      prometheus.Counter
	duration                      prometheus.Observer
	queue, local, replicate, send prometheus.Observer
	requestBytes, responseBytes   prometheus.Observer
}

// topicMetrics are the counters of one topic.
type topicMetrics struct {
	name                           string
	m                              *metrics
	receivedBytes, receivedRecords atomic.Int64
	sentBytes, sentRecords         atomic.Int64
}

func newMetrics() *metrics {
	seconds := []float64{0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10}
	bytes := prometheus.ExponentialBuckets(64, 4, 11)
	counter := func(name, help string, labels ...string) *prometheus.CounterVec {
		return prometheus.NewCounterVec(prometheus.CounterOpts{Namespace: metricsPrefix, Name: name, Help: help}, labels)
	}
	gauge := func(name, help string, labels ...string) *prometheus.GaugeVec {
		return prometheus.NewGaugeVec(prometheus.GaugeOpts{Namespace: metricsPrefix, Name: name, Help: help}, labels)
	}
	histogram := func(name, help string, buckets []float64, labels ...string) *prometheus.HistogramVec {
		return prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Namespace: metricsPrefix, Name: name, Help: help, Buckets: buckets,
			NativeHistogramBucketFactor: nativeFactor, NativeHistogramMaxBucketNumber: 160, NativeHistogramMinResetDuration: time.Hour,
		}, labels)
	}
	return &metrics{
		requests:      counter("requests_total", "Requests answered.", "api"),
		errors:        counter("request_errors_total", "Errors in answers, by Kafka's code; one per topic or partition.", "api", "error"),
		duration:      histogram("request_duration_seconds", "Time from a request's last byte to its answer being handed to the system.", seconds, "api"),
		phase:         histogram("request_phase_duration_seconds", "Where a request's time goes: queue, local, replicate, send.", seconds, "api", "phase"),
		requestBytes:  histogram("request_size_bytes", "Size of requests.", bytes, "api"),
		responseBytes: histogram("response_size_bytes", "Size of responses.", bytes, "api"),
		connections:   gauge("connections", "Open connections.", "listener"),
		opened:        counter("connections_opened_total", "Connections accepted.", "listener"),
		closed:        counter("connections_closed_total", "Connections closed, by reason.", "listener", "reason"),
		clients:       gauge("client_connections", "Open connections by what the client says it is.", "software", "version"),
		rejected:      counter("topic_rejected_batches_total", "Record batches refused, by Kafka's code.", "topic", "reason"),
		throttled:     counter("throttle_seconds_total", "Time for which connections were not read because their clients had used more than their quotas.", "kind"),
		uncleanElections: prometheus.NewCounter(prometheus.CounterOpts{
			Namespace: metricsPrefix, Name: "raft_unclean_elections_total",
			Help: "Partitions that this broker, as the controller, let go on from what had survived.",
		}),
		groups: &groupMetrics{
			rebalances: counter("group_rebalances_total", "Rebalances begun, by why.", "group", "reason"),
			duration: prometheus.NewHistogram(prometheus.HistogramOpts{
				Namespace: metricsPrefix, Name: "group_rebalance_duration_seconds", Help: "Time from the beginning of a rebalance to its assignment.",
				Buckets: []float64{0.005, 0.01, 0.05, 0.1, 0.5, 1, 3, 5, 10, 30, 60, 300},
			}),
		},
		software: map[clientSoftware]struct{}{},
	}
}

func (m *metrics) collectors() []prometheus.Collector {
	return []prometheus.Collector{
		m.requests, m.errors, m.duration, m.phase, m.requestBytes, m.responseBytes,
		m.connections, m.opened, m.closed, m.clients,
		m.rejected, m.uncleanElections, m.throttled, m.groups.rebalances, m.groups.duration,
	}
}

func (m *metrics) api(name string) apiMetrics {
	return apiMetrics{
		requests: m.requests.WithLabelValues(name), duration: m.duration.WithLabelValues(name),
		queue: m.phase.WithLabelValues(name, "queue"), local: m.phase.WithLabelValues(name, "local"),
		replicate: m.phase.WithLabelValues(name, "replicate"), send: m.phase.WithLabelValues(name, "send"),
		requestBytes: m.requestBytes.WithLabelValues(name), responseBytes: m.responseBytes.WithLabelValues(name),
	}
}

func (m *metrics) requestError(a *api, c protocol.Code) {
	m.errors.WithLabelValues(a.Name, c.String()).Inc()
}

// requestDone counts a request whose answer was handed to the system at the time sent.
func (m *metrics) requestDone(s *slot, sent time.Time) {
	a := &s.api.metrics
	a.requests.Inc()
	a.requestBytes.Observe(float64(s.size))
	if !s.silent {
		a.responseBytes.Observe(float64(s.outLen))
	}
	a.duration.Observe(sent.Sub(s.received).Seconds())
	a.queue.Observe(s.started.Sub(s.received).Seconds())
	if s.produce != nil {
		a.local.Observe(s.appended.Sub(s.started).Seconds())
		a.replicate.Observe(s.handled.Sub(s.appended).Seconds())
	} else {
		a.local.Observe(s.handled.Sub(s.started).Seconds())
	}
	a.send.Observe(sent.Sub(s.handled).Seconds())
}

func (m *metrics) connectionOpened(listener string) {
	m.opened.WithLabelValues(listener).Inc()
	m.connections.WithLabelValues(listener).Inc()
}

func (m *metrics) connectionRefused(listener string) {
	m.opened.WithLabelValues(listener).Inc()
	m.closed.WithLabelValues(listener, closedRefused).Inc()
}

func (m *metrics) connectionClosed(listener, reason string) {
	m.connections.WithLabelValues(listener).Dec()
	m.closed.WithLabelValues(listener, reason).Inc()
}

// clientConnected counts a connection by its client's software and returns the series it went to.
func (m *metrics) clientConnected(s clientSoftware) clientSoftware {
	m.mu.Lock()
	defer m.mu.Unlock()
	if _, known := m.software[s]; !known {
		if len(m.software) >= softwareMax || len(s.name) > softwareLength || len(s.version) > softwareLength {
			s = clientSoftware{other, other}
		} else {
			m.software[s] = struct{}{}
		}
	}
	m.clients.WithLabelValues(s.name, s.version).Inc()
	return s
}

func (m *metrics) clientGone(s clientSoftware) { m.clients.WithLabelValues(s.name, s.version).Dec() }

func (m *metrics) topic(name string) *topicMetrics { return &topicMetrics{name: name, m: m} }

func (m *metrics) dropTopic(name string) {
	m.rejected.DeletePartialMatch(prometheus.Labels{"topic": name})
}

func (t *topicMetrics) sent(bytes int, records int64) {
	t.sentBytes.Add(int64(bytes))
	t.sentRecords.Add(records)
}

func (t *topicMetrics) received(bytes int, records int32) {
	t.receivedBytes.Add(int64(bytes))
	t.receivedRecords.Add(int64(records))
}

func (t *topicMetrics) reject(c protocol.Code) {
	t.m.rejected.WithLabelValues(t.name, c.String()).Inc()
}
