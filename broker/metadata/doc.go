// Package metadata is the cluster's metadata as a pure replicated state machine: nodes, topics,
// partitions and the replicas wanted of them, configurations, producer ids and feature levels.
//
// # Main types
//
// [Machine] applies commands ([Command], small versioned JSON) to an immutable [Image] and publishes
// each new one behind an atomic pointer. [Place] chooses replicas; the proposer calls it and the
// command carries its result, so that brokers of different versions apply commands alike.
//
// # Goroutines
//
// None. Apply, Snapshot and Restore are called from one goroutine at a time; [Machine.Image] and
// [Machine.Subscribe] from any.
//
// # What it does not do
//
// It reads no clock and no randomness (topic ids stand in the command), keeps nothing on disk, and does
// not know who leads a partition: Raft does.
package metadata
