package compat

import (
	"errors"
	"testing"
	"time"

	"github.com/segmentio/kafka-go"
)

func kafkaGoClient() client {
	return client{
		name: "kafka-go", missing: alwaysThere, codecs: codecs, produce: kafkaGoProduce, consume: kafkaGoConsume,
		// An empty key or value is read as null.
		normalize: func(r record) record {
			if len(r.Key) == 0 {
				r.Key = nil
			}
			if len(r.Value) == 0 {
				r.Value = nil
			}
			return r
		},
	}
}

func kafkaGoCodec(t *testing.T, codec string) kafka.Compression {
	t.Helper()
	if codec == "none" {
		return 0
	}
	var c kafka.Compression
	if err := c.UnmarshalText([]byte(codec)); err != nil {
		t.Fatal(err)
	}
	return c
}

func kafkaGoProduce(t *testing.T, topic, codec string, recs []record) {
	t.Helper()
	w := &kafka.Writer{
		Addr: kafka.TCP(theBroker.bootstrap), Topic: topic, RequiredAcks: kafka.RequireAll, BatchSize: 64,
		BatchTimeout: 5 * time.Millisecond, Compression: kafkaGoCodec(t, codec),
		// The default transport keeps what it knew before the topic was created.
		Transport: &kafka.Transport{},
	}
	defer quietly(w)
	msgs := make([]kafka.Message, len(recs))
	for i, r := range recs {
		msgs[i] = kafkaGoMessage(r)
	}
	if err := w.WriteMessages(limit(t), msgs...); err != nil {
		t.Fatalf("produce: %v", err)
	}
}

func kafkaGoMessage(r record) kafka.Message {
	m := kafka.Message{Key: r.Key, Value: r.Value}
	if r.Timestamp != 0 {
		m.Time = time.UnixMilli(r.Timestamp)
	}
	for _, h := range r.Headers {
		m.Headers = append(m.Headers, kafka.Header{Key: h.Key, Value: h.Value})
	}
	return m
}

func kafkaGoConsume(t *testing.T, topics []want) map[string][]record {
	t.Helper()
	got := map[string][]record{}
	for _, w := range topics {
		r := kafkaGoReader(w.Topic)
		if err := r.SetOffset(kafka.FirstOffset); err != nil {
			t.Fatal(err)
		}
		for range w.Count {
			m, err := r.ReadMessage(limit(t))
			if err != nil {
				t.Fatalf("read %d of %d records of %s: %v", len(got[w.Topic]), w.Count, w.Topic, err)
			}
			got[w.Topic] = append(got[w.Topic], fromKafkaGo(m))
		}
		if err := r.Close(); err != nil {
			t.Fatal(err)
		}
	}
	return got
}

func kafkaGoReader(topic string) *kafka.Reader {
	return kafka.NewReader(kafka.ReaderConfig{
		Brokers: []string{theBroker.bootstrap}, Topic: topic, Partition: 0, MaxWait: 200 * time.Millisecond,
	})
}

func fromKafkaGo(m kafka.Message) record {
	r := record{Offset: m.Offset, Timestamp: m.Time.UnixMilli(), Key: m.Key, Value: m.Value}
	for _, h := range m.Headers {
		r.Headers = append(r.Headers, header{h.Key, h.Value})
	}
	return r
}

// TestKafkaGo_Conn uses the low-level connection, whose request versions are wired in.
func TestKafkaGo_Conn(t *testing.T) {
	topic := newTopic(t, 1)
	conn, err := kafka.DialLeader(limit(t), "tcp", theBroker.bootstrap, topic, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer quietly(conn)
	if err := conn.SetDeadline(time.Now().Add(callTimeout)); err != nil {
		t.Fatal(err)
	}
	versions, err := conn.ApiVersions()
	if err != nil || len(versions) == 0 {
		t.Fatalf("ApiVersions: %d, %v", len(versions), err)
	}
	recs := generate(shape{noTimestamps: true}, 40, 4)
	for _, r := range recs {
		if _, err := conn.WriteMessages(kafkaGoMessage(r)); err != nil {
			t.Fatal(err)
		}
	}
	first, last, err := conn.ReadOffsets()
	if err != nil || first != 0 || last != int64(len(recs)) {
		t.Fatalf("offsets [%d, %d), %v, want [0, %d)", first, last, err, len(recs))
	}
	if _, err := conn.Seek(0, kafka.SeekStart); err != nil {
		t.Fatal(err)
	}
	batch := conn.ReadBatch(1, 1<<20)
	for i, want := range recs {
		m, err := batch.ReadMessage()
		if err != nil {
			t.Fatalf("record %d: %v", i, err)
		}
		if m.Offset != int64(i) || string(m.Value) != string(want.Value) || string(m.Key) != string(want.Key) {
			t.Fatalf("record %d: offset %d, key %s, value %s", i, m.Offset, show(m.Key), show(m.Value))
		}
	}
	if err := batch.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := conn.ReadPartitions(topic); err != nil {
		t.Fatal(err)
	}
	if _, err := conn.Controller(); err != nil {
		t.Fatal(err)
	}
}

// TestKafkaGo_ConnCreatesAndDeletesTopics uses CreateTopics and DeleteTopics of the connection.
func TestKafkaGo_ConnCreatesAndDeletesTopics(t *testing.T) {
	conn, err := kafka.Dial("tcp", theBroker.bootstrap)
	if err != nil {
		t.Fatal(err)
	}
	defer quietly(conn)
	topic := topicName(t.Name())
	cfg := kafka.TopicConfig{Topic: topic, NumPartitions: 2, ReplicationFactor: 1}
	if err := conn.CreateTopics(cfg); err != nil {
		t.Fatalf("create: %v", err)
	}
	poll(t, "two partitions", func() bool {
		parts, err := conn.ReadPartitions(topic)
		return err == nil && len(parts) == 2
	})
	if err := conn.DeleteTopics(topic); err != nil {
		t.Fatalf("delete: %v", err)
	}
	if err := conn.DeleteTopics(topic); !errors.Is(err, kafka.UnknownTopicOrPartition) {
		t.Fatalf("second delete: %v, want %v", err, kafka.UnknownTopicOrPartition)
	}
}

// TestKafkaGo_ReaderByTime begins to read at a point in time, and at the end.
func TestKafkaGo_ReaderByTime(t *testing.T) {
	topic := newTopic(t, 1)
	recs := generate(shape{}, 30, 5)
	franzProduce(t, topic, "none", recs)
	r := kafkaGoReader(topic)
	defer quietly(r)
	if err := r.SetOffsetAt(limit(t), time.UnixMilli(recs[17].Timestamp)); err != nil {
		t.Fatal(err)
	}
	m, err := r.ReadMessage(limit(t))
	if err != nil || m.Offset != 17 {
		t.Fatalf("first record from the time of offset 17 is %d, %v", m.Offset, err)
	}
	if err := r.SetOffset(kafka.LastOffset); err != nil {
		t.Fatal(err)
	}
	if lag, err := r.ReadLag(limit(t)); err != nil || lag < 0 {
		t.Fatalf("lag %d, %v", lag, err)
	}
}
