package transport

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	pb "github.com/lni/dragonboat/v4/raftpb"
)

func randomMessage(r *rand.Rand) pb.Message {
	number := func() uint64 { return r.Uint64() >> r.IntN(64) }
	types := []pb.MessageType{pb.Replicate, pb.Replicate, pb.ReplicateResp, pb.Heartbeat, pb.HeartbeatResp, pb.RequestVote, pb.RequestPreVoteResp, pb.ReadIndex, pb.Propose}
	m := pb.Message{
		Type: types[r.IntN(len(types))], To: 2 + number()>>1, From: number(), ShardID: number(), Term: number(), LogTerm: number(),
		LogIndex: number(), Commit: number() | 1<<20, Reject: r.IntN(2) == 0, Hint: number() >> 3 &^ 2, HintHigh: number(),
	}
	for range r.IntN(5) {
		e := pb.Entry{
			Type: pb.EntryType(r.IntN(4)), Term: number(), Index: number(), Key: number(), ClientID: number(), SeriesID: number(),
			RespondedTo: number(),
		}
		if n := []int{0, 1, 20, 3000, blockBytes / 2, blockBytes + 1}[r.IntN(6)]; n > 0 {
			e.Cmd = make([]byte, n)
			_, _ = rand.NewChaCha8([32]byte{byte(n), byte(e.Index)}).Read(e.Cmd)
		}
		m.Entries = append(m.Entries, e)
	}
	return m
}

func marshal(t *testing.T, m *pb.Message) []byte {
	t.Helper()
	b, err := m.Marshal()
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// Whatever Raft puts into a message arrives, and what is sent is not touched.
func TestLane_CarriesEveryField(t *testing.T) {
	a, b := pair(t)
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	r := rand.New(rand.NewPCG(seed, 1))
	var control, data [][]byte
	total := 0
	for range 50 {
		var batch []pb.Message
		for range 1 + r.IntN(8) {
			m := randomMessage(r)
			batch = append(batch, m)
			if m.Type == pb.Replicate || m.Type == pb.Propose {
				data = append(data, marshal(t, &m))
			} else {
				control = append(control, marshal(t, &m))
			}
			total++
		}
		a.send(2, batch...)
		n := total
		await(t, "the batch", func() bool { return len(b.received()) == n })
	}
	for i, m := range b.received() {
		lane := &control
		if m.Type == pb.Replicate || m.Type == pb.Propose {
			lane = &data
		}
		if !bytes.Equal(marshal(t, &m), (*lane)[0]) {
			t.Fatalf("message %d differs: %+v", i, m)
		}
		*lane = (*lane)[1:]
	}
	if len(control)+len(data) != 0 {
		t.Fatal("not everything has come")
	}
}

func TestLane_ObserverDecidesAndStamps(t *testing.T) {
	a, b := pair(t)
	a.send(2, pb.Message{Type: pb.Heartbeat, Hint: 7}, pb.Message{Type: pb.Heartbeat, Hint: 666}, pb.Message{Type: pb.Heartbeat, Commit: 666, Hint: 8}, pb.Message{Type: pb.Heartbeat, Hint: 9})
	await(t, "two messages", func() bool { return len(b.received()) == 2 })
	b.mu.Lock()
	defer b.mu.Unlock()
	if fmt.Sprint(b.stamps) != "[21 24 27]" || b.got[0].Hint != 7 || b.got[1].Hint != 9 {
		t.Fatalf("stamps %v of %+v", b.stamps, b.got)
	}
}

// cutter makes connections that break after a number of bytes.
type cutter struct {
	after atomic.Int64 // of the next connection; negative: never
	total atomic.Int64 // written on all
}

type cutConn struct {
	net.Conn
	c    *cutter
	left int64
}

var errCut = errors.New("cut")

func (c *cutConn) Write(b []byte) (int, error) {
	if c.left < 0 || int64(len(b)) <= c.left {
		n, err := c.Conn.Write(b)
		c.c.total.Add(int64(n))
		if c.left >= 0 {
			c.left -= int64(n)
		}
		return n, err
	}
	n, _ := c.Conn.Write(b[:c.left])
	_ = c.Close()
	return n, errCut
}

func (c *cutter) dial(ctx context.Context, address string) (net.Conn, error) {
	conn, err := (&net.Dialer{}).DialContext(ctx, "tcp", address)
	if err != nil {
		return nil, err
	}
	return &cutConn{conn, c, c.after.Load()}, nil
}

// A connection that breaks anywhere delivers whole messages, in order, or nothing; the next one goes on.
func TestLane_CutAtEveryByte(t *testing.T) {
	c := &cutter{}
	c.after.Store(-1)
	a, b := newRigNode(t, rigConfig{node: 1, dial: c.dial}), newRigNode(t, rigConfig{node: 2})
	knows(a, b)
	cmd := []byte("some command of some bytes")
	a.send(2, replicate(0, cmd))
	await(t, "a message", func() bool { return len(b.received()) == 1 })
	whole := c.total.Load()
	next := uint64(1)
	for n := int64(0); n <= whole+1; n++ {
		c.after.Store(n)
		before := a.resetCount()
		a.peers[2].data.cut()
		resets := before
		if n >= whole { // it breaks with the second message
			resets++
		}
		have := len(b.received())
		await(t, "the cut, and the message after it", func() bool {
			if a.resetCount() > resets {
				c.after.Store(-1)
			}
			a.send(2, replicate(next, cmd))
			next++
			return c.after.Load() < 0 && len(b.received()) > have+2
		})
	}
	last := int64(-1)
	for _, m := range b.received() {
		if int64(m.LogIndex) <= last || !bytes.Equal(m.Entries[0].Cmd, cmd) || m.Entries[0].Index != m.LogIndex+1 {
			t.Fatalf("after %d: %+v", last, m)
		}
		last = int64(m.LogIndex)
	}
}

// Many connections, broken at random, some in large frames: each lane's messages come in order, none twice, none changed,
// and a loss is told.
func TestLane_KeepsOrderWhileItBreaks(t *testing.T) {
	c := &cutter{}
	a, b := newRigNode(t, rigConfig{node: 1, dial: c.dial}), newRigNode(t, rigConfig{node: 2})
	knows(a, b)
	r := rand.New(rand.NewPCG(7, 7))
	big := make([]byte, 3<<20)
	for i := range big {
		big[i] = byte(i * 7)
	}
	deadline := time.Now().Add(2 * time.Second)
	i := uint64(0)
	for ; time.Now().Before(deadline); i++ {
		c.after.Store(r.Int64N(8 << 20))
		size := []int{10, 1000, 100_000, len(big)}[r.IntN(4)]
		a.send(2, replicate(i, big[:size]), pb.Message{Type: pb.Heartbeat, From: 1, LogIndex: i})
		if r.IntN(4) == 0 {
			<-time.After(time.Millisecond)
		}
	}
	c.after.Store(-1)
	await(t, "the end", func() bool {
		i++
		a.send(2, replicate(i, nil), pb.Message{Type: pb.Heartbeat, From: 1, LogIndex: i})
		got := b.received()
		return len(got) > 0 && got[len(got)-1].LogIndex > i-5
	})
	last := map[pb.MessageType]int64{pb.Replicate: -1, pb.Heartbeat: -1}
	lost := 0
	for _, m := range b.received() {
		if int64(m.LogIndex) <= last[m.Type] {
			t.Fatalf("%v %d after %d", m.Type, m.LogIndex, last[m.Type])
		}
		lost += int(int64(m.LogIndex) - last[m.Type] - 1)
		last[m.Type] = int64(m.LogIndex)
		for _, e := range m.Entries {
			if !bytes.Equal(e.Cmd, big[:len(e.Cmd)]) {
				t.Fatalf("entry %d has changed", e.Index)
			}
		}
	}
	if lost > 0 && a.resetCount() < 3 {
		t.Fatalf("%d lost, %d resets", lost, a.resetCount())
	}
	t.Logf("%d sent, %d lost, %d resets", 2*i, lost, a.resetCount())
}

// The other side goes and comes back on the same port: what is sent then arrives at once.
func TestLane_ReconnectsSoon(t *testing.T) {
	a, b := pair(t)
	a.send(2, replicate(0, nil))
	await(t, "a message", func() bool { return len(b.received()) == 1 })
	address := b.Addr().String()
	for range 3 {
		b.stop()
		index := uint64(0)
		stop := time.Now().Add(500 * time.Millisecond)
		for time.Now().Before(stop) { // the backoff is at its longest
			index++
			a.send(2, replicate(index, nil))
			<-time.After(time.Millisecond)
		}
		b = newRigNode(t, rigConfig{node: 2, address: address})
		begin := time.Now()
		await(t, "a message", func() bool {
			a.send(2, replicate(1, nil))
			return len(b.received()) > 0
		})
		if d := time.Since(begin); d > 300*time.Millisecond {
			t.Errorf("it took %v", d)
		}
	}
}

// A node that cannot be reached costs an attempt now and then, however much is sent to it.
func TestLane_AttemptsAreFew(t *testing.T) {
	var dials atomic.Int64
	a := newRigNode(t, rigConfig{node: 1, dial: func(context.Context, string) (net.Conn, error) {
		dials.Add(1)
		return nil, errCut
	}})
	a.SetAddress(2, "nowhere:1")
	for range 300 {
		a.send(2, replicate(1, make([]byte, 1000)), pb.Message{Type: pb.Heartbeat})
		<-time.After(time.Millisecond)
	}
	if n := dials.Load(); n < 4 || n > 30 {
		t.Fatalf("%d attempts", n)
	}
	if a.resetCount() != 0 {
		t.Fatalf("%d resets although nothing was connected", a.resetCount())
	}
	if s := a.Peers(); len(s) != 1 || !errors.Is(s[0].Err, errCut) || s[0].Errors == 0 {
		t.Fatalf("%+v", s)
	}
}

// A connection begun while the network was cut gets nowhere; when the other side connects, it is begun anew.
func TestLane_HearingTheOtherSideEndsAnAttemptThatHangs(t *testing.T) {
	var hang atomic.Bool
	var dials atomic.Int64
	hang.Store(true)
	a := newRigNode(t, rigConfig{node: 1, dial: func(ctx context.Context, address string) (net.Conn, error) {
		if hang.Load() {
			dials.Add(1)
			<-ctx.Done()
			return nil, ctx.Err()
		}
		return (&net.Dialer{}).DialContext(ctx, "tcp", address)
	}})
	b := newRigNode(t, rigConfig{node: 2})
	knows(a, b)
	a.send(2, replicate(0, nil))
	await(t, "an attempt", func() bool { return dials.Load() > 0 })
	<-time.After(dialPatience + 10*time.Millisecond)
	hang.Store(false)
	b.send(1, pb.Message{Type: pb.Heartbeat})
	begin := time.Now()
	await(t, "a message", func() bool {
		a.send(2, replicate(1, nil))
		return len(b.received()) > 0
	})
	if d := time.Since(begin); d > dialTimeout/2 {
		t.Fatalf("it took %v", d)
	}
}

// What waits for a node that does not read is bounded, and dropped in the end.
func TestLane_SlowReaderIsBounded(t *testing.T) {
	a, b := pair(t)
	block := make(chan struct{})
	b.mu.Lock()
	b.block = block
	b.mu.Unlock()
	cmd := make([]byte, 4<<20)
	for i := range uint64(90) {
		a.send(2, replicate(i, cmd))
	}
	l := a.peers[2].data
	l.mu.Lock()
	waiting := l.bytes
	l.mu.Unlock()
	if waiting > laneBytesMax+int64(len(cmd))+1000 || a.counters.dropped.Load() == 0 {
		t.Fatalf("%d bytes wait, %d messages were dropped", waiting, a.counters.dropped.Load())
	}
	close(block)
	await(t, "what has not been dropped", func() bool { return len(b.received()) == 90-int(a.counters.dropped.Load()) })
}

// Heartbeats do not wait behind megabytes.
func TestLane_ControlOvertakesData(t *testing.T) {
	a, b := pair(t)
	a.send(2, pb.Message{Type: pb.Heartbeat, Hint: 1})
	await(t, "the control lane", func() bool { return len(b.received()) == 1 })
	cmd := make([]byte, 16<<20)
	for i := range uint64(15) {
		a.send(2, replicate(i, cmd))
	}
	a.send(2, pb.Message{Type: pb.Heartbeat, Hint: 1})
	await(t, "everything", func() bool { return len(b.received()) == 17 })
	for i, m := range b.received()[1:] {
		if m.Type == pb.Heartbeat {
			if i > 12 {
				t.Fatalf("the heartbeat came behind %d large messages", i)
			}
			return
		}
	}
}

// Bytes that change on the way break the connection, wherever they lie.
func TestLane_FlippedBitsNeverArrive(t *testing.T) {
	var f frame
	m := replicate(5, []byte("a command"))
	hb := pb.Message{Type: pb.Heartbeat, To: 1, Commit: 77}
	f.add(&m, 3)
	f.add(&hb, 4)
	f.seal()
	whole := bytes.Join(append([][]byte{f.head}, f.payload...), nil)
	for i := range len(whole) * 8 {
		b := bytes.Clone(whole)
		b[i/8] ^= 1 << (i % 8)
		// What an overlong length reads beyond the frame is zeroes.
		in := frameReader{r: bytes.NewReader(append(b, make([]byte, 100)...))}
		if ms, _, err := in.next(); err == nil {
			t.Fatalf("bit %d: %+v", i, ms)
		}
	}
	in := frameReader{r: bytes.NewReader(whole)}
	if ms, stamps, err := in.next(); err != nil || len(ms) != 2 || stamps[1] != 4 {
		t.Fatal(ms, stamps, err)
	}
}

// Messages that a node says to itself only, and unknown ones, would end dragonboat.
func TestLane_RefusesWhatDoesNotTravel(t *testing.T) {
	for kind := range 256 {
		var f frame
		m := pb.Message{Type: pb.MessageType(kind), To: 1}
		f.add(&m, 0)
		f.seal()
		in := frameReader{r: bytes.NewReader(f.head)}
		_, _, err := in.next()
		if ok := kind < 29 && travels(pb.MessageType(kind)); ok != (err == nil) {
			t.Fatalf("type %d: %v", kind, err)
		}
	}
	for kind := range 256 {
		var f frame
		m := pb.Message{Type: pb.Replicate, To: 1, Entries: []pb.Entry{{Type: pb.EntryType(kind)}}}
		f.add(&m, 0)
		f.seal()
		in := frameReader{r: bytes.NewReader(f.head)}
		if _, _, err := in.next(); (kind&^flagCovered <= 3) != (err == nil) {
			t.Fatalf("entry type %d: %v", kind, err)
		}
	}
}

// The node's own frames stay small, so that one lost connection loses little, unless one message is large.
func TestLane_FramesAreSmall(t *testing.T) {
	a := newRigNode(t, rigConfig{node: 1, dial: func(ctx context.Context, _ string) (net.Conn, error) {
		<-ctx.Done()
		return nil, ctx.Err()
	}})
	a.SetAddress(2, "nowhere:1")
	cmd := make([]byte, 100<<10)
	for i := range uint64(100) {
		a.send(2, replicate(i, cmd))
	}
	l := a.peers[2].data
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.frames) < 9 {
		t.Fatalf("%d frames", len(l.frames))
	}
	for _, f := range l.frames {
		if f.size() > frameBytes+int64(len(cmd))+1000 {
			t.Fatalf("a frame of %d bytes", f.size())
		}
	}
}

// A lane that the node opens again replaces the one before, even if that has not been noticed to be dead.
func TestLane_ReplacesItsFormerConnection(t *testing.T) {
	b := newRigNode(t, rigConfig{node: 2})
	dial := func(incarnation string) net.Conn {
		c, err := net.Dial("tcp", b.Addr().String()) //nolint:noctx // closed below
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = c.Close() })
		if err := writeHello(c, &greeting{Cluster: "c", Node: 1, To: 2, Incarnation: incarnation, Lane: laneControl}); err != nil {
			t.Fatal(err)
		}
		return c
	}
	greeted := func(c net.Conn) *welcome {
		var w welcome
		if err := readHello(c, &w); err != nil {
			t.Fatal(err)
		}
		return &w
	}
	sendOn := func(c net.Conn, index uint64) {
		var f frame
		f.add(&pb.Message{Type: pb.ReplicateResp, To: 2, From: 1, LogIndex: index}, 0)
		f.seal()
		_, _ = c.Write(f.head)
	}
	first := dial("one")
	greeted(first)
	sendOn(first, 1)
	await(t, "a message", func() bool { return len(b.received()) == 1 })
	// More lies in the old connection's buffers than has been read when the next start of the node is heard.
	block := make(chan struct{})
	b.mu.Lock()
	b.block = block
	b.mu.Unlock()
	for i := range uint64(200) {
		sendOn(first, 2+i)
	}
	second := dial("two")
	await(t, "the cut", func() bool {
		b.Transport.mu.Lock()
		defer b.Transport.mu.Unlock()
		s := b.seen[1]
		return s != nil && s.former == "one"
	})
	close(block)
	if w := greeted(second); w.Error != "" {
		t.Fatal(w.Error)
	}
	before := len(b.received())
	sendOn(second, 1000)
	await(t, "the message of the second", func() bool {
		got := b.received()
		return got[len(got)-1].LogIndex == 1000
	})
	if n := len(b.received()); n != before+1 || n > 100 {
		t.Fatalf("%d messages, %d of them before the second connection", n, before)
	}
	if w := greeted(dial("one")); w.Error == "" {
		t.Fatal("an older process of the node is let in again")
	}
}

// What is announced and does not come costs nothing.
func TestLane_AllocatesWhatArrives(t *testing.T) {
	for _, announced := range []uint32{1 << 10, headMax} {
		var h [frameHead]byte
		binary.LittleEndian.PutUint32(h[:], announced)
		binary.LittleEndian.PutUint32(h[4:], payloadMax)
		in := frameReader{r: bytes.NewReader(append(h[:], make([]byte, 500)...))}
		before := allocated()
		if _, _, err := in.next(); err == nil {
			t.Fatal("no error")
		}
		if n := allocated() - before; n > 1<<20 {
			t.Fatalf("%d bytes announced: %d allocated", announced, n)
		}
	}
	var f frame
	m := replicate(1, make([]byte, 400<<20/4))
	f.add(&m, 0)
	f.seal()
	before := allocated()
	in := frameReader{r: bytes.NewReader(f.head)}
	if _, _, err := in.next(); err == nil {
		t.Fatal("no error")
	}
	if n := allocated() - before; n > 4*commandStep {
		t.Fatalf("%d allocated for a command that did not come", n)
	}
}

// Stopping while all is in motion is prompt.
func TestLane_CloseWhileSendersSend(t *testing.T) {
	for range 5 {
		a, b := pair(t)
		var senders sync.WaitGroup
		var stop atomic.Bool
		for k := range 4 {
			senders.Go(func() {
				c, err := a.end.GetConnection(context.Background(), "2")
				for i := uint64(0); err == nil && !stop.Load(); i++ {
					m := replicate(i, make([]byte, 1<<(k*5)))
					m.To = 2
					_ = c.SendMessageBatch(pb.MessageBatch{Requests: []pb.Message{m}})
				}
			})
		}
		await(t, "traffic", func() bool { return len(b.received()) > 100 })
		for _, n := range []*rigNode{b, a} {
			begin := time.Now()
			n.stop()
			if d := time.Since(begin); d > time.Second {
				t.Errorf("close took %v", d)
			}
		}
		stop.Store(true)
		senders.Wait()
	}
}

// allocated is how many bytes this process has ever allocated.
func allocated() uint64 {
	var s runtime.MemStats
	runtime.ReadMemStats(&s)
	return s.TotalAlloc
}
