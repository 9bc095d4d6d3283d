package bootstrap

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stelemq/stele/dledger"
)

// member opens a directory that belongs to node 1 of three founders.
func member(t *testing.T, dir string) *State {
	t.Helper()
	s, err := Open(dir, Settings{NodeID: 1})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	if !s.Member() {
		id := s.Identity()
		if err := s.found(&Founding{ClusterID: "c", Founders: []int32{1, 2, 3}, Directories: map[int32]string{1: id.DirectoryID}}); err != nil {
			t.Fatal(err)
		}
	}
	return s
}

// The group is founded when meta.properties says so, whatever was written before it.
func TestFoundGroup_CutShort(t *testing.T) {
	dir := t.TempDir()
	s := member(t, dir)
	if spec := s.MetadataSpec(); spec.Group != dledger.MetadataShard || spec.Replica != 1 || len(spec.Founders) != 3 || len(spec.Known) != 2 {
		t.Fatalf("before: %+v", spec)
	}
	old, err := os.ReadFile(filepath.Join(dir, MetaName))
	if err != nil {
		t.Fatal(err)
	}
	group := dledger.NextMetadataGroup(0)
	if err := s.FoundGroup(group); err != nil {
		t.Fatal(err)
	}
	check := func(when string, s *State) {
		t.Helper()
		spec := s.MetadataSpec()
		if spec.Group != group || spec.Replica != 1 || len(spec.Founders) != 1 || spec.Founders[1] != 1 || len(spec.Known) != 0 || spec.Left {
			t.Errorf("%s: %+v", when, spec)
		}
		if a := s.hello(); a.Group != uint64(group) || a.Founding == nil || a.Founding.Group != uint64(group) {
			t.Errorf("%s: hello %+v", when, a)
		}
	}
	check("founded", s)
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, MetaName), old, 0o600); err != nil { // the crash
		t.Fatal(err)
	}
	s = member(t, dir)
	if spec := s.MetadataSpec(); spec.Group != dledger.MetadataShard || spec.Replica != 1 || spec.Founders != nil {
		t.Errorf("cut short: %+v", spec)
	}
	if a := s.hello(); a.Group != 0 || a.Founding != nil {
		t.Errorf("cut short: hello %+v", a)
	}
	if err := s.FoundGroup(group); err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	s = member(t, dir)
	check("again", s)
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(filepath.Join(dir, MetaName)); err != nil { // peers.json says the same
		t.Fatal(err)
	}
	check("from peers.json", member(t, dir))
}

func TestNoteGroup(t *testing.T) {
	s := member(t, t.TempDir())
	first, second := dledger.NextMetadataGroup(0), dledger.NextMetadataGroup(0)
	third := dledger.NextMetadataGroup(second)
	for _, row := range []struct {
		name    string
		cluster string
		group   dledger.ShardID
		node    int32
		address string
		want    dledger.ShardID
		from    string
	}{
		{"the same", "c", 0, 2, "b:1", 0, ""},
		{"another cluster's", "d", first, 2, "b:1", 0, ""},
		{"its own", "c", first, 1, "a:1", 0, ""},
		{"nobody can be asked", "c", first, 2, "", 0, ""},
		{"newer", "c", first, 2, "b:1", first, "b:1"},
		{"twice", "c", first, 2, "b:1", first, "b:1"},
		{"two members", "c", first, 3, "c:1", first, "b:1 c:1"},
		{"newer still", "c", third, 3, "c:1", third, "c:1"},
		{"not so new", "c", first, 2, "b:1", third, "c:1"},
	} {
		s.noteGroup(row.cluster, uint64(row.group), row.node, row.address)
		if group, from := s.newerGroup(); group != row.want || strings.Join(from, " ") != row.from {
			t.Errorf("%s: %d from %v", row.name, group, from)
		}
	}
	if !s.MetadataSpec().Left {
		t.Error("a start would speak to the old group")
	}
	if err := s.rejoined(joinAnswer{Cluster: "c", Node: 2, Replica: 104, Group: uint64(third)}); err == nil {
		t.Error("taken for another node")
	}
	if err := s.rejoined(joinAnswer{Cluster: "c", Node: 1, Replica: 104, Group: uint64(third), Nodes: []Node{{ID: 3, Address: "c:1", Replica: 1}}}); err != nil {
		t.Fatal(err)
	}
	spec := s.MetadataSpec()
	if spec.Group != third || spec.Replica != 104 || spec.Founders != nil || len(spec.Known) != 1 || spec.Known[1] != 3 || spec.Left {
		t.Errorf("rejoined: %+v", spec)
	}
	s.noteGroup("c", uint64(first), 2, "b:1")
	if group, _ := s.newerGroup(); group != 0 || s.rivalGroup() != nil {
		t.Errorf("an old group is followed: %d", group)
	}
	s.noteGroup("c", uint64(dledger.NextMetadataGroup(first)), 2, "b:1")
	if err := s.rivalGroup(); err == nil || !strings.Contains(err.Error(), "recover-metadata --force") {
		t.Errorf("recovered twice: %v", err)
	}
}
