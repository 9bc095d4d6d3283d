package bootstrap

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"sync"

	"github.com/stelemq/stele/dledger/transport"
)

// Any majority of the founders may found the cluster, so two of them must not found two. Each founder is an acceptor of one
// decree, the founding (Paxos, one round trip twice): it promises a ballot and accepts a founding under it, each on disk before
// it is answered. A founding is carried out only when a majority has accepted it under one ballot; whoever wants another one
// needs a majority, too, one of whom tells of what it has accepted, and that is proposed again. So it does not matter who
// begins, who restarts in between, or that the founder with the lowest id comes late.
//
// A founder that is a member promises nothing: it tells of its cluster by hello. When all founders are there and none is a
// member nobody has carried out anything, and a founding that was accepted binds no one: its directories may be gone.

const methodFound = "found"

// ballot orders the attempts to found: by round, then by node. The zero ballot is before all others.
type ballot struct {
	Round uint64 `json:"round"`
	Node  int32  `json:"node"`
}

func (b ballot) before(o ballot) bool {
	return b.Round < o.Round || b.Round == o.Round && b.Node < o.Node
}

// promise is what a founder has promised and accepted.
type promise struct {
	// Promised: nothing under an earlier ballot is accepted any more.
	Promised ballot `json:"promised"`
	// Accepted is the ballot under which Founding was accepted; zero: none was.
	Accepted ballot    `json:"accepted,omitzero"`
	Founding *Founding `json:"founding,omitempty"`
}

// foundRequest asks for a promise, or with a Founding to accept it.
type foundRequest struct {
	Ballot ballot `json:"ballot"`
	// Founders are the ids in the cluster.peers of who asks.
	Founders []int32   `json:"founders"`
	Founding *Founding `json:"founding,omitempty"`
	// Decided: a majority has accepted what was proposed under this ballot, and who asks has no part in it.
	Decided bool `json:"decided,omitempty"`
}

// foundAnswer is the state of who was asked, after it.
type foundAnswer struct {
	Given bool `json:"given"`
	promise
}

// servePromises answers founders that want to found, until the node is a member.
func (s *State) servePromises(t *transport.Transport, poke func()) {
	t.HandleOpen(methodFound, func(_ context.Context, _ transport.Caller, body []byte) ([]byte, error) {
		var q foundRequest
		if err := json.Unmarshal(body, &q); err != nil {
			return nil, fmt.Errorf("found: %w", err)
		}
		if q.Decided {
			defer poke()
			_, err := s.carryOut(q.Ballot)
			return nil, err
		}
		a, err := s.promise(&q)
		if err != nil {
			return nil, err
		}
		return json.Marshal(a)
	})
}

var errNoPromise = errors.New("this node promises nothing")

// promise gives a promise or accepts a founding, unless a later ballot has been promised. It is durable when it returns.
func (s *State) promise(q *foundRequest) (foundAnswer, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.id.MetadataReplica != 0:
		return foundAnswer{}, fmt.Errorf("%w: it is a member of cluster %s", errNoPromise, s.id.ClusterID)
	case len(s.settings.Join) > 0 || !slices.Equal(q.Founders, s.founderIDs()):
		return foundAnswer{}, fmt.Errorf("%w: its cluster.peers names the nodes %s", errNoPromise, join(s.founderIDs()))
	}
	var p promise
	if s.peers.Promise != nil {
		p = *s.peers.Promise
	}
	if q.Ballot.before(p.Promised) {
		return foundAnswer{promise: p}, nil
	}
	p.Promised = q.Ballot
	if q.Founding != nil {
		p.Accepted, p.Founding = q.Ballot, q.Founding
	}
	s.peers.Promise = &p
	if err := s.writeLocked(); err != nil {
		return foundAnswer{}, err
	}
	return foundAnswer{Given: true, promise: p}, nil
}

func (s *State) promised() ballot {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.peers.Promise == nil {
		return ballot{}
	}
	return s.peers.Promise.Promised
}

// carryOut makes this node what a founding says that a majority, this node among them, has accepted under a ballot, unless it
// has promised a later one since: then all founders may have agreed on another founding. It reports whether it is a member now.
func (s *State) carryOut(under ballot) (bool, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	p := s.peers.Promise
	if p == nil || p.Promised != under || p.Accepted != under || s.id.MetadataReplica != 0 || p.Founding.replicaOf(s.id.NodeID, s.id.DirectoryID) == 0 {
		return s.id.MetadataReplica != 0, nil
	}
	return true, s.foundLocked(p.Founding)
}

// propose has a majority of the founders accept a founding, f or one that may have been accepted before, and carries it out. It
// reports false if that has failed for now.
func (b *Bootstrap) propose(ctx context.Context, f *Founding, founders []Peer) (bool, error) {
	s := b.State
	if f.ClusterID == "" {
		f.ClusterID = NewID()
	}
	b.round = max(b.round, s.promised().Round) + 1 // a ballot is used once, also over restarts
	under := ballot{Round: b.round, Node: s.Identity().NodeID}
	q := foundRequest{Ballot: under, Founders: f.Founders}
	given, err := b.collect(ctx, founders, &q)
	if err != nil || len(given) <= len(founders)/2 {
		return false, err
	}
	if q.Founding = choose(given, f); q.Founding == nil {
		b.say("waiting for all %d founders: some have begun to found a cluster with directories that are not here", len(founders))
		return false, nil
	}
	if given, err = b.collect(ctx, founders, &q); err != nil || len(given) <= len(founders)/2 {
		return false, err
	}
	founded, err := s.carryOut(under)
	if !founded && err == nil { // late, or with a new directory: it joins those who have a part in it
		q.Decided = true
		b.askFounders(ctx, founders, &q)
	}
	return founded, err
}

// choose returns what may be proposed by the promises of a majority: own, or what one of them may have accepted with a majority;
// nil: nothing yet.
func choose(given []promise, own *Founding) *Founding {
	if len(given) == len(own.Founders) {
		return own // nobody is a member, and none will be by an earlier ballot
	}
	var latest promise
	for _, p := range given {
		if latest.Accepted.before(p.Accepted) {
			latest = p
		}
	}
	switch {
	case latest.Founding == nil:
		return own
	case latest.Founding.aliveIn(own):
		return latest.Founding
	}
	return nil
}

// aliveIn reports whether enough of the directories that take part are among those of another founding: the new metadata group
// would have no majority otherwise.
func (f *Founding) aliveIn(o *Founding) bool {
	alive := 0
	for node, directory := range f.Directories {
		if o.Directories[node] == directory {
			alive++
		}
	}
	return alive > len(f.Founders)/2
}

// collect asks all founders, this node first, and returns the promises that were given.
func (b *Bootstrap) collect(ctx context.Context, founders []Peer, q *foundRequest) ([]promise, error) {
	own, err := b.State.promise(q)
	if b.State.Member() {
		return nil, nil // by another founder's word
	}
	if err != nil {
		return nil, err
	}
	b.round = max(b.round, own.Promised.Round)
	if !own.Given {
		return nil, nil
	}
	given := []promise{own.promise}
	for _, a := range b.askFounders(ctx, founders, q) {
		b.round = max(b.round, a.Promised.Round)
		if a.Given {
			given = append(given, a.promise)
		}
	}
	return given, nil
}

// askFounders asks the other founders and returns what they have answered.
func (b *Bootstrap) askFounders(ctx context.Context, founders []Peer, q *foundRequest) (answers []foundAnswer) {
	body, err := json.Marshal(q)
	if err != nil {
		return nil // not reached: strings and numbers
	}
	ctx, cancel := context.WithTimeout(ctx, helloTimeout)
	defer cancel()
	var (
		wg sync.WaitGroup
		mu sync.Mutex
	)
	for _, p := range founders {
		if p.Node == q.Ballot.Node {
			continue
		}
		wg.Go(func() {
			var a foundAnswer
			raw, err := b.Transport.CallAddress(ctx, p.Address, methodFound, body)
			if err != nil || json.Unmarshal(raw, &a) != nil {
				return
			}
			mu.Lock()
			defer mu.Unlock()
			answers = append(answers, a)
		})
	}
	wg.Wait()
	return answers
}
