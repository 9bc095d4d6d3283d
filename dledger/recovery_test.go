package dledger

import (
	"math/rand/v2"
	"strings"
	"testing"

	pb "github.com/lni/dragonboat/v4/raftpb"

	"github.com/stelemq/stele/internal/vfs"
	"github.com/stelemq/stele/protocol/record"
)

// What a relaxed partition has appended becomes durable with the first append after it has become durable, and with a vote,
// a term or a configuration change.
func TestSave_RelaxedBecomesDurable(t *testing.T) {
	noConfig := func(*rig) {}
	for name, c := range map[string]struct {
		change func(*rig)
		last   func(*soleLog, *rig) error
	}{
		"configuration": {func(r *rig) { r.h.db.shards[2].configure(soleSpecs()[0].Config) }, func(l *soleLog, r *rig) error {
			return l.append(r, rand.New(rand.NewPCG(1, 1)), 50)
		}},
		"membership": {noConfig, func(l *soleLog, r *rig) error {
			cc := pb.ConfigChange{Type: pb.AddNonVoting, ReplicaID: 2, Address: nodeTarget(2)}
			b, err := cc.Marshal()
			if err != nil {
				return err
			}
			return l.save(r, pb.Entry{Type: pb.ConfigChangeEntry, Cmd: b})
		}},
		"term": {noConfig, func(l *soleLog, r *rig) error { return l.lead(r) }},
	} {
		t.Run(name, func(t *testing.T) {
			spec := soleSpecs()[0]
			spec.Config.FlushMessages = 1 << 40
			mem := vfs.NewMem()
			r, err := openRig(mem, []PartitionSpec{spec})
			if err != nil {
				t.Fatal(err)
			}
			l, rng := newSoleLog(2), rand.New(rand.NewPCG(6, 6))
			if err := l.lead(r); err != nil {
				t.Fatal(err)
			}
			for range 30 { // several segments
				if err := l.append(r, rng, 300); err != nil {
					t.Fatal(err)
				}
			}
			c.change(r)
			if err := c.last(l, r); err != nil {
				t.Fatal(err)
			}
			lost := crash(mem)
			if err := r.close(); err != nil {
				t.Fatal(err)
			}
			if r, err = openRig(lost, []PartitionSpec{spec}); err != nil {
				t.Fatal(err)
			}
			defer r.close() //nolint:errcheck // nothing is promised here
			if err := l.check(r, l.next); err != nil {
				t.Fatal(err)
			}
			if last := r.h.db.shards[2].last; last != Index(l.index) {
				t.Fatalf("last %d, want %d", last, l.index)
			}
		})
	}
}

// A truncation takes the sync point back, even to nothing: what is appended after it is found in the journal.
func TestSave_TruncationTakesTheSyncPointBack(t *testing.T) {
	spec := rigSpecs()[0]
	mem := vfs.NewMem()
	r, err := openRig(mem, []PartitionSpec{spec})
	if err != nil {
		t.Fatal(err)
	}
	rng := rand.New(rand.NewPCG(6, 7))
	entry := func(index, term uint64, size int) pb.Entry {
		return pb.Entry{
			Type: pb.EncodedEntry, Index: index, Term: term, Key: 1, ClientID: clientID(Term(term), 1, false),
			Cmd: append([]byte{0}, testBatch(rng, size)...),
		}
	}
	save := func(term uint64, e pb.Entry) {
		t.Helper()
		err := r.save([]pb.Update{{
			ShardID: 2, ReplicaID: 1, EntriesToSave: []pb.Entry{e}, State: pb.State{Term: term, Vote: 1},
		}})
		if err != nil {
			t.Fatal(err)
		}
	}
	save(1, entry(1, 1, 20000)) // synced
	save(2, entry(1, 2, 300))   // replaces it; inlined
	lost := crash(mem)
	if err := r.close(); err != nil {
		t.Fatal(err)
	}
	if r, err = openRig(lost, []PartitionSpec{spec}); err != nil {
		t.Fatal(err)
	}
	defer r.close() //nolint:errcheck // nothing is promised here
	s := r.h.db.shards[2]
	if s.last != 1 || s.lastTerm != 2 || s.log.End().Next != 1 {
		t.Fatalf("last %d of term %d, end %+v", s.last, s.lastTerm, s.log.End())
	}
}

// The records of segments that a truncation removed do not come back when the log rolls at the same offset again.
func TestSave_RemovedRecordsStayRemoved(t *testing.T) {
	spec := rigSpecs()[0]
	spec.Config.SegmentBytes = 2 << 10
	for _, how := range []string{"running", "power loss", "restart"} {
		t.Run(how, func(t *testing.T) {
			mem := vfs.NewMem()
			r, err := openRig(mem, []PartitionSpec{spec})
			if err != nil {
				t.Fatal(err)
			}
			rng := rand.New(rand.NewPCG(6, 8))
			seq := map[uint64]uint32{}
			save := func(index, term uint64, void bool) {
				t.Helper()
				e := pb.Entry{Type: pb.EncodedEntry, Index: index, Term: term, Key: 1, Cmd: append([]byte{0}, testBatch(rng, 900)...)}
				if !void {
					seq[term]++
					e.ClientID = clientID(Term(term), seq[term], false)
				}
				if err := r.save([]pb.Update{{ShardID: 2, ReplicaID: 1, EntriesToSave: []pb.Entry{e}, State: pb.State{Term: term, Vote: 1}}}); err != nil {
					t.Fatal(err)
				}
			}
			reopen := func(fsys *vfs.Mem) {
				t.Helper()
				if err := r.close(); err != nil {
					t.Fatal(err)
				}
				mem = fsys
				if r, err = openRig(mem, []PartitionSpec{spec}); err != nil {
					t.Fatal(err)
				}
			}
			for i := uint64(1); i <= 20; i++ {
				save(i, 1, false)
			}
			if err := r.h.journal.Checkpoint(); err != nil {
				t.Fatal(err)
			}
			save(4, 2, true) // cuts ten segments
			switch how {
			case "power loss":
				reopen(crash(mem))
			case "restart":
				reopen(mem)
			}
			// Voids take indexes and no offsets: the segments begin at the same offsets with other entries.
			for i := uint64(5); i <= 12; i++ {
				save(i, 2, true)
			}
			for i := uint64(13); i <= 25; i++ {
				save(i, 2, false)
			}
			if err := r.h.journal.Checkpoint(); err != nil {
				t.Fatal(err)
			}
			reopen(crash(mem))
			defer r.close() //nolint:errcheck // nothing is promised here
			s := r.h.db.shards[2]
			s.stubUntil, s.first = 0, s.file.Index+1
			ents, _, err := s.iterate(nil, 0, s.first, s.last+1, 0, throttle{})
			if err != nil || s.last != 25 {
				t.Fatalf("last %d: %v", s.last, err)
			}
			for i := range ents {
				if want := uint64(2); ents[i].Term != want && ents[i].Index > 3 {
					t.Fatalf("entry %d is of term %d", ents[i].Index, ents[i].Term)
				}
			}
		})
	}
}

// Power is lost when the journal has lost more of its tail than .raft: what is synced in .raft and in the segments stays.
func TestSave_RaftFilesMayBeAheadOfTheJournal(t *testing.T) {
	spec := rigSpecs()[2] // relaxed
	mem := vfs.NewMem()
	r, err := openRig(mem, []PartitionSpec{spec})
	if err != nil {
		t.Fatal(err)
	}
	l, rng := newSoleLog(spec.Shard), rand.New(rand.NewPCG(6, 9))
	if err := l.lead(r); err != nil {
		t.Fatal(err)
	}
	for range 3 {
		if err := l.append(r, rng, 100); err != nil {
			t.Fatal(err)
		}
	}
	if err := r.h.journal.Sync(); err != nil {
		t.Fatal(err)
	}
	for range 5 {
		if err := l.append(r, rng, 100); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := r.h.db.shards[spec.Shard].Checkpoint(); err != nil { // the journal has not said so yet
		t.Fatal(err)
	}
	lost := crash(mem)
	if err := r.close(); err != nil {
		t.Fatal(err)
	}
	if r, err = openRig(lost, []PartitionSpec{spec}); err != nil {
		t.Fatal(err)
	}
	defer r.close() //nolint:errcheck // nothing is promised here
	if err := l.check(r, l.next); err != nil {
		t.Fatal(err)
	}
}

// An older copy of a partition's directory beside a journal that has gone on is found out.
func TestSave_OlderCopyOfADirectoryIsFound(t *testing.T) {
	spec := rigSpecs()[0] // nobody else to vote for it is known: it is not salvaged
	mem := vfs.NewMem()
	r, err := openRig(mem, []PartitionSpec{spec})
	if err != nil {
		t.Fatal(err)
	}
	l, rng := newSoleLog(2), rand.New(rand.NewPCG(6, 10))
	var older *vfs.Mem
	for i := range 3 {
		if err := l.lead(r); err != nil {
			t.Fatal(err)
		}
		for range 10 {
			if err := l.append(r, rng, 100); err != nil {
				t.Fatal(err)
			}
		}
		if err := r.close(); err != nil {
			t.Fatal(err)
		}
		if i == 0 {
			older = mem.CrashClone(vfs.Crash{KeepPercent: 100})
		}
		if r, err = openRig(mem, []PartitionSpec{spec}); err != nil {
			t.Fatal(err)
		}
	}
	if err := r.close(); err != nil {
		t.Fatal(err)
	}
	if err := mem.RemoveAll(rigDir + "/t-0"); err != nil {
		t.Fatal(err)
	}
	if err := mem.MkdirAll(rigDir + "/t-0"); err != nil {
		t.Fatal(err)
	}
	for _, n := range files(t, older, rigDir+"/t-0") {
		f, err := mem.Create(n)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := f.WriteAt(mustRead(t, older, n), 0); err != nil {
			t.Fatal(err)
		}
		if err := f.Close(); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := openRig(mem, []PartitionSpec{spec}); !damaged(err) {
		t.Fatalf("opened: %v", err)
	}
	// As the only voter it serves what the copy has, in a term of its own.
	spec.Members = map[ReplicaID]int32{1: 1}
	if r, err = openRig(mem, []PartitionSpec{spec}); err != nil {
		t.Fatal(err)
	}
	defer r.close() //nolint:errcheck // nothing is promised here
	if err := l.check(r, record.Offset(10)); err != nil {
		t.Fatal(err)
	}
	if s := r.h.db.shards[2]; s.hard.Term <= Term(l.term) {
		t.Fatalf("term %d after %d", s.hard.Term, l.term)
	}
	for _, n := range files(t, mem, rigDir+"/t-0") {
		if strings.HasSuffix(n, ".raft"+asideSuffix) {
			return
		}
	}
	t.Fatal("nothing was set aside")
}
