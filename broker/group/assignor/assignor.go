package assignor

import (
	"maps"
	"slices"
)

// TopicID is the UUID of a topic.
type TopicID = [16]byte

// Assignment is a set of partitions by topic. The partitions of a topic are ascending and never empty.
type Assignment map[TopicID][]int32

// Size counts the partitions.
func (a Assignment) Size() int {
	n := 0
	for _, partitions := range a {
		n += len(partitions)
	}
	return n
}

// Has tells whether the partition belongs to the assignment.
func (a Assignment) Has(topic TopicID, partition int32) bool {
	_, found := slices.BinarySearch(a[topic], partition)
	return found
}

// Equal tells whether both hold the same partitions.
func (a Assignment) Equal(b Assignment) bool {
	return maps.EqualFunc(a, b, slices.Equal)
}

// Member is what an assignor sees of one member.
type Member struct {
	ID         string
	InstanceID string // empty: a dynamic member
	// Topics are the subscribed topics that exist, ascending and without repetition. Members with the same
	// subscription may share the slice, which makes the comparison cheap. Not modified.
	Topics []TopicID
	// Current is the assignment to depart from, that is the member's last target. Not modified.
	Current Assignment
}

// Assignor distributes partitions over members.
type Assignor interface {
	// Name is the value of group.consumer.assignors and of ServerAssignor in the heartbeat.
	Name() string
	// Assign returns one assignment for each member, in the order of members. partitions holds the number of
	// partitions of every topic that a member subscribes to; a topic that is missing there has none.
	Assign(members []Member, partitions map[TopicID]int32) []Assignment
}

// ByName returns Kafka's assignor of that name, or false.
func ByName(name string) (Assignor, bool) {
	switch name {
	case uniformName:
		return Uniform{}, true
	case rangeName:
		return Range{}, true
	}
	return nil, false
}

// Names lists the assignors in the order of Kafka's default for group.consumer.assignors.
func Names() []string { return []string{uniformName, rangeName} }

const (
	uniformName = "uniform"
	rangeName   = "range"
)
