package dledger

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"time"

	"github.com/lni/dragonboat/v4"
	"github.com/lni/dragonboat/v4/config"
	pb "github.com/lni/dragonboat/v4/raftpb"
	sm "github.com/lni/dragonboat/v4/statemachine"

	"github.com/stelemq/stele/commitlog"
	"github.com/stelemq/stele/dledger/journal"
)

// StartPartition opens or creates a replica's files and starts its Raft group. A group with a single voter is led by this
// node within milliseconds. Errors: ErrCorrupt or commitlog's *CorruptionError (the replica is damaged),
// ErrUnsupportedVersion, ErrClosed. A partition that is started already, as this shard or another, is an error, too: its
// files are left alone.
func (h *Host) StartPartition(ctx context.Context, spec PartitionSpec) (*Partition, error) {
	if err := h.reserve(spec); err != nil {
		return nil, err
	}
	p, err := h.start(spec)
	if err != nil {
		if unreadable(err) {
			h.noteDamage(spec, err)
		}
		h.unregister(spec)
		if unreadable(err) {
			h.tellDamaged(spec, err)
		}
		return nil, err
	}
	_ = ctx
	return p, nil
}

func (h *Host) start(spec PartitionSpec) (*Partition, error) {
	s, err := h.openShard(spec)
	if err != nil {
		return nil, err
	}
	p := newPartition(h, spec, s)
	s.mu.Lock()
	s.observer = p
	s.mu.Unlock()
	h.db.add(s)
	if err := h.register(p); err != nil {
		h.db.remove(s)
		return nil, errors.Join(err, s.close())
	}
	if err := h.startShard(p); err != nil {
		h.db.remove(s)
		return nil, errors.Join(err, s.close())
	}
	if r := p.roster.Load(); r.voters() == 1 && r.members[0].replica == spec.Replica {
		h.tasks.Go(func() { h.campaign(p) })
	} else if p.fresh.Load() && spec.Replica == r.members[0].replica {
		h.tasks.Go(func() { h.found(p) })
	}
	return p, nil
}

// reserve makes sure that nobody else opens the partition's directory, before it is opened: recovery cuts files.
func (h *Host) reserve(spec PartitionSpec) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.closed {
		return ErrClosed
	}
	dir := h.partitionDir(spec)
	if shard, ok := h.dirs[dir]; ok {
		return fmt.Errorf("%w: %s by shard %d", ErrInUse, dir, shard)
	}
	h.dirs[dir] = spec.Shard
	return nil
}

func (h *Host) register(p *Partition) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.closed {
		return ErrClosed
	}
	if h.partitions[p.spec.Shard] != nil {
		return fmt.Errorf("dledger: shard %d is already started", p.spec.Shard)
	}
	h.partitions[p.spec.Shard] = p
	h.changes.Add(1)
	return nil
}

// unregister forgets a partition, after its files have been closed.
func (h *Host) unregister(spec PartitionSpec) {
	h.mu.Lock()
	defer h.mu.Unlock()
	dir := h.partitionDir(spec)
	if h.dirs[dir] != spec.Shard {
		return
	}
	delete(h.dirs, dir)
	delete(h.partitions, spec.Shard)
	h.changes.Add(1)
}

func (h *Host) partitionDir(spec PartitionSpec) string {
	return filepath.Join(h.opts.Dir, fmt.Sprintf("%s-%d", spec.Topic, spec.Partition))
}

// openShard finds the replica among those that were recovered, opens its directory, or makes one. A directory that
// belongs to another shard is in the way (makeWay).
func (h *Host) openShard(spec PartitionSpec) (*shardLog, error) {
	key := journal.Key{Shard: spec.Shard, Replica: spec.Replica}
	dir := h.partitionDir(spec)
	if s := h.takeRecovered(key); s != nil {
		if err := h.checkTopic(&spec, dir); err != nil {
			return nil, errors.Join(err, s.close())
		}
		return s, nil
	}
	file, err := readReplicaFile(h.opts.FS, dir)
	if notExist(err) {
		if err = h.mustBeEmpty(dir); err == nil {
			return createShard(h.shardOptions(&spec), dir, key, spec.Generation)
		}
	}
	var s *shardLog
	switch {
	case err == nil && file.Shard == spec.Shard && file.Replica > spec.Replica:
		return nil, fmt.Errorf("%w: %s holds replica %d, later than %d", ErrOldGeneration, dir, file.Replica, spec.Replica)
	case err == nil && file.Shard == spec.Shard && file.Replica < spec.Replica:
		// It was replaced while it was down: what it has promised ended with it.
		if err := h.discard(dir, journal.Key{Shard: file.Shard, Replica: file.Replica}); err != nil {
			return nil, err
		}
		return createShard(h.shardOptions(&spec), dir, key, spec.Generation)
	case err == nil && succeeds(&spec, file):
		return h.adopt(spec, dir, file)
	case err == nil && file.Shard != spec.Shard:
		if err := h.makeWay(&spec, dir, file); err != nil {
			return nil, err
		}
		return createShard(h.shardOptions(&spec), dir, key, spec.Generation)
	case err == nil:
		if err = h.checkTopic(&spec, dir); err == nil {
			s, err = recoverShard(h.shardOptions(&spec), dir, h.pendingOf)
		}
	}
	if damaged(err) && len(spec.Members) == 1 && !spec.Join {
		s, err = h.salvage(spec, dir, err)
	}
	if err == nil {
		h.forgetPending(key)
	}
	return s, err
}

// checkTopic takes a replica for damaged whose partition.metadata names another topic than is expected, while its replica.json,
// which has a checksum, says that it is this one. Where nobody else has the partition it is left to the operator.
func (h *Host) checkTopic(spec *PartitionSpec, dir string) error {
	id, err := commitlog.TopicID(h.opts.FS, dir)
	if err != nil || id == spec.TopicID || spec.TopicID == [16]byte{} || len(spec.Members) == 1 && !spec.Join {
		return nil //nolint:nilerr // opening it says what is wrong
	}
	return fmt.Errorf("%w: %s belongs to another topic by its partition.metadata", ErrCorrupt, dir)
}

// takeRecovered hands over a replica that was recovered when the host was opened; nil if it was not.
func (h *Host) takeRecovered(key journal.Key) *shardLog {
	h.mu.Lock()
	defer h.mu.Unlock()
	s := h.recovered[key]
	delete(h.recovered, key)
	return s
}

// mustBeEmpty refuses a directory that holds records and does not say whose: to begin a new log there would cut them.
func (h *Host) mustBeEmpty(dir string) error {
	found, err := h.holdsSegments(dir)
	if err == nil && found {
		err = fmt.Errorf("%w: %s has segments and no %s", ErrCorrupt, dir, replicaFileName)
	}
	return err
}

func (h *Host) holdsSegments(dir string) (bool, error) {
	names, err := h.opts.FS.ReadDir(dir)
	if notExist(err) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("list %s: %w", dir, err)
	}
	for _, n := range names {
		if !strings.HasSuffix(n, ".log") {
			continue
		}
		fi, err := h.opts.FS.Stat(filepath.Join(dir, n))
		if err != nil {
			return false, fmt.Errorf("list %s: %w", dir, err)
		}
		if fi.Size() > 0 {
			return true, nil
		}
	}
	return false, nil
}

// damaged reports whether an error says that stored bytes are not what was written.
func damaged(err error) bool {
	return errors.Is(err, ErrCorrupt) || errors.Is(err, commitlog.ErrCorrupt)
}

func (h *Host) startShard(p *Partition) error {
	spec := p.spec
	members := map[uint64]string{}
	p.shard.mu.RLock()
	started, fresh := p.shard.file.Bootstrap != "", !p.shard.hasHard
	// What counts is the membership that Raft starts from, not the newest: it carries out again what the log says of
	// changes since, and one that makes a voter a learner ends the process.
	_, votes := p.shard.snapshot.Membership.Addresses[uint64(spec.Replica)]
	bootstrap := p.shard.file.Bootstrap
	p.shard.mu.RUnlock()
	if started && !votes {
		// Raft starts from the very beginning, where a founder has its vote from: whatever the metadata says by now.
		var b pb.Bootstrap
		if err := fromBase64(bootstrap, &b); err != nil {
			return err
		}
		votes = !b.Join
	}
	if !started && !spec.Join {
		for r, n := range spec.Members {
			members[uint64(r)] = nodeTarget(n)
		}
	}
	for r, n := range spec.Members {
		h.registry.Add(uint64(spec.Shard), uint64(r), nodeTarget(n))
	}
	c := config.Config{
		ShardID: uint64(spec.Shard), ReplicaID: uint64(spec.Replica), CheckQuorum: true, PreVote: true,
		ElectionRTT: electionTicks, HeartbeatRTT: heartbeatTicks, IsNonVoting: spec.Join && !votes,
	}
	p.fresh.Store(fresh && !spec.Join)
	h.events.begin(spec.Shard)
	if h.lostCache && !fresh && !spec.Config.Durable() && p.roster.Load().voters() > 1 {
		p.quarantined.Store(true)
		p.logger.Warn("the machine went down without a shutdown, and this topic does not sync what it acknowledges: the replica does not vote until it has caught up")
	}
	p.began.Store(monotonic())
	create := func(uint64, uint64) sm.IOnDiskStateMachine { return &partitionSM{p.shard} }
	if err := h.nodes.StartOnDiskReplica(members, spec.Join && !started, create, c); err != nil {
		return fmt.Errorf("start shard %d: %w", spec.Shard, err)
	}
	user, err := h.nodes.GetNodeUser(uint64(spec.Shard))
	if err != nil {
		return fmt.Errorf("start shard %d: %w", spec.Shard, err)
	}
	p.mu.Lock()
	p.user = user
	p.mu.Unlock()
	return nil
}

// campaign makes the only voter of a group stand for election until it leads: at first it may have to
// apply what was committed before.
func (h *Host) campaign(p *Partition) {
	for wait := time.Millisecond; !p.isLeader.Load(); wait = min(2*wait, 50*time.Millisecond) {
		p.mu.Lock()
		closed, leads := p.closed, p.raftLeader == p.shard.key.Replica
		p.mu.Unlock()
		if closed || leads {
			return
		}
		h.campaignNow(p.spec.Shard, p.spec.Replica)
		if !pause(h.ctx, wait) {
			return
		}
	}
}

// found makes the first replica of a new group its leader without waiting for an election timeout, as soon as the others
// are there. It gives up after a few attempts: each takes a term.
func (h *Host) found(p *Partition) {
	const attempts, wait = 8, 20 * time.Millisecond
	for range attempts {
		p.mu.Lock()
		over := p.closed || p.raftLeader != 0
		p.mu.Unlock()
		if over {
			return
		}
		h.campaignNow(p.spec.Shard, p.spec.Replica)
		if !pause(h.ctx, wait) {
			return
		}
	}
}

// pause waits and reports false if ctx has ended.
func pause(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-t.C:
		return true
	}
}

// started returns the replica that runs, nil where it does not.
func (h *Host) started(spec PartitionSpec) *Partition {
	h.mu.RLock()
	defer h.mu.RUnlock()
	if p := h.partitions[spec.Shard]; p != nil && p.spec.Replica == spec.Replica {
		return p
	}
	return nil
}

// StopPartition stops a replica and keeps its files.
func (h *Host) StopPartition(spec PartitionSpec) error {
	p := h.started(spec)
	if p == nil {
		return nil
	}
	if err := p.endCatchUp(); err != nil {
		return err
	}
	p.close()
	if err := h.unloadOnce(p); err != nil {
		return err
	}
	// What the journal has of the shard must stand in its files before they are closed.
	if err := h.journal.Checkpoint(); err != nil {
		return err
	}
	h.db.remove(p.shard)
	err := p.shard.close()
	h.unregister(p.spec)
	return err
}

// unload stops the Raft group and waits until no worker of dragonboat uses it any more.
func (h *Host) unload(p *Partition) error {
	gone := h.events.await(p.spec.Shard)
	// Where it is not found any more dragonboat has stopped it by itself: the replica was removed.
	if err := h.nodes.StopShard(uint64(p.spec.Shard)); err != nil && !errors.Is(err, dragonboat.ErrShardNotFound) {
		return fmt.Errorf("stop shard %d: %w", p.spec.Shard, err)
	}
	select {
	case <-gone:
		return nil
	case <-time.After(unloadTimeout):
		return fmt.Errorf("dledger: shard %d does not stop", p.spec.Shard)
	}
}

const unloadTimeout = 30 * time.Second

// DeletePartition stops a replica and removes its files. The directory is out of the way when it returns; the bytes go
// in the background, and at the next start if the process ends before.
func (h *Host) DeletePartition(spec PartitionSpec) error {
	p := h.started(spec)
	if p != nil {
		if err := p.endCatchUp(); err != nil {
			return err
		}
		p.close()
		if err := h.unloadOnce(p); err != nil {
			return err
		}
		h.journal.Forget(p.shard)
		h.db.remove(p.shard)
		defer h.unregister(p.spec) // the directory is in use until it is out of the way
		h.metrics.deleted.WithLabelValues(deletedTopic).Add(float64(len(p.shard.log.Segments())))
		if err := p.shard.close(); err != nil {
			return err
		}
	}
	dir := h.partitionDir(spec)
	f, err := readReplicaFile(h.opts.FS, dir)
	if notExist(err) || err == nil && (f.Shard != spec.Shard || f.Replica != spec.Replica) {
		return nil // another's
	}
	return h.discard(dir, journal.Key{Shard: spec.Shard, Replica: spec.Replica})
}

// discard renames a directory out of the way, durably, and removes it in the background.
func (h *Host) discard(dir string, key journal.Key) error {
	// What was recovered and never started still has its files open; closing it later would write into a directory
	// that is another's by then.
	if s := h.takeRecovered(key); s != nil {
		h.journal.Forget(s)
		if err := s.close(); err != nil {
			return err
		}
	}
	h.forgetPending(key)
	away := fmt.Sprintf("%s.%d%s", dir, key.Shard, deleteSuffix)
	if err := h.opts.FS.Rename(dir, away); err != nil {
		return fmt.Errorf("delete: %w", err)
	}
	if err := h.opts.FS.SyncDir(h.opts.Dir); err != nil {
		return fmt.Errorf("delete: %w", err)
	}
	h.tasks.Go(func() {
		if err := h.opts.FS.RemoveAll(away); err != nil {
			h.logger.Warn("directory of a deleted partition remains", "dir", away, "error", err)
		}
	})
	return nil
}
