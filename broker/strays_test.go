package broker

import (
	"slices"
	"testing"

	"github.com/stelemq/stele/broker/metadata"
	"github.com/stelemq/stele/dledger"
)

func (h *fakeHost) setAside() []string {
	h.mu.Lock()
	defer h.mu.Unlock()
	var out []string
	for _, r := range h.aside {
		out = append(out, r.Name)
	}
	slices.Sort(out)
	return out
}

// strayHost has metadata with topic t of two partitions, the second on another node, and directories of more.
func strayHost(t *testing.T, clusterID string) *fakeHost {
	t.Helper()
	h := newFakeHost()
	endpoints := []metadata.Endpoint{{Listener: "PLAINTEXT", Host: "h", Port: 1}}
	for _, c := range []metadata.Command{
		&metadata.RegisterBroker{Node: 1, Endpoints: endpoints, ClusterID: clusterID},
		&metadata.RegisterBroker{Node: 2, Endpoints: endpoints, ClusterID: clusterID},
		&metadata.CreateTopics{Topics: []metadata.NewTopic{{Name: "t", ID: metadata.TopicID{1}, Replicas: [][]int32{{1}, {2}}}}},
	} {
		b, err := metadata.Encode(c)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := h.Propose(t.Context(), b); err != nil {
			t.Fatal(err)
		}
	}
	h.idle = []dledger.ReplicaDir{{Name: "t-0", Shard: 16}, {Name: "t-1", Shard: 17}, {Name: "gone-0", Shard: 18}}
	return h
}

func TestStrays_OnlyWhatCurrentMetadataDoesNotKnow(t *testing.T) {
	h := strayHost(t, "c")
	startBroker(t, func(o *Options) { o.Host, o.Metadata = h, h.machine })
	eventually(t, func() bool { return slices.Equal(h.setAside(), []string{"gone-0", "t-1"}) })
}

// Without a registration nobody knows how old the metadata is; that of another cluster says nothing at all.
func TestStrays_NothingByMetadataThatMayBeOld(t *testing.T) {
	h := strayHost(t, "c")
	h.proposeErr = dledger.ErrTimeout
	o := Options{
		NodeID: 1, Listeners: []Listener{{Name: "PLAINTEXT", Address: "127.0.0.1:0"}}, Host: h, Metadata: h.machine,
		Config: DefaultConfig(), Logger: testLogger(),
	}
	b, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	ran := make(chan error, 1)
	go func() { ran <- b.Run(t.Context()) }()
	h.log(t, "t", 0) // it follows the metadata that it has
	if err := b.Close(); err != nil {
		t.Fatal(err)
	}
	if err := <-ran; err != nil {
		t.Fatal(err)
	}
	if aside := h.setAside(); len(aside) != 0 {
		t.Errorf("set aside: %v", aside)
	}

	foreign := strayHost(t, "c")
	o.Host, o.Metadata, o.Config.ClusterID = foreign, foreign.machine, "another"
	if b, err = New(o); err != nil {
		t.Fatal(err)
	}
	b.setStraysAside()
	empty := newFakeHost()
	empty.idle = foreign.idle
	o.Host, o.Metadata, o.Config.ClusterID = empty, empty.machine, ""
	if b, err = New(o); err != nil {
		t.Fatal(err)
	}
	b.setStraysAside()
	if aside := append(foreign.setAside(), empty.setAside()...); len(aside) != 0 {
		t.Errorf("set aside: %v", aside)
	}
}

// A topic that a command deletes is deleted; one that metadata as a whole do not have may be what they have lost.
func TestStrays_ReplacedMetadataDeleteNothing(t *testing.T) {
	b := startBroker(t)
	c := b.dial(t)
	before, err := b.host.machine.Snapshot()
	if err != nil {
		t.Fatal(err)
	}
	c.createTopic("lost", 1)
	b.host.log(t, "lost", 0)
	if err := b.host.machine.Restore(before); err != nil {
		t.Fatal(err)
	}
	eventually(t, func() bool { return slices.Equal(b.host.setAside(), []string{"lost-0"}) })
	b.host.mu.Lock()
	defer b.host.mu.Unlock()
	if len(b.host.deleted) != 0 || len(b.host.stopped) != 1 {
		t.Errorf("deleted %v, stopped %v", b.host.deleted, b.host.stopped)
	}
}
