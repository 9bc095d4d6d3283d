package broker

import (
	"slices"
	"testing"

	"github.com/twmb/franz-go/pkg/kmsg"
)

func TestBroker_ProducesAndFetchesInAllVersions(t *testing.T) {
	b := startBroker(t)
	c := b.dial(t)
	id := c.createTopic("log", 2)
	want := []string{}
	for v := int16(3); v <= 13; v++ {
		req := produceRequest("log", 1, batchOf(t, string(rune('a'+v))))
		req.Version = v
		req.Topics[0].TopicID = id
		p := ask[*kmsg.ProduceResponse](c, req).Topics[0].Partitions[0]
		if p.ErrorCode != 0 || p.BaseOffset != int64(len(want)) {
			t.Fatalf("produce v%d: %+v", v, p)
		}
		want = append(want, string(rune('a'+v)))
	}
	for v := int16(4); v <= 18; v++ {
		r := ask[*kmsg.FetchResponse](c, fetchRequest(v, "log", id, 1, 0))
		p := r.Topics[0].Partitions[0]
		if p.ErrorCode != 0 || p.HighWatermark != int64(len(want)) || !slices.Equal(valuesOf(t, p.RecordBatches), want) {
			t.Fatalf("fetch v%d: %+v", v, p)
		}
	}
}
