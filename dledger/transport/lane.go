package transport

import (
	"fmt"
	"net"
	"sync"
	"time"

	pb "github.com/lni/dragonboat/v4/raftpb"
)

const (
	// laneBytesMax bounds the commands that wait in a lane; what comes beyond is dropped, and Raft sends it again. Admission
	// keeps new records far below; a follower that catches up may reach it.
	laneBytesMax = 256 << 20
	laneHeadMax  = headMax / 2

	backoffMin = 20 * time.Millisecond
	backoffMax = 500 * time.Millisecond
)

// lane sends messages of one kind to a node, in order, over one connection that it opens again when it breaks. Messages
// are encoded when they are handed over; what collects while a write runs makes one frame.
type lane struct {
	peer *peer
	kind laneKind
	wake chan struct{}

	mu sync.Mutex
	// mu guards:
	started bool
	closed  bool
	open    bool     // connected, or connecting: messages are kept
	conn    net.Conn // nil while not connected
	head    []byte   // of the next frame, with room for the frame's own head
	payload [][]byte
	bytes   int64
}

func newLane(p *peer, kind laneKind) *lane {
	return &lane{peer: p, kind: kind, wake: make(chan struct{}, 1), open: true}
}

// send encodes messages for the next frame. The commands of their entries must not change any more. While the node cannot
// be reached they are dropped.
func (l *lane) send(ms []pb.Message, stamp func(*pb.Message) int64) {
	if len(ms) == 0 {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed || !l.open {
		return
	}
	if !l.started {
		l.started = true
		l.peer.t.tasks.Go(l.run)
	}
	empty := len(l.head) == 0
	for i := range ms {
		l.addLocked(&ms[i], stamp)
	}
	if empty && len(l.head) > 0 {
		l.poke()
	}
}

func (l *lane) addLocked(m *pb.Message, stamp func(*pb.Message) int64) {
	if l.bytes > laneBytesMax || len(l.head) > laneHeadMax {
		l.peer.t.counters.dropped.Add(1)
		return
	}
	if len(l.head) == 0 {
		l.head = append(l.head, make([]byte, frameHead)...)
	}
	var s int64
	if stamp != nil {
		s = stamp(m)
	}
	var n int64
	l.head, l.payload, n = appendMessage(l.head, l.payload, m, s)
	l.bytes += n
}

func (l *lane) poke() {
	select {
	case l.wake <- struct{}{}:
	default:
	}
}

// run connects, writes, and begins again when that fails, until the transport is closed.
func (l *lane) run() {
	wait := backoffMin
	for l.peer.t.ctx.Err() == nil {
		err := l.stream(func() { wait = backoffMin })
		l.down()
		if l.peer.t.ctx.Err() != nil {
			return
		}
		l.peer.failed(fmt.Errorf("%s lane: %w", l.kind, err))
		if l.kind == laneControl {
			l.peer.data.cut() // what has broken for one is of no use to the other
		}
		l.peer.t.lost(l.peer.node)
		if !pause(l.peer.t.ctx, wait, l.wake) {
			return
		}
		wait = min(2*wait, backoffMax)
		l.mu.Lock()
		l.open = !l.closed
		l.mu.Unlock()
	}
}

// down drops what waits and, until the next attempt, what comes.
func (l *lane) down() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.conn != nil {
		_ = l.conn.Close()
	}
	l.conn, l.open = nil, false
	l.head, l.payload, l.bytes = nil, nil, 0
}

func (l *lane) stream(connected func()) error {
	address, err := l.peer.address()
	if err != nil {
		return err
	}
	c, _, err := l.peer.t.dial(l.peer.t.ctx, l.peer.node, address, l.kind)
	if err != nil {
		return err
	}
	l.mu.Lock()
	if l.closed {
		l.mu.Unlock()
		_ = c.Close()
		return ErrClosed
	}
	l.conn = c
	l.mu.Unlock()
	connected()
	l.peer.works()
	if l.kind == laneData {
		l.peer.t.connected(l.peer.node)
	}
	broken := make(chan struct{})
	l.peer.t.tasks.Go(func() { // nothing comes back on a lane; reading notices that it is cut
		var b [1]byte
		_, _ = c.Read(b[:])
		_ = c.Close()
		close(broken)
	})
	return l.write(c, broken)
}

func (l *lane) write(c net.Conn, broken <-chan struct{}) error {
	var head []byte
	var payload [][]byte
	for {
		l.mu.Lock()
		l.head, head = head[:0], l.head
		l.payload, payload = payload[:0], l.payload
		bytes := l.bytes
		l.bytes = 0
		l.mu.Unlock()
		if len(head) == 0 {
			select {
			case <-l.wake:
				continue
			case <-broken:
				return net.ErrClosed
			}
		}
		putFrameHead(head, bytes)
		_ = c.SetWriteDeadline(time.Now().Add(writeTimeout))
		iov := append(make(net.Buffers, 0, len(payload)+1), head)
		iov = append(iov, payload...)
		if _, err := iov.WriteTo(c); err != nil {
			return fmt.Errorf("write: %w", err)
		}
		l.peer.t.counters.sent.Add(int64(len(head)) + bytes)
		clear(payload)
	}
}

// cut breaks the connection; run opens another.
func (l *lane) cut() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.conn != nil {
		_ = l.conn.Close()
	}
	l.poke()
}

func (l *lane) close() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.closed, l.open = true, false
	if l.conn != nil {
		_ = l.conn.Close()
	}
	l.poke()
}
