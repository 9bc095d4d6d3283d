package bootstrap

import (
	"context"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"testing"
	"time"
)

// A directory that is put back as it was before a later start is refused by those who know of that start, however
// often it is tried; those who know less refuse nothing.
func TestStarts_StaleCopyIsRefused(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	all := nodes(t, t.TempDir(), 3)
	mustFound(t, runAll(ctx, all...))
	second := all[1]
	dir, address := second.state.dir, second.b.Address
	id := second.state.Identity()
	epoch := uint64(0)
	begin := func(s *State, tell ...*testNode) {
		t.Helper()
		if err := s.Begin(); err != nil {
			t.Fatal(err)
		}
		name, _ := s.Incarnation()
		epoch++
		for _, n := range tell { // what the metadata says once it is registered
			if _, err := n.state.Learn([]Node{{ID: 2, Address: address, Epoch: epoch, Directory: id.DirectoryID, Incarnation: name}}); err != nil {
				t.Fatal(err)
			}
		}
		if len(tell) > 0 {
			if err := s.registered(name); err != nil {
				t.Fatal(err)
			}
		}
	}
	check := func(s *State) error {
		t.Helper()
		second.t.SetClusterID(id.ClusterID)
		m := &Member{State: s, Transport: second.t, Address: address, Logger: slog.New(slog.DiscardHandler)}
		return m.CheckOthers(ctx)
	}
	reopen := func(from string) *State {
		t.Helper()
		if err := second.state.Close(); err != nil {
			t.Fatal(err)
		}
		if from != dir {
			if err := os.RemoveAll(dir); err != nil {
				t.Fatal(err)
			}
			if err := os.CopyFS(dir, os.DirFS(from)); err != nil {
				t.Fatal(err)
			}
		}
		s, err := Open(dir, Settings{NodeID: 2, Founders: []Peer{{1, all[0].b.Address}, {2, address}, {3, all[2].b.Address}}})
		if err != nil {
			t.Fatal(err)
		}
		second.state = s
		return s
	}
	for _, n := range all {
		n.t.SetClusterID(id.ClusterID)
	}
	copied := filepath.Join(t.TempDir(), "copied")
	begin(second.state, all[0], all[2])
	if err := os.CopyFS(copied, os.DirFS(dir)); err != nil {
		t.Fatal(err)
	}
	for range 3 { // starts, one of which nobody hears of
		s := reopen(dir)
		if err := check(s); err != nil {
			t.Fatal(err)
		}
		begin(s)
		begin(s, all[0]) // node 3 lags behind
	}
	for range 4 {
		if err := check(reopen(copied)); !errors.Is(err, ErrStale) {
			t.Fatalf("a stale copy: %v, want %v", err, ErrStale)
		}
		if err := second.state.Begin(); err != nil { // as if it had not asked
			t.Fatal(err)
		}
		copied = filepath.Join(t.TempDir(), "again")
		if err := os.CopyFS(copied, os.DirFS(dir)); err != nil {
			t.Fatal(err)
		}
	}
}
