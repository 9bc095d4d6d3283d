package vfs

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"
)

// memPage is the unit in which unsynced bytes are lost.
const memPage = 4096

// defaultMemCapacity is what Free reports as the size of a Mem.
const defaultMemCapacity = 1 << 40

// Mem is a file system in memory that knows what has been synced: [Mem.CrashClone] is what could be
// found after power loss. It enforces the rules of FS more strictly than a host does: a synced file
// whose name was not synced is lost, and unsynced names are lost one by one.
type Mem struct {
	mu sync.Mutex
	// mu guards:
	root     *memDir
	names    []nameOp // not yet durable, in order
	locks    map[string]bool
	capacity int64
	used     int64
}

var _ FS = (*Mem)(nil)

// NewMem returns an empty file system.
func NewMem() *Mem {
	return &Mem{root: newMemDir(), locks: make(map[string]bool), capacity: defaultMemCapacity}
}

// node is a *memDir or a *memInode.
type node any

type memDir struct {
	entries map[string]node // as seen now
	durable map[string]node // as after power loss
}

func newMemDir() *memDir {
	return &memDir{entries: make(map[string]node), durable: make(map[string]node)}
}

// nameOp is one change of names that is not durable yet: del and set happen together.
type nameOp struct {
	delDir, setDir   *memDir
	delName, setName string
	node             node
	label            string // path, for CrashClone's filter
}

func (o nameOp) touches(d *memDir) bool { return o.delDir == d || o.setDir == d }

// apply carries the operation out on the durable names.
func (o nameOp) apply() {
	if o.delDir != nil && (o.node == nil || o.delDir.durable[o.delName] == o.node) {
		delete(o.delDir.durable, o.delName)
	}
	if o.setDir != nil {
		o.setDir.durable[o.setName] = o.node
	}
}

// memInode is a file's content.
type memInode struct {
	name    string // the last name it had
	data    []byte
	durable []byte
	dirty   map[int64]struct{} // pages whose content differs from durable
	modTime time.Time
}

// SetCapacity sets the size of the file system; writes beyond it fail with ENOSPC.
func (m *Mem) SetCapacity(n int64) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.capacity = n
}

func pathError(op, name string, err error) error { return &fs.PathError{Op: op, Path: name, Err: err} }

func split(name string) (dir, base string) {
	name = path.Clean("/" + name)
	return path.Dir(name), path.Base(name)
}

func (m *Mem) dirLocked(name string) (*memDir, error) {
	d := m.root
	for p := range strings.SplitSeq(path.Clean("/"+name), "/") {
		if p == "" {
			continue
		}
		n, ok := d.entries[p]
		if !ok {
			return nil, fs.ErrNotExist
		}
		if d, ok = n.(*memDir); !ok {
			return nil, syscall.ENOTDIR
		}
	}
	return d, nil
}

// find returns the directory that holds name, and what name is (nil if absent).
func (m *Mem) findLocked(op, name string) (d *memDir, base string, n node, err error) {
	dir, base := split(name)
	d, err = m.dirLocked(dir)
	if err != nil {
		return nil, "", nil, pathError(op, name, err)
	}
	return d, base, d.entries[base], nil
}

// Open implements FS.
func (m *Mem) Open(name string) (File, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	_, _, n, err := m.findLocked("open", name)
	if err != nil {
		return nil, err
	}
	switch n := n.(type) {
	case *memInode:
		return &memFile{fs: m, inode: n, name: name}, nil
	case *memDir:
		return nil, pathError("open", name, syscall.EISDIR)
	default:
		return nil, pathError("open", name, fs.ErrNotExist)
	}
}

// Create implements FS.
func (m *Mem) Create(name string) (File, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	d, base, n, err := m.findLocked("create", name)
	if err != nil {
		return nil, err
	}
	switch n := n.(type) {
	case *memDir:
		return nil, pathError("create", name, syscall.EISDIR)
	case *memInode:
		m.resizeLocked(n, 0)
		return &memFile{fs: m, inode: n, name: name}, nil
	}
	i := &memInode{name: name, dirty: make(map[int64]struct{}), modTime: time.Now()}
	d.entries[base] = i
	m.names = append(m.names, nameOp{setDir: d, setName: base, node: i, label: name})
	return &memFile{fs: m, inode: i, name: name}, nil
}

// Remove implements FS.
func (m *Mem) Remove(name string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	d, base, n, err := m.findLocked("remove", name)
	if err != nil {
		return err
	}
	if n == nil {
		return pathError("remove", name, fs.ErrNotExist)
	}
	if sub, ok := n.(*memDir); ok && len(sub.entries) > 0 {
		return pathError("remove", name, syscall.ENOTEMPTY)
	}
	m.unlinkLocked(d, base, n, name)
	return nil
}

func (m *Mem) unlinkLocked(d *memDir, base string, n node, name string) {
	delete(d.entries, base)
	m.names = append(m.names, nameOp{delDir: d, delName: base, node: n, label: name})
	m.recountLocked()
}

// RemoveAll implements FS.
func (m *Mem) RemoveAll(name string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	d, base, n, err := m.findLocked("removeall", name)
	if errors.Is(err, fs.ErrNotExist) || (err == nil && n == nil) {
		return nil
	}
	if err != nil {
		return err
	}
	m.removeTreeLocked(d, base, n, name)
	return nil
}

func (m *Mem) removeTreeLocked(d *memDir, base string, n node, name string) {
	if sub, ok := n.(*memDir); ok {
		for _, k := range sortedKeys(sub.entries) {
			m.removeTreeLocked(sub, k, sub.entries[k], path.Join(name, k))
		}
	}
	m.unlinkLocked(d, base, n, name)
}

// Rename implements FS.
func (m *Mem) Rename(oldName, newName string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	od, ob, n, err := m.findLocked("rename", oldName)
	if err != nil {
		return err
	}
	if n == nil {
		return pathError("rename", oldName, fs.ErrNotExist)
	}
	nd, nb, target, err := m.findLocked("rename", newName)
	if err != nil {
		return err
	}
	if sub, ok := target.(*memDir); ok {
		if _, isDir := n.(*memDir); !isDir || len(sub.entries) > 0 {
			return pathError("rename", newName, fs.ErrExist)
		}
	}
	delete(od.entries, ob)
	nd.entries[nb] = n
	if i, ok := n.(*memInode); ok {
		i.name = newName
	}
	m.names = append(m.names, nameOp{delDir: od, delName: ob, setDir: nd, setName: nb, node: n, label: newName})
	m.recountLocked()
	return nil
}

// Link implements FS.
func (m *Mem) Link(oldName, newName string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	_, _, n, err := m.findLocked("link", oldName)
	if err != nil {
		return err
	}
	i, ok := n.(*memInode)
	if !ok {
		return pathError("link", oldName, fs.ErrNotExist)
	}
	d, base, target, err := m.findLocked("link", newName)
	if err != nil {
		return err
	}
	if target != nil {
		return pathError("link", newName, fs.ErrExist)
	}
	d.entries[base] = i
	m.names = append(m.names, nameOp{setDir: d, setName: base, node: i, label: newName})
	return nil
}

// MkdirAll implements FS.
func (m *Mem) MkdirAll(name string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	d, at := m.root, ""
	for p := range strings.SplitSeq(path.Clean("/"+name), "/") {
		if p == "" {
			continue
		}
		at = path.Join(at, p)
		n, ok := d.entries[p]
		if !ok {
			sub := newMemDir()
			d.entries[p] = sub
			m.names = append(m.names, nameOp{setDir: d, setName: p, node: sub, label: "/" + at})
			d = sub
			continue
		}
		if d, ok = n.(*memDir); !ok {
			return pathError("mkdir", name, syscall.ENOTDIR)
		}
	}
	return nil
}

// ReadDir implements FS.
func (m *Mem) ReadDir(name string) ([]string, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	d, err := m.dirLocked(name)
	if err != nil {
		return nil, pathError("readdir", name, err)
	}
	return sortedKeys(d.entries), nil
}

// Stat implements FS.
func (m *Mem) Stat(name string) (fs.FileInfo, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if path.Clean("/"+name) == "/" {
		return memInfo{name: "/", dir: true}, nil
	}
	_, base, n, err := m.findLocked("stat", name)
	if err != nil {
		return nil, err
	}
	switch n := n.(type) {
	case *memInode:
		return memInfo{name: base, size: int64(len(n.data)), mod: n.modTime}, nil
	case *memDir:
		return memInfo{name: base, dir: true}, nil
	default:
		return nil, pathError("stat", name, fs.ErrNotExist)
	}
}

// SyncDir implements FS.
func (m *Mem) SyncDir(name string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	d, err := m.dirLocked(name)
	if err != nil {
		return pathError("syncdir", name, err)
	}
	m.names = slices.DeleteFunc(m.names, func(o nameOp) bool {
		if o.touches(d) {
			o.apply()
			return true
		}
		return false
	})
	return nil
}

// Lock implements FS.
func (m *Mem) Lock(name string) (func() error, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	key := path.Clean("/" + name)
	d, base, n, err := m.findLocked("lock", name)
	if err != nil {
		return nil, err
	}
	if m.locks[key] {
		return nil, fmt.Errorf("%s: %w", name, ErrLocked)
	}
	if n == nil {
		i := &memInode{name: name, dirty: make(map[int64]struct{}), modTime: time.Now()}
		d.entries[base] = i
		m.names = append(m.names, nameOp{setDir: d, setName: base, node: i, label: name})
	}
	m.locks[key] = true
	return func() error {
		m.mu.Lock()
		defer m.mu.Unlock()
		delete(m.locks, key)
		return nil
	}, nil
}

// Free implements FS.
func (m *Mem) Free(string) (available, total uint64, err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return uint64(max(m.capacity-m.used, 0)), uint64(m.capacity), nil //nolint:gosec // never negative
}

// recountLocked computes the bytes in use anew after names have gone.
func (m *Mem) recountLocked() {
	seen := make(map[*memInode]struct{})
	var walk func(d *memDir) int64
	walk = func(d *memDir) (sum int64) {
		for _, n := range d.entries {
			switch n := n.(type) {
			case *memDir:
				sum += walk(n)
			case *memInode:
				if _, ok := seen[n]; !ok {
					seen[n] = struct{}{}
					sum += int64(len(n.data))
				}
			}
		}
		return sum
	}
	m.used = walk(m.root)
}

// resizeLocked sets a file's size; new bytes are zero.
func (m *Mem) resizeLocked(i *memInode, size int64) {
	old := int64(len(i.data))
	m.used += size - old
	if size <= old {
		i.data = i.data[:size]
		for p := size / memPage; p <= old/memPage; p++ {
			i.dirty[p] = struct{}{}
		}
		return
	}
	i.data = slices.Grow(i.data, int(size-old))[:size]
	clear(i.data[old:])
	for p := old / memPage; p <= (size-1)/memPage; p++ {
		i.dirty[p] = struct{}{}
	}
}

func sortedKeys(m map[string]node) []string {
	ks := make([]string, 0, len(m))
	for k := range m {
		ks = append(ks, k)
	}
	slices.Sort(ks)
	return ks
}

type memInfo struct {
	name string
	size int64
	mod  time.Time
	dir  bool
}

func (i memInfo) Name() string       { return i.name }
func (i memInfo) Size() int64        { return i.size }
func (i memInfo) ModTime() time.Time { return i.mod }
func (i memInfo) IsDir() bool        { return i.dir }
func (i memInfo) Sys() any           { return nil }
func (i memInfo) Mode() fs.FileMode {
	if i.dir {
		return fs.ModeDir | 0o755
	}
	return 0o644
}

// memFile is an open file: it stays usable after its name is gone.
type memFile struct {
	fs     *Mem
	inode  *memInode
	name   string
	closed bool // fs.mu guards
}

func (f *memFile) lock(op string) error {
	f.fs.mu.Lock()
	if f.closed {
		f.fs.mu.Unlock()
		return pathError(op, f.name, os.ErrClosed)
	}
	return nil
}

func (f *memFile) ReadAt(p []byte, off int64) (int, error) {
	if err := f.lock("read"); err != nil {
		return 0, err
	}
	defer f.fs.mu.Unlock()
	if off < 0 {
		return 0, pathError("read", f.name, fs.ErrInvalid)
	}
	if off >= int64(len(f.inode.data)) {
		return 0, io.EOF
	}
	n := copy(p, f.inode.data[off:])
	if n < len(p) {
		return n, io.EOF
	}
	return n, nil
}

func (f *memFile) WriteAt(p []byte, off int64) (int, error) {
	if err := f.lock("write"); err != nil {
		return 0, err
	}
	defer f.fs.mu.Unlock()
	return f.writeLocked(p, off)
}

func (f *memFile) writeLocked(p []byte, off int64) (int, error) {
	if off < 0 {
		return 0, pathError("write", f.name, fs.ErrInvalid)
	}
	if len(p) == 0 {
		return 0, nil
	}
	i, end := f.inode, off+int64(len(p))
	if size := int64(len(i.data)); end > size {
		if f.fs.used+end-size > f.fs.capacity {
			return 0, pathError("write", f.name, syscall.ENOSPC)
		}
		f.fs.resizeLocked(i, end)
	}
	copy(i.data[off:], p)
	for pg := off / memPage; pg <= (end-1)/memPage; pg++ {
		i.dirty[pg] = struct{}{}
	}
	i.modTime = time.Now()
	return len(p), nil
}

func (f *memFile) WriteVec(v [][]byte, off int64) (int64, error) {
	if err := f.lock("write"); err != nil {
		return 0, err
	}
	defer f.fs.mu.Unlock()
	var total int64
	for _, b := range v {
		n, err := f.writeLocked(b, off+total)
		total += int64(n)
		if err != nil {
			return total, err
		}
	}
	return total, nil
}

func (f *memFile) Sync() error {
	if err := f.lock("sync"); err != nil {
		return err
	}
	defer f.fs.mu.Unlock()
	f.inode.sync()
	return nil
}

func (i *memInode) sync() {
	size := len(i.data)
	if size <= len(i.durable) {
		i.durable = i.durable[:size]
	} else {
		i.durable = append(i.durable, make([]byte, size-len(i.durable))...)
	}
	for pg := range i.dirty {
		if at := int(pg * memPage); at < size {
			copy(i.durable[at:min(at+memPage, size)], i.data[at:])
		}
	}
	clear(i.dirty)
}

func (f *memFile) Truncate(size int64) error {
	if err := f.lock("truncate"); err != nil {
		return err
	}
	defer f.fs.mu.Unlock()
	if size < 0 {
		return pathError("truncate", f.name, fs.ErrInvalid)
	}
	f.fs.resizeLocked(f.inode, size)
	return nil
}

// Preallocate does nothing: a Mem has no blocks, and capacity counts bytes written.
func (f *memFile) Preallocate(_, _ int64) error {
	if err := f.lock("fallocate"); err != nil {
		return err
	}
	f.fs.mu.Unlock()
	return nil
}

func (f *memFile) Size() (int64, error) {
	if err := f.lock("stat"); err != nil {
		return 0, err
	}
	defer f.fs.mu.Unlock()
	return int64(len(f.inode.data)), nil
}

func (f *memFile) Name() string { return f.name }

func (f *memFile) Close() error {
	if err := f.lock("close"); err != nil {
		return err
	}
	defer f.fs.mu.Unlock()
	f.closed = true
	return nil
}
