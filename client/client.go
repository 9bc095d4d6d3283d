package client

import (
	"context"
	"errors"
	"log/slog"
	"math/rand/v2"
	"net"
	"slices"
	"sync"
	"time"

	kproto "github.com/segmentio/kafka-go/protocol"
)

// Options say where the cluster is and how to talk to it. The zero value is a
// broker on this machine.
type Options struct {
	// Bootstrap are addresses (host:port) of brokers to begin with; the others
	// are learned from them. Default: localhost:9092.
	Bootstrap []string
	// ClientID is what brokers call this client in their logs and metrics.
	// Default: stele.
	ClientID string
	// Dial makes connections; a TLS dialer goes here. Default: plain TCP.
	Dial func(ctx context.Context, network, address string) (net.Conn, error)
	// DialTimeout bounds the making of a connection, the first exchange on it
	// included. Default: 3 s.
	DialTimeout time.Duration
	// RequestTimeout bounds the wait for one answer, beyond what the request
	// itself asks the broker to wait. Default: 30 s.
	RequestTimeout time.Duration
	// MetadataMaxAge is how long a topic's metadata is used before it is asked
	// for again without need. Default: 5 min.
	MetadataMaxAge time.Duration
	// Logger hears of retries and of leaders that move. Default: silence.
	Logger *slog.Logger
}

func (o Options) withDefaults() Options {
	if len(o.Bootstrap) == 0 {
		o.Bootstrap = []string{"localhost:9092"}
	}
	if o.ClientID == "" {
		o.ClientID = "stele"
	}
	if o.Dial == nil {
		o.Dial = new(net.Dialer).DialContext
	}
	if o.DialTimeout <= 0 {
		o.DialTimeout = 3 * time.Second
	}
	if o.RequestTimeout <= 0 {
		o.RequestTimeout = 30 * time.Second
	}
	if o.MetadataMaxAge <= 0 {
		o.MetadataMaxAge = 5 * time.Minute
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	return o
}

// Client knows a cluster: its brokers, its topics and who leads what.
type Client struct {
	opts Options
	pool *pool // control requests

	mu sync.Mutex
	// mu guards:
	closed    bool
	seed      *link  // to the bootstrap address that answered last
	bootstrap string // that address
	cluster   Cluster
	topics    map[string]cachedTopic
}

type cachedTopic struct {
	topic Topic
	at    time.Time
}

// New returns a Client. It does no I/O: the first call that needs the cluster
// connects to it.
func New(o Options) (*Client, error) {
	o = o.withDefaults()
	for _, addr := range o.Bootstrap {
		if _, _, err := net.SplitHostPort(addr); err != nil {
			return nil, &Error{
				Op:     "bootstrap address " + addr,
				Reason: "not host:port",
				Hint:   "Write it as localhost:9092",
				Err:    err,
			}
		}
	}
	c := &Client{opts: o, topics: make(map[string]cachedTopic)}
	c.pool = newPool(c)
	return c, nil
}

// Close closes the connections. It is idempotent.
func (c *Client) Close() error {
	c.mu.Lock()
	c.closed = true
	seed := c.seed
	c.seed = nil
	c.mu.Unlock()
	if seed != nil {
		seed.close(ErrClosed)
	}
	c.pool.close()
	return nil
}

// brokerAddr returns the advertised address of a broker and the bootstrap
// address that it was learned from.
func (c *Client) brokerAddr(id int32) (addr, bootstrap string, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for i := range c.cluster.Brokers {
		if b := &c.cluster.Brokers[i]; b.ID == id {
			return b.Addr(), c.bootstrap, nil
		}
	}
	return "", "", &Error{Op: "connect to a broker", Reason: "the cluster has no broker of that id at present", Err: ErrUnreachable}
}

// anyLink returns a link to whichever broker answers: one that is connected,
// one of the bootstrap addresses, or one that is known from metadata. The
// error is that of the first bootstrap address.
func (c *Client) anyLink(ctx context.Context) (*link, error) {
	c.mu.Lock()
	closed, seed, brokers := c.closed, c.seed, c.cluster.Brokers
	c.mu.Unlock()
	if closed {
		return nil, ErrClosed
	}
	if seed != nil && !seed.broken() {
		return seed, nil
	}
	if l := c.pool.live(); l != nil {
		return l, nil
	}
	var first error
	for _, addr := range c.opts.Bootstrap {
		l, err := dialLink(ctx, &c.opts, addr)
		if err == nil {
			return c.adoptSeed(l)
		}
		if ctx.Err() != nil && first == nil {
			return nil, unreachable(addr, err)
		}
		if first == nil {
			first = unreachable(addr, err)
		}
	}
	for i := range brokers {
		if l, err := c.pool.get(ctx, brokers[i].ID); err == nil {
			return l, nil
		}
	}
	return nil, first
}

// adoptSeed makes l the link for requests that any broker can answer.
func (c *Client) adoptSeed(l *link) (*link, error) {
	c.mu.Lock()
	if c.closed {
		c.mu.Unlock()
		l.close(ErrClosed)
		return nil, ErrClosed
	}
	old := c.seed
	if old != nil && !old.broken() { // another goroutine was first
		c.mu.Unlock()
		l.close(ErrClosed)
		return old, nil
	}
	c.seed, c.bootstrap = l, l.addr
	c.mu.Unlock()
	if old != nil {
		old.close(ErrClosed)
	}
	return l, nil
}

// askAny sends a message to any broker. A connection that breaks is replaced
// once: a broker may have closed it for having been idle.
func (c *Client) askAny(ctx context.Context, msg kproto.Message) (kproto.Message, error) {
	return c.ask(ctx, msg, func() (*link, error) { return c.anyLink(ctx) })
}

// askBroker sends a message to one broker, likewise.
func (c *Client) askBroker(ctx context.Context, id int32, msg kproto.Message) (kproto.Message, error) {
	return c.ask(ctx, msg, func() (*link, error) { return c.pool.get(ctx, id) })
}

func (c *Client) ask(ctx context.Context, msg kproto.Message, connect func() (*link, error)) (kproto.Message, error) {
	for again := false; ; again = true {
		l, err := connect()
		if err != nil {
			return nil, err
		}
		res, err := l.roundTrip(ctx, msg, c.opts.RequestTimeout)
		if err == nil || again || !errors.Is(err, ErrConnectionLost) {
			return res, err
		}
		c.opts.Logger.Debug("connection lost, asking again", "address", l.addr, "error", err)
	}
}

// askAside sends a message that a broker may take long to answer to any broker, on a connection of its own: a broker answers
// the requests of a connection in their order, and others must not wait for this one.
func (c *Client) askAside(ctx context.Context, msg kproto.Message) (kproto.Message, error) {
	c.mu.Lock()
	brokers, closed := slices.Clone(c.cluster.Brokers), c.closed
	c.mu.Unlock()
	if closed {
		return nil, ErrClosed
	}
	rand.Shuffle(len(brokers), func(i, k int) { brokers[i], brokers[k] = brokers[k], brokers[i] })
	for i := range brokers {
		l, err := dialLink(ctx, &c.opts, brokers[i].Addr())
		if err != nil {
			continue
		}
		res, err := l.roundTrip(ctx, msg, c.opts.RequestTimeout)
		l.close(ErrClosed)
		if err == nil || ctx.Err() != nil || !errors.Is(err, ErrConnectionLost) {
			return res, err
		}
	}
	return c.askAny(ctx, msg)
}
