package commitlog_test

import (
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"path"
	"slices"
	"strings"
	"testing"

	"github.com/stelemq/stele/commitlog"
	"github.com/stelemq/stele/internal/vfs"
	"github.com/stelemq/stele/protocol/record"
)

// journaled is a log with a caller that knows, as a journal would, what has been appended and what is
// durable.
type journaled struct {
	*model
	durable record.Offset // everything below has been synced
}

func (j *journaled) clone(seed uint64) *journaled {
	m := *j.model
	m.rng = rand.New(rand.NewPCG(seed, 8))
	m.entries, m.seqs = slices.Clone(m.entries), maps.Clone(m.seqs)
	return &journaled{model: &m, durable: j.durable}
}

// crashStep carries out a random operation that may fail; ok is false once the file system has ended.
func (j *journaled) crashStep(t testing.TB, l *commitlog.Log) (ok bool) {
	t.Helper()
	switch k := j.rng.IntN(20); {
	case k < 10:
		es := j.newEntries(t)
		if l.Append(es) != nil {
			return false
		}
		j.note(l, es)
	case k < 12:
		j.epoch++
	case k < 15:
		end := j.end().Next
		if l.Sync() != nil {
			return false
		}
		j.durable = end
	case k < 16:
		for _, d := range l.Dirty() {
			if l.SyncSegment(d.Segment) != nil {
				return false
			}
		}
		j.durable = j.end().Next
	case k < 18:
		// What has been truncated was never acknowledged: the journal says so first.
		at := j.boundary(j.start)
		j.cut(at)
		j.durable = min(j.durable, at)
		return l.TruncateTo(at) == nil
	case k < 19:
		at := j.boundary(j.start)
		if at > j.durable {
			return true // the log start is committed
		}
		if l.AdvanceLogStart(at, "test") != nil {
			return false
		}
		j.start = at
	default:
		_, err := l.DeleteSegmentsBelow(j.start)
		return err == nil
	}
	return true
}

// crashRun works until the n-th operation of the file system fails, and all after it. It reports
// whether the fault was reached.
func crashRun(t testing.TB, seed uint64, n int64, torn bool) (fs *vfs.Mem, j *journaled, hit bool) {
	t.Helper()
	fs = newFS(t)
	e := vfs.NewErrFS(fs)
	j = &journaled{model: newModel(seed)}
	l := create(t, modelOptions(e))
	must(t, l.Sync())
	e.Plan(&vfs.Fault{Kinds: vfs.OpMutating, N: n, Stay: true, Torn: torn})
	for range 60 {
		if !j.crashStep(t, l) {
			return fs, j, true
		}
	}
	return fs, j, e.Failed() > 0
}

// recoverRun opens what a crash has left, with or without the bytes that a journal holds beyond the sync.
func (j *journaled) recoverRun(fs vfs.FS, replay bool) (*commitlog.Log, error) {
	r, err := commitlog.OpenRecovery(testDir, modelOptions(fs))
	if err != nil {
		return nil, err
	}
	end := commitlog.End{Segment: 0, Next: 0}
	if s := r.Segments(); len(s) > 0 {
		end = commitlog.End{Segment: s[0].Base, Next: s[0].Base}
	}
	kept := j.entries[:0:0]
	for _, e := range j.entries {
		if e.Next > j.durable {
			if !replay {
				break
			}
			if err := r.WriteAt(e.Segment, e.Pos, e.stored); err != nil {
				return nil, fmt.Errorf("replay: %w", err)
			}
		}
		kept = append(kept, e)
		if e.Segment >= end.Segment {
			end = commitlog.End{Segment: e.Segment, Pos: e.Pos + e.Length, Next: e.Next}
		}
	}
	j.entries = kept
	return r.Finish(end, j.start)
}

// TestCrash_AtEveryOperation ends the file system at its n-th operation for every n, loses what was not
// synced in several ways, and recovers.
func TestCrash_AtEveryOperation(t *testing.T) {
	seeds := uint64(8)
	if testing.Short() || raceEnabled {
		seeds = 2
	}
	only := func(suffix string) func(string) bool {
		return func(name string) bool { return strings.HasSuffix(name, suffix) }
	}
	losses := map[string]vfs.Crash{
		"everything":      {},
		"half":            {KeepPercent: 50},
		"some":            {KeepPercent: 80},
		"tails":           {Prefix: true},
		"nothing":         {KeepPercent: 100},
		"segments":        {Lossy: only(".log")},
		"indexes":         {Lossy: only("index")},
		"half of derived": {KeepPercent: 50, Lossy: func(n string) bool { return path.Ext(n) != ".log" }},
		"names":           {KeepPercent: 30, Lossy: only("")},
	}
	for seed := range seeds {
		t.Run(fmt.Sprintf("seed %d", seed), func(t *testing.T) {
			t.Parallel()
			runs := 0
			for n := int64(0); ; n++ {
				fs, after, hit := crashRun(t, seed, n, n%2 == 0)
				rng := rand.New(rand.NewPCG(seed, uint64(n)))
				for name, loss := range losses {
					if rng.IntN(3) != 0 && name != "everything" {
						continue // other seeds and operations draw the others
					}
					for _, replay := range []bool{true, false} {
						j := after.clone(seed)
						loss.Rand = rng
						ctx := fmt.Sprintf("operation %d, lost %s, replay %v", n, name, replay)
						checkCrash(t, ctx, fs.CrashClone(loss), j, replay)
						runs++
					}
				}
				if !hit {
					t.Logf("%d operations, %d recoveries", n, runs)
					return
				}
			}
		})
	}
}

func checkCrash(t *testing.T, ctx string, fs *vfs.Mem, j *journaled, replay bool) {
	t.Helper()
	defer func() {
		if t.Failed() {
			t.Log(ctx)
		}
	}()
	l, err := j.recoverRun(fs, replay)
	if err != nil {
		t.Fatalf("%s: %v", ctx, err)
	}
	j.assign = nil
	clear(j.seqs)
	for _, p := range j.producers() {
		j.seqs[p.ID] = p.LastSequence() + 1
	}
	j.check(t, l)
	// It works on, and closes cleanly.
	for range 4 {
		es := j.newEntries(t)
		must(t, l.Append(es))
		j.note(l, es)
	}
	j.check(t, l)
	// Power may fail again before anything is synced; what a journal holds is written again.
	again := j.clone(1)
	l2, err := again.recoverRun(fs.CrashClone(vfs.Crash{}), true)
	must(t, err)
	again.check(t, l2)
	must(t, l.Close())
	report, err := commitlog.VerifyDir(fs, testDir)
	must(t, err)
	for _, p := range report.Problems {
		t.Fatalf("%s: verify: %+v", ctx, p)
	}
	// A second power loss right after finds everything.
	l = finish(t, modelOptions(fs.CrashClone(vfs.Crash{})), j.end(), j.start)
	j.check(t, l)
}

// TestFault_NthOperation fails one operation, every one in turn: the error is reported once for all, the
// log refuses to go on, and what was synced before is there after a restart.
func TestFault_NthOperation(t *testing.T) {
	for _, kinds := range []vfs.Op{vfs.OpWrite, vfs.OpSync, vfs.OpMutating, vfs.OpMutating | vfs.OpOpen | vfs.OpRead | vfs.OpStat} {
		for n := int64(0); ; n++ {
			fs := newFS(t)
			e := vfs.NewErrFS(fs)
			j := &journaled{model: newModel(3)}
			l := create(t, modelOptions(e))
			e.Plan(&vfs.Fault{Kinds: kinds, N: n})
			failed := false
			for range 40 {
				if !j.crashStep(t, l) {
					failed = true
					break
				}
			}
			if e.Failed() == 0 {
				break
			}
			if failed && l.Err() != nil {
				err := l.Err()
				if !errors.Is(err, vfs.ErrInjected) {
					t.Fatalf("%x %d: %v", kinds, n, err)
				}
				for what, got := range map[string]error{
					"append": l.Append(j.newEntries(t)), "sync": l.Sync(), "truncate": l.TruncateTo(l.LogStart()),
					"roll": l.Roll(), "epoch": l.AssignEpoch(99, l.End().Next), "close": l.Close(),
				} {
					if got == nil || got.Error() != err.Error() {
						t.Fatalf("%x %d: %s after the failure: %v", kinds, n, what, got)
					}
				}
			} else if kinds&vfs.OpRead == 0 && failed {
				t.Fatalf("%x %d: an operation failed but the log goes on", kinds, n)
			}
			e.Plan(nil)
			_ = l.Close()
			l, err := j.recoverRun(fs, true)
			if err != nil {
				t.Fatalf("%x %d: %v", kinds, n, err)
			}
			j.assign = nil
			j.check(t, l)
		}
	}
}

// TestFault_Recovery fails every operation of a start in turn: it reports the error, and the next start finds everything.
func TestFault_Recovery(t *testing.T) {
	for n := int64(0); ; n++ {
		fs, j, _ := crashRun(t, 5, 1<<40, false)
		e := vfs.NewErrFS(fs)
		e.Plan(&vfs.Fault{Kinds: vfs.OpAll, N: n})
		_, err := j.recoverRun(e, true)
		if e.Failed() == 0 {
			must(t, err)
			if n < 10 {
				t.Fatalf("only %d operations", n)
			}
			return
		}
		if err != nil && !errors.Is(err, vfs.ErrInjected) {
			t.Fatalf("operation %d: %v", n, err)
		}
		l, err := j.recoverRun(fs, true)
		if err != nil {
			t.Fatalf("after operation %d: %v", n, err)
		}
		j.assign = nil
		j.check(t, l)
	}
}

// TestCrash_ProducersOfDeletedBatchesAreKnown loses power at every operation of a deletion: what only the
// deleted batches said of a producer must survive with them or without them.
func TestCrash_ProducersOfDeletedBatchesAreKnown(t *testing.T) {
	for n := int64(0); ; n++ {
		fs := newFS(t)
		e := vfs.NewErrFS(fs)
		l := create(t, options(e))
		appendOne(t, l, batch(t, 10, 100, 1000, &producer{id: 77}), 1)
		must(t, l.Roll())
		appendOne(t, l, batch(t, 10, 100, 1100, &producer{id: 78}), 2)
		for _, s := range l.Segments() {
			must(t, l.SyncSegment(s.Base)) // no checkpoint
		}
		end := l.End()
		must(t, l.AdvanceLogStart(10, "test"))
		e.Plan(&vfs.Fault{Kinds: vfs.OpMutating, N: n, Stay: true})
		_, err := l.DeleteSegmentsBelow(10)
		for seed := range uint64(40) {
			c := fs.CrashClone(vfs.Crash{KeepPercent: int(seed%4) * 30, Rand: rand.New(rand.NewPCG(seed, 3))})
			got := finish(t, options(c), end, 10)
			for _, id := range []int64{77, 78} {
				if p, _ := got.ProducerEntry(id); p.LastSequence() != 9 {
					t.Fatalf("operation %d, seed %d: producer %d has sequence %d", n, seed, id, p.LastSequence())
				}
			}
			if e, o, err := got.EndOffsetForEpoch(1); err != nil || o != 10 {
				t.Fatalf("operation %d, seed %d: epoch %d ends at %d: %v", n, seed, e, o, err)
			}
		}
		if err == nil {
			return
		}
	}
}
