package commitlog

import (
	"errors"
	"fmt"
	"io"
	"math"
	"sync"

	"github.com/stelemq/stele/internal/vfs"
	"github.com/stelemq/stele/protocol/record"
)

// minBatchLen is a batch without records.
const minBatchLen = record.HeaderLen

// batchLen is the length of the batch that begins with header, by its length field.
func batchLen(header []byte) int64 {
	return 12 + int64(int32(uint32(header[8])<<24|uint32(header[9])<<16|uint32(header[10])<<8|uint32(header[11]))) //nolint:gosec // bits
}

// Damage that a scan finds.
var (
	errTorn   = errors.New("batch is cut short")
	errShort  = errors.New("segment ends before the next one begins")
	errHeader = errors.New("not a batch header")
	errOrder  = errors.New("offsets do not follow each other")
)

// checkHeader holds the header of a stored batch against what may stand there: one whose base offset is
// from, any if from is negative. It returns its length.
func checkHeader(h record.Batch, from record.Offset) (int64, error) {
	n := batchLen(h)
	switch {
	case h.Magic() != 2 || n < minBatchLen || h.LastOffsetDelta() < 0 || h.BaseOffset() < 0 ||
		h.BaseOffset() > math.MaxInt64-math.MaxInt32-1:
		return 0, errHeader
	case h.BaseOffset() != from && from >= 0:
		return 0, errOrder // a base offset is in no checksum of Kafka's, but offsets have no holes
	default:
		return n, nil
	}
}

const (
	scanChunk       = 64 << 10
	scanChunkBodies = 256 << 10
	seekChunk       = 8 << 10
)

//nolint:gochecknoglobals // a pool of buffers holds no state
var scanBuffers = sync.Pool{New: func() any { b := make([]byte, 0, scanChunk); return &b }}

// scanner walks the batches of a segment file between two positions.
type scanner struct {
	f    vfs.File
	pos  int64 // of the next batch
	end  int64
	next record.Offset // the base offset that the next batch must have, negative if it is not known
	crc  bool          // read bodies and verify them

	buf   []byte // bytes [bufAt, bufAt+len(buf))
	bufAt int64
	last  int64 // length of the last batch
	chunk int64 // bytes per read, as far as bodies are not skipped
	pool  *[]byte
}

// newScanner returns a scanner of [pos, end); close it.
func newScanner(f vfs.File, pos, end int64, next record.Offset, crc bool) *scanner {
	p, _ := scanBuffers.Get().(*[]byte)
	s := &scanner{f: f, pos: pos, end: end, next: next, crc: crc, buf: (*p)[:0], pool: p, chunk: scanChunk}
	if crc {
		s.chunk = scanChunkBodies
	}
	return s
}

func (s *scanner) close() {
	if s.pool != nil && cap(s.buf) <= scanChunkBodies {
		*s.pool = s.buf[:0]
		scanBuffers.Put(s.pool)
		s.pool = nil
	}
}

// fill makes at least n bytes from s.pos on available and returns them; fewer are an error.
func (s *scanner) fill(n int64) ([]byte, error) {
	if s.pos >= s.bufAt && s.pos+n <= s.bufAt+int64(len(s.buf)) {
		return s.buf[s.pos-s.bufAt:], nil
	}
	chunk := s.chunk
	if !s.crc && s.last > chunk/8 {
		chunk = record.HeaderLen // bodies are skipped: read headers alone
	}
	chunk = min(max(chunk, n), s.end-s.pos)
	if int64(cap(s.buf)) < chunk {
		s.buf = make([]byte, chunk)
	}
	s.buf, s.bufAt = s.buf[:chunk], s.pos
	if m, err := s.f.ReadAt(s.buf, s.pos); int64(m) < chunk {
		s.buf = s.buf[:m]
		if err == nil || errors.Is(err, io.EOF) {
			return nil, s.corrupt(io.ErrUnexpectedEOF)
		}
		return nil, fmt.Errorf("read %s at %d: %w", s.f.Name(), s.pos, err)
	}
	return s.buf, nil
}

func (s *scanner) corrupt(err error) error {
	return &CorruptionError{Path: s.f.Name(), Pos: s.pos, Err: err}
}

// step returns the next batch and where it begins: the whole batch if CRCs are verified, else its
// header alone; nil at the end. The batch is valid until the next call.
// Errors: *CorruptionError; s.pos stays at the batch that is damaged.
func (s *scanner) step() (b record.Batch, pos int64, err error) {
	if s.pos >= s.end {
		return nil, s.pos, nil
	}
	if s.end-s.pos < record.HeaderLen {
		return nil, s.pos, s.corrupt(errTorn)
	}
	p, err := s.fill(record.HeaderLen)
	if err != nil {
		return nil, s.pos, err
	}
	b = record.Batch(p[:record.HeaderLen])
	n, err := checkHeader(b, s.next)
	if err != nil {
		return nil, s.pos, s.corrupt(err)
	}
	if n > s.end-s.pos {
		return nil, s.pos, s.corrupt(errTorn)
	}
	if s.crc {
		if p, err = s.fill(n); err != nil {
			return nil, s.pos, err
		}
		b = record.Batch(p[:n])
		if err := b.VerifyCRC(); err != nil {
			return nil, s.pos, s.corrupt(err)
		}
	}
	pos = s.pos
	s.pos, s.next, s.last = s.pos+n, b.NextOffset(), n
	return b, pos, nil
}
