package workload

import (
	"bufio"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"
)

const (
	// requestTimeout is how long an answer may take before the connection is given up.
	requestTimeout = 5 * time.Second
	// dialTimeout is short: a broker that does not accept within it is as good as gone.
	dialTimeout = time.Second
	// retryPause is the time between two tries to connect.
	retryPause = 10 * time.Millisecond
	maxAnswer  = 64 << 20
)

// conn is one connection: requests may be written while answers are outstanding, which come in order.
type conn struct {
	addr   string
	net    net.Conn
	in     *bufio.Reader
	format *kmsg.RequestFormatter
	next   int32 // correlation id of the next request
}

// dialOnce connects, or fails within dialTimeout.
func dialOnce(ctx context.Context, addr string) (*conn, error) {
	d := net.Dialer{Timeout: dialTimeout}
	c, err := d.DialContext(ctx, "tcp", addr)
	if err != nil {
		return nil, err
	}
	return &conn{addr: addr, net: c, in: bufio.NewReaderSize(c, 64<<10), format: kmsg.NewRequestFormatter(kmsg.FormatterClientID("robustness"))}, nil
}

func pause(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-t.C:
		return nil
	}
}

func (c *conn) close() { _ = c.net.Close() }

// write sends a request without waiting for its answer.
func (c *conn) write(req kmsg.Request, within time.Duration) error {
	if err := c.net.SetDeadline(time.Now().Add(within)); err != nil {
		return err
	}
	_, err := c.net.Write(c.format.AppendRequest(nil, req, c.next))
	c.next++
	return err
}

var errAnswer = errors.New("malformed answer")

// read reads the answer with that correlation id into resp.
func (c *conn) read(id int32, resp kmsg.Response) error {
	var size [4]byte
	if _, err := io.ReadFull(c.in, size[:]); err != nil {
		return err
	}
	n := binary.BigEndian.Uint32(size[:])
	if n < 4 || n > maxAnswer {
		return fmt.Errorf("%w of %d bytes", errAnswer, n)
	}
	body := make([]byte, n)
	if _, err := io.ReadFull(c.in, body); err != nil {
		return err
	}
	if got := int32(binary.BigEndian.Uint32(body)); got != id {
		return fmt.Errorf("%w: correlation id %d, want %d", errAnswer, got, id)
	}
	body = body[4:]
	if resp.IsFlexible() { // the header's tags: none are defined
		if len(body) == 0 || body[0] != 0 {
			return fmt.Errorf("%w: tags in the header", errAnswer)
		}
		body = body[1:]
	}
	return resp.ReadFrom(body)
}

// do sends a request and waits for its answer. Nothing else may be outstanding.
func (c *conn) do(req kmsg.Request, resp kmsg.Response) error {
	return c.doWithin(req, resp, requestTimeout)
}

// doWithin is do with another limit than requestTimeout.
func (c *conn) doWithin(req kmsg.Request, resp kmsg.Response, within time.Duration) error {
	resp.SetVersion(req.GetVersion())
	id := c.next
	if err := c.write(req, within); err != nil {
		return err
	}
	return c.read(id, resp)
}
