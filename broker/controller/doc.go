// Package controller decides what a cluster's controller does next. It is pure: [Controller.Decide] takes
// the metadata, what is known of liveness and of the partitions' real state, and the time, and returns
// [Actions]; it starts no goroutine, opens no socket and reads no clock.
//
// # What it decides
//
//   - liveness.go: which brokers are fenced and unfenced
//   - quorum.go: who votes in the metadata log: 1, 3 or 5 nodes
//   - replicas.go: the steps by which replicas follow a reassignment, and what Raft has made of them
//   - decommission.go: which replicas leave a node that is decommissioned
//   - leaders.go: which leaderships move, for draining nodes and for balance
//   - recovery.go: when a partition that has lost its majority goes on from what has survived
//
// # Who does it
//
// The broker that leads the metadata group runs a Controller as long as it leads and carries the actions
// out; a new leader begins with a new Controller. Everything that must survive stands in the metadata. What
// a Controller remembers itself only makes it slower: since when it has known a broker to be silent, what it
// has asked for a moment ago.
//
// The leader of a partition makes Raft follow the metadata's wish; this package never touches Raft groups of
// partitions, so that at most one party changes a membership.
package controller
