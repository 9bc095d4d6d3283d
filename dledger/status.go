package dledger

import (
	"time"

	"github.com/stelemq/stele/protocol/record"
)

// Role is a replica's in its Raft group.
type Role string

// Roles.
const (
	RoleLeader    Role = "leader"
	RoleFollower  Role = "follower"
	RoleCandidate Role = "candidate" // knows no leader
	RoleLearner   Role = "learner"
)

// RaftStatus is how a partition's Raft group stands, as this replica sees it.
type RaftStatus struct {
	Replica ReplicaID
	Role    Role
	Leader  int32 // node id, -1 = unknown
	Term    Term
	// Base is the index before the first entry that Raft can reach, Last of the newest, Commit of the newest known to be
	// committed, Applied of the newest that the high watermark shows.
	Base, Last, Commit, Applied Index
	Quarantined                 bool
	// LastContact is how long ago the leader was heard; on the leader 0.
	LastContact time.Duration
	// Replicas are all members; on the leader with what it knows of them.
	Replicas []ReplicaStatus
}

// ReplicaStatus is what a leader knows of a member.
type ReplicaStatus struct {
	Replica ReplicaID
	Node    int32
	Voter   bool
	// Match is the index up to which it has everything, 0 = not known; Lag how many entries it is behind.
	Match, Lag  Index
	LastContact time.Duration
	// CaughtUp is how long ago it was known to have everything of that moment.
	CaughtUp time.Duration
}

// Status returns how the group stands.
func (p *Partition) Status() RaftStatus {
	s := p.shard
	s.mu.RLock()
	st := RaftStatus{
		Replica: s.key.Replica, Term: s.hard.Term, Base: s.first - 1, Last: s.last, Commit: max(s.committedTo, s.hard.Commit), Applied: s.committedTo,
		Leader: p.raftNode.Load(), Quarantined: p.quarantined.Load(),
	}
	s.mu.RUnlock()
	self, _ := p.roster.Load().find(st.Replica)
	g := &p.progress
	now := monotonic()
	g.mu.Lock()
	defer g.mu.Unlock()
	switch {
	case g.term > 0:
		st.Role = RoleLeader
	case !self.voter:
		st.Role = RoleLearner
	case st.Leader < 0:
		st.Role = RoleCandidate
	default:
		st.Role = RoleFollower
	}
	if st.Role != RoleLeader && g.heardAt > 0 {
		st.LastContact = time.Duration(now - g.contactLocked())
	}
	for _, m := range p.roster.Load().members {
		r := ReplicaStatus{Replica: m.replica, Node: m.node, Voter: m.voter}
		if m.replica == st.Replica {
			r.Match = st.Last
		} else if f := g.followers[m.replica]; f != nil {
			r.Match, r.LastContact, r.CaughtUp = f.match, time.Duration(now-f.contactLocked(now)), time.Duration(now-f.caughtLocked(now, st.Last))
			r.Lag = st.Last - min(f.match, st.Last)
		}
		st.Replicas = append(st.Replicas, r)
	}
	return st
}

// Survey returns what decides between survivors of a lost majority: the leader epoch of the newest entry and the log end.
func (p *Partition) Survey() (record.LeaderEpoch, record.Offset) {
	p.shard.mu.RLock()
	term := p.shard.lastTerm
	p.shard.mu.RUnlock()
	return LeaderEpochOf(p.spec.Generation, term), p.shard.log.End().Next
}
