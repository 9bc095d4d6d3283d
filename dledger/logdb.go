package dledger

import (
	"errors"
	"fmt"
	"sync"

	"github.com/lni/dragonboat/v4/config"
	"github.com/lni/dragonboat/v4/plugin/tan"
	"github.com/lni/dragonboat/v4/raftio"
	pb "github.com/lni/dragonboat/v4/raftpb"

	"github.com/stelemq/stele/dledger/journal"
)

// execShards is the number of dragonboat's step workers. It is part of its flag file and can never change.
const execShards = 32

// logDB is dragonboat's log storage: the partitions' entries live in their segment files and the journal, the
// metadata shard's in tan.
type logDB struct {
	meta    raftio.ILogDB
	mark    *markFile // of meta
	journal *journal.Journal
	fatal   func(error)
	metrics *metrics
	trimmed func()   // Raft has let go of entries
	lagRate throttle // of entries that are read for followers behind

	mu sync.RWMutex
	// mu guards:
	shards map[ShardID]*shardLog

	steps  [execShards + 1]stepState // one per worker: reused between calls
	stalls stalls
}

// stepState is a step worker's scratch space.
type stepState struct {
	request journal.Request
	saves   []*journal.Save
	shards  []*shardLog // of saves
	meta    []pb.Update
}

var _ raftio.ILogDB = (*logDB)(nil)

// logDBFactory hands the one logDB of a host to dragonboat.
type logDBFactory struct{ db *logDB }

const logDBName = "stele-segments"

func (f logDBFactory) Name() string { return logDBName }

func (f logDBFactory) Create(c config.NodeHostConfig, cb config.LogDBCallback, dirs, wals []string) (raftio.ILogDB, error) {
	m, err := tan.Factory.Create(c, cb, dirs, wals)
	if err != nil {
		return nil, fmt.Errorf("open the metadata log: %w", err)
	}
	f.db.meta = m
	return f.db, nil
}

func newLogDB(j *journal.Journal, fatal func(error), m *metrics) *logDB {
	return &logDB{journal: j, fatal: fatal, metrics: m, mark: &markFile{}, shards: make(map[ShardID]*shardLog)}
}

// noSavedLog reports whether an error says that a replica has saved nothing yet.
func noSavedLog(err error) bool { return errors.Is(err, raftio.ErrNoSavedLog) }

func (d *logDB) Name() string         { return logDBName }
func (d *logDB) BinaryFormat() uint32 { return raftio.PlainLogDBBinVersion }

// Close closes the metadata log only: the host closes the shards, after dragonboat.
func (d *logDB) Close() error {
	if d.meta == nil {
		return nil
	}
	return errors.Join(d.meta.Close(), d.mark.close())
}

func (d *logDB) add(s *shardLog) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.shards[s.key.Shard] = s
}

func (d *logDB) remove(s *shardLog) {
	d.mu.Lock()
	defer d.mu.Unlock()
	delete(d.shards, s.key.Shard)
}

// shard returns the log of a partition's shard, or nil for the metadata shard.
func (d *logDB) shard(id, replica uint64) (*shardLog, error) {
	if isMetadata(ShardID(id)) {
		return nil, nil //nolint:nilnil // the metadata shard has none
	}
	d.mu.RLock()
	s := d.shards[ShardID(id)]
	d.mu.RUnlock()
	if s == nil || s.key.Replica != ReplicaID(replica) {
		return nil, fmt.Errorf("dledger: shard %d replica %d is not here", id, replica)
	}
	return s, nil
}

func (d *logDB) ListNodeInfo() ([]raftio.NodeInfo, error) {
	out, err := d.meta.ListNodeInfo()
	if err != nil {
		return nil, err //nolint:wrapcheck // dragonboat's own error, to dragonboat
	}
	d.mu.RLock()
	defer d.mu.RUnlock()
	for _, s := range d.shards {
		out = append(out, raftio.NodeInfo{ShardID: uint64(s.key.Shard), ReplicaID: uint64(s.key.Replica)})
	}
	return out, nil
}

func (d *logDB) SaveBootstrapInfo(shard, replica uint64, b pb.Bootstrap) error {
	s, err := d.shard(shard, replica)
	if err != nil {
		return err
	}
	if s == nil {
		return d.meta.SaveBootstrapInfo(shard, replica, b) //nolint:wrapcheck // dragonboat's own error, to dragonboat
	}
	return s.saveBootstrap(b)
}

func (s *shardLog) saveBootstrap(b pb.Bootstrap) error {
	s.ckptMu.Lock()
	defer s.ckptMu.Unlock()
	enc, err := toBase64(&b)
	if err != nil {
		return err
	}
	f := s.file
	f.Bootstrap = enc
	if err := writeReplicaFile(s.fs, s.dir, &f); err != nil {
		return err
	}
	s.mu.Lock()
	s.file = f
	s.mu.Unlock()
	return nil
}

func (d *logDB) GetBootstrapInfo(shard, replica uint64) (pb.Bootstrap, error) {
	s, err := d.shard(shard, replica)
	if err != nil {
		return pb.Bootstrap{}, err
	}
	if s == nil {
		return d.meta.GetBootstrapInfo(shard, replica) //nolint:wrapcheck // dragonboat's own error, to dragonboat
	}
	s.mu.RLock()
	enc := s.file.Bootstrap
	s.mu.RUnlock()
	if enc == "" {
		return pb.Bootstrap{}, raftio.ErrNoBootstrapInfo
	}
	var b pb.Bootstrap
	err = fromBase64(enc, &b)
	return b, err
}

func (d *logDB) IterateEntries(ents []pb.Entry, size, shard, replica, low, high, maxSize uint64) ([]pb.Entry, uint64, error) {
	s, err := d.shard(shard, replica)
	if err != nil {
		return nil, 0, err
	}
	if s == nil {
		return d.meta.IterateEntries(ents, size, shard, replica, low, high, maxSize) //nolint:wrapcheck // dragonboat's own error
	}
	return s.iterate(ents, size, Index(low), Index(high), maxSize, d.lagRate)
}

func (d *logDB) ReadRaftState(shard, replica, lastIndex uint64) (raftio.RaftState, error) {
	s, err := d.shard(shard, replica)
	if err != nil {
		return raftio.RaftState{}, err
	}
	if s == nil {
		return d.meta.ReadRaftState(shard, replica, lastIndex) //nolint:wrapcheck // dragonboat's own error, to dragonboat
	}
	s.mu.RLock()
	defer s.mu.RUnlock()
	if !s.hasHard {
		return raftio.RaftState{}, raftio.ErrNoSavedLog
	}
	rs := raftio.RaftState{State: pb.State{
		Term: uint64(s.hard.Term), Vote: uint64(s.hard.Vote), Commit: max(uint64(s.hard.Commit), lastIndex),
	}}
	if uint64(s.last) > lastIndex {
		rs.FirstIndex, rs.EntryCount = lastIndex+1, uint64(s.last)-lastIndex
	}
	return rs, nil
}

// RemoveEntriesTo notes that Raft reads nothing up to an index any more. Entries go with their segments (trim.go).
func (d *logDB) RemoveEntriesTo(shard, replica, index uint64) error {
	s, err := d.shard(shard, replica)
	if err != nil {
		return err
	}
	if s != nil {
		s.mu.Lock()
		s.first = max(s.first, Index(index)+1)
		s.mu.Unlock()
		if d.trimmed != nil {
			d.trimmed()
		}
		return nil
	}
	return d.meta.RemoveEntriesTo(shard, replica, index) //nolint:wrapcheck // dragonboat's own error, to dragonboat
}

func (d *logDB) CompactEntriesTo(shard, replica, index uint64) (<-chan struct{}, error) {
	if s, err := d.shard(shard, replica); err != nil || s != nil {
		ch := make(chan struct{}, 1)
		ch <- struct{}{}
		return ch, err
	}
	return d.meta.CompactEntriesTo(shard, replica, index) //nolint:wrapcheck // dragonboat's own error, to dragonboat
}

func (d *logDB) SaveSnapshots(uds []pb.Update) error {
	for i := range uds {
		s, err := d.shard(uds[i].ShardID, uds[i].ReplicaID)
		if err != nil {
			return err
		}
		if s == nil {
			if err := d.mark.save([]pb.Update{{ShardID: uds[i].ShardID, ReplicaID: uds[i].ReplicaID, Snapshot: uds[i].Snapshot}}, func() error {
				return d.meta.SaveSnapshots(uds[i : i+1]) //nolint:wrapcheck // dragonboat's own error, to dragonboat
			}); err != nil {
				return err
			}
			continue
		}
		s.mu.Lock()
		if uds[i].Snapshot.Index > s.snapshot.Index {
			s.snapshot = uds[i].Snapshot
		}
		s.mu.Unlock()
	}
	return nil
}

func (d *logDB) GetSnapshot(shard, replica uint64) (pb.Snapshot, error) {
	s, err := d.shard(shard, replica)
	if err != nil {
		return pb.Snapshot{}, err
	}
	if s == nil {
		return d.meta.GetSnapshot(shard, replica) //nolint:wrapcheck // dragonboat's own error, to dragonboat
	}
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.snapshot, nil
}

// RemoveNodeData leaves a partition's files to Host.DeletePartition.
func (d *logDB) RemoveNodeData(shard, replica uint64) error {
	if s, err := d.shard(shard, replica); err != nil || s != nil {
		return err
	}
	return d.meta.RemoveNodeData(shard, replica) //nolint:wrapcheck // dragonboat's own error, to dragonboat
}

// ImportSnapshot is dragonboat's offline repair tool; partitions are recovered as new generations instead.
func (d *logDB) ImportSnapshot(ss pb.Snapshot, replica uint64) error {
	if s, err := d.shard(ss.ShardID, replica); err != nil || s != nil {
		return fmt.Errorf("dledger: a partition's snapshot cannot be imported: %w", err)
	}
	return d.meta.ImportSnapshot(ss, replica) //nolint:wrapcheck // dragonboat's own error, to dragonboat
}
