package group

import (
	"fmt"
	"math"
	"slices"

	"github.com/stelemq/stele/broker/group/assignor"
)

// Keys of the records of a KIP-848 group, by Kafka's names.
const (
	keyConsumerGroup     = 3  // ConsumerGroupMetadata: group epoch, hash of the subscribed topics
	keyPartitionMetadata = 4  // ConsumerGroupPartitionMetadata: written by Kafka before 4.1 only; the hash replaces it
	keyMember            = 5  // ConsumerGroupMemberMetadata: what the member has told of itself
	keyTarget            = 6  // ConsumerGroupTargetAssignmentMetadata: the epoch of the target
	keyTargetMember      = 7  // ConsumerGroupTargetAssignmentMember: what the member is to have
	keyCurrentMember     = 8  // ConsumerGroupCurrentMemberAssignment: what it has, and its epoch
	keyRegex             = 16 // ConsumerGroupRegularExpression: the topics that a regular expression matches
)

// maxKeyString is the longest string that a key can hold, in bytes.
const maxKeyString = math.MaxInt16

// consumerKey is the key of a record: a group, for some a member, for keyRegex an expression.
type consumerKey struct {
	version int16
	group   string
	member  string // or the regular expression
}

func (k consumerKey) named() bool {
	return k.version == keyMember || k.version == keyTargetMember || k.version == keyCurrentMember || k.version == keyRegex
}

func (k consumerKey) encode() []byte {
	b := appendString(appendInt16(nil, k.version), k.group)
	if k.named() {
		b = appendString(b, k.member)
	}
	return b
}

func decodeConsumerKey(b []byte) (consumerKey, error) {
	r := wireReader{b: b}
	k := consumerKey{version: r.int16(), group: r.string()}
	if k.named() {
		k.member = r.string()
	}
	return k, r.err
}

// decodeValue reads a value of the only version that there is.
func decodeValue(b []byte, read func(r *wireReader)) error {
	r := wireReader{b: b}
	if version := r.int16(); r.err == nil && version != 0 {
		return fmt.Errorf("%w: value of version %d", ErrRecord, version)
	}
	read(&r)
	return r.err
}

// groupMetadata is the value of keyConsumerGroup.
type groupMetadata struct {
	epoch int32
	hash  uint64
}

func (v groupMetadata) encode() []byte {
	b := appendInt32(appendInt16(nil, 0), v.epoch)
	if v.hash == 0 {
		return append(b, 0)
	}
	return appendTag(append(b, 1), 0, appendInt64(nil, int64(v.hash))) //nolint:gosec // the same bits
}

func decodeGroupMetadata(b []byte) (v groupMetadata, err error) {
	err = decodeValue(b, func(r *wireReader) {
		v.epoch = r.int32()
		r.tags(func(tag uint64, value *wireReader) {
			if tag == 0 {
				v.hash = uint64(value.int64()) //nolint:gosec // the same bits
			}
		})
	})
	return v, err
}

// targetMetadata is the value of keyTarget.
type targetMetadata struct {
	epoch int32
	at    int64 // when it was computed, ms since 1970; 0: not known
}

func (v targetMetadata) encode() []byte {
	b := appendInt32(appendInt16(nil, 0), v.epoch)
	if v.at == 0 {
		return append(b, 0)
	}
	return appendTag(append(b, 1), 0, appendInt64(nil, v.at))
}

func decodeTargetMetadata(b []byte) (v targetMetadata, err error) {
	err = decodeValue(b, func(r *wireReader) {
		v.epoch = r.int32()
		r.tags(func(tag uint64, value *wireReader) {
			if tag == 0 {
				v.at = value.int64()
			}
		})
	})
	return v, err
}

func encodeTarget(target assignor.Assignment) []byte {
	b := appendLen(appendInt16(nil, 0), len(target))
	for _, topic := range sortedTopics(target) {
		b = append(b, topic[:]...)
		b = appendInt32s(b, target[topic])
		b = append(b, 0)
	}
	return append(b, 0)
}

func decodeTarget(b []byte) (assignor.Assignment, error) {
	target := make(assignor.Assignment)
	err := decodeValue(b, func(r *wireReader) {
		for range r.length() {
			topic, partitions := r.uuid(), r.int32s()
			r.tags(nil)
			slices.Sort(partitions)
			if len(partitions) > 0 {
				target[topic] = slices.Compact(partitions)
			}
		}
		r.tags(nil)
	})
	return target, err
}

// currentAssignment is the value of keyCurrentMember.
type currentAssignment struct {
	epoch, previousEpoch int32
	state                memberState
	assigned, revoking   ownership
}

func (v currentAssignment) encode() []byte {
	b := appendInt32(appendInt16(nil, 0), v.epoch)
	b = appendInt32(b, v.previousEpoch)
	b = append(b, byte(v.state))
	b = v.assigned.append(b)
	b = v.revoking.append(b)
	return append(b, 0)
}

func decodeCurrentAssignment(b []byte) (v currentAssignment, err error) {
	err = decodeValue(b, func(r *wireReader) {
		v.epoch, v.previousEpoch = r.int32(), r.int32()
		v.state = memberState(r.int8()) //nolint:gosec // values that are not known are memberUnknown
		if v.state > memberUnreleased {
			v.state = memberUnknown
		}
		v.assigned, v.revoking = readOwnership(r, v.epoch), readOwnership(r, v.epoch)
		r.tags(nil)
	})
	return v, err
}

func (o ownership) append(b []byte) []byte {
	b = appendLen(b, len(o))
	for _, topic := range sortedTopics(o) {
		b = append(b, topic[:]...)
		b = appendLen(b, len(o[topic]))
		for _, p := range o[topic] {
			b = appendInt32(b, p.index)
		}
		epochs := appendLen(nil, len(o[topic]))
		for _, p := range o[topic] {
			epochs = appendInt32(epochs, p.epoch)
		}
		b = appendTag(append(b, 1), 0, epochs)
	}
	return b
}

// readOwnership reads partitions; where their epochs are missing (Kafka before 4.3) the member's own holds, which
// refuses commits of earlier epochs as those versions did.
func readOwnership(r *wireReader, epoch int32) ownership {
	o := make(ownership)
	for range r.length() {
		topic, partitions := r.uuid(), r.int32s()
		var epochs []int32
		r.tags(func(tag uint64, value *wireReader) {
			if tag == 0 {
				epochs = value.int32s()
			}
		})
		list := make([]owned, len(partitions))
		for i, p := range partitions {
			list[i] = owned{index: p, epoch: epoch}
			if len(epochs) == len(partitions) {
				list[i].epoch = epochs[i]
			}
		}
		if len(list) > 0 {
			slices.SortFunc(list, compareOwned)
			o[topic] = list
		}
	}
	return o
}

// encode is the value of keyMember.
func (m *consumerMember) encode() []byte {
	b := appendInt16(nil, 0)
	b = appendOptional(b, m.instanceID)
	b = appendOptional(b, m.rack)
	b = appendCompact(b, m.clientID)
	b = appendCompact(b, m.clientHost)
	b = appendStrings(b, m.topics)
	b = appendOptional(b, m.regex)
	b = appendInt32(b, m.rebalanceTimeoutMillis)
	b = appendOptional(b, m.assignor)
	if m.classic == nil {
		return append(b, 0)
	}
	v := append([]byte(nil), 1) // a nullable struct begins with a byte that says that it is there
	v = appendInt32(v, m.classic.sessionTimeoutMillis)
	v = appendLen(v, len(m.classic.protocols))
	for _, p := range m.classic.protocols {
		v = appendCompact(v, p.name)
		v = append(appendLen(v, len(p.metadata)), p.metadata...)
		v = append(v, 0)
	}
	v = append(v, 0)
	return appendTag(append(b, 1), 0, v)
}

// decodeMember reads a value of keyMember into m, whose id and assignment stay as they are.
func (m *consumerMember) decodeMember(b []byte) error {
	return decodeValue(b, func(r *wireReader) {
		m.instanceID, m.rack = r.compact(), r.compact()
		m.clientID, m.clientHost = r.compact(), r.compact()
		m.topics = sortedStrings(r.strings())
		m.regex = r.compact()
		m.rebalanceTimeoutMillis = r.int32()
		m.assignor = r.compact()
		m.classic = nil
		r.tags(func(tag uint64, value *wireReader) {
			if tag == 0 && value.int8() == 1 {
				m.classic = readClassicMember(value)
			}
		})
	})
}

func readClassicMember(r *wireReader) *classicMetadata {
	c := &classicMetadata{sessionTimeoutMillis: r.int32()}
	for range r.length() {
		p := classicProtocol{name: r.compact(), metadata: slices.Clone(r.take(max(0, r.length())))}
		r.tags(nil)
		c.protocols = append(c.protocols, p)
	}
	r.tags(nil)
	return c
}

func (v *resolvedRegex) encode() []byte {
	b := appendStrings(appendInt16(nil, 0), v.topics)
	b = appendInt64(b, int64(v.version)) //nolint:gosec // a counter
	b = appendInt64(b, v.at)
	return append(b, 0)
}

func decodeRegex(b []byte) (*resolvedRegex, error) {
	v := &resolvedRegex{}
	err := decodeValue(b, func(r *wireReader) {
		v.topics = sortedStrings(r.strings())
		v.version, v.at = uint64(r.int64()), r.int64() //nolint:gosec // a counter
		r.tags(nil)
	})
	return v, err
}
