package controller

import (
	"cmp"
	"maps"
	"slices"
	"time"

	"github.com/stelemq/stele/broker/metadata"
	"github.com/stelemq/stele/protocol/record"
)

// Survey is how far a replica reaches, as its node said.
type Survey struct {
	// Epoch of the last batch and LogEnd, exclusive: the larger pair has more of what was written.
	Epoch  record.LeaderEpoch
	LogEnd record.Offset
	// Leader is the node that the replica's Raft group knows as its leader, -1: none.
	Leader int32
	// Missing: the node has no such replica, or cannot use it.
	Missing bool
}

// lost is a partition that may need a new generation.
type lost struct {
	// since is from when on its majority has been fenced without a break.
	since time.Time
	// asked is when the survivors were last asked.
	asked time.Time
	// answers by node, since asked.
	answers map[int32]Survey
}

// Surveyed takes the answer to a [SurveyRequest]: what a node said of one shard.
func (c *Controller) Surveyed(node int32, shard metadata.ShardID, s Survey) {
	if l, ok := c.lost[shard]; ok && l.answers != nil {
		l.answers[node] = s
	}
}

// recoverLost lets partitions go on whose majority is gone, if their topic or an operator allows it:
//
//  1. The majority has been fenced for UncleanWait, so a leader among it has stopped acknowledging. Where an
//     operator asks, it is enough that nobody has led for so long.
//  2. Every live replica is asked how far it reaches and whether it knows a leader. Who answers acknowledges
//     nothing for a while: it might be reunited with the others and lead.
//  3. When all have answered and none knows a living leader, the longest log becomes the only founder of a
//     new generation, whatever its place in the assignment.
func (c *Controller) recoverLost(v *View, d *scan, a *Actions) {
	requests := map[int32]*SurveyRequest{}
	still := map[metadata.ShardID]bool{}
	for _, pl := range d.lost {
		if v.led(pl.state) { // it has come back by itself
			if pl.p.Recover {
				a.Commands = append(a.Commands, &metadata.RecoverPartition{Topic: pl.topic.ID, Partition: pl.index, Cancel: true})
			}
			continue
		}
		if !pl.p.Recover && pl.majorityLives(v) {
			continue
		}
		still[pl.p.Shard] = true
		l := c.lost[pl.p.Shard]
		if l == nil {
			l = &lost{since: v.Now}
			c.lost[pl.p.Shard] = l
		}
		allowed := pl.p.Recover || v.Unclean != nil && v.Unclean(pl.topic)
		if !allowed || v.Now.Sub(c.lostSince(v, pl, l)) < c.cfg.UncleanWait() {
			continue
		}
		c.recoverOne(v, pl, l, requests, a)
	}
	// A majority that came back for a moment may have acknowledged: the wait begins anew.
	maps.DeleteFunc(c.lost, func(s metadata.ShardID, _ *lost) bool { return !still[s] })
	for _, node := range slices.Sorted(maps.Keys(requests)) {
		a.Surveys = append(a.Surveys, *requests[node])
	}
}

// lostSince is when the last of the voters that are missing went missing: before that it may have been told that
// it lives, met others of the missing, and led them.
func (c *Controller) lostSince(v *View, pl place, l *lost) time.Time {
	since := l.since
	for _, r := range pl.p.Replicas {
		if r.Counts() && !v.live(r.Node) {
			since = later(since, c.fenced[r.Node])
		}
	}
	return since
}

func (c *Controller) recoverOne(v *View, pl place, l *lost, requests map[int32]*SurveyRequest, a *Actions) {
	survivors := pl.survivors(v)
	if len(survivors) == 0 {
		return
	}
	if l.answers != nil && v.Now.Sub(l.asked) <= c.cfg.Patience {
		if best, ok := l.verdict(v, survivors); ok {
			a.Commands = append(a.Commands, &metadata.NewGeneration{Topic: pl.topic.ID, Partition: pl.index, Shard: pl.p.Shard, Survivor: best.ID})
			a.Notes = append(a.Notes, Note{Text: "unclean recovery: the longest surviving replica leads", Node: best.Node, Topic: pl.topic.Name, Partition: pl.index})
			l.answers = nil
			l.asked = v.Now
			return
		}
	}
	if l.asked.IsZero() || v.Now.Sub(l.asked) >= c.cfg.Patience {
		l.asked, l.answers = v.Now, map[int32]Survey{}
		for _, r := range survivors {
			if requests[r.Node] == nil {
				requests[r.Node] = &SurveyRequest{Node: r.Node, Hold: 2 * c.cfg.Patience}
			}
			requests[r.Node].Shards = append(requests[r.Node].Shards, pl.p.Shard)
		}
	}
}

// survivors are the replicas on nodes that are alive or just back, one of each node: learners, too, may have the
// longest log.
func (pl *place) survivors(v *View) []metadata.Replica {
	var out []metadata.Replica
	for _, r := range pl.p.Replicas {
		if newest, _ := pl.p.ReplicaOn(r.Node); v.present(r.Node) && newest.ID == r.ID && !r.Gone {
			out = append(out, r)
		}
	}
	return out
}

// verdict is the survivor that wins; false while an answer is missing or somebody knows a living leader.
func (l *lost) verdict(v *View, survivors []metadata.Replica) (metadata.Replica, bool) {
	var best metadata.Replica
	found := false
	for _, r := range survivors {
		s, answered := l.answers[r.Node]
		if !answered || s.Leader >= 0 && v.live(s.Leader) {
			return metadata.Replica{}, false
		}
		if s.Missing {
			continue
		}
		b := l.answers[best.Node]
		// Of equals, one that votes, then the first in the order of preference.
		if !found || cmp.Or(cmp.Compare(s.Epoch, b.Epoch), cmp.Compare(s.LogEnd, b.LogEnd), cmp.Compare(votes(r), votes(best))) > 0 {
			best, found = r, true
		}
	}
	return best, found
}

func votes(r metadata.Replica) int {
	if r.State == metadata.Voter {
		return 1
	}
	return 0
}
