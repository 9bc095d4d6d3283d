package transport

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"

	pb "github.com/lni/dragonboat/v4/raftpb"
)

// A frame of a Raft lane:
//
//	length of the head (uint32) | length of the payload (uint64) | CRC32C of the head (uint32) | head | payload
//
// little endian. The head is a sequence of messages, their integers as uvarints; the payload holds the commands of their
// entries in order. The payload has no checksum here: record batches carry their own, which the receiver checks.

const (
	frameHead = 16
	// headMax and payloadMax bound what is allocated for a frame.
	headMax    = 64 << 20
	payloadMax = 1 << 30
	// entryMin and messageMin are the fewest bytes that one takes in a head.
	entryMin = 8
)

//nolint:gochecknoglobals // a table
var castagnoli = crc32.MakeTable(crc32.Castagnoli)

var errFrame = errors.New("transport: malformed frame")

// message is a Raft message and what travels with it.
type message struct {
	pb.Message
	// stamp is the observer's, see Observer.Stamp; 0 = none.
	stamp int64
}

// appendMessage encodes m without the commands of its entries, which it appends to payload. The commands are not copied.
func appendMessage(head []byte, payload [][]byte, m *pb.Message, stamp int64) ([]byte, [][]byte, int64) {
	flags := byte(0)
	if m.Reject {
		flags = 1
	}
	head = append(head, byte(m.Type), flags) //nolint:gosec // fewer than 256 types
	for _, v := range [...]uint64{
		m.To, m.From, m.ShardID, m.Term, m.LogTerm, m.LogIndex, m.Commit, m.Hint, m.HintHigh, uint64(stamp), uint64(len(m.Entries)), //nolint:gosec // bits
	} {
		head = binary.AppendUvarint(head, v)
	}
	bytes := int64(0)
	for i := range m.Entries {
		e := &m.Entries[i]
		head = append(head, byte(e.Type)) //nolint:gosec // four types
		for _, v := range [...]uint64{e.Term, e.Index, e.Key, e.ClientID, e.SeriesID, e.RespondedTo, uint64(len(e.Cmd))} {
			head = binary.AppendUvarint(head, v)
		}
		if len(e.Cmd) > 0 {
			payload = append(payload, e.Cmd)
			bytes += int64(len(e.Cmd))
		}
	}
	return head, payload, bytes
}

// putFrameHead fills the first frameHead bytes of a frame whose head follows them.
func putFrameHead(frame []byte, payload int64) {
	head := frame[frameHead:]
	binary.LittleEndian.PutUint32(frame, uint32(len(head)))   //nolint:gosec // bounded by the lane
	binary.LittleEndian.PutUint64(frame[4:], uint64(payload)) //nolint:gosec // not negative
	binary.LittleEndian.PutUint32(frame[12:], crc32.Checksum(head, castagnoli))
}

// frameReader reads the frames of a lane.
type frameReader struct {
	r        io.Reader
	first    [frameHead]byte
	head     []byte
	messages []message
}

// next returns the messages of the next frame. They are valid until the next call, but their entries' commands are the
// caller's for good: they share one buffer.
func (f *frameReader) next() ([]message, error) {
	if _, err := io.ReadFull(f.r, f.first[:]); err != nil {
		return nil, err //nolint:wrapcheck // io.EOF is the end
	}
	n := int(binary.LittleEndian.Uint32(f.first[:]))
	p := binary.LittleEndian.Uint64(f.first[4:])
	if n > headMax || p > payloadMax {
		return nil, fmt.Errorf("%w: %d and %d bytes", errFrame, n, p)
	}
	if cap(f.head) < n {
		f.head = make([]byte, n+n/2)
	}
	head := f.head[:n]
	if _, err := io.ReadFull(f.r, head); err != nil {
		return nil, fmt.Errorf("head: %w", err)
	}
	if crc32.Checksum(head, castagnoli) != binary.LittleEndian.Uint32(f.first[12:]) {
		return nil, fmt.Errorf("%w: checksum", errFrame)
	}
	payload := make([]byte, p)
	if _, err := io.ReadFull(f.r, payload); err != nil {
		return nil, fmt.Errorf("payload: %w", err)
	}
	var err error
	f.messages, err = decodeMessages(f.messages[:0], head, payload)
	return f.messages, err
}

// decodeMessages is the reverse of appendMessage; the commands become parts of payload.
func decodeMessages(out []message, head, payload []byte) ([]message, error) {
	d := decoder{b: head}
	for len(d.b) > 0 && !d.bad {
		var m message
		m.Type, m.Reject = pb.MessageType(d.byte()), d.byte() != 0
		m.To, m.From, m.ShardID, m.Term, m.LogTerm, m.LogIndex = d.uint(), d.uint(), d.uint(), d.uint(), d.uint(), d.uint()
		m.Commit, m.Hint, m.HintHigh, m.stamp = d.uint(), d.uint(), d.uint(), int64(d.uint()) //nolint:gosec // bits
		n := d.uint()
		if n > uint64(len(d.b)/entryMin) {
			return nil, fmt.Errorf("%w: %d entries in %d bytes", errFrame, n, len(d.b))
		}
		if n > 0 {
			m.Entries = make([]pb.Entry, n)
		}
		for i := range m.Entries {
			e := &m.Entries[i]
			e.Type = pb.EntryType(d.byte())
			e.Term, e.Index, e.Key, e.ClientID, e.SeriesID, e.RespondedTo = d.uint(), d.uint(), d.uint(), d.uint(), d.uint(), d.uint()
			size := d.uint()
			if size > uint64(len(payload)) {
				return nil, fmt.Errorf("%w: a command of %d bytes", errFrame, size)
			}
			if size > 0 {
				e.Cmd, payload = payload[:size:size], payload[size:]
			}
		}
		out = append(out, m)
	}
	if d.bad || len(payload) > 0 {
		return nil, errFrame
	}
	return out, nil
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
	v, n := binary.Uvarint(d.b)
	if n <= 0 {
		d.bad, d.b = true, nil
		return 0
	}
	d.b = d.b[n:]
	return v
}
