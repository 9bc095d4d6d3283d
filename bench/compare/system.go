package compare

import (
	"bytes"
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
	"syscall"
	"time"

	"github.com/stelemq/stele/bench/load"
	"github.com/stelemq/stele/bench/peers"
)

// System is a product that can be started on this machine.
type System interface {
	// Name is what tables say.
	Name() string
	// Start starts a cluster of n brokers on empty directories and returns when they listen.
	Start(ctx context.Context, n int) (Cluster, error)
}

// Cluster is one that was started.
type Cluster interface {
	// Target has the addresses and the processes that run.
	Target() load.Target
	// Kill kills the broker of that id (1, 2 …) at once; Restart starts it again on its data and does not wait.
	Kill(id int32) error
	Restart(id int32) error
	// Stop ends all brokers and removes their data.
	Stop() error
}

// readyTimeout bounds the wait for a port.
const readyTimeout = 90 * time.Second

// Stele is this product.
type Stele struct {
	// Program is the broker to be run.
	Program string
	// Dir is where its data goes.
	Dir string
	// Port is the first of the ports; brokers use it and the 99 that follow, and Raft those 100 above.
	Port int
	// Settings are key=value for all brokers.
	Settings []string
}

// Name is stele.
func (*Stele) Name() string { return "stele" }

type steleCluster struct {
	*Stele
	n     int
	procs map[int32]*exec.Cmd
}

// Start starts n brokers, and waits for their ports.
func (s *Stele) Start(ctx context.Context, n int) (Cluster, error) {
	c := &steleCluster{s, n, make(map[int32]*exec.Cmd)}
	if err := os.RemoveAll(c.data()); err != nil {
		return nil, fmt.Errorf("start stele: %w", err)
	}
	for id := range int32(n) { //nolint:gosec // a handful
		if err := c.Restart(id + 1); err != nil {
			return nil, errors.Join(err, c.Stop())
		}
	}
	for id := range n {
		if err := awaitPort(ctx, c.address(id+1)); err != nil {
			return nil, errors.Join(err, c.Stop())
		}
	}
	return c, nil
}

func (c *steleCluster) data() string { return filepath.Join(c.Dir, "stele-"+strconv.Itoa(c.Port)) }

func (c *steleCluster) address(id int) string { return "127.0.0.1:" + strconv.Itoa(c.Port+id-1) }

func (c *steleCluster) Target() load.Target {
	var t load.Target
	for id := range c.n {
		t.Brokers = append(t.Brokers, c.address(id+1))
	}
	for _, p := range c.procs {
		t.PIDs = append(t.PIDs, p.Process.Pid)
	}
	slices.Sort(t.PIDs)
	return t
}

func (c *steleCluster) Restart(id int32) error {
	dir := filepath.Join(c.data(), strconv.Itoa(int(id)))
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return fmt.Errorf("start stele: %w", err)
	}
	out, err := os.OpenFile(filepath.Join(dir, "broker.log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return fmt.Errorf("start stele: %w", err)
	}
	defer out.Close() //nolint:errcheck // the process has its own
	args := []string{
		"start", "--set", "node.id=" + strconv.Itoa(int(id)), "--set", "log.dirs=" + filepath.Join(dir, "data"),
		"--set", "listeners=PLAINTEXT://" + c.address(int(id)), "--set", "http.listen=127.0.0.1:" + strconv.Itoa(c.Port+50+int(id)),
	}
	if c.n > 1 {
		var peers []string
		for p := range c.n {
			peers = append(peers, fmt.Sprintf("%d@127.0.0.1:%d", p+1, c.Port+100+p))
		}
		args = append(args, "--set", "cluster.peers="+strings.Join(peers, ","))
	}
	for _, s := range c.Settings {
		args = append(args, "--set", s)
	}
	cmd := exec.Command(c.Program, args...) //nolint:gosec,noctx // it outlives the call
	cmd.Stdout, cmd.Stderr = out, out
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("start stele: %w", err)
	}
	c.procs[id] = cmd
	return nil
}

func (c *steleCluster) Kill(id int32) error {
	cmd := c.procs[id]
	if cmd == nil {
		return fmt.Errorf("stele: broker %d does not run", id)
	}
	delete(c.procs, id)
	if err := cmd.Process.Kill(); err != nil {
		return fmt.Errorf("kill stele %d: %w", id, err)
	}
	_ = cmd.Wait() // killed
	return nil
}

func (c *steleCluster) Stop() error {
	for id := range c.procs {
		_ = c.Kill(id) // it may have ended by itself
	}
	return os.RemoveAll(c.data()) //nolint:wrapcheck // says operation and path
}

// Kafka is Apache Kafka, started by the script of package peers.
type Kafka struct {
	// Dir is where the script and the jars go.
	Dir string
	// Port is the first of the ports.
	Port int
	// Heap is the JVM's, 1G if it is empty.
	Heap string
	// Settings are further lines of server.properties.
	Settings []string
}

// Name is kafka.
func (*Kafka) Name() string { return "kafka" }

type kafkaCluster struct {
	*Kafka
	script  string
	brokers []string
	pids    []int // of broker i+1; 0: it was killed
}

// Start starts n brokers that are controllers, too.
func (k *Kafka) Start(ctx context.Context, n int) (Cluster, error) {
	if err := os.MkdirAll(k.Dir, 0o755); err != nil {
		return nil, fmt.Errorf("start kafka: %w", err)
	}
	script, err := peers.Unpack(k.Dir)
	if err != nil {
		return nil, err //nolint:wrapcheck // says what it was for
	}
	c := &kafkaCluster{Kafka: k, script: script}
	out, err := c.run(ctx, "start", strconv.Itoa(n), strconv.Itoa(k.Port))
	if err != nil {
		return nil, err
	}
	lines := strings.Split(strings.TrimSpace(out), "\n")
	if len(lines) < 2 {
		return nil, fmt.Errorf("start kafka: the script printed %q", out)
	}
	c.brokers = strings.Split(lines[len(lines)-2], ",")
	for p := range strings.SplitSeq(lines[len(lines)-1], ",") {
		pid, err := strconv.Atoi(p)
		if err != nil {
			return nil, fmt.Errorf("start kafka: the script printed %q", out)
		}
		c.pids = append(c.pids, pid)
	}
	return c, nil
}

func (k *Kafka) heap() string {
	if k.Heap == "" {
		return "1G"
	}
	return k.Heap
}

func (c *kafkaCluster) run(ctx context.Context, args ...string) (string, error) {
	cmd := exec.CommandContext(ctx, c.script, args...) //nolint:gosec // ours
	extra := append([]string{"log.segment.delete.delay.ms=0"}, c.Settings...)
	cmd.Env = append(os.Environ(), "PEERS_DIR="+c.Dir, "HEAP="+c.heap(), "EXTRA="+strings.Join(extra, "\n"))
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	if err := cmd.Run(); err != nil {
		return "", fmt.Errorf("kafka.sh %s: %w: %s", strings.Join(args, " "), err, strings.TrimSpace(errs.String()))
	}
	return out.String(), nil
}

func (c *kafkaCluster) Target() load.Target {
	t := load.Target{Brokers: c.brokers}
	for _, p := range c.pids {
		if p > 0 {
			t.PIDs = append(t.PIDs, p)
		}
	}
	return t
}

func (c *kafkaCluster) Kill(id int32) error {
	p, err := os.FindProcess(c.pids[id-1])
	if err == nil {
		err = p.Kill()
	}
	if err != nil {
		return fmt.Errorf("kill kafka %d: %w", id, err)
	}
	c.pids[id-1] = 0
	return nil
}

// Restart does not use the script's command of that name, which waits for the port.
func (c *kafkaCluster) Restart(id int32) error {
	cmd := exec.Command(c.script, "restart", strconv.Itoa(int(id)), strconv.Itoa(c.Port)) //nolint:gosec,noctx // it outlives the call
	cmd.Env = append(os.Environ(), "PEERS_DIR="+c.Dir, "HEAP="+c.heap())
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("restart kafka: %w", err)
	}
	go cmd.Wait() //nolint:errcheck // the port says whether it worked
	file := filepath.Join(c.Dir, "kafka-"+strconv.Itoa(c.Port), strconv.Itoa(int(id))+".pid")
	for deadline := time.Now().Add(10 * time.Second); time.Now().Before(deadline); {
		text, err := os.ReadFile(file)
		if pid, _ := strconv.Atoi(strings.TrimSpace(string(text))); err == nil && alive(pid) {
			c.pids[id-1] = pid
			return nil
		}
		<-time.After(10 * time.Millisecond)
	}
	return errors.New("restart kafka: no process")
}

func (c *kafkaCluster) Stop() error {
	_, err := c.run(context.Background(), "stop", strconv.Itoa(c.Port))
	return err
}

// alive reports whether a process runs.
func alive(pid int) bool {
	if pid <= 0 {
		return false
	}
	p, err := os.FindProcess(pid)
	return err == nil && p.Signal(syscall.Signal(0)) == nil
}

func awaitPort(ctx context.Context, address string) error {
	ctx, cancel := context.WithTimeout(ctx, readyTimeout)
	defer cancel()
	var d net.Dialer
	for {
		conn, err := d.DialContext(ctx, "tcp", address)
		if err == nil {
			_ = conn.Close()
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("no broker on %s: %w", address, err)
		case <-time.After(5 * time.Millisecond):
		}
	}
}
