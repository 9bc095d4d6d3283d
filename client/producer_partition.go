package client

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/stelemq/stele/protocol"
	"github.com/stelemq/stele/protocol/record"
)

// producerTopic is a topic that is produced to. The Producer's mutex guards it.
type producerTopic struct {
	name   string
	parts  []*partition
	sticky int32 // where records go that may go anywhere
	stale  bool  // its metadata is to be asked for
}

// partition is the queue of batches to one partition. The Producer's mutex
// guards it.
//
// The first inFlight batches of the queue are in flight or answered out of
// turn, the rest waits. When one fails in a way that can be retried, nothing
// more is sent until all that are in flight are answered (rewinding); those
// that failed are still in the queue, in order, and go again from its head.
type partition struct {
	topic    string
	id       int32
	sender   *sender // nil: no leader known
	queue    []*batch
	open     *batch // the last of the queue, or nil
	inFlight int
	via      *link // what the batches in flight went over

	rewinding bool
	retryAt   time.Time
	wait      backoff
	stale     bool  // its leader may have moved
	lastErr   error // why it is being retried

	identity     identity
	identified   bool
	wantIdentity bool  // take a new one once nothing is in flight
	renumber     bool  // number the queue anew once nothing is in flight
	established  bool  // a batch of this identity was acknowledged
	nextSequence int32 // of the next batch that has none
	ackSequence  int32 // the one after the last acknowledged batch
}

func (part *partition) name() string { return fmt.Sprintf("%s-%d", part.topic, part.id) }

// openFor returns the open batch if a record of that size fits in.
func (part *partition) openFor(size, batchBytes int) *batch {
	b := part.open
	if b == nil {
		return nil
	}
	if b.reserved+size > batchBytes {
		part.close(b)
		part.wakeSender()
		return nil
	}
	return b
}

// close lets no more records into a batch.
func (part *partition) close(b *batch) {
	b.closed = true
	if part.open == b {
		part.open = nil
	}
}

func (part *partition) wakeSender() {
	if part.sender != nil {
		part.sender.poke()
	}
}

// openLocked begins a batch.
func (p *Producer) openLocked(part *partition) *batch {
	var builder *record.Builder
	if n := len(p.builders); n > 0 {
		builder = p.builders[n-1]
		p.builders = p.builders[:n-1]
	} else {
		builder = new(record.Builder)
	}
	b := &batch{part: part, created: time.Now(), builder: builder}
	part.open = b
	part.queue = append(part.queue, b)
	if part.sender == nil {
		poke(p.wake)
	}
	return b
}

// chooseLocked finds the partition of a record.
func (p *Producer) chooseLocked(t *producerTopic, r *Record) (*partition, error) {
	n := int32(len(t.parts)) //nolint:gosec // as many as the broker said
	id := p.opts.Partitioner(r, n)
	if id == AnyPartition {
		part := t.parts[t.sticky]
		if part.open == nil || part.sender == nil {
			t.restick()
			part = t.parts[t.sticky]
		}
		return part, nil
	}
	if id < 0 || id >= n {
		return nil, &Error{
			Op:     "produce to " + t.name,
			Reason: fmt.Sprintf("topic %q has no partition %d: it has %d, from 0", t.name, id, n),
			Code:   protocol.UnknownTopicOrPartition,
			Err:    ErrUnknownTopic,
		}
	}
	return t.parts[id], nil
}

// restick chooses another partition for records that may go anywhere, one with
// a leader if there is any. One that has an open batch already is kept to.
func (t *producerTopic) restick() {
	led := make([]int32, 0, len(t.parts))
	for i, part := range t.parts {
		if part.sender != nil {
			if int32(i) == t.sticky && len(t.parts) > 1 { //nolint:gosec // an index
				continue
			}
			led = append(led, int32(i)) //nolint:gosec // an index
		}
	}
	if len(led) > 0 {
		t.sticky = led[rand.N(len(led))] //nolint:gosec // no secret
	}
}

// loadTopicLocked gets a topic's metadata, with the mutex released meanwhile.
func (p *Producer) loadTopicLocked(ctx context.Context, name string) error {
	p.mu.Unlock()
	topic, err := p.awaitTopic(ctx, name)
	p.mu.Lock()
	if err != nil {
		return err
	}
	if p.closed {
		return ErrClosed
	}
	if p.topics[name] == nil {
		t := &producerTopic{name: name}
		p.topics[name] = t
		p.updateTopicLocked(t, topic)
		t.sticky = rand.N(int32(len(t.parts))) //nolint:gosec // no secret
	}
	if !p.identified {
		poke(p.wake)
	}
	return nil
}

// awaitTopic asks until the topic is there. A broker that is to create it may
// deny it at first, and say that it has no leader later.
func (p *Producer) awaitTopic(ctx context.Context, name string) (*Topic, error) {
	create := !p.opts.NoTopicCreation
	if topic, err := p.client.topic(ctx, name, create); err == nil && len(topic.Partitions) > 0 {
		return topic, nil
	}
	wait := backoff{}
	deadline := time.Now().Add(createPatience)
	var last error
	for {
		topics, err := p.client.refresh(ctx, []string{name}, create)
		switch {
		case err != nil && ctx.Err() != nil && last != nil:
			return nil, last
		case err != nil:
			return nil, err
		case len(topics) == 1 && topics[0].Err == nil && len(topics[0].Partitions) > 0:
			return &topics[0], nil
		case len(topics) == 1 && topics[0].Err != nil:
			last = topics[0].Err
		}
		unknown := Code(last) == protocol.UnknownTopicOrPartition
		if last != nil && !Retriable(last) || unknown && (!create || time.Now().After(deadline)) {
			if unknown {
				return nil, p.client.unknownTopic(ctx, name)
			}
			return nil, last
		}
		if err := wait.sleep(ctx); err != nil {
			if last != nil {
				return nil, last
			}
			return nil, err
		}
	}
}

// createPatience is how long a topic that a broker was asked to create may be
// denied.
const createPatience = 3 * time.Second

// updateTopicLocked takes over what metadata says: partitions that were added,
// leaders that moved.
func (p *Producer) updateTopicLocked(t *producerTopic, topic *Topic) {
	for i := range topic.Partitions {
		m := &topic.Partitions[i]
		if int(m.ID) >= len(t.parts) {
			t.parts = append(t.parts, &partition{topic: t.name, id: int32(len(t.parts)), identity: noIdentity}) //nolint:gosec // an index
		}
		part := t.parts[m.ID]
		if m.Leader < 0 {
			if !errors.Is(part.lastErr, ErrNoLeader) {
				part.lastErr = m.noLeader(t.name, nil)
			}
			part.move(nil)
			continue
		}
		part.move(p.senderLocked(m.Leader))
	}
}

// move gives the partition to the sender of its leader, which is tried at once.
func (part *partition) move(s *sender) {
	if part.sender == s {
		return
	}
	if s != nil && part.sender != nil {
		part.retryAt = time.Time{}
	}
	if old := part.sender; old != nil {
		i := slices.Index(old.parts, part)
		old.parts = slices.Delete(old.parts, i, i+1)
	}
	part.sender = s
	if s != nil {
		s.parts = append(s.parts, part)
		s.poke()
	}
}
