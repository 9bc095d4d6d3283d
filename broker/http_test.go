package broker

import (
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/stelemq/stele/protocol"
)

func get(t *testing.T, b *testBroker, path string) (int, string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+b.HTTPAddr().String()+path, nil)
	if err != nil {
		t.Fatal(err)
	}
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	resp, err := client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, string(body)
}

func withHTTP(o *Options) { o.Config.HTTPListen = "127.0.0.1:0" }

// metricNames are the names of the broker's own series.
func metricNames() []string {
	return strings.Fields(`stele_requests_total stele_request_errors_total stele_request_duration_seconds
		stele_request_phase_duration_seconds stele_request_size_bytes stele_response_size_bytes
		stele_connections stele_connections_opened_total stele_connections_closed_total stele_client_connections
		stele_topic_received_bytes_total stele_topic_received_records_total stele_topic_sent_bytes_total
		stele_topic_sent_records_total stele_topic_rejected_batches_total
		stele_partition_log_start_offset stele_partition_log_end_offset stele_partition_high_watermark
		stele_partition_leader_id stele_partition_in_sync_replicas stele_partition_size_bytes
		stele_cluster_nodes stele_cluster_topics stele_cluster_partitions stele_cluster_offline_partitions
		stele_replica_partitions stele_replica_under_replicated_partitions stele_replica_under_min_isr_partitions
		stele_raft_is_leader stele_raft_unclean_elections_total stele_build_info stele_ready go_goroutines process_open_fds`)
}

func TestMetrics_AreThereAndClean(t *testing.T) {
	b := startBroker(t, withHTTP)
	c := b.dial(t)
	c.createTopic("t", 1)
	c.produce("t", 0, batchOf(t, "a", "b"))
	if code, _ := produceCode(c, "t", nil, nil); code != protocol.InvalidRecord {
		t.Error(code)
	}
	ask[*kmsg.FetchResponse](c, fetchRequest(12, "t", [16]byte{}, 0, 0))
	ask[*kmsg.ApiVersionsResponse](c, &kmsg.ApiVersionsRequest{Version: 3, ClientSoftwareName: "x", ClientSoftwareVersion: "1"})
	gone := b.dial(t)
	gone.write([]byte{0, 0, 0, 0})
	gone.closed()
	eventually(t, func() bool {
		return testutil.ToFloat64(b.metrics.closed.WithLabelValues("PLAINTEXT", closedProtocol)) == 1
	})

	status, body := get(t, b, "/metrics")
	if status != http.StatusOK {
		t.Fatal(status)
	}
	for _, name := range metricNames() {
		if !strings.Contains(body, "\n"+name) {
			t.Errorf("no %s", name)
		}
	}
	for _, line := range []string{
		`stele_topic_received_records_total{topic="t"} 2`, `stele_topic_sent_records_total{topic="t"} 2`,
		`stele_request_errors_total{api="Produce",error="INVALID_RECORD"} 1`,
		`stele_topic_rejected_batches_total{reason="INVALID_RECORD",topic="t"} 1`,
		`stele_partition_high_watermark{partition="0",topic="t"} 2`, `stele_ready 1`,
		`stele_client_connections{software="x",version="1"} 1`,
	} {
		if !strings.Contains(body, line+"\n") {
			t.Errorf("no line %s", line)
		}
	}
	// The series that are made without the registry's checks would pass them.
	if _, err := (prometheus.Gatherers{b.gatherer}).Gather(); err != nil {
		t.Error(err)
	}
	problems, err := testutil.GatherAndLint(b.gatherer)
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range problems {
		t.Errorf("%s: %s", p.Metric, p.Text)
	}
}

func TestMetrics_PartitionSeriesEndWhereThereAreTooMany(t *testing.T) {
	b := startBroker(t, withHTTP, func(o *Options) { o.Config.PartitionMetricsMax = 1 })
	c := b.dial(t)
	c.createTopic("t", 2)
	_, body := get(t, b, "/metrics")
	if strings.Contains(body, "stele_partition_") || !strings.Contains(body, "stele_replica_partitions{role=\"leader\"} 2") {
		t.Error("series of partitions above the limit")
	}
}

func TestMetrics_DeletedTopicsGo(t *testing.T) {
	b := startBroker(t, withHTTP)
	c := b.dial(t)
	c.createTopic("gone", 1)
	c.produce("gone", 0, batchOf(t, "x"))
	name := "gone"
	ask[*kmsg.DeleteTopicsResponse](c, &kmsg.DeleteTopicsRequest{Version: 6, Topics: []kmsg.DeleteTopicsRequestTopic{{Topic: &name}}})
	eventually(t, func() bool {
		_, body := get(t, b, "/metrics")
		return !strings.Contains(body, `topic="gone"`)
	})
}

func TestMetrics_ClientsAreBounded(t *testing.T) {
	m := newMetrics()
	for i := range 2 * softwareMax {
		m.clientConnected(clientSoftware{"s", strings.Repeat("1", 1+i%60)})
	}
	if got := m.clientConnected(clientSoftware{strings.Repeat("n", softwareLength+1), "1"}); got.name != other {
		t.Errorf("%+v", got)
	}
	if n := testutil.CollectAndCount(m.clients); n > softwareMax+1 {
		t.Errorf("%d series", n)
	}
}

func TestMetrics_ScrapeOfManyPartitionsIsQuick(t *testing.T) {
	b := startBroker(t, withHTTP, func(o *Options) { o.Config.PartitionMetricsMax = 10_000 })
	c := b.dial(t)
	c.createTopic("t", 5000)
	const limit = 100 * time.Millisecond
	best := time.Hour
	tries := 50 // others may be using the machine
	if checked {
		tries = 1
	}
	for range tries {
		began := time.Now()
		if status, _ := get(t, b, "/metrics"); status != http.StatusOK {
			t.Fatal(status)
		}
		if best = min(best, time.Since(began)); best < limit {
			return
		}
	}
	if !checked {
		t.Errorf("%s for 5000 partitions", best)
	}
}

func TestHTTP_HealthAndReadiness(t *testing.T) {
	failing := errors.New("the disk is on fire")
	var check error
	b := startBroker(t, withHTTP, func(o *Options) {
		o.Checks = []Check{{Name: "disk", Ready: func() error { return check }}}
	})
	if status, body := get(t, b, "/healthz"); status != http.StatusOK || !strings.Contains(body, "ok") {
		t.Error(status, body)
	}
	if status, body := get(t, b, "/readyz"); status != http.StatusOK || strings.Contains(body, "checks") {
		t.Error(status, body)
	}
	check = failing
	status, body := get(t, b, "/readyz?verbose")
	var report readinessReport
	if err := json.Unmarshal([]byte(body), &report); err != nil {
		t.Fatal(err)
	}
	if status != http.StatusServiceUnavailable || len(report.Checks) != 4 || len(report.Reasons) != 1 || report.Reasons[0] != "disk: the disk is on fire" {
		t.Errorf("%d %s", status, body)
	}
}

func TestHTTP_ProfilesOnLoopbackOnly(t *testing.T) {
	b := startBroker(t, withHTTP)
	if status, _ := get(t, b, "/debug/pprof/goroutine?debug=1"); status != http.StatusOK {
		t.Error(status)
	}
	h := b.httpHandler()
	for remote, header := range map[string]string{"10.0.0.9:1234": "", "127.0.0.1:1234": "10.0.0.9"} {
		req := httptest.NewRequest(http.MethodGet, "/debug/pprof/", nil)
		req.RemoteAddr = remote
		if header != "" {
			req.Header.Set("X-Forwarded-For", header)
		}
		w := httptest.NewRecorder()
		h.ServeHTTP(w, req)
		if w.Code != http.StatusNotFound {
			t.Errorf("%s: %d", remote, w.Code)
		}
	}
}

func TestErrors_EveryCodeHasAName(t *testing.T) {
	for err, code := range logErrors() {
		if strings.HasPrefix(code.String(), "CODE_") || code == protocol.None {
			t.Errorf("%v is %v", err, code)
		}
	}
}
