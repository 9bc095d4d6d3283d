package recordfmt

import (
	"time"

	"github.com/stelemq/stele/protocol/record"
)

// Record is a record with its place. Its fields are those of client.Record, so
// that one converts to the other.
type Record struct {
	Topic       string
	Partition   int32
	Offset      int64
	LeaderEpoch int32
	Timestamp   time.Time
	Key         []byte
	Value       []byte
	Headers     []record.Header
}

// Surroundings are what a layout can show besides the record.
type Surroundings struct {
	Number        int64 // of the record in the output, from 1
	HighWatermark int64
}
