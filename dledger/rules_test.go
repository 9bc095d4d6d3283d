package dledger

import (
	"errors"
	"math/rand/v2"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	pb "github.com/lni/dragonboat/v4/raftpb"

	"github.com/stelemq/stele/commitlog"
	"github.com/stelemq/stele/internal/vfs"
)

// The tests of this file hold one rule each of what is saved, replayed and recovered: each fails when that rule alone is
// taken out, which the tests with random histories do not promise.

// oneShard opens a rig with one sole log that leads, and appends batches of the given sizes.
func oneShard(t *testing.T, fsys vfs.FS, sizes ...int) (*rig, *soleLog) {
	t.Helper()
	r, err := openRig(fsys, soleSpecs()[:1])
	if err != nil {
		t.Fatal(err)
	}
	l, rng := newSoleLog(2), rand.New(rand.NewPCG(9, 9))
	if err := l.lead(r); err != nil {
		t.Fatal(err)
	}
	for _, n := range sizes {
		if err := l.append(r, rng, n); err != nil {
			t.Fatal(err)
		}
	}
	return r, l
}

// dead is what a power loss leaves of a rig, which is closed.
func dead(t *testing.T, mem *vfs.Mem, r *rig) *vfs.Mem {
	t.Helper()
	lost := crash(mem)
	if err := r.close(); err != nil {
		t.Fatal(err)
	}
	return lost
}

// withPeers is the sole log's partition with two other voters: damage is an error and no salvage.
func withPeers() []PartitionSpec {
	spec := soleSpecs()[0]
	spec.Members = map[ReplicaID]int32{1: 1, 2: 2, 3: 3}
	return []PartitionSpec{spec}
}

const soleDir = rigDir + "/s-0"

// Nobody who meets a failure returns before the process has been told to end: dragonboat would acknowledge what is not there.
func TestFail_NobodyReturnsWhileTheProcessEnds(t *testing.T) {
	errDisk := errors.New("disk")
	for name, second := range map[string]func(j *journal) error{
		"a second failure": func(j *journal) error { return j.fail(errors.New("another")) },
		"a save":           func(j *journal) error { return (&logDB{journal: j}).SaveRaftState(nil, 1) },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				mem := vfs.NewMem()
				if err := makeDirs(mem, testJournalDir); err != nil {
					t.Fatal(err)
				}
				release := make(chan struct{})
				replay, err := replayJournal(mem, testJournalDir)
				if err != nil {
					t.Fatal(err)
				}
				j, err := openJournal(journalOptions{fs: mem, dir: testJournalDir, size: 8 << 10, fatal: func(error) { <-release }}, replay)
				if err != nil {
					t.Fatal(err)
				}
				go j.fail(errDisk) //nolint:errcheck // the same error
				synctest.Wait()
				var returned atomic.Bool
				go func() {
					_ = second(j)
					returned.Store(true)
				}()
				synctest.Wait()
				if returned.Load() {
					t.Error("returned before the process was told to end")
				}
				close(release)
				synctest.Wait()
				if !returned.Load() {
					t.Error("never returned")
				}
			})
		})
	}
}

// A failed read of bytes that were synced is not a torn tail.
func TestRecover_FailedReadIsNoTornTail(t *testing.T) {
	mem := vfs.NewMem()
	r, l := oneShard(t, mem, 100, 20000) // the last one is synced in its segment, not inlined
	lost := dead(t, mem, r)
	failed := false
	for n := int64(0); ; n++ {
		image := lost.CrashClone(vfs.Crash{KeepPercent: 100})
		efs := vfs.NewErrFS(image)
		efs.Plan(&vfs.Fault{Kinds: vfs.OpRead, N: n, Match: func(name string) bool { return strings.HasSuffix(name, ".log") }})
		again, err := openRig(efs, withPeers())
		if efs.Failed() == 0 {
			if err != nil {
				t.Fatal(err)
			}
			_ = again.close()
			break
		}
		failed = true
		if err == nil {
			if s := again.h.db.shards[2]; uint64(s.last) < l.index {
				t.Fatalf("read %d failed: the log was cut at %d, acknowledged were %d", n, s.last, l.index)
			}
			_ = again.close()
		}
	}
	if !failed {
		t.Fatal("no read of a segment failed")
	}
}

// A directory of which it cannot be told what it is does not count as deleted.
func TestRecover_FailedStatIsNoDeletion(t *testing.T) {
	mem := vfs.NewMem()
	r, _ := oneShard(t, mem, 100)
	efs := vfs.NewErrFS(dead(t, mem, r))
	efs.Plan(&vfs.Fault{Kinds: vfs.OpStat, Match: func(name string) bool { return name == soleDir }})
	again, err := openRig(efs, nil)
	if err == nil {
		_ = again.close()
		t.Fatal("opened without knowing what the directory is")
	}
}

// What the journal had of a replica is gone when its replica.json could not be read at a start. Should it be readable at the next
// one, the replica is damaged, not shorter.
func TestRecover_UnreadableReplicaStaysSuspect(t *testing.T) {
	mem := vfs.NewMem()
	r, _ := oneShard(t, mem, 100, 100, 100)
	lost := dead(t, mem, r)
	name := filepath.Join(soleDir, replicaFileName)
	f, err := lost.Open(name)
	if err != nil {
		t.Fatal(err)
	}
	flip(t, f, 20)
	if r, err = openRig(lost, nil); err != nil {
		t.Fatal(err)
	}
	if err := r.close(); err != nil {
		t.Fatal(err)
	}
	flip(t, f, 20)
	if r, err = openRig(lost, withPeers()); err == nil {
		last := r.h.db.shards[2].last
		_ = r.close()
		t.Fatalf("opened with %d entries", last)
	} else if !errors.Is(err, ErrCorrupt) {
		t.Fatal(err)
	}
}

// A damaged journal makes every replica suspect, also one of which it has nothing any more.
func TestRecover_DamagedJournalMakesUnknownReplicasSuspect(t *testing.T) {
	mem := vfs.NewMem()
	r, _ := oneShard(t, mem, 100, 100, 100)
	lost := dead(t, mem, r)
	f, err := lost.Open(filepath.Join(rigDir, "journal", "0.journal"))
	if err != nil {
		t.Fatal(err)
	}
	flip(t, f, journalHeaderSize+8) // the first frame: nothing is known of the shard
	if r, err = openRig(lost, withPeers()); err == nil {
		last := r.h.db.shards[2].last
		_ = r.close()
		t.Fatalf("opened as a new replica, with %d entries", last)
	} else if !errors.Is(err, ErrCorrupt) {
		t.Fatal(err)
	}
}

// Salvage takes the small appends from the journal, and no index twice.
func TestSalvage_KeepsWhatTheJournalCarries(t *testing.T) {
	mem := vfs.NewMem()
	r, l := oneShard(t, mem, 100, 100, 100)
	lost := dead(t, mem, r)
	f, err := lost.Open(filepath.Join(soleDir, replicaFileName))
	if err != nil {
		t.Fatal(err)
	}
	flip(t, f, 20)
	if r, err = openRig(lost, soleSpecs()[:1]); err != nil {
		t.Fatal(err)
	}
	defer r.close() //nolint:errcheck // nothing is promised here
	s := r.h.db.shards[2]
	if end := s.log.End().Next; end != l.next {
		t.Errorf("the salvaged log ends at %d, acknowledged were %d", end, l.next)
	}
	if uint64(s.hard.Commit) <= l.index || s.hard.Term <= Term(l.term) {
		t.Errorf("goes on with %+v after entry %d of term %d", s.hard, l.index, l.term)
	}
}

// A truncation that the files do not follow yet is known after a power loss however many files have been recycled since.
func TestJournal_TruncationInProgressSurvivesRecycling(t *testing.T) {
	mem := vfs.NewMem()
	r, _ := oneShard(t, mem, 100, 100, 100, 100)
	j, s := r.h.journal, r.h.db.shards[2]
	if err := j.checkpoint(); err != nil {
		t.Fatal(err)
	}
	// As removeSuffix begins.
	if err := j.commit(&saveRequest{durable: true, ready: make(chan struct{}, 1), saves: []*shardSave{{
		shard: s, durable: true, record: shardRecord{key: s.key, truncate: 3},
	}}}); err != nil {
		t.Fatal(err)
	}
	for range 2 * journalSlots {
		j.wmu.Lock()
		err := j.rotate(spareSlots)
		j.wmu.Unlock()
		if err := errors.Join(err, j.checkpoint()); err != nil {
			t.Fatal(err)
		}
		replay, err := replayJournal(crash(mem), filepath.Join(rigDir, "journal"))
		if err != nil || replay.damage != nil {
			t.Fatal(err, replay.damage)
		}
		if p := replay.shards[s.key]; p == nil || p.truncate != 3 || p.checkpoint > 2 {
			t.Fatalf("replayed %+v", p)
		}
	}
	if err := r.close(); err != nil {
		t.Fatal(err)
	}
}

// The records of .raft that a truncation in progress removes are not looked at: some of their files may be gone already.
func TestRecover_TruncationInProgressNeedsNoRemovedRecords(t *testing.T) {
	mem := vfs.NewMem()
	r, _ := oneShard(t, mem, 3000, 3000, 3000, 3000, 3000, 3000)
	j, s := r.h.journal, r.h.db.shards[2]
	if err := j.checkpoint(); err != nil {
		t.Fatal(err)
	}
	if err := j.commit(&saveRequest{durable: true, ready: make(chan struct{}, 1), saves: []*shardSave{{
		shard: s, durable: true, record: shardRecord{key: s.key, truncate: 4},
	}}}); err != nil {
		t.Fatal(err)
	}
	segs := s.log.Segments()
	if len(segs) < 5 {
		t.Fatalf("%d segments", len(segs))
	}
	lost := dead(t, mem, r)
	if err := lost.Remove(filepath.Join(soleDir, raftFileName(segs[3].Base))); err != nil {
		t.Fatal(err)
	}
	// What was committed is not what a truncation removes; the rig commits everything at once.
	again, err := openRig(lost, withPeers())
	if err != nil {
		t.Fatal(err)
	}
	defer again.close() //nolint:errcheck // nothing is promised here
	if last := again.h.db.shards[2].last; last != 3 {
		t.Fatalf("the log ends with %d", last)
	}
}

// The checkpointer may take a slot that writers leave to it.
func TestJournal_TheCheckpointerDoesNotWaitForItself(t *testing.T) {
	mem := vfs.NewMem()
	r, _ := oneShard(t, mem, 100)
	j := r.h.journal
	j.ckpt.Lock() // none runs by itself
	j.wmu.Lock()
	for len(j.free) > spareSlots {
		if err := j.rotate(spareSlots); err != nil {
			t.Fatal(err)
		}
	}
	j.cur.pos = j.size - frameHeaderSize // full
	j.wmu.Unlock()
	j.ckpt.Unlock()
	done := make(chan error, 1)
	go func() { done <- j.checkpoint() }()
	select {
	case err := <-done:
		if err != nil {
			t.Fatal(err)
		}
	case <-time.After(20 * time.Second):
		t.Fatal("the checkpointer waits for itself")
	}
	if err := r.close(); err != nil {
		t.Fatal(err)
	}
}

// Replay: a record with a checkpoint and a truncation says both; entries behind a gap do not follow those before it.
func TestReplay_Folds(t *testing.T) {
	o := &journalReplay{shards: map[shardKey]*pendingShard{}}
	key := shardKey{2, 1}
	o.add(&shardRecord{key: key, checkpoint: 5, truncate: 8})
	if p := o.shards[key]; p.truncate != 8 || p.checkpoint != 5 {
		t.Errorf("checkpoint with a truncation: %+v", p)
	}
	o = &journalReplay{shards: map[shardKey]*pendingShard{}}
	o.add(&shardRecord{key: key, entries: []entryRecord{sampleRecord(1), sampleRecord(2)}})
	o.add(&shardRecord{key: key, entries: []entryRecord{sampleRecord(7)}})
	if p := o.shards[key]; len(p.entries) != 1 || p.entries[0].index != 7 {
		t.Errorf("behind a gap: %+v", p.entries)
	}
}

// Replay: whether a frame that does not check was durable is told by what follows it.
func TestReplay_TornOrDamaged(t *testing.T) {
	file := func(seq uint64, durable ...int64) *replayFile {
		f := &replayFile{seq: seq, bytes: make([]byte, journalHeaderSize)}
		for _, d := range durable {
			b := finishFrame(append(beginFrame(nil), 1, 2, 3, 4, 5, 6, 7, 8), frameRecords, seq, int64(len(f.bytes)), d)
			f.bytes = append(f.bytes, b...)
		}
		f.bytes = append(f.bytes, make([]byte, 256)...)
		return f
	}
	const second = journalHeaderSize + frameHeaderSize + 8 // where the second frame stands
	spoilt := func(f *replayFile) *replayFile { f.bytes[journalHeaderSize] ^= 1; return f }
	for name, row := range map[string]struct {
		f     *replayFile
		later []replayFile
		want  bool
	}{
		"nothing follows":                         {spoilt(file(1, 0)), nil, true},
		"the next says nothing of it":             {spoilt(file(1, 0, journalHeaderSize)), nil, true},
		"the next says that it was durable":       {spoilt(file(1, 0, second)), nil, false},
		"a later file has been begun":             {spoilt(file(1, 0)), []replayFile{*file(2)}, true},
		"a later file has frames, so it is whole": {spoilt(file(1, 0)), []replayFile{*file(2, 0)}, false},
	} {
		if got := torn(row.f, journalHeaderSize, row.later); got != row.want {
			t.Errorf("%s: torn is %v", name, got)
		}
	}
}

// Replay: a live file that is missing is damage.
func TestReplay_MissingFile(t *testing.T) {
	mem := vfs.NewMem()
	j, _, err := startJournal(mem, 8<<10)
	if err != nil {
		t.Fatal(err)
	}
	s := testShard(2)
	j.ckpt.Lock() // nothing is recycled
	var names []string
	for i := Index(1); i <= 3; i++ {
		if err := saveTo(j, s, hardState{Term: 3}, sampleRecord(i)); err != nil {
			t.Fatal(err)
		}
		names = append(names, filepath.Join(testJournalDir, filepath.Base(j.cur.file.Name())))
		if i < 3 {
			j.wmu.Lock()
			err := j.rotate(spareSlots - 1)
			j.wmu.Unlock()
			if err != nil {
				t.Fatal(err)
			}
		}
	}
	killed := mem.CrashClone(vfs.Crash{KeepPercent: 100})
	j.ckpt.Unlock()
	if err := j.close(); err != nil {
		t.Fatal(err)
	}
	if got := replayed(t, killed); got.damage != nil {
		t.Fatal(got.damage)
	}
	for _, n := range names[:2] {
		m := killed.CrashClone(vfs.Crash{KeepPercent: 100})
		if err := m.Remove(n); err != nil {
			t.Fatal(err)
		}
		if got := replayed(t, m); got.damage == nil || !got.shards[s.key].suspect {
			t.Errorf("%s is missing: %v", n, got.damage)
		}
	}
}

// A vote is durable by itself, and the commit index that is saved is not beyond the log.
func TestSave_HardState(t *testing.T) {
	mem := vfs.NewMem()
	r, l := oneShard(t, mem, 100)
	save := func(st pb.State) {
		t.Helper()
		if err := r.save([]pb.Update{{ShardID: 2, ReplicaID: 1, State: st}}); err != nil {
			t.Fatal(err)
		}
	}
	save(pb.State{Term: l.term + 1, Commit: l.index})
	save(pb.State{Term: l.term + 1, Vote: 3, Commit: l.index + 7})
	replay, err := replayJournal(crash(mem), filepath.Join(rigDir, "journal"))
	if err != nil {
		t.Fatal(err)
	}
	if h := replay.shards[shardKey{2, 1}].hard; h != (hardState{Term(l.term + 1), 3, Index(l.index)}) {
		t.Errorf("saved %+v", h)
	}
	if err := r.close(); err != nil {
		t.Fatal(err)
	}
}

// Nothing that is not saved here counts as committed here.
func TestCommit_WaitsForTheSave(t *testing.T) {
	r, l := oneShard(t, vfs.NewMem(), 100, 100)
	defer r.close() //nolint:errcheck // nothing is promised here
	s := r.h.db.shards[2]
	s.mu.Lock()
	s.savedIndex, s.committedTo = Index(l.index)-1, Index(l.index)-2
	s.mu.Unlock()
	if err := s.commitTo(Index(l.index)); err != nil || s.committedTo != Index(l.index)-1 {
		t.Fatalf("committed to %d: %v", s.committedTo, err)
	}
	if err := s.truncate(Index(l.index) - 1); err == nil {
		t.Fatal("truncated what is committed")
	}
}

// A command is answered when it is carried out, not when it is saved.
func TestPartition_CommandIsAnsweredWhenCommitted(t *testing.T) {
	f := newFakePartition(t)
	done := make(chan error, 1)
	go func() { done <- f.propose(t.Context(), encodeCommand(commandExpireProducers, 1)) }()
	var ps []proposed
	for deadline := time.Now().Add(10 * time.Second); len(ps) == 0; {
		f.mu.Lock() // under which it is proposed
		ps = f.raft.take()
		f.mu.Unlock()
		if time.Now().After(deadline) {
			t.Fatal("not proposed")
		}
	}
	f.arrive(t, false, ps...)
	f.mu.Lock()
	waits := len(f.commands)
	f.mu.Unlock()
	if waits != 1 {
		t.Fatal("answered when saved")
	}
	f.save(t, true, pb.Entry{Type: pb.ApplicationEntry})
	if err := <-done; err != nil {
		t.Fatal(err)
	}
}

// What contradicts itself is damage: no replica is made of it.
func TestRecover_Contradictions(t *testing.T) {
	good := func() *pendingShard {
		return &pendingShard{key: shardKey{2, 1}, hard: hardState{Term: 1, Vote: 1, Commit: 4}, hasHard: true}
	}
	for name, c := range map[string]struct {
		pending func() *pendingShard
		spoil   func(s *shardLog, recs []entryRecord) error
	}{
		"a term before that of the log": {func() *pendingShard {
			p := good()
			p.hard.Term = 0
			return p
		}, nil},
		"no hard state": {func() *pendingShard { return nil }, nil},
		"a gap between .raft and the journal": {func() *pendingShard {
			p := good()
			p.entries = []entryRecord{sampleRecord(7)}
			return p
		}, nil},
		"a gap in .raft": {good, func(s *shardLog, recs []entryRecord) error {
			return s.writer.replace(0, append(append([]entryRecord{}, recs[:2]...), recs[3:]...))
		}},
		"the beginning of .raft is missing": {good, func(s *shardLog, recs []entryRecord) error {
			return s.writer.replace(0, recs[1:])
		}},
		"synced bytes that do not check": {func() *pendingShard {
			p := good()
			p.checkpoint = 4
			return p
		}, func(s *shardLog, _ []entryRecord) error {
			f, err := s.fs.Open(filepath.Join(s.dir, "00000000000000000000.log"))
			if err != nil {
				return err
			}
			_, err = f.WriteAt([]byte{1, 2, 3}, 100)
			return errors.Join(err, f.Close())
		}},
	} {
		t.Run(name, func(t *testing.T) {
			mem := vfs.NewMem()
			r, _ := oneShard(t, mem, 200, 200, 200)
			s := r.h.db.shards[2]
			recs := append([]entryRecord{}, s.recs...)
			o := r.h.shardOptions(nil)
			if err := r.close(); err != nil {
				t.Fatal(err)
			}
			pending := c.pending
			if again, err := recoverShard(o, soleDir, func(shardKey) *pendingShard { return good() }); err != nil {
				t.Fatalf("before: %v", err)
			} else if err := again.close(); err != nil {
				t.Fatal(err)
			}
			if c.spoil != nil {
				if err := c.spoil(s, recs); err != nil {
					t.Fatal(err)
				}
			}
			again, err := recoverShard(o, soleDir, func(shardKey) *pendingShard { return pending() })
			if err == nil {
				_ = again.close()
				t.Fatal("recovered")
			}
			if !errors.Is(err, ErrCorrupt) && !errors.Is(err, commitlog.ErrCorrupt) {
				t.Fatal(err)
			}
		})
	}
}
