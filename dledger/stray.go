package dledger

import (
	"errors"
	"fmt"
	"path/filepath"
	"strings"

	"github.com/stelemq/stele/commitlog"
	"github.com/stelemq/stele/dledger/journal"
)

// straySuffix marks directories whose partition is not this node's any more, as Kafka does. Nobody opens or deletes them but
// the operator.
const straySuffix = "-stray"

// ReplicaDir is a replica whose files lie in the log directory.
type ReplicaDir struct {
	// Name of the directory: topic-partition.
	Name       string
	Shard      ShardID
	Replica    ReplicaID
	Generation int32
}

// IdleReplicas are the replicas on disk that are not started.
func (h *Host) IdleReplicas() ([]ReplicaDir, error) {
	names, err := h.opts.FS.ReadDir(h.opts.Dir)
	if err != nil {
		return nil, fmt.Errorf("list %s: %w", h.opts.Dir, err)
	}
	var out []ReplicaDir
	for _, name := range names {
		dir := filepath.Join(h.opts.Dir, name)
		if outOfTheWay(name) || h.inUse(dir) {
			continue
		}
		f, err := readReplicaFile(h.opts.FS, dir)
		if err != nil {
			continue // not a replica's, or damaged: found when it is to be started
		}
		out = append(out, ReplicaDir{Name: name, Shard: f.Shard, Replica: f.Replica, Generation: f.Generation})
	}
	return out, nil
}

// outOfTheWay reports whether a directory was renamed because its partition is no more, or not here any more.
func outOfTheWay(name string) bool {
	return strings.HasSuffix(name, deleteSuffix) || strings.HasSuffix(name, straySuffix)
}

func (h *Host) inUse(dir string) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	_, ok := h.dirs[dir]
	return ok
}

// SetAside renames the directory of a replica that is not started to name.shard-stray and returns its new name; nothing
// is deleted. A directory that is in use, or another replica's by now, is left alone: then it returns "".
func (h *Host) SetAside(r ReplicaDir) (string, error) {
	dir := filepath.Join(h.opts.Dir, r.Name)
	h.mu.Lock()
	_, busy := h.dirs[dir]
	if busy || h.closed {
		h.mu.Unlock()
		return "", nil
	}
	h.dirs[dir] = r.Shard
	h.mu.Unlock()
	defer func() {
		h.mu.Lock()
		delete(h.dirs, dir)
		h.mu.Unlock()
	}()
	f, err := readReplicaFile(h.opts.FS, dir)
	if notExist(err) || err == nil && (f.Shard != r.Shard || f.Replica != r.Replica) {
		return "", nil
	}
	if err != nil {
		return "", err
	}
	key := journal.Key{Shard: f.Shard, Replica: f.Replica}
	if p := h.pendingOf(key); p != nil && len(p.Entries) > 0 {
		return "", fmt.Errorf("%w: %s, and the journal has entries of it: it stays where it is", ErrCorrupt, dir)
	}
	return h.setReplicaAside(dir, key)
}

// setReplicaAside renames a directory that nobody else touches.
func (h *Host) setReplicaAside(dir string, key journal.Key) (string, error) {
	if s := h.takeRecovered(key); s != nil {
		if err := h.journal.Checkpoint(); err != nil { // what the journal has of it
			return "", errors.Join(err, s.close())
		}
		h.journal.Forget(s)
		if err := s.close(); err != nil {
			return "", err
		}
	}
	h.journal.ForgetKey(key)
	h.forgetPending(key)
	away := fmt.Sprintf("%s.%d%s", dir, key.Shard, straySuffix)
	if err := h.opts.FS.Rename(dir, away); err != nil {
		return "", fmt.Errorf("set aside: %w", err)
	}
	if err := h.opts.FS.SyncDir(h.opts.Dir); err != nil {
		return "", fmt.Errorf("set aside: %w", err)
	}
	return filepath.Base(away), nil
}

// makeWay takes away a directory that is in the way of a replica. What an older generation of the topic left is removed: its
// log is elsewhere. What another topic of the same name left is set aside: whether it is gone for good others know.
func (h *Host) makeWay(spec *PartitionSpec, dir string, file *replicaFile) error {
	if err := h.mayDiscard(spec, dir, file); err != nil {
		return err
	}
	old := journal.Key{Shard: file.Shard, Replica: file.Replica}
	if id, err := commitlog.TopicID(h.opts.FS, dir); err == nil && id == spec.TopicID {
		return h.discard(dir, old)
	}
	to, err := h.setReplicaAside(dir, old)
	if err == nil {
		h.logger.Warn("a directory of another topic of the same name was set aside", "topic", spec.Topic, "partition", spec.Partition, "dir", to)
	}
	return err
}
