package dledger

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"github.com/stelemq/stele/dledger/transport"
)

// A replica of a relaxed topic whose machine went down may have lost entries that it had acknowledged. It must not help
// to elect a leader without them: it neither votes nor stands for election until it has every entry that a leader says is
// committed. Where that leaves too few voters, and all of them can be asked, the one with the newest log leads: nobody
// has more.

const (
	callQuarantine  = "quarantine"
	quarantineTick  = 500 * time.Millisecond
	quarantineCall  = 2 * time.Second
	quarantineQuiet = time.Second // without a leader before the others are asked
)

// quarantineState is what a replica has, for the others to compare.
type quarantineState struct {
	Quarantined bool  `json:"quarantined"`
	LastTerm    Term  `json:"last_term"`
	Last        Index `json:"last"`
	Led         bool  `json:"led"` // it knows a leader
}

// newer reports whether s has the newer log.
func (s quarantineState) newer(o quarantineState) bool {
	if s.LastTerm != o.LastTerm {
		return s.LastTerm > o.LastTerm
	}
	return s.Last > o.Last
}

func (p *Partition) quarantineState() quarantineState {
	p.shard.mu.RLock()
	defer p.shard.mu.RUnlock()
	return quarantineState{
		Quarantined: p.quarantined.Load(), LastTerm: p.shard.lastTerm, Last: p.shard.last, Led: p.raftNode.Load() >= 0,
	}
}

// heardCommit lets a replica out of quarantine once it has what a leader says is committed.
func (p *Partition) heardCommit(commit Index) {
	if p.quarantined.Load() && commit > 0 && p.shard.lastIndex() >= commit {
		p.readmit("it has caught up")
	}
}

func (p *Partition) readmit(why string) {
	if p.quarantined.Swap(false) {
		p.logger.Info("replica votes again", "reason", why)
	}
}

// mayVoteFor reports whether a request for a vote may reach Raft.
func (p *Partition) mayVoteFor(candidate ReplicaID) bool {
	if !p.fresh.Load() && time.Since(p.started) < electionTicks*tickTime {
		return false // before the start it may have answered a leader's heartbeat
	}
	return !p.quarantined.Load() || ReplicaID(p.newest.Load()) == candidate
}

type quarantineQuestion struct {
	Shard   ShardID   `json:"shard"`
	Replica ReplicaID `json:"replica"`
}

func (h *Host) answerQuarantine(_ context.Context, _ transport.Caller, body []byte) ([]byte, error) {
	var q quarantineQuestion
	if err := json.Unmarshal(body, &q); err != nil {
		return nil, fmt.Errorf("quarantine: %w", err)
	}
	p := h.partition(q.Shard)
	if p == nil || p.shard.key.Replica != q.Replica {
		return nil, fmt.Errorf("quarantine: shard %d replica %d is not here", q.Shard, q.Replica)
	}
	b, err := json.Marshal(p.quarantineState())
	if err != nil {
		return nil, fmt.Errorf("quarantine: %w", err)
	}
	return b, nil
}

// consult looks after the partitions in quarantine that have no leader.
func (h *Host) consult() {
	for pause(h.ctx, quarantineTick) {
		for _, p := range h.all() {
			if p.quarantined.Load() && p.raftNode.Load() < 0 && time.Since(p.started) > quarantineQuiet {
				p.compare()
			}
		}
	}
}

// compare asks all voters what they have. If too few of them may vote, those in quarantine let the one with the newest log
// be elected. Everybody comes to the same answer: without a leader no log changes.
func (p *Partition) compare() {
	r := p.roster.Load()
	best, free := member{}, 0
	var newest quarantineState
	for _, m := range r.members {
		if !m.voter {
			continue
		}
		s := p.quarantineState()
		if m.replica != p.shard.key.Replica {
			var ok bool
			if s, ok = p.askState(m); !ok {
				return // without an answer from each nothing can be said
			}
		}
		if s.Led {
			return
		}
		if !s.Quarantined {
			free++
		}
		if best.replica == 0 || s.newer(newest) {
			best, newest = m, s
		}
	}
	if free > r.voters()/2 {
		return // they elect one of them, who will be heard
	}
	p.newest.Store(uint64(best.replica))
	if best.replica == p.shard.key.Replica {
		p.readmit("all voters are here and none has more")
	}
}

func (p *Partition) askState(m member) (quarantineState, bool) {
	var s quarantineState
	body, err := json.Marshal(quarantineQuestion{p.spec.Shard, m.replica})
	if err != nil {
		return s, false
	}
	ctx, cancel := context.WithTimeout(p.host.ctx, quarantineCall)
	defer cancel()
	answer, err := p.host.transport.Call(ctx, m.node, callQuarantine, body)
	if err != nil {
		return s, false
	}
	return s, json.Unmarshal(answer, &s) == nil
}
