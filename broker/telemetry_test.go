package broker

import (
	"testing"

	"github.com/twmb/franz-go/pkg/kmsg"
	"google.golang.org/protobuf/encoding/protowire"

	"github.com/stelemq/stele/protocol"
)

func TestTelemetry_SubscribePushAndShow(t *testing.T) {
	b := startBroker(t, withHTTP)
	c := b.dial(t)
	get := func(id [16]byte) *kmsg.GetTelemetrySubscriptionsResponse {
		return ask[*kmsg.GetTelemetrySubscriptionsResponse](c, &kmsg.GetTelemetrySubscriptionsRequest{ClientInstanceID: id})
	}
	first := get([16]byte{})
	if first.ErrorCode != 0 || first.ClientInstanceID == [16]byte{} || len(first.RequestedMetrics) != 0 || first.PushIntervalMillis != 300_000 || len(first.AcceptedCompressionTypes) != 4 {
		t.Fatalf("%+v", first)
	}
	id := first.ClientInstanceID
	const metrics, set = kmsg.ConfigResourceTypeClientMetrics, kmsg.IncrementalAlterConfigOpSet
	if code, text := c.alterNamed(metrics, "m", change("metrics", set, "my."), change("interval.ms", set, "1000")); code != 0 {
		t.Fatal(code, text)
	}
	second := get(id)
	if second.SubscriptionID == first.SubscriptionID || len(second.RequestedMetrics) != 1 || second.PushIntervalMillis != 1000 || second.ClientInstanceID != id {
		t.Fatalf("%+v", second)
	}
	field := func(n protowire.Number, body []byte) []byte {
		return protowire.AppendBytes(protowire.AppendTag(nil, n, protowire.BytesType), body)
	}
	point := protowire.AppendFixed64(protowire.AppendTag(nil, 6, protowire.Fixed64Type), 42)
	payload := field(1, field(2, field(2, append(field(1, []byte("my.metric")), field(5, field(1, point))...))))
	push := func(q kmsg.PushTelemetryRequest) protocol.Code {
		return protocol.Code(ask[*kmsg.PushTelemetryResponse](c, &q).ErrorCode)
	}
	for name, row := range map[string]struct {
		q    kmsg.PushTelemetryRequest
		want protocol.Code
	}{
		"nobody":      {kmsg.PushTelemetryRequest{SubscriptionID: second.SubscriptionID}, protocol.InvalidRequest},
		"old":         {kmsg.PushTelemetryRequest{ClientInstanceID: id, SubscriptionID: first.SubscriptionID}, protocol.UnknownSubscriptionID},
		"compression": {kmsg.PushTelemetryRequest{ClientInstanceID: id, SubscriptionID: second.SubscriptionID, CompressionType: 9}, protocol.UnsupportedCompressionType},
		"too large":   {kmsg.PushTelemetryRequest{ClientInstanceID: id, SubscriptionID: second.SubscriptionID, Metrics: make([]byte, telemetryMaxBytes+1)}, protocol.TelemetryTooLarge},
		"not zstd":    {kmsg.PushTelemetryRequest{ClientInstanceID: id, SubscriptionID: second.SubscriptionID, CompressionType: 4, Metrics: []byte("x")}, protocol.InvalidRecord},
		"malformed":   {kmsg.PushTelemetryRequest{ClientInstanceID: id, SubscriptionID: second.SubscriptionID, Metrics: payload[:len(payload)-1]}, protocol.InvalidRecord},
	} {
		if got := push(row.q); got != row.want {
			t.Errorf("%s: %v, want %v", name, got, row.want)
		}
	}
	shown := func() (n int) {
		families, err := b.gatherer.Gather()
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range families {
			if f.GetName() == "stele_client_metric_value" {
				for _, m := range f.GetMetric() {
					if m.GetGauge().GetValue() == 42 {
						n++
					}
				}
			}
		}
		return n
	}
	if got := push(kmsg.PushTelemetryRequest{ClientInstanceID: id, SubscriptionID: second.SubscriptionID, Metrics: payload}); got != protocol.None || shown() != 1 {
		t.Errorf("%v, %d shown", got, shown())
	}
	if got := push(kmsg.PushTelemetryRequest{ClientInstanceID: id, SubscriptionID: second.SubscriptionID, Terminating: true}); got != protocol.None || shown() != 0 {
		t.Errorf("after its end: %v, %d shown", got, shown())
	}
}
