package dledger

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"testing"

	pb "github.com/lni/dragonboat/v4/raftpb"

	"github.com/stelemq/stele/internal/vfs"
)

// faultRun recovers a file system, saves updates and closes, while one operation fails. It returns the model as of the last
// acknowledgement and what was in progress.
type faultRun struct {
	r       *rig
	models  []*modelShard
	pending []pb.Update
}

func (f *faultRun) run(fsys vfs.FS, base []*modelShard, seed uint64, steps int) error {
	specs := rigSpecs()
	f.models = make([]*modelShard, len(base))
	for i, m := range base {
		f.models[i] = m.clone()
	}
	var err error
	if f.r, err = openRig(fsys, specs); err != nil {
		return err
	}
	for i, spec := range specs {
		f.models[i].follow(f.r.h.db.shards[spec.Shard])
	}
	rng := rand.New(rand.NewPCG(seed, 1))
	for n := range steps {
		var uds []pb.Update
		for i, spec := range specs {
			if rng.IntN(3) > 0 {
				ud := f.models[i].update(rng, spec)
				f.models[i].begin(&ud)
				uds = append(uds, ud)
			}
		}
		f.pending = uds
		if err := f.r.save(uds); err != nil {
			return errors.Join(err, f.nothingMore())
		}
		for k := range uds {
			f.models[uds[k].ShardID-2].end(&uds[k])
		}
		f.pending = nil
		if n%5 == 4 {
			if err := f.r.h.journal.Checkpoint(); err != nil {
				return f.r.h.journal.Fail(err) // as the checkpointer does
			}
		}
	}
	return f.r.close()
}

// nothingMore tries to go on after a failure, when the disk works again.
func (f *faultRun) nothingMore() error {
	for i, spec := range rigSpecs() {
		s := f.r.h.db.shards[spec.Shard]
		before := s.savedIndex
		e := pb.Entry{Index: uint64(s.last) + 1, Term: uint64(s.hard.Term) + 1, Key: 1}
		ud := pb.Update{
			ShardID: uint64(spec.Shard), ReplicaID: 1, EntriesToSave: []pb.Entry{e},
			State: pb.State{Term: e.Term, Vote: 1, Commit: uint64(s.committedTo)},
		}
		_ = f.r.h.db.SaveRaftState([]pb.Update{ud}, uint64(i+1))
		if s.savedIndex != before {
			return errAckedAfterFailure
		}
	}
	if f.r.fatals.Load() != 1 {
		return errFatalCalls
	}
	return nil
}

var (
	errAckedAfterFailure = errors.New("acknowledged after a failure")
	errFatalCalls        = errors.New("the fatal callback was not called exactly once")
)

// One operation on the file system fails, for every one there is, in recovery, while saving and on close. Nothing is
// acknowledged after it, the process is told once, and what was acknowledged before is there after a restart, with and without
// a power loss.
func TestSave_EveryOperationFails(t *testing.T) {
	rng := rand.New(rand.NewPCG(3, 3))
	w := workload{seed: 5, steps: 12, wrap: noWrap, want: func(int) bool { return false }, crash: crashModes(rng)}
	points, err := w.run()
	if err != nil {
		t.Fatal(err)
	}
	base := points[len(points)-2] // before the clean end
	const parts = 4
	stride := int64(parts)
	if testing.Short() {
		stride *= 7
	}
	for part := range int64(parts) {
		t.Run(fmt.Sprintf("part %d", part), func(t *testing.T) {
			t.Parallel()
			everyOperationFails(t, &base, part, stride)
		})
	}
}

// everyOperationFails lets the operations first, first+stride and so on fail.
func everyOperationFails(t *testing.T, base *crashPoint, first, stride int64) {
	t.Helper()
	for n := first; ; n += stride {
		mem := base.fs.CrashClone(vfs.Crash{KeepPercent: 100})
		efs := vfs.NewErrFS(mem)
		efs.Plan(&vfs.Fault{Kinds: vfs.OpAll &^ vfs.OpLock, N: n, Torn: n%2 == 0})
		f := faultRun{}
		err := f.run(efs, base.models, 77, 10)
		failed := efs.Failed()
		switch {
		case failed == 0 && err != nil:
			t.Fatalf("operation %d: without a failure: %v", n, err)
		case errors.Is(err, errAckedAfterFailure), errors.Is(err, errFatalCalls):
			t.Fatalf("operation %d: %v", n, err)
		case failed == 0:
			if n < 100 {
				t.Fatalf("only %d operations", n)
			}
			return
		}
		if f.r != nil {
			_ = f.r.h.journal.Close()
		}
		for _, c := range []vfs.Crash{{}, {KeepPercent: 100}} {
			p := crashPoint{fs: mem.CrashClone(c), models: f.models, pending: f.pending}
			if err := p.check(); err != nil {
				t.Fatalf("operation %d (%v): after the restart: %v", n, c.KeepPercent, err)
			}
		}
	}
}
