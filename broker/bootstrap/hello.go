package bootstrap

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"
	"syscall"

	"github.com/stelemq/stele/dledger/transport"
)

const (
	methodHello = "hello"
	methodJoin  = "join"
)

// helloRequest introduces a node.
type helloRequest struct {
	Node      int32  `json:"node"`
	Directory string `json:"directory_id"`
	// Address is where the node can be reached.
	Address string `json:"raft_address,omitempty"`
	Cluster string `json:"cluster_id,omitempty"`
	// Group is the metadata group of a member; 0: the first.
	Group uint64 `json:"metadata_group,omitempty"`
	// Replica is a member's replica of the metadata.
	Replica uint64 `json:"metadata_replica,omitempty"`
	// Founders are the ids in the node's cluster.peers.
	Founders []int32 `json:"founders,omitempty"`
	// Starts are what the node's directory remembers of its starts.
	Starts []string `json:"starts,omitempty"`
}

// helloAnswer says how a node stands.
type helloAnswer struct {
	Node      int32  `json:"node"`
	Directory string `json:"directory_id"`
	Cluster   string `json:"cluster_id,omitempty"`
	Member    bool   `json:"member"`
	// Group is the metadata group of a member; 0: the first.
	Group uint64 `json:"metadata_group,omitempty"`
	// Founding of the node's cluster, where it knows it.
	Founding *Founding `json:"founding,omitempty"`
	Founders []int32   `json:"founders,omitempty"`
	// Stale: the directory of who asked has been started after all that it remembers.
	Stale bool `json:"stale,omitempty"`
	// Removed is why the directory of who asked is not part of the cluster any more.
	Removed string `json:"removed,omitempty"`
}

// Serve answers other nodes' hello. poke is called when a node that is not a member has asked; addressOf when a member of
// the same cluster says where it is now.
func (s *State) Serve(t *transport.Transport, poke func()) {
	t.HandleOpen(methodHello, func(_ context.Context, from transport.Caller, body []byte) ([]byte, error) {
		var q helloRequest
		if err := json.Unmarshal(body, &q); err != nil {
			return nil, fmt.Errorf("hello: %w", err)
		}
		id := s.Identity()
		if q.Cluster != "" && from.Cluster == q.Cluster && from.Node == q.Node {
			s.noteGroup(q.Cluster, q.Group, q.Node, q.Address)
		}
		if q.Cluster == "" {
			poke()
		} else if from.Cluster == id.ClusterID && from.Node == q.Node && q.Address != "" && s.Member() && !s.pinnedSafe(q.Node) {
			t.SetAddress(q.Node, q.Address) // it has moved; its registration follows
		}
		a := s.hello()
		a.Stale, a.Removed = s.outran(&q), s.judged(&q)
		return json.Marshal(a)
	})
}

func (s *State) pinnedSafe(node int32) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.pinned(node)
}

func (s *State) hello() helloAnswer {
	s.mu.Lock()
	defer s.mu.Unlock()
	a := helloAnswer{Node: s.id.NodeID, Directory: s.id.DirectoryID, Member: s.id.MetadataReplica != 0, Founders: s.founderIDs()}
	if a.Member {
		a.Cluster, a.Group = s.id.ClusterID, s.id.MetadataGroup
		if f := s.peers.Founding; f != nil && f.Group == a.Group {
			a.Founding = f
		}
	}
	return a
}

func (s *State) founderIDs() []int32 {
	out := make([]int32, 0, len(s.settings.Founders))
	for _, p := range s.settings.Founders {
		out = append(out, p.Node)
	}
	slices.Sort(out)
	return out
}

func (s *State) request(address string) []byte {
	s.mu.Lock()
	defer s.mu.Unlock()
	q := helloRequest{Node: s.id.NodeID, Directory: s.id.DirectoryID, Address: address, Founders: s.founderIDs()}
	if s.id.MetadataReplica != 0 {
		q.Cluster, q.Group, q.Replica, q.Starts = s.id.ClusterID, s.id.MetadataGroup, s.id.MetadataReplica, s.startsLocked()
	}
	b, err := json.Marshal(q)
	if err != nil {
		return nil // not reached: strings and numbers
	}
	return b
}

// askHello asks whoever answers at an address.
func (s *State) askHello(ctx context.Context, t *transport.Transport, address, own string) (helloAnswer, error) {
	ctx, cancel := context.WithTimeout(ctx, helloTimeout)
	defer cancel()
	body, err := t.CallAddress(ctx, address, methodHello, s.request(own))
	if err != nil {
		return helloAnswer{}, err //nolint:wrapcheck // judged by the caller
	}
	var a helloAnswer
	if err := json.Unmarshal(body, &a); err != nil {
		return helloAnswer{}, fmt.Errorf("hello: %w", err)
	}
	if a.Member {
		s.noteGroup(a.Cluster, a.Group, a.Node, address)
	}
	if id := s.Identity(); a.Removed != "" && a.Member && a.Cluster == id.ClusterID && a.Group == id.MetadataGroup {
		if err := s.noteRemoved(a.Removed, address); err != nil {
			return a, err
		}
	}
	return a, nil
}

// reason is why a node could not be asked, in few words.
func reason(err error) string {
	var dns *net.DNSError
	switch {
	case errors.Is(err, syscall.ECONNREFUSED):
		return "connection refused"
	case errors.Is(err, context.DeadlineExceeded):
		return "no answer"
	case errors.As(err, &dns):
		return "no such host"
	case errors.Is(err, transport.ErrProtocol):
		return "something else answers there"
	}
	text := err.Error()
	if i := strings.LastIndex(text, ": "); i >= 0 && !errors.Is(err, transport.ErrForeign) {
		return text[i+2:]
	}
	return text
}
