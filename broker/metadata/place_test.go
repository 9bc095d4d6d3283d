package metadata

import (
	"slices"
	"testing"

	"github.com/stelemq/stele/protocol"
)

func TestPlace_ThreeNodesShareLeaders(t *testing.T) {
	m := withNodes(t, 1, 2, 3)
	got, refused := Place(m.Image(), 6, 3)
	if refused != nil {
		t.Fatal(refused)
	}
	leaders := map[int32]int{}
	for _, nodes := range got {
		leaders[nodes[0]]++
	}
	for _, n := range []int32{1, 2, 3} {
		if leaders[n] != 2 {
			t.Errorf("%v", got)
		}
	}
}

func TestPlace_PrefersTheLiving(t *testing.T) {
	m := withNodes(t, 1, 2, 3, 4)
	mustDo(t, m, &JoinNode{DirectoryID: "joined, not registered", Node: -1})
	fence(t, m, 1)
	mustDo(t, m, &SetNodeState{Node: 2, State: NodeDraining})
	place := func(rf int) []int32 {
		t.Helper()
		got, refused := Place(m.Image(), 1, rf)
		if refused != nil {
			t.Fatal(refused)
		}
		return got[0]
	}
	for rf, want := range map[int][]int32{1: {3}, 2: {3, 4}, 3: {3, 4, 2}, 4: {3, 4, 2, 1}} {
		if got := place(rf); !slices.Equal(got, want) {
			t.Errorf("%d: %v, want %v", rf, got, want)
		}
	}
	mustDo(t, m, &SetNodeState{Node: 2, State: NodeDecommissioning})
	if got := place(3); !slices.Equal(got, []int32{3, 4, 1}) {
		t.Errorf("%v", got)
	}
	fence(t, m, 3)
	for rf, want := range map[int]string{
		4: "Unable to replicate the partition 4 time(s): The target replication factor of 4 cannot be reached because only 3 broker(s) are registered.",
		3: "Unable to replicate the partition 3 time(s): The target replication factor of 3 cannot be reached because only 1 broker(s) are alive.",
	} {
		if _, refused := Place(m.Image(), 1, rf); refused == nil || refused.Code != protocol.InvalidReplicationFactor || refused.Message != want {
			t.Errorf("%d: %v", rf, refused)
		}
	}
	fence(t, m, 4)
	if _, refused := Place(m.Image(), 1, 1); refused == nil || refused.Message != "Unable to replicate the partition 1 time(s): All brokers are currently fenced." {
		t.Error(refused)
	}
}

func TestPlacer_Replace(t *testing.T) {
	m := withNodes(t, 1, 2, 3, 4, 5)
	for n, rack := range map[int32]string{1: "a", 2: "b", 3: "a", 4: "c", 5: "c"} {
		mustDo(t, m, &RegisterBroker{Node: n, Rack: rack, Endpoints: []Endpoint{{}}})
	}
	p := NewPlacer(m.Image())
	// Rack c is free, and its two nodes take turns.
	for _, want := range []int32{4, 5, 4} {
		if got, ok := p.Replace([]int32{1, 2}, 3); !ok || got != want {
			t.Errorf("%d %v, want %d", got, ok, want)
		}
	}
	fence(t, m, 4)
	mustDo(t, m, &SetNodeState{Node: 5, State: NodeDraining})
	if got, ok := NewPlacer(m.Image()).Replace([]int32{1, 2}, 3); ok {
		t.Error(got)
	}
}
