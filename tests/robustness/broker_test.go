//go:build robustness

package robustness

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"syscall"
	"testing"
	"time"

	"github.com/stelemq/stele/tests/robustness/rig"
)

// node is a broker process that can be killed and started again.
type node struct {
	addr string
	data string
	dir  string // of logs and, for our broker, data; kept after a failure

	// Of a foreign broker.
	killCommand, startCommand string
	// Of ours.
	bin string
	log *os.File
	cmd *exec.Cmd
}

// newNode starts our broker, built from this tree, or finds the foreign one of the environment.
func newNode(t *testing.T) *node {
	t.Helper()
	dir, err := os.MkdirTemp("", "stele-robustness-") //nolint:usetesting // kept after a failure
	if err != nil {
		t.Fatal(err)
	}
	n := &node{dir: dir}
	t.Cleanup(func() { n.close(t) })
	if n.addr = os.Getenv("STELE_ROBUSTNESS_BOOTSTRAP"); n.addr != "" {
		n.killCommand, n.startCommand = os.Getenv("STELE_ROBUSTNESS_KILL"), os.Getenv("STELE_ROBUSTNESS_RESTART")
		n.data = os.Getenv("STELE_ROBUSTNESS_DATA")
		if n.killCommand == "" || n.startCommand == "" {
			t.Fatal("a foreign broker needs STELE_ROBUSTNESS_KILL and STELE_ROBUSTNESS_RESTART")
		}
		return n
	}
	n.bin, n.data = rig.Build(t, nil), filepath.Join(dir, "data")
	port, err := freePort()
	if err != nil {
		t.Fatal(err)
	}
	n.addr = net.JoinHostPort("127.0.0.1", strconv.Itoa(port))
	if n.log, err = os.Create(filepath.Join(dir, "broker.log")); err != nil {
		t.Fatal(err)
	}
	n.start(t)
	return n
}

// start starts the broker on its data. It does not wait until it serves.
func (n *node) start(t *testing.T) {
	t.Helper()
	if n.bin == "" {
		n.shell(t, n.startCommand)
		return
	}
	// Small journal files, so that they are recycled between kills.
	n.cmd = exec.Command(n.bin, "start", "--set", "node.id=1", "--set", "listeners=PLAINTEXT://"+n.addr, "--set", "log.dirs="+n.data,
		"--set", "journal.file.bytes=1MiB")
	n.cmd.Dir = n.dir
	n.cmd.Stdout, n.cmd.Stderr = n.log, n.log
	n.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := n.cmd.Start(); err != nil {
		t.Fatal(err)
	}
}

// kill ends the broker with SIGKILL and waits until it is gone. It fails the test if the broker had ended before.
func (n *node) kill(t *testing.T) {
	t.Helper()
	if n.bin == "" {
		n.shell(t, n.killCommand)
		return
	}
	if err := n.cmd.Process.Kill(); err != nil {
		t.Fatalf("kill the broker: %v", err)
	}
	_ = n.cmd.Wait()
	status, ok := n.cmd.ProcessState.Sys().(syscall.WaitStatus)
	if !ok || status.Signal() != syscall.SIGKILL {
		t.Fatalf("the broker had ended by itself: %v", n.cmd.ProcessState)
	}
	n.cmd = nil
}

// verify lets our broker's own tool look at every file. What the last kill left unfinished is no finding.
func (n *node) verify(t *testing.T) {
	t.Helper()
	out, err := exec.CommandContext(t.Context(), n.bin, "log", "verify", "--deep", n.data).CombinedOutput()
	if err != nil {
		t.Errorf("broker log verify: %v\n%s", err, out)
	}
}

func (n *node) shell(t *testing.T, command string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	if out, err := exec.CommandContext(ctx, "bash", "-c", command).CombinedOutput(); err != nil {
		t.Fatalf("%s: %v\n%s", command, err, out)
	}
}

// close ends our broker, and removes its files unless the test failed.
func (n *node) close(t *testing.T) {
	if n.cmd != nil {
		_ = n.cmd.Process.Kill()
		_ = n.cmd.Wait()
	}
	if n.log != nil {
		_ = n.log.Close()
	}
	if t.Failed() {
		t.Logf("kept for inspection: %s\n%s", n.dir, n.tail())
		return
	}
	if err := os.RemoveAll(n.dir); err != nil {
		t.Error(err)
	}
}

// tail returns the end of our broker's log.
func (n *node) tail() string {
	text, err := os.ReadFile(filepath.Join(n.dir, "broker.log"))
	if err != nil {
		return "no broker log: " + err.Error()
	}
	return "the end of broker.log:\n" + string(text[max(0, len(text)-3000):])
}

// copyTree copies a directory, as it is now.
func copyTree(t *testing.T, from, to string) {
	t.Helper()
	err := filepath.WalkDir(from, func(path string, d os.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(from, path)
		if err != nil {
			return err
		}
		target := filepath.Join(to, rel)
		switch {
		case d.IsDir():
			return os.MkdirAll(target, 0o755)
		case !d.Type().IsRegular():
			return nil
		}
		return copyFile(path, target)
	})
	if err != nil {
		t.Fatal(err)
	}
}

func copyFile(from, to string) error {
	in, err := os.Open(from)
	if err != nil {
		return err
	}
	defer func() { _ = in.Close() }()
	info, err := in.Stat()
	if err != nil {
		return err
	}
	out, err := os.OpenFile(to, os.O_CREATE|os.O_WRONLY|os.O_TRUNC, info.Mode().Perm())
	if err != nil {
		return err
	}
	if _, err := io.Copy(out, in); err != nil {
		_ = out.Close()
		return err
	}
	return out.Close()
}

// sizes describes the data directory, for the report of a failure.
func sizes(dir string) string {
	var b bytes.Buffer
	_ = filepath.WalkDir(dir, func(path string, d os.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return nil //nolint:nilerr // a best effort
		}
		if info, err := d.Info(); err == nil {
			fmt.Fprintf(&b, "%12s %s\n", strconv.FormatInt(info.Size(), 10), path)
		}
		return nil
	})
	return b.String()
}

// freePort returns a port of 127.0.0.1 that nobody listens on. It lies below the range from which the kernel takes
// the ports of clients: there, a client that waits for the broker to come back might connect to itself and keep the
// broker from listening.
func freePort() (int, error) {
	var err error
	for range 100 {
		port := 20_000 + rand.IntN(12_000)
		var l net.Listener
		if l, err = net.Listen("tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(port))); err == nil {
			return port, l.Close()
		}
	}
	return 0, err
}
