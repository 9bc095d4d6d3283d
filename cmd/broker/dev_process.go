package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"time"

	"github.com/stelemq/stele/client"
	"github.com/stelemq/stele/internal/cli"
)

// launch starts a broker's process in the background.
func (d *devCluster) launch(n *cli.DevNode) error {
	program, err := os.Executable()
	if err != nil {
		return fmt.Errorf("find this program: %w", err)
	}
	n.HTTP, _ = freeAddress(n.HTTP) // somebody may have taken it while the broker was down
	var peers []string
	for _, p := range d.ctl.Nodes {
		peers = append(peers, fmt.Sprintf("%d@%s", p.ID, p.Raft))
	}
	args := []string{
		"start", "--node-id", strconv.Itoa(n.ID), "--peers", strings.Join(peers, ","),
		"--set", "listeners=PLAINTEXT://" + n.Kafka, "--set", "http.listen=" + n.HTTP, "--set", "log.dirs=" + d.dataDir(n),
		"--set", "storage.reject.percent=1", "--set", "log.format=text",
	}
	for _, s := range d.sets {
		args = append(args, "--set", s)
	}
	log, err := os.OpenFile(d.logPath(n), os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return err //nolint:wrapcheck // says operation and path
	}
	defer log.Close()                     //nolint:errcheck // the process has its own
	cmd := exec.Command(program, args...) //nolint:gosec,noctx // this very program, which outlives this one
	cmd.Stdout, cmd.Stderr, cmd.SysProcAttr = log, log, inBackground()
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("start broker %d: %w", n.ID, err)
	}
	n.PID = cmd.Process.Pid
	go func() { _ = cmd.Wait() }() // if it ends before this program does
	return nil
}

// devStopPatience is how long a broker may take to hand over what it leads when all are stopped.
const devStopPatience = 2 * time.Second

// end signals a broker's process and waits until it is gone.
func (d *devCluster) end(n *cli.DevNode, how os.Signal) error {
	p, err := os.FindProcess(n.PID)
	if err != nil || !n.Running() {
		n.PID = 0
		return nil //nolint:nilerr // it is gone
	}
	if err := p.Signal(how); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return fmt.Errorf("signal broker %d (pid %d): %w", n.ID, n.PID, err)
	}
	again := time.Now().Add(devStopPatience)
	for deadline := time.Now().Add(devReadyTimeout); n.Running(); {
		if how == os.Interrupt && time.Now().After(again) {
			_ = p.Signal(how) // at once: all stop, so there is nobody to hand anything over to
			again = deadline
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("broker %d (pid %d) has not ended within %s; kill it with: broker dev kill %d", n.ID, n.PID, devReadyTimeout, n.ID)
		}
		pauseFor(devPoll)
	}
	n.PID = 0
	return nil
}

func (d *devCluster) endAll(how os.Signal) error {
	done := make(chan error, len(d.ctl.Nodes))
	for i := range d.ctl.Nodes {
		go func() { done <- d.end(&d.ctl.Nodes[i], how) }()
	}
	var err error
	for range d.ctl.Nodes {
		err = errors.Join(err, <-done)
	}
	return err
}

// stop ends all brokers; with purge it removes what they have written.
func (d *devCluster) stop(purge bool) error {
	if err := d.read(); err != nil {
		return err
	}
	running := d.ctl.Running()
	if err := errors.Join(d.endAll(os.Interrupt), d.ctl.Write(d.dir)); err != nil {
		return err
	}
	if !purge {
		fmt.Fprintf(d.err, "%d brokers stopped, data is kept in %s. Again: broker dev\n", running, d.dir)
		return nil
	}
	for i := range d.ctl.Nodes {
		n := &d.ctl.Nodes[i]
		if err := os.RemoveAll(d.dataDir(n)); err != nil {
			return err //nolint:wrapcheck // says operation and path
		}
		if err := os.Remove(d.logPath(n)); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err //nolint:wrapcheck // says operation and path
		}
	}
	if err := cli.RemoveDevCluster(d.dir); err != nil {
		return err //nolint:wrapcheck // says operation and path
	}
	_ = os.Remove(d.dir) // unless there is something of somebody else's in it
	fmt.Fprintf(d.err, "%d brokers stopped, %s removed\n", running, d.dir)
	return nil
}

// awaitOpen waits until a broker answers; it reports what the broker said if it ends before.
func (d *devCluster) awaitOpen(ctx context.Context, n *cli.DevNode) error {
	return d.await(ctx, n, func(ctx context.Context) error {
		c, err := client.New(client.Options{Bootstrap: []string{n.Kafka}, ClientID: "broker-dev", DialTimeout: time.Second, RequestTimeout: 2 * time.Second})
		if err != nil {
			return err //nolint:wrapcheck // says all
		}
		defer c.Close() //nolint:errcheck // nothing is pending
		cluster, err := c.Cluster(ctx)
		if err != nil {
			return err //nolint:wrapcheck // says all
		}
		for _, b := range cluster.Brokers {
			if int(b.ID) == n.ID {
				return nil
			}
		}
		return fmt.Errorf("broker %d is not registered yet", n.ID)
	})
}

// awaitAll waits until every broker knows all.
func (d *devCluster) awaitAll(ctx context.Context) error {
	for i := range d.ctl.Nodes {
		n := &d.ctl.Nodes[i]
		err := d.await(ctx, n, func(ctx context.Context) error {
			c, err := client.New(client.Options{Bootstrap: []string{n.Kafka}, ClientID: "broker-dev", DialTimeout: time.Second, RequestTimeout: 2 * time.Second})
			if err != nil {
				return err //nolint:wrapcheck // says all
			}
			defer c.Close() //nolint:errcheck // nothing is pending
			cluster, err := c.Cluster(ctx)
			if err == nil && len(cluster.Brokers) < len(d.ctl.Nodes) {
				err = fmt.Errorf("broker %d knows %d of %d brokers", n.ID, len(cluster.Brokers), len(d.ctl.Nodes))
			}
			return err
		})
		if err != nil {
			return err
		}
	}
	return nil
}

func (d *devCluster) await(ctx context.Context, n *cli.DevNode, ready func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(ctx, devReadyTimeout)
	defer cancel()
	for {
		err := ready(ctx)
		if err == nil {
			return nil
		}
		if !n.Running() {
			return fmt.Errorf("broker %d ended at once; its last words, of %s:\n%s", n.ID, d.logPath(n), lastLines(d.logPath(n)))
		}
		if ctx.Err() != nil {
			return fmt.Errorf("broker %d is not ready after %s: %w; see %s", n.ID, devReadyTimeout, err, d.logPath(n))
		}
		pauseFor(devPoll)
	}
}

func pauseFor(d time.Duration) { <-time.After(d) }

// lastLines are the end of a file.
func lastLines(path string) string {
	const most = 5
	text, err := os.ReadFile(path) //nolint:gosec // our own log
	if err != nil {
		return err.Error()
	}
	lines := strings.Split(strings.TrimSpace(string(text)), "\n")
	return strings.Join(lines[max(0, len(lines)-most):], "\n")
}
