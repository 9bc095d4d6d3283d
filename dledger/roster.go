package dledger

import (
	"slices"

	pb "github.com/lni/dragonboat/v4/raftpb"
)

// member is a replica of a partition by Raft's word.
type member struct {
	replica ReplicaID
	node    int32
	voter   bool
}

// roster is who belongs to a partition. Immutable.
type roster struct {
	members []member // by replica id
	// change is the index of the change that made it so.
	change Index
}

// rosterOf reads dragonboat's membership; before there is one, the founders are it.
func rosterOf(m *pb.Membership, founders map[ReplicaID]int32) *roster {
	r := &roster{change: Index(m.ConfigChangeId)}
	add := func(addresses map[uint64]string, voter bool) {
		for id, target := range addresses {
			node, ok := nodeOf(target)
			if !ok {
				node = -1
			}
			r.members = append(r.members, member{ReplicaID(id), node, voter})
		}
	}
	add(m.Addresses, true)
	add(m.NonVotings, false)
	if len(r.members) == 0 {
		for id, node := range founders {
			r.members = append(r.members, member{id, node, true})
		}
	}
	slices.SortFunc(r.members, func(a, b member) int { return int(a.replica) - int(b.replica) })
	return r
}

func (r *roster) find(id ReplicaID) (member, bool) {
	for _, m := range r.members {
		if m.replica == id {
			return m, true
		}
	}
	return member{}, false
}

// on returns the replica on a node.
func (r *roster) on(node int32) (member, bool) {
	for _, m := range r.members {
		if m.node == node {
			return m, true
		}
	}
	return member{}, false
}

// nodes returns the node ids of the voters, or of the learners, sorted.
func (r *roster) nodes(voters bool) []int32 {
	out := []int32{}
	for _, m := range r.members {
		if m.voter == voters {
			out = append(out, m.node)
		}
	}
	slices.Sort(out)
	return out
}

func (r *roster) voters() int {
	n := 0
	for _, m := range r.members {
		if m.voter {
			n++
		}
	}
	return n
}

// refreshRoster takes over the committed membership.
func (p *Partition) refreshRoster() {
	p.shard.mu.RLock()
	r := rosterOf(&p.shard.state.membership, p.founders())
	p.shard.mu.RUnlock()
	voters, learners := r.nodes(true), r.nodes(false)
	p.roster.Store(r)
	p.voters.Store(&voters)
	p.learners.Store(&learners)
	p.progress.follow(r, p.shard.key.Replica)
	p.noteStrict()
	if p.isLeader.Load() {
		p.refreshISR() // who has left is in sync no more
	}
	p.noteLeadership()
}

// founders are the first voters; a replica that was added later learns the membership from the log.
func (p *Partition) founders() map[ReplicaID]int32 {
	if p.spec.Join {
		return nil
	}
	return p.spec.Members
}

// noteStrict remembers whether min.insync.replicas asks for more than Raft's majority.
func (p *Partition) noteStrict() {
	c, r := p.config.Load(), p.roster.Load()
	if c != nil && r != nil {
		p.strict.Store(c.MinInSyncReplicas > r.voters()/2+1)
	}
}

// nodeOf returns the node of a replica, -1 where it is not known.
func (p *Partition) nodeOf(id ReplicaID) int32 {
	if id == 0 {
		return -1
	}
	if m, ok := p.roster.Load().find(id); ok {
		return m.node
	}
	if n, ok := p.spec.Members[id]; ok {
		return n
	}
	return p.host.registry.node(p.spec.Shard, id)
}
