// Package transport carries what the nodes of a cluster say to each other over one TCP port, the Raft address:
// Raft messages in two lanes, snapshots, and calls.
//
// A connection serves one lane, is opened by whoever sends on it, and begins with a handshake that names cluster,
// node and lane (handshake.go). The data lane carries entries, straight from the slices they lie in (lane.go); the
// control lane carries heartbeats, votes and acknowledgements, which must not wait behind megabytes. Calls are
// requests with answers, for hosts and brokers (call.go).
//
// The transport is older than Raft: a node calls others before it knows its cluster. Attach gives it to dragonboat
// (raft.go); an [Observer] sees each Raft message on its way in and stamps those on their way out.
//
// Nothing is retried here. A lane that breaks loses what it held; Raft sends it again, and is told of the break.
package transport
