package transport

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync/atomic"
	"time"
)

// link is one connection, accepted or dialed.
type link struct {
	net.Conn
	// gone: it was cut from this side; nothing that still comes from it counts.
	gone atomic.Bool
	// done is closed when an accepted link is not served any more.
	done chan struct{}

	// Of an accepted link. Set once, under Transport.mu:
	number   uint64
	greeting *greeting

	// Of a dialed link:
	node        int32  // -1: whoever answers
	incarnation string // of the other side
}

// cut ends the connection at once, whatever blocks on it. It may be called more than once.
func (l *link) cut() {
	l.gone.Store(true)
	hangUp(l.Conn)
}

// hangUp closes a connection without the farewell of TLS, which a full window would delay.
func hangUp(c net.Conn) {
	if wrapped, ok := c.(interface{ NetConn() net.Conn }); ok {
		_ = wrapped.NetConn().Close()
	}
	_ = c.Close()
}

func tune(c net.Conn) {
	if wrapped, ok := c.(interface{ NetConn() net.Conn }); ok {
		c = wrapped.NetConn()
	}
	tc, ok := c.(*net.TCPConn)
	if !ok {
		return
	}
	_ = tc.SetNoDelay(true)
	_ = tc.SetWriteBuffer(socketBuffers)
	_ = tc.SetReadBuffer(socketBuffers)
	_ = tc.SetKeepAliveConfig(net.KeepAliveConfig{Enable: true, Idle: keepAlive, Interval: keepAlive, Count: 3})
	setUserTimeout(tc)
}

// dialNode opens a connection for a lane to a node, wherever it is by now.
func (t *Transport) dialNode(ctx context.Context, node int32, lane laneKind) (*link, error) {
	for {
		address, ok := t.Address(node)
		if !ok {
			return nil, fmt.Errorf("%w: node %d", ErrNoAddress, node)
		}
		l, err := t.dial(ctx, node, address, lane)
		if !errors.Is(err, errMoved) {
			return l, err
		}
	}
}

// dial opens a connection for a lane. node is -1 where it is not known who answers there. The link is to be released.
func (t *Transport) dial(ctx context.Context, node int32, address string, lane laneKind) (*link, error) {
	ctx, cancel := context.WithTimeout(ctx, dialTimeout)
	defer cancel()
	defer context.AfterFunc(t.ctx, cancel)()
	if t.ctx.Err() != nil {
		return nil, ErrClosed
	}
	c, err := t.config.Dial(ctx, address)
	if err != nil {
		return nil, fmt.Errorf("dial %s: %w", address, err)
	}
	tune(c)
	deadline, _ := ctx.Deadline()
	_ = c.SetDeadline(deadline)
	stop := context.AfterFunc(ctx, func() { hangUp(c) })
	as := t.who.Load()
	w, err := t.greet(c, as, node, lane)
	if !stop() && err == nil {
		err = context.Cause(ctx)
	}
	if err == nil {
		_ = c.SetDeadline(time.Time{})
		l := &link{Conn: c, node: node, incarnation: w.Incarnation}
		if err = t.keep(l, as, address, w); err == nil {
			return l, nil
		}
	}
	hangUp(c)
	return nil, fmt.Errorf("%s: %w", address, err)
}

// keep registers a link that was dialed, unless what it was dialed by does not hold any more. Errors: ErrClosed, errMoved,
// ErrForeign.
func (t *Transport) keep(l *link, as *identity, address string, w *welcome) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	switch {
	case t.closed:
		return ErrClosed
	case l.node >= 0 && (*t.who.Load() != *as || t.addresses[l.node] != address):
		return errMoved
	}
	if as.cluster != "" && w.Cluster == as.cluster && w.Node >= 0 {
		if r := t.seenLocked(w.Node, w.Incarnation); r != nil {
			return r
		}
	}
	t.dialed[l] = struct{}{}
	return nil
}

// release cuts a dialed link and forgets it.
func (t *Transport) release(l *link) {
	l.cut()
	t.mu.Lock()
	defer t.mu.Unlock()
	delete(t.dialed, l)
}

// starts are a node's last two starts, by incarnation.
type starts struct{ newest, former string }

const seenMax = 4096

// seenLocked notes which start of a node speaks. One that was followed by another is over: who still speaks for it is a
// second process of the same node, and is refused.
func (t *Transport) seenLocked(node int32, incarnation string) *refusal {
	s := t.seen[node]
	switch {
	case s == nil && len(t.seen) < seenMax:
		t.seen[node] = &starts{newest: incarnation}
	case s == nil || s.newest == incarnation:
	case s.former == incarnation:
		return refuse(ErrForeign, "another process has started as node %d since; each node needs an id and a directory of its own", node)
	default:
		s.former, s.newest = s.newest, incarnation
	}
	return nil
}
