package commitlog

import (
	"fmt"
	"sync"
	"sync/atomic"

	"github.com/stelemq/stele/internal/vfs"
)

// defaultOpenFiles bounds the files of closed segments that a log without a shared cache keeps open.
const defaultOpenFiles = 16

// FileCache bounds how many files of closed segments are open; the one longest unused is closed
// first. Files that are being written or have not been synced do not count. Safe for concurrent use;
// one cache may serve many logs.
type FileCache struct {
	max   int
	clock atomic.Int64

	mu sync.Mutex
	// mu guards:
	open map[*lazyFile]struct{}
}

// NewFileCache returns a cache of at most n open files (at least 1).
func NewFileCache(n int) *FileCache {
	return &FileCache{max: max(n, 1), open: make(map[*lazyFile]struct{})}
}

// Open is how many files the cache keeps open now.
func (c *FileCache) Open() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.open)
}

// add notes that f has been opened, and closes others above the bound.
func (c *FileCache) add(f *lazyFile) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.open[f] = struct{}{}
	for len(c.open) > c.max {
		var oldest *lazyFile
		for g := range c.open {
			if g != f && (oldest == nil || g.used.Load() < oldest.used.Load()) {
				oldest = g
			}
		}
		if oldest == nil {
			return
		}
		delete(c.open, oldest)
		oldest.retire()
	}
}

func (c *FileCache) drop(f *lazyFile) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.open, f)
}

// lazyFile is a file that is opened when it is used and may be closed when it is not. A pinned file
// stays open until it is unpinned.
//
// Lock order: FileCache.mu before lazyFile.mu.
type lazyFile struct {
	fs    vfs.FS
	path  string
	cache *FileCache
	used  atomic.Int64

	mu sync.Mutex
	// mu guards:
	f       vfs.File
	refs    int
	pins    int
	retired bool // close when the last reference goes
	gone    bool // the name is another file's now: it is never opened again
}

func newLazyFile(fsys vfs.FS, path string, cache *FileCache) *lazyFile {
	return &lazyFile{fs: fsys, path: path, cache: cache}
}

// acquire opens the file if need be; every success is followed by one release.
func (l *lazyFile) acquire() (vfs.File, error) {
	l.used.Store(l.cache.clock.Add(1))
	l.mu.Lock()
	if l.gone {
		l.mu.Unlock()
		return nil, errReplaced
	}
	if l.f != nil {
		l.refs++
		f := l.f
		l.mu.Unlock()
		return f, nil
	}
	f, err := l.fs.Open(l.path)
	if err != nil {
		l.mu.Unlock()
		return nil, fmt.Errorf("open: %w", err)
	}
	l.f, l.retired = f, false
	l.refs++
	cached := l.pins == 0
	l.mu.Unlock()
	if cached {
		l.cache.add(l)
	}
	return f, nil
}

func (l *lazyFile) release() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.refs--
	l.closeIdleLocked()
}

// closeIdleLocked closes a retired file that nobody uses.
func (l *lazyFile) closeIdleLocked() {
	if l.retired && l.refs == 0 && l.pins == 0 && l.f != nil {
		_ = l.f.Close() // nothing is buffered in a descriptor, and what must be durable has been synced
		l.f, l.retired = nil, false
	}
}

// retire closes the file as soon as nobody uses it.
func (l *lazyFile) retire() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.retired = true
	l.closeIdleLocked()
}

// retireForGood has the file closed as soon as nobody uses it, and never opened again.
func (l *lazyFile) retireForGood() {
	l.cache.drop(l)
	l.mu.Lock()
	defer l.mu.Unlock()
	l.pins, l.retired, l.gone = 0, true, true
	l.closeIdleLocked()
}

// pin keeps the file open, taking f over if it is given.
func (l *lazyFile) pin(f vfs.File) {
	l.cache.drop(l)
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.f == nil {
		l.f = f
	}
	l.pins++
	l.retired = false
}

// unpin gives the file back to the cache.
func (l *lazyFile) unpin() {
	l.mu.Lock()
	l.pins--
	cached := l.pins == 0 && l.f != nil
	l.mu.Unlock()
	if cached {
		l.cache.add(l)
	}
}

// close drops the pins and closes the file once nobody uses it.
func (l *lazyFile) close() {
	l.cache.drop(l)
	l.mu.Lock()
	defer l.mu.Unlock()
	l.pins = 0
	l.retired = true
	l.closeIdleLocked()
}
