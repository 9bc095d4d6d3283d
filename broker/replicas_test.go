package broker

import (
	"testing"
	"time"

	"github.com/stelemq/stele/broker/metadata"
	"github.com/stelemq/stele/dledger"
)

// wishFor makes a wish of replicas whose ids are their nodes plus 100 times their place where a node has two.
func wishFor(rs ...metadata.Replica) *metadata.Partition {
	return &metadata.Partition{Shard: 16, Replicas: rs}
}

// upTo makes a wish know that replica ids below next have been given.
func upTo(next metadata.ReplicaID, wish *metadata.Partition) *metadata.Partition {
	wish.NextReplica = next
	return wish
}

func want(id metadata.ReplicaID, node int32, s metadata.ReplicaState) metadata.Replica {
	return metadata.Replica{ID: id, Node: node, State: s}
}

// raft is a leader's view of a group: the first replica leads.
func raft(rs ...dledger.ReplicaStatus) dledger.RaftStatus {
	return dledger.RaftStatus{Replica: rs[0].Replica, Role: dledger.RoleLeader, Replicas: rs}
}

func voter(id dledger.ReplicaID, node int32) dledger.ReplicaStatus {
	return dledger.ReplicaStatus{Replica: id, Node: node, Voter: true, Match: 10}
}

func silent(r dledger.ReplicaStatus) dledger.ReplicaStatus {
	r.LastContact, r.CaughtUp = time.Hour, time.Hour
	return r
}

func learner(id dledger.ReplicaID, node int32, behind time.Duration) dledger.ReplicaStatus {
	return dledger.ReplicaStatus{Replica: id, Node: node, Match: 10, CaughtUp: behind}
}

func TestNextChange(t *testing.T) {
	const v, l, out = metadata.Voter, metadata.Learner, metadata.Leaving
	for name, c := range map[string]struct {
		wish *metadata.Partition
		have dledger.RaftStatus
		isr  []int32
		want replicaChange
	}{
		"nothing":              {wishFor(want(1, 1, v), want(2, 2, v)), raft(voter(1, 1), voter(2, 2)), []int32{1, 2}, replicaChange{}},
		"add":                  {wishFor(want(1, 1, v), want(2, 2, l)), raft(voter(1, 1)), []int32{1}, replicaChange{changeAdd, 2, 2}},
		"promote":              {wishFor(want(1, 1, v), want(2, 2, l)), raft(voter(1, 1), learner(2, 2, 0)), []int32{1}, replicaChange{changePromote, 2, 2}},
		"learner far behind":   {wishFor(want(1, 1, v), want(2, 2, l)), raft(voter(1, 1), learner(2, 2, time.Minute)), []int32{1}, replicaChange{}},
		"learner never heard":  {wishFor(want(1, 1, v), want(2, 2, l)), raft(voter(1, 1), silent(learner(2, 2, 0))), []int32{1}, replicaChange{}},
		"remove":               {wishFor(want(1, 1, v), want(2, 2, out)), raft(voter(1, 1), voter(2, 2)), []int32{1, 2}, replicaChange{changeRemove, 2, 2}},
		"remove a learner":     {wishFor(want(1, 1, v), want(2, 2, out)), raft(voter(1, 1), silent(learner(2, 2, 0))), []int32{1}, replicaChange{changeRemove, 2, 2}},
		"the leader leaves":    {wishFor(want(1, 1, out), want(2, 2, v)), raft(voter(1, 1), voter(2, 2)), []int32{1, 2}, replicaChange{changeHandOver, 1, 2}},
		"nobody to hand to":    {wishFor(want(1, 1, out), want(2, 2, v)), raft(voter(1, 1), silent(voter(2, 2))), []int32{1, 2}, replicaChange{}},
		"learner before leave": {wishFor(want(1, 1, v), want(2, 2, out), want(3, 3, l)), raft(voter(1, 1), voter(2, 2)), []int32{1, 2}, replicaChange{changeAdd, 3, 3}},
		"an old disk first": {
			wishFor(want(1, 1, v), want(2, 2, out), want(3, 3, v), want(4, 2, l)),
			raft(voter(1, 1), silent(voter(2, 2)), voter(3, 3)),
			[]int32{1, 3},
			replicaChange{changeRemove, 2, 2},
		},
		"no majority without it": {
			wishFor(want(1, 1, v), want(2, 2, out), want(3, 3, v)), raft(voter(1, 1), voter(2, 2), silent(voter(3, 3))),
			[]int32{1, 2},
			replicaChange{},
		},
		"who is not known yet stays": {wishFor(want(1, 1, v)), raft(voter(1, 1), voter(9, 9)), []int32{1, 9}, replicaChange{}},
		"a learner that is not wanted any more": {
			upTo(10, wishFor(want(1, 1, v))), raft(voter(1, 1), silent(learner(9, 9, 0))), []int32{1}, replicaChange{changeRemove, 9, 9},
		},
		"a voter that is not wanted any more": {
			upTo(10, wishFor(want(1, 1, v), want(2, 2, v))), raft(voter(1, 1), voter(2, 2), voter(9, 9)), []int32{1, 2, 9}, replicaChange{changeRemove, 9, 9},
		},
		"not wanted, but no majority without it": {
			upTo(10, wishFor(want(1, 1, v), want(2, 2, v))), raft(voter(1, 1), silent(voter(2, 2)), voter(9, 9)), []int32{1, 9}, replicaChange{},
		},
		"what is wanted comes first": {
			upTo(10, wishFor(want(1, 1, v), want(2, 2, l))), raft(voter(1, 1), learner(9, 9, 0)), []int32{1}, replicaChange{changeAdd, 2, 2},
		},
		"the leader is not wanted any more": {
			upTo(10, wishFor(want(2, 2, v))), raft(voter(1, 1), voter(2, 2)), []int32{1, 2}, replicaChange{changeHandOver, 1, 2},
		},
	} {
		if got := nextChange(c.wish, c.have, c.isr); got != c.want {
			t.Errorf("%s: %+v, want %+v", name, got, c.want)
		}
		var members []dledger.Member
		for _, m := range c.have.Replicas {
			members = append(members, dledger.Member{Replica: m.Replica, Node: m.Node, Voter: m.Voter})
		}
		if c.want.kind != changeNone && agrees(c.wish, members) {
			t.Errorf("%s: taken for done", name)
		}
	}
}
