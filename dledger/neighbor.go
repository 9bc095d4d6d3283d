package dledger

import (
	"crypto/rand"
	"encoding/binary"
	"math"
	"sync"
	"sync/atomic"
	"time"

	pb "github.com/lni/dragonboat/v4/raftpb"
)

// Nodes say once for all groups what leaders would say for each: "I live, and lead what I led" (ADR 27).
//
// A leader asks its followers to lean on its node. One that leans takes every beat of that node for a heartbeat of its leader:
// as long as they come it is not ticked, and so neither stands for election nor votes. The leader in turn takes the node's
// answer to a beat for the answer of every follower that leans there: it counts for the lease. A group at rest needs nothing
// else, and its leader stops to tick it.
//
// Who stops leading tells those that lean on it, and who stops leaning tells the leader, and both count what they have told:
// each beat and each answer carries the count, so that whoever has missed something learns it with the next, and takes then
// nothing for granted of that node.

// Kinds of the messages about one group (pb.Quiesce, of which Stele makes no other use), in LogTerm.
const (
	leanOn    = 1 // leader to follower: lean on my node
	leaning   = 2 // its answer: from now on
	leanNoOn  = 3 // leader to follower: do not any more
	leanNoing = 4 // follower to leader: not any more
)

const (
	// beatLate is how long after a node was heard those that lean on it begin to count: before an election timeout is over,
	// and after so long that beats which are a little late wake nobody.
	beatLate = 5 * heartbeatEvery / 2
	// restAfter is for how long nothing may have happened in a group that is at rest.
	restAfter = 4 * time.Second
	// askAgain is how soon a follower is asked once more to lean.
	askAgain = 500 * time.Millisecond
	// unheard is how long replicas take a node's word for it: a leader and a follower that are at rest exchange a heartbeat every
	// housekeepingEvery, and one that does not come in so long is waited for no more.
	unheard = 3*housekeepingEvery + time.Second
)

// neighbor is another node.
type neighbor struct {
	node int32

	// What is read for each group, with no lock:

	heard    atomic.Int64 // its newest beat, by the Raft clock
	heardAt  atomic.Int64 // the same by monotonic()
	answered atomic.Int64 // when the newest of this node's beats left that it has answered, by monotonic()
	back     atomic.Int64 // when that answer came, by the Raft clock
	backAt   atomic.Int64 // the same by monotonic()
	wanted   atomic.Int64 // when a leader here last wanted to hear of it, by the Raft clock
	// leans and props are changed when nothing holds any more of what leans on it here, or there on this node.
	leans, props atomic.Uint64

	mu sync.Mutex // taken last of all, and held while something is sent, which keeps it in order
	// mu guards:
	incarnation uint64 // its process, by its answers and beats; 0 = not known
	// told and heardTold count what this node has told as a leader, and the other.
	told, heardTold uint64
	// gone and heardGone count the followers here that have stopped to lean, and there.
	gone, heardGone uint64
	late            bool // it is silent
}

// neighbors are all others.
type neighbors struct {
	self uint64 // this process
	send func(node int32, m pb.Message, stamp int64)

	mu sync.RWMutex
	// mu guards:
	all map[int32]*neighbor
}

func newNeighbors(send func(int32, pb.Message, int64)) *neighbors {
	var b [8]byte
	_, _ = rand.Read(b[:]) // never fails
	return &neighbors{self: binary.LittleEndian.Uint64(b[:]) | 1, send: send, all: make(map[int32]*neighbor)}
}

// of returns a node.
func (n *neighbors) of(node int32) *neighbor {
	n.mu.RLock()
	b := n.all[node]
	n.mu.RUnlock()
	if b != nil || node < 0 {
		return b
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	if b = n.all[node]; b == nil {
		b = &neighbor{node: node, late: true}
		b.leans.Store(1)
		b.props.Store(1)
		n.all[node] = b
	}
	return b
}

func (n *neighbors) list() []*neighbor {
	n.mu.RLock()
	defer n.mu.RUnlock()
	out := make([]*neighbor, 0, len(n.all))
	for _, b := range n.all {
		out = append(out, b)
	}
	return out
}

// beat sends a beat to each node on which this one leads followers.
func (n *neighbors) beat(clock int64) {
	for _, b := range n.list() {
		if wanted := b.wanted.Load(); wanted == 0 || clock-wanted > int64(housekeepingEvery) {
			continue
		}
		b.mu.Lock()
		n.send(b.node, pb.Message{Type: pb.Ping, From: n.self, To: 1, LogIndex: b.told}, monotonic())
		b.mu.Unlock()
	}
}

// silent returns the nodes that have just become so: those that lean on them are about to count.
func (n *neighbors) silent(clock int64) (out []*neighbor) {
	for _, b := range n.list() {
		if b.heard.Load() == 0 || clock-b.heard.Load() < int64(beatLate) {
			continue
		}
		b.mu.Lock()
		if !b.late && clock-b.heard.Load() >= int64(beatLate) {
			b.late = true
			out = append(out, b)
		}
		b.mu.Unlock()
	}
	return out
}

// answers reports whether a node has answered a beat a moment ago.
func (b *neighbor) answers(clock int64) bool {
	return b != nil && b.back.Load() > 0 && clock-b.back.Load() < int64(beatLate)
}

// letGoLocked ends all leaning here on a node.
func (b *neighbor) letGoLocked() {
	b.leans.Add(1)
	b.gone++
}

// meetLocked notes which process speaks for a node. What an earlier one had said does not count any more.
func (b *neighbor) meetLocked(incarnation uint64) (same bool) {
	if b.incarnation == incarnation {
		return true
	}
	b.incarnation = incarnation
	b.letGoLocked()
	b.props.Add(1)
	return false
}

// heardBeat takes a beat and answers it.
func (n *neighbors) heardBeat(node int32, m *pb.Message, stamp, clock int64) {
	b := n.of(node)
	if b == nil {
		return
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if same := b.meetLocked(m.From); same && m.LogIndex != b.heardTold {
		b.letGoLocked() // something that it told has not come
	}
	b.heardTold, b.late = m.LogIndex, false
	b.heard.Store(clock)
	b.heardAt.Store(monotonic())
	n.send(node, pb.Message{Type: pb.Pong, From: n.self, To: 1, Hint: m.From, LogIndex: b.gone}, stamp)
}

// heardAnswer takes an answer to a beat; rtt is how long it took, 0 where it counts for nothing.
func (n *neighbors) heardAnswer(node int32, m *pb.Message, stamp, clock int64) (rtt time.Duration) {
	b := n.of(node)
	if b == nil || m.Hint != n.self {
		return 0
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if same := b.meetLocked(m.From); same && m.LogIndex != b.heardGone {
		b.props.Add(1) // some that leant there do no more
	}
	b.heardGone = m.LogIndex
	now := monotonic()
	// What leans is read after this, see progress.asked: what was cleared above is seen by whoever sees this.
	b.answered.Store(max(b.answered.Load(), stamp))
	b.back.Store(clock)
	b.backAt.Store(now)
	return time.Duration(now - stamp)
}

// about makes a message about a group. count is told or gone.
func (p *Partition) about(kind uint64, to ReplicaID, t Term, count, self, other uint64) pb.Message {
	return pb.Message{
		Type: pb.Quiesce, ShardID: uint64(p.spec.Shard), From: uint64(p.shard.key.Replica), To: uint64(to), Term: uint64(t),
		LogTerm: kind, LogIndex: count, Hint: self, HintHigh: other,
	}
}

// askLocked asks a follower to lean. progress.mu is held.
func (p *Partition) askLocked(id ReplicaID, f *follower, clock int64) {
	b := f.neighbor
	if f.askedLean > 0 && clock-f.askedLean < int64(askAgain) {
		return
	}
	f.askedLean = clock
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.incarnation != 0 {
		p.host.neighbors.send(f.node, p.about(leanOn, id, p.progress.term, b.told, p.host.neighbors.self, b.incarnation), 0)
	}
}

// releaseLocked tells those that may lean on this leader that they must not any more. progress.mu is held.
func (p *Partition) releaseLocked() {
	g := &p.progress
	for id, f := range g.followers {
		if f.askedLean == 0 || f.neighbor == nil {
			continue
		}
		f.askedLean, f.leans = 0, 0
		b := f.neighbor
		b.mu.Lock()
		b.told++
		p.host.neighbors.send(f.node, p.about(leanNoOn, id, g.term, b.told, p.host.neighbors.self, b.incarnation), 0)
		b.mu.Unlock()
	}
}

// standUpLocked tells a leader that a follower here does not wait for its node any more. progress.mu is held. It reports false
// where the node has been heard since heard, by the Raft clock: what has been answered to it holds.
func (p *Partition) standUpLocked(heard int64) bool {
	l := &p.progress.lean
	if !l.holds() || l.stood {
		return true
	}
	b := l.on
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.heard.Load() > heard {
		return false
	}
	if l.stood = true; l.holds() {
		b.gone++
		p.host.neighbors.send(b.node, p.about(leanNoing, l.leader, l.term, b.gone, p.host.neighbors.self, b.incarnation), 0)
	}
	return true
}

// endLeanLocked makes a follower count from when it last heard its leader's node, unless it counts already.
func (g *progress) endLeanLocked() {
	if g.lean.on != nil && g.patience.given == 0 {
		g.patience.heard = max(g.patience.heard, g.lean.on.heard.Load())
	}
	g.lean = lean{}
}

// leanHeardLocked takes the newest beat of the leader's node for a heartbeat of the leader. Raft gets one where it has counted:
// the node's word is as good. Its answer finds the leader as any other does.
func (p *Partition) leanHeardLocked() {
	l, w := &p.progress.lean, &p.progress.patience
	heard := l.on.heard.Load()
	if heard <= w.heard {
		return
	}
	if w.given > 0 {
		p.host.transport.Deliver(pb.Message{
			Type: pb.Heartbeat, ShardID: uint64(p.spec.Shard), From: uint64(l.leader), To: uint64(p.shard.key.Replica), Term: uint64(l.term),
		})
	}
	w.heard, w.given = heard, 0
}

// leanOnly ends the leaning of a follower on any other than the leader of a term.
func (p *Partition) leanOnly(t Term, leader ReplicaID) {
	p.progress.mu.Lock()
	defer p.progress.mu.Unlock()
	if l := &p.progress.lean; l.on != nil && (l.term != t || l.leader != leader) {
		p.standUpLocked(math.MaxInt64)
		p.progress.endLeanLocked()
	}
}

// lean is how a follower leans on its leader's node.
type lean struct {
	on     *neighbor // nil: not at all
	epoch  uint64    // on.leans when it began: it ends with it
	term   Term
	leader ReplicaID
	// stood: the leader has been told that this follower does not wait for it. Beats still count here, and no more there.
	stood bool
}

func (l *lean) holds() bool { return l.on != nil && l.epoch == l.on.leans.Load() }

// heardAbout takes a message about a group.
func (p *Partition) heardAbout(node int32, m *pb.Message, clock int64) {
	b := p.host.neighbors.of(node)
	if b == nil || m.HintHigh != p.host.neighbors.self {
		return
	}
	g := &p.progress
	g.mu.Lock()
	defer g.mu.Unlock()
	b.mu.Lock()
	defer b.mu.Unlock()
	if m.Hint != b.incarnation {
		return
	}
	from, t := ReplicaID(m.From), Term(m.Term)
	switch m.LogTerm {
	case leanOn:
		if m.LogIndex != b.heardTold || b.late || !p.mayLeanLocked(from, t, clock) {
			return
		}
		g.lean = lean{on: b, epoch: b.leans.Load(), term: t, leader: from}
		p.host.neighbors.send(node, p.about(leaning, from, t, b.gone, p.host.neighbors.self, b.incarnation), 0)
	case leaning:
		if f := g.followers[from]; f != nil && g.term == t && f.askedLean != 0 && m.LogIndex == b.heardGone {
			f.leans = b.props.Load()
		}
	case leanNoOn:
		if m.LogIndex != b.heardTold+1 {
			b.letGoLocked()
		}
		b.heardTold = m.LogIndex
		if g.lean.on == b && g.lean.term <= t {
			g.endLeanLocked()
		}
	case leanNoing:
		if m.LogIndex != b.heardGone+1 {
			b.props.Add(1)
		}
		b.heardGone = m.LogIndex
		if f := g.followers[from]; f != nil && g.term == t {
			f.leans = 0
		}
	}
}

// mayLeanLocked reports whether a follower may lean: it hears a heartbeat of that very leader, the newest, and has counted no
// tick since, so that its election timeout begins with that heartbeat or later.
func (p *Partition) mayLeanLocked(leader ReplicaID, t Term, clock int64) bool {
	g := &p.progress
	w := &g.patience
	return g.term == 0 && g.leader == leader && w.term == t && p.shard.hardNow().Term == t && w.given == 0 &&
		clock-w.heard < int64(overdue) && !p.quarantined.Load() && !p.shard.condemned()
}

// leansLocked reports whether a follower leans on its node, and has been heard itself not too long ago. What the node's
// answers are used for is to be read before.
func (f *follower) leansLocked(now int64) bool {
	return f.neighbor != nil && f.leans != 0 && f.leans == f.neighbor.props.Load() && now-f.heard < int64(unheard)
}

// askedLocked is when the newest heartbeat left that a follower has answered, or the newest beat that its node has answered for
// it.
func (f *follower) askedLocked(now int64) int64 {
	if f.neighbor == nil {
		return f.asked
	}
	if answered := f.neighbor.answered.Load(); f.leansLocked(now) {
		return max(f.asked, answered)
	}
	return f.asked
}

// caughtLocked is when a follower was last known to have everything, if end is the log's: one that leans has what it had.
func (f *follower) caughtLocked(now int64, end Index) int64 {
	if f.neighbor == nil || f.match < end {
		return f.caught
	}
	if at := f.neighbor.backAt.Load(); f.leansLocked(now) {
		return max(f.caught, at)
	}
	return f.caught
}

// restsLocked reports whether a group that this replica leads needs no ticks: nothing has happened for a while, every follower
// has everything and leans on its node, and their nodes answer. It asks those to lean that do not.
func (p *Partition) restsLocked(clock int64) bool {
	g := &p.progress
	last := p.shard.lastIndex()
	if last != g.quietAt || !p.isLeader.Load() || p.pendingN.Load() != 0 {
		g.quietAt, g.quietFrom = last, clock
	}
	quiet := clock-g.quietFrom >= int64(p.host.opts.restAfter)
	rests := quiet
	now := monotonic()
	for id, f := range g.followers {
		if f.neighbor == nil {
			return false
		}
		f.neighbor.wanted.Store(clock)
		if f.match != last || f.next != 0 || !f.neighbor.answers(clock) {
			rests = false
			continue
		}
		if !f.leansLocked(now) {
			rests = false
			if quiet {
				p.askLocked(id, f, clock)
			}
		}
	}
	return rests
}

// stir ends a group's rest.
func (p *Partition) stir() {
	clock := p.host.clock.now()
	p.progress.mu.Lock()
	defer p.progress.mu.Unlock()
	p.progress.quietFrom = clock
}

// contactLocked is when a follower, or its node for it, was last heard, by monotonic().
func (f *follower) contactLocked(now int64) int64 {
	if f.neighbor == nil {
		return f.heard
	}
	if at := f.neighbor.backAt.Load(); f.leansLocked(now) {
		return max(f.heard, at)
	}
	return f.heard
}
