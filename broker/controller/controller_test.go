package controller

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/stelemq/stele/broker/metadata"
	"github.com/stelemq/stele/protocol/record"
)

// table is a cluster that a test looks at with fixed knowledge.
type table struct {
	*world

	states map[metadata.ShardID]PartitionState
	heard  map[int32]time.Time
	silent map[int32]bool
	stop   map[int32]bool
}

func newTable(t *testing.T, nodes int) *table {
	t.Helper()
	tb := &table{world: newWorld(t, nodes), states: map[metadata.ShardID]PartitionState{}, heard: map[int32]time.Time{}, silent: map[int32]bool{}, stop: map[int32]bool{}}
	tb.members, tb.self = nil, 1
	tb.c = New(tb.cfg, tb.now)
	return tb
}

// led says that a node leads partition 0 of a topic, with all voters in sync but those named.
func (tb *table) led(topic string, leader int32, lagging ...int32) {
	t, _ := tb.m.Image().Topic(topic)
	p := &t.Partitions[0]
	s := PartitionState{Leader: leader}
	for _, r := range p.Replicas {
		if r.State == metadata.Voter {
			s.Voters = append(s.Voters, r.ID)
			if !slices.Contains(lagging, r.Node) {
				s.ISR = append(s.ISR, r.Node)
			}
		}
	}
	tb.states[p.Shard] = s
}

// after decides when some time has passed; the commands are carried out.
func (tb *table) after(d time.Duration) Actions {
	tb.t.Helper()
	tb.now = tb.now.Add(d)
	v := View{Now: tb.now, Self: tb.self, Image: tb.m.Image(), Nodes: map[int32]Node{}, Members: tb.members, Unclean: unclean}
	for id, n := range tb.nodes {
		if !tb.silent[id] {
			tb.heard[id] = tb.now
		}
		v.Nodes[id] = Node{LastHeard: tb.heard[id], Incarnation: fmt.Sprint(n.start), ShuttingDown: tb.stop[id]}
	}
	v.Partition = func(s metadata.ShardID) (PartitionState, bool) {
		p, ok := tb.states[s]
		p.Heard = tb.now
		return p, ok
	}
	a := tb.c.Decide(v)
	for _, c := range a.Commands {
		if r := tb.do(c); r.Error != nil {
			tb.t.Fatalf("%T: %v", c, r.Error)
		}
	}
	return a
}

func (tb *table) fenced() (out []int32) {
	for _, b := range tb.m.Image().Brokers() {
		if b.Fenced {
			out = append(out, b.Node)
		}
	}
	return out
}

func TestLiveness(t *testing.T) {
	tb := newTable(t, 3)
	tb.silent[1], tb.silent[2] = true, true // 1 decides: it is alive whatever it hears
	for _, row := range []struct {
		name  string
		after time.Duration
		want  []int32
	}{
		{"the session is not over", tb.cfg.SessionTimeout, nil},
		{"it is over", time.Millisecond, []int32{2}},
	} {
		if tb.after(row.after); !slices.Equal(tb.fenced(), row.want) {
			t.Errorf("%s: %v", row.name, tb.fenced())
		}
	}
	tb.silent[2] = false
	tb.nodes[2].start++ // another process speaks, which has not registered
	if tb.after(time.Second); !slices.Equal(tb.fenced(), []int32{2}) {
		t.Error("unfenced without being registered")
	}
	tb.nodes[2].start--
	if tb.after(time.Second); tb.fenced() != nil {
		t.Error("still fenced")
	}
}

func TestDrain(t *testing.T) {
	tb := newTable(t, 3)
	tb.create("t", 1, []int32{1, 2, 3})
	tb.led("t", 1, 2)
	if a := tb.after(time.Second); len(a.Transfers) != 0 {
		t.Errorf("%+v", a.Transfers)
	}
	tb.do(&metadata.SetNodeState{Node: 1, State: metadata.NodeDraining})
	if a := tb.after(time.Second); len(a.Transfers) != 1 || a.Transfers[0].From != 1 || a.Transfers[0].To != 3 {
		t.Errorf("not to the one in sync: %+v", a.Transfers)
	}
	if a := tb.after(time.Second); len(a.Transfers) != 0 {
		t.Error("asked again at once")
	}
	if a := tb.after(tb.cfg.Patience); len(a.Transfers) != 1 {
		t.Error("not asked again")
	}
	tb.led("t", 1, 2, 3)
	if a := tb.after(2 * tb.cfg.Patience); len(a.Transfers) != 0 {
		t.Errorf("to one out of sync: %+v", a.Transfers)
	}
	tb.do(&metadata.SetNodeState{Node: 1})
	tb.led("t", 1)
	tb.stop[1] = true
	tb.self = 2
	if a := tb.after(2 * tb.cfg.Patience); len(a.Transfers) != 1 || a.Transfers[0].To != 2 {
		t.Errorf("shutting down: %+v", a.Transfers)
	}
}

func TestBalance(t *testing.T) {
	tb := newTable(t, 2)
	for n := range byte(20) {
		name := fmt.Sprint("t", n)
		tb.create(name, n+1, []int32{1, 2})
		tb.led(name, 1)
	}
	astray := func(n int) {
		for i := range n {
			tb.led(fmt.Sprint("t", i), 2)
		}
	}
	astray(2) // ten percent
	if a := tb.after(tb.cfg.ImbalanceInterval); len(a.Transfers) != 0 {
		t.Errorf("%d transfers within the limit", len(a.Transfers))
	}
	astray(3)
	if a := tb.after(time.Second); len(a.Transfers) != 0 {
		t.Error("looked before the interval was over")
	}
	if a := tb.after(tb.cfg.ImbalanceInterval); len(a.Transfers) != 3 || a.Transfers[0].To != 1 {
		t.Errorf("%+v", a.Transfers)
	}
	tb.cfg.AutoRebalance = false
	tb.c.SetConfig(tb.cfg)
	if a := tb.after(2 * tb.cfg.ImbalanceInterval); len(a.Transfers) != 0 {
		t.Error("balanced although it is off")
	}
}

func TestDecommission(t *testing.T) {
	tb := newTable(t, 4)
	for n := range byte(20) {
		name := fmt.Sprint("t", n)
		tb.create(name, n+1, []int32{1, 2, 3})
		tb.led(name, 1)
	}
	tb.do(&metadata.SetNodeState{Node: 3, State: metadata.NodeDecommissioning})
	a := tb.after(time.Second)
	moves, ok := a.Commands[0].(*metadata.AlterReassignments)
	if !ok || len(moves.Changes) != tb.cfg.MovesMax || !slices.Equal(moves.Changes[0].Target, []int32{1, 2, 4}) {
		t.Fatalf("%+v", a.Commands)
	}
	for range 3 { // those under way count
		for _, c := range tb.after(time.Second).Commands {
			if _, more := c.(*metadata.AlterReassignments); more {
				t.Fatal("more moves than may be under way")
			}
		}
	}
	// Nowhere to go: nothing is begun.
	tb = newTable(t, 3)
	tb.create("t", 1, []int32{1, 2, 3})
	tb.led("t", 1)
	tb.do(&metadata.SetNodeState{Node: 3, State: metadata.NodeDecommissioning})
	if a := tb.after(time.Second); len(a.Commands) != 0 {
		t.Errorf("%+v", a.Commands)
	}
}

func TestQuorum(t *testing.T) {
	member := func(id int32, voter bool) Member {
		return Member{Replica: metadata.ReplicaID(id), Node: id, Voter: voter} //nolint:gosec // small
	}
	for _, row := range []struct {
		name    string
		nodes   int
		members []Member
		change  func(tb *table)
		want    *MemberChange
	}{
		{"not known", 3, nil, nil, nil},
		{"one of one", 1, []Member{member(1, true)}, nil, nil},
		{"two nodes have one voter", 2, []Member{member(1, true), member(2, false)}, nil, nil},
		{"a node without a replica", 2, []Member{member(1, true)}, nil, &MemberChange{AddMember, 2, 2}},
		{"three nodes", 3, []Member{member(1, true), member(2, false), member(3, false)}, nil, &MemberChange{PromoteMember, 2, 2}},
		{"from two to three", 3, []Member{member(1, true), member(2, true), member(3, false)}, nil, &MemberChange{PromoteMember, 3, 3}},
		{"four nodes have three voters", 4, []Member{member(1, true), member(2, true), member(3, true), member(4, false)}, nil, nil},
		{"five nodes", 5, []Member{member(1, true), member(2, true), member(3, true), member(4, false), member(5, false)}, nil, &MemberChange{PromoteMember, 4, 4}},
		{"never to two alone", 3, []Member{member(1, true), member(2, false), member(3, false)}, func(tb *table) {
			tb.silent[3] = true
			tb.after(tb.cfg.SessionTimeout + time.Second)
		}, nil},
		{"a replica that nobody knows any more", 3, []Member{member(1, true), member(2, true), member(3, true), {77, 2, false}}, nil, &MemberChange{RemoveMember, 77, 2}},
		{"another rack first", 3, []Member{member(1, true), member(2, false), member(3, false)}, func(tb *table) {
			for id, rack := range map[int32]string{1: "a", 2: "a", 3: "b"} {
				tb.do(&metadata.RegisterBroker{Node: id, Rack: rack, Endpoints: []metadata.Endpoint{{}}, Incarnation: "1"})
			}
		}, &MemberChange{PromoteMember, 3, 3}},
		{"the last voter stays until another one votes", 1, []Member{{77, 1, true}, member(1, false)}, nil, &MemberChange{PromoteMember, 1, 1}},
		{"who decides hands over before it goes", 4, []Member{member(1, true), member(2, true), member(3, true), member(4, false)}, func(tb *table) {
			tb.do(&metadata.SetNodeState{Node: 1, State: metadata.NodeDecommissioning})
			tb.members[3].Voter = true
		}, &MemberChange{HandOver, 2, 2}},
		{"another one is taken out when it is empty", 4, []Member{member(1, true), member(2, true), member(3, true), member(4, true)}, func(tb *table) {
			tb.do(&metadata.SetNodeState{Node: 3, State: metadata.NodeDecommissioning})
		}, &MemberChange{RemoveMember, 3, 3}},
		{"but not before another one votes", 4, []Member{member(1, true), member(2, true), member(3, true), member(4, false)}, func(tb *table) {
			tb.do(&metadata.SetNodeState{Node: 3, State: metadata.NodeDecommissioning})
		}, &MemberChange{PromoteMember, 4, 4}},
	} {
		t.Run(row.name, func(t *testing.T) {
			tb := newTable(t, row.nodes)
			if row.change != nil {
				tb.members = row.members
				row.change(tb)
				tb.c = New(tb.cfg, tb.now)
			}
			tb.members = row.members
			got := tb.after(time.Second).Member
			if (got == nil) != (row.want == nil) || got != nil && *got != *row.want {
				t.Errorf("%+v, want %+v", got, row.want)
			}
		})
	}
}

func TestRecovery_WaitsAsksAndTakesTheLongest(t *testing.T) {
	tb := newTable(t, 5)
	tb.create("unclean", 1, []int32{4, 1, 2, 3, 5})
	tb.create("clean", 2, []int32{4, 1, 2, 3, 5})
	topic, _ := tb.m.Image().Topic("unclean")
	shard := topic.Partitions[0].Shard
	tb.silent[3], tb.silent[4], tb.silent[5] = true, true, true
	tb.after(tb.cfg.SessionTimeout + time.Second) // fenced
	tb.after(time.Second)                         // seen to be lost
	var asked []SurveyRequest
	for waited := time.Second; waited < tb.cfg.UncleanWait(); waited += time.Second {
		asked = append(asked, tb.after(time.Second).Surveys...)
	}
	if len(asked) != 0 && tb.now.Sub(tb.c.lost[shard].since) < tb.cfg.UncleanWait() {
		t.Fatalf("asked too early: %+v", asked)
	}
	for len(asked) == 0 {
		asked = tb.after(time.Second).Surveys
	}
	if len(asked) != 2 || !slices.Equal(asked[0].Shards, []metadata.ShardID{shard}) || asked[0].Hold == 0 {
		t.Fatalf("%+v", asked)
	}
	tb.c.Surveyed(1, shard, Survey{Epoch: 4, LogEnd: 100, Leader: -1})
	if a := tb.after(time.Second); len(a.Commands) != 0 {
		t.Fatalf("decided with an answer missing: %+v", a.Commands)
	}
	tb.c.Surveyed(2, shard, Survey{Epoch: 5, LogEnd: 10, Leader: 1})
	if a := tb.after(time.Second); len(a.Commands) != 0 {
		t.Fatalf("decided although somebody knows a living leader: %+v", a.Commands)
	}
	tb.c.Surveyed(2, shard, Survey{Epoch: 5, LogEnd: 10, Leader: 4})
	a := tb.after(time.Second)
	if len(a.Commands) != 1 || a.Commands[0].(*metadata.NewGeneration).Survivor != 3 { //nolint:errcheck,forcetypeassert // a test
		t.Fatalf("%+v", a.Commands)
	}
	for range 60 {
		for _, c := range tb.after(time.Second).Commands {
			if g, ok := c.(*metadata.NewGeneration); ok && g.Topic == (metadata.TopicID{2}) {
				t.Fatal("a topic that forbids it is recovered")
			}
		}
	}
}

func TestRecovery_TakesTheLongerOfOneEpoch(t *testing.T) {
	replicas := []metadata.Replica{{Node: 1, ID: 1}, {Node: 2, ID: 2, State: metadata.Learner}, {Node: 3, ID: 3}}
	survey := func(epoch record.LeaderEpoch, end record.Offset) Survey {
		return Survey{Epoch: epoch, LogEnd: end, Leader: -1}
	}
	for _, row := range []struct {
		name    string
		answers [3]Survey
		want    metadata.ReplicaID // 0: none
	}{
		{"the longest", [3]Survey{survey(4, 10), survey(4, 9), survey(4, 11)}, 3},
		{"a learner's is the longest", [3]Survey{survey(4, 10), survey(4, 12), survey(4, 11)}, 2},
		{"the newest epoch", [3]Survey{survey(4, 100), survey(5, 1), survey(4, 200)}, 2},
		{"of equals who votes, in the order of preference", [3]Survey{survey(4, 10), survey(4, 10), survey(4, 10)}, 1},
		{"of equals a voter", [3]Survey{survey(4, 9), survey(4, 10), survey(4, 10)}, 3},
		{"who has something", [3]Survey{{Missing: true, Leader: -1}, {Missing: true, Leader: -1}, survey(1, 0)}, 3},
		{"nobody has anything", [3]Survey{{Missing: true, Leader: -1}, {Missing: true, Leader: -1}, {Missing: true, Leader: -1}}, 0},
	} {
		tb := newTable(t, 3)
		l := lost{answers: map[int32]Survey{}}
		for n, a := range row.answers {
			l.answers[int32(n+1)] = a //nolint:gosec // small
		}
		got, ok := l.verdict(&View{Image: tb.m.Image()}, replicas)
		if ok != (row.want != 0) || got.ID != row.want {
			t.Errorf("%s: %d %v, want %d", row.name, got.ID, ok, row.want)
		}
	}
}

// TestRecovery_WaitsFromTheLastThatWentMissing: of two voters one is missing for long. The other one, told a moment
// ago that it lives, is cut off together with it: they may lead and acknowledge until its lease ends.
func TestRecovery_WaitsFromTheLastThatWentMissing(t *testing.T) {
	tb := newTable(t, 3)
	tb.create("unclean", 1, []int32{2, 3})
	topic, _ := tb.m.Image().Topic("unclean")
	one := int32(1) // a learner that is far behind, on the node that stays
	tb.do(&metadata.ChangeReplicas{Steps: []metadata.ReplicaChange{{Topic: topic.ID, Shard: topic.Partitions[0].Shard, Add: &one}}})
	tb.silent[2] = true
	for range 60 {
		tb.after(time.Second)
	}
	tb.silent[3] = true
	last := tb.now
	for tb.now.Sub(last) < tb.cfg.SessionTimeout+tb.cfg.UncleanWait() {
		for _, s := range tb.after(time.Second).Surveys {
			if s.Node == 1 && slices.Contains(tb.fenced(), 3) && tb.now.Sub(last) > tb.cfg.SessionTimeout+time.Second && tb.now.Sub(last) < tb.cfg.SessionTimeout+tb.cfg.UncleanWait() {
				t.Fatalf("asked %v after the last voter was heard", tb.now.Sub(last))
			}
		}
	}
}
