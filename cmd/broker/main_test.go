package main

import (
	"bytes"
	"context"
	"encoding/json"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/spf13/cobra"

	"github.com/stelemq/stele/broker/bootstrap"
)

// buffer is a bytes.Buffer that may be read while it is written.
type buffer struct {
	mu sync.Mutex
	b  bytes.Buffer // mu guards
}

func (b *buffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.Write(p)
}

func (b *buffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.String()
}

// result is what a command did.
type result struct {
	code     int
	out, err string
}

func command(t *testing.T, args ...string) result {
	t.Helper()
	var out, errs buffer
	code := run(t.Context(), args, streams{in: strings.NewReader(""), out: &out, err: &errs})
	return result{code, out.String(), errs.String()}
}

// server is a broker in this process.
type server struct {
	address, http string
	dir           string
	errs          *buffer
	stop          func() int
}

// startServer runs `broker ARGS` until the test ends and waits until it serves.
func startServer(t *testing.T, dir string, args ...string) *server {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background()) //nolint:usetesting // must outlive the test's end to be joined
	s := &server{dir: dir, errs: &buffer{}}
	done := make(chan int, 1)
	args = append(args, "--set", "log.dirs="+dir, "--set", "listeners=PLAINTEXT://127.0.0.1:0", "--set", "http.listen=127.0.0.1:0",
		"--set", "log.level=info", "--set", "log.format=json", "--set", "storage.reject.percent=0")
	go func() { done <- run(ctx, args, streams{in: strings.NewReader(""), out: &buffer{}, err: s.errs}) }()
	var once sync.Once
	code := 0
	s.stop = func() int { once.Do(func() { cancel(); code = <-done }); return code }
	t.Cleanup(func() { s.stop() })
	ready := regexp.MustCompile(`"listeners":"PLAINTEXT://([^"]+)","http":"([^"]+)"`)
	dev := regexp.MustCompile(`(?s)Kafka +(\S+)\n.*Metrics +http://([^/]+)/metrics`)
	await(t, s.errs.String, func() bool {
		for _, form := range []*regexp.Regexp{ready, dev} {
			if m := form.FindStringSubmatch(s.errs.String()); m != nil {
				s.address, s.http = m[1], m[2]
				return true
			}
		}
		select {
		case code := <-done:
			done <- code
			t.Fatalf("the broker ended with code %d:\n%s", code, s.errs)
		default:
		}
		return false
	})
	return s
}

// await polls until the condition holds.
func await(t *testing.T, state func() string, holds func() bool) {
	t.Helper()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	deadline := time.After(30 * time.Second)
	for !holds() {
		select {
		case <-tick.C:
		case <-deadline:
			t.Fatalf("not in time:\n%s", state())
		}
	}
}

// The command tree with a running broker: exit codes and what is printed, one row after the other.
func TestCommands_Table(t *testing.T) {
	s := startServer(t, t.TempDir(), "start")
	broken := filepath.Join(t.TempDir(), "broken.yaml")
	if err := os.WriteFile(broken, []byte("num.partition: 3\nlog.segment.bytes: 1\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	segment := filepath.Join(s.dir, "logs-0", "00000000000000000000.log")
	closed := "127.0.0.1:" + freePort(t)
	for _, row := range []struct {
		args     string
		code     int
		out, err string // regular expressions
	}{
		{"version", 0, `(?m)^VERSION +REVISION`, `^$`},
		{"version -o json", 0, `"kind": "Version",\n  "version": 1`, `^$`},
		{"version -o nonsense", 2, `^$`, `want text, json, yaml or name`},
		{"nonsense", 2, `^$`, `unknown command "nonsense"\nSee: broker --help`},
		{"topc list", 2, `^$`, `did you mean topic or top\?`},
		{"topic", 2, `^$`, `a command is missing: add-partitions, alter, create, delete, describe, list, trim`},
		{"topic creat x", 2, `^$`, `did you mean create\?`},
		{"topic list --nonsense", 2, `^$`, `unknown flag: --nonsense\n`},
		{"topic create x --partition 3", 2, `^$`, `unknown flag: --partition — did you mean --partitions\?`},
		{"topic list extra", 2, `^$`, `unknown command|accepts 0 arg`},
		{"topic list", 0, `^NAME +PARTITIONS +REPLICAS +HEALTH\n$`, `^$`},
		{"topic create logs -p 3 -c segment.bytes=2MiB -c segment.ms=1d", 0, `^logs +OK +3 partitions × 1 replica\n$`, `^$`},
		{"topic create logs", 1, `^logs +FAILED`, `already exists|exists already`},
		{"topic create logs --if-not-exists", 0, `^logs +EXISTS`, `^$`},
		{"topic create dry --dry-run", 0, `^dry +WOULD-CREATE`, `^$`},
		{"topic create bad/name", 1, `^bad/name +FAILED`, `(?i)not a valid|illegal|invalid`},
		{"topic create x -r 3", 1, `^x +FAILED`, `(?i)replication factor`},
		{"topic create x -c nonsense=1", 1, `^x +FAILED`, `nonsense`},
		{"topic create x -c segment.bytes=2M", 2, `^$`, `is not a size`},
		{"topic create x -c nonsense", 2, `^$`, `want key=value`},
		{"topic create x --timeout 0s", 2, `^$`, `want more than 0s`},
		{"topic list --no-headers", 0, `^logs +3 +1 +ok\n$`, `^$`},
		{"topic list -o name", 0, `^logs\n$`, `^$`},
		{"topic list -o json", 0, `"kind": "TopicList"(?s:.*)"name": "logs",\n +"partitions": 3`, `^$`},
		{"topic list -o yaml", 0, `(?m)^kind: TopicList\nversion: 1\nitems:\n +- name: logs$`, `^$`},
		{"topic describe logs", 0, `(?s)DURABILITY +acknowledged records are on stable storage.*\n0 +1 +\d+ +1 +1 +0 +0\n.*segment.bytes +2097152 +TOPIC\n.*segment.ms +86400000 +TOPIC`, `^$`},
		{"topic describe logz", 1, `^$`, `topic "logz" does not exist. Did you mean "logs"\?`},
		{"topic describe logs -o json --all-configs", 0, `"source": "DEFAULT"`, `^$`},
		{"cluster info", 0, `(?s)^CLUSTER +\S{22}\n.*\n1 +127\.0\.0\.1:\d+ +- +up +leader \* +3 +3\n`, `^$`},
		{"cluster health", 0, `^HEALTH +healthy\nNODES +1 of 1 up\nMETADATA +voters 1 \(1 wanted\)\nPARTITIONS +3, offline 0`, `^$`},
		{"cluster health -o json", 0, `"healthy": true`, `^$`},
		{"cluster health --watch --exit-when-healthy", 0, `^\d\d:\d\d:\d\d healthy: 1 node, 3 partitions\n$`, `^$`},
		{"cluster health -b " + closed, 1, `^$`, `cannot reach`},
		{"cluster health --interval 0s --watch", 2, `^$`, `must be more than 0s`},
		{"partition list logs", 0, `(?m)^logs +2 +1 +\d+ +1 +1 +ok$`, `^$`},
		{"partition list --offline --under-replicated --check", 0, `^TOPIC +PARTITION[A-Z -]+\n$`, `^$`},
		{"partition status logs/0 --http " + s.http, 0, `(?s)LEADER +1\n.*NODE +ROLE +TERM +LAST +COMMIT +APPLIED +SNAPSHOT +LAG.*\n1 +leader +\d+ +\d+ +\d+ +\d+ +\d+ +0 +0ms +0 +0 +voter\n`, `^$`},
		{"partition status logs/9 --http " + s.http, 1, `^$`, `there is no such partition`},
		{"partition status nope/0 --http " + s.http, 1, `^$`, `there is no such partition`},
		{"partition status logs", 2, `^$`, `want TOPIC/PARTITION`},
		{"partition status logs/0 --http " + closed, 1, `^$`, `connection refused.*--http`},
		{"partition transfer-leader logs/0 --to 1 --http " + s.http, 0, `^logs/0 +LEADS-ALREADY`, `^$`},
		{"partition transfer-leader logs/0 --to 9 --http " + s.http, 1, `^$`, `9`},
		{"partition transfer-leader logs/0", 2, `^$`, `to which node`},
		{"partition move logs/0", 2, `^$`, `to which nodes`},
		{"partition move logs/0 --to 1,1", 2, `^$`, `want different node ids`},
		{"partition move logs/7 --to 1", 1, `^$`, `has partitions 0 to 2`},
		{"partition move logs/0 --to 1", 0, `logs +0 +1 +1 +THERE-ALREADY`, ``},
		{"partition recover logs/0", 2, `^$`, `look with --dry-run, then say --yes`},
		{"partition recover logs/0 --dry-run", 0, `logs/0 +NOT-NEEDED`, `^$`},
		{"node list --http " + s.http, 0, `(?m)^1 +127.0.0.1:\d+ +- +active +3 +3$`, `^$`},
		{"node drain x", 2, `^$`, `want different node ids|want one node id`},
		{"node drain 7 --http " + s.http, 1, `^$`, `node 7 is not registered`},
		{"node undrain 1 --http " + s.http, 0, `^$`, `node 1 is active`},
		{"topic create x --mode nonsense", 2, `^$`, `want availability, quorum or protection`},
		{"topic create x --mode protection --dry-run", 0, `WOULD-CREATE`, `^$`},
		{"topic alter", 2, `^$`, `which topic`},
		{"topic alter logs", 2, `^$`, `nothing to change`},
		{"topic alter logs --replicas 3", 1, `^$`, `only 1 node is up; 3 replicas need 3 nodes`},
		{"topic add-partitions logs", 2, `^$`, `how many in all`},
		{"topic add-partitions logs --to 4", 0, `^logs +OK +3 → 4 partitions`, `^$`},
		{"partition list nope", 1, `^$`, `does not exist`},
		{"cluster info -o json", 0, `"controller": true`, `^$`},
		{"cluster info --bootstrap-server " + s.address, 0, `CLUSTER`, `^$`},
		{"cluster info -b " + closed, 1, `^$`, `cannot reach ` + closed + ` \(connection refused\)`},
		{"cluster info -b nonsense", 2, `^$`, `not host:port`},
		{"topic trim logs", 2, `^$`, `--before "": want @-1d`},
		{"topic trim logs --before @soon", 2, `^$`, `want @-1d`},
		{"topic trim logs --before @-1d", 2, `^$`, `needs --yes`},
		{"topic trim logs --before end --dry-run", 0, `(?s)^TOPIC +PARTITION +DELETED +LOG-START\nlogs +0 +0 +0\n.*logs +3 +0 +0\n$`, `^$`},
		{"topic trim logs --before @-1d --yes -p 1", 0, `^TOPIC +PARTITION +DELETED +LOG-START\nlogs +1 +0 +0\n$`, `^$`},
		{"topic trim logs --before 5 --yes -p 1", 1, `(?m)^logs +1 +- +-$`, `(?i)offset`},
		{"topic trim logz --before end --yes", 1, `^$`, `did you mean|Did you mean`},
		{"topic delete logs", 2, `^$`, `needs --yes`},
		{"log dump " + segment, 0, `^BASE-OFFSET`, `^$`},
		{"log verify " + s.dir, 0, `logs-0/0+\.log +0 +0 +0B +0\n`, `^$`},
		{"log dump " + broken, 1, `^$`, `not a segment`},
		{"log verify " + filepath.Dir(broken), 1, `^$`, `no segment files`},
		{"topic delete logs --yes", 0, `^logs +DELETED`, `^$`},
		{"topic delete logs --yes", 1, `^logs +FAILED`, `does not exist`},
		{"topic delete logs --yes --if-exists", 0, `^logs +ABSENT`, `^$`},
		{"healthcheck --http " + s.http, 0, `.`, `^$`},
		{"healthcheck --ready --http " + s.http, 0, `.`, `^$`},
		{"healthcheck --http " + closed, 1, `^$`, `connection refused`},
		{"config check -c " + broken, 2, `^$`, `broken.yaml:1: unknown key "num.partition" — did you mean "num.partitions"\?\n.*broken.yaml:2: log.segment.bytes: 1 is below the least value, 1MiB`},
		{"config check -c ../../configs/production.yaml", 0, `^$`, `settings are good`},
		{"config check -c /no/such.yaml", 2, `^$`, `no such file`},
		{"config print --defaults", 0, `(?m)^log.segment.bytes: 256MiB$`, `^$`},
		{"config print --set log.segment.bytes=2MiB --diff --origin", 0, `(?m)^log.segment.bytes: 2MiB +# --set$`, `^$`},
		{"config print --defaults --diff", 2, `^$`, `contradict each other`},
		{"config print -o json --set log.roll.ms=1h", 0, `"key": "log.roll.ms",\n +"value": "1h",\n +"default": "7d",\n +"source": "flag"`, `^$`},
		{"config docs log.roll.hours", 0, `(?s)^log.roll.ms\n.*default +7d`, `^$`},
		{"config docs log.dri", 1, `^$`, `did you mean "log.dirs"\?`},
		{"config docs", 0, `^# Settings`, `^$`},
		{"start --set nonsense=1", 2, `^$`, `--set: unknown key "nonsense"`},
		{"start --set nonsense", 2, `^$`, `want key=value`},
		{"start --port 99999", 2, `^$`, `up to 65535`},
		{"start --set listeners=PLAINTEXT://" + s.address, 1, `^$`, `already in use by pid \d+ \(.*\)\. Stop it or set listeners`},
		{"start --set listeners=PLAINTEXT://127.0.0.1:0 --set http.listen=off --set log.dirs=" + s.dir, 1, `^$`, `is in use by another broker`},
		{"start --set listeners=PLAINTEXT://127.0.0.1:0 --set http.listen=off --set node.id=7 --set log.dirs=" + s.dir, 1, `^$`, `belongs to node 1, but node.id is 7 \(--set\)\. Set node.id=1`},
		{"start --set listeners=PLAINTEXT://127.0.0.1:0 --set http.listen=off --set cluster.id=other --set log.dirs=" + s.dir, 1, `^$`, `belongs to cluster \S{22}, but cluster.id is other`},
		{"completion bash", 0, `bash completion`, `^$`},
		{"completion nonsense", 2, `^$`, `want bash, zsh, fish or powershell`},
		{"group", 2, `^$`, `a command is missing: delete, describe, list, offset-delete, seek`},
		{"topic create logs -p 3", 0, `^logs +OK`, `^$`},
		{"group list", 0, `^GROUP +STATE +TYPE`, `^$`},
		{"group describe nobody", 1, `^$`, `group "nobody" does not exist`},
		{"group delete nobody --yes", 1, `nobody +FAILED`, `GROUP_ID_NOT_FOUND`},
		{"group seek nobody --to start", 1, `^$`, `has committed nothing; --topics says which`},
		{"group seek app", 2, `^$`, `want one of --to and --to-group`},
		{"group seek app --to sideways", 2, `^$`, `want start, end, @-1h`},
		{"group seek app --to start --topics logs", 2, `(?s)^TOPIC +PARTITION +OLD +NEW +DELTA\nlogs +0 +- +0 +\+0\n.*logs +2 `, `nothing was changed: .* needs --yes`},
		{"group seek app --to start --topics logs --dry-run", 0, `logs +1 +- +0`, `^$`},
		{"group seek app --to start --topics logs --yes -o name", 0, `^app\n$`, `^app goes on there\n$`},
		{"group list -o json", 0, `"group": "app",\n +"state": "Empty",\n +"type": "classic"`, `^$`},
		{"group describe app", 0, `(?s)STATE +Empty.*TOTAL-LAG +0\n\nTOPIC +PARTITION +CURRENT-OFFSET +LOG-END-OFFSET +LAG +LAG-TIME.*\nlogs +2 +0 +0 +0 +0s `, `^$`},
		{"group offset-delete app --topic logs --yes", 0, `^app +logs +0,1,2 +DELETED`, `^$`},
		{"group seek app --to 0 --topics logs --yes -o name", 0, `^app\n$`, `^app goes on there\n$`},
		{"group delete app", 2, `^$`, `needs --yes`},
		{"group delete app --yes", 0, `^app +DELETED`, `^$`},
	} {
		args := strings.Fields(row.args)
		if len(args) > 1 && (args[0] == "topic" || args[0] == "group" || args[0] == "cluster" || args[0] == "partition" && args[1] != "status" && args[1] != "transfer-leader") && !strings.Contains(row.args, "-b ") && !strings.Contains(row.args, "--bootstrap") {
			args = append(args, "-b", s.address)
		}
		got := command(t, args...)
		if got.code != row.code {
			t.Errorf("broker %s: code %d, want %d\n%s%s", row.args, got.code, row.code, got.out, got.err)
			continue
		}
		if !regexp.MustCompile(row.out).MatchString(got.out) {
			t.Errorf("broker %s: printed\n%s\nwant %s", row.args, got.out, row.out)
		}
		if !regexp.MustCompile(row.err).MatchString(got.err) {
			t.Errorf("broker %s: said\n%s\nwant %s", row.args, got.err, row.err)
		}
	}
	if code := s.stop(); code != 0 {
		t.Errorf("the broker ended with code %d:\n%s", code, s.errs)
	}
}

func freePort(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close() //nolint:errcheck // only its number is wanted
	_, port, err := net.SplitHostPort(l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	return port
}

func TestHelp_OfEveryCommand(t *testing.T) {
	var walk func(cmd *cobra.Command)
	walk = func(cmd *cobra.Command) {
		for _, c := range cmd.Commands() {
			walk(c)
		}
		if cmd.Name() == "help" || cmd.Hidden {
			return
		}
		args := append(strings.Fields(cmd.CommandPath())[1:], "--help")
		got := command(t, args...)
		if got.code != 0 || got.err != "" || cmd.Short == "" || !strings.Contains(got.out, "Examples:\n  broker") && cmd.Name() != "completion" {
			t.Errorf("%s: code %d, said %q, short %q, printed\n%s", cmd.CommandPath(), got.code, got.err, cmd.Short, got.out)
		}
		if lines := strings.Count(got.out, "\n"); lines > 40 {
			t.Errorf("%s: the help has %d lines", cmd.CommandPath(), lines)
		}
	}
	walk(newRoot(streams{in: strings.NewReader(""), out: &buffer{}, err: &buffer{}}))
}

func TestDev_SaysSixLinesAndKeepsItsIdentity(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "data")
	began := time.Now()
	s := startServer(t, dir)
	t.Logf("ready after %s", time.Since(began))
	lines := 0
	for line := range strings.Lines(s.errs.String()) {
		if !strings.HasPrefix(line, "{") {
			lines++
		}
	}
	if lines != 6 {
		t.Errorf("said %d lines, want 6:\n%s", lines, s.errs)
	}
	first := clusterID(t, s.address)
	if code := s.stop(); code != 0 || !strings.Contains(s.errs.String(), "data is kept in") {
		t.Errorf("ended with code %d:\n%s", code, s.errs)
	}
	again := startServer(t, dir)
	if second := clusterID(t, again.address); second != first {
		t.Errorf("cluster %s, before it was %s", second, first)
	}
}

func clusterID(t *testing.T, address string) string {
	t.Helper()
	got := command(t, "cluster", "info", "-b", address, "-o", "json")
	var info struct {
		Items []struct {
			ID string `json:"cluster_id"`
		}
	}
	if err := json.Unmarshal([]byte(got.out), &info); err != nil || len(info.Items) != 1 || info.Items[0].ID == "" {
		t.Fatalf("cluster info: %v\n%s%s", err, got.out, got.err)
	}
	return info.Items[0].ID
}

// What the cluster calls itself and what meta.properties says must not part.
func TestStart_LostMetaPropertiesIsWrittenAnew(t *testing.T) {
	dir := t.TempDir()
	s := startServer(t, dir, "start")
	first := clusterID(t, s.address)
	s.stop()
	if err := os.Remove(filepath.Join(dir, bootstrap.MetaName)); err != nil {
		t.Fatal(err)
	}
	s = startServer(t, dir, "start")
	s.stop()
	if id, ok, err := bootstrap.ReadIdentity(dir); err != nil || !ok || id.ClusterID != first {
		t.Errorf("identity %+v %v %v, want cluster %s", id, ok, err, first)
	}
}
