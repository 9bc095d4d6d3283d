package commitlog_test

import (
	"bytes"
	"math"
	"slices"
	"testing"

	"github.com/stelemq/stele/commitlog"
	"github.com/stelemq/stele/internal/vfs"
	"github.com/stelemq/stele/protocol/record"
)

func TestFileCache_BoundsOpenFilesOfManyLogs(t *testing.T) {
	cache := commitlog.NewFileCache(4)
	fs := newFS(t)
	o := options(fs)
	o.Files, o.SegmentBytes = cache, 1000
	b := batch(t, 10, 800, 1, nil)
	l := create(t, o)
	for range 30 {
		appendOne(t, l, b, 1)
	}
	if cache.Open() != 0 {
		t.Fatalf("%d files count before a sync: they must stay open", cache.Open())
	}
	must(t, l.Sync())
	for from := record.Offset(290); from >= 0; from -= 10 {
		out, err := l.Read(nil, from+5, math.MaxInt64, 1, true)
		must(t, err)
		if len(out) != len(b) {
			t.Fatalf("read %d bytes at %d", len(out), from)
		}
		if _, err := l.OffsetForTimestamp(5, math.MaxInt64); err != nil {
			t.Fatal(err)
		}
		if n := cache.Open(); n > 4 {
			t.Fatalf("%d files open", n)
		}
	}
	must(t, l.Close())
	if cache.Open() != 0 {
		t.Fatalf("%d files open after Close", cache.Open())
	}
}

func TestIdleLog_HasTwoSmallFiles(t *testing.T) {
	fs := newFS(t)
	must(t, create(t, options(fs)).Close())
	names, err := fs.ReadDir(testDir)
	must(t, err)
	if len(names) != 2 || len(fileBytes(t, fs, firstLog)) != 0 {
		t.Fatalf("files %v", names)
	}
	l := finish(t, options(fs), commitlog.End{}, 0)
	appendOne(t, l, batch(t, 1, 10, 1, nil), 1)
	must(t, l.Sync())
	if names, err = fs.ReadDir(testDir); err != nil || len(names) != 2 {
		t.Fatalf("files after an append: %v %v", names, err)
	}
}

// TestClose_EverythingIsDurable compares a closed directory with what a power loss leaves of it.
func TestClose_EverythingIsDurable(t *testing.T) {
	for _, n := range []int{0, 1, 30} {
		fs := newFS(t)
		o := options(fs)
		o.SegmentBytes = 3000
		l := create(t, o)
		for range n {
			appendOne(t, l, batch(t, 10, 800, 1, &producer{id: 1}), 1)
		}
		must(t, l.Close())
		want, err := fs.ReadDir(testDir)
		must(t, err)
		left := fs.CrashClone(vfs.Crash{})
		got, err := left.ReadDir(testDir)
		must(t, err)
		if !slices.Equal(got, want) {
			t.Fatalf("%d batches: left %v of %v", n, got, want)
		}
		for _, name := range want {
			if !bytes.Equal(fileBytes(t, left, testDir+"/"+name), fileBytes(t, fs, testDir+"/"+name)) {
				t.Fatalf("%d batches: %s", n, name)
			}
		}
	}
}
