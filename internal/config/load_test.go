package config

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

func write(t *testing.T, name, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func load(t *testing.T, r Request) *Config {
	t.Helper()
	c, err := Load(r)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// problems loads what must fail and returns one line per problem, with the file's folder cut off.
func problems(t *testing.T, r Request) []string {
	t.Helper()
	_, err := Load(r)
	var all *ProblemsError
	if !errors.As(err, &all) || !errors.Is(err, ErrInvalid) {
		t.Fatalf("error %v, want a *ProblemsError", err)
	}
	var lines []string
	for _, p := range all.Problems {
		lines = append(lines, strings.ReplaceAll(p.String(), filepath.Dir(r.File)+"/", ""))
	}
	return lines
}

func set(text ...string) []Override {
	var overrides []Override
	for _, s := range text {
		o, err := ParseSet(s)
		if err != nil {
			panic(err)
		}
		overrides = append(overrides, o)
	}
	return overrides
}

func TestLoad_Defaults(t *testing.T) {
	c := load(t, Request{DefaultsOnly: true})
	if c.NodeID != -1 || c.FlushMessages != 1 || c.SegmentBytes != 256<<20 || c.SegmentAge != 7*24*time.Hour || c.ReplicationFactor != 0 {
		t.Errorf("defaults are %+v", c.Settings)
	}
	dev := load(t, Request{DefaultsOnly: true, Dev: true})
	if dev.NodeID != 1 || dev.LogDirs[0] != "./data" || dev.Open()[0].Address() != "127.0.0.1:9092" {
		t.Errorf("defaults of development are %+v", dev.Settings)
	}
}

func TestLoad_PrecedencePairByPair(t *testing.T) {
	file := write(t, "broker.yaml", "log.segment.bytes: 2MiB\n")
	secret := write(t, "value", "5MiB\n")
	steps := []struct {
		name, value, origin string
		apply               func(*Request)
	}{
		{"default", "256MiB", "default", func(*Request) {}},
		{"file", "2MiB", file + ":1", func(r *Request) { r.File = file }},
		{"Kafka's variable", "3MiB", "KAFKA_LOG_SEGMENT_BYTES", func(*Request) { t.Setenv("KAFKA_LOG_SEGMENT_BYTES", "3MiB") }},
		{"our variable", "4MiB", "STELE_LOG_SEGMENT_BYTES", func(*Request) { t.Setenv("STELE_LOG_SEGMENT_BYTES", "4MiB") }},
		{"our variable with a file", "5MiB", "STELE_LOG_SEGMENT_BYTES_FILE", func(*Request) {
			t.Setenv("STELE_LOG_SEGMENT_BYTES", "")
			t.Setenv("STELE_LOG_SEGMENT_BYTES_FILE", secret)
		}},
		{"flag", "6MiB", "--set", func(r *Request) { r.Overrides = set("log.segment.bytes=6MiB") }},
		{"last flag", "7MiB", "--set", func(r *Request) { r.Overrides = append(r.Overrides, set("log.segment.bytes=7MiB")...) }},
	}
	var r Request
	for _, s := range steps {
		s.apply(&r)
		c := load(t, r)
		if got := c.SegmentBytes.String(); got != s.value || c.Origins["log.segment.bytes"].String() != s.origin {
			t.Errorf("%s: %s from %s, want %s from %s", s.name, got, c.Origins["log.segment.bytes"], s.value, s.origin)
		}
	}
}

// Each source alone reaches every setting: no key is known to viper by name only.
func TestLoad_EverySettingFromEverySource(t *testing.T) {
	for _, f := range Fields() {
		text := f.Text(f.DefaultValue())
		if text == "" {
			text = "X"
		}
		switch f.Key {
		case "advertised.listeners":
			text = "PLAINTEXT://h:9092"
		case "cluster.peers":
			text = "1@h:9192"
		case "cluster.join":
			text = "h:9192"
		}
		t.Run(f.Key, func(t *testing.T) {
			c := load(t, Request{File: write(t, "b.yaml", f.Key+": "+yamlText(text)+"\n")})
			if got := c.Origins[f.Key].Source; got != SourceFile {
				t.Errorf("from a file: %s", got)
			}
			if c = load(t, Request{Overrides: set(f.Key + "=" + text)}); c.Origins[f.Key].Source != SourceFlag || f.Text(c.Value(f)) != text {
				t.Errorf("by flag: %q from %s", f.Text(c.Value(f)), c.Origins[f.Key])
			}
			t.Setenv(EnvName(f.Key), text)
			if c = load(t, Request{}); c.Origins[f.Key].Source != SourceEnvironment || f.Text(c.Value(f)) != text {
				t.Errorf("by environment: %q from %s", f.Text(c.Value(f)), c.Origins[f.Key])
			}
		})
	}
}

func TestLoad_NestedEqualsDotted(t *testing.T) {
	for name, text := range map[string]string{
		"dotted": "log.segment.bytes: 2MiB\nlog.roll.ms: 60000\nlisteners: A://:1,B://:2\n",
		"nested": "log:\n  segment:\n    bytes: 2MiB\n  roll.ms: 1min\nlisteners:\n  - A://:1\n  - B://:2\n",
		"mixed":  "log: {segment.bytes: 2MiB}\nlog.roll: {hours: 0.016666666666666666}\n",
	} {
		if name == "mixed" {
			text = "log: {segment.bytes: 2MiB}\nlog.roll: {ms: 60s}\nlisteners: [A://:1, B://:2]\n"
		}
		c := load(t, Request{File: write(t, "b.yaml", text)})
		if c.SegmentBytes != 2<<20 || c.SegmentAge != time.Minute || !slices.Equal(c.Listeners, []string{"A://:1", "B://:2"}) {
			t.Errorf("%s: %+v", name, c.Settings)
		}
	}
}

func TestLoad_AliasesHaveTheirOwnUnit(t *testing.T) {
	c := load(t, Request{File: write(t, "b.yaml", "log.roll.hours: 3\nlog.dir: /x\nbroker.id: 7\n")})
	if c.SegmentAge != 3*time.Hour || c.LogDirs[0] != "/x" || c.NodeID != 7 {
		t.Errorf("%+v", c.Settings)
	}
	c = load(t, Request{File: write(t, "b.yaml", "log.roll.ms: 1000\nlog.roll.hours: 3\n")})
	if c.SegmentAge != time.Second || len(c.Warnings) != 1 {
		t.Errorf("ms and hours: %v, warnings %v", c.SegmentAge, c.Warnings)
	}
	t.Setenv("KAFKA_LOG_ROLL_HOURS", "5")
	if c = load(t, Request{}); c.SegmentAge != 5*time.Hour {
		t.Errorf("KAFKA_LOG_ROLL_HOURS=5 is %v", c.SegmentAge)
	}
}

func TestLoad_AllProblemsAtOnceWithLines(t *testing.T) {
	file := write(t, "broker.yaml", strings.Join([]string{
		"node.id: one",                          // 1
		"log.segment.byte: 1GiB",                // 2
		"log:",                                  // 3
		"  index.interval.bytes: 4K",            // 4
		"  roll.ms: 7x",                         // 5
		"zookeeper.connect: zk:2181",            // 6
		"num.io.threads: 8",                     // 7
		"ssl.keystore.location: /x",             // 8
		"auto.create.topics.enable: yes",        // 9
		"advertised.listeners: OTHER://h:1",     // 10
		"num.partitions: 0",                     // 11
		"num.partitions: 3",                     // 12
		"log.message.timestamp.type: NoSuch",    // 13
		"broker.rack:",                          // 14
		"listeners: [SSL://:9093, nonsense]",    // 15
		"max.connections: 99999999999999999999", // 16
		"",
	}, "\n"))
	want := []string{
		`broker.yaml:14: broker.rack: has no value; remove the line for the default, write "" for nothing`,
		`broker.yaml:2: unknown key "log.segment.byte" — did you mean "log.segment.bytes"?`,
		`broker.yaml:6: zookeeper.connect: refused: there is no ZooKeeper here; remove it`,
		`broker.yaml:7: warning: num.io.threads: ignored: Go schedules this`,
		`broker.yaml:8: ssl.keystore.location: refused: this version serves no TLS: it would listen in the clear; remove it, or put a TLS proxy in front`,
		`broker.yaml:12: num.partitions: is set before, in line 11`,
		`broker.yaml:1: node.id: "one" is not a whole number of 32 bits`,
		`broker.yaml:16: max.connections: "99999999999999999999" is not a whole number of 64 bits`,
		`broker.yaml:9: auto.create.topics.enable: "yes" is neither true nor false`,
		`broker.yaml:11: num.partitions: 0 is below the least value, 1`,
		`broker.yaml:5: log.roll.ms: "7x" is not a time: write 500ms, 30s, 10min, 2h or 7d`,
		`broker.yaml:4: log.index.interval.bytes: "4K" is not a size: write bytes, or KiB, MiB, GiB after the number`,
		`broker.yaml:13: log.message.timestamp.type: "NoSuch" is none of CreateTime, LogAppendTime`,
		`broker.yaml:15: listeners: SSL://:9093: this version serves neither TLS nor SASL; use PLAINTEXT on a trusted network`,
		`broker.yaml:15: listeners: "nonsense": want NAME://host:port, as in PLAINTEXT://127.0.0.1:9092`,
		`broker.yaml:10: advertised.listeners: OTHER://h:1: there is no listener named OTHER in listeners`,
	}
	got := problems(t, Request{File: file})
	slices.Sort(got)
	slices.Sort(want)
	if !slices.Equal(got, want) {
		t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

func TestLoad_CrossField(t *testing.T) {
	for _, row := range []struct {
		name, want string
		set        []string
	}{
		{"advertised unspecified", "clients cannot dial this address", []string{"advertised.listeners=PLAINTEXT://0.0.0.0:9092"}},
		{"advertised without host", "clients cannot dial this address", []string{"advertised.listeners=PLAINTEXT://:9092"}},
		{"same name twice", "two listeners are named A", []string{"listeners=A://:1,A://:2"}},
		{"same address twice", "two listeners have the address :1", []string{"listeners=A://:1,B://:1"}},
		{"no listener", "no listener is left", []string{"listeners="}},
		{"two directories", "want exactly one directory, not 2", []string{"log.dirs=/a,/b"}},
		{"min.insync above replicas", "acks=all could never be answered", []string{"min.insync.replicas=2", "default.replication.factor=1"}},
		{"min.insync above the automatic replicas", "acks=all could never be answered", []string{"min.insync.replicas=4"}},
		{"batch above request", "is above socket.request.max.bytes", []string{"message.max.bytes=2MiB", "socket.request.max.bytes=1MiB"}},
		{"batch above segment", "would fit no segment", []string{"message.max.bytes=2MiB", "log.segment.bytes=1MiB"}},
		{"setting of Kafka, mistyped", `did you mean "log.retention.hours"`, []string{"log.retention.hour=1"}},
		{"policy", "want delete, compact, or both", []string{"log.cleanup.policy=compact,compact"}},
		{"ratio", "want a number between 0 and 1", []string{"log.cleaner.min.cleanable.ratio=NaN"}},
		{"lags", "is above log.cleaner.max.compaction.lag.ms", []string{"log.cleaner.min.compaction.lag.ms=2s", "log.cleaner.max.compaction.lag.ms=1s"}},
		{"http address", "want host:port", []string{"http.listen=8080"}},
		{"peers without ids", "want id@host:port", []string{"controller.quorum.voters=a:1,b:1"}},
		{"peers without ports", "want host:port", []string{"cluster.peers=1@a,2@b"}},
		{"peers nobody can dial", "nobody can dial", []string{"cluster.peers=1@0.0.0.0:9192"}},
		{"peer named twice", "node 1 is named twice", []string{"cluster.peers=1@a:1,1@b:1,3@c:1"}},
		{"address named twice", "a:1 is the address of two brokers", []string{"cluster.peers=1@a:1,2@a:1,3@c:1"}},
		{"too many founders", "5 at most", []string{"cluster.peers=1@a:1,2@a:2,3@a:3,4@a:4,5@a:5,6@a:6,7@a:7"}},
		{"not among the peers", "node.id is 4, but the brokers here are 1, 2, 3", []string{"cluster.peers=3@a:1,2@b:1,1@c:1", "node.id=4"}},
		{"join without port", "want host:port", []string{"cluster.join=a"}},
		{"cluster.listen", "want host:port, :port or auto", []string{"cluster.listen=a"}},
		{"cluster.listen of clients", "brokers talk to each other on a port of their own", []string{"cluster.listen=127.0.0.1:9092", "listeners=PLAINTEXT://127.0.0.1:9092"}},
		{"cluster.advertised.address", "nobody can dial", []string{"cluster.advertised.address=:9192"}},
	} {
		t.Run(row.name, func(t *testing.T) {
			if got := strings.Join(problems(t, Request{Overrides: set(row.set...)}), "\n"); !strings.Contains(got, row.want) {
				t.Errorf("problems %q, want %q", got, row.want)
			}
		})
	}
}

func TestLoad_Warnings(t *testing.T) {
	for _, row := range []struct {
		name, want string
		set        []string
	}{
		{"advertised loopback", "would dial themselves", []string{"advertised.listeners=PLAINTEXT://localhost:9092"}},
		{"temporary folder", "folder for temporary files", []string{"log.dirs=" + filepath.Join(os.TempDir(), "x")}},
		{"even number of founders", "name an odd number", []string{"cluster.peers=1@a:1,2@b:1"}},
		{"controller's listener", "there are no separate controllers", []string{"listeners=A://:1,CONTROLLER://:2", "controller.listener.names=CONTROLLER"}},
	} {
		c := load(t, Request{Overrides: set(row.set...)})
		if len(c.Warnings) != 1 || !strings.Contains(c.Warnings[0].String(), row.want) {
			t.Errorf("%s: %v", row.name, c.Warnings)
		}
		if len(c.Open()) != 1 {
			t.Errorf("%s: opens %v", row.name, c.Open())
		}
	}
}

func TestLoad_ServerPropertiesOfKafka(t *testing.T) {
	file := write(t, "server.properties", `# Kafka's own example, shortened
process.roles=broker,controller
node.id=1
controller.quorum.bootstrap.servers=localhost:9093
listeners=PLAINTEXT://:9092,CONTROLLER://:9093
inter.broker.listener.name=PLAINTEXT
advertised.listeners=PLAINTEXT://kafka.example.com:9092,CONTROLLER://localhost:9093
controller.listener.names=CONTROLLER
listener.security.protocol.map=CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT,SSL:SSL,SASL_PLAINTEXT:SASL_PLAINTEXT,SASL_SSL:SASL_SSL
num.network.threads=3
num.io.threads=8
socket.send.buffer.bytes=102400
socket.receive.buffer.bytes=102400
socket.request.max.bytes=104857600
log.dirs=/var/lib/kraft-\
  combined-logs
num.partitions=1
num.recovery.threads.per.data.dir=1
offsets.topic.replication.factor=1
share.coordinator.state.topic.replication.factor=1
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
#log.flush.interval.messages=10000
log.retention.hours=168
log.segment.bytes=1073741824
log.retention.check.interval.ms=300000
`)
	c := load(t, Request{File: file})
	if c.NodeID != 1 || c.LogDirs[0] != "/var/lib/kraft-combined-logs" || c.SegmentBytes != 1<<30 || len(c.Open()) != 1 {
		t.Errorf("%+v", c.Settings)
	}
	if a, ok := c.Advertised("PLAINTEXT"); !ok || a.Address() != "kafka.example.com:9092" {
		t.Errorf("advertised %v %v", a, ok)
	}
	for _, w := range c.Warnings {
		if !strings.HasPrefix(w.Where, file+":") {
			t.Errorf("warning without a line: %s", w)
		}
	}
}

func TestLoad_PropertiesSyntax(t *testing.T) {
	entries, bad := parseProperties("p", []byte("a=1\n b : 2\nc 3\n! no\nd\\ e=\\u0041\\tx\r\nf=1\\\n  ,2\ng\nh=\\u12"))
	want := []entry{{"a", "1", 1}, {"b", "2", 2}, {"c", "3", 3}, {"d e", "A\tx", 5}, {"f", "1,2", 6}, {"g", "", 8}}
	if !slices.Equal(entries, want) || len(bad) != 1 || bad[0].Where != "p:9" {
		t.Errorf("entries %v problems %v", entries, bad)
	}
}

func TestLoad_BrokenFiles(t *testing.T) {
	for name, row := range map[string]struct{ text, want string }{
		"syntax":      {"a: [1", "b.yaml:1:"},
		"no mapping":  {"- a\n", "want lines of the form key: value"},
		"alias":       {"log.dirs: &a /x\nbroker.rack: *a\n", "b.yaml:2: broker.rack: anchors and aliases"},
		"merge":       {"x: &a {log.dirs: /x}\n<<: *a\n", "want a plain key"},
		"nested list": {"listeners:\n  - [a]\n", "b.yaml:2: listeners: want a list of plain values"},
	} {
		got := strings.Join(problems(t, Request{File: write(t, "b.yaml", row.text)}), "\n")
		if !strings.Contains(got, row.want) {
			t.Errorf("%s: %q, want %q", name, got, row.want)
		}
	}
	if got := problems(t, Request{File: filepath.Join(t.TempDir(), "none.yaml")}); !strings.Contains(got[0], "no such file") {
		t.Errorf("missing file: %v", got)
	}
	if c := load(t, Request{File: write(t, "empty.yaml", "# nothing\n")}); c.NodeID != -1 {
		t.Errorf("empty file: %+v", c.Settings)
	}
}

func TestLoad_Environment(t *testing.T) {
	t.Setenv("STELE_PORT", "tcp://10.0.0.1:9092")
	t.Setenv("STELE_SERVICE_HOST", "10.0.0.1")
	t.Setenv("STELE_PORT_9092_TCP_ADDR", "10.0.0.1")
	t.Setenv("STELE_LOG_DIR", "/srv")
	t.Setenv("KAFKA_HEAP_OPTS", "-Xmx1G")
	t.Setenv("KAFKA_TRANSACTION_STATE_LOG_REPLICATION_FACTOR", "1")
	t.Setenv("STELE_NUM_PARTITION", "3")
	c := load(t, Request{})
	if c.LogDirs[0] != "/srv" {
		t.Errorf("log.dirs %v", c.LogDirs)
	}
	var got []string
	for _, w := range c.Warnings {
		got = append(got, w.String())
	}
	want := []string{
		"KAFKA_TRANSACTION_STATE_LOG_REPLICATION_FACTOR: warning: transaction.state.log.replication.factor: ignored: transactions are not served yet",
		"STELE_NUM_PARTITION: warning: this variable means nothing — did you mean STELE_NUM_PARTITIONS?",
	}
	if !slices.Equal(got, want) {
		t.Errorf("warnings %q, want %q", got, want)
	}
	t.Setenv("KAFKA_ZOOKEEPER_CONNECT", "zk:2181")
	if got := strings.Join(problems(t, Request{}), "\n"); !strings.Contains(got, "KAFKA_ZOOKEEPER_CONNECT: zookeeper.connect: refused") {
		t.Errorf("problems %q", got)
	}
}

func TestLoad_EnvironmentFileErrors(t *testing.T) {
	t.Setenv("STELE_CLUSTER_ID_FILE", "/no/such")
	if got := problems(t, Request{}); !strings.Contains(got[0], "STELE_CLUSTER_ID_FILE: ") {
		t.Errorf("missing: %v", got)
	}
	t.Setenv("STELE_CLUSTER_ID", "x")
	if got := problems(t, Request{}); !strings.Contains(got[0], "is set together with STELE_CLUSTER_ID") {
		t.Errorf("both: %v", got)
	}
}

func TestParseSet_WithoutKey(t *testing.T) {
	for _, text := range []string{"x", "=x", ""} {
		if _, err := ParseSet(text); !errors.Is(err, ErrInvalid) {
			t.Errorf("%q: %v", text, err)
		}
	}
}

// As in Kafka: milliseconds before minutes before hours, wherever they stand.
func TestLoad_RetentionNames(t *testing.T) {
	for text, want := range map[string]time.Duration{
		"log.retention.hours: 2\n":                                                2 * time.Hour,
		"log.retention.hours: 2\nlog.retention.minutes: 3\n":                      3 * time.Minute,
		"log.retention.minutes: 3\nlog.retention.hours: 2\n":                      3 * time.Minute,
		"log.retention.minutes: 3\nlog.retention.ms: 4\nlog.retention.hours: 2\n": 4 * time.Millisecond,
		"log.retention.ms: -1\n":                                                  -1,
		"log.retention.ms: unlimited\n":                                           -1,
		"log.retention.hours: -1\n":                                               -1,
	} {
		if got := load(t, Request{File: write(t, "b.yaml", text)}).RetentionAge; got != want {
			t.Errorf("%q: %v, not %v", text, got, want)
		}
	}
}
