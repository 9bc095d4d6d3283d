package history

import (
	"slices"
)

// partition is what the history says about one partition.
type partition struct {
	id  int32
	r   *Report
	o   Options
	ops []*Op

	at     map[int64]int64 // offset → value, from acknowledgements and polls
	offset map[int64]int64 // value → offset
	epoch  map[int64]int32 // offset → leader epoch, from polls
	writer map[int64]*Op   // value → its send
	read   map[int64]bool  // values that somebody read
	last   map[int64]bool  // values of the final reading
	bound  int64           // the highest offset that was read
	acked  int             // values
	start  int64           // the log start in the end, with Options.Trims
	index  map[int64]int   // offset → place among the known offsets
}

func newPartition(id int32, r *Report, o Options) *partition {
	return &partition{
		id: id, r: r, o: o, bound: None,
		at: map[int64]int64{}, offset: map[int64]int64{}, epoch: map[int64]int32{},
		writer: map[int64]*Op{}, read: map[int64]bool{}, last: map[int64]bool{},
	}
}

func (p *partition) bad(rule Rule, format string, args ...any) { p.r.add(rule, p.id, format, args...) }

func (p *partition) check() {
	// A poll may complete before the send that it saw: writers first.
	for _, op := range p.ops {
		switch op.Kind {
		case Send:
			p.addSend(op)
		case Echo:
			p.addEcho(op)
		}
	}
	for _, op := range p.ops {
		if op.Kind == Poll {
			p.addPoll(op)
		}
	}
	known := p.indexOffsets()
	p.findStart()
	p.checkWrites()
	p.checkDense(known)
	p.checkEpochs(known)
	p.checkConsumers()
	p.checkProducers()
	p.checkWatermarks()
	p.checkAppends()
	p.checkIsolated()
	p.checkLeaders()
	p.checkSessions()
	p.checkEpochEnds(known)
}

func (p *partition) addSend(op *Op) {
	p.r.Sends++
	switch op.Status {
	case OK:
		p.r.Acked += len(op.Values)
		p.acked += len(op.Values)
	case Fail:
		p.r.Failed += len(op.Values)
	default:
		p.r.Unknown += len(op.Values)
	}
	if op.Lost {
		p.bad(SequenceLost, "process %d, order %d: %s", op.Process, op.Order, op.Error)
	}
	for i, v := range op.Values {
		if other := p.writer[v]; other != nil {
			p.bad(Malformed, "value %d is written twice", v)
		}
		p.writer[v] = op
		if op.Status == OK && op.Offset >= 0 && !p.o.Weak {
			p.place(op.Offset+int64(i), v)
		}
	}
}

// addEcho holds a further answer against the first.
func (p *partition) addEcho(op *Op) {
	p.r.Echoes++
	if op.Status != OK || op.Offset < 0 || p.o.Weak {
		return
	}
	for i, v := range op.Values {
		p.place(op.Offset+int64(i), v)
	}
}

func (p *partition) addPoll(op *Op) {
	p.r.Polls++
	if op.Lost {
		p.bad(SequenceLost, "consumer %d at offset %d: %s", op.Process, op.Offset, op.Error)
	}
	for _, o := range op.Damaged {
		p.bad(Damaged, "offset %d, read by process %d", o, op.Process)
		p.bound = max(p.bound, o)
	}
	for i, v := range op.Values {
		o := op.Offsets[i]
		p.bound = max(p.bound, o)
		switch w := p.writer[v]; {
		case w == nil:
			p.bad(NeverWritten, "value %d at offset %d", v, o)
		case w.Status == Fail:
			p.bad(FailedButSeen, "value %d at offset %d: %s", v, o, w.Error)
		case w.Status == Unknown && !p.read[v]:
			p.r.Revived++
		}
		if !p.read[v] {
			p.read[v] = true
			p.r.Read++
		}
		if op.Final {
			p.last[v] = true
		}
		p.place(o, v)
		if op.Epochs == nil {
			continue
		}
		if e, ok := p.epoch[o]; ok && e != op.Epochs[i] {
			p.bad(EpochChanged, "offset %d was read with epochs %d and %d", o, e, op.Epochs[i])
		}
		p.epoch[o] = op.Epochs[i]
	}
}

// findStart finds the log start in the end.
func (p *partition) findStart() {
	for _, op := range p.ops {
		if p.o.Trims && (op.Kind == Offsets || op.Kind == Poll) {
			p.start = max(p.start, op.LogStart)
		}
	}
}

// place notes that the value stands at the offset.
func (p *partition) place(o, v int64) {
	if other, ok := p.at[o]; ok && other != v {
		p.bad(InconsistentOffsets, "offset %d holds %d and %d", o, other, v)
	} else {
		p.at[o] = v
	}
	if other, ok := p.offset[v]; ok && other != o {
		p.bad(Duplicate, "value %d stands at offsets %d and %d", v, other, o)
	} else {
		p.offset[v] = o
	}
}

// indexOffsets returns the known offsets, ascending, and numbers them.
func (p *partition) indexOffsets() []int64 {
	known := make([]int64, 0, len(p.at))
	for o := range p.at {
		known = append(known, o)
	}
	slices.Sort(known)
	p.index = make(map[int64]int, len(known))
	for i, o := range known {
		p.index[o] = i
	}
	return known
}

// checkWrites looks for acknowledged values, and the rest of batches that were read in part, which are gone.
func (p *partition) checkWrites() {
	for _, op := range p.ops {
		if op.Kind != Send || op.Status == Fail {
			continue
		}
		torn := op.Status == Unknown && slices.ContainsFunc(op.Values, func(v int64) bool { return p.read[v] })
		for _, v := range op.Values {
			o, placed := p.offset[v]
			switch {
			case placed && o < p.start:
			case p.read[v] && !p.last[v] && p.anyFinal():
				p.bad(Vanished, "value %d was read at offset %d, and is not in the log at the end", v, o)
			case p.read[v]:
			case op.Status == OK && p.o.Weak:
				p.r.WeakLost++
			case op.Status == OK && (!placed || o <= p.bound):
				p.bad(LostWrite, "value %d was acknowledged at offset %d by process %d; others read up to %d", v, op.Offset, op.Process, p.bound)
			case op.Status == OK:
				p.bad(Unseen, "value %d was acknowledged at offset %d; nobody read beyond %d", v, o, p.bound)
			case torn:
				p.bad(LostWrite, "value %d is missing in a batch of process %d that was read in part", v, op.Process)
			}
		}
	}
}

// anyFinal says whether a final reading took place: of an empty log it leaves no values.
func (p *partition) anyFinal() bool {
	return slices.ContainsFunc(p.ops, func(op *Op) bool { return op.Final })
}

// checkDense looks for offsets below the end that hold nothing. There are no transactions here, whose markers
// would take offsets.
func (p *partition) checkDense(known []int64) {
	next := int64(0)
	for _, o := range known {
		if next < p.start {
			next = max(next, min(o, p.start))
		}
		if o != next {
			p.bad(OffsetGap, "offsets %d to %d hold nothing", next, o-1)
		}
		next = o + 1
	}
}

func (p *partition) checkEpochs(known []int64) {
	highest, where := int32(None), int64(None)
	for _, o := range known {
		e, ok := p.epoch[o]
		switch {
		case !ok:
		case e < highest:
			p.bad(EpochBack, "offset %d has epoch %d, and offset %d before it %d", o, e, where, highest)
		default:
			highest, where = e, o
		}
	}
}
