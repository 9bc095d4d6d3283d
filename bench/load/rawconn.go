package load

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

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/stelemq/stele/protocol"
)

// answerMax bounds the answers that are read.
const answerMax = 256 << 20

// rawConn is a connection with many requests in flight and nothing in between: requests go out in the order of send, and
// answers are handed to receive in that order, which is Kafka's.
type rawConn struct {
	conn     net.Conn
	in       *bufio.Reader
	versions map[int16]int16 // the highest that the broker serves, by API key
	nextID   int32
	scratch  []byte
	answer   []byte
	slots    chan struct{} // bounds what is in flight
}

func dialRaw(ctx context.Context, address string, inFlight int) (*rawConn, error) {
	var d net.Dialer
	conn, err := d.DialContext(ctx, "tcp", address)
	if err != nil {
		return nil, err //nolint:wrapcheck // says operation and address
	}
	c := &rawConn{conn: conn, in: bufio.NewReaderSize(conn, 64<<10), slots: make(chan struct{}, inFlight)}
	if err := c.handshake(); err != nil {
		_ = conn.Close()
		return nil, fmt.Errorf("%s: %w", address, err)
	}
	return c, nil
}

func (c *rawConn) handshake() error {
	const limit = 10 * time.Second
	if err := c.conn.SetDeadline(time.Now().Add(limit)); err != nil {
		return err //nolint:wrapcheck // the caller does
	}
	resp, err := c.roundTrip(kmsg.NewPtrApiVersionsRequest())
	if err != nil {
		return err
	}
	av := resp.(*kmsg.ApiVersionsResponse) //nolint:errcheck,forcetypeassert // decoded as such
	if av.ErrorCode != 0 {
		return protocol.Code(av.ErrorCode)
	}
	c.versions = make(map[int16]int16, len(av.ApiKeys))
	for _, k := range av.ApiKeys {
		c.versions[k.ApiKey] = k.MaxVersion
	}
	return c.conn.SetDeadline(time.Time{}) //nolint:wrapcheck // the caller does
}

// limit lowers a request's version to what the broker serves and to most.
func (c *rawConn) limit(req kmsg.Request, most int16) {
	req.SetVersion(min(most, c.versions[req.Key()]))
}

// send writes a request as soon as fewer than the bound are in flight. One goroutine sends.
func (c *rawConn) send(ctx context.Context, req kmsg.Request) error {
	select {
	case c.slots <- struct{}{}:
	case <-ctx.Done():
		return context.Cause(ctx) //nolint:wrapcheck // an interrupt
	}
	c.nextID++
	c.scratch = kmsg.NewRequestFormatter(kmsg.FormatterClientID("bench")).AppendRequest(c.scratch[:0], req, c.nextID)
	_, err := c.conn.Write(c.scratch)
	return err //nolint:wrapcheck // says operation and address
}

// receive reads the next answer's body into resp, which aliases memory that the next call uses again. One goroutine receives.
func (c *rawConn) receive(resp kmsg.Response) error {
	var head [4]byte
	if _, err := io.ReadFull(c.in, head[:]); err != nil {
		return err //nolint:wrapcheck // says operation and address
	}
	n := binary.BigEndian.Uint32(head[:])
	if n < 4 || n > answerMax {
		return fmt.Errorf("an answer of %d bytes", n)
	}
	if cap(c.answer) < int(n) {
		c.answer = make([]byte, n)
	}
	c.answer = c.answer[:n]
	if _, err := io.ReadFull(c.in, c.answer); err != nil {
		return err //nolint:wrapcheck // says operation and address
	}
	<-c.slots
	body := c.answer[4:]
	if resp.IsFlexible() && resp.Key() != int16(kmsg.ApiVersions) && len(body) > 0 { // the header's tags: brokers send none
		body = body[1:]
	}
	if u, ok := resp.(interface{ UnsafeReadFrom([]byte) error }); ok {
		return u.UnsafeReadFrom(body) //nolint:wrapcheck // the caller does
	}
	return resp.ReadFrom(body) //nolint:wrapcheck // the caller does
}

// roundTrip is send and receive of one; it must not be mixed with others in flight.
func (c *rawConn) roundTrip(req kmsg.Request) (kmsg.Response, error) {
	if err := c.send(context.Background(), req); err != nil {
		return nil, err
	}
	resp := req.ResponseKind()
	if err := c.receive(resp); err != nil {
		return nil, err
	}
	return resp, nil
}

// idle waits until everything is answered, or the time is over, and closes the connection, which ends receive.
func (c *rawConn) idle(limit time.Duration) error {
	timeout := time.NewTimer(limit)
	defer timeout.Stop()
	var err error
	for range cap(c.slots) {
		select {
		case c.slots <- struct{}{}:
		case <-timeout.C:
			err = errors.New("requests were not answered in time")
		}
		if err != nil {
			break
		}
	}
	return errors.Join(err, c.conn.Close())
}

// leaders are the partitions of the topic by the address of the broker that leads them.
func (r *session) leaders(ctx context.Context) (map[string][]int32, error) {
	topics, err := r.admin.Topics(ctx, r.target.Topic)
	if err != nil {
		return nil, err //nolint:wrapcheck // says operation and topic
	}
	cluster, err := r.admin.Cluster(ctx)
	if err != nil {
		return nil, err //nolint:wrapcheck // says operation
	}
	addr := make(map[int32]string)
	for i := range cluster.Brokers {
		addr[cluster.Brokers[i].ID] = cluster.Brokers[i].Addr()
	}
	out := make(map[string][]int32)
	for _, t := range topics {
		for _, p := range t.Partitions {
			a, ok := addr[p.Leader]
			if !ok {
				return nil, fmt.Errorf("partition %s/%d has no leader", t.Name, p.ID)
			}
			out[a] = append(out[a], p.ID)
		}
	}
	return out, nil
}

// both runs two halves of a connection: the sender until it ends, the receiver until the connection is closed. The
// receiver's own error counts only if the sender did not end as it should.
func both(c *rawConn, send, receive func() error) error {
	var wg sync.WaitGroup
	var received error
	wg.Go(func() {
		if received = receive(); received != nil {
			_ = c.conn.Close()
		}
	})
	err := send()
	ended := c.idle(drainTimeout)
	wg.Wait()
	if err == nil && ended != nil {
		return errors.Join(received, ended)
	}
	return err
}
