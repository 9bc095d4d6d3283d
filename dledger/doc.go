// Package dledger makes a partition a replicated log: one Raft group per partition whose log is the partition's segment files
// themselves. It is the only importer of lni/dragonboat.
//
// Below it, from the top: journal, the write-ahead log that all replicas of a node share; raftfile, what is kept of entries
// beside their bytes; and, for themselves, commitlog, a replica's segment files, and transport, what nodes say to each other.
package dledger
