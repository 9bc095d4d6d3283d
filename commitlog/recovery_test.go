package commitlog_test

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/stelemq/stele/commitlog"
	"github.com/stelemq/stele/internal/vfs"
	"github.com/stelemq/stele/protocol/record"
)

const firstLog = testDir + "/00000000000000000000.log"

// stored builds a log of n batches of ten records and closes it.
func storedLog(t testing.TB, fs vfs.FS, o commitlog.Options, n int) (batches []commitlog.Entry, end commitlog.End) {
	t.Helper()
	l := create(t, o)
	for i := range n {
		p := &producer{id: int64(1 + i%2), seq: int32(i / 2 * 10)}
		batches = append(batches, appendOne(t, l, batch(t, 10, 300, int64(1000+100*i), p), record.LeaderEpoch(1+i/3)))
	}
	end = l.End()
	must(t, l.Close())
	return batches, end
}

func open(t testing.TB, o commitlog.Options) *commitlog.Recovery {
	t.Helper()
	r, err := commitlog.OpenRecovery(testDir, o)
	must(t, err)
	return r
}

func TestScanEnd_CutAtEveryByte(t *testing.T) {
	fs := newFS(t)
	o := options(fs)
	es, end := storedLog(t, fs, o, 5)
	whole := fileBytes(t, fs, firstLog)
	for _, fill := range []int{0, 100, 5000} { // lost pages come back as zeros
		step := int64(1)
		if fill > 0 {
			step = 13
		}
		for cut := es[2].Pos; cut <= end.Pos; cut += step {
			left := append(bytes.Clone(whole[:cut]), make([]byte, fill)...)
			setFile(t, fs, firstLog, left)
			r := open(t, o)
			got, err := r.ScanEnd()
			must(t, err)
			want := commitlog.End{}
			for _, e := range es {
				if n := e.Pos + e.Length; n <= int64(len(left)) && bytes.Equal(left[:n], whole[:n]) {
					want = commitlog.End{Pos: e.Pos + e.Length, Next: e.Next}
				}
			}
			if got != want {
				t.Fatalf("cut at %d, %d zeros: %+v, want %+v", cut, fill, got, want)
			}
			l, err := r.Finish(got, 0)
			must(t, err)
			if !bytes.Equal(readAll(t, l, 0), whole[:want.Pos]) {
				t.Fatalf("cut at %d: content", cut)
			}
			e := appendOne(t, l, batch(t, 1, 10, 1, nil), 9)
			if e.Base != want.Next || e.Pos != want.Pos {
				t.Fatalf("cut at %d: appended at %+v", cut, e)
			}
			must(t, l.Close())
			checkVerified(t, fs)
			must(t, fs.RemoveAll(testDir))
			storedLog(t, fs, o, 5)
		}
	}
}

func checkVerified(t testing.TB, fs vfs.FS) {
	t.Helper()
	report, err := commitlog.VerifyDir(fs, testDir)
	must(t, err)
	for _, p := range report.Problems {
		t.Fatalf("verify: %+v", p)
	}
}

func TestScanEnd_DamageInTheMiddleIsNoTornTail(t *testing.T) {
	fs := newFS(t)
	o := options(fs)
	es, _ := storedLog(t, fs, o, 5)
	whole := fileBytes(t, fs, firstLog)
	for pos := es[1].Pos; pos < es[2].Pos; pos++ {
		if at := pos - es[1].Pos; at >= 12 && at < 16 {
			continue // the leader epoch is in no checksum of Kafka's
		}
		b := bytes.Clone(whole)
		b[pos] ^= 0x40
		setFile(t, fs, firstLog, b)
		r := open(t, o)
		end, err := r.ScanEnd()
		var c *commitlog.CorruptionError
		if !errors.As(err, &c) || !errors.Is(err, commitlog.ErrCorrupt) || c.Path != firstLog || end.Pos != c.Pos {
			t.Fatalf("bit at %d: %+v, %v", pos, end, err)
		}
		must(t, r.Close())
		if !bytes.Equal(fileBytes(t, fs, firstLog), b) {
			t.Fatal("the file was changed")
		}
	}
}

func TestFinish_RefusesAnEndThatTheFilesDoNotHave(t *testing.T) {
	fs := newFS(t)
	o := options(fs)
	_, end := storedLog(t, fs, o, 5)
	for name, c := range map[string]struct {
		end   commitlog.End
		start record.Offset
		want  error
	}{
		"beyond the file":         {commitlog.End{Pos: end.Pos + 1, Next: end.Next}, 0, commitlog.ErrCorrupt},
		"inside a batch":          {commitlog.End{Pos: end.Pos - 1, Next: end.Next}, 0, commitlog.ErrCorrupt},
		"another offset":          {commitlog.End{Pos: end.Pos, Next: end.Next + 1}, 0, commitlog.ErrCorrupt},
		"a segment that is not":   {commitlog.End{Segment: 100, Pos: 5, Next: 101}, 0, commitlog.ErrCorrupt},
		"negative":                {commitlog.End{Pos: -1}, 0, commitlog.ErrOffsetOutOfRange},
		"start beyond the end":    {end, end.Next + 1, commitlog.ErrOffsetOutOfRange},
		"offsets without a batch": {commitlog.End{Next: 5}, 0, commitlog.ErrOffsetOutOfRange},
	} {
		c2 := fs.CrashClone(vfs.Crash{KeepPercent: 100})
		r := open(t, options(c2))
		if _, err := r.Finish(c.end, c.start); !errors.Is(err, c.want) {
			t.Errorf("%s: %v", name, err)
		}
		if _, err := r.Finish(end, 0); !errors.Is(err, commitlog.ErrClosed) {
			t.Errorf("%s: used twice: %v", name, err)
		}
	}
	r := open(t, o)
	if _, err := r.Finish(end, 0); err != nil {
		t.Fatal(err)
	}
	t.Run("segments before the log start are missing", func(t *testing.T) {
		fs := newFS(t)
		o := options(fs)
		o.SegmentBytes = 1000
		_, end := storedLog(t, fs, o, 9)
		must(t, fs.Remove(firstLog))
		if _, err := open(t, o).Finish(end, 5); !errors.Is(err, commitlog.ErrCorrupt) {
			t.Fatalf("%v", err)
		}
		if _, err := open(t, o).Finish(end, end.Segment); err != nil {
			t.Fatalf("%v", err)
		}
	})
}

func TestRecovery_WriteAt(t *testing.T) {
	fs := newFS(t)
	o := options(fs)
	es, end := storedLog(t, fs, o, 5)
	whole := fileBytes(t, fs, firstLog)
	must(t, fs.RemoveAll(testDir))
	r := open(t, o)
	if s := r.Segments(); len(s) != 0 {
		t.Fatalf("segments %v", s)
	}
	for _, e := range es {
		must(t, r.WriteAt(0, e.Pos, whole[e.Pos:e.Pos+e.Length]))
	}
	if err := r.WriteAt(0, end.Pos+1, whole[:es[1].Pos]); !errors.Is(err, commitlog.ErrCorrupt) {
		t.Fatalf("a hole: %v", err)
	}
	p := make([]byte, es[1].Length)
	if _, err := r.ReadAt(0, es[1].Pos, p); err != nil || !bytes.Equal(p, whole[es[1].Pos:es[2].Pos]) {
		t.Fatalf("read: %v", err)
	}
	if _, err := r.ReadAt(7, 0, p); !errors.Is(err, commitlog.ErrNoSuchSegment) {
		t.Fatalf("read of nothing: %v", err)
	}
	l, err := r.Finish(end, 0)
	must(t, err)
	if d := l.Dirty(); len(d) != 1 || d[0].Bytes != end.Pos {
		t.Fatalf("dirty %v", d)
	}
	if !bytes.Equal(readAll(t, l, 0), whole) {
		t.Fatal("content")
	}
	must(t, l.Sync())
	if got := fileBytes(t, fs.CrashClone(vfs.Crash{}), firstLog); !bytes.Equal(got, whole) {
		t.Fatal("not durable after Sync")
	}
}

func TestFinish_RemovesWhatLiesBeyondAndIgnoresStrangers(t *testing.T) {
	fs := newFS(t)
	o := options(fs)
	o.SegmentBytes = 700
	es, _ := storedLog(t, fs, o, 9)
	e := es[4]
	for _, n := range []string{
		"00000000000000000000.raft", "notes.txt", "00000000000000000900.raft", "12.log", "replica.json", "x.snapshot",
		// left over:
		"00000000000000000777.index", "00000000000000000000.log.deleted", "leader-epoch-checkpoint.tmp",
	} {
		setFile(t, fs, testDir+"/"+n, []byte("x"))
	}
	l := finish(t, o, commitlog.End{Segment: e.Segment, Pos: e.Pos + e.Length, Next: e.Next}, 0)
	if l.End().Next != 50 || l.LatestEpoch() != 2 {
		t.Fatalf("end %+v, epoch %d", l.End(), l.LatestEpoch())
	}
	names, err := fs.ReadDir(testDir)
	must(t, err)
	have := strings.Join(names, " ")
	for _, n := range []string{"00000000000000000000.raft", "notes.txt", "00000000000000000900.raft", " 12.log", "replica.json", "x.snapshot"} {
		if !strings.Contains(have, n) {
			t.Errorf("%s is gone", n)
		}
	}
	for _, n := range []string{"777", "deleted", "tmp", "00060", "00080"} {
		if strings.Contains(have, n) {
			t.Errorf("left over %s in %s", n, have)
		}
	}
}

func TestOpenRecovery_Metadata(t *testing.T) {
	fs := newFS(t)
	o := options(fs)
	must(t, create(t, o).Close())
	path := testDir + "/partition.metadata"
	good := fileBytes(t, fs, path)
	other := o
	other.TopicID = [16]byte{9}
	if _, err := commitlog.OpenRecovery(testDir, other); !errors.Is(err, commitlog.ErrTopicIDMismatch) {
		t.Errorf("another topic: %v", err)
	}
	other.TopicID = [16]byte{}
	if r, err := commitlog.OpenRecovery(testDir, other); err != nil || r.TopicID() != o.TopicID {
		t.Errorf("topic id taken over: %v", err)
	}
	for text, want := range map[string]error{
		"version: 1\ntopic_id: x\nmore: 1\n": commitlog.ErrUnsupportedVersion,
		"version: 0\n":                       commitlog.ErrCorrupt,
		"":                                   commitlog.ErrCorrupt,
		"version: 0\ntopic_id: AAAA\n":       commitlog.ErrCorrupt,
		strings.Repeat("x", 5000):            commitlog.ErrCorrupt,
	} {
		setFile(t, fs, path, []byte(text))
		if _, err := commitlog.OpenRecovery(testDir, o); !errors.Is(err, want) {
			t.Errorf("%q: %v", text, err)
		}
	}
	for i := range good {
		for bit := range 8 {
			b := bytes.Clone(good)
			b[i] ^= 1 << bit
			setFile(t, fs, path, b)
			if _, err := commitlog.OpenRecovery(testDir, o); err == nil {
				t.Errorf("byte %d bit %d: opened", i, bit)
			}
		}
	}
}

func TestFinish_NewerEpochCheckpointIsRefused(t *testing.T) {
	fs := newFS(t)
	o := options(fs)
	_, end := storedLog(t, fs, o, 5)
	setFile(t, fs, testDir+"/leader-epoch-checkpoint", []byte("1\n0\n"))
	if _, err := open(t, o).Finish(end, 0); !errors.Is(err, commitlog.ErrUnsupportedVersion) {
		t.Fatalf("%v", err)
	}
}

// TestDamage_EveryFile flips bits in every file of a directory and cuts files short: what is read is
// either right or a *CorruptionError, never wrong.
func TestDamage_EveryFile(t *testing.T) {
	fs := newFS(t)
	o := options(fs)
	o.SegmentBytes, o.IndexIntervalBytes = 1500, 100
	es, end := storedLog(t, fs, o, 12)
	var whole []byte
	for _, e := range es {
		whole = append(whole, fileBytes(t, fs, fmt.Sprintf("%s/%020d.log", testDir, e.Segment))[e.Pos:e.Pos+e.Length]...)
	}
	names, err := fs.ReadDir(testDir)
	must(t, err)
	damages, caught := 0, map[string]int{}
	try := func(name, what string, b []byte) {
		t.Helper()
		c := fs.CrashClone(vfs.Crash{KeepPercent: 100})
		if b == nil {
			must(t, c.Remove(testDir+"/"+name))
		} else {
			setFile(t, c, testDir+"/"+name, b)
		}
		damages++
		defer func() {
			if t.Failed() {
				t.Log(name, what)
			}
		}()
		if err := readDamaged(t, options(c), o.Config, end, whole); err != nil {
			if !errors.Is(err, commitlog.ErrCorrupt) && !errors.Is(err, commitlog.ErrUnsupportedVersion) && !errors.Is(err, commitlog.ErrTopicIDMismatch) {
				t.Fatalf("%s %s: %v", name, what, err)
			}
			if !strings.HasSuffix(name, ".log") {
				t.Logf("%s %s: %v", name, what, err)
			}
			caught[name[strings.IndexAny(name, ".-"):]]++
		}
	}
	for _, name := range names {
		good := fileBytes(t, fs, testDir+"/"+name)
		step := max(len(good)/150, 1)
		for i := 0; i < len(good); i += step {
			b := bytes.Clone(good)
			b[i] ^= 1 << (i % 8)
			try(name, fmt.Sprintf("bit at %d", i), b)
		}
		for _, n := range []int{0, len(good) / 2, max(len(good)-1, 0), max(len(good)-12, 0), max(len(good)-8, 0)} {
			try(name, fmt.Sprintf("cut to %d", n), good[:n:n])
		}
		try(name, "with zeros", append(bytes.Clone(good), make([]byte, 4096)...))
		if name != "partition.metadata" {
			try(name, "missing", nil)
		}
	}
	t.Logf("%d damages; refused: %v", damages, caught)
	if caught[".log"] == 0 || caught[".metadata"] == 0 || caught[".index"]+caught[".timeindex"]+caught[".snapshot"] > 0 {
		t.Fatalf("refused: %v", caught)
	}
}

// readDamaged opens a directory and reads everything in several ways.
func readDamaged(t *testing.T, o commitlog.Options, cfg commitlog.Config, end commitlog.End, whole []byte) error {
	t.Helper()
	o.Config = cfg
	r, err := commitlog.OpenRecovery(testDir, o)
	if err != nil {
		return err
	}
	l, err := r.Finish(end, 0)
	if err != nil {
		return err
	}
	defer l.Close() //nolint:errcheck // damaged
	var got []byte
	for from := record.Offset(0); from < end.Next; {
		n := len(got)
		if got, err = l.Read(got, from, end.Next, 700, true); err != nil {
			return err
		}
		if len(got) == n {
			return fmt.Errorf("%w: nothing at %d", commitlog.ErrCorrupt, from)
		}
		for rest := got[n:]; len(rest) > 0; {
			b, x, err := record.Next(rest)
			must(t, err)
			from, rest = b.NextOffset(), x
		}
	}
	if !bytes.Equal(got, whole) {
		t.Fatal("wrong bytes were served")
	}
	for o := record.Offset(119); o >= 0; o -= 7 {
		b, err := l.Read(nil, o, end.Next, 1, true)
		if err != nil {
			return err
		}
		if x := record.Batch(b); x.BaseOffset() > o || x.NextOffset() <= o {
			t.Fatalf("read from %d: batch %d", o, x.BaseOffset())
		}
	}
	for i := range int64(12) {
		got, err := l.OffsetForTimestamp(1000+100*i+3, end.Next)
		if err != nil {
			return err
		}
		if got.Offset != record.Offset(10*i+3) {
			t.Fatalf("time %d: %+v", 1000+100*i+3, got)
		}
	}
	if got, err := l.MaxTimestamp(end.Next); err != nil || got.Offset != 119 {
		if err != nil {
			return err
		}
		t.Fatalf("max timestamp %+v", got)
	}
	for e := record.LeaderEpoch(1); e <= 4; e++ {
		ge, gend, err := l.EndOffsetForEpoch(e)
		if err != nil {
			return err
		}
		if ge != e || gend != record.Offset(30*e) {
			t.Fatalf("epoch %d: %d ends at %d", e, ge, gend)
		}
	}
	for id, want := range map[int64]int32{1: 59, 2: 59} {
		if p, _ := l.ProducerEntry(id); p.LastSequence() != want {
			t.Fatalf("producer %d: sequence %d", id, p.LastSequence())
		}
	}
	return nil
}

func TestOpenRecovery_MetadataIsDurableAtOnce(t *testing.T) {
	fs := newFS(t)
	o := options(fs)
	must(t, open(t, o).Close())
	o.FS, o.TopicID = fs.CrashClone(vfs.Crash{}), [16]byte{}
	if got := open(t, o).TopicID(); got != options(fs).TopicID {
		t.Fatalf("topic id %x", got)
	}
}
