package bootstrap

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"sync"
	"time"

	"github.com/stelemq/stele/broker/metadata"
	"github.com/stelemq/stele/dledger"
	"github.com/stelemq/stele/dledger/transport"
	"github.com/stelemq/stele/protocol"
)

// Metadata is the part of dledger.Host that takes nodes into the cluster.
type Metadata interface {
	Propose(ctx context.Context, command []byte) (result []byte, err error)
	IsController() bool
	Controller() (node int32, ok bool)
	MetadataMembersNow(ctx context.Context) (dledger.MetadataMembership, error)
	AddMetadataLearner(ctx context.Context, id dledger.ReplicaID, node int32) error
	RemoveMetadata(ctx context.Context, id dledger.ReplicaID) error
	// LeaveMetadata and FollowMetadata move this node to a newer metadata group.
	LeaveMetadata()
	FollowMetadata(spec dledger.MetadataSpec) error
}

// Member answers nodes that join, and keeps track of where the others are. It needs the metadata.
type Member struct {
	State     *State
	Transport *transport.Transport
	Host      Metadata
	Machine   *metadata.Machine
	// Address is this node's Raft address, empty if it has none.
	Address string
	Rack    string
	Logger  *slog.Logger

	joining sync.Mutex // one node at a time: membership changes of Raft are
}

// Serve begins to answer the call join, and to tell those who are not part of the cluster any more.
func (m *Member) Serve() {
	m.State.judgeBy(m.Machine)
	m.Transport.HandleOpen(methodJoin, m.join)
}

func (m *Member) join(ctx context.Context, _ transport.Caller, body []byte) ([]byte, error) {
	var q joinRequest
	if err := json.Unmarshal(body, &q); err != nil {
		return nil, fmt.Errorf("join: %w", err)
	}
	if newer, _ := m.State.newerGroup(); newer != 0 {
		return nil, errors.New("the metadata was recovered, and this node has not joined its new group yet")
	}
	if !m.Host.IsController() {
		node, ok := m.Host.Controller()
		if !ok || q.Passed || node == m.Transport.NodeID() {
			return nil, errors.New("the cluster has no controller at the moment")
		}
		q.Passed = true
		next, err := json.Marshal(q)
		if err != nil {
			return nil, fmt.Errorf("join: %w", err)
		}
		return m.Transport.Call(ctx, node, methodJoin, next) //nolint:wrapcheck // the controller's own words
	}
	m.joining.Lock()
	defer m.joining.Unlock()
	a, err := m.admit(ctx, &q)
	if err != nil {
		return nil, err
	}
	return json.Marshal(a)
}

// admit takes a node into the metadata and its replica into the metadata's group.
func (m *Member) admit(ctx context.Context, q *joinRequest) (joinAnswer, error) {
	command, err := metadata.Encode(&metadata.JoinNode{DirectoryID: q.Directory, Node: q.Node, RaftAddress: q.Address, Rack: q.Rack, Replaces: metadata.ReplicaID(q.Replaces)})
	if err != nil {
		return joinAnswer{}, err //nolint:wrapcheck // says all
	}
	raw, err := m.Host.Propose(ctx, command)
	if err != nil {
		return joinAnswer{}, fmt.Errorf("the metadata has no majority: %w", err)
	}
	r, err := metadata.DecodeResult(raw)
	if err != nil {
		return joinAnswer{}, err //nolint:wrapcheck // says all
	}
	if r.Error != nil {
		code := codeRefused
		text := r.Error.Message
		if r.Error.Code == protocol.DuplicateBrokerRegistration {
			code = codeTaken
			text += ". If that was this node with its former disk, it is given up after broker.session.timeout.ms; otherwise stop that one, or give this node another node.id"
		}
		return joinAnswer{}, &transport.Coded{Code: code, Err: errors.New(text)}
	}
	// The address is needed to reach the replica that is about to be added.
	m.Transport.SetAddress(r.Node, q.Address)
	if err := m.addReplica(ctx, r.Node, dledger.ReplicaID(r.MetadataReplica)); err != nil {
		return joinAnswer{}, err
	}
	m.Logger.Info("node joins", "node_id", r.Node, "directory_id", q.Directory, "raft_address", q.Address, "metadata_replica", r.MetadataReplica)
	return joinAnswer{
		Cluster: r.ClusterID, Node: r.Node, Replica: uint64(r.MetadataReplica), Group: m.State.Identity().MetadataGroup, Nodes: m.nodes(r.Node),
	}, nil
}

// addReplica makes Raft know a replica as a learner. Replicas of the node that a former disk had leave first.
func (m *Member) addReplica(ctx context.Context, node int32, id dledger.ReplicaID) error {
	now, err := m.Host.MetadataMembersNow(ctx)
	if err != nil {
		return fmt.Errorf("the metadata has no majority: %w", err)
	}
	have := maps.Clone(now.Voters)
	maps.Copy(have, now.Learners)
	if _, ok := have[id]; ok {
		return nil
	}
	for old, n := range have {
		if n != node {
			continue
		}
		if err := m.Host.RemoveMetadata(ctx, old); err != nil {
			return fmt.Errorf("remove the metadata replica %d of the node's former directory: %w", old, err)
		}
	}
	if err := m.Host.AddMetadataLearner(ctx, id, node); err != nil {
		return fmt.Errorf("add metadata replica %d: %w", id, err)
	}
	return nil
}

// nodes are all that is known of the other nodes.
func (m *Member) nodes(except int32) []Node {
	known := map[int32]Node{}
	for _, b := range m.Machine.Image().Brokers() {
		known[b.Node] = Node{ID: b.Node, Address: b.RaftAddress, Replica: uint64(b.MetadataReplica), Epoch: b.Epoch}
	}
	for replica, node := range m.State.Founders() {
		if n := known[node]; n.Replica == 0 {
			n.ID, n.Replica = node, replica
			known[node] = n
		}
	}
	own := m.Transport.NodeID()
	for id, n := range known {
		if a, ok := m.Transport.Address(id); ok && n.Address == "" {
			n.Address = a
		}
		if id == own && n.Address == "" {
			n.Address = m.Address
		}
		known[id] = n
	}
	out := make([]Node, 0, len(known))
	for id, n := range known {
		if id != except {
			out = append(out, n)
		}
	}
	return out
}

// Run follows the metadata: addresses that change are used and kept, and a newer metadata group is joined. It returns nil when
// ctx ends. Errors: ErrRemoved.
func (m *Member) Run(ctx context.Context) error {
	wake := make(chan struct{}, 1)
	cancel := m.Machine.Watch(func(metadata.Change) {
		select {
		case wake <- struct{}{}:
		default:
		}
	})
	defer cancel()
	ask := time.NewTicker(groupInterval)
	defer ask.Stop()
	again := time.NewTimer(0) // what the start has heard
	defer again.Stop()
	for asked := 1; ; {
		select {
		case <-ctx.Done():
			return nil
		case <-wake:
			m.learn()
		case <-m.State.newer.heard:
			again.Reset(0)
		case <-again.C:
			if !m.followNewer(ctx) {
				again.Reset(joinInterval)
			}
		case <-ask.C:
			asked++
			if _, ok := m.Host.Controller(); !ok || m.leaving() || asked%groupPatience == 0 {
				m.askGroups(ctx)
			}
			if err := m.State.Removed(); err != nil {
				return err
			}
		}
	}
}

// leaving reports whether this node is being decommissioned, as far as it knows: the end of that it hears from the others only.
func (m *Member) leaving() bool {
	b, ok := m.Machine.Image().Broker(m.Transport.NodeID())
	return ok && b.State == metadata.NodeDecommissioning
}

func (m *Member) learn() {
	brokers := m.Machine.Image().Brokers()
	nodes := make([]Node, 0, len(brokers))
	for _, b := range brokers {
		if b.Node != m.Transport.NodeID() {
			nodes = append(nodes, Node{
				ID: b.Node, Address: b.RaftAddress, Replica: uint64(b.MetadataReplica), Epoch: b.Epoch, Directory: b.DirectoryID, Incarnation: b.Incarnation,
			})
		}
	}
	if own, ok := m.Machine.Image().Broker(m.Transport.NodeID()); ok {
		if err := m.State.registered(own.Incarnation); err != nil {
			m.Logger.Error("the start of this node could not be kept", "error", err)
		}
	}
	changed, err := m.State.Learn(nodes)
	for node, address := range changed {
		m.Transport.SetAddress(node, address)
	}
	if err != nil {
		m.Logger.Error("addresses of the other nodes could not be kept", "error", err)
	}
}

// CheckOthers asks the nodes that are known whether they belong to the same cluster, and tells them where this one is.
// It returns an error if one belongs to another cluster and none to this one, or one knows of a later start of this
// directory, or that it is not part of the cluster any more. Errors: ErrForeign, ErrStale, ErrRemoved.
func (m *Member) CheckOthers(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, checkTimeout)
	defer cancel()
	id := m.State.Identity()
	type result struct {
		node    int32
		address string
		answer  helloAnswer
		err     error
	}
	addresses := m.State.Addresses()
	results := make(chan result, len(addresses))
	for node, address := range addresses {
		go func() {
			a, err := m.State.askHello(ctx, m.Transport, address, m.Address)
			results <- result{node, address, a, err}
		}()
	}
	var foreign, stale error
	friends := 0
	for range addresses {
		r := <-results
		switch {
		case r.err == nil && r.answer.Member && r.answer.Cluster == id.ClusterID:
			friends++
			if r.answer.Stale {
				stale = m.State.staleError(r.node)
			}
		case errors.Is(r.err, transport.ErrForeign), r.err == nil && r.answer.Member:
			foreign = fmt.Errorf("%w: %s belongs to cluster %s, but node %d at %s does not: %s. If this directory is the wrong one, set log.dirs to the right one; if that address is wrong, correct cluster.peers; to leave cluster %s for the other, start with an empty directory",
				ErrForeign, m.State.dir, id.ClusterID, r.node, r.address, foreignText(r.err, r.answer), id.ClusterID)
		}
	}
	if err := m.State.Removed(); err != nil {
		return err
	}
	if stale != nil {
		return stale
	}
	if err := m.State.rivalGroup(); err != nil {
		return err
	}
	if foreign != nil && friends > 0 {
		m.Logger.Warn("a node of another cluster answers", "error", foreign)
		return nil
	}
	return foreign
}

const checkTimeout = time.Second

func foreignText(err error, a helloAnswer) string {
	if err != nil {
		return reason(err)
	}
	return "it belongs to cluster " + a.Cluster
}
