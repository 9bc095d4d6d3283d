package broker

import (
	"bytes"
	"context"
	"encoding/binary"
	"log/slog"
	"net"
	"net/netip"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/stelemq/stele/protocol"
)

func TestConn_FrameLengthsThatCannotBe(t *testing.T) {
	b := startBroker(t, func(o *Options) { o.Config.MaxRequestBytes = 1 << 20 })
	for name, size := range map[string]uint32{
		"negative": 0xffffffff, "zero": 0, "shorter than a header": 7, "largest": 1<<31 - 1, "above the limit": 1<<20 + 1,
	} {
		t.Run(name, func(t *testing.T) {
			c := b.dial(t)
			var before, after runtime.MemStats
			runtime.GC()
			runtime.ReadMemStats(&before)
			c.write(binary.BigEndian.AppendUint32(nil, size))
			c.closed()
			runtime.ReadMemStats(&after)
			if grown := int64(after.TotalAlloc) - int64(before.TotalAlloc); grown > 1<<20 {
				t.Errorf("allocated %d bytes", grown)
			}
		})
	}
}

func TestConn_FrameThatClaimsMuchAndSendsLittle(t *testing.T) {
	b := startBroker(t)
	c := b.dial(t)
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	c.write(binary.BigEndian.AppendUint32(nil, 100<<20))
	c.write(make([]byte, 100))
	eventually(t, func() bool {
		b.requestMemory.mu.Lock()
		defer b.requestMemory.mu.Unlock()
		return b.requestMemory.used > 0
	})
	runtime.ReadMemStats(&after)
	if grown := int64(after.TotalAlloc) - int64(before.TotalAlloc); grown > 2<<20 {
		t.Errorf("allocated %d bytes for 100 that arrived", grown)
	}
	_ = c.nc.Close()
	eventually(t, func() bool {
		b.requestMemory.mu.Lock()
		defer b.requestMemory.mu.Unlock()
		return b.requestMemory.used == 0
	})
}

func TestConn_LargeFrameArrivesWhole(t *testing.T) {
	b := startBroker(t)
	c := b.dial(t)
	c.createTopic("big", 1, "max.message.bytes", "20000000")
	value := string(slices.Repeat([]byte("x"), 9<<20))
	if got := c.produce("big", 0, batchOf(t, value)); got != 0 {
		t.Fatal(got)
	}
	r := ask[*kmsg.FetchResponse](c, fetchRequest(12, "big", [16]byte{}, 0, 0))
	if got := valuesOf(t, r.Topics[0].Partitions[0].RecordBatches); len(got) != 1 || got[0] != value {
		t.Fatalf("%d values", len(got))
	}
}

func TestConn_MalformedBodyEndsItAndNothingElse(t *testing.T) {
	b := startBroker(t)
	for _, key := range []int16{0, 1, 2, 3, 18, 19, 20, 22, 23, 32, 37, 60, 75} {
		a, _ := protocol.Lookup(key)
		c := b.dial(t)
		p := []byte{0, 0, 0, 0}
		p = binary.BigEndian.AppendUint16(p, uint16(key))
		p = binary.BigEndian.AppendUint16(p, uint16(a.Max))
		p = binary.BigEndian.AppendUint32(p, 1)
		p = append(p, 0xff, 0xff) // no client id
		if a.Flexible(a.Max) {
			p = append(p, 0)
		}
		p = append(p, 0xff, 0xff, 0xff, 0xff, 0x0f) // a length of 2^31-1, or part of one
		binary.BigEndian.PutUint32(p, uint32(len(p)-4))
		c.write(p)
		c.closed()
	}
	b.dial(t).alive()
}

func TestConn_SlowFrameIsCutOff(t *testing.T) {
	b := startBroker(t, func(o *Options) { o.Config.FrameTimeout = 50 * time.Millisecond })
	c := b.dial(t)
	f := frame(&kmsg.ApiVersionsRequest{}, 1)
	c.write(f[:len(f)-1])
	c.closed()
}

func TestConn_IdleIsCutOffButNotWhileWaiting(t *testing.T) {
	b := startBroker(t, func(o *Options) { o.Config.MaxIdle = 100 * time.Millisecond })
	c := b.dial(t)
	c.createTopic("t", 1)
	req := fetchRequest(12, "t", [16]byte{}, 0, 0)
	req.MaxWaitMillis = 400
	began := time.Now()
	r := ask[*kmsg.FetchResponse](c, req)
	if r.Topics[0].Partitions[0].ErrorCode != 0 || time.Since(began) < 350*time.Millisecond {
		t.Fatalf("%+v after %s", r, time.Since(began))
	}
	c.closed()
}

func TestConn_Limits(t *testing.T) {
	for name, set := range map[string]func(*Config){
		"in all":     func(c *Config) { c.MaxConnections = 2 },
		"by address": func(c *Config) { c.MaxConnectionsPerIP = 2 },
	} {
		t.Run(name, func(t *testing.T) {
			b := startBroker(t, func(o *Options) { set(&o.Config) })
			first := b.dial(t)
			first.alive()
			b.dial(t).alive()
			b.dial(t).closed()
			_ = first.nc.Close()
			s := b.server.Load()
			eventually(t, func() bool {
				s.mu.Lock()
				defer s.mu.Unlock()
				return len(s.conns) == 1
			})
			b.dial(t).alive()
		})
	}
}

func TestConn_KeepsTCPAlive(t *testing.T) {
	b := startBroker(t)
	b.dial(t).alive()
	s := b.server.Load()
	s.mu.Lock()
	defer s.mu.Unlock()
	for c := range s.conns {
		raw, err := c.nc.(*net.TCPConn).SyscallConn()
		if err != nil {
			t.Fatal(err)
		}
		_ = raw.Control(func(fd uintptr) {
			if v, err := syscall.GetsockoptInt(int(fd), syscall.SOL_SOCKET, syscall.SO_KEEPALIVE); err != nil || v != 1 {
				t.Errorf("SO_KEEPALIVE is %d, %v", v, err)
			}
		})
	}
}

// Gotcha 24: answers leave in the order of the requests; a later Produce does not wait for an earlier
// one's replication, and what waits holds back answers only.
func TestGotcha24_AnswersInOrderWhileAppendsGoOn(t *testing.T) {
	b := startBroker(t)
	c := b.dial(t)
	c.createTopic("a", 1)
	c.createTopic("b", 1)
	la, lb := b.host.log(t, "a", 0), b.host.log(t, "b", 0)
	la.set(func() { la.hold = true })

	first, second := produceRequest("a", 0, batchOf(t, "1")), produceRequest("b", 0, batchOf(t, "2"))
	wait := fetchRequest(12, "b", [16]byte{}, 0, 1)
	wait.MaxWaitMillis = 10_000
	third := produceRequest("b", 0, batchOf(t, "3"))
	id1, id2 := c.send(first), c.send(second)
	eventually(t, func() bool { return lb.Offsets().LogEnd == 1 }) // appended although the first is not answered
	idWait := c.send(wait)
	la.release()
	c.receive(first, id1)
	c.receive(second, id2)
	id3 := c.send(third) // appended although the Fetch before it waits: for this, as it happens
	r, ok := c.receive(wait, idWait).(*kmsg.FetchResponse)
	if !ok || len(r.Topics[0].Partitions[0].RecordBatches) == 0 {
		t.Fatalf("%+v", r)
	}
	c.receive(third, id3)
}

func TestGotcha24_PipelinedProduceKeepsItsOrder(t *testing.T) {
	b := startBroker(t)
	c := b.dial(t)
	c.createTopic("t", 1)
	const n = 1000
	var all []byte
	want := make([]string, n)
	for i := range n {
		want[i] = strconv.Itoa(i)
		all = append(all, frame(produceRequest("t", 0, batchOf(t, want[i])), int32(i))...)
	}
	go func() { _, _ = c.nc.Write(all) }()
	for i := range n {
		p := c.receive(produceRequest("t", 0, nil), int32(i)).(*kmsg.ProduceResponse).Topics[0].Partitions[0]
		if p.ErrorCode != 0 || p.BaseOffset != int64(i) {
			t.Fatalf("%d: %+v", i, p)
		}
	}
	r := ask[*kmsg.FetchResponse](c, fetchRequest(12, "t", [16]byte{}, 0, 0))
	if got := valuesOf(t, r.Topics[0].Partitions[0].RecordBatches); !slices.Equal(got, want) {
		t.Fatalf("%d values, out of order", len(got))
	}
}

func TestConn_CreateTopicThenProduceInOneGo(t *testing.T) {
	b := startBroker(t)
	c := b.dial(t)
	create := kmsg.NewPtrCreateTopicsRequest()
	create.TimeoutMillis = 5000
	create.Topics = append(create.Topics, kmsg.CreateTopicsRequestTopic{Topic: "t", NumPartitions: 1, ReplicationFactor: 1})
	produce := produceRequest("t", 0, batchOf(t, "x"))
	c.write(append(frame(create, 1), frame(produce, 2)...))
	c.receive(create, 1)
	if p := c.receive(produce, 2).(*kmsg.ProduceResponse).Topics[0].Partitions[0]; p.ErrorCode != 0 {
		t.Fatal(protocol.Code(p.ErrorCode))
	}
}

func TestConn_DisconnectWhileProducesAreUnderWay(t *testing.T) {
	b := startBroker(t)
	c := b.dial(t)
	c.createTopic("t", 1)
	l := b.host.log(t, "t", 0)
	l.set(func() { l.hold = true })
	for range 20 {
		c.send(produceRequest("t", 0, batchOf(t, "x")))
	}
	eventually(t, func() bool { return l.Offsets().LogEnd == 20 })
	_ = c.nc.Close()
	s := b.server.Load()
	eventually(t, func() bool {
		s.mu.Lock()
		defer s.mu.Unlock()
		return len(s.conns) == 0
	})
	l.release()
	if used := b.requestMemory.used; used != 0 {
		t.Errorf("%d bytes of requests are still counted", used)
	}
	d := b.dial(t)
	if got := d.produce("t", 0, batchOf(t, "y")); got != 20 {
		t.Fatal(got)
	}
}

func TestBroker_CloseAnswersWhatIsUnderWay(t *testing.T) {
	b := startBroker(t)
	c := b.dial(t)
	c.createTopic("t", 1)
	req := fetchRequest(12, "t", [16]byte{}, 0, 0)
	req.MaxWaitMillis = 60_000
	id := c.send(req)
	eventually(t, func() bool {
		l := b.host.log(t, "t", 0)
		l.mu.Lock()
		defer l.mu.Unlock()
		return len(l.subs) > 0
	})
	done := make(chan error, 1)
	go func() { done <- b.Close() }()
	c.receive(req, id)
	c.closed()
	if err := <-done; err != nil {
		t.Fatal(err)
	}
}

func TestBroker_CloseGivesUpOnWhatHangs(t *testing.T) {
	b := startBroker(t, func(o *Options) { o.Config.ShutdownTimeout = 50 * time.Millisecond })
	c := b.dial(t)
	c.createTopic("t", 1)
	l := b.host.log(t, "t", 0)
	l.set(func() { l.hold = true })
	c.send(produceRequest("t", 0, batchOf(t, "x")))
	eventually(t, func() bool { return l.Offsets().LogEnd == 1 })
	if err := b.Close(); err != nil {
		t.Fatal(err)
	}
	l.release()
}

func TestBudget_LetsOneLargeThroughAndKeepsOrder(t *testing.T) {
	b := newBudget(10)
	if err := b.take(t.Context(), 100); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	gaveUp := make(chan error, 1)
	go func() { gaveUp <- b.take(ctx, 1) }()
	eventually(t, func() bool { b.mu.Lock(); defer b.mu.Unlock(); return len(b.waiting) == 1 })
	second := make(chan error, 1)
	go func() { second <- b.take(t.Context(), 5) }()
	eventually(t, func() bool { b.mu.Lock(); defer b.mu.Unlock(); return len(b.waiting) == 2 })
	cancel()
	if err := <-gaveUp; err == nil {
		t.Fatal("taken although cancelled")
	}
	b.give(100)
	if err := <-second; err != nil {
		t.Fatal(err)
	}
	b.give(5)
	if b.used != 0 {
		t.Fatal(b.used)
	}
}

func TestServer_WarnsOnceOfALoopbackAddress(t *testing.T) {
	var out bytes.Buffer
	b := &Broker{log: slog.New(slog.NewTextHandler(&out, nil))}
	s := &server{b: b}
	for host, want := range map[string]int{"localhost": 1, "127.0.0.1": 1, "::1": 1, "example.test": 0, "10.0.0.1": 0} {
		out.Reset()
		l := &listener{host: host, port: 9092}
		for _, remote := range []string{"127.0.0.1", "10.0.0.7", "10.0.0.8"} {
			s.warnOfLoopback(l, netip.MustParseAddr(remote))
		}
		if got := strings.Count(out.String(), "advertised.listeners"); got != want {
			t.Errorf("%s: %d warnings", host, got)
		}
	}
}
