package commitlog

import (
	"errors"
	"fmt"
	"io/fs"
	"iter"
	"path/filepath"
	"slices"

	"github.com/stelemq/stele/internal/vfs"
	"github.com/stelemq/stele/protocol/record"
)

// StoredBatch is a batch as it stands in a segment file.
type StoredBatch struct {
	Pos int64 // of its first byte in the file
	// Batch is the whole batch, also where its checksum is wrong. Valid until the next step.
	Batch record.Batch
	// Err is nil, or what is wrong with the batch: its checksum does not match.
	Err error
}

// Batches iterates over the batches of a segment file, offline. A batch with a wrong checksum is
// yielded with Err set; where no batch can be made out the iteration ends with a *CorruptionError, also
// for bytes at the end that are no whole batch.
func Batches(fsys vfs.FS, path string) iter.Seq2[StoredBatch, error] {
	return func(yield func(StoredBatch, error) bool) {
		f, err := fsys.Open(path)
		if err != nil {
			yield(StoredBatch{}, fmt.Errorf("commitlog: %w", err))
			return
		}
		defer f.Close() //nolint:errcheck // nothing was written
		size, err := f.Size()
		if err != nil {
			yield(StoredBatch{}, fmt.Errorf("commitlog: size: %w", err))
			return
		}
		sc := newScanner(f, 0, size, -1, false)
		defer sc.close()
		var buf []byte
		for {
			sc.next = -1 // offsets are for the caller to judge
			h, pos, err := sc.step()
			if err != nil {
				yield(StoredBatch{Pos: pos}, err)
				return
			}
			if h == nil {
				return
			}
			n := int(sc.pos - pos)
			buf = slices.Grow(buf[:0], n)[:n]
			if err := readFull(f, buf, pos); err != nil {
				yield(StoredBatch{Pos: pos}, err)
				return
			}
			b := record.Batch(buf)
			if !yield(StoredBatch{Pos: pos, Batch: b, Err: b.VerifyCRC()}, nil) {
				return
			}
		}
	}
}

// SegmentReport is what VerifyDir found in one segment.
type SegmentReport struct {
	Base    record.Offset
	Next    record.Offset // the offset after its last good batch
	Bytes   int64         // of good batches
	Batches int
	Records int64
}

// Report is what VerifyDir found.
type Report struct {
	TopicID  [16]byte
	Segments []SegmentReport
	Problems []Problem
}

// Problem is something wrong with one file.
type Problem struct {
	Path string
	Pos  int64
	Err  error
	// Derived: the file is made anew by a start; no data is concerned.
	Derived bool
}

// VerifyDir reads everything in a partition's directory and holds it against each other: checksums and
// offsets of all batches, indexes and leader epochs against the batches that they point to, checksums of
// producer snapshots, and partition.metadata. It changes nothing; the partition should not be in use,
// or else a batch that is being written is reported as torn.
func VerifyDir(fsys vfs.FS, dir string) (*Report, error) {
	v := &verifier{fs: fsys, dir: dir}
	names, err := fsys.ReadDir(dir)
	if err != nil {
		return nil, fmt.Errorf("commitlog: verify: %w", err)
	}
	var bases []record.Offset
	for _, n := range names {
		if o, ok := parseName(n, logSuffix); ok {
			bases = append(bases, o)
		}
	}
	for i, o := range bases {
		if i > 0 && v.report.Segments[i-1].Next != o && !v.damaged {
			v.note(fileName(dir, o, logSuffix), 0, false, fmt.Errorf("%w: the segment before ends at %d", errOrder, v.report.Segments[i-1].Next))
		}
		v.damaged = false
		if err := v.segment(o); err != nil {
			return nil, err
		}
	}
	v.epochs()
	for _, n := range names {
		if o, ok := parseName(n, snapshotSuffix); ok {
			if _, err := readSnapshot(&environment{fs: fsys, dir: dir}, o); err != nil {
				v.note(filepath.Join(dir, n), 0, true, err)
			}
		}
	}
	if v.report.TopicID, err = readMetadata(fsys, dir); err != nil {
		v.note(filepath.Join(dir, metadataName), 0, false, err)
	}
	return &v.report, nil
}

type verifier struct {
	fs      vfs.FS
	dir     string
	report  Report
	damaged bool // the segment before
	starts  []epochEntry
}

func (v *verifier) note(path string, pos int64, derived bool, err error) {
	var c *CorruptionError
	if errors.As(err, &c) {
		path, pos, err = c.Path, c.Pos, c.Err
	}
	v.report.Problems = append(v.report.Problems, Problem{Path: path, Pos: pos, Err: err, Derived: derived})
}

// batchAt is what the indexes of a segment are held against.
type batchAt struct {
	pos   int64
	last  record.Offset
	maxTs int64
}

func (v *verifier) segment(base record.Offset) error {
	path := fileName(v.dir, base, logSuffix)
	r := SegmentReport{Base: base, Next: base}
	var at []batchAt
	for b, err := range Batches(v.fs, path) {
		if err != nil {
			if !errors.Is(err, ErrCorrupt) {
				return err
			}
			v.damaged = true
			v.note(path, b.Pos, false, err)
			break
		}
		if b.Err == nil && b.Batch.BaseOffset() != r.Next {
			b.Err = errOrder
		}
		at = append(at, batchAt{b.Pos, b.Batch.LastOffset(), b.Batch.MaxTimestamp()})
		if b.Err != nil {
			v.damaged = true
			v.note(path, b.Pos, false, b.Err)
			continue
		}
		r.Batches++
		r.Records += int64(b.Batch.Count())
		r.Bytes += int64(len(b.Batch))
		r.Next = b.Batch.NextOffset()
		if e := b.Batch.LeaderEpoch(); e >= 0 && (len(v.starts) == 0 || v.starts[len(v.starts)-1].epoch != e) {
			v.starts = append(v.starts, epochEntry{e, b.Batch.BaseOffset()})
		}
	}
	v.report.Segments = append(v.report.Segments, r)
	v.index(base, at)
	v.timeIndex(base, at)
	return nil
}

func (v *verifier) index(base record.Offset, at []batchAt) {
	path := fileName(v.dir, base, indexSuffix)
	b, err := readFile(v.fs, path, maxEmptyIndex)
	if errors.Is(err, fs.ErrNotExist) {
		return // written when a segment is closed
	}
	es, err2 := decodeIndex(b, 1<<31)
	if err := errors.Join(err, err2); err != nil {
		v.note(path, int64(len(es))*indexEntryLen, true, err)
	}
	for i, e := range es {
		k, ok := slices.BinarySearchFunc(at, int64(e.pos), func(b batchAt, pos int64) int { return int(b.pos - pos) })
		if !ok || at[k].last != base+record.Offset(e.rel) {
			v.note(path, int64(i)*indexEntryLen, true, fmt.Errorf("no batch at %d ends with offset %d", e.pos, base+record.Offset(e.rel)))
		}
	}
}

func (v *verifier) timeIndex(base record.Offset, at []batchAt) {
	path := fileName(v.dir, base, timeIndexSuffix)
	b, err := readFile(v.fs, path, maxEmptyIndex)
	if errors.Is(err, fs.ErrNotExist) {
		return
	}
	es, err2 := decodeTimeIndex(b, 1<<31)
	if err := errors.Join(err, err2); err != nil {
		v.note(path, int64(len(es))*timeIndexEntryLen, true, err)
	}
	k, most := 0, int64(noTimestamp)
	for i, e := range es {
		want := base + record.Offset(e.rel)
		for ; k < len(at) && at[k].last <= want; k++ {
			most = max(most, at[k].maxTs)
		}
		if k == 0 || at[k-1].last != want || at[k-1].maxTs != e.ts || most != e.ts {
			v.note(path, int64(i)*timeIndexEntryLen, true, fmt.Errorf("offset %d does not hold the largest timestamp %d", want, e.ts))
		}
	}
}

// epochs holds the checkpoint against the epochs of the batches.
func (v *verifier) epochs() {
	path := filepath.Join(v.dir, epochsName)
	b, err := readFile(v.fs, path, maxCheckpointBytes)
	if errors.Is(err, fs.ErrNotExist) {
		return
	}
	var es []epochEntry
	if err == nil {
		es, err = parseEpochs(b)
	}
	if err != nil {
		v.note(path, 0, true, err)
		return
	}
	for _, e := range es {
		i, _ := slices.BinarySearchFunc(v.starts, e.start, func(x epochEntry, o record.Offset) int { return int(min(max(x.start-o, -1), 1)) })
		// The batches around the start must be of this epoch and of an older one.
		holds := i < len(v.starts) && v.starts[i].start == e.start && v.starts[i].epoch == e.epoch
		inside := i > 0 && v.starts[i-1].epoch == e.epoch && len(es) > 0 && e == es[0]
		beyond := i == len(v.starts)
		if !holds && !inside && !beyond {
			v.note(path, 0, true, fmt.Errorf("no batch of epoch %d at offset %d", e.epoch, e.start))
		}
	}
}

// ErrTorn is what is wrong with bytes at the end of a segment that only begin a batch. A crash leaves
// them in the last segment, and the next start cuts them.
var ErrTorn = errTorn
