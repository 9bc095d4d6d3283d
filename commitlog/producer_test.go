package commitlog_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"math"
	"slices"
	"testing"

	"github.com/stelemq/stele/commitlog"
	"github.com/stelemq/stele/protocol/record"
)

// at gives a batch its offset.
func at(b record.Batch, o record.Offset) record.Batch {
	b = bytes.Clone(b)
	binary.BigEndian.PutUint64(b, uint64(o))
	return b
}

func TestProducer_Check(t *testing.T) {
	s := commitlog.NewProducerStates(0)
	make10 := func(epoch int16, seq int32) record.Batch { return batch(t, 10, 10, 1, &producer{7, epoch, seq}) }
	if _, dup, err := s.Check(make10(0, 500)); dup || err != nil {
		t.Fatalf("an unknown producer may begin anywhere: %v %v", dup, err)
	}
	for i := range int32(7) {
		s.Update(at(make10(2, 10*i), record.Offset(100+10*i)))
	}
	for name, c := range map[string]struct {
		epoch int16
		seq   int32
		dup   record.Offset
		want  error
	}{
		"next":                       {2, 70, -1, nil},
		"the last again":             {2, 60, 160, nil},
		"the fifth last again":       {2, 20, 120, nil},
		"too old to know its offset": {2, 10, -1, commitlog.ErrDuplicateSequence},
		"a gap":                      {2, 71, -1, commitlog.ErrOutOfOrderSequence},
		"overlapping":                {2, 65, -1, commitlog.ErrOutOfOrderSequence},
		"older epoch":                {1, 70, -1, commitlog.ErrInvalidProducerEpoch},
		"newer epoch from 0":         {3, 0, -1, nil},
		"newer epoch not from 0":     {3, 70, -1, commitlog.ErrOutOfOrderSequence},
	} {
		got, dup, err := s.Check(make10(c.epoch, c.seq))
		if !errors.Is(err, c.want) || dup != (c.dup >= 0) || dup && got.BaseOffset != c.dup {
			t.Errorf("%s: %+v %v %v", name, got, dup, err)
		}
	}
	if _, dup, err := s.Check(batch(t, 10, 10, 1, nil)); dup || err != nil {
		t.Errorf("without a producer id: %v %v", dup, err)
	}
}

func TestProducer_SequenceWraps(t *testing.T) {
	p := commitlog.NewProducer(7)
	last := batch(t, 10, 10, 1, &producer{7, 0, math.MaxInt32 - 4})
	p.Update(at(last, 0))
	if p.LastSequence() != 4 {
		t.Fatalf("last sequence %d", p.LastSequence())
	}
	if _, dup, err := p.Check(batch(t, 1, 10, 1, &producer{7, 0, 5})); dup || err != nil {
		t.Errorf("after the wrap: %v %v", dup, err)
	}
	if _, dup, err := p.Check(last); !dup || err != nil {
		t.Errorf("again: %v %v", dup, err)
	}
	if _, _, err := p.Check(batch(t, 1, 10, 1, &producer{7, 0, math.MaxInt32 - 20})); !errors.Is(err, commitlog.ErrDuplicateSequence) {
		t.Errorf("from before the wrap: %v", err)
	}
	b := commitlog.AppendProducerSnapshot(nil, []commitlog.Producer{p})
	ps, err := commitlog.ParseProducerSnapshot(b)
	must(t, err)
	if got := ps[0].Batches()[0]; got.BaseSequence != math.MaxInt32-4 || got.LastSequence != 4 {
		t.Errorf("snapshot: %+v", got)
	}
}

func TestProducer_TransactionEndsWithAMarker(t *testing.T) {
	var b record.Builder
	b.SetProducer(7, 1, 0)
	b.SetTransactional(true)
	b.Append(record.Record{Timestamp: 5, Value: []byte("x")})
	data, err := b.Build(record.None, 0)
	must(t, err)
	p := commitlog.NewProducer(7)
	p.Update(at(data, 30))
	if p.TxnFirstOffset != 30 {
		t.Fatalf("transaction began at %d", p.TxnFirstOffset)
	}
	s := commitlog.NewProducerStates(0)
	s.Update(at(data, 30))
	if ids := s.Expire(100); len(ids) != 0 {
		t.Errorf("expired with an open transaction: %v", ids)
	}
	b.Reset()
	b.SetProducer(7, 1, -1)
	b.SetTransactional(true)
	b.SetControl(true)
	b.Append(record.ControlRecord(record.ControlCommit, 4, 9))
	marker, err := b.Build(record.None, 0)
	must(t, err)
	p.Update(at(marker, 31))
	if p.TxnFirstOffset != record.NoOffset || p.CoordinatorEpoch != 4 || p.LastTimestamp != 9 || p.LastSequence() != 0 {
		t.Errorf("after the marker: %+v", p)
	}
	s.Update(at(marker, 31))
	if ids := s.Expire(9); len(ids) != 0 {
		t.Errorf("expired early: %v", ids)
	}
	if ids := s.Expire(10); !slices.Equal(ids, []int64{7}) || s.Len() != 0 {
		t.Errorf("expired %v", ids)
	}
}

// What a producer had in flight when all replicas went down it sends again: all of it must be known, not only the last
// batch, which is all that Kafka's format has.
func TestProducerSnapshot_KeepsAllBatchesInFlight(t *testing.T) {
	p, one := commitlog.NewProducer(7), commitlog.NewProducer(8)
	var sent []record.Batch
	for i := range 7 {
		b := batch(t, 2, 10, 1, &producer{7, 0, int32(2 * i)})
		sent = append(sent, b)
		p.Update(at(b, record.Offset(10*i)))
	}
	one.Update(at(batch(t, 1, 10, 1, &producer{8, 0, 0}), 100))
	states := []commitlog.Producer{one, p, commitlog.NewProducer(9)}
	b := commitlog.AppendProducerSnapshot(nil, states)
	ps, err := commitlog.ParseProducerSnapshot(b)
	must(t, err)
	for i := range states {
		if !slices.Equal(ps[i].Batches(), states[i].Batches()) {
			t.Errorf("producer %d: %+v, want %+v", ps[i].ID, ps[i].Batches(), states[i].Batches())
		}
	}
	for i, again := range sent[2:] {
		if d, dup, err := ps[1].Check(again); !dup || err != nil || d.BaseOffset != record.Offset(10*(i+2)) {
			t.Errorf("batch %d sent again: %+v %v %v", i+2, d, dup, err)
		}
	}
	kafkas := commitlog.AppendProducerSnapshot(nil, []commitlog.Producer{one})
	if want := 10 + 46; len(kafkas) != want {
		t.Errorf("one batch each: %d bytes, want %d as Kafka has it", len(kafkas), want)
	}
	for cut := range b {
		if _, err := commitlog.ParseProducerSnapshot(b[:cut]); err == nil {
			t.Errorf("cut to %d bytes it is taken", cut)
		}
	}
}

func FuzzParseProducerSnapshot(f *testing.F) {
	p := commitlog.NewProducer(7)
	p.Update(at(batch(f, 3, 10, 1, &producer{7, 0, 5}), 10))
	f.Add(commitlog.AppendProducerSnapshot(nil, []commitlog.Producer{p, commitlog.NewProducer(9)}))
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, b []byte) {
		ps, err := commitlog.ParseProducerSnapshot(b)
		if err != nil {
			return
		}
		again, err := commitlog.ParseProducerSnapshot(commitlog.AppendProducerSnapshot(nil, ps))
		if err != nil || len(again) != len(ps) {
			t.Fatalf("%v", err)
		}
	})
}
