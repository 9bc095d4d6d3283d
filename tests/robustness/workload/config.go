package workload

import (
	"time"

	"github.com/stelemq/stele/tests/robustness/history"
)

// Config describes a workload.
type Config struct {
	Addr       string // of the broker
	Topic      string // exists, and is empty
	Partitions int32
	Producers  int
	Consumers  int
	// InFlight is how many batches of one producer to one partition may be unanswered; at most 5 keep order.
	InFlight int
	// Pause is how long a producer waits between two batches.
	Pause time.Duration
	// MaxBatch is the largest number of values in a batch.
	MaxBatch int
	// SegmentBytes of the topic; 0: the broker's default.
	SegmentBytes int
	Seed         uint64
	Recorder     *history.Recorder
}

// Process numbers of the clients: producers count from 0, and each that loses track goes on under a new number.
const (
	firstConsumer = 1_000_000
	finalConsumer = 2_000_000
)
