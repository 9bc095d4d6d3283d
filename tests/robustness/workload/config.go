package workload

import (
	"time"

	"github.com/stelemq/stele/tests/robustness/history"
)

// Acks is what a producer waits for.
type Acks int

// What producers may wait for.
const (
	All    Acks = iota // acks=all, idempotent: retried for ever in order
	Leader             // acks=1, never sent again: no answer means unknown
	None               // acks=0: always unknown
)

// Config describes a workload.
type Config struct {
	// Bootstrap are the brokers, host:port each, that are asked where partitions are.
	Bootstrap  []string
	Topic      string // exists, and is empty
	Partitions int32
	// Replicas and MinISR of the topic that CreateTopic makes; 0: one replica, the broker's min.insync.replicas.
	Replicas  int16
	MinISR    int
	Acks      Acks
	Producers int
	Consumers int
	// InFlight is how many batches of one producer to one partition may be unanswered; at most 5 keep order.
	InFlight int
	// Pause is how long a producer waits between two batches.
	Pause time.Duration
	// MaxBatch is the largest number of values in a batch.
	MaxBatch int
	// SegmentBytes of the topic; 0: the broker's default.
	SegmentBytes int
	// Settings are further ones of the topic.
	Settings map[string]string
	// Assignment is where the replicas of each partition are; nil: the cluster decides.
	Assignment [][]int32
	// Trims: the log start moves. Consumers whose position is gone go on there.
	Trims    bool
	Seed     uint64
	Recorder *history.Recorder
}

// Process numbers of the clients: producers count from 0, and each that loses track goes on under a new number.
const (
	firstConsumer = 1_000_000
	finalConsumer = 2_000_000
)
