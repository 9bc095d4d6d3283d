package broker

import (
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/stelemq/stele/broker/metadata"
	"github.com/stelemq/stele/protocol"
)

// OffsetFetch: v0-v10
//
// Behaviour: each group is asked of its own coordinator; one that is not here is answered with NOT_COORDINATOR.
//
// Version notes: v2 null topics means all; v5 leader epochs; v7 require stable: no transaction can be open, so everything
// is; v8 several groups; v9 the member that asks; v10 topic ids.

func (k *call) offsetFetch(req *kmsg.OffsetFetchRequest) kmsg.Response {
	if req.Version < 8 {
		resp := k.coordinate(req.Group, req).wait()
		if r, ok := resp.(*kmsg.OffsetFetchResponse); ok {
			k.note(r.ErrorCode)
		}
		return resp
	}
	image := k.b.opts.Metadata.Image()
	calls := make([]*groupCall, len(req.Groups))
	unknown := make([][]kmsg.OffsetFetchResponseGroupTopic, len(req.Groups))
	for i := range req.Groups {
		one := *req
		g := req.Groups[i]
		if req.Version >= 10 && g.Topics != nil {
			g.Topics, unknown[i] = namedTopics(image, g.Topics)
		}
		one.Groups = []kmsg.OffsetFetchRequestGroup{g}
		calls[i] = k.coordinate(g.Group, &one)
	}
	resp := kmsg.NewPtrOffsetFetchResponse()
	for i := range calls {
		r, ok := calls[i].wait().(*kmsg.OffsetFetchResponse)
		if !ok || len(r.Groups) != 1 {
			continue
		}
		g := r.Groups[0]
		k.note(g.ErrorCode)
		if g.ErrorCode == 0 {
			g.Topics = append(g.Topics, unknown[i]...)
		}
		resp.Groups = append(resp.Groups, g)
	}
	return resp
}

// namedTopics looks up the names of topics asked for by id, and answers those that do not exist.
func namedTopics(image *metadata.Image, topics []kmsg.OffsetFetchRequestGroupTopic) (known []kmsg.OffsetFetchRequestGroupTopic, unknown []kmsg.OffsetFetchResponseGroupTopic) {
	known = make([]kmsg.OffsetFetchRequestGroupTopic, 0, len(topics))
	for _, t := range topics {
		if found, ok := image.TopicByID(t.TopicID); ok {
			t.Topic = found.Name
			known = append(known, t)
			continue
		}
		out := kmsg.OffsetFetchResponseGroupTopic{TopicID: t.TopicID}
		for _, p := range t.Partitions {
			none := ""
			out.Partitions = append(out.Partitions, kmsg.OffsetFetchResponseGroupTopicPartition{
				Partition: p, Offset: -1, LeaderEpoch: -1, Metadata: &none, ErrorCode: int16(protocol.UnknownTopicID),
			})
		}
		unknown = append(unknown, out)
	}
	return known, unknown
}
