package dledger

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"github.com/lni/dragonboat/v4"
	"github.com/lni/dragonboat/v4/config"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/stelemq/stele/commitlog"
	"github.com/stelemq/stele/dledger/journal"
	"github.com/stelemq/stele/dledger/transport"
	"github.com/stelemq/stele/internal/vfs"
)

const (
	sweepInterval = 50 * time.Millisecond
	proposers     = 2
	isrSweeps     = 4 // the in-sync replicas are looked at every so many sweeps
)

// Options configure a Host.
type Options struct {
	// Dir is the log directory; created if absent, locked while the host is open.
	Dir    string
	NodeID int32
	FS     vfs.FS       // the operating system's if nil
	Logger *slog.Logger // discards if nil
	// Transport reaches the other nodes; the host does not close it. nil: this node talks to nobody.
	Transport *transport.Transport
	// StateMachine is the cluster metadata, and Metadata this node's part in replicating it.
	StateMachine MetadataStateMachine
	Metadata     MetadataSpec
	// Fatal is called when nothing more can be stored: a write or a sync has failed. It ends the process and
	// does not return.
	Fatal func(error)
	// JournalFileBytes is the size of a journal file; 0 = 32 MiB, less on a small disk.
	JournalFileBytes int64
	// InFlightBytes bounds the bytes of all partitions between arrival and answer; 0 = 32 MiB.
	InFlightBytes int64
	// ReservePercent of the disk stay free: appends are refused below.
	ReservePercent int64
	// ReplicaLagTimeMax is replica.lag.time.max.ms: how long a replica may be behind and still count as in sync; 0 = 30 s.
	ReplicaLagTimeMax time.Duration
	// ControllerLease is how long after it has heard the controller a leader may acknowledge in a topic that allows unclean
	// election. The controller waits longer before it starts a generation (broker.session.timeout.ms). 0 = no such fence:
	// for a node whose metadata has no other member.
	ControllerLease time.Duration
	// CatchUpRate bounds the bytes per second that this node hands to replicas elsewhere that catch up, from its files and,
	// once more, from its Raft logs; 0 = 64 MiB, negative = no bound.
	CatchUpRate int64
	// ProducerExpiry is how long an idempotent producer is remembered after its last batch; 0 = 24 h.
	ProducerExpiry time.Duration
	// RetentionInterval is how often leaders look for records that have expired (log.retention.check.interval.ms); 0 = 1 min.
	RetentionInterval time.Duration
	// Cleaner is what compacts topics.
	Cleaner CleanerOptions
	frames  func(bytes, saves int) // hears of each journal frame, for tests
	reach   int                    // entries that Raft can reach after a start, for tests
	// restAfter is for how long nothing may have happened in a group that is at rest; 0 = 4 s. For tests.
	restAfter time.Duration
	// Damaged is called when a replica has been found damaged that others can replace: by StartPartition, which then fails,
	// or while it runs; then it has been stopped. It must not block. See Host.ReplaceDamaged. nil: nobody is told.
	Damaged func(spec PartitionSpec, err error)
	// Registerer takes the metrics; nil = nobody does.
	Registerer prometheus.Registerer
}

// Host runs this node's replicas and its part of the metadata group. All methods are safe for concurrent use.
type Host struct {
	opts      Options
	logger    *slog.Logger
	metrics   *metrics
	unlock    func() error
	journal   *journal.Journal
	db        *logDB
	nodes     *dragonboat.NodeHost
	transport *transport.Transport
	// ownTransport: the host made it, for want of one in the options.
	ownTransport bool
	registry     *registry
	rtt          peerTimes
	clock        raftClock
	neighbors    *neighbors
	changes      atomic.Uint64 // counts the changes of partitions
	metaBegan    atomic.Int64  // when its replica was started, by monotonic()
	metaNudged   int64         // when nudgeMetadata last did something, by clock; the ticker's
	events       *unloadEvents
	admission    *admission
	space        *spaceGuard
	files        *commitlog.FileCache
	controllerAt atomic.Int64 // by monotonic()
	// lostCache: the machine went down since the last time, and with it what was not synced.
	lostCache  bool
	proposals  chan *Partition // with something to propose; bounded by proposalsQueued
	leadership atomic.Pointer[func(ShardID)]
	meta       atomic.Pointer[MetadataSpec] // this node's part in the metadata
	leftMeta   atomic.Bool                  // the metadata group is not spoken to any more
	moveMeta   sync.Mutex                   // taken to move to another group

	ctx    context.Context //nolint:containedctx // the host's lifetime, ended by Close
	cancel context.CancelFunc
	tasks  sync.WaitGroup

	mu sync.RWMutex // read for each message of Raft: nobody holds it over I/O
	// mu guards:
	partitions map[ShardID]*Partition
	dirs       map[string]ShardID        // in use by partitions that are started, or being started or stopped
	recovered  map[journal.Key]*shardLog // opened by Open, waiting for StartPartition
	replay     *journal.Replayed
	closed     bool

	catching    chan struct{} // taken by replicas of this node that catch up
	behind      chan struct{} // taken by leaders that wait for others to do so
	catchUpRate throttle
	cleanRate   throttle
	trim        chan struct{} // wakes the trimmer
}

// Open locks the directory, recovers what a crash left, and starts this node's part of the metadata group. The
// partitions are started one by one, by StartPartition. Errors: vfs.ErrLocked, ErrUnsupportedVersion.
func Open(ctx context.Context, o Options) (*Host, error) {
	h := newHost(ctx, o)
	if err := h.open(); err != nil {
		return nil, errors.Join(err, h.Close())
	}
	return h, nil
}

func newHost(ctx context.Context, o Options) *Host {
	own := o.Transport == nil
	o = o.withDefaults()
	h := &Host{
		ownTransport: own,
		opts:         o, logger: o.Logger, events: newUnloadEvents(),
		admission: newAdmission(o.InFlightBytes), files: commitlog.NewFileCache(openFilesMax),
		space:      &spaceGuard{fs: o.FS, dir: o.Dir, percent: o.ReservePercent},
		partitions: make(map[ShardID]*Partition), dirs: make(map[string]ShardID), recovered: make(map[journal.Key]*shardLog),
		proposals: make(chan *Partition, proposalsQueued),
		transport: o.Transport, registry: newRegistry(), catchUpRate: newThrottle(o.CatchUpRate), cleanRate: newThrottle(o.Cleaner.IOBytesPerSecond),
		catching: make(chan struct{}, catchUpAtOnce), trim: make(chan struct{}, 1), behind: make(chan struct{}, behindWaiters),
	}
	h.neighbors = newNeighbors(h.transport.SendControl)
	h.controllerAt.Store(-int64(o.ControllerLease) - 1) // not heard yet
	h.setMetadata(o.Metadata)
	h.metrics = newMetrics(h, o.Registerer)
	h.ctx, h.cancel = context.WithCancel(context.WithoutCancel(ctx))
	return h
}

// proposalsQueued bounds the partitions that wait for a proposer; beyond it their producers propose themselves.
const proposalsQueued = 4096

// openFilesMax bounds the open files of closed segments.
const openFilesMax = 1024

func (o Options) withDefaults() Options {
	if o.FS == nil {
		o.FS = vfs.OS{}
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if o.Transport == nil {
		o.Transport = transport.New(transport.Config{NodeID: o.NodeID, Logger: o.Logger})
	}
	if o.Metadata.Replica == 0 {
		o.Metadata = MetadataSpec{Replica: 1, Founders: map[ReplicaID]int32{1: o.NodeID}}
	}
	if o.ReplicaLagTimeMax <= 0 {
		o.ReplicaLagTimeMax = 30 * time.Second
	}
	if o.CatchUpRate == 0 {
		o.CatchUpRate = 64 << 20
	}
	if o.InFlightBytes <= 0 {
		o.InFlightBytes = 32 << 20
	}
	o.Cleaner = o.Cleaner.withDefaults()
	if o.restAfter == 0 {
		o.restAfter = restAfter
	}
	if o.RetentionInterval <= 0 {
		o.RetentionInterval = time.Minute
	}
	if o.ProducerExpiry <= 0 {
		o.ProducerExpiry = 24 * time.Hour
	}
	if o.Fatal == nil {
		o.Fatal = func(err error) { panic(err) } // nothing may be acknowledged after it
	}
	return o
}

func (h *Host) open() error {
	fsys := h.opts.FS
	if err := vfs.MakeDirs(fsys, h.journalDir()); err != nil {
		return err
	}
	var err error
	if h.unlock, err = fsys.Lock(filepath.Join(h.opts.Dir, ".lock")); err != nil {
		return fmt.Errorf("lock %s: %w", h.opts.Dir, err)
	}
	if err := keepReserve(fsys, h.opts.Dir); err != nil {
		return err
	}
	boot := machineBoot()
	if h.lostCache, err = lostPageCache(fsys, h.opts.Dir, boot); err != nil {
		return err
	}
	if err := h.recover(); err != nil {
		return err
	}
	if err := writeBootFile(fsys, h.opts.Dir, bootFile{BootID: boot}); err != nil {
		return err
	}
	h.db = newLogDB(h.journal, h.opts.Fatal, h.metrics)
	h.db.lagRate, h.db.trimmed = newThrottle(h.opts.CatchUpRate), h.trimSoon
	if h.db.mark, err = readMark(h.opts.Dir); err != nil {
		return err
	}
	if err := h.startNodeHost(); err != nil {
		return err
	}
	for range proposers {
		h.tasks.Go(h.proposer)
	}
	h.journal.StartFiller()
	h.tasks.Go(h.sweeper)
	h.tasks.Go(h.flusher)
	h.tasks.Go(h.expirer)
	h.tasks.Go(h.trimmer)
	h.tasks.Go(h.retainer)
	h.startCleaners()
	if h.lostCache {
		h.tasks.Go(h.consult)
	}
	h.tasks.Go(h.standIn)
	h.transport.Handle(callQuarantine, h.answerQuarantine)
	h.handleCatchUp()
	return h.startMetadata()
}

func (h *Host) journalDir() string { return filepath.Join(h.opts.Dir, "journal") }
func (h *Host) raftDir() string    { return filepath.Join(h.opts.Dir, "raft") }

// journalFileBytes is a size that leaves a small disk to the records.
func (h *Host) journalFileBytes() int64 {
	size := h.opts.JournalFileBytes
	if size > 0 {
		return size
	}
	size = 32 << 20
	if _, total, err := h.opts.FS.Free(h.opts.Dir); err == nil {
		size = min(size, max(int64(total)/64, 2<<20)) //nolint:gosec // disks are below 2^63 bytes
	}
	return size
}

func (h *Host) startNodeHost() error {
	if err := followHostname(h.raftDir()); err != nil {
		return err
	}
	bridgeLogs(h.logger)
	tf := &transport.Factory{T: h.transport, Observer: observer{h}, Target: nodeTarget, NodeOf: nodeOf, Covers: covers, Behind: h.tellBehind}
	c := config.NodeHostConfig{
		NodeHostDir:         h.raftDir(),
		RTTMillisecond:      uint64(libraryTick / time.Millisecond),
		RaftAddress:         nodeTarget(h.opts.NodeID),
		NodeHostID:          nodeTarget(h.opts.NodeID),
		SystemEventListener: h.events,
		Expert: config.ExpertConfig{
			FS:           newRaftFS(),
			LogDBFactory: logDBFactory{h.db}, TransportFactory: tf, NodeRegistryFactory: registryFactory{h.registry},
			LogDB: config.GetTinyMemLogDBConfig(),
			Engine: config.EngineConfig{
				ExecShards: execShards, CommitShards: 1, ApplyShards: 8, SnapshotShards: 4, CloseShards: 4,
			},
		},
	}
	nh, err := dragonboat.NewNodeHost(c)
	if err != nil {
		return fmt.Errorf("start raft: %w", err)
	}
	h.nodes = nh
	h.tasks.Go(h.tick)
	return nil
}

// followHostname lets a directory move between machines: dragonboat keeps its files below the host's name.
func followHostname(dir string) error {
	name, err := os.Hostname()
	if err != nil {
		return fmt.Errorf("hostname: %w", err)
	}
	es, err := os.ReadDir(dir)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("read %s: %w", dir, err)
	}
	old := ""
	for _, e := range es {
		if e.IsDir() {
			if e.Name() == name || old != "" {
				return nil
			}
			old = e.Name()
		}
	}
	if old == "" {
		return nil
	}
	// The flag file names the host; without it dragonboat writes a new one.
	flags, err := filepath.Glob(filepath.Join(dir, old, "*", "dragonboat.ds"))
	if err != nil {
		return fmt.Errorf("find flag file: %w", err)
	}
	for _, f := range flags {
		if err := os.Remove(f); err != nil {
			return fmt.Errorf("remove flag file: %w", err)
		}
	}
	if err := os.Rename(filepath.Join(dir, old), filepath.Join(dir, name)); err != nil {
		return fmt.Errorf("follow the host's name: %w", err)
	}
	return nil
}

// sweeper answers what has waited too long.
func (h *Host) sweeper() {
	tick := time.NewTicker(sweepInterval)
	defer tick.Stop()
	for n := 0; ; n++ {
		select {
		case <-h.ctx.Done():
			return
		case now := <-tick.C:
			for _, p := range h.all() {
				p.sweep(now)
				if n%isrSweeps == 0 {
					p.watchISR()
				}
			}
		}
	}
}

func (h *Host) all() []*Partition {
	h.mu.RLock()
	defer h.mu.RUnlock()
	out := make([]*Partition, 0, len(h.partitions))
	for _, p := range h.partitions {
		out = append(out, p)
	}
	return out
}

// LowSpace reports whether appends are refused because the disk's reserve is reached.
func (h *Host) LowSpace() bool { return h.space.low() }

// InFlightBytes returns the bytes between arrival and answer.
func (h *Host) InFlightBytes() int64 { return h.admission.inUse() }

// Close fails what waits, stops all replicas, brings the files up to date so that the next start has nothing to replay, and
// unlocks the directory. Idempotent.
func (h *Host) Close() error {
	h.mu.Lock()
	if h.closed {
		h.mu.Unlock()
		return nil
	}
	h.closed = true
	h.mu.Unlock()
	h.cancel()
	h.tasks.Wait()
	var err error
	for _, p := range h.all() {
		err = errors.Join(err, p.endCatchUp())
		p.close()
	}
	if h.nodes != nil {
		h.nodes.Close()
	}
	if h.journal != nil {
		err = errors.Join(err, h.journal.Close())
	}
	for _, p := range h.all() {
		err = errors.Join(err, p.shard.close())
	}
	for _, s := range h.recovered {
		err = errors.Join(err, s.close())
	}
	if err == nil && h.db != nil && h.journal != nil {
		err = writeBootFile(h.opts.FS, h.opts.Dir, bootFile{BootID: machineBoot(), Clean: true})
	}
	if h.unlock != nil {
		err = errors.Join(err, h.unlock())
	}
	if h.ownTransport {
		err = errors.Join(err, h.transport.Close())
	}
	return err
}
