package main

import (
	"fmt"
	"strings"
	"syscall"
	"testing"

	"github.com/stelemq/stele/broker"
	"github.com/stelemq/stele/broker/bootstrap"
	"github.com/stelemq/stele/broker/metadata"
	"github.com/stelemq/stele/client"
	"github.com/stelemq/stele/dledger"
)

// writer is an idempotent producer to one partition, over restarts of its broker.
type writer struct {
	*client.Producer
	partition int32
}

func newWriter(t *testing.T, m *clusterNode, partition int32) *writer {
	t.Helper()
	c, err := client.New(client.Options{Bootstrap: []string{m.kafka}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	p, err := c.NewProducer(client.ProducerOptions{Partitioner: client.ByRecord})
	if err != nil {
		t.Fatal(err)
	}
	return &writer{p, partition}
}

// appends appends a record, which must get an offset.
func (w *writer) appends(t *testing.T, want int64) {
	t.Helper()
	d, err := w.ProduceSync(t.Context(), &client.Record{Topic: "kept", Partition: w.partition, Value: []byte("v")})
	if err != nil || d.Offset != want {
		t.Fatalf("produce to partition %d: offset %d, %v; want %d", w.partition, d.Offset, err, want)
	}
}

// ledBy returns a partition that a node leads.
func ledBy(t *testing.T, m *clusterNode, topic string) int32 {
	t.Helper()
	led := int32(-1)
	await(t, func() string { return fmt.Sprintf("node %d leads nothing of %s\n%s", m.id, topic, m.errs) }, func() bool {
		c, err := client.New(client.Options{Bootstrap: []string{m.kafka}})
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close() //nolint:errcheck // nothing is pending
		found, err := c.Topic(t.Context(), topic)
		if err != nil {
			return false
		}
		for _, p := range found.Partitions {
			if int(p.Leader) == m.id {
				led = p.ID
			}
		}
		return led >= 0
	})
	return led
}

func hasTopic(t *testing.T, m *clusterNode, topic string) {
	t.Helper()
	var last result
	await(t, func() string { return fmt.Sprintf("node %d: %+v\n%s", m.id, last, m.errs) }, func() bool {
		last = command(t, "topic", "list", "-b", m.kafka, "-o", "name")
		return strings.Contains("\n"+last.out, "\n"+topic+"\n")
	})
}

// Three of five voters are lost. One of the two that survive founds the metadata anew, the other follows while it runs, and
// both keep their data and serve meanwhile; when the lost ones come back after all, they follow, too.
func TestCluster_RecoverMetadata(t *testing.T) {
	all := found(t, 5)
	t.Cleanup(func() {
		for _, m := range all {
			if t.Failed() {
				t.Logf("node %d:\n%s", m.id, m.errs)
			}
		}
	})
	if r := command(t, "topic", "create", "kept", "-p", "5", "-r", "1", "-b", all[0].kafka); r.code != 0 {
		t.Fatalf("%+v", r)
	}
	survivor, other, lost := all[3], all[4], all[:3]
	for _, m := range []*clusterNode{survivor, other} {
		hasTopic(t, m, "kept")
	}
	here, there := newWriter(t, survivor, ledBy(t, survivor, "kept")), newWriter(t, other, ledBy(t, other, "kept"))
	here.appends(t, 0)
	there.appends(t, 0)
	settings := []string{"--set", "log.dirs=" + survivor.dir}
	recovery := func(args ...string) result {
		return command(t, append(append([]string{"cluster", "recover-metadata"}, settings...), args...)...)
	}
	if r := recovery("--dry-run"); r.code != exitFailure || !strings.Contains(r.err, "in use by another broker") {
		t.Fatalf("while it runs: %+v", r)
	}
	for _, m := range lost {
		m.kill(t)
	}
	there.appends(t, 1) // without a majority of the metadata
	before := survivor.identity(t)
	survivor.kill(t)

	dry := recovery("--dry-run")
	for _, want := range []string{"CLUSTER            " + before.ClusterID, "VOTERS             node 1, node 2, node 3, node 4, node 5", "TOPICS             1", "PARTITIONS         5", "RECOVERED BEFORE   0"} {
		if !strings.Contains(dry.out, want+"\n") {
			t.Errorf("dry run lacks %q: %+v", want, dry)
		}
	}
	if r := recovery(); r.code != exitUsage || !strings.Contains(r.err, "--yes") {
		t.Errorf("without --yes: %+v", r)
	}
	interruptRecovery(t, survivor, before)
	if after := survivor.identity(t); after != before {
		t.Fatalf("looking and being interrupted changed %+v to %+v", before, after)
	}
	if r := recovery("--dry-run"); r.out != dry.out {
		t.Errorf("after an interrupted recovery: %+v, before %+v", r, dry)
	}
	if r := recovery("--yes"); r.code != 0 || !strings.Contains(r.err, "recovered: node 4 decides alone now") {
		t.Fatalf("%+v", r)
	}
	group := survivor.identity(t).MetadataGroup
	if r := recovery("--yes"); r.code != exitFailure || !strings.Contains(r.err, "only voter") || survivor.identity(t).MetadataGroup != group {
		t.Errorf("once more: %+v", r)
	}

	there.appends(t, 2)
	survivor.launch(t)
	survivor.expect(t, "READY=1")
	other.awaitSaid(t, "this node has left the old group and joined the new one")
	inNewGroup(t, []*clusterNode{survivor, other}, group)
	if r := command(t, "topic", "create", "after", "-r", "1", "-b", other.kafka); r.code != 0 {
		t.Fatalf("%+v", r)
	}
	hasTopic(t, survivor, "after")
	hasTopic(t, other, "after")
	here.appends(t, 1)
	there.appends(t, 3)

	for _, m := range lost { // a majority of the old group
		m.launch(t)
	}
	for _, m := range lost {
		m.awaitSaid(t, "this node has left the old group and joined the new one")
		hasTopic(t, m, "after")
	}
	other.kill(t)
	other.launch(t)
	inNewGroup(t, all, group)
	for _, m := range all {
		inCluster(t, m, 5)
	}
	there.appends(t, 4)
}

// inNewGroup waits until nodes have written down that they belong to a group, and checks that it is one.
func inNewGroup(t *testing.T, nodes []*clusterNode, group uint64) {
	t.Helper()
	replicas := map[uint64]bool{}
	for _, m := range nodes {
		await(t, func() string { return fmt.Sprintf("node %d is %+v\n%s", m.id, m.identity(t), m.errs) }, func() bool {
			return m.identity(t).MetadataGroup == group
		})
		replicas[m.identity(t).MetadataReplica] = true
	}
	if len(replicas) != len(nodes) {
		t.Errorf("%d nodes share the replicas %v", len(nodes), replicas)
	}
}

// interruptRecovery leaves a directory as a recovery does that ends just before the directory says which group it founded.
func interruptRecovery(t *testing.T, m *clusterNode, id bootstrap.Identity) {
	t.Helper()
	group := dledger.NextMetadataGroup(0)
	_, err := dledger.FoundMetadata(t.Context(), dledger.Options{
		Dir: m.dir, NodeID: id.NodeID, StateMachine: broker.StateMachine(metadata.NewMachine()),
		Metadata: dledger.MetadataSpec{Group: group, Replica: 1, Founders: map[dledger.ReplicaID]int32{1: id.NodeID}},
	}, []byte("{}"))
	if err != nil {
		t.Fatal(err)
	}
}

func TestRecoverMetadata_Refused(t *testing.T) {
	empty := t.TempDir()
	if r := command(t, "cluster", "recover-metadata", "--set", "log.dirs="+empty, "--yes"); r.code != exitFailure || !strings.Contains(r.err, "is no broker's data directory") {
		t.Errorf("an empty directory: %+v", r)
	}
	m := newMachine(t, 1)
	m.launch(t)
	m.expect(t, "READY=1")
	if err := m.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if err := m.cmd.Wait(); err != nil {
		t.Fatal(err)
	}
	before := m.identity(t)
	r := command(t, "cluster", "recover-metadata", "--set", "log.dirs="+m.dir, "--yes")
	if r.code != exitFailure || !strings.Contains(r.err, "only voter") || m.identity(t) != before {
		t.Errorf("a broker alone: %+v", r)
	}
	if r := command(t, "cluster", "recover-metadata", "--set", "log.dirs="+m.dir, "--yes", "--force"); r.code != 0 || m.identity(t).MetadataGroup == 0 {
		t.Errorf("by force: %+v, %+v", r, m.identity(t))
	}
	m.launch(t)
	m.expect(t, "READY=1")
	if after := m.identity(t); after.ClusterID != before.ClusterID || after.DirectoryID != before.DirectoryID {
		t.Errorf("before %+v, after %+v", before, after)
	}
}
