package group

import (
	"bytes"
	"maps"
	"slices"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/stelemq/stele/protocol"
)

// classicState is the state of a classic group.
type classicState uint8

const (
	// stateEmpty: no members. Offsets may still be kept.
	stateEmpty classicState = iota
	// statePreparing: members are asked to join again.
	statePreparing
	// stateCompleting: all have joined; the leader works out the assignment.
	stateCompleting
	// stateStable: the assignment is recorded.
	stateStable
)

func (s classicState) String() string {
	return [...]string{"Empty", "PreparingRebalance", "CompletingRebalance", "Stable"}[s]
}

// stateDead is what a group that does not exist is described as.
const stateDead = "Dead"

// protocolConsumer is the protocol type of consumers; other users of groups (Connect) have their own.
const protocolConsumer = "consumer"

// classicMember is a member of a classic group.
type classicMember struct {
	id, instance     string // instance is "" for a dynamic member
	clientID, host   string
	sessionTimeout   time.Duration
	rebalanceTimeout time.Duration
	protocols        []kmsg.JoinGroupRequestProtocol
	assignment       []byte
	joined           int // for a stable order: when it came, counted in the group
	// isNew: it waits for its first join and does not know its id yet.
	isNew bool
	// joining and syncing wait for their answers; at most one of them is set.
	joining, syncing *Request
}

// classicGroup is a group of the classic protocol. The zero value is not ready: newClassicGroup.
type classicGroup struct {
	status     classicState
	previous   classicState
	generation int32
	kind       string // protocol type, "" until a member has joined
	protocol   string // chosen for the generation, "" while there is none
	leader     string // member id, "" while there is none
	members    map[string]*classicMember
	static     map[string]string // member ids by instance id
	pending    map[string]struct{}
	// unsynced are the members of this generation that have not fetched their assignments.
	unsynced map[string]struct{}
	// since is when the state began by what is recorded, ms since 1970; -1: not known.
	since  int64
	joined int
	// began is when the rebalance in progress began.
	began time.Time
	// What the first rebalance of an empty group goes by.
	initial   bool
	newMember bool // somebody has come since the timer was started
	// recorded is the value last written, nil where there is none. Committed or not: see Coordinator.Resign.
	recorded []byte
}

func newClassicGroup() *classicGroup {
	return &classicGroup{
		members: map[string]*classicMember{}, static: map[string]string{}, pending: map[string]struct{}{},
		unsynced: map[string]struct{}{}, since: -1,
	}
}

func (k *classicGroup) groupType() string    { return typeClassic }
func (k *classicGroup) state() string        { return k.status.String() }
func (k *classicGroup) protocolType() string { return k.kind }
func (k *classicGroup) size() int            { return len(k.members) }

func (k *classicGroup) become(s classicState) { k.previous, k.status = k.status, s }

// add takes a member in; who comes first leads.
func (k *classicGroup) add(m *classicMember) {
	if len(k.members) == 0 {
		k.kind = kindOf(m, k.kind)
	}
	k.joined++
	m.joined = k.joined
	k.members[m.id] = m
	if m.instance != "" {
		k.static[m.instance] = m.id
	}
	if k.leader == "" {
		k.leader = m.id
	}
	delete(k.pending, m.id)
}

// kindOf is the protocol type that the first member brings.
func kindOf(m *classicMember, known string) string {
	if m.joining != nil {
		if req, ok := m.joining.Req.(*kmsg.JoinGroupRequest); ok {
			return req.ProtocolType
		}
	}
	return known
}

// remove takes a member out; its requests must have been answered.
func (k *classicGroup) remove(m *classicMember) {
	delete(k.members, m.id)
	delete(k.unsynced, m.id)
	if m.instance != "" && k.static[m.instance] == m.id {
		delete(k.static, m.instance)
	}
	if k.leader == m.id {
		k.leader = ""
		if others := k.ordered(); len(others) > 0 {
			k.leader = others[0].id
		}
	}
}

// ordered are the members in the order in which they came.
func (k *classicGroup) ordered() []*classicMember {
	return slices.SortedFunc(maps.Values(k.members), func(a, b *classicMember) int { return a.joined - b.joined })
}

// joining counts the members that wait for the end of the join phase.
func (k *classicGroup) joining() int {
	n := 0
	for _, m := range k.members {
		if m.joining != nil {
			n++
		}
	}
	return n
}

func (k *classicGroup) allJoined() bool {
	return len(k.pending) == 0 && k.joining() == len(k.members)
}

// rebalanceTimeout is how long members get to join again.
func (k *classicGroup) rebalanceTimeout() time.Duration {
	var most time.Duration
	for _, m := range k.members {
		most = max(most, m.rebalanceTimeout)
	}
	return most
}

// supports reports whether a member with these protocols may be in the group.
func (k *classicGroup) supports(kind string, protocols []kmsg.JoinGroupRequestProtocol) bool {
	if len(k.members) == 0 {
		return kind != "" && len(protocols) > 0
	}
	if kind != k.kind {
		return false
	}
	return slices.ContainsFunc(protocols, func(p kmsg.JoinGroupRequestProtocol) bool { return k.common(p.Name) })
}

// common reports whether all members support a protocol.
func (k *classicGroup) common(name string) bool {
	for _, m := range k.members {
		if !m.supports(name) {
			return false
		}
	}
	return true
}

// vote chooses the protocol: each member votes for the first of its own that all support.
func (k *classicGroup) vote() string {
	votes := map[string]int{}
	best := ""
	for _, m := range k.ordered() {
		for i := range m.protocols {
			if name := m.protocols[i].Name; k.common(name) {
				votes[name]++
				if best == "" || votes[name] > votes[best] {
					best = name
				}
				break
			}
		}
	}
	return best
}

// check says whether a member is who it claims to be.
func (k *classicGroup) check(member, instance string) protocol.Code {
	if instance != "" {
		if id, ok := k.static[instance]; ok && id != member {
			return protocol.FencedInstanceID
		}
	}
	if k.members[member] == nil {
		return protocol.UnknownMemberID
	}
	return protocol.None
}

func (m *classicMember) supports(name string) bool {
	return slices.ContainsFunc(m.protocols, func(p kmsg.JoinGroupRequestProtocol) bool { return p.Name == name })
}

// metadata is what the member says under a protocol.
func (m *classicMember) metadata(name string) []byte {
	for i := range m.protocols {
		if m.protocols[i].Name == name {
			return m.protocols[i].Metadata
		}
	}
	return []byte{}
}

// matches reports whether the member's protocols are exactly these.
func (m *classicMember) matches(protocols []kmsg.JoinGroupRequestProtocol) bool {
	return slices.EqualFunc(m.protocols, protocols, func(a, b kmsg.JoinGroupRequestProtocol) bool {
		return a.Name == b.Name && bytes.Equal(a.Metadata, b.Metadata)
	})
}

// waits reports whether a request of the member is being held, so that it cannot send heartbeats.
func (m *classicMember) waits() bool { return m.joining != nil || m.syncing != nil }

// instanceOf is an optional instance id as a plain string.
func instanceOf(id *string) string {
	if id == nil {
		return ""
	}
	return *id
}

// optional is the reverse: "" becomes null.
func optional(s string) *string {
	if s == "" {
		return nil
	}
	return &s
}
