package broker

import (
	"context"
	"crypto/rand"
	"fmt"
	"iter"
	"sync"

	"github.com/stelemq/stele/broker/group"
	"github.com/stelemq/stele/broker/metadata"
	"github.com/stelemq/stele/protocol"
)

// Names of the topics that coordinators keep their state in.
const (
	offsetsTopic      = "__consumer_offsets"
	transactionsTopic = "__transaction_state"
)

// coordinators are the group coordinators of this node, one for each replica of __consumer_offsets.
type coordinators struct {
	b      *Broker
	ctx    context.Context //nolint:containedctx // ended by close
	cancel context.CancelFunc
	wg     sync.WaitGroup

	mu  sync.RWMutex
	all map[*partition]*coordinator // mu guards
}

func newCoordinators(b *Broker) *coordinators {
	c := &coordinators{b: b, all: map[*partition]*coordinator{}}
	c.ctx, c.cancel = context.WithCancel(context.Background())
	return c
}

// opened starts the coordinator of a replica, if it is one of __consumer_offsets.
func (cs *coordinators) opened(p *partition, log PartitionLog) {
	if p.spec.Topic != offsetsTopic || cs.ctx.Err() != nil {
		return
	}
	ctx, stop := context.WithCancel(cs.ctx)
	k := &coordinator{
		b: cs.b, p: p, log: log, slog: cs.b.log.With("topic", p.spec.Topic, "partition", p.index),
		wake: make(chan struct{}, 1), stop: stop, done: make(chan struct{}),
	}
	cs.mu.Lock()
	cs.all[p] = k
	cs.mu.Unlock()
	cs.wg.Go(func() { k.run(ctx) })
}

// closing ends the coordinator of a replica before its log is closed.
func (cs *coordinators) closing(p *partition) {
	cs.mu.Lock()
	k := cs.all[p]
	delete(cs.all, p)
	cs.mu.Unlock()
	if k != nil {
		k.stop()
		<-k.done
	}
}

// topicDeleted has what is committed for a topic be dropped.
func (cs *coordinators) topicDeleted(name string) {
	for _, k := range cs.here() {
		k.change(func(c *group.Coordinator) { c.TopicsDeleted(func(topic string) bool { return topic == name }) })
	}
}

// close ends all.
func (cs *coordinators) close() {
	cs.cancel()
	cs.wg.Wait()
}

// here returns all coordinators of this node.
func (cs *coordinators) here() []*coordinator {
	cs.mu.RLock()
	defer cs.mu.RUnlock()
	out := make([]*coordinator, 0, len(cs.all))
	for _, k := range cs.all {
		out = append(out, k)
	}
	return out
}

// of returns this node's coordinator of a group, or why there is none.
func (cs *coordinators) of(id string) (*coordinator, protocol.Code) {
	t, ok := cs.b.opts.Metadata.Image().Topic(offsetsTopic)
	if !ok {
		return nil, protocol.NotCoordinator
	}
	p := cs.b.partitions.find(t.ID, group.PartitionOf(id, len(t.Partitions)))
	if p == nil {
		return nil, protocol.NotCoordinator
	}
	cs.mu.RLock()
	defer cs.mu.RUnlock()
	if k := cs.all[p]; k != nil {
		return k, protocol.None
	}
	return nil, protocol.NotCoordinator
}

// groupConfig is what coordinators go by.
func (b *Broker) groupConfig() group.Config {
	c := b.opts.Config.Groups
	c.NewID, c.Topics = newMemberID, imageTopics{b}
	c.Events = b.metrics.groups
	c.Consumer.OfGroup = b.groupTimes
	return c
}

// newMemberID is the random part of a member id: a UUID in the usual notation.
func newMemberID() string {
	var id [16]byte
	if _, err := rand.Read(id[:]); err != nil {
		panic(fmt.Errorf("broker: no randomness: %w", err))
	}
	id[6] = id[6]&0x0f | 0x40
	id[8] = id[8]&0x3f | 0x80
	return fmt.Sprintf("%x-%x-%x-%x-%x", id[:4], id[4:6], id[6:8], id[8:10], id[10:])
}

// imageTopics shows groups the topics of the newest metadata.
type imageTopics struct{ b *Broker }

func groupTopic(image *metadata.Image, t *metadata.Topic) group.Topic {
	return group.Topic{Name: t.Name, ID: t.ID, Partitions: len(t.Partitions), Racks: func(partition int) []string {
		if partition < 0 || partition >= len(t.Partitions) {
			return nil
		}
		var racks []string
		for _, node := range t.Partitions[partition].Nodes() {
			if br, ok := image.Broker(node); ok && br.Rack != "" {
				racks = append(racks, br.Rack)
			}
		}
		return racks
	}}
}

// Topic implements group.Topics.
func (v imageTopics) Topic(name string) (group.Topic, bool) {
	image := v.b.opts.Metadata.Image()
	t, ok := image.Topic(name)
	if !ok {
		return group.Topic{}, false
	}
	return groupTopic(image, t), true
}

// TopicByID implements group.Topics.
func (v imageTopics) TopicByID(id group.TopicID) (group.Topic, bool) {
	image := v.b.opts.Metadata.Image()
	t, ok := image.TopicByID(id)
	if !ok {
		return group.Topic{}, false
	}
	return groupTopic(image, t), true
}

// All implements group.Topics.
func (v imageTopics) All() iter.Seq[group.Topic] {
	image := v.b.opts.Metadata.Image()
	return func(yield func(group.Topic) bool) {
		for t := range image.Topics() {
			if !yield(groupTopic(image, t)) {
				return
			}
		}
	}
}

// Version implements group.Topics.
func (v imageTopics) Version() uint64 { return v.b.opts.Metadata.Image().Index() }
