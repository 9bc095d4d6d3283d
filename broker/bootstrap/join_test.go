package bootstrap

import (
	"context"
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/stelemq/stele/dledger/transport"
)

// A node that comes back with an empty disk is refused as long as the cluster takes its old self for alive: it waits, and
// goes on by itself.
func TestJoin_WaitsUntilItsOldSelfIsGivenUp(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	all := nodes(t, t.TempDir(), 2)
	member, late := all[0], all[1]
	if err := member.state.found(&Founding{ClusterID: "c", Founders: []int32{1}}); err != nil {
		t.Fatal(err)
	}
	member.state.Serve(member.t, func() {})
	asked := 0
	member.t.HandleOpen(methodJoin, func(context.Context, transport.Caller, []byte) ([]byte, error) {
		if asked++; asked < 3 {
			return nil, &transport.Coded{Code: codeTaken, Err: errors.New("another broker is alive with node id 2")}
		}
		return json.Marshal(joinAnswer{Cluster: "c", Node: 2, Replica: 104})
	})
	late.b.State.settings.Join = []string{late.state.settings.Founders[0].Address}
	if err := <-late.run(ctx); err != nil {
		t.Fatal(err)
	}
	if id := late.state.Identity(); id.MetadataReplica != 104 || asked != 3 || !late.heard("another broker is alive") {
		t.Errorf("%+v after %d attempts", id, asked)
	}
}

func TestJoin_PatienceCoversTheSessionTimeout(t *testing.T) {
	for session, want := range map[time.Duration]time.Duration{9 * time.Second: defaultPatience, time.Minute: 3 * time.Minute} {
		if got := (&Bootstrap{SessionTimeout: session}).patience(); got != want {
			t.Errorf("session timeout %s: %s, want %s", session, got, want)
		}
	}
}

// Who is refused for good, ends.
func TestJoin_RefusedForGood(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	all := nodes(t, t.TempDir(), 2)
	if err := all[0].state.found(&Founding{ClusterID: "c", Founders: []int32{1}}); err != nil {
		t.Fatal(err)
	}
	all[0].state.Serve(all[0].t, func() {})
	all[0].t.HandleOpen(methodJoin, func(context.Context, transport.Caller, []byte) ([]byte, error) {
		return nil, &transport.Coded{Code: codeRefused, Err: errors.New("no")}
	})
	all[1].b.State.settings.Join = []string{all[1].state.settings.Founders[0].Address}
	if err := <-all[1].run(ctx); !errors.Is(err, ErrRefused) || !strings.Contains(err.Error(), "no") {
		t.Errorf("%v", err)
	}
}
