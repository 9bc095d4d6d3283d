package dledger

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/lni/dragonboat/v4"
)

// ErrMembership: the replica cannot be added, promoted or removed: it is there already, is gone, or was removed before.
var ErrMembership = errors.New("dledger: membership change refused")

const (
	membershipTimeout = 5 * time.Second
	// transferAgain is when a transfer of leadership that has not happened is asked for once more: by then Raft has given the
	// last one up.
	transferAgain = 2 * electionTicks * tickTime
)

// AddLearner adds a replica that gets the log and does not vote; its node starts it with PartitionSpec.Join. Only the leader
// can, one change at a time. Errors: ErrNotLeader, ErrMembership, ErrTimeout (it may still happen), ErrClosed.
func (p *Partition) AddLearner(ctx context.Context, id ReplicaID, node int32) error {
	return p.change(ctx, "add learner", func(nh *dragonboat.NodeHost) (*dragonboat.RequestState, error) {
		return nh.RequestAddNonVoting(uint64(p.spec.Shard), uint64(id), nodeTarget(node), 0, libraryTime(membershipTimeout))
	})
}

// Promote makes a learner a voter. Errors as AddLearner.
func (p *Partition) Promote(ctx context.Context, id ReplicaID) error {
	m, ok := p.roster.Load().find(id)
	if !ok {
		return fmt.Errorf("%w: replica %d is not a member", ErrMembership, id)
	}
	return p.change(ctx, "promote", func(nh *dragonboat.NodeHost) (*dragonboat.RequestState, error) {
		return nh.RequestAddReplica(uint64(p.spec.Shard), uint64(id), nodeTarget(m.node), 0, libraryTime(membershipTimeout))
	})
}

// Remove removes a replica for good: its id is never used again. A leader does not remove itself; it hands over first.
// Errors as AddLearner.
func (p *Partition) Remove(ctx context.Context, id ReplicaID) error {
	if id == p.shard.key.Replica {
		return fmt.Errorf("%w: the leader cannot remove itself", ErrMembership)
	}
	return p.change(ctx, "remove", func(nh *dragonboat.NodeHost) (*dragonboat.RequestState, error) {
		return nh.RequestDeleteReplica(uint64(p.spec.Shard), uint64(id), 0, libraryTime(membershipTimeout))
	})
}

func (p *Partition) change(ctx context.Context, what string, request func(*dragonboat.NodeHost) (*dragonboat.RequestState, error)) error {
	if !p.isLeader.Load() {
		return ErrNotLeader
	}
	p.stir()
	rs, err := request(p.host.nodes)
	if err != nil {
		return fmt.Errorf("%s: %w", what, err)
	}
	return awaitChange(ctx, what, rs)
}

func awaitChange(ctx context.Context, what string, rs *dragonboat.RequestState) error {
	select {
	case r := <-rs.ResultC():
		switch {
		case r.Completed():
			return nil
		case r.Rejected():
			return fmt.Errorf("%s: %w", what, ErrMembership)
		case r.Terminated(), r.Aborted():
			return fmt.Errorf("%s: %w", what, ErrClosed)
		default: // timed out, or dropped for want of a leader
			return fmt.Errorf("%s: %w", what, ErrTimeout)
		}
	case <-ctx.Done():
		return fmt.Errorf("%s: %w", what, context.Cause(ctx))
	}
}

// TransferLeadership hands this replica's leadership to the voter on a node and waits until it has gone, bounded by ctx.
// Errors: ErrNotLeader, ErrMembership (no voter there), ctx's: it stays the leader.
func (p *Partition) TransferLeadership(ctx context.Context, node int32) error {
	if !p.isLeader.Load() {
		return ErrNotLeader
	}
	m, ok := p.roster.Load().on(node)
	if !ok || !m.voter {
		return fmt.Errorf("%w: node %d has no voter", ErrMembership, node)
	}
	if m.replica == p.shard.key.Replica {
		return nil
	}
	p.stir()
	changed := make(chan struct{}, 1)
	defer p.Subscribe(changed)()
	if err := p.host.nodes.RequestLeaderTransfer(uint64(p.spec.Shard), uint64(m.replica)); err != nil {
		return fmt.Errorf("transfer leadership: %w", err)
	}
	again := time.NewTicker(transferAgain)
	defer again.Stop()
	for p.isLeader.Load() {
		select {
		case <-changed:
		case <-again.C:
			// Raft drops a transfer whose target does not answer within an election timeout, and says nothing.
			_ = p.host.nodes.RequestLeaderTransfer(uint64(p.spec.Shard), uint64(m.replica)) // one may still be under way
		case <-ctx.Done():
			return fmt.Errorf("transfer leadership: %w", context.Cause(ctx))
		}
	}
	return nil
}
