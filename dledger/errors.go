package dledger

import (
	"errors"

	"github.com/stelemq/stele/dledger/raftfile"
)

// Errors of this package, part of its contract; the broker translates each to one Kafka error code.
var (
	// ErrNotLeader: this replica is not the leader of the partition, or its term has ended.
	ErrNotLeader = errors.New("dledger: not the leader")
	// ErrFencedEpoch: the caller's leader epoch is older than the partition's.
	ErrFencedEpoch = errors.New("dledger: leader epoch is fenced")
	// ErrUnknownEpoch: the caller's leader epoch is newer than the partition's.
	ErrUnknownEpoch = errors.New("dledger: leader epoch is unknown")
	// ErrNotEnoughReplicas: fewer in-sync replicas than min.insync.replicas; nothing was appended.
	ErrNotEnoughReplicas = errors.New("dledger: not enough in-sync replicas")
	// ErrNotEnoughReplicasAfterAppend: the batch is in the log and will stay there, but min.insync.replicas of them
	// do not have it.
	ErrNotEnoughReplicasAfterAppend = errors.New("dledger: not enough in-sync replicas after append")
	// ErrTimeout: no answer in time; the batch may or may not be in the log.
	ErrTimeout = errors.New("dledger: request timed out")
	// ErrOffsetOutOfRange: the offset lies outside [log start offset, log end offset].
	ErrOffsetOutOfRange = errors.New("dledger: offset out of range")
	// ErrOutOfOrderSequence: the batch's base sequence is not the successor of the producer's last.
	ErrOutOfOrderSequence = errors.New("dledger: out of order sequence")
	// ErrDuplicateSequence: the batch was appended before, too long ago to know its offset.
	ErrDuplicateSequence = errors.New("dledger: duplicate sequence")
	// ErrInvalidProducerEpoch: the producer's epoch is older than one seen in this partition.
	ErrInvalidProducerEpoch = errors.New("dledger: invalid producer epoch")
	// ErrNoSpace: the disk's reserve is reached; reads go on, appends are refused until space returns.
	ErrNoSpace = errors.New("dledger: no space left for appends")
	// ErrCorrupt: stored bytes do not match their checksum; they are never served.
	ErrCorrupt = raftfile.ErrCorrupt
	// ErrOldGeneration: the directory holds a newer generation of the partition, or a later replica.
	ErrOldGeneration = errors.New("dledger: the directory holds a newer generation or replica")
	// ErrInUse: another replica of the same topic name and partition is still here, perhaps on its way out.
	ErrInUse = errors.New("dledger: directory is in use")
	// ErrClosed: the partition or the host has been closed.
	ErrClosed = errors.New("dledger: closed")
	// ErrUnsupportedVersion: files were written by a newer version of this software.
	ErrUnsupportedVersion = raftfile.ErrUnsupportedVersion
)
