package dledger

import (
	"errors"
	"fmt"
	"path/filepath"
	"slices"

	pb "github.com/lni/dragonboat/v4/raftpb"

	"github.com/stelemq/stele/commitlog"
	"github.com/stelemq/stele/dledger/raftfile"
	"github.com/stelemq/stele/protocol/record"
)

// loadedRecords caches the .raft file that was read last.
type loadedRecords struct {
	segment record.Offset
	recs    []raftfile.Entry
}

// firstIndex is the first entry that Raft can reach.
func (s *shardLog) firstIndex() Index {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.first
}

// recordLocked returns the record of an index, from memory or from its .raft file.
func (s *shardLog) recordLocked(i Index) (*raftfile.Entry, error) {
	if i > s.last {
		return nil, fmt.Errorf("shard %d: entry %d is behind the end %d", s.key.Shard, i, s.last)
	}
	if len(s.recs) > 0 && i >= s.recs[0].Index {
		return &s.recs[i-s.recs[0].Index], nil
	}
	if r := find(s.loaded.recs, i); r != nil {
		return r, nil
	}
	segs := s.log.Segments()
	for _, seg := range slices.Backward(segs) {
		recs, _, err := raftfile.Read(s.fs, s.dir, seg.Base)
		if err != nil {
			return nil, err
		}
		if r := find(recs, i); r != nil {
			s.loaded = loadedRecords{segment: seg.Base, recs: recs}
			return r, nil
		}
		if len(recs) > 0 && recs[0].Index < i {
			break
		}
	}
	return nil, fmt.Errorf("%w: shard %d: no record of entry %d", ErrCorrupt, s.key.Shard, i)
}

func find(recs []raftfile.Entry, i Index) *raftfile.Entry {
	if len(recs) == 0 || i < recs[0].Index || i > recs[len(recs)-1].Index {
		return nil
	}
	return &recs[i-recs[0].Index]
}

// messageBytes is about how much one message to a follower that catches up holds. Raft asks for up to 64 MiB: to read and
// send so much at once would make everybody else wait.
const messageBytes = 2 << 20

// iterate returns the entries [low, high) as Raft wants them: all, or up to and including the first that
// makes size exceed maxSize. Where only the term is wanted (maxSize 0, one entry) no bytes are read.
//
// It may return fewer, by claiming that the last one exceeds maxSize: Raft then drops that one, so its bytes are not read. So
// one call returns about messageBytes at most, and what the throttle has left, but one entry always.
func (s *shardLog) iterate(ents []pb.Entry, size uint64, low, high Index, maxSize uint64, t throttle) ([]pb.Entry, uint64, error) {
	termOnly := maxSize == 0 && high == low+1
	s.mu.Lock() // recordLocked may load a file
	defer s.mu.Unlock()
	if low < s.first {
		return ents, size, nil
	}
	bounded, before, budget := maxSize > messageBytes && maxSize < 1<<62, size, uint64(messageBytes)
	if bounded {
		budget = t.left(messageBytes)
		defer func() { t.take(size - before) }()
	}
	for i := low; i < high && i <= s.last; i++ {
		r, err := s.recordLocked(i)
		if err != nil {
			return nil, 0, err
		}
		full := bounded && size-before > budget
		e := pb.Entry{
			Term: uint64(r.Term), Index: uint64(r.Index), Type: pb.EncodedEntry,
			Key: r.Key, ClientID: r.Client, SeriesID: r.Series,
		}
		if err := s.fillCommand(&e, r, termOnly || full); err != nil {
			if !unreadable(err) || s.observer == nil || !s.observer.damaged(err) {
				return nil, 0, err
			}
			e.Cmd = noBytes() // nothing that this replica says leaves it any more
		}
		ents = append(ents, e)
		if full {
			return ents, maxSize + 1, nil
		}
		size += uint64(e.SizeUpperLimit()) //nolint:gosec // sizes are positive
		if maxSize > 0 && size > maxSize {
			break
		}
	}
	return ents, size, nil
}

// noBytes stands for the payload of an entry whose bytes nobody will look at: dragonboat's encoding byte and
// one more, since an empty command would be a no-op.
func noBytes() []byte { return []byte{0, 0} }

var errEntryCRC = errors.New("entry does not check")

func (s *shardLog) fillCommand(e *pb.Entry, r *raftfile.Entry, termOnly bool) error {
	switch r.Kind {
	case raftfile.KindNoop:
		e.Type = pb.ApplicationEntry
	case raftfile.KindConfig:
		e.Type, e.Cmd = pb.ConfigChangeEntry, r.Payload
	case raftfile.KindCommand:
		e.Cmd = append([]byte{0}, r.Payload...)
	case raftfile.KindVoid:
		e.Cmd = noBytes()
	case raftfile.KindData:
		// What was committed before the start is never sent to anybody by this replica before it has applied
		// it again, and our state machine does not look at the bytes.
		if termOnly || r.Index <= s.stubUntil {
			e.Cmd = noBytes()
			return nil
		}
		e.Cmd = make([]byte, 1+int(r.Length))
		if err := s.log.ReadAt(r.Segment, int64(r.Pos), e.Cmd[1:]); err != nil {
			return fmt.Errorf("read entry %d of %s: %w", r.Index, s.dir, err)
		}
		if raftfile.Castagnoli(0, e.Cmd[1:]) != r.CRC {
			return fmt.Errorf("%w: entry %d: %w", ErrCorrupt, r.Index, &commitlog.CorruptionError{
				Path: filepath.Join(s.dir, fmt.Sprintf("%020d.log", r.Segment)), Pos: int64(r.Pos), Err: errEntryCRC,
			})
		}
	}
	return nil
}
