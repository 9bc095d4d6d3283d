package vfs

import (
	"errors"
	"io/fs"
	"sync"
)

// Op is a set of kinds of operations.
type Op uint32

// Kinds of operations, to be or-ed.
const (
	OpOpen Op = 1 << iota
	OpCreate
	OpRemove
	OpRename
	OpLink
	OpMkdir
	OpReadDir
	OpStat
	OpSyncDir
	OpRead
	OpWrite
	OpSync
	OpTruncate
	OpPreallocate
	OpLock

	// OpMutating are all operations that change something or make it durable.
	OpMutating = OpCreate | OpRemove | OpRename | OpLink | OpMkdir | OpSyncDir | OpWrite | OpSync | OpTruncate | OpPreallocate
	// OpAll are all operations.
	OpAll Op = 1<<15 - 1
)

// ErrInjected is the error of a failure without one of its own.
var ErrInjected = errors.New("vfs: injected error")

// Fault is a planned failure.
type Fault struct {
	// Kinds are the operations counted.
	Kinds Op
	// N is the operation that fails, counted from 0.
	N int64
	// Stay makes every counted operation after it fail too, as if the process had ended there.
	Stay bool
	// Torn writes the first half of the bytes of a failing write.
	Torn bool
	// Match limits the fault to paths for which it returns true; nil means all.
	Match func(name string) bool
	// Err is what the operation returns; ErrInjected if nil.
	Err error
}

// ErrFS passes everything on to another file system, counts, and fails the planned operation.
type ErrFS struct {
	fs FS

	mu sync.Mutex
	// mu guards:
	fault  *Fault
	seen   int64
	failed int64
	counts map[Op]int64
}

var _ FS = (*ErrFS)(nil)

// NewErrFS wraps a file system.
func NewErrFS(fsys FS) *ErrFS { return &ErrFS{fs: fsys, counts: make(map[Op]int64)} }

// Plan sets the failure to come and starts counting for it anew; nil plans none.
func (e *ErrFS) Plan(f *Fault) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.fault, e.seen, e.failed = f, 0, 0
}

// Failed is how many operations have failed since Plan.
func (e *ErrFS) Failed() int64 {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.failed
}

// Count is how many operations of the kinds have been asked for since NewErrFS.
func (e *ErrFS) Count(kinds Op) (n int64) {
	e.mu.Lock()
	defer e.mu.Unlock()
	for k, c := range e.counts {
		if k&kinds != 0 {
			n += c
		}
	}
	return n
}

// step counts an operation and says whether it fails.
func (e *ErrFS) step(k Op, name string) (torn bool, err error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.counts[k]++
	f := e.fault
	if f == nil || f.Kinds&k == 0 || (f.Match != nil && !f.Match(name)) {
		return false, nil
	}
	at := e.seen
	e.seen++
	if at < f.N || (at > f.N && !f.Stay) {
		return false, nil
	}
	e.failed++
	if f.Err != nil {
		return f.Torn && at == f.N, f.Err
	}
	return f.Torn && at == f.N, ErrInjected
}

func (e *ErrFS) do(k Op, name string, f func() error) error {
	if _, err := e.step(k, name); err != nil {
		return err
	}
	return f()
}

// Open implements FS.
func (e *ErrFS) Open(name string) (File, error) { return e.open(OpOpen, name, e.fs.Open) }

// Create implements FS.
func (e *ErrFS) Create(name string) (File, error) { return e.open(OpCreate, name, e.fs.Create) }

func (e *ErrFS) open(k Op, name string, open func(string) (File, error)) (File, error) {
	if _, err := e.step(k, name); err != nil {
		return nil, err
	}
	f, err := open(name)
	if err != nil {
		return nil, err
	}
	return &errFile{File: f, fs: e}, nil
}

// Remove implements FS.
func (e *ErrFS) Remove(name string) error {
	return e.do(OpRemove, name, func() error { return e.fs.Remove(name) })
}

// RemoveAll implements FS.
func (e *ErrFS) RemoveAll(name string) error {
	return e.do(OpRemove, name, func() error { return e.fs.RemoveAll(name) })
}

// Rename implements FS.
func (e *ErrFS) Rename(oldName, newName string) error {
	return e.do(OpRename, newName, func() error { return e.fs.Rename(oldName, newName) })
}

// Link implements FS.
func (e *ErrFS) Link(oldName, newName string) error {
	return e.do(OpLink, newName, func() error { return e.fs.Link(oldName, newName) })
}

// MkdirAll implements FS.
func (e *ErrFS) MkdirAll(name string) error {
	return e.do(OpMkdir, name, func() error { return e.fs.MkdirAll(name) })
}

// ReadDir implements FS.
func (e *ErrFS) ReadDir(name string) (names []string, err error) {
	err = e.do(OpReadDir, name, func() (err error) { names, err = e.fs.ReadDir(name); return err })
	return names, err
}

// Stat implements FS.
func (e *ErrFS) Stat(name string) (fi fs.FileInfo, err error) {
	err = e.do(OpStat, name, func() (err error) { fi, err = e.fs.Stat(name); return err })
	return fi, err
}

// SyncDir implements FS.
func (e *ErrFS) SyncDir(name string) error {
	return e.do(OpSyncDir, name, func() error { return e.fs.SyncDir(name) })
}

// Lock implements FS.
func (e *ErrFS) Lock(name string) (unlock func() error, err error) {
	err = e.do(OpLock, name, func() (err error) { unlock, err = e.fs.Lock(name); return err })
	return unlock, err
}

// Free implements FS.
func (e *ErrFS) Free(name string) (available, total uint64, err error) { return e.fs.Free(name) } //nolint:wrapcheck // passed on

type errFile struct {
	File
	fs *ErrFS
}

func (f *errFile) ReadAt(p []byte, off int64) (int, error) {
	if _, err := f.fs.step(OpRead, f.Name()); err != nil {
		return 0, err
	}
	return f.File.ReadAt(p, off) //nolint:wrapcheck // passed on
}

func (f *errFile) WriteAt(p []byte, off int64) (int, error) {
	torn, err := f.fs.step(OpWrite, f.Name())
	if err == nil {
		return f.File.WriteAt(p, off) //nolint:wrapcheck // passed on
	}
	n := 0
	if torn {
		n, _ = f.File.WriteAt(p[:len(p)/2], off)
	}
	return n, err
}

func (f *errFile) WriteVec(v [][]byte, off int64) (int64, error) {
	torn, err := f.fs.step(OpWrite, f.Name())
	if err == nil {
		return f.File.WriteVec(v, off) //nolint:wrapcheck // passed on
	}
	if !torn {
		return 0, err
	}
	var all []byte
	for _, b := range v {
		all = append(all, b...)
	}
	n, _ := f.File.WriteAt(all[:len(all)/2], off)
	return int64(n), err
}

func (f *errFile) Sync() error { return f.fs.do(OpSync, f.Name(), f.File.Sync) }

func (f *errFile) Truncate(size int64) error {
	return f.fs.do(OpTruncate, f.Name(), func() error { return f.File.Truncate(size) })
}

func (f *errFile) Preallocate(off, length int64) error {
	return f.fs.do(OpPreallocate, f.Name(), func() error { return f.File.Preallocate(off, length) })
}
