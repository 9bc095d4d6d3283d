package transport

import (
	"context"
	"errors"
	"sync"
	"time"
)

// peer is everything that this node sends to another.
type peer struct {
	t       *Transport
	node    int32
	data    *lane
	control *lane
	calls   *caller
	bulk    *caller

	mu sync.Mutex
	// mu guards:
	errors int64
	last   error
}

func newPeer(t *Transport, node int32) *peer {
	p := &peer{t: t, node: node}
	p.data, p.control = newLane(p, laneData), newLane(p, laneControl)
	p.calls, p.bulk = newCaller(t, node, laneCalls), newCaller(t, node, laneBulk)
	return p
}

// failed notes why a connection broke or could not be made.
func (p *peer) failed(err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.errors++
	switch {
	case errors.Is(err, ErrForeign):
		p.t.refusals.log(p.t.config.Logger, "node refuses this one, or is not the one meant", "node", p.node, "error", err.Error())
	case p.last == nil || p.last.Error() != err.Error():
		p.t.config.Logger.Debug("peer", "node", p.node, "error", err)
	}
	p.last = err
}

func (p *peer) works() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.last = nil
}

// reset cuts what is open: the other side has moved, or does not answer any more. It is opened again at once.
func (p *peer) reset() {
	p.data.cut()
	p.control.cut()
	p.calls.cut()
	p.bulk.cut()
}

// heard is told that the other side has connected, as a start of it.
func (p *peer) heard(incarnation string) {
	p.data.heard(incarnation)
	p.control.heard(incarnation)
	p.calls.heard(incarnation)
	p.bulk.heard(incarnation)
}

func (p *peer) close() {
	p.data.close()
	p.control.close()
	p.calls.close()
	p.bulk.close()
}

// PeerState is how the connection to a node stands.
type PeerState struct {
	Node    int32
	Address string
	// Err is why the last attempt failed; nil while connected or never tried.
	Err error
	// Errors counts connections that broke or could not be made.
	Errors int64
}

// Peers returns the state of every node that this one has sent to.
func (t *Transport) Peers() []PeerState {
	t.mu.Lock()
	peers := t.peersLocked()
	t.mu.Unlock()
	out := make([]PeerState, 0, len(peers))
	for _, p := range peers {
		a, _ := t.Address(p.node)
		p.mu.Lock()
		out = append(out, PeerState{Node: p.node, Address: a, Err: p.last, Errors: p.errors})
		p.mu.Unlock()
	}
	return out
}

// pause waits for d, a poke or the end; it reports whether to go on.
func pause(ctx context.Context, d time.Duration, poke <-chan struct{}) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-poke:
	case <-timer.C:
	}
	return true
}

func poke(c chan<- struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}
