package group

import (
	"encoding/binary"
	"fmt"
	"iter"
	"maps"
	"slices"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/stelemq/stele/broker/group/assignor"
	"github.com/stelemq/stele/protocol"
)

// fakeTopics are topics that a test makes, changes and deletes.
type fakeTopics struct {
	byName  map[string]Topic
	version uint64
	ids     uint64
}

func newFakeTopics() *fakeTopics { return &fakeTopics{byName: map[string]Topic{}, version: 1} }

func (f *fakeTopics) set(name string, partitions int) TopicID {
	topic, ok := f.byName[name]
	if !ok {
		f.ids++
		topic.Name = name
		binary.BigEndian.PutUint64(topic.ID[8:], f.ids)
	}
	topic.Partitions = partitions
	f.byName[name] = topic
	f.version++
	return topic.ID
}

func (f *fakeTopics) drop(name string) {
	delete(f.byName, name)
	f.version++
}

func (f *fakeTopics) Topic(name string) (Topic, bool) {
	topic, ok := f.byName[name]
	return topic, ok
}

func (f *fakeTopics) TopicByID(id TopicID) (Topic, bool) {
	for _, topic := range f.byName {
		if topic.ID == id {
			return topic, true
		}
	}
	return Topic{}, false
}

func (f *fakeTopics) All() iter.Seq[Topic] { return maps.Values(f.byName) }
func (f *fakeTopics) Version() uint64      { return f.version }

// rig drives one coordinator: records are committed at once, the clock is the test's.
type rig struct {
	t      *testing.T
	cfg    Config
	topics *fakeTopics
	c      *Coordinator
	now    time.Time
	log    []Record
	ids    int
	// check makes every step compare the state with a replay of the records.
	check bool
	queue []func()
}

func newRig(t *testing.T, change ...func(*Config)) *rig {
	t.Helper()
	r := &rig{t: t, topics: newFakeTopics(), now: time.UnixMilli(1_700_000_000_000), check: true}
	r.cfg = Defaults()
	r.cfg.Topics, r.cfg.InitialRebalanceDelay = r.topics, 0
	r.cfg.Consumer.AssignmentInterval = 0
	r.cfg.NewID = func() string { r.ids++; return fmt.Sprintf("id-%03d", r.ids) }
	for _, f := range change {
		f(&r.cfg)
	}
	r.c = New(r.cfg)
	r.c.Lead(r.now)
	return r
}

// commit appends what the coordinator has made and sends the answers.
func (r *rig) commit() {
	r.t.Helper()
	records, answers := r.c.Take()
	r.log = append(r.log, records...)
	for _, a := range answers {
		a.Send(protocol.None)
	}
	if r.check {
		r.compareWithReplay()
	}
}

// send hands a request in; the answer may come later.
func (r *rig) send(req kmsg.Request, reply func(kmsg.Response)) {
	r.t.Helper()
	r.c.Handle(r.now, &Request{Client: Client{ID: "client", Host: "/127.0.0.1"}, Req: req, Reply: reply})
	// The bytes of a request are its connection's: they are something else afterwards.
	switch req := req.(type) {
	case *kmsg.JoinGroupRequest:
		for i := range req.Protocols {
			clear(req.Protocols[i].Metadata)
		}
	case *kmsg.SyncGroupRequest:
		for i := range req.GroupAssignment {
			clear(req.GroupAssignment[i].MemberAssignment)
		}
	}
	r.commit()
}

// ask is send for requests that are answered at once.
func ask[T kmsg.Response](r *rig, req kmsg.Request) T {
	r.t.Helper()
	var got kmsg.Response
	r.send(req, func(resp kmsg.Response) { got = resp })
	resp, ok := got.(T)
	if !ok {
		r.t.Fatalf("%T was not answered at once", req)
	}
	return resp
}

// pass lets time go by, timers on the way.
func (r *rig) pass(d time.Duration) {
	r.t.Helper()
	end := r.now.Add(d)
	for {
		at, ok := r.c.NextDeadline()
		if !ok || at.After(end) {
			break
		}
		r.now = at
		r.c.Tick(r.now)
		r.commit()
	}
	r.now = end
}

// failover has another broker take over: from the records alone.
func (r *rig) failover() {
	r.t.Helper()
	r.c.Abandon(protocol.NotCoordinator)
	r.c = r.replayed()
	r.c.Lead(r.now)
}

func (r *rig) replayed() *Coordinator {
	r.t.Helper()
	c := New(r.cfg)
	for _, record := range r.log {
		if err := c.Replay(record); err != nil {
			r.t.Fatalf("replay: %v", err)
		}
	}
	return c
}

// compareWithReplay: consumer groups are what their records say.
func (r *rig) compareWithReplay() {
	r.t.Helper()
	fresh := r.replayed()
	for id, g := range r.c.groups {
		k, ok := g.body.(*consumerGroup)
		if !ok {
			continue
		}
		other, ok := fresh.groups[id]
		if !ok {
			r.t.Fatalf("group %s is not in the records", id)
		}
		if got, want := describeBody(other.body), describeBody(k); got != want {
			r.t.Fatalf("group %s\nreplayed: %s\nlive:     %s", id, got, want)
		}
	}
}

// describeBody prints everything of a consumer group that is recorded.
func describeBody(b body) string {
	k, ok := b.(*consumerGroup)
	if !ok {
		return b.groupType()
	}
	s := fmt.Sprintf("epoch %d hash %x target %d at %d regexes", k.epoch, k.hash, k.targetEpoch, k.targetAt)
	for _, regex := range slices.Sorted(maps.Keys(k.regexes)) {
		s += fmt.Sprintf(" %s=%v", regex, *k.regexes[regex])
	}
	for _, m := range k.ordered() {
		s += fmt.Sprintf("\n  %s: %x %x target %v", m.id, m.encode(), m.currentAssignment.encode(), k.target[m.id])
	}
	s += fmt.Sprintf("\n  counts %v %v %v %v %d", k.static, k.subscribers, k.regexMembers, k.protocols, k.classic)
	owners := 0
	for _, partitions := range k.owners {
		owners += len(partitions)
	}
	return s + fmt.Sprintf(" owners %d targets %d", owners, len(k.target))
}

func (r *rig) group(id string) *consumerGroup {
	r.t.Helper()
	g := r.c.groups[id]
	if g == nil {
		r.t.Fatalf("there is no group %s", id)
	}
	k, ok := g.body.(*consumerGroup)
	if !ok {
		r.t.Fatalf("group %s is %s", id, g.body.groupType())
	}
	return k
}

// checkOwners: no partition belongs to two members.
func checkOwners(k *consumerGroup) error {
	seen := make(map[TopicID]map[int32]string)
	for _, m := range k.ordered() {
		for _, o := range []ownership{m.assigned, m.revoking} {
			for topic, list := range o {
				if seen[topic] == nil {
					seen[topic] = make(map[int32]string)
				}
				for _, p := range list {
					if other, taken := seen[topic][p.index]; taken {
						return fmt.Errorf("partition %x-%d belongs to %s and to %s", topic[15], p.index, other, m.id)
					}
					seen[topic][p.index] = m.id
					if k.owner(topic, p.index) != m.id {
						return fmt.Errorf("partition %x-%d of %s is known as that of %q", topic[15], p.index, m.id, k.owner(topic, p.index))
					}
				}
			}
		}
	}
	return nil
}

// heartbeat builders.

type beat func(*kmsg.ConsumerGroupHeartbeatRequest)

func (r *rig) beat(group, member string, epoch int32, with ...beat) *kmsg.ConsumerGroupHeartbeatResponse {
	r.t.Helper()
	return ask[*kmsg.ConsumerGroupHeartbeatResponse](r, newBeat(group, member, epoch, with...))
}

func newBeat(group, member string, epoch int32, with ...beat) *kmsg.ConsumerGroupHeartbeatRequest {
	req := kmsg.NewPtrConsumerGroupHeartbeatRequest()
	req.Version, req.Group, req.MemberID, req.MemberEpoch = 1, group, member, epoch
	if epoch == epochJoin {
		req.RebalanceTimeoutMillis, req.Topics = 60_000, []kmsg.ConsumerGroupHeartbeatRequestTopic{}
	}
	for _, f := range with {
		f(req)
	}
	return req
}

func names(topics ...string) beat {
	return func(req *kmsg.ConsumerGroupHeartbeatRequest) {
		req.SubscribedTopicNames = append([]string{}, topics...)
	}
}

func regex(s string) beat {
	return func(req *kmsg.ConsumerGroupHeartbeatRequest) { req.SubscribedTopicRegex = &s }
}

func static(instance string) beat {
	return func(req *kmsg.ConsumerGroupHeartbeatRequest) { req.InstanceID = &instance }
}

func by(assignorName string) beat {
	return func(req *kmsg.ConsumerGroupHeartbeatRequest) { req.ServerAssignor = &assignorName }
}

func owning(a assignor.Assignment) beat {
	return func(req *kmsg.ConsumerGroupHeartbeatRequest) {
		req.Topics = []kmsg.ConsumerGroupHeartbeatRequestTopic{}
		for _, topic := range sortedTopics(a) {
			req.Topics = append(req.Topics, kmsg.ConsumerGroupHeartbeatRequestTopic{TopicID: topic, Partitions: a[topic]})
		}
	}
}

func given(resp *kmsg.ConsumerGroupHeartbeatResponse) assignor.Assignment {
	a := make(assignor.Assignment)
	if resp.Assignment != nil {
		for _, topic := range resp.Assignment.Topics {
			a[topic.TopicID] = topic.Partitions
		}
	}
	return a
}

func wantCode(t *testing.T, got int16, want protocol.Code) {
	t.Helper()
	if protocol.Code(got) != want {
		t.Fatalf("answered %v, want %v", protocol.Code(got), want)
	}
}
