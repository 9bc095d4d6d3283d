package journal

import (
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"sync"
	"time"

	"github.com/stelemq/stele/dledger/raftfile"
	"github.com/stelemq/stele/internal/vfs"
)

const (
	// slotCount bounds the files: one being written, the others waiting for their checkpoint or free. One is not even
	// live in the newest header: the next start needs it for its own first file.
	slotCount = 5
	// spareSlots is how many free slots a writer leaves. The checkpointer may take one of them: it would otherwise wait for
	// itself.
	spareSlots = 2
	// InlineMax is the most bytes of one shard that go into the journal instead of syncing its
	// segment: beyond it writing them twice costs more than a sync in parallel.
	InlineMax = 32 << 10
	// inlineTotalMax bounds the inlined bytes of one frame, and with inlineShare a part of the file. Small bytes of many
	// shards are cheaper to write twice than to sync one by one: a sync costs as much as tens of KiB written.
	inlineTotalMax = 1 << 20
	inlineShare    = 4
	// frameBodyMax is when a group is cut: later saves go into the next frame.
	frameBodyMax = 1 << 20
	// relaxedBytesMax is how many bytes of relaxed partitions start a background checkpoint, and twice as many let it hurry.
	// It bounds what a restart has to write anew. Less costs appends dearly: a sync of a file that grows ends a transaction
	// of the file system, and whoever makes a file longer waits for that.
	relaxedBytesMax = 512 << 20
)

// journalFile is one slot in use.
type journalFile struct {
	slot   int
	file   vfs.File
	seq    uint64
	pos    int64 // next frame
	synced int64 // everything before it is on stable storage
	shards map[Shard]struct{}
}

// hardEntry is what the journal must carry over when it recycles the file that holds it.
type hardEntry struct {
	state      HardState
	checkpoint raftfile.Index
	sync       SyncPoint
	seq        uint64 // of the file with the newest copy
	// cut: a suffix has been removed since the running checkpoint began, so that what it found out
	// must not be written behind the truncation.
	cut bool
	// truncate is the first index of a truncation that the files do not follow yet; 0 = none.
	truncate raftfile.Index
}

// Journal is the write-ahead log of the Raft side, shared by all replicas of a log directory. Format and argument:
// docs/format/journal.md. All methods are safe for concurrent use after Begin. The first failed write or sync is final: see Fail.
type Journal struct {
	fs    vfs.FS
	dir   string
	size  int64
	hooks Hooks
	fatal func(error)

	mu sync.Mutex
	// mu guards:
	queue []*Request
	busy  bool // somebody is flushing
	err   error

	wmu sync.Mutex
	// wmu guards:
	cur      *journalFile
	live     []*journalFile // older than cur, waiting for their checkpoint; ascending
	slots    [slotCount]vfs.File
	free     []int
	freed    *sync.Cond // on wmu: free has grown, or the journal has failed
	hard     map[Key]*hardEntry
	relaxed  int64 // bytes of relaxed partitions since the last checkpoint
	frameBuf []byte

	ckpt   sync.Mutex    // one checkpoint at a time
	wake   chan struct{} // for the checkpointer; capacity 1
	hurry  chan struct{} // somebody waits for the checkpoint that is running; capacity 1
	quit   chan struct{}
	done   sync.WaitGroup
	ended  chan struct{} // closed when fatal has returned, as it does in tests only
	closed bool
}

// Hooks observe the journal; each may be nil. They are called on the goroutine that writes and must not block.
type Hooks struct {
	Fsync func(d time.Duration)  // after each sync of a journal file or of segments
	Frame func(bytes, saves int) // after each frame of saves has been written; not yet synced
}

// Request is what one step worker wants to persist, of several replicas, at once. It may be used again once Commit has returned;
// the journal keeps nothing of it.
type Request struct {
	Saves []*Save
	// Durable: Commit returns when everything that is durable among Saves is on stable storage. Else it returns when the records
	// stand in the page cache.
	Durable bool
	lead    bool // set before ready is signalled: the waiter is to flush the queue
	err     error
	ready   chan struct{}
}

// Save is what one step wants to persist of one shard. While it is queued the shard's worker waits, so
// nothing else writes to the shard's log.
type Save struct {
	Shard   Shard
	Record  Record
	Durable bool
	// Data is where the step's bytes lie, if they are contiguous in one segment: a candidate for inlining.
	Data Run
	// End is the log's end after the step.
	End     SyncPoint
	inlined bool
	syncing bool // its segment is being synced already
}

// inlinable reports whether the bytes are few, and behind nothing but safe bytes.
func (s *Save) inlinable() bool {
	n := len(s.Data.Bytes)
	return s.Durable && n > 0 && n <= InlineMax && s.Shard.SafeAt(s.Data.Segment, s.Data.Pos)
}

// Commit writes the request's records and, if it is durable, returns only when they and the bytes they describe
// are on stable storage. An error is that of the first failure of this journal: nothing of the request may be acknowledged.
func (j *Journal) Commit(r *Request) error {
	if r.err = nil; r.ready == nil {
		r.ready = make(chan struct{}, 1)
	}
	if !r.Durable {
		return j.commitRelaxed(r)
	}
	// Bytes that are not inlined wait neither for the journal nor for each other, nor does the journal wait for them.
	var segments segmentSyncs
	for _, s := range r.Saves {
		if s.Durable && !s.inlinable() {
			s.syncing = true
			segments.start(s, j.hooks.Fsync)
		}
	}
	err := j.commitRecords(r)
	if synced := segments.wait(); synced != nil {
		err = j.Fail(synced)
	}
	return err
}

// segmentSyncs syncs the segments of several shards at once.
type segmentSyncs struct {
	wg   sync.WaitGroup
	mu   sync.Mutex
	errs error
}

// start begins to sync the segments of a save's shard, unless that is not needed.
func (y *segmentSyncs) start(s *Save, observe func(time.Duration)) {
	if s.Shard.SafeAt(s.End.Segment, s.End.Pos) {
		return
	}
	y.wg.Go(func() {
		if err := s.Shard.SyncData(observe); err != nil {
			y.mu.Lock()
			defer y.mu.Unlock()
			y.errs = errors.Join(y.errs, err)
		}
	})
}

func (y *segmentSyncs) wait() error {
	y.wg.Wait()
	return y.errs
}

// commitRecords makes the request's records durable, and the bytes that are inlined. Whoever finds the journal free writes
// and syncs for everybody queued.
func (j *Journal) commitRecords(r *Request) error {
	j.mu.Lock()
	if j.err != nil {
		defer j.mu.Unlock()
		return j.err
	}
	j.queue = append(j.queue, r)
	if j.busy {
		j.mu.Unlock()
		<-r.ready
		if !r.lead {
			return r.err
		}
		r.lead = false
	} else {
		j.busy = true
		j.mu.Unlock()
	}
	group := j.takeGroup()
	err := j.flush(group)
	for _, g := range group {
		g.err = err
		if g != r {
			g.ready <- struct{}{}
		}
	}
	j.handOver()
	return err
}

// takeGroup takes queued requests up to the size of a frame.
func (j *Journal) takeGroup() []*Request {
	j.mu.Lock()
	defer j.mu.Unlock()
	n, bytes := 0, 0
	for n < len(j.queue) && (n == 0 || bytes < frameBodyMax) {
		for _, s := range j.queue[n].Saves {
			bytes += 128 + raftfile.EntryFixed*len(s.Record.Entries)
		}
		n++
	}
	group := j.queue[:n:n]
	j.queue = append([]*Request(nil), j.queue[n:]...)
	return group
}

// handOver lets the first waiter flush next, so that no worker serves the others for ever.
func (j *Journal) handOver() {
	j.mu.Lock()
	defer j.mu.Unlock()
	if len(j.queue) == 0 {
		j.busy = false
		return
	}
	next := j.queue[0]
	next.lead = true
	next.ready <- struct{}{}
}

// commitRelaxed writes the records into the page cache and returns.
func (j *Journal) commitRelaxed(r *Request) error {
	if err := j.Failed(); err != nil {
		return err
	}
	if err := j.writeRelaxed(r); err != nil {
		return j.Fail(err)
	}
	return nil
}

func (j *Journal) writeRelaxed(r *Request) error {
	j.wmu.Lock()
	defer j.wmu.Unlock()
	if _, _, err := j.writeFrame([]*Request{r}); err != nil {
		return err
	}
	for _, s := range r.Saves {
		j.relaxed += s.Record.dataBytes()
	}
	if j.relaxed > relaxedBytesMax {
		j.wakeCheckpointer()
	}
	if j.relaxed > 2*relaxedBytesMax {
		j.hurryCheckpoint()
	}
	return nil
}

// Sync makes everything written so far durable: what relaxed partitions have written waits for no other sync.
func (j *Journal) Sync() error {
	j.wmu.Lock()
	f, end := j.cur, j.cur.pos // what stands in older files was synced when they were completed
	j.wmu.Unlock()
	return j.syncFile(f, end)
}

func (r *Record) dataBytes() (n int64) {
	for i := range r.Entries {
		n += int64(r.Entries[i].Length)
	}
	return n
}

// flush writes a group as one frame and syncs it, and in parallel the segments whose bytes did not fit it.
func (j *Journal) flush(group []*Request) error {
	if err := j.Failed(); err != nil {
		return err
	}
	chooseInlined(group, min(inlineTotalMax, j.size/inlineShare))
	j.wmu.Lock()
	file, end, err := j.writeFrame(group)
	j.wmu.Unlock()
	if err != nil {
		return j.Fail(err)
	}
	var segments segmentSyncs
	for _, g := range group {
		for _, s := range g.Saves {
			switch {
			case !s.Durable || s.syncing:
			case s.inlined:
				s.Shard.MarkInlined(s.End)
			default:
				segments.start(s, j.hooks.Fsync)
			}
		}
	}
	err = j.syncFile(file, end)
	if err = errors.Join(err, segments.wait()); err != nil {
		return j.Fail(err)
	}
	return nil
}

// chooseInlined decides whose bytes ride in the journal. All together are at most limit.
func chooseInlined(group []*Request, limit int64) {
	total := int64(0)
	for _, g := range group {
		for _, s := range g.Saves {
			n := int64(len(s.Data.Bytes))
			if !s.syncing && total+n <= limit && s.inlinable() {
				s.inlined = true
				total += n
			}
		}
	}
}

// writeFrame writes the requests as one frame and returns the file and the position after the frame. wmu is held.
func (j *Journal) writeFrame(group []*Request) (*journalFile, int64, error) {
	b := beginFrame(j.frameBuf[:0])
	saves := 0
	for _, g := range group {
		for _, s := range g.Saves {
			b = j.appendSave(b, s)
			saves++
		}
	}
	if err := j.put(b, frameRecords, spareSlots); err != nil {
		return nil, 0, err
	}
	for _, g := range group {
		for _, s := range g.Saves {
			j.note(s)
		}
	}
	if j.hooks.Frame != nil {
		j.hooks.Frame(len(b), saves)
	}
	return j.cur, j.cur.pos, nil
}

func (j *Journal) appendSave(b []byte, s *Save) []byte {
	s.Record.Sync = s.Shard.SyncedTo()
	b, countAt := appendRecord(b, &s.Record)
	if s.inlined {
		b = appendRunHeader(b, s.Data.Segment, s.Data.Pos, int64(len(s.Data.Bytes)))
		b = append(b, s.Data.Bytes...)
		b[countAt] = 1
	}
	return b
}

// note remembers where a shard's newest hard state stands and that the file needs the shard's checkpoint.
func (j *Journal) note(s *Save) {
	r := &s.Record
	e := j.hard[r.Key]
	if e == nil {
		e = &hardEntry{}
		j.hard[r.Key] = e
	}
	if r.Hard != nil {
		e.state, e.seq, e.sync = *r.Hard, j.cur.seq, r.Sync
	}
	if r.Checkpoint > 0 {
		e.checkpoint = r.Checkpoint
	}
	if r.Truncate > 0 {
		e.cut, e.truncate = true, r.Truncate
		e.sync, e.checkpoint = SyncPoint{}, min(e.checkpoint, r.Truncate-1)
	}
	if n := len(r.Entries); n > 0 {
		s.Shard.SetJournaled(r.Entries[n-1].Index)
	}
	if len(r.Entries) > 0 || r.Truncate > 0 {
		j.cur.shards[s.Shard] = struct{}{}
	}
}

// Truncated notes that a shard's files follow its newest truncation.
func (j *Journal) Truncated(k Key) {
	j.wmu.Lock()
	defer j.wmu.Unlock()
	if e := j.hard[k]; e != nil {
		e.truncate = 0
	}
}

// put writes a begun frame at the end of the current file, rotating first if it does not fit. wmu is held.
//
// spare is how many free slots it must leave: spareSlots for writers, one less for the checkpointer.
func (j *Journal) put(b []byte, kind uint32, spare int) error {
	if need := int64(raftfile.Align8(len(b))); j.cur.pos+need+FrameHeaderSize > j.size {
		if need+HeaderSize+FrameHeaderSize > j.size {
			return fmt.Errorf("journal: frame of %d bytes does not fit a file of %d", need, j.size)
		}
		if err := j.rotate(spare); err != nil {
			return err
		}
	}
	c := j.cur
	b = finishFrame(b, kind, c.seq, c.pos, c.synced)
	j.frameBuf = b
	if cap(j.frameBuf) > 4*frameBodyMax {
		j.frameBuf = nil
	}
	if _, err := c.file.WriteAt(b, c.pos); err != nil {
		return fmt.Errorf("journal: write: %w", err)
	}
	c.pos += int64(len(b))
	return nil
}

// syncFile makes the file durable up to end at least.
func (j *Journal) syncFile(f *journalFile, end int64) error {
	start := time.Now()
	if err := f.file.Sync(); err != nil {
		return fmt.Errorf("journal: sync: %w", err)
	}
	if j.hooks.Fsync != nil {
		j.hooks.Fsync(time.Since(start))
	}
	j.wmu.Lock()
	f.synced = max(f.synced, end)
	j.wmu.Unlock()
	return nil
}

// rotate begins a new file. The new header is durable before the old file is declared complete, and that
// before anything is written behind the new header; replay relies on both. wmu is held.
func (j *Journal) rotate(spare int) error {
	for len(j.free) <= spare {
		if err := j.Failed(); err != nil {
			return err
		}
		j.wakeCheckpointer()
		j.hurryCheckpoint()
		j.freed.Wait()
	}
	old := j.cur
	slot := j.free[0]
	j.free = j.free[1:]
	next := &journalFile{slot: slot, seq: old.seq + 1, shards: make(map[Shard]struct{})}
	oldest := old.seq
	if len(j.live) > 0 {
		oldest = j.live[0].seq
	}
	if err := j.beginFile(next, oldest); err != nil {
		return err
	}
	end := finishFrame(beginFrame(nil), frameEnd, old.seq, old.pos, old.synced)
	if _, err := old.file.WriteAt(end, old.pos); err != nil {
		return fmt.Errorf("journal: write: %w", err)
	}
	if err := old.file.Sync(); err != nil {
		return fmt.Errorf("journal: sync: %w", err)
	}
	old.synced = old.pos
	j.live = append(j.live, old)
	j.cur = next
	j.wakeCheckpointer()
	if len(j.live) > 1 {
		j.hurryCheckpoint() // the next rotation would have to wait for it
	}
	return nil
}

// beginFile opens the slot of f and writes its header durably.
func (j *Journal) beginFile(f *journalFile, oldest uint64) error {
	file, err := j.openSlot(f.slot)
	if err != nil {
		return err
	}
	f.file, f.pos = file, HeaderSize
	return j.writeHeader(f, oldest)
}

// writeHeader writes the header of f durably, and with it the frames that stand behind it already.
func (j *Journal) writeHeader(f *journalFile, oldest uint64) error {
	if _, err := f.file.WriteAt(encodeHeader(f.seq, oldest), 0); err != nil {
		return fmt.Errorf("journal: write header: %w", err)
	}
	if err := f.file.Sync(); err != nil {
		return fmt.Errorf("journal: sync header: %w", err)
	}
	f.synced = f.pos
	return nil
}

func (j *Journal) slotName(slot int) string {
	return filepath.Join(j.dir, fmt.Sprintf("%d.journal", slot))
}

// openSlot opens a slot's file, creating and preallocating it if it is new.
func (j *Journal) openSlot(slot int) (vfs.File, error) {
	if f := j.slots[slot]; f != nil {
		return f, nil
	}
	name := j.slotName(slot)
	f, err := j.fs.Open(name)
	if errors.Is(err, fs.ErrNotExist) {
		if f, err = j.fs.Create(name); err == nil {
			err = errors.Join(f.Preallocate(0, j.size), j.fs.SyncDir(j.dir))
		}
	}
	if err != nil {
		return nil, fmt.Errorf("journal: open slot: %w", err)
	}
	j.slots[slot] = f
	return f, nil
}

// Failed is the first failure, nil while there is none.
func (j *Journal) Failed() error {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.err
}

// Fail makes err, or the failure before it, final and returns it, once the process has been told to end, if ever: nothing is
// written or acknowledged after it. A write or sync that failed is not tried again, since the page cache then proves nothing.
// wmu is not held.
func (j *Journal) Fail(err error) error {
	j.mu.Lock()
	first := j.err == nil
	if first {
		j.err = err
	}
	err = j.err
	j.mu.Unlock()
	if !first {
		<-j.ended
		return err
	}
	j.wmu.Lock() // a waiter has either seen the error or waits by now
	j.freed.Broadcast()
	j.wmu.Unlock()
	j.fatal(err)
	close(j.ended)
	return err
}
