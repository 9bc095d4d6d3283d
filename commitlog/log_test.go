package commitlog_test

import (
	"bytes"
	"errors"
	"math"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stelemq/stele/commitlog"
	"github.com/stelemq/stele/protocol/record"
)

func TestAppend_SetsPositionsAndPatchesOnlyTheHeader(t *testing.T) {
	fs := newFS(t)
	l := create(t, options(fs))
	small, large := batch(t, 3, 30, 100, nil), batch(t, 5, 10_000, 200, nil)
	es := []commitlog.Entry{
		{Batches: slices.Concat(small, large), Epoch: 7},
		{Batches: large, Epoch: 7},
		{Batches: small, Epoch: 9},
	}
	before := bytes.Clone(es[0].Batches)
	must(t, l.Append(es))
	if !bytes.Equal(before, es[0].Batches) {
		t.Fatal("the caller's bytes were modified")
	}
	var pos int64
	next := record.Offset(0)
	for i, n := range []record.Offset{8, 5, 3} {
		e := es[i]
		if e.Base != next || e.Next != next+n || e.Pos != pos || e.Length != int64(len(e.Batches)) || e.Segment != 0 {
			t.Fatalf("entry %d: %+v", i, e)
		}
		next, pos = e.Next, pos+e.Length
		stored := l.AppendStored(nil, &e)
		raw := make([]byte, e.Length)
		must(t, l.ReadAt(e.Segment, e.Pos, raw))
		if !bytes.Equal(stored, raw) {
			t.Fatalf("entry %d: stored bytes differ", i)
		}
		if record.CRC(0, raw) != e.CRC {
			t.Fatalf("entry %d: checksum", i)
		}
		if b := record.Batch(raw); b.BaseOffset() != e.Base || b.LeaderEpoch() != e.Epoch {
			t.Fatalf("entry %d: offset %d epoch %d", i, b.BaseOffset(), b.LeaderEpoch())
		}
	}
	if end := l.End(); end != (commitlog.End{Pos: pos, Next: 16}) {
		t.Fatalf("end %+v", end)
	}
	if got := readAll(t, l, 0); int64(len(got)) != pos {
		t.Fatalf("read %d of %d bytes", len(got), pos)
	}
	must(t, l.Close())
	must(t, l.Close())
	if _, err := l.Read(nil, 0, 1, 1, true); !errors.Is(err, commitlog.ErrClosed) {
		t.Fatalf("read after close: %v", err)
	}
	if err := l.Append(es); !errors.Is(err, commitlog.ErrClosed) {
		t.Fatalf("append after close: %v", err)
	}
}

func TestAppend_RefusesWhatIsNoBatch(t *testing.T) {
	l := create(t, options(newFS(t)))
	good := batch(t, 1, 10, 1, nil)
	short, magic, delta := bytes.Clone(good[:len(good)-1]), bytes.Clone(good), bytes.Clone(good)
	magic[16] = 1
	delta[23] = 0xff
	for name, b := range map[string][]byte{"empty": nil, "short": short, "magic": magic, "delta": delta, "junk": []byte("junk")} {
		err := l.Append([]commitlog.Entry{{Batches: good}, {Batches: b}})
		if !errors.Is(err, commitlog.ErrInvalidBatch) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if end := l.End(); end.Next != 0 || end.Pos != 0 {
		t.Fatalf("something was written: %+v", end)
	}
	appendOne(t, l, good, 0)
}

func TestRead_LimitsAndBounds(t *testing.T) {
	l := create(t, options(newFS(t)))
	b := batch(t, 10, 1000, 1, nil)
	n := len(b)
	for range 10 {
		appendOne(t, l, b, 1)
	}
	for _, c := range []struct {
		name       string
		from, upTo record.Offset
		max        int
		one        bool
		want, base int // batches, base offset of the first
	}{
		{"all", 0, 100, 1 << 20, false, 10, 0},
		{"middle of a batch", 35, 100, 1 << 20, false, 7, 30},
		{"up to inside a batch", 0, 25, 1 << 20, false, 2, 0},
		{"budget of two and a half", 10, 100, 2*n + n/2, false, 2, 10},
		{"exact budget", 10, 100, n, false, 1, 10},
		{"budget too small", 10, 100, n - 1, false, 0, 0},
		{"budget too small, at least one", 10, 100, n - 1, true, 1, 10},
		{"budget of a byte, at least one", 10, 100, 1, true, 1, 10},
		{"no budget", 10, 100, 0, false, 0, 0},
		{"at the end", 100, 200, 1000, true, 0, 0},
		{"at the bound", 50, 50, 1000, true, 0, 0},
		{"beyond the bound", 60, 50, 1000, true, 0, 0},
		{"bound inside the first batch", 50, 55, 1000, true, 0, 0},
	} {
		prefix := []byte("prefix")
		out, err := l.Read(prefix, c.from, c.upTo, c.max, c.one)
		must(t, err)
		if string(out[:6]) != "prefix" || len(out)-6 != c.want*n {
			t.Errorf("%s: %d bytes, want %d", c.name, len(out)-6, c.want*n)
		} else if c.want > 0 && record.Batch(out[6:]).BaseOffset() != record.Offset(c.base) {
			t.Errorf("%s: base %d", c.name, record.Batch(out[6:]).BaseOffset())
		}
	}
	for _, from := range []record.Offset{-1, 101} {
		if _, err := l.Read(nil, from, 100, 1000, true); !errors.Is(err, commitlog.ErrOffsetOutOfRange) {
			t.Errorf("read from %d: %v", from, err)
		}
	}
}

func TestRoll_BySizeAgeIndexAndOffset(t *testing.T) {
	b := batch(t, 10, 1000, 1, nil)
	n := int64(len(b))
	now := time.UnixMilli(1_000_000)
	for name, c := range map[string]struct {
		cfg   commitlog.Config
		bases []record.Offset
		after func()
	}{
		"size":             {commitlog.Config{SegmentBytes: 2*n + 1}, []record.Offset{0, 20, 40}, nil},
		"exact size":       {commitlog.Config{SegmentBytes: 3 * n}, []record.Offset{0, 30}, nil},
		"smaller than one": {commitlog.Config{SegmentBytes: 10}, []record.Offset{0, 10, 20, 30, 40}, nil},
		"age":              {commitlog.Config{SegmentAge: time.Minute}, []record.Offset{0, 20, 40}, func() { now = now.Add(40 * time.Second) }},
		"index":            {commitlog.Config{IndexIntervalBytes: 1, MaxIndexBytes: 16}, []record.Offset{0, 30}, nil},
	} {
		t.Run(name, func(t *testing.T) {
			o := options(newFS(t))
			o.Config, o.Now = c.cfg, func() time.Time { return now }
			l := create(t, o)
			for range 5 {
				appendOne(t, l, b, 1)
				if c.after != nil {
					c.after()
				}
			}
			var bases []record.Offset
			for _, s := range l.Segments() {
				bases = append(bases, s.Base)
			}
			if !slices.Equal(bases, c.bases) {
				t.Fatalf("segments %v, want %v", bases, c.bases)
			}
			if got := readAll(t, l, 0); int64(len(got)) != 5*n {
				t.Fatalf("read %d bytes", len(got))
			}
		})
	}
	t.Run("relative offset overflows", func(t *testing.T) {
		o := options(newFS(t))
		l := create(t, o)
		wide := bytes.Clone(b)
		wide[23], wide[24], wide[25], wide[26] = 0x7f, 0xff, 0xff, 0xf0
		appendOne(t, l, wide, 1)
		appendOne(t, l, b, 1)
		if s := l.Segments(); len(s) != 1 {
			t.Fatalf("segments %v", s)
		}
		appendOne(t, l, b, 1)
		if s := l.Segments(); len(s) != 2 || s[1].Base != 0x7ffffff0+11 {
			t.Fatalf("segments %v", s)
		}
	})
	t.Run("by hand", func(t *testing.T) {
		l := create(t, options(newFS(t)))
		must(t, l.Roll())
		appendOne(t, l, b, 1)
		must(t, l.Roll())
		must(t, l.Roll())
		if s := l.Segments(); len(s) != 2 || s[1].Base != 10 {
			t.Fatalf("segments %v", s)
		}
	})
}

func TestDirtyAndSync(t *testing.T) {
	o := options(newFS(t))
	b := batch(t, 10, 1000, 1, nil)
	n := int64(len(b))
	o.SegmentBytes = 2 * n
	l := create(t, o)
	if d := l.Dirty(); len(d) != 0 {
		t.Fatalf("empty log is dirty: %v", d)
	}
	for range 3 {
		appendOne(t, l, b, 1)
	}
	if d := l.Dirty(); !slices.Equal(d, []commitlog.DirtySegment{{0, 0, 2 * n}, {20, 0, n}}) {
		t.Fatalf("dirty %v", d)
	}
	must(t, l.SyncSegment(20))
	if d := l.Dirty(); !slices.Equal(d, []commitlog.DirtySegment{{0, 0, 2 * n}}) {
		t.Fatalf("dirty %v", d)
	}
	appendOne(t, l, b, 1)
	if d := l.Dirty(); !slices.Equal(d, []commitlog.DirtySegment{{0, 0, 2 * n}, {20, n, n}}) {
		t.Fatalf("dirty %v", d)
	}
	must(t, l.Sync())
	if d := l.Dirty(); len(d) != 0 {
		t.Fatalf("dirty after sync: %v", d)
	}
	if err := l.SyncSegment(5); !errors.Is(err, commitlog.ErrNoSuchSegment) {
		t.Fatalf("sync of nothing: %v", err)
	}
}

func TestTruncateTo(t *testing.T) {
	fs := newFS(t)
	o := options(fs)
	b := batch(t, 10, 1000, 1, nil)
	o.SegmentBytes, o.IndexIntervalBytes = 3*int64(len(b)), 100
	l := create(t, o)
	for i := range 10 {
		appendOne(t, l, b, record.LeaderEpoch(1+i/4))
	}
	if err := l.TruncateTo(45); !errors.Is(err, commitlog.ErrNotBatchBoundary) {
		t.Fatalf("inside a batch: %v", err)
	}
	if err := l.TruncateTo(101); !errors.Is(err, commitlog.ErrOffsetOutOfRange) {
		t.Fatalf("beyond the end: %v", err)
	}
	must(t, l.TruncateTo(100))
	must(t, l.TruncateTo(50))
	if e := l.End(); e != (commitlog.End{Segment: 30, Pos: 2 * int64(len(b)), Next: 50}) {
		t.Fatalf("end %+v", e)
	}
	if e := l.LatestEpoch(); e != 2 {
		t.Fatalf("epoch %d", e)
	}
	if _, err := l.Read(nil, 51, 100, 100, true); !errors.Is(err, commitlog.ErrOffsetOutOfRange) {
		t.Fatalf("read of what is gone: %v", err)
	}
	names, err := fs.ReadDir(testDir)
	must(t, err)
	for _, n := range names {
		if strings.HasPrefix(n, "00000000000000000060") || strings.HasPrefix(n, "00000000000000000090") {
			t.Fatalf("left over: %s", n)
		}
	}
	c := batch(t, 7, 500, 50, nil)
	e := appendOne(t, l, c, 9)
	if e.Base != 50 || e.Segment != 30 {
		t.Fatalf("append after truncation: %+v", e)
	}
	if got := readAll(t, l, 50); len(got) != len(c) || record.Batch(got).LeaderEpoch() != 9 {
		t.Fatalf("read %d bytes", len(got))
	}
	must(t, l.TruncateTo(30)) // the base of a segment
	must(t, l.TruncateTo(0))
	if e := l.End(); e != (commitlog.End{}) || len(l.Segments()) != 1 || l.LatestEpoch() != record.NoEpoch {
		t.Fatalf("end %+v", e)
	}
}

func TestRetention(t *testing.T) {
	fs := newFS(t)
	o := options(fs)
	b := batch(t, 10, 1000, 1, nil)
	o.SegmentBytes = 2 * int64(len(b))
	l := create(t, o)
	for range 7 {
		appendOne(t, l, b, 1)
	}
	if d, err := l.DeleteSegmentsBelow(70); err != nil || len(d) != 0 {
		t.Fatalf("deleted above the log start: %v %v", d, err)
	}
	if err := l.AdvanceLogStart(71, "test"); !errors.Is(err, commitlog.ErrOffsetOutOfRange) {
		t.Fatalf("beyond the end: %v", err)
	}
	must(t, l.AdvanceLogStart(45, "test"))
	must(t, l.AdvanceLogStart(30, "test"))
	if l.LogStart() != 45 {
		t.Fatalf("log start %d", l.LogStart())
	}
	if _, err := l.Read(nil, 44, 100, 1000, true); !errors.Is(err, commitlog.ErrOffsetOutOfRange) {
		t.Fatalf("read below the log start: %v", err)
	}
	if got := readAll(t, l, 45); record.Batch(got).BaseOffset() != 40 {
		t.Fatalf("first batch %d", record.Batch(got).BaseOffset())
	}
	d, err := l.DeleteSegmentsBelow(30)
	must(t, err)
	if !slices.Equal(d, []record.Offset{0}) {
		t.Fatalf("deleted %v", d)
	}
	must(t, l.AdvanceLogStart(70, "test"))
	d, err = l.DeleteSegmentsBelow(math.MaxInt64)
	must(t, err)
	if !slices.Equal(d, []record.Offset{20, 40}) || len(l.Segments()) != 1 {
		t.Fatalf("deleted %v, left %v", d, l.Segments())
	}
	names, err := fs.ReadDir(testDir)
	must(t, err)
	for _, n := range names {
		if strings.Contains(n, "deleted") || strings.HasPrefix(n, "0000000000000000000") && !strings.HasPrefix(n, "00000000000000000060") {
			t.Errorf("left over: %s", n)
		}
	}
	end := l.End()
	must(t, l.Close())
	l = finish(t, o, end, 70)
	if l.LogStart() != 70 || len(readAll(t, l, 70)) != 0 {
		t.Fatal("reopened")
	}
}

func TestOffsetForTimestamp(t *testing.T) {
	o := options(newFS(t))
	o.SegmentBytes, o.IndexIntervalBytes = 4000, 100
	l := create(t, o)
	// Times 1000..1009, 1100..1109, ... with one batch of old records in between.
	for i := range 20 {
		ts := int64(1000 + 100*i)
		if i == 7 {
			ts = 10
		}
		appendOne(t, l, batch(t, 10, 800, ts, nil), 3)
	}
	if len(l.Segments()) < 4 {
		t.Fatalf("segments %v", l.Segments())
	}
	check := func(t *testing.T, l *commitlog.Log) {
		t.Helper()
		for _, c := range []struct {
			ts   int64
			upTo record.Offset
			want commitlog.TimestampOffset
		}{
			{0, 200, commitlog.TimestampOffset{1000, 0, 3}},
			{1005, 200, commitlog.TimestampOffset{1005, 5, 3}},
			{1010, 200, commitlog.TimestampOffset{1100, 10, 3}},
			{1609, 200, commitlog.TimestampOffset{1609, 69, 3}},
			{1650, 200, commitlog.TimestampOffset{1800, 80, 3}},
			{2909, 200, commitlog.TimestampOffset{2909, 199, 3}},
			{2910, 200, commitlog.TimestampOffset{-1, -1, -1}},
			{2905, 195, commitlog.TimestampOffset{-1, -1, -1}},
			{2905, 196, commitlog.TimestampOffset{2905, 195, 3}},
		} {
			got, err := l.OffsetForTimestamp(c.ts, c.upTo)
			must(t, err)
			if got != c.want {
				t.Errorf("%d up to %d: %+v, want %+v", c.ts, c.upTo, got, c.want)
			}
		}
		for upTo, want := range map[record.Offset]commitlog.TimestampOffset{
			200: {2909, 199, 3}, 196: {2905, 195, 3}, 75: {1609, 69, 3}, 0: {-1, -1, -1}, 1: {1000, 0, 3},
		} {
			got, err := l.MaxTimestamp(upTo)
			must(t, err)
			if got != want {
				t.Errorf("max up to %d: %+v, want %+v", upTo, got, want)
			}
		}
		for i, s := range l.Segments() {
			ts, err := l.SegmentMaxTimestamp(s.Base)
			must(t, err)
			if i == len(l.Segments())-1 && ts != 2909 {
				t.Errorf("segment %d: max %d", s.Base, ts)
			}
		}
	}
	check(t, l)
	end := l.End()
	must(t, l.Close())
	l = finish(t, o, end, 0)
	check(t, l)
	must(t, l.AdvanceLogStart(105, "test"))
	got, err := l.OffsetForTimestamp(0, 200)
	must(t, err)
	if got != (commitlog.TimestampOffset{2005, 105, 3}) {
		t.Errorf("from the log start: %+v", got)
	}
}

func TestEndOffsetForEpoch_AsKafka(t *testing.T) {
	o := options(newFS(t))
	l := create(t, o)
	b := batch(t, 10, 100, 1, nil)
	for _, e := range []record.LeaderEpoch{2, 2, 5, 7} {
		appendOne(t, l, b, e)
	}
	must(t, l.AssignEpoch(9, 40))
	check := func(e, epoch record.LeaderEpoch, end record.Offset) {
		t.Helper()
		ge, go_, err := l.EndOffsetForEpoch(e)
		must(t, err)
		if ge != epoch || go_ != end {
			t.Errorf("epoch %d: (%d, %d), want (%d, %d)", e, ge, go_, epoch, end)
		}
	}
	check(-1, -1, -1)
	check(0, 0, 0) // older than all: itself, and where the first one begins
	check(2, 2, 20)
	check(3, 2, 20)
	check(5, 5, 30)
	check(6, 5, 30)
	check(7, 7, 40)
	check(9, 9, 40)
	check(10, -1, -1)
	appendOne(t, l, b, 9)
	check(9, 9, 50)
	must(t, l.AdvanceLogStart(25, "test"))
	check(2, 2, 25)
	check(5, 5, 30)
	must(t, l.AssignEpoch(12, 50))
	must(t, l.AssignEpoch(13, 50)) // an epoch without a batch leaves no trace
	check(12, 9, 50)
	check(13, 13, 50)
	must(t, l.TruncateTo(30))
	check(5, 5, 30)
	check(7, -1, -1)
	if err := l.AssignEpoch(20, 31); !errors.Is(err, commitlog.ErrOffsetOutOfRange) {
		t.Errorf("epoch beyond the end: %v", err)
	}
}
