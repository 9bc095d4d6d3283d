package group

import (
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/stelemq/stele/protocol"
)

// Failure is the answer to a request that failed as a whole, in the form that Kafka gives it.
//
//nolint:funlen // flat switch over the requests
func Failure(req kmsg.Request, code protocol.Code) kmsg.Response {
	e := int16(code)
	switch req := req.(type) {
	case *kmsg.JoinGroupRequest:
		resp := kmsg.NewPtrJoinGroupResponse()
		resp.ErrorCode, resp.Generation, resp.MemberID = e, -1, req.MemberID
		resp.Protocol = emptyBefore(req.Version, 7)
		return resp
	case *kmsg.SyncGroupRequest:
		resp := kmsg.NewPtrSyncGroupResponse()
		resp.ErrorCode, resp.MemberAssignment = e, []byte{}
		return resp
	case *kmsg.HeartbeatRequest:
		resp := kmsg.NewPtrHeartbeatResponse()
		resp.ErrorCode = e
		return resp
	case *kmsg.LeaveGroupRequest:
		resp := kmsg.NewPtrLeaveGroupResponse()
		resp.ErrorCode = e
		return resp
	case *kmsg.OffsetCommitRequest:
		return commitFailure(req, code)
	case *kmsg.OffsetFetchRequest:
		return fetchFailure(req, code)
	case *kmsg.OffsetDeleteRequest:
		resp := kmsg.NewPtrOffsetDeleteResponse()
		resp.ErrorCode = e
		return resp
	case *kmsg.DeleteGroupsRequest:
		resp := kmsg.NewPtrDeleteGroupsResponse()
		for _, id := range req.Groups {
			resp.Groups = append(resp.Groups, kmsg.DeleteGroupsResponseGroup{Group: id, ErrorCode: e})
		}
		return resp
	case *kmsg.ListGroupsRequest:
		resp := kmsg.NewPtrListGroupsResponse()
		resp.ErrorCode = e
		return resp
	case *kmsg.DescribeGroupsRequest:
		resp := kmsg.NewPtrDescribeGroupsResponse()
		for _, id := range req.Groups {
			g := kmsg.NewDescribeGroupsResponseGroup()
			g.Group, g.ErrorCode = id, e
			resp.Groups = append(resp.Groups, g)
		}
		return resp
	default:
		return consumerFailure(req, code)
	}
}

// emptyBefore is an empty string for versions before that from which a field may be null, else nil.
func emptyBefore(version, nullable int16) *string {
	if version >= nullable {
		return nil
	}
	empty := ""
	return &empty
}

func commitFailure(req *kmsg.OffsetCommitRequest, code protocol.Code) kmsg.Response {
	resp := kmsg.NewPtrOffsetCommitResponse()
	for i := range req.Topics {
		t := &req.Topics[i]
		out := kmsg.OffsetCommitResponseTopic{Topic: t.Topic, TopicID: t.TopicID}
		for j := range t.Partitions {
			out.Partitions = append(out.Partitions, kmsg.OffsetCommitResponseTopicPartition{Partition: t.Partitions[j].Partition, ErrorCode: int16(code)})
		}
		resp.Topics = append(resp.Topics, out)
	}
	return resp
}

// fetchFailure answers an OffsetFetch of one group (v8 and later may name several).
func fetchFailure(req *kmsg.OffsetFetchRequest, code protocol.Code) kmsg.Response {
	resp := kmsg.NewPtrOffsetFetchResponse()
	if req.Version >= 8 {
		for i := range req.Groups {
			resp.Groups = append(resp.Groups, kmsg.OffsetFetchResponseGroup{Group: req.Groups[i].Group, ErrorCode: int16(code)})
		}
		return resp
	}
	resp.ErrorCode = int16(code)
	for i := range req.Topics {
		out := kmsg.OffsetFetchResponseTopic{Topic: req.Topics[i].Topic}
		for _, p := range req.Topics[i].Partitions {
			part := kmsg.NewOffsetFetchResponseTopicPartition()
			part.Partition, part.Offset, part.LeaderEpoch, part.Metadata = p, -1, -1, new("")
			if req.Version < 2 {
				part.ErrorCode = int16(code)
			}
			out.Partitions = append(out.Partitions, part)
		}
		resp.Topics = append(resp.Topics, out)
	}
	return resp
}
