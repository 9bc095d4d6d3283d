package transport

import (
	"context"
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"io"
	"time"

	"github.com/lni/dragonboat/v4/raftio"
	pb "github.com/lni/dragonboat/v4/raftpb"
)

// A frame of the snapshot lane: length (uint32) | CRC32C (uint32) | chunk, as dragonboat encodes it. Only the cluster
// metadata comes this way: a few MiB.
const chunkMax = 16 << 20

// GetSnapshotConnection returns a connection for one snapshot. It is opened by the first chunk that is sent: a failure to
// open it would make dragonboat drop what is meant for that node for a while, messages too.
func (r *raftTransport) GetSnapshotConnection(ctx context.Context, target string) (raftio.ISnapshotConnection, error) {
	node, ok := r.f.NodeOf(target)
	if !ok {
		return nil, fmt.Errorf("%w: %q", ErrNoAddress, target)
	}
	return &snapshotConn{ctx: ctx, f: r.f, node: node}, nil
}

// stream names what a snapshot is for.
type stream struct{ shard, replica uint64 }

// Streams reports whether a snapshot is on its way to a replica.
func (t *Transport) Streams(shard, replica uint64) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.streams[stream{shard, replica}] > 0
}

// stream counts snapshots that begin and end.
func (t *Transport) stream(s stream, n int) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.streams[s] += n; t.streams[s] == 0 {
		delete(t.streams, s)
	}
}

type snapshotConn struct {
	ctx  context.Context //nolint:containedctx // dragonboat's, for opening the connection
	f    *Factory
	node int32
	of   stream // zero until something is sent
	c    *link  // nil until something is sent
	b    []byte
}

// Close lets what was written arrive.
func (s *snapshotConn) Close() {
	if s.of != (stream{}) {
		s.f.T.stream(s.of, -1)
	}
	if s.c != nil {
		_ = s.c.Close()
		s.f.T.release(s.c)
	}
}

func (s *snapshotConn) open() (err error) {
	if s.c == nil {
		s.c, err = s.f.T.dialNode(s.ctx, s.node, laneSnapshot)
	}
	return err
}

func (s *snapshotConn) SendChunk(chunk pb.Chunk) error {
	if s.of == (stream{}) {
		s.of = stream{chunk.ShardID, chunk.ReplicaID}
		s.f.T.stream(s.of, 1)
	}
	if s.f.Behind != nil && s.f.Behind(s.node, &chunk) {
		return nil
	}
	if err := s.open(); err != nil {
		return err
	}
	body, err := chunk.Marshal()
	if err != nil {
		return fmt.Errorf("encode chunk: %w", err)
	}
	s.b = binary.LittleEndian.AppendUint32(s.b[:0], uint32(len(body))) //nolint:gosec // chunks are a few MiB
	s.b = binary.LittleEndian.AppendUint32(s.b, crc32.Checksum(body, castagnoli))
	s.b = append(s.b, body...)
	_ = s.c.SetWriteDeadline(time.Now().Add(writeTimeout))
	if _, err := s.c.Write(s.b); err != nil {
		return fmt.Errorf("send chunk: %w", err)
	}
	return nil
}

func (t *Transport) serveSnapshot(c *link) error {
	var h [8]byte
	for {
		_ = c.SetReadDeadline(time.Now().Add(silence))
		if _, err := io.ReadFull(c, h[:]); err != nil {
			return err //nolint:wrapcheck // io.EOF is the end
		}
		n := binary.LittleEndian.Uint32(h[:])
		if n > chunkMax {
			return fmt.Errorf("%w: chunk of %d bytes", errFrame, n)
		}
		body, err := readMore(c, nil, int(n)) // the chunk's data stays in it
		if err != nil {
			return fmt.Errorf("chunk: %w", err)
		}
		if crc32.Checksum(body, castagnoli) != binary.LittleEndian.Uint32(h[4:]) {
			return fmt.Errorf("%w: checksum of a chunk", errFrame)
		}
		var chunk pb.Chunk
		if err := unmarshalChunk(&chunk, body); err != nil {
			return err
		}
		side := t.raft.Load()
		if side == nil || c.gone.Load() || !side.addChunk(chunk) {
			return fmt.Errorf("%w: chunk refused", errFrame)
		}
	}
}

// unmarshalChunk turns a panic of the generated decoder into an error.
func unmarshalChunk(c *pb.Chunk, b []byte) (err error) {
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("%w: chunk: %v", errFrame, r)
		}
	}()
	if err := c.Unmarshal(b); err != nil {
		return fmt.Errorf("%w: chunk: %w", errFrame, err)
	}
	return nil
}

func (s *raftSide) addChunk(c pb.Chunk) bool {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return !s.closed && s.chunks(c)
}
