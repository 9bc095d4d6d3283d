package commitlog

import (
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"

	"github.com/stelemq/stele/internal/vfs"
	"github.com/stelemq/stele/protocol/record"
)

// How compacted segments take the place of others, in steps that a crash may come between:
//
//  1. <base>.log.cleaned and its indexes are written and synced: left there, they are removed at the next start.
//  2. They are renamed to .swap, the log last, and the directory is synced. From here on the replacement has happened:
//     a start that finds <base>.log.swap carries out the rest.
//  3. The files of the segments that were put together are removed, but the first one's log; the directory is synced.
//  4. .swap is renamed away, over the first one's log; the directory is synced.
//
// So there is never a segment beside one that holds the same offsets, whatever order the names reach the disk in.

// errReplaced: the file belongs to a segment that has been compacted since. Whoever meets it looks again.
var errReplaced = fmt.Errorf("segment has been compacted: %w", fs.ErrNotExist)

// cleanGroup writes a group anew and puts the result in its place.
func (t *cleanTurn) cleanGroup(g cleanGroup) error {
	l, base := t.l, g.segs[0].base
	s := newSegment(&l.env, base)
	f, err := l.env.fs.Create(s.log.path + cleanedSuffix)
	if err != nil {
		return fmt.Errorf("compact: %w", err)
	}
	w := newCleanWriter(f, base, l.cfg.Load().IndexIntervalBytes, t.wait)
	changed := len(g.segs) > 1
	for _, old := range g.segs {
		if err = t.scan(old, func(b record.Batch) error {
			c, err := t.filter(w, b)
			changed = changed || c
			return err
		}); err != nil {
			break
		}
	}
	var size int64
	if err == nil && changed {
		size, err = w.finish()
	}
	handed := false // f is the segment's from here on, and once that has been put in its place, the cache may close it
	if err == nil && changed {
		err = s.prepareSwap(f, w, size)
		handed = err == nil
	}
	if handed {
		t.stats.WrittenBytes += size
		err = t.replace(g, s)
	} else {
		err = errors.Join(err, f.Close())
	}
	if !changed || err != nil {
		return errors.Join(err, s.abandonSwap())
	}
	t.stats.SegmentsBefore += len(g.segs)
	t.stats.SegmentsAfter++
	return nil
}

// prepareSwap makes a compacted segment whole and durable beside those that it replaces: step 1.
func (s *segment) prepareSwap(f vfs.File, w *cleanWriter, size int64) error {
	if err := f.Sync(); err != nil {
		return fmt.Errorf("sync compacted segment: %w", err)
	}
	offsets, times, ni, nj := w.index.encode(0, 0)
	for _, x := range []struct {
		l *lazyFile
		b []byte
	}{{s.timeIndex, times}, {s.index, offsets}} {
		f, err := s.env.fs.Create(x.l.path + cleanedSuffix)
		if err != nil {
			return fmt.Errorf("create index: %w", err)
		}
		x.l.pin(f)
		if err := storeIndexFile(f, x.b, 0); err != nil {
			return err
		}
		if err := f.Sync(); err != nil {
			return fmt.Errorf("sync index: %w", err)
		}
	}
	s.log.pin(f)
	s.size.Store(size)
	s.synced = size
	s.checked, s.offsets, s.times = true, ni, nj
	s.maxKnown, s.maxTime = true, w.index.max()
	return nil
}

// abandonSwap removes what step 1 has left, if anything.
func (s *segment) abandonSwap() (err error) {
	for _, l := range []*lazyFile{s.log, s.index, s.timeIndex} {
		l.close()
		if e := s.env.fs.Remove(l.path + cleanedSuffix); e != nil && !errors.Is(e, fs.ErrNotExist) {
			err = errors.Join(err, fmt.Errorf("remove: %w", e))
		}
	}
	return err
}

// replace carries out steps 2 to 4, once the caller of Clean allows it.
func (t *cleanTurn) replace(g cleanGroup, s *segment) error {
	done := false
	f := func() error {
		done = true
		return t.l.replace(g, s)
	}
	if t.o.Swap == nil {
		return f()
	}
	err := t.o.Swap(t.ctx, f)
	if err == nil && !done {
		err = errStopped
	}
	return err
}

func (l *Log) replace(g cleanGroup, s *segment) error {
	l.filesMu.Lock()
	defer l.filesMu.Unlock()
	if slices.ContainsFunc(g.segs, l.gone) {
		return fmt.Errorf("%w: segments were deleted meanwhile", errStopped)
	}
	if err := l.usable(); err != nil {
		return err
	}
	files := []*lazyFile{s.timeIndex, s.index, s.log}
	for _, x := range files {
		if err := l.env.fs.Rename(x.path+cleanedSuffix, x.path+swapSuffix); err != nil {
			return l.fail(fmt.Errorf("swap: %w", err))
		}
	}
	if err := l.env.fs.SyncDir(l.env.dir); err != nil {
		return l.fail(fmt.Errorf("swap: %w", err))
	}
	l.publish(g, s)
	for i, old := range g.segs {
		gone := []*lazyFile{old.index, old.timeIndex}
		if i > 0 {
			gone = append(gone, old.log)
		}
		for _, x := range gone {
			if err := l.discard(x.path); err != nil {
				return l.fail(fmt.Errorf("swap: %w", err))
			}
		}
	}
	if err := l.env.fs.SyncDir(l.env.dir); err != nil {
		return l.fail(fmt.Errorf("swap: %w", err))
	}
	for _, x := range files {
		if err := l.env.fs.Rename(x.path+swapSuffix, x.path); err != nil {
			return l.fail(fmt.Errorf("swap: %w", err))
		}
	}
	if err := l.env.fs.SyncDir(l.env.dir); err != nil {
		return l.fail(fmt.Errorf("swap: %w", err))
	}
	for _, x := range files {
		x.unpin() // from here on it can be opened by its name
	}
	return nil
}

// publish makes s the segment of its offsets. Reads that are under way go on in the old files or begin again.
func (l *Log) publish(g cleanGroup, s *segment) {
	l.wmu.Lock()
	defer l.wmu.Unlock()
	l.cuts.Add(1)
	defer l.cuts.Add(1)
	for _, old := range g.segs {
		old.imu.Lock() // nobody makes its index anew any more, under the names that are s's now
		old.replaced = true
		old.imu.Unlock()
		for _, x := range []*lazyFile{old.log, old.index, old.timeIndex} {
			x.retireForGood()
		}
	}
	segs := slices.Clone(*l.segments.Load())
	i := slices.Index(segs, g.segs[0])
	segs = slices.Replace(segs, i, i+len(g.segs), s)
	l.segments.Store(&segs)
}

// finishSwaps carries out what a crash has left of replacements, and removes what was not to be yet. Called before the
// segments are listed.
func finishSwaps(env *environment, names []string) (changed bool, err error) {
	for _, n := range names {
		stem, ok := strings.CutSuffix(n, swapSuffix)
		if !ok {
			continue
		}
		if base, ok := parseName(stem, logSuffix); ok {
			changed = true
			if err := env.finishSwap(names, base); err != nil {
				return changed, fmt.Errorf("finish compaction of segment %d: %w", base, err)
			}
		}
	}
	return changed, nil
}

func (e *environment) finishSwap(names []string, base record.Offset) error {
	path := fileName(e.dir, base, logSuffix)
	next, err := endOfSwap(e, path+swapSuffix, base)
	if err != nil {
		return err
	}
	for _, n := range names {
		for _, suffix := range []string{logSuffix, indexSuffix, timeIndexSuffix} {
			o, ok := parseName(n, suffix)
			if !ok || o < base || o >= next || o == base && suffix == logSuffix {
				continue
			}
			if err := e.fs.Remove(e.path(n)); err != nil && !errors.Is(err, fs.ErrNotExist) {
				return fmt.Errorf("remove: %w", err)
			}
		}
	}
	if err := e.fs.SyncDir(e.dir); err != nil {
		return fmt.Errorf("sync directory: %w", err)
	}
	for _, suffix := range []string{timeIndexSuffix, indexSuffix, logSuffix} {
		name := fileName(e.dir, base, suffix)
		if err := e.fs.Rename(name+swapSuffix, name); err != nil && (suffix == logSuffix || !errors.Is(err, fs.ErrNotExist)) {
			return fmt.Errorf("rename: %w", err)
		}
	}
	if err := e.fs.SyncDir(e.dir); err != nil {
		return fmt.Errorf("sync directory: %w", err)
	}
	return nil
}

// endOfSwap is the offset at which the segment in a .swap file ends.
func endOfSwap(e *environment, path string, base record.Offset) (record.Offset, error) {
	f, err := e.fs.Open(path)
	if err != nil {
		return 0, fmt.Errorf("open: %w", err)
	}
	next := base
	size, err := f.Size()
	if err == nil {
		sc := newScanner(f, 0, size, base, false)
		for {
			b, _, err2 := sc.step()
			if err = err2; b == nil || err != nil {
				break
			}
			next = b.NextOffset()
		}
		sc.close()
	}
	return next, errors.Join(err, f.Close())
}
