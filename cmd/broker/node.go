package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/stelemq/stele/broker"
	"github.com/stelemq/stele/broker/bootstrap"
	"github.com/stelemq/stele/broker/metadata"
	"github.com/stelemq/stele/dledger"
	"github.com/stelemq/stele/dledger/transport"
	"github.com/stelemq/stele/internal/config"
	"github.com/stelemq/stele/internal/vfs"
)

// node is a running broker: it wires the layers together.
type node struct {
	config *config.Config
	streams
	// remedy is what to do about a busy Kafka port.
	remedy string
	// banner is called when the broker is ready.
	banner func(*node)

	logger *slog.Logger
	level  slog.LevelVar
	dir    string
	state  *bootstrap.State
	// transport reaches the other brokers, which reach this one at raftAddress; empty: they cannot.
	transport   *transport.Transport
	raftAddress string
	joiner      *bootstrap.Bootstrap
	broker      *broker.Broker
	// metrics are the broker's and its host's, for /metrics.
	metrics *prometheus.Registry
}

// run serves until ctx ends, the first interrupt; a second one ends the process.
func (n *node) run(ctx context.Context) error {
	n.metrics = prometheus.NewRegistry()
	n.logger = newLogger(n.err, &n.config.Settings, &n.level)
	for _, w := range n.config.Warnings {
		n.logger.Warn("setting", "where", w.Where, "key", w.Key, "text", w.Text)
	}
	limitMemory(n.config.MemoryLimit)
	if err := n.checkPorts(); err != nil {
		return err
	}
	dir, err := filepath.Abs(n.config.LogDirs[0])
	if err != nil {
		return fmt.Errorf("log.dirs: %w", err)
	}
	n.dir = dir
	if err := n.openState(); err != nil {
		return err
	}
	err = n.connect(ctx)
	return errors.Join(err, n.state.Close())
}

// live serves as the member of a cluster that this node is by now.
func (n *node) live(ctx context.Context) error {
	machine := metadata.NewMachine()
	h, err := n.open(ctx, machine)
	if errors.Is(err, dledger.ErrMetadataDamaged) {
		n.logger.Error("the cluster metadata here is damaged: this node asks the others for another replica of it", "error", err)
		if failed := n.rejoin(ctx); failed != nil {
			return errors.Join(err, failed)
		}
		machine, n.metrics = metadata.NewMachine(), prometheus.NewRegistry()
		h, err = n.open(ctx, machine)
	}
	if err != nil {
		return err
	}
	m := &bootstrap.Member{State: n.state, Transport: n.transport, Host: h, Machine: machine, Address: n.raftAddress, Rack: n.config.Rack, Logger: n.logger}
	m.Serve()
	watch, stop := context.WithCancel(ctx)
	serving, end := context.WithCancel(ctx)
	defer end()
	removed := make(chan error, 1)
	go func() {
		err := m.Run(watch)
		if err != nil {
			n.logger.Error("this broker ends: it is not part of the cluster any more")
			end()
		}
		removed <- err
	}()
	err = n.serve(serving, h, machine)
	stop()
	return errors.Join(err, <-removed, h.Close())
}

// rejoin has the cluster give this node another replica of the metadata.
func (n *node) rejoin(ctx context.Context) error {
	if err := n.joiner.Rejoin(ctx); err != nil {
		return err //nolint:wrapcheck // says all
	}
	for node, address := range n.state.Addresses() {
		n.transport.SetAddress(node, address)
	}
	return dledger.ForgetMetadata(n.dir) //nolint:wrapcheck // says operation and path
}

func (n *node) checkPorts() error {
	for _, l := range n.config.Open() {
		if l.Port == 0 {
			continue
		}
		if err := checkFree(l.Address(), n.remedy); err != nil {
			return err
		}
	}
	if address := httpListen(n.config); address != "" && !strings.HasSuffix(address, ":0") {
		return checkFree(address, "set http.listen to another address")
	}
	return nil
}

// open opens the host of the replicas.
func (n *node) open(ctx context.Context, machine *metadata.Machine) (*dledger.Host, error) {
	h, err := dledger.Open(ctx, dledger.Options{
		Dir: n.dir, NodeID: n.state.Identity().NodeID, Logger: n.logger, Transport: n.transport,
		StateMachine: broker.StateMachine(machine), Metadata: n.state.MetadataSpec(),
		Fatal: n.fatal, JournalFileBytes: int64(n.config.JournalFileBytes), InFlightBytes: int64(n.config.InFlightBytes),
		ReservePercent: n.config.ReservePercent, ReplicaLagTimeMax: n.config.ReplicaLagTimeMax, Registerer: n.metrics,
		ControllerLease: n.config.SessionTimeout, CatchUpRate: int64(n.config.ReplicationRate),
		RetentionInterval: n.config.RetentionInterval, Cleaner: cleanerOptions(n.config),
		// Replicas are started by the broker: it is there when one of them is found damaged.
		Damaged: func(spec dledger.PartitionSpec, err error) { n.broker.Damaged(spec, err) },
	})
	if errors.Is(err, vfs.ErrLocked) {
		return nil, n.lockedError(filepath.Join(n.dir, ".lock"))
	}
	if err != nil {
		return nil, fmt.Errorf("open %s: %w", n.dir, err)
	}
	return h, nil
}

// fatal ends the process: after a failed write or sync nothing may be acknowledged any more.
func (n *node) fatal(err error) {
	n.logger.Error("storage failed; the process ends so that nothing false is acknowledged", "error", err.Error(), "dir", n.dir)
	os.Exit(exitFailure)
}

func (n *node) serve(ctx context.Context, h *dledger.Host, machine *metadata.Machine) error {
	b := thisBuild()
	settings := brokerConfig(n.config)
	id := n.state.Identity()
	settings.ClusterID = id.ClusterID
	var err error
	incarnation, starts := n.state.Incarnation()
	n.broker, err = broker.New(broker.Options{
		Incarnation: incarnation, Follows: starts,
		NodeID: id.NodeID, Listeners: listenersOf(n.config), Host: broker.DLedger(h), Metadata: machine, Config: settings,
		Transport: n.transport, RaftAddress: n.raftAddress, DirectoryID: id.DirectoryID, MetadataReplica: func() uint64 { return n.state.Identity().MetadataReplica },
		Live: map[string]func(string){
			"log.level": func(word string) { setLevel(&n.level, word) },
			"leader.replication.throttled.rate": func(text string) {
				if rate, err := strconv.ParseInt(text, 10, 64); err == nil {
					h.SetCatchUpRate(rate)
				}
			},
		},
		Registerer: n.metrics, Gatherer: n.metrics, Logger: n.logger, Version: b.Version, Revision: b.Revision,
	})
	if err != nil {
		return err //nolint:wrapcheck // says all
	}
	done := make(chan error, 1)
	go func() { done <- n.broker.Run(context.WithoutCancel(ctx)) }()
	select {
	case err := <-done:
		return n.explain(err)
	case <-ctx.Done():
	case <-n.broker.Ready():
		if err := n.ready(machine); err != nil {
			return errors.Join(err, n.broker.Close())
		}
		watch, stop := context.WithCancel(ctx)
		defer stop()
		go watchdog(watch)
		select {
		case err := <-done:
			return n.explain(err)
		case <-ctx.Done():
		}
	}
	return n.stop(done)
}

// ready keeps the cluster's id, tells the service manager and whoever watches.
func (n *node) ready(machine *metadata.Machine) error {
	kept := n.state.Identity().ClusterID
	if id := machine.Image().ClusterID(); id != kept {
		if kept != "" {
			return fmt.Errorf("%s holds the metadata of cluster %s, but %s names cluster %s. Restore the right directory, or set cluster.id=%s and remove %s",
				n.dir, id, bootstrap.MetaName, kept, id, bootstrap.MetaName)
		}
		if err := n.state.SetCluster(id); err != nil {
			return err //nolint:wrapcheck // says operation and path
		}
		n.transport.SetClusterID(id)
	}
	n.banner(n)
	notify("READY=1")
	return nil
}

// stop lets requests in progress finish; another signal ends the process at once.
func (n *node) stop(done <-chan error) error {
	notify("STOPPING=1")
	began := time.Now()
	fmt.Fprintf(n.err, "stopping: finishing requests, at most %s (interrupt again to end at once)\n", config.FormatDuration(n.config.ShutdownTimeout))
	err := errors.Join(n.broker.Close(), <-done)
	if err != nil && !errors.Is(err, broker.ErrClosed) {
		return n.explain(err)
	}
	fmt.Fprintf(n.err, "stopped after %s, data is kept in %s\n", time.Since(began).Round(time.Millisecond), n.config.LogDirs[0])
	return nil
}

// explain adds who holds a port that became busy since it was looked at.
func (n *node) explain(err error) error {
	if errors.Is(err, syscall.EADDRINUSE) {
		return errors.Join(err, n.checkPorts())
	}
	return err
}
