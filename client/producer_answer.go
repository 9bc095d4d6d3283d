package client

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"time"

	"github.com/stelemq/stele/protocol"
)

// report is a batch that is done with.
type report struct {
	batch *batch
	base  int64
	err   error
}

// answered takes what a broker said to a request, or why it said nothing.
func (s *sender) answered(req *request, a answer) {
	p := s.p
	results := outcomes(req, a)
	p.mu.Lock()
	s.inFlight--
	for i, b := range req.batches {
		b.inFlight = false
		b.part.inFlight--
		p.settleLocked(b, &results[i])
		b.part.wakeSender()
		if b.part.wantIdentity && b.part.inFlight == 0 {
			poke(p.wake)
		}
	}
	s.poke()
	p.mu.Unlock()
	p.deliver()
}

// settleLocked decides what becomes of a batch that was answered.
func (p *Producer) settleLocked(b *batch, o *outcome) {
	part := b.part
	switch {
	case o.err != nil:
		b.ambiguous = true
		var fatal *Error
		if errors.As(o.err, &fatal) && !fatal.Retriable() {
			p.removeLocked(b, -1, o.err)
			return
		}
		p.retryLocked(b, o.err)
	case o.code == protocol.None || o.code == protocol.DuplicateSequenceNumber && b.sequenced:
		// A duplicate is a batch whose first answer was lost.
		part.wait.reset()
		part.lastErr = nil
		if b.sequenced {
			part.acknowledged(addSequence(b.sequence, b.records))
		}
		p.removeLocked(b, o.base, nil)
	case b.sequenced && o.code == protocol.OutOfOrderSequenceNumber:
		p.outOfOrderLocked(b)
	case b.sequenced && (o.code == protocol.UnknownProducerID || o.code == protocol.InvalidProducerEpoch):
		// The broker forgot the producer, or never knew it: begin anew.
		part.wantIdentity = true
		p.retryLocked(b, codeError("", int16(o.code), o.message))
	case o.code.Retriable():
		b.ambiguous = b.ambiguous || o.code == protocol.RequestTimedOut ||
			o.code == protocol.NotEnoughReplicasAfterAppend || o.code == protocol.NetworkException
		p.retryLocked(b, codeError("", int16(o.code), o.message))
	default:
		if o.code == protocol.UnknownServerError {
			b.ambiguous = true
		}
		p.removeLocked(b, -1, codeError("produce to "+part.name(), int16(o.code), o.message))
	}
}

// acknowledged moves ackSequence, forwards only: a batch whose answer was lost
// may be acknowledged after the next one.
func (part *partition) acknowledged(next int32) {
	part.established = true
	if ahead := (next - part.ackSequence) & math.MaxInt32; ahead < 1<<30 {
		part.ackSequence = next
	}
}

// outOfOrderLocked handles a batch whose sequence is not the next one for the
// broker. Which is no wonder while an earlier batch is to be sent again. If
// this is the first in line, then either batches before it were refused and
// their numbers stay free, and the rest is numbered anew; or the broker lost
// what it had acknowledged, and a new producer id must do.
func (p *Producer) outOfOrderLocked(b *batch) {
	part := b.part
	if part.queue[0] == b {
		if b.sequence != part.ackSequence {
			part.renumber = true
		} else {
			part.wantIdentity = true
		}
	}
	p.retryLocked(b, codeError("", int16(protocol.OutOfOrderSequenceNumber), ""))
}

// retryLocked keeps a batch to be sent again, and has everything that is in flight answered before the partition
// sends again, from the first batch that is not acknowledged.
func (p *Producer) retryLocked(b *batch, err error) {
	part := b.part
	b.retried = true
	first := !part.rewinding
	part.rewinding = true
	if first {
		part.lastErr = err
		part.retryAt = time.Now().Add(part.wait.duration())
		p.client.opts.Logger.Debug("batch is sent again", "topic", part.topic, "partition", part.id, "error", err)
	}
	if Code(err) != protocol.OutOfOrderSequenceNumber {
		part.stale = true
		poke(p.wake)
	}
}

// removeLocked ends a batch.
func (p *Producer) removeLocked(b *batch, base int64, err error) {
	part := b.part
	i := slices.Index(part.queue, b)
	part.queue = slices.Delete(part.queue, i, i+1)
	if part.open == b {
		part.open = nil
	}
	if err != nil && b.sequenced && b.ambiguous {
		// It may be in the log, or may still get there: its sequence numbers
		// cannot be given to other records.
		part.wantIdentity = true
		poke(p.wake)
	}
	p.buffered -= b.reserved
	p.roomMadeLocked()
	p.reports = append(p.reports, report{b, base, err})
}

// deliver makes the calls of what was reported, in order: if another goroutine
// is at it, that one makes these too.
func (p *Producer) deliver() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.delivering {
		return
	}
	p.delivering = true
	for len(p.reports) > 0 {
		reports := p.reports
		p.reports, p.current = nil, reports
		p.mu.Unlock()
		for i := range reports {
			p.call(&reports[i])
		}
		p.mu.Lock()
		for i := range reports {
			b := reports[i].batch
			if b.done != nil {
				close(b.done)
			}
			if reports[i].err == nil { // then no connection is reading its bytes any more
				p.recycleLocked(b)
			}
		}
	}
	p.delivering, p.current = false, nil
}

// buildersKept bounds the builders that wait for another batch.
const buildersKept = 16

// recycle takes the builder of a batch for another one.
func (p *Producer) recycle(b *batch) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.recycleLocked(b)
}

func (p *Producer) recycleLocked(b *batch) {
	if b.builder != nil && len(p.builders) < buildersKept {
		b.builder.Reset()
		p.builders = append(p.builders, b.builder)
	}
	b.builder = nil
}

func (p *Producer) call(r *report) {
	b := r.batch
	for _, c := range b.callbacks {
		d := Delivery{Topic: b.part.topic, Partition: b.part.id, Offset: -1, Err: r.err}
		if r.base >= 0 {
			d.Offset = r.base + int64(c.index)
		}
		c.fn(d)
	}
	if p.opts.OnBatch != nil {
		p.opts.OnBatch(BatchDelivery{
			Topic: b.part.topic, Partition: b.part.id, BaseOffset: r.base, Records: b.records, Bytes: b.bytes, Err: r.err,
		})
	}
}

// giveUp ends the batches that match and are not in flight.
func (p *Producer) giveUp(match func(*batch) bool, why func(*batch) error) {
	p.mu.Lock()
	for _, t := range p.topics {
		for _, part := range t.parts {
			for _, b := range slices.Clone(part.queue) {
				if !b.inFlight && match(b) {
					p.removeLocked(b, -1, why(b))
				}
			}
		}
	}
	p.mu.Unlock()
	p.deliver()
}

// expireEvery is how exactly the delivery timeout is kept.
const expireEvery = 100 * time.Millisecond

// expire gives up batches that were tried for long enough.
func (p *Producer) expire(ctx context.Context) {
	tick := time.NewTicker(expireEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case now := <-tick.C:
			limit := now.Add(-p.opts.DeliveryTimeout)
			p.giveUp(
				func(b *batch) bool { return b.created.Before(limit) },
				func(b *batch) error { return p.expired(b.part) },
			)
		}
	}
}

func (p *Producer) expired(part *partition) error {
	reason := fmt.Sprintf("not acknowledged within %v", p.opts.DeliveryTimeout)
	e := &Error{Op: "produce to " + part.name(), Reason: reason, Err: ErrTimeout}
	if part.lastErr != nil {
		e.Code = Code(part.lastErr)
		e.Reason += ": " + part.lastErr.Error()
		e.Err = errors.Join(ErrTimeout, part.lastErr)
	}
	return e
}
