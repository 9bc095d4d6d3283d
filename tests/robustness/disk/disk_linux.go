package disk

import (
	"errors"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"
)

// pageBytes is what is lost or kept as a whole.
const pageBytes = 4096

// Disk is the state of one disk. Its methods may be called concurrently.
type Disk struct {
	root  string // where the files are
	trash string // where deleted files wait for their directory to be synced

	mu sync.Mutex
	// mu guards:
	files map[uint64]*file // by inode: those with something that is not synced
	ops   []operation      // in directories, that are not synced
	kept  int              // names in trash
	fault Fault
	syncs int
	stats Stats
}

// Fault says what the disk refuses.
type Fault struct {
	// SyncDelay is how long each sync takes longer.
	SyncDelay time.Duration
	// FailSync is which sync from now on fails, from 1; 0: none. Only that one fails.
	FailSync int
	// ReadError is a part of paths of which no read succeeds; empty: none.
	ReadError string
	// IgnoreSyncs makes syncs do nothing and report success: a disk that lies.
	IgnoreSyncs bool
}

// Stats count what happened.
type Stats struct {
	Syncs, FailedSyncs, LostPages, LostOperations int
}

// file is a file with something that is not synced.
type file struct {
	f     *os.File
	size  int64 // durable
	pages map[int64]*page
}

// page is a page that is not synced.
type page struct {
	old  []byte // what stands on the disk, up to the durable length
	lost bool   // by a failed sync: only being written again brings it to the disk
}

// operation is something done in a directory.
type operation struct {
	dirs []string // any of which makes it durable when it is synced
	undo func() error
	done func() // when durable
}

// New makes a disk over the directory root, with its own files in trash, a directory beside it that it creates.
func New(root, trash string) (*Disk, error) {
	if err := os.MkdirAll(trash, 0o755); err != nil {
		return nil, fmt.Errorf("disk: %w", err)
	}
	return &Disk{root: root, trash: trash, files: map[uint64]*file{}}, nil
}

// SetFault replaces the fault. The zero Fault is a disk without one.
func (d *Disk) SetFault(f Fault) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.fault, d.syncs = f, 0
}

// Stats returns what happened so far.
func (d *Disk) Stats() Stats {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.stats
}

// open begins to keep what stands on the disk of a file. d.mu must be held.
func (d *Disk) open(path string, ino uint64) (*file, error) {
	if f := d.files[ino]; f != nil {
		return f, nil
	}
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		return nil, err
	}
	info, err := f.Stat()
	if err != nil {
		_ = f.Close()
		return nil, err
	}
	kept := &file{f: f, size: info.Size(), pages: map[int64]*page{}}
	d.files[ino] = kept
	return kept, nil
}

// keep keeps what stands on the disk in [from, to).
func (f *file) keep(from, to int64) error {
	for n := from / pageBytes; n*pageBytes < to; n++ {
		if p := f.pages[n]; p != nil {
			p.lost = false
			continue
		}
		p := &page{}
		if have := min(f.size-n*pageBytes, pageBytes); have > 0 {
			p.old = make([]byte, have)
			if _, err := f.f.ReadAt(p.old, n*pageBytes); err != nil && !errors.Is(err, io.EOF) {
				return err
			}
		}
		f.pages[n] = p
	}
	return nil
}

// write notes that bytes of a file are about to be written, and writes them by calling do.
func (d *Disk) write(path string, ino uint64, from, to int64, do func() error) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	f, err := d.open(path, ino)
	if err != nil {
		return err
	}
	if err := f.keep(from, to); err != nil {
		return err
	}
	return do()
}

// truncate is like write for a change of the length.
func (d *Disk) truncate(path string, ino uint64, size int64, do func() error) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	f, err := d.open(path, ino)
	if err != nil {
		return err
	}
	if size < f.size {
		if err := f.keep(size, f.size); err != nil {
			return err
		}
	}
	return do()
}

// sync makes a file durable.
func (d *Disk) sync(ino uint64) error {
	d.mu.Lock()
	delay := d.fault.SyncDelay
	d.mu.Unlock()
	time.Sleep(delay) //nolint:forbidigo // the disk is slow
	d.mu.Lock()
	defer d.mu.Unlock()
	f, err := d.files[ino], d.trySync()
	switch {
	case f == nil || d.fault.IgnoreSyncs:
		return err
	case err != nil:
		for _, p := range f.pages {
			p.lost = true
		}
		return err
	}
	for n, p := range f.pages {
		if !p.lost {
			delete(f.pages, n)
		}
	}
	info, err := f.f.Stat()
	if err != nil {
		return err
	}
	f.size = info.Size()
	if len(f.pages) == 0 {
		delete(d.files, ino)
		return f.f.Close()
	}
	return nil
}

// syncDir makes what was done in a directory durable.
func (d *Disk) syncDir(dir string) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if err := d.trySync(); err != nil || d.fault.IgnoreSyncs {
		return err
	}
	d.ops = slices.DeleteFunc(d.ops, func(o operation) bool {
		durable := slices.Contains(o.dirs, dir)
		if durable && o.done != nil {
			o.done()
		}
		return durable
	})
	return nil
}

func (d *Disk) trySync() error {
	d.syncs++
	d.stats.Syncs++
	if d.fault.FailSync == 0 || d.syncs != d.fault.FailSync {
		return nil
	}
	d.stats.FailedSyncs++
	return syscall.EIO
}

// created notes that path has appeared.
func (d *Disk) created(path string) {
	d.ops = append(d.ops, operation{dirs: []string{filepath.Dir(path)}, undo: func() error { return os.RemoveAll(path) }})
}

// remove removes a file by calling do, so that it can come back.
func (d *Disk) remove(path string, do func() error) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	back, forget, err := d.save(path)
	if err != nil {
		return err
	}
	if err := do(); err != nil {
		forget()
		return err
	}
	d.ops = append(d.ops, operation{dirs: []string{filepath.Dir(path)}, undo: back, done: forget})
	return nil
}

// save gives a file one more name, by which it can come back, if it is there.
func (d *Disk) save(path string) (back func() error, forget func(), err error) {
	name := filepath.Join(d.trash, fmt.Sprint(d.kept))
	d.kept++
	switch err := os.Link(path, name); {
	case errors.Is(err, os.ErrNotExist):
		return func() error { return nil }, func() {}, nil
	case err != nil:
		return nil, nil, err
	}
	return func() error { return os.Rename(name, path) }, func() { _ = os.Remove(name) }, nil
}

// rename renames a file or directory by calling do.
func (d *Disk) rename(from, to string, do func() error) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	back, forget := func() error { return nil }, func() {}
	if info, err := os.Lstat(to); err == nil && !info.IsDir() {
		if back, forget, err = d.save(to); err != nil {
			return err
		}
	}
	if err := do(); err != nil {
		forget()
		return err
	}
	d.ops = append(d.ops, operation{
		dirs: []string{filepath.Dir(from), filepath.Dir(to)},
		undo: func() error {
			if err := os.Rename(to, from); err != nil {
				return err
			}
			return back()
		},
		done: forget,
	})
	return nil
}

// unreadable reports whether reads of a file must fail.
func (d *Disk) unreadable(path string) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.fault.ReadError != "" && strings.Contains(path, d.fault.ReadError)
}

// Loss says what of the unsynced a power failure takes.
type Loss struct {
	// Keep is the share of pages and directory operations that reached the disk nevertheless, from 0 to 1.
	Keep float64
	// Tear cuts kept pages off at a random sector: what follows in them is old.
	Tear bool
}

// sectorBytes is what a disk writes as a whole.
const sectorBytes = 512

// LosePower takes back what was not synced. Nobody may use the disk meanwhile.
func (d *Disk) LosePower(rng *rand.Rand, loss Loss) error {
	keep := loss.Keep
	d.mu.Lock()
	defer d.mu.Unlock()
	var all error
	for ino, f := range d.files {
		all = errors.Join(all, d.loseFile(f, rng, loss), f.f.Close())
		delete(d.files, ino)
	}
	cut := 0
	if keep > 0 {
		cut = int(float64(len(d.ops)+1) * keep * rng.Float64())
	}
	cut = min(cut, len(d.ops))
	for _, o := range slices.Backward(d.ops[cut:]) {
		d.stats.LostOperations++
		// What was done may have been undone with its directory.
		if err := o.undo(); err != nil && !errors.Is(err, os.ErrNotExist) {
			all = errors.Join(all, err)
		}
	}
	for _, o := range d.ops[:cut] {
		if o.done != nil {
			o.done()
		}
	}
	d.ops = nil
	return all
}

// loseFile brings one file to what stands on the disk.
func (d *Disk) loseFile(f *file, rng *rand.Rand, loss Loss) error {
	info, err := f.f.Stat()
	if err != nil {
		return err
	}
	size := f.size
	if info.Size() < size && rng.Float64() < loss.Keep {
		size = info.Size() // the truncation has reached the disk
	}
	for _, n := range slices.Sorted(maps.Keys(f.pages)) {
		p, from := f.pages[n], n*pageBytes
		kept := int64(0)
		if now := info.Size() - from; now > 0 && !p.lost && rng.Float64() < loss.Keep {
			kept = min(now, pageBytes)
			if loss.Tear && rng.IntN(2) == 0 {
				kept = min(kept, sectorBytes*rng.Int64N(pageBytes/sectorBytes))
			}
		}
		if kept > 0 {
			size = max(size, from+kept)
		}
		if kept == pageBytes || kept > 0 && kept == info.Size()-from {
			continue
		}
		d.stats.LostPages++
		old := make([]byte, pageBytes)
		copy(old, p.old)
		if _, err := f.f.WriteAt(old[kept:], from+kept); err != nil {
			return err
		}
	}
	return f.f.Truncate(size)
}
