package dledger

import (
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/stelemq/stele/protocol/record"
)

// The bytes of the journal; docs/format/journal.md is the specification.

const (
	journalMagic      = "STELEJNL"
	journalVersion    = 1
	journalHeaderSize = 64
	frameMagic        = uint32(0x4d524653)
	frameHeaderSize   = 32
	frameRecords      = uint32(1)
	frameEnd          = uint32(2)
	shardRecordFixed  = 24
)

const (
	flagHardState  = 1
	flagCheckpoint = 2
	flagTruncation = 4
)

type shardKey struct {
	shard   ShardID
	replica ReplicaID
}

// hardState is Raft's persistent state of a replica.
type hardState struct {
	Term   Term      `json:"term"`
	Vote   ReplicaID `json:"vote"`
	Commit Index     `json:"commit"`
}

// syncPoint: the stored bytes before it were on stable storage.
type syncPoint struct {
	segment record.Offset
	pos     int64
}

func (p syncPoint) before(segment record.Offset, pos int64) bool {
	return p.segment < segment || (p.segment == segment && p.pos < pos)
}

// shardRecord is what one step says of one shard.
type shardRecord struct {
	key        shardKey
	hard       *hardState
	checkpoint Index // 0 = none
	truncate   Index // first index removed; 0 = none
	sync       syncPoint
	entries    []entryRecord
	runs       []inlineRun
}

// inlineRun is a run of stored bytes that the journal carries.
type inlineRun struct {
	segment record.Offset
	pos     int64
	bytes   []byte
}

var (
	errTornFrame  = errors.New("frame does not check")
	errBadJournal = errors.New("journal body does not parse")
)

func encodeJournalHeader(seq, oldest uint64) []byte {
	b := make([]byte, journalHeaderSize)
	le := binary.LittleEndian
	copy(b, journalMagic)
	le.PutUint32(b[8:], journalVersion)
	le.PutUint64(b[16:], seq)
	le.PutUint64(b[24:], oldest)
	le.PutUint32(b[12:], castagnoli(castagnoli(0, b[:12]), b[16:]))
	return b
}

// decodeJournalHeader returns sequence 0 for a slot that was never used.
func decodeJournalHeader(b []byte) (seq, oldest uint64, err error) {
	le := binary.LittleEndian
	if len(b) < journalHeaderSize || allZero(b[:journalHeaderSize]) {
		return 0, 0, nil
	}
	if string(b[:8]) != journalMagic || le.Uint32(b[12:]) != castagnoli(castagnoli(0, b[:12]), b[16:journalHeaderSize]) {
		return 0, 0, errors.New("journal header does not check")
	}
	if v := le.Uint32(b[8:]); v > journalVersion {
		return 0, 0, fmt.Errorf("%w: journal version %d", ErrUnsupportedVersion, v)
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
	return castagnoli(0, s[:])
}

// beginFrame appends an empty frame header; finishFrame fills it when the body is complete.
func beginFrame(dst []byte) []byte { return append(dst, make([]byte, frameHeaderSize)...) }

// finishFrame completes the frame that is the whole of b and pads it.
func finishFrame(b []byte, kind uint32, seq uint64, pos, durable int64) []byte {
	le := binary.LittleEndian
	le.PutUint32(b, frameMagic)
	le.PutUint32(b[8:], uint32(len(b)-frameHeaderSize)) //nolint:gosec // bounded by the file size
	le.PutUint32(b[12:], kind)
	le.PutUint64(b[16:], uint64(durable)) //nolint:gosec // positions are not negative
	le.PutUint64(b[24:], seq)
	le.PutUint32(b[4:], castagnoli(frameSeed(seq, pos), b[8:]))
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
	if pos < 0 || pos+frameHeaderSize > int64(len(file)) {
		return frame{}, errTornFrame
	}
	b := file[pos:]
	le := binary.LittleEndian
	n := int64(le.Uint32(b[8:]))
	if le.Uint32(b) != frameMagic || le.Uint64(b[24:]) != seq || frameHeaderSize+n > int64(len(b)) {
		return frame{}, errTornFrame
	}
	if castagnoli(frameSeed(seq, pos), b[8:frameHeaderSize+n]) != le.Uint32(b[4:]) {
		return frame{}, errTornFrame
	}
	return frame{
		kind: le.Uint32(b[12:]), durable: int64(le.Uint64(b[16:])), //nolint:gosec // as encoded
		body: b[frameHeaderSize : frameHeaderSize+n], next: pos + int64(align8(int(frameHeaderSize+n))),
	}, nil
}

// appendShardRecord appends everything of r but the runs, whose count it leaves zero, and returns the
// position of that count.
func appendShardRecord(dst []byte, r *shardRecord) (out []byte, runCountAt int) {
	le := binary.LittleEndian
	dst = le.AppendUint64(dst, uint64(r.key.shard))
	dst = le.AppendUint64(dst, uint64(r.key.replica))
	var flags byte
	if r.hard != nil {
		flags |= flagHardState
	}
	if r.checkpoint > 0 {
		flags |= flagCheckpoint
	}
	if r.truncate > 0 {
		flags |= flagTruncation
	}
	dst = append(dst, flags, 0, 0, 0, 0, 0, 0, 0)
	if r.hard != nil {
		dst = le.AppendUint64(dst, uint64(r.hard.Term))
		dst = le.AppendUint64(dst, uint64(r.hard.Vote))
		dst = le.AppendUint64(dst, uint64(r.hard.Commit))
	}
	if r.checkpoint > 0 {
		dst = le.AppendUint64(dst, uint64(r.checkpoint))
	}
	if r.truncate > 0 {
		dst = le.AppendUint64(dst, uint64(r.truncate))
	}
	dst = le.AppendUint64(dst, uint64(r.sync.segment)) //nolint:gosec // as encoded
	dst = le.AppendUint64(dst, uint64(r.sync.pos))     //nolint:gosec // as encoded
	dst = le.AppendUint32(dst, uint32(len(r.entries))) //nolint:gosec // bounded by the step
	runCountAt = len(dst)
	dst = le.AppendUint32(dst, 0)
	for i := range r.entries {
		dst = r.entries[i].appendTo(dst)
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

// decodeShardRecords parses a records body. Slices alias it. Errors: errBadJournal.
func decodeShardRecords(body []byte, visit func(*shardRecord)) error {
	d := &decoder{b: body}
	for len(d.b) > 0 {
		r, err := d.shardRecord()
		if err != nil {
			return err
		}
		visit(r)
	}
	return nil
}

func (d *decoder) shardRecord() (*shardRecord, error) {
	r := &shardRecord{key: shardKey{ShardID(d.u64()), ReplicaID(d.u64())}}
	flags := d.take(8)
	if flags == nil {
		return nil, errBadJournal
	}
	if flags[0]&flagHardState != 0 {
		r.hard = &hardState{Term: Term(d.u64()), Vote: ReplicaID(d.u64()), Commit: Index(d.u64())}
	}
	if flags[0]&flagCheckpoint != 0 {
		r.checkpoint = Index(d.u64())
	}
	if flags[0]&flagTruncation != 0 {
		r.truncate = Index(d.u64())
	}
	r.sync = syncPoint{segment: record.Offset(d.u64()), pos: int64(d.u64())} //nolint:gosec // as encoded
	entries, runs := d.u32(), d.u32()
	if d.bad || uint64(entries)*entryFixed > uint64(len(d.b)) {
		return nil, errBadJournal
	}
	r.entries = make([]entryRecord, 0, entries)
	for range entries {
		e, n, err := decodeEntry(d.b)
		if err != nil {
			return nil, fmt.Errorf("%w: %w", errBadJournal, err)
		}
		d.b = d.b[n:]
		r.entries = append(r.entries, e)
	}
	for range runs {
		run := inlineRun{segment: record.Offset(d.u64()), pos: int64(d.u64())} //nolint:gosec // as encoded
		n := d.u32()
		d.u32()
		if run.bytes = d.take(int(n)); d.bad {
			return nil, errBadJournal
		}
		r.runs = append(r.runs, run)
	}
	if d.bad {
		return nil, errBadJournal
	}
	return r, nil
}
