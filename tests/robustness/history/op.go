package history

// Kind says what an operation did.
type Kind string

// Kinds of operations.
const (
	Send   Kind = "send"   // one batch written to one partition
	Poll   Kind = "poll"   // what one fetch returned of one partition
	Assign Kind = "assign" // a consumer begins at an offset
	// Echo is one more answer to a send that is resolved already, because it had been sent twice.
	Echo Kind = "echo"
	// Leader is what a broker says in Metadata of who leads.
	Leader Kind = "leader"
	// Offsets is what the leader answers to ListOffsets.
	Offsets Kind = "offsets"
	// EpochEnd is what the leader answers to OffsetForLeaderEpoch: Asked → Answered, Offset.
	EpochEnd Kind = "epoch-end"
)

// Status is what is known of a write.
type Status string

// The three things that can be known.
const (
	OK      Status = "ok"
	Fail    Status = "fail" // certainly not done
	Unknown Status = "unknown"
)

// None stands for an offset, epoch or watermark that is not known.
const None = -1

// Op is one completed operation of one client on one partition.
type Op struct {
	Kind      Kind   `json:"kind"`
	Process   int    `json:"process"` // a producer or consumer; a producer that lost track goes on as a new one
	Partition int32  `json:"partition"`
	Status    Status `json:"status"`
	Start     int64  `json:"start"` // nanoseconds since the history began
	End       int64  `json:"end"`
	Error     string `json:"error,omitempty"`

	// Node is the broker that answered, 0 if not known. Leader is the one that it named.
	Node   int32 `json:"node,omitempty"`
	Leader int32 `json:"leader,omitempty"`
	// ISR are the in-sync replicas that were named with a leader.
	ISR []int32 `json:"isr,omitempty"`
	// Epoch is the leader epoch that was named, or that a request carried which the broker accepted.
	// Without Node it says nothing.
	Epoch int32 `json:"epoch,omitempty"`
	// Session is a connection to one broker: what it says does not go back within one.
	Session int64 `json:"session,omitempty"`
	// Attempts of a send are how often it was sent before the answer.
	Attempts int `json:"attempts,omitempty"`
	// Asked and Answered are the leader epochs of an epoch end.
	Asked    int32 `json:"asked,omitempty"`
	Answered int32 `json:"answered,omitempty"`

	// Values are unique in the whole history. Of a send: in the order of the batch.
	Values []int64 `json:"values,omitempty"`
	// Offset of a send is that of its first value, None if unknown; of an assign where reading begins.
	Offset int64 `json:"offset"`
	// Order of a send is its place among the sends of its process to its partition, as issued.
	Order int64 `json:"order,omitempty"`

	// Offsets and Epochs of a poll belong to its Values.
	Offsets []int64 `json:"offsets,omitempty"`
	Epochs  []int32 `json:"epochs,omitempty"`
	// Damaged are offsets whose bytes were not what any producer of this partition writes.
	Damaged       []int64 `json:"damaged,omitempty"`
	HighWatermark int64   `json:"highWatermark"`
	LogStart      int64   `json:"logStart"`
	// Final marks the reading of everything at the end, by one consumer that starts at offset 0.
	Final bool `json:"final,omitempty"`
	// Lost marks a result that an idempotent producer must never see, such as a gap in its sequence numbers
	// before its oldest unresolved batch, or a position that is no longer in the log.
	Lost bool `json:"lost,omitempty"`
}
