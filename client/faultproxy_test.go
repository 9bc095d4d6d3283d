package client

import (
	"context"
	"encoding/binary"
	"io"
	"math/rand/v2"
	"net"
	"sync"
	"testing"
	"time"
)

// faultProxy stands between the client and one broker. It passes whole frames
// and, by chance, cuts the connection before a request, after a request but
// before its answer, in the middle of one, or delays it.
type faultProxy struct {
	listener net.Listener
	target   string

	mu sync.Mutex
	// mu guards:
	rng   *rand.Rand
	rate  float64 // chance of a fault per frame
	conns map[net.Conn]struct{}
	cuts  int
	wg    sync.WaitGroup
}

func newFaultProxy(t *testing.T, target string, seed uint64) *faultProxy {
	t.Helper()
	l, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("fault proxy: seed %d", seed)
	p := &faultProxy{listener: l, target: target, rng: rand.New(rand.NewPCG(seed, seed)), conns: make(map[net.Conn]struct{})}
	p.wg.Go(p.accept)
	t.Cleanup(p.close)
	return p
}

// through makes a client dial the proxy instead of the broker.
func (p *faultProxy) through(o *Options) {
	o.Dial = func(ctx context.Context, network, address string) (net.Conn, error) {
		if address == p.target {
			address = p.listener.Addr().String()
		}
		return new(net.Dialer).DialContext(ctx, network, address)
	}
}

func (p *faultProxy) setRate(rate float64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.rate = rate
}

func (p *faultProxy) cutCount() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.cuts
}

func (p *faultProxy) accept() {
	for {
		down, err := p.listener.Accept()
		if err != nil {
			return
		}
		up, err := net.Dial("tcp", p.target)
		if err != nil {
			_ = down.Close()
			continue
		}
		p.mu.Lock()
		p.conns[down], p.conns[up] = struct{}{}, struct{}{}
		p.mu.Unlock()
		// A request that is held back is still carried out by the broker later
		// than the requests of the next connection: what a real network does.
		p.wg.Go(func() { p.copy(up, down) })
		p.wg.Go(func() { p.copy(down, up) })
	}
}

// copy passes frames from one side to the other until a fault or the end.
func (p *faultProxy) copy(to, from net.Conn) {
	defer to.Close()   //nolint:errcheck // a cut is a cut
	defer from.Close() //nolint:errcheck // a cut is a cut
	var head [4]byte
	for {
		if _, err := io.ReadFull(from, head[:]); err != nil {
			return
		}
		frame := make([]byte, 4+binary.BigEndian.Uint32(head[:]))
		copy(frame, head[:])
		if _, err := io.ReadFull(from, frame[4:]); err != nil {
			return
		}
		n, delay := p.fate(len(frame))
		if delay > 0 {
			<-time.After(delay)
		}
		if _, err := to.Write(frame[:n]); err != nil || n < len(frame) {
			return
		}
	}
}

// fate says how much of a frame passes, and after what delay.
func (p *faultProxy) fate(size int) (int, time.Duration) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.rng.Float64() >= p.rate {
		return size, 0
	}
	switch p.rng.IntN(4) {
	case 0:
		return size, time.Duration(p.rng.IntN(30)) * time.Millisecond
	case 1:
		p.cuts++
		return p.rng.IntN(size), 0
	default:
		p.cuts++
		return 0, time.Duration(p.rng.IntN(10)) * time.Millisecond
	}
}

func (p *faultProxy) close() {
	_ = p.listener.Close()
	p.mu.Lock()
	for c := range p.conns {
		_ = c.Close()
	}
	p.mu.Unlock()
	p.wg.Wait()
}
