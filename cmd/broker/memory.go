package main

import (
	"os"
	"path/filepath"
	"runtime/debug"
	"strconv"
	"strings"

	"github.com/stelemq/stele/internal/config"
)

// limitMemory sets the soft limit of the Go runtime and returns it; 0 if there is none.
func limitMemory(setting config.Size) config.Size {
	const auto, off = -1, 0
	limit := int64(setting)
	switch {
	case limit == off:
		return 0
	case limit == auto:
		if os.Getenv("GOMEMLIMIT") != "" {
			return 0 // the runtime follows it already
		}
		limit = cgroupLimit("/sys/fs/cgroup", "/proc/self/cgroup") / 10 * 9
		if limit == 0 {
			return 0
		}
	}
	debug.SetMemoryLimit(limit)
	return config.Size(limit)
}

// cgroupLimit is the least memory limit of the process's control group (version 2) and those above it; 0 if there
// is none.
func cgroupLimit(mount, self string) int64 {
	text, err := os.ReadFile(self) //nolint:gosec // a file of the kernel
	if err != nil {
		return 0
	}
	path, ok := "", false
	for line := range strings.Lines(string(text)) {
		if path, ok = strings.CutPrefix(strings.TrimSpace(line), "0::"); ok {
			break
		}
	}
	if !ok {
		return 0
	}
	least := int64(0)
	for dir := filepath.Clean("/" + path); ; dir = filepath.Dir(dir) {
		text, err := os.ReadFile(filepath.Join(mount, dir, "memory.max")) //nolint:gosec // as above
		if err == nil {
			if n, err := strconv.ParseInt(strings.TrimSpace(string(text)), 10, 64); err == nil && (least == 0 || n < least) {
				least = n
			}
		}
		if dir == "/" {
			return least
		}
	}
}
