package dledger

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/stelemq/stele/commitlog"
	"github.com/stelemq/stele/dledger/raftfile"
	"github.com/stelemq/stele/protocol/record"
)

// Compaction: each replica compacts its own segments, when its own log is dirty enough (commitlog.Log.Clean). The bytes below
// are no longer those of the Raft entries then, so it may be done only where nobody asks for these: closed segments below
// which Raft's log has been made to begin, and replica.json to reach, as before segments are deleted (trim.go). A follower that
// lacks some of them catches up from files. Replicas are equal by key: of each key the newest record below the high watermark
// is on all of them. Why, and what whoever catches up must heed: docs/adr/0026-compaction.md.

// CleanerOptions configure compaction; names in comments are Kafka's settings.
type CleanerOptions struct {
	// Disabled: nothing is compacted (log.cleaner.enable=false).
	Disabled bool
	// Threads is how many partitions are compacted at the same time (log.cleaner.threads); 0 = 1.
	Threads int
	// DedupeBytes bounds the memory for keys, over all threads (log.cleaner.dedupe.buffer.size); 0 = 128 MiB.
	DedupeBytes int64
	// IOBytesPerSecond bounds what is read and written, over all threads (log.cleaner.io.max.bytes.per.second); 0 = no bound.
	IOBytesPerSecond int64
	// Backoff is how long a thread rests that finds nothing to do (log.cleaner.backoff.ms); 0 = 15 s.
	Backoff time.Duration
}

func (o CleanerOptions) withDefaults() CleanerOptions {
	if o.Threads <= 0 {
		o.Threads = 1
	}
	if o.DedupeBytes <= 0 {
		o.DedupeBytes = 128 << 20
	}
	if o.Backoff <= 0 {
		o.Backoff = 15 * time.Second
	}
	return o
}

const (
	// letGoTimeout bounds how long Raft is waited for to let go of entries.
	letGoTimeout = 10 * time.Second
	letGoPoll    = 20 * time.Millisecond
	// uncleanableFor is how long a partition rests that could not be compacted.
	uncleanableFor = 10 * time.Minute
	// servedRecently: a replica that fetched so short ago from this one is still at it; it would have to begin again. It is
	// waited for at most servedPatience.
	servedRecently = 5 * time.Second
	servedPatience = 10 * time.Minute
)

// cleaning is a partition's part in compaction.
type cleaning struct {
	claimed atomic.Bool  // a cleaner is at it
	notTill atomic.Int64 // by monotonic(): it is left alone until then
	failed  atomic.Bool  // the last turn could not be carried out
	served  atomic.Int64 // by monotonic(): when another replica last fetched from this one

	// swap is held while segments are replaced, and shared by those who serve others: what one state tells is of one state.
	swap sync.RWMutex
	// state names what the segments hold: it changes whenever some have been replaced, and differs between replicas and starts.
	state atomic.Uint64
}

// startCleaners starts the threads.
func (h *Host) startCleaners() {
	if h.opts.Cleaner.Disabled {
		return
	}
	for range h.opts.Cleaner.Threads {
		h.tasks.Go(h.cleaner)
	}
}

// cleaner compacts one partition after the other, the dirtiest first.
func (h *Host) cleaner() {
	for wait := h.opts.Cleaner.Backoff; pause(h.ctx, wait); {
		p := h.claimFilthiest()
		if p == nil {
			wait = h.opts.Cleaner.Backoff
			continue
		}
		wait = time.Millisecond
		h.cleanClaimed(p)
	}
}

// claimFilthiest claims the partition that most wants compaction, nil if none does (Kafka's grabFilthiestCompactedLog).
func (h *Host) claimFilthiest() *Partition {
	for {
		var best *Partition
		most, now := -1.0, monotonic()
		dirtiest := 0.0
		for _, p := range h.all() {
			c := p.config.Load()
			if !c.Compact || p.cleaning.claimed.Load() || now < p.cleaning.notTill.Load() || p.shard.condemned() || p.shard.isGone() {
				continue
			}
			plan, err := p.shard.log.now().Cleanable(c.compactPolicy(), p.shard.committedOffset())
			if err != nil {
				p.cleanFailed(err)
				continue
			}
			dirtiest = max(dirtiest, plan.Ratio())
			if plan.Due(c.compactPolicy()) && plan.Ratio() > most {
				best, most = p, plan.Ratio()
			}
		}
		h.metrics.cleaner.ratio.Set(dirtiest)
		if best == nil || best.cleaning.claimed.CompareAndSwap(false, true) {
			return best
		}
	}
}

func (c *LogConfig) compactPolicy() commitlog.CompactPolicy {
	return commitlog.CompactPolicy{
		DeleteRetention: c.DeleteRetention, MinDirtyRatio: c.MinDirtyRatio, MinLag: c.MinCompactionLag, MaxLag: c.MaxCompactionLag,
	}
}

// cleanClaimed carries out a turn and gives the claim back.
func (h *Host) cleanClaimed(p *Partition) {
	defer p.cleaning.claimed.Store(false)
	stats, err := h.clean(p)
	h.metrics.cleaner.observe(&stats, err)
	if err != nil {
		p.cleanFailed(err)
		return
	}
	p.cleaning.failed.Store(false)
	if stats.SegmentsBefore == 0 && stats.Dirty == 0 {
		p.cleaning.notTill.Store(monotonic() + int64(h.opts.Cleaner.Backoff)) // Raft has not let go of anything yet
		return
	}
	p.logger.Info("compacted", "records", stats.RecordsRead, "removed", stats.RecordsRemoved, "tombstones_removed", stats.TombstonesRemoved,
		"read_bytes", stats.ReadBytes, "written_bytes", stats.WrittenBytes, "segments", stats.SegmentsBefore, "segments_left", stats.SegmentsAfter,
		"keys", stats.Keys, "dirty_offset", int64(stats.Dirty), "duration", stats.Took)
}

// cleanFailed says why a partition could not be compacted, and leaves it alone for a while.
func (p *Partition) cleanFailed(err error) {
	switch {
	case errors.Is(err, commitlog.ErrClosed), errors.Is(err, context.Canceled), p.host.ctx.Err() != nil:
		return
	case p.shard.log.now().Err() != nil:
		_ = p.host.journal.Fail(err) // files were being replaced
		return
	case unreadable(err):
		_ = p.readError(err)
	}
	p.cleaning.failed.Store(true)
	p.cleaning.notTill.Store(monotonic() + int64(uncleanableFor))
	p.logger.Warn("not compacted", "error", err, "retry_in", uncleanableFor)
}

// clean carries out a turn on one partition, as far as Raft lets go of its entries.
func (h *Host) clean(p *Partition) (commitlog.CleanStats, error) {
	c := p.config.Load()
	s := p.shard
	log := s.log.now()
	plan, err := log.Cleanable(c.compactPolicy(), s.committedOffset())
	if err != nil {
		return commitlog.CleanStats{}, err //nolint:wrapcheck // says all
	}
	base, err := h.letGoBelow(p, p.compactable(plan.UpTo))
	if err != nil || base == 0 {
		return commitlog.CleanStats{}, err
	}
	if need := min(plan.CleanBytes+plan.DirtyBytes, max(c.SegmentBytes, 1<<20)); !h.space.grant(need) {
		return commitlog.CleanStats{}, fmt.Errorf("%w: %d bytes for a compacted segment", ErrNoSpace, need)
	}
	stats, err := log.Clean(h.ctx, commitlog.CleanOptions{
		Policy: c.compactPolicy(), UpTo: base, MapBytes: h.opts.Cleaner.DedupeBytes / int64(h.opts.Cleaner.Threads),
		Wait: h.cleanRate.wait, Swap: p.swapSegments,
	})
	if err != nil {
		return stats, fmt.Errorf("compact: %w", err)
	}
	h.metrics.deleted.WithLabelValues(reasonCompacted).Add(float64(stats.SegmentsBefore - stats.SegmentsAfter))
	return stats, s.dropMergedRecords(base)
}

// reasonCompacted is why segments go that compaction has put together with others.
const reasonCompacted = "compaction"

// compactable is the largest base of a segment at or below upTo below which nothing is needed by a follower that is in step:
// one that fell behind the beginning of Raft's log would have to catch up from files.
func (p *Partition) compactable(upTo record.Offset) record.Offset {
	s := p.shard
	floor, known := Index(1<<63-1), true
	if p.isLeader.Load() {
		floor, known = p.progress.slowest(p.shard.lastIndex(), p.host.opts.ReplicaLagTimeMax)
	}
	if !known {
		return 0
	}
	base := record.Offset(0)
	s.mu.Lock()
	defer s.mu.Unlock()
	floor = min(floor, s.committedTo)
	for _, x := range s.log.Segments() {
		if x.Base > upTo || x.Base > 0 && s.first <= s.lastBelowLocked(x.Base) && s.lastBelowLocked(x.Base) > floor {
			break
		}
		base = x.Base
	}
	return base
}

// letGoBelow has Raft's log begin behind the entries below base, and replica.json reach beyond. It returns the base of the
// segment up to which that has been done; 0: none.
func (h *Host) letGoBelow(p *Partition, base record.Offset) (record.Offset, error) {
	if base == 0 {
		return 0, nil
	}
	s := p.shard
	ctx, cancel := context.WithTimeout(h.ctx, letGoTimeout)
	defer cancel()
	for checked, nudged := false, false; ; {
		ready, compact, err := s.letGoNow(base)
		if err != nil || ready {
			return base, err
		}
		switch {
		case compact == 0 && !checked:
			checked = true
			if err := h.journal.Checkpoint(); err != nil {
				return 0, h.journal.Fail(err)
			}
		case compact > 0 && h.compactRaft(p, compact) != nil && !nudged && p.isLeader.Load():
			// Nothing has been applied since the last time: an entry that changes nothing helps.
			nudged = true
			if err := p.propose(ctx, encodeLogStart(s.log.LogStart(), reasonUnknown)); err != nil {
				return 0, nil //nolint:nilerr // the leadership is gone, or time is up: another time
			}
		}
		if !pause(ctx, letGoPoll) {
			return 0, nil
		}
	}
}

func (s *shardLog) letGoNow(base record.Offset) (ready bool, compact Index, err error) {
	s.ckptMu.Lock()
	defer s.ckptMu.Unlock()
	if s.isGone() {
		return false, 0, ErrClosed
	}
	return s.letGo(base, 0)
}

// swapSegments replaces segments by compacted ones, once no other replica is fetching from this one.
func (p *Partition) swapSegments(ctx context.Context, f func() error) error {
	c := &p.cleaning
	for until := monotonic() + int64(servedPatience); ; {
		now := monotonic()
		if at := c.served.Load(); at == 0 || now-at > int64(servedRecently) || now > until {
			break
		}
		if !pause(ctx, 100*time.Millisecond) {
			return fmt.Errorf("compact: %w", context.Cause(ctx))
		}
	}
	c.swap.Lock()
	defer c.swap.Unlock()
	c.state.Add(1)
	return f()
}

// begin begins with a state that no other replica, or start of this one, is likely to tell.
func (c *cleaning) begin() { c.state.Store(rand.Uint64() | 1) } //nolint:gosec // no secret

// dropMergedRecords removes the .raft files of segments below base that are no more: they describe nothing.
func (s *shardLog) dropMergedRecords(base record.Offset) error {
	s.ckptMu.Lock()
	defer s.ckptMu.Unlock()
	if s.isGone() {
		return nil
	}
	names, err := s.fs.ReadDir(s.dir)
	if err != nil {
		return fmt.Errorf("list %s: %w", s.dir, err)
	}
	here := map[string]bool{}
	for _, x := range s.log.Segments() {
		here[raftfile.Name(x.Base)] = true
	}
	for _, n := range names {
		if !strings.HasSuffix(n, ".raft") || n >= raftfile.Name(base) || here[n] {
			continue
		}
		if err := s.fs.Remove(filepath.Join(s.dir, n)); err != nil && !notExist(err) {
			return fmt.Errorf("delete records of %s: %w", s.dir, err)
		}
	}
	return nil
}
