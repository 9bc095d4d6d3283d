package dledger

import (
	"math"
	"math/rand/v2"
	"slices"
	"time"

	pb "github.com/lni/dragonboat/v4/raftpb"
)

// The host gives Raft its ticks, each group those that it needs and no other (ADR 27):
//
//   - a leader the ticks of a heartbeat every heartbeatEvery, the groups spread over that time;
//   - a leader that has nobody to speak to one in a while, for housekeeping;
//   - one whose group is at rest the same (neighbor.go);
//   - a follower none while it hears its leader, or the node on which it leans; once that is overdue, one for each tickTime since it was heard last. That is
//     when its election timeout began, so it ends exactly when it should;
//   - who knows no leader one each tickTime.
const (
	// overdue is how long after a heartbeat the next is missed.
	overdue = heartbeatEvery + 2*tickTime
	// ticksAtOnce bounds the ticks in one step: dragonboat complains above half an election timeout.
	ticksAtOnce = electionTicks / 2
	// housekeepingEvery is how often a group is ticked that has no need of it, and housekeepingTicks by how much: requests
	// time out, and what memory the newest entries had is given back every so many ticks.
	housekeepingEvery = 5 * time.Second
	housekeepingTicks = 28
	// followerHousekeeping is how often a follower gets ticks before a heartbeat, which makes up for them.
	followerHousekeeping = 500 * time.Millisecond
	// nudgeEvery is how often a leader's replica that is behind is looked at, see nudge.
	nudgeEvery = 600 * time.Millisecond
)

// patience is how long a replica has been waiting for its leader. progress.mu guards it. Times are of the Raft clock.
type patience struct {
	term  Term  // of the newest leader heard
	heard int64 // when it was heard; when the replica resigned; when it was first looked at
	given int   // ticks since then
	real  int64 // when a leader itself was heard, not only its node
	kept  int64 // when it last got ticks for housekeeping
}

// hearLocked notes a sign of life from the leader of a term.
func (g *progress) hearLocked(t Term, clock int64) {
	if t >= g.patience.term {
		g.patience.term, g.patience.heard, g.patience.given, g.patience.real = t, clock, 0, clock
	}
}

// ticks makes n ticks for a replica that was started at a time by monotonic().
func ticks(shard ShardID, replica ReplicaID, started int64, n int) []pb.Message {
	out := make([]pb.Message, n)
	hint := requestTicks(started)
	for i := range out {
		out[i] = pb.Message{Type: pb.LocalTick, ShardID: uint64(shard), From: uint64(replica), To: uint64(replica), Hint: hint}
	}
	return out
}

func (p *Partition) ticks(n int) []pb.Message {
	return ticks(p.spec.Shard, p.shard.key.Replica, p.began.Load(), n)
}

// ticker is the host's ticks. It is used by one goroutine.
type ticker struct {
	h     *Host
	slots [heartbeatTicks][]*Partition // each is looked at every heartbeatEvery
	seen  uint64                       // Host.changes when slots was made
	// restless are those that are looked at each time: they wait for a leader.
	restless []*Partition
	out      []pb.Message
}

// tick runs until the host is closed.
func (h *Host) tick() {
	t := &ticker{h: h}
	beat := time.NewTicker(tickTime)
	defer beat.Stop()
	for n := 0; ; n++ {
		select {
		case <-h.ctx.Done():
			return
		case <-beat.C:
			t.beat(n % heartbeatTicks)
		}
	}
}

func (t *ticker) beat(slot int) {
	clock := t.h.clock.beat()
	t.refresh()
	t.out = t.out[:0]
	t.restless = slices.DeleteFunc(t.restless, func(p *Partition) bool {
		p.restless = p.waits(clock)
		return !p.restless
	})
	if silent := t.h.neighbors.silent(clock); len(silent) > 0 {
		t.hurry(clock)
	}
	if slot == int(t.h.neighbors.self%heartbeatTicks) {
		t.h.neighbors.beat(clock)
	}
	for _, p := range t.slots[slot] {
		if p.restless {
			continue
		}
		if p.restless = t.look(p, clock); p.restless {
			t.restless = append(t.restless, p)
		}
	}
	if slot == 0 { // the metadata group is one: it is ticked as it always was
		t.out = append(t.out, ticks(t.h.metadataGroup(), t.h.metadata().Replica, t.h.metaBegan.Load(), heartbeatTicks)...)
		t.out = t.h.nudgeMetadata(clock, t.out)
	}
	t.h.transport.Deliver(t.out...)
	clear(t.out)
}

// hurry looks at all followers: some of those that lean on a node have begun to count.
func (t *ticker) hurry(clock int64) {
	for _, slot := range t.slots {
		for _, p := range slot {
			if !p.restless {
				if p.restless = p.waits(clock); p.restless {
					t.restless = append(t.restless, p)
				}
			}
		}
	}
}

// refresh follows the partitions that come and go.
func (t *ticker) refresh() {
	changes := t.h.changes.Load()
	if changes == t.seen {
		return
	}
	t.seen = changes
	for i := range t.slots {
		clear(t.slots[i])
		t.slots[i] = t.slots[i][:0]
	}
	running := make(map[*Partition]struct{})
	for _, p := range t.h.all() {
		slot := uint64(p.spec.Shard) % heartbeatTicks
		t.slots[slot] = append(t.slots[slot], p)
		running[p] = struct{}{}
	}
	t.restless = slices.DeleteFunc(t.restless, func(p *Partition) bool {
		_, ok := running[p]
		return !ok
	})
}

// look gives a replica what it needs at its turn, and reports whether it waits for a leader.
func (t *ticker) look(p *Partition, clock int64) (waits bool) {
	g := &p.progress
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.term == 0 || g.term < g.patience.term {
		return p.waitsLocked(clock)
	}
	if len(g.followers) == 0 {
		if g.patience.kept == 0 { // the first time is anybody's guess, so that not all have it at once
			g.patience.kept = clock - rand.Int64N(int64(housekeepingEvery)) //nolint:gosec // no secret
		}
		if clock-g.patience.kept >= int64(housekeepingEvery) {
			g.patience.kept = clock
			t.out = append(t.out, p.ticks(housekeepingTicks)...)
		}
		return false
	}
	switch {
	case t.h.db.stalls.lasts(p.shard.worker.Load()):
		p.releaseLocked() // others shall lead
	case !p.restsLocked(clock):
		t.out = append(t.out, p.ticks(heartbeatTicks)...)
		t.out = p.nudgeLocked(clock, t.out)
	case clock-g.patience.kept >= int64(housekeepingEvery):
		g.patience.kept = clock - rand.Int64N(int64(time.Second)) //nolint:gosec // no secret
		t.out = append(t.out, p.ticks(heartbeatTicks)...)
	}
	return false
}

// waits gives a replica that does not lead the ticks that are due, and reports whether it still waits for a leader.
func (p *Partition) waits(clock int64) bool {
	g := &p.progress
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.term > 0 && g.term >= g.patience.term {
		return false
	}
	return p.waitsLocked(clock)
}

// waitsLocked delivers ticks with progress.mu held: a heartbeat that comes meanwhile is noted after them, and they are in
// Raft's queue before it.
func (p *Partition) waitsLocked(clock int64) bool {
	w := &p.progress.patience
	if w.heard == 0 {
		w.heard, w.real = clock, clock
	}
	g, patience := &p.progress, overdue
	switch {
	case !g.lean.holds():
		g.endLeanLocked()
	case clock-w.real >= int64(unheard):
		p.standUpLocked(math.MaxInt64)
		g.endLeanLocked()
	default:
		p.leanHeardLocked()
		patience = beatLate
	}
	if clock-w.heard < int64(patience) {
		return false
	}
	due := int((clock-w.heard)/int64(tickTime)) - w.given
	if due > electionTicks { // nobody has looked for long: it begins now
		w.given, due = w.given+due-ticksAtOnce, ticksAtOnce
	}
	due = min(due, ticksAtOnce)
	if w.given+due >= electionTicks && !p.standUpLocked(w.heard) { // from then on Raft may vote
		p.leanHeardLocked()
		return true
	}
	if due > 0 && !p.host.db.stalls.lasts(p.shard.worker.Load()) {
		p.host.transport.Deliver(p.ticks(due)...)
	}
	w.given += max(due, 0)
	return true
}

// keepHouse gives a follower a few ticks before a heartbeat that is about to be delivered and makes up for them.
func (p *Partition) keepHouseLocked(clock int64) {
	w := &p.progress.patience
	if clock-w.kept >= int64(followerHousekeeping) {
		w.kept = clock
		p.host.transport.Deliver(p.ticks(heartbeatTicks)...)
	}
}

// nudgeLocked tells Raft that a snapshot is over, for replicas that are behind, do not get on and get none: Raft sends nothing
// more to a replica until it has heard how the snapshot ended. dragonboat would say so by itself, in ticks of its own.
func (p *Partition) nudgeLocked(clock int64, out []pb.Message) []pb.Message {
	g := &p.progress
	if clock-g.nudged < int64(nudgeEvery) {
		return out
	}
	g.nudged = clock
	last := p.shard.lastIndex()
	for id, f := range g.followers {
		stuck := f.match < last && f.match == f.nudged && !p.host.transport.Streams(uint64(p.spec.Shard), uint64(id))
		f.nudged = f.match
		if stuck {
			out = append(out, snapshotOver(p.spec.Shard, id, p.shard.key.Replica))
		}
	}
	return out
}

// nudgeMetadata does the same for the metadata group. Of its members nothing is known, and those that are not being sent a
// snapshot do not mind.
func (h *Host) nudgeMetadata(clock int64, out []pb.Message) []pb.Message {
	if clock-h.metaNudged < int64(nudgeEvery) {
		return out
	}
	h.metaNudged = clock
	self := h.metadata().Replica
	for _, id := range h.registry.members(h.metadataGroup()) {
		if id != self && !h.transport.Streams(uint64(h.metadataGroup()), uint64(id)) {
			out = append(out, snapshotOver(h.metadataGroup(), id, self))
		}
	}
	return out
}

func snapshotOver(shard ShardID, of, leader ReplicaID) pb.Message {
	return pb.Message{Type: pb.SnapshotStatus, ShardID: uint64(shard), From: uint64(of), To: uint64(leader)}
}
