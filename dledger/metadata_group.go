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
	metadataTimeout         = 10 * time.Second
	// metadataElectionTicks: 260 to 507 ms. Nobody's records wait for the controller, and nobody stands in for it while its
	// disk is slow.
	metadataElectionTicks = 20
)

// MetadataSpec is a node's replica of the cluster metadata. Every node has one: voters decide, learners only follow.
type MetadataSpec struct {
	// Group is the Raft group; 0 = MetadataShard, the first.
	Group ShardID
	// Replica is this node's, never reused within the cluster.
	Replica ReplicaID
	// Founders are the first voters, replica id to node id, the same on all of them; nil on a node that joined.
	Founders map[ReplicaID]int32
	// Known are further replicas and their nodes, so that they can be reached before the log that names them is here.
	Known map[ReplicaID]int32
	// Left: a newer group has taken the place of this one, and this node is about to follow it (Host.LeaveMetadata).
	Left bool
}

// startMetadata starts this node's part of the metadata group. Errors: ErrMetadataDamaged.
func (h *Host) startMetadata() error {
	spec := h.metadata()
	if err := h.checkMetadata(); err != nil {
		return err
	}
	h.events.begin(spec.Group)
	for _, known := range []map[ReplicaID]int32{spec.Founders, spec.Known} {
		for r, n := range known {
			h.registry.Add(uint64(h.metadataGroup()), uint64(r), nodeTarget(n))
		}
	}
	members := map[uint64]string{}
	started := h.nodes.HasNodeInfo(uint64(h.metadataGroup()), uint64(spec.Replica))
	if !started {
		for r, n := range spec.Founders {
			members[uint64(r)] = nodeTarget(n)
		}
	}
	join := len(spec.Founders) == 0
	c := config.Config{
		ShardID: uint64(h.metadataGroup()), ReplicaID: uint64(spec.Replica), CheckQuorum: true, PreVote: true,
		ElectionRTT: metadataElectionTicks, HeartbeatRTT: heartbeatTicks,
		SnapshotEntries: metadataSnapshotEntries, CompactionOverhead: metadataSnapshotEntries / 10,
		IsNonVoting: join && !h.votesInMetadata(),
	}
	create := func(uint64, uint64) sm.IStateMachine { return &metadataSM{h.opts.StateMachine} }
	h.metaBegan.Store(monotonic())
	if err := h.nodes.StartReplica(members, join && !started, create, c); err != nil {
		return fmt.Errorf("start metadata: %w", err)
	}
	if _, alone := spec.Founders[spec.Replica]; alone && len(spec.Founders) == 1 {
		h.tasks.Go(h.campaignMetadata)
	}
	return nil
}

// votesInMetadata reports whether this node's replica was a voter when the metadata was last saved.
func (h *Host) votesInMetadata() bool {
	ss, err := h.db.meta.GetSnapshot(uint64(h.metadataGroup()), uint64(h.metadata().Replica))
	if err != nil {
		return false
	}
	_, ok := ss.Membership.Addresses[uint64(h.metadata().Replica)]
	return ok
}

// campaignMetadata makes a lone founder the leader at once, unless the group has grown meanwhile.
func (h *Host) campaignMetadata() {
	for wait := time.Millisecond; ; wait = min(2*wait, 50*time.Millisecond) {
		if _, known := h.Controller(); known {
			return
		}
		if m, ok := h.MetadataMembers(); ok && len(m.Voters) > 1 {
			return
		}
		h.campaignNow(h.metadataGroup(), h.metadata().Replica)
		if !pause(h.ctx, wait) {
			return
		}
	}
}

// IsController reports whether this node leads the metadata group.
func (h *Host) IsController() bool {
	leader, _, ok, err := h.nodes.GetLeaderID(uint64(h.metadataGroup()))
	return err == nil && ok && ReplicaID(leader) == h.metadata().Replica
}

// Controller returns the node that leads the metadata group, as far as is known here.
func (h *Host) Controller() (node int32, ok bool) {
	leader, _, ok, err := h.nodes.GetLeaderID(uint64(h.metadataGroup()))
	if err != nil || !ok || leader == 0 {
		return -1, false
	}
	if ReplicaID(leader) == h.metadata().Replica {
		return h.opts.NodeID, true
	}
	node = h.registry.node(h.metadataGroup(), ReplicaID(leader))
	return node, node >= 0
}

// MetadataTerm is the term of the metadata group, 0 while it is not known.
func (h *Host) MetadataTerm() uint64 {
	_, term, _, err := h.nodes.GetLeaderID(uint64(h.metadataGroup()))
	if err != nil {
		return 0
	}
	return term
}

// MetadataMembership is who replicates the cluster metadata, replica id to node id.
type MetadataMembership struct {
	Voters, Learners map[ReplicaID]int32
}

// MetadataMembers returns the voters of the metadata group as applied here; ok is false while they are not known.
func (h *Host) MetadataMembers() (m MetadataMembership, ok bool) {
	for _, s := range h.nodes.GetNodeHostInfo(dragonboat.NodeHostInfoOption{SkipLogInfo: true}).ShardInfoList {
		if ShardID(s.ShardID) != h.metadataGroup() || s.Pending {
			continue
		}
		m = MetadataMembership{Voters: map[ReplicaID]int32{}, Learners: map[ReplicaID]int32{}}
		for id, target := range s.Replicas {
			if node, found := nodeOf(target); found {
				m.Voters[ReplicaID(id)] = node
			}
		}
		return m, len(m.Voters) > 0
	}
	return MetadataMembership{}, false
}

// MetadataMembersNow asks the group for its membership, learners included; only a majority can answer. Errors: ErrTimeout.
func (h *Host) MetadataMembersNow(ctx context.Context) (MetadataMembership, error) {
	ctx, cancel := context.WithTimeout(ctx, metadataTimeout)
	defer cancel()
	ms, err := h.nodes.SyncGetShardMembership(libraryContext(ctx), uint64(h.metadataGroup()))
	if err != nil {
		return MetadataMembership{}, fmt.Errorf("%w: metadata membership: %w", ErrTimeout, err)
	}
	read := func(addresses map[uint64]string) map[ReplicaID]int32 {
		out := make(map[ReplicaID]int32, len(addresses))
		for id, target := range addresses {
			if node, ok := nodeOf(target); ok {
				out[ReplicaID(id)] = node
			}
		}
		return out
	}
	return MetadataMembership{Voters: read(ms.Nodes), Learners: read(ms.NonVotings)}, nil
}

// AddMetadataLearner adds a node's replica to the metadata group. Only the controller can. Errors as Partition.AddLearner.
func (h *Host) AddMetadataLearner(ctx context.Context, id ReplicaID, node int32) error {
	return h.changeMetadata(ctx, "add metadata learner", func() (*dragonboat.RequestState, error) {
		return h.nodes.RequestAddNonVoting(uint64(h.metadataGroup()), uint64(id), nodeTarget(node), 0, libraryTime(membershipTimeout))
	})
}

// PromoteMetadata makes a learner a voter. Errors as AddMetadataLearner.
func (h *Host) PromoteMetadata(ctx context.Context, id ReplicaID, node int32) error {
	return h.changeMetadata(ctx, "promote metadata replica", func() (*dragonboat.RequestState, error) {
		return h.nodes.RequestAddReplica(uint64(h.metadataGroup()), uint64(id), nodeTarget(node), 0, libraryTime(membershipTimeout))
	})
}

// RemoveMetadata removes a replica for good. Errors as AddMetadataLearner.
func (h *Host) RemoveMetadata(ctx context.Context, id ReplicaID) error {
	return h.changeMetadata(ctx, "remove metadata replica", func() (*dragonboat.RequestState, error) {
		return h.nodes.RequestDeleteReplica(uint64(h.metadataGroup()), uint64(id), 0, libraryTime(membershipTimeout))
	})
}

func (h *Host) changeMetadata(ctx context.Context, what string, request func() (*dragonboat.RequestState, error)) error {
	if !h.IsController() {
		return ErrNotLeader
	}
	rs, err := request()
	if err != nil {
		return fmt.Errorf("%s: %w", what, err)
	}
	return awaitChange(ctx, what, rs)
}

// TransferMetadata asks the metadata group to be led by another node; it does not wait. Errors: ErrNotLeader, ErrMembership.
func (h *Host) TransferMetadata(node int32) error {
	if !h.IsController() {
		return ErrNotLeader
	}
	m, _ := h.MetadataMembers()
	for id, n := range m.Voters {
		if n != node {
			continue
		}
		if err := h.nodes.RequestLeaderTransfer(uint64(h.metadataGroup()), uint64(id)); err != nil {
			return fmt.Errorf("transfer the controller: %w", err)
		}
		return nil
	}
	return fmt.Errorf("%w: node %d has no vote in the metadata group", ErrMembership, node)
}

// MetadataCurrent returns nil once everything is applied here that was committed when it was called. Only a majority of the
// metadata's voters can say what that is. Errors: ErrTimeout, ErrClosed.
func (h *Host) MetadataCurrent(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, metadataTimeout)
	defer cancel()
	_, err := h.nodes.SyncRead(libraryContext(ctx), uint64(h.metadataGroup()), nil)
	switch {
	case err == nil:
		return nil
	case errors.Is(err, dragonboat.ErrClosed), errors.Is(err, dragonboat.ErrShardNotFound):
		return ErrClosed
	default:
		return fmt.Errorf("%w: metadata: %w", ErrTimeout, err)
	}
}

// Propose replicates a metadata command and returns what Apply made of it, once it is durable and applied here. While the
// group has no leader it waits, bounded by ctx. Errors: ErrTimeout (the command may still be applied), ErrClosed.
func (h *Host) Propose(ctx context.Context, command []byte) ([]byte, error) {
	for wait := time.Millisecond; ; wait = min(2*wait, 50*time.Millisecond) {
		session := h.nodes.GetNoOPSession(uint64(h.metadataGroup()))
		attempt, cancel := context.WithTimeout(ctx, metadataTimeout)
		res, err := h.nodes.SyncPropose(libraryContext(attempt), session, command)
		cancel()
		switch {
		case err == nil:
			return res.Data, nil
		case errors.Is(err, dragonboat.ErrClosed), h.ctx.Err() != nil:
			return nil, ErrClosed
		case errors.Is(err, dragonboat.ErrShardNotFound), errors.Is(err, dragonboat.ErrShardClosed): // it moves to another group
		case errors.Is(err, dragonboat.ErrTimeout), errors.Is(err, dragonboat.ErrCanceled), ctx.Err() != nil:
			return nil, fmt.Errorf("%w: metadata: %w", ErrTimeout, err)
		}
		// Not ready, no leader yet, or busy: it was not proposed.
		if !pause(ctx, wait) {
			return nil, fmt.Errorf("%w: metadata: %w", ErrTimeout, err)
		}
	}
}
