package client

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/segmentio/kafka-go"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/stelemq/stele/protocol"
)

// groupMember keeps a GroupConsumer in its group: joins, syncs, beats, commits. run owns everything but identity.
type groupMember struct {
	g    *GroupConsumer
	pool *pool // a JoinGroup holds back later answers of its connection
	opts Options

	mu         sync.Mutex
	id         string // mu guards
	generation int32  // mu guards: -1 while it is in none

	assignor Assignor
	owned    []TopicPartition
	// partitions is how many each topic had when the member, as the leader, shared them out; nil: it does not lead.
	partitions map[string]int
}

func newGroupMember(g *GroupConsumer) *groupMember {
	m := &groupMember{g: g, pool: newPool(g.client), opts: g.client.opts, generation: -1}
	m.opts.RequestTimeout = max(m.opts.RequestTimeout, g.opts.RebalanceTimeout+joinSlack)
	return m
}

// joinSlack is how much longer than the rebalance timeout the answer to a join may take.
const joinSlack = 10 * time.Second

func (m *groupMember) identity() (string, int32) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.id, m.generation
}

func (m *groupMember) become(id string, generation int32) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.id, m.generation = id, generation
}

// run takes part in one generation after the other until ctx ends.
func (m *groupMember) run(ctx context.Context) {
	var wait backoff
	for ctx.Err() == nil {
		err := m.takePart(ctx)
		if err == nil {
			wait.reset()
			continue
		}
		if ctx.Err() != nil {
			return
		}
		m.g.client.opts.Logger.Debug("group member", "group", m.g.opts.Group, "error", err)
		switch code := Code(err); {
		case code == protocol.UnknownMemberID:
			m.lose()
			m.become("", -1)
		case code == protocol.IllegalGeneration:
			m.lose()
		case code == protocol.RebalanceInProgress:
			continue
		case !Retriable(err):
			m.lose()
			m.g.fail(err)
			return
		}
		if wait.sleep(ctx) != nil {
			return
		}
	}
}

// ask sends a request to the group's coordinator, on a connection of the member's own.
func (m *groupMember) ask(ctx context.Context, req kmsg.Request) (kmsg.Response, error) {
	id, err := m.g.client.coordinator(ctx, m.g.opts.Group, kafka.CoordinatorKeyTypeConsumer)
	if err != nil {
		return nil, err
	}
	l, err := m.pool.get(ctx, id)
	if err != nil {
		return nil, err
	}
	return l.request(ctx, req, &m.opts)
}

func (m *groupMember) failure(op string, code int16) error {
	return codeError(fmt.Sprintf("%s group %q", op, m.g.opts.Group), code, "")
}

// takePart joins the next generation and stays until it ends.
func (m *groupMember) takePart(ctx context.Context) error {
	if !m.cooperative() {
		m.revoke(ctx, m.owned)
	}
	joined, err := m.join(ctx)
	if err != nil {
		return err
	}
	assigned, err := m.sync(ctx, joined)
	if err != nil {
		return err
	}
	again, err := m.adopt(ctx, assigned)
	if err != nil || again {
		return err
	}
	return m.beat(ctx)
}

func (m *groupMember) join(ctx context.Context) (*kmsg.JoinGroupResponse, error) {
	o := &m.g.opts
	id, generation := m.identity()
	for {
		req := kmsg.NewPtrJoinGroupRequest()
		req.Group, req.MemberID, req.InstanceID, req.ProtocolType = o.Group, id, optionalString(o.Instance), "consumer"
		req.SessionTimeoutMillis, req.RebalanceTimeoutMillis = int32(o.SessionTimeout.Milliseconds()), int32(o.RebalanceTimeout.Milliseconds()) //nolint:gosec // set by people
		for _, a := range o.Assignors {
			p := kmsg.NewJoinGroupRequestProtocol()
			p.Name, p.Metadata = a.Name(), m.metadata(generation)
			req.Protocols = append(req.Protocols, p)
		}
		resp, err := m.ask(ctx, req)
		if err != nil {
			return nil, err
		}
		r := resp.(*kmsg.JoinGroupResponse) //nolint:errcheck,forcetypeassert // decoded as such
		if protocol.Code(r.ErrorCode) == protocol.MemberIDRequired && r.MemberID != id {
			id = r.MemberID
			m.become(id, -1)
			continue
		}
		if err := m.failure("join", r.ErrorCode); err != nil {
			return nil, err
		}
		m.become(r.MemberID, r.Generation)
		i := slices.IndexFunc(o.Assignors, func(a Assignor) bool { return a.Name() == deref(r.Protocol) })
		if i < 0 {
			return nil, &Error{Op: fmt.Sprintf("join group %q", o.Group), Reason: fmt.Sprintf("it shares partitions by %q, which was not offered", deref(r.Protocol))}
		}
		m.assignor = o.Assignors[i]
		return r, nil
	}
}

// metadata is what the member says of itself.
func (m *groupMember) metadata(generation int32) []byte {
	s := kmsg.NewConsumerMemberMetadata()
	s.Version, s.Topics, s.Generation = 3, slices.Sorted(slices.Values(m.g.opts.Topics)), generation
	byTopic := map[string][]int32{}
	for _, tp := range m.owned {
		byTopic[tp.Topic] = append(byTopic[tp.Topic], tp.Partition)
	}
	for _, topic := range s.Topics {
		if len(byTopic[topic]) > 0 {
			s.OwnedPartitions = append(s.OwnedPartitions, kmsg.ConsumerMemberMetadataOwnedPartition{Topic: topic, Partitions: byTopic[topic]})
		}
	}
	return s.AppendTo(nil)
}

func (m *groupMember) sync(ctx context.Context, joined *kmsg.JoinGroupResponse) ([]TopicPartition, error) {
	o := &m.g.opts
	req := kmsg.NewPtrSyncGroupRequest()
	req.Group, req.MemberID, req.Generation, req.InstanceID = o.Group, joined.MemberID, joined.Generation, optionalString(o.Instance)
	kind := "consumer"
	req.ProtocolType, req.Protocol = &kind, joined.Protocol
	m.partitions = nil
	if joined.LeaderID == joined.MemberID && !joined.SkipAssignment {
		var err error
		if req.GroupAssignment, err = m.share(ctx, joined); err != nil {
			return nil, err
		}
	}
	resp, err := m.ask(ctx, req)
	if err != nil {
		return nil, err
	}
	r := resp.(*kmsg.SyncGroupResponse) //nolint:errcheck,forcetypeassert // decoded as such
	if err := m.failure("sync with", r.ErrorCode); err != nil {
		return nil, err
	}
	var out []TopicPartition
	if len(r.MemberAssignment) > 0 {
		var a kmsg.ConsumerMemberAssignment
		if err := a.ReadFrom(r.MemberAssignment); err != nil {
			return nil, &Error{Op: fmt.Sprintf("sync with group %q", o.Group), Reason: "the assignment cannot be read", Err: err}
		}
		for _, t := range a.Topics {
			for _, p := range t.Partitions {
				out = append(out, TopicPartition{t.Topic, p})
			}
		}
	}
	sortPartitions(out)
	return out, nil
}

// share works out the assignment, as the group's leader.
func (m *groupMember) share(ctx context.Context, joined *kmsg.JoinGroupResponse) ([]kmsg.SyncGroupRequestGroupAssignment, error) {
	members := make([]AssignMember, 0, len(joined.Members))
	wanted := map[string]struct{}{}
	for i := range joined.Members {
		jm := &joined.Members[i]
		var s kmsg.ConsumerMemberMetadata
		if err := s.ReadFrom(jm.ProtocolMetadata); err != nil {
			return nil, &Error{Op: fmt.Sprintf("share out the partitions of group %q", m.g.opts.Group), Reason: "what member " + jm.MemberID + " says cannot be read", Err: err}
		}
		am := AssignMember{ID: jm.MemberID, Instance: deref(jm.InstanceID), Topics: s.Topics, Generation: -1}
		if s.Version >= 2 {
			am.Generation = s.Generation
		}
		for _, t := range s.OwnedPartitions {
			for _, p := range t.Partitions {
				am.Owned = append(am.Owned, TopicPartition{t.Topic, p})
			}
		}
		for _, t := range s.Topics {
			wanted[t] = struct{}{}
		}
		members = append(members, am)
	}
	partitions, err := m.count(ctx, wanted)
	if err != nil {
		return nil, err
	}
	m.partitions = partitions
	shares := m.assignor.Assign(members, partitions)
	var out []kmsg.SyncGroupRequestGroupAssignment
	for i := range members {
		out = append(out, kmsg.SyncGroupRequestGroupAssignment{MemberID: members[i].ID, MemberAssignment: encodeShare(shares[members[i].ID])})
	}
	return out, nil
}

func encodeShare(owned []TopicPartition) []byte {
	a := kmsg.NewConsumerMemberAssignment()
	sortPartitions(owned)
	for _, tp := range owned {
		if n := len(a.Topics); n == 0 || a.Topics[n-1].Topic != tp.Topic {
			a.Topics = append(a.Topics, kmsg.ConsumerMemberAssignmentTopic{Topic: tp.Topic})
		}
		t := &a.Topics[len(a.Topics)-1]
		t.Partitions = append(t.Partitions, tp.Partition)
	}
	return a.AppendTo(nil)
}

// count asks how many partitions topics have; those that do not exist have none.
func (m *groupMember) count(ctx context.Context, topics map[string]struct{}) (map[string]int, error) {
	out := map[string]int{}
	for name := range topics {
		found, err := m.g.client.refresh(ctx, []string{name}, false)
		if err != nil {
			return nil, err
		}
		for i := range found {
			if n := len(found[i].Partitions); n > 0 {
				out[found[i].Name] = n
			}
		}
	}
	return out, nil
}

// adopt makes the assignment hold. It reports whether the group must rebalance again at once: what has been given up is for
// others to take.
func (m *groupMember) adopt(ctx context.Context, assigned []TopicPartition) (again bool, err error) {
	gone := without(m.owned, assigned)
	added := without(assigned, m.owned)
	m.revoke(ctx, gone)
	if len(added) > 0 || len(gone) > 0 || m.g.current() == nil {
		if err := m.g.adopt(ctx, assigned); err != nil {
			return false, err
		}
	}
	m.owned = assigned
	_, generation := m.identity()
	m.g.opts.OnAssigned(generation, added)
	return len(gone) > 0 && m.cooperative(), nil
}

// cooperative reports whether partitions are kept through a rebalance: only where nobody can decide for an assignor that
// takes them to be free.
func (m *groupMember) cooperative() bool {
	return !slices.ContainsFunc(m.g.opts.Assignors, func(a Assignor) bool { return !a.Cooperative() })
}

// revoke gives partitions up in order: what is consumed of them is committed.
func (m *groupMember) revoke(ctx context.Context, gone []TopicPartition) {
	if len(gone) == 0 {
		return
	}
	_, generation := m.identity()
	m.g.opts.OnRevoked(generation, gone)
	if m.g.opts.AutoCommit > 0 {
		ctx, cancel := context.WithTimeout(ctx, closeTimeout)
		defer cancel()
		if err := m.g.commitConsumed(ctx); err != nil {
			m.g.client.opts.Logger.Debug("commit before partitions are given up", "group", m.g.opts.Group, "error", err)
		}
	}
	m.owned = without(m.owned, gone)
	if len(m.owned) == 0 {
		m.g.exchange(nil, nil)
	}
}

// lose drops everything: others may own it by now.
func (m *groupMember) lose() {
	if lost := m.owned; len(lost) > 0 {
		m.owned = nil
		m.g.exchange(nil, nil)
		_, generation := m.identity()
		m.g.opts.OnLost(generation, lost)
	}
}

// watchEvery is how often the leader looks whether topics have got partitions.
const watchEvery = 30 * time.Second

// beat keeps the member alive until the group rebalances, which is no error.
func (m *groupMember) beat(ctx context.Context) error {
	o := &m.g.opts
	tick := time.NewTicker(o.HeartbeatInterval)
	defer tick.Stop()
	committed, watched, heard := time.Now(), time.Now(), time.Now()
	for {
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-tick.C:
		}
		id, generation := m.identity()
		req := kmsg.NewPtrHeartbeatRequest()
		req.Group, req.MemberID, req.Generation, req.InstanceID = o.Group, id, generation, optionalString(o.Instance)
		resp, err := m.ask(ctx, req)
		if err == nil {
			code := resp.(*kmsg.HeartbeatResponse).ErrorCode //nolint:errcheck,forcetypeassert // decoded as such
			if protocol.Code(code) == protocol.RebalanceInProgress {
				return nil
			}
			err = m.failure("stay in", code)
		}
		switch {
		case err == nil:
			heard = time.Now()
		case !Retriable(err) || time.Since(heard) > o.SessionTimeout:
			return err
		}
		if o.AutoCommit > 0 && time.Since(committed) >= o.AutoCommit {
			committed = time.Now()
			if err := m.g.commitConsumed(ctx); err != nil {
				m.g.client.opts.Logger.Debug("commit", "group", o.Group, "error", err)
			}
		}
		if m.partitions != nil && time.Since(watched) >= watchEvery {
			watched = time.Now()
			if m.grown(ctx) {
				return nil
			}
		}
	}
}

// grown reports whether topics have other partitions than were shared out.
func (m *groupMember) grown(ctx context.Context) bool {
	topics := map[string]struct{}{}
	for _, t := range m.g.opts.Topics {
		topics[t] = struct{}{}
	}
	for t := range m.partitions {
		topics[t] = struct{}{}
	}
	now, err := m.count(ctx, topics)
	if err != nil {
		return false
	}
	for t, n := range now {
		if m.partitions[t] != n {
			return true
		}
	}
	return len(now) != len(m.partitions)
}

// leave takes the member out of its group; a static one comes back. It does not use the member's own connection, on which a
// broker answers nothing as long as a request to join waits for others.
func (m *groupMember) leave(ctx context.Context) {
	id, _ := m.identity()
	if id == "" || m.g.opts.Instance != "" {
		return
	}
	req := kmsg.NewPtrLeaveGroupRequest()
	one := kmsg.NewLeaveGroupRequestMember()
	one.MemberID = id
	req.Group, req.MemberID, req.Members = m.g.opts.Group, id, []kmsg.LeaveGroupRequestMember{one}
	code := func(r kmsg.Response) int16 { return r.(*kmsg.LeaveGroupResponse).ErrorCode } //nolint:errcheck,forcetypeassert // decoded as such
	if _, err := m.g.client.askGroup(ctx, m.g.opts.Group, req, code); err != nil {
		m.g.client.opts.Logger.Debug("leave the group", "group", m.g.opts.Group, "error", err)
	}
}

func sortPartitions(list []TopicPartition) {
	slices.SortFunc(list, func(a, b TopicPartition) int {
		return cmp.Or(cmp.Compare(a.Topic, b.Topic), cmp.Compare(a.Partition, b.Partition))
	})
}

// without returns the elements of a that are not in b.
func without(a, b []TopicPartition) []TopicPartition {
	var out []TopicPartition
	for _, tp := range a {
		if !slices.Contains(b, tp) {
			out = append(out, tp)
		}
	}
	return out
}
