//go:build robustness

package robustness

import (
	"context"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stelemq/stele/tests/robustness/disk"
	"github.com/stelemq/stele/tests/robustness/rig"
)

// disks are the disks of a cluster.
type disks map[int32]*disk.Disk

// onDisks makes the scenario run on disks that can lose power.
func onDisks(t *testing.T, o *setup) disks {
	t.Helper()
	all := disks{}
	o.mount = func(node int32, dir string) (string, func(), error) {
		d, err := disk.New(dir, dir+"-deleted")
		if err != nil {
			return "", nil, err
		}
		at := dir + "-mounted"
		if err := os.Mkdir(at, 0o755); err != nil {
			return "", nil, err
		}
		unmount, err := d.Mount(at)
		if err != nil && !rig.CI() {
			t.Skip(err)
		}
		all[node] = d
		return at, func() {
			if err := unmount(); err != nil {
				t.Error(err)
			}
		}, err
	}
	return all
}

// losePower kills brokers and takes from their disks what was not synced.
func (s *scenario) losePower(all disks, nodes ...int32) {
	s.t.Helper()
	for _, id := range nodes {
		s.c.Node(id).Kill()
	}
	for _, id := range nodes {
		loss := disk.Loss{Keep: []float64{0, 0.5, 0.9}[s.rng.IntN(3)], Tear: s.rng.IntN(2) == 0}
		if err := all[id].LosePower(s.rng, loss); err != nil {
			s.t.Fatalf("seed %d: node %d: %v", s.seed, id, err)
		}
	}
}

// lostPages adds what power failures took to the figures.
func (s *scenario) lostPages(all disks) {
	var sum disk.Stats
	for _, d := range all {
		st := d.Stats()
		sum.LostPages += st.LostPages
		sum.LostOperations += st.LostOperations
		sum.Syncs += st.Syncs
	}
	s.figures.note("%d unsynced pages and %d directory operations taken, %d syncs", sum.LostPages, sum.LostOperations, sum.Syncs)
	if sum.LostPages == 0 {
		s.t.Error("the power failures took nothing: the test proves nothing")
	}
}

// TestR12_SyncFails lets one sync of one broker fail, the first, the second and so on: the broker ends and says why,
// others lead, and nothing that the failed sync dropped is trusted afterwards.
func TestR12_SyncFails(t *testing.T) {
	o := three()
	all := onDisks(t, &o)
	s := newScenario(t, "R12 EIO of a sync", o)
	for i := range count(100, 5) {
		victim := s.c.Node(s.leader())
		fault := disk.Fault{FailSync: 1 + i + s.rng.IntN(20)}
		_, at := victim.Output(0)
		s.fault([]int32{victim.ID}, func() {
			victim.MayDie()
			all[victim.ID].SetFault(fault)
			ctx, cancel := context.WithTimeout(t.Context(), serveTimeout)
			defer cancel()
			if err := victim.Wait(ctx); err != nil {
				t.Fatalf("seed %d: node %d goes on after a failed sync: %v", s.seed, victim.ID, err)
			}
			if text, _ := victim.Output(at); len(text) == 0 {
				t.Errorf("seed %d: node %d ended and did not say why", s.seed, victim.ID)
			}
			all[victim.ID].SetFault(disk.Fault{})
			s.losePower(all, victim.ID)
		}, 0, victim.Start)
	}
	s.finish()
}

// TestR14_TornWrites lets all brokers lose power at once with half of their unsynced pages written, some of them only
// up to a sector.
func TestR14_TornWrites(t *testing.T) {
	o := three()
	all := onDisks(t, &o)
	s := newScenario(t, "R14 torn writes on all", o)
	for range count(100, 4) {
		s.allDown(func() {
			for _, n := range s.c.Nodes {
				if err := all[n.ID].LosePower(s.rng, disk.Loss{Keep: 0.5, Tear: true}); err != nil {
					t.Fatal(err)
				}
			}
		})
	}
	s.lostPages(all)
	s.finish()
}

// TestR18_PowerLossOfOne takes what was not synced from the disk of one broker, a leader as a rule, and kills it.
func TestR18_PowerLossOfOne(t *testing.T) {
	o := three()
	all := onDisks(t, &o)
	s := newScenario(t, "R18 power loss of one", o)
	for range count(200, 5) {
		victim := s.c.Node(s.leader())
		s.fault([]int32{victim.ID}, func() { s.losePower(all, victim.ID) }, s.random(0, time.Second), victim.Start)
		s.between(0, 500*time.Millisecond)
	}
	s.lostPages(all)
	s.finish()
}

// TestR19_PowerLossOfAll lets all brokers lose power at once.
func TestR19_PowerLossOfAll(t *testing.T) {
	o := three()
	all := onDisks(t, &o)
	s := newScenario(t, "R19 power loss of all at once", o)
	for range count(100, 4) {
		s.allDown(func() { s.losePower(all, s.everybody()...) })
	}
	s.lostPages(all)
	s.finish()
}

// allDown kills all brokers, does something to them and starts them again.
func (s *scenario) allDown(meanwhile func()) {
	s.t.Helper()
	s.between(0, time.Second)
	s.c.KillAll()
	meanwhile()
	m := s.mark(s.partitions())
	s.c.Start()
	s.figures.available = append(s.figures.available, s.await(m, "after the start")...)
	s.healed()
	s.figures.faults++
}

func (s *scenario) everybody() (ids []int32) {
	for _, n := range s.c.Nodes {
		ids = append(ids, n.ID)
	}
	return ids
}

// TestR24_WipedDisk empties the disk of a broker, which comes back with the same id: as new replicas, so that it
// cannot vote twice.
func TestR24_WipedDisk(t *testing.T) {
	s := newScenario(t, "R24 wiped disk, same id", three())
	for range count(50, 3) {
		victim := s.c.Node(s.leader())
		s.fault([]int32{victim.ID}, func() { victim.Kill(); victim.Wipe() }, 2*lagTime, func() { s.replace(victim) })
		if _, err := os.Stat(filepath.Join(victim.Files, "meta.properties")); err != nil {
			t.Errorf("seed %d: node %d is in sync and has no meta.properties: %v", s.seed, victim.ID, err)
		}
	}
	s.finish()
}
