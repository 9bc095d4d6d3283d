package main

import (
	"bufio"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
)

// checkFree reports an address that somebody else listens on, with who that is and what to do. Other errors are
// left to the real listener.
func checkFree(address, remedy string) error {
	l, err := net.Listen("tcp", address) //nolint:noctx // closed at once
	if err == nil {
		return l.Close() //nolint:wrapcheck // does not fail
	}
	if !errors.Is(err, syscall.EADDRINUSE) {
		return nil
	}
	return busyError(address, remedy)
}

func busyError(address, remedy string) error {
	who := "by another process"
	if _, portText, err := net.SplitHostPort(address); err == nil {
		if port, err := strconv.Atoi(portText); err == nil {
			if pid, name := portHolder("/proc", port); pid > 0 {
				who = fmt.Sprintf("by pid %d (%s)", pid, name)
			}
		}
	}
	return fmt.Errorf("listen %s: already in use %s. Stop it or %s", address, who, remedy)
}

// portHolder finds the process that listens on a TCP port by what /proc tells; 0 if it cannot be found.
func portHolder(proc string, port int) (pid int, name string) {
	inodes := map[string]bool{}
	for _, table := range []string{"net/tcp", "net/tcp6"} {
		listeningInodes(filepath.Join(proc, table), port, inodes)
	}
	if len(inodes) == 0 {
		return 0, ""
	}
	processes, err := os.ReadDir(proc)
	if err != nil {
		return 0, ""
	}
	for _, p := range processes {
		pid, err := strconv.Atoi(p.Name())
		if err != nil || !holdsSocket(filepath.Join(proc, p.Name(), "fd"), inodes) {
			continue
		}
		comm, err := os.ReadFile(filepath.Join(proc, p.Name(), "comm")) //nolint:gosec // below /proc
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		return pid, strings.TrimSpace(string(comm))
	}
	return 0, ""
}

// listeningInodes adds the sockets of a table of the kernel that listen on the port.
func listeningInodes(table string, port int, inodes map[string]bool) {
	const listen = "0A"
	f, err := os.Open(table) //nolint:gosec // below /proc
	if err != nil {
		return
	}
	defer f.Close() //nolint:errcheck // read only
	want := fmt.Sprintf(":%04X", port)
	for lines := bufio.NewScanner(f); lines.Scan(); {
		// sl local_address rem_address st tx_queue:rx_queue tr:tm->when retrnsmt uid timeout inode
		cells := strings.Fields(lines.Text())
		if len(cells) > 9 && cells[3] == listen && strings.HasSuffix(cells[1], want) {
			inodes[cells[9]] = true
		}
	}
}

func holdsSocket(dir string, inodes map[string]bool) bool {
	files, err := os.ReadDir(dir)
	if err != nil {
		return false
	}
	for _, f := range files {
		target, err := os.Readlink(filepath.Join(dir, f.Name()))
		if err != nil {
			continue
		}
		inode, ok := strings.CutPrefix(target, "socket:[")
		if ok && inodes[strings.TrimSuffix(inode, "]")] {
			return true
		}
	}
	return false
}

// lockHolder names the process that has a file open, as " (pid 12, broker)"; empty if it cannot be found.
func lockHolder(proc, path string) string {
	processes, err := os.ReadDir(proc)
	if err != nil {
		return ""
	}
	for _, p := range processes {
		pid, err := strconv.Atoi(p.Name())
		if err != nil || pid == os.Getpid() {
			continue
		}
		dir := filepath.Join(proc, p.Name(), "fd")
		files, err := os.ReadDir(dir)
		if err != nil {
			continue
		}
		for _, f := range files {
			if target, err := os.Readlink(filepath.Join(dir, f.Name())); err == nil && target == path {
				comm, _ := os.ReadFile(filepath.Join(proc, p.Name(), "comm")) //nolint:gosec,errcheck // below /proc; the name may be missing
				return fmt.Sprintf(" (pid %d, %s)", pid, strings.TrimSpace(string(comm)))
			}
		}
	}
	return ""
}
