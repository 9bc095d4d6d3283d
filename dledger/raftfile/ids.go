package raftfile

// Index is the position of an entry in a Raft log, from 1. It is never a Kafka offset.
type Index uint64

// Term is a Raft term.
type Term uint64

// ShardID names one Raft group: one generation of one partition, or the cluster metadata. Shard ids are
// never reused.
type ShardID uint64

// ReplicaID names one voter or learner of a shard; never reused within a shard.
type ReplicaID uint64
