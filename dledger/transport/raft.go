package transport

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/lni/dragonboat/v4/config"
	"github.com/lni/dragonboat/v4/raftio"
	pb "github.com/lni/dragonboat/v4/raftpb"
)

// Observer sees Raft's messages. It is called from many goroutines and must not block.
type Observer interface {
	// Stamp is called for each message before it leaves; what it returns travels with it. It reports false for a message
	// that must not leave.
	Stamp(m *pb.Message) (stamp int64, ok bool)
	// Received is called for each message that comes from node, before Raft gets it. It may change m; it reports false
	// for one that Raft must not get.
	Received(node int32, m *pb.Message, stamp int64) bool
	// Lost: messages to node may have been lost, and it was connected.
	Lost(node int32)
	// Connected: entries reach node again; what was sent before may be lost.
	Connected(node int32)
}

// counters of everything that the transport does.
type counters struct {
	sent, received, dropped atomic.Int64
}

// raftSide is dragonboat's end of the transport.
type raftSide struct {
	deployment uint64
	source     func(node int32) string
	messages   raftio.MessageHandler
	chunks     raftio.ChunkHandler
	observer   Observer
	covers     func(*pb.Message, *pb.Entry) bool

	mu     sync.RWMutex // held for reading while a handler runs
	closed bool         // mu guards
}

// Factory gives the transport to dragonboat.
type Factory struct {
	T        *Transport
	Observer Observer
	// Target names a node towards dragonboat and NodeOf is its reverse.
	Target func(node int32) string
	NodeOf func(target string) (node int32, ok bool)
	// Behind is called for each chunk of a snapshot that is to go to a node; where it returns true the chunk has been dealt
	// with and is not sent. It may block. nil: all are sent.
	Behind func(node int32, c *pb.Chunk) bool
	// Covers reports whether the observer of the other side will find any damage to an entry's command beyond its first
	// 64 bytes, so that the transport need not. It must not block. nil: of none.
	Covers func(m *pb.Message, e *pb.Entry) bool
}

var _ config.TransportFactory = (*Factory)(nil)

// Create implements config.TransportFactory.
func (f *Factory) Create(c config.NodeHostConfig, h raftio.MessageHandler, ch raftio.ChunkHandler) raftio.ITransport {
	return &raftTransport{f, &raftSide{deployment: c.GetDeploymentID(), source: f.Target, messages: h, chunks: ch, observer: f.Observer, covers: f.Covers}}
}

// Validate implements config.TransportFactory.
func (f *Factory) Validate(target string) bool { _, ok := f.NodeOf(target); return ok }

type raftTransport struct {
	f    *Factory
	side *raftSide
}

var _ raftio.ITransport = (*raftTransport)(nil)

func (r *raftTransport) Name() string { return "stele" }

func (r *raftTransport) Start() error {
	if !r.f.T.raft.CompareAndSwap(nil, r.side) {
		return errors.New("transport: in use by another host")
	}
	return nil
}

// Close lets no more messages through, and cuts the lanes that bring them; the transport itself stays open.
func (r *raftTransport) Close() error {
	r.side.mu.Lock()
	r.side.closed = true
	r.side.mu.Unlock()
	t := r.f.T
	if !t.raft.CompareAndSwap(r.side, nil) {
		return nil
	}
	var cut []*link
	t.mu.Lock()
	for l := range t.accepted {
		if l.greeting != nil && !l.greeting.Lane.calls() {
			cut = append(cut, l)
		}
	}
	t.mu.Unlock()
	for _, l := range cut {
		l.cut()
	}
	return nil
}

// GetConnection never fails: a lane connects by itself, and again when it breaks, much sooner than dragonboat would.
func (r *raftTransport) GetConnection(_ context.Context, target string) (raftio.IConnection, error) {
	node, ok := r.f.NodeOf(target)
	if !ok {
		return nil, fmt.Errorf("%w: %q", ErrNoAddress, target)
	}
	p, err := r.f.T.peer(node)
	if err != nil {
		return nil, err
	}
	return &raftConn{peer: p, observer: r.f.Observer}, nil
}

// raftConn is one of dragonboat's senders to a node. It is used by one goroutine.
type raftConn struct {
	peer     *peer
	observer Observer
	posts    []posting
}

func (c *raftConn) Close() {}

// SendMessageBatch files each message in its lane. Replicates stay in order, the empty ones too: one that overtakes a full
// one is refused, and everything is sent again.
func (c *raftConn) SendMessageBatch(b pb.MessageBatch) error {
	c.posts = c.posts[:0]
	var control, data bool
	for i := range b.Requests {
		m := &b.Requests[i]
		post := posting{}
		if stamp, ok := c.observer.Stamp(m); ok {
			post = posting{c.peer.control, stamp}
			if m.Type == pb.Replicate || m.Type == pb.Propose {
				post.lane, data = c.peer.data, true
			} else {
				control = true
			}
		}
		c.posts = append(c.posts, post)
	}
	if control {
		c.peer.control.send(b.Requests, c.posts)
	}
	if data {
		c.peer.data.send(b.Requests, c.posts)
	}
	return nil
}

func (t *Transport) lost(node int32) {
	if side := t.raft.Load(); side != nil {
		side.observer.Lost(node)
	}
}

func (t *Transport) connected(node int32) {
	if side := t.raft.Load(); side != nil {
		side.observer.Connected(node)
	}
}

// SendControl sends a message to a node in the control lane, past Raft, with a stamp of the caller's. It is dropped while the
// node cannot be reached.
func (t *Transport) SendControl(node int32, m pb.Message, stamp int64) {
	p, err := t.peer(node)
	if err != nil {
		return
	}
	p.control.send([]pb.Message{m}, []posting{{p.control, stamp}})
}

// Deliver hands messages to Raft as if they had come from outside.
func (t *Transport) Deliver(ms ...pb.Message) {
	if side := t.raft.Load(); side != nil {
		side.deliver("", ms)
	}
}

func (s *raftSide) deliver(source string, ms []pb.Message) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	if s.closed || len(ms) == 0 {
		return
	}
	s.messages(pb.MessageBatch{DeploymentId: s.deployment, BinVer: raftio.TransportBinVersion, SourceAddress: source, Requests: ms})
}

const readBuffer = 64 << 10

// serveLane hands what comes to Raft, as long as the link is not replaced by another.
func (t *Transport) serveLane(l *link, node int32) error {
	in := frameReader{r: bufio.NewReaderSize(l, readBuffer)}
	for {
		ms, stamps, err := in.next()
		if err != nil {
			return err
		}
		side := t.raft.Load()
		if side == nil || l.gone.Load() {
			return net.ErrClosed // the other side connects again
		}
		pass := ms[:0]
		for i := range ms {
			m := &ms[i]
			for k := range m.Entries {
				t.counters.received.Add(int64(len(m.Entries[k].Cmd)))
			}
			if m.To != 0 && side.observer.Received(node, m, stamps[i]) {
				pass = append(pass, *m)
			}
		}
		side.deliver(side.source(node), pass)
	}
}

// silence is how long a connection may bring nothing where something is due.
const silence = 30 * time.Second
