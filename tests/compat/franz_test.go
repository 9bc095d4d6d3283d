package compat

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
	"github.com/twmb/franz-go/pkg/kversion"
)

func franzClient() client {
	return client{name: "franz-go", missing: alwaysThere, codecs: codecs, produce: franzProduce, consume: franzConsume}
}

func franzCodec(t *testing.T, codec string) kgo.CompressionCodec {
	t.Helper()
	switch codec {
	case "none":
		return kgo.NoCompression()
	case "gzip":
		return kgo.GzipCompression()
	case "snappy":
		return kgo.SnappyCompression()
	case "lz4":
		return kgo.Lz4Compression()
	case "zstd":
		return kgo.ZstdCompression()
	}
	t.Fatalf("no codec %q", codec)
	return kgo.CompressionCodec{}
}

func franzRecord(topic string, r record) *kgo.Record {
	out := &kgo.Record{Topic: topic, Key: r.Key, Value: r.Value}
	if r.Timestamp != 0 {
		out.Timestamp = time.UnixMilli(r.Timestamp)
	}
	for _, h := range r.Headers {
		out.Headers = append(out.Headers, kgo.RecordHeader{Key: h.Key, Value: h.Value})
	}
	return out
}

// franzProduce writes idempotently with acks=all, franz-go's default.
func franzProduce(t *testing.T, topic, codec string, recs []record) {
	t.Helper()
	franzProduceWith(t, topic, recs, kgo.ProducerBatchCompression(franzCodec(t, codec)))
}

func franzProduceWith(t *testing.T, topic string, recs []record, opts ...kgo.Opt) {
	t.Helper()
	cl := admin(t, append([]kgo.Opt{kgo.RecordPartitioner(kgo.ManualPartitioner())}, opts...)...)
	defer cl.Close()
	out := make([]*kgo.Record, len(recs))
	for i, r := range recs {
		out[i] = franzRecord(topic, r)
	}
	for _, res := range cl.ProduceSync(limit(t), out...) {
		if res.Err != nil {
			t.Fatalf("produce: %v", res.Err)
		}
	}
}

func franzConsume(t *testing.T, topics []want) map[string][]record {
	t.Helper()
	return franzConsumeWith(t, topics)
}

func franzConsumeWith(t *testing.T, topics []want, opts ...kgo.Opt) map[string][]record {
	t.Helper()
	from := map[string]map[int32]kgo.Offset{}
	left := 0
	for _, w := range topics {
		from[w.Topic] = map[int32]kgo.Offset{0: kgo.NewOffset().AtStart()}
		left += w.Count
	}
	cl := admin(t, append([]kgo.Opt{kgo.ConsumePartitions(from), kgo.FetchMaxWait(200 * time.Millisecond)}, opts...)...)
	defer cl.Close()
	got := map[string][]record{}
	franzPoll(limit(t), t, cl, left, func(r *kgo.Record) { got[r.Topic] = append(got[r.Topic], fromFranz(r)) })
	return got
}

// franzPoll polls until n records came, and fails on any fetch error.
func franzPoll(ctx context.Context, t *testing.T, cl *kgo.Client, n int, each func(*kgo.Record)) {
	t.Helper()
	for n > 0 {
		fetches := cl.PollFetches(ctx)
		for _, e := range fetches.Errors() {
			t.Fatalf("fetch %s/%d with %d records to go: %v", e.Topic, e.Partition, n, e.Err)
		}
		fetches.EachRecord(func(r *kgo.Record) { each(r); n-- })
	}
}

func fromFranz(r *kgo.Record) record {
	out := record{Offset: r.Offset, Timestamp: r.Timestamp.UnixMilli(), Key: r.Key, Value: r.Value}
	for _, h := range r.Headers {
		out.Headers = append(out.Headers, header{h.Key, h.Value})
	}
	return out
}

// TestFranz_EveryReleaseSinceTheFlexibleVersions limits franz-go to the request versions of one Kafka release
// after another, so that old and new versions of Produce, Fetch and the rest are all used.
func TestFranz_EveryReleaseSinceTheFlexibleVersions(t *testing.T) {
	for name, versions := range map[string]*kversion.Versions{
		"0.11": kversion.V0_11_0(), "1.0": kversion.V1_0_0(), "2.1": kversion.V2_1_0(), "2.3": kversion.V2_3_0(),
		"2.4": kversion.V2_4_0(), "2.7": kversion.V2_7_0(), "2.8": kversion.V2_8_0(), "3.0": kversion.V3_0_0(),
		"3.5": kversion.V3_5_0(), "3.9": kversion.V3_9_0(), "4.0": kversion.V4_0_0(), "4.1": kversion.V4_1_0(),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			topic := newTopic(t, 1)
			recs := generate(shape{}, 50, 1)
			codec := kgo.ProducerBatchCompression(kgo.Lz4Compression())
			franzProduceWith(t, topic, recs, kgo.MaxVersions(versions), codec)
			got := franzConsumeWith(t, []want{{topic, len(recs)}}, kgo.MaxVersions(versions))
			mustEqual(t, recs, got[topic])
		})
	}
}

// TestFranz_NewestVersionsAndTopicIDs demands the newest versions: topic ids instead of names (KIP-516).
func TestFranz_NewestVersionsAndTopicIDs(t *testing.T) {
	newest := kversion.V4_0_0()
	newest.SetMaxKeyVersion(int16(kmsg.Produce), 13)
	minimum := &kversion.Versions{}
	minimum.SetMaxKeyVersion(int16(kmsg.Produce), 13)
	minimum.SetMaxKeyVersion(int16(kmsg.Fetch), 13)
	minimum.SetMaxKeyVersion(int16(kmsg.Metadata), 12)
	topic := newTopic(t, 1)
	recs := generate(shape{}, 50, 2)
	franzProduceWith(t, topic, recs, kgo.MinVersions(minimum))
	mustEqual(t, recs, franzConsumeWith(t, []want{{topic, len(recs)}}, kgo.MinVersions(minimum))[topic])

	cl := admin(t)
	id := topicID(t, cl, topic)
	if id == [16]byte{} {
		t.Fatal("Metadata gives no topic id")
	}
	req := kmsg.NewPtrMetadataRequest()
	byID := kmsg.NewMetadataRequestTopic()
	byID.TopicID = id
	req.Topics = append(req.Topics, byID)
	resp, err := req.RequestWith(limit(t), cl)
	if err != nil {
		t.Fatal(err)
	}
	if len(resp.Topics) != 1 || resp.Topics[0].Topic == nil || *resp.Topics[0].Topic != topic {
		t.Fatalf("Metadata by id answers %+v, want topic %s", resp.Topics, topic)
	}
}

func topicID(t *testing.T, cl *kgo.Client, topic string) [16]byte {
	t.Helper()
	req := kmsg.NewPtrMetadataRequest()
	name := kmsg.NewMetadataRequestTopic()
	name.Topic = new(topic)
	req.Topics = append(req.Topics, name)
	resp, err := req.RequestWith(limit(t), cl)
	if err != nil {
		t.Fatal(err)
	}
	if len(resp.Topics) != 1 {
		t.Fatalf("Metadata of %s has %d topics", topic, len(resp.Topics))
	}
	return resp.Topics[0].TopicID
}

// TestFranz_AcksAndIdempotence writes with every acks, idempotently or not.
func TestFranz_AcksAndIdempotence(t *testing.T) {
	for name, opts := range map[string][]kgo.Opt{
		"all idempotent": nil,
		"all":            {kgo.DisableIdempotentWrite()},
		"leader":         {kgo.DisableIdempotentWrite(), kgo.RequiredAcks(kgo.LeaderAck())},
		"none":           {kgo.DisableIdempotentWrite(), kgo.RequiredAcks(kgo.NoAck())},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			topic := newTopic(t, 1)
			recs := generate(shape{}, 200, 3)
			// One request at a time keeps the order where no sequence number does.
			opts := append([]kgo.Opt{kgo.MaxProduceRequestsInflightPerBroker(1)}, opts...)
			franzProduceWith(t, topic, recs, opts...)
			mustEqual(t, recs, franzConsume(t, []want{{topic, len(recs)}})[topic])
		})
	}
}

// TestFranz_ManyPartitionsManyInFlight keeps five batches in flight on each of 12 partitions and reads all back.
func TestFranz_ManyPartitionsManyInFlight(t *testing.T) {
	const partitions, each = 12, 2000
	topic := newTopic(t, partitions)
	cl := admin(t, kgo.RecordPartitioner(kgo.ManualPartitioner()), kgo.ProducerBatchMaxBytes(4<<10), kgo.ProducerLinger(0))
	ctx := limit(t)
	failed := make(chan error, partitions*each)
	for i := range partitions * each {
		r := &kgo.Record{Topic: topic, Partition: int32(i % partitions), Value: fmt.Appendf(nil, "%d", i/partitions)}
		cl.Produce(ctx, r, func(r *kgo.Record, err error) {
			switch want := string(r.Value); {
			case err != nil:
				failed <- err
			case fmt.Sprint(r.Offset) != want:
				failed <- fmt.Errorf("record %s of partition %d got offset %d", want, r.Partition, r.Offset)
			}
		})
	}
	if err := cl.Flush(ctx); err != nil {
		t.Fatal(err)
	}
	close(failed)
	for err := range failed {
		t.Fatal(err)
	}
	from := map[int32]kgo.Offset{}
	for p := range int32(partitions) {
		from[p] = kgo.NewOffset().AtStart()
	}
	reader := admin(t, kgo.ConsumePartitions(map[string]map[int32]kgo.Offset{topic: from}))
	next := make([]int64, partitions)
	franzPoll(ctx, t, reader, partitions*each, func(r *kgo.Record) {
		if r.Offset != next[r.Partition] || string(r.Value) != fmt.Sprint(r.Offset) {
			t.Fatalf("partition %d: offset %d with value %s, want offset %d", r.Partition, r.Offset, r.Value, next[r.Partition])
		}
		next[r.Partition]++
	})
}
