package controller

import (
	"flag"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/stelemq/stele/broker/metadata"
)

// checkSteps holds what a decision must never do.
func (w *world) checkSteps(a *Actions) {
	w.t.Helper()
	image := w.m.Image()
	for _, c := range a.Commands {
		switch c := c.(type) {
		case *metadata.ChangeReplicas:
			seen := map[metadata.ShardID]bool{}
			for _, s := range c.Steps {
				w.steps++
				t, _ := image.TopicByID(s.Topic)
				p := &t.Partitions[s.Partition]
				if seen[s.Shard] || s.Add != nil && s.Leave != 0 || s.Add == nil && s.Leave == 0 {
					w.t.Fatalf("%s/%d: more than one change: %+v", t.Name, s.Partition, s)
				}
				seen[s.Shard] = true
				w.checkStep(image, t, p, s)
			}
		case *metadata.NewGeneration:
			w.checkGeneration(c)
		}
	}
}

func (w *world) checkStep(image *metadata.Image, t *metadata.Topic, p *metadata.Partition, s metadata.ReplicaChange) {
	w.t.Helper()
	live := func(node int32) bool { b, ok := image.Broker(node); return ok && !b.Fenced }
	voters, alive := 0, 0
	for _, r := range p.Replicas {
		if r.State == metadata.Leaving || r.State == metadata.Learner && live(r.Node) {
			w.t.Fatalf("%s/%d: a change while replica %d is %s", t.Name, s.Partition, r.ID, r.State)
		}
		if r.State == metadata.Voter && r.ID != s.Leave {
			voters++
			if live(r.Node) {
				alive++
			}
		}
	}
	if s.Leave != 0 && alive < voters/2+1 {
		w.t.Fatalf("%s/%d: replica %d leaves %d living voters of %d", t.Name, s.Partition, s.Leave, alive, voters)
	}
}

// checkGeneration: what is lost was acknowledged long ago, when its replicas were still heard of, and the longest
// survivor leads.
func (w *world) checkGeneration(c *metadata.NewGeneration) {
	w.t.Helper()
	w.generations++
	t, _ := w.m.Image().TopicByID(c.Topic)
	p := &t.Partitions[c.Partition]
	if !unclean(t) && !p.Recover {
		w.t.Fatalf("%s/%d: unclean recovery of a topic that forbids it", t.Name, c.Partition)
	}
	toy := w.parts[c.Shard]
	survivor, _ := p.Replica(c.Survivor)
	mine := w.nodes[survivor.Node].holds[toyReplica{c.Shard, c.Survivor}]
	if mine.end < toy.acked && w.now.Sub(toy.ackedAt) < w.cfg.SessionTimeout {
		w.t.Fatalf("%s/%d: a new generation from %d records of %d that were acknowledged until %v ago: %+v, raft %+v", t.Name, c.Partition, mine.end, toy.acked, w.now.Sub(toy.ackedAt), *p, *toy)
	}
	for _, r := range p.Replicas {
		n := w.nodes[r.Node]
		l := n.holds[toyReplica{c.Shard, r.ID}]
		if newest, _ := p.ReplicaOn(r.Node); n.up && !n.cut && l != nil && newest.ID == r.ID && (l.epoch > mine.epoch || l.epoch == mine.epoch && l.end > mine.end) {
			w.t.Fatalf("%s/%d: replica %d with %+v wins over %d with %+v", t.Name, c.Partition, c.Survivor, *mine, r.ID, *l)
		}
	}
}

// check holds what must be true of the metadata at any time.
func (w *world) check() {
	w.t.Helper()
	for _, t := range w.topics() {
		for i := range t.Partitions {
			p := &t.Partitions[i]
			key := fmt.Sprint(t.Name, "/", i)
			if !slices.Contains(w.shards[key], p.Shard) {
				w.shards[key] = append(w.shards[key], p.Shard)
			}
			if w.ids[key] == nil {
				w.ids[key] = map[metadata.ReplicaID]int32{}
			}
			nodes := map[int32]bool{}
			now := map[metadata.ReplicaID]bool{}
			for _, r := range p.Replicas {
				if was, ok := w.ids[key][r.ID]; ok && was != r.Node || r.ID >= p.NextReplica {
					w.t.Fatalf("%s: replica id %d is used again, or not counted: %+v", key, r.ID, p)
				}
				if r.State != metadata.Leaving && nodes[r.Node] {
					w.t.Fatalf("%s: two replicas on node %d: %+v", key, r.Node, p)
				}
				nodes[r.Node] = nodes[r.Node] || r.State != metadata.Leaving
				w.ids[key][r.ID] = r.Node
				now[r.ID] = true
			}
			for id := range w.ids[key] {
				if !now[id] {
					w.ids[key][id] = -2 // gone: nobody may have it again
				}
			}
		}
	}
	voters := 0
	for _, m := range w.members {
		if m.Voter {
			voters++
		}
	}
	if voters < 1 || voters > 6 {
		w.t.Fatalf("%d voters of the metadata: %+v", voters, w.members)
	}
}

// disturb does something at random to the world.
func (w *world) disturb(rng *rand.Rand) {
	id := int32(1 + rng.IntN(len(w.nodes))) //nolint:gosec // small
	n := w.nodes[id]
	_, known := w.m.Image().Broker(id)
	state := func(s metadata.NodeState) {
		if known {
			w.do(&metadata.SetNodeState{Node: id, State: s})
		}
	}
	switch rng.IntN(14) {
	case 0, 1:
		n.up = false
	case 2, 3, 4:
		if !n.up {
			w.start(id, false)
		}
	case 5: // disks are replaced when all know that the node is dead
		if b, ok := w.m.Image().Broker(id); ok && b.Fenced && !n.up && w.mayWipe(id) {
			w.start(id, true)
		}
	case 6:
		n.cut = !n.cut
	case 7:
		state(metadata.NodeDraining)
	case 8:
		state(metadata.NodeActive)
	case 9:
		if w.m.Image().Members() > 4 {
			state(metadata.NodeDecommissioning)
		}
	default:
		w.reassign(rng)
	}
}

// mayWipe: the metadata's own majority of disks is not to be lost here.
func (w *world) mayWipe(id int32) bool {
	voters, left := 0, 0
	for _, m := range w.members {
		if m.Voter {
			voters++
			if n := w.nodes[m.Node]; m.Node != id && n.members[m.Replica] && !n.wiped {
				left++
			}
		}
	}
	return left >= voters/2+1
}

func (w *world) reassign(rng *rand.Rand) {
	topics := w.topics()
	t := topics[rng.IntN(len(topics))]
	c := metadata.Reassignment{Topic: t.ID, Partition: int32(rng.IntN(len(t.Partitions)))} //nolint:gosec // small
	if rng.IntN(3) > 0 {
		for _, b := range w.m.Image().Brokers() {
			if b.Registered() && b.State != metadata.NodeDecommissioning {
				c.Target = append(c.Target, b.Node)
			}
		}
		rng.Shuffle(len(c.Target), func(i, j int) { c.Target[i], c.Target[j] = c.Target[j], c.Target[i] })
		c.Target = c.Target[:min(len(c.Target), 1+rng.IntN(3))]
	}
	w.do(&metadata.AlterReassignments{Changes: []metadata.Reassignment{c}})
}

var simulationSeed = flag.Uint64("simulation.seed", 0, "run TestSimulation with one seed only")

// TestSimulation lets nodes die, return, lose their disks, be cut off, drained and decommissioned, and
// partitions be moved, and holds the invariants above after every step; then all is healed, and the cluster
// must come to rest with everything as wished.
func TestSimulation(t *testing.T) {
	runs, ticks := 40, 400
	if testing.Short() {
		runs = 8
	}
	generations, steps := 0, 0
	if *simulationSeed != 0 {
		runs = 1
	}
	for range runs {
		seed := rand.Uint64()
		if *simulationSeed != 0 {
			seed = *simulationSeed
		}
		w := newWorld(t, 6)
		rng := rand.New(rand.NewPCG(seed, 0))
		ok := t.Run(fmt.Sprint("seed ", seed), func(t *testing.T) {
			w.t = t
			w.simulate(rng, ticks)
		})
		generations, steps = generations+w.generations, steps+w.steps
		if !ok {
			return
		}
	}
	t.Logf("%d steps of replicas, %d unclean recoveries", steps, generations)
	if *simulationSeed != 0 {
		return
	}
	if generations == 0 || steps < 100 {
		t.Error("the simulation does not reach what it should try")
	}
}

func (w *world) simulate(rng *rand.Rand, ticks int) {
	place := func(partitions, factor int) [][]int32 {
		r, refused := metadata.Place(w.m.Image(), partitions, factor)
		if refused != nil {
			w.t.Fatal(refused)
		}
		return r
	}
	w.create("clean", 1, place(6, 3)...)
	w.create("unclean", 2, place(4, 3)...)
	w.create("unclean-2", 3, place(2, 2)...)
	for range ticks {
		if rng.IntN(4) == 0 {
			w.disturb(rng)
		}
		w.tick()
	}
	w.heal()
	w.settle()
}

// heal ends all faults; a node that was removed stays away.
func (w *world) heal() {
	for id := range w.nodes {
		w.nodes[id].cut = false
		b, known := w.m.Image().Broker(id)
		if known && !w.nodes[id].up {
			w.start(id, false)
		}
		if known && b.State == metadata.NodeDraining {
			w.do(&metadata.SetNodeState{Node: id})
		}
	}
}

// settle lets time pass until nothing is left to do.
func (w *world) settle() {
	w.t.Helper()
	var why string
	for range 4000 {
		w.tick()
		for id, n := range w.nodes {
			if _, known := w.m.Image().Broker(id); known && !n.up {
				w.start(id, false)
			}
		}
		// A partition all of whose disks were replaced is lost until an operator says so.
		for _, t := range w.topics() {
			for i := range t.Partitions {
				p := &t.Partitions[i]
				if w.hopeless(p) && !p.Recover {
					w.do(&metadata.RecoverPartition{Topic: t.ID, Partition: int32(i)}) //nolint:gosec // small
				}
			}
		}
		if why = w.unsettled(); why == "" {
			return
		}
	}
	w.t.Fatalf("not at rest after %v: %s", 2000*time.Second, why)
}

// hopeless: too few disks are left for a majority.
func (w *world) hopeless(p *metadata.Partition) bool {
	toy := w.parts[p.Shard]
	if toy == nil {
		return false
	}
	voters, _ := w.reach(toy, p.Shard, false)
	return len(voters) < len(toy.voters)/2+1
}

func (w *world) unsettled() string {
	image := w.m.Image()
	for _, b := range image.Brokers() {
		if b.Fenced || b.State == metadata.NodeDecommissioning {
			return fmt.Sprintf("broker %+v", *b) + w.describe()
		}
	}
	for _, t := range w.topics() {
		for i := range t.Partitions {
			p := &t.Partitions[i]
			toy := w.parts[p.Shard]
			switch {
			case p.Target != nil || p.Voters() != len(p.Replicas) || p.Recover:
				return fmt.Sprintf("%s/%d: %+v, raft %+v", t.Name, i, p, toy)
			case toy == nil || toy.leader == 0 || len(toy.voters) != len(p.Replicas) || len(toy.learners) > 0:
				return fmt.Sprintf("%s/%d: %+v, raft %+v", t.Name, i, p, toy)
			}
		}
	}
	for node, load := range w.leaders() {
		if load.astray*100 > w.cfg.ImbalancePercentage*load.preferred {
			return fmt.Sprintf("node %d: %d of %d preferred leaderships are elsewhere", node, load.astray, load.preferred)
		}
	}
	voters := 0
	for _, m := range w.members {
		if b, ok := image.Broker(m.Node); !ok || b.MetadataReplica != m.Replica {
			return fmt.Sprintf("member %+v is stale", m)
		}
		if m.Voter {
			voters++
		}
	}
	if want := Voters(image.Members()); voters != want || len(w.members) != len(image.Brokers()) {
		return fmt.Sprintf("%d voters of the metadata, want %d: %+v", voters, want, w.members)
	}
	return ""
}

func (w *world) describe() string {
	s := fmt.Sprintf("\nself %d members %+v", w.self, w.members)
	for id, n := range w.nodes {
		b, _ := w.m.Image().Broker(id)
		s += fmt.Sprintf("\nnode %d up %v cut %v wiped %v members %v broker %+v", id, n.up, n.cut, n.wiped, n.members, b)
	}
	for _, t := range w.topics() {
		for i := range t.Partitions {
			p := &t.Partitions[i]
			s += fmt.Sprintf("\n%s/%d %+v\n  raft %+v", t.Name, i, *p, w.parts[p.Shard])
		}
	}
	return s
}

type leaderLoad struct{ preferred, astray int }

func (w *world) leaders() map[int32]leaderLoad {
	out := map[int32]leaderLoad{}
	for _, t := range w.topics() {
		for i := range t.Partitions {
			p := &t.Partitions[i]
			l := out[p.PreferredLeader()]
			l.preferred++
			if toy := w.parts[p.Shard]; toy.node(toy.leader) != p.PreferredLeader() {
				l.astray++
			}
			out[p.PreferredLeader()] = l
		}
	}
	return out
}
