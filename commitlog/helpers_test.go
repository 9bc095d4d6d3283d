package commitlog_test

import (
	"bytes"
	"fmt"
	"math"
	"testing"
	"time"

	"github.com/stelemq/stele/commitlog"
	"github.com/stelemq/stele/internal/vfs"
	"github.com/stelemq/stele/protocol/record"
)

const testDir = "/data/t-0"

// producer is the idempotent producer of a batch.
type producer struct {
	id    int64
	epoch int16
	seq   int32
}

// batch builds a batch of n records of about size bytes in all, with times ts, ts+1, ...
func batch(t testing.TB, n, size int, ts int64, p *producer) record.Batch {
	t.Helper()
	var b record.Builder
	if p != nil {
		b.SetProducer(p.id, p.epoch, p.seq)
	}
	for i := range n {
		v := bytes.Repeat([]byte{byte('a' + i%26)}, max(size/n, 1))
		b.Append(record.Record{Timestamp: ts + int64(i), Key: fmt.Appendf(nil, "k%d", i), Value: v})
	}
	out, err := b.Build(record.None, 0)
	must(t, err)
	return bytes.Clone(out)
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func newFS(t testing.TB) *vfs.Mem {
	t.Helper()
	m := vfs.NewMem()
	must(t, m.MkdirAll("/data"))
	must(t, m.SyncDir("/"))
	return m
}

func options(fs vfs.FS) commitlog.Options {
	now := func() time.Time { return time.UnixMilli(5000) } // a little later than the records
	return commitlog.Options{FS: fs, Topic: "t", TopicID: [16]byte{1, 2, 3}, Now: now}
}

// create opens a new log.
func create(t testing.TB, o commitlog.Options) *commitlog.Log {
	t.Helper()
	return finish(t, o, commitlog.End{}, 0)
}

func finish(t testing.TB, o commitlog.Options, end commitlog.End, start record.Offset) *commitlog.Log {
	t.Helper()
	r, err := commitlog.OpenRecovery(testDir, o)
	must(t, err)
	l, err := r.Finish(end, start)
	must(t, err)
	return l
}

// appendOne appends one entry of one batch.
func appendOne(t testing.TB, l *commitlog.Log, b record.Batch, e record.LeaderEpoch) commitlog.Entry {
	t.Helper()
	es := []commitlog.Entry{{Batches: b, Epoch: e}}
	must(t, l.Append(es))
	return es[0]
}

// readAll reads everything from an offset on.
func readAll(t testing.TB, l *commitlog.Log, from record.Offset) []byte {
	t.Helper()
	var out []byte
	for {
		n := len(out)
		var err error
		out, err = l.Read(out, from, math.MaxInt64, 64<<10, true)
		must(t, err)
		if len(out) == n {
			return out
		}
		for rest := out[n:]; len(rest) > 0; {
			b, r, err := record.Next(rest)
			must(t, err)
			from, rest = b.NextOffset(), r
		}
	}
}

func fileBytes(t testing.TB, fs vfs.FS, path string) []byte {
	t.Helper()
	f, err := fs.Open(path)
	must(t, err)
	n, err := f.Size()
	must(t, err)
	b := make([]byte, n)
	if n > 0 {
		_, err = f.ReadAt(b, 0)
		must(t, err)
	}
	must(t, f.Close())
	return b
}

func setFile(t testing.TB, fs vfs.FS, path string, b []byte) {
	t.Helper()
	f, err := fs.Create(path)
	must(t, err)
	_, err = f.WriteAt(b, 0)
	must(t, err)
	must(t, f.Sync())
	must(t, f.Close())
}
