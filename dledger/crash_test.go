package dledger

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"

	pb "github.com/lni/dragonboat/v4/raftpb"

	"github.com/stelemq/stele/internal/vfs"
)

// crashPoint is the file system and the model at one operation of a run.
type crashPoint struct {
	fs      *vfs.Mem
	models  []*modelShard
	pending []pb.Update
}

// runWorkload saves random updates for steps steps and returns the state after each operation on the file
// system for which want says so.
func runWorkload(t *testing.T, seed uint64, steps int, wrap func(vfs.FS) vfs.FS, want func(op int) bool, crash func(*vfs.Mem) *vfs.Mem) []crashPoint {
	t.Helper()
	rng := rand.New(rand.NewPCG(seed, 1))
	mem := vfs.NewMem()
	efs := vfs.NewErrFS(mem)
	specs := rigSpecs()
	models := make([]*modelShard, len(specs))
	for i := range models {
		models[i] = &modelShard{}
	}
	r, err := openRig(wrap(efs), specs)
	if err != nil {
		t.Fatal(err)
	}
	// The checkpointer's operations count, too: what is noted and what is saved must not move while a point is taken.
	var mu sync.Mutex
	var points []crashPoint
	var pending []pb.Update
	op := 0
	efs.Plan(&vfs.Fault{Kinds: vfs.OpMutating, N: 1 << 60, Match: func(string) bool {
		mu.Lock()
		defer mu.Unlock()
		if op++; want(op) {
			p := crashPoint{pending: pending}
			for _, m := range models {
				p.models = append(p.models, m.clone())
			}
			p.fs = crash(mem)
			points = append(points, p)
		}
		return false
	}})
	for range steps {
		mu.Lock()
		var uds []pb.Update
		for i, spec := range specs {
			if rng.IntN(3) > 0 {
				ud := models[i].update(rng, spec)
				models[i].begin(&ud)
				uds = append(uds, ud)
			}
		}
		pending = uds
		mu.Unlock()
		if err := r.save(uds); err != nil {
			t.Fatal(err)
		}
		mu.Lock()
		for k := range uds {
			models[uds[k].ShardID-2].end(&uds[k])
		}
		pending = nil
		mu.Unlock()
		if rng.IntN(15) == 0 {
			if err := r.h.journal.checkpoint(); err != nil {
				t.Fatal(err)
			}
		}
	}
	efs.Plan(nil)
	points = append(points, crashPoint{fs: crash(mem), models: models})
	if err := r.close(); err != nil {
		t.Fatal(err)
	}
	points = append(points, crashPoint{fs: crash(mem), models: models})
	return points
}

func (p *crashPoint) check(t *testing.T) {
	t.Helper()
	specs := rigSpecs()
	r, err := openRig(p.fs, specs)
	if err != nil {
		t.Fatalf("recover: %v", err)
	}
	for i, spec := range specs {
		var pending *pb.Update
		for k := range p.pending {
			if p.pending[k].ShardID == uint64(spec.Shard) {
				pending = &p.pending[k]
			}
		}
		p.models[i].check(t, r, spec, pending)
	}
	if err := r.close(); err != nil {
		t.Fatal(err)
	}
}

func noWrap(f vfs.FS) vfs.FS { return f }

// Power is lost at every operation on the file system; unsynced bytes and names are lost altogether, at random, or
// from some point on. What was acknowledged must be there, and nothing else.
func TestSave_PowerLossAtEveryOperation(t *testing.T) {
	for seed := range uint64(12) {
		t.Run(fmt.Sprintf("seed %d", seed), func(t *testing.T) {
			t.Parallel()
			rng := rand.New(rand.NewPCG(seed, 2))
			modes := []vfs.Crash{{}, {KeepPercent: 50, Rand: rng}, {Prefix: true, Rand: rng}, {KeepPercent: 100}}
			n := 0
			points := runWorkload(t, seed, 60, noWrap, func(int) bool { return rng.IntN(6) == 0 }, func(m *vfs.Mem) *vfs.Mem {
				n++
				return m.CrashClone(modes[n%len(modes)])
			})
			for i := range points {
				points[i].check(t)
			}
		})
	}
}

// The same where only one kind of file loses what was not synced.
func TestSave_PowerLossOfOneKindOfFile(t *testing.T) {
	for _, suffix := range []string{".log", ".raft", ".journal", ".json"} {
		t.Run(suffix, func(t *testing.T) {
			t.Parallel()
			rng := rand.New(rand.NewPCG(7, 3))
			points := runWorkload(t, 99, 80, noWrap, func(int) bool { return rng.IntN(6) == 0 }, func(m *vfs.Mem) *vfs.Mem {
				return m.CrashClone(vfs.Crash{Lossy: func(name string) bool { return strings.HasSuffix(name, suffix) }})
			})
			for i := range points {
				points[i].check(t)
			}
		})
	}
}
