package client

import (
	"time"

	"github.com/stelemq/stele/protocol/record"
)

// Header is a name and a value beside a record's key and value.
type Header = record.Header

// Record is what is produced and consumed. A nil Key or Value is null, which
// is not the same as an empty one; a record with a null value deletes its key
// from a compacted topic.
type Record struct {
	Topic     string
	Partition int32
	// Offset and LeaderEpoch are set in records that were consumed.
	Offset      int64
	LeaderEpoch int32
	// Timestamp has milliseconds. In a record to produce, zero is now.
	Timestamp time.Time
	Key       []byte
	Value     []byte
	Headers   []Header
}

// recordOverhead bounds what a record takes in a batch besides its bytes:
// length, attributes, deltas and counts as varints.
const recordOverhead = 5 + 1 + 10 + 5 + 5 + 5 + 5

// sizeMax bounds what the record takes in a batch.
func (r *Record) sizeMax() int {
	n := recordOverhead + len(r.Key) + len(r.Value)
	for i := range r.Headers {
		n += 10 + len(r.Headers[i].Key) + len(r.Headers[i].Value)
	}
	return n
}
