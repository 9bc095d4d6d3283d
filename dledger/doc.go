// Package dledger makes a partition a replicated log: one Raft group per partition whose log is the
// partition's segment files themselves. It is the only importer of lni/dragonboat.
package dledger
