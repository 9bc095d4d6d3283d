package compat

import (
	"bytes"
	"fmt"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/twmb/franz-go/pkg/kgo"
)

// TestCompacted_EveryClientReadsTheLatestOfEachKey compacts a log in which whole segments have nothing left, at its beginning, in its
// middle and at the end of what is compacted, kills the broker with -9, lets Kafka's own DumpLogSegments look at every file, and every
// client read from the beginning to the end.
//
// Before a record that fills an answer alone stand empty batches: the answer to whoever asks for those has no record at all, and
// clients have to go on behind them all the same.
func TestCompacted_EveryClientReadsTheLatestOfEachKey(t *testing.T) {
	if theBroker.data == "" {
		t.Skip("set " + envData + " to look at the files")
	}
	need(t, javaClient())
	topic := newTopic(t, 1, "cleanup.policy=compact", "segment.bytes=1048576", "min.cleanable.dirty.ratio=0.01")
	dir := filepath.Join(theBroker.data, topic+"-0")
	var written []record
	write := func(recs []record, opts ...kgo.Opt) {
		franzProduceWith(t, topic, recs, append([]kgo.Opt{kgo.ProducerBatchMaxBytes(20_000), kgo.ProducerBatchCompression(kgo.NoCompression())}, opts...)...)
		written = append(written, recs...)
	}
	text := func(n int) []byte { return bytes.Repeat([]byte("x"), n) }
	churn := func(prefix string, n int) (recs []record) {
		for i := range n {
			recs = append(recs, record{Key: fmt.Appendf(nil, "%s%02d", prefix, i%40), Value: append(fmt.Appendf(nil, "%d ", i), text(5000)...)})
		}
		return recs
	}
	write(churn("a", 600))
	// With an empty batch before it this is more than an answer takes by default, which is 1 MiB for a partition.
	write([]record{{Key: []byte("big"), Value: text(1_048_490)}}, kgo.ProducerBatchMaxBytes(1<<20+12))
	write(churn("a", 400), kgo.DisableIdempotentWrite(), kgo.RequiredAcks(kgo.LeaderAck()))
	write(churn("b", 400))
	for i := range 40 {
		write([]record{{Key: fmt.Appendf(nil, "a%02d", i), Value: fmt.Appendf(nil, "last %d", i)}, {Key: fmt.Appendf(nil, "b%02d", i), Value: nil}})
	}
	write(churn("c", 400))
	write(churn("c", 40))
	write([]record{{Key: []byte("end"), Value: []byte("end")}})

	// Everything but the active segment.
	clean := int64(0)
	poll(t, "the log to be compacted", func() bool {
		var rewritten int64
		_, err := fmt.Sscanf(string(contents(filepath.Join(dir, "cleaner-checkpoint"))), "0\n%d %d", &clean, &rewritten)
		return err == nil && clean == activeSegment(t, dir)
	})
	if err := theBroker.crashAndRestart(limit(t)); err != nil {
		t.Fatal(err)
	}
	out := dumpFiles(t, dir)
	offsets := dumpedOffsets(out)
	if lines := batchLines(out); bytes.Count(out, []byte(" count: 0 ")) < 3 || !emptyBeforeLarge(lines) {
		t.Fatalf("too few empty batches, or none before the large one:\n%s", strings.Join(lines, "\n"))
	}
	if want := survivors(written, clean); !slices.Equal(offsets, want) {
		t.Fatalf("DumpLogSegments shows the offsets %v, want %v", offsets, want)
	}
	t.Logf("%d of %d records are left; compacted below %d", len(offsets), len(written), clean)

	for _, c := range clients() {
		if c.consume == nil {
			continue
		}
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			need(t, c)
			got := c.consume(t, []want{{topic, len(offsets)}})[topic]
			for i, r := range got {
				if w := written[offsets[i]]; r.Offset != offsets[i] || !bytes.Equal(r.Key, w.Key) || !bytes.Equal(r.Value, w.Value) {
					t.Fatalf("record %d has offset %d, key %s, value %s; want offset %d, key %s", i, r.Offset, show(r.Key), show(r.Value), offsets[i], show(w.Key))
				}
			}
			if len(got) != len(offsets) {
				t.Fatalf("%d records, want %d", len(got), len(offsets))
			}
		})
	}
	t.Run("kafkajs", func(t *testing.T) {
		t.Parallel()
		need(t, kafkajsClient())
		out := program(t, nil, "env", "NODE_PATH="+cache("compat", "kafkajs", "node_modules"), "node", "clients/kafkajs/group.js",
			theBroker.bootstrap, topicName("g"), topic, strconv.Itoa(len(offsets)))
		for i, got := range strings.Split(strings.TrimSuffix(string(out), "\n"), "\n") {
			if w := written[offsets[i]].Value; got != string(w) && (w != nil || got != "null") {
				t.Fatalf("record %d has value %s, want %s", i, show([]byte(got)), show(w))
			}
		}
	})
	t.Run("kcat to the end", func(t *testing.T) {
		t.Parallel()
		if got := kcatRead(t, topic, "-o", "beginning", "-e"); len(got) != len(offsets) {
			t.Fatalf("%d records, want %d", len(got), len(offsets))
		}
	})
}

// survivors are the offsets that compaction below clean leaves: the newest of each key there, and everything behind.
func survivors(written []record, clean int64) (offsets []int64) {
	newest := map[string]int64{}
	for i, r := range written[:clean] {
		newest[string(r.Key)] = int64(i)
	}
	for i, r := range written {
		if int64(i) >= clean || newest[string(r.Key)] == int64(i) {
			offsets = append(offsets, int64(i))
		}
	}
	return offsets
}

// activeSegment is the base offset of a partition's newest segment.
func activeSegment(t *testing.T, dir string) (base int64) {
	t.Helper()
	logs, err := filepath.Glob(filepath.Join(dir, "*.log"))
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range logs {
		n, err := strconv.ParseInt(strings.TrimSuffix(filepath.Base(path), ".log"), 10, 64)
		if err != nil {
			t.Fatal(err)
		}
		base = max(base, n)
	}
	return base
}

// batchLines are those of DumpLogSegments that describe a batch.
func batchLines(out []byte) (lines []string) {
	for line := range strings.SplitSeq(string(out), "\n") {
		if strings.HasPrefix(line, "baseOffset: ") {
			lines = append(lines, line)
		}
	}
	return lines
}

// emptyBeforeLarge says whether an empty batch stands before the one that fills an answer.
func emptyBeforeLarge(batches []string) bool {
	for i, line := range batches {
		if _, size, found := strings.Cut(line, " size: "); found && len(strings.Fields(size)[0]) == len("1048576") {
			return i > 0 && strings.Contains(batches[i-1], " count: 0 ")
		}
	}
	return false
}
