// Package disk is a disk that fails: a FUSE file system over a directory that knows what has been synced, and can
// lose the rest as a power failure does, or refuse syncs, reads and writes.
//
// What is written is at once in the directory below, so that the brokers see it; for each page that has not been
// synced the disk keeps what stood there before, and for each directory that has not been synced what was done in it.
// [Disk.LosePower], called when the brokers are dead, takes back what was not synced: all of it, or for each page
// and from a random directory operation on. A sync of a file makes its bytes and its length durable, but not its
// name: that takes a sync of its directory, as POSIX has it (and no file system does less).
//
// A sync that was made to fail leaves its pages for lost: a later sync that succeeds does not bring them to the
// disk, though they are read back until the power fails. That is what Linux does.
package disk
