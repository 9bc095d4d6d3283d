package vfs

import (
	"maps"
	"math/rand/v2"
	"path"
	"slices"
)

// Crash says what of the unsynced state survives a power loss. What was synced always does.
type Crash struct {
	// KeepPercent is the chance, 0 to 100, that an unsynced page, size or name survives. Each is drawn on its own.
	KeepPercent int
	// Prefix keeps, instead of each page on its own, the first pages of each file up to a drawn one, and
	// the first names of all.
	Prefix bool
	// Lossy limits the loss to the files and names for which it returns true; everything else survives
	// whole. nil means all. It gets the path.
	Lossy func(name string) bool
	// Rand draws; it may be nil where KeepPercent is 0 or 100 and Prefix is not set.
	Rand *rand.Rand
}

func (c *Crash) lossy(name string) bool { return c.Lossy == nil || c.Lossy(name) }

func (c *Crash) keep() bool {
	switch {
	case c.KeepPercent <= 0:
		return false
	case c.KeepPercent >= 100:
		return true
	default:
		return c.Rand.IntN(100) < c.KeepPercent
	}
}

// CrashClone returns the file system as it could be found after a power loss now: unsynced writes are
// lost page by page (4 KiB) or kept, unsynced sizes and names likewise. Everything in the clone is
// durable. The receiver is not changed.
func (m *Mem) CrashClone(c Crash) *Mem {
	m.mu.Lock()
	defer m.mu.Unlock()
	// The names: apply the surviving operations, in order, to a copy of the durable ones.
	dirs := make(map[*memDir]*memDir)
	durableCopy(m.root, dirs)
	for i := range m.names {
		durableCopyNode(m.names[i].node, dirs)
		durableCopyDir(m.names[i].delDir, dirs)
		durableCopyDir(m.names[i].setDir, dirs)
	}
	cut := len(m.names)
	if c.Prefix && c.Rand != nil {
		cut = c.Rand.IntN(len(m.names) + 1)
	}
	for i, o := range m.names {
		kept := true
		if c.lossy(o.label) {
			kept = i < cut
			if !c.Prefix {
				kept = c.keep()
			}
		}
		if kept {
			applyTo(o, dirs)
		}
	}
	// The content of every file that still has a name.
	out := NewMem()
	out.capacity = m.capacity
	files := make(map[*memInode]*memInode)
	out.root = c.build(dirs[m.root], dirs, files)
	out.recountLocked()
	return out
}

// durableCopy copies the durable names of d and below into dirs; entries still point to the old nodes.
func durableCopy(d *memDir, dirs map[*memDir]*memDir) {
	if _, ok := dirs[d]; ok {
		return
	}
	dirs[d] = &memDir{durable: maps.Clone(d.durable)}
	for _, n := range d.durable {
		durableCopyNode(n, dirs)
	}
}

func durableCopyNode(n node, dirs map[*memDir]*memDir) {
	if sub, ok := n.(*memDir); ok {
		durableCopy(sub, dirs)
	}
}

func durableCopyDir(d *memDir, dirs map[*memDir]*memDir) {
	if d != nil {
		durableCopy(d, dirs)
	}
}

func applyTo(o nameOp, dirs map[*memDir]*memDir) {
	if o.delDir != nil {
		o.delDir = dirs[o.delDir]
	}
	if o.setDir != nil {
		o.setDir = dirs[o.setDir]
	}
	o.apply()
}

func (c *Crash) build(d *memDir, dirs map[*memDir]*memDir, files map[*memInode]*memInode) *memDir {
	out := newMemDir()
	for _, k := range sortedKeys(d.durable) {
		var n node
		switch old := d.durable[k].(type) {
		case *memDir:
			n = c.build(dirs[old], dirs, files)
		case *memInode:
			if files[old] == nil {
				files[old] = c.survive(old, path.Join("/", k))
			}
			n = files[old]
		}
		out.entries[k], out.durable[k] = n, n
	}
	return out
}

// survive returns a file as it is found after the loss.
func (c *Crash) survive(i *memInode, name string) *memInode {
	out := &memInode{name: i.name, dirty: make(map[int64]struct{}), modTime: i.modTime}
	if !c.lossy(i.name) && !c.lossy(name) {
		out.data = slices.Clone(i.data)
		out.durable = slices.Clone(i.data)
		return out
	}
	pages := slices.Sorted(maps.Keys(i.dirty))
	cut := len(pages)
	if c.Prefix && c.Rand != nil {
		cut = c.Rand.IntN(len(pages) + 1)
	}
	size := len(i.durable)
	grown := len(i.data) > size
	if !grown && len(i.data) < size && (c.Prefix && cut == len(pages) || !c.Prefix && c.keep()) {
		size = len(i.data)
	}
	data := make([]byte, max(len(i.data), len(i.durable)))
	copy(data, i.durable)
	for k, pg := range pages {
		kept := k < cut
		if !c.Prefix {
			kept = c.keep()
		}
		at := int(pg * memPage)
		if !kept || at >= len(i.data) {
			continue
		}
		end := min(at+memPage, len(i.data))
		copy(data[at:end], i.data[at:])
		if grown {
			size = max(size, end) // a page cannot survive without the size that covers it
		}
	}
	if grown && !c.Prefix && c.keep() {
		size = len(i.data) // the size without all its bytes: zeros
	}
	out.data = slices.Clone(data[:size])
	out.durable = slices.Clone(data[:size])
	return out
}

// Unsynced counts what a power loss now could take: dirty pages of named files, and names.
func (m *Mem) Unsynced() (pages, names int) {
	m.mu.Lock()
	defer m.mu.Unlock()
	seen := make(map[*memInode]struct{})
	var walk func(d *memDir)
	walk = func(d *memDir) {
		for _, n := range d.entries {
			switch n := n.(type) {
			case *memDir:
				walk(n)
			case *memInode:
				if _, ok := seen[n]; !ok {
					seen[n] = struct{}{}
					pages += len(n.dirty)
				}
			}
		}
	}
	walk(m.root)
	return pages, len(m.names)
}
