package dledger

import (
	"errors"
	"slices"

	"github.com/stelemq/stele/commitlog"
	"github.com/stelemq/stele/protocol/record"
)

// Idempotent producers (KIP-98): the leader accepts a batch only as the successor of the producer's last one, counting
// those that are in flight. The log remembers the last five batches of each producer; what is queued or
// proposed and not yet appended is remembered here.

// queuedProducer is one producer with batches that are not in the log yet.
type queuedProducer struct {
	state   commitlog.Producer // as it will be when they are
	appends []*pendingAppend   // in order of sequence
}

// verdict is what the leader makes of a batch.
type verdict struct {
	err error
	// original is the batch in flight that this one repeats.
	original *pendingAppend
	// stored: this one repeats a batch in the log, at base up to next.
	stored     bool
	base, next record.Offset
}

// checkSequenceLocked decides about an idempotent batch.
func (p *Partition) checkSequenceLocked(b record.Batch) verdict {
	id := b.ProducerID()
	if id < 0 {
		return verdict{}
	}
	if q := p.producers[id]; q != nil {
		_, duplicate, err := q.state.Check(b)
		if err != nil {
			return verdict{err: sequenceError(err)}
		}
		if !duplicate {
			return verdict{}
		}
		for _, a := range q.appends {
			if a.batch.ProducerEpoch() == b.ProducerEpoch() && a.batch.BaseSequence() == b.BaseSequence() {
				return verdict{original: a}
			}
		}
	}
	e, ok := p.shard.log.ProducerEntry(id)
	if !ok {
		return verdict{} // unknown or expired: any first sequence
	}
	d, duplicate, err := e.Check(b)
	if err != nil {
		return verdict{err: sequenceError(err)}
	}
	return verdict{stored: duplicate, base: d.BaseOffset, next: d.LastOffset + 1}
}

func sequenceError(err error) error {
	switch {
	case errors.Is(err, commitlog.ErrDuplicateSequence):
		return ErrDuplicateSequence
	case errors.Is(err, commitlog.ErrInvalidProducerEpoch):
		return ErrInvalidProducerEpoch
	default:
		return ErrOutOfOrderSequence
	}
}

func (p *Partition) trackProducerLocked(a *pendingAppend) {
	id := a.batch.ProducerID()
	if id < 0 {
		return
	}
	q := p.producers[id]
	if q == nil {
		q = &queuedProducer{state: commitlog.NewProducer(id)}
		if e, ok := p.shard.log.ProducerEntry(id); ok {
			q.state = e
		}
		p.producers[id] = q
	}
	q.state.Update(a.batch)
	q.appends = append(q.appends, a)
}

// untrackProducerLocked forgets a batch that has been appended: the log knows it now.
func (p *Partition) untrackProducerLocked(a *pendingAppend) {
	if len(a.batch) == 0 {
		return // a command
	}
	id := a.batch.ProducerID()
	q := p.producers[id]
	if id < 0 || q == nil {
		return
	}
	if i := slices.Index(q.appends, a); i >= 0 {
		q.appends = slices.Delete(q.appends, i, i+1)
	}
	if len(q.appends) == 0 {
		delete(p.producers, id)
	}
}

// Producers lists the idempotent producers that the partition remembers.
func (p *Partition) Producers() []ActiveProducer {
	known := p.shard.log.Producers()
	out := make([]ActiveProducer, len(known))
	for i := range known {
		e := &known[i]
		out[i] = ActiveProducer{ID: e.ID, Epoch: e.Epoch, LastSequence: e.LastSequence(), LastTimestamp: e.LastTimestamp, CoordinatorEpoch: e.CoordinatorEpoch, TxnFirstOffset: e.TxnFirstOffset}
	}
	return out
}
