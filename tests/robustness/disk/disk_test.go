package disk

import (
	"bytes"
	"errors"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// mounted is a disk with the directory at which it is mounted.
func mounted(t *testing.T) (d *Disk, at string) {
	t.Helper()
	dir := t.TempDir()
	root, at := filepath.Join(dir, "root"), filepath.Join(dir, "at")
	for _, p := range []string{root, at} {
		if err := os.Mkdir(p, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	d, err := New(root, filepath.Join(dir, "trash"))
	if err != nil {
		t.Fatal(err)
	}
	unmount, err := d.Mount(at)
	if err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatal(err)
		}
		t.Skip(err)
	}
	t.Cleanup(func() {
		if err := unmount(); err != nil {
			t.Error(err)
		}
	})
	return d, at
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func write(t *testing.T, path, text string, sync bool) {
	t.Helper()
	f, err := os.Create(path)
	must(t, err)
	_, err = f.WriteString(text)
	must(t, err)
	if sync {
		must(t, f.Sync())
	}
	must(t, f.Close())
}

func syncDir(t *testing.T, path string) {
	t.Helper()
	f, err := os.Open(path)
	must(t, err)
	must(t, f.Sync())
	must(t, f.Close())
}

func content(path string) string {
	text, err := os.ReadFile(path)
	if err != nil {
		return "absent"
	}
	return string(text)
}

func TestLosePower_OnlyWhatIsSyncedStays(t *testing.T) {
	d, at := mounted(t)
	in := func(name string) string { return filepath.Join(at, name) }
	for _, name := range []string{"kept", "changed", "longer", "cut", "gone", "old", "over", "into"} {
		write(t, in(name), "first "+name, true)
	}
	must(t, os.Mkdir(in("dir"), 0o755))
	syncDir(t, at)
	write(t, in("dir/a"), "a", true)
	syncDir(t, in("dir"))

	write(t, in("unnamed"), "synced, but not its name", true)
	write(t, in("changed"), "second changed", false)
	f, err := os.OpenFile(in("longer"), os.O_RDWR|os.O_APPEND, 0)
	must(t, err)
	_, err = f.WriteString(strings.Repeat("x", 3*pageBytes))
	must(t, err)
	must(t, f.Close())
	must(t, os.Truncate(in("cut"), 2))
	must(t, os.Remove(in("gone")))
	must(t, os.Rename(in("old"), in("new")))
	must(t, os.Rename(in("over"), in("into")))
	must(t, os.RemoveAll(in("dir")))
	must(t, os.Mkdir(in("later"), 0o755))
	write(t, in("later/b"), "b", true)
	if content(in("into")) != "first over" || content(in("cut")) != "fi" || content(in("longer"))[:12] != "first longer" {
		t.Fatal("what was done must be seen until the power fails")
	}

	must(t, d.LosePower(rand.New(rand.NewPCG(1, 1)), Loss{}))
	for name, want := range map[string]string{
		"kept": "first kept", "changed": "first changed", "longer": "first longer", "cut": "first cut", "gone": "first gone",
		"old": "first old", "new": "absent", "over": "first over", "into": "first into", "dir/a": "a", "later/b": "absent", "unnamed": "absent",
	} {
		if got := content(in(name)); got != want {
			t.Errorf("%s: %.40q, want %q", name, got, want)
		}
	}
	if left, _ := os.ReadDir(d.trash); len(left) > 0 {
		t.Errorf("%d files are left over", len(left))
	}
}

func TestLosePower_SyncedChangesStay(t *testing.T) {
	d, at := mounted(t)
	in := func(name string) string { return filepath.Join(at, name) }
	write(t, in("a"), "first", true)
	write(t, in("b"), "b", true)
	syncDir(t, at)
	write(t, in("a"), "second, longer", true)
	must(t, os.Rename(in("b"), in("c")))
	syncDir(t, at)
	must(t, d.LosePower(rand.New(rand.NewPCG(1, 1)), Loss{}))
	if content(in("a")) != "second, longer" || content(in("b")) != "absent" || content(in("c")) != "b" {
		t.Error(content(in("a")), content(in("b")), content(in("c")))
	}
}

// TestLosePower_PagesAreLostOneByOne: with a share of pages kept, each page is as it was before or after.
func TestLosePower_PagesAreLostOneByOne(t *testing.T) {
	const pages = 16
	rng := rand.New(rand.NewPCG(7, 7))
	mixed := false
	d, at := mounted(t)
	for range 20 {
		path := filepath.Join(at, "f")
		write(t, path, strings.Repeat("a", pages*pageBytes), true)
		syncDir(t, at)
		f, err := os.OpenFile(path, os.O_RDWR, 0)
		must(t, err)
		_, err = f.WriteAt(bytes.Repeat([]byte("b"), (pages+4)*pageBytes), 0)
		must(t, err)
		must(t, f.Close())
		must(t, d.LosePower(rng, Loss{Keep: 0.5}))
		text := content(path)
		if len(text) < pages*pageBytes || len(text) > (pages+4)*pageBytes {
			t.Fatalf("%d bytes", len(text))
		}
		var seen [3]int
		for i := 0; i < len(text); i += pageBytes {
			p := text[i : i+pageBytes]
			switch strings.Trim(p, p[:1]) + p[:1] {
			case "a":
				seen[0]++
			case "b":
				seen[1]++
			case "\x00":
				seen[2]++
			default:
				t.Fatal("a torn page")
			}
		}
		mixed = mixed || seen[0] > 0 && seen[1] > 0
	}
	if !mixed {
		t.Error("pages were lost together")
	}
}

// TestLosePower_TornPages: a torn page is new up to a sector and old from there.
func TestLosePower_TornPages(t *testing.T) {
	rng := rand.New(rand.NewPCG(8, 8))
	d, at := mounted(t)
	path, torn := filepath.Join(at, "f"), map[int]bool{}
	for range 100 {
		write(t, path, strings.Repeat("a", pageBytes), true)
		syncDir(t, at)
		f, err := os.OpenFile(path, os.O_RDWR, 0)
		must(t, err)
		_, err = f.WriteAt(bytes.Repeat([]byte("b"), pageBytes), 0)
		must(t, err)
		must(t, f.Close())
		must(t, d.LosePower(rng, Loss{Keep: 1, Tear: true}))
		text := content(path)
		n := strings.Count(text, "b")
		if text != strings.Repeat("b", n)+strings.Repeat("a", pageBytes-n) || n%sectorBytes != 0 {
			t.Fatalf("%d new bytes", n)
		}
		torn[n] = true
	}
	if len(torn) < 5 {
		t.Errorf("torn only at %v", torn)
	}
}

// TestFailSync_PagesStayLost: what a failed sync dropped does not reach the disk by a later one.
func TestFailSync_PagesStayLost(t *testing.T) {
	d, at := mounted(t)
	path := filepath.Join(at, "f")
	write(t, path, "first", true)
	syncDir(t, at)
	d.SetFault(Fault{FailSync: 1})
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	must(t, err)
	_, err = f.WriteAt([]byte("secon"), 0)
	must(t, err)
	if err := f.Sync(); !errors.Is(err, syscall.EIO) {
		t.Fatalf("%v, want EIO", err)
	}
	must(t, f.Sync())
	if content(path) != "secon" {
		t.Error("what was written must be read back")
	}
	must(t, f.Close())
	must(t, d.LosePower(rand.New(rand.NewPCG(1, 1)), Loss{Keep: 1}))
	if got := content(path); got != "first" {
		t.Errorf("%q survived a failed sync", got)
	}
	if s := d.Stats(); s.FailedSyncs != 1 {
		t.Errorf("%+v", s)
	}
}

func TestReadError_OnlyOfTheNamedFiles(t *testing.T) {
	d, at := mounted(t)
	write(t, filepath.Join(at, "a.log"), "a", false)
	write(t, filepath.Join(at, "a.index"), "i", false)
	d.SetFault(Fault{ReadError: ".log"})
	if content(filepath.Join(at, "a.log")) != "absent" || content(filepath.Join(at, "a.index")) != "i" {
		t.Error("only .log must be unreadable")
	}
}

// TestDisk_RandomOperationsAgainstAModel: after a power failure with nothing kept, every file is as it was when it
// was last synced.
func TestDisk_RandomOperationsAgainstAModel(t *testing.T) {
	d, at := mounted(t)
	rng := rand.New(rand.NewPCG(42, 0))
	const files = 4
	name := func(i int) string { return filepath.Join(at, string(rune('a'+i))) }
	durable, now := make([][]byte, files), make([][]byte, files)
	for i := range files {
		write(t, name(i), "", true)
	}
	syncDir(t, at)
	for step := range 2000 {
		i := rng.IntN(files)
		f, err := os.OpenFile(name(i), os.O_RDWR, 0)
		must(t, err)
		switch rng.IntN(6) {
		case 0, 1, 2:
			off := rng.IntN(3*pageBytes + 1)
			data := bytes.Repeat([]byte{byte(rng.Uint32())}, 1+rng.IntN(2*pageBytes))
			_, err = f.WriteAt(data, int64(off))
			must(t, err)
			if need := off + len(data); need > len(now[i]) {
				now[i] = append(now[i], make([]byte, need-len(now[i]))...)
			}
			now[i] = bytes.Clone(now[i])
			copy(now[i][off:], data)
		case 3:
			n := rng.IntN(len(now[i]) + 1)
			must(t, f.Truncate(int64(n)))
			now[i] = bytes.Clone(now[i][:n])
		case 4:
			must(t, f.Sync())
			durable[i] = bytes.Clone(now[i])
		case 5:
			must(t, f.Close())
			must(t, d.LosePower(rng, Loss{}))
			for j := range files {
				now[j] = bytes.Clone(durable[j])
			}
			f, err = os.OpenFile(name(i), os.O_RDWR, 0)
			must(t, err)
		}
		must(t, f.Close())
		for j := range files {
			if got := content(name(j)); got != string(now[j]) {
				t.Fatalf("step %d: file %d has %d bytes, the model %d", step, j, len(got), len(now[j]))
			}
		}
	}
}
