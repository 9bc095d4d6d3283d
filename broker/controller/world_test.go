package controller

import (
	"fmt"
	"maps"
	"slices"
	"testing"
	"time"

	"github.com/stelemq/stele/broker/metadata"
	"github.com/stelemq/stele/protocol/record"
)

// world is a toy cluster: nodes that live, die or are cut off, partitions with logs that are mere lengths,
// and a controller on one of its nodes.
type world struct {
	t     *testing.T
	m     *metadata.Machine
	now   time.Time
	cfg   Config
	nodes map[int32]*toyNode
	parts map[metadata.ShardID]*toyPart
	// announced is what the controller knows of partitions: the state of the tick before.
	announced map[metadata.ShardID]PartitionState
	c         *Controller
	self      int32
	members   []Member
	// ids are all replica ids ever seen, by partition.
	ids map[string]map[metadata.ReplicaID]int32
	// shards are all generations of a partition.
	shards      map[string][]metadata.ShardID
	generations int
	steps       int
	refused     int
}

type toyNode struct {
	up bool
	// cut: lives, but on the side of the network where the controller is not.
	cut   bool
	heard time.Time
	disk  int
	// wiped: the disk is new, and the node has not joined with it yet.
	wiped bool
	// members are the metadata replicas on this disk: one that was retired votes until Raft removes it.
	members map[metadata.ReplicaID]bool
	start   int
	// silent is until when it acknowledges nothing, by shard.
	silent map[metadata.ShardID]time.Time
	// holds are the replicas on this disk: shard and id to log.
	holds map[toyReplica]*toyLog
}

type toyReplica struct {
	shard metadata.ShardID
	id    metadata.ReplicaID
}

type toyLog struct{ epoch, end int }

// toyPart is the Raft group of one generation.
type toyPart struct {
	voters, learners map[metadata.ReplicaID]int32
	leader           metadata.ReplicaID
	epoch            int
	// acked is how far the leader has acknowledged.
	acked   int
	ackedAt time.Time
}

func newWorld(t *testing.T, nodes int) *world {
	t.Helper()
	w := &world{
		t: t, m: metadata.NewMachine(), now: time.Unix(1000, 0), cfg: DefaultConfig(), nodes: map[int32]*toyNode{},
		parts: map[metadata.ShardID]*toyPart{}, announced: map[metadata.ShardID]PartitionState{}, self: -1,
		ids: map[string]map[metadata.ReplicaID]int32{}, shards: map[string][]metadata.ShardID{},
	}
	w.cfg.Demote = true
	for n := range nodes {
		id := int32(n + 1)
		w.nodes[id] = &toyNode{up: true, disk: 1, holds: map[toyReplica]*toyLog{}, members: map[metadata.ReplicaID]bool{}, silent: map[metadata.ShardID]time.Time{}}
		w.members = append(w.members, Member{Replica: metadata.ReplicaID(n + 1), Node: id, Voter: n == 0})
		w.register(id, metadata.ReplicaID(n+1))
	}
	return w
}

func (w *world) do(c metadata.Command) metadata.Result {
	w.t.Helper()
	b, err := metadata.Encode(c)
	if err != nil {
		w.t.Fatal(err)
	}
	r, err := metadata.DecodeResult(w.m.Apply(w.m.Image().Index()+1, b))
	if err != nil {
		w.t.Fatal(err)
	}
	return r
}

func (w *world) register(id int32, member metadata.ReplicaID) {
	w.t.Helper()
	n := w.nodes[id]
	n.start++
	r := w.do(&metadata.RegisterBroker{
		Node: id, Endpoints: []metadata.Endpoint{{Listener: "PLAINTEXT", Host: "h", Port: 1}}, Incarnation: fmt.Sprint(n.start),
		DirectoryID: fmt.Sprint(id, "-", n.disk), RaftAddress: fmt.Sprint("h:", id), MetadataReplica: member,
	})
	if r.Error != nil {
		w.t.Fatalf("register %d: %v", id, r.Error)
	}
}

func (w *world) create(name string, n byte, replicas ...[]int32) {
	w.t.Helper()
	if r := w.do(&metadata.CreateTopics{Topics: []metadata.NewTopic{{Name: name, ID: metadata.TopicID{n}, Replicas: replicas}}}); r.Error != nil || r.Topics[0].Error != nil {
		w.t.Fatalf("%+v", r)
	}
}

// start brings a node up; on a new disk it has to join first.
func (w *world) start(id int32, wiped bool) {
	w.t.Helper()
	n := w.nodes[id]
	b, known := w.m.Image().Broker(id)
	if wiped || n.wiped || !known {
		if !n.wiped {
			n.disk++
		}
		n.wiped = true
		n.holds, n.members = map[toyReplica]*toyLog{}, map[metadata.ReplicaID]bool{}
		r := w.do(&metadata.JoinNode{DirectoryID: fmt.Sprint(id, "-", n.disk), Node: id, RaftAddress: fmt.Sprint("h:", id)})
		if r.Error != nil {
			w.refused++
			return // it is not fenced yet: tries again
		}
		n.up, n.wiped = true, false
		w.register(id, r.MetadataReplica)
		return
	}
	n.up = true
	w.register(id, b.MetadataReplica)
}

func (w *world) topics() []*metadata.Topic {
	var out []*metadata.Topic
	for _, name := range w.m.Image().TopicNames() {
		t, _ := w.m.Image().Topic(name)
		out = append(out, t)
	}
	return out
}

func unclean(t *metadata.Topic) bool { return t.Name[0] == 'u' }

// tick lets half a second pass: nodes speak, Raft groups work, the controller decides.
func (w *world) tick() {
	w.t.Helper()
	w.now = w.now.Add(500 * time.Millisecond)
	for id, n := range w.nodes {
		if n.up && !n.cut {
			n.heard = w.now
		}
		if b, ok := w.m.Image().Broker(id); ok && n.up && !n.wiped {
			n.members[b.MetadataReplica] = true
		}
	}
	for _, t := range w.topics() {
		for i := range t.Partitions {
			w.raft(t, &t.Partitions[i])
		}
	}
	w.decide()
	w.announce()
	w.check()
}

// reach are the live replicas of a group that can speak with each other, on one side of the cut.
func (w *world) reach(p *toyPart, shard metadata.ShardID, cut bool) (voters, all []metadata.ReplicaID) {
	for _, id := range slices.Sorted(maps.Keys(p.voters)) {
		if n := w.nodes[p.voters[id]]; n.up && n.cut == cut && n.holds[toyReplica{shard, id}] != nil {
			voters, all = append(voters, id), append(all, id)
		}
	}
	for _, id := range slices.Sorted(maps.Keys(p.learners)) {
		if n := w.nodes[p.learners[id]]; n.up && n.cut == cut && n.holds[toyReplica{shard, id}] != nil {
			all = append(all, id)
		}
	}
	return voters, all
}

func (p *toyPart) node(id metadata.ReplicaID) int32 {
	if n, ok := p.voters[id]; ok {
		return n
	}
	return p.learners[id]
}

func (w *world) log(p *toyPart, shard metadata.ShardID, id metadata.ReplicaID) *toyLog {
	return w.nodes[p.node(id)].holds[toyReplica{shard, id}]
}

// raft makes one step of a partition's group: election, one record, one change of membership.
func (w *world) raft(t *metadata.Topic, wish *metadata.Partition) {
	p := w.parts[wish.Shard]
	if p == nil {
		p = &toyPart{voters: map[metadata.ReplicaID]int32{}, learners: map[metadata.ReplicaID]int32{}}
		w.parts[wish.Shard] = p
		for _, r := range wish.Replicas {
			if wish.Founder(r.ID) {
				p.voters[r.ID] = r.Node
				w.nodes[r.Node].holds[toyReplica{wish.Shard, r.ID}] = w.inherit(wish, r.Node)
			}
		}
	}
	for _, r := range wish.Replicas { // a node starts what it finds in the wish
		if n := w.nodes[r.Node]; n.up && !n.cut && !wish.Founder(r.ID) && r.State != metadata.Leaving && n.holds[toyReplica{wish.Shard, r.ID}] == nil {
			n.holds[toyReplica{wish.Shard, r.ID}] = &toyLog{}
		}
	}
	for _, cut := range []bool{false, true} {
		voters, all := w.reach(p, wish.Shard, cut)
		if len(voters) < len(p.voters)/2+1 {
			if slices.Contains(all, p.leader) {
				p.leader = 0
			}
			continue
		}
		if !slices.Contains(voters, p.leader) {
			p.leader = w.elect(p, wish.Shard, voters)
			p.epoch++
		}
		lease := !cut || w.now.Sub(w.nodes[p.node(p.leader)].heard) <= w.cfg.SessionTimeout
		if silent := w.now.Before(w.nodes[p.node(p.leader)].silent[wish.Shard]); (!unclean(t) || lease) && !silent {
			w.write(p, wish.Shard, all)
		} else {
			w.replicate(p, wish.Shard, all)
		}
		if !cut {
			w.followWish(p, wish, voters)
		}
	}
	if p.leader != 0 && !w.nodes[p.node(p.leader)].up {
		p.leader = 0
	}
}

// inherit is the log with which a founder begins: what its node has of the generation before.
func (w *world) inherit(wish *metadata.Partition, node int32) *toyLog {
	best := &toyLog{}
	for k, l := range w.nodes[node].holds {
		if old := w.parts[k.shard]; k.shard < wish.Shard && old != nil && w.partitionOf(k.shard) == w.partitionOf(wish.Shard) && (l.epoch > best.epoch || l.epoch == best.epoch && l.end > best.end) {
			best = &toyLog{l.epoch + 1, l.end}
		}
	}
	return best
}

// partitionOf is the partition that a shard belongs to.
func (w *world) partitionOf(s metadata.ShardID) string {
	for key, seen := range w.shards {
		if slices.Contains(seen, s) {
			return key
		}
	}
	return ""
}

func (w *world) elect(p *toyPart, shard metadata.ShardID, voters []metadata.ReplicaID) metadata.ReplicaID {
	best := voters[0]
	for _, id := range voters {
		a, b := w.log(p, shard, id), w.log(p, shard, best)
		if a.epoch > b.epoch || a.epoch == b.epoch && a.end > b.end {
			best = id
		}
	}
	return best
}

func (w *world) write(p *toyPart, shard metadata.ShardID, all []metadata.ReplicaID) {
	leader := w.log(p, shard, p.leader)
	if leader.end < p.acked {
		w.t.Fatalf("shard %d: leader %d has %d records, %d were acknowledged", shard, p.leader, leader.end, p.acked)
	}
	leader.end++
	leader.epoch = max(leader.epoch, p.epoch)
	w.replicate(p, shard, all)
	p.acked, p.ackedAt = leader.end, w.now
}

func (w *world) replicate(p *toyPart, shard metadata.ShardID, all []metadata.ReplicaID) {
	for _, id := range all {
		*w.log(p, shard, id) = *w.log(p, shard, p.leader)
	}
}

// followWish makes one change of membership, as the leader of a partition does.
func (w *world) followWish(p *toyPart, wish *metadata.Partition, alive []metadata.ReplicaID) {
	for _, id := range slices.Sorted(maps.Keys(p.voters)) {
		if r, ok := wish.Replica(id); ok && r.State != metadata.Leaving {
			continue
		}
		if id != p.leader {
			if len(p.voters) > 1 {
				delete(p.voters, id)
			}
			return
		}
		for _, other := range alive {
			if r, ok := wish.Replica(other); ok && r.State == metadata.Voter {
				p.leader = other
				p.epoch++
				return
			}
		}
	}
	for _, id := range slices.Sorted(maps.Keys(p.learners)) {
		if r, ok := wish.Replica(id); !ok || r.State == metadata.Leaving {
			delete(p.learners, id)
			return
		}
	}
	for _, r := range wish.Replicas {
		n := w.nodes[r.Node]
		l := n.holds[toyReplica{wish.Shard, r.ID}]
		_, votes := p.voters[r.ID]
		_, learns := p.learners[r.ID]
		switch {
		case r.State != metadata.Learner || votes:
		case !learns:
			p.learners[r.ID] = r.Node
			return
		case n.up && !n.cut && l != nil && l.end == w.log(p, wish.Shard, p.leader).end:
			delete(p.learners, r.ID)
			p.voters[r.ID] = r.Node
			return
		}
	}
}

func (w *world) announce() {
	for _, t := range w.topics() {
		for i := range t.Partitions {
			shard := t.Partitions[i].Shard
			p := w.parts[shard]
			if p == nil || p.leader == 0 || w.nodes[p.node(p.leader)].cut {
				continue // what was said stays said
			}
			s := PartitionState{Leader: p.node(p.leader), Heard: w.now, Voters: slices.Sorted(maps.Keys(p.voters)), Learners: slices.Sorted(maps.Keys(p.learners))}
			voters, _ := w.reach(p, shard, false)
			for _, id := range voters {
				s.ISR = append(s.ISR, p.voters[id])
			}
			w.announced[shard] = s
		}
	}
}

func (w *world) view() View {
	v := View{
		Now: w.now, Self: w.self, Image: w.m.Image(), Nodes: map[int32]Node{}, Members: w.members, Unclean: unclean,
		Partition: func(s metadata.ShardID) (PartitionState, bool) { p, ok := w.announced[s]; return p, ok },
	}
	for id, n := range w.nodes {
		v.Nodes[id] = Node{LastHeard: n.heard, Incarnation: fmt.Sprint(n.start)}
	}
	return v
}

func (w *world) decide() {
	w.t.Helper()
	if !w.quorate() {
		w.self, w.c = -1, nil
		return
	}
	if w.self < 0 || !slices.ContainsFunc(w.members, func(m Member) bool { return m.Node == w.self && w.votes(m) }) {
		w.self, w.c = -1, nil
		for _, m := range w.members {
			if w.votes(m) && (w.self < 0 || m.Node < w.self) {
				w.self = m.Node
			}
		}
		if w.self < 0 {
			return
		}
		w.c = New(w.cfg, w.now)
	}
	a := w.c.Decide(w.view())
	w.checkSteps(&a)
	for _, c := range a.Commands {
		if r := w.do(c); r.Error != nil {
			w.t.Fatalf("%T is refused: %v", c, r.Error)
		}
	}
	for _, t := range a.Transfers {
		p := w.parts[t.Shard]
		for id, node := range p.voters {
			if node == t.To && w.nodes[node].up && !w.nodes[node].cut && p.leader != 0 && p.node(p.leader) == t.From && w.log(p, t.Shard, id) != nil && w.log(p, t.Shard, id).end == w.log(p, t.Shard, p.leader).end {
				p.leader = id
				p.epoch++
			}
		}
	}
	for _, s := range a.Surveys {
		w.survey(s)
	}
	if a.Member != nil {
		w.change(*a.Member)
	}
}

// quorate reports whether the metadata has a living majority.
func (w *world) quorate() bool {
	voters, live := 0, 0
	for _, m := range w.members {
		if m.Voter {
			voters++
			if w.votes(m) {
				live++
			}
		}
	}
	return live >= voters/2+1
}

// votes reports whether a member of the metadata group can vote now.
func (w *world) votes(m Member) bool {
	n := w.nodes[m.Node]
	return m.Voter && n.up && !n.cut && n.members[m.Replica]
}

func (w *world) survey(s SurveyRequest) {
	n := w.nodes[s.Node]
	if !n.up || n.cut {
		return
	}
	for _, shard := range s.Shards {
		n.silent[shard] = w.now.Add(s.Hold)
		answer := Survey{Leader: -1, Missing: true, Epoch: -1}
		var newest metadata.ReplicaID
		for k, l := range n.holds {
			if k.shard == shard && k.id > newest {
				newest = k.id
				answer = Survey{Leader: -1, Epoch: record.LeaderEpoch(l.epoch), LogEnd: record.Offset(l.end)} //nolint:gosec // small
			}
		}
		if p := w.parts[shard]; p.leader != 0 && !w.nodes[p.node(p.leader)].cut {
			answer.Leader = p.node(p.leader)
		}
		w.c.Surveyed(s.Node, shard, answer)
	}
}

func (w *world) change(c MemberChange) {
	if !w.quorate() {
		return
	}
	at := slices.IndexFunc(w.members, func(m Member) bool { return m.Replica == c.Replica })
	switch c.Kind {
	case AddMember:
		w.members = append(slices.Clone(w.members), Member{c.Replica, c.Node, false})
	case PromoteMember:
		w.members = slices.Clone(w.members)
		w.members[at].Voter = true
	case RemoveMember:
		w.members = slices.Delete(slices.Clone(w.members), at, at+1)
	case HandOver:
		if slices.ContainsFunc(w.members, func(m Member) bool { return m.Node == c.Node && w.votes(m) }) {
			w.self, w.c = c.Node, New(w.cfg, w.now)
		}
	}
}
