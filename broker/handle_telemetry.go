package broker

import (
	"crypto/rand"
	"encoding/hex"
	"net"
	"strconv"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/stelemq/stele/broker/metadata"
	"github.com/stelemq/stele/broker/telemetry"
	"github.com/stelemq/stele/protocol"
	"github.com/stelemq/stele/protocol/record"
)

// GetTelemetrySubscriptions: v0, PushTelemetry: v0 (KIP-714)
//
// Behaviour: a client is asked for the metrics of all subscriptions (configurations of type client-metrics) that match it, as
// often as the one that wants them most often says. Numbers that it sends are shown at /metrics as stele_client_metric_value;
// histograms are passed over. Sums are asked for since the client's start.
//
// Not implemented: answers to clients that push more often than they should.

const (
	telemetryMaxBytes = 1 << 20
	// telemetryRatio bounds how much larger than sent a payload may be decompressed.
	telemetryMaxDecompressed = 4 << 20
)

// telemetryRequest is what the client of the request is asked for.
func (k *call) telemetryRequest(instance telemetry.Client) telemetry.Request {
	image := k.b.opts.Metadata.Image()
	var all []telemetry.Subscription
	for _, name := range image.ConfiguredNames(metadata.ConfigClientMetrics) {
		configs, _ := image.NamedConfigs(metadata.ConfigClientMetrics, name)
		s := telemetry.Subscription{Interval: clientMetricsIntervalDef * time.Millisecond, Match: map[string]string{}}
		if n, err := strconv.Atoi(configs[clientMetricsInterval]); err == nil {
			s.Interval = time.Duration(n) * time.Millisecond
		}
		for m := range strings.SplitSeq(configs[clientMetricsKey], ",") {
			if m = strings.TrimSpace(m); m != "" {
				s.Metrics = append(s.Metrics, m)
			}
		}
		for part := range strings.SplitSeq(configs[clientMetricsMatch], ",") {
			if selector, pattern, ok := strings.Cut(part, "="); ok {
				s.Match[strings.TrimSpace(selector)] = strings.TrimSpace(pattern)
			}
		}
		all = append(all, s)
	}
	_, port, _ := net.SplitHostPort(k.conn.nc.RemoteAddr().String())
	attributes := map[string]string{
		"client_instance_id": kafkaUUID(instance), "client_id": k.conn.clientID(k.slot), "client_source_address": k.conn.remote.String(), "client_source_port": port,
	}
	if s := k.conn.software; s != nil {
		attributes["client_software_name"], attributes["client_software_version"] = s.name, s.version
	}
	return telemetry.For(instance, attributes, all)
}

func kafkaUUID(id [16]byte) string { return metadata.TopicID(id).String() }

func (k *call) getTelemetrySubscriptions(req *kmsg.GetTelemetrySubscriptionsRequest) kmsg.Response {
	resp := kmsg.NewPtrGetTelemetrySubscriptionsResponse()
	instance := telemetry.Client(req.ClientInstanceID)
	if instance == (telemetry.Client{}) {
		_, _ = rand.Read(instance[:]) // never fails
		instance[6], instance[8] = instance[6]&0x0f|0x40, instance[8]&0x3f|0x80
	}
	r := k.telemetryRequest(instance)
	resp.ClientInstanceID, resp.SubscriptionID = instance, r.ID
	resp.AcceptedCompressionTypes = []int8{int8(record.Zstd), int8(record.LZ4), int8(record.Gzip), int8(record.Snappy)}
	resp.PushIntervalMillis, resp.TelemetryMaxBytes = int32(r.Interval.Milliseconds()), telemetryMaxBytes //nolint:gosec // at most an hour
	resp.RequestedMetrics = append([]string{}, r.Metrics...)
	return resp
}

func (k *call) pushTelemetry(req *kmsg.PushTelemetryRequest) kmsg.Response {
	resp := kmsg.NewPtrPushTelemetryResponse()
	if code := k.takeTelemetry(req); code != protocol.None {
		resp.ErrorCode = k.code(code)
	}
	return resp
}

func (k *call) takeTelemetry(req *kmsg.PushTelemetryRequest) protocol.Code {
	instance := telemetry.Client(req.ClientInstanceID)
	r := k.telemetryRequest(instance)
	codec := record.Codec(req.CompressionType)
	switch {
	case instance == (telemetry.Client{}):
		return protocol.InvalidRequest
	case req.SubscriptionID != r.ID:
		return protocol.UnknownSubscriptionID
	case !codec.Known():
		return protocol.UnsupportedCompressionType
	case len(req.Metrics) > telemetryMaxBytes:
		return protocol.TelemetryTooLarge
	}
	payload, err := record.DecompressBytes(nil, req.Metrics, codec, telemetryMaxDecompressed)
	if err != nil {
		return protocol.InvalidRecord
	}
	values, err := telemetry.Decode(payload, telemetry.MetricsMax)
	if err != nil {
		return protocol.InvalidRecord
	}
	if req.Terminating {
		k.b.telemetry.Drop(instance)
		return protocol.None
	}
	k.b.telemetry.Put(instance, k.conn.clientID(k.slot), values, k.b.now(), 3*r.Interval)
	return protocol.None
}

// telemetryCollector shows what clients have sent.
type telemetryCollector struct {
	b     *Broker
	value *prometheus.Desc
}

func newTelemetryCollector(b *Broker) *telemetryCollector {
	return &telemetryCollector{b, prometheus.NewDesc(metricsPrefix+"_client_metric_value", "Newest value of a metric that a client has sent, as subscriptions ask.",
		[]string{"metric", "client_id", "client_instance_id"}, nil)}
}

// Describe implements prometheus.Collector.
func (c *telemetryCollector) Describe(ch chan<- *prometheus.Desc) { ch <- c.value }

// Collect implements prometheus.Collector.
func (c *telemetryCollector) Collect(ch chan<- prometheus.Metric) {
	for _, s := range c.b.telemetry.Samples(c.b.now()) {
		ch <- prometheus.MustNewConstMetric(c.value, prometheus.GaugeValue, s.Value, valid(s.Metric), valid(s.ClientID), hex.EncodeToString(s.Instance[:]))
	}
}

// valid is text that a label may have.
func valid(s string) string { return strings.ToValidUTF8(s, "?") }
