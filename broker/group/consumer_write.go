package group

import (
	"time"

	"github.com/stelemq/stele/broker/group/assignor"
)

// Every change of a consumer group is one of these: the state and the record that says so.

func (c *Coordinator) writeEpoch(now time.Time, g *group, k *consumerGroup, epoch int32, reason string) {
	k.epoch = epoch
	c.emit(Record{consumerKey{keyConsumerGroup, g.id, ""}.encode(), groupMetadata{epoch, k.hash}.encode()})
	if k.began.IsZero() {
		k.began = now
		c.cfg.Events.RebalanceBegan(g.id, reason)
	}
}

func (c *Coordinator) writeMember(g *group, k *consumerGroup, m *consumerMember) {
	k.setMember(m)
	c.emit(Record{consumerKey{keyMember, g.id, m.id}.encode(), m.encode()})
}

func (c *Coordinator) writeAssignment(g *group, k *consumerGroup, m *consumerMember) {
	k.setMember(m)
	c.emit(Record{consumerKey{keyCurrentMember, g.id, m.id}.encode(), m.currentAssignment.encode()})
}

func (c *Coordinator) writeTarget(g *group, k *consumerGroup, member string, target assignor.Assignment) {
	k.target[member] = target
	c.emit(Record{consumerKey{keyTargetMember, g.id, member}.encode(), encodeTarget(target)})
}

// writeTargetEpoch: at is when the target was computed, in ms since 1970; 0 has the next one due at once.
func (c *Coordinator) writeTargetEpoch(g *group, k *consumerGroup, epoch int32, at int64) {
	k.targetEpoch, k.targetAt = epoch, at
	c.emit(Record{consumerKey{keyTarget, g.id, ""}.encode(), targetMetadata{epoch, k.targetAt}.encode()})
}

func (c *Coordinator) writeRegex(g *group, k *consumerGroup, regex string, r *resolvedRegex) {
	k.regexes[regex] = r
	c.emit(Record{consumerKey{keyRegex, g.id, regex}.encode(), r.encode()})
}

// writeGone takes a member out: what it had, was to have and has told.
func (c *Coordinator) writeGone(g *group, k *consumerGroup, m *consumerMember) {
	k.dropMember(m.id)
	delete(k.target, m.id)
	for _, version := range []int16{keyCurrentMember, keyTargetMember, keyMember} {
		c.emit(Record{Key: consumerKey{version, g.id, m.id}.encode()})
	}
	c.dropRegexes(g, k)
	c.cancelConsumerTimers(g, m.id)
}

// dropRegexes forgets the expressions that nobody subscribes by any more.
func (c *Coordinator) dropRegexes(g *group, k *consumerGroup) {
	for regex := range k.regexes {
		if k.regexMembers[regex] == 0 {
			delete(k.regexes, regex)
			delete(k.compiled, regex)
			c.emit(Record{Key: consumerKey{keyRegex, g.id, regex}.encode()})
		}
	}
}
