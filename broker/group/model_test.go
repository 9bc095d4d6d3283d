package group_test

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/stelemq/stele/broker/group"
	"github.com/stelemq/stele/protocol"
)

// The model: members that behave as clients do, over a coordinator that is killed and replaced, with appends that commit
// late or never. What holds at every moment: no partition is owned by two members in one generation, and what was
// acknowledged as committed is never gone. What holds once the faults end: every member settles.

const modelPartitions = 7

// modelMember is a client: one request at a time.
type modelMember struct {
	m          *model
	name       string
	instance   string
	id         string
	generation int32
	leader     bool
	others     []string
	owned      []int32
	state      string // "join", "sync", "stable"
	busy       bool
	// epoch is the life of the coordinator that was asked: an answer of an earlier one is one that got lost.
	alive   bool
	nextAt  time.Time
	version int16
	// position is where it stands in each of its partitions.
	position map[int32]int64
}

type model struct {
	*rig

	rng     *rand.Rand
	members []*modelMember
	names   int
	// owners by generation and partition, over all coordinators.
	owners map[int32]map[int32]string
	// acked is the offset acknowledged for each partition.
	acked map[int32]int64
	trace []string
}

func (m *model) logf(format string, args ...any) {
	m.trace = append(m.trace, m.now.Format("05.000")+" "+fmt.Sprintf(format, args...))
}

func (m *model) fatalf(format string, args ...any) {
	m.t.Helper()
	m.t.Fatalf("%s\n%s", fmt.Sprintf(format, args...), strings.Join(m.trace[max(0, len(m.trace)-60):], "\n"))
}

func (m *model) newMember() {
	m.names++
	x := &modelMember{m: m, name: fmt.Sprint("m", m.names), alive: true, state: "join", version: 9}
	if m.rng.IntN(3) == 0 {
		x.instance = fmt.Sprint("static", m.rng.IntN(3))
		for _, o := range m.members {
			if o.alive && o.instance == x.instance {
				o.alive = false // its process has been replaced
			}
		}
	}
	if m.rng.IntN(4) == 0 {
		x.version = 3
		x.instance = ""
	}
	m.members = append(m.members, x)
}

// step has a member do what is next for it.
func (x *modelMember) step() {
	if !x.alive || x.busy || x.m.now.Before(x.nextAt) {
		return
	}
	x.busy = true
	switch x.state {
	case "join":
		x.join()
	case "sync":
		x.sync()
	default:
		if x.m.rng.IntN(2) == 0 && len(x.owned) > 0 {
			x.commit()
		} else {
			x.heartbeat()
		}
		x.nextAt = x.m.now.Add(time.Second)
	}
}

// reply wraps a handler: a client that has gone hears nothing.
func (x *modelMember) reply(f func(kmsg.Response)) func(kmsg.Response) {
	return func(r kmsg.Response) {
		x.busy = false
		if x.alive {
			f(r)
		}
	}
}

func (x *modelMember) instanceID() *string {
	if x.instance == "" {
		return nil
	}
	return &x.instance
}

// failed does what clients do upon an error.
func (x *modelMember) failed(code int16) {
	x.nextAt = x.m.now.Add(100 * time.Millisecond)
	switch protocol.Code(code) {
	case protocol.UnknownMemberID:
		x.id, x.generation = "", -1
		x.lose()
		x.state = "join"
	case protocol.FencedInstanceID:
		x.alive = false
	case protocol.IllegalGeneration, protocol.RebalanceInProgress:
		x.lose()
		x.state = "join"
	case protocol.NotCoordinator, protocol.CoordinatorNotAvailable, protocol.CoordinatorLoadInProgress:
	case protocol.MemberIDRequired:
		x.nextAt = x.m.now
	default:
		x.m.fatalf("%s: unexpected %v", x.name, protocol.Code(code))
	}
}

func (x *modelMember) lose() { x.owned = nil }

func (x *modelMember) join() {
	req := joinRequest(x.id)
	req.Version, req.InstanceID = x.version, x.instanceID()
	x.m.send(req, x.reply(func(r kmsg.Response) {
		resp := r.(*kmsg.JoinGroupResponse)
		x.m.logf("%s joined: %v generation %d id %s", x.name, protocol.Code(resp.ErrorCode), resp.Generation, resp.MemberID)
		if resp.ErrorCode != 0 {
			if x.failed(resp.ErrorCode); protocol.Code(resp.ErrorCode) == protocol.MemberIDRequired {
				x.id = resp.MemberID
			}
			return
		}
		x.id, x.generation, x.state = resp.MemberID, resp.Generation, "sync"
		x.leader = resp.LeaderID == x.id && !resp.SkipAssignment
		x.others = nil
		for _, o := range resp.Members {
			x.others = append(x.others, o.MemberID)
		}
		x.nextAt = x.m.now
	}))
}

func (x *modelMember) sync() {
	req := kmsg.NewPtrSyncGroupRequest()
	req.Version, req.Group, req.MemberID, req.Generation, req.InstanceID = 5, "g", x.id, x.generation, x.instanceID()
	if x.leader {
		parts := map[string][]string{}
		offset := x.m.rng.IntN(len(x.others))
		for p := range modelPartitions {
			o := x.others[(p+offset)%len(x.others)]
			parts[o] = append(parts[o], strconv.Itoa(p))
		}
		for o, ps := range parts {
			req.GroupAssignment = append(req.GroupAssignment, kmsg.SyncGroupRequestGroupAssignment{MemberID: o, MemberAssignment: []byte(strings.Join(ps, ","))})
		}
	}
	x.m.send(req, x.reply(func(r kmsg.Response) {
		resp := r.(*kmsg.SyncGroupResponse)
		x.m.logf("%s synced: %v generation %d: %s", x.name, protocol.Code(resp.ErrorCode), x.generation, resp.MemberAssignment)
		if resp.ErrorCode != 0 {
			x.failed(resp.ErrorCode)
			return
		}
		x.state = "stable"
		x.own(string(resp.MemberAssignment))
	}))
}

// own takes an assignment over and checks that nobody else owns what it names.
func (x *modelMember) own(assignment string) {
	x.owned, x.position = nil, map[int32]int64{}
	if assignment == "" {
		return
	}
	owners := x.m.owners[x.generation]
	if owners == nil {
		owners = map[int32]string{}
		x.m.owners[x.generation] = owners
	}
	for text := range strings.SplitSeq(assignment, ",") {
		n, _ := strconv.ParseInt(text, 10, 32)
		p := int32(n)
		who := x.name
		if x.instance != "" {
			who = x.instance // a static member's next process is the same owner
		}
		if old := owners[p]; old != "" && old != who {
			x.m.fatalf("generation %d: partition %d is owned by %s and by %s", x.generation, p, old, who)
		}
		owners[p] = who
		x.owned = append(x.owned, p)
		at := x.m.fetch(p)
		if at < x.m.acked[p] {
			x.m.fatalf("partition %d: fetched %d, but %d was acknowledged", p, at, x.m.acked[p])
		}
		x.position[p] = at
	}
}

// fetch reads what is committed, speculation included: nothing of it may be below what was acknowledged.
func (m *model) fetch(p int32) int64 {
	got := int64(-1)
	req := kmsg.NewPtrOffsetFetchRequest()
	req.Version, req.Group = 7, "g"
	req.Topics = []kmsg.OffsetFetchRequestTopic{{Topic: "t", Partitions: []int32{p}}}
	hold, pending := m.hold, m.pending
	m.hold, m.pending = true, nil
	m.c.Handle(m.now, &group.Request{Req: req, Reply: func(r kmsg.Response) {
		got = max(r.(*kmsg.OffsetFetchResponse).Topics[0].Partitions[0].Offset, 0)
	}})
	records, answers := m.c.Take()
	// Requests before it in this turn may have left something.
	var rest []group.Answer
	for i, a := range answers {
		if i == len(answers)-1 {
			a.Send(protocol.None)
		} else {
			rest = append(rest, a)
		}
	}
	m.hold, m.pending = hold, append(pending, appended{records, rest})
	return got
}

func (x *modelMember) commit() {
	p := x.owned[x.m.rng.IntN(len(x.owned))]
	to := x.position[p] + 1
	req := commitRequest(x.id, x.generation, to)
	req.InstanceID = x.instanceID()
	req.Topics[0].Partitions[0].Partition = p
	x.m.send(req, x.reply(func(r kmsg.Response) {
		code := r.(*kmsg.OffsetCommitResponse).Topics[0].Partitions[0].ErrorCode
		if code != 0 {
			x.failed(code)
			return
		}
		if to < x.m.acked[p] {
			x.m.fatalf("%s committed %d of partition %d after %d was acknowledged", x.name, to, p, x.m.acked[p])
		}
		x.m.acked[p] = to
		if x.position != nil {
			x.position[p] = max(x.position[p], to)
		}
	}))
}

func (x *modelMember) heartbeat() {
	req := kmsg.NewPtrHeartbeatRequest()
	req.Version, req.Group, req.MemberID, req.Generation, req.InstanceID = 4, "g", x.id, x.generation, x.instanceID()
	x.m.send(req, x.reply(func(r kmsg.Response) {
		if code := r.(*kmsg.HeartbeatResponse).ErrorCode; code != 0 {
			x.failed(code)
		}
	}))
}

// chaos does something at random.
func (m *model) chaos() {
	switch n := m.rng.IntN(100); {
	case n < 4 && m.living() < 8:
		m.newMember()
	case n < 6:
		if x := m.anybody(); x != nil {
			m.logf("%s dies", x.name)
			x.alive = false
		}
	case n < 7:
		m.logf("coordinator fails with %d appends on their way", len(m.pending))
		m.commit(m.rng.IntN(len(m.pending) + 1)) // some of them survive
		m.failOver()
	case n < 8 && len(m.pending) == 0:
		m.logf("coordinator resigns")
		m.c.Resign(protocol.NotCoordinator)
		m.c.Lead(m.now)
	case n < 40:
		m.commit(m.rng.IntN(len(m.pending) + 1))
	case n < 60:
		m.pass(time.Duration(m.rng.IntN(1500)) * time.Millisecond)
	default:
		if x := m.anybody(); x != nil {
			x.step()
		}
	}
}

func (m *model) anybody() *modelMember {
	alive := slices.DeleteFunc(slices.Clone(m.members), func(x *modelMember) bool { return !x.alive })
	if len(alive) == 0 {
		return nil
	}
	return alive[m.rng.IntN(len(alive))]
}

func (m *model) living() int {
	n := 0
	for _, x := range m.members {
		if x.alive {
			n++
		}
	}
	return n
}

// settle lets everybody go on without faults until all own their parts of one generation.
func (m *model) settle() {
	m.hold = false
	m.commit(len(m.pending))
	for range 400 {
		for _, x := range m.members {
			x.step()
		}
		m.pass(500 * time.Millisecond)
		if m.settled() {
			return
		}
	}
	m.fatalf("%d members do not settle: %+v", m.living(), m.describe())
}

func (m *model) settled() bool {
	generations := map[int32]bool{}
	owned := map[int32]int{}
	for _, x := range m.members {
		if !x.alive {
			continue
		}
		if x.state != "stable" || x.busy {
			return false
		}
		generations[x.generation] = true
		for _, p := range x.owned {
			owned[p]++
		}
	}
	d := m.describe()
	if m.living() == 0 {
		return len(d.Members) == 0
	}
	if len(generations) != 1 || d.State != "Stable" || len(d.Members) != m.living() || len(owned) != modelPartitions {
		return false
	}
	return !slices.ContainsFunc(slices.Collect(maps.Values(owned)), func(n int) bool { return n != 1 })
}

func TestModel(t *testing.T) {
	rounds := 300
	if testing.Short() {
		rounds = 30
	}
	seed := uint64(time.Now().UnixNano()) //nolint:gosec // any number
	if s, err := strconv.ParseUint(os.Getenv("STELE_TEST_SEED"), 10, 64); err == nil {
		seed, rounds = s, 1
	}
	for i := range uint64(rounds) {
		if !t.Run(fmt.Sprint("seed ", seed+i), func(t *testing.T) { runModel(t, seed+i) }) {
			t.Fatalf("STELE_TEST_SEED=%d", seed+i)
		}
	}
}

func runModel(t *testing.T, seed uint64) {
	rng := rand.New(rand.NewPCG(seed, 1)) //nolint:gosec // a test
	m := &model{rng: rng, owners: map[int32]map[int32]string{}, acked: map[int32]int64{}}
	m.rig = newRig(t, func(c *group.Config) {
		if rng.IntN(2) == 0 {
			c.InitialRebalanceDelay = 3 * time.Second
		}
	})
	m.hold = true
	m.newMember()
	for range 1500 {
		m.chaos()
	}
	m.settle()
	for p, acked := range m.acked {
		if got := m.committed(p); got < acked {
			m.fatalf("partition %d: %d is committed, %d was acknowledged", p, got, acked)
		}
	}
}
