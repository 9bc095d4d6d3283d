package compat

import (
	"bytes"
	"errors"
	"strings"
	"testing"

	"github.com/IBM/sarama"
	"github.com/segmentio/kafka-go"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// tooLarge is beyond message.max.bytes (1048588 by default).
const tooLarge = 2 << 20

func TestErrors_TooLargeMessage(t *testing.T) {
	topic := newTopic(t, 1)
	value := bytes.Repeat([]byte{'x'}, tooLarge)
	t.Run("franz-go", func(t *testing.T) {
		cl := admin(t, kgo.ProducerBatchMaxBytes(8<<20), kgo.ProducerBatchCompression(kgo.NoCompression()))
		err := cl.ProduceSync(limit(t), &kgo.Record{Topic: topic, Value: value}).FirstErr()
		if !errors.Is(err, kerr.MessageTooLarge) {
			t.Fatalf("got %v, want %v", err, kerr.MessageTooLarge)
		}
	})
	t.Run("sarama", func(t *testing.T) {
		cfg := saramaConfig(false)
		cfg.Producer.Idempotent = false
		cfg.Producer.MaxMessageBytes = 8 << 20
		p, err := sarama.NewSyncProducer([]string{theBroker.bootstrap}, cfg)
		if err != nil {
			t.Fatal(err)
		}
		defer quietly(p)
		_, _, err = p.SendMessage(&sarama.ProducerMessage{Topic: topic, Value: sarama.ByteEncoder(value)})
		if !errors.Is(err, sarama.ErrMessageSizeTooLarge) {
			t.Fatalf("got %v, want %v", err, sarama.ErrMessageSizeTooLarge)
		}
	})
	t.Run("kafka-go", func(t *testing.T) {
		w := &kafka.Writer{Addr: kafka.TCP(theBroker.bootstrap), Topic: topic, BatchBytes: 8 << 20, MaxAttempts: 1, RequiredAcks: kafka.RequireAll}
		defer quietly(w)
		err := w.WriteMessages(limit(t), kafka.Message{Value: value})
		var each kafka.WriteErrors
		if !errors.As(err, &each) || !errors.Is(each[0], kafka.MessageSizeTooLarge) {
			t.Fatalf("got %v, want %v", err, kafka.MessageSizeTooLarge)
		}
	})
	for library, code := range map[string]string{"confluent-kafka": "MSG_SIZE_TOO_LARGE", "kafka-python": "MessageSizeTooLargeError"} {
		t.Run(library, func(t *testing.T) {
			need(t, pythonClient(library))
			if got := python(t, library, "send", topic, "2097152"); got != code {
				t.Fatalf("got %s, want %s", got, code)
			}
		})
	}
	if ends := endOffsets(t, topic, 1); ends[0] != 0 {
		t.Fatalf("the log ends at %d after nothing but refused records", ends[0])
	}
	t.Run("compressed below the limit", func(t *testing.T) {
		cl := admin(t, kgo.ProducerBatchMaxBytes(8<<20), kgo.ProducerBatchCompression(kgo.ZstdCompression()))
		if err := cl.ProduceSync(limit(t), &kgo.Record{Topic: topic, Value: value}).FirstErr(); err != nil {
			t.Fatal(err)
		}
	})
}

func TestErrors_UnknownTopic(t *testing.T) {
	cl := admin(t)
	t.Run("metadata without creation", func(t *testing.T) {
		req := kmsg.NewPtrMetadataRequest()
		topic := kmsg.NewMetadataRequestTopic()
		topic.Topic = new(topicName(t.Name()))
		req.Topics = append(req.Topics, topic)
		resp, err := req.RequestWith(limit(t), cl)
		if err != nil {
			t.Fatal(err)
		}
		if err := kerr.ErrorForCode(resp.Topics[0].ErrorCode); !errors.Is(err, kerr.UnknownTopicOrPartition) {
			t.Fatalf("got %v, want %v", err, kerr.UnknownTopicOrPartition)
		}
	})
	t.Run("franz-go", func(t *testing.T) {
		cl := admin(t, kgo.UnknownTopicRetries(0))
		err := cl.ProduceSync(limit(t), &kgo.Record{Topic: topicName(t.Name()), Value: []byte("x")}).FirstErr()
		if !errors.Is(err, kerr.UnknownTopicOrPartition) {
			t.Fatalf("got %v, want %v", err, kerr.UnknownTopicOrPartition)
		}
	})
	t.Run("kcat", func(t *testing.T) {
		need(t, kcatClient())
		_, said, err := try(t, nil, "kcat", "-b", theBroker.bootstrap, "-C", "-t", topicName(t.Name()), "-p", "0", "-e")
		if err == nil || !strings.Contains(string(said), "Unknown topic or partition") && !strings.Contains(string(said), "Unknown partition") {
			t.Fatalf("kcat says %q, %v", said, err)
		}
	})
	t.Run("partition out of range", func(t *testing.T) {
		req := kmsg.NewPtrListOffsetsRequest()
		part := kmsg.NewListOffsetsRequestTopicPartition()
		part.Partition, part.Timestamp = 7, -1
		req.ReplicaID = -1
		req.Topics = []kmsg.ListOffsetsRequestTopic{{Topic: newTopic(t, 1), Partitions: []kmsg.ListOffsetsRequestTopicPartition{part}}}
		req.SetVersion(7)
		resp := kmsg.NewPtrListOffsetsResponse()
		resp.Version = 7
		rawRoundTrip(t, req, 1, resp)
		if code := resp.Topics[0].Partitions[0].ErrorCode; code != kerr.UnknownTopicOrPartition.Code {
			t.Fatalf("error %d, want %d", code, kerr.UnknownTopicOrPartition.Code)
		}
	})
	t.Run("delete", func(t *testing.T) {
		adm, err := sarama.NewClusterAdmin([]string{theBroker.bootstrap}, saramaConfig(false))
		if err != nil {
			t.Fatal(err)
		}
		defer quietly(adm)
		if err := adm.DeleteTopic(topicName(t.Name())); !errors.Is(err, sarama.ErrUnknownTopicOrPartition) {
			t.Fatalf("got %v, want %v", err, sarama.ErrUnknownTopicOrPartition)
		}
	})
}

// TestErrors_AutoCreation relies on auto.create.topics.enable, which is on by default.
func TestErrors_AutoCreation(t *testing.T) {
	t.Run("kcat", func(t *testing.T) {
		need(t, kcatClient())
		topic := topicName(t.Name())
		kcat(t, []byte("first\nsecond\n"), "-P", "-t", topic)
		total := 0
		for range kcatLines(kcat(t, nil, "-C", "-t", topic, "-o", "beginning", "-e")) {
			total++
		}
		if total != 2 {
			t.Fatalf("%d records in the topic that was created by writing two", total)
		}
	})
	t.Run("kafka-go", func(t *testing.T) {
		w := &kafka.Writer{Addr: kafka.TCP(theBroker.bootstrap), Topic: topicName(t.Name()), AllowAutoTopicCreation: true}
		defer quietly(w)
		if err := w.WriteMessages(limit(t), kafka.Message{Value: []byte("x")}); err != nil && !errors.Is(err, kafka.UnknownTopicOrPartition) {
			t.Fatal(err)
		}
	})
	t.Run("franz-go", func(t *testing.T) {
		cl := admin(t, kgo.AllowAutoTopicCreation())
		if err := cl.ProduceSync(limit(t), &kgo.Record{Topic: topicName(t.Name()), Value: []byte("x")}).FirstErr(); err != nil {
			t.Fatal(err)
		}
	})
}

func kcatLines(out []byte) [][]byte {
	return bytes.Split(bytes.TrimSuffix(out, []byte("\n")), []byte("\n"))
}

func TestErrors_TopicCreation(t *testing.T) {
	existing := newTopic(t, 1)
	cl := admin(t)
	for _, row := range []struct {
		name        string
		topic       string
		partitions  int32
		replication int16
		config      string
		want        error
	}{
		{"exists", existing, 1, 1, "", kerr.TopicAlreadyExists},
		{"empty name", "", 1, 1, "", kerr.InvalidTopicException},
		{"dot", ".", 1, 1, "", kerr.InvalidTopicException},
		{"dots", "..", 1, 1, "", kerr.InvalidTopicException},
		{"slash", "a/b", 1, 1, "", kerr.InvalidTopicException},
		{"space", "a b", 1, 1, "", kerr.InvalidTopicException},
		{"not ASCII", "thème", 1, 1, "", kerr.InvalidTopicException},
		{"too long", strings.Repeat("x", 250), 1, 1, "", kerr.InvalidTopicException},
		{"collides", strings.ReplaceAll(existing, ".", "_"), 1, 1, "", kerr.InvalidTopicException},
		{"no partitions", topicName("none"), 0, 1, "", kerr.InvalidPartitions},
		{"negative partitions", topicName("negative"), -2, 1, "", kerr.InvalidPartitions},
		{"no replica", topicName("none"), 1, 0, "", kerr.InvalidReplicationFactor},
		{"more replicas than brokers", topicName("many"), 1, 7, "", kerr.InvalidReplicationFactor},
		{"unknown config", topicName("config"), 1, 1, "no.such.config=1", kerr.InvalidConfig},
		{"bad config value", topicName("config"), 1, 1, "retention.ms=soon", kerr.InvalidConfig},
	} {
		t.Run(row.name, func(t *testing.T) {
			topic := kmsg.NewCreateTopicsRequestTopic()
			topic.Topic, topic.NumPartitions, topic.ReplicationFactor = row.topic, row.partitions, row.replication
			if k, v, ok := strings.Cut(row.config, "="); ok {
				topic.Configs = []kmsg.CreateTopicsRequestTopicConfig{{Name: k, Value: &v}}
			}
			for _, only := range []bool{true, false} {
				req := kmsg.NewPtrCreateTopicsRequest()
				req.Topics, req.ValidateOnly, req.TimeoutMillis = []kmsg.CreateTopicsRequestTopic{topic}, only, 10_000
				resp, err := req.RequestWith(limit(t), cl)
				if err != nil {
					t.Fatal(err)
				}
				if got := kerr.ErrorForCode(resp.Topics[0].ErrorCode); !errors.Is(got, row.want) {
					t.Errorf("validate only %v: got %v, want %v", only, got, row.want)
				}
			}
		})
	}
	t.Run("validate only creates nothing", func(t *testing.T) {
		topic := kmsg.NewCreateTopicsRequestTopic()
		topic.Topic, topic.NumPartitions, topic.ReplicationFactor = topicName(t.Name()), -1, -1
		req := kmsg.NewPtrCreateTopicsRequest()
		req.Topics, req.ValidateOnly = []kmsg.CreateTopicsRequestTopic{topic}, true
		for range 2 {
			resp, err := req.RequestWith(limit(t), cl)
			if err != nil {
				t.Fatal(err)
			}
			if got := kerr.ErrorForCode(resp.Topics[0].ErrorCode); got != nil {
				t.Fatal(got)
			}
		}
	})
}

// TestErrors_TopicCreationSeenByClients shows the two commonest refusals as clients report them.
func TestErrors_TopicCreationSeenByClients(t *testing.T) {
	existing := newTopic(t, 1)
	t.Run("kafka-go", func(t *testing.T) {
		conn, err := kafka.Dial("tcp", theBroker.bootstrap)
		if err != nil {
			t.Fatal(err)
		}
		defer quietly(conn)
		// The connection hides TOPIC_ALREADY_EXISTS: creating is idempotent there.
		if err := conn.CreateTopics(kafka.TopicConfig{Topic: existing, NumPartitions: 1, ReplicationFactor: 1}); err != nil {
			t.Errorf("existing topic: %v", err)
		}
		if err := conn.CreateTopics(kafka.TopicConfig{Topic: "a/b", NumPartitions: 1, ReplicationFactor: 1}); !errors.Is(err, kafka.InvalidTopic) {
			t.Errorf("invalid name: %v, want %v", err, kafka.InvalidTopic)
		}
	})
	t.Run("sarama", func(t *testing.T) {
		for _, newest := range []bool{false, true} {
			adm, err := sarama.NewClusterAdmin([]string{theBroker.bootstrap}, saramaConfig(newest))
			if err != nil {
				t.Fatal(err)
			}
			detail := &sarama.TopicDetail{NumPartitions: 1, ReplicationFactor: 1}
			if err := adm.CreateTopic(existing, detail, false); !errors.Is(err, sarama.ErrTopicAlreadyExists) {
				t.Errorf("existing topic: %v, want %v", err, sarama.ErrTopicAlreadyExists)
			}
			if err := adm.CreateTopic("a/b", detail, false); !errors.Is(err, sarama.ErrInvalidTopic) {
				t.Errorf("invalid name: %v, want %v", err, sarama.ErrInvalidTopic)
			}
			if err := adm.Close(); err != nil {
				t.Error(err)
			}
		}
	})
	for library, codes := range map[string][2]string{
		"confluent-kafka": {"TOPIC_ALREADY_EXISTS", "TOPIC_EXCEPTION"},
		"kafka-python":    {"TopicAlreadyExistsError", "InvalidTopicError"},
	} {
		t.Run(library, func(t *testing.T) {
			need(t, pythonClient(library))
			if got := python(t, library, "create", topicName(t.Name())); got != "ok" {
				t.Errorf("new topic: %s", got)
			}
			if got := python(t, library, "create", existing); got != codes[0] {
				t.Errorf("existing topic: %s, want %s", got, codes[0])
			}
			if got := python(t, library, "create", "a b"); got != codes[1] {
				t.Errorf("invalid name: %s, want %s", got, codes[1])
			}
		})
	}
}

func TestErrors_FetchOutOfRange(t *testing.T) {
	topic := newTopic(t, 1)
	recs := generate(shape{}, 10, 10)
	franzProduce(t, topic, "none", recs)
	cl := admin(t, kgo.ConsumeResetOffset(kgo.NoResetOffset()),
		kgo.ConsumePartitions(map[string]map[int32]kgo.Offset{topic: {0: kgo.NewOffset().At(1000)}}))
	fetches := cl.PollFetches(limit(t))
	if err := fetches.Err(); !errors.Is(err, kerr.OffsetOutOfRange) {
		t.Fatalf("fetch from 1000 of 10: %v, want %v", err, kerr.OffsetOutOfRange)
	}
	// With a reset policy the client starts over.
	again := admin(t, kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()),
		kgo.ConsumePartitions(map[string]map[int32]kgo.Offset{topic: {0: kgo.NewOffset().At(1000)}}))
	var got []record
	franzPoll(limit(t), t, again, len(recs), func(r *kgo.Record) { got = append(got, fromFranz(r)) })
	mustEqual(t, recs, got)
}
