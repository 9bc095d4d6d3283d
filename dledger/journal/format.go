package journal

import (
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/stelemq/stele/dledger/raftfile"
	"github.com/stelemq/stele/protocol/record"
)

// The bytes of the journal; docs/format/journal.md is the specification.

const (
	magic   = "STELEJNL"
	version = 1
	// HeaderSize is the length of a file's header, in bytes; frames follow.
	HeaderSize = 64
	frameMagic = uint32(0x4d524653)
	// FrameHeaderSize is the length of a frame's header, in bytes.
	FrameHeaderSize = 32
	frameRecords    = uint32(1)
	frameEnd        = uint32(2)
	recordFixed     = 24
)

const (
	flagHardState  = 1
	flagCheckpoint = 2
	flagTruncation = 4
)

// Key names one replica of one shard.
type Key struct {
	Shard   raftfile.ShardID
	Replica raftfile.ReplicaID
}

// HardState is Raft's persistent state of a replica.
type HardState struct {
	Term   raftfile.Term      `json:"term"`
	Vote   raftfile.ReplicaID `json:"vote"`
	Commit raftfile.Index     `json:"commit"`
}

// SyncPoint is a place in a log, a segment's base offset and a position in it: the stored bytes before it were on stable storage.
type SyncPoint struct {
	Segment record.Offset
	Pos     int64
}

// Before reports whether the point lies before a position.
func (p SyncPoint) Before(segment record.Offset, pos int64) bool {
	return p.Segment < segment || (p.Segment == segment && p.Pos < pos)
}

// Record is what one step says of one shard.
type Record struct {
	Key        Key
	Hard       *HardState
	Checkpoint raftfile.Index // 0 = none
	Truncate   raftfile.Index // first index removed; 0 = none
	Sync       SyncPoint
	Entries    []raftfile.Entry
	Runs       []Run
}

// Run is a run of stored bytes that the journal carries.
type Run struct {
	Segment record.Offset
	Pos     int64
	Bytes   []byte
}

var (
	errTornFrame = errors.New("frame does not check")
	errBadBody   = errors.New("journal body does not parse")
)

func encodeHeader(seq, oldest uint64) []byte {
	b := make([]byte, HeaderSize)
	le := binary.LittleEndian
	copy(b, magic)
	le.PutUint32(b[8:], version)
	le.PutUint64(b[16:], seq)
	le.PutUint64(b[24:], oldest)
	le.PutUint32(b[12:], raftfile.Castagnoli(raftfile.Castagnoli(0, b[:12]), b[16:]))
	return b
}

// decodeJournalHeader returns sequence 0 for a slot that was never used.
func decodeHeader(b []byte) (seq, oldest uint64, err error) {
	le := binary.LittleEndian
	if len(b) < HeaderSize || allZero(b[:HeaderSize]) {
		return 0, 0, nil
	}
	if string(b[:8]) != magic || le.Uint32(b[12:]) != raftfile.Castagnoli(raftfile.Castagnoli(0, b[:12]), b[16:HeaderSize]) {
		return 0, 0, errors.New("journal header does not check")
	}
	if v := le.Uint32(b[8:]); v > version {
		return 0, 0, fmt.Errorf("%w: journal version %d", raftfile.ErrUnsupportedVersion, v)
	}
	return le.Uint64(b[16:]), le.Uint64(b[24:]), nil
}

func allZero(b []byte) bool {
	for _, c := range b {
		if c != 0 {
			return false
		}
	}
	return true
}

// frameSeed begins a frame's CRC with where it stands, so that bytes of another use or place never check.
func frameSeed(seq uint64, pos int64) uint32 {
	var s [16]byte
	binary.LittleEndian.PutUint64(s[:], seq)
	binary.LittleEndian.PutUint64(s[8:], uint64(pos)) //nolint:gosec // positions are not negative
	return raftfile.Castagnoli(0, s[:])
}

// beginFrame appends an empty frame header; finishFrame fills it when the body is complete.
func beginFrame(dst []byte) []byte { return append(dst, make([]byte, FrameHeaderSize)...) }

// finishFrame completes the frame that is the whole of b and pads it.
func finishFrame(b []byte, kind uint32, seq uint64, pos, durable int64) []byte {
	le := binary.LittleEndian
	le.PutUint32(b, frameMagic)
	le.PutUint32(b[8:], uint32(len(b)-FrameHeaderSize)) //nolint:gosec // bounded by the file size
	le.PutUint32(b[12:], kind)
	le.PutUint64(b[16:], uint64(durable)) //nolint:gosec // positions are not negative
	le.PutUint64(b[24:], seq)
	le.PutUint32(b[4:], raftfile.Castagnoli(frameSeed(seq, pos), b[8:]))
	for len(b)%8 != 0 {
		b = append(b, 0)
	}
	return b
}

type frame struct {
	kind    uint32
	durable int64
	body    []byte
	next    int64 // position after the frame
}

// decodeFrame reads the frame at pos of a whole file's bytes. Errors: errTornFrame.
func decodeFrame(file []byte, pos int64, seq uint64) (frame, error) {
	if pos < 0 || pos+FrameHeaderSize > int64(len(file)) {
		return frame{}, errTornFrame
	}
	b := file[pos:]
	le := binary.LittleEndian
	n := int64(le.Uint32(b[8:]))
	if le.Uint32(b) != frameMagic || le.Uint64(b[24:]) != seq || FrameHeaderSize+n > int64(len(b)) {
		return frame{}, errTornFrame
	}
	if raftfile.Castagnoli(frameSeed(seq, pos), b[8:FrameHeaderSize+n]) != le.Uint32(b[4:]) {
		return frame{}, errTornFrame
	}
	return frame{
		kind: le.Uint32(b[12:]), durable: int64(le.Uint64(b[16:])), //nolint:gosec // as encoded
		body: b[FrameHeaderSize : FrameHeaderSize+n], next: pos + int64(raftfile.Align8(int(FrameHeaderSize+n))),
	}, nil
}

// appendRecord appends everything of r but the runs, whose count it leaves zero, and returns the
// position of that count.
func appendRecord(dst []byte, r *Record) (out []byte, runCountAt int) {
	le := binary.LittleEndian
	dst = le.AppendUint64(dst, uint64(r.Key.Shard))
	dst = le.AppendUint64(dst, uint64(r.Key.Replica))
	var flags byte
	if r.Hard != nil {
		flags |= flagHardState
	}
	if r.Checkpoint > 0 {
		flags |= flagCheckpoint
	}
	if r.Truncate > 0 {
		flags |= flagTruncation
	}
	dst = append(dst, flags, 0, 0, 0, 0, 0, 0, 0)
	if r.Hard != nil {
		dst = le.AppendUint64(dst, uint64(r.Hard.Term))
		dst = le.AppendUint64(dst, uint64(r.Hard.Vote))
		dst = le.AppendUint64(dst, uint64(r.Hard.Commit))
	}
	if r.Checkpoint > 0 {
		dst = le.AppendUint64(dst, uint64(r.Checkpoint))
	}
	if r.Truncate > 0 {
		dst = le.AppendUint64(dst, uint64(r.Truncate))
	}
	dst = le.AppendUint64(dst, uint64(r.Sync.Segment)) //nolint:gosec // as encoded
	dst = le.AppendUint64(dst, uint64(r.Sync.Pos))     //nolint:gosec // as encoded
	dst = le.AppendUint32(dst, uint32(len(r.Entries))) //nolint:gosec // bounded by the step
	runCountAt = len(dst)
	dst = le.AppendUint32(dst, 0)
	for i := range r.Entries {
		dst = r.Entries[i].AppendTo(dst)
	}
	return dst, runCountAt
}

// appendRunHeader begins an inlined run of length bytes; the bytes follow.
func appendRunHeader(dst []byte, segment record.Offset, pos, length int64) []byte {
	le := binary.LittleEndian
	dst = le.AppendUint64(dst, uint64(segment)) //nolint:gosec // as encoded
	dst = le.AppendUint64(dst, uint64(pos))     //nolint:gosec // as encoded
	dst = le.AppendUint32(dst, uint32(length))  //nolint:gosec // bounded by the inline limit
	return le.AppendUint32(dst, 0)
}

// decoder walks a body, remembering whether it ran over the end.
type decoder struct {
	b   []byte
	bad bool
}

func (d *decoder) take(n int) []byte {
	if n < 0 || n > len(d.b) {
		d.bad, d.b = true, nil
		return nil
	}
	p := d.b[:n:n]
	d.b = d.b[n:]
	return p
}

func (d *decoder) u64() uint64 {
	if p := d.take(8); p != nil {
		return binary.LittleEndian.Uint64(p)
	}
	return 0
}

func (d *decoder) u32() uint32 {
	if p := d.take(4); p != nil {
		return binary.LittleEndian.Uint32(p)
	}
	return 0
}

// decodeRecords parses a records body. Slices alias it. Errors: errBadBody.
func decodeRecords(body []byte, visit func(*Record)) error {
	d := &decoder{b: body}
	for len(d.b) > 0 {
		r, err := d.record()
		if err != nil {
			return err
		}
		visit(r)
	}
	return nil
}

func (d *decoder) record() (*Record, error) {
	r := &Record{Key: Key{raftfile.ShardID(d.u64()), raftfile.ReplicaID(d.u64())}}
	flags := d.take(8)
	if flags == nil {
		return nil, errBadBody
	}
	if flags[0]&flagHardState != 0 {
		r.Hard = &HardState{Term: raftfile.Term(d.u64()), Vote: raftfile.ReplicaID(d.u64()), Commit: raftfile.Index(d.u64())}
	}
	if flags[0]&flagCheckpoint != 0 {
		r.Checkpoint = raftfile.Index(d.u64())
	}
	if flags[0]&flagTruncation != 0 {
		r.Truncate = raftfile.Index(d.u64())
	}
	r.Sync = SyncPoint{Segment: record.Offset(d.u64()), Pos: int64(d.u64())} //nolint:gosec // as encoded
	entries, runs := d.u32(), d.u32()
	if d.bad || uint64(entries)*raftfile.EntryFixed > uint64(len(d.b)) {
		return nil, errBadBody
	}
	r.Entries = make([]raftfile.Entry, 0, entries)
	for range entries {
		e, n, err := raftfile.Decode(d.b)
		if err != nil {
			return nil, fmt.Errorf("%w: %w", errBadBody, err)
		}
		d.b = d.b[n:]
		r.Entries = append(r.Entries, e)
	}
	for range runs {
		run := Run{Segment: record.Offset(d.u64()), Pos: int64(d.u64())} //nolint:gosec // as encoded
		n := d.u32()
		d.u32()
		if run.Bytes = d.take(int(n)); d.bad {
			return nil, errBadBody
		}
		r.Runs = append(r.Runs, run)
	}
	if d.bad {
		return nil, errBadBody
	}
	return r, nil
}
