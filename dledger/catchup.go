package dledger

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	pb "github.com/lni/dragonboat/v4/raftpb"

	"github.com/stelemq/stele/dledger/transport"
	"github.com/stelemq/stele/protocol/record"
)

// Catch-up beyond what the leader's Raft log reaches. Raft's word for it is a snapshot. Here nothing is streamed: the
// leader tells the replica that it is behind (callBehind), and the replica fetches by itself what all replicas hold alike, the
// batches below the commit index of whoever serves it (callManifest, callBatches; catchup_serve.go). They go to a log of
// their own beside the replica's (catchup_stage.go), while its Raft group runs on with what it had. When everything is there
// and synced, the group is stopped for a moment, the replica's files are replaced, and the group starts again behind the
// manifest's index (catchup_install.go), as after any restart. Until then the replica acknowledges nothing of it, and a
// crash costs no more than what was fetched. Argument: docs/format/catchup.md.

// Calls between hosts.
const (
	callBehind   = "catchup.behind"
	callManifest = "catchup.manifest"
	callState    = "catchup.state"
	callBatches  = "catchup.batches"
)

const (
	// catchUpChunk is how many bytes are asked for at once.
	catchUpChunk = 1 << 20
	// catchUpAtOnce bounds the replicas of a node that catch up at the same time; others wait their turn.
	catchUpAtOnce = 2
	// behindWait bounds how long a leader waits for word that a replica has caught up, before it tries to send entries again.
	behindWait = 10 * time.Second
	// behindWaiters bounds the leader's waits: each holds one of dragonboat's places for snapshots, which the metadata needs, too.
	behindWaiters = 16
	catchUpCall   = 20 * time.Second
	// nearEnough is how much may have been appended elsewhere while a replica caught up for Raft to do the rest.
	nearEnough   = 8 << 20
	catchUpTurns = 8
)

// manifest says what a replica is to hold after an index: everything that is not in the batches. Format:
// docs/format/catchup.md.
type manifest struct {
	Version    int     `json:"version"`
	Shard      ShardID `json:"shard"`
	Generation int32   `json:"generation"`
	// Index and Term are those of a committed entry, and what follows is the state after it.
	Index      Index         `json:"index"`
	Term       Term          `json:"term"`
	Next       record.Offset `json:"next"`
	LogStart   record.Offset `json:"log_start"`
	Fence      fence         `json:"fence"`
	Membership string        `json:"membership"` // base64 of dragonboat's record
	// Epochs begin at or below Next.
	Epochs []manifestEpoch `json:"epochs"`
	// First is where the batches begin that can be had.
	First record.Offset `json:"first"`
	// Rewritten is the offset below which compaction may have removed records: of what lies below it nothing is kept that does not
	// reach up to it. State names what the batches are at this moment; they are asked for under it.
	Rewritten record.Offset `json:"rewritten,omitempty"`
	State     uint64        `json:"state"`
}

type manifestEpoch struct {
	Epoch record.LeaderEpoch `json:"epoch"`
	Start record.Offset      `json:"start"`
}

const manifestVersion = 1

// catchUp is a replica's part in catching up. One pull runs at a time.
type catchUp struct {
	mu sync.Mutex
	// mu guards:
	running *pull
	stopped bool // the replica is going away
	stage   *stage

	installed atomic.Int64 // how often it has caught up
}

type pull struct {
	done   chan struct{}
	cancel context.CancelFunc
}

// behindQuestion tells a replica that the log does not reach back to what it lacks.
type behindQuestion struct {
	Shard   ShardID   `json:"shard"`
	Replica ReplicaID `json:"replica"`
}

// tellBehind stands for streaming a partition's snapshot to a node: it tells the replica there to catch up, and waits for it.
// It reports false for what is to be sent as dragonboat would.
func (h *Host) tellBehind(node int32, c *pb.Chunk) bool {
	if isMetadata(ShardID(c.ShardID)) {
		return false
	}
	if !c.IsLastChunk() {
		return true
	}
	select {
	case h.behind <- struct{}{}:
		defer func() { <-h.behind }()
	default:
		return true // Raft asks again
	}
	ctx, cancel := context.WithTimeout(h.ctx, behindWait)
	defer cancel()
	body, err := json.Marshal(behindQuestion{ShardID(c.ShardID), ReplicaID(c.ReplicaID)})
	if err == nil {
		_, err = h.transport.Call(ctx, node, callBehind, body)
	}
	if err != nil && ctx.Err() == nil {
		h.logger.Debug("a replica is behind and was not told", "node", node, "shard", c.ShardID, "error", err)
		pause(ctx, sweepInterval)
	}
	return true
}

// answerBehind catches up, and answers once that is done or has failed; the caller may not wait so long.
func (h *Host) answerBehind(ctx context.Context, from transport.Caller, body []byte) ([]byte, error) {
	var q behindQuestion
	if err := json.Unmarshal(body, &q); err != nil {
		return nil, fmt.Errorf("behind: %w", err)
	}
	p := h.partition(q.Shard)
	if p == nil || p.shard.key.Replica != q.Replica {
		return nil, fmt.Errorf("behind: shard %d replica %d is not here", q.Shard, q.Replica)
	}
	done := p.catchUpFrom(from.Node)
	if done == nil {
		return nil, ErrClosed
	}
	select {
	case <-done:
	case <-ctx.Done():
	}
	return nil, nil
}

// catchUpFrom begins to catch up from what a node has, unless that is going on already. The channel is closed at its end; nil:
// the replica is being stopped.
func (p *Partition) catchUpFrom(node int32) <-chan struct{} {
	c := &p.catching
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.stopped {
		return nil
	}
	if c.running != nil {
		return c.running.done
	}
	ctx, cancel := context.WithCancel(p.host.ctx)
	run := &pull{done: make(chan struct{}), cancel: cancel}
	started := p.host.begin(func() {
		defer cancel()
		err := p.host.catchUp(ctx, p, node)
		if err != nil && ctx.Err() == nil {
			p.logger.Warn("catching up has failed; it goes on when the leader asks again", "node", node, "error", err)
		}
		c.mu.Lock()
		c.running = nil
		c.mu.Unlock()
		close(run.done)
	})
	if !started {
		cancel()
		return nil
	}
	c.running = run
	return run.done
}

// begin runs a task that Close waits for; it reports false if the host is closed.
func (h *Host) begin(task func()) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.closed {
		return false
	}
	h.tasks.Go(task)
	return true
}

// endCatchUp ends catching up for good and gives up what has been fetched.
func (p *Partition) endCatchUp() error {
	c := &p.catching
	c.mu.Lock()
	c.stopped = true
	run := c.running
	c.mu.Unlock()
	if run != nil {
		run.cancel()
		<-run.done
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	st := c.stage
	c.stage = nil
	if st == nil {
		return nil
	}
	return st.discard()
}

// catchUp fetches until the replica is near the end of the log and puts it in place.
func (h *Host) catchUp(ctx context.Context, p *Partition, node int32) error {
	select {
	case h.catching <- struct{}{}:
		defer func() { <-h.catching }()
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	began := time.Now()
	source := h.sourceOn(node, p.spec.Shard)
	var m *manifest
	var fetched int64
	for turn := range catchUpTurns {
		var err error
		if m, err = source.manifest(ctx); err != nil {
			return err
		}
		if turn == 0 && p.has(m) {
			return p.catching.drop()
		}
		n, err := p.fetch(ctx, source, m)
		if err != nil {
			return err
		}
		if fetched += n; n < nearEnough {
			break
		}
	}
	took := time.Since(began)
	if err := h.install(p, m); err != nil {
		return err
	}
	p.logger.Info("caught up", "from", node, "bytes", fetched, "duration", took, "log_end", int64(m.Next), "index", uint64(m.Index))
	return nil
}

// has reports whether the replica has what a manifest ends with, or knows that it has more.
func (p *Partition) has(m *manifest) bool {
	s := p.shard
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.committedTo >= m.Index {
		return true
	}
	if s.last < m.Index {
		return false
	}
	r, err := s.recordLocked(m.Index)
	return err == nil && r.Term == m.Term
}

func (c *catchUp) drop() error {
	c.mu.Lock()
	st := c.stage
	c.stage = nil
	c.mu.Unlock()
	if st == nil {
		return nil
	}
	return st.discard()
}

// fetch brings the stage to a manifest's end and returns the bytes that it took.
func (p *Partition) fetch(ctx context.Context, from *source, m *manifest) (int64, error) {
	if m.Generation != p.spec.Generation || m.Shard != p.spec.Shard {
		return 0, fmt.Errorf("%w: manifest of shard %d generation %d", ErrCorrupt, m.Shard, m.Generation)
	}
	st, err := p.stageFor(ctx, from, m)
	if err != nil {
		return 0, err
	}
	return st.fill(ctx, from, m)
}

// stageFor returns the stage that goes on to m: the one of an attempt before, or a new one, which begins behind what this
// replica has and knows to be committed, or at the first batch that can be had.
func (p *Partition) stageFor(ctx context.Context, from *source, m *manifest) (*stage, error) {
	c := &p.catching
	c.mu.Lock()
	st := c.stage
	c.mu.Unlock()
	if st != nil {
		if next := st.log.End().Next; st.err == nil && next >= m.First && next <= m.Next && (st.state == m.State || next >= m.Rewritten) {
			st.state = m.State
			return st, nil
		}
		if err := c.drop(); err != nil {
			return nil, err
		}
	}
	st, err := p.newStage(ctx, from, m)
	if err != nil {
		return nil, err
	}
	c.mu.Lock()
	c.stage = st
	c.mu.Unlock()
	return st, nil
}

// source is what a replica catches up from.
type source struct {
	shard ShardID
	// call asks it. An answer that does not come in time ends the attempt: the leader begins another.
	call func(ctx context.Context, method string, q catchUpQuestion) ([]byte, error)
	// grant reports whether so many bytes may be written here.
	grant func(bytes int64) bool
}

// sourceOn is the replica of a shard on a node.
func (h *Host) sourceOn(node int32, shard ShardID) *source {
	call := func(ctx context.Context, method string, q catchUpQuestion) ([]byte, error) {
		body, err := json.Marshal(q)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", method, err)
		}
		ctx, cancel := context.WithTimeout(ctx, catchUpCall)
		defer cancel()
		return h.transport.CallBulk(ctx, node, method, body) //nolint:wrapcheck // it names the call
	}
	return &source{shard: shard, call: call, grant: h.space.grant}
}

func (s *source) manifest(ctx context.Context) (*manifest, error) {
	b, err := s.call(ctx, callManifest, catchUpQuestion{Shard: s.shard})
	if err != nil {
		return nil, err
	}
	var m manifest
	if err := json.Unmarshal(b, &m); err != nil {
		return nil, fmt.Errorf("manifest: %w", err)
	}
	if m.Version != manifestVersion {
		return nil, fmt.Errorf("%w: manifest version %d", ErrUnsupportedVersion, m.Version)
	}
	if m.Index == 0 || m.Term == 0 || m.First < 0 || m.First > m.Next || m.LogStart > m.Next {
		return nil, fmt.Errorf("%w: manifest: %s", ErrCorrupt, b)
	}
	return &m, nil
}

var errNotServed = errors.New("dledger: this replica cannot be caught up from")
