package rig

import (
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
	"time"
)

func TestMain(m *testing.M) { os.Exit(Main(m.Run)) }

// place is a cluster without brokers.
func place(t *testing.T, nodes int) *Cluster {
	t.Helper()
	c := New(t, Options{Nodes: nodes})
	c.NeedCuts()
	return c
}

// reach reports whether a connection from one node to another comes about.
func reach(t *testing.T, c *Cluster, from, to int32) bool {
	t.Helper()
	var listener net.Listener
	listen := func() (err error) {
		listener, err = net.Listen("tcp", net.JoinHostPort(c.Node(to).Host, "7000"))
		return err
	}
	if err := c.net.nodes[to].do(listen); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = listener.Close() }()
	connect := func() error {
		conn, err := net.DialTimeout("tcp", listener.Addr().String(), 300*time.Millisecond)
		if err == nil {
			_ = conn.Close()
		}
		return err
	}
	if from == Clients {
		return connect() == nil
	}
	return c.net.nodes[from].do(connect) == nil
}

func TestNetwork_CutsAndHeals(t *testing.T) {
	c := place(t, 3)
	expect := func(when string, from, to int32, want bool) {
		t.Helper()
		got := reach(t, c, from, to)
		// A bridge on a busy machine may lose the first packets; what is cut loses all of them.
		for end := time.Now().Add(10 * time.Second); want && !got && time.Now().Before(end); {
			got = reach(t, c, from, to)
		}
		if got != want {
			t.Errorf("%s: node %d reaches node %d: %v, want %v", when, from, to, got, want)
		}
	}
	all := func(when string, want bool, pairs ...[2]int32) {
		t.Helper()
		for _, p := range pairs {
			expect(when, p[0], p[1], want)
		}
	}
	every := [][2]int32{{0, 1}, {0, 2}, {0, 3}, {1, 2}, {2, 1}, {1, 3}, {3, 2}}
	all("at first", true, every...)

	c.Isolate(1)
	all("node 1 isolated", false, [2]int32{1, 2}, [2]int32{2, 1}, [2]int32{3, 1})
	all("node 1 isolated", true, [2]int32{2, 3}, [2]int32{Clients, 1})
	c.Heal()
	all("healed", true, every...)

	c.SetLink(2, false)
	all("link of 2 down", false, [2]int32{Clients, 2}, [2]int32{1, 2}, [2]int32{2, 3})
	all("link of 2 down", true, [2]int32{1, 3})
	c.SetLink(2, true)
	all("link of 2 up", true, every...)

	c.Split([]int32{Clients, 1}, []int32{2, 3})
	all("clients with 1", true, [2]int32{Clients, 1}, [2]int32{2, 3})
	all("clients with 1", false, [2]int32{Clients, 2}, [2]int32{1, 3})
	c.Heal()
	all("healed again", true, every...)
}

// TestNetwork_OneWay sends datagrams, for which no answer is needed.
func TestNetwork_OneWay(t *testing.T) {
	c := place(t, 2)
	c.CutOneWay(1, 2)
	arrives := func(from, to int32) bool {
		var out net.Conn
		var receive net.PacketConn
		err := c.net.nodes[to].do(func() (err error) {
			receive, err = net.ListenPacket("udp", net.JoinHostPort(c.Node(to).Host, "7001"))
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = receive.Close() }()
		err = c.net.nodes[from].do(func() (err error) {
			out, err = net.Dial("udp", receive.LocalAddr().String())
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = out.Close() }()
		for range 5 {
			if _, err := out.Write([]byte("x")); err != nil {
				t.Fatal(err)
			}
		}
		_ = receive.SetReadDeadline(time.Now().Add(300 * time.Millisecond))
		_, _, err = receive.ReadFrom(make([]byte, 1))
		return err == nil
	}
	if arrives(1, 2) || !arrives(2, 1) {
		t.Error("only what node 1 sends must vanish")
	}
	c.HealOneWay(1, 2)
	if !arrives(1, 2) {
		t.Error("healed, and nothing arrives")
	}
}

func TestLeftovers_OfDeadRunsAreRemoved(t *testing.T) {
	temp := t.TempDir()
	dead := exec.CommandContext(t.Context(), "true")
	if err := dead.Run(); err != nil {
		t.Fatal(err)
	}
	mk := func(pid int, kept bool) string {
		dir := filepath.Join(temp, fmt.Sprintf("%s%d-1", dirName, pid))
		if kept {
			dir += "k"
		}
		if err := os.Mkdir(dir, 0o755); err != nil {
			t.Fatal(err)
		}
		if kept {
			if err := os.WriteFile(filepath.Join(dir, keptFile), nil, 0o600); err != nil {
				t.Fatal(err)
			}
		}
		return dir
	}
	gone, kept, alive := mk(dead.Process.Pid, false), mk(dead.Process.Pid, true), mk(os.Getpid(), false)
	removeLeftovers(temp)
	for dir, want := range map[string]bool{gone: false, kept: true, alive: true} {
		if _, err := os.Stat(dir); (err == nil) != want {
			t.Errorf("%s is there: %v, want %v", dir, err == nil, want)
		}
	}
}

// TestNode_LifeOfAProcess uses a shell in place of a broker.
func TestNode_LifeOfAProcess(t *testing.T) {
	shell := filepath.Join(t.TempDir(), "broker")
	if err := os.WriteFile(shell, []byte("#!/bin/sh\necho up\nexec sleep 60\n"), 0o700); err != nil {
		t.Fatal(err)
	}
	c := New(t, Options{Nodes: 2, Binary: shell})
	c.Start()
	n := c.Node(1)
	n.Pause()
	n.Kill()
	if n.Alive() || !c.Node(2).Alive() {
		t.Fatal("node 1 must be gone and node 2 alive")
	}
	n.Start()
	if err := c.Terminate(10 * time.Second); err != nil {
		t.Fatal(err)
	}
	n.Start()
	n.MayDie()
	n.mu.Lock()
	pid := n.process.cmd.Process.Pid
	n.mu.Unlock()
	if err := syscall.Kill(pid, syscall.SIGKILL); err != nil { // as if by itself
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	if err := n.Wait(ctx); err != nil {
		t.Fatal(err)
	}
	n.Wipe()
}
