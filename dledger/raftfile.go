package dledger

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
	raftMagic      = "STELRAFT"
	raftVersion    = 1
	raftHeaderSize = 32
)

func raftFileName(segment record.Offset) string { return fmt.Sprintf("%020d.raft", segment) }

func encodeRaftHeader(segment record.Offset) []byte {
	b := make([]byte, raftHeaderSize)
	copy(b, raftMagic)
	binary.LittleEndian.PutUint32(b[8:], raftVersion)
	binary.LittleEndian.PutUint64(b[16:], uint64(segment)) //nolint:gosec // offsets are not negative
	binary.LittleEndian.PutUint32(b[12:], castagnoli(castagnoli(0, b[:12]), b[16:]))
	return b
}

func checkRaftHeader(b []byte, segment record.Offset) error {
	if len(b) < raftHeaderSize || string(b[:8]) != raftMagic {
		return errors.New("no .raft header")
	}
	le := binary.LittleEndian
	if le.Uint32(b[12:]) != castagnoli(castagnoli(0, b[:12]), b[16:raftHeaderSize]) {
		return errors.New(".raft header does not check")
	}
	if v := le.Uint32(b[8:]); v > raftVersion {
		return fmt.Errorf("%w: .raft version %d", ErrUnsupportedVersion, v)
	}
	if got := record.Offset(le.Uint64(b[16:])); got != segment { //nolint:gosec // as encoded
		return fmt.Errorf(".raft header is of segment %d", got)
	}
	return nil
}

// readRaftFile returns the records of a segment's .raft file up to the first that does not check, and the
// file position after them. Superseded records are folded away. A missing file has no records.
func readRaftFile(fsys vfs.FS, dir string, segment record.Offset) (recs []entryRecord, end int64, err error) {
	name := filepath.Join(dir, raftFileName(segment))
	b, err := readFile(fsys, name)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, 0, nil
	}
	if err != nil {
		return nil, 0, err
	}
	if len(b) == 0 {
		return nil, 0, nil
	}
	if err := checkRaftHeader(b, segment); err != nil {
		if errors.Is(err, ErrUnsupportedVersion) {
			return nil, 0, fmt.Errorf("%s: %w", name, err)
		}
		return nil, 0, nil // nothing readable: judged against the journal's checkpoint
	}
	at := raftHeaderSize
	for at < len(b) {
		r, n, torn := decodeEntry(b[at:])
		if torn != nil {
			return recs, int64(at), nil //nolint:nilerr // a torn end is judged against the journal's checkpoint
		}
		recs = supersede(recs, r)
		at += n
	}
	return recs, int64(at), nil //nolint:nilerr // a torn record ends the file: judged against the journal
}

// supersede adds r to contiguous records, dropping those at and after its index.
func supersede(recs []entryRecord, r entryRecord) []entryRecord {
	if n := len(recs); n > 0 && r.index <= recs[n-1].index {
		if r.index <= recs[0].index {
			recs = recs[:0]
		} else {
			recs = recs[:r.index-recs[0].index]
		}
	}
	return append(recs, r)
}

// readFile reads a whole file.
func readFile(fsys vfs.FS, name string) ([]byte, error) {
	f, err := fsys.Open(name)
	if err != nil {
		return nil, fmt.Errorf("open: %w", err)
	}
	defer f.Close() //nolint:errcheck // read only
	size, err := f.Size()
	if err != nil {
		return nil, fmt.Errorf("size of %s: %w", name, err)
	}
	b := make([]byte, size)
	if size == 0 {
		return b, nil
	}
	if n, err := f.ReadAt(b, 0); n < len(b) {
		return nil, fmt.Errorf("read %s: %w", name, err)
	}
	return b, nil
}

// readHead reads the first n bytes of a file, or all that it has.
func readHead(fsys vfs.FS, name string, n int64) ([]byte, error) {
	f, err := fsys.Open(name)
	if err != nil {
		return nil, fmt.Errorf("open: %w", err)
	}
	defer f.Close() //nolint:errcheck // read only
	size, err := f.Size()
	if err != nil {
		return nil, fmt.Errorf("size of %s: %w", name, err)
	}
	b := make([]byte, min(n, size))
	if m, err := f.ReadAt(b, 0); m < len(b) {
		return nil, fmt.Errorf("read %s: %w", name, err)
	}
	return b, nil
}

// raftWriter appends records to the .raft file of one segment at a time.
type raftWriter struct {
	fs      vfs.FS
	dir     string
	segment record.Offset
	file    vfs.File
	end     int64
	buf     []byte
}

func newRaftWriter(fsys vfs.FS, dir string) *raftWriter {
	return &raftWriter{fs: fsys, dir: dir, segment: -1}
}

// write appends recs, each to the file of its segment, and syncs every file that it touched.
func (w *raftWriter) write(recs []entryRecord) error {
	for len(recs) > 0 {
		n := 1
		for n < len(recs) && recs[n].segment == recs[0].segment {
			n++
		}
		if err := w.open(recs[0].segment); err != nil {
			return err
		}
		w.buf = w.buf[:0]
		for i := range recs[:n] {
			w.buf = recs[i].appendTo(w.buf)
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

// createRaftFile makes a segment's file with its header, durable but for its name.
func createRaftFile(fsys vfs.FS, dir string, segment record.Offset) error {
	f, err := fsys.Create(filepath.Join(dir, raftFileName(segment)))
	if err != nil {
		return fmt.Errorf("create .raft: %w", err)
	}
	_, err = f.WriteAt(encodeRaftHeader(segment), 0)
	if err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err != nil {
		return fmt.Errorf("create .raft: %w", err)
	}
	return nil
}

// open makes segment's file the current one, creating it with a synced name and header if needed.
func (w *raftWriter) open(segment record.Offset) error {
	if w.file != nil && w.segment == segment {
		return nil
	}
	if err := w.close(); err != nil {
		return err
	}
	name := filepath.Join(w.dir, raftFileName(segment))
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
	if w.end >= raftHeaderSize {
		return nil
	}
	if _, err := f.WriteAt(encodeRaftHeader(segment), 0); err != nil {
		return fmt.Errorf("write %s: %w", name, err)
	}
	w.end = raftHeaderSize
	if created {
		if err := w.fs.SyncDir(w.dir); err != nil {
			return fmt.Errorf("sync %s: %w", w.dir, err)
		}
	}
	return nil
}

// replace makes recs all that segment's file holds, atomically and durably.
func (w *raftWriter) replace(segment record.Offset, recs []entryRecord) error {
	if err := w.close(); err != nil {
		return err
	}
	b := encodeRaftHeader(segment)
	for i := range recs {
		b = recs[i].appendTo(b)
	}
	return writeFileAtomic(w.fs, w.dir, raftFileName(segment), b)
}

// truncate cuts segment's file at end, so that the next write continues there.
func (w *raftWriter) truncate(segment record.Offset, end int64) error {
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

// forget closes the current file if it belongs to a segment at or after from, which is being removed.
func (w *raftWriter) forget(from record.Offset) error {
	if w.file != nil && w.segment >= from {
		return w.close()
	}
	return nil
}

func (w *raftWriter) close() error {
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
