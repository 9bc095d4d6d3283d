package group

import (
	"maps"
	"slices"
	"strings"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/stelemq/stele/protocol"
)

// groupOperations are the operations that may be authorized on a group, as AclOperation's bits: read, delete, describe.
const groupOperations = 1<<3 | 1<<6 | 1<<8

// listGroups: ListGroups v0-v5
func (c *Coordinator) listGroups(r *Request, req *kmsg.ListGroupsRequest) {
	resp := kmsg.NewPtrListGroupsResponse()
	for _, id := range slices.Sorted(maps.Keys(c.groups)) {
		b := c.groups[id].body
		if wanted(req.StatesFilter, b.state()) && wanted(req.TypesFilter, b.groupType()) {
			resp.Groups = append(resp.Groups, kmsg.ListGroupsResponseGroup{
				Group: id, ProtocolType: b.protocolType(), GroupState: b.state(), GroupType: b.groupType(),
			})
		}
	}
	c.answer(r, resp)
}

// wanted reports whether a filter, which may be empty, lets a value through.
func wanted(filter []string, value string) bool {
	return len(filter) == 0 || slices.ContainsFunc(filter, func(f string) bool { return strings.EqualFold(f, value) })
}

// describeGroups: DescribeGroups v0-v6
func (c *Coordinator) describeGroups(r *Request, req *kmsg.DescribeGroupsRequest) {
	resp := kmsg.NewPtrDescribeGroupsResponse()
	for _, id := range req.Groups {
		out := kmsg.NewDescribeGroupsResponseGroup()
		out.Group, out.State = id, stateDead
		g := c.find(id)
		var k *classicGroup
		if g != nil {
			k, _ = g.body.(*classicGroup)
		}
		switch {
		case k != nil:
			k.describe(&out)
		case req.Version >= 6: // before, a group that is not there is a dead one
			text := "Group " + id + " not found."
			if g != nil {
				text = "Group " + id + " is not a classic group."
			}
			out.ErrorCode, out.ErrorMessage = int16(protocol.GroupIDNotFound), &text
		}
		if req.IncludeAuthorizedOperations && out.ErrorCode == 0 {
			out.AuthorizedOperations = groupOperations
		}
		resp.Groups = append(resp.Groups, out)
	}
	c.answer(r, resp)
}

// describe fills in what the group is. What members say and have been given is told only while it holds.
func (k *classicGroup) describe(out *kmsg.DescribeGroupsResponseGroup) {
	out.State, out.ProtocolType = k.status.String(), k.kind
	stable := k.status == stateStable
	if stable {
		out.Protocol = k.protocol
	}
	for _, m := range k.ordered() {
		d := kmsg.NewDescribeGroupsResponseGroupMember()
		d.MemberID, d.InstanceID, d.ClientID, d.ClientHost = m.id, optional(m.instance), m.clientID, m.host
		d.ProtocolMetadata, d.MemberAssignment = []byte{}, []byte{}
		if stable {
			d.ProtocolMetadata = m.metadata(k.protocol)
			d.MemberAssignment = append(d.MemberAssignment, m.assignment...)
		}
		out.Members = append(out.Members, d)
	}
}
