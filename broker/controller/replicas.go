package controller

import (
	"slices"

	"github.com/stelemq/stele/broker/metadata"
)

// report says whether Raft's membership has moved on from the metadata, and how.
func (pl *place) report(v *View) (metadata.ReplicaReport, bool) {
	s := &pl.state
	if len(s.Voters) == 0 || !v.led(*s) {
		return metadata.ReplicaReport{}, false
	}
	moved := slices.ContainsFunc(pl.p.Replicas, func(r metadata.Replica) bool {
		votes := slices.Contains(s.Voters, r.ID)
		return r.State == metadata.Learner && votes ||
			r.State == metadata.Leaving && !votes && !slices.Contains(s.Learners, r.ID)
	})
	return metadata.ReplicaReport{
		Topic: pl.topic.ID, Partition: pl.index, Shard: pl.p.Shard, Voters: s.Voters, Learners: s.Learners,
	}, moved
}

// changing reports whether a change of the replicas is under way. A learner on a dead node is not waited for:
// it cannot come before the node does.
func (pl *place) changing(v *View) bool {
	return slices.ContainsFunc(pl.p.Replicas, func(r metadata.Replica) bool {
		return r.State == metadata.Leaving || r.State == metadata.Learner && v.live(r.Node)
	})
}

// step is the next step towards the target of a reassignment: new replicas first, then old ones leave, one
// at a time.
func (pl *place) step(v *View) (metadata.ReplicaChange, bool) {
	none := metadata.ReplicaChange{}
	if pl.p.Target == nil || pl.changing(v) || !v.led(pl.state) {
		return none, false
	}
	next := metadata.ReplicaChange{Topic: pl.topic.ID, Partition: pl.index, Shard: pl.p.Shard}
	complete := true
	for _, node := range pl.p.Target {
		r, ok := pl.p.ReplicaOn(node)
		if ok && r.State == metadata.Voter {
			continue
		}
		complete = false
		if !ok && v.live(node) {
			next.Add = &node
			return next, true
		}
	}
	if !complete {
		return none, false
	}
	if id, ok := pl.nextToLeave(v); ok {
		next.Leave = id
		return next, true
	}
	return none, false
}

// nextToLeave is the replica outside the target that leaves first: a dead one, then a follower, then the
// leader. None leaves that would take the majority along.
func (pl *place) nextToLeave(v *View) (metadata.ReplicaID, bool) {
	var best metadata.ReplicaID
	bestRank := 3
	for _, r := range pl.p.Replicas {
		if slices.Contains(pl.p.Target, r.Node) || !pl.mayLeave(v, r) {
			continue
		}
		rank := 1
		switch {
		case !v.live(r.Node):
			rank = 0
		case r.Node == pl.state.Leader:
			rank = 2
		}
		if rank < bestRank {
			best, bestRank = r.ID, rank
		}
	}
	return best, bestRank < 3
}

// mayLeave reports whether those who stay have a majority in sync and alive without a replica.
func (pl *place) mayLeave(v *View, r metadata.Replica) bool {
	voters, live := 0, 0
	for _, o := range pl.p.Replicas {
		if o.State == metadata.Voter && o.ID != r.ID {
			voters++
			if v.live(o.Node) && slices.Contains(pl.state.ISR, o.Node) {
				live++
			}
		}
	}
	return voters > 0 && live >= voters/2+1
}

// majorityLives reports whether a majority of those who vote is alive. Replicas that are leaving may still
// vote, unless they are gone.
func (pl *place) majorityLives(v *View) bool {
	voters, live := 0, 0
	for _, r := range pl.p.Replicas {
		if !r.Counts() {
			continue
		}
		voters++
		if v.present(r.Node) && !r.Gone {
			live++
		}
	}
	return live >= voters/2+1
}
