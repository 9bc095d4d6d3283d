package commitlog_test

import (
	"encoding/binary"
	"errors"
	"testing"

	"github.com/stelemq/stele/commitlog"
)

// A base offset is in no checksum, and offsets have no gaps: one that is too large is damage, both where a read begins with the
// batch and where it comes to it.
func TestRead_FindsDamagedBaseOffsets(t *testing.T) {
	fs := newFS(t)
	l := create(t, options(fs))
	var es []commitlog.Entry
	for range 3 {
		es = append(es, appendOne(t, l, batch(t, 10, 100, 1000, nil), 1))
	}
	f, err := fs.Open(testDir + "/00000000000000000000.log")
	must(t, err)
	defer f.Close() //nolint:errcheck // nothing is promised here
	for _, e := range es {
		for _, d := range []int64{1, 1 << 40} {
			_, err = f.WriteAt(binary.BigEndian.AppendUint64(nil, uint64(int64(e.Base)+d)), e.Pos)
			must(t, err)
			if _, err := l.Read(nil, e.Base, es[2].Next, 1<<20, true); !errors.Is(err, commitlog.ErrCorrupt) {
				t.Errorf("%d+%d: a read that begins there: %v", e.Base, d, err)
			}
			// What is good before it is returned first.
			if b, _ := l.Read(nil, 0, es[2].Next, 1<<20, true); int64(len(b)) > e.Pos {
				t.Errorf("%d+%d: a read that comes to it returns %d bytes", e.Base, d, len(b))
			}
		}
		_, err = f.WriteAt(binary.BigEndian.AppendUint64(nil, uint64(e.Base)), e.Pos)
		must(t, err)
	}
	b, err := l.Read(nil, 0, es[2].Next, 1<<20, true)
	if err != nil || int64(len(b)) != es[2].Pos+es[2].Length {
		t.Fatalf("undamaged: %d bytes, %v", len(b), err)
	}
}
