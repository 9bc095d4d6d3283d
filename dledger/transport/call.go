package transport

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"sync"
)

const (
	// callBodyMax bounds a request and an answer.
	callBodyMax = 64 << 20
	// callTries is how many connections may break before the call has begun.
	callTries = 3
)

// RemoteError is what the other side answered instead of a result.
type RemoteError struct {
	// Code is for programs, see Coded; empty for most.
	Code string
	Text string
}

func (e *RemoteError) Error() string { return e.Text }

// errLost: the connection broke, so that nobody knows whether the call was carried out.
var errLost = errors.New("transport: connection lost")

// Call asks a node and waits for its answer. A call to this node itself is answered here. body must not change any more.
// Errors: *RemoteError, ErrNoAddress, ErrForeign, ErrClosed, ctx's, the connection's: then the call may have been carried
// out.
func (t *Transport) Call(ctx context.Context, node int32, method string, body []byte) ([]byte, error) {
	return t.call(ctx, node, laneCalls, method, body)
}

// CallBulk is Call over a connection of its own, for answers of megabytes: other calls do not share its buffers, and its
// losses.
func (t *Transport) CallBulk(ctx context.Context, node int32, method string, body []byte) ([]byte, error) {
	return t.call(ctx, node, laneBulk, method, body)
}

func (t *Transport) call(ctx context.Context, node int32, lane laneKind, method string, body []byte) ([]byte, error) {
	if who := t.who.Load(); node >= 0 && node == who.node {
		return t.answer(ctx, Caller{Node: node, Cluster: who.cluster, Incarnation: t.incarnation}, method, body)
	}
	p, err := t.peer(node)
	if err != nil {
		return nil, err
	}
	if lane == laneBulk {
		return p.bulk.call(ctx, method, body)
	}
	return p.calls.call(ctx, method, body)
}

// CallAddress asks whoever answers at host:port, on a connection of its own.
func (t *Transport) CallAddress(ctx context.Context, address, method string, body []byte) ([]byte, error) {
	c := newCaller(t, -1, laneCalls)
	c.address = address
	defer c.close()
	return c.call(ctx, method, body)
}

// caller makes the calls to a node over one connection, opened when there is something to ask.
type caller struct {
	t       *Transport
	node    int32
	lane    laneKind
	address string // where node is -1

	mu sync.Mutex
	// mu guards:
	conn    *callConn // nil, or one that works as far as is known
	dialing *callDial // nil while none is being opened
	closed  bool
}

// callDial is an attempt to connect that all who want to call wait for.
type callDial struct {
	cancel context.CancelFunc
	done   chan struct{} // closed once conn and err are set
	conn   *callConn
	err    error
}

func newCaller(t *Transport, node int32, lane laneKind) *caller {
	return &caller{t: t, node: node, lane: lane}
}

func (c *caller) call(ctx context.Context, method string, body []byte) ([]byte, error) {
	answer, err := c.ask(ctx, method, body)
	switch {
	case err == nil:
		return answer, nil
	case c.node >= 0:
		return nil, fmt.Errorf("call %s of node %d: %w", method, c.node, err)
	default:
		return nil, fmt.Errorf("call %s: %w", method, err)
	}
}

func (c *caller) ask(ctx context.Context, method string, body []byte) ([]byte, error) {
	if len(body) > callBodyMax || len(method) > nameMax {
		return nil, fmt.Errorf("%d bytes are too many", len(body))
	}
	for try := 1; ; try++ {
		conn, err := c.connect(ctx)
		if err != nil {
			return nil, err
		}
		answer, begun, err := conn.roundTrip(ctx, method, body)
		if begun || !errors.Is(err, errLost) || try == callTries {
			return answer, err
		}
		// The connection was lost before anything of this call had left.
	}
}

// connect returns the connection, opened if there is none. Errors: ErrClosed, ErrNoAddress, ErrForeign, ctx's, the
// attempt's.
func (c *caller) connect(ctx context.Context) (*callConn, error) {
	if ctx.Err() != nil {
		return nil, context.Cause(ctx) //nolint:wrapcheck // by the caller
	}
	c.mu.Lock()
	if c.closed {
		c.mu.Unlock()
		return nil, ErrClosed
	}
	if conn := c.conn; conn != nil {
		c.mu.Unlock()
		return conn, nil
	}
	d := c.dialing
	if d == nil {
		d = &callDial{done: make(chan struct{})}
		var dctx context.Context
		dctx, d.cancel = context.WithCancel(c.t.ctx)
		if !c.t.spawn(func() { c.dial(dctx, d) }) {
			d.cancel()
			c.mu.Unlock()
			return nil, ErrClosed
		}
		c.dialing = d
	}
	c.mu.Unlock()
	select {
	case <-d.done:
		return d.conn, d.err
	case <-ctx.Done():
		return nil, context.Cause(ctx) //nolint:wrapcheck // by the caller
	}
}

func (c *caller) dial(ctx context.Context, d *callDial) {
	defer close(d.done)
	defer d.cancel()
	var l *link
	if c.address != "" {
		l, d.err = c.t.dial(ctx, -1, c.address, c.lane)
	} else {
		l, d.err = c.t.dialNode(ctx, c.node, c.lane)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.dialing = nil
	if d.err != nil {
		return
	}
	conn := &callConn{c: c, link: l, out: newCallWriter(l.Conn), waiting: make(map[uint64]*waiter), ended: make(chan struct{})}
	if c.closed || !c.t.spawn(conn.run) {
		c.t.release(l)
		d.err = ErrClosed
		return
	}
	c.conn, d.conn = conn, conn
}

// lost has the next call open another connection.
func (c *caller) lost(conn *callConn) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.conn == conn {
		c.conn = nil
	}
}

func (c *caller) cut() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.conn != nil {
		c.conn.link.cut()
		c.conn = nil
	}
}

// heard cuts a connection to an earlier start of the node.
func (c *caller) heard(incarnation string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.conn != nil && c.conn.link.incarnation != incarnation {
		c.conn.link.cut()
		c.conn = nil
	}
}

func (c *caller) close() {
	c.cut()
	c.mu.Lock()
	defer c.mu.Unlock()
	c.closed = true
	if c.dialing != nil {
		c.dialing.cancel()
	}
	if c.conn != nil {
		c.conn.link.cut()
	}
}

// callConn is a connection over which calls are made.
type callConn struct {
	c     *caller
	link  *link
	out   *callWriter
	ended chan struct{}

	mu sync.Mutex
	// mu guards:
	next    uint64
	waiting map[uint64]*waiter
	err     error // set when nothing comes any more
}

// waiter is who waits for an answer.
type waiter struct {
	done chan callResult // of one element
	body []byte          // what has come of it
}

type callResult struct {
	body []byte
	err  error
}

// roundTrip sends a request and waits for its answer. begun: the request may have reached the other side.
func (k *callConn) roundTrip(ctx context.Context, method string, body []byte) (answer []byte, begun bool, err error) {
	w := &waiter{done: make(chan callResult, 1)}
	o := &outgoing{kind: kindOK, name: method, body: body}
	k.mu.Lock()
	if k.err != nil {
		k.mu.Unlock()
		return nil, false, k.err
	}
	k.next++
	o.id = k.next
	k.waiting[o.id] = w
	k.mu.Unlock()
	if !k.out.put(o, 0) {
		k.leave(o)
		return nil, false, errLost
	}
	select {
	case r := <-w.done:
		return r.body, k.out.hasBegun(o), r.err
	case <-ctx.Done():
		k.leave(o)
		return nil, true, context.Cause(ctx) //nolint:wrapcheck // by the caller
	}
}

// leave waits no longer.
func (k *callConn) leave(o *outgoing) {
	k.mu.Lock()
	delete(k.waiting, o.id)
	k.mu.Unlock()
	k.out.abandon(o)
}

func (w *callWriter) hasBegun(o *outgoing) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return o.begun
}

// run writes and reads until the connection breaks, and tells all who wait.
func (k *callConn) run() {
	var writer sync.WaitGroup
	writer.Go(func() { k.out.run(k.ended) })
	err := k.read()
	k.c.lost(k)
	close(k.ended)
	k.c.t.release(k.link)
	writer.Wait()
	k.mu.Lock()
	defer k.mu.Unlock()
	k.err = fmt.Errorf("%w: %w", errLost, err)
	if k.c.t.ctx.Err() != nil {
		k.err = ErrClosed
	}
	for id, w := range k.waiting {
		w.done <- callResult{err: k.err}
		delete(k.waiting, id)
	}
}

func (k *callConn) read() error {
	in := bufio.NewReaderSize(k.link, readBuffer)
	for {
		f, err := readCall(in)
		if err != nil {
			return err
		}
		k.arrived(&f)
	}
}

// arrived takes a part of an answer. What nobody waits for is forgotten.
func (k *callConn) arrived(f *callFrame) {
	k.mu.Lock()
	defer k.mu.Unlock()
	w := k.waiting[f.id]
	if w == nil {
		return
	}
	if f.first() && f.last() {
		w.body = f.body
	} else {
		w.body = append(w.body, f.body...)
	}
	var r callResult
	switch kind := f.kind & kindMask; {
	case len(w.body) > callBodyMax:
		r.err = fmt.Errorf("%w: an answer of more than %d bytes", errFrame, callBodyMax)
	case kind == kindAbort:
		r.err = errors.New("transport: the answer was given up")
	case !f.last():
		return
	case kind == kindError:
		r.err = &RemoteError{Code: f.name, Text: string(w.body)}
	default:
		r.body = w.body
	}
	delete(k.waiting, f.id)
	w.done <- r
}
