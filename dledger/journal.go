package dledger

import (
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"sync"
	"time"

	"github.com/stelemq/stele/internal/vfs"
	"github.com/stelemq/stele/protocol/record"
)

const (
	// journalSlots bounds the files: one being written, the others waiting for their checkpoint or free. One is not even
	// live in the newest header: the next start needs it for its own first file.
	journalSlots = 5
	// spareSlots is how many free slots a writer leaves. The checkpointer may take one of them: it would otherwise wait for
	// itself.
	spareSlots = 2
	// inlineShardMax is the most bytes of one shard that go into the journal instead of syncing its
	// segment: beyond it writing them twice costs more than a sync in parallel.
	inlineShardMax = 32 << 10
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
	shards map[*shardLog]struct{}
}

// hardEntry is what the journal must carry over when it recycles the file that holds it.
type hardEntry struct {
	state      hardState
	checkpoint Index
	sync       syncPoint
	seq        uint64 // of the file with the newest copy
	// cut: a suffix has been removed since the running checkpoint began, so that what it found out
	// must not be written behind the truncation.
	cut bool
	// truncate is the first index of a truncation that the files do not follow yet; 0 = none.
	truncate Index
}

// journal is the write-ahead log of the Raft side, shared by all shards of a log directory.
// Format and argument: docs/format/journal.md.
type journal struct {
	fs    vfs.FS
	dir   string
	size  int64
	hooks journalHooks
	fatal func(error)

	mu sync.Mutex
	// mu guards:
	queue []*saveRequest
	busy  bool // somebody is flushing
	err   error

	wmu sync.Mutex
	// wmu guards:
	cur      *journalFile
	live     []*journalFile // older than cur, waiting for their checkpoint; ascending
	slots    [journalSlots]vfs.File
	free     []int
	freed    *sync.Cond // on wmu: free has grown, or the journal has failed
	hard     map[shardKey]*hardEntry
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

// journalHooks observe the journal; all may be nil.
type journalHooks struct {
	fsync func(d time.Duration)
	frame func(bytes, saves int)
}

// saveRequest is one SaveRaftState call's part for the journal.
type saveRequest struct {
	saves   []*shardSave
	durable bool // the caller waits for stable storage
	lead    bool // set before ready is signalled: the waiter is to flush the queue
	err     error
	ready   chan struct{}
}

// shardSave is what one step wants to persist of one shard. While it is queued the shard's worker waits, so
// nothing else writes to the shard's log.
type shardSave struct {
	shard   *shardLog
	record  shardRecord
	durable bool
	// data is where the step's bytes lie, if they are contiguous in one segment: a candidate for inlining.
	data inlineRun
	// end is the log's end after the step.
	end     syncPoint
	inlined bool
	syncing bool // its segment is being synced already
}

// inlinable reports whether the bytes are few, and behind nothing but safe bytes.
func (s *shardSave) inlinable() bool {
	n := len(s.data.bytes)
	return s.durable && n > 0 && n <= inlineShardMax && s.shard.safeAt(s.data.segment, s.data.pos)
}

// commit writes the request's records and, if it is durable, returns only when they and the bytes they describe
// are on stable storage.
func (j *journal) commit(r *saveRequest) error {
	if !r.durable {
		return j.commitRelaxed(r)
	}
	// Bytes that are not inlined wait neither for the journal nor for each other, nor does the journal wait for them.
	var segments segmentSyncs
	for _, s := range r.saves {
		if s.durable && !s.inlinable() {
			s.syncing = true
			segments.start(s, j.hooks.fsync)
		}
	}
	err := j.commitRecords(r)
	if synced := segments.wait(); synced != nil {
		err = j.fail(synced)
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
func (y *segmentSyncs) start(s *shardSave, observe func(time.Duration)) {
	if !s.shard.unsafe(s.end) {
		return
	}
	y.wg.Go(func() {
		if err := s.shard.syncData(observe); err != nil {
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
func (j *journal) commitRecords(r *saveRequest) error {
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
func (j *journal) takeGroup() []*saveRequest {
	j.mu.Lock()
	defer j.mu.Unlock()
	n, bytes := 0, 0
	for n < len(j.queue) && (n == 0 || bytes < frameBodyMax) {
		for _, s := range j.queue[n].saves {
			bytes += 128 + entryFixed*len(s.record.entries)
		}
		n++
	}
	group := j.queue[:n:n]
	j.queue = append([]*saveRequest(nil), j.queue[n:]...)
	return group
}

// handOver lets the first waiter flush next, so that no worker serves the others for ever.
func (j *journal) handOver() {
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
func (j *journal) commitRelaxed(r *saveRequest) error {
	if err := j.failed(); err != nil {
		return err
	}
	if err := j.writeRelaxed(r); err != nil {
		return j.fail(err)
	}
	return nil
}

func (j *journal) writeRelaxed(r *saveRequest) error {
	j.wmu.Lock()
	defer j.wmu.Unlock()
	if _, _, err := j.writeFrame([]*saveRequest{r}); err != nil {
		return err
	}
	for _, s := range r.saves {
		j.relaxed += s.record.dataBytes()
	}
	if j.relaxed > relaxedBytesMax {
		j.wakeCheckpointer()
	}
	if j.relaxed > 2*relaxedBytesMax {
		j.hurryCheckpoint()
	}
	return nil
}

// sync makes everything written so far durable: what relaxed partitions have written waits for no other sync.
func (j *journal) sync() error {
	j.wmu.Lock()
	f, end := j.cur, j.cur.pos // what stands in older files was synced when they were completed
	j.wmu.Unlock()
	return j.syncFile(f, end)
}

func (r *shardRecord) dataBytes() (n int64) {
	for i := range r.entries {
		n += int64(r.entries[i].length)
	}
	return n
}

// flush writes a group as one frame and syncs it, and in parallel the segments whose bytes did not fit it.
func (j *journal) flush(group []*saveRequest) error {
	if err := j.failed(); err != nil {
		return err
	}
	chooseInlined(group, min(inlineTotalMax, j.size/inlineShare))
	j.wmu.Lock()
	file, end, err := j.writeFrame(group)
	j.wmu.Unlock()
	if err != nil {
		return j.fail(err)
	}
	var segments segmentSyncs
	for _, g := range group {
		for _, s := range g.saves {
			switch {
			case !s.durable || s.syncing:
			case s.inlined:
				s.shard.markInlined(s.end)
			default:
				segments.start(s, j.hooks.fsync)
			}
		}
	}
	err = j.syncFile(file, end)
	if err = errors.Join(err, segments.wait()); err != nil {
		return j.fail(err)
	}
	return nil
}

// chooseInlined decides whose bytes ride in the journal. All together are at most limit.
func chooseInlined(group []*saveRequest, limit int64) {
	total := int64(0)
	for _, g := range group {
		for _, s := range g.saves {
			n := int64(len(s.data.bytes))
			if !s.syncing && total+n <= limit && s.inlinable() {
				s.inlined = true
				total += n
			}
		}
	}
}

// writeFrame writes the requests as one frame and returns the file and the position after the frame. wmu is held.
func (j *journal) writeFrame(group []*saveRequest) (*journalFile, int64, error) {
	b := beginFrame(j.frameBuf[:0])
	saves := 0
	for _, g := range group {
		for _, s := range g.saves {
			b = j.appendSave(b, s)
			saves++
		}
	}
	if err := j.put(b, frameRecords, spareSlots); err != nil {
		return nil, 0, err
	}
	for _, g := range group {
		for _, s := range g.saves {
			j.note(s)
		}
	}
	if j.hooks.frame != nil {
		j.hooks.frame(len(b), saves)
	}
	return j.cur, j.cur.pos, nil
}

func (j *journal) appendSave(b []byte, s *shardSave) []byte {
	s.record.sync = s.shard.syncedTo()
	b, countAt := appendShardRecord(b, &s.record)
	if s.inlined {
		b = appendRunHeader(b, s.data.segment, s.data.pos, int64(len(s.data.bytes)))
		b = append(b, s.data.bytes...)
		b[countAt] = 1
	}
	return b
}

// note remembers where a shard's newest hard state stands and that the file needs the shard's checkpoint.
func (j *journal) note(s *shardSave) {
	r := &s.record
	e := j.hard[r.key]
	if e == nil {
		e = &hardEntry{}
		j.hard[r.key] = e
	}
	if r.hard != nil {
		e.state, e.seq, e.sync = *r.hard, j.cur.seq, r.sync
	}
	if r.checkpoint > 0 {
		e.checkpoint = r.checkpoint
	}
	if r.truncate > 0 {
		e.cut, e.truncate = true, r.truncate
		e.sync, e.checkpoint = syncPoint{}, min(e.checkpoint, r.truncate-1)
	}
	if n := len(r.entries); n > 0 {
		s.shard.setJournaled(r.entries[n-1].index)
	}
	if len(r.entries) > 0 || r.truncate > 0 {
		j.cur.shards[s.shard] = struct{}{}
	}
}

// truncated notes that a shard's files follow its newest truncation.
func (j *journal) truncated(k shardKey) {
	j.wmu.Lock()
	defer j.wmu.Unlock()
	if e := j.hard[k]; e != nil {
		e.truncate = 0
	}
}

// put writes a begun frame at the end of the current file, rotating first if it does not fit. wmu is held.
//
// spare is how many free slots it must leave: spareSlots for writers, one less for the checkpointer.
func (j *journal) put(b []byte, kind uint32, spare int) error {
	if need := int64(align8(len(b))); j.cur.pos+need+frameHeaderSize > j.size {
		if need+journalHeaderSize+frameHeaderSize > j.size {
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
func (j *journal) syncFile(f *journalFile, end int64) error {
	start := time.Now()
	if err := f.file.Sync(); err != nil {
		return fmt.Errorf("journal: sync: %w", err)
	}
	if j.hooks.fsync != nil {
		j.hooks.fsync(time.Since(start))
	}
	j.wmu.Lock()
	f.synced = max(f.synced, end)
	j.wmu.Unlock()
	return nil
}

// rotate begins a new file. The new header is durable before the old file is declared complete, and that
// before anything is written behind the new header; replay relies on both. wmu is held.
func (j *journal) rotate(spare int) error {
	for len(j.free) <= spare {
		if err := j.failed(); err != nil {
			return err
		}
		j.wakeCheckpointer()
		j.hurryCheckpoint()
		j.freed.Wait()
	}
	old := j.cur
	slot := j.free[0]
	j.free = j.free[1:]
	next := &journalFile{slot: slot, seq: old.seq + 1, shards: make(map[*shardLog]struct{})}
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
func (j *journal) beginFile(f *journalFile, oldest uint64) error {
	file, err := j.openSlot(f.slot)
	if err != nil {
		return err
	}
	f.file, f.pos = file, journalHeaderSize
	return j.writeHeader(f, oldest)
}

// writeHeader writes the header of f durably, and with it the frames that stand behind it already.
func (j *journal) writeHeader(f *journalFile, oldest uint64) error {
	if _, err := f.file.WriteAt(encodeJournalHeader(f.seq, oldest), 0); err != nil {
		return fmt.Errorf("journal: write header: %w", err)
	}
	if err := f.file.Sync(); err != nil {
		return fmt.Errorf("journal: sync header: %w", err)
	}
	f.synced = f.pos
	return nil
}

func (j *journal) slotName(slot int) string {
	return filepath.Join(j.dir, fmt.Sprintf("%d.journal", slot))
}

// openSlot opens a slot's file, creating and preallocating it if it is new.
func (j *journal) openSlot(slot int) (vfs.File, error) {
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

func (j *journal) failed() error {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.err
}

// fail makes err final (wmu is not held) and returns when the process has been told to end, if ever: nothing is written or acknowledged after it, and the process ends. A write or sync
// that failed is not tried again, since the page cache then proves nothing.
func (j *journal) fail(err error) error {
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

// safeAt, syncedTo and the like are the shard's view of what is durable; see shardLog.
type durability struct {
	mu sync.Mutex
	// mu guards:
	synced syncPoint // stored bytes before it are synced in the segments
	safe   syncPoint // stored bytes before it are synced or inlined in a live journal file
}

func (d *durability) syncedTo() syncPoint {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.synced
}

// safeAt reports whether everything before a position is safe.
func (d *durability) safeAt(segment record.Offset, pos int64) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return !d.safe.before(segment, pos)
}

// unsafe reports whether something before end is not safe.
func (d *durability) unsafe(end syncPoint) bool { return !d.safeAt(end.segment, end.pos) }

func (d *durability) markInlined(end syncPoint) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.safe.before(end.segment, end.pos) {
		d.safe = end
	}
}

func (d *durability) markSynced(end syncPoint) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.synced.before(end.segment, end.pos) {
		d.synced = end
	}
	if d.safe.before(end.segment, end.pos) {
		d.safe = end
	}
}

// cut follows a truncation of the log to end.
func (d *durability) cut(end syncPoint) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if end.before(d.synced.segment, d.synced.pos) {
		d.synced = end
	}
	if end.before(d.safe.segment, d.safe.pos) {
		d.safe = end
	}
}
