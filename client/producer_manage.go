package client

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/segmentio/kafka-go/protocol/initproducerid"
)

// manage gets what senders need and do not have: producer ids, and leaders of
// partitions. It is woken when something is missing and goes on, with growing
// waits, until nothing is.
func (p *Producer) manage(ctx context.Context) {
	aging := time.NewTicker(p.client.opts.MetadataMaxAge)
	defer aging.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-p.wake:
		case <-aging.C:
			p.staleAll()
		}
		for wait := (backoff{}); !p.provide(ctx); {
			if wait.sleep(ctx) != nil {
				return
			}
		}
	}
}

// staleAll has the metadata of all topics asked for again, for partitions that
// were added.
func (p *Producer) staleAll() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, t := range p.topics {
		t.stale = true
	}
}

// provide tells whether nothing is missing any more.
func (p *Producer) provide(ctx context.Context) bool {
	identified := p.provideIdentity(ctx) && p.provideNewIdentities(ctx)
	// Without an identity nothing is sent, but why that is the leaders may tell.
	return p.provideLeaders(ctx, !identified) && identified
}

// provideIdentity gets the Producer's id.
func (p *Producer) provideIdentity(ctx context.Context) bool {
	p.mu.Lock()
	needed := !p.identified && len(p.topics) > 0
	p.mu.Unlock()
	if !needed {
		return true
	}
	id, err := p.newIdentity(ctx)
	if err != nil {
		return p.noIdentity(err)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.identity, p.identified = id, true
	p.wakeSendersLocked()
	return true
}

// noIdentity records why there is no producer id, and gives everything up if
// there will not be one.
func (p *Producer) noIdentity(err error) bool {
	if Retriable(err) {
		p.mu.Lock()
		defer p.mu.Unlock()
		for _, t := range p.topics {
			for _, part := range t.parts {
				if !errors.Is(part.lastErr, ErrNoLeader) { // which says more
					part.lastErr = err
				}
			}
		}
		return false
	}
	p.giveUp(func(*batch) bool { return true }, func(*batch) error { return err })
	return true
}

// provideNewIdentities gets ids for partitions that must begin anew.
func (p *Producer) provideNewIdentities(ctx context.Context) bool {
	for {
		part := p.wantsIdentity()
		if part == nil {
			return true
		}
		id, err := p.newIdentity(ctx)
		if err != nil {
			return p.noIdentity(err)
		}
		p.mu.Lock()
		part.identity, part.identified = id, true
		part.wantIdentity = false
		part.ackSequence, part.established = 0, false
		part.renumberLocked()
		part.wakeSender()
		p.mu.Unlock()
		p.client.opts.Logger.Info("partition has a new producer id", "topic", part.topic, "partition", part.id, "producer_id", id.id)
	}
}

func (p *Producer) wantsIdentity() *partition {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, t := range p.topics {
		for _, part := range t.parts {
			if part.wantIdentity && part.inFlight == 0 {
				return part
			}
		}
	}
	return nil
}

// renumberLocked gives up the sequences of batches that are to be sent. Nothing
// may be in flight.
func (part *partition) renumberLocked() {
	part.renumber = false
	part.nextSequence = part.ackSequence
	for _, b := range part.queue {
		b.sequenced = false
	}
}

// identityTimeout bounds one attempt to get a producer id: it takes a majority of the cluster's metadata.
const identityTimeout = 2 * time.Second

func (p *Producer) newIdentity(ctx context.Context) (identity, error) {
	ctx, cancel := context.WithTimeout(ctx, identityTimeout)
	defer cancel()
	req := &initproducerid.Request{TransactionTimeoutMs: int32(time.Minute.Milliseconds()), ProducerID: -1, ProducerEpoch: -1}
	msg, err := p.client.askAside(ctx, req)
	if ctx.Err() != nil && err != nil {
		return noIdentity, &Error{Op: "get a producer id", Reason: fmt.Sprintf("no answer within %v", identityTimeout), Err: ErrTimeout}
	}
	if err != nil {
		return noIdentity, err
	}
	res := msg.(*initproducerid.Response) //nolint:errcheck,forcetypeassert // decoded as such
	if err := codeError("get a producer id", res.ErrorCode, ""); err != nil {
		return noIdentity, err
	}
	return identity{res.ProducerID, res.ProducerEpoch}, nil
}

// provideLeaders asks for the metadata of topics with partitions that need a
// leader, or that another leader may have; all: of all topics.
func (p *Producer) provideLeaders(ctx context.Context, all bool) bool {
	p.mu.Lock()
	var names []string
	for name, t := range p.topics {
		if all || t.needsMetadata() {
			names = append(names, name)
		}
	}
	p.mu.Unlock()
	if len(names) == 0 {
		return true
	}
	topics, err := p.client.refresh(ctx, names, false)
	p.mu.Lock()
	defer p.mu.Unlock()
	if err != nil {
		for _, name := range names {
			for _, part := range p.topics[name].parts {
				if part.stale || part.sender == nil {
					part.lastErr = err
				}
			}
		}
		return false
	}
	done := true
	for i := range topics {
		t := p.topics[topics[i].Name]
		if t == nil {
			continue
		}
		t.stale = false
		for _, part := range t.parts {
			part.stale = false
			if topics[i].Err != nil {
				part.lastErr = topics[i].Err
			}
		}
		if topics[i].Err == nil {
			p.updateTopicLocked(t, &topics[i])
		} else {
			t.stale, done = true, false
		}
		done = done && !t.needsMetadata()
	}
	p.explainLocked(ctx, topics)
	return done
}

// explainPatience is how long a partition is tried, in terms of its wait, before somebody looks which of its replicas can be
// reached at all.
const explainPatience = 4 * firstBackoff

// explainLocked finds out whether partitions that get nowhere have lost their majority: then that is why. The mutex is
// released meanwhile.
func (p *Producer) explainLocked(ctx context.Context, topics []Topic) {
	type stuck struct {
		part *partition
		meta *Partition
	}
	var all []stuck
	var nodes []int32
	for i := range topics {
		t := p.topics[topics[i].Name]
		if t == nil || topics[i].Err != nil {
			continue
		}
		for k := range topics[i].Partitions {
			m := &topics[i].Partitions[k]
			part := t.parts[m.ID]
			waits := m.Leader < 0 || !p.identified || part.wait.next >= explainPatience && errors.Is(part.lastErr, ErrUnreachable)
			if waits && len(part.queue) > 0 {
				all = append(all, stuck{part, m})
				nodes = append(nodes, m.Replicas...)
			}
		}
	}
	if len(all) == 0 {
		return
	}
	p.mu.Unlock()
	reached := p.client.reached(ctx, nodes)
	p.mu.Lock()
	for _, s := range all {
		n := 0
		for _, r := range s.meta.Replicas {
			if reached[r] {
				n++
			}
		}
		if s.meta.Leader < 0 || n < len(s.meta.Replicas)/2+1 {
			s.part.lastErr = s.meta.noLeader(s.part.topic, reached)
		}
	}
}

// needsMetadata tells whether records of the topic wait for news.
func (t *producerTopic) needsMetadata() bool {
	if t.stale {
		return true
	}
	for _, part := range t.parts {
		if len(part.queue) > 0 && (part.sender == nil || part.stale) {
			return true
		}
	}
	return false
}
