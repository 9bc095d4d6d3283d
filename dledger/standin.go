package dledger

import (
	"sync/atomic"
	"time"

	pb "github.com/lni/dragonboat/v4/raftpb"
)

// A step worker that waits for a disk neither sends heartbeats nor answers them, for any of its groups. On a disk whose
// writes take longer than an election timeout now and then, that would be an election of all of them. So others stand in
// while a worker waits: the leader's process sends the heartbeats of the groups that it leads, and a follower's
// answers those that come. Neither says anything that Raft has not said: heartbeats of the leader's own term without a
// commit index, and answers in the term that the follower has saved.
//
// It ends after standInMax: a leader whose disk does not come back must be replaced.
const (
	standInAfter = 30 * time.Millisecond
	standInMax   = time.Second
	standInTick  = heartbeatEvery / 2
)

// stalls is since when each step worker has been saving, by monotonic(); 0 = it is not.
type stalls [execShards + 1]atomic.Int64

func (s *stalls) begin(worker uint64) { s[worker%uint64(len(s))].Store(monotonic()) }
func (s *stalls) end(worker uint64)   { s[worker%uint64(len(s))].Store(0) }

// waits reports whether a worker has been saving for so long that others stand in.
func (s *stalls) waits(worker uint64) bool {
	began := s[worker%uint64(len(s))].Load()
	if worker == 0 || began == 0 {
		return false
	}
	d := time.Duration(monotonic() - began)
	return d >= standInAfter && d < standInMax
}

// lasts reports whether a worker has been saving for longer than others stand in: what is sent to it only piles up.
func (s *stalls) lasts(worker uint64) bool {
	began := s[worker%uint64(len(s))].Load()
	return worker != 0 && began != 0 && monotonic()-began >= int64(standInMax)
}

// standIn sends heartbeats for the groups whose worker waits.
func (h *Host) standIn() {
	for pause(h.ctx, standInTick) {
		waits := false
		for w := range h.db.stalls {
			waits = waits || h.db.stalls.waits(uint64(w)) //nolint:gosec // small
		}
		if !waits {
			continue
		}
		for _, p := range h.all() {
			if h.db.stalls.waits(p.shard.worker.Load()) {
				p.beat()
			}
		}
	}
}

// beat sends a heartbeat to every other member, if this replica leads.
func (p *Partition) beat() {
	g := &p.progress
	now := monotonic()
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.term == 0 || now-g.beat < int64(heartbeatEvery) {
		return
	}
	g.beat = now
	for id, f := range g.followers {
		p.host.transport.SendControl(f.node, pb.Message{
			Type: pb.Heartbeat, ShardID: uint64(p.spec.Shard), From: uint64(p.shard.key.Replica), To: uint64(id), Term: uint64(g.term),
		}, now)
	}
}

// answerFor answers a heartbeat whose group's worker waits. It carries no stamp: the election timeout of this replica
// begins anew only when Raft gets the heartbeat, so it proves nothing about who may be elected.
func (h *Host) answerFor(p *Partition, node int32, m *pb.Message) {
	if !h.db.stalls.waits(p.shard.worker.Load()) || uint64(p.shard.hardNow().Term) != m.Term {
		return
	}
	h.transport.SendControl(node, pb.Message{
		Type: pb.HeartbeatResp, ShardID: m.ShardID, From: uint64(p.shard.key.Replica), To: m.From, Term: m.Term,
	}, 0)
}
