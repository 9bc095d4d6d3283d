package client

import (
	"context"
	"encoding/binary"
	"errors"
	"io"
	"time"

	kproto "github.com/segmentio/kafka-go/protocol"
	"github.com/segmentio/kafka-go/protocol/produce"
	"github.com/segmentio/kafka-go/protocol/rawproduce"

	"github.com/stelemq/stele/protocol"
	"github.com/stelemq/stele/protocol/record"
)

// sender sends to one broker the batches of the partitions that it leads.
type sender struct {
	p      *Producer
	broker int32
	wake   chan struct{} // capacity 1

	// Under the Producer's mutex:
	parts    []*partition
	next     int // where to begin, so that no partition starves
	inFlight int // requests
}

func (s *sender) poke() { poke(s.wake) }

// senderLocked returns the sender of a broker and starts it if need be.
func (p *Producer) senderLocked(broker int32) *sender {
	s := p.senders[broker]
	if s == nil {
		s = &sender{p: p, broker: broker, wake: make(chan struct{}, 1)}
		p.senders[broker] = s
		life := p.life
		p.wg.Go(func() { s.run(life) })
	}
	return s
}

// request is a Produce request in flight: one batch per partition.
type request struct {
	batches []*batch
	via     *link
}

func (s *sender) run(ctx context.Context) {
	p := s.p
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	var via *link
	for {
		p.mu.Lock()
		req, wait := s.collectLocked(via, time.Now())
		p.mu.Unlock()
		if req != nil && via != nil && !via.broken() {
			s.send(req)
			continue
		}
		if req != nil { // there is work, and no link for it
			s.putBack(req)
			var err error
			if via, err = p.pool.get(ctx, s.broker); err != nil {
				if ctx.Err() != nil {
					return
				}
				s.unreachable(err)
			}
			continue
		}
		timer.Reset(wait)
		select {
		case <-s.wake:
		case <-timer.C:
		case <-ctx.Done():
			return
		}
	}
}

// idleWait is how long a sender sleeps that knows of nothing to wait for.
const idleWait = time.Hour

// collectLocked takes the next batch of every partition that may send one. If
// there is none, it says for how long there will be none unless the sender is
// woken.
func (s *sender) collectLocked(via *link, now time.Time) (*request, time.Duration) {
	p := s.p
	wait := idleWait
	if s.inFlight >= inFlightMax || len(s.parts) == 0 {
		return nil, wait
	}
	var req *request
	bytes := 0
	for i := range s.parts {
		part := s.parts[(s.next+i)%len(s.parts)]
		b, w := p.nextLocked(part, via, now)
		if b == nil {
			wait = min(wait, w)
			continue
		}
		if req == nil {
			req = &request{via: via}
		} else if bytes+b.reserved > requestBytesMax {
			s.next = (s.next + i) % len(s.parts)
			break
		}
		bytes += b.reserved
		p.takeLocked(b, via)
		req.batches = append(req.batches, b)
	}
	if req != nil {
		s.inFlight++
	}
	return req, wait
}

// nextLocked returns the batch that the partition may send now, or how long it
// will not have one.
func (p *Producer) nextLocked(part *partition, via *link, now time.Time) (*batch, time.Duration) {
	if part.inFlight >= len(part.queue) || part.inFlight >= p.inFlightMax(part) {
		return nil, idleWait
	}
	if part.rewinding {
		if part.inFlight > 0 {
			return nil, idleWait // the answers wake the sender
		}
		part.rewinding = false
		if part.renumber {
			part.renumberLocked()
		}
	}
	// What is in flight on a connection that broke has not been handed back yet.
	if part.inFlight > 0 && part.via != via {
		return nil, idleWait
	}
	if d := part.retryAt.Sub(now); d > 0 {
		return nil, d
	}
	if !p.identifyLocked(part) {
		return nil, idleWait
	}
	b := part.queue[part.inFlight]
	if b == part.open && p.flushing == 0 && p.blocked == 0 {
		if d := b.created.Add(p.opts.Linger).Sub(now); d > 0 {
			return nil, d
		}
	}
	return b, 0
}

// inFlightMax is how many batches the partition may have in flight.
//
// It is one until a broker knows the producer: it takes any first sequence from
// one that it does not know (KAFKA-15591), and so the second batch if it could
// not take the first. And it is one while a batch is sent again: if that may be
// in the log already, no more than four others can be behind it then, and it is
// among the last five, which a broker recognises.
func (p *Producer) inFlightMax(part *partition) int {
	if !p.opts.NotIdempotent && (!part.established || part.queue[0].retried) {
		return 1
	}
	return p.opts.inFlight()
}

// identifyLocked gives the partition the Producer's identity, if it has none
// of its own.
func (p *Producer) identifyLocked(part *partition) bool {
	if part.wantIdentity || !p.identified {
		poke(p.wake)
		return false
	}
	if !part.identified {
		part.identity, part.identified = p.identity, true
	}
	return true
}

// takeLocked marks a batch as in flight. One that goes for the first time gets
// its sequence now, one that goes again has it.
func (p *Producer) takeLocked(b *batch, via *link) {
	part := b.part
	part.close(b)
	part.via = via
	part.inFlight++
	b.inFlight = true
	if !b.sequenced && part.identity != noIdentity {
		b.identity, b.sequence, b.sequenced = part.identity, part.nextSequence, true
		part.nextSequence = addSequence(part.nextSequence, b.records)
	}
}

// putBack undoes takeLocked for batches that were not sent.
func (s *sender) putBack(req *request) {
	s.p.mu.Lock()
	defer s.p.mu.Unlock()
	s.inFlight--
	for _, b := range req.batches {
		b.inFlight = false
		b.part.inFlight--
	}
}

// unreachable puts off what waits for the broker and has its leaders looked
// for elsewhere.
func (s *sender) unreachable(err error) {
	p := s.p
	p.client.opts.Logger.Debug("broker unreachable", "broker", s.broker, "error", err)
	p.mu.Lock()
	defer p.mu.Unlock()
	now := time.Now()
	for _, part := range s.parts {
		if len(part.queue) > part.inFlight {
			if !errors.Is(part.lastErr, ErrNoLeader) { // which says more
				part.lastErr = err
			}
			part.retryAt = now.Add(part.wait.duration())
			part.stale = true
		}
	}
	poke(p.wake)
}

// send builds the batches and writes the request.
func (s *sender) send(req *request) {
	p := s.p
	msg := &rawproduce.Request{
		Acks:    p.opts.Acks.wire(),
		Timeout: int32(p.opts.RequestTimeout.Milliseconds()), //nolint:gosec // far below
	}
	topics := make(map[string]int)
	for _, b := range req.batches {
		if err := p.build(b); err != nil {
			s.fail(req, err)
			return
		}
		i, ok := topics[b.part.topic]
		if !ok {
			i = len(msg.Topics)
			topics[b.part.topic] = i
			msg.Topics = append(msg.Topics, rawproduce.RequestTopic{Topic: b.part.topic})
		}
		t := &msg.Topics[i]
		t.Partitions = append(t.Partitions, rawproduce.RequestPartition{
			Partition: b.part.id,
			RecordSet: kproto.RawRecordSet{Reader: &recordSet{batch: b.built}},
		})
		b.sent = true
	}
	version, err := req.via.version(kproto.Produce)
	if err == nil && version < 3 {
		err = &Error{Op: "produce", Reason: "the broker is older than Kafka 0.11", Err: ErrUnsupported}
	}
	if err != nil {
		s.fail(req, err)
		return
	}
	req.via.send(msg, version, sendOptions{
		timeout:  p.opts.RequestTimeout + answerSlack,
		noAnswer: p.opts.Acks == AcksNone,
		finish:   func(a answer) { s.answered(req, a) },
	})
}

// answerSlack is what a broker has beyond the timeout that it was told, to say
// that it passed.
const answerSlack = time.Second

// build makes the bytes of a batch, or renews what changes in them.
func (p *Producer) build(b *batch) error {
	if b.built == nil {
		built, err := b.builder.Build(p.opts.Codec, p.opts.Level)
		if err != nil {
			return &Error{Op: "produce to " + b.part.name(), Reason: err.Error(), Err: err}
		}
		b.built = built
		if p.opts.Codec != record.None { // the bytes are not the builder's own
			p.recycle(b)
		}
	}
	id, sequence := noIdentity, int32(-1)
	if b.sequenced {
		id, sequence = b.identity, b.sequence
	}
	b.stamp(id, sequence)
	return nil
}

// recordSet is a batch as kafka-go's raw produce writes it: with its length
// before it.
type recordSet struct {
	batch record.Batch
	at    int
}

// WriteTo writes length and batch.
func (r *recordSet) WriteTo(w io.Writer) (int64, error) {
	var size [4]byte
	binary.BigEndian.PutUint32(size[:], uint32(len(r.batch))) //nolint:gosec // less than BufferBytes
	n, err := w.Write(size[:])
	if err != nil {
		return int64(n), err //nolint:wrapcheck // kafka-go's buffer
	}
	m, err := w.Write(r.batch)
	return int64(n + m), err //nolint:wrapcheck // kafka-go's buffer
}

// Read is the same for a reader that does not know WriteTo.
func (r *recordSet) Read(p []byte) (int, error) {
	var size [4]byte
	binary.BigEndian.PutUint32(size[:], uint32(len(r.batch))) //nolint:gosec // less than BufferBytes
	var n int
	if r.at < len(size) {
		n = copy(p, size[r.at:])
	} else {
		n = copy(p, r.batch[r.at-len(size):])
	}
	r.at += n
	if n == 0 && len(p) > 0 {
		return 0, io.EOF
	}
	return n, nil
}

// fail ends a request that could not be sent.
func (s *sender) fail(req *request, err error) {
	s.answered(req, answer{err: err})
}

// outcome is what a broker answered for one batch.
type outcome struct {
	code    protocol.Code
	message string
	base    int64
	err     error // there was no answer
}

// outcomes sorts an answer by batch.
func outcomes(req *request, a answer) []outcome {
	out := make([]outcome, len(req.batches))
	for i := range out {
		out[i] = outcome{base: -1, err: a.err}
		if a.err == nil && a.msg != nil {
			out[i].code = protocol.NetworkException // should the answer leave it out
		}
	}
	res, ok := a.msg.(*produce.Response)
	if !ok {
		return out
	}
	for i := range res.Topics {
		t := &res.Topics[i]
		for j := range t.Partitions {
			r := &t.Partitions[j]
			for k, b := range req.batches {
				if b.part.id == r.Partition && b.part.topic == t.Topic {
					out[k] = outcome{code: protocol.Code(r.ErrorCode), message: r.ErrorMessage, base: r.BaseOffset}
					for _, e := range r.RecordErrors {
						if out[k].message == "" {
							out[k].message = e.BatchIndexErrorMessage
						}
					}
				}
			}
		}
	}
	return out
}
