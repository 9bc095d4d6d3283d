package main

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// quickSession makes clusters of tests give up dead brokers soon.
const quickSession = "broker.session.timeout.ms=1500"

// foundQuick is found with a short session timeout and HTTP, whose addresses it returns.
func foundQuick(t *testing.T, n int) (all []*clusterNode, http []string) {
	t.Helper()
	all = machines(t, n)
	for _, m := range all {
		address := "127.0.0.1:" + strconv.Itoa(quietPort(t))
		http = append(http, address)
		m.launch(t, append(m.founder(all), "--set", quickSession, "--set", "http.listen="+address)...)
	}
	for _, m := range all {
		m.expect(t, "READY=1")
	}
	for _, m := range all {
		inCluster(t, m, n)
	}
	return all, http
}

// done runs a command that must succeed.
func done(t *testing.T, args ...string) string {
	t.Helper()
	r := command(t, args...)
	if r.code != exitOK {
		t.Fatalf("broker %s: %+v", strings.Join(args, " "), r)
	}
	return r.out + r.err
}

// eventuallyHealthy waits until a cluster is well.
func eventuallyHealthy(t *testing.T, asked *clusterNode) {
	t.Helper()
	var last result
	await(t, func() string { return fmt.Sprintf("%+v\n%s", last, asked.errs) }, func() bool {
		last = command(t, "cluster", "health", "-b", asked.kafka)
		return last.code == exitOK
	})
}

// replicasOfPartition reads the node ids from `broker partition list`.
func replicasOfPartition(t *testing.T, asked *clusterNode, topic string) []int {
	t.Helper()
	fields := strings.Fields(done(t, "partition", "list", topic, "-b", asked.kafka, "--no-headers"))
	if len(fields) < 6 {
		t.Fatalf("%q", fields)
	}
	var out []int
	for id := range strings.SplitSeq(fields[5], ",") {
		n, err := strconv.Atoi(id)
		if err != nil {
			t.Fatalf("%q: %v", fields, err)
		}
		out = append(out, n)
	}
	return out
}

// A partition that has lost two of three replicas goes on from the third when an operator says so.
func TestAdmin_RecoverAPartition(t *testing.T) {
	all, _ := foundQuick(t, 5)
	done(t, "topic", "create", "rec", "-r", "3", "-b", all[0].kafka)
	replicas := replicasOfPartition(t, all[0], "rec")
	survivor := all[replicas[0]-1]
	var asked *clusterNode
	for i, m := range all {
		if !slices.Contains(replicas, i+1) {
			asked = m
		}
	}
	if r := command(t, "partition", "recover", "rec/0", "-b", asked.kafka); r.code != exitUsage || !strings.Contains(r.err, "--dry-run") {
		t.Errorf("without --yes: %+v", r)
	}
	if text := done(t, "partition", "recover", "rec/0", "--yes", "-b", asked.kafka); !strings.Contains(text, "NOT-NEEDED") {
		t.Errorf("with a leader: %s", text)
	}
	for _, id := range replicas[1:] {
		all[id-1].kill(t)
	}
	var last result
	await(t, func() string { return fmt.Sprintf("not offline: %+v", last) }, func() bool {
		last = command(t, "partition", "recover", "rec/0", "--dry-run", "-b", asked.kafka)
		return last.code == exitOK && strings.Contains(last.out, "WOULD-RECOVER")
	})
	if !strings.Contains(last.out, fmt.Sprintf(" %d ", replicas[0])) {
		t.Errorf("the survivor, node %d, is not named:\n%s", replicas[0], last.out)
	}
	await(t, func() string { return fmt.Sprintf("not recovered: %+v\n%s", last, survivor.errs) }, func() bool {
		last = command(t, "partition", "recover", "rec/0", "--yes", "-b", asked.kafka)
		return last.code == exitOK
	})
	await(t, func() string { return fmt.Sprintf("%+v\n%s", last, survivor.errs) }, func() bool {
		last = command(t, "partition", "list", "--offline", "--check", "-b", asked.kafka)
		return last.code == exitOK
	})
	for _, id := range replicas[1:] {
		all[id-1].launch(t, "--set", quickSession)
		all[id-1].expect(t, "READY=1")
	}
	eventuallyHealthy(t, asked)
}

// Nodes are taken out one after the other, the controller too; what they held is elsewhere then.
func TestAdmin_DecommissionUntilThreeAreLeft(t *testing.T) {
	all, http := foundQuick(t, 5)
	done(t, "topic", "create", "moved", "-p", "6", "-r", "3", "-b", all[0].kafka)
	for left := 5; left > 3; left-- {
		gone := -1
		for i, m := range all {
			if m != nil && strings.Contains(roleOf(t, someMachine(all), i+1), "leader *") {
				gone = i
			}
		}
		if gone < 0 {
			t.Fatal("no controller")
		}
		text := done(t, "node", "decommission", strconv.Itoa(gone+1), "--http", strings.Join(http, ","), "--wait", "60s",
			"-b", all[(gone+1)%len(all)].anywhere(all), "--throttle", "10MiB/s")
		if !strings.Contains(text, "replicas left") || !strings.Contains(text, "is not part of the cluster any more") {
			t.Errorf("no progress:\n%s", text)
		}
		if strings.Contains(text, "the throttle still holds") {
			t.Error(text)
		}
		// It hears of it and ends, and a start of its directory says the same.
		all[gone].fails(t, "was taken out of cluster")
		all[gone].launch(t)
		all[gone].fails(t, "was taken out of cluster")
		all[gone] = nil
		asked := someMachine(all)
		inCluster(t, asked, left-1)
		eventuallyHealthy(t, asked)
	}
	if text := done(t, "config", "get", catchUpSetting, "-b", someMachine(all).kafka); strings.Contains(text, "10485760") || !strings.Contains(text, "67108864") {
		t.Errorf("the throttle still holds:\n%s", text)
	}
	if text := done(t, "topic", "alter", "moved", "segment.bytes=2MiB", "-b", someMachine(all).kafka); !strings.Contains(text, "2097152") {
		t.Errorf("topic alter:\n%s", text)
	}
	for _, m := range all {
		if m == nil {
			continue
		}
		var last result
		await(t, func() string { return fmt.Sprintf("node %d: %+v", m.id, last) }, func() bool {
			last = command(t, "topic", "describe", "moved", "-b", m.kafka)
			return strings.Contains(last.out, "segment.bytes  2097152  TOPIC")
		})
	}
	done(t, "topic", "alter", "moved", "segment.bytes-", "-b", someMachine(all).kafka)
	if r := command(t, "topic", "alter", "moved", "segment.bytes=1", "-b", someMachine(all).kafka); r.code != exitFailure || !strings.Contains(r.err, "segment.bytes") {
		t.Errorf("a bad value: %+v", r)
	}
}

// anywhere is the address of a node that runs.
func (m *clusterNode) anywhere(all []*clusterNode) string {
	if m == nil {
		m = someMachine(all)
	}
	return m.kafka
}

func someMachine(all []*clusterNode) *clusterNode {
	return all[slices.IndexFunc(all, func(m *clusterNode) bool { return m != nil })]
}

// roleOf is a node's line of `broker cluster info`.
func roleOf(t *testing.T, asked *clusterNode, id int) string {
	t.Helper()
	for line := range strings.Lines(done(t, "cluster", "info", "-b", asked.kafka, "--no-headers")) {
		if strings.HasPrefix(line, strconv.Itoa(id)+" ") {
			return line
		}
	}
	return ""
}
