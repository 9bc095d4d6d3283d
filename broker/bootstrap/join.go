package bootstrap

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/stelemq/stele/dledger/transport"
)

// joinRequest asks a member to take a node into the cluster.
type joinRequest struct {
	// Node is the id wanted, -1 for any.
	Node      int32  `json:"node"`
	Directory string `json:"directory_id"`
	Address   string `json:"raft_address"`
	Rack      string `json:"rack,omitempty"`
	// Replaces is the replica of the metadata that this directory has lost; 0: none.
	Replaces uint64 `json:"replaces,omitempty"`
	// Passed: a member passes it on, so the receiver is the controller or refuses.
	Passed bool `json:"passed,omitempty"`
}

// joinAnswer is who the node is from now on.
type joinAnswer struct {
	Cluster string `json:"cluster_id"`
	Node    int32  `json:"node"`
	Replica uint64 `json:"metadata_replica"`
	// Group is the metadata group of that replica; 0: the first.
	Group uint64 `json:"metadata_group,omitempty"`
	Nodes []Node `json:"nodes"`
}

// Codes of refusals: the first may pass by itself, the second does not.
const (
	codeTaken   = "node_id_taken"
	codeRefused = "refused"
)

const joinTimeout = 15 * time.Second

// join asks members until one has taken this node into its cluster.
func (b *Bootstrap) join(ctx context.Context, targets []string) error {
	if b.Address == "" {
		return fmt.Errorf("%w: a node that joins a cluster must be reached by the others: set cluster.listen to an address that is free", ErrRefused)
	}
	if err := b.keepDirectory(); err != nil {
		return err
	}
	began := time.Now()
	b.resolved = map[string][]string{}
	for {
		var failed []string
		for _, target := range b.resolve(ctx, targets, &failed) {
			a, err := b.State.askJoin(ctx, b.Transport, target, b.Address, b.Rack, 0)
			if err == nil {
				return b.joined(a, target)
			}
			if ctx.Err() != nil {
				return context.Cause(ctx)
			}
			var remote *transport.RemoteError
			if errors.As(err, &remote) && (remote.Code == codeRefused || remote.Code == codeTaken && time.Since(began) > b.patience()) {
				return fmt.Errorf("%w: the cluster at %s: %s", ErrRefused, target, remote.Text)
			}
			text := reason(err)
			if remote != nil {
				text = remote.Text
			}
			failed = append(failed, target+": "+text)
		}
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		b.say("waiting to join (%s)", strings.Join(failed, "; "))
		b.pause(ctx, joinInterval)
	}
}

// patience is how long a node id that is taken may become free.
func (b *Bootstrap) patience() time.Duration { return max(defaultPatience, 3*b.SessionTimeout) }

// keepDirectory makes the directory's id durable before the cluster hears of it.
func (b *Bootstrap) keepDirectory() error {
	s := b.State
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.id.NodeID < 0 {
		s.id.NodeID = hostOrdinal()
	}
	if s.id.NodeID < 0 {
		return s.writePeersLocked()
	}
	b.Transport.SetNodeID(s.id.NodeID)
	return s.writeLocked()
}

// resolve turns addresses for clients into Raft addresses.
func (b *Bootstrap) resolve(ctx context.Context, targets []string, failed *[]string) []string {
	var out []string
	for _, t := range targets {
		if raft, known := b.resolved[t]; known {
			out = append(out, raft...)
			continue
		}
		a, err := b.State.askHello(ctx, b.Transport, t, b.Address)
		switch {
		case err == nil && !a.Member:
			*failed = append(*failed, t+": is not a member of a cluster yet")
		case err == nil:
			out = append(out, t)
		case errors.Is(err, transport.ErrProtocol) && b.Resolve != nil:
			found, rerr := b.Resolve(ctx, t)
			if rerr != nil {
				*failed = append(*failed, t+": "+rerr.Error())
				continue
			}
			found = slices.DeleteFunc(found, func(a string) bool { return a == b.Address })
			b.resolved[t] = found
			out = append(out, found...)
		default:
			*failed = append(*failed, t+": "+reason(err))
		}
	}
	return out
}

// askJoin asks a member to take this node in; own is this node's Raft address.
// replaces is the replica of the metadata that it has lost, 0 for none.
func (s *State) askJoin(ctx context.Context, t *transport.Transport, target, own, rack string, replaces uint64) (joinAnswer, error) {
	ctx, cancel := context.WithTimeout(ctx, joinTimeout)
	defer cancel()
	id := s.Identity()
	body, err := json.Marshal(joinRequest{Node: id.NodeID, Directory: id.DirectoryID, Address: own, Rack: rack, Replaces: replaces})
	if err != nil {
		return joinAnswer{}, fmt.Errorf("join: %w", err)
	}
	if body, err = t.CallAddress(ctx, target, methodJoin, body); err != nil {
		return joinAnswer{}, err //nolint:wrapcheck // judged by the caller
	}
	var a joinAnswer
	if err := json.Unmarshal(body, &a); err != nil {
		return joinAnswer{}, fmt.Errorf("join: %w", err)
	}
	if a.Cluster == "" || a.Node < 0 || a.Replica == 0 {
		return joinAnswer{}, fmt.Errorf("join: the answer lacks the cluster, the node or its replica: %s", body)
	}
	return a, nil
}

// joined makes this node a member. It is durable when it returns.
func (b *Bootstrap) joined(a joinAnswer, target string) error {
	s := b.State
	if want := s.settings.ClusterID; want != "" && want != a.Cluster {
		return fmt.Errorf("%w: the node at %s belongs to cluster %s, but cluster.id is %s (%s). Set cluster.id=%s, or correct cluster.join",
			ErrForeign, target, a.Cluster, want, s.settings.ClusterOrigin, a.Cluster)
	}
	if _, err := s.Learn(a.Nodes); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.id.ClusterID, s.id.NodeID, s.id.MetadataReplica, s.id.MetadataGroup = a.Cluster, a.Node, a.Replica, a.Group
	s.peers.Founding = nil
	b.Transport.SetNodeID(a.Node)
	return s.writeLocked()
}
