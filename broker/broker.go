package broker

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"

	"github.com/stelemq/stele/broker/controller"
	"github.com/stelemq/stele/broker/metadata"
	"github.com/stelemq/stele/broker/quota"
	"github.com/stelemq/stele/broker/telemetry"
	"github.com/stelemq/stele/broker/topicconfig"
	"github.com/stelemq/stele/dledger/transport"
	"github.com/stelemq/stele/protocol"
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
	// Transport reaches the other brokers, and is the Host's, too; the broker does not close it. nil: a
	// node alone.
	Transport *transport.Transport
	// RaftAddress is where the other brokers reach this one, empty: nowhere. DirectoryID names its data directory, and
	// MetadataReplica its replica of the metadata, which may change; nil: it has none. They are registered.
	RaftAddress     string
	DirectoryID     string
	MetadataReplica func() uint64
	// Incarnation names this start, and Follows those before it that the data directory remembers
	// (metadata.RegisterBroker). Empty: it is made up, and nothing is said.
	Incarnation string
	Follows     []string
	Config      Config
	// Logger must not be nil.
	Logger *slog.Logger
	// Registerer takes the broker's metrics and Gatherer serves /metrics; nil: a registry of its own.
	Registerer prometheus.Registerer
	Gatherer   prometheus.Gatherer
	// Version and Revision of the program, for build_info.
	Version, Revision string
	// Live are told the value of a dynamic setting that others than the broker follow, at start and whenever it changes; by
	// the goroutine that applies metadata: they must not block.
	Live map[string]func(value string)
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
	opts       Options
	log        *slog.Logger
	now        func() time.Time
	gatherer   prometheus.Gatherer
	registerer prometheus.Registerer

	apis       map[int16]*api
	errorCodes map[error]protocol.Code
	settings   map[string]*Setting
	schema     *topicconfig.Schema

	metrics       *metrics
	groupSeries   *groupSeries
	buffers       *bufferPool
	slots         sync.Pool
	produceCalls  sync.Pool
	requestMemory *budget
	partitions    *partitions
	leaders       *leaderTable
	announcer     *announcer
	replicas      *replicas
	liveness      *liveness
	reregister    chan struct{}
	controlWake   chan struct{} // something has changed that the controller goes by
	sessions      *fetchSessions
	coordinators  *coordinators
	producerIDs   producerIDs
	live          live
	quotas        *quota.Meter
	telemetry     *telemetry.Store
	quorumMembers atomic.Pointer[[]controller.Member] // of the metadata group, as this broker last knew as the controller
	incarnation   string                              // differs for each start

	ready   chan struct{}
	drained chan struct{} // closed when shutting down: what waits gives its answer
	// ending ends a moment after drained was closed: changes of the metadata that nobody has decided by then, for want of
	// a majority, are given up.
	ending    context.Context //nolint:containedctx // see above
	endingNow context.CancelFunc
	proposing atomic.Int64
	server    atomic.Pointer[server]
	http      atomic.Pointer[httpServer]

	started atomic.Bool
	stop    context.CancelCauseFunc
	running context.Context //nolint:containedctx // ended by Close
	done    chan struct{}   // closed when Run has returned
}

// New checks the options, makes a broker and registers its metrics; it does no I/O.
// Errors: ErrOptions.
func New(o Options) (*Broker, error) {
	switch {
	case o.Host == nil || o.Metadata == nil || o.Logger == nil:
		return nil, fmt.Errorf("%w: Host, Metadata and Logger are required", ErrOptions)
	case len(o.Listeners) == 0:
		return nil, fmt.Errorf("%w: no listener", ErrOptions)
	case o.NodeID < 0:
		return nil, fmt.Errorf("%w: node id %d", ErrOptions, o.NodeID)
	case (o.Registerer == nil) != (o.Gatherer == nil):
		return nil, fmt.Errorf("%w: Registerer and Gatherer go together", ErrOptions)
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Registerer == nil {
		registry := prometheus.NewRegistry()
		o.Registerer, o.Gatherer = registry, registry
	}
	b := &Broker{
		opts: o, log: o.Logger, now: o.Now, registerer: o.Registerer,
		errorCodes: logErrors(), schema: topicconfig.NewSchema(), settings: make(map[string]*Setting, len(o.Config.Settings)),
		metrics: newMetrics(), buffers: &bufferPool{}, requestMemory: newBudget(o.Config.RequestMemory),
		sessions: newFetchSessions(o.Config.FetchSessionSlots, o.Now),
		ready:    make(chan struct{}), drained: make(chan struct{}), done: make(chan struct{}),
	}
	for i := range o.Config.Settings {
		b.settings[o.Config.Settings[i].Name] = &o.Config.Settings[i]
	}
	b.ending, b.endingNow = context.WithCancel(context.Background())
	b.running, b.stop = context.WithCancelCause(context.Background())
	if b.incarnation = o.Incarnation; b.incarnation == "" {
		b.incarnation = newTopicID().String()
	}
	b.partitions = newPartitions(b)
	b.coordinators = newCoordinators(b)
	b.leaders = newLeaderTable(b.now)
	b.announcer = newAnnouncer(b)
	b.replicas = newReplicas(b)
	b.liveness = newLiveness(b.now)
	b.reregister, b.controlWake = make(chan struct{}, 1), make(chan struct{}, 1)
	b.producerIDs.b = b
	b.quotas, b.telemetry = quota.NewMeter(), telemetry.NewStore()
	b.groupSeries = newGroupSeries(b)
	b.gatherer = gatherer{b, o.Gatherer}
	b.buildAPIs()
	if err := b.registerMetrics(); err != nil {
		return nil, err
	}
	return b, nil
}

func (b *Broker) registerMetrics() error {
	all := append(b.metrics.collectors(), newPartitionCollector(b), newTelemetryCollector(b),
		collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	for _, c := range all {
		var already prometheus.AlreadyRegisteredError
		if err := b.registerer.Register(c); err != nil && !errors.As(err, &already) {
			return fmt.Errorf("%w: metrics: %w", ErrOptions, err)
		}
	}
	return nil
}

// Run opens the listeners, registers the broker and serves until ctx ends or Close is called; then it
// stops accepting, lets requests in progress finish within Config.ShutdownTimeout and returns. It does
// not close the Host. It may be called once.
func (b *Broker) Run(ctx context.Context) error {
	if !b.started.CompareAndSwap(false, true) {
		return ErrClosed
	}
	defer close(b.done)
	if b.running.Err() != nil {
		return ErrClosed
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	stopAfter := context.AfterFunc(b.running, func() { cancel(ErrClosed) })
	defer stopAfter()

	s, err := b.listen(ctx)
	if err != nil {
		return err
	}
	h, err := b.listenHTTP(ctx)
	if err != nil {
		s.closeListeners()
		return err
	}
	b.server.Store(s)
	b.http.Store(h)
	background, stopBackground := context.WithCancel(context.WithoutCancel(ctx))
	var wg sync.WaitGroup
	b.opts.Host.WatchLeadership(b.announcer.note)
	defer b.opts.Host.WatchLeadership(nil)
	b.handleCalls()
	defer b.followSettings()()
	b.work(background, &wg)
	watch := b.opts.Metadata.Watch(func(metadata.Change) {
		if err := b.opts.Metadata.Err(); err != nil {
			cancel(fmt.Errorf("metadata: %w", err))
		}
	})
	wg.Go(func() { b.register(ctx, s, cancel) })
	// Who connects now waits in the listener's backlog until Metadata can name this broker. Without a
	// quorum of the metadata that may take long: what this broker leads is served all the same.
	select {
	case <-b.ready:
	case <-time.After(registerWait):
	case <-ctx.Done():
	}
	s.serve()

	<-ctx.Done()
	cause := context.Cause(ctx)
	watch()
	if errors.Is(cause, context.Canceled) || errors.Is(cause, ErrClosed) {
		own, done := context.WithTimeout(background, b.opts.Config.ShutdownTimeout/2)
		b.handOver(own)
		done()
	}
	defer b.drain()()
	s.shutdown(b.opts.Config.ShutdownTimeout)
	stopBackground()
	wg.Wait()
	b.coordinators.close()
	h.stop()
	if errors.Is(cause, context.Canceled) || errors.Is(cause, ErrClosed) {
		return nil
	}
	return cause
}

// drain has what waits give its answer, and gives changes of the metadata up a moment later.
func (b *Broker) drain() (stop func()) {
	close(b.drained)
	giveUp := time.AfterFunc(drainProposals, b.endingNow)
	return func() { giveUp.Stop() }
}

// drainProposals is how long a stopping broker waits for changes of the metadata that clients have asked for.
const drainProposals = time.Second

// work begins what goes on in the background until ctx ends.
func (b *Broker) work(ctx context.Context, wg *sync.WaitGroup) {
	wg.Go(func() { b.announcer.run(ctx) })
	wg.Go(func() { b.replicas.run(ctx) })
	wg.Go(func() { b.sendHeartbeats(ctx) })
	wg.Go(func() { newControl(b).run(ctx) })
	wg.Go(func() { b.partitions.run(ctx) })
}

// registerWait is how long the first connections wait for the broker's registration.
const registerWait = 2 * time.Second

// register makes this broker known to the cluster, and again whenever the cluster has forgotten it.
func (b *Broker) register(ctx context.Context, s *server, fail context.CancelCauseFunc) {
	if !b.registerOnce(ctx, s, fail) {
		return
	}
	close(b.ready)
	b.setStraysAside()
	for {
		select {
		case <-ctx.Done():
			return
		case <-b.reregister:
			if !b.registerOnce(ctx, s, fail) {
				return
			}
		}
	}
}

// registerOnce reports whether the broker is registered; otherwise it has failed, or ctx has ended.
func (b *Broker) registerOnce(ctx context.Context, s *server, fail context.CancelCauseFunc) bool {
	id := b.opts.Config.ClusterID
	if id == "" {
		id = newTopicID().String() // Kafka's form of a cluster id: a UUID
	}
	c := &metadata.RegisterBroker{
		Node: b.opts.NodeID, Rack: b.opts.Config.Rack, Endpoints: s.endpoints(), Incarnation: b.incarnation, ClusterID: id,
		RaftAddress: b.opts.RaftAddress, DirectoryID: b.opts.DirectoryID, MetadataReplica: b.metadataReplica(),
		Follows: b.opts.Follows,
	}
	r, err := b.retryPropose(ctx, c)
	for refused := (*metadata.Error)(nil); errors.As(err, &refused) && c.MetadataReplica != b.metadataReplica(); {
		// The node has moved to another metadata group while it waited for the one before.
		c.MetadataReplica = b.metadataReplica()
		r, err = b.retryPropose(ctx, c)
	}
	if err != nil {
		if ctx.Err() == nil {
			fail(fmt.Errorf("register broker: %w", err))
		}
		return false
	}
	if want := b.opts.Config.ClusterID; want != "" && want != r.ClusterID {
		fail(fmt.Errorf("%w: cluster.id is %q, but the data belongs to cluster %q", ErrOptions, want, r.ClusterID))
		return false
	}
	b.log.Info("broker registered", "node_id", b.opts.NodeID, "cluster_id", r.ClusterID)
	return true
}

// pokeController has the controller, if it is this broker, look again.
func (b *Broker) pokeController() { signal(b.controlWake) }

func (b *Broker) metadataReplica() metadata.ReplicaID {
	if b.opts.MetadataReplica == nil {
		return 0
	}
	return metadata.ReplicaID(b.opts.MetadataReplica())
}

// Close ends Run and waits for it. It is idempotent.
func (b *Broker) Close() error {
	b.stop(ErrClosed)
	if b.started.Load() {
		<-b.done
	}
	return nil
}

// Ready is closed when the listeners are open, the broker is registered and the metadata is known;
// partitions may still be opening (see /readyz).
func (b *Broker) Ready() <-chan struct{} { return b.ready }

// Addr is the address that the named listener is bound to, nil before Run has opened it. An empty name
// means the first listener.
func (b *Broker) Addr(listener string) net.Addr {
	s := b.server.Load()
	if s == nil {
		return nil
	}
	for _, l := range s.listeners {
		if listener == "" || l.Name == listener {
			return l.net.Addr()
		}
	}
	return nil
}

// HTTPAddr is the address of the HTTP listener, nil where there is none.
func (b *Broker) HTTPAddr() net.Addr {
	if h := b.http.Load(); h != nil {
		return h.listener.Addr()
	}
	return nil
}

// ClusterID is the cluster's name, empty before the broker is ready.
func (b *Broker) ClusterID() string { return b.opts.Metadata.Image().ClusterID() }
