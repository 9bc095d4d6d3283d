package main

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/stelemq/stele/protocol/record"
)

// damage is where a segment stops being a row of whole, valid batches.
type damage struct {
	pos int64
	err error
	// torn: the file ends inside the last batch, as a crash leaves it and the next start cuts it.
	torn bool
}

func (d *damage) Error() string {
	if d.torn {
		return fmt.Sprintf("position %d: torn tail: %v", d.pos, d.err)
	}
	return fmt.Sprintf("position %d: %v", d.pos, d.err)
}

// scanned sums up a segment.
type scanned struct {
	batches, records int64
	bytes            int64 // of whole valid batches from the start
	next             record.Offset
}

// scanSegment calls visit for each batch of a segment file, with its CRC verified. The batch is valid during the call.
// Errors: *damage at the first batch that is not valid, and what visit returns.
func scanSegment(path string, visit func(pos int64, b record.Batch) error) (scanned, error) {
	base, err := segmentBase(path)
	if err != nil {
		return scanned{}, err
	}
	f, err := os.Open(path) //nolint:gosec // the operator names the file
	if err != nil {
		return scanned{}, err //nolint:wrapcheck // says operation and path
	}
	defer f.Close() //nolint:errcheck // read only
	info, err := f.Stat()
	if err != nil {
		return scanned{}, err //nolint:wrapcheck // as above
	}
	s := scanned{next: base}
	var buf []byte
	for s.bytes < info.Size() {
		if buf, err = readBatch(f, s.bytes, info.Size(), buf); err != nil {
			return s, err
		}
		b := record.Batch(buf)
		if err := judge(b, s.next); err != nil {
			return s, &damage{pos: s.bytes, err: err}
		}
		if err := visit(s.bytes, b); err != nil {
			return s, err
		}
		s.batches++
		s.records += int64(b.Count())
		s.bytes += int64(len(b))
		s.next = b.NextOffset()
	}
	return s, nil
}

// segmentBase is the offset in the name of a segment file.
func segmentBase(path string) (record.Offset, error) {
	name, ok := strings.CutSuffix(filepath.Base(path), ".log")
	n, err := strconv.ParseInt(name, 10, 64)
	if !ok || err != nil || n < 0 {
		return 0, fmt.Errorf("%s: not a segment: want a name like 00000000000000000000.log", path)
	}
	return record.Offset(n), nil
}

// readBatch reads the batch at pos into buf, which it enlarges.
func readBatch(f io.ReaderAt, pos, size int64, buf []byte) ([]byte, error) {
	const prefix = 12 // base offset and length
	if size-pos < record.HeaderLen {
		return nil, &damage{pos, fmt.Errorf("%d bytes are no batch", size-pos), true}
	}
	var head [prefix]byte
	if _, err := f.ReadAt(head[:], pos); err != nil {
		return nil, fmt.Errorf("position %d: %w", pos, err)
	}
	length := int64(int32(binary.BigEndian.Uint32(head[8:]))) //nolint:gosec // the field is signed
	switch whole := prefix + length; {
	case whole < record.HeaderLen:
		return nil, &damage{pos, fmt.Errorf("impossible batch length %d", length), false}
	case whole > size-pos:
		return nil, &damage{pos, fmt.Errorf("the batch has %d bytes, the file %d more", whole, size-pos), true}
	default:
		if int64(cap(buf)) < whole {
			buf = make([]byte, whole)
		}
		buf = buf[:whole]
		if _, err := f.ReadAt(buf, pos); err != nil && !errors.Is(err, io.EOF) {
			return nil, fmt.Errorf("position %d: %w", pos, err)
		}
		return buf, nil
	}
}

// judge checks one batch: its form, its CRC, and that its offsets follow.
func judge(b record.Batch, next record.Offset) error {
	whole, _, err := record.Next(b)
	if err != nil {
		return err //nolint:wrapcheck // damage adds where
	}
	if err := whole.VerifyCRC(); err != nil {
		return err //nolint:wrapcheck // damage adds where
	}
	if whole.BaseOffset() < next || whole.LastOffsetDelta() < 0 {
		return fmt.Errorf("offsets [%d, %d) do not follow %d", whole.BaseOffset(), whole.NextOffset(), next)
	}
	return nil
}

// segments are the segment files at path, sorted: path itself, or those in the directory and one below it.
func segments(path string) ([]string, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, err //nolint:wrapcheck // says operation and path
	}
	if !info.IsDir() {
		return []string{path}, nil
	}
	var found []string
	for _, pattern := range []string{"*.log", "*/*.log"} {
		names, err := filepath.Glob(filepath.Join(globEscape(path), pattern))
		if err != nil {
			return nil, fmt.Errorf("list %s: %w", path, err)
		}
		for _, n := range names {
			if _, err := segmentBase(n); err == nil {
				found = append(found, n)
			}
		}
	}
	if len(found) == 0 {
		return nil, fmt.Errorf("%s: no segment files in it or one folder below", path)
	}
	return found, nil
}

func globEscape(path string) string {
	return strings.NewReplacer(`\`, `\\`, `*`, `\*`, `?`, `\?`, `[`, `\[`).Replace(path)
}
