package transport

import (
	"bufio"
	"context"
	"errors"
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
	// frameBytes and frameHeadBytes are where a frame is full. Only a message that is larger makes a larger one.
	frameBytes     = 1 << 20
	frameHeadBytes = 32 << 10
	// writeStep is how much may take writeTimeout to leave.
	writeStep = 4 << 20

	// An attempt to connect costs next to nothing where somebody refuses it, and lasts where nobody answers: it is repeated
	// soon. One that was refused with a reason is not.
	firstPause   = 20 * time.Millisecond
	longPause    = 50 * time.Millisecond
	foreignPause = 2 * time.Second
	// dialPatience is how long an attempt goes on after the other side was heard: it may have been begun, and its packets
	// lost, while the network was cut.
	dialPatience = 100 * time.Millisecond
)

// lane sends messages of one kind to a node, in order, over one connection that it opens again when it breaks. Messages
// are encoded when they are handed over; what collects while a write runs makes further frames.
type lane struct {
	peer *peer
	kind laneKind
	wake chan struct{} // there is a frame to write
	// again ends the wait for another attempt to connect. What is sent does not: it comes all the time.
	again chan struct{}

	mu sync.Mutex
	// mu guards:
	started bool
	closed  bool
	open    bool  // connected, or connecting: messages are kept
	link    *link // nil while not connected
	frames  []frame
	bytes   int64 // of frames
	spare   frame // a buffer for the next frame
	// dialing ends an attempt to connect, begun at since; nil while there is none.
	dialing context.CancelFunc
	since   time.Time
}

func newLane(p *peer, kind laneKind) *lane {
	return &lane{peer: p, kind: kind, wake: make(chan struct{}, 1), again: make(chan struct{}, 1), open: true}
}

// posting says what becomes of a message.
type posting struct {
	lane  *lane // nil: it does not leave
	stamp int64
}

// send encodes those messages that are for this lane. The commands of their entries must not change any more. While the
// node cannot be reached they are dropped.
func (l *lane) send(ms []pb.Message, posts []posting) {
	l.mu.Lock()
	defer l.mu.Unlock()
	idle := len(l.frames) == 0
	for i := range ms {
		if posts[i].lane == l {
			l.addLocked(&ms[i], posts[i].stamp)
		}
	}
	if idle && len(l.frames) > 0 {
		poke(l.wake)
	}
}

func (l *lane) addLocked(m *pb.Message, stamp int64) {
	if !l.open || l.bytes > laneBytesMax || !l.startLocked() {
		l.peer.t.counters.dropped.Add(1)
		return
	}
	n := len(l.frames)
	if n == 0 || l.frames[n-1].full() {
		l.frames = append(l.frames, l.spare)
		l.spare = frame{}
		n++
	}
	f := &l.frames[n-1]
	if side := l.peer.t.raft.Load(); side != nil {
		f.covers = side.covers
	}
	before := f.size()
	f.add(m, stamp)
	l.bytes += f.size() - before
}

func (l *lane) startLocked() bool {
	if !l.started && !l.closed {
		l.started = l.peer.t.spawn(l.run)
	}
	return l.started
}

// take returns the frames that wait, oldest first, and takes back what it returned before.
func (l *lane) take(written []frame) []frame {
	for i := range written {
		written[i].clear()
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(written) > 0 {
		l.spare = written[0]
		clear(written)
	}
	frames := l.frames
	l.frames, l.bytes = written[:0], 0
	return frames
}

// run connects, writes, and begins again when that fails, until the transport is closed.
func (l *lane) run() {
	t := l.peer.t
	wait := firstPause
	for t.ctx.Err() == nil {
		connected, err := l.stream()
		l.down()
		if t.ctx.Err() != nil {
			return
		}
		l.peer.failed(fmt.Errorf("%s lane: %w", l.kind, err))
		if connected > 0 {
			if l.kind == laneControl {
				l.peer.data.cut() // what has broken for one is of no use to the other
			}
			t.lost(l.peer.node)
		}
		if connected > longPause { // one that does not last is as good as none
			wait = firstPause
		}
		if errors.Is(err, ErrForeign) {
			wait = foreignPause
		}
		if !pause(t.ctx, wait, l.again) {
			return
		}
		wait = min(2*wait, longPause)
		l.mu.Lock()
		l.open = !l.closed
		l.mu.Unlock()
	}
}

// down drops what waits and, until the next attempt, what comes.
func (l *lane) down() {
	l.mu.Lock()
	defer l.mu.Unlock()
	dropped := int64(0)
	for i := range l.frames {
		dropped += int64(l.frames[i].messages)
	}
	l.peer.t.counters.dropped.Add(dropped)
	l.link, l.open = nil, false
	l.frames, l.bytes = nil, 0
}

func (l *lane) dial() (*link, error) {
	ctx, cancel := context.WithCancel(l.peer.t.ctx)
	defer cancel()
	l.mu.Lock()
	l.dialing, l.since = cancel, time.Now()
	l.mu.Unlock()
	k, err := l.peer.t.dialNode(ctx, l.peer.node, l.kind)
	l.mu.Lock()
	defer l.mu.Unlock()
	l.dialing = nil
	if err == nil && l.closed {
		l.peer.t.release(k)
		return nil, ErrClosed
	}
	l.link = k
	return k, err
}

// stream opens a connection and sends what comes until it breaks. It returns how long it was connected.
func (l *lane) stream() (connected time.Duration, err error) {
	t := l.peer.t
	k, err := l.dial()
	if err != nil {
		return 0, err
	}
	defer t.release(k)
	begin := time.Now()
	l.peer.works()
	if l.kind == laneData {
		t.connected(l.peer.node)
	}
	broken := make(chan struct{})
	t.tasks.Go(func() { // nothing comes back on a lane; reading notices that it is cut
		var b [1]byte
		_, _ = k.Read(b[:])
		k.cut()
		close(broken)
	})
	err = l.write(k, broken)
	return time.Since(begin) + 1, err
}

func (l *lane) write(k *link, broken <-chan struct{}) error {
	w := newFrameWriter(k.Conn)
	var frames []frame
	for {
		if frames = l.take(frames); len(frames) == 0 {
			select {
			case <-l.wake:
				continue
			case <-broken:
				return errors.New("the connection was cut")
			}
		}
		sent := int64(0)
		for i := range frames {
			frames[i].seal()
			sent += frames[i].size()
		}
		if err := w.write(frames); err != nil {
			return fmt.Errorf("write: %w", err)
		}
		l.peer.t.counters.sent.Add(sent)
	}
}

// frameWriter writes frames: a TCP connection takes the slices as they are, any other one copies.
type frameWriter struct {
	c      net.Conn
	direct bool
	buf    *bufio.Writer // where not direct
	iov    net.Buffers
}

func newFrameWriter(c net.Conn) *frameWriter {
	w := &frameWriter{c: c}
	if _, w.direct = c.(*net.TCPConn); !w.direct {
		w.buf = bufio.NewWriterSize(c, readBuffer)
	}
	return w
}

// write sends frames in steps, each of which has its time: a slow network is not a broken one. What fits a step leaves in
// one call.
func (w *frameWriter) write(frames []frame) error {
	defer func() { clear(w.iov[:cap(w.iov)]) }()
	w.iov = w.iov[:0]
	step := 0
	add := func(b []byte) error {
		for len(b) > 0 {
			n := min(len(b), writeStep-step)
			w.iov, b = append(w.iov, b[:n]), b[n:]
			if step += n; step < writeStep {
				return nil
			}
			if err := w.flush(); err != nil {
				return err
			}
			step = 0
		}
		return nil
	}
	for i := range frames {
		if err := add(frames[i].head); err != nil {
			return err
		}
		for _, b := range frames[i].payload {
			if err := add(b); err != nil {
				return err
			}
		}
	}
	if err := w.flush(); err != nil || w.direct {
		return err
	}
	return w.buf.Flush() //nolint:wrapcheck // by the caller
}

func (w *frameWriter) flush() error {
	_ = w.c.SetWriteDeadline(time.Now().Add(writeTimeout))
	if w.direct {
		out := w.iov // WriteTo consumes it
		_, err := out.WriteTo(w.c)
		w.iov = w.iov[:0]
		return err //nolint:wrapcheck // by the caller
	}
	for _, b := range w.iov {
		if _, err := w.buf.Write(b); err != nil {
			return err //nolint:wrapcheck // by the caller
		}
	}
	w.iov = w.iov[:0]
	return nil
}

// cut breaks the connection, or the attempt to make one; run makes another at once.
func (l *lane) cut() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.cutLocked()
}

func (l *lane) cutLocked() {
	if l.link != nil {
		l.link.cut()
	}
	if l.dialing != nil {
		l.dialing()
	}
	poke(l.again)
}

// heard is told that the node has just connected as some start of it: waiting is over, a connection to an earlier start
// is dead, and so, probably, is an attempt that has not got anywhere.
func (l *lane) heard(incarnation string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	switch {
	case l.link != nil && l.link.incarnation != incarnation,
		l.dialing != nil && time.Since(l.since) > dialPatience:
		l.cutLocked()
	case l.link == nil && l.dialing == nil:
		poke(l.again)
	}
}

func (l *lane) close() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.closed, l.open = true, false
	l.cutLocked()
}
