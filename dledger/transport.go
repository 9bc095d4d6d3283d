package dledger

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"

	"github.com/lni/dragonboat/v4/config"
	"github.com/lni/dragonboat/v4/raftio"
	pb "github.com/lni/dragonboat/v4/raftpb"
)

// transport carries Raft messages between the nodes of a cluster. A node that is its whole cluster has nobody to
// talk to; what it needs is to be told to campaign at once instead of waiting for an election timeout.
type transport struct {
	deployment uint64
	handle     raftio.MessageHandler
}

var (
	_ raftio.ITransport       = (*transport)(nil)
	_ config.TransportFactory = (*transportFactory)(nil)
)

// transportFactory keeps the transport that dragonboat made.
type transportFactory struct{ made atomic.Pointer[transport] }

func (f *transportFactory) Create(c config.NodeHostConfig, h raftio.MessageHandler, _ raftio.ChunkHandler) raftio.ITransport {
	t := &transport{deployment: c.GetDeploymentID(), handle: h}
	f.made.Store(t)
	return t
}

// Validate accepts what nodeTarget makes and nothing else.
func (f *transportFactory) Validate(address string) bool { return address != "" }

func (t *transport) Name() string { return "stele" }
func (t *transport) Start() error { return nil }
func (t *transport) Close() error { return nil }

var errNoPeer = errors.New("dledger: no connection to the peer")

func (t *transport) GetConnection(_ context.Context, target string) (raftio.IConnection, error) {
	return nil, fmt.Errorf("%w: %s", errNoPeer, target)
}

func (t *transport) GetSnapshotConnection(_ context.Context, target string) (raftio.ISnapshotConnection, error) {
	return nil, fmt.Errorf("%w: %s", errNoPeer, target)
}

// campaign tells a replica of this node to stand for election now, as a leader that hands over would (Raft thesis
// 3.10). A replica that still has committed entries to apply ignores it.
func (t *transport) campaign(shard ShardID, replica ReplicaID) {
	t.handle(pb.MessageBatch{
		DeploymentId: t.deployment, BinVer: raftio.TransportBinVersion,
		Requests: []pb.Message{{
			Type: pb.TimeoutNow, ShardID: uint64(shard), To: uint64(replica), From: uint64(replica),
		}},
	})
}

// nodeTarget is the name of a node towards dragonboat: a UUID made of its id, so that a node may change its
// address without changing any membership.
func nodeTarget(node int32) string {
	return fmt.Sprintf("57e1e000-0000-4000-8000-%012x", uint32(node)) //nolint:gosec // node ids are not negative
}

// nodeRegistry resolves replicas to nodes.
type nodeRegistry struct{}

func (nodeRegistry) Create(string, uint64, config.TargetValidator) (raftio.INodeRegistry, error) {
	return nodeRegistry{}, nil
}
func (nodeRegistry) Close() error               { return nil }
func (nodeRegistry) Add(uint64, uint64, string) {}
func (nodeRegistry) Remove(uint64, uint64)      {}
func (nodeRegistry) RemoveShard(uint64)         {}
func (nodeRegistry) Resolve(shard, replica uint64) (target, connection string, err error) {
	return "", "", fmt.Errorf("%w: shard %d replica %d", errNoPeer, shard, replica)
}
