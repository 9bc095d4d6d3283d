package assignor

import (
	"cmp"
	"slices"
)

// Range gives each member a contiguous range of every topic that it subscribes to, in the order of the instance
// ids, then of the member ids. Members with the same subscription get the same partition numbers of topics with
// the same number of partitions, which joins of streams need. It is sticky only in so far as instance ids keep
// the order of the members.
type Range struct{}

// Name implements [Assignor].
func (Range) Name() string { return rangeName }

// Assign implements [Assignor].
func (Range) Assign(members []Member, partitions map[TopicID]int32) []Assignment {
	order := make([]int, len(members))
	for i := range order {
		order[i] = i
	}
	slices.SortFunc(order, func(a, b int) int { return compareStaticFirst(&members[a], &members[b]) })

	shares := make(map[TopicID]*share, len(partitions))
	bySubscription := make(map[*TopicID][]*share) // members that share the slice share the look-up
	sharesOf := func(topics []TopicID) []*share {
		if len(topics) == 0 {
			return nil
		}
		found := bySubscription[&topics[0]]
		if len(found) != len(topics) {
			found = make([]*share, len(topics))
			for i, topic := range topics {
				if shares[topic] == nil {
					shares[topic] = &share{partitions: partitions[topic]}
				}
				found[i] = shares[topic]
			}
			bySubscription[&topics[0]] = found
		}
		return found
	}
	for i := range members {
		for _, s := range sharesOf(members[i].Topics) {
			s.subscribers++
		}
	}

	result := make([]Assignment, len(members))
	for _, i := range order {
		result[i] = make(Assignment)
		for j, s := range sharesOf(members[i].Topics) {
			if owned := s.take(); len(owned) > 0 {
				result[i][members[i].Topics[j]] = owned
			}
		}
	}
	return result
}

// share is how far the partitions of a topic are dealt.
type share struct{ partitions, subscribers, given, next int32 }

// take returns the next subscriber's range. The first ones get one more where it does not come out even.
func (s *share) take() []int32 {
	quota := s.partitions / s.subscribers
	if s.given < s.partitions%s.subscribers {
		quota++
	}
	s.given++
	owned := make([]int32, quota)
	for i := range owned {
		owned[i] = s.next
		s.next++
	}
	return owned
}

// compareStaticFirst orders static members by instance id before dynamic members by member id.
func compareStaticFirst(a, b *Member) int {
	switch {
	case a.InstanceID != "" && b.InstanceID != "":
		return cmp.Or(cmp.Compare(a.InstanceID, b.InstanceID), cmp.Compare(a.ID, b.ID))
	case a.InstanceID != "":
		return -1
	case b.InstanceID != "":
		return 1
	}
	return cmp.Compare(a.ID, b.ID)
}
