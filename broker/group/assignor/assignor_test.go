package assignor_test

import (
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/stelemq/stele/broker/group/assignor"
)

func topicID(i int) assignor.TopicID {
	var id assignor.TopicID
	binary.BigEndian.PutUint64(id[8:], uint64(i+1)) //nolint:gosec // small and positive
	return id
}

func topicIDs(n int) []assignor.TopicID {
	ids := make([]assignor.TopicID, n)
	for i := range ids {
		ids[i] = topicID(i)
	}
	return ids
}

// check holds what both assignors promise: each partition of a subscribed topic once, to a subscriber.
func check(t *testing.T, members []assignor.Member, partitions map[assignor.TopicID]int32, got []assignor.Assignment) {
	t.Helper()
	if len(got) != len(members) {
		t.Fatalf("%d assignments for %d members", len(got), len(members))
	}
	owners := make(map[assignor.TopicID]map[int32]int)
	for i, assignment := range got {
		for topic, owned := range assignment {
			if len(owned) == 0 || !slices.IsSorted(owned) {
				t.Errorf("member %d: partitions %v: empty or not sorted", i, owned)
			}
			if !slices.Contains(members[i].Topics, topic) {
				t.Errorf("member %d got partitions of a topic that it does not subscribe to", i)
			}
			if owners[topic] == nil {
				owners[topic] = make(map[int32]int)
			}
			for _, p := range owned {
				if p < 0 || p >= partitions[topic] {
					t.Errorf("member %d got partition %d of %d", i, p, partitions[topic])
				}
				owners[topic][p]++
			}
		}
	}
	for topic, n := range partitions {
		subscribed := slices.ContainsFunc(members, func(m assignor.Member) bool { return slices.Contains(m.Topics, topic) })
		for p := range n {
			if want := map[bool]int{true: 1, false: 0}[subscribed]; owners[topic][p] != want {
				t.Errorf("partition %d has %d owners, want %d", p, owners[topic][p], want)
			}
		}
	}
}

// checkBalanced: no single partition could move to a member that would still have less than its owner.
func checkBalanced(t *testing.T, members []assignor.Member, got []assignor.Assignment) {
	t.Helper()
	for i, a := range got {
		for j, b := range got {
			if a.Size() <= b.Size()+1 {
				continue
			}
			for topic := range a {
				if slices.Contains(members[j].Topics, topic) {
					t.Errorf("member %d has %d partitions, among them some of a topic that member %d with %d subscribes to", i, a.Size(), j, b.Size())
				}
			}
		}
	}
}

// moved counts the partitions whose owner lived on and is no longer their owner.
func moved(members []assignor.Member, got []assignor.Assignment) int {
	n := 0
	for i := range members {
		for topic, owned := range members[i].Current {
			for _, p := range owned {
				if !got[i].Has(topic, p) {
					n++
				}
			}
		}
	}
	return n
}

func TestUniform_MovesNoMoreThanBalanceAsksFor(t *testing.T) {
	for seed := range uint64(300) {
		random := rand.New(rand.NewPCG(seed, 848))
		topics := topicIDs(1 + random.IntN(8))
		partitions := make(map[assignor.TopicID]int32)
		total := 0
		for _, topic := range topics {
			partitions[topic] = random.Int32N(12)
			total += int(partitions[topic])
		}
		members := someMembers(random, 1+random.IntN(10), topics)
		deal(random, members, partitions)

		got := assignor.Uniform{}.Assign(members, partitions)
		check(t, members, partitions, got)
		checkBalanced(t, members, got)

		// The least that must move: with the extra partitions at those who have the most already.
		low, extra := total/len(members), total%len(members)
		sizes := make([]int, len(members))
		for i := range members {
			sizes[i] = members[i].Current.Size()
		}
		slices.Sort(sizes)
		slices.Reverse(sizes)
		least := 0
		for i, size := range sizes {
			quota := low
			if i < extra {
				quota++
			}
			least += max(0, size-quota)
		}
		if n := moved(members, got); n != least {
			t.Fatalf("seed %d: moved %d partitions, %d would do", seed, n, least)
		}
		again(t, members, partitions, got)
		if t.Failed() {
			t.Fatalf("seed %d", seed)
		}
	}
}

func TestUniform_DifferentSubscriptions(t *testing.T) {
	for seed := range uint64(500) {
		random := rand.New(rand.NewPCG(seed, 849))
		topics := topicIDs(1 + random.IntN(8))
		partitions := make(map[assignor.TopicID]int32)
		for _, topic := range topics {
			partitions[topic] = random.Int32N(12)
		}
		members := someMembers(random, 1+random.IntN(10), topics)
		for i := range members {
			members[i].Topics = slices.DeleteFunc(slices.Clone(topics), func(assignor.TopicID) bool { return random.IntN(3) == 0 })
		}
		deal(random, members, partitions)
		got := assignor.Uniform{}.Assign(members, partitions)
		check(t, members, partitions, got)
		checkBalanced(t, members, got)
		again(t, members, partitions, got)

		// One member goes: what the others had and may keep moves only where balance asks for it.
		for i := range members {
			members[i].Current = got[i]
		}
		left := members[1:]
		got = assignor.Uniform{}.Assign(left, partitions)
		check(t, left, partitions, got)
		checkBalanced(t, left, got)
		again(t, left, partitions, got)
		if t.Failed() {
			t.Fatalf("seed %d", seed)
		}
	}
}

// again: what is balanced stays as it is.
func again(t *testing.T, members []assignor.Member, partitions map[assignor.TopicID]int32, got []assignor.Assignment) {
	t.Helper()
	members = slices.Clone(members)
	for i := range members {
		members[i].Current = got[i]
	}
	for i, second := range (assignor.Uniform{}).Assign(members, partitions) {
		if !second.Equal(got[i]) {
			t.Errorf("member %d: a second run changed %v into %v", i, got[i], second)
		}
	}
}

func TestUniform_SpreadsEachTopic(t *testing.T) {
	topics := topicIDs(4)
	partitions := make(map[assignor.TopicID]int32)
	for _, topic := range topics {
		partitions[topic] = 6
	}
	members := []assignor.Member{{ID: "a", Topics: topics}}
	for _, id := range []string{"b", "c"} {
		got := assignor.Uniform{}.Assign(members, partitions)
		for i := range members {
			members[i].Current = got[i]
		}
		members = append(members, assignor.Member{ID: id, Topics: topics})
	}
	for i, assignment := range (assignor.Uniform{}).Assign(members, partitions) {
		for _, topic := range topics {
			if n := len(assignment[topic]); n < 1 || n > 3 {
				t.Errorf("member %d has %d of 6 partitions of one topic: %v", i, n, assignment)
			}
		}
	}
}

func TestRange_ContiguousAndCoPartitioned(t *testing.T) {
	topics := topicIDs(2)
	partitions := map[assignor.TopicID]int32{topics[0]: 3, topics[1]: 3}
	members := []assignor.Member{
		{ID: "m3", InstanceID: "i0", Topics: topics},
		{ID: "m0", Topics: topics},
	}
	got := assignor.Range{}.Assign(members, partitions)
	check(t, members, partitions, got)
	for _, topic := range topics {
		if !slices.Equal(got[0][topic], []int32{0, 1}) || !slices.Equal(got[1][topic], []int32{2}) {
			t.Errorf("the static member must come first: %v", got)
		}
	}
}

func TestRange_DifferentSubscriptions(t *testing.T) {
	for seed := range uint64(300) {
		random := rand.New(rand.NewPCG(seed, 850))
		topics := topicIDs(1 + random.IntN(6))
		partitions := make(map[assignor.TopicID]int32)
		for _, topic := range topics {
			partitions[topic] = random.Int32N(12)
		}
		members := someMembers(random, 1+random.IntN(8), topics)
		for i := range members {
			members[i].Topics = slices.DeleteFunc(slices.Clone(topics), func(assignor.TopicID) bool { return random.IntN(3) == 0 })
		}
		got := assignor.Range{}.Assign(members, partitions)
		check(t, members, partitions, got)
		for i := range got {
			for topic, owned := range got[i] {
				if owned[len(owned)-1]-owned[0] != int32(len(owned)-1) { //nolint:gosec // small
					t.Errorf("seed %d: member %d, topic %x: %v is no range", seed, i, topic, owned)
				}
			}
		}
	}
}

func TestAssignors_ThousandMembersThousandPartitions(t *testing.T) {
	const limit = 100 * time.Millisecond
	shapes := map[string]func(random *rand.Rand) ([]assignor.Member, map[assignor.TopicID]int32){
		"one topic": func(random *rand.Rand) ([]assignor.Member, map[assignor.TopicID]int32) {
			topics := topicIDs(1)
			return someMembers(random, 1000, topics), map[assignor.TopicID]int32{topics[0]: 1000}
		},
		"a thousand topics": func(random *rand.Rand) ([]assignor.Member, map[assignor.TopicID]int32) {
			topics := topicIDs(1000)
			partitions := make(map[assignor.TopicID]int32)
			for _, topic := range topics {
				partitions[topic] = 1
			}
			return someMembers(random, 1000, topics), partitions
		},
		"different subscriptions": func(random *rand.Rand) ([]assignor.Member, map[assignor.TopicID]int32) {
			topics := topicIDs(100)
			partitions := make(map[assignor.TopicID]int32)
			for _, topic := range topics {
				partitions[topic] = 10
			}
			members := someMembers(random, 1000, topics)
			for i := range members {
				members[i].Topics = slices.DeleteFunc(slices.Clone(topics), func(assignor.TopicID) bool { return random.IntN(2) == 0 })
			}
			return members, partitions
		},
	}
	for name, shape := range shapes {
		for _, assignorName := range assignor.Names() {
			t.Run(name+"/"+assignorName, func(t *testing.T) {
				members, partitions := shape(rand.New(rand.NewPCG(1, 2)))
				a, _ := assignor.ByName(assignorName)
				best := time.Hour
				for range 3 { // the machine may be busy
					start := time.Now()
					got := a.Assign(members, partitions)
					best = min(best, time.Since(start))
					if assignorName == "uniform" {
						for i := range members {
							members[i].Current = got[i]
						}
					}
				}
				t.Logf("%v", best)
				if best > limit && !raceEnabled {
					t.Errorf("%v, want at most %v", best, limit)
				}
			})
		}
	}
}

func someMembers(random *rand.Rand, n int, topics []assignor.TopicID) []assignor.Member {
	members := make([]assignor.Member, n)
	for i := range members {
		members[i] = assignor.Member{ID: fmt.Sprintf("%08x", random.Uint32()), Topics: topics}
		if random.IntN(4) == 0 {
			members[i].InstanceID = fmt.Sprintf("instance-%d", i)
		}
	}
	return members
}

// deal gives each partition to a member or to nobody, also to members that do not subscribe to it and beyond the
// end of the topic.
func deal(random *rand.Rand, members []assignor.Member, partitions map[assignor.TopicID]int32) {
	for i := range members {
		members[i].Current = make(assignor.Assignment)
	}
	for _, topic := range topicIDs(len(partitions)) {
		for p := range partitions[topic] {
			if i := random.IntN(len(members) + 1); i < len(members) {
				members[i].Current[topic] = append(members[i].Current[topic], p)
			}
		}
	}
}

func BenchmarkUniform_OneMoreOfThousand(b *testing.B) {
	topics := topicIDs(1)
	partitions := map[assignor.TopicID]int32{topics[0]: 1000}
	members := someMembers(rand.New(rand.NewPCG(1, 2)), 1000, topics)
	got := assignor.Uniform{}.Assign(members[:999], partitions)
	for i := range got {
		members[i].Current = got[i]
	}
	b.ReportAllocs()
	for b.Loop() {
		assignor.Uniform{}.Assign(members, partitions)
	}
}
