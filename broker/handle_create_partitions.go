package broker

import (
	"context"
	"fmt"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/stelemq/stele/broker/metadata"
	"github.com/stelemq/stele/protocol"
)

// CreatePartitions: v0-v3
//
// Behaviour: adds partitions to topics, each for itself; the answer waits for leaders as CreateTopics
// does.

func (k *call) createPartitions(req *kmsg.CreatePartitionsRequest) kmsg.Response {
	resp := kmsg.NewPtrCreatePartitionsResponse()
	timeout := requestTimeout(req.TimeoutMillis)
	ctx, cancel := context.WithTimeout(k.ctx, timeout)
	defer cancel()
	names := map[string]int{}
	for i := range req.Topics {
		names[req.Topics[i].Topic]++
	}
	mutations := k.mutations(3)
	defer mutations.tell(resp)
	var grown []metadata.TopicID
	for i := range req.Topics {
		rt := &req.Topics[i]
		times := names[rt.Topic]
		if times == 0 {
			continue // a duplicate, answered once
		}
		out := kmsg.NewCreatePartitionsResponseTopic()
		out.Topic = rt.Topic
		command, refused := k.planPartitions(rt)
		if times > 1 {
			names[rt.Topic] = 0
			refused = &metadata.Error{Code: protocol.InvalidRequest, Message: "Duplicate topic in request."}
		}
		if refused == nil {
			refused = mutations.take(len(command.Replicas))
		}
		if refused == nil && !req.ValidateOnly {
			refused = k.growTopic(ctx, command)
			if refused == nil {
				grown = append(grown, command.ID)
				k.b.log.Info("partitions added", "topic", rt.Topic, "partitions", rt.Count)
			}
		}
		if refused != nil {
			out.ErrorCode, out.ErrorMessage = k.code(refused.Code), &refused.Message
		}
		resp.Topics = append(resp.Topics, out)
	}
	if len(grown) > 0 {
		k.b.partitions.awaitLeaders(ctx, grown, min(timeout, 10*time.Second))
	}
	return resp
}

func (k *call) growTopic(ctx context.Context, command *metadata.CreatePartitions) *metadata.Error {
	if _, err := k.b.propose(ctx, command); err != nil {
		code, text := refusal(err)
		return &metadata.Error{Code: code, Message: *text}
	}
	return nil
}

func (k *call) planPartitions(rt *kmsg.CreatePartitionsRequestTopic) (*metadata.CreatePartitions, *metadata.Error) {
	fail := func(code protocol.Code, format string, args ...any) (*metadata.CreatePartitions, *metadata.Error) {
		return nil, &metadata.Error{Code: code, Message: fmt.Sprintf(format, args...)}
	}
	image := k.b.opts.Metadata.Image()
	t, code := k.b.topicNamed(image, rt.Topic)
	have := 0
	if t != nil {
		have = len(t.Partitions)
	}
	switch added := int(rt.Count) - have; {
	case code != protocol.None:
		return fail(code, "This server does not host this topic-partition.")
	case added == 0:
		return fail(protocol.InvalidPartitions, "Topic already has %d partition(s).", have)
	case added < 0:
		return fail(protocol.InvalidPartitions, "The topic %s currently has %d partition(s); %d would not be an increase.", t.Name, have, rt.Count)
	case added > k.b.opts.Config.MaxPartitionsPerRequest:
		return fail(protocol.PolicyViolation, "Excessively large number of partitions per request.")
	case rt.Assignment != nil && len(rt.Assignment) != added:
		return fail(protocol.InvalidReplicaAssignment, "Attempted to add %d additional partition(s), but only %d assignment(s) were specified.", added, len(rt.Assignment))
	}
	command := &metadata.CreatePartitions{ID: t.ID, From: have}
	factor := factorOf(t)
	if rt.Assignment == nil {
		replicas, refused := metadata.Place(image, int(rt.Count)-have, factor)
		command.Replicas = replicas
		return command, refused
	}
	for _, a := range rt.Assignment {
		command.Replicas = append(command.Replicas, a.Replicas)
	}
	return command, checkAssignment(image, command.Replicas, factor)
}
