package dledger

import (
	"errors"
	"fmt"
	"sync"
	"time"

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

type journalOptions struct {
	fs    vfs.FS
	dir   string
	size  int64
	hooks journalHooks
	fatal func(error)
}

// openJournal begins a fresh file after those that were replayed. The replayed files stay untouched until
// adopt is called.
func openJournal(o journalOptions, replay *journalReplay) (*journal, error) {
	j := &journal{
		fs: o.fs, dir: o.dir, size: o.size, hooks: o.hooks, fatal: o.fatal,
		hard: make(map[shardKey]*hardEntry), wake: make(chan struct{}, 1), hurry: make(chan struct{}, 1), quit: make(chan struct{}), ended: make(chan struct{}),
	}
	j.freed = sync.NewCond(&j.wmu)
	for k, p := range replay.shards {
		switch {
		case p.suspect:
			j.hard[k] = &hardEntry{state: p.hard, checkpoint: suspectCheckpoint}
		case p.hasHard:
			j.hard[k] = &hardEntry{state: p.hard, checkpoint: p.checkpoint, sync: p.sync}
		}
	}
	return j, nil
}

// begin writes the hard states of all shards to a first file and frees every other slot: everything the
// replayed files said has been recovered, written and synced.
func (j *journal) begin(replay *journalReplay) error {
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
	j.cur = &journalFile{slot: slot, file: file, seq: replay.last + 1, pos: journalHeaderSize, shards: make(map[*shardLog]struct{})}
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
	for s := range journalSlots {
		if s != slot {
			j.free = append(j.free, s)
		}
	}
	j.done.Go(j.checkpointer)
	return nil
}

// endReplayed declares the newest of the replayed files complete: should the new file's header be damaged one day, they
// must not be taken for the state of the journal.
func (j *journal) endReplayed(replay *journalReplay) error {
	if replay.last == 0 {
		return nil
	}
	f, err := j.openSlot(replay.lastSlot)
	if err != nil {
		return err
	}
	if _, err := f.WriteAt(finishFrame(beginFrame(nil), frameEnd, replay.last, replay.lastPos, replay.lastPos), replay.lastPos); err != nil {
		return fmt.Errorf("journal: write: %w", err)
	}
	if err := f.Sync(); err != nil {
		return fmt.Errorf("journal: sync: %w", err)
	}
	return nil
}

// freeSlot finds a slot whose use cannot hurt the replayed files until the new one is durable. A slot whose header does
// not check is the last resort: it was being begun, or it has been set aside.
func (j *journal) freeSlot(replay *journalReplay) (int, error) {
	broken := -1
	for s := range journalSlots {
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
func (j *journal) writeHardStates(before uint64) error {
	b := beginFrame(nil)
	flush := func() error {
		if len(b) == frameHeaderSize {
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
		r := shardRecord{key: k, hard: &h.state, checkpoint: h.checkpoint, sync: h.sync, truncate: h.truncate}
		b, _ = appendShardRecord(b, &r)
		h.seq = j.cur.seq
		if len(b) > frameBodyMax {
			if err := flush(); err != nil {
				return err
			}
		}
	}
	return flush()
}

func (j *journal) wakeCheckpointer() {
	select {
	case j.wake <- struct{}{}:
	default:
	}
}

// hurryCheckpoint lets the running checkpoint, or else the next one, be done at once.
func (j *journal) hurryCheckpoint() {
	select {
	case j.hurry <- struct{}{}:
	default:
	}
}

func (j *journal) checkpointer() {
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
			_ = j.fail(err)
			return
		}
		due.Reset(checkpointInterval)
	}
}

// checkpoint makes everything that the journal says of entries stand in .raft and segment files, and frees
// the files that are complete. The caller waits for it.
func (j *journal) checkpoint() error {
	j.hurryCheckpoint() // one may be running
	return j.checkpointAt(func(int, int) bool { return true })
}

// checkpointSlowly does the same, spread out until somebody is in a hurry.
func (j *journal) checkpointSlowly() error {
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
func (j *journal) checkpointAt(pace checkpointPace) error {
	j.ckpt.Lock()
	defer j.ckpt.Unlock()
	if err := j.failed(); err != nil {
		return err
	}
	j.wmu.Lock()
	shards := make(map[*shardLog]struct{})
	retired := len(j.live)
	for _, f := range append(j.live[:retired:retired], j.cur) {
		for s := range f.shards {
			shards[s] = struct{}{}
		}
	}
	j.cur.shards = make(map[*shardLog]struct{})
	for s := range shards {
		if h := j.hard[s.key]; h != nil {
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
func checkpointShards(shards map[*shardLog]struct{}, pace checkpointPace) (map[*shardLog]checkpointResult, error) {
	var (
		mu    sync.Mutex
		errs  error
		wg    sync.WaitGroup
		out   = make(map[*shardLog]checkpointResult, len(shards))
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
			r, err := s.checkpoint()
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

type checkpointResult struct {
	index Index
	sync  syncPoint
	gone  bool // the shard has been closed or deleted: nothing is said of it
}

// retire notes the checkpoints and hard states in the current file, syncs it, and frees the n oldest files. wmu
// is held; it is released while syncing is not possible otherwise, so the sync happens under it: once per file.
func (j *journal) retire(n int, seq uint64, done map[*shardLog]checkpointResult) error {
	b := beginFrame(nil)
	for s, c := range done {
		h := j.hard[s.key]
		if c.gone || h == nil {
			continue
		}
		if h.cut {
			j.cur.shards[s] = struct{}{} // what came after the truncation stands in files that stay
			if h.truncate > 0 {
				// The truncation itself may not, and the files do not follow it yet: it is said once more.
				h.seq = j.cur.seq
				r := shardRecord{key: s.key, hard: &h.state, checkpoint: h.checkpoint, truncate: h.truncate}
				b, _ = appendShardRecord(b, &r)
			}
			continue
		}
		h.checkpoint, h.sync, h.seq = c.index, c.sync, j.cur.seq
		r := shardRecord{key: s.key, hard: &h.state, checkpoint: c.index, sync: c.sync}
		b, _ = appendShardRecord(b, &r)
	}
	if len(b) > frameHeaderSize {
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

// known is what a journal that replays nothing has of a shard: its hard state and how far its files are; nil if nothing.
func (j *journal) known(k shardKey) *pendingShard {
	j.wmu.Lock()
	defer j.wmu.Unlock()
	h := j.hard[k]
	if h == nil || h.state.Term == 0 || h.checkpoint == suspectCheckpoint {
		return nil
	}
	return &pendingShard{key: k, hard: h.state, hasHard: true, checkpoint: h.checkpoint, sync: h.sync}
}

// forgetShard drops what is remembered of a deleted shard.
func (j *journal) forgetShard(s *shardLog) {
	j.wmu.Lock()
	defer j.wmu.Unlock()
	delete(j.hard, s.key)
	for _, f := range append(j.live[:len(j.live):len(j.live)], j.cur) {
		delete(f.shards, s)
	}
}

// forgetKey is forgetShard for a shard that is not open.
func (j *journal) forgetKey(k shardKey) {
	j.wmu.Lock()
	defer j.wmu.Unlock()
	delete(j.hard, k)
}

// close checkpoints everything, so that the next start replays nothing, and closes the files.
func (j *journal) close() error {
	j.wmu.Lock()
	if j.closed {
		j.wmu.Unlock()
		return nil
	}
	j.closed = true
	j.wmu.Unlock()
	close(j.quit)
	j.done.Wait()
	err := j.failed()
	if err == nil && j.cur != nil {
		err = j.checkpoint()
	}
	for _, f := range j.slots {
		if f != nil {
			err = errors.Join(err, f.Close())
		}
	}
	return err
}
