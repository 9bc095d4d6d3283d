package metadata

import (
	"bytes"
	"encoding/json"
	"errors"
	"testing"

	"github.com/stelemq/stele/protocol"
)

// apply carries out a command at an index of the Raft log.
func applyAt(t *testing.T, m *Machine, index uint64, c Command) Result {
	t.Helper()
	b, err := Encode(c)
	if err != nil {
		t.Fatal(err)
	}
	r, err := DecodeResult(m.Apply(index, b))
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func TestRecoverCluster(t *testing.T) {
	old := withNodes(t, 1, 2, 3)
	mustDo(t, old, create("t", 1, []int32{1, 2, 3}))
	mustDo(t, old, &JoinNode{DirectoryID: "d4", Node: 4, RaftAddress: "d:1"})
	mustDo(t, old, &NewMetadataReplica{Node: 2, Replaces: mustBroker(t, old, 2).MetadataReplica})
	snapshot, err := old.Snapshot()
	if err != nil {
		t.Fatal(err)
	}
	was := old.Image()
	command := &RecoverCluster{Snapshot: snapshot, Node: 4, Replica: 1}
	fresh, used := NewMachine(), withNodes(t, 1, 2, 3, 8) // what a machine had does not matter
	for _, m := range []*Machine{fresh, used} {
		if r := applyAt(t, m, 3, command); r.Error != nil || r.MetadataReplica != 1 || r.ClusterID != "c" {
			t.Fatalf("%+v", r)
		}
		i := m.Image()
		if i.Index() != was.Index()+3 || i.ClusterID() != "c" || i.PartitionCount() != was.PartitionCount() || len(i.Brokers()) != len(was.Brokers()) || len(i.RetiredMetadataReplicas()) != 0 {
			t.Fatalf("index %d after %d, %d partitions, retired %v", i.Index(), was.Index(), i.PartitionCount(), i.RetiredMetadataReplicas())
		}
		for _, b := range i.Brokers() {
			if want := map[int32]ReplicaID{4: 1}[b.Node]; b.MetadataReplica != want {
				t.Errorf("node %d has metadata replica %d, want %d", b.Node, b.MetadataReplica, want)
			}
			if b.Node != 4 && !b.Fenced {
				t.Errorf("node %d counts as alive", b.Node)
			}
		}
	}
	a, _ := fresh.Snapshot()
	b, _ := used.Snapshot()
	if !bytes.Equal(a, b) {
		t.Fatal("two replicas differ")
	}
	// Indexes go on, across a snapshot, too, and nodes join as what they were.
	copied := NewMachine()
	if err := copied.Restore(a); err != nil {
		t.Fatal(err)
	}
	for _, m := range []*Machine{fresh, copied} {
		first := applyAt(t, m, 4, &JoinNode{DirectoryID: mustBroker(t, m, 1).DirectoryID, Node: 1})
		again := applyAt(t, m, 5, &JoinNode{DirectoryID: mustBroker(t, m, 1).DirectoryID, Node: 1})
		if first.Error != nil || first.MetadataReplica <= was.nextMetadata-1 || again.MetadataReplica != first.MetadataReplica {
			t.Errorf("joined anew: %+v, then %+v", first, again)
		}
		if got := m.Image().Index(); got != was.Index()+5 {
			t.Errorf("index %d, want %d", got, was.Index()+5)
		}
	}
}

func TestRecoverCluster_Refused(t *testing.T) {
	old := withNodes(t, 1)
	snapshot, err := old.Snapshot()
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]*RecoverCluster{
		"unknown node": {Snapshot: snapshot, Node: 2, Replica: 1},
		"no replica":   {Snapshot: snapshot, Node: 1},
		"no snapshot":  {Snapshot: json.RawMessage(`7`), Node: 1, Replica: 1},
	} {
		m := withNodes(t, 1)
		before := m.Image()
		if r := applyAt(t, m, 9, c); codeOf(r) != protocol.InvalidRequest || m.Image() != before {
			t.Errorf("%s: %+v", name, r)
		}
	}
	m := NewMachine()
	r := applyAt(t, m, 9, &RecoverCluster{Snapshot: json.RawMessage(`{"version":99}`), Node: 1, Replica: 1})
	if codeOf(r) != protocol.UnsupportedVersion || !errors.Is(m.Err(), ErrUnsupportedVersion) {
		t.Errorf("a newer snapshot: %+v, %v", r, m.Err())
	}
}

func mustBroker(t *testing.T, m *Machine, node int32) *Broker {
	t.Helper()
	b, ok := m.Image().Broker(node)
	if !ok {
		t.Fatalf("no broker %d", node)
	}
	return b
}
