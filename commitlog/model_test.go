package commitlog_test

import (
	"bytes"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/stelemq/stele/commitlog"
	"github.com/stelemq/stele/internal/vfs"
	"github.com/stelemq/stele/protocol/record"
)

// model is what a log must be: a slice of entries.
type model struct {
	rng     *rand.Rand
	entries []modelEntry
	start   record.Offset
	first   record.Offset // base of the first segment
	epoch   record.LeaderEpoch
	assign  *epochStart // the newest epoch assigned, if it has no batch yet
	seqs    map[int64]int32
	clock   int64
}

type epochStart struct {
	epoch record.LeaderEpoch
	at    record.Offset
}

type modelEntry struct {
	commitlog.Entry
	stored []byte
}

func newModel(seed uint64) *model {
	return &model{rng: rand.New(rand.NewPCG(seed, 7)), epoch: 1, seqs: map[int64]int32{}, clock: 1000}
}

func (m *model) end() commitlog.End {
	if len(m.entries) == 0 {
		return commitlog.End{Segment: m.first, Next: m.first}
	}
	e := m.entries[len(m.entries)-1]
	return commitlog.End{Segment: e.Segment, Pos: e.Pos + e.Length, Next: e.Next}
}

// newEntries makes entries of idempotent and plain batches.
func (m *model) newEntries(t testing.TB) []commitlog.Entry {
	es := make([]commitlog.Entry, 1+m.rng.IntN(3))
	for i := range es {
		var p *producer
		var bs []byte
		for range 1 + m.rng.IntN(2) {
			n := 1 + m.rng.IntN(4)
			size := 20 + m.rng.IntN(200)
			if m.rng.IntN(8) == 0 {
				size = 2000 + m.rng.IntN(4000)
			}
			m.clock += int64(m.rng.IntN(20)) - 5
			if id := int64(m.rng.IntN(4)); id > 0 {
				p = &producer{id: id, seq: m.seqs[id]}
				m.seqs[id] += int32(n)
			} else {
				p = nil
			}
			bs = append(bs, batch(t, n, size, m.clock, p)...)
		}
		es[i] = commitlog.Entry{Batches: bs, Epoch: m.epoch}
	}
	return es
}

// note adds appended entries.
func (m *model) note(l *commitlog.Log, es []commitlog.Entry) {
	for _, e := range es {
		m.entries = append(m.entries, modelEntry{e, l.AppendStored(nil, &e)})
	}
	m.assign = nil
}

// boundary draws the base of an entry at or after min.
func (m *model) boundary(least record.Offset) record.Offset {
	var os []record.Offset
	for _, e := range m.entries {
		if e.Base >= least {
			os = append(os, e.Base)
		}
	}
	os = append(os, m.end().Next)
	return os[m.rng.IntN(len(os))]
}

// cut drops the entries from o on. Sequence numbers go back too, as a new leader's would.
func (m *model) cut(o record.Offset) {
	m.entries = slices.DeleteFunc(m.entries, func(e modelEntry) bool { return e.Base >= o })
	clear(m.seqs)
	for _, p := range m.producers() {
		m.seqs[p.ID] = p.LastSequence() + 1
	}
	m.assign = nil
}

func (m *model) batches() (out []record.Batch) {
	for _, e := range m.entries {
		for rest := e.stored; len(rest) > 0; {
			b, r, err := record.Next(rest)
			if err != nil {
				panic(err)
			}
			out, rest = append(out, b), r
		}
	}
	return out
}

func (m *model) producers() []commitlog.Producer {
	s := commitlog.NewProducerStates(0)
	for _, b := range m.batches() {
		s.Update(b)
	}
	return s.All()
}

// check holds a log against the model.
func (m *model) check(t testing.TB, l *commitlog.Log) {
	t.Helper()
	end := m.end()
	got := l.End()
	if got.Next != end.Next || got.Segment == end.Segment && got.Pos != end.Pos || l.LogStart() != m.start {
		t.Fatalf("end %+v start %d, want %+v %d", got, l.LogStart(), end, m.start)
	}
	bs := m.batches()
	var want []byte
	for _, b := range bs {
		if b.NextOffset() > m.start {
			want = append(want, b...)
		}
	}
	if !bytes.Equal(readAll(t, l, m.start), want) {
		t.Fatal("content differs")
	}
	for range 5 {
		m.checkRead(t, l, bs)
	}
	m.checkTimes(t, l, bs)
	m.checkEpochs(t, l, bs)
	m.checkProducers(t, l)
}

func (m *model) checkRead(t testing.TB, l *commitlog.Log, bs []record.Batch) {
	t.Helper()
	from := m.start + record.Offset(m.rng.Int64N(int64(m.end().Next-m.start)+1))
	upTo := from + record.Offset(m.rng.IntN(20))
	limit, one := m.rng.IntN(3000), m.rng.IntN(2) == 0
	var want []byte
	for _, b := range bs {
		if b.LastOffset() < from {
			continue
		}
		if b.NextOffset() > upTo || len(want)+len(b) > limit && (!one || len(want) > 0) {
			break
		}
		want = append(want, b...)
	}
	got, err := l.Read(nil, from, upTo, limit, one)
	must(t, err)
	if !bytes.Equal(got, want) {
		t.Fatalf("read [%d, %d) max %d one %v: %d bytes, want %d", from, upTo, limit, one, len(got), len(want))
	}
}

func (m *model) checkTimes(t testing.TB, l *commitlog.Log, bs []record.Batch) {
	t.Helper()
	upTo := m.start + record.Offset(m.rng.Int64N(int64(m.end().Next-m.start)+1))
	ts := 1000 + m.rng.Int64N(m.clock-900)
	none := commitlog.TimestampOffset{Timestamp: -1, Offset: -1, Epoch: -1}
	at, most := none, none
	for _, b := range bs {
		for r, err := range b.Records(1 << 20) {
			must(t, err)
			if r.Offset < m.start || r.Offset >= upTo {
				continue
			}
			x := commitlog.TimestampOffset{Timestamp: r.Timestamp, Offset: r.Offset, Epoch: b.LeaderEpoch()}
			if at == none && r.Timestamp >= ts {
				at = x
			}
			if r.Timestamp > most.Timestamp {
				most = x
			}
		}
	}
	if got, err := l.OffsetForTimestamp(ts, upTo); err != nil || got != at {
		t.Fatalf("time %d up to %d: %+v %v, want %+v", ts, upTo, got, err, at)
	}
	if got, err := l.MaxTimestamp(upTo); err != nil || got != most {
		t.Fatalf("max time up to %d: %+v %v, want %+v", upTo, got, err, most)
	}
}

func (m *model) checkEpochs(t testing.TB, l *commitlog.Log, bs []record.Batch) {
	t.Helper()
	if m.start == m.end().Next && m.assign == nil {
		return // nothing can be read: whether the epoch of what was deleted is known does not matter
	}
	var starts []epochStart
	note := func(e record.LeaderEpoch, o record.Offset) {
		if n := len(starts); n == 0 || starts[n-1].epoch != e {
			starts = append(starts, epochStart{e, o})
		}
	}
	for _, b := range bs {
		note(b.LeaderEpoch(), b.BaseOffset())
	}
	if m.assign != nil {
		note(m.assign.epoch, m.assign.at)
	}
	for len(starts) > 1 && starts[1].at <= m.start {
		starts = starts[1:]
	}
	if len(starts) > 0 {
		starts[0].at = max(starts[0].at, m.start)
	}
	for e := record.LeaderEpoch(-1); e <= m.epoch+1; e++ {
		we, wo := record.NoEpoch, record.NoOffset
		for i, s := range starts {
			next := m.end().Next
			if i+1 < len(starts) {
				next = starts[i+1].at
			}
			if e >= 0 && i == 0 && e < s.epoch {
				we, wo = e, s.at
			}
			if e >= s.epoch && (i+1 < len(starts) || e == s.epoch) {
				we, wo = s.epoch, next
			}
			if i+1 == len(starts) && e > s.epoch {
				we, wo = record.NoEpoch, record.NoOffset
			}
		}
		ge, go_, err := l.EndOffsetForEpoch(e)
		if err != nil || ge != we || go_ != wo {
			t.Fatalf("epoch %d: (%d, %d) %v, want (%d, %d) of %v", e, ge, go_, err, we, wo, starts)
		}
	}
}

func (m *model) checkProducers(t testing.TB, l *commitlog.Log) {
	t.Helper()
	got, want := l.Producers(), m.producers()
	show := func(ps []commitlog.Producer) (s string) {
		for _, p := range ps {
			bs := p.Batches()
			last := bs[len(bs)-1]
			s += fmt.Sprintf("[%d %d %d %d %+v]", p.ID, p.Epoch, p.LastTimestamp, p.TxnFirstOffset, last)
		}
		return s
	}
	if show(got) != show(want) {
		t.Fatalf("producers %s, want %s", show(got), show(want))
	}
}

// step carries out one random operation on log and model. It returns the log, a new one after a restart.
func (m *model) step(t testing.TB, l *commitlog.Log, o commitlog.Options) *commitlog.Log {
	t.Helper()
	switch k := m.rng.IntN(40); {
	case k < 22:
		es := m.newEntries(t)
		must(t, l.Append(es))
		m.note(l, es)
	case k < 26:
		must(t, l.Sync())
	case k < 28:
		m.epoch += record.LeaderEpoch(1 + m.rng.IntN(2))
	case k < 29:
		m.epoch++
		at := m.end().Next
		must(t, l.AssignEpoch(m.epoch, at))
		m.assign = &epochStart{m.epoch, at}
	case k < 32:
		at := m.boundary(m.start)
		must(t, l.TruncateTo(at))
		m.cut(at)
	case k < 33:
		must(t, l.Roll())
	case k < 35:
		at := m.boundary(m.start)
		must(t, l.AdvanceLogStart(at, "model"))
		m.start = at
	case k < 36:
		_, err := l.DeleteSegmentsBelow(m.start)
		must(t, err)
		m.first = l.Segments()[0].Base
	case k < 37:
		for _, d := range l.Dirty() {
			must(t, l.SyncSegment(d.Segment))
		}
	case k < 39:
		end := l.End()
		must(t, l.Close())
		l = finish(t, o, end, m.start)
		m.assign = nil // an epoch without a batch is the caller's to assign again
	default:
		m.check(t, l)
	}
	return l
}

func modelOptions(fs vfs.FS) commitlog.Options {
	o := options(fs)
	o.SegmentBytes, o.IndexIntervalBytes, o.SnapshotBytes = 4000, 300, 1500
	o.Files = commitlog.NewFileCache(3)
	return o
}

func TestModel(t *testing.T) {
	seeds, steps := 60, 300
	if testing.Short() {
		seeds = 10
	}
	base := uint64(time.Now().UnixNano())
	for i := range uint64(seeds) {
		seed := base + i
		if i < 5 {
			seed = i
		}
		t.Run(fmt.Sprintf("seed %d", seed), func(t *testing.T) {
			t.Parallel()
			fs := newFS(t)
			o := modelOptions(fs)
			m := newModel(seed)
			l := create(t, o)
			for range steps {
				l = m.step(t, l, o)
			}
			m.check(t, l)
			end := l.End()
			must(t, l.Close())
			report, err := commitlog.VerifyDir(fs, testDir)
			must(t, err)
			for _, p := range report.Problems {
				t.Errorf("verify: %+v", p)
			}
			l = finish(t, o, end, m.start)
			m.assign = nil
			m.check(t, l)
			must(t, l.Close())
		})
	}
}

// TestReadsDuringWrites reads, syncs and truncates at once; run it with -race.
func TestReadsDuringWrites(t *testing.T) {
	o := modelOptions(newFS(t))
	o.SegmentBytes = 20_000
	l := create(t, o)
	b := batch(t, 5, 500, 1000, &producer{id: 1})
	for range 20 {
		appendOne(t, l, b, 1)
	}
	done, errs := make(chan struct{}), make(chan error, 4)
	for range 2 {
		go func() {
			var buf []byte
			for from := record.Offset(0); ; {
				select {
				case <-done:
					errs <- nil
					return
				default:
				}
				out, err := l.Read(buf[:0], from, math.MaxInt64, 4000, true)
				if errors.Is(err, commitlog.ErrOffsetOutOfRange) {
					from = l.LogStart()
					continue
				}
				if err != nil {
					errs <- err
					return
				}
				buf = out
				if len(out) == 0 {
					from = l.LogStart()
				}
				for rest := out; len(rest) > 0; {
					x, r, err := record.Next(rest)
					if err != nil || x.BaseOffset() > from || x.NextOffset() <= from {
						errs <- fmt.Errorf("read from %d: batch %d: %w", from, x.BaseOffset(), err)
						return
					}
					from, rest = x.NextOffset(), r
				}
				if _, err := l.OffsetForTimestamp(1002, math.MaxInt64); err != nil {
					errs <- err
					return
				}
				_, _ = l.ProducerEntry(1)
				_ = l.End()
			}
		}()
	}
	go func() {
		for {
			select {
			case <-done:
				errs <- nil
				return
			default:
				if err := l.Sync(); err != nil {
					errs <- err
					return
				}
				_ = l.Dirty()
			}
		}
	}()
	rng := rand.New(rand.NewPCG(1, 1))
	for i := range 3000 {
		switch k := rng.IntN(20); {
		case k == 0:
			at := max(l.End().Next-record.Offset(5*rng.IntN(8)), l.LogStart())
			must(t, l.TruncateTo(at-at%5))
		case k == 1 && i%3 == 0:
			at := (l.LogStart() + l.End().Next) / 2
			must(t, l.AdvanceLogStart(at-at%5, "test"))
			_, err := l.DeleteSegmentsBelow(at)
			must(t, err)
		default:
			appendOne(t, l, b, record.LeaderEpoch(1+i))
		}
	}
	close(done)
	for range 3 {
		must(t, <-errs)
	}
	must(t, l.Close())
}
