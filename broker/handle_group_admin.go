package broker

import (
	"slices"
	"strings"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/stelemq/stele/protocol"
)

// DescribeGroups: v0-v6, ListGroups: v0-v5, DeleteGroups: v0-v3, OffsetDelete: v0
//
// Behaviour: each group is asked of its own coordinator; one that is not here is answered with NOT_COORDINATOR. ListGroups
// tells of the groups whose coordinators are here; while one of them is loading it says so
// (COORDINATOR_LOAD_IN_PROGRESS) beside the others' groups.

func (k *call) describeGroups(req *kmsg.DescribeGroupsRequest) kmsg.Response {
	calls := k.coordinateEach(req.Groups, func(id []string) kmsg.Request {
		one := *req
		one.Groups = id
		return &one
	})
	resp := kmsg.NewPtrDescribeGroupsResponse()
	for _, c := range calls {
		if r, ok := c.wait().(*kmsg.DescribeGroupsResponse); ok {
			for i := range r.Groups {
				k.note(r.Groups[i].ErrorCode)
			}
			resp.Groups = append(resp.Groups, r.Groups...)
		}
	}
	return resp
}

func (k *call) deleteGroups(req *kmsg.DeleteGroupsRequest) kmsg.Response {
	calls := k.coordinateEach(req.Groups, func(id []string) kmsg.Request {
		one := *req
		one.Groups = id
		return &one
	})
	resp := kmsg.NewPtrDeleteGroupsResponse()
	for _, c := range calls {
		if r, ok := c.wait().(*kmsg.DeleteGroupsResponse); ok {
			for i := range r.Groups {
				k.note(r.Groups[i].ErrorCode)
			}
			resp.Groups = append(resp.Groups, r.Groups...)
		}
	}
	return resp
}

func (k *call) listGroups(req *kmsg.ListGroupsRequest) kmsg.Response {
	resp := kmsg.NewPtrListGroupsResponse()
	var calls []*groupCall
	for _, co := range k.b.coordinators.here() {
		calls = append(calls, k.ask(co, req))
	}
	for _, c := range calls {
		r, ok := c.wait().(*kmsg.ListGroupsResponse)
		if !ok || r.ErrorCode == int16(protocol.NotCoordinator) {
			continue
		}
		if r.ErrorCode != 0 {
			resp.ErrorCode = r.ErrorCode
		}
		resp.Groups = append(resp.Groups, r.Groups...)
	}
	k.note(resp.ErrorCode)
	slices.SortFunc(resp.Groups, func(a, b kmsg.ListGroupsResponseGroup) int { return strings.Compare(a.Group, b.Group) })
	return resp
}

func (k *call) offsetDelete(req *kmsg.OffsetDeleteRequest) kmsg.Response {
	image := k.b.opts.Metadata.Image()
	known := *req
	known.Topics = nil
	var missing []kmsg.OffsetDeleteResponseTopic
	for i := range req.Topics {
		t := &req.Topics[i]
		if _, ok := image.Topic(t.Topic); ok {
			known.Topics = append(known.Topics, *t)
			continue
		}
		out := kmsg.OffsetDeleteResponseTopic{Topic: t.Topic}
		for j := range t.Partitions {
			out.Partitions = append(out.Partitions, kmsg.OffsetDeleteResponseTopicPartition{
				Partition: t.Partitions[j].Partition, ErrorCode: k.code(protocol.UnknownTopicOrPartition),
			})
		}
		missing = append(missing, out)
	}
	resp, _ := k.coordinate(req.Group, &known).wait().(*kmsg.OffsetDeleteResponse)
	if k.note(resp.ErrorCode); resp.ErrorCode == 0 {
		resp.Topics = append(resp.Topics, missing...)
	}
	return resp
}
