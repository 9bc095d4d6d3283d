package broker

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"runtime/debug"
	"time"
)

// responseWriter collects answers and writes several by one call.
type responseWriter struct {
	c     *conn
	slots []*slot
	iov   net.Buffers // kept for its capacity
	bufs  net.Buffers // what WriteTo consumes
	bytes int
}

// write answers requests in their order until the reader has ended and all are answered, or the
// connection's context ends.
func (c *conn) write() {
	w := &responseWriter{c: c}
	err := c.answerAll(w)
	if err == nil {
		err = w.flush()
	}
	if err != nil {
		c.cancel(err)
		_ = c.nc.Close() // wakes the reader
	}
	w.drop()
	for s := range c.slots {
		c.abandon(s)
	}
}

func (c *conn) answerAll(w *responseWriter) error {
	for {
		s, ok, err := c.nextSlot(w)
		if err != nil || !ok {
			return err
		}
		if err := c.answer(w, s); err != nil {
			return err
		}
		if w.bytes >= writeBatch {
			if err := w.flush(); err != nil {
				return err
			}
		}
	}
}

// nextSlot returns the next request in order; it writes what has been collected before it waits.
func (c *conn) nextSlot(w *responseWriter) (s *slot, ok bool, err error) {
	select {
	case s, ok = <-c.slots:
		return s, ok, nil
	default:
	}
	if err := w.flush(); err != nil {
		return nil, false, err
	}
	select {
	case s, ok = <-c.slots:
		return s, ok, nil
	case <-c.ctx.Done():
		return nil, false, context.Cause(c.ctx)
	}
}

// answer completes one slot and gives its response to the writer.
func (c *conn) answer(w *responseWriter, s *slot) error {
	if s.produce != nil {
		if err := c.awaitProduce(w, s); err != nil {
			c.abandon(s)
			return err
		}
	} else {
		if err := w.flush(); err != nil {
			c.abandon(s)
			return err
		}
		s.started = c.b.now()
		err := c.carryOut(s)
		if s.api.key != keyFetch {
			c.serial.Add(-1)
			signal(c.serialDone)
		}
		if err != nil {
			c.finish(s)
			return err
		}
	}
	s.handled = c.b.now()
	hangUp := s.hangUp
	w.add(s)
	if hangUp != nil {
		if err := w.flush(); err != nil {
			return err
		}
		return fmt.Errorf("%w: %w", errHangUp, hangUp)
	}
	return nil
}

func (c *conn) awaitProduce(w *responseWriter, s *slot) error {
	select {
	case <-s.ready:
	default:
		if err := w.flush(); err != nil {
			return err
		}
		select {
		case <-s.ready:
		case <-c.ctx.Done():
			return context.Cause(c.ctx)
		}
	}
	return finishProduce(c, s)
}

// carryOut runs the handler of a request; a panic ends the connection, not the process.
func (c *conn) carryOut(s *slot) (err error) {
	defer func() {
		if p := recover(); p != nil {
			c.log.Error("request handler panicked", "api", s.api.name, "panic", p, "stack", string(debug.Stack()))
			err = fmt.Errorf("%w: %v", errPanic, p)
		}
	}()
	return s.api.handle(c, s)
}

func (w *responseWriter) add(s *slot) {
	w.slots = append(w.slots, s)
	if !s.silent {
		w.iov = append(w.iov, s.out...)
		w.bytes += s.outLen
	}
}

// flush writes what has been collected.
func (w *responseWriter) flush() error {
	if len(w.slots) == 0 {
		return nil
	}
	c := w.c
	if w.bytes > 0 {
		grace := c.b.opts.Config.FrameTimeout + time.Duration(w.bytes)*time.Second/leastRate
		if err := c.nc.SetWriteDeadline(c.b.now().Add(grace)); err != nil {
			return fmt.Errorf("set deadline: %w", err)
		}
		w.bufs = w.iov
		if _, err := w.bufs.WriteTo(c.nc); err != nil {
			if errors.Is(err, os.ErrDeadlineExceeded) {
				err = errSlow
			}
			return fmt.Errorf("write response: %w", err)
		}
	}
	now := c.b.now()
	for _, s := range w.slots {
		c.b.metrics.requestDone(s, now)
	}
	w.drop()
	return nil
}

// drop lets go of everything collected.
func (w *responseWriter) drop() {
	for i, s := range w.slots {
		w.c.finish(s)
		if s.produce != nil {
			s.produce.recycle(w.c.b)
		}
		w.c.b.recycle(s)
		w.c.waiting.Add(-1)
		w.slots[i] = nil
	}
	w.slots, w.bytes = w.slots[:0], 0
	clear(w.iov[:cap(w.iov)])
	w.iov, w.bufs = w.iov[:0], nil
}
