// Package commitlog is one replica's segment files: append, read by offset and by time, leader
// epochs, producer state, truncation of either end, and recovery. It knows nothing of Raft.
//
// The files and their bytes are Kafka's (docs/format/segment.md). The end of the log always comes
// from the caller: a [Recovery] lists what is on disk, lets the caller write back what stands in its
// journal, and [Recovery.Finish] cuts the rest and returns the [Log].
//
// # Concurrency
//
// One writer, serialised by the caller: Append, AssignEpoch, TruncateTo, AdvanceLogStart,
// DeleteSegmentsBelow, Roll, ExpireProducers, Close. Everything else may be called at any time from any goroutine:
// readers see an immutable list of segments and hold no lock while they read from disk. The package
// starts no goroutines.
//
// # Durability
//
// Nothing is durable when Append returns. Sync makes everything appended before it durable, with the
// names of new files; SyncSegment does so for one segment. A failed write or sync ends the log: every
// later call that writes returns the same error, and no sync is tried again.
package commitlog
