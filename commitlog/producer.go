package commitlog

import (
	"math"
	"slices"
	"sync"

	"github.com/stelemq/stele/protocol/record"
)

// producerBatches is how many batches of a producer are remembered: what a client may have in flight.
const producerBatches = 5

// maxMarkerBytes bounds the records of a control batch.
const maxMarkerBytes = 64 << 10

// Values of "nothing" in producer state, as on the wire.
const (
	noProducerID    = -1
	noProducerEpoch = -1
	noSequence      = -1
)

// ProducerBatch is one batch of an idempotent producer as a partition remembers it.
type ProducerBatch struct {
	BaseSequence, LastSequence int32
	BaseOffset, LastOffset     record.Offset
	Timestamp                  int64
}

// Producer is one idempotent producer as a partition remembers it: a plain value, copied freely.
type Producer struct {
	ID    int64
	Epoch int16 // -1: none seen
	// CoordinatorEpoch is that of the last transaction marker, -1 if there was none.
	CoordinatorEpoch int32
	LastTimestamp    int64
	// TxnFirstOffset is where the open transaction began, record.NoOffset without one.
	TxnFirstOffset record.Offset

	// Invariant: batches[:n] are in the order of the log, without holes in their sequence numbers.
	batches [producerBatches]ProducerBatch
	n       int8
}

// NewProducer is a producer of which nothing is known.
func NewProducer(id int64) Producer {
	return Producer{ID: id, Epoch: noProducerEpoch, CoordinatorEpoch: -1, LastTimestamp: noTimestamp, TxnFirstOffset: record.NoOffset}
}

// LastSequence is the last sequence number appended, -1 if none is known.
func (p *Producer) LastSequence() int32 {
	if p.n == 0 {
		return noSequence
	}
	return p.batches[p.n-1].LastSequence
}

// Batches are the last batches, at most 5, oldest first. The slice is a view of p.
func (p *Producer) Batches() []ProducerBatch { return p.batches[:p.n] }

// Check says whether batch b may follow: (zero, false, nil) if so; the batch that it repeats and true
// for a duplicate; or an error. Batches without a producer id or a sequence and control batches always may.
// Errors: ErrInvalidProducerEpoch; ErrDuplicateSequence: it was appended before, but too long ago for
// its offset to be known; ErrOutOfOrderSequence.
func (p *Producer) Check(b record.Batch) (dup ProducerBatch, duplicate bool, err error) {
	if b.ProducerID() < 0 || b.Attributes().Control() {
		return dup, false, nil
	}
	epoch, first, last := b.ProducerEpoch(), b.BaseSequence(), b.LastSequence()
	if epoch < p.Epoch {
		return dup, false, ErrInvalidProducerEpoch
	}
	if first < 0 {
		return dup, false, nil
	}
	if epoch > p.Epoch {
		// A new epoch starts at 0, except of a producer of which nothing is known (KIP-360).
		if p.Epoch != noProducerEpoch && first != 0 {
			return dup, false, ErrOutOfOrderSequence
		}
		return dup, false, nil
	}
	if p.n == 0 {
		return dup, false, nil
	}
	for _, x := range p.batches[:p.n] {
		if x.BaseSequence == first && x.LastSequence == last {
			return x, true, nil
		}
	}
	switch ahead := sequenceDistance(p.LastSequence(), first); {
	case ahead == 1:
		return dup, false, nil
	case sequenceDistance(p.batches[0].BaseSequence, last) < 0:
		return dup, false, ErrDuplicateSequence
	default:
		return dup, false, ErrOutOfOrderSequence
	}
}

// sequenceDistance is how far b lies after a; sequence numbers wrap from MaxInt32 to 0.
func sequenceDistance(a, b int32) int64 {
	d := (int64(b) - int64(a)) & math.MaxInt32
	if d > math.MaxInt32/2 {
		d -= math.MaxInt32 + 1
	}
	return d
}

// Update notes that b, with its final offsets, follows. It does not check. b may be a header alone
// unless it is a control batch.
func (p *Producer) Update(b record.Batch) { p.update(b, b.BaseOffset()) }

// update is Update for a batch whose base offset is still to be patched.
func (p *Producer) update(b record.Batch, base record.Offset) {
	if b.Attributes().Control() {
		p.endTransaction(b)
		return
	}
	if e := b.ProducerEpoch(); e != p.Epoch {
		p.Epoch, p.n = e, 0
	}
	p.LastTimestamp = b.MaxTimestamp()
	if b.Attributes().Transactional() && p.TxnFirstOffset == record.NoOffset {
		p.TxnFirstOffset = base
	}
	if b.BaseSequence() < 0 {
		return
	}
	x := ProducerBatch{
		BaseSequence: b.BaseSequence(), LastSequence: b.LastSequence(),
		BaseOffset: base, LastOffset: base + record.Offset(b.LastOffsetDelta()), Timestamp: b.MaxTimestamp(),
	}
	if p.n == producerBatches {
		copy(p.batches[:], p.batches[1:])
		p.n--
	}
	p.batches[p.n] = x
	p.n++
}

// endTransaction notes a control batch: a marker ends the transaction.
func (p *Producer) endTransaction(b record.Batch) {
	if len(b) == record.HeaderLen {
		return // compacted: the whole transaction is gone
	}
	for r, err := range b.Records(maxMarkerBytes) {
		if err != nil {
			return
		}
		kind, coordinator, err := record.ParseControl(r)
		if err != nil || kind != record.ControlAbort && kind != record.ControlCommit {
			return
		}
		if e := b.ProducerEpoch(); e != p.Epoch {
			p.Epoch, p.n = e, 0
		}
		p.CoordinatorEpoch, p.LastTimestamp, p.TxnFirstOffset = coordinator, r.Timestamp, record.NoOffset
		return
	}
}

// ProducerStates are the idempotent producers of one partition. Safe for concurrent use.
type ProducerStates struct {
	mu sync.RWMutex
	// mu guards:
	byID map[int64]*Producer
	next record.Offset // every batch below has been noted
}

// NewProducerStates returns the state of an empty log that begins at next.
func NewProducerStates(next record.Offset) *ProducerStates {
	return &ProducerStates{byID: make(map[int64]*Producer), next: next}
}

// Get returns a copy of what is known of a producer.
func (s *ProducerStates) Get(id int64) (Producer, bool) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	p, ok := s.byID[id]
	if !ok {
		return NewProducer(id), false
	}
	return *p, true
}

// Check is Producer.Check against what is known of the batch's producer.
func (s *ProducerStates) Check(b record.Batch) (dup ProducerBatch, duplicate bool, err error) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	p, ok := s.byID[b.ProducerID()]
	if !ok {
		return dup, false, nil
	}
	return p.Check(b)
}

// Update notes a batch with its final offsets.
func (s *ProducerStates) Update(b record.Batch) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.updateLocked(b, b.BaseOffset())
}

func (s *ProducerStates) updateLocked(b record.Batch, base record.Offset) {
	if id := b.ProducerID(); id > noProducerID {
		p, ok := s.byID[id]
		if !ok {
			x := NewProducer(id)
			p = &x
			s.byID[id] = p
		}
		p.update(b, base)
	}
	s.next = base + record.Offset(b.LastOffsetDelta()) + 1
}

// Expire forgets the producers without an open transaction whose last timestamp lies before
// beforeMillis, and returns their ids, ascending.
func (s *ProducerStates) Expire(beforeMillis int64) (ids []int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for id, p := range s.byID {
		if p.TxnFirstOffset == record.NoOffset && p.LastTimestamp < beforeMillis {
			ids = append(ids, id)
			delete(s.byID, id)
		}
	}
	slices.Sort(ids)
	return ids
}

// All returns a copy of every producer, by id.
func (s *ProducerStates) All() []Producer {
	ps, _ := s.snapshot()
	return ps
}

// Len is how many producers are known.
func (s *ProducerStates) Len() int {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return len(s.byID)
}

func (s *ProducerStates) snapshot() (ps []Producer, next record.Offset) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	ps = make([]Producer, 0, len(s.byID))
	for _, p := range s.byID {
		ps = append(ps, *p)
	}
	slices.SortFunc(ps, func(a, b Producer) int {
		if a.ID < b.ID {
			return -1
		}
		return 1
	})
	return ps, s.next
}

// reset replaces the whole state.
func (s *ProducerStates) reset(ps []Producer, next record.Offset) {
	s.mu.Lock()
	defer s.mu.Unlock()
	clear(s.byID)
	for i := range ps {
		s.byID[ps[i].ID] = &ps[i]
	}
	s.next = next
}
