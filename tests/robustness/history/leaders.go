package history

import (
	"cmp"
	"slices"
	"sort"
)

// checkAppends looks at appends in real time: one that began after another had been acknowledged stands behind it.
// A leader that was deposed and acknowledges nevertheless shows here.
func (p *partition) checkAppends() {
	var byStart []*Op
	for _, op := range p.ops {
		if op.Kind == Send && op.Status == OK && op.Offset >= 0 && !p.o.Weak {
			byStart = append(byStart, op)
		}
	}
	byEnd := slices.Clone(byStart)
	slices.SortStableFunc(byStart, func(a, b *Op) int { return cmp.Compare(a.Start, b.Start) })
	slices.SortStableFunc(byEnd, func(a, b *Op) int { return cmp.Compare(a.End, b.End) })
	earlier, floor := 0, int64(None)
	for _, op := range byStart {
		for ; earlier < len(byEnd) && byEnd[earlier].End < op.Start; earlier++ {
			floor = max(floor, byEnd[earlier].Offset)
		}
		if op.Offset < floor {
			p.bad(StaleAppend, "process %d, order %d, sent at %d ns to node %d: offset %d, after offset %d had been acknowledged", op.Process, op.Order, op.Start, op.Node, op.Offset, floor)
		}
	}
}

// checkIsolated looks for acknowledgements of what was sent to a broker only while it was cut off.
func (p *partition) checkIsolated() {
	if p.o.Weak {
		return
	}
	for _, op := range p.ops {
		if op.Kind != Send || op.Status != OK || op.Attempts != 1 {
			continue
		}
		for _, w := range p.o.Isolated {
			if op.Node == w.Node && op.Start >= w.From && op.End <= w.To {
				p.bad(MinorityAck, "node %d, cut off from %d to %d ns, acknowledged at %d ns what was sent at %d ns: offset %d", w.Node, w.From, w.To, op.End, op.Start, op.Offset)
			}
		}
	}
}

// checkLeaders looks for two leaders of one epoch: named in Metadata, accepting a request of that epoch, or
// acknowledging a batch that stands in the log with that epoch. An answer to what was sent more than once proves
// nothing, because a later leader may know the batch of an earlier one.
func (p *partition) checkLeaders() {
	type claim struct {
		node int32
		how  string
	}
	leads := map[int32]claim{}
	note := func(epoch, node int32, how string) {
		switch had, ok := leads[epoch]; {
		case !ok:
			leads[epoch] = claim{node, how}
		case had.node != node:
			p.bad(TwoLeaders, "epoch %d: node %d (%s) and node %d (%s)", epoch, had.node, had.how, node, how)
		}
	}
	for _, op := range p.ops {
		if op.Node <= 0 {
			continue
		}
		switch op.Kind {
		case Leader:
			if op.Leader > 0 {
				note(op.Epoch, op.Leader, "named")
			}
		case Send:
			if e, ok := p.epoch[op.Offset]; ok && op.Status == OK && op.Attempts == 1 && !p.o.Weak {
				note(e, op.Node, "acknowledged")
			}
		case Poll, Offsets, EpochEnd:
			if op.Epoch > 0 {
				note(op.Epoch, op.Node, "answered")
			}
		case Assign, Echo:
		}
	}
}

// checkSessions looks for brokers that tell of smaller epochs than before.
func (p *partition) checkSessions() {
	highest := map[int64]int32{}
	for _, op := range p.ops {
		if op.Kind != Leader {
			continue
		}
		if was, ok := highest[op.Session]; ok && op.Epoch < was {
			p.bad(LeaderEpochBack, "node %d told of epoch %d after %d on one connection", op.Node, op.Epoch, was)
		}
		highest[op.Session] = max(highest[op.Session], op.Epoch)
	}
}

// checkEpochEnds looks at where leaders say that past epochs end: always at the same place, and where the epochs
// of what was read change. The end of a leader's own epoch is the end of its log, which may yet be cut off.
func (p *partition) checkEpochEnds(known []int64) {
	type end struct {
		epoch  int32
		offset int64
	}
	ends := map[int32]end{}
	var seen []int64 // offsets of which the epoch is known
	for _, o := range known {
		if _, ok := p.epoch[o]; ok {
			seen = append(seen, o)
		}
	}
	for _, op := range p.ops {
		if op.Kind != EpochEnd || op.Asked >= op.Epoch {
			continue
		}
		if p.o.Trims && op.Offset <= p.start {
			continue // of epochs before the log start, that is given for their end
		}
		was, ok := ends[op.Asked]
		now := end{op.Answered, op.Offset}
		if ok && was != now {
			p.bad(EpochEndWrong, "node %d in epoch %d says that epoch %d ends at %d (as %d); before it was %d (as %d)", op.Node, op.Epoch, op.Asked, now.offset, now.epoch, was.offset, was.epoch)
		}
		ends[op.Asked] = now
		if ok && was == now {
			continue // looked at below when it came first
		}
		next := sort.Search(len(seen), func(i int) bool { return p.epoch[seen[i]] > op.Asked })
		if next > 0 && seen[next-1] >= op.Offset && op.Offset >= 0 {
			p.bad(EpochEndWrong, "node %d says that epoch %d ends at %d, but offset %d has epoch %d", op.Node, op.Asked, op.Offset, seen[next-1], p.epoch[seen[next-1]])
		}
		if next < len(seen) && seen[next] < op.Offset {
			p.bad(EpochEndWrong, "node %d says that epoch %d ends at %d, but offset %d has epoch %d", op.Node, op.Asked, op.Offset, seen[next], p.epoch[seen[next]])
		}
	}
}
