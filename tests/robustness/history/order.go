package history

import (
	"cmp"
	"slices"
)

// checkConsumers looks at what each consumer read, one poll after the other: every known offset, in order.
func (p *partition) checkConsumers() {
	type position struct {
		next int // place of the next offset among the known ones
		any  bool
	}
	at := map[int]position{}
	for _, op := range p.ops {
		switch op.Kind {
		case Assign:
			// The first offset at or after the one assigned is the next.
			at[op.Process] = position{next: p.placeOf(op.Offset), any: true}
		case Poll:
			pos := at[op.Process]
			for i, o := range op.Offsets {
				n := p.index[o]
				switch {
				case !pos.any:
				case n > pos.next:
					p.bad(PollSkip, "process %d read offset %d (value %d) and passed over %d known offsets", op.Process, o, op.Values[i], n-pos.next)
				case n < pos.next:
					p.bad(NonmonotonicPoll, "process %d read offset %d (value %d) again or too late", op.Process, o, op.Values[i])
				}
				pos = position{next: n + 1, any: true}
			}
			at[op.Process] = pos
		case Send, Echo, Leader, Offsets, EpochEnd:
		}
	}
}

// placeOf returns the place of the first known offset that is not below o.
func (p *partition) placeOf(o int64) int {
	if n, ok := p.index[o]; ok {
		return n
	}
	if o <= 0 {
		return 0
	}
	n := 0 // rare: an assignment in a gap or at the end
	for known := range p.at {
		if known < o {
			n++
		}
	}
	return n
}

// checkProducers looks at the order in which the values of each producer stand in the log.
func (p *partition) checkProducers() {
	sends := map[int][]*Op{}
	for _, op := range p.ops {
		if op.Kind == Send {
			sends[op.Process] = append(sends[op.Process], op)
		}
	}
	for process, list := range sends {
		slices.SortStableFunc(list, func(a, b *Op) int { return cmp.Compare(a.Order, b.Order) })
		highest, which := int64(None), int64(None)
		for _, op := range list {
			for _, v := range op.Values {
				o, ok := p.offset[v]
				switch {
				case !ok:
				case o <= highest:
					p.bad(NonmonotonicSend, "value %d of process %d stands at offset %d, before its earlier value %d at %d", v, process, o, which, highest)
				default:
					highest, which = o, v
				}
			}
		}
	}
}

// checkWatermarks compares what was seen at one time with what was seen strictly earlier: an operation counts
// as earlier if it ended before the other began.
func (p *partition) checkWatermarks() {
	type seen struct {
		start, end int64
		high, low  int64 // as observed; None if not
		floor      int64 // the high watermark is certainly not below: acknowledged or read
		process    int
	}
	var all []seen
	for _, op := range p.ops {
		s := seen{start: op.Start, end: op.End, high: None, low: None, floor: None, process: op.Process}
		switch {
		case op.Kind == Send && op.Status == OK && op.Offset >= 0 && !p.o.Weak:
			s.floor = op.Offset + int64(len(op.Values))
		case op.Kind == Poll && op.HighWatermark >= 0:
			// Kafka looks up the high watermark of the answer before it reads, so that what was read may lie
			// above it; from then on the high watermark may not be below either.
			s.high, s.low, s.floor = op.HighWatermark, op.LogStart, op.HighWatermark
			for _, o := range op.Offsets {
				s.floor = max(s.floor, o+1)
			}
		case op.Kind == Offsets:
			s.high, s.low, s.floor = op.HighWatermark, op.LogStart, op.HighWatermark
		default:
			continue
		}
		all = append(all, s)
	}
	byEnd := slices.Clone(all)
	slices.SortStableFunc(byEnd, func(a, b seen) int { return cmp.Compare(a.end, b.end) })
	slices.SortStableFunc(all, func(a, b seen) int { return cmp.Compare(a.start, b.start) })
	earlier, floor, low := 0, int64(None), int64(None)
	for _, s := range all {
		for ; earlier < len(byEnd) && byEnd[earlier].end < s.start; earlier++ {
			floor, low = max(floor, byEnd[earlier].floor), max(low, byEnd[earlier].low)
		}
		if s.high >= 0 && s.high < floor {
			p.bad(HighWatermarkBack, "process %d saw %d at %d ns, after offsets below %d had been acknowledged or read", s.process, s.high, s.start, floor)
		}
		if s.low >= 0 && s.low < low {
			p.bad(LogStartMoved, "process %d saw %d at %d ns, after %d", s.process, s.low, s.start, low)
		}
	}
}
