package dledger

import (
	"fmt"
	"strconv"
	"strings"
	"sync"

	"github.com/lni/dragonboat/v4/config"
	"github.com/lni/dragonboat/v4/raftio"
	pb "github.com/lni/dragonboat/v4/raftpb"

	"github.com/stelemq/stele/dledger/journal"
	"github.com/stelemq/stele/dledger/transport"
)

const nodeTargetPrefix = "57e1e000-0000-4000-8000-"

// nodeTarget is the name of a node towards dragonboat: a UUID made of its id, so that a node may change its
// address without changing any membership.
func nodeTarget(node int32) string {
	return fmt.Sprintf("%s%012x", nodeTargetPrefix, uint32(node)) //nolint:gosec // node ids are not negative
}

// nodeOf is the reverse of nodeTarget.
func nodeOf(target string) (node int32, ok bool) {
	hex, found := strings.CutPrefix(target, nodeTargetPrefix)
	if !found {
		return -1, false
	}
	n, err := strconv.ParseUint(hex, 16, 31)
	if err != nil {
		return -1, false
	}
	return int32(n), true //nolint:gosec // 31 bits
}

// registry resolves replicas to nodes; where a node is, the transport knows.
type registry struct {
	mu sync.RWMutex
	// mu guards:
	replicas map[journal.Key]route
}

// route is where a replica is, and the key of the queue in which dragonboat puts what is sent to it.
type route struct{ target, queue string }

// queuesPerNode is how many of dragonboat's send queues lead to a node. One holds 2048 messages: the heartbeats of a
// thousand partitions come at the same tick.
const queuesPerNode = 4

var (
	_ raftio.INodeRegistry       = (*registry)(nil)
	_ config.NodeRegistryFactory = registryFactory{}
)

type registryFactory struct{ r *registry }

func (f registryFactory) Create(string, uint64, config.TargetValidator) (raftio.INodeRegistry, error) {
	return f.r, nil
}

func newRegistry() *registry { return &registry{replicas: make(map[journal.Key]route)} }

func (r *registry) Close() error { return nil }

// Add is called for each message received, too: mostly it has nothing to do.
func (r *registry) Add(shard, replica uint64, target string) {
	key := journal.Key{Shard: ShardID(shard), Replica: ReplicaID(replica)}
	r.mu.RLock()
	have := r.replicas[key].target
	r.mu.RUnlock()
	if have == target {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.replicas[key] = route{target, target + "/" + strconv.FormatUint(shard%queuesPerNode, 10)}
}

func (r *registry) Remove(shard, replica uint64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.replicas, journal.Key{Shard: ShardID(shard), Replica: ReplicaID(replica)})
}

func (r *registry) RemoveShard(shard uint64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for k := range r.replicas {
		if k.Shard == ShardID(shard) {
			delete(r.replicas, k)
		}
	}
}

func (r *registry) Resolve(shard, replica uint64) (target, queue string, err error) {
	r.mu.RLock()
	defer r.mu.RUnlock()
	to, ok := r.replicas[journal.Key{Shard: ShardID(shard), Replica: ReplicaID(replica)}]
	if !ok {
		return "", "", fmt.Errorf("%w: shard %d replica %d", transport.ErrNoAddress, shard, replica)
	}
	return to.target, to.queue, nil
}

// members are the known replicas of a shard.
func (r *registry) members(shard ShardID) (out []ReplicaID) {
	r.mu.RLock()
	defer r.mu.RUnlock()
	for k := range r.replicas {
		if k.Shard == shard {
			out = append(out, k.Replica)
		}
	}
	return out
}

// node returns the node of a replica, -1 where it is not known.
func (r *registry) node(shard ShardID, replica ReplicaID) int32 {
	r.mu.RLock()
	defer r.mu.RUnlock()
	if n, ok := nodeOf(r.replicas[journal.Key{Shard: shard, Replica: replica}].target); ok {
		return n
	}
	return -1
}

// campaignNow tells a replica of this node to stand for election now, as a leader that hands over would (Raft thesis
// 3.10). A replica that still has committed entries to apply ignores it.
func (h *Host) campaignNow(shard ShardID, replica ReplicaID) {
	h.transport.Deliver(pb.Message{
		Type: pb.TimeoutNow, ShardID: uint64(shard), To: uint64(replica), From: uint64(replica),
	})
}
