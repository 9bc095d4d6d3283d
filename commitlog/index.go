package commitlog

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"sync"

	"github.com/stelemq/stele/internal/vfs"
	"github.com/stelemq/stele/protocol/record"
)

// Sizes of index entries, big-endian:
//
//	.index      +--------------------------+-------------+
//	            | last offset − base   (4) | position (4)|   of a batch
//	            +--------------------------+-------------+
//	.timeindex  +--------------------------+-------------------------+
//	            | largest timestamp so far (8) | last offset − base (4) |   of the batch that holds it
//	            +--------------------------+-------------------------+
//
// Both grow strictly in each field. A pair is written before the first batch that begins more than
// index.interval.bytes after the last pair; the time index gets one more entry when a segment is closed.
const (
	indexEntryLen     = 8
	timeIndexEntryLen = 12
)

type indexEntry struct {
	rel int32 // last offset of the batch, relative to the segment's base
	pos int32 // where the batch begins
}

type timeEntry struct {
	ts  int64
	rel int32 // last offset of the batch that holds ts
}

const noTimestamp = -1

// memIndex is the index of a segment held in memory: of the active one, and of those whose files
// cannot be trusted or written.
type memIndex struct {
	interval int // bytes between entries

	mu sync.RWMutex
	// mu guards:
	offsets  []indexEntry
	times    []timeEntry
	maxTs    int64 // of all batches so far
	maxTsRel int32
	since    int // bytes since the last entry
}

func newMemIndex(interval int) *memIndex {
	return &memIndex{interval: interval, maxTs: noTimestamp}
}

// add notes a batch of n bytes at pos.
func (m *memIndex) add(lastRel int32, pos int64, n int, maxTs int64) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if maxTs > m.maxTs {
		m.maxTs, m.maxTsRel = maxTs, lastRel
	}
	if m.since > m.interval {
		m.offsets = append(m.offsets, indexEntry{lastRel, int32(pos)}) //nolint:gosec // segments end below 2 GiB
		m.addTimeLocked()
		m.since = 0
	}
	m.since += n
}

func (m *memIndex) addTimeLocked() {
	if m.maxTs == noTimestamp {
		return
	}
	if k := len(m.times); k == 0 || m.times[k-1].ts < m.maxTs {
		m.times = append(m.times, timeEntry{m.maxTs, m.maxTsRel})
	}
}

// seal adds the last entry of the time index.
func (m *memIndex) seal() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.addTimeLocked()
}

// lookup returns the last entry at or before rel.
func (m *memIndex) lookup(rel int64) (indexEntry, bool) {
	m.mu.RLock()
	defer m.mu.RUnlock()
	i, _ := slices.BinarySearchFunc(m.offsets, rel, func(e indexEntry, r int64) int {
		if int64(e.rel) <= r {
			return -1
		}
		return 1
	})
	if i == 0 {
		return indexEntry{}, false
	}
	return m.offsets[i-1], true
}

// lookupTime returns the last entry with a timestamp at or before ts.
func (m *memIndex) lookupTime(ts int64) (timeEntry, bool) {
	m.mu.RLock()
	defer m.mu.RUnlock()
	i, _ := slices.BinarySearchFunc(m.times, ts, func(e timeEntry, t int64) int {
		if e.ts <= t {
			return -1
		}
		return 1
	})
	if i == 0 {
		return timeEntry{}, false
	}
	return m.times[i-1], true
}

func (m *memIndex) max() timeEntry {
	m.mu.RLock()
	defer m.mu.RUnlock()
	return timeEntry{m.maxTs, m.maxTsRel}
}

func (m *memIndex) full(maxBytes int) bool {
	m.mu.RLock()
	defer m.mu.RUnlock()
	return (len(m.offsets)+1)*indexEntryLen > maxBytes
}

// encode returns the entries from offsets[i] and times[j] on as they stand in the files.
func (m *memIndex) encode(i, j int) (offsets, times []byte, ni, nj int) {
	m.mu.RLock()
	defer m.mu.RUnlock()
	ni, nj = len(m.offsets), len(m.times)
	for _, e := range m.offsets[min(i, ni):] {
		offsets = binary.BigEndian.AppendUint32(offsets, uint32(e.rel)) //nolint:gosec // bits
		offsets = binary.BigEndian.AppendUint32(offsets, uint32(e.pos)) //nolint:gosec // bits
	}
	for _, e := range m.times[min(j, nj):] {
		times = binary.BigEndian.AppendUint64(times, uint64(e.ts))  //nolint:gosec // bits
		times = binary.BigEndian.AppendUint32(times, uint32(e.rel)) //nolint:gosec // bits
	}
	return offsets, times, ni, nj
}

func decodeIndexEntry(b []byte) indexEntry {
	return indexEntry{int32(binary.BigEndian.Uint32(b)), int32(binary.BigEndian.Uint32(b[4:]))} //nolint:gosec // bits
}

func decodeTimeEntry(b []byte) timeEntry {
	return timeEntry{int64(binary.BigEndian.Uint64(b)), int32(binary.BigEndian.Uint32(b[8:]))} //nolint:gosec // bits
}

// errIndex: an index file is not one.
var errIndex = errors.New("entries do not grow or point outside the segment")

// decodeIndex decodes a whole offset index of a segment of size bytes. It returns the good entries
// before the first bad one, and errIndex if there is a bad one.
func decodeIndex(b []byte, size int64) (es []indexEntry, err error) {
	es = make([]indexEntry, 0, len(b)/indexEntryLen)
	for ; len(b) >= indexEntryLen; b = b[indexEntryLen:] {
		e := decodeIndexEntry(b)
		if e.rel < 0 || e.pos < 0 || int64(e.pos) >= size {
			return es, errIndex
		}
		if k := len(es); k > 0 && (e.rel <= es[k-1].rel || e.pos <= es[k-1].pos) {
			return es, errIndex
		}
		es = append(es, e)
	}
	if len(b) > 0 {
		return es, errIndex
	}
	return es, nil
}

// decodeTimeIndex is decodeIndex for a time index; offsets must be below next − base = endRel.
func decodeTimeIndex(b []byte, endRel int64) (es []timeEntry, err error) {
	es = make([]timeEntry, 0, len(b)/timeIndexEntryLen)
	for ; len(b) >= timeIndexEntryLen; b = b[timeIndexEntryLen:] {
		e := decodeTimeEntry(b)
		if e.rel < 0 || int64(e.rel) >= endRel || e.ts < 0 {
			return es, errIndex
		}
		if k := len(es); k > 0 && (e.rel <= es[k-1].rel || e.ts <= es[k-1].ts) {
			return es, errIndex
		}
		es = append(es, e)
	}
	if len(b) > 0 {
		return es, errIndex
	}
	return es, nil
}

// lookupFile finds the last of n entries of the given length for which before is true, reading a page
// at a time. It returns -1 if there is none.
func lookupFile(f vfs.File, n, entryLen int, before func(b []byte) bool) (i int, entry [timeIndexEntryLen]byte, err error) {
	const perRead = 256
	var page [perRead * timeIndexEntryLen]byte
	lo, hi := 0, n // entries below lo are before, those from hi on are not
	for hi-lo > perRead {
		mid := (lo + hi) / 2
		b := page[:entryLen]
		if err := readFull(f, b, int64(mid)*int64(entryLen)); err != nil {
			return 0, entry, err
		}
		if before(b) {
			lo = mid + 1
			copy(entry[:], b)
		} else {
			hi = mid
		}
	}
	b := page[:(hi-lo)*entryLen]
	if err := readFull(f, b, int64(lo)*int64(entryLen)); err != nil {
		return 0, entry, err
	}
	for ; lo < hi && before(b); lo, b = lo+1, b[entryLen:] {
		copy(entry[:], b[:entryLen])
	}
	return lo - 1, entry, nil
}

func readFull(f vfs.File, p []byte, off int64) error {
	if n, err := f.ReadAt(p, off); n < len(p) {
		return fmt.Errorf("read %s: %w", f.Name(), noEOF(err))
	}
	return nil
}

// storeIndex brings an index file to exactly the entries b from byte at on. The file is created if it
// is missing; then b must be all of it.
func storeIndex(fsys vfs.FS, path string, b []byte, at int64) error {
	f, err := fsys.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		f, err = fsys.Create(path)
	}
	if err != nil {
		return fmt.Errorf("open index: %w", err)
	}
	err = storeIndexFile(f, b, at)
	return errors.Join(err, f.Close())
}

func storeIndexFile(f vfs.File, b []byte, at int64) error {
	if len(b) > 0 {
		if _, err := f.WriteAt(b, at); err != nil {
			return fmt.Errorf("write index: %w", err)
		}
	}
	size, err := f.Size()
	if err != nil {
		return fmt.Errorf("size of index: %w", err)
	}
	if end := at + int64(len(b)); size != end {
		if err := f.Truncate(end); err != nil {
			return fmt.Errorf("truncate index: %w", err)
		}
	}
	return nil
}

// relOf is o relative to base; offsets of a segment fit in 31 bits.
func relOf(o, base record.Offset) int32 { return int32(o - base) } //nolint:gosec // Append rolls before it overflows
