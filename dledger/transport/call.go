package transport

import (
	"bufio"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"time"
)

// A frame of the calls lane, request or answer:
//
//	length of what follows (uint32) | id (uint64) | kind (byte) | length of the name (byte) | name | body
//
// little endian. kind is 0 for a request and for its good answer, 1 for an answer that is an error, whose body is its text
// and whose name is its code.

const (
	callHead    = 14
	callBodyMax = 64 << 20
	// callsServed bounds the requests of one connection that are carried out at the same time; further ones wait.
	callsServed = 64
	methodMax   = 255
	kindOK      = 0
	kindError   = 1
)

// RemoteError is what the other side answered instead of a result.
type RemoteError struct {
	// Code is for programs, see Coded; empty for most.
	Code string
	Text string
}

func (e *RemoteError) Error() string { return e.Text }

// Coded is an error with a code for the other side's programs.
type Coded struct {
	Code string
	Err  error
}

func (e *Coded) Error() string { return e.Err.Error() }
func (e *Coded) Unwrap() error { return e.Err }

// codeUnknownMethod is the answer to a call that nobody handles here (yet).
const codeUnknownMethod = "unknown_method"

// Caller says who calls.
type Caller struct {
	// Node is -1 for one that has no id yet.
	Node int32
	// Cluster is empty for one that knows none yet.
	Cluster     string
	Incarnation string
}

// Handler answers a call. body is its own; the answer is the transport's until it has been sent.
type Handler func(ctx context.Context, from Caller, body []byte) ([]byte, error)

type handler struct {
	open bool
	fn   Handler
}

// Handle answers calls of a method for nodes of this cluster.
func (t *Transport) Handle(method string, fn Handler) { t.handle(method, handler{false, fn}) }

// HandleOpen answers calls of a method for nodes that do not know their cluster yet, too.
func (t *Transport) HandleOpen(method string, fn Handler) { t.handle(method, handler{true, fn}) }

func (t *Transport) handle(method string, h handler) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if len(method) > methodMax {
		panic("transport: method name too long")
	}
	t.handlers[method] = h
}

// Call asks a node and waits for its answer. A call to this node itself is answered here. Errors: *RemoteError, ErrNoAddress,
// ErrForeign, ErrClosed, ctx's, the connection's: then the call may have been carried out.
func (t *Transport) Call(ctx context.Context, node int32, method string, body []byte) ([]byte, error) {
	return t.call(ctx, node, laneCalls, method, body)
}

// CallBulk is Call over a connection of its own, for answers of megabytes: short calls do not wait behind them.
func (t *Transport) CallBulk(ctx context.Context, node int32, method string, body []byte) ([]byte, error) {
	return t.call(ctx, node, laneBulk, method, body)
}

func (t *Transport) call(ctx context.Context, node int32, lane laneKind, method string, body []byte) ([]byte, error) {
	if node >= 0 && node == t.NodeID() {
		return t.answer(ctx, Caller{Node: node, Cluster: t.ClusterID(), Incarnation: t.incarnation}, method, body)
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

	dialing sync.Mutex // held while a connection is made

	mu sync.Mutex
	// mu guards:
	conn    net.Conn
	out     *bufio.Writer
	next    uint64
	waiting map[uint64]chan callResult
	closed  bool
}

type callResult struct {
	body []byte
	err  error
}

func newCaller(t *Transport, node int32, lane laneKind) *caller {
	return &caller{t: t, node: node, lane: lane, waiting: make(map[uint64]chan callResult)}
}

func (c *caller) call(ctx context.Context, method string, body []byte) ([]byte, error) {
	if len(body) > callBodyMax {
		return nil, fmt.Errorf("call %s: %d bytes are too many", method, len(body))
	}
	if err := c.connect(ctx); err != nil {
		return nil, fmt.Errorf("call %s: %w", method, err)
	}
	done := make(chan callResult, 1)
	id, err := c.send(method, body, done)
	if err != nil {
		return nil, fmt.Errorf("call %s: %w", method, err)
	}
	select {
	case r := <-done:
		if r.err != nil {
			return nil, fmt.Errorf("call %s: %w", method, r.err)
		}
		return r.body, nil
	case <-ctx.Done():
		c.mu.Lock()
		delete(c.waiting, id)
		c.mu.Unlock()
		return nil, fmt.Errorf("call %s: %w", method, context.Cause(ctx))
	}
}

func (c *caller) connect(ctx context.Context) error {
	c.dialing.Lock()
	defer c.dialing.Unlock()
	c.mu.Lock()
	ready, closed := c.conn != nil, c.closed
	c.mu.Unlock()
	if closed {
		return ErrClosed
	}
	if ready {
		return nil
	}
	address, node := c.address, c.node
	if address == "" {
		var ok bool
		if address, ok = c.t.Address(node); !ok {
			return fmt.Errorf("%w: node %d", ErrNoAddress, node)
		}
	}
	conn, _, err := c.t.dial(ctx, node, address, c.lane)
	if err != nil {
		return err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		_ = conn.Close()
		return ErrClosed
	}
	c.conn, c.out = conn, bufio.NewWriterSize(conn, readBuffer)
	c.t.tasks.Go(func() { c.read(conn) })
	return nil
}

func (c *caller) send(method string, body []byte, done chan callResult) (uint64, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.conn == nil {
		return 0, net.ErrClosed
	}
	c.next++
	id := c.next
	c.waiting[id] = done
	_ = c.conn.SetWriteDeadline(time.Now().Add(writeTimeout))
	if err := writeCall(c.out, id, kindOK, method, body); err != nil {
		delete(c.waiting, id)
		_ = c.conn.Close()
		return 0, err
	}
	return id, nil
}

func (c *caller) read(conn net.Conn) {
	in := bufio.NewReaderSize(conn, readBuffer)
	var err error
	for {
		var f callFrame
		if f, err = readCall(in); err != nil {
			break
		}
		c.mu.Lock()
		done := c.waiting[f.id]
		delete(c.waiting, f.id)
		c.mu.Unlock()
		if done == nil {
			continue
		}
		if f.kind == kindError {
			done <- callResult{err: &RemoteError{Code: f.name, Text: string(f.body)}}
		} else {
			done <- callResult{body: f.body}
		}
	}
	_ = conn.Close()
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.conn == conn {
		c.conn, c.out = nil, nil
	}
	for id, done := range c.waiting {
		done <- callResult{err: fmt.Errorf("connection lost: %w", err)}
		delete(c.waiting, id)
	}
}

func (c *caller) cut() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.conn != nil {
		_ = c.conn.Close()
	}
}

func (c *caller) close() {
	c.mu.Lock()
	c.closed = true
	c.mu.Unlock()
	c.cut()
}

func writeCall(w *bufio.Writer, id uint64, kind byte, name string, body []byte) error {
	h := make([]byte, 0, callHead)
	h = binary.LittleEndian.AppendUint32(h, uint32(callHead-4+len(name)+len(body))) //nolint:gosec // bounded
	h = binary.LittleEndian.AppendUint64(h, id)
	h = append(h, kind, byte(len(name))) //nolint:gosec // bounded
	_, _ = w.Write(h)                    // the writer keeps its error
	_, _ = w.WriteString(name)
	_, _ = w.Write(body)
	if err := w.Flush(); err != nil {
		return fmt.Errorf("write: %w", err)
	}
	return nil
}

type callFrame struct {
	id   uint64
	kind byte
	name string
	body []byte
}

func readCall(r io.Reader) (callFrame, error) {
	var h [callHead]byte
	if _, err := io.ReadFull(r, h[:]); err != nil {
		return callFrame{}, err //nolint:wrapcheck // io.EOF is the end
	}
	n := int64(binary.LittleEndian.Uint32(h[:])) - (callHead - 4)
	f := callFrame{id: binary.LittleEndian.Uint64(h[4:]), kind: h[12]}
	name := int64(h[13])
	if n < name || n > callBodyMax+methodMax {
		return callFrame{}, fmt.Errorf("%w: call of %d bytes", errFrame, n)
	}
	b := make([]byte, n)
	if _, err := io.ReadFull(r, b); err != nil {
		return callFrame{}, fmt.Errorf("call: %w", err)
	}
	f.name, f.body = string(b[:name]), b[name:]
	return f, nil
}

// serveCalls answers the requests of a connection; they are carried out side by side.
func (t *Transport) serveCalls(c net.Conn, g *greeting) error {
	from := Caller{Node: g.Node, Cluster: g.Cluster, Incarnation: g.Incarnation}
	ctx, cancel := context.WithCancel(t.ctx)
	var running sync.WaitGroup
	defer running.Wait()
	defer cancel()
	in := bufio.NewReaderSize(c, readBuffer)
	var mu sync.Mutex
	out := bufio.NewWriterSize(c, readBuffer)
	slots := make(chan struct{}, callsServed)
	for {
		f, err := readCall(in)
		if err != nil {
			return err
		}
		slots <- struct{}{}
		running.Go(func() {
			defer func() { <-slots }()
			body, err := t.answer(ctx, from, f.name, f.body)
			kind, name := byte(kindOK), ""
			if err != nil {
				kind, body = kindError, []byte(err.Error())
				var coded *Coded
				if errors.As(err, &coded) {
					name = coded.Code
				}
				var remote *RemoteError // passed on
				if errors.As(err, &remote) {
					name = remote.Code
				}
			}
			mu.Lock()
			defer mu.Unlock()
			_ = c.SetWriteDeadline(time.Now().Add(writeTimeout))
			if writeCall(out, f.id, kind, name, body) != nil {
				_ = c.Close()
			}
		})
	}
}

func (t *Transport) answer(ctx context.Context, from Caller, method string, body []byte) ([]byte, error) {
	t.mu.Lock()
	h, cluster := t.handlers[method], t.clusterID
	t.mu.Unlock()
	switch {
	case h.fn == nil:
		return nil, &Coded{codeUnknownMethod, fmt.Errorf("node %d does not answer %q", t.NodeID(), method)}
	case !h.open && (cluster == "" || from.Cluster != cluster):
		return nil, fmt.Errorf("%w: %q is for nodes of cluster %q", ErrForeign, method, cluster)
	}
	return h.fn(ctx, from, body)
}

// IsUnknownMethod reports whether a call failed because nobody answers it there.
func IsUnknownMethod(err error) bool {
	var r *RemoteError
	return errors.As(err, &r) && r.Code == codeUnknownMethod
}
