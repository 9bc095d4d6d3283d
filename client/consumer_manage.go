package client

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/stelemq/stele/protocol"
)

// manage finds positions and leaders, when it is woken because some are
// missing, with growing waits until none is.
func (k *Consumer) manage(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-k.wake:
		}
		for wait := (backoff{}); !k.provide(ctx); {
			if wait.sleep(ctx) != nil {
				return
			}
		}
	}
}

// provide tells whether nothing is missing any more.
func (k *Consumer) provide(ctx context.Context) bool {
	done := true
	for _, topic := range k.missing() {
		if err := k.provideTopic(ctx, topic); err != nil {
			if ctx.Err() != nil {
				return false
			}
			k.client.opts.Logger.Debug("cannot read yet", "topic", topic, "error", err)
			if !Retriable(err) {
				k.mu.Lock()
				k.failLocked(err)
				k.mu.Unlock()
				return true
			}
			done = false
		}
	}
	return done
}

// missing names the topics with partitions that lack something.
func (k *Consumer) missing() []string {
	k.mu.Lock()
	defer k.mu.Unlock()
	var topics []string
	for _, part := range k.parts {
		if !part.done() && (!part.resolved || part.fetcher == nil || part.stale) && !slices.Contains(topics, part.Topic) {
			topics = append(topics, part.Topic)
		}
	}
	return topics
}

// provideTopic finds the leaders of a topic, and positions that are not known.
func (k *Consumer) provideTopic(ctx context.Context, name string) error {
	topics, err := k.client.refresh(ctx, []string{name}, false)
	if err != nil {
		return err
	}
	if len(topics) != 1 || topics[0].Err != nil {
		return k.denied(ctx, name, topics)
	}
	topic := &topics[0]
	starts, stops, err := k.unresolved(topic)
	if err != nil {
		return err
	}
	from, err := k.client.ResolveOffsets(ctx, name, starts)
	if err != nil {
		return err
	}
	to, err := k.client.ResolveOffsets(ctx, name, stops)
	if err != nil {
		return err
	}
	return k.place(topic, from, to)
}

// denied is the error for a topic that the broker does not describe. A broker
// that has just started may not know it yet.
func (k *Consumer) denied(ctx context.Context, name string, topics []Topic) error {
	err := doesNotExist(name, "")
	if len(topics) == 1 {
		err = topics[0].Err
	}
	if Code(err) != protocol.UnknownTopicOrPartition {
		return err
	}
	k.mu.Lock()
	now := time.Now()
	var since time.Time
	for _, part := range k.parts {
		if part.Topic == name {
			if part.missing.IsZero() {
				part.missing = now
			}
			since = part.missing
		}
	}
	k.mu.Unlock()
	if now.Sub(since) < createPatience {
		return err
	}
	err = k.client.unknownTopic(ctx, name)
	k.mu.Lock()
	k.failLocked(err)
	k.mu.Unlock()
	return nil
}

// unresolved returns the positions of a topic's partitions that are to be
// looked up.
func (k *Consumer) unresolved(topic *Topic) (starts, stops map[int32]Position, err error) {
	starts, stops = make(map[int32]Position), make(map[int32]Position)
	k.mu.Lock()
	defer k.mu.Unlock()
	for _, part := range k.parts {
		if part.Topic != topic.Name {
			continue
		}
		part.missing = time.Time{}
		if part.Partition < 0 || int(part.Partition) >= len(topic.Partitions) {
			return nil, nil, noSuchPartition(topic, map[int32]int64{part.Partition: 0})
		}
		if part.resolved {
			continue
		}
		starts[part.Partition] = part.From
		if part.To != nil && part.stop < 0 { // the stop stays when the start is looked up again
			stops[part.Partition] = *part.To
		}
	}
	return starts, stops, nil
}

// place gives the partitions of a topic to the fetchers of their leaders.
func (k *Consumer) place(topic *Topic, from, to map[int32]int64) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	var leaderless error
	for _, part := range k.parts {
		if part.Topic != topic.Name {
			continue
		}
		if offset, ok := from[part.Partition]; ok && !part.resolved {
			part.resolved, part.offset, part.position = true, offset, offset
			if stop, ok := to[part.Partition]; ok {
				part.stop = stop
			}
		}
		m := &topic.Partitions[part.Partition]
		if m.Leader < 0 {
			leaderless = m.noLeader(topic.Name, nil)
			k.moveLocked(part, nil)
			continue
		}
		part.stale = false
		k.moveLocked(part, k.fetcherLocked(m.Leader))
	}
	poke(k.avail) // perhaps there is nothing to be read at all
	if leaderless != nil {
		return fmt.Errorf("read: %w", leaderless)
	}
	return nil
}

func (k *Consumer) moveLocked(part *fetchPartition, f *fetcher) {
	if old := part.fetcher; old != nil && old != f {
		i := slices.Index(old.parts, part)
		old.parts = slices.Delete(old.parts, i, i+1)
		part.fetcher = nil
	}
	if f == nil {
		return
	}
	if part.fetcher == nil {
		part.fetcher = f
		f.parts = append(f.parts, part)
		part.retryAt = time.Time{}
	}
	f.poke()
}
