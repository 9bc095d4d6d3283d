package group

import (
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/stelemq/stele/protocol"
)

// group is what is kept under one group id: committed offsets, and a body that knows the members, which may be exchanged for
// one of the other type.
type group struct {
	id string
	// body is a *classicGroup or a *consumerGroup; never nil.
	body body
	// offsets by topic and partition.
	offsets map[string]map[int32]*offset
}

// offset is a committed offset.
type offset struct {
	offset      int64
	leaderEpoch int32 // -1: none
	metadata    string
	committed   int64 // ms since 1970
	expires     int64 // ms since 1970 where the client has said it, -1: by the group's retention
}

// Types of groups, by Kafka's names.
const (
	typeClassic  = "classic"
	typeConsumer = "consumer"
)

// body is what distinguishes the types of groups.
type body interface {
	// groupType is "classic" or "consumer"; state is the state by Kafka's name; protocolType "consumer" for both types as
	// consumers use them.
	groupType() string
	state() string
	protocolType() string
	// size is the number of members.
	size() int
	// checkCommit says whether a member may commit; it may renew the member's session.
	checkCommit(c *Coordinator, g *group, now time.Time, req *kmsg.OffsetCommitRequest) protocol.Code
	// checkFetch says whether a member (nil: nobody in particular) may fetch offsets.
	checkFetch(member *string, epoch int32) protocol.Code
	// subscribes reports whether members are known to be subscribed to a topic; known is false where their subscriptions
	// cannot be read.
	subscribes(topic string) (subscribed, known bool)
	// emptySince is since when the group has had no members, in ms since 1970; ok is false where it has some, -1 where it
	// is not known.
	emptySince() (ms int64, ok bool)
	// tombstones appends the tombstones of everything that is recorded of the body.
	tombstones(g *group, to []Record) []Record
	// lead begins, resign ends the answering of requests; resign goes back to what is recorded and reports whether there is
	// anything. abandon answers what waits.
	lead(c *Coordinator, g *group, now time.Time)
	resign(c *Coordinator, g *group) (recorded bool)
	abandon(code protocol.Code)
}

// find returns a group, nil where there is none.
func (c *Coordinator) find(id string) *group { return c.groups[id] }

// ensure returns a group, a new classic one where there is none.
func (c *Coordinator) ensure(id string) *group {
	g := c.groups[id]
	if g == nil {
		g = &group{id: id, body: newClassicGroup()}
		c.groups[id] = g
	}
	return g
}

// forget drops a group of which nothing is left: no members, no records.
func (c *Coordinator) forget(g *group) { delete(c.groups, g.id) }

func (g *group) offset(topic string, partition int32) *offset { return g.offsets[topic][partition] }

func (g *group) setOffset(topic string, partition int32, o *offset) {
	if g.offsets == nil {
		g.offsets = map[string]map[int32]*offset{}
	}
	parts := g.offsets[topic]
	if parts == nil {
		parts = map[int32]*offset{}
		g.offsets[topic] = parts
	}
	parts[partition] = o
}

func (g *group) dropOffset(topic string, partition int32) {
	delete(g.offsets[topic], partition)
	if len(g.offsets[topic]) == 0 {
		delete(g.offsets, topic)
	}
}
