package dledger

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"path/filepath"

	"github.com/stelemq/stele/commitlog"
	"github.com/stelemq/stele/dledger/raftfile"
	"github.com/stelemq/stele/internal/vfs"
	"github.com/stelemq/stele/protocol/record"
)

const (
	// stageDirName is the directory in a replica's own where batches are gathered.
	stageDirName = "catchup"
	// stageSyncBytes is how much is written to a stage between syncs: small syncs delay those of others less.
	stageSyncBytes = 2 << 20
	// pieceBytesMax is how many bytes of consecutive batches are appended as one piece.
	pieceBytesMax = 64 << 10
	// pieceOffsetsMax is how many offsets it may take: batches that compaction has left may stand for many.
	pieceOffsetsMax = 1 << 30
)

// stage is the log beside a replica's own that what it lacks is written to. It is used by one goroutine at a time.
type stage struct {
	fs   vfs.FS
	dir  string
	log  *commitlog.Log
	keep bool // it goes on where what the replica holds ends; else it replaces that
	base record.Offset
	// state is the source's, as of which it is filled.
	state uint64
	err   error // it cannot go on
	// unsynced are the bytes since the last sync.
	unsynced int64
}

// newStage begins a stage.
func (p *Partition) newStage(ctx context.Context, from *source, m *manifest) (*stage, error) {
	s := p.shard
	fsys := s.fs
	st := &stage{fs: fsys, dir: filepath.Join(s.dir, stageDirName)}
	if err := fsys.RemoveAll(st.dir); err != nil {
		return nil, fmt.Errorf("catch up: %w", err)
	}
	var state commitlog.State
	end := s.committedOffset()
	// A record that is kept might have been deleted by one that compaction has removed where the rest comes from. Not so where
	// everything that may have been removed there is here.
	st.state = m.State
	if st.keep = end >= m.Rewritten && end > s.log.Segments()[0].Base && end >= m.First; st.keep {
		var err error
		if state, err = s.log.StateAt(end); err != nil {
			return nil, p.readError(err)
		}
	} else {
		state.Offset = m.First
		b, err := from.call(ctx, callState, catchUpQuestion{Shard: from.shard, From: m.First, State: m.State})
		if err != nil {
			return nil, err
		}
		state.Rewritten = m.Rewritten
		if state.Producers, err = commitlog.ParseProducerSnapshot(b); err != nil {
			return nil, fmt.Errorf("producers at %d: %w", m.First, err)
		}
		for _, e := range m.Epochs {
			if e.Start < m.First {
				state.Epochs = append(state.Epochs, commitlog.EpochStart(e))
			}
		}
	}
	spec := p.spec
	spec.Config = *p.config.Load()
	var err error
	if st.log, err = commitlog.Begin(st.dir, p.host.shardOptions(&spec).log, state); err != nil {
		return nil, fmt.Errorf("catch up: %w", err)
	}
	st.base = state.Offset
	return st, nil
}

// discard closes the stage and removes its files.
func (st *stage) discard() error {
	if err := errors.Join(st.log.Close(), st.fs.RemoveAll(st.dir)); err != nil {
		return fmt.Errorf("give up catching up: %w", err)
	}
	return nil
}

// fill fetches up to the manifest's end, asking for the next batches while those that have come are written.
func (st *stage) fill(ctx context.Context, from *source, m *manifest) (int64, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	type answer struct {
		batches []byte
		err     error
	}
	ask := func(at record.Offset) <-chan answer {
		ch := make(chan answer, 1)
		go func() {
			b, err := from.batches(ctx, at, m.Next, m.State)
			ch <- answer{b, err}
		}()
		return ch
	}
	next, total := st.log.End().Next, int64(0)
	var coming <-chan answer
	if next < m.Next {
		coming = ask(next)
	}
	for coming != nil {
		a := <-coming
		coming = nil
		if a.err != nil {
			return total, a.err
		}
		after, err := checkBatches(a.batches, next, m.Next)
		if err != nil {
			return total, err
		}
		if after < m.Next {
			coming = ask(after)
		}
		err = ErrNoSpace
		if from.grant(int64(len(a.batches))) {
			err = st.write(a.batches)
		}
		if err != nil {
			cancel()
			if coming != nil {
				<-coming
			}
			return total, err
		}
		next, total = after, total+int64(len(a.batches))
	}
	return total, nil
}

// batches asks for batches from an offset on. An answer may be empty: then the source has not heard yet what is committed.
func (s *source) batches(ctx context.Context, at, upTo record.Offset, state uint64) ([]byte, error) {
	b, err := s.call(ctx, callBatches, catchUpQuestion{Shard: s.shard, From: at, UpTo: upTo, State: state})
	if err != nil {
		return nil, err
	}
	if len(b) <= 4 || binary.LittleEndian.Uint32(b) != raftfile.Castagnoli(0, b[4:]) {
		return nil, fmt.Errorf("%w: batches from %d, %d bytes", ErrCorrupt, at, len(b))
	}
	return b[4:], nil
}

// checkBatches verifies that b holds whole batches that follow each other from an offset on, and returns the offset after.
func checkBatches(b []byte, at, upTo record.Offset) (record.Offset, error) {
	for len(b) > 0 {
		batch, rest, err := record.Next(b)
		if err == nil {
			err = batch.VerifyCRC()
		}
		if err != nil {
			return at, fmt.Errorf("%w: batch at %d: %w", ErrCorrupt, at, err)
		}
		if batch.BaseOffset() != at || batch.NextOffset() <= at || batch.NextOffset() > upTo {
			return at, fmt.Errorf("%w: batch %d to %d where %d is due", ErrCorrupt, batch.BaseOffset(), batch.NextOffset(), at)
		}
		at, b = batch.NextOffset(), rest
	}
	return at, nil
}

// write appends stored batches; the same bytes come out of it.
func (st *stage) write(b []byte) error {
	var entries []commitlog.Entry
	total := int64(len(b))
	for len(b) > 0 {
		batch, _, err := record.Next(b)
		if err != nil {
			return fmt.Errorf("%w: %w", ErrCorrupt, err)
		}
		epoch, n := batch.LeaderEpoch(), len(batch)
		for n < len(b) && n < pieceBytesMax {
			more, _, err := record.Next(b[n:])
			if err != nil || more.LeaderEpoch() != epoch || more.NextOffset()-batch.BaseOffset() > pieceOffsetsMax {
				break
			}
			n += len(more)
		}
		entries = append(entries, commitlog.Entry{Batches: b[:n], Epoch: epoch})
		b = b[n:]
	}
	st.err = st.log.Append(entries)
	if st.unsynced += total; st.err == nil && st.unsynced >= stageSyncBytes {
		st.unsynced, st.err = 0, st.log.Sync()
	}
	if st.err != nil {
		return fmt.Errorf("catch up: %w", st.err)
	}
	return nil
}

// finish makes the stage durable and closes it. It returns where the log ends and the names of its files.
func (st *stage) finish(m *manifest) (end commitlog.End, files []string, err error) {
	for _, e := range m.Epochs {
		if e.Start == m.Next && e.Epoch > st.log.LatestEpoch() {
			if err := st.log.AssignEpoch(e.Epoch, e.Start); err != nil {
				return end, nil, fmt.Errorf("catch up: %w", err)
			}
		}
	}
	end = st.log.End()
	if end.Next != m.Next {
		return end, nil, fmt.Errorf("%w: fetched up to %d of %d", ErrCorrupt, end.Next, m.Next)
	}
	if err := errors.Join(st.log.Sync(), st.log.Close()); err != nil {
		return end, nil, fmt.Errorf("catch up: %w", err)
	}
	names, err := st.fs.ReadDir(st.dir)
	if err != nil {
		return end, nil, fmt.Errorf("catch up: %w", err)
	}
	for _, n := range names {
		if n != metadataFileName && n != installFileName && n != installFileName+".tmp" {
			files = append(files, n)
		}
	}
	return end, files, nil
}
