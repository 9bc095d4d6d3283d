package broker

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// What a scrape of many partitions costs, text and all: in one topic, and in as many topics.
func BenchmarkScrape(b *testing.B) {
	for _, row := range []struct {
		name               string
		topics, partitions int
	}{{"topics=1/partitions=5000", 1, 5000}, {"topics=5000/partitions=5000", 5000, 1}} {
		b.Run(row.name, func(b *testing.B) {
			br := startBroker(b, withHTTP, func(o *Options) { o.Config.PartitionMetricsMax = 10_000 })
			c := br.dial(b)
			for begin := 0; begin < row.topics; begin += 1000 {
				req := &kmsg.CreateTopicsRequest{Version: 5, TimeoutMillis: 60_000}
				for i := begin; i < min(row.topics, begin+1000); i++ {
					req.Topics = append(req.Topics, kmsg.CreateTopicsRequestTopic{Topic: fmt.Sprintf("topic-%05d", i), NumPartitions: int32(row.partitions), ReplicationFactor: 1}) //nolint:gosec // small
				}
				ask[*kmsg.CreateTopicsResponse](c, req)
			}
			h := br.httpHandler()
			b.ReportAllocs()
			for b.Loop() {
				w := httptest.NewRecorder()
				req := httptest.NewRequest(http.MethodGet, "/metrics", http.NoBody)
				req.Header.Set("Accept-Encoding", "gzip") // as Prometheus does
				h.ServeHTTP(w, req)
				if w.Code != http.StatusOK {
					b.Fatal(w.Code)
				}
				b.ReportMetric(float64(w.Body.Len()), "bytes")
			}
		})
	}
}
