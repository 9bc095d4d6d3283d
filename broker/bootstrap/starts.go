package bootstrap

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/stelemq/stele/dledger/transport"
)

// A directory that is put back as it was at some time before has forgotten what its replicas voted and acknowledged since,
// and must not take part in anything. It is told from the right one by its starts: each gets a random name, which is kept
// here before it is registered in the metadata, and is registered before any replica of a partition is started. A directory that
// does not know the last start that was registered for it is such a copy. The metadata refuses it; so that it does not vote on the
// metadata before, the others are asked first.

// ErrStale: the data directory is a copy from before a later start of this node.
var ErrStale = errors.New("stale copy of a data directory")

// startsKept bounds the starts that a directory remembers: others may lag behind by so many.
const startsKept = 64

// Begin names this start and keeps the name. Members call it after CheckOthers, before anything that votes.
func (s *State) Begin() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.incarnation = NewID()
	starts := append(slices.Clone(s.peers.Starts), s.incarnation)
	s.peers.Starts = starts[max(0, len(starts)-startsKept):]
	return s.writePeersLocked()
}

// Incarnation is the name of this start, and starts all that the directory remembers; nil as long as none has been registered.
func (s *State) Incarnation() (name string, starts []string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.incarnation, s.startsLocked()
}

func (s *State) startsLocked() []string {
	if !s.peers.Registered {
		return nil
	}
	return slices.Clone(s.peers.Starts)
}

// registered notes that a start is the one that the metadata has.
func (s *State) registered(incarnation string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.peers.Registered || incarnation == "" || incarnation != s.incarnation {
		return nil
	}
	s.peers.Registered = true
	return s.writePeersLocked()
}

// outran reports whether a later start of the directory that asks is known here than all that it remembers.
func (s *State) outran(q *helloRequest) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(q.Starts) == 0 || q.Cluster == "" || q.Cluster != s.id.ClusterID {
		return false
	}
	return slices.ContainsFunc(s.peers.Nodes, func(n Node) bool {
		return n.ID == q.Node && n.Directory == q.Directory && n.Directory != "" && n.Incarnation != "" && !slices.Contains(q.Starts, n.Incarnation)
	})
}

func (s *State) staleError(by int32) error {
	return fmt.Errorf("%w: %s is a copy from before the last start of node %d, which node %d knows of: it does not know what the node has voted and acknowledged since. Put the right directory back, or empty this one: the node then comes back with new replicas",
		ErrStale, s.dir, s.Identity().NodeID, by)
}

// Rejoin gets this node another replica of the metadata for the one that it has lost; replicas of partitions are not
// touched. It asks the other members until one has done so. Errors: ErrRefused, ctx's.
func (b *Bootstrap) Rejoin(ctx context.Context) error {
	addresses := b.State.Addresses()
	if len(addresses) == 0 || b.Address == "" {
		return fmt.Errorf("%w: there is no other node from which the metadata could be had. Restore the directory from a backup", ErrRefused)
	}
	b.wake = make(chan struct{}, 1)
	lost := b.State.Identity().MetadataReplica
	for {
		var failed []string
		for _, node := range slices.Sorted(maps.Keys(addresses)) {
			a, err := b.State.askJoin(ctx, b.Transport, addresses[node], b.Address, b.Rack, lost)
			if err == nil {
				return b.State.rejoined(a)
			}
			if ctx.Err() != nil {
				return context.Cause(ctx)
			}
			text := reason(err)
			if remote := new(transport.RemoteError); errors.As(err, &remote) {
				text = remote.Text
			}
			failed = append(failed, fmt.Sprintf("%d@%s: %s", node, addresses[node], text))
		}
		b.say("waiting for another replica of the metadata (%s)", strings.Join(failed, "; "))
		b.pause(ctx, time.Second)
	}
}
