package dledger

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"testing"
)

// metadataFiles are the files of a stopped node's metadata log.
func metadataFiles(t *testing.T, dir string) (names []string) {
	t.Helper()
	root := filepath.Join(dir, "raft")
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err == nil && d.Type().IsRegular() {
			rel, _ := filepath.Rel(dir, path)
			names = append(names, rel)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return append(names, markName)
}

// metadataNode runs one host that is a founder of three whose others are not there, lets it save what it hears, and
// stops it as a kill does not: the files are copied while it runs.
func metadataNode(t *testing.T) (dir string, options func(dir string) Options) {
	t.Helper()
	c := newMetadataCluster(t)
	for i := range 20 {
		c.propose(0, fmt.Sprintf("c%d", i))
	}
	follower := (c.controller() + 1) % 3
	await(t, "the follower has all", func() bool { return c.lists[follower].String() == c.lists[c.controller()].String() })
	dir = filepath.Join(t.TempDir(), "killed")
	if err := os.CopyFS(dir, os.DirFS(c.dirs[follower])); err != nil {
		t.Fatal(err)
	}
	founders := map[ReplicaID]int32{1: 1, 2: 2, 3: 3}
	return dir, func(dir string) Options {
		return Options{
			Dir: dir, NodeID: int32(follower + 1), StateMachine: &listMetadata{},
			Metadata: MetadataSpec{Replica: ReplicaID(follower + 1), Founders: founders}, //nolint:gosec // small
		}
	}
}

func markOf(t *testing.T, dir string) metadataMark {
	t.Helper()
	f, err := readMark(dir)
	if err != nil {
		t.Fatal(err)
	}
	if !f.known {
		t.Fatal("there is no mark")
	}
	return f.mark
}

func TestMetadataMark_WholeLogIsTaken(t *testing.T) {
	dir, options := metadataNode(t)
	was := markOf(t, dir)
	if was.last < 20 || was.term == 0 || was.replica == 0 {
		t.Fatalf("the mark says %+v", was)
	}
	for range 2 {
		h, err := Open(t.Context(), options(dir))
		if err != nil {
			t.Fatal(err)
		}
		if err := h.Close(); err != nil {
			t.Fatal(err)
		}
		if now := markOf(t, dir); now.shorter(was) {
			t.Fatalf("the mark says %+v, and said %+v", now, was)
		}
	}
}

// Whatever is done to the files of the metadata log: the replica starts with all that it had, or not at all.
func TestMetadataMark_DamageIsNoticed(t *testing.T) {
	whole, options := metadataNode(t)
	was := markOf(t, whole)
	refused, taken := map[string]int{}, map[string]int{}
	try := func(what, name string, damage func(path string) error) {
		t.Helper()
		dir := filepath.Join(t.TempDir(), "damaged")
		if err := os.CopyFS(dir, os.DirFS(whole)); err != nil {
			t.Fatal(err)
		}
		if err := damage(filepath.Join(dir, name)); err != nil {
			t.Fatal(err)
		}
		h, err := Open(t.Context(), options(dir))
		switch {
		case errors.Is(err, ErrMetadataDamaged):
			refused[what]++
		case err != nil:
			t.Errorf("%s %s: %v, want %v", name, what, err, ErrMetadataDamaged)
		default:
			taken[what]++
			have, err := readMetadataState(h.db, uint64(was.group), uint64(was.replica))
			if err != nil {
				t.Errorf("%s %s: started, and then: %v", name, what, err)
			} else if err := was.holds(have); err != nil {
				t.Errorf("%s %s: started with less: %v", name, what, err)
			}
			if err := h.Close(); err != nil {
				t.Errorf("%s %s: close: %v", name, what, err)
			}
		}
	}
	for _, name := range metadataFiles(t, whole) {
		base := filepath.Base(name)
		if base == "LOCK" || base == "dragonboat.ds" || base == "NODEHOST.ID" {
			continue
		}
		info, err := os.Stat(filepath.Join(whole, name))
		if err != nil {
			t.Fatal(err)
		}
		cut := func(size int64) func(string) error { return func(p string) error { return os.Truncate(p, size) } }
		if base != markName { // a directory of an older version has none
			try("deleted", name, os.Remove)
		}
		try("cut to nothing", name, cut(0))
		try("cut in half", name, cut(info.Size()/2))
		try("cut by a byte", name, cut(max(0, info.Size()-1)))
		for at := int64(0); at < info.Size(); at += 1 + info.Size()/12 {
			try("a bit flipped", name, func(path string) error {
				b, err := os.ReadFile(path)
				if err != nil {
					return err
				}
				b[at] ^= 1 << (at % 8)
				return os.WriteFile(path, b, 0o600)
			})
		}
	}
	t.Logf("refused %v, taken %v", refused, taken)
	for _, what := range []string{"deleted", "cut to nothing", "cut in half", "a bit flipped"} {
		if refused[what] == 0 {
			t.Errorf("%s: never refused", what)
		}
	}
}

// What was being written when the machine went down is no damage: nobody was told of it.
func TestMetadataTail_OfAPowerFailureIsCut(t *testing.T) {
	whole, options := metadataNode(t)
	was := markOf(t, whole)
	logs, err := filepath.Glob(filepath.Join(whole, "raft", "*", "*", "tandb", "node-*", "*.log"))
	if err != nil || len(logs) != 1 {
		t.Fatalf("%v %v", logs, err)
	}
	log, err := os.ReadFile(logs[0])
	if err != nil {
		t.Fatal(err)
	}
	end, torn := tanTail(log)
	if end != len(log) || torn {
		t.Fatalf("a whole log of %d bytes ends at %d (%v)", len(log), end, torn)
	}
	record := []byte{1, 2, 3, 4, 40, 0, 1} // a checksum, 40 bytes, all in one
	for _, lost := range []int{40, 39, 1} {
		dir := filepath.Join(t.TempDir(), "torn")
		if err := os.CopyFS(dir, os.DirFS(whole)); err != nil {
			t.Fatal(err)
		}
		rel, _ := filepath.Rel(whole, logs[0])
		b := append(append([]byte(nil), log...), record...)
		for i := range 40 {
			if i < 40-lost {
				b = append(b, 'x')
			} else {
				b = append(b, 0)
			}
		}
		if err := os.WriteFile(filepath.Join(dir, rel), b, 0o600); err != nil {
			t.Fatal(err)
		}
		h, err := Open(t.Context(), options(dir))
		if err != nil {
			t.Fatalf("the last %d bytes lost: %v", lost, err)
		}
		have, err := readMetadataState(h.db, uint64(was.group), uint64(was.replica))
		if err != nil {
			t.Error(err)
		}
		if err := was.holds(have); err != nil {
			t.Error(err)
		}
		if err := h.Close(); err != nil {
			t.Error(err)
		}
	}
}
