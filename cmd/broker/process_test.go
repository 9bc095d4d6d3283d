package main

import (
	"bytes"
	"errors"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stelemq/stele/broker/bootstrap"
)

// envAsProgram makes the test binary the program itself.
const envAsProgram = "BROKER_TEST_AS_PROGRAM"

func TestMain(m *testing.M) {
	if os.Getenv(envAsProgram) != "" {
		main()
	}
	os.Exit(m.Run())
}

// process is a broker in a process of its own, watched as a service manager watches it.
type process struct {
	cmd   *exec.Cmd
	errs  *buffer
	state *net.UnixConn
}

func startProcess(t *testing.T, dir string) *process {
	t.Helper()
	p := launchProcess(t, "--set", "log.dirs="+dir, "--set", "listeners=PLAINTEXT://127.0.0.1:0")
	p.expect(t, "READY=1")
	return p
}

// launchProcess runs `broker start ARGS` until the test ends; it does not wait.
func launchProcess(t *testing.T, args ...string) *process {
	t.Helper()
	path := filepath.Join(t.TempDir(), "s")
	state, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: path, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	p := &process{errs: &buffer{}, state: state}
	p.cmd = exec.CommandContext(t.Context(), os.Args[0], append([]string{"start", "--set", "http.listen=off", "--set", "storage.reject.percent=0"}, args...)...) //nolint:gosec // this very program
	p.cmd.Env = append(os.Environ(), envAsProgram+"=1", "NOTIFY_SOCKET="+path)
	p.cmd.Stderr = p.errs
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = p.cmd.Process.Kill()
		_ = p.cmd.Wait() // its directory is about to be removed
		_ = state.Close()
	})
	return p
}

// expect waits for a message to the service manager.
func (p *process) expect(t *testing.T, want string) {
	t.Helper()
	if err := p.state.SetReadDeadline(time.Now().Add(30 * time.Second)); err != nil {
		t.Fatal(err)
	}
	buf := make([]byte, 256)
	n, err := p.state.Read(buf)
	if err != nil || string(buf[:n]) != want {
		t.Fatalf("the service manager hears %q, %v, want %q\n%s", buf[:n], err, want, p.errs)
	}
}

func TestProcess_TermKillAndRestart(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "data")
	p := startProcess(t, dir)
	first, ok, err := bootstrap.ReadIdentity(dir)
	if err != nil || !ok || first.ClusterID == "" {
		t.Fatalf("identity %+v %v %v", first, ok, err)
	}
	if err := p.cmd.Process.Signal(syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	_ = p.cmd.Wait() // killed
	p = startProcess(t, dir)
	if again, _, err := bootstrap.ReadIdentity(dir); again != first {
		t.Errorf("after kill -9: %+v %v, before %+v", again, err, first)
	}
	if err := p.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	p.expect(t, "STOPPING=1")
	if err := p.cmd.Wait(); err != nil || !strings.Contains(p.errs.String(), "data is kept in "+dir) {
		t.Errorf("ended with %v:\n%s", err, p.errs)
	}
}

// The first interrupt waits for a client that takes no answers; the second one does not.
func TestProcess_SecondInterruptEndsAtOnce(t *testing.T) {
	for range 10 {
		if interruptTwice(t) {
			return
		}
	}
	t.Fatal("the broker never waited for its client")
}

// interruptTwice reports false if the broker had stopped in order before the second interrupt came: then nothing was stuck.
func interruptTwice(t *testing.T) bool {
	t.Helper()
	local := net.JoinHostPort("127.0.0.1", strconv.Itoa(quietPort(t)))
	p := launchProcess(t, "--set", "log.dirs="+filepath.Join(t.TempDir(), "data"), "--set", "listeners=PLAINTEXT://"+local, "--set", "shutdown.timeout=10m")
	p.expect(t, "READY=1")
	c, err := net.Dial("tcp", local)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close() //nolint:errcheck // the test ends
	apiVersions := bytes.Repeat([]byte{0, 0, 0, 10, 0, 18, 0, 0, 0, 0, 0, 1, 0xff, 0xff}, 1000)
	for err == nil { // until its answers are stuck
		if err = c.SetWriteDeadline(time.Now().Add(time.Second)); err == nil {
			_, err = c.Write(apiVersions)
		}
	}
	if !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Fatalf("the broker does not wait for its client: %v", err)
	}
	if err := p.cmd.Process.Signal(os.Interrupt); err != nil {
		t.Fatal(err)
	}
	p.expect(t, "STOPPING=1")
	await(t, p.errs.String, func() bool { return strings.Contains(p.errs.String(), "interrupt again to end at once") })
	_ = p.cmd.Process.Signal(os.Interrupt) // it may be gone
	_ = p.cmd.Wait()                       // ended by the signal
	if p.cmd.ProcessState.Success() {
		return false
	}
	if status, ok := p.cmd.ProcessState.Sys().(syscall.WaitStatus); !ok || !status.Signaled() || status.Signal() != syscall.SIGINT {
		t.Errorf("ended with %v:\n%s", p.cmd.ProcessState, p.errs)
	}
	return true
}
