package brokertest_test

import (
	"testing"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/stelemq/stele/broker/brokertest"
	"github.com/stelemq/stele/protocol"
	"github.com/stelemq/stele/protocol/record"
)

// fetchByID fetches from the beginning of partition 0, in a session or none.
func fetchByID(p *producer, id [16]byte, session, epoch int32, name bool) *kmsg.FetchResponse {
	req := kmsg.NewPtrFetchRequest()
	req.Version, req.MaxBytes, req.SessionID, req.SessionEpoch = 13, 1<<20, session, epoch
	req.ReplicaState.ID = -1
	if name {
		part := kmsg.NewFetchRequestTopicPartition()
		part.PartitionMaxBytes, part.CurrentLeaderEpoch = 1<<20, -1
		rt := kmsg.NewFetchRequestTopic()
		rt.TopicID, rt.Partitions = id, []kmsg.FetchRequestTopicPartition{part}
		req.Topics = append(req.Topics, rt)
	}
	resp := kmsg.NewPtrFetchResponse()
	p.ask(req, resp)
	return resp
}

// describeByID is describe in a version that tells ids.
func describeByID(p *producer, topic string) kmsg.MetadataResponseTopic {
	req := kmsg.NewPtrMetadataRequest()
	req.Version = 12
	rt := kmsg.NewMetadataRequestTopic()
	rt.Topic = &topic
	req.Topics = append(req.Topics, rt)
	resp := kmsg.NewPtrMetadataResponse()
	p.ask(req, resp)
	return resp.Topics[0]
}

func deleteTopic(t *testing.T, p *producer, name string) {
	t.Helper()
	req := kmsg.NewPtrDeleteTopicsRequest()
	req.Version, req.TimeoutMillis, req.TopicNames = 3, 10_000, []string{name}
	resp := kmsg.NewPtrDeleteTopicsResponse()
	p.ask(req, resp)
	if code := protocol.Code(resp.Topics[0].ErrorCode); code != protocol.None {
		t.Fatalf("delete %s: %v", name, code)
	}
}

// produceTo writes one record, by the topic's name or, if it is not zero, its id.
func produceTo(t *testing.T, p *producer, name string, id [16]byte) protocol.Code {
	t.Helper()
	var b record.Builder
	b.Append(record.Record{Key: []byte("k"), Value: []byte("of " + name)})
	batch, err := b.Build(record.None, 0)
	if err != nil {
		t.Fatal(err)
	}
	req := kmsg.NewPtrProduceRequest()
	req.Version, req.Acks, req.TimeoutMillis = 9, -1, 10_000
	rt := kmsg.NewProduceRequestTopic()
	rt.Topic = name
	if id != ([16]byte{}) {
		req.Version, rt.Topic, rt.TopicID = 13, "", id
	}
	part := kmsg.NewProduceRequestTopicPartition()
	part.Records = batch
	rt.Partitions = append(rt.Partitions, part)
	req.Topics = append(req.Topics, rt)
	resp := kmsg.NewPtrProduceResponse()
	p.ask(req, resp)
	return protocol.Code(resp.Topics[0].Partitions[0].ErrorCode)
}

// A topic that was deleted and created again under its name is another one: of the old one's records nothing is seen, also
// after a restart, and whoever goes on by the old id is told that it is not known.
func TestTopics_CreatedAgainUnderTheSameName(t *testing.T) {
	o := brokertest.Options{Dir: t.TempDir()}
	b := brokertest.Start(t, o)
	p := connect(t, b)
	createTopic(t, p, "t", 1, 1)
	var old kmsg.MetadataResponseTopic
	eventually(t, "the topic has a leader", func() bool {
		old = describeByID(p, "t")
		return len(old.Partitions) == 1 && old.Partitions[0].Leader == 1
	})
	for range 5 {
		eventually(t, "a record is stored", func() bool { return produceTo(t, p, "t", [16]byte{}) == protocol.None })
	}
	first := fetchByID(p, old.TopicID, 0, 0, true)
	if got := first.Topics[0].Partitions[0]; got.ErrorCode != 0 || got.HighWatermark != 5 || first.SessionID == 0 {
		t.Fatalf("%+v", first)
	}
	deleteTopic(t, p, "t")
	createTopic(t, p, "t", 1, 1)
	var fresh kmsg.MetadataResponseTopic
	eventually(t, "the new topic has a leader", func() bool {
		fresh = describeByID(p, "t")
		return len(fresh.Partitions) == 1 && fresh.Partitions[0].Leader == 1
	})
	if fresh.TopicID == old.TopicID {
		t.Fatal("the new topic has the old one's id")
	}
	check := func(records int64) {
		t.Helper()
		if code := produceTo(t, p, "", old.TopicID); code != protocol.UnknownTopicID {
			t.Errorf("produce by the old id: %v", code)
		}
		r := fetchByID(p, old.TopicID, 0, -1, true)
		if code := protocol.Code(r.Topics[0].Partitions[0].ErrorCode); code != protocol.UnknownTopicID {
			t.Errorf("fetch by the old id: %v", code)
		}
		r = fetchByID(p, fresh.TopicID, 0, -1, true)
		if got := r.Topics[0].Partitions[0]; got.ErrorCode != 0 || got.HighWatermark != records || got.LogStartOffset != 0 {
			t.Errorf("fetch by the new id: %v, high watermark %d, log start %d", protocol.Code(got.ErrorCode), got.HighWatermark, got.LogStartOffset)
		}
	}
	// The session knows the old topic.
	r := fetchByID(p, old.TopicID, first.SessionID, 1, false)
	if len(r.Topics) != 1 || protocol.Code(r.Topics[0].Partitions[0].ErrorCode) != protocol.UnknownTopicID {
		t.Errorf("the old session: %v %+v", protocol.Code(r.ErrorCode), r.Topics)
	}
	check(0)
	eventually(t, "a record is stored", func() bool { return produceTo(t, p, "t", [16]byte{}) == protocol.None })
	check(1)
	if err := b.Stop(); err != nil {
		t.Fatal(err)
	}
	b = brokertest.Start(t, o)
	p = connect(t, b)
	eventually(t, "the topic has a leader again", func() bool {
		d := describeByID(p, "t")
		return d.TopicID == fresh.TopicID && len(d.Partitions) == 1 && d.Partitions[0].Leader == 1
	})
	check(1)
}
