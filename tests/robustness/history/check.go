package history

import (
	"fmt"
	"slices"
)

// Rule names one kind of wrong.
type Rule string

// The rules. Those with a name from Jepsen mean what they mean there.
const (
	InconsistentOffsets Rule = "inconsistent-offsets" // one offset held two values
	Duplicate           Rule = "duplicate"            // one value stands at two offsets
	FailedButSeen       Rule = "failed-but-seen"      // a value was read whose write failed for certain (G1a)
	NeverWritten        Rule = "never-written"        // a value was read that nobody wrote there
	Damaged             Rule = "damaged"              // bytes were read that no producer of the partition writes
	LostWrite           Rule = "lost-write"           // an acknowledged value was skipped by everyone who read past it, or a batch is torn
	Unseen              Rule = "unseen"               // an acknowledged value was never read
	Vanished            Rule = "vanished"             // a value was acknowledged or read, and is not in the log at the end
	PollSkip            Rule = "poll-skip"            // a consumer passed over offsets
	NonmonotonicPoll    Rule = "nonmonotonic-poll"    // a consumer went back
	NonmonotonicSend    Rule = "nonmonotonic-send"    // a later write of a producer landed before an earlier one
	OffsetGap           Rule = "offset-gap"           // an offset below the end holds nothing
	HighWatermarkBack   Rule = "high-watermark-back"  // the high watermark went back, or below what was acknowledged or read
	LogStartMoved       Rule = "log-start-back"       // the log start went back
	EpochBack           Rule = "epoch-back"           // a later offset has a smaller leader epoch
	EpochChanged        Rule = "epoch-changed"        // a batch was read with two leader epochs
	TwoLeaders          Rule = "two-leaders"          // two brokers led, or acknowledged, in one leader epoch
	LeaderEpochBack     Rule = "leader-epoch-back"    // a broker told of a smaller leader epoch than before
	EpochEndWrong       Rule = "epoch-end-wrong"      // the end of a past leader epoch moved, or is not where the epoch ends
	StaleAppend         Rule = "stale-append"         // a write that began after another was acknowledged landed before it
	MinorityAck         Rule = "minority-ack"         // a broker acknowledged what was sent while it was cut off
	SequenceLost        Rule = "sequence-lost"        // the broker forgot an idempotent producer, or a consumer's position
	ThinHistory         Rule = "too-few-acknowledged" // the history proves nothing
	VagueHistory        Rule = "too-many-unknown"     // the history proves little
	NoFinalReading      Rule = "no-final-reading"     // nobody read everything at the end
	Malformed           Rule = "malformed-history"    // the recording itself is wrong
	maxReported              = 20                     // violations of one rule that are spelled out
)

// Options say what a history must show.
type Options struct {
	// Partitions must each have acknowledged values.
	Partitions int32
	// MinAcked is the least number of acknowledged values.
	MinAcked int
	// MaxUnknown is the largest share of written values whose fate may be unknown, from 0 to 1.
	MaxUnknown float64
	// Weak is for acks=1 and acks=0 without idempotence: what was acknowledged may be lost, and its offset
	// may be given to another value. What was read must stay, and nothing may be there twice.
	Weak bool
	// Unacknowledged is for acks=0: nothing is acknowledged, and anything may be lost. Weak goes with it.
	Unacknowledged bool
	// Trims: the log start moves, and what lies before it in the end is no longer in the log.
	Trims bool
	// Isolated are times in which brokers could not reach a majority.
	Isolated []Window
}

// Window is a time in the life of one broker.
type Window struct {
	Node     int32
	From, To int64 // nanoseconds since the history began
}

// Violation is one wrong that was found.
type Violation struct {
	Rule      Rule
	Partition int32
	Detail    string
}

func (v Violation) String() string {
	return fmt.Sprintf("%s in partition %d: %s", v.Rule, v.Partition, v.Detail)
}

// Report is the verdict on a history.
type Report struct {
	// Violations, at most some twenty of each rule; Count has all of them.
	Violations []Violation
	Count      map[Rule]int

	Sends, Polls           int // operations
	Acked, Failed, Unknown int // values written
	Read                   int // different values read
	Revived                int // values of unknown fate that turned out to be written
	Echoes                 int // further answers to what was sent twice
	WeakLost               int // values that Options.Weak allows to be lost
}

// Passed says that nothing is wrong.
func (r *Report) Passed() bool { return len(r.Count) == 0 }

// Lost is the number of acknowledged values that are gone.
func (r *Report) Lost() int { return r.Count[LostWrite] + r.Count[Unseen] + r.Count[Vanished] }

func (r *Report) add(rule Rule, partition int32, format string, args ...any) {
	r.Count[rule]++
	if r.Count[rule] <= maxReported {
		r.Violations = append(r.Violations, Violation{rule, partition, fmt.Sprintf(format, args...)})
	}
}

// Check judges a history of idempotent producers with acks=all, unless Options say otherwise, and of assigned
// consumers. It does not change ops.
func Check(ops []Op, o Options) *Report {
	r := &Report{Count: map[Rule]int{}}
	parts := map[int32]*partition{}
	final := false
	for i := range ops {
		op := &ops[i]
		if op.End < op.Start || op.Kind == Poll && len(op.Offsets) != len(op.Values) || op.Epochs != nil && len(op.Epochs) != len(op.Values) {
			r.add(Malformed, op.Partition, "operation %d: %+v", i, *op)
			continue
		}
		p := parts[op.Partition]
		if p == nil {
			p = newPartition(op.Partition, r, o)
			parts[op.Partition] = p
		}
		p.ops = append(p.ops, op)
		final = final || op.Final
	}
	ids := make([]int32, 0, len(parts))
	for id := range parts {
		ids = append(ids, id)
	}
	slices.Sort(ids)
	for _, id := range ids {
		parts[id].check()
	}
	for id := range o.Partitions {
		if p := parts[id]; p == nil || p.acked == 0 && (!o.Unacknowledged || len(p.read) == 0) {
			r.add(ThinHistory, id, "no value was acknowledged")
		}
	}
	if r.Acked < o.MinAcked || r.Acked == 0 && !o.Unacknowledged {
		r.add(ThinHistory, None, "%d values were acknowledged, want at least %d", r.Acked, max(o.MinAcked, 1))
	}
	if written := r.Acked + r.Failed + r.Unknown; !o.Unacknowledged && float64(r.Unknown) > o.MaxUnknown*float64(written) {
		r.add(VagueHistory, None, "%d of %d written values have an unknown fate, more than %.1f %%", r.Unknown, written, 100*o.MaxUnknown)
	}
	if !final {
		r.add(NoFinalReading, None, "no operation is marked as the final reading")
	}
	return r
}
