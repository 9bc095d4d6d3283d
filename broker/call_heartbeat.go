package broker

import (
	"context"
	"maps"
	"sync"
	"time"
)

// Call "heartbeat": a broker tells the controller that it lives (heartbeat). The answer says whether the
// controller knows this start of it (heartbeatAnswer).
const callHeartbeat = "heartbeat"

type heartbeat struct {
	Incarnation string `json:"incarnation"`
	// ShuttingDown: it wants no new leaderships.
	ShuttingDown bool `json:"shutting_down,omitempty"`
	// Applied is the index of the last metadata command that the broker has applied.
	Applied uint64 `json:"metadata_index,omitempty"`
}

type heartbeatAnswer struct {
	// Known: it is registered.
	Known bool `json:"known"`
	// Fenced: the controller counts it as dead until it says otherwise. The answer is no lease then: a new
	// generation of what it leads may be on its way.
	Fenced bool `json:"fenced,omitempty"`
}

// lease reports whether the answer lets the broker acknowledge on as a leader that may be replaced uncleanly.
func (a heartbeatAnswer) lease() bool { return a.Known && !a.Fenced }

// unknownTolerated is how many answers in a row may say that the broker is not registered before it registers
// anew: a controller that has just been elected applies what it has not yet.
const unknownTolerated = 3

// heardNode is what the controller has heard of a broker.
type heardNode struct {
	// At is when its last heartbeat came.
	At           time.Time
	Incarnation  string
	ShuttingDown bool
	// Applied is the index of the last metadata command that it has applied, Index what the controller had applied at At.
	Applied, Index uint64
	// CaughtUp is when it was last known to have applied everything of that moment.
	CaughtUp time.Time
}

// next is what is known of a broker after one more heartbeat, to a controller that has applied index.
func (n heardNode) next(q *heartbeat, now time.Time, index uint64) heardNode {
	next := heardNode{At: now, Incarnation: q.Incarnation, ShuttingDown: q.ShuttingDown, Applied: q.Applied, Index: index, CaughtUp: n.CaughtUp}
	switch {
	case q.Applied >= index:
		next.CaughtUp = now
	case !n.At.IsZero() && q.Applied >= n.Index:
		next.CaughtUp = n.At
	}
	return next
}

// liveness is who has been heard by this broker as the controller.
type liveness struct {
	now func() time.Time

	mu    sync.Mutex
	nodes map[int32]heardNode // mu guards
	// lost is how many times a controller's idea of this broker was that it is unknown, in a row.
	lost int
	// shuttingDown is this broker's own state. mu guards.
	shuttingDown bool
}

func newLiveness(now func() time.Time) *liveness {
	return &liveness{now: now, nodes: map[int32]heardNode{}}
}

// heard returns all brokers that were heard since this one began to be asked.
func (l *liveness) heard() map[int32]heardNode {
	l.mu.Lock()
	defer l.mu.Unlock()
	return maps.Clone(l.nodes)
}

// unknown counts answers of a controller that does not know this broker, and reports that they are too many. The beginning
// of a shutdown may send a heartbeat beside the regular ones.
func (l *liveness) unknown(known bool) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if known {
		l.lost = 0
		return false
	}
	if l.lost++; l.lost < unknownTolerated {
		return false
	}
	l.lost = 0
	return true
}

// hearHeartbeat answers a broker's heartbeat.
func (b *Broker) hearHeartbeat(_ context.Context, from int32, q *heartbeat) (heartbeatAnswer, error) {
	if !b.opts.Host.IsController() {
		return heartbeatAnswer{}, errNotController
	}
	b.liveness.mu.Lock()
	before := b.liveness.nodes[from]
	b.liveness.nodes[from] = before.next(q, b.liveness.now(), b.opts.Metadata.Image().Index())
	b.liveness.mu.Unlock()
	if before.Incarnation != q.Incarnation || before.ShuttingDown != q.ShuttingDown {
		b.pokeController()
	}
	br, ok := b.opts.Metadata.Image().Broker(from)
	return heartbeatAnswer{Known: ok && br.Incarnation == q.Incarnation, Fenced: ok && br.Fenced}, nil
}

// sendHeartbeats tells the controller that this broker lives, until ctx ends.
func (b *Broker) sendHeartbeats(ctx context.Context) {
	tick := time.NewTicker(b.opts.Config.HeartbeatInterval)
	defer tick.Stop()
	for {
		if err := b.sendHeartbeat(ctx); err != nil && ctx.Err() == nil {
			b.log.Debug("heartbeat", "error", err)
		}
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

func (b *Broker) sendHeartbeat(ctx context.Context) error {
	node, ok := b.opts.Host.Controller()
	if !ok {
		return nil // there will be one
	}
	b.liveness.mu.Lock()
	q := heartbeat{Incarnation: b.incarnation, ShuttingDown: b.liveness.shuttingDown, Applied: b.opts.Metadata.Image().Index()}
	b.liveness.mu.Unlock()
	ctx, cancel := context.WithTimeout(ctx, max(b.opts.Config.SessionTimeout/4, b.opts.Config.HeartbeatInterval))
	defer cancel()
	sent := time.Now()
	var a heartbeatAnswer
	var err error
	switch {
	case node == b.opts.NodeID:
		a, err = b.hearHeartbeat(ctx, node, &q)
	case b.opts.Transport != nil:
		a, err = callNode[heartbeat, heartbeatAnswer](ctx, b.opts.Transport, node, callHeartbeat, &q)
	}
	if err != nil {
		return err
	}
	if a.lease() {
		b.opts.Host.HeardController(sent)
	}
	if !b.liveness.unknown(a.Known) {
		return nil
	}
	select {
	case <-b.ready: // otherwise the first registration is under way
		signal(b.reregister)
	default:
	}
	return nil
}
