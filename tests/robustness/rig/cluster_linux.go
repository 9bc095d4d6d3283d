package rig

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// Options of a cluster.
type Options struct {
	Nodes    int
	Binary   string
	Settings []string // key=value, for every broker
	MayDie   bool     // brokers may end by themselves
	// Own are further settings of one broker; nil: none.
	Own func(node int32) []string
	// Mount is called for each node with the directory in which its data are to lie, and returns the one to give
	// to the broker; nil: the same. The directory that it returns is not removed, and unmount is called at the end.
	Mount func(node int32, dir string) (data string, unmount func(), err error)
}

// Cluster is a cluster of brokers under test. Its methods may be called by one goroutine at a time.
type Cluster struct {
	Nodes []*Node // by id, from 1
	Dir   string

	t        testing.TB
	options  Options
	net      *network
	waits    sync.WaitGroup
	unmounts []func()
}

// kafkaPort is the port of every broker; that of Raft is higher by 100.
const kafkaPort = 9092

// New makes the places of brokers; nothing is started. Everything is taken down at the end of the test.
func New(t testing.TB, o Options) *Cluster {
	t.Helper()
	removeLeftovers(os.TempDir())
	dir, err := os.MkdirTemp("", dirPrefix()) //nolint:usetesting // kept after a failure
	if err != nil {
		t.Fatal(err)
	}
	c := &Cluster{t: t, options: o, Dir: dir}
	t.Cleanup(c.close)
	var ids []int32
	for i := range o.Nodes {
		ids = append(ids, int32(i+1))
	}
	if c.net, err = newNetwork(ids); err != nil && !errors.Is(err, errNoNamespaces) {
		t.Fatal(err)
	}
	// Without namespaces: addresses that no other run has.
	loopback := fmt.Sprintf("127.%d.%d.", 1+rand.IntN(250), rand.IntN(250))
	for _, id := range ids {
		n := &Node{ID: id, c: c, port: kafkaPort, Host: address(id), Log: filepath.Join(dir, fmt.Sprintf("broker-%d.log", id))}
		if c.net == nil {
			n.Host = loopback + fmt.Sprint(id)
		}
		n.Data = filepath.Join(dir, fmt.Sprintf("data-%d", id))
		if err := os.Mkdir(n.Data, 0o755); err != nil {
			t.Fatal(err)
		}
		n.Files = n.Data
		if o.Mount != nil {
			data, unmount, err := o.Mount(id, n.Data)
			if err != nil {
				t.Fatal(err)
			}
			n.Data = data
			c.unmounts = append(c.unmounts, unmount)
		}
		c.Nodes = append(c.Nodes, n)
	}
	return c
}

// founders found a cluster; more brokers join it.
const founders = 5

// peers is the setting cluster.peers.
func (c *Cluster) peers() string {
	if len(c.Nodes) == 1 {
		return ""
	}
	var peers []string
	for _, n := range c.Nodes[:min(len(c.Nodes), founders)] {
		peers = append(peers, fmt.Sprintf("%d@%s", n.ID, n.RaftAddr()))
	}
	return strings.Join(peers, ",")
}

// close ends everything and removes the files, unless the test failed.
func (c *Cluster) close() {
	for _, n := range c.Nodes {
		n.Kill()
	}
	c.waits.Wait()
	for _, unmount := range c.unmounts {
		unmount()
	}
	if c.net != nil {
		c.net.close()
	}
	if !c.t.Failed() {
		if err := os.RemoveAll(c.Dir); err != nil {
			c.t.Error(err)
		}
		return
	}
	_ = os.WriteFile(filepath.Join(c.Dir, keptFile), nil, 0o600)
	c.t.Logf("kept for inspection: %s\n%s", c.Dir, c.Tails())
}

// Start starts every broker that does not run.
func (c *Cluster) Start() {
	c.t.Helper()
	for _, n := range c.Nodes {
		if !n.Alive() {
			n.Start()
		}
	}
}

// Terminate ends every broker with SIGTERM, all at once. Errors: of brokers that take longer than within.
func (c *Cluster) Terminate(within time.Duration) error {
	errs := make([]error, len(c.Nodes))
	var all sync.WaitGroup
	for i, n := range c.Nodes {
		all.Go(func() { errs[i] = n.Terminate(within) })
	}
	all.Wait()
	return errors.Join(errs...)
}

// Command runs the broker's program where clients are, and returns what it prints. Errors: it ends with another code than 0.
func (c *Cluster) Command(ctx context.Context, args ...string) (string, error) {
	cmd := exec.CommandContext(ctx, c.options.Binary, args...)
	cmd.Dir = c.Dir
	cmd.Env = slices.DeleteFunc(os.Environ(), func(v string) bool { return strings.HasPrefix(v, "STELE_") })
	out, err := cmd.CombinedOutput()
	if err != nil {
		return string(out), fmt.Errorf("%s: %w: %s", strings.Join(args, " "), err, out)
	}
	return string(out), nil
}

// KillAll kills every broker, all at once.
func (c *Cluster) KillAll() {
	var all sync.WaitGroup
	for _, n := range c.Nodes {
		all.Go(n.Kill)
	}
	all.Wait()
}

// Node returns the node with that id.
func (c *Cluster) Node(id int32) *Node { return c.Nodes[id-1] }

// Bootstrap are the addresses of all brokers.
func (c *Cluster) Bootstrap() (addrs []string) {
	for _, n := range c.Nodes {
		addrs = append(addrs, n.Addr())
	}
	return addrs
}

// Tails are the ends of all brokers' output.
func (c *Cluster) Tails() string {
	var all []string
	for _, n := range c.Nodes {
		all = append(all, n.tail())
	}
	return strings.Join(all, "\n")
}

// NeedCuts skips the test, or fails it with CI=true, when the network cannot be cut.
func (c *Cluster) NeedCuts() {
	c.t.Helper()
	switch {
	case c.net != nil:
	case CI():
		c.t.Fatal("no namespaces: the network cannot be cut")
	default:
		c.t.Skip("no namespaces: the network cannot be cut")
	}
}

// Split cuts the network between the groups, in both directions. A node that no group names keeps all its links,
// and so do clients unless they are named.
func (c *Cluster) Split(groups ...[]int32) {
	c.t.Helper()
	var pairs [][2]int32
	for i, group := range groups {
		for j, other := range groups {
			if i == j {
				continue
			}
			for _, a := range group {
				for _, b := range other {
					pairs = append(pairs, [2]int32{a, b})
				}
			}
		}
	}
	c.cut(pairs, true)
}

// Isolate cuts a node off from all others. Clients still reach it.
func (c *Cluster) Isolate(id int32) {
	c.t.Helper()
	c.Split([]int32{id}, c.Others(id))
}

// Others are the ids of all nodes but one.
func (c *Cluster) Others(id int32) (others []int32) {
	for _, n := range c.Nodes {
		if n.ID != id {
			others = append(others, n.ID)
		}
	}
	return others
}

// CutOneWay makes everything vanish that from sends to the others. What they send arrives.
func (c *Cluster) CutOneWay(from int32, to ...int32) {
	c.t.Helper()
	c.cut(oneWay(from, to), true)
}

// HealOneWay takes back what CutOneWay did.
func (c *Cluster) HealOneWay(from int32, to ...int32) {
	c.t.Helper()
	c.cut(oneWay(from, to), false)
}

func oneWay(from int32, to []int32) (pairs [][2]int32) {
	for _, id := range to {
		pairs = append(pairs, [2]int32{from, id})
	}
	return pairs
}

func (c *Cluster) cut(pairs [][2]int32, cut bool) {
	c.t.Helper()
	c.NeedCuts()
	if err := c.net.cut(pairs, cut); err != nil {
		c.t.Fatal(err)
	}
}

// SetLink takes the link of a node up or down, for clients as well.
func (c *Cluster) SetLink(id int32, up bool) {
	c.t.Helper()
	c.NeedCuts()
	if err := c.net.link(id, up); err != nil {
		c.t.Fatal(err)
	}
}

// Heal takes every cut away and every link up.
func (c *Cluster) Heal() {
	c.t.Helper()
	if c.net == nil {
		return
	}
	if err := c.net.heal(); err != nil {
		c.t.Fatal(err)
	}
}
