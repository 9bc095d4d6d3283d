package dledger

import (
	"slices"
	"time"

	"github.com/stelemq/stele/dledger/raftfile"
	"github.com/stelemq/stele/protocol/record"
)

var _ shardObserver = (*Partition)(nil)

// leader is told who leads a term. Kafka's leader is more: the Raft leader whose no-op is committed.
func (p *Partition) leader(t Term, r ReplicaID) {
	p.mu.Lock()
	var due []answer
	if t > p.term || r != p.raftLeader {
		p.leanOnly(t, r)
		if t > p.term || r != p.shard.key.Replica {
			due = p.resignLocked(ErrNotLeader)
		}
		p.term, p.raftLeader = max(t, p.term), r
		p.raftNode.Store(p.nodeOf(r))
		if r == p.shard.key.Replica {
			p.progress.lead(t, p.roster.Load(), r, p.host.opts.ReplicaLagTimeMax)
		}
		p.epoch.Store(int32(LeaderEpochOf(p.spec.Generation, p.term)))
		p.establishLocked()
	}
	p.mu.Unlock()
	p.deliver(due)
	p.subs.notify()
	p.noteLeadership()
	p.host.metrics.leaderChanges.Inc()
}

// establishLocked makes this replica the leader once it leads the term in Raft and the term's no-op, and with it every
// entry before, is committed here. Before that it would serve without knowing everything that was acknowledged.
func (p *Partition) establishLocked() {
	if p.raftLeader != p.shard.key.Replica || p.noop != p.term || p.closed || p.isLeader.Load() {
		return
	}
	p.sequence = 0
	p.refreshISR()
	p.isLeader.Store(true)
	p.noteLeadership()
	p.logger.Info("leading", "leader_epoch", p.epoch.Load(), "high_watermark", p.hw.Load())
}

// resignLocked fails everything that is not answered: what is in the log may still be committed by another.
func (p *Partition) resignLocked(err error) []answer {
	p.isLeader.Store(false)
	p.resign()
	p.isr.Store(nil)
	var due []answer
	for _, pr := range p.inflight {
		for _, a := range pr.appends {
			due = p.answerLocked(a, err, due)
		}
	}
	for _, a := range p.queue {
		due = p.answerLocked(a, err, due)
	}
	for _, a := range p.waiting {
		due = p.answerLocked(a, err, due)
	}
	for _, pr := range p.commands {
		due = p.answerLocked(pr.appends[0], err, due)
	}
	p.commands = nil
	p.inflight, p.queue, p.waiting, p.queueBytes, p.appendedN = nil, nil, nil, 0, 0
	clear(p.producers)
	return due
}

// appended matches entries that stand in the log with the proposals that made them.
func (p *Partition) appended(recs []raftfile.Entry) {
	p.mu.Lock()
	var due []answer
	again := false
	for i := range recs {
		r := &recs[i]
		if r.Term != p.term || uint32(r.Client>>32) != uint32(p.term) || !p.isLeader.Load() { //nolint:gosec // compared modulo 2^32
			continue
		}
		switch r.Kind {
		case raftfile.KindData, raftfile.KindCommand:
			due = p.matchLocked(r, due)
		case raftfile.KindVoid:
			again = again || p.behindGapLocked(uint32(r.Client)&sequenceMask) //nolint:gosec // by layout
		case raftfile.KindConfig, raftfile.KindNoop:
		}
	}
	if again {
		p.reproposeLocked()
	}
	p.mu.Unlock()
	p.deliver(due)
}

// behindGapLocked reports whether a void proposal stands behind one that was dropped. Else it is the twin of one that has been
// proposed twice: to propose everything again because of it would only make more of them.
func (p *Partition) behindGapLocked(seq uint32) bool {
	if p.appendedN >= len(p.inflight) {
		return false
	}
	return (seq-p.inflight[p.appendedN].sequence)&sequenceMask <= sequenceMask/2
}

// matchLocked gives the batches of the proposal that became r their offsets.
func (p *Partition) matchLocked(r *raftfile.Entry, due []answer) []answer {
	seq := uint32(r.Client) & sequenceMask //nolint:gosec // by layout
	if p.appendedN >= len(p.inflight) || p.inflight[p.appendedN].sequence != seq {
		return due // an earlier attempt's twin: the fence has refused the other
	}
	pr := p.inflight[p.appendedN]
	p.appendedN++
	pr.index = r.Index
	next := r.Base
	for _, a := range pr.appends {
		a.base, a.index = next, r.Index
		if len(a.batch) > 0 {
			next += record.Offset(a.batch.LastOffsetDelta()) + 1
		}
		a.next = next
		p.untrackProducerLocked(a)
	}
	// Each repetition is answered as it asked for, not as the original did.
	for _, a := range pr.appends {
		for _, again := range a.repeats {
			again.base, again.next, again.index = a.base, a.next, a.index
			pr.appends = append(pr.appends, again)
		}
		a.repeats = nil
	}
	for _, a := range pr.appends {
		if a.acks == AcksNone {
			due = p.answerLocked(a, nil, due)
		}
	}
	return due
}

// reproposeLocked proposes again, in order, everything that is not in the log. Proposals of an earlier
// attempt that still arrive are void: their sequence has been used.
func (p *Partition) reproposeLocked() {
	now := time.Now().UnixNano()
	if now-p.reproposed < int64(10*time.Millisecond) || !p.isLeader.Load() {
		return
	}
	p.reproposed = now
	for _, pr := range p.inflight[p.appendedN:] {
		if p.submitLocked(pr) != nil {
			return // the sweeper tries again
		}
	}
}

// saved answers acks=1 and lets what has collected meanwhile go.
func (p *Partition) saved(index Index) {
	p.mu.Lock()
	var due []answer
	n := 0
	for n < p.appendedN && p.inflight[n].index <= index {
		pr := p.inflight[n]
		for _, a := range pr.appends {
			if a.acks == AcksLeader {
				due = p.answerLocked(a, nil, due)
			} else if a.done != nil && pr.command == nil {
				due = p.awaitLocked(a, due)
			}
		}
		if pr.command != nil {
			p.commands = append(p.commands, pr)
		}
		n++
	}
	if n > 0 {
		p.inflight = slices.Delete(p.inflight, 0, n)
		p.appendedN -= n
		p.scheduleLocked()
	}
	p.mu.Unlock()
	p.deliver(due)
}

// committed advances the high watermark and answers acks=all.
func (p *Partition) committed(recs []raftfile.Entry) {
	p.mu.Lock()
	last := &recs[len(recs)-1]
	if int64(last.Next) > p.hw.Load() {
		p.hw.Store(int64(last.Next))
	}
	for i := range recs {
		switch recs[i].Kind {
		case raftfile.KindNoop:
			p.noop = max(p.noop, recs[i].Term)
			p.establishLocked()
		case raftfile.KindConfig:
			p.refreshRoster()
		case raftfile.KindCommand:
			p.host.trimSoon()
		case raftfile.KindData, raftfile.KindVoid:
		}
	}
	due := p.acknowledgeLocked(nil)
	for len(p.commands) > 0 && p.commands[0].index <= last.Index {
		due = p.answerLocked(p.commands[0].appends[0], nil, due)
		p.commands = p.commands[1:]
	}
	p.mu.Unlock()
	p.deliver(due)
	p.subs.notify()
}

// acknowledgeLocked answers the batches that have reached what acks=all promises: Raft's majority, and
// min.insync.replicas of them.
func (p *Partition) acknowledgeLocked(due []answer) []answer {
	hw, strict := p.hw.Load(), p.strict.Load()
	n := 0
	for n < len(p.waiting) && int64(p.waiting[n].next) <= hw {
		a := p.waiting[n]
		var err error
		if strict && a.done != nil {
			least := p.config.Load().MinInSyncReplicas
			if p.progress.holders(a.index) < least {
				if isr := p.isr.Load(); isr == nil || len(*isr) >= least {
					break // they are expected to get it
				}
				err = ErrNotEnoughReplicasAfterAppend
			}
		}
		due = p.answerLocked(a, err, due)
		n++
	}
	p.waiting = slices.Delete(p.waiting, 0, n)
	return due
}

// acknowledge answers what has become complete because another replica has got it, or will not.
func (p *Partition) acknowledge() {
	p.mu.Lock()
	due := p.acknowledgeLocked(nil)
	p.mu.Unlock()
	p.deliver(due)
}

// refreshISR works out anew who is in sync, and reports whether that has changed.
func (p *Partition) refreshISR() bool {
	now := p.progress.inSync(p.host.opts.NodeID, p.shard.lastIndex(), p.host.opts.ReplicaLagTimeMax)
	old := p.isr.Swap(&now)
	return old == nil || !slices.Equal(*old, now)
}

// watchISR has a leader notice replicas that have fallen behind or caught up.
func (p *Partition) watchISR() {
	if !p.isLeader.Load() || len(p.roster.Load().members) == 1 || !p.refreshISR() {
		return
	}
	if !p.isLeader.Load() {
		p.isr.Store(nil)
		return
	}
	p.host.metrics.isrChanges.Inc()
	p.logger.Info("in-sync replicas", "isr", *p.isr.Load())
	p.acknowledge()
	p.subs.notify()
	p.noteLeadership()
}

// sweep answers what has waited too long, and proposes again what Raft dropped.
func (p *Partition) sweep(now time.Time) {
	if p.pendingN.Load() == 0 {
		return
	}
	p.mu.Lock()
	var due []answer
	for _, a := range p.waiting {
		due = p.expireLocked(a, now, due)
	}
	p.waiting = slices.DeleteFunc(p.waiting, func(a *pendingAppend) bool { return a.done == nil && len(a.repeats) == 0 })
	for _, pr := range p.inflight {
		for _, a := range pr.appends {
			due = p.expireLocked(a, now, due)
		}
	}
	for _, a := range p.queue {
		due = p.expireLocked(a, now, due)
	}
	if p.droppedLocked() {
		p.reproposeLocked()
	}
	p.proposeLocked()
	p.mu.Unlock()
	p.deliver(due)
}

// expireLocked answers a with ErrTimeout if its time is over. It stays in flight, with its bytes, until it is appended or
// the term ends: its sequence has been used.
func (p *Partition) expireLocked(a *pendingAppend, now time.Time, due []answer) []answer {
	if a.done == nil || a.deadline.IsZero() || now.Before(a.deadline) {
		return due
	}
	return p.answerLocked(a, ErrTimeout, due)
}

// droppedLocked reports whether Raft has refused a proposal that is not in the log.
func (p *Partition) droppedLocked() bool {
	dropped := false
	for _, pr := range p.inflight[p.appendedN:] {
		if pr.state == nil {
			return true
		}
		select {
		case res := <-pr.state.ResultC():
			dropped = dropped || !res.Completed()
			pr.state = nil
		default:
		}
	}
	return dropped
}

// close fails everything that waits; nothing is accepted after it.
func (p *Partition) close() {
	p.mu.Lock()
	p.closed = true
	p.leanOnly(0, 0)
	due := p.resignLocked(ErrClosed)
	p.mu.Unlock()
	p.deliver(due)
	p.subs.notify()
	p.noteLeadership()
}
