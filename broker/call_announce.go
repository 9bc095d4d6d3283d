package broker

import (
	"context"
	"sync"
	"time"

	"github.com/stelemq/stele/broker/metadata"
	"github.com/stelemq/stele/dledger"
	"github.com/stelemq/stele/protocol/record"
)

// Call "announce": a broker tells another which partitions it leads, or leads no more (announcement). The
// answer (announceAnswer) may ask for everything.
const callAnnounce = "announce"

const (
	// announceInterval is how often everything is announced.
	announceInterval = 3 * time.Second
	// announceBatch is how long changes collect.
	announceBatch = 2 * time.Millisecond
	// announceTimeout bounds one call; announceRetry is the first pause after one that failed.
	announceTimeout = 2 * time.Second
	announceRetry   = 50 * time.Millisecond
)

type announceAnswer struct {
	// Again: the receiver has missed something.
	Again bool `json:"again,omitempty"`
}

// announcer tells the other brokers what this one leads.
type announcer struct {
	b *Broker

	mu    sync.Mutex
	dirty map[dledger.ShardID]struct{} // mu guards: to be looked at
	peers map[int32]*announcePeer      // mu guards
	// led is the newest epoch in which this node has led a partition. mu guards.
	led  map[dledger.ShardID]record.LeaderEpoch
	wake chan struct{}
}

// announcePeer is a broker to tell.
type announcePeer struct {
	a        *announcer
	node     int32
	epoch    uint64 // of its registration
	wake     chan struct{}
	stop     context.CancelFunc
	sequence uint64 // only its goroutine's

	mu    sync.Mutex
	full  bool                         // mu guards
	dirty map[dledger.ShardID]struct{} // mu guards
}

func newAnnouncer(b *Broker) *announcer {
	return &announcer{
		b: b, dirty: map[dledger.ShardID]struct{}{}, peers: map[int32]*announcePeer{},
		led: map[dledger.ShardID]record.LeaderEpoch{}, wake: make(chan struct{}, 1),
	}
}

// note remembers that a partition's leadership may have changed. It does not block.
func (a *announcer) note(s dledger.ShardID) {
	a.mu.Lock()
	a.dirty[s] = struct{}{}
	a.mu.Unlock()
	signal(a.wake)
}

// run passes changes on until ctx ends.
func (a *announcer) run(ctx context.Context) {
	var wg sync.WaitGroup
	defer wg.Wait()
	prune := time.NewTicker(10 * announceInterval)
	defer prune.Stop()
	changed := make(chan struct{}, 1)
	defer a.b.opts.Metadata.Watch(func(metadata.Change) { signal(changed) })()
	for {
		select {
		case <-ctx.Done():
			return
		case <-changed:
			a.follow(ctx, &wg)
		case <-prune.C:
			a.b.leaders.prune(a.b.opts.Metadata.Image())
		case <-a.wake:
			a.spread()
			a.b.partitions.broadcast()
			a.b.replicas.poke()
			a.b.pokeController()
		}
	}
}

// follow starts to tell brokers that are new, and has those told everything that have registered anew.
func (a *announcer) follow(ctx context.Context, wg *sync.WaitGroup) {
	if a.b.opts.Transport == nil {
		return
	}
	image := a.b.opts.Metadata.Image()
	a.mu.Lock()
	defer a.mu.Unlock()
	for node, p := range a.peers {
		if _, ok := image.Broker(node); !ok {
			p.stop()
			delete(a.peers, node)
		}
	}
	for _, br := range image.Brokers() {
		if br.Node == a.b.opts.NodeID || !br.Registered() {
			continue
		}
		p := a.peers[br.Node]
		if p == nil {
			p = &announcePeer{a: a, node: br.Node, wake: make(chan struct{}, 1), dirty: map[dledger.ShardID]struct{}{}}
			var own context.Context
			own, p.stop = context.WithCancel(ctx)
			a.peers[br.Node] = p
			wg.Go(func() { p.run(own) })
		}
		if p.epoch != br.Epoch {
			p.epoch = br.Epoch
			p.everything()
		}
	}
}

// spread hands what has changed to the goroutines of the peers.
func (a *announcer) spread() {
	a.mu.Lock()
	defer a.mu.Unlock()
	dirty := a.dirty
	a.dirty = map[dledger.ShardID]struct{}{}
	for s := range dirty {
		p := a.b.partitions.shard(s)
		if p == nil {
			if _, led := a.led[s]; !led {
				delete(dirty, s)
			}
			continue
		}
		if l := p.leadership(); l.IsLeader {
			a.led[s] = l.Epoch
		} else if _, led := a.led[s]; !led {
			delete(dirty, s)
		}
	}
	if len(dirty) == 0 {
		return
	}
	for _, p := range a.peers {
		p.add(dirty)
	}
	for s := range dirty {
		if a.b.partitions.shard(s) == nil {
			delete(a.led, s)
		}
	}
}

// everything has a peer told everything that this node leads.
func (p *announcePeer) everything() {
	p.mu.Lock()
	p.full = true
	p.mu.Unlock()
	signal(p.wake)
}

func (p *announcePeer) add(shards map[dledger.ShardID]struct{}) {
	p.mu.Lock()
	for s := range shards {
		p.dirty[s] = struct{}{}
	}
	p.mu.Unlock()
	signal(p.wake)
}

func (p *announcePeer) run(ctx context.Context) {
	timer := time.NewTimer(announceInterval)
	defer timer.Stop()
	retry := announceRetry
	for {
		select {
		case <-ctx.Done():
			return
		case <-timer.C:
			p.everything()
		case <-p.wake:
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(announceBatch):
		}
		next := announceInterval
		if err := p.tell(ctx); err != nil {
			next = retry
			retry = min(2*retry, announceInterval)
			if ctx.Err() == nil {
				p.a.b.log.Debug("announce leaderships", "to", p.node, "error", err)
			}
		} else {
			retry = announceRetry
		}
		timer.Reset(next)
	}
}

// tell sends what is to be told. What may not have arrived is told again, with everything else.
func (p *announcePeer) tell(ctx context.Context) error {
	p.mu.Lock()
	full, dirty := p.full, p.dirty
	p.full, p.dirty = false, map[dledger.ShardID]struct{}{}
	p.mu.Unlock()
	if !full && len(dirty) == 0 {
		return nil
	}
	p.sequence++
	m := announcement{Incarnation: p.a.b.incarnation, Sequence: p.sequence, Full: full, Partitions: p.a.collect(full, dirty)}
	ctx, cancel := context.WithTimeout(ctx, announceTimeout)
	defer cancel()
	answer, err := callNode[announcement, announceAnswer](ctx, p.a.b.opts.Transport, p.node, callAnnounce, &m)
	if err != nil {
		p.mu.Lock()
		p.full = true
		p.mu.Unlock()
		return err
	}
	if answer.Again {
		p.everything()
	}
	return nil
}

// collect says how the partitions stand at this moment.
func (a *announcer) collect(full bool, dirty map[dledger.ShardID]struct{}) []announced {
	out := []announced{}
	if full {
		for _, p := range a.b.partitions.running() {
			if s, ok := p.announce(); ok {
				out = append(out, s)
			}
		}
		return out
	}
	for s := range dirty {
		if p := a.b.partitions.shard(s); p != nil {
			if said, ok := p.announce(); ok {
				out = append(out, said)
				continue
			}
		}
		a.mu.Lock()
		epoch, led := a.led[s]
		a.mu.Unlock()
		if led {
			out = append(out, announced{Shard: metadata.ShardID(s), Leader: -1, Epoch: epoch})
		}
	}
	return out
}

// announce is what to say of a partition that this node leads.
func (p *partition) announce() (announced, bool) {
	log := p.open()
	if log == nil {
		return announced{}, false
	}
	l := log.Leadership()
	if !l.IsLeader {
		return announced{}, false
	}
	a := announced{Shard: metadata.ShardID(p.spec.Shard), Leader: l.Leader, Epoch: l.Epoch, ISR: l.ISR}
	a.Voters, a.Learners = membersOf(log)
	return a, true
}

// hearAnnouncement answers a call of another broker.
func (b *Broker) hearAnnouncement(_ context.Context, from int32, m *announcement) (announceAnswer, error) {
	changed, again, cameUp := b.leaders.take(from, m)
	if cameUp {
		b.announcer.mu.Lock()
		p := b.announcer.peers[from]
		b.announcer.mu.Unlock()
		if p != nil {
			p.everything()
		}
	}
	if changed {
		b.partitions.broadcast()
		b.pokeController()
	}
	return announceAnswer{Again: again}, nil
}
