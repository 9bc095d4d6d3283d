package dledger

import (
	"sync"

	"github.com/stelemq/stele/internal/vfs"
)

// spaceGuard refuses appends before the disk is full, so that space never runs out in the middle of a write. It asks
// the file system only when what it granted since the last answer may have used up what was free.
type spaceGuard struct {
	fs      vfs.FS
	dir     string
	percent int64 // of the file system that stay free

	mu sync.Mutex
	// mu guards:
	allowance int64 // bytes that may still be granted without asking
	refusing  bool
}

// spaceReserveMin is what stays free at least: metadata, indexes and shutdown need it.
const spaceReserveMin = 8 << 20

// grant reports whether bytes may be appended. An append may be written twice (segment and journal), and a
// segment is preallocated ahead.
func (g *spaceGuard) grant(bytes int64) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	need := 2 * bytes
	if g.allowance < need {
		g.refreshLocked()
	}
	if g.allowance < need {
		g.refusing = true
		return false
	}
	g.allowance -= need
	g.refusing = false
	return true
}

func (g *spaceGuard) refreshLocked() {
	free, total, err := g.fs.Free(g.dir)
	if err != nil {
		return // the allowance stays: an append that really fails ends the process
	}
	reserve := max(int64(total)/100*g.percent, spaceReserveMin) //nolint:gosec // disks are below 2^63 bytes
	// Half of what is free beyond the reserve: others write to the disk, too.
	g.allowance = max((int64(free)-reserve)/2, 0) //nolint:gosec // disks are below 2^63 bytes
}

// low reports whether the last append was refused.
func (g *spaceGuard) low() bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.refusing
}
