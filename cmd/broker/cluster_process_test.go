package main

import (
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stelemq/stele/broker/bootstrap"
)

// givenPorts are the ports that quietPort has given to somebody.
//
//nolint:gochecknoglobals // of the test's process
var givenPorts sync.Map

// quietPort returns a port of 127.0.0.1 that nobody listens on, below the range from which the kernel takes the ports
// of clients: nobody takes it while its broker is down.
func quietPort(t *testing.T) int {
	t.Helper()
	for range 100 {
		port := 20_000 + rand.IntN(12_000) //nolint:gosec // not a secret
		if _, taken := givenPorts.LoadOrStore(port, true); taken {
			continue // by a broker that has not started yet
		}
		if l, err := net.Listen("tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(port))); err == nil {
			_ = l.Close()
			return port
		}
	}
	t.Fatal("no free port")
	return 0
}

// clusterNode is one broker of a cluster of processes, over its restarts.
type clusterNode struct {
	*process
	id          int
	dir         string
	kafka, raft string
}

func newMachine(t *testing.T, id int) *clusterNode {
	t.Helper()
	local := func() string { return net.JoinHostPort("127.0.0.1", strconv.Itoa(quietPort(t))) }
	return &clusterNode{id: id, dir: filepath.Join(t.TempDir(), fmt.Sprintf("n%d", id)), kafka: local(), raft: local()}
}

func machines(t *testing.T, n int) []*clusterNode {
	t.Helper()
	var all []*clusterNode
	for i := range n {
		all = append(all, newMachine(t, i+1))
	}
	return all
}

func peersOf(all []*clusterNode) string {
	var peers []string
	for _, m := range all {
		peers = append(peers, fmt.Sprintf("%d@%s", m.id, m.raft))
	}
	return "cluster.peers=" + strings.Join(peers, ",")
}

// launch starts the process and does not wait.
func (m *clusterNode) launch(t *testing.T, args ...string) {
	t.Helper()
	m.process = launchProcess(t, append([]string{"--set", "listeners=PLAINTEXT://" + m.kafka, "--set", "log.dirs=" + m.dir}, args...)...)
}

func (m *clusterNode) founder(all []*clusterNode) []string {
	return []string{"--node-id", strconv.Itoa(m.id), "--set", peersOf(all)}
}

func (m *clusterNode) identity(t *testing.T) bootstrap.Identity {
	t.Helper()
	id, ok, err := bootstrap.ReadIdentity(m.dir)
	if err != nil || !ok {
		t.Fatalf("node %d: identity %+v %v %v\n%s", m.id, id, ok, err, m.errs)
	}
	return id
}

func (m *clusterNode) kill(t *testing.T) {
	t.Helper()
	if err := m.cmd.Process.Signal(syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	_ = m.cmd.Wait() // killed
}

// awaitSaid waits for words on standard error.
func (m *clusterNode) awaitSaid(t *testing.T, words string) {
	t.Helper()
	await(t, func() string { return fmt.Sprintf("node %d says nothing of %q:\n%s", m.id, words, m.errs) },
		func() bool { return strings.Contains(m.errs.String(), words) })
}

// fails waits for the end of a process that must not start.
func (m *clusterNode) fails(t *testing.T, words string) {
	t.Helper()
	defer time.AfterFunc(time.Minute, func() { _ = m.cmd.Process.Kill() }).Stop()
	if err := m.cmd.Wait(); err == nil || m.cmd.ProcessState.ExitCode() != exitFailure || !strings.Contains(m.errs.String(), words) {
		t.Errorf("node %d ended with %v, want code 1 and %q:\n%s", m.id, err, words, m.errs)
	}
}

// inCluster waits until a node's metadata has all nodes.
func inCluster(t *testing.T, m *clusterNode, nodes int) {
	t.Helper()
	var last result
	await(t, func() string { return fmt.Sprintf("node %d: %+v\n%s", m.id, last, m.errs) }, func() bool {
		last = command(t, "cluster", "info", "-b", m.kafka, "-o", "name")
		return last.code == 0 && strings.Count(last.out, "\n") == nodes
	})
}

func found(t *testing.T, n int) []*clusterNode {
	t.Helper()
	all := machines(t, n)
	for _, m := range all {
		m.launch(t, m.founder(all)...)
	}
	for _, m := range all {
		m.expect(t, "READY=1")
		inCluster(t, m, n)
	}
	return all
}

func TestCluster_FoundersInAnyOrderAndRestart(t *testing.T) {
	for _, order := range [][]int{{1, 2, 3}, {3, 2, 1}, {2, 3, 1}} {
		t.Run(fmt.Sprint(order), func(t *testing.T) {
			t.Parallel()
			all := machines(t, 3)
			for i, id := range order {
				m := all[id-1]
				m.launch(t, m.founder(all)...)
				if i == 0 { // alone it waits, and says for whom
					m.awaitSaid(t, "waiting for 1 more peer (have 1/3: ")
					m.awaitSaid(t, "unreachable: connection refused")
				}
			}
			ids := map[string]bool{}
			for i, m := range all {
				m.expect(t, "READY=1")
				inCluster(t, m, 3)
				id := m.identity(t)
				ids[id.ClusterID] = true
				if id.MetadataReplica != uint64(i+1) || int(id.NodeID) != m.id || id.DirectoryID == "" {
					t.Errorf("node %d is %+v", m.id, id)
				}
			}
			if len(ids) != 1 {
				t.Fatalf("clusters %v", ids)
			}
			before := all[0].identity(t)
			for _, m := range all {
				m.kill(t)
			}
			for _, m := range all { // the addresses are known by now
				m.launch(t)
			}
			for _, m := range all {
				m.expect(t, "READY=1")
			}
			if after := all[0].identity(t); after != before {
				t.Errorf("before %+v, after %+v", before, after)
			}
		})
	}
}

// A founder that ends while it waits comes back as the same one.
func TestCluster_FounderDiesWhileWaiting(t *testing.T) {
	all := machines(t, 3)
	all[0].launch(t, all[0].founder(all)...)
	all[0].awaitSaid(t, "waiting for 1 more peer")
	before := all[0].identity(t)
	all[0].kill(t)
	for _, m := range all {
		m.launch(t, m.founder(all)...)
	}
	for _, m := range all {
		m.expect(t, "READY=1")
	}
	after := all[0].identity(t)
	if after.DirectoryID != before.DirectoryID || before.ClusterID != "" || after.ClusterID == "" {
		t.Errorf("before %+v, after %+v", before, after)
	}
}

// Two of three suffice, whichever; the third joins the cluster when it comes, as a node with a new disk does.
func TestCluster_LateFounderJoins(t *testing.T) {
	for name, last := range map[string]int{"the highest id": 2, "the lowest id": 0} {
		t.Run(name, func(t *testing.T) {
			all := machines(t, 3)
			late := all[last]
			early := slices.Delete(slices.Clone(all), last, last+1)
			for _, m := range early {
				m.launch(t, m.founder(all)...)
			}
			early[0].awaitSaid(t, fmt.Sprintf("waiting for 1 more peer for 5s, then without (have 2/3: %d@", late.id))
			for _, m := range early {
				m.expect(t, "READY=1")
			}
			late.launch(t, late.founder(all)...)
			late.expect(t, "READY=1")
			if id := late.identity(t); id.MetadataReplica <= 3 || int(id.NodeID) != late.id || id.ClusterID != early[0].identity(t).ClusterID {
				t.Errorf("the late founder is %+v", id)
			}
			inCluster(t, late, 3)
		})
	}
}

func TestCluster_ForeignClusterIsRefused(t *testing.T) {
	ours, theirs := newMachine(t, 1), newMachine(t, 2)
	for _, m := range []*clusterNode{ours, theirs} {
		m.launch(t, "--node-id", strconv.Itoa(m.id), "--set", "cluster.listen="+m.raft)
		m.expect(t, "READY=1")
	}
	a, b := ours.identity(t).ClusterID, theirs.identity(t).ClusterID
	if a == b {
		t.Fatal("one id for two clusters")
	}
	ours.kill(t)
	ours.launch(t, "--set", peersOf([]*clusterNode{ours, theirs}))
	ours.fails(t, "belongs to cluster "+a)
	if text := ours.errs.String(); !strings.Contains(text, "belongs to cluster "+b) || !strings.Contains(text, "log.dirs") {
		t.Errorf("the refusal lacks the other id or the remedy:\n%s", text)
	}
	third := newMachine(t, 3)
	third.launch(t, "--set", "cluster.join="+theirs.raft, "--set", "cluster.id="+a, "--set", "cluster.listen="+third.raft)
	third.fails(t, "belongs to cluster "+b+", but cluster.id is "+a)
}

func TestCluster_JoinGrowsOnline(t *testing.T) {
	first := newMachine(t, 1)
	first.launch(t)
	first.expect(t, "READY=1")
	if r := command(t, "topic", "create", "kept", "-b", first.kafka); r.code != 0 {
		t.Fatalf("%+v", r)
	}
	second, third := newMachine(t, 2), newMachine(t, 3)
	second.launch(t, "--join", first.kafka)
	second.expect(t, "READY=1")
	second.awaitSaid(t, "broker topic alter --replicas 3 --all")
	third.launch(t, "--join", first.kafka+","+second.kafka)
	third.expect(t, "READY=1")
	all := []*clusterNode{first, second, third}
	nodes := []int32{}
	for _, m := range all {
		inCluster(t, m, 3)
		nodes = append(nodes, m.identity(t).NodeID)
	}
	slices.Sort(nodes)
	if !slices.Equal(nodes, []int32{1, 2, 3}) {
		t.Fatalf("nodes %v", nodes)
	}
	if r := command(t, "topic", "list", "-b", third.kafka, "-o", "name"); !strings.Contains(r.out, "kept\n") {
		t.Errorf("a node that joined: %+v", r)
	}
	before := third.identity(t)
	third.kill(t)
	second.kill(t)
	second.launch(t, "--join", first.kafka) // has no effect any more
	third.launch(t)
	for _, m := range []*clusterNode{second, third} {
		m.expect(t, "READY=1")
	}
	if after := third.identity(t); after != before {
		t.Errorf("before %+v, after %+v", before, after)
	}
	// A node may move: it says so itself.
	third.kill(t)
	third.raft = net.JoinHostPort("127.0.0.1", strconv.Itoa(quietPort(t)))
	third.launch(t, "--set", "cluster.listen="+third.raft)
	third.expect(t, "READY=1")
	await(t, func() string { return "the new address is not kept" }, func() bool {
		text, err := os.ReadFile(filepath.Join(first.dir, bootstrap.PeersName))
		return err == nil && strings.Contains(string(text), third.raft)
	})
}

// The topics that exist get replicas on nodes that join; a node that comes back with an empty disk is a new replica.
func TestCluster_GrowTopicsAndReplaceADisk(t *testing.T) {
	const session = "broker.session.timeout.ms=1500"
	first := newMachine(t, 1)
	first.launch(t, "--set", session)
	first.expect(t, "READY=1")
	if r := command(t, "topic", "create", "kept", "-p", "3", "-b", first.kafka); r.code != 0 {
		t.Fatalf("%+v", r)
	}
	all := []*clusterNode{first, newMachine(t, 2), newMachine(t, 3)}
	for _, m := range all[1:] {
		m.launch(t, "--join", first.kafka, "--set", session, "--node-id", strconv.Itoa(m.id))
		m.expect(t, "READY=1")
	}
	inCluster(t, first, 3)
	if r := command(t, "topic", "alter", "--all", "--replicas", "3", "-b", first.kafka, "--wait", "30s"); r.code != 0 {
		t.Fatalf("%+v\n%s", r, first.errs)
	}
	healthy := func(asked *clusterNode) {
		t.Helper()
		var last result
		await(t, func() string { return fmt.Sprintf("%+v\n%s", last, asked.errs) }, func() bool {
			last = command(t, "cluster", "health", "-b", asked.kafka)
			return last.code == exitOK
		})
	}
	healthy(first)
	if r := command(t, "partition", "list", "kept", "-b", first.kafka, "--no-headers"); strings.Count(r.out, "ok") != 3 || strings.Contains(r.out, " 1 ok") {
		t.Errorf("after topic alter:\n%s", r.out)
	}
	third := all[2]
	before := third.identity(t)
	third.kill(t)
	third.dir += "-new"
	third.launch(t, "--join", first.kafka, "--set", session, "--node-id", "3")
	third.expect(t, "READY=1")
	after := third.identity(t)
	if after.NodeID != 3 || after.MetadataReplica <= before.MetadataReplica || after.DirectoryID == before.DirectoryID {
		t.Errorf("before %+v, with a new disk %+v", before, after)
	}
	inCluster(t, third, 3)
	healthy(first)
	// The second node is not needed any more: a topic with all replicas on three nodes needs the new one.
	all[1].kill(t)
	var last result
	await(t, func() string { return fmt.Sprintf("%+v", last) }, func() bool {
		last = command(t, "partition", "list", "--offline", "--check", "-b", first.kafka)
		return last.code == exitOK
	})
}

func TestCluster_NodeIDTaken(t *testing.T) {
	first := newMachine(t, 1)
	first.launch(t)
	first.expect(t, "READY=1")
	second := newMachine(t, 2)
	second.launch(t, "--join", first.kafka, "--node-id", "1")
	second.awaitSaid(t, "another broker is alive with node id 1")
	second.awaitSaid(t, "or give this node another node.id")
}

// Disks of founders are replaced one after the other. The cluster is healthy again once the new replica votes, and only
// then may the next one go: else there is no controller any more.
func TestCluster_FoundersReplacedOneAfterTheOther(t *testing.T) {
	const session = "broker.session.timeout.ms=1500"
	all := machines(t, 3)
	for _, m := range all {
		m.launch(t, append(m.founder(all), "--set", session)...)
	}
	for _, m := range all {
		m.expect(t, "READY=1")
	}
	healthy := func(asked *clusterNode) string {
		t.Helper()
		var last result
		await(t, func() string { return fmt.Sprintf("%+v\n%s", last, asked.errs) }, func() bool {
			last = command(t, "cluster", "health", "-b", asked.kafka)
			return last.code == exitOK
		})
		return last.out
	}
	if text := healthy(all[0]); !strings.Contains(text, "voters 1, 2, 3 (3 wanted)") {
		t.Errorf("healthy without naming the voters:\n%s", text)
	}
	for i, m := range all {
		m.kill(t)
		m.dir += "-new"
		m.launch(t, append(m.founder(all), "--set", session)...)
		m.expect(t, "READY=1")
		other := all[(i+1)%len(all)]
		inCluster(t, other, 3)
		healthy(other)
		if r := command(t, "cluster", "info", "-b", other.kafka, "--no-headers"); strings.Count(r.out, " voter ") != 2 || strings.Count(r.out, " leader * ") != 1 {
			t.Errorf("after disk %d was replaced:\n%s", m.id, r.out)
		}
	}
}
