package bootstrap

import (
	"context"
	"errors"
	"log/slog"
	"testing"
	"time"

	"github.com/stelemq/stele/broker/metadata"
)

// applied is a metadata machine that has carried out commands.
func applied(t *testing.T, commands ...metadata.Command) *metadata.Machine {
	t.Helper()
	m := metadata.NewMachine()
	for i, c := range commands {
		b, err := metadata.Encode(c)
		if err != nil {
			t.Fatal(err)
		}
		r, err := metadata.DecodeResult(m.Apply(uint64(i+1), b))
		if err != nil || r.Error != nil {
			t.Fatalf("%T: %v, %v", c, err, r.Error)
		}
	}
	return m
}

func registerCommand(node int32, directory string, replica metadata.ReplicaID) *metadata.RegisterBroker {
	return &metadata.RegisterBroker{
		Node: node, Endpoints: []metadata.Endpoint{{Listener: "PLAINTEXT", Host: "localhost", Port: 9092}}, Incarnation: "i", ClusterID: "c",
		DirectoryID: directory, MetadataReplica: replica,
	}
}

func TestRemoved(t *testing.T) {
	out := &metadata.RemoveNode{Node: 2}
	again := &metadata.JoinNode{DirectoryID: "new", Node: 2, RaftAddress: "localhost:1"}
	for name, row := range map[string]struct {
		commands []metadata.Command
		q        helloRequest
		want     string
	}{
		"a member":                           {nil, helloRequest{Node: 2, Directory: "d", Replica: 2}, ""},
		"taken out":                          {[]metadata.Command{out}, helloRequest{Node: 2, Directory: "d", Replica: 2}, removedNode},
		"taken out, and back with a new one": {[]metadata.Command{out, again}, helloRequest{Node: 2, Directory: "d", Replica: 2}, removedDirectory},
		"the new one":                        {[]metadata.Command{out, again}, helloRequest{Node: 2, Directory: "new", Replica: uint64(metadata.FirstJoinedReplica)}, ""},
		"a new disk":                         {[]metadata.Command{&metadata.FenceBrokers{Brokers: []metadata.BrokerEpoch{{Node: 2, Epoch: 1}}}, again}, helloRequest{Node: 2, Directory: "d", Replica: 2}, removedDirectory},
		"not registered yet":                 {nil, helloRequest{Node: 3, Directory: "e", Replica: 3}, ""},
		"a node that was lent its number":    {[]metadata.Command{out}, helloRequest{Node: 5, Directory: "d", Replica: 2}, ""},
		"a lost replica, to be replaced":     {[]metadata.Command{&metadata.NewMetadataReplica{Node: 2, Replaces: 2}}, helloRequest{Node: 2, Directory: "d", Replica: 2}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			m := applied(t, append([]metadata.Command{registerCommand(2, "d", 2)}, row.commands...)...)
			if got := removed(m.Image(), &row.q); got != row.want {
				t.Errorf("%q, want %q", got, row.want)
			}
		})
	}
}

// A node that was taken out hears of it from a member at its start, and keeps it: the next start asks nobody.
func TestRemoved_IsHeardAndKept(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	all := nodes(t, t.TempDir(), 3)
	mustFound(t, runAll(ctx, all...))
	gone := all[1]
	id := gone.state.Identity()
	gone.t.SetClusterID(id.ClusterID)
	m := &Member{State: gone.state, Transport: gone.t, Address: gone.b.Address, Logger: slog.New(slog.DiscardHandler)}
	register := registerCommand(2, id.DirectoryID, metadata.ReplicaID(id.MetadataReplica))
	for _, n := range []*testNode{all[0], all[2]} {
		n.t.SetClusterID(id.ClusterID)
		n.state.judgeBy(applied(t, register))
	}
	if err := m.CheckOthers(ctx); err != nil {
		t.Fatalf("before: %v", err)
	}
	all[2].state.judgeBy(applied(t, register, &metadata.RemoveNode{Node: 2}))
	if err := m.CheckOthers(ctx); !errors.Is(err, ErrRemoved) {
		t.Fatalf("after: %v", err)
	}
	if err := gone.state.Close(); err != nil {
		t.Fatal(err)
	}
	s, err := Open(gone.state.dir, gone.state.settings)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close() //nolint:errcheck // read only
	b := &Bootstrap{State: s, Transport: gone.t, Address: gone.b.Address}
	if err := b.Run(ctx); !errors.Is(err, ErrRemoved) {
		t.Fatalf("at the next start: %v", err)
	}
}
