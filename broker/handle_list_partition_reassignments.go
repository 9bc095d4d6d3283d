package broker

import (
	"slices"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/stelemq/stele/broker/metadata"
)

// ListPartitionReassignments: v0
//
// Behaviour: the reassignments in progress, of the partitions named or of all. Partitions that are not known
// or not being moved are left out.

func (k *call) listPartitionReassignments(req *kmsg.ListPartitionReassignmentsRequest) kmsg.Response {
	resp := kmsg.NewPtrListPartitionReassignmentsResponse()
	image := k.b.opts.Metadata.Image()
	if req.Topics == nil {
		for _, name := range image.TopicNames() {
			t, _ := image.Topic(name)
			listReassignments(resp, t, nil)
		}
		return resp
	}
	for i := range req.Topics {
		if t, ok := image.Topic(req.Topics[i].Topic); ok {
			listReassignments(resp, t, req.Topics[i].Partitions)
		}
	}
	return resp
}

// listReassignments adds the reassignments of a topic; nil partitions mean all.
func listReassignments(resp *kmsg.ListPartitionReassignmentsResponse, t *metadata.Topic, only []int32) {
	out := kmsg.NewListPartitionReassignmentsResponseTopic()
	out.Topic = t.Name
	for n := range t.Partitions {
		p, index := &t.Partitions[n], int32(n) //nolint:gosec // bounded by the metadata
		if p.Target == nil || only != nil && !slices.Contains(only, index) {
			continue
		}
		op := kmsg.NewListPartitionReassignmentsResponseTopicPartition()
		op.Partition, op.AddingReplicas, op.RemovingReplicas = index, p.Adding(), p.Removing()
		op.Replicas = p.Nodes()
		for _, node := range op.AddingReplicas {
			if !slices.Contains(op.Replicas, node) {
				op.Replicas = append(op.Replicas, node)
			}
		}
		out.Partitions = append(out.Partitions, op)
	}
	if len(out.Partitions) > 0 {
		resp.Topics = append(resp.Topics, out)
	}
}
