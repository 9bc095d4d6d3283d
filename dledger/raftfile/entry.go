package raftfile

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"

	"github.com/stelemq/stele/protocol/record"
)

// Kind says what a Raft entry is to the partition.
type Kind uint8

// Kinds of entries, as on disk.
const (
	KindData    Kind = 1 // record batches; bytes in the segment
	KindCommand Kind = 2 // a partition command; payload in the record
	KindConfig  Kind = 3 // a membership change; payload in the record
	KindNoop    Kind = 4 // a new leader's first entry
	KindVoid    Kind = 5 // a proposal that the fence refused: an index and nothing else
)

// Entry is what is kept of one Raft entry beside its bytes. Format: docs/format/raft.md.
type Entry struct {
	Index               Index
	Term                Term
	Key, Client, Series uint64
	Segment             record.Offset // base offset of the segment that was active
	Base                record.Offset // first offset of the entry; next for entries without data
	Next                record.Offset // offset after the entry
	Pos, Length         uint32        // place of the stored bytes in the segment
	CRC                 uint32        // CRC32C of the stored bytes
	Kind                Kind
	Payload             []byte // commands and configuration changes
}

const (
	// EntryFixed is the length of an entry's record without its payload, in bytes.
	EntryFixed = 88
	// maxEntryPayload bounds what a damaged length can make us allocate.
	maxEntryPayload = 1 << 20
)

var errBadRecord = errors.New("entry record does not check")

// Castagnoli continues a CRC32C, the checksum of everything that is stored here, with more bytes.
func Castagnoli(crc uint32, p []byte) uint32 { return crc32.Update(crc, crcTable, p) }

//nolint:gochecknoglobals // the table of a fixed polynomial
var crcTable = crc32.MakeTable(crc32.Castagnoli)

// Align8 rounds up to a multiple of eight, at which records and frames begin.
func Align8(n int) int { return (n + 7) &^ 7 }

// EncodedLen is the length of the record in a .raft file or a journal frame.
func (r *Entry) EncodedLen() int { return EntryFixed + Align8(len(r.Payload)) }

// AppendTo appends the record's encoding to dst.
func (r *Entry) AppendTo(dst []byte) []byte {
	at := len(dst)
	le := binary.LittleEndian
	dst = append(dst, 0, 0, 0, 0)
	dst = le.AppendUint32(dst, uint32(len(r.Payload))) //nolint:gosec // bounded by maxEntryPayload
	for _, v := range [...]uint64{
		uint64(r.Index), uint64(r.Term), r.Key, r.Client, r.Series,
		uint64(r.Segment), uint64(r.Base), uint64(r.Next), //nolint:gosec // two's complement on disk
	} {
		dst = le.AppendUint64(dst, v)
	}
	dst = le.AppendUint32(dst, r.Pos)
	dst = le.AppendUint32(dst, r.Length)
	dst = le.AppendUint32(dst, r.CRC)
	dst = append(dst, byte(r.Kind), 0, 0, 0)
	dst = append(dst, r.Payload...)
	le.PutUint32(dst[at:], Castagnoli(0, dst[at+4:]))
	for (len(dst)-at)%8 != 0 {
		dst = append(dst, 0)
	}
	return dst
}

// Decode decodes the record at the beginning of b and returns the bytes it took. The payload
// aliases b. Every error means that the bytes are not a record: torn, damaged, or none.
func Decode(b []byte) (r Entry, n int, err error) {
	if len(b) < EntryFixed {
		return r, 0, errBadRecord
	}
	le := binary.LittleEndian
	pl := le.Uint32(b[4:])
	if pl > maxEntryPayload || EntryFixed+int(pl) > len(b) {
		return r, 0, errBadRecord
	}
	end := EntryFixed + int(pl)
	if Castagnoli(0, b[4:end]) != le.Uint32(b) {
		return r, 0, errBadRecord
	}
	r = Entry{
		Index: Index(le.Uint64(b[8:])), Term: Term(le.Uint64(b[16:])),
		Key: le.Uint64(b[24:]), Client: le.Uint64(b[32:]), Series: le.Uint64(b[40:]),
		Segment: record.Offset(le.Uint64(b[48:])), Base: record.Offset(le.Uint64(b[56:])), //nolint:gosec // as encoded
		Next: record.Offset(le.Uint64(b[64:])), //nolint:gosec // as encoded
		Pos:  le.Uint32(b[72:]), Length: le.Uint32(b[76:]), CRC: le.Uint32(b[80:]),
		Kind: Kind(b[84]),
	}
	if r.Kind < KindData || r.Kind > KindVoid {
		return r, 0, fmt.Errorf("%w: kind %d", errBadRecord, b[84])
	}
	if pl > 0 {
		r.Payload = b[EntryFixed:end:end]
	}
	return r, min(Align8(end), len(b)), nil
}
