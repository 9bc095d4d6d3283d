package client

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/segmentio/kafka-go"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/stelemq/stele/protocol"
)

// GroupInfo is a group as its coordinator lists it.
type GroupInfo struct {
	ID string
	// State is Empty, PreparingRebalance, CompletingRebalance, Stable, Dead, or one of a KIP-848 group; empty where the broker
	// does not say.
	State string
	// Type is classic or consumer; empty where the broker does not say.
	Type string
	// ProtocolType is consumer for groups of consumers, empty for one that only keeps offsets.
	ProtocolType string
	// Coordinator is the broker that the group belongs to.
	Coordinator int32
}

// GroupMember is a member of a group.
type GroupMember struct {
	ID, InstanceID, ClientID, Host string
	// Assigned are the partitions that it reads, by topic.
	Assigned map[string][]int32
}

// Group is a group with its members.
type Group struct {
	GroupInfo
	// Protocol is how partitions are assigned.
	Protocol string
	Members  []GroupMember
}

// TopicPartition names a partition.
type TopicPartition struct {
	Topic     string
	Partition int32
}

// Committed is an offset that a group has committed.
type Committed struct {
	Offset      int64
	LeaderEpoch int32 // -1: none
	Metadata    string
}

// maxVersion is a request that is not sent in a version above a limit.
type maxVersion struct {
	kmsg.Request
	max int16
}

// MaxVersion implements kmsg.Request.
func (m maxVersion) MaxVersion() int16 { return m.max }

// Groups lists all groups of the cluster, by id. What brokers that do not answer have is missing; the error names the first
// of them.
func (c *Client) Groups(ctx context.Context) ([]GroupInfo, error) {
	cluster, err := c.Cluster(ctx)
	if err != nil {
		return nil, err
	}
	var out []GroupInfo
	var failed error
	for _, b := range cluster.Brokers {
		resp, err := c.Request(ctx, b.ID, kmsg.NewPtrListGroupsRequest())
		if err == nil {
			res := resp.(*kmsg.ListGroupsResponse) //nolint:errcheck,forcetypeassert // decoded as such
			err = codeError(fmt.Sprintf("list the groups of broker %d", b.ID), res.ErrorCode, "")
			for _, g := range res.Groups {
				out = append(out, GroupInfo{ID: g.Group, State: g.GroupState, Type: g.GroupType, ProtocolType: g.ProtocolType, Coordinator: b.ID})
			}
		}
		if failed == nil {
			failed = err
		}
	}
	slices.SortFunc(out, func(a, b GroupInfo) int { return cmp.Compare(a.ID, b.ID) })
	return out, failed
}

// askGroup sends a request to the coordinator of a group, and again while it moves or is being made.
func (c *Client) askGroup(ctx context.Context, group string, req kmsg.Request, code func(kmsg.Response) int16) (kmsg.Response, error) {
	for wait := (backoff{}); ; {
		id, err := c.coordinator(ctx, group, kafka.CoordinatorKeyTypeConsumer)
		var resp kmsg.Response
		if err == nil {
			resp, err = c.Request(ctx, id, req)
		}
		if err == nil {
			switch err = codeError(fmt.Sprintf("ask the coordinator of group %q", group), code(resp), ""); protocol.Code(code(resp)) {
			case protocol.NotCoordinator, protocol.CoordinatorNotAvailable, protocol.CoordinatorLoadInProgress:
			default:
				return resp, nil
			}
		} else if !Retriable(err) {
			return nil, err
		}
		if wait.sleep(ctx) != nil {
			return nil, err
		}
	}
}

// DescribeGroup returns a group of either type with its members. Errors: GROUP_ID_NOT_FOUND where there is none.
func (c *Client) DescribeGroup(ctx context.Context, id string) (*Group, error) {
	req := kmsg.NewPtrDescribeGroupsRequest()
	req.Groups = []string{id}
	resp, err := c.askGroup(ctx, id, req, func(r kmsg.Response) int16 { return r.(*kmsg.DescribeGroupsResponse).Groups[0].ErrorCode }) //nolint:errcheck,forcetypeassert // decoded as such
	if err != nil {
		return nil, err
	}
	d := &resp.(*kmsg.DescribeGroupsResponse).Groups[0] //nolint:errcheck,forcetypeassert // decoded as such
	op := fmt.Sprintf("describe group %q", id)
	if protocol.Code(d.ErrorCode) == protocol.GroupIDNotFound || d.ErrorCode == 0 && d.State == "Dead" {
		if g, err := c.describeConsumerGroup(ctx, id); err == nil || !errors.Is(err, protocol.GroupIDNotFound) && !errors.Is(err, ErrUnsupported) {
			return g, err
		}
		return nil, c.unknownGroup(ctx, id)
	}
	if err := codeError(op, d.ErrorCode, deref(d.ErrorMessage)); err != nil {
		return nil, err
	}
	g := &Group{GroupInfo: GroupInfo{ID: id, State: d.State, Type: "classic", ProtocolType: d.ProtocolType}, Protocol: d.Protocol}
	for i := range d.Members {
		m := &d.Members[i]
		member := GroupMember{ID: m.MemberID, InstanceID: deref(m.InstanceID), ClientID: m.ClientID, Host: m.ClientHost, Assigned: map[string][]int32{}}
		var a kmsg.ConsumerMemberAssignment
		if d.ProtocolType == "consumer" && a.ReadFrom(m.MemberAssignment) == nil {
			for _, t := range a.Topics {
				member.Assigned[t.Topic] = t.Partitions
			}
		}
		g.Members = append(g.Members, member)
	}
	g.Coordinator, err = c.coordinator(ctx, id, kafka.CoordinatorKeyTypeConsumer)
	return g, err
}

func (c *Client) describeConsumerGroup(ctx context.Context, id string) (*Group, error) {
	req := kmsg.NewPtrConsumerGroupDescribeRequest()
	req.Groups = []string{id}
	resp, err := c.askGroup(ctx, id, req, func(r kmsg.Response) int16 { return r.(*kmsg.ConsumerGroupDescribeResponse).Groups[0].ErrorCode }) //nolint:errcheck,forcetypeassert // decoded as such
	if err != nil {
		return nil, err
	}
	d := &resp.(*kmsg.ConsumerGroupDescribeResponse).Groups[0] //nolint:errcheck,forcetypeassert // decoded as such
	if err := codeError(fmt.Sprintf("describe group %q", id), d.ErrorCode, deref(d.ErrorMessage)); err != nil {
		return nil, err
	}
	g := &Group{GroupInfo: GroupInfo{ID: id, State: d.State, Type: "consumer", ProtocolType: "consumer"}, Protocol: d.AssignorName}
	for i := range d.Members {
		m := &d.Members[i]
		member := GroupMember{ID: m.MemberID, InstanceID: deref(m.InstanceID), ClientID: m.ClientID, Host: m.ClientHost, Assigned: map[string][]int32{}}
		for _, t := range m.Assignment.TopicPartitions {
			member.Assigned[t.Topic] = t.Partitions
		}
		g.Members = append(g.Members, member)
	}
	g.Coordinator, err = c.coordinator(ctx, id, kafka.CoordinatorKeyTypeConsumer)
	return g, err
}

// Committed returns what a group has committed.
func (c *Client) Committed(ctx context.Context, group string) (map[TopicPartition]Committed, error) {
	req := kmsg.NewPtrOffsetFetchRequest()
	one := kmsg.NewOffsetFetchRequestGroup()
	one.Group = group
	req.Group, req.Groups, req.RequireStable = group, []kmsg.OffsetFetchRequestGroup{one}, true
	resp, err := c.askGroup(ctx, group, maxVersion{req, 9}, func(r kmsg.Response) int16 {
		res := r.(*kmsg.OffsetFetchResponse) //nolint:errcheck,forcetypeassert // decoded as such
		if len(res.Groups) > 0 {
			return res.Groups[0].ErrorCode
		}
		return res.ErrorCode
	})
	if err != nil {
		return nil, err
	}
	res := resp.(*kmsg.OffsetFetchResponse) //nolint:errcheck,forcetypeassert // decoded as such
	out := map[TopicPartition]Committed{}
	code := res.ErrorCode
	for _, g := range res.Groups {
		code = g.ErrorCode
		for _, t := range g.Topics {
			for _, p := range t.Partitions {
				if p.ErrorCode == 0 && p.Offset >= 0 {
					out[TopicPartition{t.Topic, p.Partition}] = Committed{p.Offset, p.LeaderEpoch, deref(p.Metadata)}
				}
			}
		}
	}
	for _, t := range res.Topics {
		for _, p := range t.Partitions {
			if p.ErrorCode == 0 && p.Offset >= 0 {
				out[TopicPartition{t.Topic, p.Partition}] = Committed{p.Offset, p.LeaderEpoch, deref(p.Metadata)}
			}
		}
	}
	return out, codeError(fmt.Sprintf("fetch the offsets of group %q", group), code, "")
}

// CommitOffsets sets offsets of a group that has no members. Errors: UNKNOWN_MEMBER_ID where it has some.
func (c *Client) CommitOffsets(ctx context.Context, group string, offsets map[TopicPartition]int64) error {
	commits := make(map[TopicPartition]Committed, len(offsets))
	for tp, o := range offsets {
		commits[tp] = Committed{Offset: o, LeaderEpoch: -1}
	}
	return c.commit(ctx, commitRequest(group, "", nil, -1, commits), group)
}

func commitRequest(group, member string, instance *string, generation int32, offsets map[TopicPartition]Committed) *kmsg.OffsetCommitRequest {
	req := kmsg.NewPtrOffsetCommitRequest()
	req.Group, req.MemberID, req.InstanceID, req.Generation = group, member, instance, generation
	byTopic := map[string][]kmsg.OffsetCommitRequestTopicPartition{}
	for tp, o := range offsets {
		p := kmsg.NewOffsetCommitRequestTopicPartition()
		p.Partition, p.Offset, p.LeaderEpoch, p.Metadata = tp.Partition, o.Offset, o.LeaderEpoch, &o.Metadata
		byTopic[tp.Topic] = append(byTopic[tp.Topic], p)
	}
	for topic, parts := range byTopic {
		req.Topics = append(req.Topics, kmsg.OffsetCommitRequestTopic{Topic: topic, Partitions: parts})
	}
	return req
}

// commitCode is the first error of a commit's answer.
func commitCode(r kmsg.Response) int16 {
	res := r.(*kmsg.OffsetCommitResponse) //nolint:errcheck,forcetypeassert // decoded as such
	for i := range res.Topics {
		for j := range res.Topics[i].Partitions {
			if code := res.Topics[i].Partitions[j].ErrorCode; code != 0 {
				return code
			}
		}
	}
	return 0
}

func (c *Client) commit(ctx context.Context, req *kmsg.OffsetCommitRequest, group string) error {
	resp, err := c.askGroup(ctx, group, maxVersion{req, 9}, commitCode)
	if err != nil {
		return err
	}
	return codeError(fmt.Sprintf("commit offsets of group %q", group), commitCode(resp), "")
}

// DeleteGroup deletes a group without members and its offsets. Errors: NON_EMPTY_GROUP, GROUP_ID_NOT_FOUND.
func (c *Client) DeleteGroup(ctx context.Context, id string) error {
	req := kmsg.NewPtrDeleteGroupsRequest()
	req.Groups = []string{id}
	code := func(r kmsg.Response) int16 { return r.(*kmsg.DeleteGroupsResponse).Groups[0].ErrorCode } //nolint:errcheck,forcetypeassert // decoded as such
	resp, err := c.askGroup(ctx, id, req, code)
	if err != nil {
		return err
	}
	return codeError(fmt.Sprintf("delete group %q", id), code(resp), "")
}

// EvictGroup removes all members of a classic group: those that still run join again.
func (c *Client) EvictGroup(ctx context.Context, g *Group) error {
	req := kmsg.NewPtrLeaveGroupRequest()
	req.Group = g.ID
	reason := "evicted by an administrator"
	for i := range g.Members {
		m := kmsg.NewLeaveGroupRequestMember()
		m.MemberID, m.Reason = g.Members[i].ID, &reason
		if g.Members[i].InstanceID != "" {
			m.InstanceID = &g.Members[i].InstanceID
		}
		req.Members = append(req.Members, m)
	}
	code := func(r kmsg.Response) int16 { return r.(*kmsg.LeaveGroupResponse).ErrorCode } //nolint:errcheck,forcetypeassert // decoded as such
	resp, err := c.askGroup(ctx, g.ID, req, code)
	if err != nil {
		return err
	}
	return codeError(fmt.Sprintf("evict the members of group %q", g.ID), code(resp), "")
}

// DeleteOffsets drops what a group has committed for partitions that no member is subscribed to.
// Errors: GROUP_SUBSCRIBED_TO_TOPIC, GROUP_ID_NOT_FOUND.
func (c *Client) DeleteOffsets(ctx context.Context, group, topic string, partitions ...int32) error {
	req := kmsg.NewPtrOffsetDeleteRequest()
	req.Group = group
	t := kmsg.OffsetDeleteRequestTopic{Topic: topic}
	for _, p := range partitions {
		t.Partitions = append(t.Partitions, kmsg.OffsetDeleteRequestTopicPartition{Partition: p})
	}
	req.Topics = []kmsg.OffsetDeleteRequestTopic{t}
	resp, err := c.askGroup(ctx, group, req, func(r kmsg.Response) int16 { return r.(*kmsg.OffsetDeleteResponse).ErrorCode }) //nolint:errcheck,forcetypeassert // decoded as such
	if err != nil {
		return err
	}
	res := resp.(*kmsg.OffsetDeleteResponse) //nolint:errcheck,forcetypeassert // decoded as such
	code := res.ErrorCode
	for i := range res.Topics {
		for j := range res.Topics[i].Partitions {
			code = cmp.Or(code, res.Topics[i].Partitions[j].ErrorCode)
		}
	}
	return codeError(fmt.Sprintf("delete the offsets of %q in group %q", topic, group), code, "")
}

// NextTimestamps returns when the first records at or after some offsets were written, of those partitions that have such
// records and answer in time.
func (c *Client) NextTimestamps(ctx context.Context, at map[TopicPartition]int64) (map[TopicPartition]time.Time, error) {
	out := map[TopicPartition]time.Time{}
	if len(at) == 0 {
		return out, nil
	}
	o := ConsumerOptions{MaxWait: 10 * time.Millisecond, PartitionBytes: 1, FetchBytes: 1 << 20}
	for tp, offset := range at {
		o.Assign = append(o.Assign, Assignment{Topic: tp.Topic, Partition: tp.Partition, From: At(offset)})
	}
	k, err := c.NewConsumer(o)
	if err != nil {
		return nil, err
	}
	defer k.Close() //nolint:errcheck // nothing is pending
	for len(out) < len(at) {
		records, err := k.Poll(ctx)
		if err != nil {
			return out, err
		}
		tp := TopicPartition{records[0].Topic, records[0].Partition}
		if _, known := out[tp]; !known {
			out[tp] = records[0].Timestamp
		}
	}
	return out, nil
}
