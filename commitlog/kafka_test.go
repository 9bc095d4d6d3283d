package commitlog_test

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stelemq/stele/commitlog"
	"github.com/stelemq/stele/internal/vfs"
	"github.com/stelemq/stele/protocol/record"
)

// TestKafka_DumpLogSegmentsReadsEverything lets Kafka's own tool read closed and active segments with
// their indexes and snapshots: after a clean close, and after a start that had no close before it.
func TestKafka_DumpLogSegmentsReadsEverything(t *testing.T) {
	peers, err := filepath.Abs("../bench/peers/kafka.sh")
	must(t, err)
	for _, tool := range []string{"java", "mvn", "bash"} {
		if _, err := exec.LookPath(tool); err != nil {
			if os.Getenv("CI") == "true" {
				t.Fatalf("%s is needed: %v", tool, err)
			}
			t.Skipf("%s is not installed", tool)
		}
	}
	if testing.Short() {
		t.Skip("starts a JVM")
	}
	dir := filepath.Join(t.TempDir(), "t-0")
	o := options(vfs.OS{})
	o.SegmentBytes, o.IndexIntervalBytes, o.SnapshotBytes = 20_000, 1000, 8000
	start := func(end commitlog.End) *commitlog.Log {
		r, err := commitlog.OpenRecovery(dir, o)
		must(t, err)
		l, err := r.Finish(end, 0)
		must(t, err)
		return l
	}
	fill := func(l *commitlog.Log, from, n int) {
		for i := from; i < from+n; i++ {
			p := &producer{id: int64(1 + i%3), seq: int32(i / 3 * 10)}
			ts := int64(1_700_000_000_000 + 100*i)
			if i%7 == 0 {
				ts -= 5000 // out of order
			}
			appendOne(t, l, batch(t, 10, 400, ts, p), record.LeaderEpoch(1+i/40))
			if i%10 == 0 {
				must(t, l.Sync())
			}
		}
	}
	l := start(commitlog.End{})
	fill(l, 0, 150)
	end := l.End()
	must(t, l.Close())
	t.Run("clean", func(t *testing.T) { dumpAll(t, peers, dir, l) })

	l = start(end)
	fill(l, 150, 77)
	end = l.End() // and no Close: as kill -9 leaves it
	l = start(end)
	t.Run("killed", func(t *testing.T) { dumpAll(t, peers, dir, l) })
	must(t, l.TruncateTo(end.Next-300))
	fill(l, 197, 40)
	must(t, l.Sync())
	must(t, l.Close())
	t.Run("truncated", func(t *testing.T) { dumpAll(t, peers, dir, l) })

	// The check sees damage: an entry that points elsewhere, a largest timestamp that is not, a flipped bit.
	for name, at := range map[string]int64{"00000000000000000360.index": 7, "00000000000000000360.timeindex": 7, "00000000000000000360.log": 300} {
		f, err := vfs.OS{}.Open(filepath.Join(dir, name))
		must(t, err)
		var b [1]byte
		_, err = f.ReadAt(b[:], at)
		must(t, err)
		b[0] ^= 1
		_, err = f.WriteAt(b[:], at)
		must(t, err)
		if _, complaints := dump(t, peers, dir); len(complaints) == 0 {
			t.Errorf("Kafka does not see the damage in %s", name)
		}
		b[0] ^= 1
		_, err = f.WriteAt(b[:], at)
		must(t, errors.Join(err, f.Close()))
	}
}

// dumpAll lets the tool read every file of the directory and holds what it says against the log.
func dumpAll(t *testing.T, peers, dir string, l *commitlog.Log) {
	t.Helper()
	out, complaints := dump(t, peers, dir)
	for _, line := range complaints {
		t.Errorf("Kafka complains: %s", line)
	}
	if n := strings.Count(out, "isvalid: true"); int64(n)*10 != int64(l.End().Next) {
		t.Errorf("Kafka reads %d batches of %d records", n, l.End().Next)
	}
	if want := fmt.Sprintf("| offset: %d ", l.End().Next-1); !strings.Contains(out, want) {
		t.Errorf("Kafka does not read the last record (%s)", want)
	}
	if !strings.Contains(out, "producerId: 3 ") {
		t.Errorf("Kafka reads no producer")
	}
}

func dump(t *testing.T, peers, dir string) (out string, complaints []string) {
	t.Helper()
	var files []string
	for _, k := range []string{".log", ".index", ".timeindex", ".snapshot"} {
		fs, err := filepath.Glob(filepath.Join(dir, "*"+k))
		must(t, err)
		if len(fs) == 0 {
			t.Fatalf("no %s", k)
		}
		files = append(files, fs...)
	}
	cmd := exec.CommandContext(t.Context(), "bash", peers, "tool", "DumpLogSegments", "--deep-iteration", "--files", strings.Join(files, ",")) //nolint:gosec // our own script
	var stdout, stderr strings.Builder
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if err := cmd.Run(); err != nil {
		complaints = append(complaints, err.Error())
	}
	for line := range strings.Lines(stderr.String()) {
		// The tool counts each file from −1 on, so it finds a hole before the first record of all but the first.
		quirk := strings.HasPrefix(line, "Non-consecutive offsets in") || strings.HasPrefix(line, "  -1 is followed by")
		if !quirk && !strings.Contains(line, "SLF4J") && !strings.Contains(line, "WARNING") && strings.TrimSpace(line) != "" {
			complaints = append(complaints, line)
		}
	}
	if strings.Contains(stdout.String(), "isvalid: false") {
		complaints = append(complaints, "invalid batches")
	}
	return stdout.String(), complaints
}
