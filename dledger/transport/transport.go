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
	// ErrProtocol: what came is not what this program speaks.
	ErrProtocol = errors.New("transport: not a Raft address of this program")
)

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

	node     atomic.Int32
	raft     atomic.Pointer[raftSide]
	counters counters

	mu sync.Mutex
	// mu guards:
	closed    bool
	clusterID string
	addresses map[int32]string
	peers     map[int32]*peer
	handlers  map[string]handler
	accepted  map[net.Conn]struct{}
}

const (
	acceptedMax   = 4096
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
		config: c, incarnation: newIncarnation(), addresses: make(map[int32]string), peers: make(map[int32]*peer),
		handlers: make(map[string]handler), accepted: make(map[net.Conn]struct{}),
	}
	t.node.Store(c.NodeID)
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

// Addr is where the listener is bound; nil without one.
func (t *Transport) Addr() net.Addr {
	if t.config.Listener == nil {
		return nil
	}
	return t.config.Listener.Addr()
}

// SetClusterID tells the transport its cluster: from then on it refuses nodes of another, on each side.
func (t *Transport) SetClusterID(id string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.clusterID = id
}

// ClusterID returns what SetClusterID said.
func (t *Transport) ClusterID() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.clusterID
}

// SetNodeID tells the transport who this node is, if New did not.
func (t *Transport) SetNodeID(id int32) { t.node.Store(id) }

// NodeID of this node, -1 while it is not known.
func (t *Transport) NodeID() int32 { return t.node.Load() }

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

func (t *Transport) accept() {
	wait := time.Millisecond
	for {
		c, err := t.config.Listener.Accept()
		if err != nil {
			if t.ctx.Err() != nil {
				return
			}
			// Out of descriptors, most likely: it passes.
			t.config.Logger.Warn("raft address cannot accept", "error", err)
			select {
			case <-t.ctx.Done():
				return
			case <-time.After(wait):
			}
			wait = min(2*wait, time.Second)
			continue
		}
		wait = time.Millisecond
		if !t.admit(c) {
			_ = c.Close()
			continue
		}
		t.tasks.Go(func() {
			t.serve(c)
			_ = c.Close()
			t.mu.Lock()
			delete(t.accepted, c)
			t.mu.Unlock()
		})
	}
}

func (t *Transport) admit(c net.Conn) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.closed || len(t.accepted) >= acceptedMax {
		return false
	}
	t.accepted[c] = struct{}{}
	return true
}

// dial opens a connection for a lane. node is -1 where it is not known who answers there.
func (t *Transport) dial(ctx context.Context, node int32, address string, lane laneKind) (net.Conn, *welcome, error) {
	ctx, cancel := context.WithTimeout(ctx, dialTimeout)
	defer cancel()
	c, err := t.config.Dial(ctx, address)
	if err != nil {
		return nil, nil, fmt.Errorf("dial %s: %w", address, err)
	}
	tune(c)
	deadline, _ := ctx.Deadline()
	_ = c.SetDeadline(deadline)
	w, err := t.greet(c, node, lane)
	if err != nil {
		return nil, nil, errors.Join(fmt.Errorf("%s: %w", address, err), c.Close())
	}
	_ = c.SetDeadline(time.Time{})
	return c, w, nil
}

func tune(c net.Conn) {
	tc, ok := c.(*net.TCPConn)
	if !ok {
		return
	}
	_ = tc.SetNoDelay(true)
	_ = tc.SetWriteBuffer(socketBuffers)
	_ = tc.SetReadBuffer(socketBuffers)
	setUserTimeout(tc)
}

// Close cuts all connections and waits for what runs. Idempotent.
func (t *Transport) Close() error {
	t.mu.Lock()
	if t.closed {
		t.mu.Unlock()
		return nil
	}
	t.closed = true
	peers := make([]*peer, 0, len(t.peers))
	for _, p := range t.peers {
		peers = append(peers, p)
	}
	for c := range t.accepted {
		_ = c.Close()
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
	t.tasks.Wait()
	if err != nil && !errors.Is(err, net.ErrClosed) {
		return fmt.Errorf("close the raft address: %w", err)
	}
	return nil
}
