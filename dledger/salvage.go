package dledger

import (
	"errors"
	"fmt"
	"path/filepath"
	"strings"

	pb "github.com/lni/dragonboat/v4/raftpb"

	"github.com/stelemq/stele/commitlog"
	"github.com/stelemq/stele/protocol/record"
)

// asideSuffix marks files that were damaged and are kept.
const asideSuffix = ".corrupt"

// salvage makes a replica that is its partition's only one serve again when what Raft needs of it is damaged: the readable
// prefix of its segments is the log, and Raft begins anew behind it, in a higher term. Damaged files are set aside,
// not deleted. With other voters a damaged replica is fetched again from them instead: it must not vote.
func (h *Host) salvage(spec PartitionSpec, dir string, cause error) (*shardLog, error) {
	h.logger.Error("replica is damaged; its readable prefix is served", "dir", dir, "error", cause)
	h.metrics.corrupt.Inc()
	old, err := readReplicaFile(h.opts.FS, dir)
	if err != nil {
		old = &replicaFile{LogStart: record.NoOffset}
	}
	if err := h.setFilesAside(dir); err != nil {
		return nil, err
	}
	o := h.shardOptions(&spec)
	end, epoch, logStart, err := h.readablePrefix(o, dir, old.LogStart)
	if err != nil {
		return nil, fmt.Errorf("salvage %s: %w", dir, err)
	}
	key := shardKey{spec.Shard, spec.Replica}
	hard := hardState{Vote: spec.Replica, Commit: old.Index, Term: old.Term}
	if p := h.pendingOf(key); p != nil {
		hard.Term, hard.Commit = max(hard.Term, p.hard.Term), max(hard.Commit, p.hard.Commit, p.checkpoint)
		if n := len(p.entries); n > 0 {
			hard.Commit = max(hard.Commit, p.entries[n-1].index)
		}
	}
	hard.Term = max(hard.Term, Term(epoch&(1<<generationShift-1))) + 1 //nolint:gosec // epochs are not negative
	hard.Commit += 2                                                   // never an index that was in use
	if err := h.writeSalvaged(spec, dir, hard, end, logStart); err != nil {
		return nil, err
	}
	pending := &pendingShard{key: key, hard: hard, hasHard: true, sync: syncPoint{end.Segment, end.Pos}}
	s, err := recoverShard(o, dir, func(shardKey) *pendingShard { return pending })
	if err != nil {
		return nil, err
	}
	return s, h.saveHard(s, hard)
}

// setFilesAside renames the Raft side of a replica.
func (h *Host) setFilesAside(dir string) error {
	names, err := h.opts.FS.ReadDir(dir)
	if err != nil {
		return fmt.Errorf("list %s: %w", dir, err)
	}
	for _, n := range names {
		if n != replicaFileName && !strings.HasSuffix(n, ".raft") {
			continue
		}
		from := filepath.Join(dir, n)
		if err := h.opts.FS.Rename(from, from+asideSuffix); err != nil {
			return fmt.Errorf("set aside: %w", err)
		}
	}
	if err := h.opts.FS.SyncDir(dir); err != nil {
		return fmt.Errorf("set aside: %w", err)
	}
	return nil
}

// readablePrefix finds where the readable part of the segments ends and cuts them there, after a copy of a segment with
// damage in its middle has been set aside.
func (h *Host) readablePrefix(o shardOptions, dir string, logStart record.Offset) (commitlog.End, record.LeaderEpoch, record.Offset, error) {
	files, err := commitlog.OpenRecovery(dir, o.log)
	if err != nil {
		return commitlog.End{}, 0, 0, fmt.Errorf("open: %w", err)
	}
	end, err := files.ScanEnd()
	if errors.Is(err, commitlog.ErrCorrupt) {
		err = h.copyAside(dir, fmt.Sprintf("%020d.log", end.Segment))
	}
	if err != nil {
		return commitlog.End{}, 0, 0, errors.Join(err, files.Close())
	}
	if segs := files.Segments(); logStart == record.NoOffset && len(segs) > 0 {
		logStart = segs[0].Base
	}
	logStart = max(min(logStart, end.Next), 0)
	log, err := files.Finish(end, logStart)
	if err != nil {
		return commitlog.End{}, 0, 0, fmt.Errorf("cut: %w", err)
	}
	epoch := max(log.LatestEpoch(), 0)
	if err := errors.Join(log.Sync(), log.Close()); err != nil {
		return commitlog.End{}, 0, 0, fmt.Errorf("cut: %w", err)
	}
	return end, epoch, logStart, nil
}

func (h *Host) copyAside(dir, name string) error {
	b, err := readFile(h.opts.FS, filepath.Join(dir, name))
	if err != nil {
		return err
	}
	return writeFileAtomic(h.opts.FS, dir, name+asideSuffix, b)
}

// writeSalvaged writes the replica.json of a Raft log that begins behind hard.Commit.
func (h *Host) writeSalvaged(spec PartitionSpec, dir string, hard hardState, end commitlog.End, logStart record.Offset) error {
	members := map[uint64]string{}
	for r, n := range spec.Members {
		members[uint64(r)] = nodeTarget(n)
	}
	bootstrap := pb.Bootstrap{Addresses: members, Type: pb.OnDiskStateMachine}
	membership := copyMembership(pb.Membership{ConfigChangeId: uint64(hard.Commit), Addresses: members})
	f := replicaFile{
		Shard: spec.Shard, Replica: spec.Replica, Generation: spec.Generation, Index: hard.Commit, Term: hard.Term,
		LogStart: logStart, Next: end.Next, Segment: end.Segment, Position: end.Pos,
	}
	var err error
	if f.Bootstrap, err = toBase64(&bootstrap); err != nil {
		return err
	}
	if f.Membership, err = toBase64(&membership); err != nil {
		return err
	}
	return writeReplicaFile(h.opts.FS, dir, &f)
}

// saveHard puts a hard state into the journal.
func (h *Host) saveHard(s *shardLog, hard hardState) error {
	return h.journal.commit(&saveRequest{durable: true, ready: make(chan struct{}, 1), saves: []*shardSave{{
		shard: s, durable: true, record: shardRecord{key: s.key, hard: &hard, checkpoint: hard.Commit, sync: s.syncedTo()},
	}}})
}
