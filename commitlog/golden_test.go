package commitlog_test

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"

	"github.com/stelemq/stele/commitlog"
	"github.com/stelemq/stele/protocol/record"
)

// TestGolden_EveryFormat binds the bytes on disk: a log made today is byte for byte the one in
// testdata/golden, and that one can be read. Where a format changes on purpose, UPDATE_GOLDEN=1 writes
// the files anew; keep the old ones beside them as a directory that must stay readable.
func TestGolden_EveryFormat(t *testing.T) {
	fs := newFS(t)
	o := options(fs)
	o.SegmentBytes, o.IndexIntervalBytes = 1500, 200
	l := create(t, o)
	for i := range 10 {
		p := &producer{id: int64(4000 + i%2), epoch: 3, seq: int32(i / 2 * 10)}
		appendOne(t, l, batch(t, 10, 300, int64(1000+100*i), p), record.LeaderEpoch(1<<20+i/3))
	}
	end := l.End()
	must(t, l.Close())
	dir := filepath.Join("testdata", "golden")
	names, err := fs.ReadDir(testDir)
	must(t, err)
	if os.Getenv("UPDATE_GOLDEN") != "" {
		must(t, os.RemoveAll(dir))
		must(t, os.MkdirAll(dir, 0o755))
		for _, n := range names {
			must(t, os.WriteFile(filepath.Join(dir, n), fileBytes(t, fs, testDir+"/"+n), 0o600))
		}
	}
	golden, err := os.ReadDir(dir)
	must(t, err)
	if len(golden) != len(names) {
		t.Errorf("files %v", names)
	}
	old := newFS(t)
	must(t, old.MkdirAll(testDir))
	for _, g := range golden {
		want, err := os.ReadFile(filepath.Join(dir, g.Name()))
		must(t, err)
		setFile(t, old, testDir+"/"+g.Name(), want)
		if got := fileBytes(t, fs, testDir+"/"+g.Name()); !bytes.Equal(got, want) {
			t.Errorf("%s:\n%x\nwant\n%x", g.Name(), got, want)
		}
	}
	o.FS = old
	r := open(t, o)
	if at, err := r.ScanEnd(); err != nil || at != end {
		t.Fatalf("end %+v: %v", at, err)
	}
	l, err = r.Finish(end, 0)
	must(t, err)
	if e, o, err := l.EndOffsetForEpoch(1<<20 + 1); err != nil || e != 1<<20+1 || o != 60 {
		t.Errorf("epoch %d ends at %d: %v", e, o, err)
	}
	if p, ok := l.ProducerEntry(4001); !ok || p.LastSequence() != 49 || p.Epoch != 3 || len(p.Batches()) != 5 || p.Batches()[0].BaseSequence != 0 {
		t.Errorf("producer %+v", p)
	}
	if got, err := l.OffsetForTimestamp(1505, 100); err != nil || got != (commitlog.TimestampOffset{Timestamp: 1505, Offset: 55, Epoch: 1<<20 + 1}) {
		t.Errorf("time: %+v %v", got, err)
	}
	must(t, l.Close())
	checkVerified(t, old)
}
