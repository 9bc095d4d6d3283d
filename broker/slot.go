package broker

import (
	"net"
	"sync/atomic"
	"time"

	"github.com/stelemq/stele/protocol"
)

// States of a slot that holds a Produce.
const (
	slotPending   int32 = iota // appends are under way
	slotReady                  // all have been answered
	slotAbandoned              // the connection ended first; the last append to be answered cleans up
)

// slot is one request on its way: the reader makes it, and the writer answers it when its turn comes.
type slot struct {
	api           *api
	version       int16
	correlationID int32
	// req holds the request's frame of size bytes, body is the part of it behind the header.
	req  *buffer
	size int
	body []byte

	received, started, appended, handled time.Time

	// produce is set for Produce: the request's appends are under way. Everything else is carried out
	// by the writer when the slot's turn comes.
	produce *produceCall
	state   atomic.Int32
	// ready gets a value when state becomes slotReady.
	ready chan struct{}

	// The answer.
	out    net.Buffers
	outLen int
	held   []*buffer // released when out has been written
	silent bool      // no response is sent
	hangUp error     // why the connection ends after this request
}

func (b *Broker) newSlot() *slot {
	if s, ok := b.slots.Get().(*slot); ok {
		return s
	}
	return &slot{ready: make(chan struct{}, 1)}
}

// recycle gives the slot back; its ready channel must be empty and nobody else may hold it.
func (b *Broker) recycle(s *slot) {
	clear(s.out)
	s.api, s.version, s.correlationID = nil, 0, 0
	s.size, s.body, s.produce = 0, nil, nil
	s.state.Store(slotPending)
	s.out, s.outLen, s.silent, s.hangUp = s.out[:0], 0, false, nil
	b.slots.Put(s)
}

// complete marks a Produce as answered. The caller must not touch the slot afterwards.
func (s *slot) complete() {
	if s.state.CompareAndSwap(slotPending, slotReady) {
		s.ready <- struct{}{}
		return
	}
	s.releaseBuffers()
}

// releaseBuffers lets go of the request's frame and what the answer was made of.
func (s *slot) releaseBuffers() {
	if s.req != nil {
		s.req.release()
		s.req = nil
	}
	for i, b := range s.held {
		b.release()
		s.held[i] = nil
	}
	s.held = s.held[:0]
}

// clientID is what the client calls itself; it aliases the request's frame.
func (s *slot) clientID() []byte {
	h, _, err := protocol.ParseRequestHeader(s.req.b)
	if err != nil {
		return nil // not reached: it was parsed before
	}
	return h.ClientID
}

// hold keeps a buffer until the answer has been written.
func (s *slot) hold(b *buffer) { s.held = append(s.held, b) }

// push adds bytes to the answer.
func (s *slot) push(p []byte) {
	s.out = append(s.out, p)
	s.outLen += len(p)
}
