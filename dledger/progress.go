package dledger

import (
	"slices"
	"sync"
	"time"

	pb "github.com/lni/dragonboat/v4/raftpb"
)

const (
	// leaseTime is how long after a heartbeat left the leader no majority that has answered it can have elected
	// another: the shortest election timeout, less what clocks and queues may differ.
	leaseTime = electionTicks*tickTime - 20*time.Millisecond
	// handingOver is how long after it has told another to take over a leader holds no lease: if that fails it goes on.
	handingOver = time.Second
	// firstSight is how long a new leader counts a replica as in sync that it has not heard yet.
	firstSight = 3 * time.Second
)

// follower is what a leader knows of another replica, in its term. Times are of monotonic().
type follower struct {
	node   int32
	voter  bool
	match  Index // everything up to it is stored there; 0 = not known (any more)
	taken  Index // what Raft takes match to be: it never goes back in a term
	next   Index // what Raft would send next, once probes have been lost; 0 = what follows taken
	asked  int64 // when the newest heartbeat left that it has answered
	heard  int64 // when it was last heard
	probed int64 // when it was last asked what it has
	nudged Index // match when nudgeLocked last looked

	neighbor  *neighbor // its node; nil where that is not known
	leans     uint64    // neighbor.props when it said that it leans on this node; 0 = it does not
	askedLean int64     // when it was asked to, by the Raft clock; 0 = it was not
	// caught is the newest moment of which it is known to have had the log's end of that moment.
	caught int64
	// sampleEnd was the log's end at sampleAt: once match reaches it, it has caught up to that moment.
	sampleEnd Index
	sampleAt  int64
}

// progress is how far the others are, while this replica leads in Raft.
type progress struct {
	mu sync.Mutex
	// mu guards:
	term      Term // 0 = not the leader
	followers map[ReplicaID]*follower

	// What a follower knows of its leader:
	leader  ReplicaID
	stamp   int64 // of its newest heartbeat
	heardAt int64

	beat int64 // when others last stood in for a heartbeat

	patience patience
	lean     lean                       // on the leader's node
	handed   int64                      // when this leader told another to take over
	near     func(node int32) *neighbor // nil: nobody leans
	// quietAt is the last index since quietFrom, by the Raft clock.
	quietAt   Index
	quietFrom int64
	nudged    int64 // when nudgeLocked last did something, by the Raft clock
}

// lead begins a term as its leader.
func (g *progress) lead(t Term, r *roster, self ReplicaID, lag time.Duration) {
	now := monotonic()
	g.mu.Lock()
	defer g.mu.Unlock()
	g.term, g.followers = t, make(map[ReplicaID]*follower)
	g.followLocked(r, self, now-int64(max(lag-firstSight, 0)), now)
}

// follow takes over a change of the membership.
func (g *progress) follow(r *roster, self ReplicaID) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.term == 0 {
		return
	}
	for id := range g.followers {
		if _, ok := r.find(id); !ok {
			delete(g.followers, id)
		}
	}
	g.followLocked(r, self, 0, monotonic())
}

func (g *progress) followLocked(r *roster, self ReplicaID, caught, now int64) {
	for _, m := range r.members {
		if m.replica == self {
			continue
		}
		f := g.followers[m.replica]
		if f == nil {
			f = &follower{caught: caught, sampleAt: now}
			g.followers[m.replica] = f
		}
		f.node, f.voter = m.node, m.voter
		if g.near != nil && (f.neighbor == nil || f.neighbor.node != m.node) {
			f.neighbor, f.leans = g.near(m.node), 0
		}
	}
}

// resign ends the leader's view, and tells those that lean on it.
func (p *Partition) resign() {
	g := &p.progress
	clock := p.host.clock.now()
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.term > 0 {
		g.patience.heard, g.patience.given = clock, 0
	}
	p.releaseLocked()
	g.term, g.followers = 0, nil
}

// heardLeader notes a heartbeat, before Raft gets it.
func (p *Partition) heardLeader(from ReplicaID, t Term, stamp int64) {
	g := &p.progress
	clock := p.host.clock.now()
	g.mu.Lock()
	defer g.mu.Unlock()
	g.leader, g.stamp, g.heardAt = from, stamp, monotonic()
	g.hearLocked(t, clock)
	p.keepHouseLocked(clock)
}

// heardEntries notes a message that Raft takes for a sign of life, too.
func (p *Partition) heardEntries(t Term) {
	clock := p.host.clock.now()
	p.progress.mu.Lock()
	defer p.progress.mu.Unlock()
	p.progress.hearLocked(t, clock)
}

// heartbeatOf is the stamp of the newest heartbeat from a leader.
func (p *Partition) heartbeatOf(leader ReplicaID) int64 {
	g := &p.progress
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.leader != leader {
		return 0
	}
	return g.stamp
}

// heardFollower notes an answer: to a heartbeat that left at asked, or that entries up to match are stored. It returns the
// round trip of a heartbeat.
func (p *Partition) heardFollower(from ReplicaID, t Term, match Index, asked int64) (rtt time.Duration) {
	g := &p.progress
	end := p.shard.lastIndex()
	now := monotonic()
	g.mu.Lock()
	f := g.followers[from]
	if f == nil || t != g.term {
		g.mu.Unlock()
		return 0
	}
	f.heard = now
	if asked > 0 {
		f.asked = max(f.asked, asked)
		rtt = time.Duration(now - asked)
	}
	more := match > f.match
	f.match, f.taken = max(f.match, match), max(f.taken, match)
	if match > 0 {
		f.next = 0
	}
	switch {
	case f.match >= end:
		f.caught = now
		f.sampleEnd, f.sampleAt = end, now
	case f.match >= f.sampleEnd:
		f.caught = max(f.caught, f.sampleAt)
		f.sampleEnd, f.sampleAt = end, now
	}
	g.mu.Unlock()
	if more && p.strict.Load() {
		p.acknowledge()
	}
	return rtt
}

// forget drops what is known of a node's replica, and returns what tells Raft that messages to it were lost and, with
// ask, makes it find out what the replica has.
func (p *Partition) forget(node int32, ask bool) []pb.Message {
	first := p.shard.firstIndex()
	g := &p.progress
	g.mu.Lock()
	defer g.mu.Unlock()
	var out []pb.Message
	for id, f := range g.followers {
		if f.node != node {
			continue
		}
		f.match = 0
		out = append(out, pb.Message{
			Type: pb.Unreachable, ShardID: uint64(p.spec.Shard), From: uint64(id), To: uint64(p.shard.key.Replica), Term: uint64(g.term),
		})
		if ask {
			out = append(out, p.probe(id, f, g.term, first)...)
		}
	}
	return out
}

// probe makes Raft send a replica its last entry again, as if it had refused what follows: the answer tells what it has.
// Raft takes a refusal only of what it would send next, which each lost probe has moved back by one.
func (p *Partition) probe(id ReplicaID, f *follower, t Term, first Index) []pb.Message {
	next := f.next
	if next == 0 {
		next = f.taken + 1
	}
	f.probed = monotonic()
	if next <= first+2 {
		return nil
	}
	f.next = next - 1
	return []pb.Message{{
		Type: pb.ReplicateResp, Reject: true, ShardID: uint64(p.spec.Shard), From: uint64(id), To: uint64(p.shard.key.Replica),
		Term: uint64(t), LogIndex: uint64(next - 1), Hint: uint64(next - 2),
	}}
}

// probeEvery is how often a replica is probed that answers heartbeats and of which nothing is known: a probe may be lost, and
// Raft, which thinks to know, sends nothing by itself.
const probeEvery = time.Second

// probeAgain returns what to tell Raft when such a replica has answered a heartbeat.
func (p *Partition) probeAgain(id ReplicaID) []pb.Message {
	first := p.shard.firstIndex()
	g := &p.progress
	g.mu.Lock()
	defer g.mu.Unlock()
	f := g.followers[id]
	if f == nil || f.match > 0 || f.taken == 0 || monotonic()-f.probed < int64(probeEvery) {
		return nil
	}
	return p.probe(id, f, g.term, first)
}

// inSync returns the node ids of the voters that have been caught up within lag, this one included, sorted.
func (g *progress) inSync(self int32, end Index, lag time.Duration) []int32 {
	now := monotonic()
	oldest := now - int64(lag)
	g.mu.Lock()
	defer g.mu.Unlock()
	out := []int32{self}
	for _, f := range g.followers {
		if f.voter && f.caughtLocked(now, end) >= oldest {
			out = append(out, f.node)
		}
	}
	slices.Sort(out)
	return out
}

// slowest is the last index that all those have that caught up within lag; false where one has not said yet.
func (g *progress) slowest(end Index, lag time.Duration) (Index, bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	now, least := monotonic(), Index(1<<63-1)
	for _, f := range g.followers {
		if now-f.caughtLocked(now, end) > int64(lag) {
			continue
		}
		least = min(least, f.match)
	}
	return least, least > 0
}

// holders counts the voters that have the entry at an index, this one included.
func (g *progress) holders(i Index) int {
	g.mu.Lock()
	defer g.mu.Unlock()
	n := 1
	for _, f := range g.followers {
		if f.voter && f.match >= i {
			n++
		}
	}
	return n
}

// leaseUntil is until when, by monotonic(), nobody else can lead: a majority has answered heartbeats that left late
// enough. A group of one leads for ever.
func (g *progress) leaseUntil() int64 {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.term == 0 {
		return 0
	}
	now := monotonic()
	asked := make([]int64, 0, 8)
	for _, f := range g.followers {
		if f.voter {
			asked = append(asked, f.askedLocked(now))
		}
	}
	if len(asked) == 0 {
		return 1<<63 - 1
	}
	slices.Sort(asked)
	if g.handed > 0 && now-g.handed < int64(handingOver) {
		return 0 // who was told to take over needs not wait for anybody
	}
	// With n voters besides this one, (n+1)/2 of them make a majority with it.
	k := asked[len(asked)-(len(asked)+1)/2]
	if k == 0 {
		return 0
	}
	return k + int64(leaseTime)
}

// InLease reports whether nobody else can lead this partition at this moment: what a leader reads and says is then the
// newest.
func (p *Partition) InLease() bool { return p.isLeader.Load() && monotonic() < p.progress.leaseUntil() }

// handOver notes that another is told to take over.
func (p *Partition) handOver() {
	p.progress.mu.Lock()
	defer p.progress.mu.Unlock()
	p.progress.handed = monotonic()
}

// peerTimes are the newest round trips of heartbeats by node.
type peerTimes struct {
	mu sync.Mutex
	// mu guards:
	rtt map[int32]time.Duration
}

func (t *peerTimes) note(node int32, rtt time.Duration) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.rtt == nil {
		t.rtt = make(map[int32]time.Duration)
	}
	old, ok := t.rtt[node]
	if !ok {
		old = rtt
	}
	t.rtt[node] = old + (rtt-old)/8
}

// PeerRTT returns the smoothed round trip of heartbeats to each node that was heard.
func (h *Host) PeerRTT() map[int32]time.Duration {
	h.rtt.mu.Lock()
	defer h.rtt.mu.Unlock()
	out := make(map[int32]time.Duration, len(h.rtt.rtt))
	for n, d := range h.rtt.rtt {
		out[n] = d
	}
	return out
}
