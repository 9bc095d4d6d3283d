package dledger

import (
	"time"

	"github.com/stelemq/stele/protocol/record"
)

// Member is a replica of a partition by Raft's word.
type Member struct {
	Replica ReplicaID
	Node    int32
	Voter   bool
}

// Members returns who belongs to the partition as far as the log here tells, by replica id.
func (p *Partition) Members() []Member {
	r := p.roster.Load()
	out := make([]Member, len(r.members))
	for i, m := range r.members {
		out[i] = Member{m.replica, m.node, m.voter}
	}
	return out
}

// followerQuiet is how long a replica that has not heard its leader still serves readers.
const followerQuiet = time.Second

// Follows reports whether this replica may serve readers up to its high watermark although it does not lead: its leader has
// been heard a moment ago, and a commit of its term has, so that the high watermark is no older than the term.
func (p *Partition) Follows() bool {
	g := &p.progress
	g.mu.Lock()
	heard := g.contactLocked()
	g.mu.Unlock()
	if heard == 0 || monotonic()-heard > int64(followerQuiet) {
		return false
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	return !p.closed && p.raftLeader != 0 && p.raftLeader != p.shard.key.Replica && p.noop == p.term && p.term > 0
}

// contactLocked is when a follower last heard its leader, or the node on which it leans, by monotonic().
func (g *progress) contactLocked() int64 {
	if g.lean.holds() {
		return max(g.heardAt, g.lean.on.heardAt.Load())
	}
	return g.heardAt
}

// Lags returns how many offsets each other replica lacks, by node, where that is known; nil where this replica does not lead.
func (p *Partition) Lags() map[int32]int64 {
	if !p.isLeader.Load() {
		return nil
	}
	end := p.shard.log.End().Next
	g := &p.progress
	matches := make(map[int32]Index)
	g.mu.Lock()
	for _, f := range g.followers {
		if f.match > 0 {
			matches[f.node] = f.match
		}
	}
	g.mu.Unlock()
	out := make(map[int32]int64, len(matches))
	for node, match := range matches {
		if at, ok := p.shard.offsetBehind(match); ok {
			out[node] = max(int64(end-at), 0)
		}
	}
	return out
}

// offsetBehind is the offset that follows what the entries up to index hold.
func (s *shardLog) offsetBehind(i Index) (record.Offset, bool) {
	s.mu.Lock() // what is looked up may be kept
	defer s.mu.Unlock()
	if i <= s.file.Index {
		return s.file.Next, i == s.file.Index
	}
	r, err := s.recordLocked(i)
	if err != nil {
		return 0, false
	}
	return r.Next, true
}

// WatchLeadership has f called when leader, epoch, in-sync replicas or membership of a partition here may have changed,
// and when a partition stops. There is one watcher; nil ends it. f must not block, and must not call the partition.
func (h *Host) WatchLeadership(f func(ShardID)) {
	if f == nil {
		h.leadership.Store(nil)
		return
	}
	h.leadership.Store(&f)
}

// noteLeadership tells the watcher.
func (p *Partition) noteLeadership() {
	if f := p.host.leadership.Load(); f != nil {
		(*f)(p.spec.Shard)
	}
}
