package dledger

import (
	"time"

	pb "github.com/lni/dragonboat/v4/raftpb"
)

const (
	// insistFor is how long a replica repeats to itself that it shall stand for election: less than a leader waits before it
	// takes the transfer for lost and goes on.
	insistFor   = electionTicks * tickTime / 2
	insistEvery = 2 * time.Millisecond
)

// insist repeats TimeoutNow, by which a leader hands over (Raft thesis §3.10), until this replica stands for election. Raft
// passes over it, and says nothing, while an entry is committed and not yet applied here; under load the commit index comes just
// before it. The partition then takes no batches until the leader's election timeout.
func (h *Host) insist(p *Partition, m *pb.Message) {
	again := *m
	h.begin(func() {
		for end := time.Now().Add(insistFor); time.Now().Before(end) && pause(h.ctx, insistEvery); {
			p.mu.Lock()
			stood := p.term > Term(again.Term)
			p.mu.Unlock()
			if stood {
				return
			}
			h.transport.Deliver(again)
		}
	})
}
