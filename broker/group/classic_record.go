package group

import (
	"slices"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/stelemq/stele/protocol"
)

// write records the group as it is now.
func (k *classicGroup) write(c *Coordinator, g *group, now time.Time) {
	k.since = now.UnixMilli()
	v := kmsg.GroupMetadataValue{
		Version: valueGroupVersion, ProtocolType: k.kind, Generation: k.generation, Protocol: optional(k.protocol), Leader: optional(k.leader),
		CurrentStateTimestamp: k.since,
	}
	for _, m := range k.ordered() {
		v.Members = append(v.Members, kmsg.GroupMetadataValueMember{
			MemberID: m.id, InstanceID: optional(m.instance), ClientID: m.clientID, ClientHost: m.host,
			RebalanceTimeoutMillis: millis32(m.rebalanceTimeout), SessionTimeoutMillis: millis32(m.sessionTimeout),
			Subscription: m.metadata(k.protocol), Assignment: m.assignment,
		})
	}
	k.recorded = v.AppendTo(nil)
	c.emit(Record{Key: groupKey(g.id), Value: k.recorded})
}

func millis32(d time.Duration) int32 { return int32(min(d.Milliseconds(), 1<<31-1)) } //nolint:gosec // bounded

func (c *Coordinator) replayGroup(r Record) error {
	id, err := readGroupKey(r.Key)
	if err != nil {
		return err
	}
	if r.Value == nil {
		// Offsets that are still there belong to nobody's members; they have tombstones of their own.
		if g := c.groups[id]; g != nil && g.body.groupType() == typeClassic {
			g.body = newClassicGroup()
			if len(g.offsets) == 0 {
				c.forget(g)
			}
		}
		return nil
	}
	k, err := readClassicGroup(r.Value)
	if err != nil {
		return err
	}
	c.ensure(id).body = k
	return nil
}

// readClassicGroup makes a group of what is recorded.
func readClassicGroup(value []byte) (*classicGroup, error) {
	value = slices.Clone(value) // what is read aliases it
	v, err := readGroupValue(value)
	if err != nil {
		return nil, err
	}
	k := newClassicGroup()
	k.recorded = value
	k.kind, k.generation, k.since = v.ProtocolType, v.Generation, -1
	if v.Version >= 2 {
		k.since = v.CurrentStateTimestamp
	}
	k.protocol = instanceOf(v.Protocol)
	for i := range v.Members {
		rm := &v.Members[i]
		m := &classicMember{
			id: rm.MemberID, instance: instanceOf(rm.InstanceID), clientID: rm.ClientID, host: rm.ClientHost,
			sessionTimeout: time.Duration(rm.SessionTimeoutMillis) * time.Millisecond, rebalanceTimeout: time.Duration(rm.RebalanceTimeoutMillis) * time.Millisecond,
			protocols:  []kmsg.JoinGroupRequestProtocol{{Name: k.protocol, Metadata: rm.Subscription}},
			assignment: rm.Assignment,
		}
		if v.Version < 1 || rm.RebalanceTimeoutMillis < 0 {
			m.rebalanceTimeout = m.sessionTimeout
		}
		k.add(m)
		k.kind = v.ProtocolType
	}
	if k.leader = instanceOf(v.Leader); len(k.members) > 0 {
		k.status = stateStable
	}
	return k, nil
}

func (k *classicGroup) tombstones(g *group, to []Record) []Record {
	if k.recorded == nil {
		return to
	}
	return append(to, Record{Key: groupKey(g.id)})
}

func (k *classicGroup) lead(c *Coordinator, g *group, now time.Time) {
	for _, m := range k.members {
		c.armSession(g, m.id, now.Add(m.sessionTimeout))
	}
	if len(k.members) > c.cfg.MaxSize {
		c.prepare(now, g, k, ReasonSize)
	}
}

func (k *classicGroup) resign(_ *Coordinator, g *group) bool {
	if k.recorded == nil {
		g.body = newClassicGroup()
		return false
	}
	was, err := readClassicGroup(k.recorded)
	if err != nil { // it was written by write
		panic(err)
	}
	g.body = was
	return true
}

func (k *classicGroup) abandon(code protocol.Code) {
	for _, m := range k.members {
		for _, r := range []*Request{m.joining, m.syncing} {
			if r != nil {
				r.Fail(code)
			}
		}
		m.joining, m.syncing = nil, nil
	}
}

func (k *classicGroup) emptySince() (int64, bool) { return k.since, len(k.members) == 0 }
