//go:build robustness

package robustness

import (
	"cmp"
	"context"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stelemq/stele/tests/robustness/history"
	"github.com/stelemq/stele/tests/robustness/workload"
)

// rooms are six brokers in two rooms; each partition has replicas in both.
var rooms = [2][]int32{{1, 2, 3}, {4, 5, 6}}

// TestR25_Rooms cuts two rooms off from each other: each partition goes on in the room with two of its replicas, and the
// metadata where three of its five voters are. After healing the room with most of the metadata's voters is lost for ever, and
// what is left is recovered as the documentation says.
func TestR25_Rooms(t *testing.T) {
	o := three()
	if o.nodes == 1 {
		t.Skip("needs six brokers")
	}
	o.nodes = 6
	o.own = func(node int32) []string { return []string{fmt.Sprintf("broker.rack=room-%d", (node-1)/3)} }
	o.settings = []string{"broker.session.timeout.ms=3000ms"}
	s := newScenario(t, "R25 two rooms cut, one lost for ever", o)
	s.c.NeedCuts()
	s.voters(5)
	s.spread()
	for range count(20, 1) {
		s.strong.Availability.MaxGap()
		s.c.Split(rooms[0], rooms[1])
		s.figures.available = append(s.figures.available, s.await(s.mark(s.partitions()), "while the rooms are cut off")...)
		s.between(time.Second, 4*time.Second)
		s.await(s.mark(s.partitions()), "at the end of the cut")
		s.c.Heal()
		s.healed()
		s.figures.faults++
	}
	s.loseRoom()
	s.finish()
}

// spread checks that each partition has replicas in both rooms.
func (s *scenario) spread() {
	s.t.Helper()
	ctx, cancel := s.within(serveTimeout)
	defer cancel()
	_, topics, err := workload.Cluster(ctx, s.c.Node(1).Addr())
	if err != nil {
		s.t.Fatal(err)
	}
	for p, nodes := range topics[s.strong.cfg.Topic].Replicas {
		if n := len(slices.DeleteFunc(slices.Clone(nodes), func(id int32) bool { return slices.Contains(rooms[0], id) })); n == 0 || n == len(nodes) {
			s.t.Errorf("seed %d: partition %d has its replicas %v in one room", s.seed, p, nodes)
		}
	}
}

// loseRoom empties the disks of the room with most voters, recovers what is left by the documented commands, and starts
// new brokers in the place of the old ones. Everything had been replicated before: nothing may be lost.
func (s *scenario) loseRoom() {
	s.t.Helper()
	var voters []int32
	s.do("describe the quorum", func(ctx context.Context) (err error) {
		voters, err = workload.Voters(ctx, s.c.Bootstrap())
		return err
	})
	in := func(room []int32) int {
		return len(slices.DeleteFunc(slices.Clone(voters), func(id int32) bool { return !slices.Contains(room, id) }))
	}
	lost, left := rooms[0], rooms[1]
	if in(left) > in(lost) {
		lost, left = left, lost
	}
	s.strong.Quiet(true)
	s.wait(lagTime)
	s.awaitSync()
	for _, id := range lost {
		s.c.Node(id).Kill()
		s.c.Node(id).Wipe()
	}
	began := time.Now()
	s.recoverMetadata(left)
	recovered := time.Since(began)
	s.strong.Quiet(false)
	n, others := s.recoverPartitions(left)
	s.await(s.mark(others), "with one room and two replicas") // one replica is too few for min.insync.replicas
	for _, id := range lost {
		s.c.Node(id).Start()
		s.c.Node(id).MayDie()
	}
	for began := time.Now(); !s.inSync(); s.wait(100 * time.Millisecond) {
		for _, id := range lost { // as a supervisor does
			if n := s.c.Node(id); !n.Alive() {
				n.Start()
				n.MayDie()
			}
		}
		if time.Since(began) > healTimeout {
			s.t.Fatalf("seed %d: new brokers do not take the place of the lost ones", s.seed)
		}
	}
	s.await(s.mark(s.partitions()), "with new brokers")
	whole := time.Since(began)
	s.figures.faults++
	s.figures.note("a room lost with %d of %d voters: metadata recovered by hand after %v, %d of %d partitions recovered, all replicas of all in sync on new brokers after %v",
		in(lost), len(voters), round(recovered), n, s.setup.partitions, round(whole))
}

var lastEntry = regexp.MustCompile(`LAST ENTRY\s+term (\d+), index (\d+)`)

// recoverMetadata founds the metadata anew on the survivor that has most of it.
func (s *scenario) recoverMetadata(left []int32) {
	s.t.Helper()
	type remains struct {
		node        int32
		term, index int
	}
	var all []remains
	for _, id := range left { // one after the other
		n := s.c.Node(id)
		if err := n.Terminate(stopTimeout); err != nil {
			s.t.Error(err)
		}
		ctx, cancel := s.within(serveTimeout)
		out, err := n.Offline(ctx, "cluster", "recover-metadata", "--dry-run")
		cancel()
		m := lastEntry.FindStringSubmatch(out)
		if err != nil || m == nil {
			s.t.Fatalf("seed %d: node %d: %v\n%s", s.seed, id, err, out)
		}
		term, _ := strconv.Atoi(m[1])
		index, _ := strconv.Atoi(m[2])
		all = append(all, remains{id, term, index})
		n.Start()
	}
	best := slices.MaxFunc(all, func(a, b remains) int { return cmp.Or(cmp.Compare(a.term, b.term), cmp.Compare(a.index, b.index)) })
	n := s.c.Node(best.node)
	if err := n.Terminate(stopTimeout); err != nil {
		s.t.Error(err)
	}
	ctx, cancel := s.within(serveTimeout)
	defer cancel()
	if out, err := n.Offline(ctx, "cluster", "recover-metadata", "--yes"); err != nil {
		s.t.Fatalf("seed %d: node %d: %v\n%s", s.seed, best.node, err, out)
	}
	n.Start()
	s.do("create a topic", func(ctx context.Context) error {
		return workload.Create(ctx, s.addrs(left), "after-the-recovery", 1, 1, nil)
	})
}

func (s *scenario) addrs(nodes []int32) (addrs []string) {
	for _, id := range nodes {
		addrs = append(addrs, s.c.Node(id).Addr())
	}
	return addrs
}

// recoverPartitions lets the partitions go on that have lost their majority, and returns how many they are, and the others.
func (s *scenario) recoverPartitions(left []int32) (n int, others []int32) {
	s.t.Helper()
	for _, p := range s.partitions() {
		for began := time.Now(); ; s.wait(200 * time.Millisecond) {
			ctx, cancel := s.within(serveTimeout)
			out, err := s.c.Command(ctx, "partition", "recover", fmt.Sprintf("%s/%d", s.strong.cfg.Topic, p), "--yes", "--brokers", strings.Join(s.addrs(left), ","))
			cancel()
			if err == nil && !strings.Contains(out, "NOT-NEEDED") {
				n++
				break
			}
			if err == nil || strings.Contains(out, "has a majority of its replicas") {
				others = append(others, p)
				break
			}
			if time.Since(began) > serveTimeout {
				s.t.Fatalf("seed %d: partition %d: %v", s.seed, p, err)
			}
		}
	}
	return n, others
}

// TestR25_UncleanElectionBesideAMinority cuts five brokers into {1,2} and {3,4,5}, whose controller gives node 3 partitions
// of which 1 and 2 have the majority: they allow unclean election. No leader of before acknowledges what is sent once the
// new one has acknowledged something.
func TestR25_UncleanElectionBesideAMinority(t *testing.T) {
	o := five()
	if o.nodes != 5 {
		t.Skip("needs five brokers")
	}
	o.assignment = func(p int) []int32 { return [][]int32{{1, 2, 3}, {2, 1, 3}}[p%2] }
	o.minISR, o.topic = 1, map[string]string{"unclean.leader.election.enable": "true"}
	o.settings = []string{"broker.session.timeout.ms=2000ms"}
	o.lossy = true
	s := newScenario(t, "R25 unclean election beside the former majority", o)
	s.c.NeedCuts()
	s.voters(5)
	var cuts []history.Window
	for range count(20, 1) {
		if led := s.strong.Router.Led(3); len(led) > 0 { // since the round before
			m := s.mark(led)
			s.c.Node(3).Kill()
			s.await(m, "without node 3")
			s.c.Node(3).Start()
			s.healed()
		}
		s.strong.Availability.MaxGap()
		from := s.strong.rec.Now()
		s.c.Split([]int32{1, 2}, []int32{3, 4, 5})
		for began := time.Now(); len(s.strong.Router.Led(3)) < s.setup.partitions; s.wait(10 * time.Millisecond) {
			if time.Since(began) > serveTimeout {
				t.Fatalf("seed %d: node 3 leads %v only", s.seed, s.strong.Router.Led(3))
			}
		}
		s.figures.available = append(s.figures.available, s.await(s.mark(s.partitions()), "behind the cut")...)
		s.between(time.Second, 3*time.Second)
		cuts = append(cuts, history.Window{Node: 3, From: from, To: s.strong.rec.Now()})
		s.c.Heal()
		s.healed()
		s.figures.faults++
	}
	s.strong.cuts = cuts
	s.finish()
}

// checkFence looks for acknowledgements of brokers other than the new leader, in times of a cut, of what was sent after
// it had acknowledged something. The cuts' node is the new leader.
func (j *judged) checkFence(ops []history.Op) (wrong []string, before int) {
	type key struct {
		cut       int
		partition int32
	}
	first := map[key]int64{}
	cutOf := func(at int64) int {
		return slices.IndexFunc(j.cuts, func(w history.Window) bool { return at >= w.From && at <= w.To })
	}
	acked := func(op *history.Op) bool { return op.Kind == history.Send && op.Status == history.OK }
	for i := range ops {
		op := &ops[i]
		if c := cutOf(op.End); c >= 0 && acked(op) && op.Node == j.cuts[c].Node {
			k := key{c, op.Partition}
			if at, ok := first[k]; !ok || op.End < at {
				first[k] = op.End
			}
		}
	}
	for i := range ops {
		op := &ops[i]
		c := cutOf(op.End)
		if c < 0 || !acked(op) || op.Node == j.cuts[c].Node {
			continue
		}
		at, ok := first[key{c, op.Partition}]
		switch {
		case !ok:
		case op.Start > at && op.Attempts == 1:
			wrong = append(wrong, fmt.Sprintf("partition %d: node %d acknowledged at %d ns what was sent at %d ns; node %d had at %d ns", op.Partition, op.Node, op.End, op.Start, j.cuts[c].Node, at))
		case op.End < at:
			before++
		}
	}
	return wrong, before
}
