package broker

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/stelemq/stele/broker/metadata"
	"github.com/stelemq/stele/broker/quota"
)

// TCP keep-alive finds peers that vanished without a word.
const (
	keepAliveIdle     = time.Minute
	keepAliveInterval = 10 * time.Second
	keepAliveCount    = 6
	acceptRetryMax    = time.Second
)

// listener is an open [Listener].
type listener struct {
	Listener

	net net.Listener
	// host and port are what is advertised.
	host string
	port int32
	// warned: it has been said that the advertised address leads clients astray.
	warned atomic.Bool
}

// server accepts connections and keeps count of them.
type server struct {
	delayed atomic.Int64 // connections that wait to be closed

	b         *Broker
	listeners []*listener
	wg        sync.WaitGroup

	mu       sync.Mutex
	conns    map[*conn]struct{} // mu guards
	perIP    map[netip.Addr]int // mu guards
	draining bool               // mu guards
	stop     context.CancelFunc // ends all connections
	ctx      context.Context    //nolint:containedctx // the server's life
}

func (b *Broker) listen(ctx context.Context) (*server, error) {
	s := &server{b: b, conns: map[*conn]struct{}{}, perIP: map[netip.Addr]int{}}
	s.ctx, s.stop = context.WithCancel(context.WithoutCancel(ctx))
	config := net.ListenConfig{KeepAliveConfig: net.KeepAliveConfig{
		Enable: true, Idle: keepAliveIdle, Interval: keepAliveInterval, Count: keepAliveCount,
	}}
	for _, l := range b.opts.Listeners {
		open, err := config.Listen(ctx, "tcp", l.Address)
		if err != nil {
			s.closeListeners()
			return nil, fmt.Errorf("listener %s: %w", l.Name, err)
		}
		s.listeners = append(s.listeners, advertise(l, open))
	}
	return s, nil
}

// advertise works out what clients are told about a listener.
func advertise(l Listener, open net.Listener) *listener {
	out := &listener{Listener: l, net: open}
	out.host, out.port = l.Advertises(open.Addr())
	return out
}

// Advertises is what clients are told of a listener that is open at an address: what it says itself, else where it is bound, and
// the name of the machine where it is bound to all addresses.
func (l Listener) Advertises(open net.Addr) (host string, port int32) {
	host, port = l.AdvertisedHost, l.AdvertisedPort
	at, number, err := net.SplitHostPort(open.String())
	if err != nil {
		return host, port
	}
	if port == 0 {
		if n, err := strconv.ParseInt(number, 10, 32); err == nil {
			port = int32(n)
		}
	}
	if host != "" {
		return host, port
	}
	host = at
	if bound, _, err := net.SplitHostPort(l.Address); err == nil && bound != "" {
		host = bound
	}
	if ip := net.ParseIP(host); ip != nil && ip.IsUnspecified() {
		if name, err := os.Hostname(); err == nil {
			host = name
		}
	}
	return host, port
}

func (s *server) endpoints() []metadata.Endpoint {
	out := make([]metadata.Endpoint, len(s.listeners))
	for i, l := range s.listeners {
		out[i] = metadata.Endpoint{Listener: l.Name, Host: l.host, Port: l.port}
	}
	return out
}

// serve accepts on all listeners until they are closed.
func (s *server) serve() {
	for _, l := range s.listeners {
		s.wg.Go(func() { s.accept(l) })
	}
}

func (s *server) accept(l *listener) {
	var retry time.Duration
	for {
		nc, err := l.net.Accept()
		switch {
		case err == nil:
			retry = 0
			s.admit(l, nc)
		case errors.Is(err, net.ErrClosed):
			return
		default: // out of file descriptors, for example: it passes
			retry = min(max(2*retry, 10*time.Millisecond), acceptRetryMax)
			s.b.log.Error("accept connection", "listener", l.Name, "error", err, "retry_in", retry)
			select {
			case <-time.After(retry):
			case <-s.ctx.Done():
				return
			}
		}
	}
}

// admit starts a connection, or closes it where there are too many.
func (s *server) admit(l *listener, nc net.Conn) {
	remote := remoteIP(nc)
	cfg := &s.b.opts.Config
	if wait := s.b.quotas.Connect(remote.String(), s.b.now()); wait > 0 {
		s.closeLater(l, nc, remote, wait)
		return
	}
	s.mu.Lock()
	if s.draining || len(s.conns) >= int(s.b.live.maxConnections.Load()) || s.perIP[remote] >= int(s.b.live.maxConnectionsPerIP.Load()) {
		full := !s.draining
		s.mu.Unlock()
		_ = nc.Close()
		if full {
			s.b.metrics.connectionRefused(l.Name)
			s.b.log.Debug("connection refused: too many", "listener", l.Name, "remote", remote)
		}
		return
	}
	ctx, cancel := context.WithCancelCause(s.ctx)
	c := &conn{
		b: s.b, nc: nc, listener: l, remote: remote, ctx: ctx, cancel: cancel,
		log:   s.b.log.With("remote", nc.RemoteAddr().String(), "listener", l.Name),
		slots: make(chan *slot, maxPipelined), queue: newBudget(int64(cfg.QueuedBytesPerConnection)),
		serialDone: make(chan struct{}, 1),
	}
	s.conns[c] = struct{}{}
	s.perIP[remote]++
	s.mu.Unlock()
	s.b.metrics.connectionOpened(l.Name)
	s.warnOfLoopback(l, remote)
	s.wg.Go(func() {
		c.serve()
		s.forget(c)
	})
}

// delayedMax bounds the connections that wait to be closed.
const delayedMax = 1000

// closeLater ends a connection of an address that makes too many (connection_creation_rate): not at once, or it would only
// come again the sooner (KIP-612).
func (s *server) closeLater(l *listener, nc net.Conn, remote netip.Addr, wait time.Duration) {
	s.b.metrics.connectionRefused(l.Name)
	s.b.metrics.throttled.WithLabelValues(throttleKind(quota.Connection)).Add(wait.Seconds())
	s.b.log.Debug("connection refused: the address makes too many", "listener", l.Name, "remote", remote, "closed_in", wait)
	if s.delayed.Add(1) > delayedMax {
		s.delayed.Add(-1)
		_ = nc.Close()
		return
	}
	s.wg.Go(func() {
		defer s.delayed.Add(-1)
		timer := time.NewTimer(wait)
		defer timer.Stop()
		select {
		case <-timer.C:
		case <-s.b.drained:
		case <-s.ctx.Done():
		}
		_ = nc.Close()
	})
}

// warnOfLoopback says once that clients on other machines are told to connect to themselves.
func (s *server) warnOfLoopback(l *listener, remote netip.Addr) {
	advertised, err := netip.ParseAddr(l.host)
	if loopback := l.host == "localhost" || err == nil && advertised.IsLoopback(); !loopback || remote.IsLoopback() {
		return
	}
	if l.warned.CompareAndSwap(false, true) {
		s.b.log.Warn("a client on another machine will be told to connect to this machine's loopback address; set advertised.listeners",
			"listener", l.Name, "client", remote, "advertised", net.JoinHostPort(l.host, strconv.Itoa(int(l.port))))
	}
}

func (s *server) forget(c *conn) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.conns, c)
	if s.perIP[c.remote]--; s.perIP[c.remote] == 0 {
		delete(s.perIP, c.remote)
	}
}

func remoteIP(nc net.Conn) netip.Addr {
	if a, ok := nc.RemoteAddr().(*net.TCPAddr); ok {
		return a.AddrPort().Addr().Unmap()
	}
	return netip.Addr{}
}

func (s *server) closeListeners() {
	for _, l := range s.listeners {
		if err := l.net.Close(); err != nil && !errors.Is(err, net.ErrClosed) {
			s.b.log.Debug("close listener", "listener", l.Name, "error", err)
		}
	}
}

// shutdown stops accepting, lets requests in progress be answered until timeout has passed, and waits
// for every goroutine.
func (s *server) shutdown(timeout time.Duration) {
	s.closeListeners()
	s.mu.Lock()
	s.draining = true
	for c := range s.conns {
		c.drain()
	}
	s.mu.Unlock()
	done := make(chan struct{})
	go func() { s.wg.Wait(); close(done) }()
	timer := time.NewTimer(timeout)
	defer timer.Stop()
	select {
	case <-done:
	case <-timer.C:
		s.mu.Lock()
		s.b.log.Warn("shutdown: requests are still in progress", "connections", len(s.conns), "waited", timeout)
		for c := range s.conns {
			c.cancel(errDraining)
			_ = c.nc.Close()
		}
		s.mu.Unlock()
		<-done
	}
	s.stop()
}
