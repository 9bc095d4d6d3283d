package bootstrap

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/stelemq/stele/dledger/transport"
)

const (
	helloTimeout = 2 * time.Second
	pollInterval = 200 * time.Millisecond
	joinInterval = time.Second
	// sayInterval is how often a waiting node repeats what it waits for.
	sayInterval = 10 * time.Second
	// defaultGrace is how long founders that are late are waited for once a majority is there: they would have to join.
	defaultGrace = 5 * time.Second
	// defaultPatience is how long at least a refusal that may pass is taken for one that does.
	defaultPatience = 40 * time.Second
)

// Errors of this package; what is wrapped says what to do.
var (
	// ErrForeign: the nodes that were found belong to another cluster.
	ErrForeign = errors.New("foreign cluster")
	// ErrRefused: the cluster does not take this node.
	ErrRefused = errors.New("refused")
)

// Bootstrap makes a node a member of a cluster.
type Bootstrap struct {
	State     *State
	Transport *transport.Transport
	// Address is this node's Raft address, as the others are told it; empty: it has none.
	Address string
	Rack    string
	// Say tells the operator what is waited for, in one line.
	Say func(line string)
	// Resolve finds the Raft addresses of a cluster by a broker's address for clients; nil: it cannot.
	Resolve func(ctx context.Context, address string) ([]string, error)
	// Grace replaces the time that late founders are waited for; 0: 5 s.
	Grace time.Duration
	// SessionTimeout is broker.session.timeout.ms. A node that comes back with an empty disk waits until the cluster has given
	// up its old self, which takes that long; one whose id somebody else has never stops being refused.
	SessionTimeout time.Duration

	wake chan struct{}
	said string
	last time.Time
	// resolved are the Raft addresses behind addresses for clients.
	resolved map[string][]string
	ready    time.Time // since when a majority of the founders has been there
	round    uint64    // of the ballots that were seen (promise.go)
}

// Run returns when the node is a member of a cluster, or ctx ends. The handler of hello is installed and stays. Errors:
// ErrForeign, ErrRefused, ErrRemoved, ErrDirectory, ctx's.
func (b *Bootstrap) Run(ctx context.Context) error {
	b.wake = make(chan struct{}, 1)
	b.State.Serve(b.Transport, b.poke)
	if b.State.Member() {
		if err := b.State.Removed(); err != nil {
			return err
		}
		return b.State.Write()
	}
	if b.Say == nil {
		b.Say = func(string) {}
	}
	if b.Grace == 0 {
		b.Grace = defaultGrace
	}
	if len(b.State.settings.Join) > 0 {
		return b.join(ctx, b.State.settings.Join)
	}
	if err := b.takeID(); err != nil {
		return err
	}
	founders := b.State.settings.Founders
	if len(founders) < 2 {
		return b.State.found(&Founding{Founders: []int32{b.State.Identity().NodeID}})
	}
	b.State.servePromises(b.Transport, b.poke)
	return b.withOthers(ctx, founders)
}

func (b *Bootstrap) poke() {
	select {
	case b.wake <- struct{}{}:
	default:
	}
}

// takeID settles the id of a founder.
func (b *Bootstrap) takeID() error {
	s := b.State
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.id.NodeID < 0 {
		s.id.NodeID = ordinal()
	}
	b.Transport.SetNodeID(s.id.NodeID)
	if ids := s.founderIDs(); len(ids) > 0 && !slices.Contains(ids, s.id.NodeID) {
		return fmt.Errorf("%w: this is node %d, but cluster.peers names the nodes %s. Set node.id to one of them, add this one, or join the others with cluster.join",
			ErrRefused, s.id.NodeID, join(ids))
	}
	// The directory's id must be the same after a crash: others may have noted it.
	return s.writeLocked()
}

func join(ids []int32) string {
	return strings.Trim(strings.ReplaceAll(fmt.Sprint(ids), " ", ", "), "[]")
}

// heard is what a founder answered.
type heard struct {
	peer   Peer
	answer helloAnswer
	err    error
}

// withOthers founds a cluster with the other founders, or joins theirs.
func (b *Bootstrap) withOthers(ctx context.Context, founders []Peer) error {
	for {
		all := b.askAll(ctx, founders)
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		if b.State.Member() {
			return nil // another founder has said what was agreed on
		}
		member, err := b.memberOf(all)
		if err != nil {
			return err
		}
		if member != nil {
			return b.follow(ctx, member, all)
		}
		f, err := b.decide(founders, all)
		if err != nil {
			return err
		}
		if f != nil {
			if founded, err := b.propose(ctx, f, founders); founded || err != nil {
				return err
			}
		}
		b.pause(ctx, pollInterval)
	}
}

func (b *Bootstrap) pause(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
	case <-b.wake:
	case <-timer.C:
	}
}

func (b *Bootstrap) askAll(ctx context.Context, founders []Peer) []heard {
	own := b.State.Identity().NodeID
	var out []heard
	for _, p := range founders {
		if p.Node != own {
			out = append(out, heard{peer: p})
		}
	}
	var wg sync.WaitGroup
	for i := range out {
		wg.Go(func() { out[i].answer, out[i].err = b.State.askHello(ctx, b.Transport, out[i].peer.Address, b.Address) })
	}
	wg.Wait()
	for i := range out {
		h := &out[i]
		if h.err == nil && h.answer.Node != h.peer.Node {
			h.err = fmt.Errorf("node %d answers there", h.answer.Node)
		}
		if h.err == nil && !h.answer.Member && !slices.Equal(h.answer.Founders, b.State.founderIDs()) {
			h.err = fmt.Errorf("its cluster.peers names the nodes %s", join(h.answer.Founders))
		}
	}
	return out
}

// memberOf returns an answer of a member of a cluster, nil if there is none.
func (b *Bootstrap) memberOf(all []heard) (*heard, error) {
	var found *heard
	for i := range all {
		h := &all[i]
		switch {
		case h.err != nil || !h.answer.Member:
		case found != nil && found.answer.Cluster != h.answer.Cluster:
			return nil, fmt.Errorf("%w: node %d at %s belongs to cluster %s, node %d at %s to cluster %s. Correct cluster.peers, or empty the directory of the one that does not belong",
				ErrForeign, found.peer.Node, found.peer.Address, found.answer.Cluster, h.peer.Node, h.peer.Address, h.answer.Cluster)
		case found == nil:
			found = h
		}
	}
	if found != nil {
		if want := b.State.settings.ClusterID; want != "" && want != found.answer.Cluster {
			return nil, fmt.Errorf("%w: node %d at %s belongs to cluster %s, but cluster.id is %s (%s). Set cluster.id=%s, or correct cluster.peers",
				ErrForeign, found.peer.Node, found.peer.Address, found.answer.Cluster, want, b.State.settings.ClusterOrigin, found.answer.Cluster)
		}
	}
	return found, nil
}

// follow takes part in the founding that a member told of, or joins its cluster.
func (b *Bootstrap) follow(ctx context.Context, member *heard, all []heard) error {
	id := b.State.Identity()
	if f := member.answer.Founding; f.replicaOf(id.NodeID, id.DirectoryID) != 0 {
		return b.State.found(f)
	}
	var addresses []string
	for _, h := range all {
		if h.err == nil && h.answer.Member {
			addresses = append(addresses, h.peer.Address)
		}
	}
	return b.join(ctx, addresses)
}

// decide returns the founding if it is this node's to decide and everything is there.
func (b *Bootstrap) decide(founders []Peer, all []heard) (*Founding, error) {
	own := b.State.Identity()
	f := &Founding{ClusterID: b.State.settings.ClusterID, Directories: map[int32]string{own.NodeID: own.DirectoryID}}
	var missing []string
	for _, p := range founders {
		f.Founders = append(f.Founders, p.Node)
	}
	slices.Sort(f.Founders)
	for _, h := range all {
		if h.err != nil {
			missing = append(missing, fmt.Sprintf("%d@%s unreachable: %s", h.peer.Node, h.peer.Address, reason(h.err)))
			continue
		}
		f.Directories[h.peer.Node] = h.answer.Directory
	}
	have, need := len(f.Directories), len(founders)/2+1
	state := fmt.Sprintf("have %d/%d", have, len(founders))
	if len(missing) > 0 {
		state += ": " + strings.Join(missing, ", ")
	}
	leader := slices.Min(slices.Collect(maps.Keys(f.Directories))) // others need not begin, too
	switch {
	case have < need:
		b.ready = time.Time{}
		b.say("waiting for %s (%s)", count(need-have, "more peer"), state)
	case own.NodeID != leader:
		b.say("waiting for node %d, which founds the cluster (%s)", leader, state)
	case have == len(founders):
		return f, nil
	case b.ready.IsZero():
		b.ready = time.Now()
		b.say("waiting for %s for %s, then without (%s)", count(len(founders)-have, "more peer"), b.Grace, state)
	case time.Since(b.ready) >= b.Grace:
		return f, nil
	}
	return nil, nil //nolint:nilnil // not yet
}

func count(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}

// say tells the operator at once when something has changed, and what has not every ten seconds.
func (b *Bootstrap) say(format string, args ...any) {
	line := fmt.Sprintf(format, args...)
	if line == b.said && time.Since(b.last) < sayInterval {
		return
	}
	b.said, b.last = line, time.Now()
	b.Say(line)
}

// found makes this node a founder's replica. It is durable when it returns.
func (s *State) found(f *Founding) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.foundLocked(f)
}

func (s *State) foundLocked(f *Founding) error {
	if f.ClusterID == "" {
		f.ClusterID = s.settings.ClusterID
	}
	if f.ClusterID == "" {
		f.ClusterID = NewID()
	}
	if f.Directories == nil {
		f.Directories = map[int32]string{s.id.NodeID: s.id.DirectoryID}
	}
	s.peers.Founding = f
	s.id.MetadataGroup = f.Group
	s.id.ClusterID, s.id.MetadataReplica = f.ClusterID, f.replicaOf(s.id.NodeID, s.id.DirectoryID)
	for replica, node := range f.Replicas() {
		if node != s.id.NodeID && !slices.ContainsFunc(s.peers.Nodes, func(n Node) bool { return n.ID == node }) {
			s.peers.Nodes = append(s.peers.Nodes, Node{ID: node, Replica: replica})
		}
	}
	return s.writeLocked()
}
