package vfstest

import (
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/stelemq/stele/internal/vfs"
)

// dropFS is a file system that says yes to some syncs and does nothing.
type dropFS struct {
	vfs.FS
	drop func(file string, stack []string) bool
}

type dropFile struct {
	vfs.File
	fs *dropFS
}

func (d *dropFS) Open(name string) (vfs.File, error)   { return d.wrap(d.FS.Open(name)) }
func (d *dropFS) Create(name string) (vfs.File, error) { return d.wrap(d.FS.Create(name)) }

func (d *dropFS) wrap(f vfs.File, err error) (vfs.File, error) {
	if err != nil {
		return nil, err
	}
	return &dropFile{f, d}, nil
}

func (d *dropFS) SyncDir(name string) error {
	if d.drop("dir:"+filepath.Base(name), Callers()) {
		return nil
	}
	return d.FS.SyncDir(name)
}

func (f *dropFile) Sync() error {
	if f.fs.drop(filepath.Base(f.Name()), Callers()) {
		return nil
	}
	return f.File.Sync()
}

// Callers are the functions of this module on the stack, innermost first, without their package.
func Callers() (out []string) {
	var pcs [40]uintptr
	frames := runtime.CallersFrames(pcs[:runtime.Callers(3, pcs[:])])
	for {
		f, more := frames.Next()
		if i := strings.LastIndexByte(f.Function, '/'); strings.Contains(f.Function, "stele/") {
			out = append(out, f.Function[i+1:])
		}
		if !more {
			return out
		}
	}
}

// Called reports whether a function, or a closure in it, is on the stack.
func Called(stack []string, name string) bool {
	return slices.ContainsFunc(stack, func(s string) bool { return s == name || strings.HasPrefix(s, name+".") })
}

// SyncMutant is a program without one kind of its sync calls. The test that it names must fail with it.
type SyncMutant struct {
	Name string
	// Drop picks the sync calls by the file's base name, "dir:" in front of a directory's, and the stack (Callers).
	Drop func(file string, stack []string) bool
	// Test runs with a seed, on file systems that it wraps.
	Test func(seed uint64, wrap func(vfs.FS) vfs.FS) error
}

// SyncIn picks the syncs of files with a suffix within one function, and not within others.
func SyncIn(suffix string, in string, not ...string) func(file string, stack []string) bool {
	return func(file string, stack []string) bool {
		if !strings.HasSuffix(file, suffix) || !Called(stack, in) {
			return false
		}
		for _, n := range not {
			if Called(stack, n) {
				return false
			}
		}
		return true
	}
}

// SyncDirIn picks the syncs of directories within one function, and not within others.
func SyncDirIn(in string, not ...string) func(file string, stack []string) bool {
	f := SyncIn("", in, not...)
	return func(file string, stack []string) bool { return strings.HasPrefix(file, "dir:") && f(file, stack) }
}

// RunSyncMutants fails for each mutant that survives 30 seeds of its test, or drops nothing.
func RunSyncMutants(t *testing.T, mutants []SyncMutant) {
	t.Helper()
	for _, m := range mutants {
		t.Run(m.Name, func(t *testing.T) {
			t.Parallel()
			var dropped atomic.Int64
			wrap := func(f vfs.FS) vfs.FS {
				return &dropFS{f, func(file string, stack []string) bool {
					drop := m.Drop(file, stack)
					if drop {
						dropped.Add(1)
					}
					return drop
				}}
			}
			var found error
			for seed := uint64(100); seed < 130 && found == nil; seed++ {
				found = m.Test(seed, wrap)
			}
			if found == nil || dropped.Load() == 0 {
				t.Errorf("survives; %d syncs were dropped", dropped.Load())
			}
			t.Logf("%d dropped: %v", dropped.Load(), found)
		})
	}
}
