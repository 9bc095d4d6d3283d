package dledger

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"

	"github.com/stelemq/stele/protocol/record"
)

// entryKind says what a Raft entry is to the partition.
type entryKind uint8

const (
	kindData    entryKind = 1 // record batches; bytes in the segment
	kindCommand entryKind = 2 // a partition command; payload in the record
	kindConfig  entryKind = 3 // a membership change; payload in the record
	kindNoop    entryKind = 4 // a new leader's first entry
	kindVoid    entryKind = 5 // a proposal that the fence refused: an index and nothing else
)

// entryRecord is what is kept of one Raft entry beside its bytes. Format: docs/format/raft.md.
type entryRecord struct {
	index               Index
	term                Term
	key, client, series uint64
	segment             record.Offset // base offset of the segment that was active
	base                record.Offset // first offset of the entry; next for entries without data
	next                record.Offset // offset after the entry
	pos, length         uint32        // place of the stored bytes in the segment
	crc                 uint32        // CRC32C of the stored bytes
	kind                entryKind
	payload             []byte // commands and configuration changes
}

const (
	entryFixed = 88
	// maxEntryPayload bounds what a damaged length can make us allocate.
	maxEntryPayload = 1 << 20
)

var errBadRecord = errors.New("entry record does not check")

func castagnoli(crc uint32, p []byte) uint32 { return crc32.Update(crc, crcTable, p) }

//nolint:gochecknoglobals // the table of a fixed polynomial
var crcTable = crc32.MakeTable(crc32.Castagnoli)

func align8(n int) int { return (n + 7) &^ 7 }

// encodedLen is the length of the record in a .raft file or a journal frame.
func (r *entryRecord) encodedLen() int { return entryFixed + align8(len(r.payload)) }

// appendTo appends the record's encoding to dst.
func (r *entryRecord) appendTo(dst []byte) []byte {
	at := len(dst)
	le := binary.LittleEndian
	dst = append(dst, 0, 0, 0, 0)
	dst = le.AppendUint32(dst, uint32(len(r.payload))) //nolint:gosec // bounded by maxEntryPayload
	for _, v := range [...]uint64{
		uint64(r.index), uint64(r.term), r.key, r.client, r.series,
		uint64(r.segment), uint64(r.base), uint64(r.next), //nolint:gosec // two's complement on disk
	} {
		dst = le.AppendUint64(dst, v)
	}
	dst = le.AppendUint32(dst, r.pos)
	dst = le.AppendUint32(dst, r.length)
	dst = le.AppendUint32(dst, r.crc)
	dst = append(dst, byte(r.kind), 0, 0, 0)
	dst = append(dst, r.payload...)
	le.PutUint32(dst[at:], castagnoli(0, dst[at+4:]))
	for (len(dst)-at)%8 != 0 {
		dst = append(dst, 0)
	}
	return dst
}

// decodeEntry decodes the record at the beginning of b and returns the bytes it took. The payload
// aliases b.
func decodeEntry(b []byte) (r entryRecord, n int, err error) {
	if len(b) < entryFixed {
		return r, 0, errBadRecord
	}
	le := binary.LittleEndian
	pl := le.Uint32(b[4:])
	if pl > maxEntryPayload || entryFixed+int(pl) > len(b) {
		return r, 0, errBadRecord
	}
	end := entryFixed + int(pl)
	if castagnoli(0, b[4:end]) != le.Uint32(b) {
		return r, 0, errBadRecord
	}
	r = entryRecord{
		index: Index(le.Uint64(b[8:])), term: Term(le.Uint64(b[16:])),
		key: le.Uint64(b[24:]), client: le.Uint64(b[32:]), series: le.Uint64(b[40:]),
		segment: record.Offset(le.Uint64(b[48:])), base: record.Offset(le.Uint64(b[56:])), //nolint:gosec // as encoded
		next: record.Offset(le.Uint64(b[64:])), //nolint:gosec // as encoded
		pos:  le.Uint32(b[72:]), length: le.Uint32(b[76:]), crc: le.Uint32(b[80:]),
		kind: entryKind(b[84]),
	}
	if r.kind < kindData || r.kind > kindVoid {
		return r, 0, fmt.Errorf("%w: kind %d", errBadRecord, b[84])
	}
	if pl > 0 {
		r.payload = b[entryFixed:end:end]
	}
	return r, min(align8(end), len(b)), nil
}

// A client id of an entry is term<<32 | command<<31 | sequence: what the proposing leader's term was, whether
// the payload is a command, and the entry's place in the order of that leader's proposals.
const (
	commandBit   = uint64(1) << 31
	sequenceMask = uint32(1)<<31 - 1
)

func clientID(t Term, seq uint32, command bool) uint64 {
	id := uint64(uint32(t))<<32 | uint64(seq&sequenceMask) //nolint:gosec // terms are compared modulo 2^32
	if command {
		id |= commandBit
	}
	return id
}

// fence judges from the log alone whether a proposal is accepted: its term must be the entry's own and its
// sequence the successor of the last accepted one of that term. So what was validated by another
// leader, was forwarded, or stands behind a dropped proposal is void on every replica alike.
type fence struct {
	Term     uint32 `json:"term"`
	Sequence uint32 `json:"sequence"`
}

// accepts reports the verdict on an entry with the given term and client id, and the fence after it.
func (f fence) accepts(t Term, client uint64) (bool, fence) {
	claimed, seq := uint32(client>>32), uint32(client)&sequenceMask //nolint:gosec // by layout
	if claimed != uint32(t) {                                       //nolint:gosec // compared modulo 2^32
		return false, f
	}
	want := uint32(1)
	if f.Term == claimed {
		want = nextSequence(f.Sequence)
	}
	if seq != want {
		return false, f
	}
	return true, fence{Term: claimed, Sequence: seq}
}

// nextSequence follows s, skipping zero at the wrap so that a client id is never zero.
func nextSequence(s uint32) uint32 {
	if s = (s + 1) & sequenceMask; s == 0 {
		return 1
	}
	return s
}
