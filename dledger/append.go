package dledger

import (
	"context"
	"fmt"
	"runtime"
	"time"

	"github.com/lni/dragonboat/v4"
	"github.com/lni/dragonboat/v4/client"

	"github.com/stelemq/stele/protocol/record"
)

const (
	// entryBytesMax is how many bytes of collected batches make one entry; a larger batch is an entry alone.
	entryBytesMax = 256 << 10
	// proposalsMax bounds the proposals of a partition between Propose and the log.
	proposalsMax = 64
	// partitionBytesMax bounds a partition's bytes in flight.
	partitionBytesMax = 8 << 20
	// proposalTimeout is when dragonboat forgets a proposal that it has not appended. Much longer than any
	// producer waits: the answer does not depend on it.
	proposalTimeout = 60 * time.Second
)

// pendingAppend is a batch between its arrival and its answer.
type pendingAppend struct {
	batch    record.Batch
	acks     Acks
	arrived  time.Time
	deadline time.Time
	done     func(AppendResult) // nil once called
	base     record.Offset      // once appended
	next     record.Offset
	index    Index
	bytes    int64
	repeats  []*pendingAppend // duplicates that wait for this one's answer
}

// proposal is one entry on its way through Raft: batches, or a command.
type proposal struct {
	sequence uint32
	appends  []*pendingAppend
	command  []byte
	bytes    int
	index    Index // once appended
	state    *dragonboat.RequestState
}

// answer is a call of Done that is due once the lock is released.
type answer struct {
	a   *pendingAppend
	fn  func(AppendResult)
	res AppendResult
}

// Append offers a batch. It blocks only for admission, bounded by ctx; the order of calls is the order in the log.
// Errors, upon which Done is not called: ErrNotLeader, ErrNoSpace, ErrNotEnoughReplicas, ErrOutOfOrderSequence,
// ErrDuplicateSequence, ErrInvalidProducerEpoch, ErrClosed, or ctx's.
func (p *Partition) Append(ctx context.Context, r *AppendRequest) error {
	if !p.isLeader.Load() {
		return ErrNotLeader
	}
	n := int64(len(r.Batch))
	if !p.host.space.grant(n) {
		return ErrNoSpace
	}
	if err := p.bytes.acquire(ctx, n); err != nil {
		return err
	}
	if err := p.host.admission.acquire(ctx, n); err != nil {
		p.bytes.release(n)
		return err
	}
	now := time.Now()
	a := &pendingAppend{
		batch: r.Batch, acks: r.Acks, done: r.Done, bytes: n, base: record.NoOffset,
		arrived: now, deadline: now.Add(r.Timeout),
	}
	p.pendingN.Add(1)
	due, err := p.enqueue(a)
	if err != nil {
		p.pendingN.Add(-1)
		p.release(n)
		return err
	}
	p.deliver(due)
	return nil
}

func (p *Partition) release(n int64) {
	p.bytes.release(n)
	p.host.admission.release(n)
}

// enqueue validates a batch against the producer's state and queues it.
func (p *Partition) enqueue(a *pendingAppend) ([]answer, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		return nil, ErrClosed
	}
	if !p.isLeader.Load() || p.fenced() {
		return nil, ErrNotLeader
	}
	if isr := p.isr.Load(); a.acks == AcksAll && isr != nil && len(*isr) < p.config.Load().MinInSyncReplicas {
		return nil, ErrNotEnoughReplicas
	}
	v := p.checkSequenceLocked(a.batch)
	switch {
	case v.err != nil:
		return nil, v.err
	case v.original != nil:
		v.original.repeats = append(v.original.repeats, a)
		return nil, nil
	case v.stored:
		a.base, a.next, a.index = v.base, v.next, p.shard.lastIndex()
		return p.awaitLocked(a, nil), nil
	}
	p.trackProducerLocked(a)
	p.queue = append(p.queue, a)
	p.queueBytes += len(a.batch)
	p.scheduleLocked()
	return nil, nil
}

// scheduleLocked has a proposer look at the queue soon, if it may propose now. That is a goroutine of its own, so that
// producers that are ready to run add their batches first: on a busy machine entries grow, on an idle one the
// detour costs a microsecond.
func (p *Partition) scheduleLocked() {
	if p.scheduled || !p.mayProposeLocked() {
		return
	}
	select {
	case p.host.proposals <- p:
		p.scheduled = true
	default:
		p.proposeLocked()
	}
}

// proposer hands the queues of scheduled partitions to Raft.
func (h *Host) proposer() {
	for {
		select {
		case <-h.ctx.Done():
			return
		case p := <-h.proposals:
			// The producers that the last answers woke are in the scheduler's queue: they go first. Measured with 32
			// batches of 1 KiB in flight on each of 8 partitions: 28 batches in an entry instead of 1.2.
			runtime.Gosched()
			p.mu.Lock()
			p.scheduled = false
			p.proposeLocked()
			p.mu.Unlock()
		}
	}
}

// mayProposeLocked reports whether the queue may go: nothing is on its way, or it makes a full entry.
func (p *Partition) mayProposeLocked() bool {
	return len(p.queue) > 0 && p.isLeader.Load() && len(p.inflight) < proposalsMax &&
		(len(p.inflight) == 0 || p.queueBytes >= entryBytesMax)
}

// awaitLocked files an appended batch among those that wait for the high watermark, or answers it.
func (p *Partition) awaitLocked(a *pendingAppend, due []answer) []answer {
	if int64(a.next) <= p.hw.Load() && !p.strict.Load() {
		return p.answerLocked(a, nil, due)
	}
	i := len(p.waiting)
	for i > 0 && p.waiting[i-1].next > a.next {
		i--
	}
	p.waiting = append(p.waiting, nil)
	copy(p.waiting[i+1:], p.waiting[i:])
	p.waiting[i] = a
	return due
}

// proposeLocked turns queued batches into proposals. While one is on its way further batches collect and go
// in together, as in Nagle's algorithm; what makes a full entry does not wait.
func (p *Partition) proposeLocked() {
	for p.mayProposeLocked() {
		n, bytes := 1, len(p.queue[0].batch)
		for n < len(p.queue) && bytes+len(p.queue[n].batch) <= entryBytesMax {
			bytes += len(p.queue[n].batch)
			n++
		}
		pr := &proposal{
			sequence: nextSequence(p.sequence), appends: p.queue[:n:n], bytes: bytes,
		}
		if err := p.submitLocked(pr); err != nil {
			return // the queue stays; the sweeper and the next progress try again
		}
		p.sequence = pr.sequence
		p.inflight = append(p.inflight, pr)
		p.queue = append([]*pendingAppend(nil), p.queue[n:]...)
		p.queueBytes -= bytes
	}
}

// lends reports whether a proposal's bytes are lent to Raft: they are worth it, and no other replica needs them.
func (p *Partition) lends(pr *proposal) bool {
	return pr.command == nil && pr.bytes >= lendMin && len(p.roster.Load().members) == 1
}

// submitLocked hands a proposal to Raft, which copies its bytes unless they are lent.
func (p *Partition) submitLocked(pr *proposal) error {
	cmd, id := pr.command, clientID(p.term, pr.sequence, pr.command != nil)
	lent := false
	switch {
	case cmd != nil:
	case p.lends(pr):
		cmd = lentCommand
		lent = p.shard.lender.lend(id, pr.appends, pr.bytes)
	case len(pr.appends) == 1:
		cmd = pr.appends[0].batch
	default:
		p.scratch = p.scratch[:0]
		for _, a := range pr.appends {
			p.scratch = append(p.scratch, a.batch...)
		}
		cmd = p.scratch
	}
	session := &client.Session{
		ShardID: uint64(p.spec.Shard), ClientID: id, SeriesID: client.NoOPSeriesID,
	}
	rs, err := p.user.Propose(session, cmd, libraryTime(proposalTimeout))
	if err != nil {
		if lent {
			p.shard.lender.take(id)
		}
		return fmt.Errorf("propose: %w", err)
	}
	pr.state = rs
	return nil
}

// answerLocked prepares the answer to a batch and to those that repeated it.
func (p *Partition) answerLocked(a *pendingAppend, err error, due []answer) []answer {
	if err == nil && a.acks != AcksNone && p.fenced() {
		err = ErrTimeout // another generation may have begun without it
	}
	if a.done != nil {
		res := AppendResult{BaseOffset: a.base, LogStartOffset: p.shard.log.LogStart(), Err: err}
		if err != nil {
			res.BaseOffset = record.NoOffset
		}
		due = append(due, answer{a: a, fn: a.done, res: res})
		a.done = nil
	}
	for _, r := range a.repeats {
		r.base = a.base
		due = p.answerLocked(r, err, due)
	}
	a.repeats = nil
	return due
}

// deliver calls the answers' Done and returns their bytes. The lock is not held.
func (p *Partition) deliver(due []answer) {
	for i := range due {
		due[i].fn(due[i].res)
		if a := due[i].a; due[i].res.Err == nil && a.acks == AcksAll && !a.arrived.IsZero() {
			p.host.metrics.proposal.Observe(time.Since(a.arrived).Seconds())
		}
		p.release(due[i].a.bytes)
		p.pendingN.Add(-1)
	}
}

// propose replicates a command and waits until it is committed and carried out here. Errors: ErrNotLeader, ErrClosed, ctx's.
func (p *Partition) propose(ctx context.Context, command []byte) error {
	done := make(chan error, 1)
	a := &pendingAppend{acks: AcksAll, batch: nil, done: func(r AppendResult) { done <- r.Err }}
	p.mu.Lock()
	if !p.isLeader.Load() || p.closed {
		p.mu.Unlock()
		return ErrNotLeader
	}
	pr := &proposal{sequence: nextSequence(p.sequence), command: command, appends: []*pendingAppend{a}}
	err := p.submitLocked(pr)
	if err == nil {
		p.sequence = pr.sequence
		p.inflight = append(p.inflight, pr)
		p.pendingN.Add(1)
	}
	p.mu.Unlock()
	if err != nil {
		return err
	}
	select {
	case err := <-done:
		return err
	case <-ctx.Done():
		return fmt.Errorf("propose: %w", ctx.Err())
	}
}

// AdvanceLogStart moves the log start offset of all replicas to o at most the high watermark (DeleteRecords, retention).
// Errors: ErrOffsetOutOfRange, ErrNotLeader, ctx's.
func (p *Partition) AdvanceLogStart(ctx context.Context, o record.Offset) error {
	if off := p.Offsets(); o > off.HighWatermark || o < 0 {
		return ErrOffsetOutOfRange
	}
	return p.propose(ctx, encodeLogStart(o, reasonUnknown))
}
