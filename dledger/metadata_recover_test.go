package dledger

import (
	"context"
	"errors"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// listMetadata is a state machine that remembers its commands; one that begins with "all:" replaces them.
type listMetadata struct {
	mu sync.Mutex
	// mu guards:
	commands []string
}

func (l *listMetadata) Apply(_ Index, command []byte) []byte {
	l.mu.Lock()
	defer l.mu.Unlock()
	if all, ok := strings.CutPrefix(string(command), "all:"); ok {
		l.commands = strings.Fields(all)
	} else {
		l.commands = append(l.commands, string(command))
	}
	return []byte("done")
}

func (l *listMetadata) Snapshot() ([]byte, error) { return []byte(l.String()), nil }

func (l *listMetadata) Restore(b []byte) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.commands = strings.Fields(string(b))
	return nil
}

func (l *listMetadata) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return strings.Join(l.commands, " ")
}

// metadataCluster is three hosts whose metadata are lists.
type metadataCluster struct {
	*testCluster
	lists [3]*listMetadata
}

func newMetadataCluster(t *testing.T) *metadataCluster {
	t.Helper()
	c := &metadataCluster{testCluster: newCluster(t, 3)}
	c.options = func(o *Options) {
		l := &listMetadata{}
		c.lists[o.NodeID-1] = l
		o.StateMachine = l
	}
	for i := range c.hosts {
		c.start(i)
	}
	return c
}

func (c *metadataCluster) propose(i int, command string) {
	c.t.Helper()
	ctx, cancel := context.WithTimeout(c.t.Context(), 30*time.Second)
	defer cancel()
	if _, err := c.hosts[i].Propose(ctx, []byte(command)); err != nil {
		c.t.Fatalf("node %d: propose %s: %v", i+1, command, err)
	}
}

func (c *metadataCluster) awaitLists(want string) {
	c.t.Helper()
	for i, h := range c.hosts {
		if h != nil {
			await(c.t, "all nodes have "+want, func() bool { return c.lists[i].String() == want })
		}
	}
}

func (c *metadataCluster) controller() int {
	c.t.Helper()
	at := -1
	await(c.t, "a controller", func() bool {
		at = slices.IndexFunc(c.hosts, func(h *Host) bool { return h != nil && h.IsController() })
		return at >= 0
	})
	return at
}

// The leader of a group whose majority is gone has an entry more than the other survivor: it is kept, the group goes on
// anew with that node alone, the other follows it while it runs, and the old group is not listened to any more.
func TestMetadata_RecoveredByASurvivor(t *testing.T) {
	c := newMetadataCluster(t)
	for _, command := range []string{"a", "b", "c"} {
		c.propose(0, command)
	}
	c.awaitLists("a b c")
	first := c.controller()
	second, lost := (first+1)%3, (first+2)%3
	c.nets[second].isolate(true)
	c.nets[lost].isolate(true)
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	if _, err := c.hosts[first].Propose(ctx, []byte("tail")); !errors.Is(err, ErrTimeout) {
		t.Fatalf("without a majority: %v", err)
	}
	cancel()
	c.stop(first)
	c.stop(second)
	c.stop(lost)

	offline := func(i int, m MetadataSpec) (Options, *listMetadata) {
		l := &listMetadata{}
		return Options{Dir: c.dirs[i], NodeID: int32(i + 1), StateMachine: l, Metadata: m}, l
	}
	founders := map[ReplicaID]int32{1: 1, 2: 2, 3: 3}
	old := func(i int) MetadataSpec { return MetadataSpec{Replica: ReplicaID(i + 1), Founders: founders} }
	o, list := offline(second, old(second))
	less, err := ReadMetadata(t.Context(), o)
	if err != nil || list.String() != "a b c" || len(less.Voters) != 3 {
		t.Fatalf("the second has %q, %+v, %v", list, less, err)
	}
	for range 2 { // looking changes nothing
		o, list = offline(first, old(first))
		more, err := ReadMetadata(t.Context(), o)
		if err != nil || list.String() != "a b c tail" || more.Last != less.Last+1 || more.Committed >= more.Last {
			t.Fatalf("the first has %q, %+v, %v", list, more, err)
		}
	}
	o, _ = offline(first, MetadataSpec{Replica: 7})
	if _, err := ReadMetadata(t.Context(), o); !errors.Is(err, ErrNoMetadata) {
		t.Fatalf("a replica that is not here: %v", err)
	}

	group := NextMetadataGroup(0)
	if again := NextMetadataGroup(0); again == group || MetadataRecoveries(group) != 1 || MetadataRecoveries(NextMetadataGroup(group)) != 2 || !isMetadata(group) {
		t.Fatalf("groups %d and %d", group, again)
	}
	spec := MetadataSpec{Group: group, Replica: 1, Founders: map[ReplicaID]int32{1: int32(first + 1)}}
	o, list = offline(first, spec)
	if result, err := FoundMetadata(t.Context(), o, []byte("all:a b c tail")); err != nil || string(result) != "done" || list.String() != "a b c tail" {
		t.Fatalf("%q %v, then %q", result, err, list)
	}

	options := c.options
	specs := map[int]MetadataSpec{first: spec}
	c.options = func(o *Options) {
		options(o)
		if s, ok := specs[int(o.NodeID-1)]; ok {
			o.Metadata = s
		}
	}
	c.start(first)
	c.propose(first, "d")
	c.start(second)
	c.hosts[second].LeaveMetadata()
	c.start(lost)
	await(t, "the second learner", func() bool {
		err = c.hosts[first].AddMetadataLearner(t.Context(), 101, int32(second+1))
		return err == nil
	})
	joined := MetadataSpec{Group: group, Replica: 101, Known: map[ReplicaID]int32{1: int32(first + 1)}}
	await(t, "the second knows what it had", func() bool { return c.lists[second].String() == "a b c" })
	if err := c.hosts[second].FollowMetadata(joined); err != nil {
		t.Fatal(err)
	}
	c.propose(second, "e")
	await(t, "the second has the new log", func() bool { return c.lists[second].String() == "a b c tail d e" })
	if node, ok := c.hosts[second].Controller(); !ok || node != int32(first+1) {
		t.Errorf("the second's controller is %d %v", node, ok)
	}
	ctx, cancel = context.WithTimeout(t.Context(), time.Second)
	defer cancel()
	if _, err := c.hosts[lost].Propose(ctx, []byte("x")); !errors.Is(err, ErrTimeout) || c.lists[lost].String() != "a b c" {
		t.Errorf("the old group goes on: %v, %q", err, c.lists[lost])
	}
	specs[second] = joined
	for _, i := range []int{first, second} {
		c.stop(i)
		c.start(i)
	}
	c.propose(second, "f")
	c.propose(first, "g")
	for _, i := range []int{first, second} {
		await(t, "both after a restart", func() bool { return c.lists[i].String() == "a b c tail d e f g" })
	}
}

// What the log no longer holds is read from the snapshot.
func TestMetadata_ReadBehindASnapshot(t *testing.T) {
	c := newMetadataCluster(t)
	var all []string
	for i := range metadataSnapshotEntries + 200 {
		all = append(all, string(rune('a'+i%26)))
	}
	var wg sync.WaitGroup
	for k := range 8 {
		wg.Go(func() {
			for i := k; i < len(all); i += 8 {
				c.propose(0, all[i])
			}
		})
	}
	wg.Wait()
	want := ""
	await(t, "all applied", func() bool {
		want = c.lists[2].String()
		return len(strings.Fields(want)) == len(all)
	})
	await(t, "a snapshot", func() bool {
		ss, err := c.hosts[2].db.meta.GetSnapshot(uint64(MetadataShard), 3)
		return err == nil && ss.Index > 0
	})
	for i := range c.hosts {
		c.stop(i)
	}
	l := &listMetadata{}
	o := Options{Dir: c.dirs[2], NodeID: 3, StateMachine: l, Metadata: MetadataSpec{Replica: 3, Founders: map[ReplicaID]int32{1: 1, 2: 2, 3: 3}}}
	r, err := ReadMetadata(t.Context(), o)
	if err != nil || l.String() != want || len(r.Voters) != 3 || int(r.Last) < len(all) {
		t.Errorf("%+v %v; %d commands, want %d", r, err, len(strings.Fields(l.String())), len(all))
	}
}
