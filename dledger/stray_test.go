package dledger

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"testing"
)

func names(dirs []ReplicaDir) []string {
	var out []string
	for _, d := range dirs {
		out = append(out, d.Name)
	}
	slices.Sort(out)
	return out
}

// What a killed process had in the journal of a replica is in its files when they are set aside.
func TestSetAside_WithAllThatItHas(t *testing.T) {
	dir, killed := t.TempDir(), t.TempDir()
	h, ps := startHost(t, dir, 3, 1, Options{})
	for range 20 {
		for _, p := range ps {
			if r := appendWait(t, p, batchOf(t, 1, -1, -1, -1)); r.Err != nil {
				t.Fatal(r.Err)
			}
		}
	}
	if err := os.CopyFS(killed, os.DirFS(dir)); err != nil {
		t.Fatal(err)
	}
	closeHost(t, h)

	h, ps = startHost(t, killed, 1, 1, Options{})
	idle, err := h.IdleReplicas()
	if err != nil || !slices.Equal(names(idle), []string{"bench-1", "bench-2"}) {
		t.Fatalf("idle: %v %v", idle, err)
	}
	stray := ReplicaDir{Name: "bench-1", Shard: 3, Replica: 1}
	for what, r := range map[string]ReplicaDir{
		"in use":           {Name: "bench-0", Shard: 2, Replica: 1},
		"another's by now": {Name: "bench-1", Shard: 99, Replica: 1},
		"another replica":  {Name: "bench-1", Shard: 3, Replica: 2},
		"not there":        {Name: "bench-9", Shard: 9, Replica: 1},
	} {
		if to, err := h.SetAside(r); to != "" || err != nil {
			t.Errorf("%s: renamed to %q, %v", what, to, err)
		}
	}
	to, err := h.SetAside(stray)
	if err != nil || to != "bench-1.3-stray" {
		t.Fatalf("%q %v", to, err)
	}
	if again, err := h.SetAside(stray); again != "" || err != nil {
		t.Errorf("twice: %q %v", again, err)
	}
	if idle, _ := h.IdleReplicas(); !slices.Equal(names(idle), []string{"bench-2"}) {
		t.Errorf("idle afterwards: %v", idle)
	}
	if r := appendWait(t, ps[0], batchOf(t, 1, -1, -1, -1)); r.Err != nil || r.BaseOffset != 20 {
		t.Errorf("the others: %+v", r)
	}
	closeHost(t, h)
	want, err := os.ReadFile(filepath.Join(killed, "bench-2", "00000000000000000000.log"))
	if err != nil || len(want) == 0 {
		t.Fatalf("%d bytes, %v", len(want), err)
	}
	if got, err := os.ReadFile(filepath.Join(killed, to, "00000000000000000000.log")); err != nil || len(got) != len(want) {
		t.Errorf("set aside: %d bytes, %v; a partition with as many records has %d", len(got), err, len(want))
	}

	h, ps = startHost(t, killed, 3, 1, Options{}) // nobody opens it, and the name is free
	defer closeHost(t, h)
	if idle, err := h.IdleReplicas(); err != nil || len(idle) != 0 {
		t.Errorf("idle at the next start: %v %v", idle, err)
	}
	if dirs, _, err := h.replicaDirs(); err != nil || len(dirs) != 3 {
		t.Errorf("recovery looks into %v, %v", dirs, err)
	}
	for i, want := range []int64{21, 0, 20} {
		if off := ps[i].Offsets(); int64(off.HighWatermark) != want {
			t.Errorf("partition %d: %+v, want %d", i, off, want)
		}
	}
	if _, err := os.Stat(filepath.Join(killed, to)); err != nil {
		t.Errorf("at the next start: %v", err)
	}
}

// A directory in the way of a new topic may be all that is left of another; one of the same topic is a former replica's.
func TestStartPartition_WhatIsInTheWay(t *testing.T) {
	for name, row := range map[string]struct {
		topic byte
		stray bool
	}{
		"another topic": {2, true},
		"same topic":    {1, false},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			h, _ := startHost(t, dir, 0, 1, Options{})
			defer closeHost(t, h)
			spec := PartitionSpec{
				Topic: "t", TopicID: [16]byte{1}, Shard: 20, Replica: 1, Members: map[ReplicaID]int32{1: 1}, Config: LogConfig{FlushMessages: 1},
			}
			p, err := h.StartPartition(t.Context(), spec)
			if err != nil {
				t.Fatal(err)
			}
			awaitLeader(t, p)
			appendWait(t, p, batchOf(t, 1, -1, -1, -1))
			if err := h.StopPartition(spec); err != nil {
				t.Fatal(err)
			}
			spec.TopicID, spec.Shard = [16]byte{row.topic}, 21
			if p, err = h.StartPartition(t.Context(), spec); err != nil {
				t.Fatal(err)
			}
			awaitLeader(t, p)
			if off := p.Offsets(); off.LogEnd != 0 {
				t.Errorf("the new one begins with %+v", off)
			}
			_, err = os.Stat(filepath.Join(dir, "t-0.20"+straySuffix))
			if row.stray && err != nil || !row.stray && !errors.Is(err, os.ErrNotExist) {
				t.Errorf("stray: %v", err)
			}
		})
	}
}
