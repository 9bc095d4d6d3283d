package clienttest

import (
	"context"
	"encoding/binary"
	"io"
	"net"
	"strconv"
	"sync"
	"testing"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/stelemq/stele/protocol"
	"github.com/stelemq/stele/protocol/record"
)

// Action is what becomes of an answer.
type Action int8

const (
	// Pass sends the answer that the request gets by itself.
	Pass Action = iota
	// Replace sends the answer that the intercept function returned, without
	// carrying the request out.
	Replace
	// Lose carries the request out and closes the connection instead of
	// answering.
	Lose
	// Drop closes the connection without carrying the request out.
	Drop
	// Hang carries nothing out and never answers.
	Hang
)

// Intercept sees every request but ApiVersions before it is carried out.
type Intercept func(broker int32, req kmsg.Request) (Action, kmsg.Response)

// Cluster is a cluster in memory.
type Cluster struct {
	brokers []*broker
	wg      sync.WaitGroup

	mu sync.Mutex
	// mu guards:
	topics     map[string]*topic
	autoCreate int // partitions of a topic that is created on demand, 0: none is
	intercept  Intercept
	nextPID    int64
	conns      map[net.Conn]struct{}
	changed    chan struct{} // closed when a log grows or a leader moves
	closed     bool
	advertised string // instead of the listeners' addresses
}

type broker struct {
	id       int32
	listener net.Listener
}

type topic struct {
	partitions []*partition
	configs    map[string]string
}

// partition is a log and what it knows of producers.
type partition struct {
	leader    int32
	start     int64
	end       int64
	batches   []record.Batch
	producers map[int64]*producer
}

type producer struct {
	epoch int16
	next  int32
	last  []appended // up to five
}

type appended struct {
	sequence int32
	count    int32
	base     int64
}

// New starts a cluster of n brokers, with ids from 1, that ends with the test.
func New(tb testing.TB, n int) *Cluster {
	tb.Helper()
	c := &Cluster{topics: make(map[string]*topic), nextPID: 1000, conns: make(map[net.Conn]struct{}), changed: make(chan struct{})}
	for i := range n {
		l, err := new(net.ListenConfig).Listen(context.Background(), "tcp", "127.0.0.1:0")
		if err != nil {
			tb.Fatal(err)
		}
		b := &broker{id: int32(i + 1), listener: l} //nolint:gosec // a handful
		c.brokers = append(c.brokers, b)
		c.wg.Go(func() { c.accept(b) })
	}
	tb.Cleanup(c.close)
	return c
}

// Addr returns the address of the first broker.
func (c *Cluster) Addr() string { return c.brokers[0].listener.Addr().String() }

// CreateTopic creates a topic whose partitions are led by the brokers in turn.
func (c *Cluster) CreateTopic(name string, partitions int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.createLocked(name, partitions, nil)
}

func (c *Cluster) createLocked(name string, partitions int, configs map[string]string) *topic {
	t := &topic{configs: configs}
	for i := range partitions {
		t.partitions = append(t.partitions, &partition{leader: int32(i%len(c.brokers) + 1), producers: make(map[int64]*producer)}) //nolint:gosec // a handful
	}
	c.topics[name] = t
	return t
}

// AutoCreate makes topics that producers ask for come into being with so many
// partitions.
func (c *Cluster) AutoCreate(partitions int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.autoCreate = partitions
}

// Advertise makes metadata name another address than the listeners have.
func (c *Cluster) Advertise(addr string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.advertised = addr
}

// Intercept has f see requests; nil ends it.
func (c *Cluster) Intercept(f Intercept) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.intercept = f
}

// Stop closes a broker's listener and connections: nobody answers at its address any more.
func (c *Cluster) Stop(id int32) {
	_ = c.brokers[id-1].listener.Close()
	c.CutConnections()
}

// MoveLeader makes another broker lead a partition; -1 makes none.
func (c *Cluster) MoveLeader(name string, id, leader int32) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.topics[name].partitions[id].leader = leader
	c.wakeLocked()
}

// ForgetProducers drops what a partition knows of producers.
func (c *Cluster) ForgetProducers(name string, id int32) {
	c.mu.Lock()
	defer c.mu.Unlock()
	clear(c.topics[name].partitions[id].producers)
}

// TruncateStart moves the start of a log, as retention does.
func (c *Cluster) TruncateStart(name string, id int32, start int64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	p := c.topics[name].partitions[id]
	p.start = start
	for len(p.batches) > 0 && int64(p.batches[0].NextOffset()) <= start {
		p.batches = p.batches[1:]
	}
}

// Values returns the values in a partition's log.
func (c *Cluster) Values(tb testing.TB, name string, id int32) []string {
	tb.Helper()
	c.mu.Lock()
	defer c.mu.Unlock()
	var out []string
	for _, b := range c.topics[name].partitions[id].batches {
		for r, err := range b.Records(1 << 30) {
			if err != nil {
				tb.Fatal(err)
			}
			out = append(out, string(r.Value))
		}
	}
	return out
}

// Batches returns the batches in a partition's log.
func (c *Cluster) Batches(name string, id int32) []record.Batch {
	c.mu.Lock()
	defer c.mu.Unlock()
	return append([]record.Batch(nil), c.topics[name].partitions[id].batches...)
}

// CutConnections closes all connections.
func (c *Cluster) CutConnections() {
	c.mu.Lock()
	defer c.mu.Unlock()
	for conn := range c.conns {
		_ = conn.Close()
	}
}

func (c *Cluster) wakeLocked() {
	close(c.changed)
	c.changed = make(chan struct{})
}

func (c *Cluster) close() {
	for _, b := range c.brokers {
		_ = b.listener.Close()
	}
	c.mu.Lock()
	c.closed = true
	c.wakeLocked()
	c.mu.Unlock()
	c.CutConnections()
	c.wg.Wait()
}

func (c *Cluster) accept(b *broker) {
	for {
		conn, err := b.listener.Accept()
		if err != nil {
			return
		}
		c.mu.Lock()
		c.conns[conn] = struct{}{}
		closed := c.closed
		c.mu.Unlock()
		if closed {
			_ = conn.Close()
		}
		c.wg.Go(func() { c.serve(b, conn) })
	}
}

// serve answers the requests of a connection one by one.
func (c *Cluster) serve(b *broker, conn net.Conn) {
	defer func() {
		_ = conn.Close()
		c.mu.Lock()
		delete(c.conns, conn)
		c.mu.Unlock()
	}()
	for {
		var size [4]byte
		if _, err := io.ReadFull(conn, size[:]); err != nil {
			return
		}
		frame := make([]byte, binary.BigEndian.Uint32(size[:]))
		if _, err := io.ReadFull(conn, frame); err != nil {
			return
		}
		out, ok := c.answer(b, frame)
		if !ok {
			return
		}
		if len(out) == 0 {
			continue
		}
		if _, err := conn.Write(out); err != nil {
			return
		}
	}
}

// answer carries a request out; ok is false if the connection is to be closed.
func (c *Cluster) answer(b *broker, frame []byte) (out []byte, ok bool) {
	if len(frame) < 10 {
		return nil, false
	}
	key := int16(binary.BigEndian.Uint16(frame))         //nolint:gosec // the same bits
	version := int16(binary.BigEndian.Uint16(frame[2:])) //nolint:gosec // the same bits
	req := kmsg.RequestForKey(key)
	body, ok := skipHeader(frame, req, version)
	if !ok {
		return nil, false
	}
	req.SetVersion(version)
	if err := req.ReadFrom(body); err != nil {
		return nil, false
	}
	res, ok := c.act(b, req)
	if !ok {
		return nil, false
	}
	if p, isProduce := req.(*kmsg.ProduceRequest); isProduce && p.Acks == 0 {
		return nil, true
	}
	out = append(out, 0, 0, 0, 0)
	out = append(out, frame[4:8]...)
	if res.IsFlexible() && key != 18 {
		out = append(out, 0)
	}
	out = res.AppendTo(out)
	binary.BigEndian.PutUint32(out, uint32(len(out)-4)) //nolint:gosec // small
	return out, true
}

// skipHeader returns what follows a request header.
func skipHeader(frame []byte, req kmsg.Request, version int16) ([]byte, bool) {
	if req == nil {
		return nil, false
	}
	at := 10
	if n := int16(binary.BigEndian.Uint16(frame[8:])); n > 0 { //nolint:gosec // the same bits
		at += int(n)
	}
	req.SetVersion(version)
	if req.IsFlexible() {
		at++ // no tags are sent
	}
	if at > len(frame) {
		return nil, false
	}
	return frame[at:], true
}

// act intercepts and dispatches.
func (c *Cluster) act(b *broker, req kmsg.Request) (kmsg.Response, bool) {
	if r, ok := req.(*kmsg.ApiVersionsRequest); ok {
		return apiVersions(r), true
	}
	c.mu.Lock()
	intercept := c.intercept
	c.mu.Unlock()
	action, replacement := Pass, kmsg.Response(nil)
	if intercept != nil {
		action, replacement = intercept(b.id, req)
	}
	switch action {
	case Replace:
		replacement.SetVersion(req.GetVersion())
		return replacement, true
	case Drop:
		return nil, false
	case Hang:
		c.untilClosed()
		return nil, false
	case Pass, Lose:
	}
	res := c.dispatch(b, req)
	return res, res != nil && action != Lose
}

func (c *Cluster) untilClosed() {
	for {
		c.mu.Lock()
		closed, changed := c.closed, c.changed
		c.mu.Unlock()
		if closed {
			return
		}
		<-changed
	}
}

func apiVersions(r *kmsg.ApiVersionsRequest) kmsg.Response {
	res := r.ResponseKind().(*kmsg.ApiVersionsResponse) //nolint:errcheck,forcetypeassert // its own kind
	for _, k := range [][3]int16{{0, 3, 8}, {1, 4, 11}, {2, 1, 5}, {3, 1, 8}, {18, 0, 2}, {19, 2, 5}, {20, 1, 3}, {22, 0, 4}, {32, 1, 3}, {37, 0, 1}} {
		res.ApiKeys = append(res.ApiKeys, kmsg.ApiVersionsResponseApiKey{ApiKey: k[0], MinVersion: k[1], MaxVersion: k[2]})
	}
	return res
}

func (c *Cluster) dispatch(b *broker, req kmsg.Request) kmsg.Response {
	switch r := req.(type) {
	case *kmsg.MetadataRequest:
		return c.metadata(r)
	case *kmsg.ProduceRequest:
		return c.produce(b, r)
	case *kmsg.FetchRequest:
		return c.fetch(b, r)
	case *kmsg.ListOffsetsRequest:
		return c.listOffsets(b, r)
	case *kmsg.InitProducerIDRequest:
		return c.initProducerID(r)
	case *kmsg.CreateTopicsRequest:
		return c.createTopics(r)
	case *kmsg.DeleteTopicsRequest:
		return c.deleteTopics(r)
	default:
		return nil
	}
}

// hostPort splits an address that is known to be one.
func hostPort(addr string) (string, int32) {
	host, port, err := net.SplitHostPort(addr)
	if err != nil {
		return addr, 0
	}
	n, err := strconv.ParseInt(port, 10, 32)
	if err != nil {
		return host, 0
	}
	return host, int32(n)
}

func code(c protocol.Code) int16 { return int16(c) }
