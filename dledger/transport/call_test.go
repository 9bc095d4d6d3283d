package transport

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

func echo(_ context.Context, _ Caller, body []byte) ([]byte, error) { return body, nil }

func TestCall_AnswersErrorsAndCodes(t *testing.T) {
	a, b := pair(t)
	b.Handle("echo", echo)
	b.Handle("fail", func(context.Context, Caller, []byte) ([]byte, error) { return nil, errors.New("it broke") })
	b.Handle("code", func(context.Context, Caller, []byte) ([]byte, error) {
		return nil, fmt.Errorf("outer: %w", &Coded{"busy", errors.New("not now")})
	})
	b.Handle("pass", func(ctx context.Context, _ Caller, _ []byte) ([]byte, error) {
		return b.Call(ctx, 1, "code", nil)
	})
	a.Handle("code", func(context.Context, Caller, []byte) ([]byte, error) {
		return nil, &Coded{"far", errors.New("from far")}
	})
	a.Handle("self", func(_ context.Context, from Caller, _ []byte) ([]byte, error) {
		return fmt.Appendf(nil, "%d %s", from.Node, from.Cluster), nil
	})
	b.Handle("from", func(_ context.Context, from Caller, _ []byte) ([]byte, error) {
		return fmt.Appendf(nil, "%d %s %t", from.Node, from.Cluster, from.Incarnation == a.incarnation), nil
	})
	ctx := within(t, 20*time.Second)
	for _, n := range []int{0, 1, partMax - 1, partMax, partMax + 1, 5*partMax + 3, 9 << 20} {
		body := bytes.Repeat([]byte{byte(n), 7, 1}, n/3+1)[:n]
		if r, err := a.Call(ctx, 2, "echo", body); err != nil || !bytes.Equal(r, body) {
			t.Fatalf("%d bytes: %d, %v", n, len(r), err)
		}
	}
	if r, err := a.CallBulk(ctx, 2, "echo", make([]byte, 3<<20)); err != nil || len(r) != 3<<20 {
		t.Fatal(len(r), err)
	}
	for method, want := range map[string]struct{ code, text string }{
		"fail": {"", "it broke"}, "code": {"busy", "not now"}, "pass": {"far", "from far"}, "none": {codeUnknownMethod, `node 2 does not answer "none"`},
	} {
		_, err := a.Call(ctx, 2, method, nil)
		var r *RemoteError
		if !errors.As(err, &r) || r.Code != want.code || !strings.Contains(err.Error(), want.text) || !strings.Contains(err.Error(), "call "+method+" of node 2") {
			t.Errorf("%s: %v", method, err)
		}
		if IsUnknownMethod(err) != (method == "none") {
			t.Errorf("%s: %v", method, err)
		}
	}
	for method, want := range map[string]string{"self": "1 c"} {
		if r, err := a.Call(ctx, 1, method, nil); err != nil || string(r) != want {
			t.Errorf("%s: %q %v", method, r, err)
		}
	}
	if r, err := a.Call(ctx, 2, "from", nil); err != nil || string(r) != "1 c true" {
		t.Errorf("%q %v", r, err)
	}
	if _, err := a.Call(ctx, 1, "none", nil); !IsUnknownMethod(err) {
		t.Error(err)
	}
	if _, err := a.Call(ctx, 9, "x", nil); !errors.Is(err, ErrNoAddress) || !strings.Contains(err.Error(), "node 9") {
		t.Error(err)
	}
}

func TestCall_OpenAndClosedMethods(t *testing.T) {
	b := newRigNode(t, rigConfig{node: 2})
	b.HandleOpen("open", echo)
	b.Handle("closed", echo)
	guest := newRigNode(t, rigConfig{node: -1, cluster: "-", noRaft: true})
	ctx := within(t, 10*time.Second)
	address := b.Addr().String()
	if r, err := guest.CallAddress(ctx, address, "open", []byte("x")); err != nil || string(r) != "x" {
		t.Fatal(string(r), err)
	}
	var remote *RemoteError
	if _, err := guest.CallAddress(ctx, address, "closed", nil); !errors.As(err, &remote) || !strings.Contains(err.Error(), `"closed" is for nodes of cluster "c"`) {
		t.Fatal(err)
	}
	// A guest's request is short.
	if r, err := guest.CallAddress(ctx, address, "open", make([]byte, guestBytesMax-requestCost)); err != nil || len(r) != guestBytesMax-requestCost {
		t.Fatal(len(r), err)
	}
	if _, err := guest.CallAddress(ctx, address, "open", make([]byte, guestBytesMax)); !errors.As(err, &remote) || remote.Code != codeTooLarge {
		t.Fatal(err)
	}
	// One without a cluster answers nobody's closed calls.
	guest.Handle("closed", echo)
	if _, err := b.CallAddress(ctx, guest.Addr().String(), "closed", nil); !errors.As(err, &remote) {
		t.Fatal(err)
	}
}

func TestCall_TooLarge(t *testing.T) {
	a, b := pair(t)
	b.Handle("large", func(context.Context, Caller, []byte) ([]byte, error) { return make([]byte, callBodyMax+1), nil })
	b.Handle("echo", echo)
	ctx := within(t, 20*time.Second)
	if _, err := a.Call(ctx, 2, "echo", make([]byte, callBodyMax+1)); err == nil {
		t.Fatal("a request that is too large")
	}
	if _, err := a.Call(ctx, 2, strings.Repeat("x", 256), nil); err == nil {
		t.Fatal("a method that is too long")
	}
	if _, err := a.Call(ctx, 2, "large", nil); err == nil || !strings.Contains(err.Error(), "too large") {
		t.Fatal(err)
	}
	if r, err := a.Call(ctx, 2, "echo", []byte("still works")); err != nil || len(r) != 11 {
		t.Fatal(err)
	}
}

// One connection carries ten thousand calls at a time, and each gets its own answer.
func TestCall_TenThousandAtOnce(t *testing.T) {
	a, b := pair(t)
	b.Handle("echo", func(_ context.Context, _ Caller, body []byte) ([]byte, error) { return append(body, '!'), nil })
	ctx := within(t, 60*time.Second)
	var all sync.WaitGroup
	var bad atomic.Int64
	for i := range 10_000 {
		all.Go(func() {
			body := fmt.Appendf(nil, "%d %s", i, strings.Repeat("x", i%2000))
			r, err := a.Call(ctx, 2, "echo", body)
			if err != nil || string(r) != string(body)+"!" {
				if bad.Add(1) == 1 {
					t.Errorf("call %d: %q, %v", i, r, err)
				}
			}
		})
	}
	all.Wait()
	if n := bad.Load(); n > 0 {
		t.Fatalf("%d went wrong", n)
	}
	b.Transport.mu.Lock()
	defer b.Transport.mu.Unlock()
	if len(b.accepted) != 1 {
		t.Fatalf("%d connections", len(b.accepted))
	}
}

// Large requests and answers in both directions at once neither block each other nor the small ones.
func TestCall_SmallDoesNotWaitBehindLarge(t *testing.T) {
	a, b := pair(t)
	b.Handle("echo", echo)
	ctx := within(t, 60*time.Second)
	var all sync.WaitGroup
	var stop atomic.Bool
	large := make([]byte, 20<<20)
	for range 3 {
		all.Go(func() {
			for !stop.Load() {
				if r, err := a.Call(ctx, 2, "echo", large); err != nil || len(r) != len(large) {
					t.Errorf("%d, %v", len(r), err)
					return
				}
			}
		})
	}
	var worst, sum time.Duration
	for range 50 {
		begin := time.Now()
		if _, err := a.Call(ctx, 2, "echo", []byte("hi")); err != nil {
			t.Error(err)
			break
		}
		d := time.Since(begin)
		worst, sum = max(worst, d), sum+d
	}
	stop.Store(true)
	all.Wait()
	t.Logf("mean %v, longest %v", sum/50, worst)
	if sum/50 > 500*time.Millisecond {
		t.Errorf("a small call takes %v", sum/50)
	}
}

func TestCall_CallersLeave(t *testing.T) {
	a, b := pair(t)
	release := make(chan struct{})
	b.Handle("wait", func(ctx context.Context, _ Caller, body []byte) ([]byte, error) {
		select {
		case <-release:
		case <-ctx.Done():
		}
		return body, nil
	})
	b.Handle("echo", echo)
	ctx, cancel := context.WithCancelCause(context.Background())
	errs := make(chan error, 20)
	for range 10 {
		go func() { _, err := a.Call(ctx, 2, "wait", make([]byte, 300<<10)); errs <- err }()
		go func() { _, err := a.Call(within(t, 50*time.Millisecond), 2, "wait", nil); errs <- err }()
	}
	for range 10 {
		if err := <-errs; !errors.Is(err, context.DeadlineExceeded) {
			t.Fatal(err)
		}
	}
	why := errors.New("enough")
	cancel(why)
	for range 10 {
		if err := <-errs; !errors.Is(err, why) {
			t.Fatal(err)
		}
	}
	close(release) // the answers come when nobody waits
	if r, err := a.Call(within(t, 5*time.Second), 2, "echo", []byte("x")); err != nil || string(r) != "x" {
		t.Fatal(err)
	}
	if _, err := a.Call(ctx, 2, "echo", nil); !errors.Is(err, why) {
		t.Fatal(err)
	}
	c := a.peers[2].calls
	c.mu.Lock()
	conn := c.conn
	c.mu.Unlock()
	conn.mu.Lock()
	defer conn.mu.Unlock()
	if len(conn.waiting) != 0 {
		t.Fatalf("%d still wait", len(conn.waiting))
	}
}

// A node that does not answer while it is connected to costs each caller no more than his own time.
func TestCall_UnreachableNodeKeepsNobodyWaiting(t *testing.T) {
	a := newRigNode(t, rigConfig{node: 1, dial: func(ctx context.Context, _ string) (net.Conn, error) {
		<-ctx.Done()
		return nil, ctx.Err()
	}})
	a.SetAddress(2, "nowhere:1")
	var all sync.WaitGroup
	begin := time.Now()
	for range 50 {
		all.Go(func() {
			if _, err := a.Call(within(t, 100*time.Millisecond), 2, "x", nil); !errors.Is(err, context.DeadlineExceeded) {
				t.Error(err)
			}
		})
	}
	all.Wait()
	if d := time.Since(begin); d > time.Second {
		t.Fatalf("it took %v", d)
	}
	if _, err := a.Call(context.Background(), 2, "x", nil); err == nil || time.Since(begin) > 2*dialTimeout {
		t.Fatal(err, time.Since(begin))
	}
}

func TestCall_ConnectionLost(t *testing.T) {
	a, b := pair(t)
	began := make(chan struct{}, 10)
	b.Handle("wait", func(ctx context.Context, _ Caller, _ []byte) ([]byte, error) {
		began <- struct{}{}
		<-ctx.Done() // it learns that nobody waits any more
		return nil, ctx.Err()
	})
	b.Handle("echo", echo)
	errs := make(chan error, 1)
	go func() { _, err := a.Call(context.Background(), 2, "wait", nil); errs <- err }()
	<-began
	b.Transport.mu.Lock()
	for l := range b.accepted {
		l.cut()
	}
	b.Transport.mu.Unlock()
	if err := <-errs; err == nil || !strings.Contains(err.Error(), "connection lost") {
		t.Fatal(err)
	}
	for range 200 { // at whatever moment a connection breaks, a call after that goes over another
		if _, err := a.Call(within(t, 5*time.Second), 2, "echo", nil); err != nil {
			t.Fatal(err)
		}
		conn := a.peers[2].calls
		conn.mu.Lock()
		k := conn.conn
		conn.mu.Unlock()
		if k != nil {
			k.link.cut()
			<-k.ended
		}
	}
}

// One who asks without reading the answers, or never ends his requests, is bounded.
func TestCall_GreedyClient(t *testing.T) {
	b := newRigNode(t, rigConfig{node: 2})
	var running, most atomic.Int64
	release := make(chan struct{})
	b.Handle("work", func(ctx context.Context, _ Caller, _ []byte) ([]byte, error) {
		n := running.Add(1)
		defer running.Add(-1)
		for m := most.Load(); n > m && !most.CompareAndSwap(m, n); m = most.Load() {
		}
		select {
		case <-release:
		case <-ctx.Done():
		}
		return make([]byte, 1000), nil
	})
	for _, member := range []bool{true, false} {
		c, err := net.Dial("tcp", b.Addr().String()) //nolint:noctx // closed below
		if err != nil {
			t.Fatal(err)
		}
		g := greeting{Node: -1, To: -1, Lane: laneCalls}
		if member {
			g = greeting{Cluster: "c", Node: 1, To: 2, Incarnation: "x", Lane: laneCalls}
		}
		if err := writeHello(c, &g); err != nil {
			t.Fatal(err)
		}
		if err := readHello(c, new(welcome)); err != nil {
			t.Fatal(err)
		}
		frames := func(n int, kind byte, method string, body []byte) {
			var out []byte
			for i := range n {
				out = binary.LittleEndian.AppendUint32(out, uint32(callHead-4+len(method)+len(body)))
				out = binary.LittleEndian.AppendUint64(out, uint64(i))
				out = append(out, kind, byte(len(method)))
				out = append(append(out, method...), body...)
			}
			_ = c.SetWriteDeadline(time.Now().Add(200 * time.Millisecond))
			_, _ = c.Write(out)
		}
		before := allocated()
		frames(20_000, kindOK|flagMore, "work", nil)             // never ended
		frames(20_000, kindOK|flagMore|flagRest, "", []byte{1})  // ended as little
		frames(2_000, kindOK, "work", nil)                       // many at once
		frames(2_000, kindOK|flagRest, "", []byte("continuing")) // what was never begun
		frames(1, 0x3f, "", nil)                                 // nonsense: the end
		await(t, "the end", func() bool {
			_ = c.SetReadDeadline(time.Now().Add(10 * time.Millisecond))
			_, err := c.Read(make([]byte, 1<<20))
			return err != nil && (!strings.Contains(err.Error(), "timeout") || most.Load() >= callsServed)
		})
		if n := allocated() - before; n > 200<<20 {
			t.Errorf("%d bytes allocated", n)
		}
		_ = c.Close()
	}
	if n := most.Load(); n > callsServed {
		t.Errorf("%d at once", n)
	}
	close(release)
}
