package dledger

import (
	"errors"
	"fmt"
	"path/filepath"
	"syscall"

	"github.com/stelemq/stele/commitlog"
	"github.com/stelemq/stele/dledger/journal"
)

// Damage that is found while a replica runs, or when it starts: bytes that do not check, or that the disk does not give. A
// partition's only voter goes on with what can be read (salvage.go). Any other replica is condemned: from that moment it
// says nothing to the others and hears nothing from them, so that it neither votes nor counts as holding anything; its
// Raft group is stopped, and replica.json says that it is damaged, so that it stays so. Under a new replica id it is fetched
// anew from the others (Host.ReplaceDamaged); its old one may have voted and acknowledged what it cannot show any more.

// damagedDirName is where damaged files of replaced replicas are kept, below the log directory.
const damagedDirName = "damaged"

// unreadable reports whether an error of reading says that a replica cannot give what it should hold.
func unreadable(err error) bool { return damaged(err) || errors.Is(err, syscall.EIO) }

// condemned reports whether the shard's replica has been found damaged.
func (s *shardLog) condemned() bool { return s.bad.Load() }

// condemn takes a replica out of its partition if err says that it is damaged and others have votes; it reports whether the
// replica is out.
func (s *shardLog) condemn(err error) bool {
	if s.bad.Load() {
		return true
	}
	if !unreadable(err) {
		return false
	}
	s.mu.RLock()
	o := s.observer
	s.mu.RUnlock()
	return o != nil && o.damaged(err)
}

// damaged implements shardObserver. It may be called with the shard's lock held.
func (p *Partition) damaged(err error) bool {
	others := false
	for _, m := range p.roster.Load().members {
		others = others || m.voter && m.replica != p.shard.key.Replica
	}
	if !others {
		return false
	}
	if p.shard.bad.Swap(true) {
		return true
	}
	p.host.metrics.corrupt.Inc()
	p.logger.Error("replica is damaged: it is taken out and must be fetched again from the others", "error", err)
	p.host.begin(func() { p.host.takeDown(p, err) })
	return true
}

// takeDown stops a condemned replica, and tells.
func (h *Host) takeDown(p *Partition, cause error) {
	if err := p.endCatchUp(); err != nil {
		p.logger.Warn("damaged replica", "error", err)
	}
	p.close()
	p.raftNode.Store(-1)
	if h.shutDamaged(p, cause) {
		h.tellDamaged(p.spec, cause)
	}
}

// shutDamaged reports false if the partition has been stopped or deleted meanwhile.
func (h *Host) shutDamaged(p *Partition, cause error) bool {
	p.unloadMu.Lock()
	defer p.unloadMu.Unlock()
	if p.unloaded {
		return false
	}
	if err := h.unload(p); err != nil {
		p.logger.Error("damaged replica", "error", err)
		return false
	}
	p.unloaded = true
	s := p.shard
	h.journal.Forget(s)
	if err := s.close(); err != nil {
		p.logger.Warn("damaged replica", "error", err)
	}
	if err := markDamaged(s, cause); err != nil {
		_ = h.journal.Fail(err) // it would start again as if nothing were wrong
		return false
	}
	return true
}

// markDamaged makes replica.json say so.
func markDamaged(s *shardLog, cause error) error {
	f := s.file
	f.Damaged = cause.Error()
	var c *commitlog.CorruptionError
	if errors.As(cause, &c) {
		f.DamagedFile = filepath.Base(c.Path)
	}
	return writeReplicaFile(s.fs, s.dir, &f)
}

// noteDamage has replica.json say what was found damaged at the start, where others can replace the replica: so that it stays
// damaged, and the file is kept.
func (h *Host) noteDamage(spec PartitionSpec, cause error) {
	if len(spec.Members) == 1 && !spec.Join {
		return
	}
	dir := h.partitionDir(spec)
	f, err := readReplicaFile(h.opts.FS, dir)
	if err != nil || f.Shard != spec.Shard || f.Replica != spec.Replica || f.Damaged != "" {
		return
	}
	f.Damaged = cause.Error()
	var c *commitlog.CorruptionError
	if errors.As(cause, &c) {
		f.DamagedFile = filepath.Base(c.Path)
	}
	if err := writeReplicaFile(h.opts.FS, dir, f); err != nil {
		h.logger.Error("damaged replica is not marked", "dir", dir, "error", err)
	}
}

func (h *Host) tellDamaged(spec PartitionSpec, err error) {
	if h.opts.Damaged != nil {
		h.opts.Damaged(spec, err)
	}
}

// unloadOnce stops a partition's Raft group unless that has been done.
func (h *Host) unloadOnce(p *Partition) error {
	p.unloadMu.Lock()
	defer p.unloadMu.Unlock()
	if p.unloaded {
		return nil
	}
	if err := h.unload(p); err != nil {
		return err
	}
	p.unloaded = true
	return nil
}

// ReplaceDamaged makes way for a new replica of a partition whose old one here is damaged, started or not. Only the cluster's
// metadata may decide that: it has given the new one an id that was never used, and drops the old one from the group. The
// damaged file is kept below damaged/, the others go. Follow it by StartPartition with PartitionSpec.Join.
func (h *Host) ReplaceDamaged(old PartitionSpec) error {
	h.mu.Lock()
	p := h.partitions[old.Shard]
	h.mu.Unlock()
	if p != nil && p.spec.Replica != old.Replica {
		return fmt.Errorf("dledger: shard %d runs as replica %d, not %d", old.Shard, p.spec.Replica, old.Replica)
	}
	dir := h.partitionDir(old)
	f, err := readReplicaFile(h.opts.FS, dir)
	if err == nil && (f.Shard != old.Shard || f.Replica != old.Replica) {
		return nil // it has been replaced
	}
	if err == nil && f.DamagedFile != "" {
		if err := h.keepDamaged(dir, old, f.DamagedFile); err != nil {
			return err
		}
	}
	if p != nil {
		return h.DeletePartition(old)
	}
	if _, err := h.opts.FS.Stat(dir); notExist(err) {
		return nil
	}
	return h.discard(dir, journal.Key{Shard: old.Shard, Replica: old.Replica})
}

// keepDamaged links a file to where it stays.
func (h *Host) keepDamaged(dir string, spec PartitionSpec, name string) error {
	to := filepath.Join(h.opts.Dir, damagedDirName)
	if err := h.opts.FS.MkdirAll(to); err != nil {
		return fmt.Errorf("keep damaged file: %w", err)
	}
	to = filepath.Join(to, fmt.Sprintf("%s.%d.%d.%s", filepath.Base(dir), spec.Shard, spec.Replica, name))
	if _, err := h.opts.FS.Stat(to); err == nil {
		return nil
	}
	if err := h.opts.FS.Link(filepath.Join(dir, name), to); err != nil && !notExist(err) {
		return fmt.Errorf("keep damaged file: %w", err)
	}
	return nil
}
