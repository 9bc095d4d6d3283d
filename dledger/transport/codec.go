package transport

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"slices"

	pb "github.com/lni/dragonboat/v4/raftpb"
)

// A frame of a Raft lane:
//
//	length of the head (uint32) | length of the payload (uint32) | messages (uint32) | entries (uint32) |
//	CRC32C of everything else (uint32) | head | payload
//
// little endian. The head is a sequence of messages, their integers as uvarints; the payload holds the commands of their
// entries in order. See docs/format/wire.md.

const (
	frameHead = 20
	// headMax and payloadMax bound a frame. What one announces is allocated as it arrives, see readMore.
	headMax    = 64 << 20
	payloadMax = 512 << 20
	// entryMin and messageMin are the fewest bytes that one takes in a head.
	entryMin   = 8
	messageMin = 13
	// blockBytes is how much of a payload is read into one buffer. Entries keep the whole of theirs alive.
	blockBytes = 256 << 10
	// arrivalStep is how much is allocated for bytes that were announced before any of them has arrived; commandStep
	// for those of a command, which come from a proven member.
	arrivalStep = 64 << 10
	commandStep = 8 << 20
	// flagCovered, in the byte of an entry's type: the frame's checksum covers the first coveredSum bytes of its command
	// only. A command of no more than coveredMin bytes is covered whole.
	flagCovered = 0x80
	coveredSum  = 64
	coveredMin  = 4 << 10
	// keptBytes bounds the buffers that are kept for the next frame.
	keptBytes = 1 << 20
)

//nolint:gochecknoglobals // a table
var castagnoli = crc32.MakeTable(crc32.Castagnoli)

var errFrame = errors.New("transport: malformed frame")

// frame is messages, encoded, on their way out.
type frame struct {
	head     []byte // begins with room for frameHead
	payload  [][]byte
	bytes    int64    // of payload
	summed   [][]byte // what of the payload the checksum covers
	messages uint32
	entries  uint32
	covers   func(*pb.Message, *pb.Entry) bool // see Factory.Covers; may be nil
}

func (f *frame) size() int64 { return int64(len(f.head)) + f.bytes }

func (f *frame) full() bool { return len(f.head) >= frameHeadBytes || f.size() >= frameBytes }

// add encodes m. The commands of its entries are not copied: they must not change any more.
func (f *frame) add(m *pb.Message, stamp int64) {
	if len(f.head) == 0 {
		f.head = append(f.head, make([]byte, frameHead)...)
	}
	flags := byte(0)
	if m.Reject {
		flags = 1
	}
	head := append(f.head, byte(m.Type), flags) //nolint:gosec,gocritic // fewer than 256 types
	for _, v := range [...]uint64{
		m.To, m.From, m.ShardID, m.Term, m.LogTerm, m.LogIndex, m.Commit, m.Hint, m.HintHigh, uint64(stamp), uint64(len(m.Entries)), //nolint:gosec // bits
	} {
		head = binary.AppendUvarint(head, v)
	}
	for i := range m.Entries {
		e := &m.Entries[i]
		kind, summed := byte(e.Type), e.Cmd //nolint:gosec // four types
		if len(e.Cmd) > coveredMin && f.covers != nil && f.covers(m, e) {
			kind, summed = kind|flagCovered, e.Cmd[:coveredSum]
		}
		head = append(head, kind)
		for _, v := range [...]uint64{e.Term, e.Index, e.Key, e.ClientID, e.SeriesID, e.RespondedTo, uint64(len(e.Cmd))} {
			head = binary.AppendUvarint(head, v)
		}
		if len(e.Cmd) > 0 {
			f.payload, f.summed = append(f.payload, e.Cmd), append(f.summed, summed)
			f.bytes += int64(len(e.Cmd))
		}
	}
	f.head = head
	f.messages++
	f.entries += uint32(len(m.Entries)) //nolint:gosec // bounded by the head
}

// seal fills the first frameHead bytes.
func (f *frame) seal() {
	h := f.head
	binary.LittleEndian.PutUint32(h, uint32(len(h)-frameHead)) //nolint:gosec // bounded by the lane
	binary.LittleEndian.PutUint32(h[4:], uint32(f.bytes))      //nolint:gosec // bounded by the lane
	binary.LittleEndian.PutUint32(h[8:], f.messages)
	binary.LittleEndian.PutUint32(h[12:], f.entries)
	sum := crc32.Update(crc32.Checksum(h[:frameHead-4], castagnoli), castagnoli, h[frameHead:])
	for _, b := range f.summed {
		sum = crc32.Update(sum, castagnoli, b)
	}
	binary.LittleEndian.PutUint32(h[frameHead-4:], sum)
}

// clear makes room for other messages, in the same buffers unless they have grown large.
func (f *frame) clear() {
	clear(f.payload)
	clear(f.summed)
	*f = frame{head: f.head[:0], payload: f.payload[:0], summed: f.summed[:0]}
	if cap(f.head) > keptBytes {
		f.head = nil
	}
	if cap(f.payload) > keptBytes/16 {
		f.payload, f.summed = nil, nil
	}
}

// frameReader reads the frames of a lane.
type frameReader struct {
	r        io.Reader
	first    [frameHead]byte
	head     []byte
	messages []pb.Message
	stamps   []int64
	commands []command
}

// command is one that follows in the payload.
type command struct {
	to     *[]byte
	size   int
	summed int // so many of its bytes are in the checksum
}

// next returns the messages of the next frame and the stamps of each. Both are valid until the next call, but the entries
// and their commands are the caller's for good.
func (f *frameReader) next() ([]pb.Message, []int64, error) {
	f.forget()
	if _, err := io.ReadFull(f.r, f.first[:]); err != nil {
		return nil, nil, err //nolint:wrapcheck // io.EOF is the end
	}
	n, p := binary.LittleEndian.Uint32(f.first[:]), binary.LittleEndian.Uint32(f.first[4:])
	messages, entries := binary.LittleEndian.Uint32(f.first[8:]), binary.LittleEndian.Uint32(f.first[12:])
	if n > headMax || p > payloadMax || uint64(messages)*messageMin+uint64(entries)*entryMin > uint64(n) {
		return nil, nil, fmt.Errorf("%w: %d messages and %d entries in %d and %d bytes", errFrame, messages, entries, n, p)
	}
	var err error
	if f.head, err = readMore(f.r, f.head[:0], int(n)); err != nil {
		return nil, nil, fmt.Errorf("head: %w", err)
	}
	if err := f.decode(int(messages), int(entries), uint64(p)); err != nil {
		return nil, nil, err
	}
	sum := crc32.Update(crc32.Checksum(f.first[:frameHead-4], castagnoli), castagnoli, f.head)
	if sum, err = f.readCommands(sum); err != nil {
		return nil, nil, fmt.Errorf("payload: %w", err)
	}
	if sum != binary.LittleEndian.Uint32(f.first[frameHead-4:]) {
		return nil, nil, fmt.Errorf("%w: checksum", errFrame)
	}
	return f.messages, f.stamps, nil
}

// forget lets go of the last frame.
func (f *frameReader) forget() {
	clear(f.messages)
	clear(f.commands)
	f.messages, f.stamps, f.commands = f.messages[:0], f.stamps[:0], f.commands[:0]
	if cap(f.head) > keptBytes {
		f.head = nil
	}
	if cap(f.messages) > keptBytes/256 || cap(f.commands) > keptBytes/8 {
		f.messages, f.stamps, f.commands = nil, nil, nil
	}
}

// readMore appends n bytes to b. Beyond the room that b has, it allocates no more than twice what has arrived.
func readMore(r io.Reader, b []byte, n int) ([]byte, error) {
	for n > 0 {
		at := len(b)
		step := min(n, max(arrivalStep, at, cap(b)-at))
		b = slices.Grow(b, step)[:at+step]
		if _, err := io.ReadFull(r, b[at:]); err != nil {
			return b[:at], err //nolint:wrapcheck // by the callers
		}
		n -= step
	}
	return b, nil
}

// readCommands reads the payload into the entries: small ones share buffers.
func (f *frameReader) readCommands(sum uint32) (uint32, error) {
	for todo := f.commands; len(todo) > 0; {
		size, k := todo[0].size, 1
		for k < len(todo) && size+todo[k].size <= blockBytes {
			size += todo[k].size
			k++
		}
		block, err := readMore(f.r, make([]byte, 0, min(size, commandStep)), size)
		if err != nil {
			return 0, err
		}
		for _, c := range todo[:k] {
			sum = crc32.Update(sum, castagnoli, block[:c.summed])
			*c.to, block = block[:c.size:c.size], block[c.size:]
		}
		todo = todo[k:]
	}
	return sum, nil
}

// decode is the reverse of frame.add; the commands are still to come.
func (f *frameReader) decode(messages, entries int, payload uint64) error {
	var all []pb.Entry
	if entries > 0 {
		all = make([]pb.Entry, entries)
	}
	// forget has cleared what these hold.
	f.messages, f.stamps = slices.Grow(f.messages, messages)[:messages], slices.Grow(f.stamps, messages)[:messages]
	d := decoder{b: f.head}
	for i := range messages {
		m := &f.messages[i]
		m.Type, m.Reject = pb.MessageType(d.byte()), d.byte() != 0
		m.To, m.From, m.ShardID, m.Term, m.LogTerm, m.LogIndex = d.uint(), d.uint(), d.uint(), d.uint(), d.uint(), d.uint()
		m.Commit, m.Hint, m.HintHigh = d.uint(), d.uint(), d.uint()
		f.stamps[i] = int64(d.uint()) //nolint:gosec // bits
		n := d.uint()
		if d.bad || !travels(m.Type) || n > uint64(len(all)) {
			return fmt.Errorf("%w: a message of type %d with %d entries", errFrame, m.Type, n)
		}
		if n > 0 {
			m.Entries, all = all[:n:n], all[n:]
		}
		for i := range m.Entries {
			e := &m.Entries[i]
			kind := d.byte()
			e.Type = pb.EntryType(kind &^ flagCovered)
			e.Term, e.Index, e.Key, e.ClientID, e.SeriesID, e.RespondedTo = d.uint(), d.uint(), d.uint(), d.uint(), d.uint(), d.uint()
			size := d.uint()
			if d.bad || e.Type > pb.MetadataEntry || size > payload {
				return fmt.Errorf("%w: an entry of type %d with %d bytes", errFrame, e.Type, size)
			}
			payload -= size
			if size > 0 {
				c := command{&e.Cmd, int(size), int(size)} //nolint:gosec // bounded by the payload
				if kind&flagCovered != 0 {
					c.summed = min(c.size, coveredSum)
				}
				f.commands = append(f.commands, c)
			}
		}
	}
	if len(d.b) > 0 || len(all) > 0 || payload > 0 {
		return fmt.Errorf("%w: %d bytes, %d entries and %d payload bytes are left over", errFrame, len(d.b), len(all), payload)
	}
	return nil
}

// travels reports whether nodes send each other messages of a type. What else there is a node says to itself only:
// dragonboat takes it for a broken invariant when it comes from outside, as it does an unknown type.
func travels(t pb.MessageType) bool {
	switch t {
	case pb.NoOP, pb.Ping, pb.Pong, pb.Propose, pb.Replicate, pb.ReplicateResp, pb.RequestVote, pb.RequestVoteResp,
		pb.Heartbeat, pb.HeartbeatResp, pb.ReadIndex, pb.ReadIndexResp, pb.Quiesce, pb.SnapshotReceived, pb.LeaderTransfer,
		pb.TimeoutNow, pb.RateLimit, pb.RequestPreVote, pb.RequestPreVoteResp:
		return true
	case pb.LocalTick, pb.Election, pb.LeaderHeartbeat, pb.ConfigChangeEvent, pb.SnapshotStatus, pb.Unreachable,
		pb.CheckQuorum, pb.BatchedReadIndex, pb.InstallSnapshot, pb.LogQuery:
	}
	return false
}

type decoder struct {
	b   []byte
	bad bool
}

func (d *decoder) byte() byte {
	if len(d.b) == 0 {
		d.bad = true
		return 0
	}
	v := d.b[0]
	d.b = d.b[1:]
	return v
}

func (d *decoder) uint() uint64 {
	if len(d.b) > 0 && d.b[0] < 0x80 { // most are small
		v := d.b[0]
		d.b = d.b[1:]
		return uint64(v)
	}
	v, n := binary.Uvarint(d.b)
	if n <= 0 {
		d.bad, d.b = true, nil
		return 0
	}
	d.b = d.b[n:]
	return v
}
