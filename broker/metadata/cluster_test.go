package metadata

import (
	"bytes"
	"fmt"
	"slices"
	"testing"

	"github.com/stelemq/stele/protocol"
)

// withNodes makes a cluster of registered nodes with directories and metadata replicas, as founders.
func withNodes(t *testing.T, nodes ...int32) *Machine {
	t.Helper()
	m := NewMachine()
	for n, node := range nodes {
		mustDo(t, m, &RegisterBroker{
			Node: node, Endpoints: []Endpoint{{"PLAINTEXT", "host", 9092}}, ClusterID: "c", Incarnation: "1",
			DirectoryID: fmt.Sprint("dir-", node), RaftAddress: fmt.Sprint("host:", node), MetadataReplica: ReplicaID(n + 1),
		})
	}
	return m
}

func mustDo(t *testing.T, m *Machine, c Command) Result {
	t.Helper()
	r := do(t, m, c)
	if code := codeOf(r); code != protocol.None {
		t.Fatalf("%T: %+v", c, r)
	}
	return r
}

func fence(t *testing.T, m *Machine, node int32) {
	t.Helper()
	b, _ := m.Image().Broker(node)
	mustDo(t, m, &FenceBrokers{Brokers: []BrokerEpoch{{node, b.Epoch}}})
}

// part returns partition 0 of topic 1, and checks what must always hold.
func part(t *testing.T, m *Machine) *Partition {
	t.Helper()
	tp, ok := m.Image().TopicByID(id(1))
	if !ok {
		t.Fatal("no topic")
	}
	return &tp.Partitions[0]
}

// show writes replicas as node/id and their state's first letter.
func show(p *Partition) string {
	var b bytes.Buffer
	for _, r := range p.Replicas {
		fmt.Fprintf(&b, "%d/%d%.1s ", r.Node, r.ID, map[ReplicaState]string{Voter: "v", Learner: "l", Leaving: "x"}[r.State])
	}
	return string(bytes.TrimSpace(b.Bytes()))
}

func report(m *Machine, voters, learners []ReplicaID) *ReplicaStates {
	tp, _ := m.Image().TopicByID(id(1))
	return &ReplicaStates{Reports: []ReplicaReport{{Topic: id(1), Shard: tp.Partitions[0].Shard, Voters: voters, Learners: learners}}}
}

func step(m *Machine, add int32, leave ReplicaID) *ChangeReplicas {
	tp, _ := m.Image().TopicByID(id(1))
	s := ReplicaChange{Topic: id(1), Shard: tp.Partitions[0].Shard, Leave: leave}
	if add >= 0 {
		s.Add = &add
	}
	return &ChangeReplicas{Steps: []ReplicaChange{s}}
}

func reassign(target ...int32) *AlterReassignments {
	return &AlterReassignments{Changes: []Reassignment{{Topic: id(1), Target: target}}}
}

func TestReassign_StepByStep(t *testing.T) {
	m := withNodes(t, 1, 2, 3, 4)
	mustDo(t, m, create("t", 1, []int32{1, 2, 3}))
	for _, row := range []struct {
		name    string
		command Command
		want    string
		target  []int32
	}{
		{"wish", reassign(4, 1, 2), "1/1v 2/2v 3/3v", []int32{4, 1, 2}},
		{"add", step(m, 4, 0), "4/4l 1/1v 2/2v 3/3v", []int32{4, 1, 2}},
		{"add again", step(m, 4, 0), "4/4l 1/1v 2/2v 3/3v", []int32{4, 1, 2}},
		{"not yet a voter", report(m, []ReplicaID{1, 2, 3}, []ReplicaID{4}), "4/4l 1/1v 2/2v 3/3v", []int32{4, 1, 2}},
		{"promoted", report(m, []ReplicaID{1, 2, 3, 4}, nil), "4/4v 1/1v 2/2v 3/3v", []int32{4, 1, 2}},
		{"leave", step(m, -1, 3), "4/4v 1/1v 2/2v 3/3x", []int32{4, 1, 2}},
		{"still there", report(m, []ReplicaID{1, 2, 3, 4}, nil), "4/4v 1/1v 2/2v 3/3x", []int32{4, 1, 2}},
		{"an empty report", report(m, nil, nil), "4/4v 1/1v 2/2v 3/3x", []int32{4, 1, 2}},
		{"gone", report(m, []ReplicaID{1, 2, 4}, nil), "4/4v 1/1v 2/2v", nil},
		{"another order", reassign(1, 2, 4), "1/1v 2/2v 4/4v", nil},
		{"grow again: a new id on an old node", reassign(1, 2, 4, 3), "1/1v 2/2v 4/4v", []int32{1, 2, 4, 3}},
		{"add it", step(m, 3, 0), "1/1v 2/2v 4/4v 3/5l", []int32{1, 2, 4, 3}},
		{"cancel", reassign(), "1/1v 2/2v 4/4v 3/5x", nil},
		{"dropped", report(m, []ReplicaID{1, 2, 4}, nil), "1/1v 2/2v 4/4v", nil},
	} {
		mustDo(t, m, row.command)
		p := part(t, m)
		if got := show(p); got != row.want || !slices.Equal(p.Target, row.target) || (p.Target == nil) != (p.Origin == nil) {
			t.Fatalf("%s: %s target %v origin %v, want %s target %v", row.name, got, p.Target, p.Origin, row.want, row.target)
		}
	}
	for node, want := range map[int32]Load{1: {1, 1}, 2: {1, 0}, 3: {}, 4: {1, 0}} {
		if got := m.Image().NodeLoad(node); got != want {
			t.Errorf("node %d: %+v", node, got)
		}
	}
}

func TestReassign_CancelAfterRemovalGoesBack(t *testing.T) {
	m := withNodes(t, 1, 2)
	mustDo(t, m, create("t", 1, []int32{1}))
	mustDo(t, m, reassign(2))
	mustDo(t, m, step(m, 2, 0))
	mustDo(t, m, report(m, []ReplicaID{1, 2}, nil))
	mustDo(t, m, step(m, -1, 1))
	mustDo(t, m, reassign())
	p := part(t, m)
	if show(p) != "1/1x 2/2v" || !slices.Equal(p.Target, []int32{1}) || !slices.Equal(p.Adding(), nil) {
		t.Fatalf("%s %v", show(p), p.Target)
	}
	mustDo(t, m, report(m, []ReplicaID{2}, nil))
	mustDo(t, m, step(m, 1, 0))
	mustDo(t, m, report(m, []ReplicaID{2, 3}, nil))
	mustDo(t, m, step(m, -1, 2))
	mustDo(t, m, report(m, []ReplicaID{3}, nil))
	if p := part(t, m); show(p) != "1/3v" || p.Target != nil || p.Founder(3) || !p.Founder(1) {
		t.Fatalf("%s %v", show(p), p.Target)
	}
}

func TestReassign_Codes(t *testing.T) {
	m := withNodes(t, 1, 2)
	mustDo(t, m, create("t", 1, []int32{1}))
	mustDo(t, m, &JoinNode{DirectoryID: "new", Node: 7})
	mustDo(t, m, &SetNodeState{Node: 2, State: NodeDecommissioning})
	for _, row := range []struct {
		name   string
		change Reassignment
		want   protocol.Code
	}{
		{"nothing to cancel", Reassignment{Topic: id(1)}, protocol.NoReassignmentInProgress},
		{"empty", Reassignment{Topic: id(1), Target: []int32{}}, protocol.InvalidReplicaAssignment},
		{"twice", Reassignment{Topic: id(1), Target: []int32{1, 1}}, protocol.InvalidReplicaAssignment},
		{"stranger", Reassignment{Topic: id(1), Target: []int32{9}}, protocol.InvalidReplicaAssignment},
		{"being decommissioned", Reassignment{Topic: id(1), Target: []int32{2}}, protocol.InvalidReplicaAssignment},
		{"not yet registered", Reassignment{Topic: id(1), Target: []int32{7}}, protocol.InvalidReplicaAssignment},
		{"no such partition", Reassignment{Topic: id(1), Partition: 1, Target: []int32{1}}, protocol.UnknownTopicOrPartition},
		{"negative partition", Reassignment{Topic: id(1), Partition: -1, Target: []int32{1}}, protocol.UnknownTopicOrPartition},
		{"no such topic", Reassignment{Topic: id(9), Target: []int32{1}}, protocol.UnknownTopicID},
	} {
		r := do(t, m, &AlterReassignments{Changes: []Reassignment{row.change}})
		if len(r.Partitions) != 1 || r.Partitions[0].Error == nil || r.Partitions[0].Error.Code != row.want {
			t.Errorf("%s: %+v", row.name, r)
		}
	}
}

func TestChangeReplicas_RefusesWhatWouldBreak(t *testing.T) {
	m := withNodes(t, 1, 2)
	mustDo(t, m, create("t", 1, []int32{1}))
	stale := step(m, 2, 0)
	stale.Steps[0].Shard = 99
	last := step(m, -1, 0)
	last.Steps[0].Replace = 1
	for name, c := range map[string]Command{
		"last voter is replaced": last,
		"last voter leaves":      step(m, -1, 1), "stranger leaves": step(m, -1, 77), "stranger comes": step(m, 9, 0), "another generation": stale,
		"report of another generation": &ReplicaStates{Reports: []ReplicaReport{{Topic: id(1), Shard: 99, Voters: []ReplicaID{2}}}},
	} {
		mustDo(t, m, c)
		if got := show(part(t, m)); got != "1/1v" {
			t.Errorf("%s: %s", name, got)
		}
	}
}

func TestJoinNode(t *testing.T) {
	m := withNodes(t, 1, 2, 3)
	mustDo(t, m, create("t", 1, []int32{1, 2, 3}))
	first := mustDo(t, m, &JoinNode{DirectoryID: "a", Node: -1, RaftAddress: "a:1"})
	again := mustDo(t, m, &JoinNode{DirectoryID: "a", Node: -1, RaftAddress: "a:2"})
	if first.Node != 4 || first.MetadataReplica != FirstJoinedReplica || first.ClusterID != "c" || again.Node != 4 || again.MetadataReplica != first.MetadataReplica {
		t.Fatalf("%+v %+v", first, again)
	}
	if b, _ := m.Image().Broker(4); b.RaftAddress != "a:2" || !b.Fenced || b.Registered() {
		t.Errorf("%+v", b)
	}
	if r := mustDo(t, m, &JoinNode{DirectoryID: "b", Node: 9}); r.Node != 9 || r.MetadataReplica != FirstJoinedReplica+1 {
		t.Errorf("%+v", r)
	}
	if r := mustDo(t, m, &JoinNode{DirectoryID: "c", Node: -1}); r.Node != 10 {
		t.Errorf("%+v", r)
	}
	for name, row := range map[string]struct {
		c    JoinNode
		want protocol.Code
	}{
		"no directory":               {JoinNode{Node: 5}, protocol.InvalidRequest},
		"another node's directory":   {JoinNode{DirectoryID: "a", Node: 5}, protocol.InvalidRequest},
		"a node id of a living node": {JoinNode{DirectoryID: "z", Node: 2}, protocol.DuplicateBrokerRegistration},
		"negative":                   {JoinNode{DirectoryID: "z", Node: -2}, protocol.InvalidRequest},
	} {
		if got := codeOf(do(t, m, &row.c)); got != row.want {
			t.Errorf("%s: %v", name, got)
		}
	}
}

func TestJoinNode_WipedDiskGetsNewReplicas(t *testing.T) {
	m := withNodes(t, 1, 2, 3)
	mustDo(t, m, create("t", 1, []int32{1, 2, 3}))
	fence(t, m, 2)
	before, _ := m.Image().Broker(2)
	r := mustDo(t, m, &JoinNode{DirectoryID: "new disk", Node: 2, RaftAddress: "host:2"})
	if r.Node != 2 || r.MetadataReplica != FirstJoinedReplica {
		t.Fatalf("%+v", r)
	}
	p := part(t, m)
	if show(p) != "1/1v 2/4l 2/2x 3/3v" || !slices.Equal(p.Nodes(), []int32{1, 2, 3}) || !slices.Equal(p.Wanted(), []int32{1, 2, 3}) {
		t.Fatal(show(p))
	}
	if mine, _ := p.ReplicaOn(2); mine.ID != 4 {
		t.Errorf("%+v", mine)
	}
	if m.Image().RetiredMetadataReplicas()[2] != 2 || m.Image().NodeLoad(2) != (Load{1, 0}) {
		t.Errorf("%v %+v", m.Image().RetiredMetadataReplicas(), m.Image().NodeLoad(2))
	}
	// Who holds the old disk may neither register nor be unfenced by what was meant for it.
	old := &RegisterBroker{Node: 2, Endpoints: []Endpoint{{"PLAINTEXT", "host", 9092}}, DirectoryID: "dir-2", MetadataReplica: 2}
	if got := codeOf(do(t, m, old)); got != protocol.InvalidRegistration {
		t.Error(got)
	}
	mustDo(t, m, &UnfenceBroker{BrokerEpoch{2, before.Epoch}})
	if b, _ := m.Image().Broker(2); !b.Fenced {
		t.Error("unfenced by an old epoch")
	}
	mustDo(t, m, &RegisterBroker{Node: 2, Endpoints: []Endpoint{{"PLAINTEXT", "host", 9092}}, DirectoryID: "new disk", MetadataReplica: FirstJoinedReplica})
	mustDo(t, m, report(m, []ReplicaID{1, 3}, nil))
	mustDo(t, m, report(m, []ReplicaID{1, 3, 4}, nil))
	if got := show(part(t, m)); got != "1/1v 2/4v 3/3v" {
		t.Error(got)
	}
	// A second wipe before the first has healed.
	fence(t, m, 2)
	mustDo(t, m, &JoinNode{DirectoryID: "newer disk", Node: 2})
	fence(t, m, 2)
	mustDo(t, m, &JoinNode{DirectoryID: "newest disk", Node: 2})
	if got := show(part(t, m)); got != "1/1v 2/6l 2/5x 2/4x 3/3v" {
		t.Error(got)
	}
}

func TestNewGeneration(t *testing.T) {
	m := withNodes(t, 1, 2, 3)
	mustDo(t, m, create("t", 1, []int32{1, 2, 3}))
	mustDo(t, m, &RecoverPartition{Topic: id(1)})
	old := part(t, m)
	if !old.Recover {
		t.Error("no wish")
	}
	c := &NewGeneration{Topic: id(1), Shard: old.Shard, Survivor: 3}
	mustDo(t, m, c)
	p := part(t, m)
	if show(p) != "1/4l 2/5l 3/6v" || p.Generation != 2 || p.Shard == old.Shard || !slices.Equal(p.Founders, []ReplicaID{6}) || p.Recover || p.PreferredLeader() != 3 {
		t.Errorf("%s %+v", show(p), p)
	}
	if got := codeOf(do(t, m, c)); got != protocol.InvalidRequest {
		t.Errorf("twice: %v", got)
	}
	if got := codeOf(do(t, m, &RecoverPartition{Topic: id(1), Partition: 1})); got != protocol.UnknownTopicOrPartition {
		t.Error(got)
	}
	// New partitions take shards above.
	mustDo(t, m, create("u", 2, []int32{1}))
	if tp, _ := m.Image().TopicByID(id(2)); tp.Partitions[0].Shard <= p.Shard {
		t.Errorf("%+v", tp.Partitions[0])
	}
}

func TestNodes_FenceDrainRemove(t *testing.T) {
	m := withNodes(t, 1, 2)
	mustDo(t, m, create("t", 1, []int32{1}))
	fence(t, m, 2)
	b, _ := m.Image().Broker(2)
	if !b.Fenced || b.MayLead() || m.Image().LiveBrokers() != 1 || m.Image().Members() != 2 {
		t.Errorf("%+v", b)
	}
	mustDo(t, m, &UnfenceBroker{BrokerEpoch{2, b.Epoch}})
	mustDo(t, m, &SetNodeState{Node: 2, State: NodeDecommissioning})
	mustDo(t, m, &RegisterBroker{Node: 2, Endpoints: []Endpoint{{"PLAINTEXT", "host", 1}}}) // as an older program does
	if b, _ := m.Image().Broker(2); b.Fenced || b.State != NodeDecommissioning || b.DirectoryID != "dir-2" || b.MetadataReplica != 2 || m.Image().Members() != 1 {
		t.Errorf("%+v", b)
	}
	r := mustDo(t, m, &NewMetadataReplica{Node: 2, Replaces: 2})
	again := mustDo(t, m, &NewMetadataReplica{Node: 2, Replaces: 2})
	if r.MetadataReplica != FirstJoinedReplica || again.MetadataReplica != FirstJoinedReplica {
		t.Errorf("%+v %+v", r, again)
	}
	for _, row := range []struct {
		c    Command
		want protocol.Code
	}{
		{&RemoveNode{Node: 1}, protocol.InvalidRequest},
		{&RemoveNode{Node: 5}, protocol.BrokerIDNotRegistered},
		{&SetNodeState{Node: 5}, protocol.BrokerIDNotRegistered},
		{&SetNodeState{Node: 1, State: "odd"}, protocol.InvalidRequest},
		{&NewMetadataReplica{Node: 5}, protocol.BrokerIDNotRegistered},
		{&RemoveNode{Node: 2}, protocol.None},
	} {
		if got := codeOf(do(t, m, row.c)); got != row.want {
			t.Errorf("%+v: %v", row.c, got)
		}
	}
	if got := m.Image().RetiredMetadataReplicas(); got[2] != 2 || got[FirstJoinedReplica] != 2 {
		t.Errorf("%v", got)
	}
	if r := mustDo(t, m, &JoinNode{DirectoryID: "x", Node: -1}); r.Node != 3 {
		t.Errorf("a node id is given again: %+v", r)
	}
	mustDo(t, m, &SetFeatures{Levels: map[string]int16{"a": 2, "b": 1}})
	mustDo(t, m, &SetFeatures{Levels: map[string]int16{"b": -1}})
	a, _ := m.Image().Feature("a")
	if _, set := m.Image().Feature("b"); a != 2 || set {
		t.Error("features")
	}
	name, rate := "c", 1024.5
	mustDo(t, m, &SetQuotas{Changes: []QuotaChange{{Entity: QuotaEntity{QuotaClientID: &name}, Set: map[string]*float64{"producer_byte_rate": &rate}}}})
	mustDo(t, m, &SetConfigs{Resource: ConfigGroup, Name: "g", Set: map[string]*string{"k": &name}})
	restored := NewMachine()
	snap := snapshotOf(t, m)
	if err := restored.Restore(snap); err != nil || !bytes.Equal(snap, snapshotOf(t, restored)) {
		t.Error(err, "a restored machine has another state")
	}
}

func TestApply_ClusterCommandsLeaveOldImagesAlone(t *testing.T) {
	anything, one := "x", 1.0
	m := withNodes(t, 1, 2, 3, 4)
	mustDo(t, m, create("t", 1, []int32{1, 2, 3}))
	commands := []Command{
		reassign(4, 2, 1), step(m, 4, 0), report(m, []ReplicaID{1, 2, 3, 4}, nil), step(m, -1, 3), reassign(),
		&RecoverPartition{Topic: id(1)}, &NewGeneration{Topic: id(1), Shard: part(t, m).Shard, Survivor: 2},
		&SetNodeState{Node: 1, State: NodeDraining}, &FenceBrokers{Brokers: []BrokerEpoch{{4, 4}}}, &JoinNode{DirectoryID: "new", Node: 4},
		&NewMetadataReplica{Node: 1, Replaces: 1}, &SetFeatures{Levels: map[string]int16{"x": 1}},
		&SetConfigs{Resource: ConfigClientMetrics, Name: "m", Set: map[string]*string{"metrics": &anything}},
		&SetConfigs{Resource: ConfigGroup, Name: "g", Set: map[string]*string{"k": &anything}},
		&SetConfigs{Resource: ConfigClientMetrics, Name: "m", Set: map[string]*string{"metrics": nil}},
		&SetQuotas{Changes: []QuotaChange{{Entity: QuotaEntity{QuotaUser: nil, QuotaClientID: &anything}, Set: map[string]*float64{"a": &one, "b": &one}}}},
		&SetQuotas{Changes: []QuotaChange{{Entity: QuotaEntity{QuotaClientID: &anything, QuotaUser: nil}, Set: map[string]*float64{"b": nil}}}},
	}
	for _, c := range commands {
		old := m.Image()
		before := snapshotOf(t, m)
		mustDo(t, m, c)
		if bytes.Equal(before, snapshotOf(t, m)) {
			t.Errorf("%T does nothing", c)
		}
		frozen := &Machine{watchers: map[int]func(Change){}}
		frozen.image.Store(old)
		if !bytes.Equal(before, snapshotOf(t, frozen)) {
			t.Errorf("%T changed an old image", c)
		}
	}
}

func TestChangeReplicas_ReplacesADamagedReplica(t *testing.T) {
	m := withNodes(t, 1, 2, 3)
	mustDo(t, m, create("t", 1, []int32{1, 2, 3}))
	c := step(m, -1, 0)
	c.Steps[0].Replace = 2
	mustDo(t, m, c)
	mustDo(t, m, c)
	if got := show(part(t, m)); got != "1/1v 2/4l 2/2x 3/3v" {
		t.Error(got)
	}
}

// A directory that does not remember its own last start is a copy from before it.
func TestRegisterBroker_StaleCopyIsRefused(t *testing.T) {
	m := withNodes(t, 1, 2, 3)
	start := func(incarnation string, follows ...string) Result {
		t.Helper()
		return do(t, m, &RegisterBroker{
			Node: 2, Endpoints: []Endpoint{{Host: "h", Port: 1}}, Incarnation: incarnation, ClusterID: "c", DirectoryID: "dir-2", Follows: follows,
		})
	}
	for _, row := range []struct {
		name, incarnation string
		follows           []string
		want              protocol.Code
	}{
		{"nothing is said", "a", nil, 0},
		{"the next", "b", []string{"a", "b"}, 0},
		{"the same again", "b", []string{"b"}, 0},
		{"one that was not registered between", "d", []string{"a", "b", "c", "d"}, 0},
		{"a copy from before d", "e", []string{"a", "b", "c", "e"}, protocol.InvalidRegistration},
		{"and again", "f", []string{"a", "b", "c", "e", "f"}, protocol.InvalidRegistration},
		{"the right one", "g", []string{"d", "g"}, 0},
	} {
		if got := codeOf(start(row.incarnation, row.follows...)); got != row.want {
			t.Errorf("%s: %v, want %v", row.name, got, row.want)
		}
	}
	fence(t, m, 2)
	r := mustDo(t, m, &JoinNode{DirectoryID: "new disk", Node: 2, RaftAddress: "host:2"})
	mustDo(t, m, &RegisterBroker{
		Node: 2, Endpoints: []Endpoint{{Host: "h", Port: 1}}, Incarnation: "x", ClusterID: "c", DirectoryID: "new disk", MetadataReplica: r.MetadataReplica, Follows: []string{"x"},
	})
}

func TestJoinNode_ReplacesALostMetadataReplica(t *testing.T) {
	m := withNodes(t, 1, 2, 3)
	mustDo(t, m, create("t", 1, []int32{1, 2, 3}))
	mustDo(t, m, &RegisterBroker{Node: 2, Endpoints: []Endpoint{{Host: "h", Port: 1}}, Incarnation: "a", DirectoryID: "dir-2", MetadataReplica: 2})
	for range 2 { // an answer that was lost is asked for again
		r := mustDo(t, m, &JoinNode{DirectoryID: "dir-2", Node: 2, RaftAddress: "host:2", Replaces: 2})
		if r.MetadataReplica != FirstJoinedReplica || r.Node != 2 {
			t.Fatalf("%+v", r)
		}
	}
	if m.Image().RetiredMetadataReplicas()[2] != 2 || show(part(t, m)) != "1/1v 2/2v 3/3v" {
		t.Errorf("retired %v, partition %s", m.Image().RetiredMetadataReplicas(), show(part(t, m)))
	}
}
