package broker

import (
	"context"

	"github.com/stelemq/stele/dledger"
	"github.com/stelemq/stele/protocol/record"
)

// Host runs the replicas of this node and the replicated metadata log. All methods are safe for
// concurrent use.
type Host interface {
	// StartPartition starts a replica; it blocks until its files are open.
	StartPartition(ctx context.Context, spec dledger.PartitionSpec) (PartitionLog, error)
	// StopPartition stops a replica and keeps its files.
	StopPartition(spec dledger.PartitionSpec) error
	// DeletePartition stops a replica and removes its files.
	DeletePartition(spec dledger.PartitionSpec) error
	// Propose replicates a metadata command and returns what Apply made of it.
	Propose(ctx context.Context, command []byte) (result []byte, err error)
	// IsController reports whether this node leads the metadata group.
	IsController() bool
}

// PartitionLog is a replica of a partition as the handlers see it. All methods are safe for concurrent
// use.
type PartitionLog interface {
	LogWriter
	LogReader
	LogState
}

// LogWriter is the part of a [PartitionLog] that appends.
type LogWriter interface {
	// Append offers a batch; it blocks for admission only. The order of calls is the order in the log.
	Append(ctx context.Context, r *dledger.AppendRequest) error
	// SetConfig changes the settings that the log follows.
	SetConfig(c dledger.LogConfig)
}

// LogReader is the part of a [PartitionLog] that reads.
type LogReader interface {
	// Read appends whole batches to dst.
	Read(dst []byte, r dledger.ReadRequest) ([]byte, dledger.Offsets, error)
	// OffsetForTimestamp finds the first record at or after ts (milliseconds); Offset is
	// record.NoOffset where there is none.
	OffsetForTimestamp(ts int64) (dledger.TimestampOffset, error)
	// MaxTimestamp finds the record with the largest timestamp.
	MaxTimestamp() (dledger.TimestampOffset, error)
	// EpochAt returns the leader epoch in force at o, record.NoEpoch if none is known.
	EpochAt(o record.Offset) record.LeaderEpoch
	// EndOffsetForEpoch returns the largest epoch not above e and the offset at which it ended.
	EndOffsetForEpoch(e record.LeaderEpoch) (record.LeaderEpoch, record.Offset, error)
}

// LogState is the part of a [PartitionLog] that tells how it stands.
type LogState interface {
	Offsets() dledger.Offsets
	Leadership() dledger.Leadership
	// Subscribe sends on ch, without blocking, when the high watermark, the log start or the
	// leadership changes, until cancel is called.
	Subscribe(ch chan<- struct{}) (cancel func())
	// Size is the number of bytes stored.
	Size() int64
}
