package broker

import (
	"context"
	"fmt"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/stelemq/stele/broker/metadata"
	"github.com/stelemq/stele/protocol"
)

// AlterPartitionReassignments: v0-v1
//
// Behaviour: enters where the replicas of partitions are to go, or cancels that (null replicas), each
// partition for itself; the answer does not wait for the move. New replicas come one at a time as learners,
// then the old ones leave. Where only the order differs the change is complete at once.
//
// Version notes: v1 may forbid a change of the replication factor.

func (k *call) alterPartitionReassignments(req *kmsg.AlterPartitionAssignmentsRequest) kmsg.Response {
	resp := kmsg.NewPtrAlterPartitionAssignmentsResponse()
	resp.AllowReplicationFactorChange = req.AllowReplicationFactorChange
	image := k.b.opts.Metadata.Image()
	var command metadata.AlterReassignments
	type at struct{ topic, partition int }
	var places []at // of command's changes in resp
	for i := range req.Topics {
		rt := &req.Topics[i]
		out := kmsg.NewAlterPartitionAssignmentsResponseTopic()
		out.Topic = rt.Topic
		for j := range rt.Partitions {
			rp := &rt.Partitions[j]
			op := kmsg.NewAlterPartitionAssignmentsResponseTopicPartition()
			op.Partition = rp.Partition
			change, refused := planReassignment(image, rt.Topic, rp, req.Version == 0 || req.AllowReplicationFactorChange)
			if refused != nil {
				op.ErrorCode, op.ErrorMessage = k.code(refused.Code), &refused.Message
			} else {
				command.Changes = append(command.Changes, change)
				places = append(places, at{i, j})
			}
			out.Partitions = append(out.Partitions, op)
		}
		resp.Topics = append(resp.Topics, out)
	}
	if len(command.Changes) == 0 {
		return resp
	}
	ctx, cancel := context.WithTimeout(k.ctx, requestTimeout(req.TimeoutMillis))
	defer cancel()
	result, err := k.b.propose(ctx, &command)
	if err != nil {
		code, text := refusal(err)
		resp.ErrorCode, resp.ErrorMessage = k.code(code), text
		return resp
	}
	for n, place := range places {
		if refused := result.Partitions[n].Error; refused != nil {
			op := &resp.Topics[place.topic].Partitions[place.partition]
			op.ErrorCode, op.ErrorMessage = k.code(refused.Code), &refused.Message
		}
	}
	return resp
}

// planReassignment checks what can be checked before the command is proposed.
func planReassignment(image *metadata.Image, topic string, rp *kmsg.AlterPartitionAssignmentsRequestTopicPartition, mayResize bool) (metadata.Reassignment, *metadata.Error) {
	fail := func(code protocol.Code, format string, args ...any) (metadata.Reassignment, *metadata.Error) {
		return metadata.Reassignment{}, &metadata.Error{Code: code, Message: fmt.Sprintf(format, args...)}
	}
	t, ok := image.Topic(topic)
	if !ok {
		return fail(protocol.UnknownTopicOrPartition, "Unable to find a topic named %s.", topic)
	}
	if rp.Partition < 0 || int(rp.Partition) >= len(t.Partitions) {
		return fail(protocol.UnknownTopicOrPartition, "Unable to find partition %s:%d.", topic, rp.Partition)
	}
	change := metadata.Reassignment{Topic: t.ID, Partition: rp.Partition, Target: rp.Replicas}
	p := &t.Partitions[rp.Partition]
	if rp.Replicas == nil {
		if p.Target == nil {
			return fail(protocol.NoReassignmentInProgress, "No partition reassignment is in progress.")
		}
		return change, nil
	}
	if refused := image.CheckTarget(rp.Replicas); refused != nil {
		return metadata.Reassignment{}, refused
	}
	have := len(p.Wanted())
	if p.Origin != nil {
		have = len(p.Origin)
	}
	if !mayResize && have != len(rp.Replicas) {
		return fail(protocol.InvalidReplicationFactor, "The replication factor is changed from %d to %d", have, len(rp.Replicas))
	}
	return change, nil
}
