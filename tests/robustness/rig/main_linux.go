package rig

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"syscall"
)

const (
	insideEnv = "STELE_RIG_INSIDE"
	// exitNoNetwork is the exit code of the inner process when it cannot make a network.
	exitNoNetwork = 97
)

// CI reports whether what cannot be tried must fail.
func CI() bool { return os.Getenv("CI") == "true" }

// Main runs the tests in namespaces of their own, if that is possible, and returns the exit code. TestMain calls it.
func Main(run func() int) int {
	if os.Getenv(insideEnv) != "" {
		if err := openNetwork(); err != nil {
			_, _ = fmt.Fprintln(os.Stderr, "rig:", err)
			return exitNoNetwork
		}
		defer removeBuilds()
		return run()
	}
	code, err := reexec()
	if err == nil && code != exitNoNetwork {
		return code
	}
	if err == nil {
		err = errors.New("no network could be made")
	}
	_, _ = fmt.Fprintln(os.Stderr, "rig: no namespaces, networks cannot be cut:", err)
	defer removeBuilds()
	return run()
}

// reexec runs this program again in new namespaces.
func reexec() (code int, err error) {
	if _, err := exec.LookPath("ip"); err != nil {
		return 0, fmt.Errorf("package iproute2 is needed: %w", err)
	}
	self, err := os.Executable()
	if err != nil {
		return 0, fmt.Errorf("own path: %w", err)
	}
	cmd := exec.Command(self, os.Args[1:]...)
	cmd.Env = append(os.Environ(), insideEnv+"=1")
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if os.Geteuid() == 0 {
		cmd.SysProcAttr.Unshareflags = syscall.CLONE_NEWNET | syscall.CLONE_NEWNS
	} else {
		cmd.SysProcAttr.Cloneflags = syscall.CLONE_NEWUSER | syscall.CLONE_NEWNET | syscall.CLONE_NEWNS
		cmd.SysProcAttr.UidMappings = []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Geteuid(), Size: 1}}
		cmd.SysProcAttr.GidMappings = []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getegid(), Size: 1}}
	}
	signals := make(chan os.Signal, 4)
	signal.Notify(signals, syscall.SIGINT, syscall.SIGTERM, syscall.SIGQUIT)
	defer signal.Stop(signals)
	if err := cmd.Start(); err != nil {
		return 0, fmt.Errorf("new namespaces: %w", err)
	}
	go func() {
		for s := range signals {
			_ = cmd.Process.Signal(s)
		}
	}()
	err = cmd.Wait()
	if exited := new(exec.ExitError); errors.As(err, &exited) {
		return max(exited.ExitCode(), 1), nil
	}
	if err != nil {
		return 0, fmt.Errorf("wait: %w", err)
	}
	return 0, nil
}
