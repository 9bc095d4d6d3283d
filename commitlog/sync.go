package commitlog

import (
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/stelemq/stele/internal/vfs"
	"github.com/stelemq/stele/protocol/record"
)

// DirtySegment is what of a segment has been appended and not synced: the bytes [From, From+Bytes).
type DirtySegment struct {
	Segment     record.Offset
	From, Bytes int64
}

// Dirty lists what has been appended and not synced, by segment, ascending. Concurrent.
func (l *Log) Dirty() []DirtySegment {
	segs := *l.segments.Load()
	l.smu.Lock()
	defer l.smu.Unlock()
	var out []DirtySegment
	for _, s := range segs {
		if size := s.size.Load(); s.synced < size {
			out = append(out, DirtySegment{Segment: s.base, From: s.synced, Bytes: size - s.synced})
		}
	}
	return out
}

// Sync makes everything appended before the call durable: the bytes of segments and the names of
// files. After Config.SnapshotBytes of appends, or a new segment, it also stores what a start would
// else have to compute: indexes, leader epochs and producer state. Concurrent with everything but Close.
// A failure ends the log; it is not tried again.
func (l *Log) Sync() error {
	if err := l.usable(); err != nil {
		return err
	}
	if err := l.syncSegments(*l.segments.Load()); err != nil {
		return l.fail(err)
	}
	l.smu.Lock()
	due := l.rolled || l.sinceCheck >= l.cfg.Load().SnapshotBytes
	l.smu.Unlock()
	if due {
		l.env.derivedMu.Lock()
		err := l.checkpointLocked()
		l.env.derivedMu.Unlock()
		if err != nil {
			return l.fail(err)
		}
	}
	return l.fail(l.syncNames(false))
}

// SyncSegment makes the bytes and the name of one segment durable. Concurrent as Sync.
// Errors: ErrNoSuchSegment, or the failure that ended the log.
func (l *Log) SyncSegment(base record.Offset) error {
	if err := l.usable(); err != nil {
		return err
	}
	s, err := l.segment(base)
	if err != nil {
		return err
	}
	if err := l.syncSegments([]*segment{s}); err != nil {
		return l.fail(err)
	}
	return l.fail(l.syncNames(false))
}

// syncSegments syncs the segments that are dirty.
func (l *Log) syncSegments(segs []*segment) error {
	for _, s := range segs {
		cuts := l.cuts.Load()
		size := s.size.Load()
		l.smu.Lock()
		dirty := s.synced < size
		l.smu.Unlock()
		if !dirty {
			continue
		}
		if err := l.syncOne(s); err != nil {
			return err
		}
		l.smu.Lock()
		// A truncation in between may have replaced what was synced.
		if l.cuts.Load() == cuts && cuts%2 == 0 {
			s.synced = max(s.synced, size)
		}
		l.smu.Unlock()
	}
	l.unpinSynced()
	return nil
}

func (l *Log) syncOne(s *segment) error {
	f, err := s.log.acquire()
	if err != nil {
		if l.gone(s) {
			return nil // deleted by retention or truncated away: nothing of it is promised
		}
		return err
	}
	defer s.log.release()
	began := time.Now()
	if err := f.Sync(); err != nil {
		return fmt.Errorf("sync segment %d: %w", s.base, err)
	}
	if f := l.env.opts.Metrics.Synced; f != nil {
		f(time.Since(began))
	}
	return nil
}

// gone reports whether s is no longer a segment of the log.
func (l *Log) gone(s *segment) bool { return !slices.Contains(*l.segments.Load(), s) }

// unpinSynced gives files of closed segments back to the cache once they are synced. Until then they
// stay open: a descriptor opened later might not be told of a failed write-back.
func (l *Log) unpinSynced() {
	segs := *l.segments.Load()
	l.smu.Lock()
	defer l.smu.Unlock()
	for _, s := range segs[:len(segs)-1] {
		if s.pinned && s.synced >= s.size.Load() {
			s.pinned = false
			s.log.unpin()
		}
	}
}

// syncNames makes new names in the directory durable.
func (l *Log) syncNames(force bool) error {
	segs := *l.segments.Load()
	l.smu.Lock()
	var named []*segment
	for _, s := range segs {
		if s.nameDirty {
			named = append(named, s)
		}
	}
	l.smu.Unlock()
	if len(named) == 0 && !force {
		return nil
	}
	if err := l.env.fs.SyncDir(l.env.dir); err != nil {
		return fmt.Errorf("sync directory: %w", err)
	}
	l.smu.Lock()
	for _, s := range named {
		s.nameDirty = false
	}
	l.smu.Unlock()
	return nil
}

// checkpointLocked stores the derived state. The order is what recovery trusts: once a producer
// snapshot at offset S exists, the index files hold every entry below S and the epoch checkpoint every
// epoch that begins below S, durably. Caller holds env.derivedMu.
func (l *Log) checkpointLocked() error {
	l.smu.Lock()
	closed := l.unsynced
	l.smu.Unlock()
	for _, s := range closed {
		if l.gone(s) {
			continue
		}
		if err := s.syncIndex(); err != nil {
			return err
		}
	}
	// The state first: what is stored after it covers at least as much.
	ps, at := l.producers.snapshot()
	l.smu.Lock()
	since := l.sinceCheck
	l.smu.Unlock()
	if a := l.active(); a.size.Load() > 0 {
		if m := a.mem.Load(); m != nil {
			m.seal() // should the segment be closed at this very offset, its time index is whole
			if err := a.flushIndex(m); err != nil {
				return err
			}
			if err := a.syncIndex(); err != nil {
				return err
			}
		}
	}
	if err := l.storeEpochsLocked(); err != nil {
		return err
	}
	// The names too: a file from before, under the same name, must not be taken for this one.
	if err := l.syncNames(true); err != nil {
		return err
	}
	l.pending = append(l.pending, snapshot{at, AppendProducerSnapshot(nil, ps)})
	if err := l.storeSnapshotsLocked(); err != nil {
		return err
	}
	l.smu.Lock()
	l.unsynced = slices.DeleteFunc(slices.Clone(l.unsynced), func(s *segment) bool { return slices.Contains(closed, s) })
	l.rolled = len(l.unsynced) > 0
	l.sinceCheck -= since
	l.smu.Unlock()
	return nil
}

// storeEpochsLocked writes the leader-epoch-checkpoint if it has changed; its name is not durable yet.
func (l *Log) storeEpochsLocked() error {
	list, changes := l.epochs.snapshot()
	if changes == l.epochsStored {
		return nil
	}
	if err := writeAtomic(l.env.fs, l.env.path(epochsName), appendEpochs(nil, list)); err != nil {
		return fmt.Errorf("%s: %w", epochsName, err)
	}
	l.epochsStored = changes
	return nil
}

// storeSnapshotsLocked writes the pending producer snapshots. A torn one is known by its checksum; the
// one before it stays at least until this one's name is durable too.
func (l *Log) storeSnapshotsLocked() error {
	for _, p := range l.pending {
		if err := storeSnapshot(l.env.fs, fileName(l.env.dir, p.at, snapshotSuffix), p.bytes); err != nil {
			return fmt.Errorf("producer snapshot: %w", err)
		}
		if i, ok := slices.BinarySearch(l.snapshots, p.at); !ok {
			l.snapshots = slices.Insert(l.snapshots, i, p.at)
		}
	}
	l.pending = nil
	for _, o := range superfluous(l.snapshots, *l.segments.Load()) {
		if err := l.removeSnapshotLocked(o); err != nil {
			return err
		}
	}
	return nil
}

func storeSnapshot(fsys vfs.FS, path string, b []byte) error {
	f, err := fsys.Create(path)
	if err != nil {
		return fmt.Errorf("create: %w", err)
	}
	if _, err = f.WriteAt(b, 0); err == nil {
		err = f.Sync()
	}
	return errors.Join(err, f.Close())
}

func (l *Log) removeSnapshotLocked(o record.Offset) error {
	if err := l.env.fs.Remove(fileName(l.env.dir, o, snapshotSuffix)); err != nil {
		return fmt.Errorf("remove producer snapshot: %w", err)
	}
	l.snapshots = slices.DeleteFunc(l.snapshots, func(x record.Offset) bool { return x == o })
	return nil
}

// superfluous are the snapshots that may go: all but the last two and those where segments begin, from
// which producer state is made anew when the log is cut there or what lies before is deleted.
func superfluous(snapshots []record.Offset, segs []*segment) (out []record.Offset) {
	for _, at := range snapshots[:max(len(snapshots)-2, 0)] {
		if !slices.ContainsFunc(segs, func(s *segment) bool { return s.base == at }) {
			out = append(out, at)
		}
	}
	return out
}
