package dledger

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/lni/dragonboat/v4"
	"github.com/lni/dragonboat/v4/config"
	sm "github.com/lni/dragonboat/v4/statemachine"
)

const (
	metadataSnapshotEntries = 1000
	metadataReplica         = ReplicaID(1) // of the first voter
)

// startMetadata starts this node's part of the metadata group: alone, it founds the cluster.
func (h *Host) startMetadata() error {
	members := map[uint64]string{}
	if !h.nodes.HasNodeInfo(uint64(MetadataShard), uint64(metadataReplica)) {
		members[uint64(metadataReplica)] = nodeTarget(h.opts.NodeID)
	}
	c := config.Config{
		ShardID: uint64(MetadataShard), ReplicaID: uint64(metadataReplica), CheckQuorum: true, PreVote: true,
		ElectionRTT: electionTicks, HeartbeatRTT: heartbeatTick,
		SnapshotEntries: metadataSnapshotEntries, CompactionOverhead: metadataSnapshotEntries / 10,
	}
	create := func(uint64, uint64) sm.IStateMachine { return &metadataSM{h.opts.StateMachine} }
	if err := h.nodes.StartReplica(members, false, create, c); err != nil {
		return fmt.Errorf("start metadata: %w", err)
	}
	h.tasks.Go(h.campaignMetadata)
	return nil
}

func (h *Host) campaignMetadata() {
	for wait := time.Millisecond; !h.IsController(); wait = min(2*wait, 50*time.Millisecond) {
		h.transport.campaign(MetadataShard, metadataReplica)
		if !pause(h.ctx, wait) {
			return
		}
	}
}

// IsController reports whether this node leads the metadata group.
func (h *Host) IsController() bool {
	leader, _, ok, err := h.nodes.GetLeaderID(uint64(MetadataShard))
	return err == nil && ok && ReplicaID(leader) == metadataReplica
}

// Propose replicates a metadata command and returns what Apply made of it, once it is durable and applied here. While the
// group has no leader it waits, bounded by ctx. Errors: ErrTimeout (the command may still be applied), ErrClosed.
func (h *Host) Propose(ctx context.Context, command []byte) ([]byte, error) {
	session := h.nodes.GetNoOPSession(uint64(MetadataShard))
	for wait := time.Millisecond; ; wait = min(2*wait, 50*time.Millisecond) {
		attempt, cancel := context.WithTimeout(ctx, metadataTimeout)
		res, err := h.nodes.SyncPropose(attempt, session, command)
		cancel()
		switch {
		case err == nil:
			return res.Data, nil
		case errors.Is(err, dragonboat.ErrClosed), errors.Is(err, dragonboat.ErrShardNotFound):
			return nil, ErrClosed
		case errors.Is(err, dragonboat.ErrTimeout), errors.Is(err, dragonboat.ErrCanceled), ctx.Err() != nil:
			return nil, fmt.Errorf("%w: metadata: %w", ErrTimeout, err)
		}
		// Not ready, no leader yet, or busy: it was not proposed.
		if !pause(ctx, wait) {
			return nil, fmt.Errorf("%w: metadata: %w", ErrTimeout, err)
		}
	}
}

const metadataTimeout = 10 * time.Second
