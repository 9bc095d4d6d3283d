package broker

import (
	"bufio"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"runtime/debug"
	"sync/atomic"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// Bounds of one connection.
const (
	// maxPipelined is how many requests may wait for their answers; further ones are not read.
	maxPipelined = 256
	// readAhead is the size of the buffer that frames' heads are read through.
	readAhead = 4 << 10
	// firstRead is the most that is allocated for a frame before its bytes have begun to arrive.
	firstRead = 1 << 20
	// leastRate is the slowest a peer may send or take bytes, per second.
	leastRate = 64 << 10
	// writeBatch is when the writer stops collecting answers for one write.
	writeBatch = 1 << 20
)

// Reasons why connections end, as the metric says them.
const (
	closedByClient   = "client"
	closedIdle       = "idle"
	closedSlow       = "slow"
	closedProtocol   = "protocol_error"
	closedByAnswer   = "request_error"
	closedByShutdown = "shutdown"
	closedError      = "error"
	closedRefused    = "limit"
)

var (
	errFrame    = errors.New("invalid frame")
	errHangUp   = errors.New("request ends the connection")
	errDraining = errors.New("shutting down")
	errIdle     = errors.New("idle")
	errSlow     = errors.New("too slow")
	errPanic    = errors.New("handler panicked")
)

// conn is one connection: run reads, write answers.
type conn struct {
	b        *Broker
	nc       net.Conn
	listener *listener
	remote   netip.Addr
	log      *slog.Logger
	ctx      context.Context //nolint:containedctx // the connection's life, which its requests share
	cancel   context.CancelCauseFunc

	slots chan *slot // in the order of the requests; closed by the reader
	queue *budget    // bytes of requests not yet answered
	// waiting is how many slots are not answered; serial how many of them the writer must carry out
	// before a later Produce may be appended.
	waiting    atomic.Int32
	serial     atomic.Int32
	serialDone chan struct{}
	// What follows belongs to the writer.
	software     *clientSoftware
	fetchRequest kmsg.FetchRequest
	fetchHint    int // bytes of the last Fetch's records
	fetchAnswer  fetchAnswer
	draining     atomic.Bool
	client       string // the client id of the last request that was counted
	// mutedUntil is until when the connection is not read, in nanoseconds since 1970; 0: it is.
	mutedUntil atomic.Int64
}

// serve runs the connection until it ends.
func (c *conn) serve() {
	written := make(chan struct{})
	go func() {
		defer close(written)
		c.write()
	}()
	err := c.read()
	close(c.slots)
	if !errors.Is(err, errDraining) {
		c.cancel(err)
	}
	<-written
	c.cancel(err)
	if cause := context.Cause(c.ctx); cause != nil {
		err = cause
	}
	if cerr := c.nc.Close(); cerr != nil && !errors.Is(cerr, net.ErrClosed) {
		c.log.Debug("close connection", "error", cerr)
	}
	reason := closeReason(err)
	c.b.metrics.connectionClosed(c.listener.Name, reason)
	if c.software != nil {
		c.b.metrics.clientGone(*c.software)
	}
	level := slog.LevelDebug
	if reason == closedProtocol || errors.Is(err, errPanic) {
		level = slog.LevelWarn
	}
	c.log.Log(context.Background(), level, "connection closed", "reason", reason, "error", err)
}

func closeReason(err error) string {
	switch {
	case err == nil, errors.Is(err, io.EOF), errors.Is(err, net.ErrClosed):
		return closedByClient
	case errors.Is(err, errDraining):
		return closedByShutdown
	case errors.Is(err, errIdle):
		return closedIdle
	case errors.Is(err, errSlow):
		return closedSlow
	case errors.Is(err, errFrame):
		return closedProtocol
	case errors.Is(err, errHangUp), errors.Is(err, errPanic):
		return closedByAnswer
	}
	return closedError
}

// drain makes the reader stop; requests read so far are answered.
func (c *conn) drain() {
	c.draining.Store(true)
	_ = c.nc.SetReadDeadline(time.Unix(1, 0))
}

// read takes frames until the connection ends.
func (c *conn) read() (err error) {
	defer func() {
		if p := recover(); p != nil {
			c.log.Error("request handler panicked", "panic", p, "stack", string(debug.Stack()))
			err = fmt.Errorf("%w: %v", errPanic, p)
		}
	}()
	r := bufio.NewReaderSize(c.nc, readAhead)
	for {
		size, err := c.readSize(r)
		if err != nil {
			return err
		}
		if err := c.awaitUnmuted(); err != nil { // it may have been muted while the reader waited
			return err
		}
		if err := c.admit(int64(size)); err != nil {
			return err
		}
		frame, err := c.readFrame(r, size)
		if err != nil {
			c.forget(int64(size))
			return err
		}
		if err := c.accept(frame); err != nil {
			return err
		}
	}
}

// readSize waits for a frame to begin.
func (c *conn) readSize(r *bufio.Reader) (int, error) {
	for {
		if r.Buffered() < 4 {
			if err := c.nc.SetReadDeadline(c.b.now().Add(c.b.opts.Config.MaxIdle)); err != nil {
				return 0, fmt.Errorf("set deadline: %w", err)
			}
		}
		if c.draining.Load() { // after SetReadDeadline, which may have undone drain's
			return 0, errDraining
		}
		head, err := r.Peek(4)
		if err == nil {
			size := int32(binary.BigEndian.Uint32(head)) //nolint:gosec // the wire's type is signed
			if size < 8 || int(size) > c.b.opts.Config.MaxRequestBytes {
				return 0, fmt.Errorf("%w: %d bytes; socket.request.max.bytes is %d", errFrame, size, c.b.opts.Config.MaxRequestBytes)
			}
			_, _ = r.Discard(4)
			return int(size), nil
		}
		switch {
		case c.draining.Load():
			return 0, errDraining
		case errors.Is(err, os.ErrDeadlineExceeded) && r.Buffered() > 0:
			return 0, errSlow
		case errors.Is(err, os.ErrDeadlineExceeded) && c.waiting.Load() > 0:
			continue
		case errors.Is(err, os.ErrDeadlineExceeded):
			return 0, errIdle
		}
		return 0, err //nolint:wrapcheck // io.EOF or the socket's error, classified by closeReason
	}
}

// admit waits until the connection and the broker may hold size more bytes.
func (c *conn) admit(size int64) error {
	if err := c.queue.take(c.ctx, size); err != nil {
		return err
	}
	if err := c.b.requestMemory.take(c.ctx, size); err != nil {
		c.queue.give(size)
		return err
	}
	return nil
}

func (c *conn) forget(size int64) {
	c.queue.give(size)
	c.b.requestMemory.give(size)
}

// readFrame reads size bytes. New memory grows with what has arrived, so that a claim alone costs little.
func (c *conn) readFrame(r io.Reader, size int) (*buffer, error) {
	grace := c.b.opts.Config.FrameTimeout + time.Duration(size)*time.Second/leastRate
	if buffered, ok := r.(*bufio.Reader); !ok || buffered.Buffered() < size {
		if err := c.nc.SetReadDeadline(c.b.now().Add(grace)); err != nil {
			return nil, fmt.Errorf("set deadline: %w", err)
		}
	}
	buf := c.b.buffers.used(size)
	if buf == nil {
		buf = c.b.buffers.get(min(size, firstRead))
	}
	for have := 0; ; {
		n, err := io.ReadFull(r, buf.b[have:])
		if err != nil {
			buf.release()
			if errors.Is(err, os.ErrDeadlineExceeded) {
				err = errSlow
				if c.draining.Load() {
					err = errDraining
				}
			}
			return nil, fmt.Errorf("read frame: %w", err)
		}
		if have += n; have == size {
			return buf, nil
		}
		larger := c.b.buffers.get(min(size, 4*have))
		copy(larger.b, buf.b)
		buf.release()
		buf = larger
	}
}

// accept turns a frame into a slot, starts it if it is a Produce, and hands it to the writer.
func (c *conn) accept(frame *buffer) error {
	s := c.b.newSlot()
	s.req, s.size, s.received = frame, len(frame.b), c.b.now()
	if err := c.parse(s); err != nil {
		c.finish(s)
		return err
	}
	if s.api.key == keyProduce {
		if err := c.awaitSerial(); err != nil {
			c.finish(s)
			return err
		}
		s.started = c.b.now()
		if err := startProduce(c, s); err != nil {
			s.produce = nil
			c.finish(s)
			return err
		}
	} else if s.api.key != keyFetch {
		c.serial.Add(1)
	}
	c.waiting.Add(1)
	select {
	case c.slots <- s:
		return nil
	case <-c.ctx.Done():
		c.abandon(s)
		return context.Cause(c.ctx)
	}
}

// finish returns what a slot holds once nobody else needs it.
func (c *conn) finish(s *slot) {
	s.releaseBuffers()
	c.forget(int64(s.size))
}

// abandon lets go of a slot whose answer nobody will send. A Produce under way keeps its frame until the
// last append has been answered.
func (c *conn) abandon(s *slot) {
	if s.produce == nil || !s.state.CompareAndSwap(slotPending, slotAbandoned) {
		c.finish(s)
		return
	}
	c.forget(int64(s.size))
}

// awaitSerial waits until the writer has carried out what was asked before.
func (c *conn) awaitSerial() error {
	for c.serial.Load() > 0 {
		select {
		case <-c.serialDone:
		case <-c.ctx.Done():
			return context.Cause(c.ctx)
		}
	}
	return nil
}
