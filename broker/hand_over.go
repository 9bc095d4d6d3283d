package broker

import (
	"context"
	"sync"
	"time"

	"github.com/stelemq/stele/broker/metadata"
	"github.com/stelemq/stele/dledger"
)

const (
	// handOvers is how many leaderships are handed over at the same time.
	handOvers = 16
	// handOverPause is how long what could not be handed over rests.
	handOverPause = 20 * time.Millisecond
	// handOverStuck is after how long without any progress it is given up: nobody is there to take what is left.
	handOverStuck = time.Second
	// fenceTimeout bounds the wait for the others to know that this broker is going: where all stop at once
	// there may be no majority left to know.
	fenceTimeout = time.Second
)

// handOver gives this broker's leaderships away before it stops, so that clients go on elsewhere without an
// election: the controller is told, every partition is handed to a voter in sync, and the others learn that
// this broker is going. Bounded by ctx.
func (b *Broker) handOver(ctx context.Context) {
	if b.opts.Metadata.Image().LiveBrokers() < 2 {
		return
	}
	began := b.now()
	b.liveness.mu.Lock()
	b.liveness.shuttingDown = true
	b.liveness.mu.Unlock()
	told, cancel := context.WithTimeout(ctx, fenceTimeout)
	defer cancel()
	if err := b.sendHeartbeat(told); err != nil {
		b.log.Debug("tell the controller of the shutdown", "error", err)
	}
	left := b.handOverPartitions(ctx)
	b.fenceMyself(ctx)
	b.handOverMetadata(ctx)
	b.log.Info("leaderships handed over", "left", left, "took_ms", b.now().Sub(began).Milliseconds())
}

// handOverPartitions returns how many leaderships stay although others have replicas.
func (b *Broker) handOverPartitions(ctx context.Context) int {
	progress := time.Now()
	least := -1
	for {
		left := b.handOverOnce(ctx)
		if least < 0 || left < least {
			least, progress = left, time.Now()
		}
		if left == 0 || ctx.Err() != nil || time.Since(progress) > handOverStuck {
			return left
		}
		select {
		case <-ctx.Done():
			return left
		case <-time.After(handOverPause):
		}
	}
}

// handOverOnce tries each partition that is led here once, and returns how many there were.
func (b *Broker) handOverOnce(ctx context.Context) int {
	image := b.opts.Metadata.Image()
	var wg sync.WaitGroup
	slots := make(chan struct{}, handOvers)
	n := 0
	for _, p := range b.partitions.running() {
		log := p.open()
		if log == nil {
			continue
		}
		l := log.Leadership()
		if !l.IsLeader || len(l.Voters) < 2 {
			continue
		}
		n++
		to, ok := b.successor(image, p, log, l)
		if !ok {
			continue
		}
		slots <- struct{}{}
		wg.Go(func() {
			defer func() { <-slots }()
			ctx, cancel := context.WithTimeout(ctx, transferTimeout)
			defer cancel()
			if err := log.TransferLeadership(ctx, to); err != nil {
				b.log.Debug("hand over", "topic", p.spec.Topic, "partition", p.spec.Partition, "to", to, "error", err)
			}
		})
	}
	wg.Wait()
	return n
}

// successor is the node that takes a partition over: a live voter in sync, in the order of preference.
func (b *Broker) successor(image *metadata.Image, p *partition, log PartitionLog, l dledger.Leadership) (int32, bool) {
	wish, ok := wishOf(image, p)
	if !ok {
		return -1, false
	}
	live := make([]int32, 0, len(l.ISR))
	for _, node := range l.ISR {
		if br, ok := image.Broker(node); ok && !br.Fenced {
			live = append(live, node)
		}
	}
	return heir(wish, log.Status(), live)
}

// fenceMyself takes this broker out of the answers to Metadata. Its next registration undoes it.
func (b *Broker) fenceMyself(ctx context.Context) {
	br, ok := b.opts.Metadata.Image().Broker(b.opts.NodeID)
	if _, known := b.opts.Host.Controller(); !ok || !known || br.Incarnation != b.incarnation {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, fenceTimeout)
	defer cancel()
	fence := &metadata.FenceBrokers{Brokers: []metadata.BrokerEpoch{{Node: br.Node, Epoch: br.Epoch}}}
	if _, err := b.propose(ctx, fence); err != nil {
		b.log.Debug("fence", "error", err)
	}
}

// handOverMetadata gives the leadership of the metadata to another live voter.
func (b *Broker) handOverMetadata(ctx context.Context) {
	host := b.opts.Host
	members, ok := host.MetadataMembers()
	if !ok {
		return
	}
	image := b.opts.Metadata.Image()
	for _, node := range members.Voters {
		if br, ok := image.Broker(node); node == b.opts.NodeID || !ok || br.Fenced {
			continue
		}
		if !host.IsController() {
			return
		}
		if err := host.TransferMetadata(node); err != nil {
			b.log.Debug("hand over the metadata", "to", node, "error", err)
			continue
		}
		for end := time.Now().Add(time.Second); host.IsController() && time.Now().Before(end); {
			select {
			case <-ctx.Done():
				return
			case <-time.After(handOverPause):
			}
		}
	}
}
