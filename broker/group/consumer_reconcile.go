package group

import (
	"slices"

	"github.com/stelemq/stele/broker/group/assignor"
)

// reconciliation is one step of a member towards its target: give up first, then take what is free.
//
//	stable ──new target──► has partitions to give up? ──yes──► unrevoked: stays in its epoch until it owns them no more
//	                             │ no                              │
//	                             ▼                                 ▼
//	                  target epoch; takes what nobody owns; unreleased while others still own some of the rest
type reconciliation struct {
	member      *consumerMember
	targetEpoch int32
	target      assignor.Assignment
	subscribed  map[TopicID]struct{} // topics outside are given up and not given
	owner       func(topic TopicID, partition int32) string
	// claimed are the partitions that the member says it owns; told is false where it says nothing.
	claimed assignor.Assignment
	told    bool
}

// next returns the member after the step, or the member itself where nothing changes. fenced: it has to give up
// everything and join again.
func (r *reconciliation) next() (m *consumerMember, fenced bool) {
	switch r.member.state {
	case memberStable:
		if r.member.epoch == r.targetEpoch {
			return r.dropUnsubscribed(), false
		}
	case memberUnrevoked:
		if r.claims(r.member.revoking) {
			return r.dropUnsubscribed(), false
		}
	case memberUnreleased:
	default: // recorded by a version that knows more
		if !r.told || len(r.claimed) > 0 {
			return nil, true
		}
	}
	return r.compute(), false
}

// claims tells whether the member may still own one of these partitions; who says nothing may.
func (r *reconciliation) claims(o ownership) bool {
	if len(o) == 0 {
		return false
	}
	if !r.told {
		return true
	}
	for topic, partitions := range r.claimed {
		for _, p := range partitions {
			if o.has(topic, p) {
				return true
			}
		}
	}
	return false
}

// dropUnsubscribed has the member give up what it does not subscribe to any more, before a new target says so.
func (r *reconciliation) dropUnsubscribed() *consumerMember {
	keep, drop := make(ownership), make(ownership)
	for topic, list := range r.member.assigned {
		if _, ok := r.subscribed[topic]; ok {
			keep[topic] = list
		} else {
			drop[topic] = list
		}
	}
	if len(drop) == 0 {
		return r.member
	}
	m := r.member.clone()
	m.assigned = keep
	for topic, list := range m.revoking {
		drop[topic] = slices.SortedFunc(slices.Values(slices.Concat(drop[topic], list)), compareOwned)
	}
	if r.claims(drop) {
		m.state, m.revoking = memberUnrevoked, drop
	}
	m.moveTo(m.epoch)
	return m
}

// compute makes the next step towards the target.
func (r *reconciliation) compute() *consumerMember {
	keep, drop, take := make(ownership), make(ownership), make(assignor.Assignment)
	for topic, list := range r.member.assigned {
		_, subscribed := r.subscribed[topic]
		for _, p := range list {
			if subscribed && r.target.Has(topic, p.index) {
				keep[topic] = append(keep[topic], p)
			} else {
				drop[topic] = append(drop[topic], p)
			}
		}
	}
	unreleased := false
	for topic, partitions := range r.target {
		if _, subscribed := r.subscribed[topic]; !subscribed {
			continue
		}
		for _, p := range partitions {
			switch owner := r.owner(topic, p); {
			case r.member.assigned.has(topic, p):
			case owner == "" || owner == r.member.id: // its own: given up a moment ago, wanted again
				take[topic] = append(take[topic], p)
			default:
				unreleased = true
			}
		}
	}

	m := r.member.clone()
	if r.claims(drop) {
		m.moveTo(r.member.epoch)
		m.state, m.assigned, m.revoking = memberUnrevoked, keep, drop
		return m
	}
	for topic, partitions := range take {
		for _, p := range partitions {
			keep[topic] = append(keep[topic], owned{index: p, epoch: r.targetEpoch})
		}
		slices.SortFunc(keep[topic], compareOwned)
	}
	m.moveTo(r.targetEpoch)
	m.state, m.assigned, m.revoking = memberStable, keep, nil
	if unreleased {
		m.state = memberUnreleased
	}
	return m
}
