package raftfile

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"

	"github.com/stelemq/stele/internal/vfs"
	"github.com/stelemq/stele/protocol/record"
)

const (
	magic   = "STELRAFT"
	version = 1
	// HeaderSize is the length of a file's header, in bytes; records follow.
	HeaderSize = 32
)

// Name is the name of the file beside the segment with this base offset.
func Name(segment record.Offset) string { return fmt.Sprintf("%020d.raft", segment) }

func encodeHeader(segment record.Offset) []byte {
	b := make([]byte, HeaderSize)
	copy(b, magic)
	binary.LittleEndian.PutUint32(b[8:], version)
	binary.LittleEndian.PutUint64(b[16:], uint64(segment)) //nolint:gosec // offsets are not negative
	binary.LittleEndian.PutUint32(b[12:], Castagnoli(Castagnoli(0, b[:12]), b[16:]))
	return b
}

func checkHeader(b []byte, segment record.Offset) error {
	if len(b) < HeaderSize || string(b[:8]) != magic {
		return errors.New("no .raft header")
	}
	le := binary.LittleEndian
	if le.Uint32(b[12:]) != Castagnoli(Castagnoli(0, b[:12]), b[16:HeaderSize]) {
		return errors.New(".raft header does not check")
	}
	if v := le.Uint32(b[8:]); v > version {
		return fmt.Errorf("%w: .raft version %d", ErrUnsupportedVersion, v)
	}
	if got := record.Offset(le.Uint64(b[16:])); got != segment { //nolint:gosec // as encoded
		return fmt.Errorf(".raft header is of segment %d", got)
	}
	return nil
}

// Read returns the records of a segment's .raft file up to the first that does not check, and the
// file position after them. Superseded records are folded away. A missing file has no records,
// nor has one whose header does not check: what should be there the journal's checkpoint says. Errors: those of reading, and
// ErrUnsupportedVersion.
func Read(fsys vfs.FS, dir string, segment record.Offset) (recs []Entry, end int64, err error) {
	name := filepath.Join(dir, Name(segment))
	b, err := vfs.ReadFile(fsys, name)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, 0, nil
	}
	if err != nil {
		return nil, 0, err
	}
	if len(b) == 0 {
		return nil, 0, nil
	}
	if err := checkHeader(b, segment); err != nil {
		if errors.Is(err, ErrUnsupportedVersion) {
			return nil, 0, fmt.Errorf("%s: %w", name, err)
		}
		return nil, 0, nil // nothing readable: judged against the journal's checkpoint
	}
	at := HeaderSize
	for at < len(b) {
		r, n, torn := Decode(b[at:])
		if torn != nil {
			return recs, int64(at), nil //nolint:nilerr // a torn end is judged against the journal's checkpoint
		}
		recs = Supersede(recs, r)
		at += n
	}
	return recs, int64(at), nil //nolint:nilerr // a torn record ends the file: judged against the journal
}

// Supersede adds r to contiguous records, dropping those at and after its index.
func Supersede(recs []Entry, r Entry) []Entry {
	if n := len(recs); n > 0 && r.Index <= recs[n-1].Index {
		if r.Index <= recs[0].Index {
			recs = recs[:0]
		} else {
			recs = recs[:r.Index-recs[0].Index]
		}
	}
	return append(recs, r)
}

// Writer appends records to the .raft file of one segment at a time. Not safe for concurrent use. After an error the file's
// end is unknown: the process should end.
type Writer struct {
	fs      vfs.FS
	dir     string
	segment record.Offset
	file    vfs.File
	end     int64
	buf     []byte
}

// NewWriter writes the files of a replica's directory. It opens none yet.
func NewWriter(fsys vfs.FS, dir string) *Writer {
	return &Writer{fs: fsys, dir: dir, segment: -1}
}

// Write appends recs, each to the file of its segment, and syncs every file that it touched: they are durable when it returns.
func (w *Writer) Write(recs []Entry) error {
	for len(recs) > 0 {
		n := 1
		for n < len(recs) && recs[n].Segment == recs[0].Segment {
			n++
		}
		if err := w.open(recs[0].Segment); err != nil {
			return err
		}
		w.buf = w.buf[:0]
		for i := range recs[:n] {
			w.buf = recs[i].AppendTo(w.buf)
		}
		if _, err := w.file.WriteAt(w.buf, w.end); err != nil {
			return fmt.Errorf("write %s: %w", w.file.Name(), err)
		}
		w.end += int64(len(w.buf))
		if err := w.file.Sync(); err != nil {
			return fmt.Errorf("sync %s: %w", w.file.Name(), err)
		}
		recs = recs[n:]
	}
	if cap(w.buf) > 1<<20 {
		w.buf = nil
	}
	return nil
}

// Create makes a segment's file with its header, durable but for its name.
func Create(fsys vfs.FS, dir string, segment record.Offset) error {
	f, err := fsys.Create(filepath.Join(dir, Name(segment)))
	if err != nil {
		return fmt.Errorf("create .raft: %w", err)
	}
	_, err = f.WriteAt(encodeHeader(segment), 0)
	if err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err != nil {
		return fmt.Errorf("create .raft: %w", err)
	}
	return nil
}

// open makes segment's file the current one, creating it with a synced name and header if needed.
func (w *Writer) open(segment record.Offset) error {
	if w.file != nil && w.segment == segment {
		return nil
	}
	if err := w.Close(); err != nil {
		return err
	}
	name := filepath.Join(w.dir, Name(segment))
	f, err := w.fs.Open(name)
	created := errors.Is(err, fs.ErrNotExist)
	if created {
		f, err = w.fs.Create(name)
	}
	if err != nil {
		return fmt.Errorf("open .raft: %w", err)
	}
	w.file, w.segment = f, segment
	if w.end, err = f.Size(); err != nil {
		return fmt.Errorf("size of %s: %w", name, err)
	}
	if w.end >= HeaderSize {
		return nil
	}
	if _, err := f.WriteAt(encodeHeader(segment), 0); err != nil {
		return fmt.Errorf("write %s: %w", name, err)
	}
	w.end = HeaderSize
	if created {
		if err := w.fs.SyncDir(w.dir); err != nil {
			return fmt.Errorf("sync %s: %w", w.dir, err)
		}
	}
	return nil
}

// Replace makes recs all that segment's file holds, atomically and durably.
func (w *Writer) Replace(segment record.Offset, recs []Entry) error {
	if err := w.Close(); err != nil {
		return err
	}
	b := encodeHeader(segment)
	for i := range recs {
		b = recs[i].AppendTo(b)
	}
	return vfs.WriteFileAtomic(w.fs, w.dir, Name(segment), b)
}

// Truncate cuts segment's file at end, so that the next write continues there.
func (w *Writer) Truncate(segment record.Offset, end int64) error {
	if err := w.open(segment); err != nil {
		return err
	}
	if w.end <= end {
		return nil
	}
	if err := w.file.Truncate(end); err != nil {
		return fmt.Errorf("truncate %s: %w", w.file.Name(), err)
	}
	w.end = end
	return nil
}

// Forget closes the current file if it belongs to a segment at or after from, which is being removed.
func (w *Writer) Forget(from record.Offset) error {
	if w.file != nil && w.segment >= from {
		return w.Close()
	}
	return nil
}

// CloseBelow closes the current file if it belongs to a segment before first, which is gone.
func (w *Writer) CloseBelow(first record.Offset) error {
	if w.file != nil && w.segment < first {
		return w.Close()
	}
	return nil
}

// Close closes the current file, if any; Write opens it again.
func (w *Writer) Close() error {
	if w.file == nil {
		return nil
	}
	f := w.file
	w.file, w.segment = nil, -1
	if err := f.Close(); err != nil {
		return fmt.Errorf("close %s: %w", f.Name(), err)
	}
	return nil
}
