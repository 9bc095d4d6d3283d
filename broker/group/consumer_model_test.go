package group

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/stelemq/stele/broker/group/assignor"
	"github.com/stelemq/stele/protocol"
)

// The model: clients of both protocols that join, leave, crash, are late and lose answers; topics that come, grow and
// go; coordinators that are made anew from their records. After every step no partition has two owners and a replay of
// the records gives the state; in the end everybody has what balance gives them.

const modelGroup = "g"

// modelClient is one consumer.
type modelClient struct {
	r        *rig
	id       string
	instance string
	regex    bool
	classic  bool
	dead     bool

	epoch int32
	owns  assignor.Assignment // what it consumes
	next  assignor.Assignment // what it was told to have; nil: nothing new
	full  bool                // the next heartbeat says everything

	waiting bool // a classic request is held
	joined  bool // classic: has an assignment
	attempt int  // tells the answers to a request that nobody waits for any more
}

func (m *modelClient) start() {
	m.dead, m.epoch, m.owns, m.next, m.full = false, 0, assignor.Assignment{}, nil, true
	m.waiting, m.joined = false, false
	m.attempt++
}

// step is the next thing that the client does by itself. lose drops the answer.
func (m *modelClient) step(random *rand.Rand, lose bool) {
	if m.dead || m.waiting {
		return
	}
	if m.classic {
		m.classicStep()
		return
	}
	if m.next != nil && random.IntN(2) == 0 { // what it must give up it gives up, what is new it takes
		m.owns, m.next = m.next, nil
	}
	req := newBeat(modelGroup, m.id, m.epoch)
	if m.instance != "" {
		static(m.instance)(req)
	}
	if m.epoch == 0 || m.full {
		req.RebalanceTimeoutMillis = 60_000
		if m.regex {
			regex("t.*")(req)
		} else {
			names("t0", "t1", "t2", "t3")(req)
		}
	}
	if m.epoch != 0 && (m.full || random.IntN(3) > 0) {
		owning(m.owns)(req)
	}
	resp := ask[*kmsg.ConsumerGroupHeartbeatResponse](m.r, req)
	if lose {
		m.full = m.epoch != 0 || m.full
		return
	}
	switch code := protocol.Code(resp.ErrorCode); code {
	case protocol.None:
		m.epoch, m.full = resp.MemberEpoch, false
		if resp.Assignment != nil {
			m.next = given(resp)
			// What it was given and does not consume yet it may consume later; what was taken it must not take up.
		}
	case protocol.FencedMemberEpoch, protocol.UnknownMemberID, protocol.GroupIDNotFound:
		m.start()
	case protocol.UnreleasedInstanceID, protocol.FencedInstanceID:
		m.dead = true
	default:
		m.r.t.Fatalf("client %s: %v", m.id, code)
	}
}

// classicStep is a heartbeat where it has an assignment, else a join. It is of the eager kind: it owns nothing when it
// joins.
func (m *modelClient) classicStep() {
	if !m.joined {
		m.join()
		return
	}
	req := kmsg.NewPtrHeartbeatRequest()
	req.Version, req.Group, req.MemberID, req.Generation = 4, modelGroup, m.id, m.epoch
	if m.instance != "" {
		req.InstanceID = &m.instance
	}
	resp := ask[*kmsg.HeartbeatResponse](m.r, req)
	m.classicAnswer(protocol.Code(resp.ErrorCode))
}

// classicAnswer is what a member does about an error.
func (m *modelClient) classicAnswer(code protocol.Code) {
	switch code {
	case protocol.None:
	case protocol.RebalanceInProgress, protocol.NotCoordinator:
		m.joined, m.owns = false, assignor.Assignment{}
	case protocol.IllegalGeneration, protocol.UnknownMemberID:
		id := ""
		if code == protocol.IllegalGeneration {
			id = m.id
		}
		m.joined, m.owns, m.epoch, m.id = false, assignor.Assignment{}, 0, id
	case protocol.FencedInstanceID:
		m.dead = true
	default:
		m.r.t.Fatalf("classic client %s: %v", m.id, code)
	}
}

func (m *modelClient) subscription() []byte {
	s := kmsg.NewConsumerMemberMetadata()
	s.Version, s.Topics = 1, []string{"t0", "t1", "t2", "t3"}
	return s.AppendTo(nil)
}

func (m *modelClient) join() {
	req := kmsg.NewPtrJoinGroupRequest()
	req.Version, req.Group, req.MemberID, req.ProtocolType = 9, modelGroup, m.id, "consumer"
	req.SessionTimeoutMillis, req.RebalanceTimeoutMillis = 45_000, 60_000
	req.Protocols = []kmsg.JoinGroupRequestProtocol{{Name: "range", Metadata: m.subscription()}}
	if m.instance != "" {
		req.InstanceID = &m.instance
	}
	m.hold(req, func(resp kmsg.Response) {
		r, _ := resp.(*kmsg.JoinGroupResponse)
		switch code := protocol.Code(r.ErrorCode); code {
		case protocol.None:
			m.id, m.epoch = r.MemberID, r.Generation
			m.sync(r)
		case protocol.MemberIDRequired:
			m.id = r.MemberID
		default:
			m.classicAnswer(code)
		}
	})
}

// sync fetches the assignment; the leader of a classic group makes it.
func (m *modelClient) sync(joined *kmsg.JoinGroupResponse) {
	req := kmsg.NewPtrSyncGroupRequest()
	req.Version, req.Group, req.MemberID, req.Generation = 5, modelGroup, m.id, m.epoch
	if m.instance != "" {
		req.InstanceID = &m.instance
	}
	if joined.LeaderID == m.id {
		var members []assignor.Member
		partitions := map[TopicID]int32{}
		var topics []TopicID
		for _, topic := range m.r.topics.byName {
			partitions[topic.ID] = int32(topic.Partitions) //nolint:gosec // small
			topics = append(topics, topic.ID)
		}
		for _, o := range joined.Members {
			members = append(members, assignor.Member{ID: o.MemberID, Topics: topics})
		}
		for i, a := range (assignor.Range{}).Assign(members, partitions) {
			req.GroupAssignment = append(req.GroupAssignment, kmsg.SyncGroupRequestGroupAssignment{
				MemberID: members[i].ID, MemberAssignment: m.r.c.classicAssignment(m.subscription(), a),
			})
		}
	}
	m.hold(req, func(resp kmsg.Response) {
		r, _ := resp.(*kmsg.SyncGroupResponse)
		code := protocol.Code(r.ErrorCode)
		if code != protocol.None {
			m.classicAnswer(code)
			return
		}
		owns, err := m.r.c.readClassicAssignment(r.MemberAssignment, 0)
		if err != nil {
			m.r.t.Fatal(err)
		}
		m.joined, m.owns = true, owns.assignment()
	})
}

// hold sends a request whose answer may come later; then it is acted upon after the step, as requests do not nest.
func (m *modelClient) hold(req kmsg.Request, then func(kmsg.Response)) {
	m.waiting = true
	m.attempt++
	attempt := m.attempt
	m.r.later(func() {
		m.r.send(req, func(resp kmsg.Response) {
			m.r.later(func() {
				if m.attempt == attempt && !m.dead {
					m.waiting = false
					then(resp)
				}
			})
		})
	})
}

func (m *modelClient) leave(static bool) {
	if m.dead || m.epoch == 0 || m.waiting {
		return
	}
	m.dead = true
	if m.classic {
		req := kmsg.NewPtrLeaveGroupRequest()
		req.Version, req.Group = 4, modelGroup
		l := kmsg.LeaveGroupRequestMember{MemberID: m.id}
		if m.instance != "" {
			l.InstanceID = &m.instance
		}
		req.Members = append(req.Members, l)
		ask[*kmsg.LeaveGroupResponse](m.r, req)
		return
	}
	req := newBeat(modelGroup, m.id, epochLeave)
	if m.instance != "" {
		req.InstanceID = &m.instance
		if static {
			req.MemberEpoch = epochStaticLeave
		}
	}
	ask[*kmsg.ConsumerGroupHeartbeatResponse](m.r, req)
}

// later queues something for after the request that is being answered.
func (r *rig) later(f func()) { r.queue = append(r.queue, f) }

func (r *rig) drain() {
	for len(r.queue) > 0 {
		f := r.queue[0]
		r.queue = r.queue[1:]
		f()
	}
}

type model struct {
	*rig
	random  *rand.Rand
	clients []*modelClient
	born    int
	mixed   bool
}

func (m *model) birth() {
	m.born++
	c := &modelClient{r: m.rig, id: fmt.Sprintf("m%02d", m.born), regex: m.random.IntN(4) == 0}
	if m.random.IntN(4) == 0 {
		c.instance = fmt.Sprintf("i%d", m.random.IntN(3))
		c.leaveSame(m)
	}
	if m.mixed && m.random.IntN(2) == 0 {
		c.classic, c.regex, c.id = true, false, ""
	}
	c.start()
	m.clients = append(m.clients, c)
}

// leaveSame has the client with the same instance id go first, properly or not.
func (m *modelClient) leaveSame(all *model) {
	for _, o := range all.clients {
		if o.instance == m.instance && !o.dead {
			o.leave(true)
			o.dead = true
		}
	}
}

func (m *model) act() {
	alive := slices.DeleteFunc(slices.Clone(m.clients), func(c *modelClient) bool { return c.dead })
	one := func() *modelClient { return alive[m.random.IntN(len(alive))] }
	switch n := m.random.IntN(100); {
	case len(alive) == 0 || n < 6 && len(alive) < 12:
		m.birth()
	case n < 8:
		one().leave(m.random.IntN(2) == 0)
	case n < 10:
		one().dead = true // it crashes
	case n < 12:
		m.topics.set(fmt.Sprintf("t%d", m.random.IntN(4)), 1+m.random.IntN(8))
	case n < 13:
		m.topics.drop(fmt.Sprintf("t%d", m.random.IntN(4)))
	case n < 15:
		m.failover()
	case n < 20:
		m.pass(time.Duration(m.random.IntN(20_000)) * time.Millisecond)
	default:
		m.pass(time.Duration(m.random.IntN(300)) * time.Millisecond)
		one().step(m.random, m.random.IntN(10) == 0)
	}
	m.drain()
	m.invariants()
	if m.random.IntN(15) == 0 {
		m.compareWithReplay()
	}
}

func (m *model) invariants() {
	m.t.Helper()
	g := m.c.groups[modelGroup]
	if g == nil {
		return
	}
	k, ok := g.body.(*consumerGroup)
	if !ok {
		return
	}
	if err := checkOwners(k); err != nil {
		m.t.Fatalf("%v\n%s", err, describeBody(k))
	}
	if k.targetEpoch > k.epoch {
		m.t.Fatalf("target epoch %d is later than group epoch %d", k.targetEpoch, k.epoch)
	}
	// What a client of the group consumes, the group knows as its own.
	for _, c := range m.clients {
		member := k.members[c.id]
		if c.dead || member == nil || c.epoch != member.epoch || c.waiting || c.epoch == 0 {
			continue
		}
		for topic, partitions := range c.owns {
			for _, p := range partitions {
				if owner := k.owner(topic, p); owner != c.id && owner != "" {
					m.t.Fatalf("%s consumes %x-%d, which belongs to %s\n%s", c.id, topic[15], p, owner, describeBody(k))
				}
			}
		}
	}
}

// settle lets everybody who lives go on undisturbed until nothing changes, and checks what they have in the end.
func (m *model) settle() {
	m.t.Helper()
	for range 60 {
		m.pass(3 * time.Second)
		for _, c := range m.clients {
			c.step(m.random, false)
			m.drain()
			if c.next != nil {
				c.owns, c.next = c.next, nil
			}
			m.invariants()
		}
	}
	var alive []*modelClient
	consumers := 0
	for _, c := range m.clients {
		if !c.dead {
			alive = append(alive, c)
			if !c.classic {
				consumers++
			}
		}
	}
	m.compareWithReplay()
	if len(alive) == 0 {
		return
	}
	body := m.c.groups[modelGroup].body
	if want := map[bool]string{true: typeConsumer, false: typeClassic}[consumers > 0]; body.groupType() != want {
		m.t.Fatalf("a group with %d consumers of %d is %s", consumers, len(alive), body.groupType())
	}
	if body.state() != "Stable" || body.size() != len(alive) {
		m.t.Fatalf("%s with %d members, %d clients live\n%s", body.state(), body.size(), len(alive), describeBody(body))
	}
	owners := map[TopicID]map[int32]int{}
	for _, c := range alive {
		for topic, partitions := range c.owns {
			if owners[topic] == nil {
				owners[topic] = map[int32]int{}
			}
			for _, p := range partitions {
				owners[topic][p]++
			}
		}
	}
	for name, topic := range m.topics.byName {
		for p := range topic.Partitions {
			if n := owners[topic.ID][int32(p)]; n != 1 { //nolint:gosec // small
				m.t.Fatalf("%s-%d is consumed by %d clients\n%s", name, p, n, describeBody(body))
			}
		}
	}
}

func TestConsumerModel(t *testing.T) {
	runs, steps := uint64(150), 300
	if testing.Short() {
		runs = 20
	}
	for _, mixed := range []bool{false, true} {
		types := map[string]int{}
		for seed := range runs {
			t.Run(fmt.Sprintf("mixed=%v/seed=%d", mixed, seed), func(t *testing.T) {
				m := &model{random: rand.New(rand.NewPCG(seed, 848)), mixed: mixed}
				m.rig = newRig(t, func(cfg *Config) {
					cfg.Consumer.AssignmentInterval = time.Duration(m.random.IntN(2)) * time.Second
				})
				m.check = false // a replay at every step takes its time
				m.topics.set("t0", 6)
				for range steps {
					m.act()
					if g := m.c.groups[modelGroup]; g != nil {
						types[g.body.groupType()+" "+g.body.state()]++
					}
				}
				m.settle()
			})
		}
		t.Logf("mixed=%v: steps in each state: %v", mixed, types)
	}
}

// The checks of the model catch what they are there for.
func TestConsumerModel_CatchesTwoOwners(t *testing.T) {
	r := newRig(t)
	r.topics.set("t0", 2)
	r.beat(modelGroup, "a", 0, names("t0"))
	r.beat(modelGroup, "b", 0, names("t0"))
	k := r.group(modelGroup)
	if err := checkOwners(k); err != nil {
		t.Fatal(err)
	}
	// What reconciliation would do if it gave partitions away before they are given up.
	b := k.members["b"]
	step := reconciliation{
		member: b, targetEpoch: k.targetEpoch + 1, target: k.target["b"], subscribed: r.c.subscribedIDs(k, b),
		owner: func(TopicID, int32) string { return "" },
	}
	after, _ := step.next()
	k.setMember(after)
	if checkOwners(k) == nil {
		t.Error("two members own a partition, and nobody notices")
	}
}
