package main

import (
	"bufio"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"
)

type options struct {
	nodes, partitions int
	sizes             string
	duration, idle    time.Duration
	durable           bool
	kills             int
	keepMiB           int64
	restart           bool
	dir               string
	port              int
	child             int
}

func main() {
	var o options
	flag.IntVar(&o.nodes, "nodes", 3, "processes, each with a replica of every partition")
	flag.IntVar(&o.partitions, "partitions", 8, "partitions")
	flag.StringVar(&o.sizes, "bytes", "1024,16384,131072,1048576", "sizes of batches")
	flag.DurationVar(&o.duration, "duration", 3*time.Second, "load per size")
	flag.DurationVar(&o.idle, "idle", 0, "measure rest instead, so long")
	flag.BoolVar(&o.durable, "durable", false, "fsync before the answer")
	flag.Int64Var(&o.keepMiB, "keep", 0, "MiB of records that a partition keeps about, for long loads; 0 = all")
	flag.IntVar(&o.kills, "kills", 0, "measure failover instead, so often")
	flag.BoolVar(&o.restart, "restart", false, "measure a start after SIGKILL of all instead")
	flag.StringVar(&o.dir, "dir", "", "where the data goes; default: a temporary directory")
	flag.IntVar(&o.port, "port", 29300, "first of the Raft addresses' ports")
	flag.IntVar(&o.child, "child", 0, "for its own use")
	flag.Parse()
	run := o.parent
	if o.child > 0 {
		run = o.node
	}
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// group is the processes.
type group struct {
	o        *options
	children []*child
	events   chan event
}

type child struct {
	cmd *exec.Cmd
	in  *os.File
}

type event struct {
	node int
	word []string
}

func (o *options) parent() error {
	if o.dir == "" {
		dir, err := os.MkdirTemp("", "stele-replication-")
		if err != nil {
			return fmt.Errorf("directory: %w", err)
		}
		defer os.RemoveAll(dir)
		o.dir = dir
	}
	g := &group{o: o, children: make([]*child, o.nodes), events: make(chan event, 1000)}
	began := time.Now()
	for i := range g.children {
		if err := g.start(i); err != nil {
			return err
		}
	}
	defer g.kill()
	if err := g.expect("LED", o.nodes); err != nil {
		return err
	}
	fmt.Printf("%d processes, %d partitions, all led after %s\n", o.nodes, o.partitions, time.Since(began).Round(time.Millisecond))
	switch {
	case o.restart:
		return g.again()
	case o.kills > 0:
		return g.failover()
	case o.idle > 0:
		return g.rest()
	}
	for size := range strings.SplitSeq(o.sizes, ",") {
		if err := g.load(size); err != nil {
			return err
		}
	}
	return nil
}

func (g *group) start(i int) error {
	cmd := exec.Command("/proc/self/exe", append(os.Args[1:], "-dir", g.o.dir, "-child", strconv.Itoa(i+1))...) //nolint:gosec,noctx // itself
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		return fmt.Errorf("start: %w", err)
	}
	r, w, err := os.Pipe()
	if err != nil {
		return fmt.Errorf("start: %w", err)
	}
	cmd.Stdin = r
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("start: %w", err)
	}
	_ = r.Close()
	g.children[i] = &child{cmd, w}
	go func() {
		lines := bufio.NewScanner(out)
		for lines.Scan() {
			g.events <- event{i, strings.Fields(lines.Text())}
		}
	}()
	return nil
}

func (g *group) kill() {
	for _, c := range g.children {
		_ = c.cmd.Process.Kill()
		_ = c.cmd.Wait()
	}
}

func (g *group) tell(format string, args ...any) {
	for _, c := range g.children {
		fmt.Fprintf(c.in, format+"\n", args...)
	}
}

// expect waits for a word from so many processes.
func (g *group) expect(word string, n int) error {
	_, err := g.collect(word, n)
	return err
}

func (g *group) collect(word string, n int) ([][]string, error) {
	var out [][]string
	deadline := time.After(2*time.Minute + g.o.duration)
	for len(out) < n {
		select {
		case e := <-g.events:
			if e.word[0] == word {
				out = append(out, e.word[1:])
			}
		case <-deadline:
			return nil, fmt.Errorf("%d of %d processes said %s in time", len(out), n, word)
		}
	}
	return out, nil
}

func number(s string) float64 {
	v, _ := strconv.ParseFloat(s, 64)
	return v
}

// load prints MB/s, the worst latencies, CPU per MB, all processes together.
func (g *group) load(size string) error {
	g.tell("run %s", size)
	got, err := g.collect("DONE", len(g.children))
	if err != nil {
		return err
	}
	var mb, cpu, p50, p99, changes float64
	for _, w := range got {
		mb += number(w[0]) / 1e6
		p50, p99 = max(p50, number(w[1])), max(p99, number(w[2]))
		cpu += number(w[3])
		changes += number(w[4])
	}
	mode := "relaxed"
	if g.o.durable {
		mode = "durable"
	}
	fmt.Printf("%s partitions=%d bytes=%s: %.1f MB/s p50 %.2f ms p99 %.2f ms cpu %.2f ms/MB, changes of leaders %.0f\n",
		mode, g.o.partitions, size, mb/g.o.duration.Seconds(), p50, p99, cpu/mb, changes)
	return nil
}

// settled is by when groups without traffic are at rest.
const settled = 8 * time.Second

func (g *group) rest() error {
	<-time.After(settled)
	g.tell("rest %s", g.o.idle)
	got, err := g.collect("REST", len(g.children))
	if err != nil {
		return err
	}
	for _, w := range got {
		fmt.Printf("idle partitions=%d: %s cores, rss %s MiB\n", g.o.partitions, w[0], w[1])
	}
	return nil
}

// again kills all processes and starts them again.
func (g *group) again() error {
	g.kill()
	began := time.Now()
	for i := range g.children {
		if err := g.start(i); err != nil {
			return err
		}
	}
	if err := g.expect("LED", g.o.nodes); err != nil {
		return err
	}
	fmt.Printf("after SIGKILL of all: %d partitions led after %s\n", g.o.partitions, time.Since(began).Round(time.Millisecond))
	return nil
}

// failover kills the process that leads the first partition and waits for the first commit elsewhere.
func (g *group) failover() error {
	var times []time.Duration
	for range g.o.kills {
		g.tell("watch")
		got, err := g.collect("LEADS", 1)
		if err != nil {
			return err
		}
		old, _ := strconv.Atoi(got[0][0])
		began := time.Now()
		c := g.children[old]
		if err := c.cmd.Process.Signal(syscall.SIGKILL); err != nil {
			return fmt.Errorf("kill: %w", err)
		}
		if _, err := g.collect("COMMITTED", 1); err != nil {
			return err
		}
		times = append(times, time.Since(began))
		_ = c.cmd.Wait()
		if err := g.start(old); err != nil {
			return err
		}
		if err := g.expect("LED", 1); err != nil {
			return err
		}
		time.Sleep(time.Second)
	}
	slices.Sort(times)
	fmt.Printf("SIGKILL to first commit elsewhere, %d times: p50 %s p99 %s max %s\n", len(times),
		times[len(times)/2].Round(time.Millisecond), times[len(times)*99/100].Round(time.Millisecond), times[len(times)-1].Round(time.Millisecond))
	return nil
}

func (o *options) nodeDir() string { return filepath.Join(o.dir, strconv.Itoa(o.child)) }
