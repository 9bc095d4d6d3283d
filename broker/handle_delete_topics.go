package broker

import (
	"context"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/stelemq/stele/broker/metadata"
	"github.com/stelemq/stele/protocol"
)

// DeleteTopics: v0-v6
//
// Behaviour: each topic is judged for itself; those that exist are deleted by one command. They are gone
// for clients when the answer arrives; the files follow in the background.
//
// Version notes: v5 error messages; v6 topics by id; below v3 a broker that forbids it answers
// INVALID_REQUEST, then TOPIC_DELETION_DISABLED.

func (k *call) deleteTopics(req *kmsg.DeleteTopicsRequest) kmsg.Response {
	resp := kmsg.NewPtrDeleteTopicsResponse()
	wanted := req.Topics
	for i := range req.TopicNames {
		wanted = append(wanted, kmsg.DeleteTopicsRequestTopic{Topic: &req.TopicNames[i]})
	}
	image := k.b.opts.Metadata.Image()
	seen := map[metadata.TopicID]int{} // where in resp.Topics
	mutations := k.mutations(5)
	defer mutations.tell(resp)
	var command metadata.DeleteTopics
	var places []int
	for i := range wanted {
		out := kmsg.NewDeleteTopicsResponseTopic()
		out.Topic, out.TopicID = wanted[i].Topic, wanted[i].TopicID
		t, code, text := k.topicToDelete(image, &wanted[i])
		if t != nil {
			if _, twice := seen[t.ID]; twice {
				code, text = protocol.InvalidRequest, "Duplicate topic name or id."
			}
			seen[t.ID] = i
		}
		if code == protocol.None {
			if refused := mutations.take(len(t.Partitions)); refused != nil {
				code, text = refused.Code, refused.Message
			}
		}
		if code != protocol.None {
			out.ErrorCode, out.ErrorMessage = k.code(code), &text
		} else {
			name := t.Name
			out.Topic, out.TopicID = &name, t.ID
			command.IDs = append(command.IDs, t.ID)
			places = append(places, i)
		}
		resp.Topics = append(resp.Topics, out)
	}
	if len(command.IDs) > 0 {
		k.carryOutDelete(req, &command, places, resp)
	}
	return resp
}

func (k *call) topicToDelete(image *metadata.Image, want *kmsg.DeleteTopicsRequestTopic) (*metadata.Topic, protocol.Code, string) {
	byID := want.TopicID != [16]byte{}
	switch {
	case !k.b.opts.Config.DeleteTopics && k.version < 3:
		return nil, protocol.InvalidRequest, "Topic deletion is disabled."
	case !k.b.opts.Config.DeleteTopics:
		return nil, protocol.TopicDeletionDisabled, "Topic deletion is disabled."
	case byID == (want.Topic != nil):
		return nil, protocol.InvalidRequest, "You may specify either a topic name or a topic id, and not both."
	case byID:
		t, ok := image.TopicByID(want.TopicID)
		if !ok {
			return nil, protocol.UnknownTopicID, "This server does not host this topic ID."
		}
		return t, protocol.None, ""
	}
	t, code := k.b.topicNamed(image, *want.Topic)
	if code != protocol.None {
		return nil, code, "This server does not host this topic-partition."
	}
	return t, protocol.None, ""
}

func (k *call) carryOutDelete(req *kmsg.DeleteTopicsRequest, command *metadata.DeleteTopics, places []int, resp *kmsg.DeleteTopicsResponse) {
	ctx, cancel := context.WithTimeout(k.ctx, requestTimeout(req.TimeoutMillis))
	defer cancel()
	result, err := k.b.propose(ctx, command)
	for n, place := range places {
		out := &resp.Topics[place]
		switch {
		case err != nil:
			code, text := refusal(err)
			out.ErrorCode, out.ErrorMessage = k.code(code), text
		case result.Topics[n].Error != nil:
			e := result.Topics[n].Error
			out.ErrorCode, out.ErrorMessage = k.code(e.Code), &e.Message
		default:
			k.b.log.Info("topic deleted", "topic", *out.Topic)
		}
	}
}
