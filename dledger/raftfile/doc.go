// Package raftfile holds what is kept of Raft entries beside their bytes: the numbers of Raft (Index, Term, ShardID, ReplicaID),
// the record of one entry, and the .raft files, one beside each segment, made of such records. The journal's frames carry
// the same records.
//
// A record is 88 bytes and perhaps a payload, with its own CRC32C: every flipped bit and every cut is found. It says where in
// which segment the stored bytes lie, and their checksum. Records are only ever appended; a record with the index of an
// earlier one takes its place and that of all behind it (Supersede), which is how a truncation looks that a crash interrupted.
//
// Promised: what Write has written is on stable storage when it returns. Not promised: that a file ends where it should. A
// torn end reads as the end; whoever knows how far the file must reach (the journal's checkpoint) tells the two apart.
//
// Bytes: docs/format/raft.md. Nothing here knows of dragonboat, of the journal, or of what the entries mean.
package raftfile
