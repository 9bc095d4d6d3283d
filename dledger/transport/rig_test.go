package transport

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"sync"
	"testing"
	"time"

	"github.com/lni/dragonboat/v4/config"
	"github.com/lni/dragonboat/v4/raftio"
	pb "github.com/lni/dragonboat/v4/raftpb"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// passAll is an observer that has no objections.
type passAll struct{}

func (passAll) Stamp(*pb.Message) (int64, bool)         { return 1, true }
func (passAll) Received(int32, *pb.Message, int64) bool { return true }
func (passAll) Lost(int32)                              {}
func (passAll) Connected(int32)                         {}

// rigNode is a transport with an end for Raft that keeps what it gets.
type rigNode struct {
	*Transport
	tb    testing.TB
	end   raftio.ITransport
	conns map[int32]raftio.IConnection
	wake  chan struct{}

	mu sync.Mutex
	// mu guards:
	got    []pb.Message
	stamps []int64
	resets int
	chunks []pb.Chunk
	block  chan struct{} // not nil: messages are taken once it is closed
}

// rigConfig is how a node of a test differs from node 1 of cluster "c" on a port of its own.
type rigConfig struct {
	node    int32
	cluster string
	wrap    func(net.Listener) net.Listener
	dial    func(ctx context.Context, address string) (net.Conn, error)
	address string
	logger  *slog.Logger
	noRaft  bool
}

func newRigNode(tb testing.TB, c rigConfig) *rigNode {
	tb.Helper()
	if c.address == "" {
		c.address = "127.0.0.1:0"
	}
	var l net.Listener
	await(tb, "the port", func() (ok bool) {
		var err error
		l, err = net.Listen("tcp", c.address) //nolint:noctx // closed with the transport
		return err == nil
	})
	if c.wrap != nil {
		l = c.wrap(l)
	}
	if c.logger == nil {
		c.logger = slog.New(slog.DiscardHandler)
	}
	n := &rigNode{tb: tb, conns: map[int32]raftio.IConnection{}, wake: make(chan struct{}, 1)}
	n.Transport = New(Config{NodeID: c.node, Listener: l, Dial: c.dial, Logger: c.logger})
	if c.cluster != "-" {
		if c.cluster == "" {
			c.cluster = "c"
		}
		n.SetClusterID(c.cluster)
	}
	if !c.noRaft {
		n.startRaft()
	}
	tb.Cleanup(n.stop)
	return n
}

func (n *rigNode) startRaft() {
	f := &Factory{
		T: n.Transport, Observer: n, Target: func(node int32) string { return fmt.Sprint(node) },
		NodeOf: func(s string) (node int32, ok bool) { _, err := fmt.Sscan(s, &node); return node, err == nil },
	}
	f.Covers = func(_ *pb.Message, e *pb.Entry) bool { return e.ClientID%2 == 0 }
	n.end = f.Create(config.NodeHostConfig{}, n.take, n.takeChunk)
	if err := n.end.Start(); err != nil {
		n.tb.Fatal(err)
	}
}

func (n *rigNode) stop() {
	if n.end != nil {
		_ = n.end.Close()
	}
	if err := n.Close(); err != nil {
		n.tb.Error(err)
	}
}

func (n *rigNode) Stamp(m *pb.Message) (int64, bool) { return int64(m.Hint) * 3, m.Hint != 666 }

func (n *rigNode) Received(_ int32, m *pb.Message, stamp int64) bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.stamps = append(n.stamps, stamp)
	return m.Commit != 666
}

func (n *rigNode) Lost(node int32) { n.Connected(node) }

func (n *rigNode) Connected(int32) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.resets++
}

func (n *rigNode) take(b pb.MessageBatch) {
	n.mu.Lock()
	block := n.block
	n.mu.Unlock()
	if block != nil {
		<-block
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	n.got = append(n.got, b.Requests...)
	poke(n.wake)
}

func (n *rigNode) takeChunk(c pb.Chunk) bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.chunks = append(n.chunks, c)
	return true
}

func (n *rigNode) received() []pb.Message {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.got[:len(n.got):len(n.got)]
}

func (n *rigNode) resetCount() int {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.resets
}

// send has Raft send messages to a node.
func (n *rigNode) send(to int32, ms ...pb.Message) {
	n.tb.Helper()
	c := n.conns[to]
	if c == nil {
		var err error
		if c, err = n.end.GetConnection(context.Background(), fmt.Sprint(to)); err != nil {
			n.tb.Fatal(err)
		}
		n.conns[to] = c
	}
	for i := range ms {
		ms[i].To = max(ms[i].To, uint64(to)) //nolint:gosec // small
	}
	if err := c.SendMessageBatch(pb.MessageBatch{Requests: ms}); err != nil {
		n.tb.Fatal(err)
	}
}

// knows has nodes know each other's address.
func knows(ns ...*rigNode) {
	for _, n := range ns {
		for _, o := range ns {
			if o != n {
				n.SetAddress(o.NodeID(), o.Addr().String())
			}
		}
	}
}

// pair is nodes 1 and 2 of a cluster.
func pair(tb testing.TB) (a, b *rigNode) {
	tb.Helper()
	a, b = newRigNode(tb, rigConfig{node: 1}), newRigNode(tb, rigConfig{node: 2})
	knows(a, b)
	return a, b
}

// await waits for a condition.
func await(tb testing.TB, what string, ok func() bool) {
	tb.Helper()
	deadline := time.Now().Add(20 * time.Second)
	for !ok() {
		if time.Now().After(deadline) {
			tb.Fatalf("not in time: %s", what)
		}
		time.Sleep(time.Millisecond) //nolint:forbidigo // the condition is polled
	}
}

func within(t *testing.T, d time.Duration) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), d)
	t.Cleanup(cancel)
	return ctx
}

// entry is a Replicate of one entry.
func replicate(index uint64, cmd []byte) pb.Message {
	return pb.Message{
		Type: pb.Replicate, From: 1, ShardID: 100, Term: 3, LogTerm: 3, LogIndex: index,
		Entries: []pb.Entry{{Type: pb.EncodedEntry, Term: 3, Index: index + 1, Key: 9, ClientID: 3<<32 | index, Cmd: cmd}},
	}
}
