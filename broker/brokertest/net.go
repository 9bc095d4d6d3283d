package brokertest

import (
	"context"
	"net"
	"sync"
	"time"
)

// network is a node's way to the others, which can be cut.
type network struct {
	mu    sync.Mutex
	cut   bool                  // mu guards
	conns map[net.Conn]struct{} // mu guards
}

func newNetwork() *network { return &network{conns: map[net.Conn]struct{}{}} }

// keep takes a connection, unless the network is cut.
func (n *network) keep(c net.Conn) bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.cut {
		return false
	}
	n.conns[c] = struct{}{}
	return true
}

func (n *network) set(cut bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.cut = cut
	if !cut {
		return
	}
	for c := range n.conns {
		_ = c.Close()
	}
	clear(n.conns)
}

func (n *network) dial(ctx context.Context, address string) (net.Conn, error) {
	c, err := (&net.Dialer{Timeout: time.Second}).DialContext(ctx, "tcp", address)
	if err != nil {
		return nil, err //nolint:wrapcheck // as the default one
	}
	if !n.keep(c) {
		_ = c.Close()
		return nil, net.ErrClosed
	}
	return c, nil
}

// cutListener accepts nobody while the network is cut.
type cutListener struct {
	net.Listener

	n *network
}

func (l cutListener) Accept() (net.Conn, error) {
	for {
		c, err := l.Listener.Accept()
		if err != nil {
			return nil, err //nolint:wrapcheck // as the listener's
		}
		if l.n.keep(c) {
			return c, nil
		}
		_ = c.Close()
	}
}
