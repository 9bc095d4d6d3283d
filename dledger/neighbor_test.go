package dledger

import (
	"sync"
	"sync/atomic"
	"testing"
	"time"

	pb "github.com/lni/dragonboat/v4/raftpb"
)

// restingCluster is three nodes with a partition that goes to rest at once.
func restingCluster(t *testing.T) *testCluster {
	t.Helper()
	c := newCluster(t, 3)
	c.shaped = true
	c.options = func(o *Options) { o.restAfter = time.Millisecond }
	for i := range c.hosts {
		c.start(i)
	}
	c.create(16, LogConfig{SegmentBytes: 1 << 20, FlushMessages: 1})
	if r := c.produce(16, batchOf(t, 1, -1, -1, -1)); r.Err != nil {
		t.Fatal(r.Err)
	}
	return c
}

// rests reports whether all followers of a leader lean on its node.
func (p *Partition) rests() bool {
	g := &p.progress
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.term == 0 || !p.isLeader.Load() {
		return false
	}
	now, last := monotonic(), p.shard.lastIndex()
	for _, f := range g.followers {
		if !f.leansLocked(now) || f.match != last {
			return false
		}
	}
	return true
}

// resting waits until the partition is at rest, and returns who leads it.
func (c *testCluster) resting(shard ShardID) (lead int) {
	c.t.Helper()
	await(c.t, "the partition is at rest", func() bool {
		for i, h := range c.hosts {
			if h != nil && c.partition(i, shard).rests() {
				lead = i
				return true
			}
		}
		return false
	})
	return lead
}

func (p *Partition) leaderItselfHeard() int64 {
	p.progress.mu.Lock()
	defer p.progress.mu.Unlock()
	return p.progress.patience.real
}

// A group at rest exchanges nothing, and yet its leader holds the lease, its followers serve, and all are in sync. A record wakes
// it.
func TestRest_NothingIsSaidAndEverythingHolds(t *testing.T) {
	c := restingCluster(t)
	c.options = nil
	lead := c.resting(16)
	p := c.partition(lead, 16)
	epoch := p.Leadership().Epoch
	silent, leased, looks := false, 0, 0
	for range 3 { // housekeeping may fall into one
		before := c.partition((lead+1)%3, 16).leaderItselfHeard()
		for end := time.Now().Add(1500 * time.Millisecond); time.Now().Before(end); {
			<-time.After(10 * time.Millisecond)
			if l := p.Leadership(); !l.IsLeader || l.Epoch != epoch || len(l.ISR) != 3 {
				t.Fatalf("at rest: %+v", l)
			}
			if looks++; p.InLease() {
				leased++
			}
		}
		silent = silent || c.partition((lead+1)%3, 16).leaderItselfHeard() == before
	}
	if !silent {
		t.Error("heartbeats go on")
	}
	if leased < looks/2 {
		t.Errorf("the lease is held %d times of %d", leased, looks)
	}
	for _, i := range []int{(lead + 1) % 3, (lead + 2) % 3} {
		q := c.partition(i, 16)
		await(t, "the follower serves", q.Follows)
		if s := q.Status(); s.LastContact > time.Second {
			t.Errorf("the leader was heard %v ago", s.LastContact)
		}
	}
	if now := p.progress.inSync(1, p.shard.lastIndex(), time.Second); len(now) != 3 {
		t.Errorf("in sync: %v", now)
	}
	if r := appendWait(t, p, batchOf(t, 1, -1, -1, -1)); r.Err != nil {
		t.Fatal(r.Err)
	}
	c.equal(16)
}

// replaced is by when another leads, however slow the machine; by itself a follower loses patience after unheard.
const replaced = unheard / 2

// Whatever becomes of the leader's node, another leads soon, and no two hold the lease at one moment.
func TestRest_LeaderThatIsCutOffIsReplaced(t *testing.T) {
	c := restingCluster(t)
	var stop atomic.Bool
	var watcher sync.WaitGroup
	defer func() {
		stop.Store(true)
		watcher.Wait()
	}()
	watcher.Go(func() {
		for !stop.Load() {
			for i := range c.hosts {
				for k := range c.hosts {
					p, q := c.partition(i, 16), c.partition(k, 16)
					if i != k && p.InLease() && q.InLease() && p.InLease() {
						t.Errorf("nodes %d and %d hold the lease", i+1, k+1)
						return
					}
				}
			}
		}
	})
	for _, cut := range []struct {
		name    string
		in, out bool
	}{{"it hears nothing and says nothing", true, true}, {"nobody hears it", false, true}, {"it hears nothing", true, false}} {
		old := c.resting(16)
		n := c.nets[old].shape
		began := time.Now()
		n.in.hold(cut.in)
		n.out.hold(cut.out)
		next := c.leader(16, old)
		if took := time.Since(began); took > replaced {
			t.Errorf("%s: another leads after %v", cut.name, took)
		}
		await(t, "the next holds the lease", c.partition(next, 16).InLease)
		n.in.hold(false)
		n.out.hold(false)
		await(t, "a record", func() bool {
			_, ok := c.offer(16, batchOf(t, 1, -1, -1, -1))
			return ok
		})
		c.equal(16)
	}
}

// A node that comes back leans on nobody, whatever it said before; and the group goes to rest again.
func TestRest_FollowerThatIsStartedAgain(t *testing.T) {
	c := restingCluster(t)
	lead := c.resting(16)
	p := c.partition(lead, 16)
	epoch := p.Leadership().Epoch
	away := (lead + 1) % 3
	c.stop(away)
	await(t, "it leans no more", func() bool {
		return !p.rests() || !c.hosts[lead].neighbors.of(int32(away+1)).answers(c.hosts[lead].clock.now())
	})
	c.start(away)
	if again := c.resting(16); again != lead || p.Leadership().Epoch != epoch {
		t.Errorf("another leads: node %d, epoch %d after %d", again+1, p.Leadership().Epoch, epoch)
	}
	c.equal(16)
}

// A leader that goes tells its followers, which do not wait for its node to fall silent.
func TestRest_LeaderThatGoesTellsIt(t *testing.T) {
	c := restingCluster(t)
	lead := c.resting(16)
	h, began := c.hosts[lead], time.Now()
	if err := h.StopPartition(c.partition(lead, 16).spec); err != nil {
		t.Fatal(err)
	}
	await(t, "another leads", func() bool {
		for i := range c.hosts {
			if i != lead && c.partition(i, 16).isLeader.Load() {
				return true
			}
		}
		return false
	})
	// Beats to nodes on which nothing is led end after housekeepingEvery.
	if took := time.Since(began); took > housekeepingEvery-time.Second {
		t.Errorf("another leads after %v", took)
	}
}

// A transfer works from rest, and the one who hands over holds no lease from then on.
func TestRest_Transfer(t *testing.T) {
	c := restingCluster(t)
	lead := c.resting(16)
	to := (lead + 1) % 3
	if err := c.partition(lead, 16).TransferLeadership(t.Context(), int32(to+1)); err != nil {
		t.Fatal(err)
	}
	await(t, "the other leads", c.partition(to, 16).isLeader.Load)
	c.resting(16)
	c.equal(16)
}

// pair is two nodes' views of each other, and what they have said and not delivered.
type pair struct {
	a, b  *neighbors // nodes 1 and 2
	clock int64
	said  []func()
}

func newPair() *pair {
	p := &pair{a: newNeighbors(nil), b: newNeighbors(nil), clock: int64(time.Hour)}
	hear := func(to *neighbors, from int32) func(int32, pb.Message, int64) {
		return func(_ int32, m pb.Message, stamp int64) {
			p.said = append(p.said, func() {
				if m.Type == pb.Ping {
					to.heardBeat(from, &m, stamp, p.clock)
				} else {
					to.heardAnswer(from, &m, stamp, p.clock)
				}
			})
		}
	}
	p.a.send, p.b.send = hear(p.b, 1), hear(p.a, 2)
	return p
}

// beat lets node 1 beat once, and node 2 answer.
func (p *pair) beat() {
	p.clock += int64(heartbeatEvery)
	p.a.of(2).wanted.Store(p.clock)
	p.a.beat(p.clock)
	for len(p.said) > 0 {
		f := p.said[0]
		p.said = p.said[1:]
		f()
	}
}

// What one side may have missed, or has forgotten, ends all leaning on it, and nothing else does.
func TestNeighbors_WhatWasMissedEndsLeaning(t *testing.T) {
	for _, r := range []struct {
		name         string
		happens      func(p *pair)
		leans, props bool // change
	}{
		{"beats go on", func(*pair) {}, false, false},
		{"a word of the leader is lost", func(p *pair) { p.a.of(2).told++ }, true, true},
		{"a word of the follower is lost", func(p *pair) { p.b.of(1).gone++ }, false, true},
		{"the leader's process is another", func(p *pair) { p.a.self += 2 }, true, true},
		{"the follower's process is another", func(p *pair) { p.b.self += 2 }, false, true},
		{"the leader is silent for long", func(p *pair) {
			p.clock += int64(beatLate)
			if len(p.b.silent(p.clock)) != 1 {
				t.Error("nobody is silent")
			}
		}, false, false},
		{"the leader is late", func(p *pair) {
			p.clock += int64(beatLate) - 2
			if len(p.b.silent(p.clock)) != 0 {
				t.Error("one is silent")
			}
		}, false, false},
	} {
		p := newPair()
		p.beat()
		p.beat()
		leans, props, back := p.b.of(1).leans.Load(), p.a.of(2).props.Load(), p.a.of(2).back.Load()
		r.happens(p)
		p.beat()
		if changed := p.b.of(1).leans.Load() != leans; changed != r.leans {
			t.Errorf("%s: leaning there ends: %t", r.name, changed)
		}
		if changed := p.a.of(2).props.Load() != props; changed != r.props {
			t.Errorf("%s: leaning is known to end: %t", r.name, changed)
		}
		if p.a.of(2).back.Load() <= back && r.name != "the leader's process is another" {
			t.Errorf("%s: not answered", r.name)
		}
		p.beat()
		if !p.a.of(2).answers(p.clock) {
			t.Errorf("%s: no answers", r.name)
		}
	}
}

// The Raft clock is never fast, and does not count what the process has slept.
func TestRaftClock_DoesNotCountWhatWasSlept(t *testing.T) {
	var c raftClock
	first := c.beat()
	c.at.Store(&moment{at: monotonic() - int64(time.Hour), clock: first})
	if d := c.now() - first; d != clockStep {
		t.Errorf("an hour's sleep counts %v", time.Duration(d))
	}
	if d := c.beat() - first; d != clockStep {
		t.Errorf("an hour's sleep counts %v", time.Duration(d))
	}
	began, at := monotonic(), c.now()
	await(t, "time", func() bool { return monotonic()-began > int64(20*time.Millisecond) })
	if d, passed := c.now()-at, monotonic()-began; d > passed || d < int64(20*time.Millisecond) {
		t.Errorf("%v in %v", time.Duration(d), time.Duration(passed))
	}
}

// A follower that leans tells its leader before Raft may vote, and not where a beat has come just now.
func TestRest_FollowerStandsUpBeforeItVotes(t *testing.T) {
	c := restingCluster(t)
	lead := c.resting(16)
	q := c.partition((lead+1)%3, 16)
	g := &q.progress
	g.mu.Lock()
	defer g.mu.Unlock()
	if !g.lean.holds() || g.lean.stood {
		t.Fatalf("it does not lean: %+v", g.lean)
	}
	if q.standUpLocked(g.lean.on.heard.Load() - 1) {
		t.Error("it stands up although a beat has come")
	}
	g.lean.on.mu.Lock()
	gone := g.lean.on.gone
	g.lean.on.mu.Unlock()
	for n := int64(1); n < electionTicks; n++ {
		q.waitsLocked(max(g.patience.heard, g.lean.on.heard.Load()) + n*int64(tickTime))
		if g.lean.stood {
			t.Fatalf("it stands up after %d ticks", g.patience.given)
		}
	}
	await(t, "it stands up", func() bool {
		q.waitsLocked(max(g.patience.heard, g.lean.on.heard.Load()) + (electionTicks+1)*int64(tickTime))
		return g.lean.stood
	})
	g.lean.on.mu.Lock()
	defer g.lean.on.mu.Unlock()
	if g.lean.on.gone == gone {
		t.Error("the leader is not told")
	}
}
