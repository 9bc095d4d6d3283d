package dledger

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"

	pb "github.com/lni/dragonboat/v4/raftpb"

	"github.com/stelemq/stele/internal/vfs"
	"github.com/stelemq/stele/internal/vfs/vfstest"
)

// crashPoint is the file system and the model at one operation of a run.
type crashPoint struct {
	fs      *vfs.Mem
	models  []*modelShard
	pending []pb.Update
}

// workload is a run of random updates, with power losses in between, that notes crash points.
type workload struct {
	seed     uint64
	steps    int // between power losses
	restarts int
	wrap     func(vfs.FS) vfs.FS
	want     func(op int) bool // which operations are crash points
	crash    func(*vfs.Mem) *vfs.Mem

	rng    *rand.Rand
	specs  []PartitionSpec
	models []*modelShard
	points []crashPoint

	// The checkpointer's operations count, too: what is noted and what is saved must not move while a point is taken.
	mu      sync.Mutex
	pending []pb.Update
	op      int
	hot     int // so many of the next operations are crash points, wanted or not
}

func noWrap(f vfs.FS) vfs.FS { return f }

// run returns the state after each operation on the file system that is wanted, after the last one, and after a clean end.
func (w *workload) run() ([]crashPoint, error) {
	w.rng, w.specs = rand.New(rand.NewPCG(w.seed, 1)), rigSpecs()
	w.models = make([]*modelShard, len(w.specs))
	for i := range w.models {
		w.models[i] = &modelShard{}
	}
	mem := vfs.NewMem()
	for round := range w.restarts + 1 {
		next, err := w.round(mem, round)
		if err != nil {
			return w.points, fmt.Errorf("round %d: %w", round, err)
		}
		mem = next
	}
	return w.points, nil
}

func (w *workload) note(mem *vfs.Mem) {
	p := crashPoint{pending: w.pending}
	for _, m := range w.models {
		p.models = append(p.models, m.clone())
	}
	p.fs = w.crash(mem)
	w.points = append(w.points, p)
}

// round returns what a power loss leaves at its end.
func (w *workload) round(mem *vfs.Mem, round int) (*vfs.Mem, error) {
	efs := vfs.NewErrFS(mem)
	plan := &vfs.Fault{Kinds: vfs.OpMutating, N: 1 << 60, Match: func(string) bool {
		w.mu.Lock()
		defer w.mu.Unlock()
		if stack := vfstest.Callers(); vfstest.Called(stack, "journal.(*Journal).rotate") || vfstest.Called(stack, "journal.(*Journal).Begin") {
			w.hot = 3 // rare, and each operation counts
		}
		if w.op++; w.hot > 0 || w.want(w.op) {
			w.hot--
			w.note(mem)
		}
		return false
	}}
	if round > 0 {
		efs.Plan(plan) // also while it recovers
	}
	r, err := openRig(w.wrap(efs), w.specs)
	if err != nil {
		return nil, err
	}
	efs.Plan(plan)
	if round > 0 {
		w.mu.Lock()
		for i, spec := range w.specs {
			if err := w.models[i].check(r, spec, nil); err != nil {
				w.mu.Unlock()
				return nil, errors.Join(err, r.close())
			}
			w.models[i].follow(r.h.db.shards[spec.Shard])
		}
		w.mu.Unlock()
	}
	for i := range w.steps {
		if err := w.step(r, i); err != nil {
			return nil, errors.Join(err, r.close())
		}
	}
	efs.Plan(nil)
	w.mu.Lock()
	defer w.mu.Unlock()
	lost := mem.CrashClone(vfs.Crash{})
	w.note(mem)
	if err := r.close(); err != nil {
		return nil, err
	}
	w.note(mem)
	return lost, nil
}

// step saves one update. The last partition falls silent after a few, so that only the journal's carrying over keeps its
// hard state.
func (w *workload) step(r *rig, n int) error {
	w.mu.Lock()
	var uds []pb.Update
	for i, spec := range w.specs {
		if w.rng.IntN(3) > 0 && (i < len(w.specs)-1 || n < 4) {
			ud := w.models[i].update(w.rng, spec)
			w.models[i].begin(&ud)
			uds = append(uds, ud)
		}
	}
	w.pending = uds
	w.mu.Unlock()
	if err := r.save(uds); err != nil {
		return err
	}
	w.mu.Lock()
	for k := range uds {
		w.models[uds[k].ShardID-2].end(&uds[k])
	}
	w.pending = nil
	w.mu.Unlock()
	if w.rng.IntN(15) == 0 {
		return r.h.journal.Checkpoint()
	}
	return nil
}

// check recovers the point and compares it with the model.
func (p *crashPoint) check() error {
	specs := rigSpecs()
	r, err := openRig(p.fs, specs)
	if err != nil {
		return fmt.Errorf("recover: %w", err)
	}
	for i, spec := range specs {
		var pending *pb.Update
		for k := range p.pending {
			if p.pending[k].ShardID == uint64(spec.Shard) {
				pending = &p.pending[k]
			}
		}
		if err := p.models[i].check(r, spec, pending); err != nil {
			return errors.Join(err, r.close())
		}
	}
	return r.close()
}

// mustHold runs the workload and checks every point.
func (w *workload) mustHold(t *testing.T) {
	t.Helper()
	points, err := w.run()
	if err != nil {
		t.Fatal(err)
	}
	for i := range points {
		if err := points[i].check(); err != nil {
			t.Fatalf("point %d of %d: %v", i, len(points), err)
		}
	}
}

// crashModes are the ways of losing what was not synced, taken in turn.
func crashModes(rng *rand.Rand) func(*vfs.Mem) *vfs.Mem {
	modes := []vfs.Crash{{}, {KeepPercent: 50, Rand: rng}, {Prefix: true, Rand: rng}, {KeepPercent: 100}}
	n := 0
	return func(m *vfs.Mem) *vfs.Mem {
		n++
		return m.CrashClone(modes[n%len(modes)])
	}
}

// Power is lost at every operation on the file system, those of restarts included; unsynced bytes and names are lost
// altogether, at random, or from some point on. What was acknowledged must be there, and nothing else.
func TestSave_PowerLossAtEveryOperation(t *testing.T) {
	for seed := range uint64(8) {
		t.Run(fmt.Sprintf("seed %d", seed), func(t *testing.T) {
			t.Parallel()
			rng := rand.New(rand.NewPCG(seed, 2))
			w := workload{
				seed: seed, steps: 30, restarts: 1, wrap: noWrap,
				want: func(int) bool { return rng.IntN(12) == 0 }, crash: crashModes(rng),
			}
			w.mustHold(t)
		})
	}
}

// The same where only one kind of file loses what was not synced.
func TestSave_PowerLossOfOneKindOfFile(t *testing.T) {
	for _, suffix := range []string{".log", ".raft", ".journal", ".json"} {
		t.Run(suffix, func(t *testing.T) {
			t.Parallel()
			rng := rand.New(rand.NewPCG(7, 3))
			w := workload{seed: 99, steps: 40, restarts: 1, wrap: noWrap, want: func(int) bool { return rng.IntN(12) == 0 }}
			w.crash = func(m *vfs.Mem) *vfs.Mem {
				return m.CrashClone(vfs.Crash{Lossy: func(name string) bool { return strings.HasSuffix(name, suffix) }})
			}
			w.mustHold(t)
		})
	}
}

// crash returns what is left when everything that was not synced is lost.
func crash(fsys *vfs.Mem) *vfs.Mem { return fsys.CrashClone(vfs.Crash{}) }
