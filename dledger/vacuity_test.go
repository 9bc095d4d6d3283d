package dledger

import (
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/stelemq/stele/internal/vfs"
)

// dropFS is a file system that says yes to some syncs and does nothing.
type dropFS struct {
	vfs.FS
	drop func(file string, stack []string) bool
}

type dropFile struct {
	vfs.File
	fs *dropFS
}

func (d *dropFS) Open(name string) (vfs.File, error)   { return d.wrap(d.FS.Open(name)) }
func (d *dropFS) Create(name string) (vfs.File, error) { return d.wrap(d.FS.Create(name)) }

func (d *dropFS) wrap(f vfs.File, err error) (vfs.File, error) {
	if err != nil {
		return nil, err
	}
	return &dropFile{f, d}, nil
}

func (d *dropFS) SyncDir(name string) error {
	if d.drop("dir:"+filepath.Base(name), callers()) {
		return nil
	}
	return d.FS.SyncDir(name)
}

func (f *dropFile) Sync() error {
	if f.fs.drop(filepath.Base(f.Name()), callers()) {
		return nil
	}
	return f.File.Sync()
}

// callers are the functions of this module on the stack, innermost first, without their package.
func callers() (out []string) {
	var pcs [40]uintptr
	frames := runtime.CallersFrames(pcs[:runtime.Callers(3, pcs[:])])
	for {
		f, more := frames.Next()
		if i := strings.LastIndexByte(f.Function, '/'); strings.Contains(f.Function, "stele/") {
			out = append(out, f.Function[i+1:])
		}
		if !more {
			return out
		}
	}
}

// called reports whether a function, or a closure in it, is on the stack.
func called(stack []string, name string) bool {
	return slices.ContainsFunc(stack, func(s string) bool { return s == name || strings.HasPrefix(s, name+".") })
}

// syncMutant is one kind of sync call; the power-loss test must fail without it.
type syncMutant struct {
	name string
	drop func(file string, stack []string) bool
	test func(seed uint64, wrap func(vfs.FS) vfs.FS) error
}

func syncMutants() []syncMutant {
	on := func(suffix string, in string, not ...string) func(string, []string) bool {
		return func(file string, stack []string) bool {
			if !strings.HasSuffix(file, suffix) || !called(stack, in) {
				return false
			}
			for _, n := range not {
				if called(stack, n) {
					return false
				}
			}
			return true
		}
	}
	dir := func(in string, not ...string) func(string, []string) bool {
		f := on("", in, not...)
		return func(file string, stack []string) bool { return strings.HasPrefix(file, "dir:") && f(file, stack) }
	}
	return []syncMutant{
		{"journal: frame", on(".journal", "dledger.(*journal).syncFile"), saves},
		{"journal: header at rotation", on(".journal", "dledger.(*journal).writeHeader", "dledger.(*journal).begin"), saves},
		{"journal: end frame at rotation", on(".journal", "dledger.(*journal).rotate", "dledger.(*journal).writeHeader"), saves},
		{"journal: hard states before recycling", on(".journal", "dledger.(*journal).retire"), hardStatesOverRecycling},
		{"journal: hard states at the start", on(".journal", "dledger.(*journal).begin", "dledger.(*journal).writeHeader", "dledger.(*journal).endReplayed"), hardStatesOverStart},
		{"journal: header at the start", on(".journal", "dledger.(*journal).writeHeader", "dledger.(*journal).rotate"), saves},
		{"journal: name of a slot", dir("dledger.(*journal).openSlot"), saves},
		{"journal: its directory", dir("dledger.makeDirs"), saves},
		{"segment: in a flush", on(".log", "dledger.(*segmentSyncs).start"), saves},
		{"segment: in a checkpoint", on(".log", "dledger.(*shardLog).checkpoint"), saves},
		{"segment: in recovery", on(".log", "dledger.(*recovery).persist"), saves},
		{"segment: its name", dir("commitlog.(*Log).syncNames"), saves},
		{"segment: truncation", on(".log", "commitlog.(*Log).truncate"), saves},
		{".raft: in a checkpoint", on(".raft", "dledger.(*shardLog).checkpoint"), saves},
		{".raft: in recovery", on(".raft", "dledger.(*recovery).persist"), saves},
		{".raft: its name", dir("dledger.(*raftWriter).open"), saves},
		{"replica.json: its bytes", on(".json.tmp", "dledger.writeFileAtomic"), saves},
		{"replica.json: its name", dir("dledger.writeReplicaFile"), saves},
		{"partition directory: its name", dir("commitlog.checkMetadata"), saves},
	}
}

// saves is the power-loss test.
func saves(seed uint64, wrap func(vfs.FS) vfs.FS) error {
	rng := rand.New(rand.NewPCG(seed, 2))
	w := workload{
		seed: seed, steps: 30, restarts: 1, wrap: wrap, want: func(int) bool { return rng.IntN(10) == 0 }, crash: crashModes(rng),
	}
	points, err := w.run()
	for i := 0; err == nil && i < len(points); i++ {
		err = points[i].check()
	}
	return err
}

// hardStatesOverRecycling saves one shard's hard state once and another's entries until all slots have been used again, and
// loses power at every operation of a rotation or a checkpoint.
func hardStatesOverRecycling(_ uint64, wrap func(vfs.FS) vfs.FS) error {
	const want = 7
	mem := vfs.NewMem()
	efs := vfs.NewErrFS(mem)
	j, _, err := startJournal(wrap(efs), 8<<10)
	if err != nil {
		return err
	}
	quiet, busy := testShard(2), testShard(3)
	if err := saveTo(j, quiet, hardState{Term: want, Vote: 1}); err != nil {
		return err
	}
	var lost []*vfs.Mem
	efs.Plan(&vfs.Fault{Kinds: vfs.OpMutating, N: 1 << 60, Match: func(string) bool {
		if stack := callers(); called(stack, "dledger.(*journal).rotate") || called(stack, "dledger.(*journal).retire") {
			lost = append(lost, mem.CrashClone(vfs.Crash{}))
		}
		return false
	}})
	for i := Index(1); i <= 600; i++ {
		if err := saveTo(j, busy, hardState{Term: 3}, sampleRecord(i)); err != nil {
			return err
		}
	}
	efs.Plan(nil)
	if err := j.close(); err != nil {
		return err
	}
	if j.cur.seq < 2*journalSlots {
		return fmt.Errorf("only %d files were begun", j.cur.seq)
	}
	for i, fs := range lost {
		r, err := replayJournal(fs, testJournalDir)
		if err == nil && r.damage != nil {
			err = r.damage
		}
		if err != nil {
			return fmt.Errorf("point %d: %w", i, err)
		}
		if p := r.shards[quiet.key]; p == nil || p.hard.Term != want {
			return fmt.Errorf("point %d: the hard state is lost", i)
		}
	}
	return nil
}

// hardStatesOverStart opens a journal with the hard states of many shards, more than a page, and loses power at every operation
// of that.
func hardStatesOverStart(seed uint64, wrap func(vfs.FS) vfs.FS) error {
	const shards = 200
	mem := vfs.NewMem()
	j, _, err := startJournal(mem, 64<<10)
	if err != nil {
		return err
	}
	for i := range ShardID(shards) {
		if err := saveTo(j, testShard(2+i), hardState{Term: 5, Vote: 1}); err != nil {
			return err
		}
	}
	if err := j.close(); err != nil {
		return err
	}
	rng := rand.New(rand.NewPCG(seed, 4))
	efs := vfs.NewErrFS(mem)
	var lost []*vfs.Mem
	efs.Plan(&vfs.Fault{Kinds: vfs.OpMutating, N: 1 << 60, Match: func(string) bool {
		for range 8 {
			lost = append(lost, mem.CrashClone(vfs.Crash{KeepPercent: 50, Rand: rng}))
		}
		return false
	}})
	if j, _, err = startJournal(wrap(efs), 64<<10); err != nil {
		return err
	}
	if err := j.close(); err != nil {
		return err
	}
	for i, fs := range lost {
		r, err := replayJournal(fs, testJournalDir)
		if err == nil && r.damage != nil {
			err = r.damage
		}
		if err != nil {
			return fmt.Errorf("point %d: %w", i, err)
		}
		for k := range ShardID(shards) {
			if p := r.shards[shardKey{2 + k, 1}]; p == nil || p.hard.Term != 5 {
				return fmt.Errorf("point %d: the hard state of shard %d is lost", i, 2+k)
			}
		}
	}
	return nil
}

func TestJournal_HardStatesSurviveRecyclingAndStart(t *testing.T) {
	if err := hardStatesOverRecycling(0, noWrap); err != nil {
		t.Error(err)
	}
	for seed := range uint64(4) {
		if err := hardStatesOverStart(seed, noWrap); err != nil {
			t.Error(err)
		}
	}
}

// For each kind of sync call: without it the power-loss test fails.
func TestSave_NoSyncIsSuperfluous(t *testing.T) {
	for _, m := range syncMutants() {
		t.Run(m.name, func(t *testing.T) {
			t.Parallel()
			var dropped atomic.Int64
			wrap := func(f vfs.FS) vfs.FS {
				return &dropFS{f, func(file string, stack []string) bool {
					drop := m.drop(file, stack)
					if drop {
						dropped.Add(1)
					}
					return drop
				}}
			}
			var found error
			for seed := uint64(100); seed < 130 && found == nil; seed++ {
				found = m.test(seed, wrap)
			}
			if found == nil || dropped.Load() == 0 {
				t.Errorf("survives; %d syncs were dropped", dropped.Load())
			}
			t.Logf("%d dropped: %v", dropped.Load(), found)
		})
	}
}
