package transport

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"sync"
	"sync/atomic"
	"time"
)

// Errors of this package.
var (
	// ErrClosed: the transport has been closed.
	ErrClosed = errors.New("transport: closed")
	// ErrNoAddress: nobody has said where the node is.
	ErrNoAddress = errors.New("transport: no address of the node is known")
	// ErrForeign: the other side belongs to another cluster, or is not the node that was meant.
	ErrForeign = errors.New("transport: foreign node")
	// ErrStarting: the other side does not take Raft's messages yet.
	ErrStarting = errors.New("transport: node is starting")
	// ErrProtocol: what came is not what this program speaks.
	ErrProtocol = errors.New("transport: not a Raft address of this program")
)

// errMoved: address or identity changed while a connection was made; another attempt uses the new one.
var errMoved = errors.New("transport: address or identity has changed")

// Config of a Transport.
type Config struct {
	// NodeID of this node; -1 while it is not known (see SetNodeID).
	NodeID int32
	// Listener accepts the others; nil: nobody can reach this node. Owned by the transport. For TLS, a TLS listener.
	Listener net.Listener
	// Dial opens a connection to another node; nil: TCP. For TLS, a TLS dialer.
	Dial func(ctx context.Context, address string) (net.Conn, error)
	// Logger must not be nil.
	Logger *slog.Logger
}

// Transport connects this node to the others. All methods are safe for concurrent use.
type Transport struct {
	config      Config
	incarnation string

	ctx    context.Context //nolint:containedctx // the transport's lifetime, ended by Close
	cancel context.CancelFunc
	tasks  sync.WaitGroup
	done   chan struct{} // closed once Close has waited for everything

	who      atomic.Pointer[identity] // written with mu held
	raft     atomic.Pointer[raftSide]
	counters counters
	refusals complaints

	mu sync.Mutex
	// mu guards:
	closed    bool
	addresses map[int32]string
	peers     map[int32]*peer
	handlers  map[string]handler
	accepted  map[*link]struct{}
	dialed    map[*link]struct{}
	admitted  uint64 // counts accepted connections
	seen      map[int32]*starts
	streams   map[stream]int // snapshots on their way
}

// identity is who this node is.
type identity struct {
	cluster string // empty while it is not known
	node    int32  // -1 while it is not known
}

const (
	dialTimeout   = 2 * time.Second
	writeTimeout  = 10 * time.Second
	keepAlive     = 5 * time.Second
	socketBuffers = 1 << 20
)

// New makes a transport and begins to accept.
func New(c Config) *Transport {
	if c.Dial == nil {
		d := &net.Dialer{Timeout: dialTimeout, KeepAlive: keepAlive}
		c.Dial = func(ctx context.Context, address string) (net.Conn, error) { return d.DialContext(ctx, "tcp", address) }
	}
	t := &Transport{
		config: c, incarnation: newIncarnation(), done: make(chan struct{}), addresses: make(map[int32]string),
		peers: make(map[int32]*peer), handlers: make(map[string]handler),
		accepted: make(map[*link]struct{}), dialed: make(map[*link]struct{}), seen: make(map[int32]*starts),
		streams: make(map[stream]int),
	}
	t.who.Store(&identity{node: c.NodeID})
	t.ctx, t.cancel = context.WithCancel(context.Background())
	if c.Listener != nil {
		t.tasks.Go(t.accept)
	}
	return t
}

// newIncarnation names this start of the process.
func newIncarnation() string {
	var b [8]byte
	_, _ = rand.Read(b[:]) // never fails
	return hex.EncodeToString(b[:])
}

// spawn runs fn in a goroutine that Close waits for; false once the transport is closed.
func (t *Transport) spawn(fn func()) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.closed {
		return false
	}
	t.tasks.Go(fn)
	return true
}

// Addr is where the listener is bound; nil without one.
func (t *Transport) Addr() net.Addr {
	if t.config.Listener == nil {
		return nil
	}
	return t.config.Listener.Addr()
}

// SetClusterID tells the transport its cluster: from then on it refuses nodes of another, on each side. Connections made
// as a node of another cluster, or of none, are cut and made again; calls on them fail.
func (t *Transport) SetClusterID(id string) { t.become(func(w *identity) { w.cluster = id }) }

// ClusterID returns what SetClusterID said.
func (t *Transport) ClusterID() string { return t.who.Load().cluster }

// SetNodeID tells the transport who this node is, if New did not. Connections made under another id are cut, as by
// SetClusterID.
func (t *Transport) SetNodeID(id int32) { t.become(func(w *identity) { w.node = id }) }

// NodeID of this node, -1 while it is not known.
func (t *Transport) NodeID() int32 { return t.who.Load().node }

// become changes this node's identity. What was greeted under the old one must not carry anything under the new: who
// accepts a connection registers it, with its greeting, under the lock that the identity changes under, so none slips
// through.
func (t *Transport) become(change func(*identity)) {
	t.mu.Lock()
	old := *t.who.Load()
	now := old
	change(&now)
	if now == old {
		t.mu.Unlock()
		return
	}
	t.who.Store(&now)
	var cut []*link
	for l := range t.accepted {
		if l.greeting != nil && t.judge(&now, l.greeting) != nil {
			cut = append(cut, l)
		}
	}
	for l := range t.dialed {
		if l.node >= 0 { // CallAddress speaks for who it was when it was called
			cut = append(cut, l)
		}
	}
	peers := t.peersLocked()
	t.mu.Unlock()
	for _, l := range cut {
		l.cut()
	}
	for _, p := range peers {
		p.reset()
	}
}

// SetAddress says where a node is, host:port; an empty address forgets it. Connections to a former address are cut.
func (t *Transport) SetAddress(node int32, address string) {
	t.mu.Lock()
	old := t.addresses[node]
	if address == "" {
		delete(t.addresses, node)
	} else {
		t.addresses[node] = address
	}
	p := t.peers[node]
	t.mu.Unlock()
	if p != nil && old != address {
		p.reset()
	}
}

// Address returns where a node is, and whether that is known.
func (t *Transport) Address(node int32) (string, bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	a, ok := t.addresses[node]
	return a, ok
}

// peer returns the connections to a node, made if there are none.
func (t *Transport) peer(node int32) (*peer, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.closed {
		return nil, ErrClosed
	}
	p := t.peers[node]
	if p == nil {
		p = newPeer(t, node)
		t.peers[node] = p
	}
	return p, nil
}

func (t *Transport) peersLocked() []*peer {
	peers := make([]*peer, 0, len(t.peers))
	for _, p := range t.peers {
		peers = append(peers, p)
	}
	return peers
}

// Close cuts all connections and waits for what runs: handlers of calls, whose contexts end. Idempotent; every call
// returns after that.
func (t *Transport) Close() error {
	t.mu.Lock()
	if t.closed {
		t.mu.Unlock()
		<-t.done
		return nil
	}
	t.closed = true
	peers := t.peersLocked()
	var links []*link
	for l := range t.accepted {
		links = append(links, l)
	}
	for l := range t.dialed {
		links = append(links, l)
	}
	t.mu.Unlock()
	t.cancel()
	var err error
	if t.config.Listener != nil {
		err = t.config.Listener.Close()
	}
	for _, p := range peers {
		p.close()
	}
	for _, l := range links {
		l.cut()
	}
	t.tasks.Wait()
	close(t.done)
	if err != nil && !errors.Is(err, net.ErrClosed) {
		return fmt.Errorf("close the raft address: %w", err)
	}
	return nil
}
