package broker

import (
	"context"
	"errors"
	"slices"
	"sync"
	"time"

	"github.com/stelemq/stele/broker/metadata"
	"github.com/stelemq/stele/dledger"
)

const (
	// replicasBatch is how long changes collect before the wish is compared with Raft; replicasTick is how
	// often it is compared while something is under way, replicasRest while nothing is.
	replicasBatch = 20 * time.Millisecond
	replicasTick  = 100 * time.Millisecond
	replicasRest  = 2 * time.Second
	// replicaChanges bounds the changes carried out at the same time, replicaChangeTimeout one of them.
	replicaChanges       = 16
	replicaChangeTimeout = 10 * time.Second
	// replicaWithinReach is how recently a learner must have had the whole log to become a voter, and
	// replicaHeard how recently it must have been heard.
	replicaWithinReach = time.Second
	replicaHeard       = time.Second
)

// replicas makes Raft's membership follow the metadata's wish in the partitions that this node leads, one
// change of each at a time.
type replicas struct {
	b    *Broker
	wake chan struct{}
	// slots bounds the changes under way.
	slots chan struct{}

	mu   sync.Mutex
	busy map[dledger.ShardID]struct{} // mu guards: a change is under way
}

func newReplicas(b *Broker) *replicas {
	return &replicas{
		b: b, wake: make(chan struct{}, 1), slots: make(chan struct{}, replicaChanges), busy: map[dledger.ShardID]struct{}{},
	}
}

// poke has the wish compared soon.
func (r *replicas) poke() { signal(r.wake) }

func (r *replicas) run(ctx context.Context) {
	var wg sync.WaitGroup
	defer wg.Wait()
	defer r.b.opts.Metadata.Watch(func(c metadata.Change) {
		if c.All || len(c.Topics) > 0 {
			r.poke()
		}
	})()
	timer := time.NewTimer(replicasRest)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-r.wake:
			select {
			case <-ctx.Done():
				return
			case <-time.After(replicasBatch):
			}
		case <-timer.C:
		}
		next := replicasRest
		if r.reconcile(ctx, &wg) {
			next = replicasTick
		}
		timer.Reset(next)
	}
}

// reconcile begins what is to be done, and reports whether there is anything that does not yet agree.
func (r *replicas) reconcile(ctx context.Context, wg *sync.WaitGroup) (open bool) {
	image := r.b.opts.Metadata.Image()
	for _, p := range r.b.partitions.running() {
		log := p.open()
		if log == nil || !log.Leadership().IsLeader {
			continue
		}
		wish, ok := wishOf(image, p)
		if !ok || agrees(wish, log.Members()) {
			continue
		}
		open = true
		change := nextChange(wish, log.Status(), log.Leadership().ISR)
		if change.kind == changeNone || !r.begin(p.spec.Shard) {
			continue
		}
		wg.Go(func() {
			defer r.end(p.spec.Shard)
			r.carryOut(ctx, p, log, change)
		})
	}
	return open
}

func (r *replicas) begin(s dledger.ShardID) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if _, busy := r.busy[s]; busy {
		return false
	}
	select {
	case r.slots <- struct{}{}:
	default:
		return false
	}
	r.busy[s] = struct{}{}
	return true
}

func (r *replicas) end(s dledger.ShardID) {
	r.mu.Lock()
	delete(r.busy, s)
	r.mu.Unlock()
	<-r.slots
	r.poke()
}

func (r *replicas) carryOut(ctx context.Context, p *partition, log PartitionLog, c replicaChange) {
	ctx, cancel := context.WithTimeout(ctx, replicaChangeTimeout)
	defer cancel()
	var err error
	switch c.kind {
	case changeAdd:
		err = log.AddLearner(ctx, c.replica, c.node)
	case changePromote:
		err = log.Promote(ctx, c.replica)
	case changeRemove:
		err = log.Remove(ctx, c.replica)
	case changeHandOver:
		err = log.TransferLeadership(ctx, c.node)
	case changeNone:
	}
	l := r.b.log.With("topic", p.spec.Topic, "partition", p.spec.Partition, "change", c.kind.String(), "replica", c.replica, "node_id", c.node)
	switch {
	case err == nil:
		l.Info("replicas changed")
	case errors.Is(err, dledger.ErrNotLeader), errors.Is(err, dledger.ErrClosed), ctx.Err() != nil:
	default:
		l.Warn("replicas could not be changed, trying again", "error", err)
		select { // not at once
		case <-ctx.Done():
		case <-time.After(replicasTick):
		}
	}
}

// wishOf is what the metadata wants of a partition that runs here.
func wishOf(image *metadata.Image, p *partition) (*metadata.Partition, bool) {
	t, ok := image.TopicByID(p.topic.id)
	if !ok || int(p.index) >= len(t.Partitions) {
		return nil, false
	}
	wish := &t.Partitions[p.index]
	return wish, dledger.ShardID(wish.Shard) == p.spec.Shard
}

// agrees reports whether Raft has what is wanted.
func agrees(wish *metadata.Partition, have []dledger.Member) bool {
	for _, r := range wish.Replicas {
		i := slices.IndexFunc(have, func(m dledger.Member) bool { return m.Replica == dledger.ReplicaID(r.ID) })
		if r.State == metadata.Leaving {
			if i >= 0 {
				return false
			}
		} else if i < 0 || !have[i].Voter {
			return false
		}
	}
	return !slices.ContainsFunc(have, func(m dledger.Member) bool { return dropped(wish, m.Replica) })
}

// dropped reports whether a replica was wanted once and is not any more: ids are given by the metadata, in order, and never
// again. A higher one says that the metadata here is older than Raft's group.
func dropped(wish *metadata.Partition, id dledger.ReplicaID) bool {
	return id < dledger.ReplicaID(wish.NextReplica) &&
		!slices.ContainsFunc(wish.Replicas, func(r metadata.Replica) bool { return dledger.ReplicaID(r.ID) == id })
}

type changeKind int

const (
	changeNone changeKind = iota
	changeAdd
	changePromote
	changeRemove
	changeHandOver
)

func (k changeKind) String() string {
	return [...]string{"none", "add", "promote", "remove", "hand over"}[k]
}

// replicaChange is one step from Raft's membership towards the wish.
type replicaChange struct {
	kind    changeKind
	replica dledger.ReplicaID
	node    int32
}

// nextChange is the next step for the leader's replica; have is its view of Raft's group.
//
//  1. A replica that leaves a node that has a new one makes room for it: its disk is gone.
//  2. What is missing is added as a learner.
//  3. A learner within reach votes.
//  4. What is to leave is removed, if the others have a majority without it; a leader that leaves hands over
//     and does not remove itself.
//  5. So does what the wish named once: a learner that was dropped before it was added may have been added all the same.
//
// What the wish has never named stays: the metadata here is older than Raft's group.
func nextChange(wish *metadata.Partition, have dledger.RaftStatus, isr []int32) replicaChange {
	member := func(id metadata.ReplicaID) (dledger.ReplicaStatus, bool) {
		for _, m := range have.Replicas {
			if m.Replica == dledger.ReplicaID(id) {
				return m, true
			}
		}
		return dledger.ReplicaStatus{}, false
	}
	for _, r := range wish.Replicas {
		m, ok := member(r.ID)
		newest, _ := wish.ReplicaOn(r.Node)
		if ok && r.State == metadata.Leaving && newest.ID != r.ID && m.Replica != have.Replica && removable(have, m, isr) {
			return replicaChange{changeRemove, m.Replica, m.Node}
		}
	}
	for _, r := range wish.Replicas {
		m, ok := member(r.ID)
		switch {
		case r.State == metadata.Leaving:
		case !ok:
			return replicaChange{changeAdd, dledger.ReplicaID(r.ID), r.Node}
		case !m.Voter && m.Match > 0 && m.LastContact < replicaHeard && m.CaughtUp < replicaWithinReach:
			return replicaChange{changePromote, m.Replica, m.Node}
		}
	}
	for _, r := range wish.Replicas {
		m, ok := member(r.ID)
		if !ok || r.State != metadata.Leaving {
			continue
		}
		if m.Replica != have.Replica {
			if removable(have, m, isr) {
				return replicaChange{changeRemove, m.Replica, m.Node}
			}
			continue
		}
		if to, ok := heir(wish, have, isr); ok {
			return replicaChange{changeHandOver, m.Replica, to}
		}
	}
	return dropChange(wish, have, isr)
}

// dropChange removes a member that the wish names no more.
func dropChange(wish *metadata.Partition, have dledger.RaftStatus, isr []int32) replicaChange {
	for _, m := range have.Replicas {
		if !dropped(wish, m.Replica) {
			continue
		}
		if m.Replica != have.Replica {
			if removable(have, m, isr) {
				return replicaChange{changeRemove, m.Replica, m.Node}
			}
		} else if to, ok := heir(wish, have, isr); ok {
			return replicaChange{changeHandOver, m.Replica, to}
		}
	}
	return replicaChange{}
}

// removable reports whether the group has a majority in sync without a replica.
func removable(have dledger.RaftStatus, gone dledger.ReplicaStatus, isr []int32) bool {
	if !gone.Voter {
		return true
	}
	voters, inSync := 0, 0
	for _, m := range have.Replicas {
		if !m.Voter || m.Replica == gone.Replica {
			continue
		}
		voters++
		if m.Replica == have.Replica || slices.Contains(isr, m.Node) && m.LastContact < replicaHeard {
			inSync++
		}
	}
	return voters > 0 && inSync > voters/2
}

// heir is the node that should lead instead of this one: in the order of preference, in sync, staying.
func heir(wish *metadata.Partition, have dledger.RaftStatus, isr []int32) (int32, bool) {
	for _, r := range wish.Replicas {
		if r.State == metadata.Leaving || dledger.ReplicaID(r.ID) == have.Replica || !slices.Contains(isr, r.Node) {
			continue
		}
		for _, m := range have.Replicas {
			if m.Replica == dledger.ReplicaID(r.ID) && m.Voter && m.LastContact < replicaHeard {
				return r.Node, true
			}
		}
	}
	return -1, false
}
