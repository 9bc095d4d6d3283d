package transport

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"sync"
	"sync/atomic"
	"time"
)

const (
	// callsServed bounds the requests of one connection that are carried out at the same time; further ones wait.
	callsServed = 256
	// requestBytesMax bounds the bytes of requests that one member has under way, guestBytesMax those of one who is not
	// proven to be a member.
	requestBytesMax = callBodyMax + 32<<20
	guestBytesMax   = 256 << 10
	// requestCost is what a request takes besides its bytes.
	requestCost = 256
	// refusalsMax bounds the answers that wait to be sent when one more request is refused.
	refusalsMax = 1024
	// errorTextMax bounds the text of an error, which comes in one part with its code.
	errorTextMax = 4096
)

// Codes of errors that the transport itself answers.
const (
	// codeUnknownMethod is the answer to a call that nobody handles here (yet).
	codeUnknownMethod = "unknown_method"
	codeTooLarge      = "too_large"
)

// Coded is an error with a code for the other side's programs.
type Coded struct { //nolint:errname // it is one with a code
	Code string
	Err  error
}

func (e *Coded) Error() string { return e.Err.Error() }
func (e *Coded) Unwrap() error { return e.Err }

// Caller says who calls.
type Caller struct {
	// Node is -1 for one that has no id yet.
	Node int32
	// Cluster is empty for one that knows none yet.
	Cluster     string
	Incarnation string
}

// Handler answers a call. body is its own; the answer is the transport's until it has been sent. ctx ends with the
// connection.
type Handler func(ctx context.Context, from Caller, body []byte) ([]byte, error)

type handler struct {
	open bool
	fn   Handler
}

// Handle answers calls of a method for nodes of this cluster.
func (t *Transport) Handle(method string, fn Handler) { t.handle(method, handler{false, fn}) }

// HandleOpen answers calls of a method for nodes that do not know their cluster yet, too. Their requests are short, see
// docs/format/wire.md.
func (t *Transport) HandleOpen(method string, fn Handler) { t.handle(method, handler{true, fn}) }

func (t *Transport) handle(method string, h handler) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if len(method) > nameMax {
		panic("transport: method name too long")
	}
	t.handlers[method] = h
}

// callServer answers the requests of a connection; they are carried out side by side.
type callServer struct {
	t     *Transport
	link  *link
	from  Caller
	ctx   context.Context //nolint:containedctx // the connection's lifetime
	out   *callWriter
	slots chan struct{}
	tasks sync.WaitGroup

	bytes    atomic.Int64 // of requests that are not answered yet
	requests map[uint64]*request
}

// request is one whose body has not arrived as a whole.
type request struct {
	method string
	body   []byte
}

func (t *Transport) serveCalls(l *link) error {
	g := l.greeting
	ctx, cancel := context.WithCancel(t.ctx)
	s := &callServer{
		t: t, link: l, from: Caller{Node: g.Node, Cluster: g.Cluster, Incarnation: g.Incarnation}, ctx: ctx,
		out: newCallWriter(l.Conn), slots: make(chan struct{}, callsServed), requests: make(map[uint64]*request),
	}
	s.tasks.Go(func() { s.out.run(ctx.Done()) })
	defer s.tasks.Wait()
	defer cancel()
	in := bufio.NewReaderSize(l, readBuffer)
	for {
		if err := s.awaitRequest(in); err != nil {
			return err
		}
		f, err := readCall(in)
		if err != nil {
			return err
		}
		if q := s.arrived(&f); q != nil {
			select {
			case s.slots <- struct{}{}:
			case <-t.ctx.Done():
				return ErrClosed
			}
			s.tasks.Go(func() { s.carryOut(f.id, q) })
		}
	}
}

// awaitRequest waits for the first byte of a frame. Guests that ask nothing for long have to go.
func (s *callServer) awaitRequest(in *bufio.Reader) error {
	for {
		_ = s.link.SetReadDeadline(time.Now().Add(silence))
		_, err := in.Peek(1)
		if err == nil {
			// Who has begun a frame ends it in time, too.
			_ = s.link.SetReadDeadline(time.Now().Add(silence))
			return nil
		}
		if !errors.Is(err, os.ErrDeadlineExceeded) || (!s.t.proven(s.link) && len(s.slots) == 0) {
			return err //nolint:wrapcheck // io.EOF is the end
		}
	}
}

// arrived takes a part of a request and returns the request once it is whole. Only the reader calls it.
func (s *callServer) arrived(f *callFrame) *request {
	q := s.requests[f.id]
	switch {
	case f.kind&kindMask == kindAbort:
		s.forget(f.id, q)
		return nil
	case f.first():
		s.forget(f.id, q)
		q = &request{method: f.name}
		s.bytes.Add(requestCost)
	case q == nil:
		return nil // the rest of one that was refused
	}
	limit := int64(guestBytesMax)
	if s.t.proven(s.link) {
		limit = requestBytesMax
	}
	q.add(f)
	if s.bytes.Add(int64(len(f.body))) > limit || len(q.body) > callBodyMax {
		s.forget(f.id, q)
		err := &Coded{codeTooLarge, fmt.Errorf("node %d takes no more than %d bytes of requests at a time", s.t.NodeID(), limit)}
		s.send(f.id, nil, err, nil)
		return nil
	}
	if !f.last() {
		s.requests[f.id] = q
		return nil
	}
	delete(s.requests, f.id)
	return q
}

func (q *request) add(f *callFrame) {
	if f.first() && f.last() {
		q.body = f.body
		return
	}
	q.body = append(q.body, f.body...)
}

func (s *callServer) forget(id uint64, q *request) {
	if q != nil {
		delete(s.requests, id)
		s.bytes.Add(-int64(len(q.body)) - requestCost)
	}
}

func (s *callServer) carryOut(id uint64, q *request) {
	body, err := s.t.answer(s.ctx, s.from, q.method, q.body)
	s.bytes.Add(-int64(len(q.body)) - requestCost)
	s.send(id, body, err, func() { <-s.slots })
}

// send queues an answer. Its slot is held until it has left: one who does not read his answers asks nothing more.
func (s *callServer) send(id uint64, body []byte, err error, written func()) {
	o := &outgoing{id: id, kind: kindOK, body: body, written: written}
	if err == nil && len(body) > callBodyMax {
		err = fmt.Errorf("transport: an answer of %d bytes is too large", len(body))
	}
	if err != nil {
		text := err.Error()
		o.kind, o.name, o.body = kindError, codeOf(err), []byte(text[:min(len(text), errorTextMax)])
	}
	switch {
	case written == nil:
		if !s.out.put(o, refusalsMax) {
			s.link.cut() // it asks on and on, and does not read
		}
	case !s.out.put(o, 0):
		written()
	}
}

func codeOf(err error) (code string) {
	var remote *RemoteError // passed on
	var coded *Coded
	switch {
	case errors.As(err, &remote):
		code = remote.Code
	case errors.As(err, &coded):
		code = coded.Code
	}
	return code[:min(len(code), nameMax)]
}

func (t *Transport) answer(ctx context.Context, from Caller, method string, body []byte) ([]byte, error) {
	t.mu.Lock()
	h, who := t.handlers[method], *t.who.Load()
	t.mu.Unlock()
	switch {
	case h.fn == nil:
		return nil, &Coded{codeUnknownMethod, fmt.Errorf("node %d does not answer %q", who.node, method)}
	case !h.open && (who.cluster == "" || from.Cluster != who.cluster):
		return nil, fmt.Errorf("%w: %q is for nodes of cluster %q", ErrForeign, method, who.cluster)
	}
	return h.fn(ctx, from, body)
}

// IsUnknownMethod reports whether a call failed because nobody answers it there.
func IsUnknownMethod(err error) bool {
	return codeOf(err) == codeUnknownMethod
}
