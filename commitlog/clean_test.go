package commitlog_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"path"
	"strings"
	"testing"
	"time"

	"github.com/stelemq/stele/commitlog"
	"github.com/stelemq/stele/internal/vfs"
	"github.com/stelemq/stele/protocol/record"
)

// keyed is a log with everything that was ever appended to it.
type keyed struct {
	rng   *rand.Rand
	now   time.Time
	all   []record.Record // by offset
	seqs  map[int64]int32
	epoch record.LeaderEpoch
	keys  int
	codec bool // compress some batches
}

func newKeyed(seed uint64) *keyed {
	return &keyed{rng: rand.New(rand.NewPCG(seed, 11)), now: time.UnixMilli(1_000_000), seqs: map[int64]int32{}, epoch: 1, keys: 12, codec: true}
}

func (k *keyed) options(fs vfs.FS) commitlog.Options {
	o := options(fs)
	o.Now = func() time.Time { return k.now }
	o.SegmentBytes, o.IndexIntervalBytes, o.SnapshotBytes = 2000, 200, 3000
	return o
}

// add appends a batch of random records.
func (k *keyed) add(t testing.TB, l *commitlog.Log) error {
	t.Helper()
	k.now = k.now.Add(time.Duration(k.rng.IntN(50)) * time.Millisecond)
	if k.rng.IntN(15) == 0 {
		k.epoch++
	}
	var b record.Builder
	n := 1 + k.rng.IntN(5)
	if id := int64(k.rng.IntN(4)); id > 0 {
		b.SetProducer(id, 0, k.seqs[id])
		k.seqs[id] += int32(n)
	}
	fresh := make([]record.Record, 0, n)
	for i := range n {
		r := record.Record{
			Offset: record.Offset(len(k.all) + i), Timestamp: k.now.UnixMilli() + int64(i), Key: fmt.Appendf(nil, "key-%d", k.rng.IntN(k.keys)),
		}
		if k.rng.IntN(5) > 0 {
			r.Value = fmt.Appendf(nil, "value-%d-%s", len(k.all)+i, strings.Repeat("x", k.rng.IntN(60)))
		}
		b.Append(r)
		fresh = append(fresh, r)
	}
	codec := record.None
	if k.codec && k.rng.IntN(3) == 0 {
		codec = record.Zstd
	}
	out, err := b.Build(codec, record.DefaultLevel)
	must(t, err)
	if err := l.Append([]commitlog.Entry{{Batches: bytes.Clone(out), Epoch: k.epoch}}); err != nil {
		return err
	}
	k.all = append(k.all, fresh...)
	return nil
}

func (k *keyed) policy() commitlog.CompactPolicy {
	return commitlog.CompactPolicy{DeleteRetention: 300 * time.Millisecond, MinDirtyRatio: 0.2}
}

func (k *keyed) clean(l *commitlog.Log, mapBytes int64) (commitlog.CleanStats, error) {
	return l.Clean(context.Background(), commitlog.CleanOptions{Policy: k.policy(), UpTo: math.MaxInt64, MapBytes: mapBytes})
}

// check holds a log against what compaction may make of it: batches follow each other without a hole, every record left was
// appended just so, and the newest of each key is there, or, of a tombstone, nothing older is.
func (k *keyed) check(t testing.TB, l *commitlog.Log, end record.Offset) (records int) {
	t.Helper()
	next := l.Segments()[0].Base
	left := map[string][]record.Offset{}
	for rest := readAll(t, l, next); len(rest) > 0; {
		b, r, err := record.Next(rest)
		must(t, err)
		if b.BaseOffset() != next {
			t.Fatalf("a batch at %d where %d is due", b.BaseOffset(), next)
		}
		next, rest = b.NextOffset(), r
		for r, err := range b.Records(1 << 20) {
			must(t, err)
			want := k.all[r.Offset]
			if !bytes.Equal(r.Key, want.Key) || !bytes.Equal(r.Value, want.Value) || (r.Value == nil) != (want.Value == nil) || r.Timestamp != want.Timestamp {
				t.Fatalf("offset %d is %q=%q at %d, was %q=%q at %d", r.Offset, r.Key, r.Value, r.Timestamp, want.Key, want.Value, want.Timestamp)
			}
			left[string(r.Key)] = append(left[string(r.Key)], r.Offset)
			records++
		}
	}
	if next != end {
		t.Fatalf("batches end at %d, the log at %d", next, end)
	}
	newest := map[string]record.Record{}
	for _, r := range k.all[:end] {
		newest[string(r.Key)] = r
	}
	for key, want := range newest {
		have := left[key]
		switch {
		case len(have) > 0 && have[len(have)-1] == want.Offset:
		case len(have) == 0 && want.Value == nil:
		default:
			t.Fatalf("%s: the newest is %d (tombstone %v), left are %v", key, want.Offset, want.Value == nil, have)
		}
	}
	return records
}

func TestClean_KeepsTheNewestOfEachKey(t *testing.T) {
	for seed := range uint64(30) {
		fs := newFS(t)
		k := newKeyed(seed)
		l := create(t, k.options(fs))
		removed, tombstones := int64(0), int64(0)
		for turn := range 12 {
			for range 30 {
				must(t, k.add(t, l))
			}
			must(t, l.Sync())
			mapBytes := int64(1 << 20)
			if turn%3 == 1 {
				mapBytes = 8 * 24 // room for six keys
			}
			before := l.Cuts()
			s, err := k.clean(l, mapBytes)
			must(t, err)
			if s.SegmentsAfter > 0 && l.Cuts() == before {
				t.Fatal("readers are not told")
			}
			removed, tombstones = removed+s.RecordsRemoved, tombstones+s.TombstonesRemoved
			k.check(t, l, l.End().Next)
		}
		if removed < int64(len(k.all)/2) || tombstones == 0 {
			t.Fatalf("seed %d: %d of %d records removed, %d tombstones", seed, removed, len(k.all), tombstones)
		}
		end, size := l.End(), l.Size()
		epochs, producers := l.Epochs(), l.Producers()
		must(t, l.Close())
		report, err := commitlog.VerifyDir(fs, testDir)
		must(t, err)
		for _, p := range report.Problems {
			t.Fatalf("verify: %+v", p)
		}
		// With nothing but the segments the same state comes out.
		names, err := fs.ReadDir(testDir)
		must(t, err)
		for _, n := range names {
			if ext := path.Ext(n); ext != ".log" && n != "partition.metadata" && n != "cleaner-checkpoint" {
				must(t, fs.Remove(path.Join(testDir, n)))
			}
		}
		l = finish(t, k.options(fs), end, 0)
		k.check(t, l, end.Next)
		if l.Size() != size {
			t.Fatalf("%d bytes, were %d", l.Size(), size)
		}
		if got := l.Epochs(); fmt.Sprint(got) != fmt.Sprint(epochs) {
			t.Fatalf("epochs %v, were %v", got, epochs)
		}
		for _, p := range producers {
			if got, ok := l.ProducerEntry(p.ID); !ok || got.LastSequence() != p.LastSequence() || got.Epoch != p.Epoch {
				t.Fatalf("producer %d: sequence %d, was %d", p.ID, got.LastSequence(), p.LastSequence())
			}
		}
		must(t, l.Close())
	}
}

// Few keys, overwritten often, in small segments, as __consumer_offsets: what is left is small and of few segments.
func TestClean_FewKeysStaySmall(t *testing.T) {
	fs := newFS(t)
	k := newKeyed(1)
	l := create(t, k.options(fs))
	for range 40 {
		for range 50 {
			must(t, k.add(t, l))
		}
		must(t, l.Sync())
		c, err := l.Cleanable(k.policy(), math.MaxInt64)
		must(t, err)
		if !c.Due(k.policy()) {
			t.Fatalf("not due: %+v", c)
		}
		_, err = k.clean(l, 1<<20)
		must(t, err)
		if n := k.check(t, l, l.End().Next); n > 100 {
			t.Fatalf("%d records are left of %d keys", n, k.keys)
		}
		if n := len(l.Segments()); n > 14 || l.Size() > 12_000 {
			t.Fatalf("%d segments, %d bytes", n, l.Size())
		}
		c, err = l.Cleanable(k.policy(), math.MaxInt64)
		must(t, err)
		if c.DirtyBytes > 0 {
			t.Fatalf("dirty after a turn: %+v", c)
		}
		// Again, it has nothing to do.
		if s, err := k.clean(l, 1<<20); err != nil || s.ReadBytes > 0 {
			t.Fatalf("%+v, %v", s, err)
		}
	}
}

func TestCleanable_LagsAndBounds(t *testing.T) {
	fs := newFS(t)
	k := newKeyed(2)
	l := create(t, k.options(fs))
	for range 100 {
		must(t, k.add(t, l))
	}
	must(t, l.Sync())
	segs := l.Segments()
	all, err := l.Cleanable(commitlog.CompactPolicy{}, math.MaxInt64)
	must(t, err)
	if all.UpTo != segs[len(segs)-1].Base || all.CleanBytes != 0 || all.Ratio() != 1 || all.Overdue {
		t.Errorf("%+v", all)
	}
	half, err := l.Cleanable(commitlog.CompactPolicy{}, segs[3].Base+1)
	must(t, err)
	if half.UpTo != segs[3].Base {
		t.Errorf("up to %d: %+v", segs[3].Base, half)
	}
	lag, err := l.Cleanable(commitlog.CompactPolicy{MinLag: time.Hour}, math.MaxInt64)
	must(t, err)
	if lag.DirtyBytes != 0 || lag.Due(commitlog.CompactPolicy{}) {
		t.Errorf("too young: %+v", lag)
	}
	k.now = k.now.Add(time.Minute)
	over, err := l.Cleanable(commitlog.CompactPolicy{MaxLag: time.Second, MinDirtyRatio: 1}, math.MaxInt64)
	must(t, err)
	if !over.Overdue || !over.Due(commitlog.CompactPolicy{MinDirtyRatio: 1}) {
		t.Errorf("overdue: %+v", over)
	}
	if _, err := l.Clean(t.Context(), commitlog.CleanOptions{UpTo: segs[3].Base, MapBytes: 1 << 20}); err != nil {
		t.Fatal(err)
	}
	if got := l.Rewritten(); got != segs[3].Base {
		t.Errorf("rewritten up to %d, not %d", got, segs[3].Base)
	}
	k.check(t, l, l.End().Next)
}

// Records without a key, from when the topic was not compacted, go; markers stay; what is of a transaction replaces nothing.
func TestClean_KeylessMarkersTransactions(t *testing.T) {
	fs := newFS(t)
	o := options(fs)
	l := create(t, o)
	add := func(set func(*record.Builder), rs ...record.Record) {
		var b record.Builder
		set(&b)
		for _, r := range rs {
			b.Append(r)
		}
		out, err := b.Build(record.None, 0)
		must(t, err)
		appendOne(t, l, bytes.Clone(out), 1)
	}
	plain := func(*record.Builder) {}
	open := func(b *record.Builder) { b.SetProducer(5, 0, 0); b.SetTransactional(true) }
	marker := func(b *record.Builder) { b.SetProducer(5, 0, -1); b.SetTransactional(true); b.SetControl(true) }
	value := func(k, v string) record.Record {
		return record.Record{Timestamp: 1, Key: []byte(k), Value: []byte(v)}
	}
	add(plain, record.Record{Timestamp: 1, Value: []byte("keyless")}) // 0
	add(plain, value("a", "1"), value("b", "1"))                      // 1, 2
	add(open, value("a", "2"))                                        // 3
	add(marker, record.ControlRecord(record.ControlAbort, 0, 1))      // 4
	add(plain, value("b", "2"))                                       // 5
	must(t, l.Roll())
	add(plain, value("c", "1")) // 6
	must(t, l.Sync())
	s, err := l.Clean(t.Context(), commitlog.CleanOptions{UpTo: math.MaxInt64, MapBytes: 1 << 20})
	must(t, err)
	var left []record.Offset
	for rest := readAll(t, l, 0); len(rest) > 0; {
		b, r, err := record.Next(rest)
		must(t, err)
		rest = r
		for r, err := range b.Records(1 << 20) {
			must(t, err)
			left = append(left, r.Offset)
		}
	}
	if fmt.Sprint(left) != "[1 3 4 5 6]" || s.RecordsRemoved != 2 {
		t.Errorf("left are %v, %+v", left, s)
	}
}

// Tombstones go one turn after delete.retention.ms, counted from the turn that found them first.
func TestClean_Tombstones(t *testing.T) {
	fs := newFS(t)
	k := newKeyed(3)
	l := create(t, k.options(fs))
	count := func() (n int) {
		for rest := readAll(t, l, 0); len(rest) > 0; {
			b, r, err := record.Next(rest)
			must(t, err)
			rest = r
			for r, err := range b.Records(1 << 20) {
				must(t, err)
				if r.Value == nil && string(r.Key) == "gone" {
					n++
					if b.Attributes().DeleteHorizon() != (n > 0 && l.Rewritten() > 0) {
						t.Errorf("delete horizon %v", b.Attributes().DeleteHorizon())
					}
				}
			}
		}
		return n
	}
	put := func(key string, value []byte) {
		var b record.Builder
		b.Append(record.Record{Timestamp: k.now.UnixMilli(), Key: []byte(key), Value: value})
		out, err := b.Build(record.None, 0)
		must(t, err)
		appendOne(t, l, bytes.Clone(out), 1)
		must(t, l.Roll())
		must(t, l.Sync())
	}
	put("gone", []byte("here"))
	put("gone", nil)
	for i, want := range []int{1, 1, 0} {
		put(fmt.Sprint("other", i), []byte("v"))
		_, err := k.clean(l, 1<<20)
		must(t, err)
		if n := count(); n != want {
			t.Errorf("turn %d: %d tombstones, want %d", i, n, want)
		}
		k.now = k.now.Add(200 * time.Millisecond)
	}
}

// Readers, by offset and by time, run while segments are replaced under them.
func TestClean_WhileReading(t *testing.T) {
	fs := newFS(t)
	k := newKeyed(4)
	l := create(t, k.options(fs))
	for range 100 {
		must(t, k.add(t, l))
	}
	stop, done := make(chan struct{}), make(chan error, 3)
	for i := range 3 {
		go func() {
			rng := rand.New(rand.NewPCG(uint64(i), 1))
			for {
				select {
				case <-stop:
					done <- nil
					return
				default:
				}
				from := record.Offset(rng.IntN(int(l.End().Next)))
				b, err := l.Read(nil, from, math.MaxInt64, 1000, true)
				if err == nil && len(b) == 0 {
					err = errors.New("nothing")
				}
				if err == nil {
					_, err = l.OffsetForTimestamp(1_000_000+int64(rng.IntN(2000)), math.MaxInt64)
				}
				if err != nil {
					done <- fmt.Errorf("at %d: %w", from, err)
					return
				}
			}
		}()
	}
	for range 20 {
		for range 20 {
			must(t, k.add(t, l))
		}
		must(t, l.Sync())
		_, err := k.clean(l, 1<<20)
		must(t, err)
	}
	close(stop)
	for range 3 {
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
	must(t, l.Close())
	if _, err := k.clean(l, 1<<20); !errors.Is(err, commitlog.ErrClosed) {
		t.Errorf("after Close: %v", err)
	}
}

// TestClean_CrashAtEveryOperation loses power at every operation of a turn, in several ways: the newest record of each key is
// there, nothing that was not, and the next turn goes on.
func TestClean_CrashAtEveryOperation(t *testing.T) {
	seeds := uint64(6)
	if testing.Short() || raceEnabled {
		seeds = 2
	}
	for seed := range seeds {
		t.Run(fmt.Sprintf("seed %d", seed), func(t *testing.T) {
			t.Parallel()
			runs := 0
			for n := int64(0); ; n++ {
				fs := newFS(t)
				e := vfs.NewErrFS(fs)
				k := newKeyed(seed)
				o := k.options(e)
				if seed%2 == 1 {
					o.DeleteDelay = time.Hour
				}
				l := create(t, o)
				for turn := range 2 {
					for range 40 {
						must(t, k.add(t, l))
					}
					must(t, l.Sync())
					if turn == 0 {
						_, err := k.clean(l, 1<<20)
						must(t, err)
						k.now = k.now.Add(time.Second) // tombstones of the first turn go in the second
					}
				}
				end := l.End()
				e.Plan(&vfs.Fault{Kinds: vfs.OpMutating, N: n, Stay: true, Torn: n%2 == 0})
				_, err := k.clean(l, 1<<20)
				for draw := range uint64(12) {
					c := vfs.Crash{KeepPercent: int(draw%5) * 25, Prefix: draw%6 == 5, Rand: rand.New(rand.NewPCG(seed, draw<<32|uint64(n)))}
					after := fs.CrashClone(c)
					got := finish(t, k.options(after), end, 0)
					k.check(t, got, end.Next)
					for id, next := range k.seqs {
						if p, _ := got.ProducerEntry(id); p.LastSequence() != next-1 {
							t.Fatalf("operation %d, draw %d: producer %d is at %d, not %d", n, draw, id, p.LastSequence(), next-1)
						}
					}
					must(t, got.Sync())
					_, err := k.clean(got, 1<<20)
					must(t, err)
					k.check(t, got, end.Next)
					must(t, got.Close())
					report, err := commitlog.VerifyDir(after, testDir)
					must(t, err)
					for _, p := range report.Problems {
						t.Fatalf("operation %d, draw %d: verify: %+v", n, draw, p)
					}
					names, err := after.ReadDir(testDir)
					must(t, err)
					for _, name := range names {
						if ext := path.Ext(name); ext == ".swap" || ext == ".cleaned" {
							t.Fatalf("operation %d, draw %d: %s is left", n, draw, name)
						}
					}
					runs++
				}
				if err == nil {
					t.Logf("%d operations, %d recoveries", n, runs)
					if n < 20 {
						t.Fatalf("only %d operations", n)
					}
					return
				}
			}
		})
	}
}

// What cannot be written leaves the log as it was: it goes on, and the next turn does the work.
func TestClean_FullDiskDoesNotEndTheLog(t *testing.T) {
	fs := newFS(t)
	e := vfs.NewErrFS(fs)
	k := newKeyed(5)
	l := create(t, k.options(e))
	for range 60 {
		must(t, k.add(t, l))
	}
	must(t, l.Sync())
	e.Plan(&vfs.Fault{Kinds: vfs.OpWrite, N: 1, Match: func(name string) bool { return strings.HasSuffix(name, ".cleaned") }})
	if _, err := k.clean(l, 1<<20); !errors.Is(err, vfs.ErrInjected) || l.Err() != nil {
		t.Fatalf("%v, the log: %v", err, l.Err())
	}
	e.Plan(nil)
	must(t, k.add(t, l))
	k.check(t, l, l.End().Next)
	if s, err := k.clean(l, 1<<20); err != nil || s.RecordsRemoved == 0 {
		t.Fatalf("%+v, %v", s, err)
	}
	k.check(t, l, l.End().Next)
}
