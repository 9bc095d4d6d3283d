package broker

import (
	"context"
	"time"

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
	// IdleReplicas are the replicas on disk that are not started; SetAside renames the directory of one for the operator to
	// look at, and returns its new name, "" where it is not there any more.
	IdleReplicas() ([]dledger.ReplicaDir, error)
	SetAside(r dledger.ReplicaDir) (string, error)
	// ReplaceDamaged removes a damaged replica, and keeps what is damaged of it aside.
	ReplaceDamaged(old dledger.PartitionSpec) error
	// Propose replicates a metadata command and returns what Apply made of it.
	Propose(ctx context.Context, command []byte) (result []byte, err error)
	// MetadataCurrent returns nil once everything is applied here that was committed when it was called.
	MetadataCurrent(ctx context.Context) error
	// IsController reports whether this node leads the metadata group.
	IsController() bool
	// Controller returns the node that leads the metadata group, as far as is known here.
	Controller() (node int32, ok bool)
	// WatchLeadership has f called when leader, epoch, in-sync replicas or membership of a partition here
	// may have changed; nil ends it. f does not block and does not call the partition.
	WatchLeadership(f func(dledger.ShardID))
	// MetadataMembers are the voters of the metadata as known here; MetadataMembersNow asks a majority, and for the
	// learners, too.
	MetadataMembers() (dledger.MetadataMembership, bool)
	MetadataMembersNow(ctx context.Context) (dledger.MetadataMembership, error)
	// MetadataTerm is the term of the metadata group, as far as is known here.
	MetadataTerm() uint64
	// AddMetadataLearner, PromoteMetadata, RemoveMetadata change them; the controller does.
	AddMetadataLearner(ctx context.Context, id dledger.ReplicaID, node int32) error
	PromoteMetadata(ctx context.Context, id dledger.ReplicaID, node int32) error
	RemoveMetadata(ctx context.Context, id dledger.ReplicaID) error
	// TransferMetadata asks for the metadata to be led by another node.
	TransferMetadata(node int32) error
	// HeardController notes that the controller has answered what was sent at that time.
	HeardController(sent time.Time)
	// Disk is the log directory with the bytes that are free on its disk, and the disk's size.
	Disk() (dir string, free, total int64, err error)
	// PeerRTT returns the round trip times to other nodes.
	PeerRTT() map[int32]time.Duration
}

// PartitionLog is a replica of a partition as the handlers see it. All methods are safe for concurrent
// use.
type PartitionLog interface {
	LogWriter
	LogReader
	LogState
	LogMembership
}

// LogWriter is the part of a [PartitionLog] that appends.
type LogWriter interface {
	// Append offers a batch; it blocks for admission only. The order of calls is the order in the log.
	Append(ctx context.Context, r *dledger.AppendRequest) error
	// DeleteRecords moves the log start of all replicas to o, -1 for the high watermark, and returns the log start.
	DeleteRecords(ctx context.Context, o record.Offset) (record.Offset, error)
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
	// InLease reports whether this replica leads and nobody else can at this moment.
	InLease() bool
	// Follows reports whether this replica may serve readers although it does not lead.
	Follows() bool
	// Subscribe sends on ch, without blocking, when the high watermark, the log start or the
	// leadership changes, until cancel is called.
	Subscribe(ch chan<- struct{}) (cancel func())
	// Size is the number of bytes stored.
	Size() int64
	// Producers are the idempotent producers that are remembered, by id.
	Producers() []dledger.ActiveProducer
}

// LogMembership is the part of a [PartitionLog] that says and changes who replicates it. Changes are the
// leader's, one at a time.
type LogMembership interface {
	// Members are the replicas by Raft's word.
	Members() []dledger.Member
	// Status is how the Raft group stands, on the leader with how far the others are.
	Status() dledger.RaftStatus
	// Lags are how many offsets each other replica lacks, by node; nil where this replica does not lead.
	Lags() map[int32]int64
	// Survey is what decides between survivors of a lost majority.
	Survey() (record.LeaderEpoch, record.Offset)
	// HoldAcknowledgements has nothing acknowledged for a while, should this replica lead.
	HoldAcknowledgements(d time.Duration)
	// AddLearner adds a replica that does not vote.
	AddLearner(ctx context.Context, id dledger.ReplicaID, node int32) error
	// Promote makes a learner a voter.
	Promote(ctx context.Context, id dledger.ReplicaID) error
	// Remove removes a replica for good; never the leader itself.
	Remove(ctx context.Context, id dledger.ReplicaID) error
	// TransferLeadership hands leadership to the voter on a node and waits until it has gone.
	TransferLeadership(ctx context.Context, node int32) error
}
