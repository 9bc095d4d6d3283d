package bootstrap

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"testing"
	"time"
)

func runAll(ctx context.Context, all ...*testNode) []<-chan error {
	var done []<-chan error
	for _, n := range all {
		done = append(done, n.run(ctx))
	}
	return done
}

func mustFound(t *testing.T, done []<-chan error) {
	t.Helper()
	for _, d := range done {
		if err := <-d; err != nil {
			t.Fatal(err)
		}
	}
}

// accept has nodes accept a founding, as a founder that died afterwards would have.
func accept(t *testing.T, under ballot, f *Founding, all ...*testNode) {
	t.Helper()
	for _, n := range all {
		a, err := n.state.promise(&foundRequest{Ballot: under, Founders: f.Founders, Founding: f})
		if err != nil || !a.Given {
			t.Fatalf("%+v, %v", a, err)
		}
	}
}

func foundingOf(id string, of []*testNode, parts ...int) *Founding {
	f := &Founding{ClusterID: id, Directories: map[int32]string{}}
	for i := range of {
		f.Founders = append(f.Founders, int32(i+1))
	}
	for _, node := range parts {
		f.Directories[int32(node)] = of[node-1].state.Identity().DirectoryID
	}
	return f
}

// Founders found without the one with the lowest id, which comes late and joins.
func TestFound_WithoutTheLowestID(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	all := nodes(t, t.TempDir(), 3)
	// It listens and answers nothing: who asks it waits for an answer.
	mustFound(t, runAll(ctx, all[1], all[2]))
	if a, b := all[1].state.Identity(), all[2].state.Identity(); a.ClusterID != b.ClusterID || a.MetadataReplica != 2 || b.MetadataReplica != 3 {
		t.Errorf("%+v, %+v", a, b)
	}
	late, stop := context.WithCancel(ctx)
	first := all[0].run(late)
	for !all[0].heard("waiting to join") { // nobody answers join here: there is no host
		select {
		case err := <-first:
			t.Fatalf("the late node is %+v, %v", all[0].state.Identity(), err)
		case <-time.After(time.Millisecond):
		}
	}
	stop()
	if err := <-first; !errors.Is(err, context.Canceled) || all[0].state.Member() {
		t.Errorf("the late node: %v, %+v", err, all[0].state.Identity())
	}
}

// What a majority has accepted is carried out by whoever goes on, a late founder with the lowest id and no part in it, too.
func TestFound_WhatWasAcceptedHolds(t *testing.T) {
	for name, row := range map[string]struct {
		parts, run []int
	}{
		"by those that remain":          {[]int{1, 2, 3}, []int{2, 3, 4}},
		"for others, with the lowest":   {[]int{2, 3, 4}, []int{1, 2, 3, 4}},
		"by one who knows nothing else": {[]int{1, 2, 3, 4}, []int{1, 2, 3}},
	} {
		t.Run(name, func(t *testing.T) {
			ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
			defer cancel()
			all := nodes(t, t.TempDir(), 5)
			f := foundingOf("accepted", all, append([]int{4}, row.parts...)...)
			var accepted, running []*testNode
			for _, n := range row.parts {
				accepted = append(accepted, all[n-1])
			}
			accept(t, ballot{1, 9}, f, accepted...)
			for i, n := range all {
				if slices.Contains(row.run, i+1) {
					running = append(running, n)
				} else {
					_ = n.t.Close()
				}
			}
			done := runAll(ctx, running...)
			for i, n := range running {
				if f.Directories[int32(row.run[i])] == "" {
					continue
				}
				if err := <-done[i]; err != nil {
					t.Fatalf("node %d: %v, it said %q", row.run[i], err, n.said)
				}
				if id := n.state.Identity(); id.ClusterID != "accepted" || id.MetadataReplica != uint64(row.run[i]) {
					t.Errorf("node %d is %+v", row.run[i], id)
				}
			}
			cancel()
		})
	}
}

// What was accepted with directories that are gone holds nobody up once all founders are there, and not before.
func TestFound_WithDirectoriesThatAreGone(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	all := nodes(t, t.TempDir(), 3)
	f := foundingOf("gone", all, 2)
	f.Directories[3] = "another"
	accept(t, ballot{4, 2}, f, all[1])
	done := runAll(ctx, all[0], all[1])
	for !all[0].heard("waiting for all 3 founders") {
		select {
		case err := <-done[0]:
			t.Fatalf("%+v, %v", all[0].state.Identity(), err)
		case <-time.After(time.Millisecond):
		}
	}
	all[2].run(ctx) // it has a part in it, or comes a moment late and would join
	mustFound(t, done)
	for i, n := range all[:2] {
		if id := n.state.Identity(); id.ClusterID == "gone" || id.ClusterID != all[0].state.Identity().ClusterID || id.MetadataReplica != uint64(i+1) {
			t.Errorf("node %d is %+v", i+1, id)
		}
	}
}

// Founders that found at the same time, lose messages and restart at any point found one cluster, and a second one never.
func TestPromise_OneClusterAtMost(t *testing.T) {
	founded := 0
	for seed := range uint64(30) {
		if n := promiseRun(t, seed, func(*State) {}); n < 0 {
			t.Fatalf("seed %d: two clusters", seed)
		} else if n > 0 {
			founded++
		}
	}
	if founded < 8 {
		t.Errorf("only %d runs founded anything", founded)
	}
	// Founders that forget their promises found two.
	for seed := range uint64(2000) {
		if promiseRun(t, seed, func(s *State) { s.peers.Promise = nil }) < 0 {
			return
		}
	}
	t.Error("without promises that last nothing went wrong")
}

// attempt is a founder's attempt in progress.
type attempt struct {
	q     foundRequest
	given []promise
	asked []int // founders still to be asked, in this phase
}

// promiseRun lets founders propose in turns of single messages and returns how many are members, -1 if of two clusters.
func promiseRun(t *testing.T, seed uint64, restart func(*State)) int {
	rng := rand.New(rand.NewPCG(seed, 7))
	const n = 3
	ids := []int32{1, 2, 3}
	states := make([]*State, n)
	var settings Settings
	for _, id := range ids {
		settings.Founders = append(settings.Founders, Peer{Node: id})
	}
	for i, id := range ids {
		own := settings
		own.NodeID = id
		states[i] = &State{dir: filepath.Join(t.TempDir()), settings: own, id: Identity{NodeID: id, DirectoryID: fmt.Sprint("d", id)}}
	}
	open := make([]*attempt, n)
	for range 60 {
		i := rng.IntN(n)
		s := states[i]
		switch {
		case rng.IntN(12) == 0: // it restarts
			open[i] = nil
			if !s.Member() {
				restart(s)
			}
		case s.Member():
		case open[i] == nil:
			others := rng.Perm(n)
			others = slices.DeleteFunc(others, func(o int) bool { return o == i })
			open[i] = &attempt{q: foundRequest{Ballot: ballot{s.promised().Round + 1, ids[i]}, Founders: ids}, asked: append([]int{i}, others...)}
		default:
			states[i].step(rng, states, &open[i])
		}
	}
	members, cluster := 0, ""
	for _, s := range states {
		if id := s.Identity(); id.MetadataReplica != 0 {
			if members++; cluster != "" && cluster != id.ClusterID {
				return -1
			}
			cluster = id.ClusterID
		}
	}
	return members
}

// step sends one message of an attempt, or goes on to its next phase.
func (s *State) step(rng *rand.Rand, states []*State, at **attempt) {
	a := *at
	if len(a.asked) > 0 {
		to := a.asked[0]
		a.asked = a.asked[1:]
		if states[to] != s && rng.IntN(4) == 0 {
			return // lost
		}
		if r, err := states[to].promise(&a.q); err == nil && r.Given {
			a.given = append(a.given, r.promise)
		}
		return
	}
	switch {
	case len(a.given) <= len(states)/2:
		*at = nil
	case a.q.Founding != nil:
		_, _ = s.carryOut(a.q.Ballot)
		*at = nil
	default:
		own := &Founding{ClusterID: fmt.Sprint(a.q.Ballot, s.id.DirectoryID, rng.Uint32()), Founders: a.q.Founders, Directories: map[int32]string{}}
		for _, o := range states {
			own.Directories[o.id.NodeID] = o.id.DirectoryID
		}
		a.q.Founding, a.given = choose(a.given, own), nil
		if a.q.Founding == nil {
			*at = nil
			return
		}
		a.asked = nil
		for i, o := range states {
			if o == s {
				a.asked = append([]int{i}, a.asked...)
			} else {
				a.asked = append(a.asked, i)
			}
		}
	}
}
