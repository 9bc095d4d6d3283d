package compat

import (
	"testing"
	"time"

	"github.com/IBM/sarama"
)

// saramaClient is sarama with its default protocol version, or with the newest it knows.
func saramaClient(newest bool) client {
	name := "sarama"
	if newest {
		name = "sarama-max"
	}
	return client{
		name: name, missing: alwaysThere, codecs: codecs,
		produce: func(t *testing.T, topic, codec string, recs []record) {
			t.Helper()
			saramaProduce(t, saramaConfig(newest), topic, codec, recs)
		},
		consume: func(t *testing.T, topics []want) map[string][]record {
			t.Helper()
			return saramaConsume(t, saramaConfig(newest), topics)
		},
	}
}

func saramaConfig(newest bool) *sarama.Config {
	cfg := sarama.NewConfig()
	if newest {
		cfg.Version = sarama.MaxVersion
	}
	cfg.Producer.Idempotent = true
	cfg.Producer.RequiredAcks = sarama.WaitForAll
	cfg.Producer.Return.Successes = true
	cfg.Producer.Partitioner = sarama.NewManualPartitioner
	cfg.Net.MaxOpenRequests = 1
	cfg.Consumer.Return.Errors = true
	cfg.Consumer.MaxWaitTime = 200 * time.Millisecond
	return cfg
}

func saramaProduce(t *testing.T, cfg *sarama.Config, topic, codec string, recs []record) {
	t.Helper()
	if err := cfg.Producer.Compression.UnmarshalText([]byte(codec)); err != nil {
		t.Fatal(err)
	}
	p, err := sarama.NewSyncProducer([]string{theBroker.bootstrap}, cfg)
	if err != nil {
		t.Fatal(err)
	}
	defer quietly(p)
	msgs := make([]*sarama.ProducerMessage, len(recs))
	for i, r := range recs {
		m := &sarama.ProducerMessage{Topic: topic, Partition: 0}
		if r.Key != nil {
			m.Key = sarama.ByteEncoder(r.Key)
		}
		if r.Value != nil {
			m.Value = sarama.ByteEncoder(r.Value)
		}
		if r.Timestamp != 0 {
			m.Timestamp = time.UnixMilli(r.Timestamp)
		}
		for _, h := range r.Headers {
			m.Headers = append(m.Headers, sarama.RecordHeader{Key: []byte(h.Key), Value: h.Value})
		}
		msgs[i] = m
	}
	if err := p.SendMessages(msgs); err != nil {
		t.Fatalf("produce: %v", err)
	}
}

func saramaConsume(t *testing.T, cfg *sarama.Config, topics []want) map[string][]record {
	t.Helper()
	c, err := sarama.NewConsumer([]string{theBroker.bootstrap}, cfg)
	if err != nil {
		t.Fatal(err)
	}
	defer quietly(c)
	got := map[string][]record{}
	for _, w := range topics {
		pc, err := c.ConsumePartition(w.Topic, 0, sarama.OffsetOldest)
		if err != nil {
			t.Fatal(err)
		}
		for range w.Count {
			select {
			case m := <-pc.Messages():
				got[w.Topic] = append(got[w.Topic], fromSarama(m))
			case err := <-pc.Errors():
				t.Fatal(err)
			case <-limit(t).Done():
				t.Fatalf("read %d of %d records of %s", len(got[w.Topic]), w.Count, w.Topic)
			}
		}
		if err := pc.Close(); err != nil {
			t.Fatal(err)
		}
	}
	return got
}

func fromSarama(m *sarama.ConsumerMessage) record {
	r := record{Offset: m.Offset, Timestamp: m.Timestamp.UnixMilli(), Key: m.Key, Value: m.Value}
	for _, h := range m.Headers {
		r.Headers = append(r.Headers, header{string(h.Key), h.Value})
	}
	return r
}

// TestSarama_AsyncProducerWithManyInFlight writes without waiting, with the defaults of most programs: acks=1,
// not idempotent, hash of the key.
func TestSarama_AsyncProducerWithManyInFlight(t *testing.T) {
	const n = 5000
	topic := newTopic(t, 3)
	cfg := sarama.NewConfig()
	cfg.Producer.Return.Successes = true
	cfg.Producer.Compression = sarama.CompressionSnappy
	p, err := sarama.NewAsyncProducer([]string{theBroker.bootstrap}, cfg)
	if err != nil {
		t.Fatal(err)
	}
	go func() {
		for range n {
			p.Input() <- &sarama.ProducerMessage{Topic: topic, Value: sarama.StringEncoder("value")}
		}
	}()
	seen := map[[2]int64]bool{}
	for range n {
		select {
		case m := <-p.Successes():
			at := [2]int64{int64(m.Partition), m.Offset}
			if seen[at] {
				t.Fatalf("offset %d of partition %d was given twice", m.Offset, m.Partition)
			}
			seen[at] = true
		case err := <-p.Errors():
			t.Fatal(err)
		case <-limit(t).Done():
			t.Fatalf("%d of %d records acknowledged", len(seen), n)
		}
	}
	if err := p.Close(); err != nil {
		t.Fatal(err)
	}
}

func TestSarama_AdminDescribesWhatItCreated(t *testing.T) {
	for _, newest := range []bool{false, true} {
		cfg := saramaConfig(newest)
		adm, err := sarama.NewClusterAdmin([]string{theBroker.bootstrap}, cfg)
		if err != nil {
			t.Fatal(err)
		}
		topic := topicName(t.Name())
		retention := "123456"
		detail := &sarama.TopicDetail{NumPartitions: 4, ReplicationFactor: 1, ConfigEntries: map[string]*string{"retention.ms": &retention}}
		if err := adm.CreateTopic(topic, detail, false); err != nil {
			t.Fatalf("create with version %s: %v", cfg.Version, err)
		}
		if err := adm.CreatePartitions(topic, 6, nil, false); err != nil {
			t.Fatalf("create partitions with version %s: %v", cfg.Version, err)
		}
		resource := &sarama.ConfigResource{Type: sarama.TopicResource, Name: topic, ConfigNames: []string{"retention.ms"}}
		described, err := adm.DescribeConfigs([]*sarama.ConfigResource{resource}, sarama.DescribeConfigsOptions{IncludeSynonyms: true, IncludeDocumentation: newest})
		if err != nil {
			t.Fatal(err)
		}
		if len(described) != 1 || len(described[0].Configs) != 1 {
			t.Fatalf("DescribeConfigs gives %+v, want retention.ms alone", described)
		}
		if got := described[0].Configs[0]; got.Value != retention || got.Source != sarama.SourceTopic || len(got.Synonyms) == 0 {
			t.Fatalf("DescribeConfigs gives %+v, want retention.ms=%s of the topic, with synonyms", got, retention)
		}
		var meta []*sarama.TopicMetadata
		poll(t, "six partitions with leaders", func() bool {
			if meta, err = adm.DescribeTopics([]string{topic}); err != nil {
				t.Fatal(err)
			}
			return len(meta) == 1 && meta[0].Err == sarama.ErrNoError && len(meta[0].Partitions) == 6
		})
		if err := adm.DeleteTopic(topic); err != nil {
			t.Fatal(err)
		}
		poll(t, "the deleted topic to be unknown", func() bool {
			meta, err = adm.DescribeTopics([]string{topic})
			return err == nil && len(meta) == 1 && meta[0].Err == sarama.ErrUnknownTopicOrPartition
		})
		if err := adm.Close(); err != nil {
			t.Fatal(err)
		}
	}
}
