package metadata

import (
	"maps"
	"slices"

	"github.com/stelemq/stele/protocol"
)

// editor changes partitions of an image that is still private: each topic is copied once, however many of
// its partitions a command changes.
type editor struct {
	i      *Image
	topics map[TopicID]*Topic
	order  []TopicID
}

func (i *Image) edit() *editor { return &editor{i: i, topics: map[TopicID]*Topic{}} }

// partition returns a partition that may be changed; slices in it must be replaced, not written to.
func (e *editor) partition(id TopicID, index int32) (*Partition, protocol.Code) {
	t, ok := e.topics[id]
	if !ok {
		old, known := e.i.ids.get(id)
		if !known {
			return nil, protocol.UnknownTopicID
		}
		if index < 0 || int(index) >= len(old.Partitions) {
			return nil, protocol.UnknownTopicOrPartition
		}
		c := *old
		c.Partitions = slices.Clone(old.Partitions)
		t = &c
		e.topics[id] = t
		e.order = append(e.order, id)
	}
	if index < 0 || int(index) >= len(t.Partitions) {
		return nil, protocol.UnknownTopicOrPartition
	}
	return &t.Partitions[index], protocol.None
}

// finish puts the changed topics into the image and returns their ids.
func (e *editor) finish() []TopicID {
	if len(e.order) == 0 {
		return nil
	}
	e.i.load = maps.Clone(e.i.load)
	for _, id := range e.order {
		e.i.putTopic(e.topics[id])
	}
	return e.order
}

// apply carries out commands that change partitions.
func (e *editor) apply(c Command) Result {
	switch c := c.(type) {
	case *JoinNode:
		return e.joinNode(c)
	case *AlterReassignments:
		return e.alterReassignments(c)
	case *ChangeReplicas:
		return e.changeReplicas(c)
	case *ReplicaStates:
		return e.replicaStates(c)
	case *NewGeneration:
		return e.newGeneration(c)
	case *RecoverPartition:
		return e.recoverPartition(c)
	}
	return refuse(protocol.InvalidRequest, "unknown command")
}

func (e *editor) joinNode(c *JoinNode) Result {
	i := e.i
	if c.DirectoryID == "" || c.Node < -1 {
		return refuse(protocol.InvalidRequest, "a node that joins needs a directory id, and a node id or -1")
	}
	if b, ok := i.BrokerByDirectory(c.DirectoryID); ok {
		if c.Node >= 0 && c.Node != b.Node {
			return refuse(protocol.InvalidRequest, "data directory %s belongs to node %d, not to node %d", c.DirectoryID, b.Node, c.Node)
		}
		replica := b.MetadataReplica
		if replica != 0 && replica == c.Replaces {
			i.retire(replica, b.Node)
			replica = 0
		}
		if replica == 0 { // the metadata log is a new one, or the node's replica of it is lost
			replica = i.nextMetadata
		}
		i.changeBroker(b.Node, func(b *Broker) {
			b.RaftAddress, b.Rack, b.MetadataReplica = c.RaftAddress, c.Rack, replica
		})
		return Result{Node: b.Node, MetadataReplica: replica, ClusterID: i.clusterID}
	}
	b := Broker{Node: c.Node}
	if c.Node < 0 {
		b.Node = i.nextNode
	}
	if old, ok := i.brokers[b.Node]; ok {
		if !old.Fenced {
			return refuse(protocol.DuplicateBrokerRegistration, "another broker is alive with node id %d (data directory %s)", b.Node, old.DirectoryID)
		}
		b = *old
		i.retire(old.MetadataReplica, old.Node)
		e.replaceReplicas(old.Node)
	}
	b.DirectoryID, b.RaftAddress, b.Rack, b.Fenced, b.MetadataReplica = c.DirectoryID, c.RaftAddress, c.Rack, true, i.nextMetadata
	b.Incarnation = ""
	b.Epoch = i.index // who fences or unfences the disk that is gone means another one
	i.putBroker(&b)
	return Result{Node: b.Node, MetadataReplica: b.MetadataReplica, ClusterID: i.clusterID}
}

// replaceReplicas gives a node whose disk is gone new replicas for old.
func (e *editor) replaceReplicas(node int32) {
	for _, name := range e.i.TopicNames() { // sorted: ids must come out alike on every replica
		t, _ := e.i.Topic(name)
		for n := range t.Partitions {
			if _, ok := t.Partitions[n].ReplicaOn(node); !ok {
				continue
			}
			p, _ := e.partition(t.ID, int32(n)) //nolint:gosec // bounded by the number of partitions
			p.wipe(node)
		}
	}
}

// wipe marks every replica on a node as gone, and adds a learner in the place of the one that was to stay.
func (p *Partition) wipe(node int32) {
	p.Replicas = slices.Clone(p.Replicas)
	for n := range p.Replicas {
		if r := &p.Replicas[n]; r.Node == node && r.State == Leaving {
			r.Gone = true
		}
	}
	if r, _ := p.ReplicaOn(node); r.State != Leaving {
		p.replace(r.ID)
	}
}

// replace marks a replica as leaving and gone, and adds a learner on the same node in its place.
func (p *Partition) replace(id ReplicaID) {
	out := make([]Replica, 0, len(p.Replicas)+1)
	for _, r := range p.Replicas {
		if r.ID != id {
			out = append(out, r)
			continue
		}
		out = append(out, Replica{Node: r.Node, ID: p.NextReplica, State: Learner}, Replica{Node: r.Node, ID: r.ID, State: Leaving, Gone: true, Voted: r.State == Voter})
		p.NextReplica++
	}
	p.Replicas = out
}

func (e *editor) changeReplicas(c *ChangeReplicas) Result {
	for n := range c.Steps {
		s := &c.Steps[n]
		p, code := e.partition(s.Topic, s.Partition)
		if code != protocol.None || p.Shard != s.Shard {
			continue
		}
		if s.Add != nil {
			if b, ok := e.i.brokers[*s.Add]; ok && b.Registered() {
				p.addLearner(*s.Add)
			}
		}
		if s.Leave != 0 {
			p.leave(s.Leave)
		}
		if r, ok := p.Replica(s.Replace); ok && r.State != Leaving && (r.State != Voter || p.Voters() > 1) {
			p.replace(r.ID)
		}
		p.settle()
	}
	return Result{}
}

// addLearner adds a replica on a node that has none, in its place of the order wanted.
func (p *Partition) addLearner(node int32) {
	if slices.ContainsFunc(p.Replicas, func(r Replica) bool { return r.Node == node && !r.Gone }) {
		return // one that leaves must have left: a node runs one replica of a shard
	}
	p.Replicas = append(slices.Clone(p.Replicas), Replica{Node: node, ID: p.NextReplica, State: Learner})
	p.NextReplica++
	p.sort(p.Target)
}

// leave marks a replica as leaving, unless it is the last voter, or the last one that stays.
func (p *Partition) leave(id ReplicaID) {
	r, ok := p.Replica(id)
	if !ok || r.State == Leaving || r.State == Voter && p.Voters() == 1 || p.staying() == 1 {
		return
	}
	p.Replicas = slices.Clone(p.Replicas)
	for n := range p.Replicas {
		if p.Replicas[n].ID == id {
			p.Replicas[n].State, p.Replicas[n].Voted = Leaving, r.State == Voter
		}
	}
}

// sort puts the replicas in the order of nodes; those on other nodes follow.
func (p *Partition) sort(nodes []int32) {
	if nodes == nil {
		return
	}
	place := func(r Replica) int {
		if n := slices.Index(nodes, r.Node); n >= 0 {
			return n
		}
		return len(nodes)
	}
	p.Replicas = slices.Clone(p.Replicas)
	slices.SortStableFunc(p.Replicas, func(a, b Replica) int { return place(a) - place(b) })
}

// settle ends a reassignment whose target is reached.
func (p *Partition) settle() {
	if p.Target == nil || len(p.Replicas) != len(p.Target) {
		return
	}
	for _, node := range p.Target {
		if r, ok := p.ReplicaOn(node); !ok || r.State != Voter {
			return
		}
	}
	p.sort(p.Target)
	p.Target, p.Origin = nil, nil
}

func (e *editor) replicaStates(c *ReplicaStates) Result {
	for n := range c.Reports {
		report := &c.Reports[n]
		p, code := e.partition(report.Topic, report.Partition)
		if code != protocol.None || p.Shard != report.Shard || len(report.Voters) == 0 {
			continue
		}
		p.follow(report)
		p.settle()
	}
	return Result{}
}

// follow takes over Raft's membership.
func (p *Partition) follow(report *ReplicaReport) {
	out := make([]Replica, 0, len(p.Replicas))
	for _, r := range p.Replicas {
		votes := slices.Contains(report.Voters, r.ID)
		if r.State == Leaving && !votes && !slices.Contains(report.Learners, r.ID) {
			continue
		}
		if r.State == Learner && votes {
			r.State = Voter
		}
		out = append(out, r)
	}
	if slices.ContainsFunc(out, func(r Replica) bool { return r.State == Voter }) {
		p.Replicas = out
	}
}

func (e *editor) newGeneration(c *NewGeneration) Result {
	p, code := e.partition(c.Topic, c.Partition)
	if code != protocol.None {
		return refuse(code, "there is no such partition")
	}
	survivor, ok := p.Replica(c.Survivor)
	if p.Shard != c.Shard || !ok || survivor.Gone {
		return refuse(protocol.InvalidRequest, "the partition is in generation %d with other replicas", p.Generation)
	}
	var out []Replica
	for _, r := range p.Replicas {
		if r.ID != survivor.ID && (r.State == Leaving || r.Node == survivor.Node) {
			continue
		}
		next := Replica{Node: r.Node, ID: p.NextReplica, State: Learner}
		p.NextReplica++
		if r.ID == survivor.ID {
			next.State = Voter
			p.Founders = []ReplicaID{next.ID}
		}
		out = append(out, next)
	}
	p.Replicas = out
	p.Shard = e.i.nextShard
	e.i.nextShard++
	p.Generation++
	p.Recover = false
	p.settle()
	return Result{}
}

func (e *editor) recoverPartition(c *RecoverPartition) Result {
	p, code := e.partition(c.Topic, c.Partition)
	if code != protocol.None {
		return refuse(protocol.UnknownTopicOrPartition, "there is no such partition")
	}
	p.Recover = !c.Cancel
	return Result{}
}
