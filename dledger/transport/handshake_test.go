package transport

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"io"
	"log/slog"
	"net"
	"strings"
	"sync"
	"testing"
	"time"
)

// logBuffer keeps what is logged.
type logBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *logBuffer) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(b)
}

func (l *logBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

func (l *logBuffer) logger() *slog.Logger {
	return slog.New(slog.NewTextHandler(l, &slog.HandlerOptions{Level: slog.LevelInfo}))
}

// An operator who connects two clusters reads both names on both sides, once.
func TestHandshake_ForeignClusterIsRefusedOnBothSides(t *testing.T) {
	var logA, logB logBuffer
	a := newRigNode(t, rigConfig{node: 1, cluster: "alpha", logger: logA.logger()})
	b := newRigNode(t, rigConfig{node: 2, cluster: "beta", logger: logB.logger()})
	knows(a, b)
	_, err := a.Call(within(t, 5*time.Second), 2, "x", nil)
	if !errors.Is(err, ErrForeign) || !strings.Contains(err.Error(), "alpha") || !strings.Contains(err.Error(), "beta") {
		t.Fatalf("call: %v", err)
	}
	_, err = a.CallAddress(within(t, 5*time.Second), b.Addr().String(), "x", nil)
	if !errors.Is(err, ErrForeign) || !strings.Contains(err.Error(), "alpha") || !strings.Contains(err.Error(), "beta") {
		t.Fatalf("call by address: %v", err)
	}
	for range 20 {
		a.send(2, replicate(1, nil))
		a.retryAll()
	}
	await(t, "both logs", func() bool {
		for _, l := range []string{logA.String(), logB.String()} {
			if !strings.Contains(l, "alpha") || !strings.Contains(l, "beta") {
				return false
			}
		}
		return true
	})
	for _, l := range []string{logA.String(), logB.String()} {
		if n := strings.Count(l, "\n"); n > 3 {
			t.Errorf("%d lines:\n%s", n, l)
		}
	}
	if len(b.received()) > 0 {
		t.Fatal("a message came through")
	}
	if s := a.Peers(); !errors.Is(s[0].Err, ErrForeign) {
		t.Fatalf("%+v", s)
	}
}

func (n *rigNode) retryAll() {
	n.Transport.mu.Lock()
	peers := n.peersLocked()
	n.Transport.mu.Unlock()
	for _, p := range peers {
		poke(p.data.again)
		poke(p.control.again)
	}
}

func TestHandshake_WrongNodeIsRefused(t *testing.T) {
	a, b := newRigNode(t, rigConfig{node: 1}), newRigNode(t, rigConfig{node: 2})
	a.SetAddress(3, b.Addr().String())
	_, err := a.Call(within(t, 5*time.Second), 3, "x", nil)
	if !errors.Is(err, ErrForeign) || !strings.Contains(err.Error(), "node 2") || !strings.Contains(err.Error(), "node 3") {
		t.Fatalf("%v", err)
	}
}

func TestHandshake_TwoProcessesOfOneNode(t *testing.T) {
	a, b := newRigNode(t, rigConfig{node: 1}), newRigNode(t, rigConfig{node: 1})
	_, err := a.CallAddress(within(t, 5*time.Second), b.Addr().String(), "x", nil)
	if !errors.Is(err, ErrForeign) || !strings.Contains(err.Error(), "node 1") {
		t.Fatalf("%v", err)
	}
}

// Both sides check: one who does not say whom he wants, or hides his cluster, is refused by the other.
func TestHandshake_EachSideJudges(t *testing.T) {
	b := newRigNode(t, rigConfig{node: 2})
	for name, c := range map[string]struct {
		g        greeting
		starting bool
		text     string
	}{
		"no cluster":      {greeting{Node: 1, To: 2, Lane: laneData}, false, "of cluster c only"},
		"no node":         {greeting{Cluster: "c", Node: -1, To: 2, Lane: laneControl}, false, "of cluster c only"},
		"another cluster": {greeting{Cluster: "d", Node: 1, To: 2, Lane: laneCalls}, false, "node 2 belongs to cluster c, but was called by node 1 of cluster d"},
		"another node":    {greeting{Cluster: "c", Node: 1, To: 3, Lane: laneData}, false, "node 2 answers here, not node 3"},
		"itself":          {greeting{Cluster: "c", Node: 2, To: 2, Lane: laneData}, false, "two processes call themselves node 2"},
		"unknown lane":    {greeting{Cluster: "c", Node: 1, To: 2, Lane: "gossip"}, false, `no lane "gossip"`},
	} {
		conn, err := net.Dial("tcp", b.Addr().String()) //nolint:noctx // closed below
		if err != nil {
			t.Fatal(err)
		}
		if err := writeHello(conn, &c.g); err != nil {
			t.Fatal(err)
		}
		var w welcome
		if err := readHello(conn, &w); err != nil {
			t.Fatal(name, err)
		}
		if !strings.Contains(w.Error, c.text) || w.Starting != c.starting {
			t.Errorf("%s: %+v", name, w)
		}
		_, err = conn.Read(make([]byte, 1))
		if err != io.EOF { //nolint:errorlint // the very error
			t.Errorf("%s: %v after the refusal", name, err)
		}
		_ = conn.Close()
	}

	l, err := net.Listen("tcp", "127.0.0.1:0") //nolint:noctx // closed below
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	welcomes := make(chan welcome, 10)
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			_ = readHello(c, new(greeting))
			w := <-welcomes
			_ = writeHello(c, &w)
			_, _ = io.Copy(io.Discard, c)
			_ = c.Close()
		}
	}()
	b.SetAddress(7, l.Addr().String())
	for _, w := range []welcome{{Cluster: "d", Node: 7}, {Cluster: "c", Node: 8}} {
		welcomes <- w
		if _, err := b.Call(within(t, 5*time.Second), 7, "x", nil); !errors.Is(err, ErrForeign) {
			t.Errorf("%+v: %v", w, err)
		}
	}
}

// While a node has no cluster, or has not opened its logs, Raft's messages wait; they come as soon as it has.
func TestHandshake_StartingNode(t *testing.T) {
	a := newRigNode(t, rigConfig{node: 1})
	b := newRigNode(t, rigConfig{node: 2, cluster: "-", noRaft: true})
	knows(a, b)
	state := func(text string) func() bool {
		return func() bool {
			a.send(2, replicate(1, nil))
			s := a.Peers()
			return len(s) == 1 && errors.Is(s[0].Err, ErrStarting) && strings.Contains(s[0].Err.Error(), text)
		}
	}
	await(t, "it does not know its cluster", state("node 2 does not know its cluster yet"))
	b.SetClusterID("c")
	await(t, "it has not opened its logs", state("node 2 has not opened its logs yet"))
	b.startRaft()
	await(t, "a message", func() bool { a.send(2, replicate(1, nil)); return len(b.received()) > 0 })
}

// What was greeted under an older identity carries nothing under the new one.
func TestHandshake_NewIdentityCutsOldConnections(t *testing.T) {
	a := newRigNode(t, rigConfig{node: 1, cluster: "-"})
	b := newRigNode(t, rigConfig{node: 2, cluster: "-"})
	knows(a, b)
	b.HandleOpen("who", func(_ context.Context, from Caller, _ []byte) ([]byte, error) {
		return []byte(from.Cluster), nil
	})
	who := func() string {
		r, err := a.Call(within(t, 5*time.Second), 2, "who", nil)
		if err != nil {
			return err.Error()
		}
		return string(r)
	}
	if w := who(); w != "" {
		t.Fatal(w)
	}
	a.SetClusterID("alpha")
	await(t, "the new name", func() bool { return who() == "alpha" })
	b.SetClusterID("beta") // the connection was made while b knew none
	await(t, "the refusal", func() bool { return strings.Contains(who(), "beta") })
	b.SetClusterID("alpha")
	await(t, "peace", func() bool { return who() == "alpha" })
	a.send(2, replicate(1, nil))
	await(t, "a message", func() bool { return len(b.received()) == 1 })
	b.SetNodeID(5)
	await(t, "the refusal", func() bool { return strings.Contains(who(), "node 5 answers here, not node 2") })
	n := len(b.received())
	for range 20 {
		a.send(2, replicate(1, nil))
	}
	await(t, "the lane's refusal", func() bool { return errors.Is(a.Peers()[0].Err, ErrForeign) })
	if len(b.received()) != n {
		t.Fatal("a message came to a node of another id")
	}
	b.SetNodeID(2)
	await(t, "a message", func() bool { a.send(2, replicate(2, nil)); return len(b.received()) > n })
}

// Identities that change while connections are made leave none of the old.
func TestHandshake_IdentityChangesWhileDialing(t *testing.T) {
	a, b := pair(t)
	b.HandleOpen("who", func(_ context.Context, from Caller, _ []byte) ([]byte, error) { return []byte(from.Cluster), nil })
	for i := range 200 {
		id := string(rune('a' + i%26))
		done := make(chan struct{})
		go func() {
			defer close(done)
			_, _ = a.Call(within(t, time.Second), 2, "who", nil)
		}()
		b.SetClusterID(id)
		a.SetClusterID(id)
		<-done
		r, err := a.Call(within(t, 5*time.Second), 2, "who", nil)
		if err != nil || string(r) != id {
			t.Fatalf("%q, want %q: %v", r, id, err)
		}
	}
}

func TestHandshake_AddressMoves(t *testing.T) {
	a, b := pair(t)
	a.send(2, replicate(1, nil))
	await(t, "a message", func() bool { return len(b.received()) == 1 })
	b2 := newRigNode(t, rigConfig{node: 2})
	a.SetAddress(2, b2.Addr().String())
	await(t, "a message at the new place", func() bool { a.send(2, replicate(2, nil)); return len(b2.received()) > 0 })
	a.SetAddress(2, "")
	if _, err := a.Call(within(t, time.Second), 2, "x", nil); !errors.Is(err, ErrNoAddress) {
		t.Fatal(err)
	}
}

// Other programs' bytes are refused, and the text says what is wrong.
func TestHandshake_NotOurProtocol(t *testing.T) {
	for name, c := range map[string]struct{ answer, text string }{
		"a Kafka port":    {"\x00\x00\x00\x10aaaaaaaa", "not a Raft address"},
		"HTTP":            {"HTTP/1.1 400 Bad Request\r\n\r\n", "not a Raft address"},
		"nobody":          {"", "hung up"},
		"a later version": {"STL9\x00\x00\x00\x02{}", "version '9'"},
		"a long greeting": {"STL1\x7f\x00\x00\x00", "not a Raft address"},
		"no JSON":         {"STL1\x00\x00\x00\x02!!", "not a Raft address"},
	} {
		l, err := net.Listen("tcp", "127.0.0.1:0") //nolint:noctx // closed below
		if err != nil {
			t.Fatal(err)
		}
		go func() {
			c2, err := l.Accept()
			if err != nil {
				return
			}
			_ = readHello(c2, new(greeting))
			_, _ = io.WriteString(c2, c.answer)
			_ = c2.Close()
		}()
		a := newRigNode(t, rigConfig{node: 1})
		_, err = a.CallAddress(within(t, 5*time.Second), l.Addr().String(), "x", nil)
		if !errors.Is(err, ErrProtocol) || !strings.Contains(err.Error(), c.text) || !strings.Contains(err.Error(), l.Addr().String()) {
			t.Errorf("%s: %v", name, err)
		}
		_ = l.Close()
	}
}

// Strangers who connect and say nothing do not keep members out, however many they are.
func TestAccept_StrangersDoNotKeepMembersOut(t *testing.T) {
	a, b := pair(t)
	var idle []net.Conn
	defer func() {
		for _, c := range idle {
			_ = c.Close()
		}
	}()
	for range ungreetedMax + 50 {
		c, err := net.Dial("tcp", b.Addr().String()) //nolint:noctx // closed above
		if err != nil {
			t.Fatal(err)
		}
		idle = append(idle, c)
	}
	for range guestsMax + 20 {
		c, err := net.Dial("tcp", b.Addr().String()) //nolint:noctx // closed above
		if err != nil {
			t.Fatal(err)
		}
		idle = append(idle, c)
		if err := writeHello(c, &greeting{Node: -1, To: -1, Lane: laneCalls}); err != nil {
			t.Fatal(err)
		}
		if err := readHello(c, new(welcome)); err != nil {
			t.Fatal(err)
		}
	}
	a.send(2, replicate(1, nil))
	await(t, "a message", func() bool { return len(b.received()) == 1 })
	await(t, "few are kept", func() bool {
		b.Transport.mu.Lock()
		defer b.Transport.mu.Unlock()
		return len(b.accepted) <= ungreetedMax+guestsMax+4
	})
}

// A greeting that trickles in has its time.
func TestAccept_GreetingIsShort(t *testing.T) {
	b := newRigNode(t, rigConfig{node: 2})
	c, err := net.Dial("tcp", b.Addr().String()) //nolint:noctx // closed below
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = c.Close() }()
	h := binary.BigEndian.AppendUint32([]byte(magic), greetingMax+1)
	if _, err := c.Write(h); err != nil {
		t.Fatal(err)
	}
	_ = c.SetReadDeadline(time.Now().Add(2 * time.Second))
	if _, err := c.Read(make([]byte, 1)); err == nil || errors.Is(err, context.DeadlineExceeded) {
		t.Fatalf("not cut: %v", err)
	}
}

func TestClose_IsPromptAndIdempotent(t *testing.T) {
	silent, err := net.Listen("tcp", "127.0.0.1:0") //nolint:noctx // closed below
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = silent.Close() }() // it takes connections and says nothing
	a := newRigNode(t, rigConfig{node: 1})
	a.SetAddress(2, silent.Addr().String())
	a.send(2, replicate(1, nil), replicate(2, nil))
	errs := make(chan error, 2)
	go func() { _, err := a.Call(context.Background(), 2, "x", nil); errs <- err }()
	go func() { _, err := a.CallAddress(context.Background(), silent.Addr().String(), "x", nil); errs <- err }()
	c, err := net.Dial("tcp", a.Addr().String()) //nolint:noctx // closed below
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = c.Close() }()
	await(t, "all of it", func() bool {
		a.Transport.mu.Lock()
		defer a.Transport.mu.Unlock()
		return len(a.accepted) == 1
	})
	begin := time.Now()
	var all sync.WaitGroup
	for range 3 {
		all.Go(func() {
			if err := a.Close(); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	if d := time.Since(begin); d > 500*time.Millisecond {
		t.Errorf("it took %v", d)
	}
	for range 2 {
		if err := <-errs; err == nil {
			t.Error("a call succeeded")
		}
	}
	if _, err := a.Call(context.Background(), 2, "x", nil); !errors.Is(err, ErrClosed) {
		t.Error(err)
	}
	if _, err := a.CallAddress(context.Background(), "127.0.0.1:1", "x", nil); !errors.Is(err, ErrClosed) {
		t.Error(err)
	}
}
