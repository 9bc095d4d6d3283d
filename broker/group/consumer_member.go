package group

import (
	"bytes"
	"cmp"
	"maps"
	"slices"

	"github.com/stelemq/stele/broker/group/assignor"
)

// memberState is how far a member has come on its way to its target; the numbers are those of Kafka's records.
type memberState uint8

const (
	memberStable     memberState = 0   // has all that the target epoch gives it
	memberUnrevoked  memberState = 1   // has to give partitions up before it goes on
	memberUnreleased memberState = 2   // waits for partitions that others have not given up
	memberUnknown    memberState = 127 // recorded by a version with more states
)

// Member epochs with a meaning of their own, in requests and records.
const (
	epochJoin        = 0
	epochLeave       = -1
	epochStaticLeave = -2
)

// owned is a partition that a member owns, with the epoch at which it was given to it.
type owned struct{ index, epoch int32 }

func compareOwned(a, b owned) int { return cmp.Compare(a.index, b.index) }

// ownership is a set of owned partitions by topic, each list ascending and not empty. It is not modified once a
// member has it.
type ownership map[TopicID][]owned

func (o ownership) find(topic TopicID, index int32) (owned, bool) {
	i, found := slices.BinarySearchFunc(o[topic], owned{index: index}, compareOwned)
	if !found {
		return owned{}, false
	}
	return o[topic][i], true
}

func (o ownership) has(topic TopicID, index int32) bool {
	_, found := o.find(topic, index)
	return found
}

func (o ownership) equal(p ownership) bool { return maps.EqualFunc(o, p, slices.Equal) }

// samePartitions compares without the epochs.
func (o ownership) samePartitions(p ownership) bool {
	return maps.EqualFunc(o, p, func(a, b []owned) bool {
		return slices.EqualFunc(a, b, func(x, y owned) bool { return x.index == y.index })
	})
}

func (o ownership) assignment() assignor.Assignment {
	a := make(assignor.Assignment, len(o))
	for topic, list := range o {
		partitions := make([]int32, len(list))
		for i, p := range list {
			partitions[i] = p.index
		}
		a[topic] = partitions
	}
	return a
}

// classicProtocol is one entry of the protocols of a JoinGroup.
type classicProtocol struct {
	name     string
	metadata []byte
}

// classicMetadata is what is kept of a member that takes part in a consumer group by the classic protocol.
type classicMetadata struct {
	sessionTimeoutMillis int32
	protocols            []classicProtocol
}

func (c *classicMetadata) equal(d *classicMetadata) bool {
	if c == nil || d == nil {
		return c == d
	}
	return c.sessionTimeoutMillis == d.sessionTimeoutMillis && slices.EqualFunc(c.protocols, d.protocols, func(a, b classicProtocol) bool {
		return a.name == b.name && bytes.Equal(a.metadata, b.metadata)
	})
}

// consumerMember is one member of a consumer group. It is replaced, never modified, once the group has it.
type consumerMember struct {
	id string

	// What the member has told of itself. Empty strings: nothing told.
	instanceID, rack       string
	clientID, clientHost   string
	topics                 []string // subscribed names, ascending
	regex                  string   // subscribed expression
	rebalanceTimeoutMillis int32
	assignor               string
	classic                *classicMetadata // nil: the member speaks the consumer protocol

	// What it has.
	currentAssignment
}

func newConsumerMember(id string) *consumerMember {
	return &consumerMember{id: id, rebalanceTimeoutMillis: -1}
}

// clone copies the member; lists and maps are shared, as they are never modified.
func (m *consumerMember) clone() *consumerMember {
	c := *m
	return &c
}

func (m *consumerMember) sameMetadata(n *consumerMember) bool {
	return m.instanceID == n.instanceID && m.rack == n.rack && m.clientID == n.clientID && m.clientHost == n.clientHost &&
		slices.Equal(m.topics, n.topics) && m.regex == n.regex && m.rebalanceTimeoutMillis == n.rebalanceTimeoutMillis &&
		m.assignor == n.assignor && m.classic.equal(n.classic)
}

func (m *consumerMember) sameAssignment(n *consumerMember) bool {
	return m.epoch == n.epoch && m.previousEpoch == n.previousEpoch && m.state == n.state &&
		m.assigned.equal(n.assigned) && m.revoking.equal(n.revoking)
}

// reconciledTo tells whether the member has what the target of that epoch gives it.
func (m *consumerMember) reconciledTo(epoch int32) bool {
	return m.state == memberStable && m.epoch == epoch
}

// moveTo sets the epoch and remembers the one before it, which a member may come with once more: the answer with
// the new one may have been lost.
func (m *consumerMember) moveTo(epoch int32) {
	if m.epoch != epoch {
		m.previousEpoch, m.epoch = m.epoch, epoch
	}
}

// sortedTopics lists the keys of a map by topic, ascending.
func sortedTopics[V any](m map[TopicID]V) []TopicID {
	topics := make([]TopicID, 0, len(m))
	for topic := range m {
		topics = append(topics, topic)
	}
	slices.SortFunc(topics, func(a, b TopicID) int { return bytes.Compare(a[:], b[:]) })
	return topics
}

// sortedStrings returns the strings ascending and without repetition, in a slice of their own.
func sortedStrings(list []string) []string {
	if len(list) == 0 {
		return nil
	}
	list = slices.Clone(list)
	slices.Sort(list)
	return slices.Compact(list)
}
