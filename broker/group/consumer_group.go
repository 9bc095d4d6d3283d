package group

import (
	"maps"
	"regexp"
	"slices"
	"time"

	"github.com/stelemq/stele/broker/group/assignor"
	"github.com/stelemq/stele/protocol"
)

// consumerGroup is a group of the consumer protocol (KIP-848).
//
// Everything above the line is what the records say, no more and no less: live changes go through the methods of
// consumer_write.go, which emit the record, and replay through those of consumer_replay.go; both end in the same
// set methods here. What stands below the line is lost with leadership.
type consumerGroup struct {
	epoch       int32  // the group epoch: bumped when members, subscriptions or topics change
	hash        uint64 // of the subscribed topics that exist, see subscriptionHash
	targetEpoch int32  // the group epoch that target was made for. Invariant: targetEpoch <= epoch
	targetAt    int64  // when, ms since 1970; 0: not known
	members     map[string]*consumerMember
	target      map[string]assignor.Assignment
	regexes     map[string]*resolvedRegex

	// Kept from the above, for speed.
	static       map[string]string            // instance id → member id
	owners       map[TopicID]map[int32]string // partition → the member that owns it or is to give it up
	subscribers  map[string]int               // topic name → members that name it
	regexMembers map[string]int               // expression → members that subscribe by it
	classic      int                          // members that speak the classic protocol
	protocols    map[string]int               // protocol of the classic members → how many support it

	// -----------------------------------------------------------------------------------------------------------
	seen      uint64    // version of the topics that hash was computed from
	regexSeen uint64    // version of the topics that the expressions were evaluated over
	regexNext time.Time // not to be evaluated again before
	compiled  map[string]*regexp.Regexp
	began     time.Time // when the rebalance in progress began; zero: none
}

// resolvedRegex are the topics that an expression matched.
type resolvedRegex struct {
	topics  []string // ascending
	version uint64   // of the topics
	at      int64    // ms since 1970
}

func newConsumerGroup() *consumerGroup {
	return &consumerGroup{
		members: map[string]*consumerMember{}, target: map[string]assignor.Assignment{}, regexes: map[string]*resolvedRegex{},
		static: map[string]string{}, owners: map[TopicID]map[int32]string{}, subscribers: map[string]int{},
		regexMembers: map[string]int{}, protocols: map[string]int{}, compiled: map[string]*regexp.Regexp{},
	}
}

func (k *consumerGroup) groupType() string    { return typeConsumer }
func (k *consumerGroup) protocolType() string { return protocolConsumer }
func (k *consumerGroup) size() int            { return len(k.members) }

// state is Kafka's name of the group's state: Empty, Assigning, Reconciling or Stable.
func (k *consumerGroup) state() string {
	switch {
	case len(k.members) == 0:
		return "Empty"
	case k.epoch > k.targetEpoch:
		return "Assigning"
	case k.settled():
		return "Stable"
	}
	return "Reconciling"
}

// settled tells whether all members have what the newest target gives them.
func (k *consumerGroup) settled() bool {
	if k.epoch > k.targetEpoch {
		return false
	}
	for _, m := range k.members {
		if !m.reconciledTo(k.targetEpoch) {
			return false
		}
	}
	return true
}

// setMember takes a member in, or replaces what is known of it.
func (k *consumerGroup) setMember(m *consumerMember) {
	if old := k.members[m.id]; old != nil {
		k.uncount(old)
	}
	k.members[m.id] = m
	if m.instanceID != "" {
		k.static[m.instanceID] = m.id
	}
	for _, topic := range m.topics {
		k.subscribers[topic]++
	}
	if m.regex != "" {
		k.regexMembers[m.regex]++
	}
	if m.classic != nil {
		k.classic++
		for _, p := range m.classic.protocols {
			k.protocols[p.name]++
		}
	}
	for _, o := range []ownership{m.assigned, m.revoking} {
		for topic, list := range o {
			if k.owners[topic] == nil {
				k.owners[topic] = make(map[int32]string, len(list))
			}
			for _, p := range list {
				k.owners[topic][p.index] = m.id
			}
		}
	}
}

func (k *consumerGroup) dropMember(id string) {
	if m := k.members[id]; m != nil {
		k.uncount(m)
		delete(k.members, id)
	}
}

// uncount undoes what setMember has counted.
func (k *consumerGroup) uncount(m *consumerMember) {
	if m.instanceID != "" && k.static[m.instanceID] == m.id {
		delete(k.static, m.instanceID)
	}
	for _, topic := range m.topics {
		decrement(k.subscribers, topic)
	}
	if m.regex != "" {
		decrement(k.regexMembers, m.regex)
	}
	if m.classic != nil {
		k.classic--
		for _, p := range m.classic.protocols {
			decrement(k.protocols, p.name)
		}
	}
	for _, o := range []ownership{m.assigned, m.revoking} {
		for topic, list := range o {
			for _, p := range list {
				if k.owners[topic][p.index] == m.id {
					delete(k.owners[topic], p.index)
				}
			}
			if len(k.owners[topic]) == 0 {
				delete(k.owners, topic)
			}
		}
	}
}

func decrement(counts map[string]int, key string) {
	if counts[key]--; counts[key] <= 0 {
		delete(counts, key)
	}
}

// owner is who owns a partition or has yet to give it up, "" for nobody.
func (k *consumerGroup) owner(topic TopicID, partition int32) string {
	return k.owners[topic][partition]
}

// ordered lists the members by id.
func (k *consumerGroup) ordered() []*consumerMember {
	list := make([]*consumerMember, 0, len(k.members))
	for _, id := range slices.Sorted(maps.Keys(k.members)) {
		list = append(list, k.members[id])
	}
	return list
}

// staticMember is the member of an instance id, nil where there is none.
func (k *consumerGroup) staticMember(instance string) *consumerMember {
	return k.members[k.static[instance]]
}

// find returns a member by its instance id if it has one, else by its id.
// Codes: UnknownMemberID, FencedInstanceID.
func (k *consumerGroup) find(id, instance string) (*consumerMember, protocol.Code) {
	if instance == "" {
		if m := k.members[id]; m != nil {
			return m, protocol.None
		}
		return nil, protocol.UnknownMemberID
	}
	m := k.staticMember(instance)
	switch {
	case m == nil:
		return nil, protocol.UnknownMemberID
	case m.id != id:
		return nil, protocol.FencedInstanceID
	}
	return m, protocol.None
}

func (k *consumerGroup) subscribes(topic string) (subscribed, known bool) {
	if k.subscribers[topic] > 0 {
		return true, true
	}
	for regex := range k.regexMembers {
		if r := k.regexes[regex]; r != nil {
			if _, found := slices.BinarySearch(r.topics, topic); found {
				return true, true
			}
		}
	}
	return false, true
}

// emptySince is not recorded of consumer groups: their offsets age from the commit on, as in Kafka.
func (k *consumerGroup) emptySince() (int64, bool) { return -1, len(k.members) == 0 }

func (k *consumerGroup) tombstones(g *group, to []Record) []Record {
	tombstone := func(version int16, member string) {
		to = append(to, Record{Key: consumerKey{version, g.id, member}.encode()})
	}
	members := k.ordered()
	for _, m := range members {
		tombstone(keyCurrentMember, m.id)
	}
	for _, id := range slices.Sorted(maps.Keys(k.target)) {
		tombstone(keyTargetMember, id)
	}
	tombstone(keyTarget, "")
	for _, m := range members {
		tombstone(keyMember, m.id)
	}
	for _, regex := range slices.Sorted(maps.Keys(k.regexes)) {
		tombstone(keyRegex, regex)
	}
	tombstone(keyConsumerGroup, "")
	return to
}

func (k *consumerGroup) lead(c *Coordinator, g *group, now time.Time) {
	k.forgetSoft()
	for _, m := range k.members {
		c.armConsumerSession(g, m, now)
		if m.state == memberUnrevoked && m.classic == nil {
			c.armRevocation(g, m, now)
		}
	}
}

func (k *consumerGroup) resign(_ *Coordinator, _ *group) bool {
	k.forgetSoft()
	return true
}

func (k *consumerGroup) abandon(protocol.Code) {} // no request of a consumer group ever waits

func (k *consumerGroup) forgetSoft() {
	k.seen, k.regexSeen, k.regexNext, k.began = 0, 0, time.Time{}, time.Time{}
	clear(k.compiled)
}
