package rig

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"sync"

	"golang.org/x/sys/unix"
)

// namespace is a network namespace, which lives as long as it is open or a process is in it.
type namespace struct{ file *os.File }

// path names the namespace for ip.
func (n namespace) path() string { return fmt.Sprintf("/proc/%d/fd/%d", os.Getpid(), n.file.Fd()) }

func (n namespace) close() { _ = n.file.Close() }

func currentNamespace() (namespace, error) {
	f, err := os.Open("/proc/thread-self/ns/net")
	return namespace{f}, err
}

// home is the namespace of the tests. The first call comes before any thread leaves it.
//
//nolint:gochecknoglobals // a fact about the process
var home = sync.OnceValues(currentNamespace)

// newNamespace makes a namespace.
func newNamespace() (made namespace, err error) {
	err = onThread(func() error {
		if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
			return fmt.Errorf("new network namespace: %w", err)
		}
		made, err = currentNamespace()
		return err
	})
	return made, err
}

// do calls f on a thread in the namespace: sockets that it makes and processes that it starts belong to it.
func (n namespace) do(f func() error) error {
	return onThread(func() error {
		if err := unix.Setns(int(n.file.Fd()), unix.CLONE_NEWNET); err != nil {
			return fmt.Errorf("enter namespace: %w", err)
		}
		return f()
	})
}

// onThread calls f on a thread that may change its namespace, and brings it back.
func onThread(f func() error) error {
	back, err := home()
	if err != nil {
		return err
	}
	runtime.LockOSThread()
	err = f()
	if back := unix.Setns(int(back.file.Fd()), unix.CLONE_NEWNET); back != nil {
		return errors.Join(err, back) // still locked: the thread ends with its goroutine
	}
	runtime.UnlockOSThread()
	return err
}

// ip runs the command ip with each of the lines, in the namespace of the calling thread.
func ip(lines ...string) error {
	cmd := exec.Command("ip", "-batch", "-")
	cmd.Stdin = strings.NewReader(strings.Join(lines, "\n") + "\n")
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("ip: %w: %s\n%s", err, strings.TrimSpace(string(out)), strings.Join(lines, "\n"))
	}
	return nil
}
