package dledger

import (
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/stelemq/stele/commitlog"
	"github.com/stelemq/stele/dledger/journal"
	"github.com/stelemq/stele/internal/vfs"
)

// deleteSuffix marks directories on their way out, as Kafka does.
const deleteSuffix = "-delete"

// recover replays the journal, brings every replica up to date that the journal has news of, and begins a fresh
// journal file.
func (h *Host) recover() error {
	start := time.Now()
	replay, err := journal.Replay(h.opts.FS, h.journalDir())
	if err != nil {
		return err
	}
	if d := replay.Damage; d != nil {
		if err := h.setAside(d, replay); err != nil {
			return err
		}
	}
	h.replay = replay
	dirs, unreadable, err := h.replicaDirs()
	if err != nil {
		return err
	}
	here := make(map[journal.Key]bool, len(dirs))
	var busy []string
	for dir, key := range dirs {
		here[key] = true
		if replay.Damage != nil && replay.Shards[key] == nil {
			replay.Shards[key] = &journal.Pending{Key: key, Suspect: true}
		}
		if p := replay.Shards[key]; p != nil && (len(p.Entries) > 0 || p.Truncate > 0) {
			busy = append(busy, dir)
		}
	}
	for k := range replay.Shards {
		switch {
		case here[k]:
		case unreadable: // it may be the one that cannot be read
			replay.Shards[k].Suspect = true
		default:
			delete(replay.Shards, k) // deleted
		}
	}
	if err := h.recoverAll(busy); err != nil {
		return err
	}
	if err := h.openJournal(replay); err != nil {
		return err
	}
	h.metrics.recovery.Set(time.Since(start).Seconds())
	if len(busy) > 0 {
		h.logger.Info("recovered", "partitions", len(busy), "duration", time.Since(start))
	}
	return nil
}

// setAside keeps a damaged journal file for whoever wants to look at it; its readable prefix is used.
func (h *Host) setAside(d *journal.DamageError, replay *journal.Replayed) error {
	h.logger.Error("journal is damaged", "path", d.Path, "position", d.Pos, "error", d.Err)
	h.metrics.corrupt.Inc()
	b, err := vfs.ReadFile(h.opts.FS, d.Path)
	if err != nil {
		return err
	}
	name := fmt.Sprintf("%s.%d.corrupt", filepath.Base(d.Path), replay.Last)
	return vfs.WriteFileAtomic(h.opts.FS, h.journalDir(), name, b)
}

// replicaDirs finds the partition directories and the replica that each belongs to, and finishes deletions. unreadable: there
// are directories with records that do not say whose.
func (h *Host) replicaDirs() (out map[string]journal.Key, unreadable bool, err error) {
	names, err := h.opts.FS.ReadDir(h.opts.Dir)
	if err != nil {
		return nil, false, fmt.Errorf("list %s: %w", h.opts.Dir, err)
	}
	out = make(map[string]journal.Key)
	for _, n := range names {
		dir := filepath.Join(h.opts.Dir, n)
		if strings.HasSuffix(n, deleteSuffix) {
			if err := h.opts.FS.RemoveAll(dir); err != nil {
				return nil, false, fmt.Errorf("finish deletion: %w", err)
			}
			continue
		}
		if outOfTheWay(n) {
			continue
		}
		fi, err := h.opts.FS.Stat(dir)
		if err != nil {
			return nil, false, fmt.Errorf("stat %s: %w", dir, err)
		}
		if !fi.IsDir() {
			continue
		}
		f, err := readReplicaFile(h.opts.FS, dir)
		if notExist(err) {
			found, err := h.holdsSegments(dir)
			if err != nil {
				return nil, false, err
			}
			unreadable = unreadable || found
			continue
		}
		if err != nil {
			if !damaged(err) {
				return nil, false, err
			}
			unreadable = true
			h.logger.Error("replica cannot be read", "dir", dir, "error", err)
			continue
		}
		out[dir] = journal.Key{Shard: f.Shard, Replica: f.Replica}
	}
	return out, unreadable, nil
}

// recoverAll recovers several replicas at once. A damaged one does not keep the others from starting: it is reported
// when it is to be started.
func (h *Host) recoverAll(dirs []string) error {
	var (
		mu    sync.Mutex
		errs  error
		wg    sync.WaitGroup
		slots = make(chan struct{}, 8)
	)
	for _, dir := range dirs {
		slots <- struct{}{}
		wg.Go(func() {
			defer func() { <-slots }()
			s, err := recoverShard(h.shardOptions(nil), dir, h.pendingOf)
			mu.Lock()
			defer mu.Unlock()
			switch {
			case err == nil:
				h.recovered[s.key] = s
				h.forgetPending(s.key)
			case damaged(err):
				h.suspect(dir)
				h.logger.Error("replica is damaged", "dir", dir, "error", err)
				h.metrics.corrupt.Inc()
			default:
				errs = errors.Join(errs, err)
			}
		})
	}
	wg.Wait()
	return errs
}

// pendingOf is what the journal has of a shard that is about to be opened: what replay found, or, if the shard has been
// open since, what the journal remembers.
func (h *Host) pendingOf(k journal.Key) *journal.Pending {
	h.mu.Lock()
	p := h.replay.Shards[k]
	h.mu.Unlock()
	if p == nil && h.journal != nil {
		p = h.journal.Known(k)
	}
	return p
}

// forgetPending drops what replay found of a shard once its files have it. It must not be merged a second time, over
// what has been written since.
func (h *Host) forgetPending(k journal.Key) {
	h.mu.Lock()
	defer h.mu.Unlock()
	delete(h.replay.Shards, k)
}

// suspect keeps a damaged replica from being taken for a shorter one at the next start, when the journal has forgotten what
// it had of it.
func (h *Host) suspect(dir string) {
	f, err := readReplicaFile(h.opts.FS, dir)
	if err != nil {
		return
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	if p := h.replay.Shards[journal.Key{Shard: f.Shard, Replica: f.Replica}]; p != nil {
		p.Suspect = true
	}
}

func (h *Host) openJournal(replay *journal.Replayed) error {
	o := journal.Options{
		FS: h.opts.FS, Dir: h.journalDir(), Size: h.journalFileBytes(), Fatal: h.opts.Fatal,
		Hooks: journal.Hooks{Fsync: h.metrics.observeFsync, Frame: h.opts.frames},
	}
	j, err := journal.Open(o, replay)
	if err != nil {
		return err
	}
	for k, s := range h.recovered {
		j.Adopt(k, s.hardNow(), s.checkpointed, s.SyncedTo())
	}
	h.journal = j
	return j.Begin(replay)
}

// shardOptions are those of a replica's files; spec is nil while only recovering.
func (h *Host) shardOptions(spec *PartitionSpec) shardOptions {
	o := shardOptions{fs: h.opts.FS, logger: h.logger, reach: h.opts.reach, log: commitlog.Options{
		FS: h.opts.FS, Logger: h.logger, Files: h.files,
	}}
	if spec != nil {
		o.log.Topic, o.log.Partition, o.log.TopicID = spec.Topic, spec.Partition, spec.TopicID
		o.log.Config = logConfig(spec.Config)
	}
	return o
}

func logConfig(c LogConfig) commitlog.Config {
	if c.Compact && c.MaxCompactionLag > 0 && c.SegmentAge > 0 {
		c.SegmentAge = min(c.SegmentAge, c.MaxCompactionLag) // what is being written to is not compacted
	}
	return commitlog.Config{
		SegmentBytes: c.SegmentBytes, SegmentAge: c.SegmentAge, SegmentJitter: c.SegmentJitter, IndexIntervalBytes: c.IndexIntervalBytes,
		MaxIndexBytes: c.MaxIndexBytes, DeleteDelay: c.FileDeleteDelay,
	}
}

// configure makes the shard's log follow a topic's settings.
func (s *shardLog) configure(c LogConfig) {
	s.mu.Lock()
	s.flushEvery = c.FlushMessages
	s.mu.Unlock()
	s.log.SetConfig(logConfig(c))
}

// close closes the shard's files; what the journal has of it must have been checkpointed.
func (s *shardLog) close() error {
	s.ckptMu.Lock()
	defer s.ckptMu.Unlock()
	s.mu.Lock()
	gone := s.gone
	s.gone = true
	s.mu.Unlock()
	if gone {
		return nil
	}
	if err := errors.Join(s.writer.Close(), s.log.Close()); err != nil {
		return fmt.Errorf("close %s: %w", s.dir, err)
	}
	return nil
}
