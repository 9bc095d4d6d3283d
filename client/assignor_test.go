package client

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
)

func tp(topic string, ps ...int32) []TopicPartition {
	var out []TopicPartition
	for _, p := range ps {
		out = append(out, TopicPartition{topic, p})
	}
	return out
}

// As Kafka's assignors do it, from their documentation.
func TestAssign_AsKafka(t *testing.T) {
	members := []AssignMember{{ID: "C1", Topics: []string{"t0", "t1"}}, {ID: "C0", Topics: []string{"t0", "t1"}}}
	partitions := map[string]int{"t0": 3, "t1": 3}
	for _, row := range []struct {
		a    Assignor
		want map[string][]TopicPartition
	}{
		{Range(), map[string][]TopicPartition{"C0": append(tp("t0", 0, 1), tp("t1", 0, 1)...), "C1": append(tp("t0", 2), tp("t1", 2)...)}},
		{RoundRobin(), map[string][]TopicPartition{"C0": append(tp("t0", 0, 2), tp("t1", 1)...), "C1": append(tp("t0", 1), tp("t1", 0, 2)...)}},
	} {
		got := row.a.Assign(members, partitions)
		for id, want := range row.want {
			if !slices.Equal(got[id], want) {
				t.Errorf("%s: %s gets %v, want %v", row.a.Name(), id, got[id], want)
			}
		}
	}
}

// Any assignor, any subscriptions: no partition twice, none that nobody asked for, and none left over. A cooperative one never
// gives away what another still holds, and after the members have given up what they must it is balanced.
func TestAssign_Properties(t *testing.T) {
	for seed := range uint64(300) {
		rng := rand.New(rand.NewPCG(seed, 2)) //nolint:gosec // a test
		partitions := map[string]int{}
		for i := range 1 + rng.IntN(3) {
			partitions[fmt.Sprint("t", i)] = 1 + rng.IntN(9)
		}
		uniform := rng.IntN(2) == 0
		members := make([]AssignMember, 1+rng.IntN(6))
		for i := range members {
			members[i] = AssignMember{ID: fmt.Sprint("m", i), Generation: -1}
			for topic := range partitions {
				if uniform || rng.IntN(3) > 0 {
					members[i].Topics = append(members[i].Topics, topic)
				}
			}
		}
		for _, a := range []Assignor{Range(), RoundRobin(), CooperativeSticky()} {
			for round := range int32(4) {
				got := a.Assign(members, partitions)
				checkShares(t, a, members, partitions, got, round == 3 || !a.Cooperative())
				for i := range members {
					members[i].Owned, members[i].Generation = got[members[i].ID], round
				}
			}
			if a.Cooperative() && uniform {
				least, most := 1000, 0
				for i := range members {
					least, most = min(least, len(members[i].Owned)), max(most, len(members[i].Owned))
				}
				if most-least > 1 {
					t.Errorf("seed %d: shares from %d to %d", seed, least, most)
				}
			}
			if len(members) > 1 {
				members = members[:len(members)-1] // the next assignor has one fewer
			}
		}
	}
}

func checkShares(t *testing.T, a Assignor, members []AssignMember, partitions map[string]int, got map[string][]TopicPartition, whole bool) {
	t.Helper()
	holder := map[TopicPartition]string{}
	for i := range members {
		for _, p := range got[members[i].ID] {
			if !slices.Contains(members[i].Topics, p.Topic) || int(p.Partition) >= partitions[p.Topic] {
				t.Errorf("%s: %s gets %v, which it did not ask for", a.Name(), members[i].ID, p)
			}
			if holder[p] != "" {
				t.Errorf("%s: %v goes to %s and %s", a.Name(), p, holder[p], members[i].ID)
			}
			holder[p] = members[i].ID
		}
	}
	for i := range members {
		for _, p := range members[i].Owned {
			if h := holder[p]; a.Cooperative() && h != "" && h != members[i].ID {
				t.Errorf("%v goes to %s while %s holds it", p, h, members[i].ID)
			}
		}
	}
	for topic, n := range partitions {
		wanted := slices.ContainsFunc(members, func(m AssignMember) bool { return slices.Contains(m.Topics, topic) })
		for p := range int32(n) { //nolint:gosec // small
			if wanted && whole && holder[TopicPartition{topic, p}] == "" {
				t.Errorf("%s: %s/%d goes to nobody", a.Name(), topic, p)
			}
		}
	}
}
