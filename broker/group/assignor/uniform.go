package assignor

import (
	"bytes"
	"cmp"
	"slices"
)

// Uniform gives all members about the same number of partitions and moves as few of them as that allows.
//
// Balance: where two members subscribe to a topic that the first owns a partition of, the first owns at most one
// partition more than the second. With equal subscriptions the loads therefore differ by one at most.
//
// Stickiness: balance goes before it. A partition moves only from a member with at least two more than its new
// owner, and what a member already had is moved last.
type Uniform struct{}

// Name implements [Assignor].
func (Uniform) Name() string { return uniformName }

// Assign implements [Assignor].
func (Uniform) Assign(members []Member, partitions map[TopicID]int32) []Assignment {
	u := newUniformBuilder(members, partitions)
	for _, c := range u.classes {
		u.retain(c)
	}
	// Topics with few subscribers first: the members that can take them are then not yet full of others.
	for _, c := range u.classes {
		u.fill(c)
	}
	u.balance()
	return u.result()
}

// partition is one partition on its way to a member.
type partition struct {
	topic TopicID
	index int32
	prev  int // the member that had it, or nobody
}

const nobody = -1

// class is a set of topics with the same subscribers. Their partitions are interchangeable as far as balance is
// concerned, so balance is looked for class by class: a group whose members subscribe to the same is one class.
type class struct {
	subscribers []int // indexes of members, ascending by member id
	topics      []TopicID
	free        []partition
	owned       map[int][]partition // member → partitions of this class
}

type uniformBuilder struct {
	members    []Member
	partitions map[TopicID]int32
	classes    []*class
	load       []int // partitions of each member, over all classes
	least      *loadHeap
	most       *loadHeap
}

func newUniformBuilder(members []Member, partitions map[TopicID]int32) *uniformBuilder {
	u := &uniformBuilder{members: members, partitions: partitions, load: make([]int, len(members))}
	u.least, u.most = newLoadHeap(u.load, false), newLoadHeap(u.load, true)
	order := make([]int, len(members))
	for i := range order {
		order[i] = i
	}
	slices.SortFunc(order, func(a, b int) int { return cmp.Compare(members[a].ID, members[b].ID) })

	// Members with equal subscriptions form a cohort; a topic's subscribers are a set of cohorts.
	cohorts := groupBySubscription(members, order)
	byTopic := make(map[TopicID][]int32, len(partitions))
	for i, cohort := range cohorts {
		for _, topic := range members[cohort[0]].Topics {
			if partitions[topic] > 0 {
				byTopic[topic] = append(byTopic[topic], int32(i)) //nolint:gosec // far fewer than 2^31 members
			}
		}
	}
	topics := make([]TopicID, 0, len(byTopic))
	for topic := range byTopic {
		topics = append(topics, topic)
	}
	slices.SortFunc(topics, compareTopics)

	byKey := make(map[string]*class)
	var key []byte
	for _, topic := range topics {
		key = key[:0]
		for _, c := range byTopic[topic] {
			key = append(key, byte(c), byte(c>>8), byte(c>>16), byte(c>>24))
		}
		c := byKey[string(key)]
		if c == nil {
			c = &class{owned: make(map[int][]partition)}
			for _, cohort := range byTopic[topic] {
				c.subscribers = append(c.subscribers, cohorts[cohort]...)
			}
			slices.SortFunc(c.subscribers, func(a, b int) int { return cmp.Compare(members[a].ID, members[b].ID) })
			byKey[string(key)] = c
			u.classes = append(u.classes, c)
		}
		c.topics = append(c.topics, topic)
	}
	slices.SortStableFunc(u.classes, func(a, b *class) int { return cmp.Compare(len(a.subscribers), len(b.subscribers)) })
	return u
}

// groupBySubscription returns the members with equal subscriptions together.
func groupBySubscription(members []Member, order []int) [][]int {
	type identity struct {
		first *TopicID
		n     int
	}
	var cohorts [][]int
	byIdentity := make(map[identity]int)
	byContent := make(map[string]int)
	for _, i := range order {
		topics := members[i].Topics
		if len(topics) == 0 {
			continue
		}
		id := identity{first: &topics[0], n: len(topics)}
		cohort, known := byIdentity[id]
		if !known {
			content := make([]byte, 0, len(topics)*len(TopicID{}))
			for _, topic := range topics {
				content = append(content, topic[:]...)
			}
			if cohort, known = byContent[string(content)]; !known {
				cohort = len(cohorts)
				cohorts = append(cohorts, nil)
				byContent[string(content)] = cohort
			}
			byIdentity[id] = cohort
		}
		cohorts[cohort] = append(cohorts[cohort], i)
	}
	return cohorts
}

// retain lets the members keep what they have of the class; what nobody has becomes free.
func (u *uniformBuilder) retain(c *class) {
	for _, topic := range c.topics {
		taken := make([]bool, u.partitions[topic])
		for _, m := range c.subscribers {
			for _, index := range u.members[m].Current[topic] {
				if index < 0 || int(index) >= len(taken) || taken[index] {
					continue // the topic was created anew with fewer partitions, or two members claim it
				}
				taken[index] = true
				c.owned[m] = append(c.owned[m], partition{topic: topic, index: index, prev: m})
				u.load[m]++
			}
		}
		for index := range taken {
			if !taken[index] {
				c.free = append(c.free, partition{topic: topic, index: int32(index), prev: nobody}) //nolint:gosec // a partition number
			}
		}
	}
	for _, owned := range c.owned {
		slices.SortStableFunc(owned, func(a, b partition) int { return cmp.Compare(a.index, b.index) })
	}
}

// fill gives the free partitions of a class to its least loaded subscribers, one at a time, so that the
// partitions of one topic are spread.
func (u *uniformBuilder) fill(c *class) {
	if len(c.free) == 0 {
		return
	}
	least := u.least
	least.reset(c.subscribers)
	for _, p := range c.free {
		m := least.top()
		c.owned[m] = append(c.owned[m], p)
		u.load[m]++
		least.fix(m)
	}
	c.free = nil
}

// balance moves partitions until no move within a class evens out anything. Each move lessens the sum of the
// squares of the loads, so it ends; more passes than a few happen only where classes overlap in long chains.
func (u *uniformBuilder) balance() {
	for moved := true; moved; {
		moved = false
		for _, c := range u.classes {
			if u.balanceClass(c) {
				moved = len(u.classes) > 1
			}
		}
	}
}

func (u *uniformBuilder) balanceClass(c *class) bool {
	if len(c.subscribers) < 2 || !u.uneven(c) {
		return false
	}
	owners := make([]int, 0, len(c.owned))
	for _, m := range c.subscribers {
		if len(c.owned[m]) > 0 {
			owners = append(owners, m)
		}
	}
	least, most := u.least, u.most
	least.reset(c.subscribers)
	most.reset(owners)
	moved := false
	for most.len() > 0 && u.load[most.top()] > u.load[least.top()]+1 {
		from, to := most.top(), least.top()
		u.move(c, from, to)
		moved = true
		// One load at a time: a heap is put right only where a single member is out of place.
		u.load[from]--
		least.fix(from)
		if len(c.owned[from]) == 0 {
			most.remove(from)
		} else {
			most.fix(from)
		}
		u.load[to]++
		least.fix(to)
		if most.has(to) {
			most.fix(to)
		} else {
			most.push(to)
		}
	}
	return moved
}

// uneven tells whether a move within the class can help, without building anything.
func (u *uniformBuilder) uneven(c *class) bool {
	least, most := u.load[c.subscribers[0]], -1
	for _, m := range c.subscribers {
		least = min(least, u.load[m])
		if u.load[m] > most && len(c.owned[m]) > 0 {
			most = u.load[m]
		}
	}
	return most > least+1
}

// move hands one partition over. What from did not have before stands at the end of its list: of those one that to
// had before, else the last. Otherwise the last of what from had, which is the highest number of some topic, so
// that topics stay spread.
func (u *uniformBuilder) move(c *class, from, to int) {
	owned := c.owned[from]
	choice := len(owned) - 1
	for i := choice; i >= 0 && owned[i].prev != from; i-- {
		if owned[i].prev == to {
			choice = i
			break
		}
	}
	p := owned[choice]
	c.owned[from] = slices.Delete(owned, choice, choice+1)
	c.owned[to] = append(c.owned[to], p)
}

func (u *uniformBuilder) result() []Assignment {
	result := make([]Assignment, len(u.members))
	for m := range result {
		result[m] = make(Assignment)
	}
	for _, c := range u.classes {
		for m, owned := range c.owned {
			for _, p := range owned {
				result[m][p.topic] = append(result[m][p.topic], p.index)
			}
		}
	}
	for _, assignment := range result {
		for _, partitions := range assignment {
			slices.Sort(partitions)
		}
	}
	return result
}

func compareTopics(a, b TopicID) int { return bytes.Compare(a[:], b[:]) }
