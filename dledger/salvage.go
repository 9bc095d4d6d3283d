package dledger

import (
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	pb "github.com/lni/dragonboat/v4/raftpb"

	"github.com/stelemq/stele/commitlog"
	"github.com/stelemq/stele/dledger/journal"
	"github.com/stelemq/stele/dledger/raftfile"
	"github.com/stelemq/stele/internal/vfs"
	"github.com/stelemq/stele/protocol/record"
)

// asideSuffix marks files that were damaged and are kept.
const asideSuffix = ".corrupt"

// metadataFileName is Kafka's file with the topic id.
const metadataFileName = "partition.metadata"

// salvage makes a replica that is its partition's only one serve again when what Raft needs of it is damaged: the readable
// prefix of its segments is the log, and Raft begins anew behind it, in a higher term. Damaged files are set aside,
// not deleted. With other voters a damaged replica is fetched again from them instead: it must not vote.
//
// It may be cut short anywhere and begun again: replica.json is replaced only when the segments are as it will say, and
// until the journal has the new term the replica counts as damaged.
func (h *Host) salvage(spec PartitionSpec, dir string, cause error) (*shardLog, error) {
	h.logger.Error("replica is damaged; its readable prefix is served", "dir", dir, "error", cause)
	h.metrics.corrupt.Inc()
	found, err := h.remains(dir, journal.Key{Shard: spec.Shard, Replica: spec.Replica})
	if err != nil {
		return nil, err
	}
	if err := h.copyAside(dir, replicaFileName); err != nil && !notExist(err) {
		return nil, err
	}
	return h.beginAnew(spec, dir, found, asideSuffix)
}

// beginAnew makes a Raft log of one voter whose log so far is the readable prefix of a directory's segments. What is there
// of .raft files is set aside under a suffix.
func (h *Host) beginAnew(spec PartitionSpec, dir string, found raftRemains, suffix string) (*shardLog, error) {
	key := journal.Key{Shard: spec.Shard, Replica: spec.Replica}
	o := h.shardOptions(&spec)
	end, epoch, logStart, err := h.readablePrefix(o, dir, found)
	if err != nil {
		return nil, fmt.Errorf("salvage %s: %w", dir, err)
	}
	hard := journal.HardState{Vote: spec.Replica, Commit: found.index + 2, Term: found.term} // never an index that was in use
	hard.Term = max(hard.Term, Term(epoch&(1<<generationShift-1))) + 1                       //nolint:gosec // epochs are not negative
	if err := h.writeSalvaged(spec, dir, hard, end, logStart); err != nil {
		return nil, err
	}
	if err := h.setAsideWhere(dir, suffix, func(n string) bool { return strings.HasSuffix(n, ".raft") }); err != nil {
		return nil, err
	}
	pending := &journal.Pending{Key: key, Hard: hard, HasHard: true, Sync: journal.SyncPoint{Segment: end.Segment, Pos: end.Pos}}
	s, err := recoverShard(o, dir, func(journal.Key) *journal.Pending { return pending })
	if err != nil {
		return nil, err
	}
	return s, h.saveHard(s, hard)
}

// raftRemains is what the damaged Raft side of a replica still tells.
type raftRemains struct {
	term     Term  // the highest seen
	index    Index // the highest seen
	logStart record.Offset
	runs     []journal.Run
}

// remains collects it from replica.json, .raft and the journal, as far as each can be read.
func (h *Host) remains(dir string, key journal.Key) (raftRemains, error) {
	out := raftRemains{logStart: record.NoOffset}
	if f, err := readReplicaFile(h.opts.FS, dir); err == nil {
		out.term, out.index, out.logStart = f.Term, f.Index, f.LogStart
	}
	names, err := h.opts.FS.ReadDir(dir)
	if err != nil {
		return out, fmt.Errorf("list %s: %w", dir, err)
	}
	for _, n := range names {
		base, err := strconv.ParseInt(strings.TrimSuffix(n, ".raft"), 10, 64)
		if !strings.HasSuffix(n, ".raft") || err != nil {
			continue
		}
		recs, _, err := raftfile.Read(h.opts.FS, dir, record.Offset(base))
		if err != nil {
			return out, err
		}
		out.add(recs)
	}
	if p := h.pendingOf(key); p != nil {
		out.term, out.index = max(out.term, p.Hard.Term), max(out.index, p.Hard.Commit)
		if !p.Suspect {
			out.index = max(out.index, p.Checkpoint)
		}
		out.add(p.Entries)
		out.runs = p.Runs
	}
	return out, nil
}

func (m *raftRemains) add(recs []raftfile.Entry) {
	for i := range recs {
		r := &recs[i]
		m.term, m.index = max(m.term, r.Term), max(m.index, r.Index)
		if r.Kind != raftfile.KindCommand {
			continue
		}
		if t, arg, err := decodeCommand(r.Payload); err == nil && t == commandLogStart {
			m.logStart = max(m.logStart, min(record.Offset(arg), r.Next))
		}
	}
}

// setAsideWhere renames the files for which want says so.
func (h *Host) setAsideWhere(dir, suffix string, want func(name string) bool) error {
	names, err := h.opts.FS.ReadDir(dir)
	if err != nil {
		return fmt.Errorf("list %s: %w", dir, err)
	}
	for _, n := range names {
		if !want(n) {
			continue
		}
		if err := h.opts.FS.Rename(filepath.Join(dir, n), filepath.Join(dir, asideName(names, n, suffix))); err != nil {
			return fmt.Errorf("set aside: %w", err)
		}
	}
	if err := h.opts.FS.SyncDir(dir); err != nil {
		return fmt.Errorf("set aside: %w", err)
	}
	return nil
}

// asideName is a name for a file that none has that was set aside before.
func asideName(names []string, name, suffix string) string {
	out := name + suffix
	for i := 1; slices.Contains(names, out); i++ {
		out = fmt.Sprintf("%s.%d%s", name, i, suffix)
	}
	return out
}

// readablePrefix finds where the readable part of the segments ends and cuts them there, after what lies behind the damage
// has been set aside. What the journal carries of small appends is written to its place before.
func (h *Host) readablePrefix(o shardOptions, dir string, found raftRemains) (commitlog.End, record.LeaderEpoch, record.Offset, error) {
	for {
		end, log, err := h.cutAtDamage(o, dir, found)
		var damage *commitlog.CorruptionError
		if errors.As(err, &damage) {
			// A closed segment: those behind it go aside, and it is the last one.
			bad := filepath.Base(damage.Path)
			moved := 0
			err2 := h.setAsideWhere(dir, asideSuffix, func(n string) bool {
				// partition.metadata is made again from the specification.
				aside := strings.HasSuffix(bad, ".log") && strings.HasSuffix(n, ".log") && n > bad || n == bad && n == metadataFileName
				if aside {
					moved++
				}
				return aside
			})
			if moved > 0 || err2 != nil {
				err = err2
			}
			if err == nil && moved > 0 {
				continue
			}
		}
		if err != nil {
			return commitlog.End{}, 0, 0, err
		}
		epoch, start := max(log.LatestEpoch(), 0), log.LogStart()
		if err := errors.Join(log.Sync(), log.Close()); err != nil {
			return commitlog.End{}, 0, 0, fmt.Errorf("cut: %w", err)
		}
		return end, epoch, start, nil
	}
}

// cutAtDamage opens the segments up to the first damage in the last one.
func (h *Host) cutAtDamage(o shardOptions, dir string, found raftRemains) (commitlog.End, *commitlog.Log, error) {
	files, err := commitlog.OpenRecovery(dir, o.log)
	if err != nil {
		return commitlog.End{}, nil, fmt.Errorf("open: %w", err)
	}
	for _, run := range found.runs {
		// A run behind a hole is of no use.
		if err := files.WriteAt(run.Segment, run.Pos, run.Bytes); err != nil && !errors.Is(err, commitlog.ErrCorrupt) {
			return commitlog.End{}, nil, errors.Join(err, files.Close())
		}
	}
	end, err := files.ScanEnd()
	segs, start := files.Segments(), found.logStart
	torn := err == nil && len(segs) > 0 && segs[len(segs)-1].Size > end.Pos // perhaps the last batch is the damaged one
	if torn || errors.Is(err, commitlog.ErrCorrupt) {
		err = h.copyAside(dir, fmt.Sprintf("%020d.log", end.Segment))
	}
	if err != nil {
		return commitlog.End{}, nil, errors.Join(err, files.Close())
	}
	if len(segs) > 0 {
		start = max(start, segs[0].Base)
	}
	log, err := files.Finish(end, max(min(start, end.Next), 0))
	if err != nil {
		return commitlog.End{}, nil, fmt.Errorf("cut: %w", err)
	}
	return end, log, nil
}

func (h *Host) copyAside(dir, name string) error {
	b, err := vfs.ReadFile(h.opts.FS, filepath.Join(dir, name))
	if err != nil {
		return err
	}
	names, err := h.opts.FS.ReadDir(dir)
	if err != nil {
		return fmt.Errorf("list %s: %w", dir, err)
	}
	return vfs.WriteFileAtomic(h.opts.FS, dir, asideName(names, name, asideSuffix), b)
}

// writeSalvaged writes the replica.json of a Raft log that begins behind hard.Commit.
func (h *Host) writeSalvaged(spec PartitionSpec, dir string, hard journal.HardState, end commitlog.End, logStart record.Offset) error {
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
func (h *Host) saveHard(s *shardLog, hard journal.HardState) error {
	return h.journal.Commit(&journal.Request{Durable: true, Saves: []*journal.Save{{
		Shard: s, Durable: true, Record: journal.Record{Key: s.key, Hard: &hard, Checkpoint: hard.Commit, Sync: s.SyncedTo()},
	}}})
}
