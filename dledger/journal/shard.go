package journal

import (
	"sync"
	"time"

	"github.com/stelemq/stele/dledger/raftfile"
	"github.com/stelemq/stele/protocol/record"
)

// Shard is a replica as the journal sees it: what of its bytes is safe, and how to make it so. Implementations embed
// Durability for the marks. Methods are safe for concurrent use; the journal calls them once a save, never once an entry. A
// Shard is a map key: the same replica opened again is another one.
type Shard interface {
	// Key names the replica.
	Key() Key
	// SyncedTo is up to where the stored bytes are synced in their segments.
	SyncedTo() SyncPoint
	// SafeAt reports whether all stored bytes before a position are synced in their segments or inlined in a live file.
	SafeAt(segment record.Offset, pos int64) bool
	// MarkInlined notes that the bytes before end are inlined, once the frame that is being written is synced.
	MarkInlined(end SyncPoint)
	// SyncData syncs the segments and notes what that covers; observe, if not nil, is told how long the sync took. An error is
	// final: the journal fails with it.
	SyncData(observe func(time.Duration)) error
	// SetJournaled notes the newest entry of which a file has the record.
	SetJournaled(i raftfile.Index)
	// Checkpoint makes what the journal has of the replica stand in the replica's own files, synced. An error is final.
	Checkpoint() (Checkpointed, error)
}

// Checkpointed is how far a replica's own files are after its Checkpoint.
type Checkpointed struct {
	// Index is the newest entry that .raft holds with everything before it, and Sync up to where the stored bytes are synced.
	Index raftfile.Index
	Sync  SyncPoint
	Gone  bool // the shard has been closed or deleted: nothing is said of it
}

// Durability is what a replica knows of its stored bytes: up to where they are synced in the segments, and up to where they
// are safe because the journal carries the rest. The zero value: nothing is. Safe for concurrent use.
type Durability struct {
	mu sync.Mutex
	// mu guards:
	synced SyncPoint // stored bytes before it are synced in the segments
	safe   SyncPoint // stored bytes before it are synced or inlined in a live journal file
}

// SyncedTo is up to where the segments are synced.
func (d *Durability) SyncedTo() SyncPoint {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.synced
}

// SafeAt reports whether everything before a position is safe.
func (d *Durability) SafeAt(segment record.Offset, pos int64) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return !d.safe.Before(segment, pos)
}

// MarkInlined notes that everything before end is inlined in a live journal file.
func (d *Durability) MarkInlined(end SyncPoint) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.safe.Before(end.Segment, end.Pos) {
		d.safe = end
	}
}

// MarkSynced notes that the segments are synced up to end; it never goes back.
func (d *Durability) MarkSynced(end SyncPoint) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.synced.Before(end.Segment, end.Pos) {
		d.synced = end
	}
	if d.safe.Before(end.Segment, end.Pos) {
		d.safe = end
	}
}

// Become takes over another replica's marks.
func (d *Durability) Become(o *Durability) {
	o.mu.Lock()
	synced, safe := o.synced, o.safe
	o.mu.Unlock()
	d.mu.Lock()
	defer d.mu.Unlock()
	d.synced, d.safe = synced, safe
}

// Cut follows a truncation of the log to end.
func (d *Durability) Cut(end SyncPoint) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if end.Before(d.synced.Segment, d.synced.Pos) {
		d.synced = end
	}
	if end.Before(d.safe.Segment, d.safe.Pos) {
		d.safe = end
	}
}
