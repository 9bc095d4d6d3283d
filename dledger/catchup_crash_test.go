package dledger

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	pb "github.com/lni/dragonboat/v4/raftpb"

	"github.com/stelemq/stele/internal/vfs"
	"github.com/stelemq/stele/protocol/record"
)

// behindCase is a replica that is behind a source, both without dragonboat above them.
type behindCase struct {
	name string
	// has is how much of the source's log the replica holds; it knows the first commit of it to be committed.
	has, commit int
	// other is how many entries of its own it has behind that, of a leader that nobody followed.
	other     int
	relaxed   bool
	rewritten bool
}

func behindSpec(b *behindCase) PartitionSpec {
	spec := PartitionSpec{
		Topic: "c", Shard: 2, Replica: 1, Members: map[ReplicaID]int32{1: 1, 2: 2, 3: 3},
		Config: LogConfig{SegmentBytes: 3 << 10, FlushMessages: 1, IndexIntervalBytes: 512},
	}
	if b.relaxed {
		spec.Config.FlushMessages = 1 << 60
	}
	return spec
}

// behindLog is what the source is told: three terms, a membership change, a log start, some batches of a producer.
func behindLog(rng *rand.Rand) []pb.Entry {
	var out []pb.Entry
	add := func(e pb.Entry) {
		e.Index, e.Key = uint64(len(out))+1, uint64(len(out))+1
		out = append(out, e)
	}
	cc := pb.ConfigChange{Type: pb.AddNode}
	for id, node := range map[uint64]int32{1: 1, 2: 2, 3: 3} {
		cc.ReplicaID, cc.Address = id, nodeTarget(node)
		cmd, err := cc.Marshal()
		if err != nil {
			panic(err)
		}
		add(pb.Entry{Type: pb.ConfigChangeEntry, Term: 1, Cmd: cmd})
	}
	var seq uint32
	produced := int32(0)
	for term := uint64(1); term <= 3; term++ {
		add(pb.Entry{Term: term})
		seq = 0
		for i := range 20 {
			seq = nextSequence(seq)
			e := pb.Entry{Type: pb.EncodedEntry, Term: term, ClientID: clientID(Term(term), seq, false)}
			switch {
			case i%7 == 3:
				e.Cmd = append([]byte{0}, producerBatch(produced)...)
				produced++
			case term == 2 && i == 10:
				e.ClientID |= commandBit
				e.Cmd = append([]byte{0}, encodeCommand(commandLogStart, 9)...)
			default:
				e.Cmd = append([]byte{0}, testBatch(rng, 20+rng.IntN(400))...)
			}
			add(e)
		}
	}
	return out
}

// producerBatch is a batch of an idempotent producer.
func producerBatch(seq int32) record.Batch {
	b := make([]byte, record.HeaderLen+20)
	putTestHeader(b, 1)
	b[50], b[52] = 77, 0 // producer 77, epoch 0
	b[56] = byte(seq)
	putTestCRC(b)
	return b
}

// openBehind opens a rig with one partition.
func openBehind(fsys vfs.FS, spec PartitionSpec) (*rig, *Partition, error) {
	r, err := openRig(fsys, []PartitionSpec{spec})
	if err != nil {
		return nil, nil, err
	}
	return r, newPartition(r.h, spec, r.h.db.shards[spec.Shard]), nil
}

func feed(r *rig, ents []pb.Entry, term, vote, commit uint64) error {
	for len(ents) > 0 {
		n := min(5, len(ents))
		ud := pb.Update{
			ShardID: 2, ReplicaID: 1, EntriesToSave: ents[:n], State: pb.State{Term: term, Vote: vote, Commit: min(commit, ents[n-1].Index)},
		}
		if err := r.save([]pb.Update{ud}); err != nil {
			return err
		}
		ents = ents[n:]
	}
	return nil
}

// prepare gives the replica what it has.
func (b *behindCase) prepare(r *rig, ents []pb.Entry, rng *rand.Rand) error {
	if b.has == 0 {
		return nil
	}
	if err := feed(r, ents[:b.has], 3, 3, uint64(b.commit)); err != nil {
		return err
	}
	var other []pb.Entry
	for i := range b.other {
		e := pb.Entry{Index: uint64(b.has + i + 1), Term: 7, Key: 1}
		if i > 0 {
			e.Type, e.ClientID = pb.EncodedEntry, clientID(7, uint32(i), false)
			e.Cmd = append([]byte{0}, testBatch(rng, 20+rng.IntN(400))...)
		}
		other = append(other, e)
	}
	if err := r.h.journal.Checkpoint(); err != nil {
		return err
	}
	return feed(r, other, 7, 2, uint64(b.commit))
}

// sourceFrom serves a replica from another one of the same process.
func sourceFrom(p *Partition, rewritten bool) *source {
	return &source{
		shard: p.spec.Shard, grant: func(int64) bool { return true },
		call: func(ctx context.Context, method string, q catchUpQuestion) ([]byte, error) {
			b, err := p.serve(method, &q)
			if method == callManifest && rewritten {
				b = bytes.Replace(b, []byte(`"version":1`), []byte(`"version":1,"rewritten":4611686018427387904`), 1)
			}
			return b, err
		},
	}
}

// pullAll catches the replica up as Host.catchUp does, with no Raft group to stop.
func pullAll(p *Partition, from *source) error {
	m, err := from.manifest(context.Background())
	if err != nil {
		return err
	}
	if p.has(m) {
		return nil
	}
	if _, err := p.fetch(context.Background(), from, m); err != nil {
		return err
	}
	st := p.catching.stage
	p.catching.stage = nil
	end, files, err := st.finish(m)
	if err != nil {
		return err
	}
	return p.host.replaceFiles(p, m, st, end, files)
}

// stored are the bytes of a log below an offset.
func stored(s *shardLog, upTo record.Offset) ([]byte, error) {
	var out []byte
	for at := s.log.LogStart(); at < upTo; {
		b, err := s.log.Read(nil, at, upTo, 1<<20, true)
		if err != nil {
			return nil, err
		}
		out = append(out, b...)
		for len(b) > 0 {
			batch, rest, err := record.Next(b)
			if err != nil {
				return nil, err
			}
			at, b = batch.NextOffset(), rest
		}
	}
	return out, nil
}

// caughtUp compares a replica with the source.
func caughtUp(p, src *Partition) error {
	s, o := p.shard, src.shard
	if s.last != o.last || s.lastTerm != o.lastTerm || s.committedTo != o.committedTo || s.fence != o.fence {
		return fmt.Errorf("last %d (%d), commit %d, fence %v; the source has %d (%d), %d, %v", s.last, s.lastTerm, s.committedTo, s.fence,
			o.last, o.lastTerm, o.committedTo, o.fence)
	}
	if s.log.LogStart() != o.log.LogStart() || s.log.End().Next != o.log.End().Next {
		return fmt.Errorf("[%d, %d), the source has [%d, %d)", s.log.LogStart(), s.log.End().Next, o.log.LogStart(), o.log.End().Next)
	}
	if a, b := fmt.Sprint(s.log.Epochs()), fmt.Sprint(o.log.Epochs()); a != b {
		return fmt.Errorf("epochs %s, the source has %s", a, b)
	}
	if a, b := fmt.Sprint(s.state.membership), fmt.Sprint(o.state.membership); a != b {
		return fmt.Errorf("membership %s, the source has %s", a, b)
	}
	if a, _ := s.log.ProducerEntry(77); a.LastSequence() < 0 {
		return errors.New("the producer is not known")
	} else if b, _ := o.log.ProducerEntry(77); a.LastSequence() != b.LastSequence() {
		return fmt.Errorf("producer at %d, the source has %d", a.LastSequence(), b.LastSequence())
	}
	a, err1 := stored(s, s.log.End().Next)
	b, err2 := stored(o, o.log.End().Next)
	if err := errors.Join(err1, err2); err != nil {
		return err
	}
	if !bytes.Equal(a, b) {
		return fmt.Errorf("%d bytes that differ from the source's %d", len(a), len(b))
	}
	return nil
}

// check recovers what a power loss at some moment has left: the old log, whole, or the source's. Then it catches up (again),
// goes on, and starts anew.
func (b *behindCase) check(fsys *vfs.Mem, src *Partition, old modelShard) error {
	spec := behindSpec(b)
	r, p, err := openBehind(fsys, spec)
	if err != nil {
		return fmt.Errorf("recover: %w", err)
	}
	s := p.shard
	if s.hard.Term < Term(old.hard.Term) || s.hard.Term == Term(old.hard.Term) && s.hard.Vote != ReplicaID(old.hard.Vote) {
		return errors.Join(fmt.Errorf("hard state %+v, it was %+v", s.hard, old.hard), r.close())
	}
	if s.last == src.shard.last && s.lastTerm == src.shard.lastTerm {
		err = caughtUp(p, src)
	} else if spec.Config.Durable() {
		err = old.check(r, spec, nil)
	}
	if err != nil {
		return errors.Join(err, r.close())
	}
	if err := pullAll(p, sourceFrom(src, b.rewritten)); err != nil {
		return errors.Join(fmt.Errorf("again: %w", err), r.close())
	}
	for range 2 {
		if err := caughtUp(p, src); err != nil {
			return errors.Join(err, r.close())
		}
		if err := r.close(); err != nil {
			return err
		}
		if r, p, err = openBehind(fsys, spec); err != nil {
			return fmt.Errorf("start anew: %w", err)
		}
	}
	last := uint64(p.shard.last)
	more := []pb.Entry{{Index: last + 1, Term: 9, Key: 1}, {
		Index: last + 2, Term: 9, Key: 1, Type: pb.EncodedEntry, ClientID: clientID(9, 1, false), Cmd: append([]byte{0}, testBatch(rand.New(rand.NewPCG(1, 1)), 50)...),
	}}
	if err := feed(r, more, 9, 1, last+2); err != nil {
		return errors.Join(err, r.close())
	}
	killed := fsys.CrashClone(vfs.Crash{KeepPercent: 100})
	if err := r.close(); err != nil {
		return err
	}
	if r, p, err = openBehind(killed, spec); err != nil {
		return fmt.Errorf("start after more: %w", err)
	}
	if p.shard.last != Index(last+2) {
		err = fmt.Errorf("the log ends with %d, not %d", p.shard.last, last+2)
	}
	return errors.Join(err, r.close())
}

// Power is lost at every operation on the file system of a replica that catches up: it has the log that it had, with
// everything that it acknowledged, or the source's.
func TestCatchUp_PowerLossAtEveryOperation(t *testing.T) {
	cases := []behindCase{
		{name: "empty"},
		{name: "has a part", has: 30, commit: 30},
		{name: "has more than it knows to be committed", has: 40, commit: 25},
		{name: "has a short tail of another leader", has: 30, commit: 27, other: 6},
		{name: "has a long tail of another leader", has: 30, commit: 27, other: 70},
		{name: "knows nothing to be committed", has: 10, other: 90},
		{name: "does not sync", has: 30, commit: 20, other: 70, relaxed: true},
		{name: "keeps nothing", has: 30, commit: 27, other: 6, rewritten: true},
	}
	for i := range cases {
		b := &cases[i]
		t.Run(b.name, func(t *testing.T) {
			t.Parallel()
			b.run(t)
		})
	}
}

func (b *behindCase) run(t *testing.T) {
	rng := rand.New(rand.NewPCG(5, 5))
	ents := behindLog(rng)
	sr, src, err := openBehind(vfs.NewMem(), behindSpec(b))
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := sr.close(); err != nil {
			t.Error(err)
		}
	}()
	if err := feed(sr, ents, 3, 1, uint64(len(ents))); err != nil {
		t.Fatal(err)
	}
	mem := vfs.NewMem()
	efs := vfs.NewErrFS(mem)
	r, p, err := openBehind(efs, behindSpec(b))
	if err != nil {
		t.Fatal(err)
	}
	if err := b.prepare(r, ents, rng); err != nil {
		t.Fatal(err)
	}
	// What it has acknowledged.
	s := p.shard
	all, _, err := s.iterate(nil, 0, s.first, s.last+1, 0, throttle{})
	if err != nil {
		t.Fatal(err)
	}
	old := modelShard{entries: all, acked: uint64(len(all)), removing: uint64(len(all)) + 1}
	old.hard = pb.State{Term: uint64(s.hard.Term), Vote: uint64(s.hard.Vote)}
	crash := crashModes(rng)
	var points []*vfs.Mem
	var ops []string
	efs.Plan(&vfs.Fault{Kinds: vfs.OpMutating, N: 1 << 60, Match: func(name string) bool {
		points, ops = append(points, crash(mem)), append(ops, name)
		return false
	}})
	if err := pullAll(p, sourceFrom(src, b.rewritten)); err != nil {
		t.Fatal(err)
	}
	efs.Plan(nil)
	if err := caughtUp(p, src); err != nil {
		t.Fatal(err)
	}
	points, ops = append(points, mem.CrashClone(vfs.Crash{}), mem.CrashClone(vfs.Crash{KeepPercent: 100})), append(ops, "end", "end")
	if err := r.close(); err != nil {
		t.Fatal(err)
	}
	if len(points) < 30 {
		t.Fatalf("%d operations", len(points))
	}
	before := 0
	for i, fs := range points {
		if rd, err := readReplicaFile(fs, rigDir+"/c-0"); err == nil && rd.Index < src.shard.last {
			before++
		}
		if err := b.check(fs, src, old); err != nil {
			t.Fatalf("operation %d of %d, %s: %v", i, len(points), strings.TrimPrefix(ops[i], rigDir), err)
		}
	}
	if before == 0 || before == len(points) {
		t.Fatalf("%d of %d points have the old log", before, len(points))
	}
}
