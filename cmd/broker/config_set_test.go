package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// A setting that is changed holds on all brokers; a broker's own is stronger.
func TestConfigSet_HoldsOnAllBrokers(t *testing.T) {
	all, _ := foundQuick(t, 3)
	for _, row := range []struct {
		args []string
		code int
		want string
	}{
		{[]string{"set", "max.connections=5000", "leader.replication.throttled.rate=20MiB"}, exitOK, "applied on 3/3 nodes"},
		{[]string{"set", "log.segment.bytes=64MiB", "--node", "2"}, exitOK, "applied on 1/1 nodes"},
		{[]string{"set", "log.segment.bytes=128MiB"}, exitOK, "applied on 2/3 nodes"},
		{[]string{"get", "log.segment.bytes", "--node", "2", "-o", "name"}, exitOK, "67108864\n"},
		{[]string{"get", "leader.replication.throttled.rate", "-o", "name"}, exitOK, "20971520\n20971520\n20971520\n"},
		{[]string{"reset", "log.segment.bytes", "--node", "2"}, exitOK, "134217728"},
		{[]string{"reset", "log.segment.bytes"}, exitOK, "268435456"},
		{[]string{"set", "log.dirs=/x"}, exitFailure, "cannot change while a broker runs"},
		{[]string{"set", "max.connections=0"}, exitUsage, "below the least value"},
		{[]string{"set", "max.connections"}, exitUsage, "want key=value"},
		{[]string{"set", "no.such=1"}, exitFailure, "no.such"},
		{[]string{"set", "max.connection=5"}, exitFailure, `did you mean "max.connections"`},
		{[]string{"reset", "log.retention.hour"}, exitFailure, `did you mean "log.retention.hours"`},
		{[]string{"get", "max.connection"}, exitFailure, `did you mean "max.connections"`},
	} {
		r := command(t, append(append([]string{"config"}, row.args...), "-b", all[2].kafka)...)
		if r.code != row.code || !strings.Contains(r.out+r.err, row.want) {
			t.Errorf("config %s: %+v", strings.Join(row.args, " "), r)
		}
	}
}

func TestConfigImport(t *testing.T) {
	path := filepath.Join(t.TempDir(), "server.properties")
	write := func(text string) {
		t.Helper()
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("broker.id=3\nnum.network.threads=3\nlog.roll.hours=24\nmessage.max.bytes=2000000\nnum.partitions=6\n")
	r := command(t, "config", "import", path)
	if want := "node.id: 3\nlog.roll.ms: 1d\nmessage.max.bytes: 2000000\nnum.partitions: 6\n"; r.code != exitOK || r.out != want || !strings.Contains(r.err, ":2: warning: num.network.threads: ignored") {
		t.Errorf("%+v, want %q", r, want)
	}
	if err := os.WriteFile(path+".yaml", []byte(r.out), 0o600); err != nil {
		t.Fatal(err)
	}
	if r := command(t, "config", "check", "-c", path+".yaml"); r.code != exitOK {
		t.Errorf("what was imported is not taken: %+v", r)
	}
	write("zookeeper.connect=localhost:2181\nnum.partition=3\nmessage.max.bytes=many\n")
	if r := command(t, "config", "import", path); r.code != exitUsage || !strings.Contains(r.err, "no ZooKeeper") ||
		!strings.Contains(r.err, `did you mean "num.partitions"`) || !strings.Contains(r.err, "3 settings could not be taken over") {
		t.Errorf("%+v", r)
	}
}
