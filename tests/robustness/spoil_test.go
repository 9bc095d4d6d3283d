//go:build robustness

package robustness

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stelemq/stele/tests/robustness/rig"
)

// repairTimeout is how long a broker with damaged files may take to repair itself from the others. After it, or when
// it refuses to start, its disk is emptied, as documented for a broker that is beyond repair.
const repairTimeout = 30 * time.Second

// kind is a kind of files that are damaged.
type kind struct {
	name  string
	match *regexp.Regexp
}

var kinds = []kind{
	{"segment", regexp.MustCompile(`-\d+/\d{20}\.log$`)},
	{"index", regexp.MustCompile(`-\d+/\d{20}\.index$`)},
	{"time index", regexp.MustCompile(`\.timeindex$`)},
	{"raft records", regexp.MustCompile(`\.raft$`)},
	{"producer snapshot", regexp.MustCompile(`-\d+/.*\.snapshot$`)},
	{"leader epochs", regexp.MustCompile(`leader-epoch-checkpoint$`)},
	{"replica.json", regexp.MustCompile(`replica\.json$`)},
	{"partition.metadata", regexp.MustCompile(`partition\.metadata$`)},
	{"journal", regexp.MustCompile(`journal/[^/]*$`)},
	{"metadata log", regexp.MustCompile(`tandb/.*\.log$`)},
	{"files of the metadata log", regexp.MustCompile(`tandb/.*[^g]$`)},
	{"node files", regexp.MustCompile(`/(meta\.properties|peers\.json|boot\.json)$`)},
}

var onlyKinds = flag.String("kinds", "", "damage only files of these kinds, separated by commas; empty: all")

// chosen are the kinds of files to damage.
func chosen() []kind {
	if *onlyKinds == "" {
		return kinds
	}
	var some []kind
	for _, k := range kinds {
		if slices.Contains(strings.Split(*onlyKinds, ","), k.name) {
			some = append(some, k)
		}
	}
	return some
}

// spoils are the ways in which a file is damaged.
var spoils = []struct {
	name  string
	spoil func(s *scenario, path string) error
}{
	{"cut to nothing", func(_ *scenario, path string) error { return os.Truncate(path, 0) }},
	{"cut in half", func(_ *scenario, path string) error { return resize(path, func(n int64) int64 { return n / 2 }) }},
	{"cut by a byte", func(_ *scenario, path string) error { return resize(path, func(n int64) int64 { return max(0, n-1) }) }},
	{"deleted", func(_ *scenario, path string) error { return os.Remove(path) }},
	{"zeros", func(s *scenario, path string) error {
		info, err := os.Stat(path)
		if err != nil {
			return err
		}
		return overwrite(path, s.rng.Int64N(max(1, info.Size()-512)), make([]byte, min(512, info.Size())))
	}},
	{"changed places", func(s *scenario, path string) error {
		others := filesLike(filepath.Dir(path), regexp.MustCompile(regexp.QuoteMeta(filepath.Ext(path))+"$"))
		other := others[s.rng.IntN(len(others))]
		return errors.Join(os.Rename(path, path+".x"), renameIf(other, path), os.Rename(path+".x", other))
	}},
}

func renameIf(from, to string) error {
	if err := os.Rename(from, to); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	return nil
}

func resize(path string, size func(int64) int64) error {
	info, err := os.Stat(path)
	if err != nil {
		return err
	}
	return os.Truncate(path, size(info.Size()))
}

func overwrite(path string, at int64, data []byte) error {
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		return err
	}
	_, err = f.WriteAt(data, at)
	return errors.Join(err, f.Close())
}

// flip changes one bit of a file.
func flip(s *scenario, path string) error {
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		return err
	}
	info, err := f.Stat()
	if err != nil || info.Size() == 0 {
		return errors.Join(err, f.Close())
	}
	var b [1]byte
	at := s.rng.Int64N(info.Size())
	_, err = f.ReadAt(b[:], at)
	b[0] ^= 1 << s.rng.IntN(8)
	_, errWrite := f.WriteAt(b[:], at)
	return errors.Join(err, errWrite, f.Close())
}

// filesLike are the files below a directory whose path matches.
func filesLike(dir string, match *regexp.Regexp) (paths []string) {
	_ = filepath.WalkDir(dir, func(path string, d os.DirEntry, err error) error {
		if err == nil && d.Type().IsRegular() && match.MatchString(path) {
			paths = append(paths, path)
		}
		return nil
	})
	return paths
}

// tally counts what became of damage.
type tally struct{ harmless, refused, stuck int }

func (n tally) String() string {
	return fmt.Sprintf("%d repaired or harmless, %d refused to start, %d not repaired within %v", n.harmless, n.refused, n.stuck, repairTimeout)
}

// spoil kills a broker, damages files of one kind, and starts it again: it repairs itself from the others, or refuses
// to start, and then its disk is emptied.
func (s *scenario) spoil(n *tally, what string, damage func(dir string) error) {
	s.t.Helper()
	s.t.Logf("%d: %s", s.figures.faults, what)
	// Always the same broker: what nobody has read of its damage yet must not meet damage of another.
	victim := s.c.Node(1 + int32(s.seed%uint64(len(s.c.Nodes))))
	s.fault([]int32{victim.ID}, func() {
		victim.Kill()
		if err := damage(victim.Files); err != nil {
			s.t.Fatalf("seed %d: %s: %v", s.seed, what, err)
		}
	}, lagTime+lagTime/2, func() {
		_, at := victim.Output(0)
		victim.Start()
		victim.MayDie()
		switch s.recovers(victim) {
		case recovered:
			n.harmless++
			return
		case ended:
			n.refused++
			text, _ := victim.Output(at)
			s.t.Logf("%s: node %d refuses to start: %s", what, victim.ID, lastLine(text))
			if at := strings.Index(text, "panic: "); at >= 0 {
				s.t.Errorf("seed %d: %s: node %d panics\n%s", s.seed, what, victim.ID, text[at:min(len(text), at+4000)])
			}
		case waits:
			n.stuck++
			text, _ := victim.Output(at)
			s.t.Logf("%s: node %d does not recover by itself; it says\n%s", what, victim.ID, text[max(0, len(text)-2000):])
		}
		s.replace(victim)
	})
}

func lastLine(text string) string {
	lines := strings.Split(strings.TrimSpace(text), "\n")
	last := lines[len(lines)-1]
	return last[:min(len(last), 300)]
}

type outcome int

const (
	recovered outcome = iota
	ended
	waits
)

// recovers waits until all replicas are in sync, or the broker has ended, or for too long.
func (s *scenario) recovers(n *rig.Node) outcome {
	s.t.Helper()
	for began := time.Now(); ; s.wait(10 * time.Millisecond) {
		switch {
		case s.inSync():
			return recovered
		case !n.Alive():
			return ended
		case time.Since(began) > repairTimeout:
			return waits
		}
	}
}

// replace empties the disk of a broker and starts it until it stays, as a supervisor does.
func (s *scenario) replace(n *rig.Node) {
	s.t.Helper()
	n.Kill()
	n.Wipe()
	began := time.Now()
	for {
		n.Start()
		n.MayDie()
		if s.recovers(n) != ended {
			s.voters(min(len(s.c.Nodes), 5)) // before another one may lose its disk
			return
		}
		if time.Since(began) > healTimeout {
			s.t.Fatalf("seed %d: node %d does not come back with an empty disk", s.seed, n.ID)
		}
		s.wait(time.Second)
	}
}

// TestR15_BitFlips changes one bit in a file of one broker: it is detected, never served, and never a reason to
// delete anything elsewhere.
func TestR15_BitFlips(t *testing.T) {
	o := three()
	o.damage = true
	s := newScenario(t, "R15 one bit flipped", o)
	var n tally
	kinds := chosen()
	for i := range count(200, len(kinds)) {
		kind := kinds[i%len(kinds)]
		s.spoil(&n, "a bit in "+kind.name, func(dir string) error {
			paths := filesLike(dir, kind.match)
			if len(paths) == 0 {
				return nil
			}
			return flip(s, paths[s.rng.IntN(len(paths))])
		})
	}
	s.figures.note("%v", n)
	s.finish()
}

// TestR17_SpoiledFiles cuts, deletes, overwrites and swaps files of one broker.
func TestR17_SpoiledFiles(t *testing.T) {
	o := three()
	o.damage = true
	s := newScenario(t, "R17 files cut, deleted, zeroed, swapped", o)
	var n tally
	kinds := chosen()
	for i := range count(300, 2*len(spoils)) {
		way, kind := spoils[i%len(spoils)], kinds[s.rng.IntN(len(kinds))]
		s.spoil(&n, kind.name+" "+way.name, func(dir string) error {
			paths := filesLike(dir, kind.match)
			if len(paths) == 0 {
				return nil
			}
			return way.spoil(s, paths[s.rng.IntN(len(paths))])
		})
	}
	s.figures.note("%v", n)
	s.finish()
}

// TestR17_StaleCopy puts a copy of the whole disk of one broker back that is older than what it acknowledged since.
// Of what it voted and wrote in between it knows nothing any more.
func TestR17_StaleCopy(t *testing.T) {
	s := newScenario(t, "R17 stale copy of a disk", three())
	for range count(50, 1) {
		copied := filepath.Join(s.c.Dir, "stale")
		victim := s.c.Node(s.leader())
		victim.Kill()
		copyTree(t, victim.Files, copied)
		victim.Start()
		s.healed()
		s.between(time.Second, 2*time.Second)
		hit := s.mark(s.ledBy(victim.ID))
		victim.Kill()
		victim.Wipe()
		copyTree(t, copied, victim.Files)
		if err := os.RemoveAll(copied); err != nil {
			t.Fatal(err)
		}
		s.figures.available = append(s.figures.available, s.await(hit, "after a fault")...)
		s.wait(2 * lagTime)
		_, at := victim.Output(0)
		for range 3 { // as a supervisor does
			victim.Start()
			victim.MayDie()
			ctx, cancel := context.WithTimeout(t.Context(), serveTimeout)
			err := victim.Wait(ctx)
			cancel()
			if err != nil {
				t.Fatalf("seed %d: node %d goes on with a stale copy of its disk: %v", s.seed, victim.ID, err)
			}
		}
		if text, _ := victim.Output(at); !strings.Contains(text, "before the last start") && !strings.Contains(text, "before the node's last start") {
			t.Errorf("seed %d: node %d does not say what is wrong with its disk: %s", s.seed, victim.ID, lastLine(text))
		}
		s.replace(victim)
		s.healed()
		s.figures.faults++
	}
	s.finish()
}
