package vfs_test

import (
	"bytes"
	"errors"
	"io"
	"io/fs"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/stelemq/stele/internal/vfs"
)

func write(t *testing.T, fsys vfs.FS, name, s string) vfs.File {
	t.Helper()
	f, err := fsys.Create(name)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.WriteAt([]byte(s), 0); err != nil {
		t.Fatal(err)
	}
	return f
}

func read(t *testing.T, fsys vfs.FS, name string) string {
	t.Helper()
	f, err := fsys.Open(name)
	if err != nil {
		return "!" + errText(err)
	}
	n, err := f.Size()
	if err != nil {
		t.Fatal(err)
	}
	b := make([]byte, n)
	if _, err := f.ReadAt(b, 0); err != nil && !errors.Is(err, io.EOF) {
		t.Fatal(err)
	}
	return string(b)
}

func errText(err error) string {
	if errors.Is(err, fs.ErrNotExist) {
		return "absent"
	}
	return err.Error()
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// TestFS holds the two real file systems to the same behaviour.
func TestFS_MemBehavesAsOS(t *testing.T) {
	for name, fsys := range map[string]vfs.FS{"os": vfs.OS{}, "mem": vfs.NewMem(), "err": vfs.NewErrFS(vfs.NewMem())} {
		t.Run(name, func(t *testing.T) {
			dir := filepath.Join(t.TempDir(), "a", "b")
			p := func(n string) string { return filepath.Join(dir, n) }
			must(t, fsys.MkdirAll(dir))
			must(t, fsys.MkdirAll(dir))
			f := write(t, fsys, p("x"), "hello")
			n, err := f.WriteVec([][]byte{[]byte("J"), []byte("ELL"), nil, []byte("Y!")}, 0)
			must(t, err)
			if n != 6 || read(t, fsys, p("x")) != "JELLY!" {
				t.Fatalf("vector: %d %q", n, read(t, fsys, p("x")))
			}
			must(t, f.Preallocate(0, 1<<20))
			must(t, f.Sync())
			must(t, f.Truncate(3))
			must(t, f.Truncate(5))
			if got := read(t, fsys, p("x")); got != "JEL\x00\x00" {
				t.Fatalf("truncate: %q", got)
			}
			must(t, fsys.Link(p("x"), p("y")))
			if err := fsys.Link(p("x"), p("y")); !errors.Is(err, fs.ErrExist) {
				t.Fatalf("link over a file: %v", err)
			}
			must(t, fsys.Rename(p("x"), p("z")))
			if err := fsys.Rename(p("x"), p("z")); !errors.Is(err, fs.ErrNotExist) {
				t.Fatalf("rename of nothing: %v", err)
			}
			names, err := fsys.ReadDir(dir)
			must(t, err)
			if !slices.Equal(names, []string{"y", "z"}) {
				t.Fatalf("names %v", names)
			}
			must(t, fsys.Remove(p("z")))
			must(t, fsys.Remove(p("y")))
			if _, err := f.WriteAt([]byte("k"), 0); err != nil {
				t.Fatalf("write to a removed open file: %v", err)
			}
			b := make([]byte, 9)
			if n, err := f.ReadAt(b, 0); n != 5 || !errors.Is(err, io.EOF) {
				t.Fatalf("read of a removed open file: %d %v", n, err)
			}
			if err := fsys.Remove(p("y")); !errors.Is(err, fs.ErrNotExist) {
				t.Fatalf("remove of nothing: %v", err)
			}
			if _, err := fsys.Stat(p("y")); !errors.Is(err, fs.ErrNotExist) {
				t.Fatalf("stat of nothing: %v", err)
			}
			must(t, f.Close())
			if err := f.Close(); err == nil {
				t.Fatal("closed twice")
			}
			unlock, err := fsys.Lock(p("lock"))
			must(t, err)
			if _, err := fsys.Lock(p("lock")); !errors.Is(err, vfs.ErrLocked) {
				t.Fatalf("locked twice: %v", err)
			}
			must(t, unlock())
			must(t, fsys.SyncDir(dir))
			must(t, fsys.RemoveAll(filepath.Dir(dir)))
			if _, err := fsys.ReadDir(dir); !errors.Is(err, fs.ErrNotExist) {
				t.Fatalf("directory after RemoveAll: %v", err)
			}
		})
	}
}

func TestCrashClone_SyncedSurvivesAndUnsyncedDoesNot(t *testing.T) {
	m := vfs.NewMem()
	must(t, m.MkdirAll("/d"))
	must(t, m.SyncDir("/"))
	f := write(t, m, "/d/kept", "old")
	must(t, f.Sync())
	must(t, m.SyncDir("/d"))
	_, err := f.WriteAt([]byte("NEWER"), 0)
	must(t, err)
	must(t, write(t, m, "/d/nameless", "synced, but no name").Sync())
	write(t, m, "/d/gone", "x")

	none := m.CrashClone(vfs.Crash{KeepPercent: 0})
	if got := read(t, none, "/d/kept"); got != "old" {
		t.Fatalf("kept nothing: %q", got)
	}
	if got := read(t, none, "/d/nameless"); got != "!absent" {
		t.Fatalf("name without sync: %q", got)
	}
	all := m.CrashClone(vfs.Crash{KeepPercent: 100})
	for name, want := range map[string]string{"/d/kept": "NEWER", "/d/nameless": "synced, but no name", "/d/gone": "x"} {
		if got := read(t, all, name); got != want {
			t.Fatalf("%s: %q", name, got)
		}
	}
	// Only what the filter names is lost.
	some := m.CrashClone(vfs.Crash{Lossy: func(n string) bool { return strings.HasSuffix(n, "gone") }})
	if read(t, some, "/d/gone") != "!absent" || read(t, some, "/d/kept") != "NEWER" {
		t.Fatalf("filter: %q %q", read(t, some, "/d/gone"), read(t, some, "/d/kept"))
	}
	if read(t, m, "/d/kept") != "NEWER" {
		t.Fatal("the clone changed its origin")
	}
	if pages, names := none.Unsynced(); pages != 0 || names != 0 {
		t.Fatalf("clone has %d dirty pages, %d names", pages, names)
	}
}

func TestCrashClone_NamesAreLostOneByOne(t *testing.T) {
	m := vfs.NewMem()
	must(t, write(t, m, "/a", "1").Sync())
	must(t, write(t, m, "/b", "2").Sync())
	must(t, m.SyncDir("/"))
	must(t, m.Rename("/a", "/b"))
	must(t, m.Link("/b", "/c"))
	seen := map[string]bool{}
	for seed := range uint64(200) {
		c := m.CrashClone(vfs.Crash{KeepPercent: 50, Rand: rand.New(rand.NewPCG(seed, 1))})
		seen[read(t, c, "/a")+","+read(t, c, "/b")+","+read(t, c, "/c")] = true
	}
	for _, want := range []string{"1,2,!absent", "1,2,1", "!absent,1,!absent", "!absent,1,1"} {
		if !seen[want] {
			t.Errorf("never saw %s", want)
		}
		delete(seen, want)
	}
	if len(seen) > 0 {
		t.Errorf("impossible states %v", seen)
	}
	must(t, m.SyncDir("/"))
	c := m.CrashClone(vfs.Crash{})
	if read(t, c, "/a") != "!absent" || read(t, c, "/b") != "1" || read(t, c, "/c") != "1" {
		t.Fatal("names lost after SyncDir")
	}
	must(t, m.Remove("/b"))
	if read(t, m.CrashClone(vfs.Crash{}), "/b") != "1" {
		t.Fatal("unsynced removal is durable")
	}
}

func TestCrashClone_PagesAreLostOneByOne(t *testing.T) {
	m := vfs.NewMem()
	f := write(t, m, "/f", strings.Repeat("a", 3*4096))
	must(t, f.Sync())
	must(t, m.SyncDir("/"))
	_, err := f.WriteAt(bytes.Repeat([]byte("b"), 4*4096), 4096)
	must(t, err)
	states, prefixes := map[string]bool{}, map[string]bool{}
	for seed := range uint64(500) {
		shape := func(c vfs.Crash) string {
			c.Rand = rand.New(rand.NewPCG(seed, 2))
			s, out := read(t, m.CrashClone(c), "/f"), ""
			for i := 0; i < len(s); i += 4096 {
				out += string(s[i])
			}
			return strings.ReplaceAll(out, "\x00", "0")
		}
		states[shape(vfs.Crash{KeepPercent: 50})] = true
		prefixes[shape(vfs.Crash{Prefix: true})] = true
	}
	for _, want := range []string{"aaa", "aba", "aab", "aab00", "abbb", "aaa0b", "abbbb"} {
		if !states[want] {
			t.Errorf("never saw %s", want)
		}
	}
	for s := range prefixes {
		if !slices.Contains([]string{"aaa", "aba", "abb", "abbb", "abbbb"}, s) {
			t.Errorf("not a prefix: %s", s)
		}
	}
	if len(prefixes) != 5 {
		t.Errorf("prefixes %v", prefixes)
	}
}

func TestCrashClone_UnsyncedTruncationMayComeBack(t *testing.T) {
	m := vfs.NewMem()
	f := write(t, m, "/f", "0123456789")
	must(t, f.Sync())
	must(t, m.SyncDir("/"))
	must(t, f.Truncate(4))
	if got := read(t, m.CrashClone(vfs.Crash{}), "/f"); got != "0123456789" {
		t.Fatalf("lost truncation: %q", got)
	}
	if got := read(t, m.CrashClone(vfs.Crash{KeepPercent: 100}), "/f"); got != "0123" {
		t.Fatalf("kept truncation: %q", got)
	}
	must(t, f.Sync())
	if got := read(t, m.CrashClone(vfs.Crash{}), "/f"); got != "0123" {
		t.Fatalf("synced truncation: %q", got)
	}
}

func TestMem_CapacityEndsInENOSPC(t *testing.T) {
	m := vfs.NewMem()
	m.SetCapacity(100)
	f := write(t, m, "/f", strings.Repeat("x", 60))
	if _, err := f.WriteAt(make([]byte, 41), 60); !errors.Is(err, syscall.ENOSPC) {
		t.Fatalf("write over capacity: %v", err)
	}
	if free, total, _ := m.Free("/"); free != 40 || total != 100 {
		t.Fatalf("free %d of %d", free, total)
	}
	must(t, m.Remove("/f"))
	if free, _, _ := m.Free("/"); free != 100 {
		t.Fatalf("free after remove %d", free)
	}
}

func TestErrFS_FailsTheNthOperation(t *testing.T) {
	e := vfs.NewErrFS(vfs.NewMem())
	f := write(t, e, "/f", "")
	e.Plan(&vfs.Fault{Kinds: vfs.OpWrite | vfs.OpSync, N: 2})
	_, err := f.WriteAt([]byte("aaaa"), 0)
	must(t, err)
	must(t, f.Sync())
	if err := f.Sync(); !errors.Is(err, vfs.ErrInjected) {
		t.Fatalf("third operation: %v", err)
	}
	must(t, f.Sync())
	if e.Failed() != 1 || e.Count(vfs.OpSync) != 3 || e.Count(vfs.OpCreate) != 1 {
		t.Fatalf("failed %d, syncs %d", e.Failed(), e.Count(vfs.OpSync))
	}
	e.Plan(&vfs.Fault{Kinds: vfs.OpMutating, N: 0, Stay: true, Torn: true, Err: syscall.EIO})
	if n, err := f.WriteVec([][]byte{[]byte("bb"), []byte("bb")}, 0); n != 2 || !errors.Is(err, syscall.EIO) {
		t.Fatalf("torn write: %d %v", n, err)
	}
	if _, err := f.WriteAt([]byte("cccc"), 0); !errors.Is(err, syscall.EIO) {
		t.Fatalf("after the end: %v", err)
	}
	if err := e.Rename("/f", "/g"); !errors.Is(err, syscall.EIO) {
		t.Fatalf("after the end: %v", err)
	}
	if got := read(t, e, "/f"); got != "bbaa" {
		t.Fatalf("torn write left %q", got)
	}
	e.Plan(&vfs.Fault{Kinds: vfs.OpAll, Match: func(n string) bool { return n == "/other" }})
	must(t, f.Sync())
}
