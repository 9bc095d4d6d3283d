package dledger

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	pb "github.com/lni/dragonboat/v4/raftpb"

	"github.com/stelemq/stele/dledger/transport"
	"github.com/stelemq/stele/protocol/record"
)

// testCluster is several hosts of one process, connected over loopback.
type testCluster struct {
	t     *testing.T
	dirs  []string
	addrs []string
	hosts []*Host
	nets  []*testNet
	// shaped: the nodes' connections can be held and damaged, too.
	shaped bool
	// options are applied to each host.
	options func(*Options)
	specs   map[ShardID]PartitionSpec
}

// testNet is a node's network, which can be cut.
type testNet struct {
	cut   atomic.Bool
	shape *shape // nil: connections are left as they are
	mu    sync.Mutex
	conns map[net.Conn]struct{}
}

func (n *testNet) track(c net.Conn) net.Conn {
	if n.shape != nil {
		c = &shapedConn{Conn: c, shape: n.shape, closed: make(chan struct{})}
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.conns == nil {
		n.conns = map[net.Conn]struct{}{}
	}
	n.conns[c] = struct{}{}
	return c
}

func (n *testNet) isolate(on bool) {
	n.cut.Store(on)
	if !on {
		return
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	for c := range n.conns {
		_ = c.Close()
	}
	clear(n.conns)
}

type testListener struct {
	net.Listener
	n *testNet
}

func (l testListener) Accept() (net.Conn, error) {
	for {
		c, err := l.Listener.Accept()
		if err != nil {
			return nil, err
		}
		if l.n.cut.Load() {
			_ = c.Close()
			continue
		}
		return l.n.track(c), nil
	}
}

func newCluster(t *testing.T, nodes int) *testCluster {
	t.Helper()
	c := &testCluster{t: t, hosts: make([]*Host, nodes), nets: make([]*testNet, nodes), specs: map[ShardID]PartitionSpec{}}
	root := t.TempDir()
	for i := range nodes {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		c.addrs = append(c.addrs, l.Addr().String())
		c.dirs = append(c.dirs, filepath.Join(root, fmt.Sprint(i+1)))
		_ = l.Close()
	}
	t.Cleanup(func() {
		for i := range c.hosts {
			c.stop(i)
		}
	})
	return c
}

// start opens the i-th host, node i+1.
func (c *testCluster) start(i int) {
	c.t.Helper()
	l, err := net.Listen("tcp", c.addrs[i])
	if err != nil {
		c.t.Fatal(err)
	}
	n := &testNet{}
	if c.shaped {
		n.shape = &shape{}
	}
	c.nets[i] = n
	level := slog.LevelError + 4
	if os.Getenv("STELE_TEST_LOG") != "" {
		level = slog.LevelDebug
	}
	logger := slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: level})).With("node", i+1)
	tr := transport.New(transport.Config{
		NodeID: int32(i + 1), Listener: testListener{l, n}, Logger: logger,
		Dial: func(ctx context.Context, address string) (net.Conn, error) {
			if n.cut.Load() {
				return nil, net.ErrClosed
			}
			conn, err := (&net.Dialer{Timeout: time.Second}).DialContext(ctx, "tcp", address)
			if err != nil {
				return nil, err
			}
			return n.track(conn), nil
		},
	})
	tr.SetClusterID("test")
	founders := map[ReplicaID]int32{}
	for k, a := range c.addrs {
		tr.SetAddress(int32(k+1), a)
		founders[ReplicaID(k+1)] = int32(k + 1)
	}
	o := Options{
		Dir: c.dirs[i], NodeID: int32(i + 1), Transport: tr, StateMachine: nopMetadata{}, Logger: logger,
		Metadata: MetadataSpec{Replica: ReplicaID(i + 1), Founders: founders}, JournalFileBytes: 1 << 20,
		Fatal: func(err error) { c.t.Errorf("node %d: fatal: %v", i+1, err) },
	}
	if c.options != nil {
		c.options(&o)
	}
	h, err := Open(context.Background(), o)
	if err != nil {
		_ = tr.Close()
		c.t.Fatal(err)
	}
	c.hosts[i] = h
	for _, spec := range c.specs {
		c.run(i, spec)
	}
}

// run starts the i-th node's replica of a partition, if it has one.
func (c *testCluster) run(i int, spec PartitionSpec) {
	c.t.Helper()
	for r, n := range spec.Members {
		if n == int32(i+1) {
			spec.Replica = r
			if _, err := c.hosts[i].StartPartition(context.Background(), spec); err != nil {
				c.t.Fatalf("node %d: %v", i+1, err)
			}
		}
	}
}

func (c *testCluster) stop(i int) {
	c.t.Helper()
	h := c.hosts[i]
	if h == nil {
		return
	}
	c.hosts[i] = nil
	if err := h.Close(); err != nil {
		c.t.Errorf("close node %d: %v", i+1, err)
	}
	if err := h.transport.Close(); err != nil {
		c.t.Errorf("close transport of node %d: %v", i+1, err)
	}
}

// create makes a partition with a replica on every node.
func (c *testCluster) create(shard ShardID, config LogConfig) {
	c.t.Helper()
	spec := PartitionSpec{Topic: "t", TopicID: [16]byte{1, 2, 3}, Partition: int32(shard), Shard: shard, Members: map[ReplicaID]int32{}, Config: config}
	for i := range c.hosts {
		spec.Members[ReplicaID(i+1)] = int32(i + 1)
	}
	c.specs[shard] = spec
	for i := range c.hosts {
		if c.hosts[i] != nil {
			c.run(i, spec)
		}
	}
}

func (c *testCluster) partition(i int, shard ShardID) *Partition { return c.hosts[i].partition(shard) }

// await waits for a condition.
func await(t *testing.T, what string, ok func() bool) {
	t.Helper()
	deadline := time.Now().Add(20 * time.Second)
	for !ok() {
		if time.Now().After(deadline) {
			t.Fatalf("not in time: %s", what)
		}
		time.Sleep(2 * time.Millisecond) //nolint:forbidigo // the condition is polled
	}
}

// leader waits for the node that leads and may serve, not counting some.
func (c *testCluster) leader(shard ShardID, except ...int) int {
	c.t.Helper()
	lead := -1
	await(c.t, fmt.Sprintf("a leader of shard %d", shard), func() bool {
		for i, h := range c.hosts {
			if h == nil || slices.Contains(except, i) {
				continue
			}
			if p := h.partition(shard); p != nil && p.isLeader.Load() {
				lead = i
				return true
			}
		}
		return false
	})
	return lead
}

// produce appends a batch at the leader, wherever it is; it repeats what was refused, not what timed out.
func (c *testCluster) produce(shard ShardID, b record.Batch) AppendResult {
	c.t.Helper()
	for range 100 {
		p := c.partition(c.leader(shard), shard)
		done := make(chan AppendResult, 1)
		err := p.Append(context.Background(), &AppendRequest{Batch: b, Acks: AcksAll, Timeout: 10 * time.Second, Done: func(r AppendResult) { done <- r }})
		if err != nil {
			continue
		}
		return <-done
	}
	c.t.Fatal("nobody takes the batch")
	return AppendResult{}
}

// content reads all batches up to the high watermark.
func content(t *testing.T, p *Partition) []byte {
	t.Helper()
	var out []byte
	for from := record.Offset(0); ; {
		b, off, err := p.Read(nil, ReadRequest{From: from, MaxBytes: 1 << 20, AtLeastOne: true})
		if err != nil {
			t.Fatal(err)
		}
		if len(b) == 0 {
			if from != off.HighWatermark {
				t.Fatalf("read ends at %d, high watermark %d", from, off.HighWatermark)
			}
			return out
		}
		out = append(out, b...)
		for len(b) > 0 {
			var batch record.Batch
			if batch, b, err = record.Next(b); err != nil {
				t.Fatal(err)
			}
			from = batch.BaseOffset() + record.Offset(batch.LastOffsetDelta()) + 1
		}
	}
}

// equal waits until all running replicas hold the same bytes up to the same high watermark.
func (c *testCluster) equal(shard ShardID) {
	c.t.Helper()
	lead := c.partition(c.leader(shard), shard)
	for i, h := range c.hosts {
		if h == nil || h.partition(shard) == nil {
			continue
		}
		p := h.partition(shard)
		await(c.t, fmt.Sprintf("node %d has everything", i+1), func() bool { return p.Offsets() == lead.Offsets() })
		if a, b := content(c.t, p), content(c.t, lead); string(a) != string(b) {
			c.t.Fatalf("node %d holds %d bytes that differ from the leader's %d", i+1, len(a), len(b))
		}
	}
}

func TestCluster_ReplicatesAndFailsOver(t *testing.T) {
	c := newCluster(t, 3)
	for i := range c.hosts {
		c.start(i)
	}
	c.create(16, LogConfig{SegmentBytes: 1 << 20, FlushMessages: 1})
	c.create(17, LogConfig{SegmentBytes: 1 << 20, FlushMessages: 1 << 60})
	for n := range 50 {
		for _, s := range []ShardID{16, 17} {
			if r := c.produce(s, batchOf(t, 3, -1, -1, -1)); r.Err != nil || r.BaseOffset != record.Offset(3*n) {
				t.Fatalf("batch %d: %+v", n, r)
			}
		}
	}
	c.equal(16)
	c.equal(17)

	old := c.leader(16)
	epoch := c.partition(old, 16).Leadership().Epoch
	c.stop(old)
	r := c.produce(16, batchOf(t, 3, -1, -1, -1))
	if r.Err != nil || r.BaseOffset != 150 {
		t.Fatalf("after the leader's end: %+v", r)
	}
	next := c.partition(c.leader(16), 16)
	if e := next.Leadership().Epoch; e <= epoch {
		t.Fatalf("leader epoch %d after %d", e, epoch)
	}
	c.start(old)
	c.equal(16)
	await(t, "all in sync", func() bool { return len(c.partition(c.leader(16), 16).Leadership().ISR) == 3 })
}

// A leader that is cut off acknowledges nothing any more, and what it took is not in the log.
func TestCluster_IsolatedLeaderAcknowledgesNothing(t *testing.T) {
	c := newCluster(t, 3)
	for i := range c.hosts {
		c.start(i)
	}
	c.create(16, LogConfig{SegmentBytes: 1 << 20, FlushMessages: 1})
	c.produce(16, batchOf(t, 1, -1, -1, -1))
	old := c.leader(16)
	stale := c.partition(old, 16)
	c.nets[old].isolate(true)
	done := make(chan AppendResult, 1)
	err := stale.Append(context.Background(), &AppendRequest{Batch: batchOf(t, 1, -1, -1, -1), Acks: AcksAll, Timeout: 20 * time.Second, Done: func(r AppendResult) { done <- r }})
	next := c.leader(16, old)
	if stale.InLease() {
		t.Fatal("two leaders believe that nobody else can lead")
	}
	if err == nil {
		if r := <-done; r.Err == nil {
			t.Fatalf("the isolated leader acknowledged: %+v", r)
		}
	}
	await(t, "the old leader resigns", func() bool { return !stale.isLeader.Load() })
	for range 5 {
		if r := c.produce(16, batchOf(t, 2, -1, -1, -1)); r.Err != nil {
			t.Fatalf("node %d: %+v", next+1, r)
		}
	}
	c.nets[old].isolate(false)
	c.equal(16)
	if hw := c.partition(old, 16).Offsets().HighWatermark; hw != 11 {
		t.Fatalf("high watermark %d", hw)
	}
}

func TestCluster_TransferLeadership(t *testing.T) {
	c := newCluster(t, 3)
	for i := range c.hosts {
		c.start(i)
	}
	c.create(16, LogConfig{SegmentBytes: 1 << 20, FlushMessages: 1})
	c.produce(16, batchOf(t, 1, -1, -1, -1))
	for range 6 {
		to := (c.leader(16) + 1) % 3
		// A machine without a processor to spare may elect somebody else in the same moment: then it is asked again.
		await(t, "the successor leads", func() bool {
			if c.partition(to, 16).isLeader.Load() {
				return true
			}
			p := c.partition(c.leader(16), 16)
			if p.progress.holders(p.shard.lastIndex()) == 3 {
				ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
				defer cancel()
				if err := p.TransferLeadership(ctx, int32(to+1)); err != nil {
					t.Log(err)
				}
			}
			return false
		})
		await(t, "an acknowledged batch", func() bool { return c.produce(16, batchOf(t, 1, -1, -1, -1)).Err == nil })
	}
	c.equal(16)
}

// Raft passes over the word to take over while a committed entry is not applied: the replica repeats it to itself.
func TestCluster_TransferThatRaftPassesOver(t *testing.T) {
	c := newCluster(t, 3)
	for i := range c.hosts {
		c.start(i)
	}
	c.create(16, LogConfig{SegmentBytes: 1 << 20, FlushMessages: 1})
	c.produce(16, batchOf(t, 1, -1, -1, -1))
	from := c.leader(16)
	to := (from + 1) % 3
	term := func(n int) Term {
		p := c.partition(n, 16)
		p.mu.Lock()
		defer p.mu.Unlock()
		return p.term
	}
	heir := c.partition(to, 16)
	await(t, "the successor takes over", func() bool {
		// Raft never sees this message: it is as if it had passed over it.
		word := pb.Message{Type: pb.TimeoutNow, ShardID: 16, From: uint64(from + 1), To: uint64(heir.shard.key.Replica), Term: uint64(term(to))}
		if !(observer{c.hosts[to]}).Received(int32(from+1), &word, 0) {
			t.Fatal("the word is kept away from Raft")
		}
		await(t, "an answer or the end", func() bool { return heir.isLeader.Load() || term(to) > Term(word.Term) })
		return heir.isLeader.Load()
	})
	await(t, "an acknowledged batch", func() bool { return c.produce(16, batchOf(t, 1, -1, -1, -1)).Err == nil })
	c.equal(16)
}

// min.insync.replicas above Raft's majority waits for more replicas, and is refused when they are not in sync.
func TestCluster_MinInSyncReplicas(t *testing.T) {
	c := newCluster(t, 3)
	c.options = func(o *Options) { o.ReplicaLagTimeMax = time.Second }
	for i := range c.hosts {
		c.start(i)
	}
	c.create(16, LogConfig{SegmentBytes: 1 << 20, FlushMessages: 1, MinInSyncReplicas: 3})
	await(t, "an acknowledged batch", func() bool { return c.produce(16, batchOf(t, 1, -1, -1, -1)).Err == nil })
	p := c.partition(c.leader(16), 16)
	if n := p.progress.holders(p.shard.lastIndex()); n != 3 {
		t.Fatalf("acknowledged by %d replicas", n)
	}
	c.stop((c.leader(16) + 1) % 3)
	before := p.Offsets().LogEnd
	done := make(chan AppendResult, 1)
	err := p.Append(context.Background(), &AppendRequest{Batch: batchOf(t, 1, -1, -1, -1), Acks: AcksAll, Timeout: 20 * time.Second, Done: func(r AppendResult) { done <- r }})
	if err != nil {
		t.Fatal(err)
	}
	if r := <-done; r.Err != ErrNotEnoughReplicasAfterAppend { //nolint:errorlint // the very error
		t.Fatalf("in the log of two of three: %+v", r)
	}
	if end := p.Offsets().LogEnd; end != before+1 {
		t.Fatalf("log end %d after %d", end, before)
	}
	if err := p.Append(context.Background(), &AppendRequest{Batch: batchOf(t, 1, -1, -1, -1), Acks: AcksAll, Timeout: time.Second, Done: func(AppendResult) {}}); err != ErrNotEnoughReplicas { //nolint:errorlint // the very error
		t.Fatalf("two of three in sync: %v", err)
	}
	if end := p.Offsets().LogEnd; end != before+1 {
		t.Fatalf("log end %d after a refusal", end)
	}
}

// A follower that was away while nothing was written is in sync again when it is back, without a record to tell.
func TestCluster_IdleFollowerReturnsToISR(t *testing.T) {
	c := newCluster(t, 3)
	c.options = func(o *Options) { o.ReplicaLagTimeMax = 500 * time.Millisecond }
	for i := range c.hosts {
		c.start(i)
	}
	c.create(16, LogConfig{SegmentBytes: 1 << 20, FlushMessages: 1})
	c.produce(16, batchOf(t, 1, -1, -1, -1))
	c.equal(16)
	lead := c.leader(16)
	away := (lead + 1) % 3
	p := c.partition(lead, 16)
	inSync := func(n int) func() bool { return func() bool { return len(p.Leadership().ISR) == n } }
	await(t, "three in sync", inSync(3))
	for range 3 {
		c.nets[away].isolate(true)
		await(t, "two in sync", inSync(2))
		c.nets[away].isolate(false)
		await(t, "three in sync again", inSync(3))
		if !p.isLeader.Load() {
			t.Fatal("the leader has changed")
		}
	}
}
