// Package journal is the write-ahead log of the Raft side: one for all replicas of a log directory, so that the number of
// syncs does not grow with partitions or step workers.
//
// A step's save of one replica is one checksummed record: hard state (term, vote), truncation, entry records, how far its
// segments are synced, and perhaps the bytes of a small durable append. Records of everybody who waits go into one frame, with
// one sync; whoever finds the disk free writes and syncs for all (Commit). Small bytes ride along; large ones are synced in
// their segments meanwhile.
//
// Promised:
//   - What a durable Commit returned for is found by Replay after any crash, with the bytes it describes either in the
//     journal or synced in the segments.
//   - A hard state or an entry leaves the journal only when it stands, synced, in a newer file or in the replica's own files
//     (Shard.Checkpoint). Files are used again only after that.
//   - A torn end is told from damage: what was acknowledged and does not check is reported (Replayed.Damage), never cut.
//   - The first failed write or sync is final. Nobody who meets it returns before Options.Fatal has.
//
// Not promised: anything of records that were not durable. They are found or not, in order.
//
// A start is Replay, which only reads; then replicas are recovered from what it found; then Open, Adopt for each replica, and
// Begin, which frees the replayed files. Format and argument: docs/format/journal.md.
package journal
