package transport

import (
	"bytes"
	"encoding/binary"
	"io"
	"math/rand/v2"
	"net"
	"testing"
	"time"

	pb "github.com/lni/dragonboat/v4/raftpb"
)

// allowance is what decoding may allocate: some times what has arrived, for a message is larger decoded, and a little.
func allowance(n int) uint64 { return uint64(n)*64 + 2*commandStep } //nolint:gosec // small

// FuzzFrames: no bytes make the reader of a Raft lane panic, hang or allocate much; what it takes it writes again alike.
func FuzzFrames(f *testing.F) {
	r := rand.New(rand.NewPCG(1, 2))
	for range 20 {
		var fr frame
		for range 1 + r.IntN(4) {
			m := randomMessage(r)
			for i := range m.Entries {
				m.Entries[i].Cmd = m.Entries[i].Cmd[:min(len(m.Entries[i].Cmd), 100)]
			}
			fr.add(&m, r.Int64())
		}
		fr.seal()
		f.Add(bytes.Join(append([][]byte{fr.head}, fr.payload...), nil), true)
	}
	f.Fuzz(func(t *testing.T, b []byte, mend bool) {
		b = bytes.Clone(b)
		if mend { // lengths and checksum are made right, so that what lies behind is reached
			mendFrame(b)
		}
		before := allocated()
		in := frameReader{r: bytes.NewReader(b)}
		for {
			ms, stamps, err := in.next()
			if err != nil {
				break
			}
			again(t, ms, stamps)
		}
		if n := allocated() - before; n > 4*allowance(len(b)) { // the fuzzer allocates, too
			t.Fatalf("%d bytes made it allocate %d", len(b), n)
		}
	})
}

func again(t *testing.T, ms []pb.Message, stamps []int64) {
	t.Helper()
	var f frame
	for i := range ms {
		f.add(&ms[i], stamps[i])
	}
	if len(ms) == 0 {
		return
	}
	f.seal()
	in := frameReader{r: bytes.NewReader(bytes.Join(append([][]byte{f.head}, f.payload...), nil))}
	back, _, err := in.next()
	if err != nil || len(back) != len(ms) {
		t.Fatal(err)
	}
	for i := range ms {
		x, y := ms[i], back[i]
		if xb, yb := marshal(t, &x), marshal(t, &y); !bytes.Equal(xb, yb) {
			t.Fatalf("%+v\n%+v", x, y)
		}
	}
}

// mendFrame makes the lengths fit, and the checksum.
func mendFrame(b []byte) {
	if len(b) < frameHead {
		return
	}
	n := min(int(binary.LittleEndian.Uint32(b)), len(b)-frameHead)
	binary.LittleEndian.PutUint32(b, uint32(n))
	binary.LittleEndian.PutUint32(b[4:], uint32(len(b)-frameHead-n))
	f := frame{head: bytes.Clone(b[:frameHead+n]), payload: [][]byte{b[frameHead+n:]}, bytes: int64(len(b) - frameHead - n)}
	f.messages, f.entries = binary.LittleEndian.Uint32(b[8:]), binary.LittleEndian.Uint32(b[12:])
	f.seal()
	copy(b, f.head[:frameHead])
}

// FuzzGreeting: whatever connects, and whatever answers, is refused or understood.
func FuzzGreeting(f *testing.F) {
	var b bytes.Buffer
	_ = writeHello(&b, &greeting{Cluster: "c", Node: 1, To: 2, Incarnation: "abc", Lane: laneData})
	f.Add(b.Bytes())
	f.Add([]byte("STL1\x00\x00\x00\x02{}"))
	f.Add([]byte("GET / HTTP/1.1\r\n\r\n"))
	f.Fuzz(func(t *testing.T, b []byte) {
		before := allocated()
		var g greeting
		var w welcome
		if readHello(bytes.NewReader(b), &g) == nil {
			_ = (&Transport{}).judge(&identity{"c", 2}, &g)
		}
		_ = readHello(bytes.NewReader(b), &w)
		if n := allocated() - before; n > 1<<20+allowance(len(b)) {
			t.Fatalf("%d bytes made it allocate %d", len(b), n)
		}
	})
}

// FuzzCalls: requests and answers of any bytes end the connection or are answered; handlers get what was sent.
func FuzzCalls(f *testing.F) {
	add := func(kind byte, name, body string) []byte {
		b := binary.LittleEndian.AppendUint32(nil, uint32(callHead-4+len(name)+len(body)))
		b = binary.LittleEndian.AppendUint64(b, 7)
		b = append(b, kind, byte(len(name)))
		return append(append(b, name...), body...)
	}
	f.Add(add(kindOK, "echo", "body"))
	f.Add(append(add(kindOK|flagMore, "echo", "one"), add(kindOK|flagRest, "", "two")...))
	f.Add(append(add(kindOK|flagMore, "echo", "one"), add(kindAbort|flagRest, "", "")...))
	f.Add(add(kindError, "code", "text"))
	f.Fuzz(func(t *testing.T, b []byte) {
		before := allocated()
		in := bytes.NewReader(b)
		for {
			if _, err := readCall(in); err != nil {
				break
			}
		}
		l := &link{Conn: nopConn{}, greeting: &greeting{Node: 1, Cluster: "c"}}
		tr := &Transport{}
		tr.who.Store(&identity{"c", 2})
		s := &callServer{t: tr, link: l, out: newCallWriter(l.Conn), requests: map[uint64]*request{}}
		k := &callConn{waiting: map[uint64]*waiter{7: {done: make(chan callResult, 1)}}}
		in = bytes.NewReader(b)
		open := int64(0)
		for {
			fr, err := readCall(in)
			if err != nil {
				break
			}
			k.arrived(&fr)
			if q := s.arrived(&fr); q != nil {
				open += int64(len(q.body)) + requestCost
			}
		}
		for _, q := range s.requests {
			open += int64(len(q.body)) + requestCost
		}
		if n := s.bytes.Load(); n != open {
			t.Fatalf("%d bytes are counted, %d are there", n, open)
		}
		if n := allocated() - before; n > 4*allowance(len(b)) {
			t.Fatalf("%d bytes made it allocate %d", len(b), n)
		}
	})
}

// nopConn takes everything and brings nothing.
type nopConn struct{}

func (nopConn) Read([]byte) (int, error)         { return 0, io.EOF }
func (nopConn) Write(b []byte) (int, error)      { return len(b), nil }
func (nopConn) Close() error                     { return nil }
func (nopConn) LocalAddr() net.Addr              { return nil }
func (nopConn) RemoteAddr() net.Addr             { return nil }
func (nopConn) SetDeadline(time.Time) error      { return nil }
func (nopConn) SetReadDeadline(time.Time) error  { return nil }
func (nopConn) SetWriteDeadline(time.Time) error { return nil }
