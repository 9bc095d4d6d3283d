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
	"github.com/stelemq/stele/dledger/journal"
	"github.com/stelemq/stele/dledger/raftfile"
	"github.com/stelemq/stele/internal/vfs"
	"github.com/stelemq/stele/internal/vfs/vfstest"
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
	for name, second := range map[string]func(j *journal.Journal) error{
		"a second failure": func(j *journal.Journal) error { return j.Fail(errors.New("another")) },
		"a save":           func(j *journal.Journal) error { return (&logDB{journal: j}).SaveRaftState(nil, 1) },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				mem := vfs.NewMem()
				const journalDir = rigDir + "/journal"
				if err := vfs.MakeDirs(mem, journalDir); err != nil {
					t.Fatal(err)
				}
				release := make(chan struct{})
				replay, err := journal.Replay(mem, journalDir)
				if err != nil {
					t.Fatal(err)
				}
				j, err := journal.Open(journal.Options{FS: mem, Dir: journalDir, Size: 8 << 10, Fatal: func(error) { <-release }}, replay)
				if err != nil {
					t.Fatal(err)
				}
				go j.Fail(errDisk) //nolint:errcheck // the same error
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
	vfstest.Flip(t, f, 20)
	if r, err = openRig(lost, nil); err != nil {
		t.Fatal(err)
	}
	if err := r.close(); err != nil {
		t.Fatal(err)
	}
	vfstest.Flip(t, f, 20)
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
	vfstest.Flip(t, f, journal.HeaderSize+8) // the first frame: nothing is known of the shard
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
	vfstest.Flip(t, f, 20)
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

// The records of .raft that a truncation in progress removes are not looked at: some of their files may be gone already.
func TestRecover_TruncationInProgressNeedsNoRemovedRecords(t *testing.T) {
	mem := vfs.NewMem()
	r, _ := oneShard(t, mem, 3000, 3000, 3000, 3000, 3000, 3000)
	j, s := r.h.journal, r.h.db.shards[2]
	if err := j.Checkpoint(); err != nil {
		t.Fatal(err)
	}
	if err := j.Commit(&journal.Request{Durable: true, Saves: []*journal.Save{{
		Shard: s, Durable: true, Record: journal.Record{Key: s.key, Truncate: 4},
	}}}); err != nil {
		t.Fatal(err)
	}
	segs := s.log.Segments()
	if len(segs) < 5 {
		t.Fatalf("%d segments", len(segs))
	}
	lost := dead(t, mem, r)
	if err := lost.Remove(filepath.Join(soleDir, raftfile.Name(segs[3].Base))); err != nil {
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
	replay, err := journal.Replay(crash(mem), filepath.Join(rigDir, "journal"))
	if err != nil {
		t.Fatal(err)
	}
	if h := replay.Shards[journal.Key{Shard: 2, Replica: 1}].Hard; h != (journal.HardState{Term: Term(l.term + 1), Vote: 3, Commit: Index(l.index)}) {
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
	good := func() *journal.Pending {
		return &journal.Pending{Key: journal.Key{Shard: 2, Replica: 1}, Hard: journal.HardState{Term: 1, Vote: 1, Commit: 4}, HasHard: true}
	}
	for name, c := range map[string]struct {
		pending func() *journal.Pending
		spoil   func(s *shardLog, recs []raftfile.Entry) error
	}{
		"a term before that of the log": {func() *journal.Pending {
			p := good()
			p.Hard.Term = 0
			return p
		}, nil},
		"no hard state": {func() *journal.Pending { return nil }, nil},
		"a gap between .raft and the journal": {func() *journal.Pending {
			p := good()
			p.Entries = []raftfile.Entry{{Index: 7, Term: 3, Kind: raftfile.KindNoop}}
			return p
		}, nil},
		"a gap in .raft": {good, func(s *shardLog, recs []raftfile.Entry) error {
			return s.writer.Replace(0, append(append([]raftfile.Entry{}, recs[:2]...), recs[3:]...))
		}},
		"the beginning of .raft is missing": {good, func(s *shardLog, recs []raftfile.Entry) error {
			return s.writer.Replace(0, recs[1:])
		}},
		"synced bytes that do not check": {func() *journal.Pending {
			p := good()
			p.Checkpoint = 4
			return p
		}, func(s *shardLog, _ []raftfile.Entry) error {
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
			recs := append([]raftfile.Entry{}, s.recs...)
			o := r.h.shardOptions(nil)
			if err := r.close(); err != nil {
				t.Fatal(err)
			}
			pending := c.pending
			if again, err := recoverShard(o, soleDir, func(journal.Key) *journal.Pending { return good() }); err != nil {
				t.Fatalf("before: %v", err)
			} else if err := again.close(); err != nil {
				t.Fatal(err)
			}
			if c.spoil != nil {
				if err := c.spoil(s, recs); err != nil {
					t.Fatal(err)
				}
			}
			again, err := recoverShard(o, soleDir, func(journal.Key) *journal.Pending { return pending() })
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
