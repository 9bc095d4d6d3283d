package dledger

import (
	"errors"
	"fmt"
	"io"

	sm "github.com/lni/dragonboat/v4/statemachine"
)

// partitionSM is what dragonboat takes for a partition's state machine. It does nothing: the records are already in
// place when they are appended, and the log storage itself sees the commit index move (shardLog.commitTo), one
// goroutine earlier than an apply worker would.
type partitionSM struct{ shard *shardLog }

var _ sm.IOnDiskStateMachine = (*partitionSM)(nil)

// Open returns the index of the synthetic snapshot: entries behind it are applied again, to no effect.
func (p *partitionSM) Open(<-chan struct{}) (uint64, error) {
	p.shard.mu.RLock()
	defer p.shard.mu.RUnlock()
	return p.shard.snapshot.Index, nil
}

func (p *partitionSM) Update(entries []sm.Entry) ([]sm.Entry, error) { return entries, nil }
func (p *partitionSM) Lookup(any) (any, error)                       { return nil, errNoLookup }
func (p *partitionSM) Sync() error                                   { return nil }
func (p *partitionSM) PrepareSnapshot() (any, error)                 { return nil, nil }
func (p *partitionSM) Close() error                                  { return nil }

var (
	errNoLookup   = errors.New("dledger: partitions are read from their log")
	errNoSnapshot = errors.New("dledger: partitions are caught up by fetching, not by snapshots")
)

// SaveSnapshot has nothing to say: what is to be streamed is only the word that the other replica is behind (catchup.go).
func (p *partitionSM) SaveSnapshot(any, io.Writer, <-chan struct{}) error   { return nil }
func (p *partitionSM) RecoverFromSnapshot(io.Reader, <-chan struct{}) error { return errNoSnapshot }

// metadataSM adapts the broker's metadata state machine.
type metadataSM struct{ m MetadataStateMachine }

var _ sm.IStateMachine = (*metadataSM)(nil)

func (a *metadataSM) Update(e sm.Entry) (sm.Result, error) {
	return sm.Result{Value: 1, Data: a.m.Apply(Index(e.Index), e.Cmd)}, nil
}

// Lookup answers nothing: whoever asks wants to be sure that everything committed before has been applied.
func (a *metadataSM) Lookup(any) (any, error) { return nil, nil } //nolint:nilnil // see above

func (a *metadataSM) SaveSnapshot(w io.Writer, _ sm.ISnapshotFileCollection, _ <-chan struct{}) error {
	b, err := a.m.Snapshot()
	if err != nil {
		return fmt.Errorf("metadata snapshot: %w", err)
	}
	if _, err := w.Write(b); err != nil {
		return fmt.Errorf("metadata snapshot: %w", err)
	}
	return nil
}

func (a *metadataSM) RecoverFromSnapshot(r io.Reader, _ []sm.SnapshotFile, _ <-chan struct{}) error {
	b, err := io.ReadAll(r)
	if err != nil {
		return fmt.Errorf("metadata snapshot: %w", err)
	}
	if err := a.m.Restore(b); err != nil {
		return fmt.Errorf("metadata snapshot: %w", err)
	}
	return nil
}

func (a *metadataSM) Close() error { return nil }
