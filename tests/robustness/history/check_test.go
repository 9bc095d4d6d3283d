package history

import (
	"bytes"
	"errors"
	"math/rand/v2"
	"reflect"
	"slices"
	"testing"
)

// healthy makes the history of a log that does everything right: two producers, one of which loses track once,
// two consumers of which one starts over, failed and unknown writes, and a final reading.
func healthy(seed uint64, partitions int32, batches int) []Op {
	rng := rand.New(rand.NewPCG(seed, 1))
	var ops []Op
	now, value := int64(0), int64(0)
	tick := func() int64 { now += 1 + rng.Int64N(100); return now }
	for p := range partitions {
		var log []int64
		var epochs []int32
		epoch := int32(3)
		order := map[int]int64{}
		next := map[int]int64{100: 0, 101: 0}
		poll := func(consumer int, final bool) {
			from := next[consumer]
			to := min(int64(len(log)), from+1+rng.Int64N(40))
			op := Op{Kind: Poll, Process: consumer, Partition: p, Status: OK, Start: tick(), Offset: from, HighWatermark: int64(len(log)), Final: final, Node: lastOf(epochs, epoch), Epoch: lastOf(epochs, epoch)}
			for o := from; o < to; o++ {
				op.Values, op.Offsets, op.Epochs = append(op.Values, log[o]), append(op.Offsets, o), append(op.Epochs, epochs[o])
			}
			op.End = tick()
			next[consumer] = to
			ops = append(ops, op)
		}
		assign := func(consumer int, final bool) {
			next[consumer] = 0
			ops = append(ops, Op{Kind: Assign, Process: consumer, Partition: p, Status: OK, Start: tick(), End: tick(), Final: final})
		}
		assign(100, false)
		assign(101, false)
		for b := range batches {
			if b == batches/2 {
				epoch += 5 // another leader
				assign(101, false)
			}
			node := epoch // led by the node of the same number
			if b%10 == 0 {
				ops = append(ops, Op{Kind: Leader, Partition: p, Start: tick(), End: now, Node: 1 + rng.Int32N(3), Leader: node, Epoch: epoch, Session: 77})
				ops = append(ops, Op{Kind: Offsets, Partition: p, Start: tick(), End: now, Node: node, Epoch: epoch, HighWatermark: int64(len(log)), LogStart: None})
				if at := slices.Index(epochs, 8); at >= 0 {
					ops = append(ops, Op{Kind: EpochEnd, Partition: p, Start: tick(), End: now, Node: node, Epoch: epoch, Asked: 3, Answered: 3, Offset: int64(at)})
				}
			}
			producer := rng.IntN(2)
			if producer == 1 && b > batches/2 {
				producer = 2 // goes on as a new process
			}
			op := Op{Kind: Send, Process: producer, Partition: p, Start: tick(), Offset: None, Order: order[producer], Node: node, Attempts: 1}
			order[producer]++
			for range 1 + rng.IntN(6) {
				op.Values = append(op.Values, value)
				value++
			}
			written := true
			switch rng.IntN(20) {
			case 0:
				op.Status, written = Fail, false
			case 1:
				op.Status, written = Unknown, rng.IntN(2) == 0
			default:
				op.Status, op.Offset = OK, int64(len(log))
			}
			if written {
				for range op.Values {
					epochs = append(epochs, epoch)
				}
				log = append(log, op.Values...)
			}
			op.End = tick()
			ops = append(ops, op)
			if rng.IntN(2) == 0 {
				poll(100+rng.IntN(2), false)
			}
		}
		for _, consumer := range []int{100, 101} {
			for next[consumer] < int64(len(log)) {
				poll(consumer, false)
			}
		}
		assign(102, true)
		for next[102] < int64(len(log)) {
			poll(102, true)
		}
	}
	return ops
}

// lastOf returns the last element, or what stands for it.
func lastOf(list []int32, none int32) int32 {
	if len(list) == 0 {
		return none
	}
	return list[len(list)-1]
}

// isolation is a time in which node 9, which the healthy histories do not know, was cut off.
var isolation = Window{Node: 9, From: 1, To: 1 << 30}

var lenient = Options{Partitions: 3, MinAcked: 100, MaxUnknown: 0.2, Isolated: []Window{isolation}}

func TestCheck_HealthyHistoryPasses(t *testing.T) {
	for seed := range uint64(50) {
		ops := healthy(seed, 3, 100)
		r := Check(ops, lenient)
		if !r.Passed() {
			t.Fatalf("seed %d: %v", seed, r.Violations)
		}
		if r.Acked == 0 || r.Failed == 0 || r.Unknown == 0 || r.Revived == 0 || r.Read == 0 || r.Lost() != 0 {
			t.Fatalf("seed %d: the history has not every kind of result: %+v", seed, r)
		}
	}
}

// find returns the first operation for which f holds.
func find(t *testing.T, ops []Op, f func(Op) bool) *Op {
	t.Helper()
	i := slices.IndexFunc(ops, f)
	if i < 0 {
		t.Fatal("the history has no such operation")
	}
	return &ops[i]
}

// eachPoll changes every poll of a partition that holds the value.
func eachPoll(ops []Op, v int64, change func(op *Op, i int)) {
	for j := range ops {
		if i := slices.Index(ops[j].Values, v); ops[j].Kind == Poll && i >= 0 {
			change(&ops[j], i)
		}
	}
}

// drop removes the i-th value of a poll, as if it had not been returned.
func drop(op *Op, i int) {
	op.Values = slices.Delete(slices.Clone(op.Values), i, i+1)
	op.Offsets = slices.Delete(slices.Clone(op.Offsets), i, i+1)
	op.Epochs = slices.Delete(slices.Clone(op.Epochs), i, i+1)
}

func acked(min int) func(Op) bool {
	return func(op Op) bool {
		return op.Kind == Send && op.Status == OK && len(op.Values) >= min && op.Partition == 1 && op.Offset > 10
	}
}

func polled(min int) func(Op) bool {
	return func(op Op) bool {
		return op.Kind == Poll && len(op.Values) >= min && op.Partition == 1 && op.Offset > 10 && !op.Final
	}
}

func highest(ops []Op) int64 {
	top := int64(0)
	for _, op := range ops {
		for _, o := range op.Offsets {
			if op.Partition == 1 {
				top = max(top, o)
			}
		}
	}
	return top
}

// TestCheck_BrokenHistoriesAreCaught is the control of every rule: a healthy history is broken in one way, and
// the rule for it must find it.
func TestCheck_BrokenHistoriesAreCaught(t *testing.T) {
	for _, row := range []struct {
		name  string
		rule  Rule
		spoil func(t *testing.T, ops []Op) []Op
	}{
		{"acknowledged value is missing for all readers", LostWrite, func(t *testing.T, ops []Op) []Op {
			eachPoll(ops, find(t, ops, acked(1)).Values[0], drop)
			return ops
		}},
		{"acknowledged batch is missing for all readers", LostWrite, func(t *testing.T, ops []Op) []Op {
			for _, v := range find(t, ops, acked(3)).Values {
				eachPoll(ops, v, drop)
			}
			return ops
		}},
		{"acknowledged without an offset and never read", LostWrite, func(_ *testing.T, ops []Op) []Op {
			return append(ops, Op{Kind: Send, Process: 9, Partition: 1, Status: OK, Offset: None, Values: []int64{1 << 40}})
		}},
		{"unknown batch is read in part", LostWrite, func(t *testing.T, ops []Op) []Op {
			op := find(t, ops, acked(3))
			op.Status, op.Offset = Unknown, None
			eachPoll(ops, op.Values[1], drop)
			return ops
		}},
		{"acknowledged at the end and never read", Unseen, func(_ *testing.T, ops []Op) []Op {
			return append(ops, Op{Kind: Send, Process: 9, Partition: 1, Status: OK, Offset: highest(ops) + 1, Values: []int64{1 << 40}})
		}},
		{"acknowledged and read before, and gone in the end", Vanished, func(t *testing.T, ops []Op) []Op {
			eachPoll(ops, find(t, ops, polled(2)).Values[1], func(op *Op, i int) {
				if op.Final {
					drop(op, i)
				}
			})
			return ops
		}},
		{"final reading sees an empty log", Vanished, func(_ *testing.T, ops []Op) []Op {
			return slices.DeleteFunc(ops, func(op Op) bool { return op.Final && op.Kind == Poll && op.Partition == 1 })
		}},
		{"two readers see two values at one offset", InconsistentOffsets, func(t *testing.T, ops []Op) []Op {
			op := find(t, ops, polled(3))
			op.Values = slices.Clone(op.Values)
			op.Values[0], op.Values[1] = op.Values[1], op.Values[0]
			return ops
		}},
		{"acknowledged at an offset where another value is read", InconsistentOffsets, func(t *testing.T, ops []Op) []Op {
			find(t, ops, acked(1)).Offset++
			return ops
		}},
		{"batch was written twice", Duplicate, func(t *testing.T, ops []Op) []Op {
			v := find(t, ops, acked(1)).Values[0]
			o := highest(ops) + 1
			return append(ops, Op{Kind: Poll, Process: 100, Partition: 1, Values: []int64{v}, Offsets: []int64{o}, HighWatermark: o + 1})
		}},
		{"failed write is read", FailedButSeen, func(t *testing.T, ops []Op) []Op {
			find(t, ops, acked(1)).Status = Fail
			return ops
		}},
		{"value is read that nobody wrote", NeverWritten, func(t *testing.T, ops []Op) []Op {
			find(t, ops, polled(1)).Values[0] = 1 << 41
			return ops
		}},
		{"value is read in another partition", NeverWritten, func(t *testing.T, ops []Op) []Op {
			v := find(t, ops, acked(1)).Values[0]
			return append(ops, Op{Kind: Poll, Process: 100, Partition: 0, Values: []int64{v}, Offsets: []int64{1 << 20}, HighWatermark: 1 << 21})
		}},
		{"bytes are not those of any producer", Damaged, func(t *testing.T, ops []Op) []Op {
			op := find(t, ops, polled(2))
			op.Damaged = []int64{op.Offsets[1]}
			return ops
		}},
		{"consumer passes over a value", PollSkip, func(t *testing.T, ops []Op) []Op {
			drop(find(t, ops, polled(3)), 1)
			return ops
		}},
		{"consumer passes over a whole poll", PollSkip, func(t *testing.T, ops []Op) []Op {
			op := find(t, ops, polled(3))
			op.Values, op.Offsets, op.Epochs = nil, nil, nil
			return ops
		}},
		{"consumer begins after the offset assigned", PollSkip, func(t *testing.T, ops []Op) []Op {
			drop(find(t, ops, func(op Op) bool { return op.Kind == Poll && op.Partition == 1 && op.Offset == 0 && len(op.Values) > 1 }), 0)
			return ops
		}},
		{"consumer reads a poll again", NonmonotonicPoll, func(t *testing.T, ops []Op) []Op {
			op := *find(t, ops, polled(2))
			i := slices.IndexFunc(ops, func(o Op) bool { return o.Start == op.Start })
			return slices.Insert(ops, i, op)
		}},
		{"consumer goes back within one poll", NonmonotonicPoll, func(t *testing.T, ops []Op) []Op {
			op := find(t, ops, polled(3))
			op.Values, op.Offsets = slices.Clone(op.Values), slices.Clone(op.Offsets)
			slices.Reverse(op.Values)
			slices.Reverse(op.Offsets)
			return ops
		}},
		{"later write of a producer lands first", NonmonotonicSend, func(t *testing.T, ops []Op) []Op {
			first := find(t, ops, acked(1))
			second := find(t, ops, func(op Op) bool { return acked(1)(op) && op.Process == first.Process && op.Order > first.Order })
			first.Order, second.Order = second.Order, first.Order
			return ops
		}},
		{"values within a batch change places", NonmonotonicSend, func(t *testing.T, ops []Op) []Op {
			op := find(t, ops, acked(3))
			op.Status, op.Offset = Unknown, None
			slices.Reverse(op.Values)
			return ops
		}},
		{"an offset holds nothing", OffsetGap, func(t *testing.T, ops []Op) []Op {
			from := find(t, ops, acked(1)).Offset
			for i := range ops {
				if ops[i].Partition != 1 {
					continue
				}
				for j, o := range ops[i].Offsets {
					if o >= from {
						ops[i].Offsets[j]++
					}
				}
				if ops[i].Kind == Send && ops[i].Offset >= from {
					ops[i].Offset++
				}
			}
			return ops
		}},
		{"high watermark goes back", HighWatermarkBack, func(t *testing.T, ops []Op) []Op {
			seen := find(t, ops, polled(1)).HighWatermark
			return append(ops, Op{Kind: Poll, Process: 100, Partition: 1, Start: 1 << 40, End: 1 << 40, HighWatermark: seen - 1})
		}},
		{"high watermark is below what was acknowledged", HighWatermarkBack, func(t *testing.T, ops []Op) []Op {
			op := find(t, ops, acked(1))
			for i := range ops {
				if ops[i].Kind == Poll {
					ops[i].HighWatermark = None // nothing else tells
				}
			}
			return append(ops, Op{Kind: Poll, Process: 100, Partition: 1, Start: op.End + 1, End: op.End + 2, HighWatermark: op.Offset})
		}},
		{"high watermark is below what was read", HighWatermarkBack, func(t *testing.T, ops []Op) []Op {
			op := find(t, ops, polled(1))
			op.HighWatermark = op.Offsets[0] // the answer itself may be behind
			return append(ops, Op{Kind: Poll, Process: 100, Partition: 1, Start: 1 << 40, End: 1 << 40, HighWatermark: op.Offsets[0]})
		}},
		{"log start goes back", LogStartMoved, func(t *testing.T, ops []Op) []Op {
			find(t, ops, polled(1)).LogStart = 4
			return ops
		}},
		{"later offset has a smaller epoch", EpochBack, func(t *testing.T, ops []Op) []Op {
			v := find(t, ops, polled(1)).Values[0]
			eachPoll(ops, v, func(op *Op, i int) { op.Epochs[i] = 2 })
			return ops
		}},
		{"offset is read with two epochs", EpochChanged, func(t *testing.T, ops []Op) []Op {
			find(t, ops, polled(1)).Epochs[0]++
			return ops
		}},
		{"two nodes acknowledge in one epoch", TwoLeaders, func(t *testing.T, ops []Op) []Op {
			find(t, ops, acked(1)).Node = 2
			return ops
		}},
		{"two nodes are named for one epoch", TwoLeaders, func(t *testing.T, ops []Op) []Op {
			find(t, ops, func(op Op) bool { return op.Kind == Leader && op.Partition == 1 }).Leader = 2
			return ops
		}},
		{"a node answers in the epoch of another", TwoLeaders, func(t *testing.T, ops []Op) []Op {
			find(t, ops, polled(1)).Node = 2
			return ops
		}},
		{"a broker tells of an older epoch", LeaderEpochBack, func(_ *testing.T, ops []Op) []Op {
			return append(ops, Op{Kind: Leader, Partition: 1, Start: 1 << 40, End: 1 << 40, Node: 1, Leader: 3, Epoch: 3, Session: 77})
		}},
		{"the end of an epoch moves", EpochEndWrong, func(t *testing.T, ops []Op) []Op {
			find(t, ops, func(op Op) bool { return op.Kind == EpochEnd && op.Partition == 1 }).Offset--
			return ops
		}},
		{"the end of an epoch lies within it", EpochEndWrong, func(_ *testing.T, ops []Op) []Op {
			for i := range ops {
				if ops[i].Kind == EpochEnd {
					ops[i].Offset--
				}
			}
			return ops
		}},
		{"the end of an epoch lies behind it", EpochEndWrong, func(_ *testing.T, ops []Op) []Op {
			for i := range ops {
				if ops[i].Kind == EpochEnd {
					ops[i].Offset++
				}
			}
			return ops
		}},
		{"a deposed leader appends before what was acknowledged", StaleAppend, func(t *testing.T, ops []Op) []Op {
			op := *find(t, ops, acked(1))
			op.Start, op.End, op.Order = 1<<40, 1<<40, 1<<20
			return append(ops, op)
		}},
		{"a node that is cut off acknowledges", MinorityAck, func(t *testing.T, ops []Op) []Op {
			op := find(t, ops, acked(1))
			op.Node, op.Start, op.End = 9, isolation.From, isolation.To
			return ops
		}},
		{"a second answer names another offset", Duplicate, func(t *testing.T, ops []Op) []Op {
			op := *find(t, ops, acked(1))
			op.Kind, op.Offset = Echo, highest(ops)+1
			return append(ops, op)
		}},
		{"ListOffsets goes back", HighWatermarkBack, func(t *testing.T, ops []Op) []Op {
			return append(ops, Op{Kind: Offsets, Partition: 1, Start: 1 << 40, End: 1 << 40, HighWatermark: highest(ops), LogStart: None})
		}},
		{"log start of ListOffsets goes back", LogStartMoved, func(t *testing.T, ops []Op) []Op {
			find(t, ops, func(op Op) bool { return op.Kind == Offsets && op.Partition == 1 }).LogStart = 4
			return ops
		}},
		{"broker forgot the producer", SequenceLost, func(t *testing.T, ops []Op) []Op {
			op := find(t, ops, acked(1))
			op.Status, op.Lost = Unknown, true
			return ops
		}},
		{"position of a consumer is gone", SequenceLost, func(t *testing.T, ops []Op) []Op {
			find(t, ops, polled(1)).Lost = true
			return ops
		}},
		{"nothing was acknowledged", ThinHistory, func(_ *testing.T, ops []Op) []Op {
			return slices.DeleteFunc(ops, func(op Op) bool { return op.Kind == Send || op.Kind == Poll })
		}},
		{"nothing was acknowledged in one partition", ThinHistory, func(_ *testing.T, ops []Op) []Op {
			return slices.DeleteFunc(ops, func(op Op) bool { return op.Partition == 2 })
		}},
		{"history is empty", ThinHistory, func(*testing.T, []Op) []Op { return nil }},
		{"most results are unknown", VagueHistory, func(_ *testing.T, ops []Op) []Op {
			for i := range ops {
				if ops[i].Kind == Send && i%4 > 0 {
					ops[i].Status, ops[i].Offset = Unknown, None
				}
			}
			return ops
		}},
		{"nobody read everything at the end", NoFinalReading, func(_ *testing.T, ops []Op) []Op {
			return slices.DeleteFunc(ops, func(op Op) bool { return op.Final })
		}},
		{"value was handed out twice", Malformed, func(t *testing.T, ops []Op) []Op {
			return append(ops, *find(t, ops, acked(1)))
		}},
		{"operation ends before it begins", Malformed, func(t *testing.T, ops []Op) []Op {
			find(t, ops, acked(1)).End = 0
			return ops
		}},
	} {
		t.Run(row.name, func(t *testing.T) {
			for seed := range uint64(5) {
				r := Check(row.spoil(t, healthy(seed, 3, 100)), lenient)
				if r.Count[row.rule] == 0 {
					t.Fatalf("seed %d: %s was not found, but %v", seed, row.rule, r.Violations)
				}
			}
		})
	}
}

// TestCheck_UnknownResultsAreNoErrors: an unknown write may be there or not.
func TestCheck_UnknownResultsAreNoErrors(t *testing.T) {
	ops := healthy(1, 1, 50)
	for i := range ops {
		if ops[i].Kind == Send && ops[i].Status == OK {
			ops[i].Status, ops[i].Offset = Unknown, None
		}
	}
	ops = append(ops, Op{Kind: Send, Process: 7, Status: Unknown, Offset: None, Values: []int64{1 << 40}})
	r := Check(ops, Options{MaxUnknown: 1})
	delete(r.Count, ThinHistory)
	if !r.Passed() {
		t.Fatal(r.Violations)
	}
}

// TestCheck_WeakHistories: with acks=1 what was acknowledged may be lost and its offset given to another value,
// but what was read stays, once.
func TestCheck_WeakHistories(t *testing.T) {
	weak := lenient
	weak.Weak = true
	ops := healthy(1, 3, 100)
	lost := find(t, ops, acked(1))
	other := *lost
	other.Process, other.Values = 9, []int64{1 << 40} // what the next leader did not have
	ops = append(ops, other)
	r := Check(ops, weak)
	if !r.Passed() || r.WeakLost != 1 || r.Lost() != 0 {
		t.Fatalf("%d lost, %v", r.WeakLost, r.Violations)
	}
	if r := Check(ops, lenient); r.Count[InconsistentOffsets] == 0 {
		t.Fatal("with acks=all the same history passed")
	}
	for _, row := range []struct {
		rule  Rule
		spoil func(ops []Op) []Op
	}{
		{Vanished, func(ops []Op) []Op {
			eachPoll(ops, find(t, ops, polled(2)).Values[1], func(op *Op, i int) {
				if op.Final {
					drop(op, i)
				}
			})
			return ops
		}},
		{Duplicate, func(ops []Op) []Op {
			v, o := find(t, ops, polled(1)).Values[0], highest(ops)+1
			return append(ops, Op{Kind: Poll, Process: 100, Partition: 1, Values: []int64{v}, Offsets: []int64{o}, HighWatermark: o + 1})
		}},
	} {
		if r := Check(row.spoil(healthy(1, 3, 100)), weak); r.Count[row.rule] == 0 {
			t.Errorf("%s was not found: %v", row.rule, r.Violations)
		}
	}
}

func TestCheck_ReportsAreBounded(t *testing.T) {
	ops := healthy(2, 1, 400)
	for i := range ops {
		if ops[i].Kind == Send {
			ops[i].Status = Fail
		}
	}
	r := Check(ops, Options{})
	if n := r.Count[FailedButSeen]; n < 100 || len(r.Violations) > 3*maxReported {
		t.Fatalf("%d violations counted, %d spelled out", n, len(r.Violations))
	}
}

func TestRecorder_HistoryIsReadBack(t *testing.T) {
	var file bytes.Buffer
	r := NewRecorder(&file)
	for _, op := range healthy(3, 2, 20) {
		op.Start = r.Now()
		r.Record(op)
	}
	ops, err := r.Finish()
	if err != nil {
		t.Fatal(err)
	}
	back, err := Read(&file)
	if err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(Check(ops, Options{}), Check(back, Options{})) || len(ops) != len(back) {
		t.Fatal("the history that was read differs from the one recorded")
	}
}

type fullDisk struct{}

func (fullDisk) Write([]byte) (int, error) { return 0, errors.New("no space left") }

func TestRecorder_FailedWriteIsReported(t *testing.T) {
	r := NewRecorder(fullDisk{})
	r.Record(Op{})
	if _, err := r.Finish(); err == nil {
		t.Fatal("a history that was not stored passed as stored")
	}
}

func BenchmarkCheck(b *testing.B) {
	ops := healthy(1, 6, 10_000)
	values := 0
	for _, op := range ops {
		if op.Kind == Send {
			values += len(op.Values)
		}
	}
	b.ResetTimer()
	for b.Loop() {
		Check(ops, lenient)
	}
	b.ReportMetric(float64(values)*float64(b.N)/b.Elapsed().Seconds(), "values/s")
}

// trimmed is a history of a log whose start has moved to offset 2: what lay before it is not read at the end.
func trimmed() []Op {
	return []Op{
		{Kind: Send, Status: OK, Node: 1, Start: 1, End: 2, Attempts: 1, Values: []int64{1, 2}, Offset: 0, HighWatermark: None, LogStart: None},
		{Kind: Send, Status: OK, Node: 1, Start: 3, End: 4, Attempts: 1, Order: 1, Values: []int64{3, 4}, Offset: 2, HighWatermark: None, LogStart: None},
		{Kind: Poll, Process: 9, Status: OK, Node: 1, Epoch: 5, Start: 5, End: 6, Values: []int64{1, 2}, Offsets: []int64{0, 1}, Epochs: []int32{5, 5}, HighWatermark: 4, LogStart: 0},
		{Kind: Offsets, Status: OK, Node: 1, Epoch: 5, Start: 7, End: 8, Offset: None, HighWatermark: None, LogStart: 2},
		{Kind: Assign, Process: 10, Status: OK, Start: 9, End: 9, Offset: 2, HighWatermark: None, LogStart: None, Final: true},
		{Kind: Poll, Process: 10, Status: OK, Node: 1, Epoch: 5, Start: 9, End: 10, Values: []int64{3, 4}, Offsets: []int64{2, 3}, Epochs: []int32{5, 5}, HighWatermark: 4, LogStart: 2, Final: true},
	}
}

func TestTrims_WhatLiesBeforeTheLogStartMayBeGone(t *testing.T) {
	if r := Check(trimmed(), Options{Partitions: 1, Trims: true}); !r.Passed() {
		t.Errorf("%v", r.Violations)
	}
	if r := Check(trimmed(), Options{Partitions: 1}); r.Count[Vanished] != 2 {
		t.Errorf("without Trims: %v", r.Count)
	}
	lost := trimmed()
	lost[5].Values, lost[5].Offsets, lost[5].Epochs = []int64{4}, []int64{3}, []int32{5}
	if r := Check(lost, Options{Partitions: 1, Trims: true}); r.Count[LostWrite] != 1 {
		t.Errorf("a value behind the log start is missing: %v", r.Count)
	}
	back := append(trimmed(), Op{Kind: Offsets, Status: OK, Node: 1, Epoch: 5, Start: 11, End: 12, Offset: None, HighWatermark: None, LogStart: 1})
	if r := Check(back, Options{Partitions: 1, Trims: true}); r.Count[LogStartMoved] != 1 {
		t.Errorf("the log start went back: %v", r.Count)
	}
}

func TestUnacknowledged_ReadingIsEnough(t *testing.T) {
	ops := []Op{
		{Kind: Send, Status: Unknown, Node: 1, Start: 1, End: 2, Attempts: 1, Values: []int64{1}, Offset: None, HighWatermark: None, LogStart: None},
		{Kind: Send, Status: Unknown, Node: 1, Start: 3, End: 4, Attempts: 1, Order: 1, Values: []int64{2}, Offset: None, HighWatermark: None, LogStart: None},
		{Kind: Poll, Process: 9, Status: OK, Node: 1, Epoch: 5, Start: 5, End: 6, Values: []int64{2}, Offsets: []int64{0}, Epochs: []int32{5}, HighWatermark: 1, LogStart: 0, Final: true},
	}
	if r := Check(ops, Options{Partitions: 1, Weak: true, Unacknowledged: true}); !r.Passed() || r.Unknown-r.Read != 1 {
		t.Errorf("%v", r.Violations)
	}
	if r := Check(ops[:2], Options{Partitions: 1, Weak: true, Unacknowledged: true}); r.Count[ThinHistory] == 0 {
		t.Error("nothing was read, and it passes")
	}
}
