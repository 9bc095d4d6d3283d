package rig

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"syscall"
)

const (
	dirName = "stele-robustness-"
	// keptFile marks a directory that is kept for inspection.
	keptFile = "KEPT"
)

// dirPrefix is for MkdirTemp: it names the process that will remove the directory.
func dirPrefix() string { return fmt.Sprintf("%s%d-", dirName, os.Getpid()) }

// removeLeftovers removes the directories of runs that ended without doing so.
func removeLeftovers(temp string) {
	name := regexp.MustCompile("^" + dirName + `(\d+)-`)
	entries, err := os.ReadDir(temp)
	if err != nil {
		return
	}
	for _, e := range entries {
		m := name.FindStringSubmatch(e.Name())
		if m == nil {
			continue
		}
		path := filepath.Join(temp, e.Name())
		if _, err := os.Stat(filepath.Join(path, keptFile)); err == nil {
			continue
		}
		if pid, err := strconv.Atoi(m[1]); err == nil && syscall.Kill(pid, 0) == syscall.ESRCH {
			_ = os.RemoveAll(path)
		}
	}
}
