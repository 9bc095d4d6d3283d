package compat

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
)

// null stands for null in what Kafka's console programs read and print.
const null = "(~null~)"

// javaClient is Kafka's own console producer and consumer.
func javaClient() client {
	return client{
		name: "java", codecs: codecs,
		shape:   shape{text: true, noNullHeaders: true, noTimestamps: true},
		missing: javaMissing, produce: javaProduce, consume: javaConsume,
	}
}

func javaMissing() string {
	if _, err := exec.LookPath("java"); err != nil {
		return "install Java 17 or newer and Maven, then " + installHint
	}
	found, err := filepath.Glob(filepath.Join(peersDir(), "jars", "kafka-tools-*.jar"))
	if err != nil || len(found) == 0 {
		return installHint + " (no jars in " + peersDir() + ")"
	}
	return ""
}

// peersDir is where bench/peers/kafka.sh keeps Kafka's jars.
func peersDir() string {
	if dir := os.Getenv("PEERS_DIR"); dir != "" {
		return dir
	}
	home, err := os.UserHomeDir()
	if err != nil {
		return ""
	}
	return filepath.Join(home, ".cache", "stele-peers")
}

// javaArgs are the arguments of bash that run one of Kafka's tools.
func javaArgs(tool string, args ...string) []string {
	return append([]string{"../../bench/peers/kafka.sh", "tool", tool}, args...)
}

func javaTool(t *testing.T, stdin []byte, tool string, args ...string) []byte {
	t.Helper()
	return program(t, bytes.NewReader(stdin), "bash", javaArgs(tool, args...)...)
}

func javaProduce(t *testing.T, topic, codec string, recs []record) {
	t.Helper()
	var in bytes.Buffer
	for _, r := range recs {
		var headers []string
		for _, h := range r.Headers {
			headers = append(headers, h.Key+":"+string(h.Value))
		}
		if headers == nil {
			headers = []string{null}
		}
		fmt.Fprintf(&in, "%s\x1d%s\x1f%s\n", strings.Join(headers, ","), orNull(r.Key), orNull(r.Value))
	}
	javaTool(t, in.Bytes(), "ConsoleProducer", "--bootstrap-server", theBroker.bootstrap, "--topic", topic, "--compression-codec", codec,
		"--reader-property", "parse.key=true", "--reader-property", "parse.headers=true", "--reader-property", "key.separator=\x1f",
		"--reader-property", "headers.delimiter=\x1d", "--reader-property", "null.marker="+null)
}

func orNull(b []byte) string {
	if b == nil {
		return null
	}
	return string(b)
}

func javaConsume(t *testing.T, topics []want) map[string][]record {
	t.Helper()
	got := map[string][]record{}
	for _, w := range topics {
		out := javaTool(t, nil, "ConsoleConsumer", "--bootstrap-server", theBroker.bootstrap, "--topic", w.Topic,
			"--partition", "0", "--offset", "earliest", "--max-messages", strconv.Itoa(w.Count), "--timeout-ms", "30000",
			"--formatter-property", "print.timestamp=true", "--formatter-property", "print.offset=true",
			"--formatter-property", "print.headers=true", "--formatter-property", "print.key=true",
			"--formatter-property", "key.separator=\x1f", "--formatter-property", "line.separator=\x1e",
			"--formatter-property", "null.literal="+null)
		for line := range bytes.SplitSeq(bytes.TrimSuffix(out, []byte{0x1e}), []byte{0x1e}) {
			r, err := parseJava(line)
			if err != nil {
				t.Fatalf("record %d of the console consumer's output: %v", len(got[w.Topic]), err)
			}
			got[w.Topic] = append(got[w.Topic], r)
		}
	}
	return got
}

// parseJava parses CreateTime:N 0x1f Offset:N 0x1f headers 0x1f key 0x1f value.
func parseJava(line []byte) (record, error) {
	fields := bytes.SplitN(line, []byte{0x1f}, 5)
	if len(fields) != 5 {
		return record{}, fmt.Errorf("%d fields in %q", len(fields), line[:min(len(line), 200)])
	}
	var r record
	var err error
	if r.Timestamp, err = strconv.ParseInt(strings.TrimPrefix(string(fields[0]), "CreateTime:"), 10, 64); err != nil {
		return r, err
	}
	if r.Offset, err = strconv.ParseInt(strings.TrimPrefix(string(fields[1]), "Offset:"), 10, 64); err != nil {
		return r, err
	}
	if headers := string(fields[2]); headers != "NO_HEADERS" {
		for h := range strings.SplitSeq(headers, ",") {
			k, v, _ := strings.Cut(h, ":")
			r.Headers = append(r.Headers, header{k, nullIf(v, null)})
		}
	}
	r.Key, r.Value = nullIf(string(fields[3]), null), nullIf(string(fields[4]), null)
	return r, nil
}

// TestJava_ProducerPerformance runs Kafka's own load generator for a moment, idempotent with acks=all.
func TestJava_ProducerPerformance(t *testing.T) {
	t.Parallel()
	need(t, javaClient())
	const n = 20_000
	topic := newTopic(t, 3)
	out := string(javaTool(t, nil, "ProducerPerformance", "--bootstrap-server", theBroker.bootstrap, "--topic", topic,
		"--num-records", strconv.Itoa(n), "--record-size", "300", "--throughput", "-1",
		"--command-property", "acks=all", "--command-property", "compression.type=lz4", "--command-property", "linger.ms=5"))
	if !strings.Contains(out, fmt.Sprintf("%d records sent", n)) {
		t.Fatalf("ProducerPerformance says\n%s", out)
	}
	t.Log(strings.TrimSpace(out))
	total := int64(0)
	for _, end := range endOffsets(t, topic, 3) {
		total += end
	}
	if total != n {
		t.Fatalf("the partitions end at %d offsets in all, want %d", total, n)
	}
}

// TestJava_TopicCommand creates, describes, extends and deletes a topic with Kafka's own tool.
func TestJava_TopicCommand(t *testing.T) {
	t.Parallel()
	need(t, javaClient())
	topic := topicName(t.Name())
	tool := func(args ...string) string {
		return string(javaTool(t, nil, "TopicCommand", append([]string{"--bootstrap-server", theBroker.bootstrap, "--topic", topic}, args...)...))
	}
	tool("--create", "--partitions", "2", "--replication-factor", "1", "--config", "retention.ms=7654321")
	tool("--alter", "--partitions", "3")
	said := tool("--describe")
	for _, want := range []string{"PartitionCount: 3", "ReplicationFactor: 1", "retention.ms=7654321", "Partition: 2", "Leader: 1", "Isr: 1"} {
		if !strings.Contains(said, want) {
			t.Errorf("--describe lacks %q:\n%s", want, said)
		}
	}
	tool("--delete")
}

// TestJava_GetOffsetShell asks for the earliest, latest and greatest-timestamp offsets with Kafka's own tool.
func TestJava_GetOffsetShell(t *testing.T) {
	t.Parallel()
	need(t, javaClient())
	topic := newTopic(t, 1)
	recs := generate(shape{}, 20, 9)
	recs[11].Timestamp = recs[19].Timestamp + 1000
	franzProduce(t, topic, "none", recs)
	for spec, want := range map[string]string{"earliest": ":0:0", "latest": ":0:20", "max-timestamp": ":0:11"} {
		out := strings.TrimSpace(string(javaTool(t, nil, "GetOffsetShell", "--bootstrap-server", theBroker.bootstrap, "--topic", topic, "--time", spec)))
		if out != topic+want {
			t.Errorf("--time %s says %q, want %q", spec, out, topic+want)
		}
	}
}
