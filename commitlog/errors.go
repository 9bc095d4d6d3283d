package commitlog

import (
	"errors"
	"fmt"
)

// Errors of this package, part of its contract.
var (
	// ErrOffsetOutOfRange: the offset lies outside [log start offset, log end offset].
	ErrOffsetOutOfRange = errors.New("commitlog: offset out of range")
	// ErrCorrupt is matched by every *CorruptionError.
	ErrCorrupt = errors.New("commitlog: corrupt data")
	// ErrClosed: the log or the recovery has been closed.
	ErrClosed = errors.New("commitlog: closed")
	// ErrUnsupportedVersion: a file was written by a newer version of this software.
	ErrUnsupportedVersion = errors.New("commitlog: unsupported format version")
	// ErrTopicIDMismatch: the directory belongs to a topic with another id.
	ErrTopicIDMismatch = errors.New("commitlog: directory belongs to another topic id")
	// ErrNotBatchBoundary: the offset given to TruncateTo is inside a batch.
	ErrNotBatchBoundary = errors.New("commitlog: offset is not the base of a batch")
	// ErrInvalidBatch: the bytes given to Append are not whole record batches; nothing was written.
	ErrInvalidBatch = errors.New("commitlog: invalid batch")
	// ErrNoSuchSegment: no segment has this base offset.
	ErrNoSuchSegment = errors.New("commitlog: no such segment")
	// ErrOutOfOrderSequence: the batch's base sequence is not the successor of the producer's last.
	ErrOutOfOrderSequence = errors.New("commitlog: out of order sequence")
	// ErrDuplicateSequence: the batch was appended before, too long ago to know its offset.
	ErrDuplicateSequence = errors.New("commitlog: duplicate sequence")
	// ErrInvalidProducerEpoch: the producer's epoch is older than one seen in this partition.
	ErrInvalidProducerEpoch = errors.New("commitlog: invalid producer epoch")
)

// CorruptionError says where stored bytes are not what was written. It matches ErrCorrupt.
type CorruptionError struct {
	Path string // file
	Pos  int64  // byte in the file
	Err  error  // what is wrong
}

func (e *CorruptionError) Error() string {
	return fmt.Sprintf("commitlog: corrupt data in %s at %d: %v", e.Path, e.Pos, e.Err)
}

// Unwrap returns what is wrong.
func (e *CorruptionError) Unwrap() error { return e.Err }

// Is reports whether target is ErrCorrupt.
func (e *CorruptionError) Is(target error) bool { return target == ErrCorrupt }
