package compat

import (
	"bytes"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// TestStreams_WordCountOverABrokersDeath runs clients/java/WordCount.java, a program of Kafka Streams with a repartition topic and
// a compacted changelog, on three brokers. In the middle it loses its local state and takes it from the changelog; then a
// broker is killed with -9 while it counts, and comes back.
//
// Streams processes at least once here, as there are no transactions. So of each word two numbers are looked at: in how many
// different lines it stands, which does not change when a line is processed again, must be exactly right at the end: no line
// was lost. How often it was counted must not be below. The repartition topic must have been purged (DeleteRecords), and the internal
// topics must have the settings that Streams asked for.
func TestStreams_WordCountOverABrokersDeath(t *testing.T) {
	t.Parallel()
	need(t, client{name: "Kafka Streams", missing: streamsMissing})
	const lines, partitions = 3_000, 3
	c := startCluster(t)
	in, out, app := topicName("streams-in"), topicName("streams-out"), topicName("streams")
	cl := c.client(t, kgo.RecordPartitioner(kgo.StickyKeyPartitioner(nil)))
	for _, topic := range []string{in, out} {
		if err := createTopicOf(limit(t), cl, topic, partitions, c.replicas, "cleanup.policy="+map[string]string{in: "delete", out: "compact"}[topic]); err != nil {
			t.Fatal(err)
		}
	}
	count := startWordCount(t, c.bootstrap, app, in, out)

	words, rng := map[string]int{}, rand.New(rand.NewPCG(7, 7))
	write := func(from, to int) {
		var recs []*kgo.Record
		for i := from; i < to; i++ {
			said := map[string]bool{}
			for range 5 {
				said[fmt.Sprintf("word%02d", min(rng.IntN(40), rng.IntN(40)))] = true
			}
			var line []string
			for w := range said {
				line = append(line, w)
				words[w]++
			}
			recs = append(recs, &kgo.Record{Topic: in, Key: []byte(strconv.Itoa(i)), Value: []byte(strings.Join(line, " "))})
		}
		if err := cl.ProduceSync(limit(t), recs...).FirstErr(); err != nil {
			t.Fatal(err)
		}
	}
	reader := c.client(t, kgo.ConsumeTopics(out), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()), kgo.FetchMaxWait(200*time.Millisecond))
	counted, times := map[string]int{}, map[string]int{}
	await := func(what string) {
		t.Helper()
		ctx := limit(t)
		for !maps.Equal(counted, words) {
			fetches := reader.PollFetches(ctx)
			if ctx.Err() != nil {
				t.Fatalf("%s: want %v\n have %v", what, words, counted)
			}
			fetches.EachRecord(func(r *kgo.Record) {
				var different, all int
				if _, err := fmt.Sscanf(string(r.Value), "%d/%d", &different, &all); err != nil {
					t.Errorf("%q: %v", r.Value, err)
				}
				counted[string(r.Key)], times[string(r.Key)] = different, all
			})
		}
	}
	write(0, lines/3)
	await("the first third")
	count.say("restart")
	write(lines/3, lines/2)
	await("after the changelog was read")
	c.kill(2)
	write(lines/2, 3*lines/4)
	c.start(2)
	write(3*lines/4, lines)
	await("after a broker was killed")
	poll(t, "the repartition topic to be purged", func() bool {
		return offsetsAt(t, cl, app+"-words-repartition", partitions, -2) > 0
	})
	count.close()

	again := 0
	for w, n := range words {
		if times[w] < n {
			t.Errorf("%s stands in %d lines and was counted %d times", w, n, times[w])
		}
		again += times[w] - n
	}
	t.Logf("%d lines, %d words; %d words were counted again", lines, len(words), again)
	for topic, want := range map[string]map[string]string{
		app + "-words-repartition": {"cleanup.policy": "delete", "retention.ms": "-1", "segment.bytes": "1048576"},
		app + "-counts-changelog":  {"cleanup.policy": "compact", "segment.bytes": "1048576"},
	} {
		got := configsOf(t, cl, topic)
		for key, value := range want {
			if got[key] != value {
				t.Errorf("%s of %s is %q, want %q", key, topic, got[key], value)
			}
		}
	}
}

// cluster is three brokers of `broker dev`, or the one foreign broker that all tests talk to.
type cluster struct {
	t         *testing.T
	bootstrap string
	replicas  int16
	dir       string // "" if the brokers are not ours
}

// startCluster starts three brokers and stops them when the test ends.
func startCluster(t *testing.T) *cluster {
	t.Helper()
	if !theBroker.ours() {
		return &cluster{t: t, bootstrap: theBroker.bootstrap, replicas: 1}
	}
	dir, err := os.MkdirTemp("", "stele-compat-dev-")
	if err != nil {
		t.Fatal(err)
	}
	c := &cluster{t: t, replicas: 3, dir: dir}
	port := 0
	poll(t, "three brokers to start", func() bool {
		if port, err = freePort(); err != nil {
			t.Fatal(err)
		}
		_, said, err := c.dev("-n", "3", "--port", strconv.Itoa(port), "--set", "group.initial.rebalance.delay.ms=0", "--set", "offsets.topic.num.partitions=5")
		if err != nil {
			t.Logf("%v\n%s", err, said) // another process may have one of the ports
		}
		return err == nil
	})
	t.Cleanup(func() {
		if _, said, err := c.dev("stop"); err != nil {
			t.Errorf("broker dev stop: %v\n%s", err, said)
		}
		if t.Failed() {
			t.Logf("logs and data of the brokers are kept in %s", dir)
			return
		}
		_ = os.RemoveAll(dir)
	})
	var addresses []string
	for i := range 3 {
		addresses = append(addresses, "127.0.0.1:"+strconv.Itoa(port+i))
	}
	c.bootstrap = strings.Join(addresses, ",")
	return c
}

// dev runs `broker dev`. It is not bound to the test's context: the cluster is stopped after that has ended.
func (c *cluster) dev(args ...string) (out, errOut []byte, err error) {
	cmd := exec.Command(theBroker.bin, append([]string{"dev", "--data-dir", filepath.Join(c.dir, "dev")}, args...)...)
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	late := time.AfterFunc(callTimeout, func() { _ = cmd.Process.Kill() })
	defer late.Stop()
	err = cmd.Run()
	return stdout.Bytes(), stderr.Bytes(), err
}

func (c *cluster) kill(node int)  { c.t.Helper(); c.must("kill", strconv.Itoa(node)) }
func (c *cluster) start(node int) { c.t.Helper(); c.must("start", strconv.Itoa(node)) }

func (c *cluster) must(args ...string) {
	c.t.Helper()
	if c.dir == "" {
		c.t.Logf("not done to brokers that are not ours: %v", args)
		return
	}
	if _, said, err := c.dev(args...); err != nil {
		c.t.Fatalf("broker dev %v: %v\n%s", args, err, said)
	}
}

func (c *cluster) client(t *testing.T, opts ...kgo.Opt) *kgo.Client {
	t.Helper()
	return admin(t, append([]kgo.Opt{kgo.SeedBrokers(strings.Split(c.bootstrap, ",")...)}, opts...)...)
}

// wordCount is a running WordCount.java.
type wordCount struct {
	t     *testing.T
	cmd   *exec.Cmd
	stdin io.WriteCloser
	said  bytes.Buffer
}

func startWordCount(t *testing.T, bootstrap, app, in, out string) *wordCount {
	t.Helper()
	w := &wordCount{t: t}
	w.cmd = exec.Command("java", "-Xmx256m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-cp", filepath.Join(peersDir(), "jars", "*"),
		"clients/java/WordCount.java", bootstrap, app, in, out, t.TempDir())
	w.cmd.Stdout, w.cmd.Stderr = &w.said, &w.said
	w.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	var err error
	if w.stdin, err = w.cmd.StdinPipe(); err != nil {
		t.Fatal(err)
	}
	if err := w.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if t.Failed() {
			_ = w.cmd.Process.Kill()
		}
		w.close()
		if t.Failed() {
			t.Logf("WordCount says:\n%s", tailOf(w.said.Bytes()))
		}
	})
	return w
}

func (w *wordCount) say(line string) {
	w.t.Helper()
	if _, err := io.WriteString(w.stdin, line+"\n"); err != nil {
		w.t.Fatal(err)
	}
}

// close ends the program and waits until it has committed and left.
func (w *wordCount) close() {
	w.t.Helper()
	if w.stdin == nil {
		return
	}
	quietly(w.stdin)
	w.stdin = nil
	late := time.AfterFunc(callTimeout, func() { _ = w.cmd.Process.Kill() })
	defer late.Stop()
	if err := w.cmd.Wait(); err != nil {
		w.t.Errorf("WordCount: %v", err)
	}
}

func streamsMissing() string {
	if why := javaMissing(); why != "" {
		return why
	}
	if _, err := exec.LookPath("javac"); err != nil {
		return "install a JDK 17 or newer (Debian: apt-get install default-jdk-headless)"
	}
	return ""
}

// offsetsAt sums what ListOffsets says of all partitions for the timestamp.
func offsetsAt(t *testing.T, cl *kgo.Client, topic string, partitions int32, timestamp int64) (sum int64) {
	t.Helper()
	req := kmsg.NewPtrListOffsetsRequest()
	req.ReplicaID = -1
	rt := kmsg.NewListOffsetsRequestTopic()
	rt.Topic = topic
	for p := range partitions {
		part := kmsg.NewListOffsetsRequestTopicPartition()
		part.Partition, part.Timestamp = p, timestamp
		rt.Partitions = append(rt.Partitions, part)
	}
	req.Topics = append(req.Topics, rt)
	for _, shard := range cl.RequestSharded(limit(t), req) {
		if shard.Err != nil {
			t.Fatal(shard.Err)
		}
		for _, topic := range shard.Resp.(*kmsg.ListOffsetsResponse).Topics {
			for _, p := range topic.Partitions {
				if p.ErrorCode != 0 {
					t.Fatalf("ListOffsets of partition %d: error %d", p.Partition, p.ErrorCode)
				}
				sum += p.Offset
			}
		}
	}
	return sum
}

// configsOf returns a topic's settings.
func configsOf(t *testing.T, cl *kgo.Client, topic string) map[string]string {
	t.Helper()
	req := kmsg.NewPtrDescribeConfigsRequest()
	resource := kmsg.NewDescribeConfigsRequestResource()
	resource.ResourceType, resource.ResourceName = kmsg.ConfigResourceTypeTopic, topic
	req.Resources = append(req.Resources, resource)
	resp, err := req.RequestWith(limit(t), cl)
	if err != nil {
		t.Fatal(err)
	}
	configs := map[string]string{}
	for _, r := range resp.Resources {
		if r.ErrorCode != 0 {
			t.Fatalf("DescribeConfigs of %s: error %d", topic, r.ErrorCode)
		}
		for _, c := range r.Configs {
			if c.Value != nil {
				configs[c.Name] = *c.Value
			}
		}
	}
	return configs
}
