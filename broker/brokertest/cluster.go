package brokertest

import (
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stelemq/stele/broker"
	"github.com/stelemq/stele/broker/metadata"
	"github.com/stelemq/stele/dledger"
	"github.com/stelemq/stele/dledger/transport"
)

// clusterID of every cluster of a test.
const clusterID = "cluster-of-a-test"

// Cluster is several brokers in this process that replicate to each other over loopback addresses. Node ids
// begin at 1; all nodes are founders.
type Cluster struct {
	t       testing.TB
	options Options
	root    string
	nodes   []*clusterNode
}

// clusterNode is what stays of a node when it is stopped.
type clusterNode struct {
	raft, kafka string // addresses, kept over restarts
	network     *network
	broker      *Broker
	transport   *transport.Transport
}

// StartCluster runs a cluster and waits until all brokers are ready. Options.Dir must be empty.
func StartCluster(t testing.TB, nodes int, o Options) *Cluster {
	t.Helper()
	c := &Cluster{t: t, options: o, root: t.TempDir()}
	for range nodes {
		c.nodes = append(c.nodes, &clusterNode{raft: freeAddress(t), kafka: freeAddress(t), network: newNetwork()})
	}
	for node := range nodes {
		c.open(int32(node + 1)) //nolint:gosec // few
	}
	for node := range nodes {
		c.Await(int32(node + 1)) //nolint:gosec // few
	}
	c.awaitMembers()
	return c
}

// awaitMembers waits until every broker knows all of them.
func (c *Cluster) awaitMembers() {
	c.t.Helper()
	deadline := time.Now().Add(startTimeout)
	for _, b := range c.Nodes() {
		known := make(chan struct{}, 1)
		stop := b.Metadata.Watch(func(metadata.Change) {
			select {
			case known <- struct{}{}:
			default:
			}
		})
		for b.Metadata.Image().LiveBrokers() < len(c.Nodes()) {
			select {
			case <-known:
			case <-time.After(time.Until(deadline)):
				stop()
				c.t.Fatal("the brokers do not know each other")
			}
		}
		stop()
	}
}

// freeAddress is a loopback address that nobody uses at the moment.
func freeAddress(t testing.TB) string {
	t.Helper()
	l, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	return l.Addr().String()
}

// Node returns a node's broker, nil while it is stopped.
func (c *Cluster) Node(node int32) *Broker { return c.nodes[node-1].broker }

// Nodes returns the brokers that run.
func (c *Cluster) Nodes() []*Broker {
	var out []*Broker
	for _, n := range c.nodes {
		if n.broker != nil {
			out = append(out, n.broker)
		}
	}
	return out
}

// Addresses are host:port of all nodes for clients, of those that are stopped, too.
func (c *Cluster) Addresses() []string {
	out := make([]string, len(c.nodes))
	for i, n := range c.nodes {
		out[i] = n.kafka
	}
	return out
}

// Start runs a node that was stopped and waits until it is ready.
func (c *Cluster) Start(node int32) *Broker {
	c.t.Helper()
	c.open(node)
	return c.Await(node)
}

// Await waits until a node is ready.
func (c *Cluster) Await(node int32) *Broker {
	c.t.Helper()
	b := c.Node(node)
	select {
	case <-b.Ready():
	case <-time.After(startTimeout):
		c.t.Fatalf("node %d is not ready after %s", node, startTimeout)
	}
	return b
}

// Stop ends a node in order.
func (c *Cluster) Stop(node int32) {
	c.t.Helper()
	n := c.nodes[node-1]
	if n.broker == nil {
		return
	}
	if err := n.broker.Stop(); err != nil {
		c.t.Errorf("stop node %d: %v", node, err)
	}
	n.broker = nil
}

// Isolate cuts a node off from all others, or ends that; clients still reach it.
func (c *Cluster) Isolate(node int32, on bool) { c.nodes[node-1].network.set(on) }

// open starts a node and does not wait.
func (c *Cluster) open(node int32) {
	c.t.Helper()
	n := c.nodes[node-1]
	logger := c.options.Logger
	switch {
	case logger != nil:
	case os.Getenv("STELE_TEST_LOG") != "":
		logger = slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelDebug}))
	default:
		logger = slog.New(slog.DiscardHandler)
	}
	logger = logger.With("node", node)
	l, err := new(net.ListenConfig).Listen(c.t.Context(), "tcp", n.raft)
	if err != nil {
		c.t.Fatal(err)
	}
	n.transport = transport.New(transport.Config{NodeID: node, Listener: cutListener{l, n.network}, Dial: n.network.dial, Logger: logger})
	n.transport.SetClusterID(clusterID)
	founders := map[dledger.ReplicaID]int32{}
	for i, peer := range c.nodes {
		n.transport.SetAddress(int32(i+1), peer.raft)   //nolint:gosec // few
		founders[dledger.ReplicaID(i+1)] = int32(i + 1) //nolint:gosec // few
	}
	o := c.options
	o.Dir, o.Logger = filepath.Join(c.root, fmt.Sprint(node)), logger
	o.change = func(l *dledger.Options, b *broker.Options) {
		l.NodeID, b.NodeID = node, node
		l.Transport, b.Transport = n.transport, n.transport
		l.Metadata = dledger.MetadataSpec{Replica: dledger.ReplicaID(node), Founders: founders}
		l.JournalFileBytes = 4 << 20
		b.Listeners[0].Address = n.kafka
		b.RaftAddress, b.DirectoryID, b.MetadataReplica = n.raft, fmt.Sprintf("directory-%d", node), func() uint64 { return uint64(node) } //nolint:gosec // positive
		b.Config.ClusterID = clusterID
	}
	n.broker = open(c.t, o)
}
