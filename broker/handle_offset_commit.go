package broker

import (
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/stelemq/stele/broker/metadata"
	"github.com/stelemq/stele/protocol"
)

// OffsetCommit: v0-v10
//
// Behaviour: topics that do not exist are answered at once, the others by the group's coordinator when their offsets are
// committed. Partitions are not looked up, as in Kafka.
//
// Version notes: v0 knows no members (Kafka kept those offsets in ZooKeeper; here they are the group's); v1 a timestamp of
// its own; v2-v4 a retention time; v6 leader epochs; v7 static members; v9 GROUP_ID_NOT_FOUND, and KIP-848 members; v10
// topic ids.

func (k *call) offsetCommit(req *kmsg.OffsetCommitRequest) kmsg.Response {
	image := k.b.opts.Metadata.Image()
	known := *req
	known.Topics = make([]kmsg.OffsetCommitRequestTopic, 0, len(req.Topics))
	codes := make([]protocol.Code, len(req.Topics))
	for i := range req.Topics {
		t := req.Topics[i]
		name, code := k.committedTopic(image, req.Version, t.Topic, t.TopicID)
		if codes[i] = code; code == protocol.None {
			t.Topic = name
			known.Topics = append(known.Topics, t)
		}
	}
	if len(known.Topics) == 0 && len(req.Topics) > 0 {
		return k.mergeCommit(req, codes, nil)
	}
	answered, _ := k.coordinate(req.Group, &known).wait().(*kmsg.OffsetCommitResponse)
	return k.mergeCommit(req, codes, answered)
}

// committedTopic finds a topic that offsets are kept of.
func (k *call) committedTopic(image *metadata.Image, version int16, name string, id metadata.TopicID) (string, protocol.Code) {
	if version < 10 {
		if _, ok := image.Topic(name); !ok {
			return "", protocol.UnknownTopicOrPartition
		}
		return name, protocol.None
	}
	t, ok := image.TopicByID(id)
	if !ok {
		return "", protocol.UnknownTopicID
	}
	return t.Name, protocol.None
}

// mergeCommit puts the answers in the order of the request.
func (k *call) mergeCommit(req *kmsg.OffsetCommitRequest, codes []protocol.Code, answered *kmsg.OffsetCommitResponse) kmsg.Response {
	resp := kmsg.NewPtrOffsetCommitResponse()
	n := 0
	for i := range req.Topics {
		if codes[i] == protocol.None && answered != nil && n < len(answered.Topics) {
			t := answered.Topics[n]
			n++
			for j := range t.Partitions {
				k.note(t.Partitions[j].ErrorCode)
			}
			resp.Topics = append(resp.Topics, t)
			continue
		}
		t := kmsg.OffsetCommitResponseTopic{Topic: req.Topics[i].Topic, TopicID: req.Topics[i].TopicID}
		for j := range req.Topics[i].Partitions {
			t.Partitions = append(t.Partitions, kmsg.OffsetCommitResponseTopicPartition{
				Partition: req.Topics[i].Partitions[j].Partition, ErrorCode: k.code(codes[i]),
			})
		}
		resp.Topics = append(resp.Topics, t)
	}
	return resp
}
