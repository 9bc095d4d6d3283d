package compat

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/twmb/franz-go/pkg/kgo"
)

// TestCrash_FilesAreKafkasAndNothingIsLost kills the broker with -9 after acknowledged writes, starts it again,
// reads everything back, appends, and lets Kafka's own DumpLogSegments look at every file.
func TestCrash_FilesAreKafkasAndNothingIsLost(t *testing.T) {
	topic := newTopic(t, 1, "segment.bytes=1048576")
	all := generate(shape{}, 200, 20)
	for _, codec := range codecs {
		recs := generate(shape{}, 200, 21)
		franzProduce(t, topic, codec, recs)
		all = append(all, recs...)
	}
	franzProduce(t, topic, "none", all[:200])
	all = append(all[200:], all[:200]...)
	bulk := make([]record, 300)
	rng := rand.New(rand.NewPCG(1, 2))
	for i := range bulk {
		bulk[i] = record{Value: someBytes(rng, shape{}, 10_000), Timestamp: firstTimestamp + int64(10_000+i)}
	}
	// Small batches, so that the segments have many of them and roll twice.
	franzProduceWith(t, topic, bulk, kgo.ProducerBatchCompression(kgo.NoCompression()), kgo.ProducerBatchMaxBytes(40_000))
	all = append(all, bulk...)

	if err := theBroker.crashAndRestart(limit(t)); errors.Is(err, errCannotCrash) {
		t.Skip(err)
	} else if err != nil {
		t.Fatal(err)
	}
	mustEqual(t, all, franzConsume(t, []want{{topic, len(all)}})[topic])
	more := generate(shape{}, 50, 22)
	franzProduce(t, topic, "lz4", more)
	all = append(all, more...)
	mustEqual(t, all, kafkaGoNormalized(kafkaGoConsume(t, []want{{topic, len(all)}})[topic], all))
	if theBroker.data == "" {
		t.Skip("set " + envData + " to look at the files")
	}
	need(t, javaClient())
	dump(t, filepath.Join(theBroker.data, topic+"-0"), int64(len(all)))
}

// kafkaGoNormalized gives empty keys and values back where kafka-go reads them as null.
func kafkaGoNormalized(got, want []record) []record {
	for i := range min(len(got), len(want)) {
		if got[i].Key == nil && len(want[i].Key) == 0 {
			got[i].Key = want[i].Key
		}
		if got[i].Value == nil && len(want[i].Value) == 0 {
			got[i].Value = want[i].Value
		}
	}
	return got
}

// dump runs DumpLogSegments over the files of a partition and fails on any complaint. The log must hold all
// offsets below end.
func dump(t *testing.T, dir string, end int64) {
	t.Helper()
	next := int64(0)
	for _, offset := range dumpedOffsets(dumpFiles(t, dir)) {
		if offset != next {
			t.Fatalf("DumpLogSegments shows offset %d, want %d", offset, next)
		}
		next++
	}
	if next != end {
		t.Fatalf("DumpLogSegments shows the offsets below %d, want %d", next, end)
	}
}

// dumpedOffsets are those of the records that DumpLogSegments shows.
func dumpedOffsets(out []byte) (offsets []int64) {
	for line := range bytes.SplitSeq(out, []byte("\n")) {
		var offset int64
		if n, _ := fmt.Sscanf(string(line), "| offset: %d", &offset); n == 1 {
			offsets = append(offsets, offset)
		}
	}
	return offsets
}

// dumpFiles returns what DumpLogSegments says of the files of a partition, its segments in order, and fails on any complaint.
func dumpFiles(t *testing.T, dir string) []byte {
	t.Helper()
	kinds := map[string][]string{}
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		kinds[filepath.Ext(e.Name())] = append(kinds[filepath.Ext(e.Name())], filepath.Join(dir, e.Name()))
	}
	if len(kinds[".log"]) < 3 {
		t.Fatalf("%d segments in %s, want at least 3", len(kinds[".log"]), dir)
	}
	files := append([]string{}, kinds[".log"]...)
	for _, kind := range []string{".index", ".timeindex", ".snapshot"} {
		if kind != ".snapshot" && len(kinds[kind]) != len(kinds[".log"]) {
			t.Errorf("%d %s files for %d segments", len(kinds[kind]), kind, len(kinds[".log"]))
		}
		files = append(files, kinds[kind]...)
	}
	out, said, err := try(t, nil, "bash", javaArgs("DumpLogSegments", "--deep-iteration", "--files", strings.Join(files, ","))...)
	if err != nil {
		t.Fatalf("DumpLogSegments: %v\n%s%s", err, tailOf(out), said)
	}
	for _, bad := range []string{"isvalid: false", "ismagicvalid: false", "Mismatch", "mismatch", "invalid", "out of order", "Exception", "Could not", "Found"} {
		for line := range bytes.SplitSeq(out, []byte("\n")) {
			if bytes.Contains(line, []byte(bad)) {
				t.Errorf("DumpLogSegments says %q: %.300s", bad, line)
				break
			}
		}
	}
	return out
}

func tailOf(out []byte) []byte { return out[max(0, len(out)-2000):] }
