package dledger

import (
	"time"

	"github.com/stelemq/stele/protocol/record"
)

// MetadataShard is the first group of the cluster metadata; NextMetadataGroup names those that come after it.
const MetadataShard ShardID = 1

// Acks is the producer's durability wish, as on the wire.
type Acks int16

// Acks a producer may ask for.
const (
	AcksAll    Acks = -1
	AcksNone   Acks = 0
	AcksLeader Acks = 1
)

// AppendRequest offers one record batch to a partition.
type AppendRequest struct {
	// Batch is whole and validated (record.Batch.Validate). Its bytes belong to the caller and must
	// stay unchanged until Done has been called without an error; after one they must stay so for good, as the batch may
	// still be appended. They are never modified.
	Batch record.Batch
	Acks  Acks
	// Timeout bounds the wait for the answer; the batch may still be appended after ErrTimeout.
	Timeout time.Duration
	// Done is called exactly once unless Append returned an error, from any goroutine, possibly before
	// Append returns. It must not block.
	Done func(AppendResult)
}

// AppendResult is the answer to an AppendRequest.
type AppendResult struct {
	// BaseOffset of the batch; of the first append if this was a duplicate. record.NoOffset with Err.
	BaseOffset     record.Offset
	LogStartOffset record.Offset
	// Err is nil, ErrNotLeader, ErrNotEnoughReplicasAfterAppend, ErrTimeout, ErrOutOfOrderSequence,
	// ErrDuplicateSequence, ErrInvalidProducerEpoch, ErrNoSpace or ErrClosed.
	Err error
}

// Offsets are a partition's watermarks, taken together.
// Invariant: LogStart <= LastStable <= HighWatermark <= LogEnd.
type Offsets struct {
	// LogStart is the first offset that may be read.
	LogStart record.Offset
	// LastStable bounds read_committed readers, exclusive.
	LastStable record.Offset
	// HighWatermark bounds all consumers, exclusive.
	HighWatermark record.Offset
	// LogEnd is the offset that the next record gets.
	LogEnd record.Offset
}

// Leadership is who leads a partition, as this replica knows it.
type Leadership struct {
	// Leader is the node id of the leader, -1 where none is known.
	Leader int32
	// Epoch is the leader epoch, generation<<20 + Raft term.
	Epoch record.LeaderEpoch
	// IsLeader: this replica leads and has applied the no-op of its term: only now may it serve.
	IsLeader bool
	// Voters, Learners and ISR are node ids, sorted. Owned by the callee; read only. Only the leader knows the ISR: those
	// voters that were caught up within replica.lag.time.max.ms; elsewhere it is nil.
	Voters, Learners, ISR []int32
}

// ReadLimit says how far a reader may see.
type ReadLimit int

// Limits of a read, exclusive bounds.
const (
	ReadToHighWatermark ReadLimit = iota
	ReadToLastStable
	ReadToLogEnd
)

// ReadRequest asks for whole batches from an offset on.
type ReadRequest struct {
	// From is the first offset wanted; the first batch returned may begin before it.
	From  record.Offset
	Limit ReadLimit
	// MaxBytes bounds the bytes returned, except that with AtLeastOne a first batch larger than
	// MaxBytes comes whole.
	MaxBytes   int
	AtLeastOne bool
	// Records leaves out batches that compaction has emptied, as far as others follow: see commitlog.Log.ReadRecords.
	Records bool
}

// TimestampOffset is a record found by its time.
type TimestampOffset struct {
	Timestamp int64 // milliseconds since the epoch; -1 where none
	Offset    record.Offset
	Epoch     record.LeaderEpoch
}

// LogConfig are the settings of a topic that its logs follow. Names and meanings are Kafka's topic
// configurations. It can change at run time (Partition.SetConfig).
type LogConfig struct {
	SegmentBytes       int64         // segment.bytes
	SegmentAge         time.Duration // segment.ms
	SegmentJitter      time.Duration // segment.jitter.ms
	IndexIntervalBytes int           // index.interval.bytes
	MaxIndexBytes      int           // segment.index.bytes
	// FileDeleteDelay is file.delete.delay.ms: how long files that have left the log are kept.
	FileDeleteDelay time.Duration
	// Delete and Compact: cleanup.policy names them. With Delete, records go that are older than RetentionAge (retention.ms) or
	// beyond RetentionBytes (retention.bytes); negative values bound nothing.
	Delete, Compact bool
	RetentionAge    time.Duration
	RetentionBytes  int64
	// What compaction goes by: delete.retention.ms, min.cleanable.dirty.ratio, min.compaction.lag.ms, max.compaction.lag.ms (0 or
	// the largest number: none).
	DeleteRetention  time.Duration
	MinDirtyRatio    float64
	MinCompactionLag time.Duration
	MaxCompactionLag time.Duration
	// FlushMessages is flush.messages: 1 = durable before the answer, else relaxed.
	FlushMessages int64
	// FlushInterval is flush.ms: how often a relaxed partition is synced in the background; 0 = never.
	FlushInterval     time.Duration
	MinInSyncReplicas int
	// UncleanLeaderElection is unclean.leader.election.enable: when the majority is gone the controller may start a new
	// generation from any survivor. Its leader acknowledges nothing while it has not heard the controller (Host.HeardController).
	UncleanLeaderElection bool
}

// Durable reports whether an acknowledged append has reached stable storage (flush.messages=1).
func (c LogConfig) Durable() bool { return c.FlushMessages <= 1 }

// PartitionSpec names a replica of a partition that this node runs.
type PartitionSpec struct {
	Topic      string
	TopicID    [16]byte
	Partition  int32
	Shard      ShardID
	Generation int32
	Replica    ReplicaID
	// Members are the first voters, replica id to node id; the same on all of them. With Join they say where replicas are
	// that may send to this one before it has the log that says so.
	Members map[ReplicaID]int32
	// Join: this replica was added to a partition that existed; it starts empty, and gets log and membership from the leader.
	Join   bool
	Config LogConfig
}

// ActiveProducer is one idempotent producer as a partition remembers it (DescribeProducers).
type ActiveProducer struct {
	ID            int64
	Epoch         int16
	LastSequence  int32
	LastTimestamp int64
	// CoordinatorEpoch is that of the last transaction marker, -1 if there was none.
	CoordinatorEpoch int32
	// TxnFirstOffset is where its open transaction began, record.NoOffset without one.
	TxnFirstOffset record.Offset
}

// MetadataStateMachine is what the metadata group replicates. Calls come from one goroutine.
type MetadataStateMachine interface {
	// Apply carries out one command and returns its result; it must be deterministic.
	Apply(index Index, command []byte) (result []byte)
	// Snapshot returns the whole state.
	Snapshot() ([]byte, error)
	// Restore replaces the whole state by that of a Snapshot.
	Restore(snapshot []byte) error
}
