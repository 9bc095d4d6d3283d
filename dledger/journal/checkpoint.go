package journal

import (
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/stelemq/stele/dledger/raftfile"
	"github.com/stelemq/stele/internal/vfs"
)

// checkpointInterval is how often shards with something in the journal are checkpointed although no file is
// full: it bounds what a restart replays, and after it damage at rest is told from a torn tail.
const checkpointInterval = 10 * time.Second

// A checkpoint of many shards is spread out, one shard every checkpointStep but at most checkpointSpan in all, so that
// its syncs do not stand in the way of those that somebody waits for.
const (
	checkpointStep = 4 * time.Millisecond
	checkpointSpan = 6 * time.Second
)

// checkpointWidth is how many shards are checkpointed at once when somebody waits for it. Otherwise it is one: goroutines in
// a sync keep processors from those who append.
const checkpointWidth = 16

// Options of a journal.
type Options struct {
	FS    vfs.FS
	Dir   string // it exists
	Size  int64  // of one file, in bytes; there are at most slotCount
	Hooks Hooks
	// Fatal is told of the first failure, once, and should end the process: whoever meets a failure waits for its return.
	Fatal func(error)
}

// Open prepares a journal that goes on where a replay ended. It writes nothing: the replayed files stay untouched until Begin,
// before which replicas that have been recovered are told by Adopt.
func Open(o Options, replay *Replayed) (*Journal, error) {
	j := &Journal{
		fs: o.FS, dir: o.Dir, size: o.Size, hooks: o.Hooks, fatal: o.Fatal,
		hard: make(map[Key]*hardEntry), wake: make(chan struct{}, 1), hurry: make(chan struct{}, 1), quit: make(chan struct{}), ended: make(chan struct{}),
	}
	j.freed = sync.NewCond(&j.wmu)
	for k, p := range replay.Shards {
		switch {
		case p.Suspect:
			j.hard[k] = &hardEntry{state: p.Hard, checkpoint: suspectCheckpoint}
		case p.HasHard:
			j.hard[k] = &hardEntry{state: p.Hard, checkpoint: p.Checkpoint, sync: p.Sync}
		}
	}
	return j, nil
}

// Begin writes the hard states of all shards to a first file and frees every other slot: everything the
// replayed files said has been recovered, written and synced.
func (j *Journal) Begin(replay *Replayed) error {
	slot, err := j.freeSlot(replay)
	if err != nil {
		return err
	}
	j.wmu.Lock()
	defer j.wmu.Unlock()
	file, err := j.openSlot(slot)
	if err != nil {
		return err
	}
	j.cur = &journalFile{slot: slot, file: file, seq: replay.Last + 1, pos: HeaderSize, shards: make(map[Shard]struct{})}
	// The header comes last: it says that the files before are not needed any more, so what they had of every shard
	// must be durable before it is.
	if err := j.writeHardStates(j.cur.seq); err != nil {
		return err
	}
	if err := j.cur.file.Sync(); err != nil {
		return fmt.Errorf("journal: sync: %w", err)
	}
	if err := j.writeHeader(j.cur, j.cur.seq); err != nil {
		return err
	}
	if err := j.endReplayed(replay); err != nil {
		return err
	}
	for s := range slotCount {
		if s != slot {
			j.free = append(j.free, s)
		}
	}
	j.done.Go(j.checkpointer)
	return nil
}

// endReplayed declares the newest of the replayed files complete: should the new file's header be damaged one day, they
// must not be taken for the state of the journal.
func (j *Journal) endReplayed(replay *Replayed) error {
	if replay.Last == 0 {
		return nil
	}
	f, err := j.openSlot(replay.LastSlot)
	if err != nil {
		return err
	}
	if _, err := f.WriteAt(finishFrame(beginFrame(nil), frameEnd, replay.Last, replay.LastPos, replay.LastPos), replay.LastPos); err != nil {
		return fmt.Errorf("journal: write: %w", err)
	}
	if err := f.Sync(); err != nil {
		return fmt.Errorf("journal: sync: %w", err)
	}
	return nil
}

// freeSlot finds a slot whose use cannot hurt the replayed files until the new one is durable. A slot whose header does
// not check is the last resort: it was being begun, or it has been set aside.
func (j *Journal) freeSlot(replay *Replayed) (int, error) {
	broken := -1
	for s := range slotCount {
		seq, known := replay.slots[s]
		switch {
		case !known || seq > 0 && seq < replay.liveFrom || seq == 0 && !replay.broken[s]:
			return s, nil
		case replay.broken[s]:
			broken = s
		}
	}
	if broken < 0 {
		return 0, errors.New("journal: no free slot")
	}
	return broken, nil
}

// writeHardStates writes every hard state whose newest copy is older than the sequence before. wmu is held.
func (j *Journal) writeHardStates(before uint64) error {
	b := beginFrame(nil)
	flush := func() error {
		if len(b) == FrameHeaderSize {
			return nil
		}
		err := j.put(b, frameRecords, spareSlots-1)
		b = beginFrame(nil)
		return err
	}
	for k, h := range j.hard {
		if h.seq >= before {
			continue
		}
		r := Record{Key: k, Hard: &h.state, Checkpoint: h.checkpoint, Sync: h.sync, Truncate: h.truncate}
		b, _ = appendRecord(b, &r)
		h.seq = j.cur.seq
		if len(b) > frameBodyMax {
			if err := flush(); err != nil {
				return err
			}
		}
	}
	return flush()
}

func (j *Journal) wakeCheckpointer() {
	select {
	case j.wake <- struct{}{}:
	default:
	}
}

// hurryCheckpoint lets the running checkpoint, or else the next one, be done at once.
func (j *Journal) hurryCheckpoint() {
	select {
	case j.hurry <- struct{}{}:
	default:
	}
}

func (j *Journal) checkpointer() {
	due := time.NewTimer(checkpointInterval)
	defer due.Stop()
	for {
		select {
		case <-j.quit:
			return
		case <-j.wake:
		case <-due.C:
		}
		if err := j.checkpointSlowly(); err != nil {
			_ = j.Fail(err)
			return
		}
		due.Reset(checkpointInterval)
	}
}

// Checkpoint makes everything that the journal says of entries stand in .raft and segment files, and frees
// the files that are complete. The caller waits for it.
func (j *Journal) Checkpoint() error {
	j.hurryCheckpoint() // one may be running
	return j.checkpointAt(func(int, int) bool { return true })
}

// checkpointSlowly does the same, spread out until somebody is in a hurry.
func (j *Journal) checkpointSlowly() error {
	began, hurried := time.Now(), false
	return j.checkpointAt(func(done, of int) bool {
		span := min(checkpointSpan, time.Duration(of)*checkpointStep)
		ahead := max(0, span*time.Duration(done)/time.Duration(of)-time.Since(began))
		if hurried {
			return true
		}
		t := time.NewTimer(ahead)
		defer t.Stop()
		select {
		case <-t.C:
		case <-j.hurry:
			hurried = true
		case <-j.quit:
			hurried = true
		}
		return hurried
	})
}

// checkpointPace waits until it is time for the next shard of a checkpoint, and reports whether somebody waits for it.
type checkpointPace func(done, of int) (hurried bool)

// checkpointAt makes a checkpoint at the speed that pace allows.
func (j *Journal) checkpointAt(pace checkpointPace) error {
	j.ckpt.Lock()
	defer j.ckpt.Unlock()
	if err := j.Failed(); err != nil {
		return err
	}
	j.wmu.Lock()
	shards := make(map[Shard]struct{})
	retired := len(j.live)
	for _, f := range append(j.live[:retired:retired], j.cur) {
		for s := range f.shards {
			shards[s] = struct{}{}
		}
	}
	j.cur.shards = make(map[Shard]struct{})
	for s := range shards {
		if h := j.hard[s.Key()]; h != nil {
			h.cut = h.truncate > 0
		}
	}
	j.relaxed = 0
	seq := j.cur.seq
	j.wmu.Unlock()
	if len(shards) == 0 && retired == 0 {
		return nil
	}
	done, err := checkpointShards(shards, pace)
	if err != nil {
		return err
	}
	j.wmu.Lock()
	defer j.wmu.Unlock()
	return j.retire(retired, seq, done)
}

// checkpointShards checkpoints several shards at once if somebody waits: it is waiting for the disk, mostly.
func checkpointShards(shards map[Shard]struct{}, pace checkpointPace) (map[Shard]Checkpointed, error) {
	var (
		mu    sync.Mutex
		errs  error
		wg    sync.WaitGroup
		out   = make(map[Shard]Checkpointed, len(shards))
		slots = make(chan struct{}, checkpointWidth)
	)
	n := 0
	for s := range shards {
		if hurried := pace(n, len(shards)); !hurried {
			wg.Wait()
		}
		n++
		slots <- struct{}{}
		wg.Go(func() {
			defer func() { <-slots }()
			r, err := s.Checkpoint()
			mu.Lock()
			defer mu.Unlock()
			errs = errors.Join(errs, err)
			if err == nil {
				out[s] = r
			}
		})
	}
	wg.Wait()
	return out, errs
}

// retire notes the checkpoints and hard states in the current file, syncs it, and frees the n oldest files. wmu
// is held; it is released while syncing is not possible otherwise, so the sync happens under it: once per file.
func (j *Journal) retire(n int, seq uint64, done map[Shard]Checkpointed) error {
	b := beginFrame(nil)
	for s, c := range done {
		h := j.hard[s.Key()]
		if c.Gone || h == nil {
			continue
		}
		if h.cut {
			j.cur.shards[s] = struct{}{} // what came after the truncation stands in files that stay
			if h.truncate > 0 {
				// The truncation itself may not, and the files do not follow it yet: it is said once more.
				h.seq = j.cur.seq
				r := Record{Key: s.Key(), Hard: &h.state, Checkpoint: h.checkpoint, Truncate: h.truncate}
				b, _ = appendRecord(b, &r)
			}
			continue
		}
		h.checkpoint, h.sync, h.seq = c.Index, c.Sync, j.cur.seq
		r := Record{Key: s.Key(), Hard: &h.state, Checkpoint: c.Index, Sync: c.Sync}
		b, _ = appendRecord(b, &r)
	}
	if len(b) > FrameHeaderSize {
		if err := j.put(b, frameRecords, spareSlots-1); err != nil {
			return err
		}
	}
	if n == 0 {
		return nil // lost with a crash at worst: then more is replayed
	}
	if err := j.writeHardStates(seq); err != nil {
		return err
	}
	if err := j.cur.file.Sync(); err != nil {
		return fmt.Errorf("journal: sync: %w", err)
	}
	j.cur.synced = j.cur.pos
	for _, f := range j.live[:n] {
		j.free = append(j.free, f.slot)
	}
	j.live = append([]*journalFile(nil), j.live[n:]...)
	j.freed.Broadcast()
	return nil
}

// Adopt sets what is known of a shard that has been recovered. It must be called before Begin.
func (j *Journal) Adopt(k Key, hard HardState, checkpoint raftfile.Index, synced SyncPoint) {
	j.wmu.Lock()
	defer j.wmu.Unlock()
	j.hard[k] = &hardEntry{state: hard, checkpoint: checkpoint, sync: synced}
}

// Known is what a journal that replays nothing has of a shard: its hard state and how far its files are; nil if nothing.
func (j *Journal) Known(k Key) *Pending {
	j.wmu.Lock()
	defer j.wmu.Unlock()
	h := j.hard[k]
	if h == nil || h.state.Term == 0 || h.checkpoint == suspectCheckpoint {
		return nil
	}
	return &Pending{Key: k, Hard: h.state, HasHard: true, Checkpoint: h.checkpoint, Sync: h.sync}
}

// Forget drops what is remembered of a deleted shard.
func (j *Journal) Forget(s Shard) {
	j.wmu.Lock()
	defer j.wmu.Unlock()
	delete(j.hard, s.Key())
	for _, f := range append(j.live[:len(j.live):len(j.live)], j.cur) {
		delete(f.shards, s)
	}
}

// ForgetKey is Forget for a shard that is not open.
func (j *Journal) ForgetKey(k Key) {
	j.wmu.Lock()
	defer j.wmu.Unlock()
	delete(j.hard, k)
}

// Close checkpoints everything, so that the next start replays nothing, and closes the files.
func (j *Journal) Close() error {
	j.wmu.Lock()
	if j.closed {
		j.wmu.Unlock()
		return nil
	}
	j.closed = true
	j.wmu.Unlock()
	close(j.quit)
	j.done.Wait()
	err := j.Failed()
	if err == nil && j.cur != nil {
		err = j.Checkpoint()
	}
	for _, f := range j.slots {
		if f != nil {
			err = errors.Join(err, f.Close())
		}
	}
	return err
}
