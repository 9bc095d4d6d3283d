package dledger

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"sync/atomic"

	pb "github.com/lni/dragonboat/v4/raftpb"

	"github.com/stelemq/stele/dledger/journal"
	"github.com/stelemq/stele/dledger/raftfile"
	"github.com/stelemq/stele/internal/vfs"
	"github.com/stelemq/stele/protocol/record"
)

// testBatch is a RecordBatch v2 of one record, whose payload nobody parses.
func testBatch(rng *rand.Rand, payload int) []byte {
	b := make([]byte, record.HeaderLen+payload)
	for i := record.HeaderLen; i < len(b); i++ {
		b[i] = byte(rng.Uint32())
	}
	be := binary.BigEndian
	be.PutUint32(b[8:], uint32(len(b)-12))
	b[16] = 2
	be.PutUint64(b[27:], 1000)
	be.PutUint64(b[35:], 1000)
	be.PutUint64(b[43:], ^uint64(0)) // no producer
	be.PutUint16(b[51:], ^uint16(0))
	be.PutUint32(b[53:], ^uint32(0))
	be.PutUint32(b[57:], 1)
	be.PutUint32(b[17:], raftfile.Castagnoli(0, b[21:]))
	return b
}

// rig is a log storage without dragonboat above it.
type rig struct {
	h      *Host
	fatal  atomic.Pointer[error]
	fatals atomic.Int32
}

const rigDir = "/data"

func openRig(fsys vfs.FS, specs []PartitionSpec) (*rig, error) {
	r := &rig{}
	fatal := func(err error) {
		r.fatal.CompareAndSwap(nil, &err)
		r.fatals.Add(1)
	}
	o := Options{Dir: rigDir, FS: fsys, JournalFileBytes: 32 << 10, Fatal: fatal}.withDefaults()
	o.Logger = slog.New(slog.DiscardHandler)
	h := &Host{
		opts: o, logger: o.Logger, partitions: map[ShardID]*Partition{}, dirs: map[string]ShardID{}, recovered: map[journal.Key]*shardLog{},
		metrics: newMetrics(nil, nil), registry: newRegistry(),
	}
	if err := vfs.MakeDirs(fsys, h.journalDir()); err != nil {
		return nil, err
	}
	if err := h.recover(); err != nil {
		return nil, err
	}
	h.db = newLogDB(h.journal, fatal, h.metrics)
	for _, spec := range specs {
		s, err := h.openShard(spec)
		if err != nil {
			return nil, errors.Join(fmt.Errorf("%s: %w", spec.Topic, err), h.journal.Close())
		}
		s.configure(spec.Config)
		h.db.add(s)
	}
	r.h = h
	return r, nil
}

// save is SaveRaftState, with the failure that would have ended the process.
func (r *rig) save(uds []pb.Update) error {
	if err := r.h.db.SaveRaftState(uds, 1); err != nil {
		return err
	}
	if err := r.fatal.Load(); err != nil {
		return *err
	}
	return nil
}

func (r *rig) close() error {
	err := r.h.journal.Close()
	for _, s := range r.h.db.shards {
		if e := s.close(); err == nil {
			err = e
		}
	}
	return err
}

func rigSpecs() []PartitionSpec {
	var out []PartitionSpec
	for i := range 4 {
		flush := int64(1)
		if i == 2 {
			flush = 1 << 60 // relaxed
		}
		out = append(out, PartitionSpec{
			Topic: "t", Partition: int32(i), Shard: ShardID(2 + i), Replica: 1,
			Config: LogConfig{SegmentBytes: 48 << 10, FlushMessages: flush},
		})
	}
	return out
}

// modelShard is what a shard's log must be.
type modelShard struct {
	entries []pb.Entry // entries[i] has index i+1
	hard    pb.State
	fences  []fence // fences[i]: after entry i+1
	// upTo is how much of entries has been acknowledged; from what index on an operation in progress may
	// have removed them.
	acked, removing uint64
}

func (m *modelShard) fenceAt(n uint64) fence {
	if n == 0 {
		return fence{}
	}
	return m.fences[n-1]
}

// update makes a random Raft update that may follow.
func (m *modelShard) update(rng *rand.Rand, spec PartitionSpec) pb.Update {
	ud := pb.Update{ShardID: uint64(spec.Shard), ReplicaID: 1}
	st := m.hard
	last := uint64(len(m.entries))
	if st.Term == 0 || rng.IntN(12) == 0 {
		st.Term++
		st.Vote = 1
	}
	first := last + 1
	if last > st.Commit && rng.IntN(10) == 0 { // a new leader has other entries
		st.Term++
		first = st.Commit + 1 + rng.Uint64N(last-st.Commit)
	}
	f := m.fenceAt(first - 1)
	for i := range uint64(rng.IntN(5)) {
		e := pb.Entry{Index: first + i, Term: st.Term, Key: rng.Uint64() | 1}
		seq := uint32(1)
		if f.Term == uint32(st.Term) {
			seq = nextSequence(f.Sequence)
		}
		switch k := rng.IntN(20); {
		case k == 0: // a no-op
		case k == 1: // behind a gap
			e.Type, e.ClientID, e.Cmd = pb.EncodedEntry, clientID(Term(st.Term), seq+5, false), append([]byte{0}, testBatch(rng, 10)...)
		case k == 2:
			e.Type, e.ClientID = pb.EncodedEntry, clientID(Term(st.Term), seq, true)
			e.Cmd = append([]byte{0}, encodeCommand(commandExpireProducers, 1)...)
		default:
			e.Type, e.ClientID = pb.EncodedEntry, clientID(Term(st.Term), seq, false)
			e.Cmd = []byte{0}
			for range 1 + rng.IntN(3) {
				e.Cmd = append(e.Cmd, testBatch(rng, rng.IntN(1+rng.IntN(12000)))...)
			}
		}
		if len(e.Cmd) > 0 {
			_, f = f.accepts(Term(e.Term), e.ClientID)
		}
		ud.EntriesToSave = append(ud.EntriesToSave, e)
	}
	if len(ud.EntriesToSave) > 0 {
		last = ud.EntriesToSave[len(ud.EntriesToSave)-1].Index
	}
	if st.Commit < last && rng.IntN(2) == 0 {
		st.Commit += rng.Uint64N(last-st.Commit) + 1
	}
	ud.State = st
	return ud
}

// begin notes what an update is about to do, end that it has been acknowledged.
func (m *modelShard) begin(ud *pb.Update) {
	m.removing = uint64(len(m.entries)) + 1
	if len(ud.EntriesToSave) > 0 {
		m.removing = ud.EntriesToSave[0].Index
	}
}

func (m *modelShard) end(ud *pb.Update) {
	if len(ud.EntriesToSave) > 0 {
		n := ud.EntriesToSave[0].Index - 1
		f := m.fenceAt(n)
		m.entries, m.fences = m.entries[:n:n], m.fences[:n:n]
		for _, e := range ud.EntriesToSave {
			if len(e.Cmd) > 0 {
				_, f = f.accepts(Term(e.Term), e.ClientID)
			}
			m.entries, m.fences = append(m.entries, e), append(m.fences, f)
		}
	}
	m.hard = ud.State
	m.acked, m.removing = uint64(len(m.entries)), uint64(len(m.entries))+1
}

func (m *modelShard) clone() *modelShard {
	c := *m
	return &c
}

// check compares a recovered shard with the model. pending is the update that was in progress, if any.
func (m *modelShard) check(r *rig, spec PartitionSpec, pending *pb.Update) error {
	s := r.h.db.shards[spec.Shard]
	durable := spec.Config.Durable()
	if durable && s.last < Index(min(m.acked, m.removing-1)) {
		return fmt.Errorf("%s-%d: the log ends with %d, acknowledged were %d", spec.Topic, spec.Partition, s.last, min(m.acked, m.removing-1))
	}
	if s.hard.Term < Term(m.hard.Term) || (s.hard.Term == Term(m.hard.Term) && s.hard.Vote != ReplicaID(m.hard.Vote)) {
		return fmt.Errorf("%s-%d: hard state %+v, acknowledged %+v", spec.Topic, spec.Partition, s.hard, m.hard)
	}
	s.stubUntil = 0 // read all bytes
	s.first = s.file.Index + 1
	ents, _, err := s.iterate(nil, 0, s.first, s.last+1, 1<<62, throttle{})
	if err != nil || uint64(len(ents)) != uint64(s.last-s.file.Index) {
		return fmt.Errorf("%s-%d: iterate: %w, %d entries", spec.Topic, spec.Partition, err, len(ents))
	}
	for i := range ents {
		got := &ents[i]
		var candidates []*pb.Entry
		if got.Index <= uint64(len(m.entries)) {
			candidates = append(candidates, &m.entries[got.Index-1])
		}
		if pending != nil {
			for k := range pending.EntriesToSave {
				if pending.EntriesToSave[k].Index == got.Index {
					candidates = append(candidates, &pending.EntriesToSave[k])
				}
			}
		}
		if !matchesAny(got, candidates) {
			return fmt.Errorf("%s-%d: entry %d (term %d, %d bytes) is none of %d that were saved", spec.Topic, spec.Partition, got.Index, got.Term, len(got.Cmd), len(candidates))
		}
	}
	if end, want := s.log.End().Next, s.nextOffset(); end != want {
		return fmt.Errorf("%s-%d: log end offset %d, records say %d", spec.Topic, spec.Partition, end, want)
	}
	return nil
}

// follow makes the model that of a recovered shard, which may have lost what was not durable.
func (m *modelShard) follow(s *shardLog) {
	n := min(int(s.last), len(m.entries))
	m.entries, m.fences = m.entries[:n:n], m.fences[:n:n]
	m.hard = pb.State{Term: uint64(s.hard.Term), Vote: uint64(s.hard.Vote), Commit: uint64(s.hard.Commit)}
	m.acked, m.removing = uint64(n), uint64(n)+1
}

func (s *shardLog) nextOffset() record.Offset {
	if n := len(s.recs); n > 0 {
		return s.recs[n-1].Next
	}
	return s.file.Next
}

func matchesAny(got *pb.Entry, want []*pb.Entry) bool {
	for _, w := range want {
		if got.Term != w.Term || got.Key != w.Key || got.ClientID != w.ClientID || got.Type != w.Type {
			continue
		}
		if bytes.Equal(got.Cmd, w.Cmd) || bytes.Equal(got.Cmd, noBytes()) || sameBatches(got.Cmd, w.Cmd) {
			return true
		}
	}
	return false
}

// sameBatches compares stored batches with those proposed: only offset and epoch of each may differ.
func sameBatches(got, want []byte) bool {
	if len(got) != len(want) || len(got) < record.HeaderLen {
		return false
	}
	got, want = got[1:], want[1:]
	for len(got) > 0 {
		g, gr, err1 := record.Next(got)
		w, wr, err2 := record.Next(want)
		if err1 != nil || err2 != nil || len(g) != len(w) || !bytes.Equal(g[record.PatchLen:], w[record.PatchLen:]) {
			return false
		}
		got, want = gr, wr
	}
	return true
}
