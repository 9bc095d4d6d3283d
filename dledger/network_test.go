package dledger

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	pb "github.com/lni/dragonboat/v4/raftpb"

	"github.com/stelemq/stele/protocol/record"
)

// shape is what happens to the bytes of a node's connections.
type shape struct {
	in, out gate
	// flip: one bit of the next large write changes. flipped counts.
	flip    atomic.Bool
	flipped atomic.Int64
}

// gate holds what comes to it while it is shut.
type gate struct {
	mu sync.Mutex
	// mu guards:
	shut chan struct{} // closed when it opens; nil while it is open
}

func (g *gate) hold(on bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	switch {
	case on && g.shut == nil:
		g.shut = make(chan struct{})
	case !on && g.shut != nil:
		close(g.shut)
		g.shut = nil
	}
}

func (g *gate) pass(closed <-chan struct{}) bool {
	g.mu.Lock()
	shut := g.shut
	g.mu.Unlock()
	if shut == nil {
		return true
	}
	select {
	case <-shut:
		return true
	case <-closed:
		return false
	}
}

// shapedConn is a connection whose bytes are held or changed.
type shapedConn struct {
	net.Conn
	shape  *shape
	once   sync.Once
	closed chan struct{}
}

func (c *shapedConn) Close() error {
	c.once.Do(func() { close(c.closed) })
	return c.Conn.Close()
}

func (c *shapedConn) Read(b []byte) (int, error) {
	n, err := c.Conn.Read(b)
	if !c.shape.in.pass(c.closed) {
		return 0, net.ErrClosed
	}
	return n, err
}

func (c *shapedConn) Write(b []byte) (int, error) {
	if !c.shape.out.pass(c.closed) {
		return 0, net.ErrClosed
	}
	if len(b) > 4000 && c.shape.flip.CompareAndSwap(true, false) {
		c.shape.flipped.Add(1)
		b = bytes.Clone(b)
		b[len(b)-100] ^= 4
	}
	return c.Conn.Write(b)
}

func shapedCluster(t *testing.T, flush int64) *testCluster {
	t.Helper()
	c := newCluster(t, 3)
	c.shaped = true
	for i := range c.hosts {
		c.start(i)
	}
	c.create(16, LogConfig{SegmentBytes: 1 << 20, FlushMessages: flush})
	if r := c.produce(16, batchOf(t, 1, -1, -1, -1)); r.Err != nil {
		t.Fatal(r.Err)
	}
	return c
}

// Cuts, one-way cuts and flapping, while producers go on: what was acknowledged is there in the end, once, at its offset, and
// all replicas are equal.
func TestNetwork_NothingAcknowledgedIsLost(t *testing.T) {
	for _, flush := range []int64{1, 1 << 60} {
		t.Run(fmt.Sprintf("flush.messages=%d", flush), func(t *testing.T) {
			c := shapedCluster(t, flush)
			seed := rand.Uint64()
			t.Logf("seed %d", seed)
			var stop atomic.Bool
			var mu sync.Mutex
			acked := map[record.Offset]uint32{}
			var producers sync.WaitGroup
			for k := range 4 {
				rng := rand.New(rand.NewPCG(seed, uint64(k)))
				producers.Go(func() {
					for !stop.Load() {
						b := testBatch(rng, 10+rng.IntN(20_000))
						crc := binary.BigEndian.Uint32(b[17:])
						if at, ok := c.offer(16, b); ok {
							mu.Lock()
							if other, twice := acked[at]; twice {
								t.Errorf("offset %d was given to batches %x and %x", at, other, crc)
							}
							acked[at] = crc
							mu.Unlock()
						}
					}
				})
			}
			faults := rand.New(rand.NewPCG(seed, 99))
			for end := time.Now().Add(4 * time.Second); time.Now().Before(end); {
				n := c.nets[faults.IntN(3)]
				times := 1 + faults.IntN(3) // sometimes it flaps
				kind := faults.IntN(4)
				for range times {
					c.fault(n, kind, true)
					<-time.After(time.Duration(faults.IntN(400)) * time.Millisecond)
					c.fault(n, kind, false)
					<-time.After(time.Duration(faults.IntN(150)) * time.Millisecond)
				}
			}
			stop.Store(true)
			producers.Wait()
			c.equal(16)
			got := map[record.Offset]uint32{}
			for b := content(t, c.partition(c.leader(16), 16)); len(b) > 0; {
				batch, rest, err := record.Next(b)
				if err != nil {
					t.Fatal(err)
				}
				got[batch.BaseOffset()] = binary.BigEndian.Uint32(batch[17:])
				b = rest
			}
			for at, crc := range acked {
				if got[at] != crc {
					t.Errorf("offset %d: batch %x was acknowledged, %x is there", at, crc, got[at])
				}
			}
			if len(acked) < 20 {
				t.Errorf("only %d were acknowledged", len(acked))
			}
			t.Logf("%d acknowledged, %d in the log", len(acked), len(got))
		})
	}
}

// fault begins or ends one.
func (c *testCluster) fault(n *testNet, kind int, on bool) {
	switch kind {
	case 0:
		n.isolate(on)
	case 1: // it hears nothing
		n.shape.in.hold(on)
	case 2: // nobody hears it
		n.shape.out.hold(on)
	case 3:
		n.shape.flip.Store(on)
	}
}

// offer appends a batch where a leader seems to be, once.
func (c *testCluster) offer(shard ShardID, b record.Batch) (at record.Offset, ok bool) {
	for _, h := range c.hosts {
		p := h.partition(shard)
		if !p.isLeader.Load() {
			continue
		}
		done := make(chan AppendResult, 1)
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		err := p.Append(ctx, &AppendRequest{Batch: b, Acks: AcksAll, Timeout: 2 * time.Second, Done: func(r AppendResult) { done <- r }})
		cancel()
		if err != nil {
			continue
		}
		r := <-done
		return r.BaseOffset, r.Err == nil
	}
	<-time.After(time.Millisecond)
	return 0, false
}

// Two never believe at one moment that nobody else can lead, whatever is held back and let through.
func TestNetwork_LeaseIsHeldByOne(t *testing.T) {
	c := shapedCluster(t, 1)
	var stop atomic.Bool
	var watcher sync.WaitGroup
	held := atomic.Int64{}
	watcher.Go(func() {
		for !stop.Load() {
			for i := range c.hosts {
				for k := range c.hosts {
					p, q := c.partition(i, 16), c.partition(k, 16)
					if i == k || !p.InLease() {
						continue
					}
					held.Add(1)
					if q.InLease() && p.InLease() {
						t.Errorf("nodes %d and %d hold the lease", i+1, k+1)
						return
					}
				}
			}
		}
	})
	for range 3 {
		old := c.leader(16)
		n := c.nets[old].shape
		// It hears nothing, then says nothing: its own answers lie in the queues of both directions.
		n.in.hold(true)
		n.out.hold(true)
		next := c.leader(16, old)
		await(t, "the next holds the lease", c.partition(next, 16).InLease)
		<-time.After(time.Second)
		n.in.hold(false)
		n.out.hold(false)
		for end := time.Now().Add(100 * time.Millisecond); time.Now().Before(end); {
			if c.partition(old, 16).InLease() && c.partition(next, 16).InLease() {
				t.Fatal("the paused leader holds the lease again")
			}
		}
		c.equal(16)
	}
	stop.Store(true)
	watcher.Wait()
	if held.Load() == 0 {
		t.Fatal("nobody ever held the lease")
	}
}

// The lease counts from when a heartbeat left, not from when its answer came: answers that have lain in a queue prove nothing.
func TestObserver_LateAnswersGiveNoLease(t *testing.T) {
	c := shapedCluster(t, 1)
	lead := c.leader(16)
	p := c.partition(lead, 16)
	await(t, "the lease", p.InLease)
	o := observer{c.hosts[lead]}
	c.nets[lead].shape.in.hold(true)
	await(t, "the end of the lease", func() bool { return monotonic() >= p.progress.leaseUntil() })
	p.progress.mu.Lock()
	term := p.progress.term
	p.progress.mu.Unlock()
	if term == 0 {
		t.Skip("it has resigned before")
	}
	for id := range p.spec.Members {
		if id != p.shard.key.Replica {
			late := monotonic() - int64(leaseTime) - 1
			o.Received(int32(id), &pb.Message{Type: pb.HeartbeatResp, ShardID: 16, From: uint64(id), To: uint64(p.shard.key.Replica), Term: uint64(term)}, late)
		}
	}
	if p.InLease() {
		t.Error("answers to old heartbeats gave the lease")
	}
	c.nets[lead].shape.in.hold(false)
}

func TestObserver_ProposalsOfOthersAreDropped(t *testing.T) {
	c := shapedCluster(t, 1)
	for i := range c.hosts {
		o := observer{c.hosts[i]}
		if _, ok := o.Stamp(&pb.Message{Type: pb.Propose, ShardID: 16}); ok {
			t.Error("a proposal leaves")
		}
		if o.Received(1, &pb.Message{Type: pb.Propose, ShardID: 16}, 0) {
			t.Error("a proposal comes in")
		}
		if _, ok := o.Stamp(&pb.Message{Type: pb.Propose, ShardID: uint64(MetadataShard)}); !ok || !o.Received(1, &pb.Message{Type: pb.Propose, ShardID: uint64(MetadataShard)}, 0) {
			t.Error("a proposal for the metadata is dropped")
		}
	}
}

// A commit index beyond a follower's end would end its process.
func TestObserver_ClampsCommit(t *testing.T) {
	c := shapedCluster(t, 1)
	c.equal(16)
	lead := c.leader(16)
	away := (lead + 1) % 3
	p := c.partition(away, 16)
	m := pb.Message{Type: pb.Heartbeat, ShardID: 16, From: uint64(lead + 1), To: uint64(p.spec.Replica), Commit: uint64(p.shard.lastIndex()) + 20}
	if !(observer{c.hosts[away]}).Received(int32(lead+1), &m, 1) || Index(m.Commit) > p.shard.lastIndex() {
		t.Fatalf("commit %d, last index %d", m.Commit, p.shard.lastIndex())
	}
}

// A follower whose disk has lost the newest entries, and whose leader takes it to have them: it gets them again, and does not
// end. What the leader knows of it is forgotten when it is connected again, at the latest: an answer that was under way when
// the connection broke may have come after that.
func TestNetwork_ShorterFollowerIsFoundOut(t *testing.T) {
	c := newCluster(t, 3)
	for i := range c.hosts {
		c.start(i)
	}
	c.create(16, LogConfig{SegmentBytes: 1 << 20, FlushMessages: 1 << 60})
	put := func() {
		for range 20 {
			if r := c.produce(16, batchOf(t, 1, -1, -1, -1)); r.Err != nil {
				t.Fatal(r.Err)
			}
		}
	}
	put()
	c.equal(16)
	lead := c.leader(16)
	// The metadata group does not lose its tail as well: nothing is written there, and its leader stays.
	for i := range c.hosts {
		await(t, "the metadata's leader", func() bool { _, known := c.hosts[i].Controller(); return known })
	}
	away := (lead + 1) % 3
	if c.hosts[away].IsController() {
		away = (lead + 2) % 3
	}
	c.stop(away)
	if err := os.CopyFS(c.dirs[away]+".then", os.DirFS(c.dirs[away])); err != nil {
		t.Fatal(err)
	}
	c.start(away)
	await(t, "the leader", func() bool { return c.leader(16) == lead })
	put()
	c.equal(16)
	c.stop(away)
	if err := os.RemoveAll(c.dirs[away]); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(c.dirs[away]+".then", c.dirs[away]); err != nil {
		t.Fatal(err)
	}
	p := c.partition(lead, 16)
	if !p.isLeader.Load() {
		t.Skip("the leader has moved")
	}
	c.start(away)
	c.equal(16) // without a new record
	await(t, "it is known to hold everything", func() bool { return p.progress.holders(p.shard.lastIndex()) == 3 || !p.isLeader.Load() })
}

// A bit that changes on the way is noticed, and what was damaged comes again.
func TestNetwork_DamagedEntriesComeAgain(t *testing.T) {
	c := shapedCluster(t, 1)
	lead := c.leader(16)
	rng := rand.New(rand.NewPCG(1, 1))
	for range 5 {
		c.nets[lead].shape.flip.Store(true)
		if r := c.produce(16, testBatch(rng, 50_000)); r.Err != nil {
			t.Fatal(r.Err)
		}
		c.equal(16)
	}
	if n := c.nets[lead].shape.flipped.Load(); n == 0 && c.leader(16) == lead {
		t.Fatal("nothing was damaged")
	}
	// What the transport's checksum does not see, for it was damaged before, the batch's own shows.
	p := c.partition((lead+1)%3, 16)
	b := append([]byte{0}, testBatch(rng, 1000)...)
	m := pb.Message{Type: pb.Replicate, ShardID: 16, To: uint64(p.spec.Replica), Entries: []pb.Entry{{Type: pb.EncodedEntry, ClientID: clientID(1, 1, false), Cmd: b}}}
	o := observer{p.host}
	if !o.Received(int32(lead+1), &m, 0) {
		t.Fatal("whole entries are refused")
	}
	if !covers(&m, &m.Entries[0]) || covers(&pb.Message{ShardID: uint64(MetadataShard)}, &m.Entries[0]) {
		t.Fatal("the batches' checksums are not counted on, or the metadata's are")
	}
	b[len(b)-5] ^= 1
	if o.Received(int32(lead+1), &m, 0) {
		t.Fatal("damaged entries are taken")
	}
}
