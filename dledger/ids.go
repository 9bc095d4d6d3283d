package dledger

import "github.com/stelemq/stele/dledger/raftfile"

// The numbers of Raft, as the files name them.
type (
	// Index is the position of an entry in a Raft log, from 1. It is never a Kafka offset.
	Index = raftfile.Index
	// Term is a Raft term.
	Term = raftfile.Term
	// ShardID names one Raft group: one generation of one partition, or the cluster metadata. Shard ids are never reused.
	ShardID = raftfile.ShardID
	// ReplicaID names one voter or learner of a shard; never reused within a shard.
	ReplicaID = raftfile.ReplicaID
)
