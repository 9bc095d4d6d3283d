package rig

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"
)

// Node is one broker: a place in the network, a directory and, most of the time, a process. Its methods may be
// called by one goroutine at a time, but Alive.
type Node struct {
	ID   int32
	Host string // its address
	Data string // the directory that the broker is given
	// Files is where its files are: Data, or below what Options.Mount mounts there. Only for when it does not run.
	Files string
	Log   string // the file with the output of all its processes

	c    *Cluster
	port int

	mu sync.Mutex
	// mu guards:
	process *process
}

// process is one life of a broker.
type process struct {
	cmd     *exec.Cmd
	ended   chan struct{}
	asked   bool // we ended it
	mayDie  bool
	stopped bool
}

// Addr is where clients reach the broker.
func (n *Node) Addr() string { return net.JoinHostPort(n.Host, strconv.Itoa(n.port)) }

// RaftAddr is where other brokers reach it.
func (n *Node) RaftAddr() string { return net.JoinHostPort(n.Host, strconv.Itoa(n.port+100)) }

// Start starts the broker on its data. It does not wait until it serves.
func (n *Node) Start() {
	n.c.t.Helper()
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.process != nil {
		n.c.t.Fatalf("node %d runs already", n.ID)
	}
	log, err := os.OpenFile(n.Log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		n.c.t.Fatal(err)
	}
	defer func() { _ = log.Close() }()
	cmd := exec.Command(n.c.options.Binary, n.args()...)
	cmd.Dir = n.c.Dir
	cmd.Env = slices.DeleteFunc(os.Environ(), func(v string) bool { return strings.HasPrefix(v, "STELE_") })
	cmd.Stdout, cmd.Stderr = log, log
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	start := func() error {
		_, _ = fmt.Fprintf(log, "---- %s start\n", time.Now().UTC().Format(time.RFC3339Nano))
		return cmd.Start()
	}
	if n.c.net != nil {
		err = n.c.net.nodes[n.ID].do(start)
	} else {
		err = start()
	}
	if err != nil {
		n.c.t.Fatalf("start node %d: %v", n.ID, err)
	}
	p := &process{cmd: cmd, ended: make(chan struct{}), mayDie: n.c.options.MayDie}
	n.process = p
	n.c.waits.Go(func() { n.wait(p) })
}

func (n *Node) args() []string {
	args := []string{"start"}
	set := func(key, value string) { args = append(args, "--set", key+"="+value) }
	set("node.id", strconv.Itoa(int(n.ID)))
	set("listeners", "PLAINTEXT://"+n.Addr())
	set("log.dirs", n.Data)
	switch peers := n.c.peers(); {
	case n.ID > founders:
		set("cluster.join", n.c.Node(1).RaftAddr()+","+n.c.Node(2).RaftAddr())
	case peers != "":
		set("cluster.peers", peers)
	}
	if n.c.net == nil {
		set("http.listen", "off") // one port for all
	}
	for _, s := range n.c.options.Settings {
		args = append(args, "--set", s)
	}
	if n.c.options.Own != nil {
		for _, s := range n.c.options.Own(n.ID) {
			args = append(args, "--set", s)
		}
	}
	return args
}

// Offline runs a command of the broker's program with the settings of a broker that does not run, and returns what it prints.
func (n *Node) Offline(ctx context.Context, command ...string) (string, error) {
	n.c.t.Helper()
	if n.Alive() {
		n.c.t.Fatalf("node %d runs", n.ID)
	}
	return n.c.Command(ctx, append(command, n.args()[1:]...)...)
}

// wait waits for the end of a process, which must be wanted.
func (n *Node) wait(p *process) {
	err := p.cmd.Wait()
	n.mu.Lock()
	defer n.mu.Unlock()
	if !p.asked && !p.mayDie {
		n.c.t.Errorf("node %d ended by itself: %v\n%s", n.ID, err, n.tail())
	}
	close(p.ended)
	if n.process == p {
		n.process = nil
	}
}

// Alive reports whether the process runs.
func (n *Node) Alive() bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.process != nil
}

// MayDie allows the process to end by itself from now on, as it must when its disk fails.
func (n *Node) MayDie() {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.process != nil {
		n.process.mayDie = true
	}
}

// Kill ends the process with SIGKILL, if there is one, and waits until it is gone.
func (n *Node) Kill() { n.end(syscall.SIGKILL, time.Minute) }

// Terminate ends the process with SIGTERM and waits until it is gone. Errors: of a process that takes longer than
// within, which is killed then.
func (n *Node) Terminate(within time.Duration) error {
	if !n.end(syscall.SIGTERM, within) {
		n.end(syscall.SIGKILL, time.Minute)
		return fmt.Errorf("node %d did not end within %v of SIGTERM", n.ID, within)
	}
	return nil
}

// end sends a signal and waits until the process is gone. It reports false when that takes too long.
func (n *Node) end(s syscall.Signal, within time.Duration) bool {
	n.mu.Lock()
	p := n.process
	if p == nil {
		n.mu.Unlock()
		return true
	}
	p.asked = true
	_ = p.cmd.Process.Signal(s)
	if p.stopped {
		_ = p.cmd.Process.Signal(syscall.SIGCONT)
	}
	n.mu.Unlock()
	select {
	case <-p.ended:
		return true
	case <-time.After(within):
		return false
	}
}

// Pause stops the process with SIGSTOP: it keeps its connections and says nothing.
func (n *Node) Pause() { n.signal(syscall.SIGSTOP, true) }

// Resume lets a paused process go on.
func (n *Node) Resume() { n.signal(syscall.SIGCONT, false) }

func (n *Node) signal(s syscall.Signal, stopped bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.process != nil {
		n.process.stopped = stopped
		_ = n.process.cmd.Process.Signal(s)
	}
}

// Wait waits until the process is gone, which something else must bring about. Errors: ctx's.
func (n *Node) Wait(ctx context.Context) error {
	n.mu.Lock()
	p := n.process
	n.mu.Unlock()
	if p == nil {
		return nil
	}
	select {
	case <-p.ended:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// Wipe removes everything from the data directory of a broker that does not run.
func (n *Node) Wipe() {
	n.c.t.Helper()
	if n.Alive() {
		n.c.t.Fatalf("node %d runs", n.ID)
	}
	entries, err := os.ReadDir(n.Files)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		n.c.t.Fatal(err)
	}
	for _, e := range entries {
		if err := os.RemoveAll(filepath.Join(n.Files, e.Name())); err != nil {
			n.c.t.Fatal(err)
		}
	}
}

// tail returns the end of the broker's output.
func (n *Node) tail() string {
	text, err := os.ReadFile(n.Log)
	if err != nil {
		return "no output: " + err.Error()
	}
	const size = 3000
	return fmt.Sprintf("the end of %s:\n%s", n.Log, text[max(0, len(text)-size):])
}

// Output returns what the broker wrote since a position, and the next position.
func (n *Node) Output(from int) (text string, next int) {
	all, err := os.ReadFile(n.Log)
	if err != nil || from > len(all) {
		return "", from
	}
	return string(all[from:]), len(all)
}
