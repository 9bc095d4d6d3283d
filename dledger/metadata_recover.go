package dledger

import (
	"context"
	"errors"
	"fmt"
	"math"
	"path/filepath"
	"sync/atomic"
	"time"

	"github.com/lni/dragonboat/v4/raftio"
	pb "github.com/lni/dragonboat/v4/raftpb"
)

// ErrNoMetadata: the directory has no replica of the cluster metadata that could be read.
var ErrNoMetadata = errors.New("dledger: no cluster metadata here")

// MetadataRemains is what a directory has of the cluster metadata.
type MetadataRemains struct {
	// Term and Last name the last entry of its log. Of several survivors the one with the greater term has what the others
	// have and more, of those with equal terms the one with the greater index.
	Term Term
	Last Index
	// Committed is how far it is known here that a majority had the log; what follows may have been committed, too.
	Committed Index
	// Voters and Learners, replica id to node id, by the entries up to Last.
	Voters, Learners map[ReplicaID]int32
}

// remainsTimeout bounds the wait for what is committed in the log to be applied.
const remainsTimeout = time.Minute

// ReadMetadata brings o.StateMachine, a new one, to the state that a stopped node's directory holds: the committed entries,
// and those behind them. It asks nobody and decides nothing. Partitions are not opened. Errors: ErrNoMetadata, vfs.ErrLocked.
func ReadMetadata(ctx context.Context, o Options) (MetadataRemains, error) {
	seen := &remainsSM{MetadataStateMachine: o.StateMachine}
	o.StateMachine = seen
	h, err := openMetadata(ctx, o)
	if err != nil {
		return MetadataRemains{}, err
	}
	r, err := h.readMetadata(ctx, seen)
	return r, errors.Join(err, h.Close())
}

// FoundMetadata makes a stopped node the only voter of a new metadata group, o.Metadata, and proposes its first command;
// it returns what Apply made of it. The group's log is durable when it returns; that the node belongs to it is for the caller
// to write down, so that a crash before leaves the node as it was. Errors: vfs.ErrLocked, ErrTimeout.
func FoundMetadata(ctx context.Context, o Options, command []byte) ([]byte, error) {
	h, err := openMetadata(ctx, o)
	if err != nil {
		return nil, err
	}
	var result []byte
	if err = h.startMetadata(); err == nil {
		result, err = h.Propose(ctx, command)
	}
	return result, errors.Join(err, h.Close())
}

// openMetadata opens a directory's metadata alone: no partition, no journal, nobody is reached. What the next start has
// to know of how the node ended is left as it is.
func openMetadata(ctx context.Context, o Options) (*Host, error) {
	o.Transport = nil
	h := newHost(ctx, o)
	var err error
	if h.unlock, err = h.opts.FS.Lock(filepath.Join(h.opts.Dir, ".lock")); err != nil {
		return nil, fmt.Errorf("lock %s: %w", h.opts.Dir, err)
	}
	h.db = newLogDB(nil, h.opts.Fatal, h.metrics)
	if h.db.mark, err = readMark(h.opts.Dir); err != nil {
		return nil, errors.Join(err, h.Close())
	}
	if err := h.startNodeHost(); err != nil {
		return nil, errors.Join(err, h.Close())
	}
	return h, nil
}

// readMetadata replays what tan has; the part that Raft knows to be committed by Raft itself, which reads the snapshots.
func (h *Host) readMetadata(ctx context.Context, seen *remainsSM) (MetadataRemains, error) {
	group, replica := uint64(h.metadataGroup()), uint64(h.metadata().Replica)
	if !h.nodes.HasNodeInfo(group, replica) {
		return MetadataRemains{}, fmt.Errorf("%w: %s has no replica %d of group %d", ErrNoMetadata, h.opts.Dir, replica, group)
	}
	l, err := readMetadataLog(h.db.meta, group, replica)
	if err != nil {
		return MetadataRemains{}, err
	}
	r, err := l.remains()
	if err != nil {
		return MetadataRemains{}, err
	}
	if err := h.startMetadata(); err != nil {
		return MetadataRemains{}, err
	}
	ctx, cancel := context.WithTimeout(ctx, remainsTimeout)
	defer cancel()
	for !seen.reached(l) {
		if !pause(ctx, time.Millisecond) {
			return MetadataRemains{}, fmt.Errorf("%w: metadata up to %d is not applied: %w", ErrTimeout, l.committed, context.Cause(ctx))
		}
	}
	if err := h.stopMetadata(); err != nil {
		return MetadataRemains{}, err
	}
	for i := range l.entries {
		e := &l.entries[i]
		if command, err := metadataCommand(e); err != nil {
			return MetadataRemains{}, err
		} else if command != nil && e.Index > max(l.committed, seen.applied.Load()) {
			seen.Apply(Index(e.Index), command)
		}
	}
	return r, nil
}

// metadataLog is what tan holds of a replica.
type metadataLog struct {
	bootstrap pb.Bootstrap
	snapshot  pb.Snapshot
	state     pb.State
	committed uint64
	entries   []pb.Entry // behind the snapshot
}

func readMetadataLog(db raftio.ILogDB, group, replica uint64) (*metadataLog, error) {
	l := &metadataLog{}
	var err error
	if l.bootstrap, err = db.GetBootstrapInfo(group, replica); err != nil {
		return nil, fmt.Errorf("%w: bootstrap record: %w", ErrNoMetadata, err)
	}
	if l.snapshot, err = db.GetSnapshot(group, replica); err != nil {
		return nil, fmt.Errorf("read the metadata's snapshot record: %w", err)
	}
	st, err := db.ReadRaftState(group, replica, l.snapshot.Index)
	if err != nil {
		return nil, fmt.Errorf("%w: read its state: %w", ErrNoMetadata, err)
	}
	l.state, l.committed = st.State, max(st.State.Commit, l.snapshot.Index)
	first := l.snapshot.Index + 1
	if l.entries, _, err = db.IterateEntries(nil, 0, group, replica, first, first+st.EntryCount, math.MaxUint64); err != nil {
		return nil, fmt.Errorf("read the metadata's log: %w", err)
	}
	if uint64(len(l.entries)) != st.EntryCount {
		return nil, fmt.Errorf("%w: metadata log: %d of %d entries behind %d", ErrCorrupt, len(l.entries), st.EntryCount, l.snapshot.Index)
	}
	return l, nil
}

func (l *metadataLog) remains() (MetadataRemains, error) {
	r := MetadataRemains{Term: Term(l.snapshot.Term), Last: Index(l.snapshot.Index), Committed: Index(l.committed)}
	m := pb.Membership{Addresses: map[uint64]string{}}
	for id, target := range l.bootstrap.Addresses {
		m.Addresses[id] = target
	}
	if l.snapshot.Index > 0 {
		m = l.snapshot.Membership
	}
	for i := range l.entries {
		e := &l.entries[i]
		r.Term, r.Last = Term(e.Term), Index(e.Index)
		if e.Type == pb.ConfigChangeEntry && len(e.Cmd) > 0 {
			if err := applyConfigChange(&m, Index(e.Index), e.Cmd); err != nil {
				return MetadataRemains{}, err
			}
		}
	}
	r.Voters, r.Learners = nodesOf(m.Addresses), nodesOf(m.NonVotings)
	return r, nil
}

// nodesOf turns dragonboat's addresses into node ids.
func nodesOf(addresses map[uint64]string) map[ReplicaID]int32 {
	out := make(map[ReplicaID]int32, len(addresses))
	for id, target := range addresses {
		if node, ok := nodeOf(target); ok {
			out[ReplicaID(id)] = node
		}
	}
	return out
}

// metadataCommand returns the command in an entry, nil if it holds none.
func metadataCommand(e *pb.Entry) ([]byte, error) {
	switch {
	case len(e.Cmd) == 0 || e.Type == pb.ConfigChangeEntry || e.Type == pb.MetadataEntry:
		return nil, nil
	case e.Type == pb.ApplicationEntry:
		return e.Cmd, nil
	case e.Type == pb.EncodedEntry && e.Cmd[0] == 0: // version 0, not compressed, no session
		return e.Cmd[1:], nil
	}
	return nil, fmt.Errorf("%w: metadata entry %d of type %d", ErrUnsupportedVersion, e.Index, e.Type)
}

// remainsSM notes how far a state machine has come.
type remainsSM struct {
	MetadataStateMachine
	applied  atomic.Uint64
	restored atomic.Bool
}

func (s *remainsSM) Apply(i Index, command []byte) []byte {
	out := s.MetadataStateMachine.Apply(i, command)
	s.applied.Store(uint64(i))
	return out
}

func (s *remainsSM) Restore(snapshot []byte) error {
	err := s.MetadataStateMachine.Restore(snapshot)
	s.restored.Store(err == nil)
	return err //nolint:wrapcheck // in between only
}

// reached reports whether all that is committed in a log has been applied.
func (s *remainsSM) reached(l *metadataLog) bool {
	if l.snapshot.Index > 0 && !s.restored.Load() {
		return false
	}
	for i := len(l.entries) - 1; i >= 0; i-- {
		e := &l.entries[i]
		if command, err := metadataCommand(e); e.Index <= l.committed && (command != nil || err != nil) {
			return s.applied.Load() >= e.Index
		}
	}
	return true
}
