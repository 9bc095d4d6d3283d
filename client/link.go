package client

import (
	"bufio"
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"time"

	kproto "github.com/segmentio/kafka-go/protocol"
	"github.com/segmentio/kafka-go/protocol/apiversions"
)

// answerBytesMax is the largest answer that is read from a broker. Fetch
// requests ask for far less; one batch may be as large as a broker allows.
const answerBytesMax = 1 << 30

// link is one connection to a broker, with any number of requests in flight.
//
// Why not kafka-go's own Transport: a connection of it carries one request at a
// time (transport.go, conn.run: write, then wait for the answer), and what is
// sent meanwhile goes over a second connection, where a broker may handle it
// first. Five batches of a partition can be in flight and stay in order only if
// they follow each other on one connection, since a broker appends the requests
// of a connection in the order in which it reads them. The Transport also
// answers Metadata from a cache that cannot be told that a leader moved. So the
// messages and their encoding are kafka-go's, and the connection is ours.
type link struct {
	conn     net.Conn
	addr     string
	clientID string
	versions map[kproto.ApiKey]versionRange // written before the link is shared

	// writeMu is held over a write, so that pending has the order of the wire.
	// It is locked before mu.
	writeMu sync.Mutex

	mu sync.Mutex
	// mu guards:
	nextID  int32
	pending []*call // in the order of the wire
	err     error   // why the link is broken

	done chan struct{} // closed when the reading goroutine has ended
}

type versionRange struct{ lo, hi int16 }

// call is a request in flight.
type call struct {
	id      int32
	key     kproto.ApiKey
	version int16
	raw     bool // leave the answer undecoded
	timer   *time.Timer
	finish  func(answer)
}

// answer is what became of a call: a message, or the bytes after the response
// header of a raw call, or an error.
type answer struct {
	msg     kproto.Message
	body    []byte
	version int16
	err     error
}

// dialLink connects to addr and asks which versions are served there.
func dialLink(ctx context.Context, o *Options, addr string) (*link, error) {
	dialCtx, cancel := context.WithTimeout(ctx, o.DialTimeout)
	defer cancel()
	conn, err := o.Dial(dialCtx, "tcp", addr)
	if err != nil {
		return nil, err //nolint:wrapcheck // the callers say what the address was for
	}
	l := &link{conn: conn, addr: addr, clientID: o.ClientID, done: make(chan struct{})}
	go l.read()
	msg, err := l.roundTripVersion(dialCtx, new(apiversions.Request), 0, o.DialTimeout)
	if err != nil {
		l.close(ErrClosed)
		return nil, handshakeError(err)
	}
	res := msg.(*apiversions.Response) //nolint:errcheck,forcetypeassert // decoded as such
	if err := codeError("ask for versions", res.ErrorCode, ""); err != nil {
		l.close(ErrClosed)
		return nil, err
	}
	l.versions = make(map[kproto.ApiKey]versionRange, len(res.ApiKeys))
	for _, k := range res.ApiKeys {
		l.versions[kproto.ApiKey(k.ApiKey)] = versionRange{k.MinVersion, k.MaxVersion}
	}
	return l, nil
}

// handshakeError explains what a peer did that took the connection and gave no
// answer of Kafka's.
func handshakeError(err error) error {
	if errors.Is(err, ErrConnectionLost) {
		return fmt.Errorf("it closed the connection: not a Kafka listener, or one that wants TLS: %w", err)
	}
	return err
}

// version is the highest version of an API that kafka-go and the broker know.
func (l *link) version(key kproto.ApiKey) (int16, error) {
	r, ok := l.versions[key]
	hi := min(r.hi, key.MaxVersion())
	if !ok || hi < max(r.lo, key.MinVersion()) {
		return 0, &Error{
			Op: "ask " + l.addr, Reason: fmt.Sprintf("the broker does not serve %s in a version that this client speaks", key),
			Err: ErrUnsupported,
		}
	}
	return hi, nil
}

// roundTrip sends a message and waits for its answer. When the context ends
// first, the answer is dropped as it comes.
func (l *link) roundTrip(ctx context.Context, msg kproto.Message, timeout time.Duration) (kproto.Message, error) {
	version, err := l.version(msg.ApiKey())
	if err != nil {
		return nil, err
	}
	return l.roundTripVersion(ctx, msg, version, timeout)
}

func (l *link) roundTripVersion(ctx context.Context, msg kproto.Message, version int16, timeout time.Duration) (kproto.Message, error) {
	answers := make(chan answer, 1)
	l.send(msg, version, sendOptions{timeout: timeout, finish: func(a answer) { answers <- a }})
	select {
	case a := <-answers:
		return a.msg, a.err
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
}

type sendOptions struct {
	timeout  time.Duration
	raw      bool
	noAnswer bool // the broker sends none (acks=0)
	// finish is called once: from the goroutine that reads, from the one that
	// finds the link broken, or from the caller's own.
	finish func(answer)
}

// send writes a request. Requests are written in the order of the calls as
// long as one goroutine makes them.
func (l *link) send(msg kproto.Message, version int16, o sendOptions) {
	c := &call{key: msg.ApiKey(), version: version, raw: o.raw, finish: o.finish}
	l.exchange(c, o, func(id int32) error { return kproto.WriteRequest(l.conn, version, id, l.clientID, msg) })
}

// exchange writes a request by write, which is given its correlation id, and files the call for its answer.
func (l *link) exchange(c *call, o sendOptions, write func(id int32) error) {
	l.writeMu.Lock()
	defer l.writeMu.Unlock()

	l.mu.Lock()
	if err := l.err; err != nil {
		l.mu.Unlock()
		o.finish(answer{err: err})
		return
	}
	l.nextID++
	c.id = l.nextID
	if !o.noAnswer {
		c.timer = time.AfterFunc(o.timeout, func() { _ = l.fail(fmt.Errorf("%w from %s within %v", ErrTimeout, l.addr, o.timeout)) })
		l.pending = append(l.pending, c)
	}
	l.mu.Unlock()

	_ = l.conn.SetWriteDeadline(time.Now().Add(o.timeout))
	err := write(c.id)
	if err != nil {
		// A request written in part cannot be followed by another one.
		err = l.fail(fmt.Errorf("%w: write to %s: %w", ErrConnectionLost, l.addr, err))
	}
	if o.noAnswer {
		o.finish(answer{version: c.version, err: err})
	}
}

// read takes answers until the connection ends.
func (l *link) read() {
	defer close(l.done)
	r := bufio.NewReaderSize(l.conn, 64<<10)
	for {
		frame, err := readFrame(r)
		if err != nil {
			_ = l.fail(fmt.Errorf("%w: %s: %w", ErrConnectionLost, l.addr, err))
			return
		}
		l.mu.Lock()
		var c *call
		if len(l.pending) > 0 {
			c = l.pending[0]
			l.pending = l.pending[1:]
		}
		l.mu.Unlock()
		if c == nil {
			_ = l.fail(fmt.Errorf("%w: %s sent an answer to nothing", ErrConnectionLost, l.addr))
			return
		}
		c.timer.Stop()
		a := c.decode(frame)
		c.finish(a)
		if a.err != nil {
			_ = l.fail(fmt.Errorf("%w: %s: %w", ErrConnectionLost, l.addr, a.err))
			return
		}
	}
}

// readFrame reads one answer, its length field included.
func readFrame(r io.Reader) ([]byte, error) {
	var head [4]byte
	if _, err := io.ReadFull(r, head[:]); err != nil {
		return nil, err //nolint:wrapcheck // the caller does
	}
	size := binary.BigEndian.Uint32(head[:])
	if size < 4 || size > answerBytesMax {
		return nil, fmt.Errorf("an answer of %d bytes", size)
	}
	frame := make([]byte, 4+size)
	copy(frame, head[:])
	if _, err := io.ReadFull(r, frame[4:]); err != nil {
		return nil, err //nolint:wrapcheck // the caller does
	}
	return frame, nil
}

func (c *call) decode(frame []byte) answer {
	id := int32(binary.BigEndian.Uint32(frame[4:])) //nolint:gosec // the same bits
	if id != c.id {
		return answer{err: fmt.Errorf("%w: answer %d where %d was due", ErrConnectionLost, id, c.id)}
	}
	if c.raw {
		return answer{body: frame[8:], version: c.version}
	}
	_, msg, err := kproto.ReadResponse(bytes.NewReader(frame), c.key, c.version)
	if err != nil {
		return answer{err: fmt.Errorf("%w: decode the answer to %s: %w", ErrConnectionLost, c.key, err)}
	}
	return answer{msg: msg, version: c.version}
}

// fail breaks the link: calls in flight end with err, and so do all later
// ones. It returns the first error that the link was broken with.
func (l *link) fail(err error) error {
	l.mu.Lock()
	if l.err != nil {
		err = l.err
		l.mu.Unlock()
		return err
	}
	l.err = err
	pending := l.pending
	l.pending = nil
	l.mu.Unlock()
	_ = l.conn.Close()
	for _, c := range pending {
		c.timer.Stop()
		c.finish(answer{err: err})
	}
	return err
}

// broken tells whether no more requests can be sent.
func (l *link) broken() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.err != nil
}

// close breaks the link and waits for its goroutine.
func (l *link) close(err error) {
	_ = l.fail(err)
	<-l.done
}
