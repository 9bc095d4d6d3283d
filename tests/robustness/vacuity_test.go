//go:build robustness

package robustness

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stelemq/stele/tests/robustness/disk"
	"github.com/stelemq/stele/tests/robustness/history"
	"github.com/stelemq/stele/tests/robustness/replicas"
	"github.com/stelemq/stele/tests/robustness/rig"
)

// edit replaces a piece of a source file, which must stand there exactly once.
type edit struct{ file, from, to string }

// sabotage is a broker with a fault built in, and the harm that shows it.
type sabotage struct {
	name  string
	edits []edit
	setup func(*setup)
	harm  func(s *scenario, all disks)
	// caught are the rules of which at least one must find it; differing replicas count as well.
	caught []history.Rule
}

// sabotages are what the checker must catch. The product has no hook for them: `go build -overlay` swaps the files.
func sabotages() []sabotage {
	lost := []history.Rule{history.LostWrite, history.Vanished, history.Unseen, history.InconsistentOffsets, history.SequenceLost}
	isolate := func(s *scenario, _ disks) {
		for range 4 {
			id := s.leader()
			s.c.Isolate(id)
			s.wait(time.Second)
			s.c.Heal()
			s.wait(500 * time.Millisecond)
		}
	}
	kill := func(s *scenario, _ disks) {
		for range 4 {
			n := s.c.Node(s.leader())
			n.Kill()
			s.wait(700 * time.Millisecond)
			n.Start()
			s.wait(700 * time.Millisecond)
		}
	}
	// What the followers have and acknowledge is committed, and they do not hear of it; then one of them leads.
	unheard := func(s *scenario, all disks) {
		for _, d := range all { // so that there is something under way, and the no-op takes a while
			d.SetFault(disk.Fault{SyncDelay: 100 * time.Millisecond})
		}
		for range 8 {
			id := s.leader()
			s.c.CutOneWay(id, s.c.Others(id)...)
			s.wait(time.Second)
			s.c.Heal()
			s.wait(time.Second)
		}
	}
	blackout := func(s *scenario, all disks) {
		for range 3 {
			s.wait(500 * time.Millisecond)
			s.c.KillAll()
			for _, n := range s.c.Nodes {
				if err := all[n.ID].LosePower(s.rng, disk.Loss{}); err != nil {
					s.t.Fatal(err)
				}
			}
			s.c.Start()
			s.wait(1500 * time.Millisecond)
		}
	}
	// A leader sleeps with proposals that are validated and not yet in the log, while another takes its place.
	asleep := func(s *scenario, all disks) {
		for _, d := range all {
			d.SetFault(disk.Fault{SyncDelay: 50 * time.Millisecond})
		}
		for range 8 {
			n := s.c.Node(s.leader())
			n.Pause()
			s.wait(1200 * time.Millisecond)
			n.Resume()
			s.wait(time.Second)
		}
	}
	return []sabotage{
		{"syncs do nothing", []edit{{"internal/vfs/os_linux.go", "err := unix.Fdatasync(o.fd)", "err := error(nil)"}}, nil, blackout, append(lost, history.NoFinalReading)}, // what is found after it may be refused
		{"directories are not synced", []edit{{"internal/vfs/os_linux.go", "err = d.Sync()", ""}}, nil, blackout, lost},
		{"duplicates are not recognised", []edit{{
			"commitlog/producer.go", "func (p *Producer) Check(b record.Batch) (dup ProducerBatch, duplicate bool, err error) {",
			"func (p *Producer) Check(b record.Batch) (dup ProducerBatch, duplicate bool, err error) {\n\tif b != nil {\n\t\treturn dup, false, nil\n\t}",
		}}, nil, kill, []history.Rule{history.Duplicate}},
		{"acks=all is answered when the leader alone has it", []edit{{"dledger/partition_raft.go", "if a.acks == AcksLeader {", "if true {"}}, nil, isolate, append(lost, history.MinorityAck, history.Duplicate)},
		{"the high watermark is the end of the log", []edit{{"dledger/partition.go", "hw := record.Offset(p.hw.Load())", "hw := p.shard.log.End().Next"}}, nil, isolate, append(lost, history.HighWatermarkBack)},
		{"a leader does not wait for the no-op of its term", []edit{{"dledger/partition_raft.go", "|| p.noop != p.term ||", "||"}}, nil, unheard, []history.Rule{history.HighWatermarkBack, history.EpochEndWrong, history.Duplicate, history.SequenceLost, history.StaleAppend}},
		{"what was validated in another term is taken", []edit{
			{"dledger/entry.go", "\t\treturn false, f\n\t}\n\twant := uint32(1)", "\t\treturn true, f\n\t}\n\twant := uint32(1)"},
			{"dledger/observer.go", "\t\t// A leader elsewhere has not validated it against its own state.\n\t\treturn 0, false", "\t\treturn 0, true"},
			{"dledger/observer.go", "\tcase pb.Propose:\n\t\treturn false", "\tcase pb.Propose:"},
		}, nil, asleep, append(lost, history.Duplicate, history.NonmonotonicSend)},
		{
			"checksums are not looked at",
			[]edit{{"protocol/record/validate.go", "want := CRC(0, b[posAttributes:]), b.CRC(); got != want {", "want := CRC(0, b[posAttributes:]), b.CRC(); got != want && len(b) == 0 {"}},
			func(o *setup) { *o = setup{nodes: 1, partitions: 2, replicas: 1, minISR: 1} },
			rot,
			[]history.Rule{history.Damaged, history.Unseen},
		},
	}
}

// rot changes bytes all over the segment files of the only broker, which runs: what it reads is what is there.
func rot(s *scenario, _ disks) {
	s.wait(time.Second)
	for _, path := range filesLike(s.c.Node(1).Files, kinds[0].match) {
		info, err := os.Stat(path)
		if err != nil {
			s.t.Fatal(err)
		}
		for at := int64(100); at < info.Size(); at += 20_000 {
			if err := overwrite(path, at, []byte{0xa5, 0x5a}); err != nil {
				s.t.Fatal(err)
			}
		}
	}
}

// overlay makes the edited files in a directory and returns them for rig.Build.
func overlay(t *testing.T, edits []edit) map[string]string {
	t.Helper()
	files := map[string]string{}
	dir := t.TempDir()
	for _, e := range edits {
		path := filepath.Join("..", "..", e.file)
		if made := files[e.file]; made != "" {
			path = made
		}
		text, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if n := strings.Count(string(text), e.from); n != 1 {
			t.Fatalf("%s has %q %d times: the sabotage must follow the source", e.file, e.from, n)
		}
		files[e.file] = filepath.Join(dir, strings.ReplaceAll(e.file, "/", "-"))
		if err := os.WriteFile(files[e.file], []byte(strings.Replace(string(text), e.from, e.to, 1)), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return files
}

// TestV0_SabotageIsCaught builds brokers that are wrong in one way each, and shows that the checker finds it.
func TestV0_SabotageIsCaught(t *testing.T) {
	for _, x := range sabotages() {
		t.Run(x.name, func(t *testing.T) {
			o := three()
			if x.setup != nil {
				x.setup(&o)
			}
			o.sabotaged, o.damage = true, true
			o.binary = rig.Build(t, overlay(t, x.edits))
			all := onDisks(t, &o)
			s := newScenario(t, "V0 "+x.name, o)
			s.wait(2 * time.Second)
			x.harm(s, all)
			s.c.Heal()
			for _, d := range all {
				d.SetFault(disk.Fault{})
			}
			report := s.check(s.strong, history.Options{MaxUnknown: 1, Isolated: s.strong.isolated})
			_ = s.c.Terminate(stopTimeout)
			var dirs []string
			for _, n := range s.c.Nodes {
				dirs = append(dirs, n.Files)
			}
			compared, err := replicas.Compare(dirs)
			if err != nil {
				t.Log(err)
			}
			found := slices.ContainsFunc(x.caught, func(r history.Rule) bool { return report.Count[r] > 0 })
			if !found && len(compared.Differences) == 0 {
				t.Fatalf("seed %d: not caught; violations %v", s.seed, report.Count)
			}
			t.Logf("caught: %v, %d differences between replicas", report.Count, len(compared.Differences))
		})
	}
}
