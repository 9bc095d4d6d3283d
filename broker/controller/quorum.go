package controller

import (
	"cmp"
	"slices"

	"github.com/stelemq/stele/broker/metadata"
)

// Voters is how many nodes vote in the metadata log of a cluster of so many nodes.
func Voters(nodes int) int {
	switch {
	case nodes >= 5:
		return 5
	case nodes >= 3:
		return 3
	}
	return 1
}

// group is the metadata's Raft group, sorted for decisions.
type group struct {
	v       *View
	members map[metadata.ReplicaID]Member
	voters  []*metadata.Broker
	// spare are nodes that could vote: live learners that stay.
	spare []*metadata.Broker
	want  int
}

// quorum makes the metadata group follow the nodes, one change at a time: members that are known no more
// leave, nodes without a member get a learner, and 1, 3 or 5 of them vote.
func (c *Controller) quorum(v *View, d *scan, a *Actions) {
	if len(v.Members) == 0 {
		return
	}
	g := newGroup(v)
	if !g.has(c.member) && v.Now.Sub(c.memberAt) < c.cfg.Patience {
		return
	}
	change, command := g.next(c, d)
	if change != nil {
		a.Member = change
		c.member, c.memberAt = *change, v.Now
	}
	if command != nil {
		a.Commands = append(a.Commands, command)
	}
}

// has reports whether a change has been made.
func (g *group) has(c MemberChange) bool {
	m, ok := g.members[c.Replica]
	switch c.Kind {
	case AddMember:
		return ok
	case PromoteMember:
		return ok && m.Voter
	case RemoveMember:
		return !ok
	case HandOver:
		return false
	}
	return true
}

func newGroup(v *View) *group {
	g := &group{v: v, members: map[metadata.ReplicaID]Member{}, want: Voters(v.Image.Members())}
	for _, m := range v.Members {
		g.members[m.Replica] = m
	}
	for _, b := range v.Image.Brokers() {
		switch m, ok := g.members[b.MetadataReplica]; {
		case !ok:
		case m.Voter:
			g.voters = append(g.voters, b)
		case !b.Fenced && b.Registered() && b.State != metadata.NodeDecommissioning:
			g.spare = append(g.spare, b)
		}
	}
	return g
}

func (g *group) next(c *Controller, d *scan) (*MemberChange, metadata.Command) {
	if m, ok := g.stale(); ok {
		return &MemberChange{Kind: RemoveMember, Replica: m.Replica, Node: m.Node}, nil
	}
	for _, b := range g.v.Image.Brokers() {
		if _, ok := g.members[b.MetadataReplica]; !ok && b.MetadataReplica != 0 && b.RaftAddress != "" && b.State != metadata.NodeDecommissioning {
			return &MemberChange{Kind: AddMember, Replica: b.MetadataReplica, Node: b.Node}, nil
		}
	}
	if b, ok := g.promote(c); ok {
		return &MemberChange{Kind: PromoteMember, Replica: b.MetadataReplica, Node: b.Node}, nil
	}
	if b, ok := g.successor(c); ok {
		return &MemberChange{Kind: HandOver, Replica: b.MetadataReplica, Node: b.Node}, nil
	}
	if b, ok := g.retire(d); ok {
		return &MemberChange{Kind: RemoveMember, Replica: b.MetadataReplica, Node: b.Node}, nil
	}
	if b, ok := g.demote(c); ok && c.cfg.Demote {
		return nil, &metadata.NewMetadataReplica{Node: b.Node, Replaces: b.MetadataReplica}
	}
	return nil, nil
}

// retire is a decommissioned node that has no replicas of partitions left, and leaves the group next.
func (g *group) retire(d *scan) (*metadata.Broker, bool) {
	for _, b := range g.v.Image.Brokers() {
		m, ok := g.members[b.MetadataReplica]
		if ok && b.State == metadata.NodeDecommissioning && d.held[b.Node] == 0 && b.Node != g.v.Self && (!m.Voter || g.spares(b)) {
			return b, true
		}
	}
	return nil, false
}

// spares reports whether the others have a living majority without a voter.
func (g *group) spares(b *metadata.Broker) bool {
	live := 0
	for _, o := range g.voters {
		if o.Node != b.Node && g.v.fresh(o.Node) {
			live++
		}
	}
	others := g.raftVoters() - 1
	return others > 0 && live >= others/2+1
}

// successor is who should decide in the place of a node that is being decommissioned.
func (g *group) successor(c *Controller) (*metadata.Broker, bool) {
	if b, ok := g.v.Image.Broker(g.v.Self); !ok || b.State != metadata.NodeDecommissioning {
		return nil, false
	}
	for _, b := range g.voters {
		if b.Node != g.v.Self && g.v.fresh(b.Node) && !c.unfit(g.v, b) {
			return b, true
		}
	}
	return nil, false
}

// stale is a member that must go: its node has another replica now, or is no more.
func (g *group) stale() (Member, bool) {
	for _, m := range g.v.Members {
		_, retired := g.v.Image.RetiredMetadataReplicas()[m.Replica]
		b, known := g.v.Image.Broker(m.Node)
		last := m.Voter && g.raftVoters() == 1
		if !last && (retired || known && b.MetadataReplica != 0 && b.MetadataReplica != m.Replica) {
			return m, true
		}
	}
	return Member{}, false
}

// raftVoters counts the votes in Raft, those of members that must go included.
func (g *group) raftVoters() int {
	n := 0
	for _, m := range g.v.Members {
		if m.Voter {
			n++
		}
	}
	return n
}

// unfit reports whether another node should vote in the place of a voter: it is leaving, or has been dead for
// long.
func (c *Controller) unfit(v *View, b *metadata.Broker) bool {
	at, fenced := c.fenced[b.Node]
	return b.State == metadata.NodeDecommissioning || fenced && v.Now.Sub(at) > c.cfg.VoterReplaceAfter
}

func (g *group) fit(c *Controller) int {
	n := 0
	for _, b := range g.voters {
		if !c.unfit(g.v, b) {
			n++
		}
	}
	return n
}

// promote is the next voter. From an odd number on it takes two, or one for somebody unfit: two voters
// tolerate less than one.
func (g *group) promote(c *Controller) (*metadata.Broker, bool) {
	fit := g.fit(c)
	unfit := len(g.voters) - fit
	if fit >= g.want || len(g.spare) == 0 || len(g.voters)%2 == 1 && unfit == 0 && len(g.spare) < 2 {
		return nil, false
	}
	best := slices.MinFunc(g.spare, func(a, b *metadata.Broker) int {
		return cmp.Or(cmp.Compare(g.sharesRack(a), g.sharesRack(b)), cmp.Compare(draining(a), draining(b)), cmp.Compare(a.Node, b.Node))
	})
	return best, true
}

// sharesRack counts the voters in a node's rack.
func (g *group) sharesRack(b *metadata.Broker) int {
	n := 0
	for _, o := range g.voters {
		if o.Node != b.Node && o.Rack == b.Rack && b.Rack != "" {
			n++
		}
	}
	return n
}

func draining(b *metadata.Broker) int {
	if b.State == metadata.NodeActive {
		return 0
	}
	return 1
}

// demote is the voter that becomes a learner: where there are more than wanted, or somebody unfit who has
// been replaced. Never the node that decides, and nobody whose going would take the majority along.
func (g *group) demote(c *Controller) (*metadata.Broker, bool) {
	if len(g.voters) <= g.want {
		return nil, false
	}
	var best *metadata.Broker
	for _, b := range g.voters {
		if b.Node == g.v.Self || !g.spares(b) {
			continue
		}
		if best == nil || g.dispensable(c, b, best) {
			best = b
		}
	}
	return best, best != nil
}

// dispensable reports whether a should go before b.
func (g *group) dispensable(c *Controller, a, b *metadata.Broker) bool {
	rank := func(b *metadata.Broker) int {
		switch {
		case c.unfit(g.v, b):
			return 0
		case b.Fenced:
			return 1
		}
		return 2
	}
	return cmp.Or(cmp.Compare(rank(a), rank(b)), cmp.Compare(g.sharesRack(b), g.sharesRack(a)), cmp.Compare(b.Node, a.Node)) < 0
}
