package commitlog

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path/filepath"
	"slices"
	"strings"

	"github.com/stelemq/stele/internal/vfs"
	"github.com/stelemq/stele/protocol/record"
)

// Recovery is a partition's directory before the end of its log is known. The caller looks at what is
// there, writes what its journal holds, and says where the log ends. It is used by one goroutine.
type Recovery struct {
	env     environment
	opts    Options
	topicID [16]byte
	segs    []*segment
	names   []string // of all files found
	done    bool     // closed, or its segments belong to a Log

	// changed is the least offset of a batch that WriteAt has made different, NoOffset if none.
	changed record.Offset
}

// OpenRecovery opens a partition's directory, creating it and partition.metadata if they are absent
// (and only then syncing anything), and carries out what a crash has left of a compaction. It changes nothing else.
// Errors: ErrUnsupportedVersion, ErrTopicIDMismatch, *CorruptionError (partition.metadata).
func OpenRecovery(dir string, o Options) (*Recovery, error) {
	o = o.withDefaults()
	r := &Recovery{opts: o, changed: record.NoOffset}
	r.env.fs, r.env.dir, r.env.opts = o.FS, dir, &r.opts
	names, err := o.FS.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		err = o.FS.MkdirAll(dir)
	}
	if err != nil {
		return nil, fmt.Errorf("commitlog: open %s: %w", dir, err)
	}
	if r.topicID, err = checkMetadata(o.FS, dir, o.TopicID); err != nil {
		return nil, fmt.Errorf("commitlog: open %s: %w", dir, err)
	}
	changed, err := finishSwaps(&r.env, names)
	if err == nil && changed {
		names, err = o.FS.ReadDir(dir)
	}
	if err != nil {
		return nil, fmt.Errorf("commitlog: open %s: %w", dir, err)
	}
	r.names = names
	for _, n := range names {
		base, ok := parseName(n, logSuffix)
		if !ok {
			continue
		}
		fi, err := o.FS.Stat(filepath.Join(dir, n))
		if err != nil {
			return nil, fmt.Errorf("commitlog: open %s: %w", dir, err)
		}
		s := newSegment(&r.env, base)
		s.size.Store(fi.Size())
		s.nameDirty = true // whoever created it may not have come to sync it
		r.segs = append(r.segs, s)
	}
	slices.SortFunc(r.segs, func(a, b *segment) int { return int(min(max(a.base-b.base, -1), 1)) })
	return r, nil
}

// TopicID is the id in partition.metadata.
func (r *Recovery) TopicID() [16]byte { return r.topicID }

// Segments lists the segments, ascending.
func (r *Recovery) Segments() []SegmentInfo {
	out := make([]SegmentInfo, len(r.segs))
	for i, s := range r.segs {
		out[i] = SegmentInfo{Base: s.base, Size: s.size.Load()}
	}
	return out
}

func (r *Recovery) find(base record.Offset) (int, bool) {
	return slices.BinarySearchFunc(r.segs, base, func(s *segment, o record.Offset) int {
		return int(min(max(s.base-o, -1), 1))
	})
}

// ReadAt reads stored bytes, as io.ReaderAt. Errors: ErrNoSuchSegment, ErrClosed.
func (r *Recovery) ReadAt(base record.Offset, pos int64, p []byte) (int, error) {
	if r.done {
		return 0, ErrClosed
	}
	i, ok := r.find(base)
	if !ok {
		return 0, fmt.Errorf("%w: %d", ErrNoSuchSegment, base)
	}
	f, err := r.segs[i].log.acquire()
	if err != nil {
		return 0, err
	}
	defer r.segs[i].log.release()
	return f.ReadAt(p, pos) //nolint:wrapcheck // io contract
}

// WriteAt writes whole batches that the journal holds to where they belong: the same bytes at the same
// position. It creates the segment if it is missing. A write beyond the segment's end would leave a hole
// and is a *CorruptionError.
func (r *Recovery) WriteAt(base record.Offset, pos int64, p []byte) error {
	if r.done {
		return ErrClosed
	}
	s, err := r.writable(base)
	if err != nil {
		return err
	}
	size := s.size.Load()
	if pos < 0 || pos > size {
		return &CorruptionError{Path: s.log.path, Pos: size, Err: fmt.Errorf("hole before %d", pos)}
	}
	f, err := s.log.acquire()
	if err != nil {
		return err
	}
	defer s.log.release()
	same, err := holds(f, pos, min(int64(len(p)), size-pos), p)
	if err != nil {
		return err
	}
	if !same && len(p) >= record.HeaderLen {
		if o := record.Batch(p[:record.HeaderLen]).BaseOffset(); r.changed == record.NoOffset || o < r.changed {
			r.changed = max(o, 0)
		}
	}
	// Written even where it is there already: a page that failed to reach the disk may be clean.
	if _, err := f.WriteAt(p, pos); err != nil {
		return fmt.Errorf("write segment %d at %d: %w", base, pos, err)
	}
	s.size.Store(max(size, pos+int64(len(p))))
	return nil
}

// writable returns the segment with its file pinned, so that a failed write-back is not missed.
func (r *Recovery) writable(base record.Offset) (*segment, error) {
	i, ok := r.find(base)
	if !ok {
		s := newSegment(&r.env, base)
		f, err := r.env.fs.Create(s.log.path)
		if err != nil {
			return nil, fmt.Errorf("create segment %d: %w", base, err)
		}
		s.log.pin(f)
		s.pinned, s.nameDirty = true, true
		r.segs = slices.Insert(r.segs, i, s)
		return s, nil
	}
	s := r.segs[i]
	if !s.pinned {
		f, err := s.log.acquire()
		if err != nil {
			return nil, err
		}
		s.log.pin(f)
		s.pinned = true
		s.log.release()
	}
	return s, nil
}

// holds reports whether the first n bytes of p stand at pos, and n is all of p.
func holds(f vfs.File, pos, n int64, p []byte) (bool, error) {
	if n < int64(len(p)) {
		return false, nil
	}
	b := make([]byte, n)
	if err := readFull(f, b, pos); err != nil {
		return false, err
	}
	return string(b) == string(p), nil
}

// Close gives the directory up without a log. Idempotent; after Finish it does nothing.
func (r *Recovery) Close() error {
	if r.done {
		return nil
	}
	r.done = true
	r.closeFiles()
	return nil
}

func (r *Recovery) closeFiles() {
	for _, s := range r.segs {
		s.log.close()
		s.index.close()
		s.timeIndex.close()
	}
}

// ScanEnd finds the end of the log by scanning its last segment: after the last whole, valid batch. It
// serves adopted directories and tools; a replica knows its end from its journal, since batches that
// were never acknowledged look valid too. Bytes that are no whole batch are a torn tail, unless a valid
// batch follows them: then they are damage.
// Errors: *CorruptionError, ErrClosed.
func (r *Recovery) ScanEnd() (End, error) {
	if r.done {
		return End{}, ErrClosed
	}
	if len(r.segs) == 0 {
		return End{}, nil
	}
	s := r.segs[len(r.segs)-1]
	end := End{Segment: s.base, Next: s.base}
	f, err := s.log.acquire()
	if err != nil {
		return end, err
	}
	defer s.log.release()
	sc := newScanner(f, 0, s.size.Load(), s.base, true)
	defer sc.close()
	for {
		b, _, err := sc.step()
		if err == nil && b == nil {
			return end, nil
		}
		if err == nil {
			end.Pos, end.Next = sc.pos, b.NextOffset()
			continue
		}
		if !errors.Is(err, ErrCorrupt) {
			return end, err
		}
		found, err2 := batchFollows(f, end.Pos+1, s.size.Load(), end.Next)
		if err2 != nil {
			return end, err2
		}
		if found {
			return end, err
		}
		return end, nil
	}
}

// batchFollows reports whether a valid batch with an offset above next begins somewhere in [pos, end).
func batchFollows(f vfs.File, pos, end int64, next record.Offset) (bool, error) {
	buf := make([]byte, scanChunkBodies)
	for ; end-pos >= record.HeaderLen; pos += int64(len(buf)) - record.HeaderLen + 1 {
		buf = buf[:min(int64(cap(buf)), end-pos)]
		if err := readFull(f, buf, pos); err != nil {
			return false, err
		}
		for i := 0; i+record.HeaderLen <= len(buf); i++ {
			h := record.Batch(buf[i : i+record.HeaderLen])
			n, err := checkHeader(h, -1)
			at := pos + int64(i)
			if err != nil || n > end-at || h.BaseOffset() <= next {
				continue
			}
			b := make([]byte, n)
			if m, err := f.ReadAt(b, at); int64(m) < n {
				return false, fmt.Errorf("read %s: %w", f.Name(), noEOF(err))
			}
			if record.Batch(b).VerifyCRC() == nil {
				return true, nil
			}
		}
		if int64(len(buf)) == end-pos {
			break
		}
	}
	return false, nil
}

// isOrphan reports whether a file is left over: cut short in the middle of being written or removed, or
// an index without its segment.
func (r *Recovery) isOrphan(name string) bool {
	for _, suffix := range []string{deletedSuffix, tmpSuffix, cleanedSuffix, swapSuffix} {
		stem, ok := strings.CutSuffix(name, suffix)
		if !ok {
			continue
		}
		if stem == epochsName || stem == metadataName || stem == cleanedName {
			return true
		}
		for _, s := range []string{logSuffix, indexSuffix, timeIndexSuffix} {
			if _, ok := parseName(stem, s); ok {
				return true
			}
		}
	}
	for _, suffix := range []string{indexSuffix, timeIndexSuffix} {
		if base, ok := parseName(name, suffix); ok {
			_, found := r.find(base)
			return !found
		}
	}
	return false
}

// check holds the caller's end against the files.
func (r *Recovery) check(end End, logStart record.Offset) error {
	i, ok := r.find(end.Segment)
	switch {
	case end.Pos < 0 || end.Segment < 0 || end.Next < end.Segment || logStart < 0 || logStart > end.Next:
		return fmt.Errorf("%w: end %+v, log start %d", ErrOffsetOutOfRange, end, logStart)
	case !ok && (end.Pos > 0 || end.Next != end.Segment):
		return &CorruptionError{Path: fileName(r.env.dir, end.Segment, logSuffix), Err: fs.ErrNotExist}
	case ok && r.segs[i].size.Load() < end.Pos:
		return &CorruptionError{
			Path: r.segs[i].log.path, Pos: r.segs[i].size.Load(),
			Err: fmt.Errorf("%w: the log ends at %d", io.ErrUnexpectedEOF, end.Pos),
		}
	case end.Pos == 0 && end.Next != end.Segment:
		return fmt.Errorf("%w: end %+v", ErrOffsetOutOfRange, end)
	}
	first := end.Segment
	if len(r.segs) > 0 {
		first = min(first, r.segs[0].base)
	}
	if logStart < first {
		return &CorruptionError{Path: fileName(r.env.dir, logStart, logSuffix), Err: fs.ErrNotExist}
	}
	return nil
}
