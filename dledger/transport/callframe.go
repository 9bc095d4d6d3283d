package transport

import (
	"bufio"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"sync"
	"time"
)

// A frame of the calls lane carries a request, an answer, or a part of one:
//
//	length of what follows (uint32) | id (uint64) | kind (byte) | length of the name (byte) | name | part of the body
//
// little endian. A body of more than partMax bytes comes in several frames, between which those of other calls may come:
// what is short does not wait behind what is long. The name is in the first: of a request the method, of an error its code.

const (
	callHead = 14
	nameMax  = 255
	partMax  = 64 << 10

	kindOK    = 0 // a request, and its good answer
	kindError = 1 // an answer whose body is the text of an error
	kindAbort = 2 // the rest of the body will not come
	kindMask  = 0x3f
	nothing   = 0xff // there is nothing to send
	// flagMore: another part follows. flagRest: this is not the first part.
	flagMore = 0x80
	flagRest = 0x40
)

type callFrame struct {
	id   uint64
	kind byte
	name string
	body []byte
}

func (f *callFrame) first() bool { return f.kind&flagRest == 0 }
func (f *callFrame) last() bool  { return f.kind&flagMore == 0 }

// readCall reads a frame. Its body is a new slice.
func readCall(r io.Reader) (callFrame, error) {
	var h [callHead]byte
	if _, err := io.ReadFull(r, h[:]); err != nil {
		return callFrame{}, err //nolint:wrapcheck // io.EOF is the end
	}
	n := int64(binary.LittleEndian.Uint32(h[:])) - (callHead - 4)
	f := callFrame{id: binary.LittleEndian.Uint64(h[4:]), kind: h[12]}
	name := int64(h[13])
	if n < name || n-name > partMax || f.kind&kindMask > kindAbort {
		return callFrame{}, fmt.Errorf("%w: call of %d bytes", errFrame, n)
	}
	b := make([]byte, n)
	if _, err := io.ReadFull(r, b); err != nil {
		return callFrame{}, fmt.Errorf("call: %w", err)
	}
	f.name, f.body = string(b[:name]), b[name:]
	return f, nil
}

// outgoing is a request or an answer that is to be sent.
type outgoing struct {
	id   uint64
	kind byte
	name string
	body []byte
	sent int
	// begun: a part may have left. given up: nobody waits any more. Guarded by callWriter.mu.
	begun, abandoned bool
	// written is called once nothing of it waits any more; may be nil.
	written func()
}

// callWriter sends over one connection, parts in turn.
type callWriter struct {
	c    net.Conn
	wake chan struct{}

	mu sync.Mutex
	// mu guards:
	queue []*outgoing
	dead  bool
}

func newCallWriter(c net.Conn) *callWriter { return &callWriter{c: c, wake: make(chan struct{}, 1)} }

// put queues o, unless there are most in the queue already (0: any number); false also when the connection is lost.
func (w *callWriter) put(o *outgoing, most int) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.dead || (most > 0 && len(w.queue) >= most) {
		return false
	}
	w.queue = append(w.queue, o)
	if len(w.queue) == 1 {
		poke(w.wake)
	}
	return true
}

// abandon has no more of o sent.
func (w *callWriter) abandon(o *outgoing) {
	w.mu.Lock()
	defer w.mu.Unlock()
	o.abandoned, o.body = true, nil
}

// part is the next to be sent.
type part struct {
	kind byte
	name string
	body []byte
	done bool
}

// next takes the next part of the oldest in the queue, which goes to its end.
func (w *callWriter) next() (o *outgoing, p part) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if len(w.queue) == 0 {
		return nil, part{}
	}
	o = w.queue[0]
	w.queue[0] = nil
	w.queue = w.queue[1:]
	p = part{kind: o.kind, name: o.name, done: true}
	switch {
	case o.abandoned && !o.begun:
		p.kind = nothing
	case o.abandoned:
		p.kind, p.name = kindAbort|flagRest, ""
	default:
		n := min(len(o.body)-o.sent, partMax)
		p.body = o.body[o.sent : o.sent+n]
		o.sent += n
		if o.begun {
			p.kind, p.name = p.kind|flagRest, ""
		}
		if o.sent < len(o.body) {
			p.kind, p.done = p.kind|flagMore, false
			w.queue = append(w.queue, o)
		}
		o.begun = true
	}
	return o, p
}

// run sends until the connection breaks or stop is closed.
func (w *callWriter) run(stop <-chan struct{}) {
	out := bufio.NewWriterSize(w.c, readBuffer)
	for {
		o, p := w.next()
		if o == nil {
			if out.Flush() != nil {
				break
			}
			select {
			case <-w.wake:
				continue
			case <-stop:
			}
			break
		}
		if p.kind != nothing {
			_ = w.c.SetWriteDeadline(time.Now().Add(writeTimeout))
			err := writeCall(out, o.id, p.kind, p.name, p.body)
			if p.done && o.written != nil {
				o.written()
			}
			if err != nil {
				break
			}
		} else if o.written != nil {
			o.written()
		}
	}
	hangUp(w.c)
	w.mu.Lock()
	defer w.mu.Unlock()
	w.dead = true
	for _, o := range w.queue {
		if o.written != nil {
			o.written()
		}
	}
	w.queue = nil
}

func writeCall(w *bufio.Writer, id uint64, kind byte, name string, body []byte) error {
	h := make([]byte, 0, callHead)
	h = binary.LittleEndian.AppendUint32(h, uint32(callHead-4+len(name)+len(body))) //nolint:gosec // bounded
	h = binary.LittleEndian.AppendUint64(h, id)
	h = append(h, kind, byte(len(name))) //nolint:gosec // bounded
	_, _ = w.Write(h)                    // the writer keeps its error
	_, _ = w.WriteString(name)
	if _, err := w.Write(body); err != nil {
		return fmt.Errorf("write: %w", err)
	}
	return nil
}
