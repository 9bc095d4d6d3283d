package dledger

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"path/filepath"
	"slices"
	"strings"

	pb "github.com/lni/dragonboat/v4/raftpb"

	"github.com/stelemq/stele/commitlog"
	"github.com/stelemq/stele/dledger/journal"
	"github.com/stelemq/stele/dledger/raftfile"
	"github.com/stelemq/stele/internal/vfs"
	"github.com/stelemq/stele/protocol/record"
)

const (
	// reachEntries and reachBytes are how much of the log stays reachable for Raft over a restart, so that
	// followers who are not far behind catch up from it.
	reachEntries = 4096
	reachBytes   = 64 << 20
)

func notExist(err error) bool { return errors.Is(err, fs.ErrNotExist) }

type shardOptions struct {
	fs     vfs.FS
	logger *slog.Logger
	log    commitlog.Options
	reach  int // entries that Raft can reach after a start; 0 = reachEntries
}

// createShard makes the directory of a new replica.
func createShard(o shardOptions, dir string, key journal.Key, generation int32) (*shardLog, error) {
	r, err := commitlog.OpenRecovery(dir, o.log)
	if err != nil {
		return nil, fmt.Errorf("create %s: %w", dir, err)
	}
	// Made now, the first checkpoint need not make it: those of many new partitions would come at the same time, while
	// somebody waits for the disk. replica.json makes its name durable.
	if err := raftfile.Create(o.fs, dir, 0); err != nil {
		return nil, errors.Join(err, r.Close())
	}
	file := replicaFile{Shard: key.Shard, Replica: key.Replica, Generation: generation}
	if err := writeReplicaFile(o.fs, dir, &file); err != nil {
		return nil, errors.Join(err, r.Close())
	}
	log, err := r.Finish(commitlog.End{}, 0)
	if err != nil {
		return nil, fmt.Errorf("create %s: %w", dir, err)
	}
	return &shardLog{
		key: key, generation: generation, dir: dir, fs: o.fs, logger: o.logger, log: newOpenLog(log),
		first: 1, file: file, writer: raftfile.NewWriter(o.fs, dir), flushEvery: 1,
		state: replicaState{membership: copyMembership(pb.Membership{})}, folded: replicaState{membership: copyMembership(pb.Membership{})},
	}, nil
}

// recovery rebuilds one replica from its files and what the journal has of it.
type recovery struct {
	shardOptions
	dir     string
	file    *replicaFile
	pending *journal.Pending // nil if the journal knows nothing of the shard
	files   *commitlog.Recovery
	recs    []raftfile.Entry // after file.Index
	raftEnd map[record.Offset]int64
	end     commitlog.End
	torn    bool // entries were dropped because their bytes are not there
}

// recoverShard opens a replica's directory. What the journal describes behind the sync point is written again and
// synced with everything else before it returns: the replica may vote. Errors: *commitlog.CorruptionError,
// ErrCorrupt (the replica is damaged), ErrUnsupportedVersion.
func recoverShard(o shardOptions, dir string, pending func(journal.Key) *journal.Pending) (*shardLog, error) {
	if err := finishInstall(o.fs, dir); err != nil {
		return nil, fmt.Errorf("recover %s: %w", dir, err)
	}
	file, err := readReplicaFile(o.fs, dir)
	if err != nil {
		return nil, fmt.Errorf("recover %s: %w", dir, err)
	}
	if file.Damaged != "" {
		return nil, fmt.Errorf("recover %s: %w: %s", dir, ErrCorrupt, file.Damaged)
	}
	r := &recovery{shardOptions: o, dir: dir, file: file, raftEnd: map[record.Offset]int64{}}
	r.pending = pending(journal.Key{Shard: file.Shard, Replica: file.Replica})
	if r.files, err = commitlog.OpenRecovery(dir, o.log); err != nil {
		return nil, fmt.Errorf("recover %s: %w", dir, err)
	}
	s, err := r.run()
	if err != nil {
		return nil, fmt.Errorf("recover %s: %w", dir, errors.Join(err, r.files.Close()))
	}
	return s, nil
}

func (r *recovery) run() (*shardLog, error) {
	if err := r.loadRecords(); err != nil {
		return nil, err
	}
	if err := r.mergePending(); err != nil {
		return nil, err
	}
	if err := r.rewrite(); err != nil {
		return nil, err
	}
	hard, err := r.hardState()
	if err != nil {
		return nil, err
	}
	s, err := r.build(hard)
	if err != nil {
		return nil, err
	}
	log, err := r.files.Finish(r.end, s.state.logStart)
	if err != nil {
		return nil, fmt.Errorf("finish: %w", err)
	}
	s.log = newOpenLog(log)
	if err := r.persist(s); err != nil {
		return nil, errors.Join(err, log.Close())
	}
	return s, nil
}

// loadRecords reads the .raft files from the segment of replica.json on.
func (r *recovery) loadRecords() error {
	for _, seg := range r.files.Segments() {
		if seg.Base < r.file.Segment {
			continue
		}
		recs, end, err := raftfile.Read(r.fs, r.dir, seg.Base)
		if err != nil {
			return err
		}
		r.raftEnd[seg.Base] = end
		for i := range recs {
			recs[i].Payload = slices.Clone(recs[i].Payload)
			if cut := r.truncatedFrom(); cut > 0 && recs[i].Index >= cut {
				break // what is newer stands in the journal; of what is older the files may have kept anything
			}
			if recs[i].Index > r.file.Index {
				if n := len(r.recs); n > 0 && recs[i].Index > r.recs[n-1].Index+1 {
					return fmt.Errorf("%w: entries %d to %d are missing in .raft", ErrCorrupt, r.recs[n-1].Index+1, recs[i].Index-1)
				}
				r.recs = raftfile.Supersede(r.recs, recs[i])
			}
		}
	}
	if len(r.recs) > 0 && r.recs[0].Index != r.file.Index+1 {
		return fmt.Errorf("%w: .raft begins with entry %d, not %d", ErrCorrupt, r.recs[0].Index, r.file.Index+1)
	}
	return nil
}

// truncatedFrom is the first index that a truncation removed of what .raft holds, perhaps not from all files; 0 = none.
func (r *recovery) truncatedFrom() Index {
	if r.pending == nil {
		return 0
	}
	return r.pending.Truncate
}

func (r *recovery) lastIndex() Index {
	if n := len(r.recs); n > 0 {
		return r.recs[n-1].Index
	}
	return r.file.Index
}

// mergePending lets the journal's newer records supersede those of .raft.
func (r *recovery) mergePending() error {
	p := r.pending
	if p == nil {
		return nil
	}
	if p.Suspect {
		return fmt.Errorf("%w: the journal was damaged", ErrCorrupt)
	}
	if p.Checkpoint > r.lastIndex() {
		return fmt.Errorf("%w: .raft ends with entry %d, the journal says %d", ErrCorrupt, r.lastIndex(), p.Checkpoint)
	}
	if p.Truncate > 0 && p.Truncate <= r.lastIndex() {
		r.recs = r.recs[:max(0, int64(p.Truncate)-int64(r.file.Index)-1)] //nolint:gosec // indexes are below 2^63
	}
	for _, e := range p.Entries {
		if e.Index <= r.file.Index {
			continue
		}
		if e.Index > r.lastIndex()+1 {
			return fmt.Errorf("%w: .raft ends with entry %d, the journal begins with %d", ErrCorrupt, r.lastIndex(), e.Index)
		}
		// The same entry again does not supersede what follows it: of the journal's tail more may have been lost than of
		// .raft.
		if old := find(r.recs, e.Index); old == nil || !sameEntry(old, &e) {
			r.recs = raftfile.Supersede(r.recs, e)
		}
	}
	return nil
}

// sameEntry reports whether both records are of one entry at one place.
func sameEntry(r, o *raftfile.Entry) bool {
	return r.Index == o.Index && r.Term == o.Term && r.Segment == o.Segment && r.Pos == o.Pos && r.Length == o.Length && r.CRC == o.CRC
}

// rewrite writes the stored bytes behind the sync point again and finds the log's end.
func (r *recovery) rewrite() error {
	r.end = commitlog.End{Segment: r.file.Segment, Pos: r.file.Position, Next: r.file.Next}
	var buf []byte
	for i := range r.recs {
		e := &r.recs[i]
		if e.Kind != raftfile.KindData {
			continue
		}
		if r.pending != nil && r.pending.Sync.Before(e.Segment, int64(e.Pos)+int64(e.Length)) {
			var ok bool
			var err error
			if buf, ok, err = r.rewriteEntry(e, buf); err != nil {
				return err
			}
			if !ok && e.Index <= r.pending.Checkpoint {
				return fmt.Errorf("%w: the bytes of entry %d, which were synced, do not check", ErrCorrupt, e.Index)
			}
			if !ok {
				r.logger.Info("torn tail cut", "dir", r.dir, "base_offset", int64(e.Base), "entries", len(r.recs)-i)
				r.recs, r.torn = r.recs[:i], true
				return nil
			}
		}
		r.end = commitlog.End{Segment: e.Segment, Pos: int64(e.Pos) + int64(e.Length), Next: e.Next}
	}
	return nil
}

// rewriteEntry writes an entry's stored bytes to where they belong: those of the journal, else the segment's own if
// they check. It reports false if neither exists: the tail is torn here.
func (r *recovery) rewriteEntry(e *raftfile.Entry, buf []byte) ([]byte, bool, error) {
	b := r.pending.Inlined(e)
	if b == nil {
		buf = slices.Grow(buf[:0], int(e.Length))[:e.Length]
		switch n, err := r.files.ReadAt(e.Segment, int64(e.Pos), buf); {
		case n == len(buf):
		case err == nil, errors.Is(err, io.EOF), errors.Is(err, commitlog.ErrNoSuchSegment):
			return buf, false, nil // behind the file's end: not written
		default:
			return buf, false, fmt.Errorf("read entry %d: %w", e.Index, err) // perhaps it is there
		}
		if raftfile.Castagnoli(0, buf) != e.CRC {
			return buf, false, nil
		}
		b = buf
	}
	if err := r.files.WriteAt(e.Segment, int64(e.Pos), b); err != nil {
		return buf, false, fmt.Errorf("write again: %w", err)
	}
	return buf, true, nil
}

// hardState is the journal's, bounded by what the log holds.
func (r *recovery) hardState() (journal.HardState, error) {
	last, lastTerm := r.lastIndex(), r.file.Term
	if n := len(r.recs); n > 0 {
		lastTerm = r.recs[n-1].Term
	}
	if r.pending == nil || !r.pending.HasHard {
		if last == 0 {
			return journal.HardState{}, nil
		}
		return journal.HardState{}, fmt.Errorf("%w: the journal has no hard state", ErrCorrupt)
	}
	h := r.pending.Hard
	if h.Term < lastTerm {
		return h, fmt.Errorf("%w: hard state of term %d, entry %d of term %d", ErrCorrupt, h.Term, last, lastTerm)
	}
	h.Commit = max(min(h.Commit, last), r.file.Index)
	return h, nil
}

// build makes the shard's state in memory. Its log is set later.
func (r *recovery) build(hard journal.HardState) (*shardLog, error) {
	s := &shardLog{
		key: journal.Key{Shard: r.file.Shard, Replica: r.file.Replica}, generation: r.file.Generation, dir: r.dir, fs: r.fs, logger: r.logger,
		file: *r.file, writer: raftfile.NewWriter(r.fs, r.dir), recs: r.recs, hard: hard, hasHard: hard.Term > 0,
		last: r.lastIndex(), lastTerm: r.file.Term, first: 1, committedTo: hard.Commit, foldedTo: r.file.Index, flushEvery: 1,
	}
	if n := len(r.recs); n > 0 {
		s.lastTerm = r.recs[n-1].Term
	}
	s.savedIndex, s.journaled = s.last, s.last
	st := replicaState{membership: copyMembership(pb.Membership{}), logStart: r.file.LogStart}
	if r.file.Membership != "" {
		if err := fromBase64(r.file.Membership, &st.membership); err != nil {
			return nil, err
		}
	}
	s.folded = replicaState{membership: copyMembership(st.membership), logStart: st.logStart}
	base := r.reachBase(hard.Commit)
	if err := s.chooseBase(base, &st); err != nil {
		return nil, err
	}
	var err error
	s.fence, err = s.fenceAtLocked(s.last)
	return s, err
}

// reachBase is the index from behind which Raft replays and can send entries: near the commit index.
func (r *recovery) reachBase(commit Index) Index {
	bytes, n, reach := int64(0), 0, reachEntries
	if r.reach > 0 {
		reach = r.reach
	}
	for i := len(r.recs) - 1; i >= 0; i-- {
		e := &r.recs[i]
		if e.Index > commit {
			continue
		}
		if n++; n > reach || bytes > reachBytes {
			return e.Index
		}
		bytes += int64(e.Length)
	}
	return r.file.Index
}

// chooseBase folds the committed entries and, on the way, makes the synthetic snapshot that tells Raft where
// its log begins.
func (s *shardLog) chooseBase(base Index, st *replicaState) error {
	snapshotAt := func(i Index, t Term) {
		if i == 0 || i < base || s.snapshot.Index != 0 || len(st.membership.Addresses) == 0 {
			return
		}
		s.snapshot = pb.Snapshot{
			ShardID: uint64(s.key.Shard), Index: uint64(i), Term: uint64(t), OnDiskIndex: uint64(i), Dummy: true,
			Type: pb.OnDiskStateMachine, Membership: copyMembership(st.membership),
		}
		s.first = i + 1
	}
	snapshotAt(s.file.Index, s.file.Term)
	for i := range s.recs {
		e := &s.recs[i]
		if e.Index > s.committedTo {
			break
		}
		if err := st.apply(e); err != nil {
			return err
		}
		snapshotAt(e.Index, e.Term)
	}
	s.state, s.stubUntil = *st, s.committedTo
	return nil
}

// persist brings .raft up to date and syncs everything.
func (r *recovery) persist(s *shardLog) error {
	from := r.file.Index
	if r.pending != nil && r.pending.Checkpoint > from {
		from = r.pending.Checkpoint
	}
	if r.pending != nil && r.pending.Truncate > 0 {
		from = max(min(from, r.pending.Truncate-1), r.file.Index) // what replica.json covers is committed
	}
	if err := r.cutRaftFiles(s); err != nil {
		return err
	}
	if r.pending != nil && r.pending.Truncate > 0 {
		if err := s.cutRaftFiles(max(r.pending.Truncate, r.file.Index+1)); err != nil {
			return err
		}
	}
	if r.torn {
		if err := s.cutRaftFiles(s.last + 1); err != nil {
			return err
		}
	}
	var fresh []raftfile.Entry
	if from < s.last {
		recs, err := s.rangeLocked(from+1, s.last)
		if err != nil {
			return err
		}
		fresh = recs
	}
	if err := s.SyncData(nil); err != nil {
		return err
	}
	if err := s.writer.Write(fresh); err != nil {
		return err
	}
	s.checkpointed = s.last
	s.MarkSynced(s.logEnd())
	return nil
}

// cutRaftFiles cuts torn records, which would hide those that follow, and sets aside files without a header.
func (r *recovery) cutRaftFiles(s *shardLog) error {
	if err := r.removeBeyond(s.log.End().Segment); err != nil {
		return err
	}
	for seg, end := range r.raftEnd {
		if seg > s.log.End().Segment {
			continue
		}
		if end > 0 {
			if err := s.writer.Truncate(seg, end); err != nil {
				return err
			}
			continue
		}
		name := filepath.Join(r.dir, raftfile.Name(seg))
		if err := r.fs.Rename(name, name+".corrupt"); err != nil && !notExist(err) {
			return fmt.Errorf("set aside: %w", err)
		}
	}
	return nil
}

// removeBeyond removes the .raft files of segments that the log does not reach any more. Left there, they would be taken
// up when it rolls at the same offset again.
func (r *recovery) removeBeyond(last record.Offset) error {
	names, err := r.fs.ReadDir(r.dir)
	if err != nil {
		return fmt.Errorf("list %s: %w", r.dir, err)
	}
	removed := false
	for _, n := range names {
		if strings.HasSuffix(n, ".raft") && n > raftfile.Name(last) {
			removed = true
			if err := r.fs.Remove(filepath.Join(r.dir, n)); err != nil {
				return fmt.Errorf("remove .raft: %w", err)
			}
		}
	}
	if !removed {
		return nil
	}
	if err := r.fs.SyncDir(r.dir); err != nil {
		return fmt.Errorf("sync %s: %w", r.dir, err)
	}
	return nil
}
