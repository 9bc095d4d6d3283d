package dledger

import (
	"time"

	pb "github.com/lni/dragonboat/v4/raftpb"

	"github.com/stelemq/stele/dledger/transport"
	"github.com/stelemq/stele/protocol/record"
)

// observer sees what Raft says to other nodes and hears from them: it keeps away what a partition must not hear, and
// notes what dragonboat does not tell, who has which entries and who was heard when.
type observer struct{ h *Host }

var _ transport.Observer = observer{}

// began is the zero of the stamps: they are nanoseconds of this process's monotonic clock.
//
//nolint:gochecknoglobals // a clock
var began = time.Now()

func monotonic() int64 { return int64(time.Since(began)) + 1 }

// Stamp marks heartbeats with the time at which they leave, and answers to them with the time of the heartbeat.
func (o observer) Stamp(m *pb.Message) (int64, bool) {
	if s := ShardID(m.ShardID); isMetadata(s) {
		return 0, o.h.speaksMetadata(s)
	}
	if p := o.h.partition(ShardID(m.ShardID)); p != nil && p.shard.condemned() {
		return 0, false
	}
	switch m.Type {
	case pb.Propose:
		// A leader elsewhere has not validated it against its own state.
		return 0, false
	case pb.Replicate:
		if !anyLent(m.Entries) {
			break
		}
		p := o.h.partition(ShardID(m.ShardID))
		return 0, p != nil && p.shard.complete(m)
	case pb.Heartbeat:
		return monotonic(), true
	case pb.TimeoutNow:
		if p := o.h.partition(ShardID(m.ShardID)); p != nil {
			p.handOver()
		}
	case pb.HeartbeatResp:
		if p := o.h.partition(ShardID(m.ShardID)); p != nil {
			return p.heartbeatOf(ReplicaID(m.To)), true
		}
	case pb.RequestVote, pb.RequestPreVote: // to stand for election is to vote for oneself
		p := o.h.partition(ShardID(m.ShardID))
		return 0, p == nil || !p.quarantined.Load()
	default:
	}
	return 0, true
}

// Received judges a message before Raft gets it.
func (o observer) Received(node int32, m *pb.Message, stamp int64) bool {
	switch m.Type {
	case pb.Ping:
		o.h.neighbors.heardBeat(node, m, stamp, o.h.clock.now())
		return false
	case pb.Pong:
		if rtt := o.h.neighbors.heardAnswer(node, m, stamp, o.h.clock.now()); rtt > 0 {
			o.h.rtt.note(node, rtt)
		}
		return false
	case pb.SnapshotReceived:
		m.Type = pb.SnapshotStatus // dragonboat would wait for ticks of its own
	default:
	}
	if s := ShardID(m.ShardID); isMetadata(s) {
		return o.h.speaksMetadata(s)
	}
	p := o.h.partition(ShardID(m.ShardID))
	if p == nil || p.shard.condemned() || ReplicaID(m.To) != p.shard.key.Replica {
		return false
	}
	switch m.Type {
	case pb.Propose:
		return false
	case pb.Heartbeat:
		p.heardLeader(ReplicaID(m.From), Term(m.Term), stamp)
		o.h.answerFor(p, node, m)
		// A replica that has lost its tail would panic on a commit index behind its end.
		m.Commit = min(m.Commit, uint64(p.shard.lastIndex()))
	case pb.HeartbeatResp:
		if rtt := p.heardFollower(ReplicaID(m.From), Term(m.Term), 0, stamp); rtt > 0 {
			o.h.rtt.note(node, rtt)
		}
		if probe := p.probeAgain(ReplicaID(m.From)); probe != nil {
			o.h.transport.Deliver(probe...)
		}
	case pb.ReplicateResp:
		if !m.Reject {
			p.heardFollower(ReplicaID(m.From), Term(m.Term), Index(m.LogIndex), 0)
		}
	case pb.Replicate:
		if !intact(m.Entries) {
			o.h.metrics.corrupt.Inc()
			p.logger.Error("entries from another node do not check; dropped", "node", node, "index", m.LogIndex+1)
			return false
		}
		p.heardEntries(Term(m.Term))
		p.heardCommit(Index(m.Commit))
	case pb.Quiesce:
		p.heardAbout(node, m, o.h.clock.now())
		return false
	case pb.RequestVote, pb.RequestPreVote:
		return p.mayVoteFor(ReplicaID(m.From))
	case pb.TimeoutNow:
		o.h.insist(p, m)
	default:
	}
	return true
}

// covers reports whether intact will judge an entry by the checksums of its batches.
func covers(m *pb.Message, e *pb.Entry) bool {
	return !isMetadata(ShardID(m.ShardID)) && e.Type == pb.EncodedEntry && e.ClientID&commandBit == 0 && len(e.Cmd) >= 1+record.HeaderLen
}

// intact checks the record batches of received entries by their checksums. It cannot tell which entries are void; what
// is too short for a batch stands for one whose bytes nobody has.
func intact(entries []pb.Entry) bool {
	for i := range entries {
		e := &entries[i]
		if isLent(e) {
			return false // bytes that are lent are nowhere but where the entry was proposed
		}
		if e.Type != pb.EncodedEntry || e.ClientID&commandBit != 0 || len(e.Cmd) < 1+record.HeaderLen {
			continue
		}
		for rest := e.Cmd[1:]; len(rest) > 0; {
			var b record.Batch
			var err error
			if b, rest, err = record.Next(rest); err != nil || b.Validate() != nil {
				return false
			}
		}
	}
	return true
}

// Lost tells Raft, for every group that this node leads, that messages to a node were lost.
func (o observer) Lost(node int32) {
	for _, p := range o.h.all() {
		o.h.transport.Deliver(p.forget(node, false)...)
	}
}

// Connected makes Raft find out anew what a node has: one that came back without its newest entries would be taken to have
// them for ever.
func (o observer) Connected(node int32) {
	for _, p := range o.h.all() {
		o.h.transport.Deliver(p.forget(node, true)...)
	}
}

// partition returns a started partition, nil where there is none.
func (h *Host) partition(s ShardID) *Partition {
	h.mu.RLock()
	defer h.mu.RUnlock()
	return h.partitions[s]
}
