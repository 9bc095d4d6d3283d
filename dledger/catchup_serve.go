package dledger

import (
	"context"
	"encoding/binary"
	"encoding/json"
	"fmt"

	"github.com/stelemq/stele/commitlog"
	"github.com/stelemq/stele/dledger/raftfile"
	"github.com/stelemq/stele/dledger/transport"
	"github.com/stelemq/stele/protocol/record"
)

// catchUpQuestion is the body of the calls of a replica that catches up.
type catchUpQuestion struct {
	Shard ShardID `json:"shard"`
	// From is where batches are to begin, or as of where the state is asked for; UpTo bounds them, exclusive.
	From record.Offset `json:"from,omitempty"`
	UpTo record.Offset `json:"up_to,omitempty"`
	// State is the manifest's: once it is another, compaction has changed what is asked for.
	State uint64 `json:"state,omitempty"`
}

// handleCatchUp registers the calls.
func (h *Host) handleCatchUp() {
	h.transport.Handle(callBehind, h.answerBehind)
	for _, method := range []string{callManifest, callState, callBatches} {
		h.transport.Handle(method, h.serve(method))
	}
}

// serve finds the replica that is asked. Any that knows what is committed can serve, not the leader alone.
func (h *Host) serve(method string) transport.Handler {
	return func(ctx context.Context, _ transport.Caller, body []byte) ([]byte, error) {
		var q catchUpQuestion
		if err := json.Unmarshal(body, &q); err != nil {
			return nil, fmt.Errorf("catch up: %w", err)
		}
		p := h.partition(q.Shard)
		if p == nil || p.quarantined.Load() {
			return nil, fmt.Errorf("%w: shard %d", errNotServed, q.Shard)
		}
		b, err := p.serve(method, &q)
		if err == nil && method == callBatches {
			err = h.catchUpRate.wait(ctx, len(b))
		}
		return b, err
	}
}

func (p *Partition) serve(method string, q *catchUpQuestion) ([]byte, error) {
	c := &p.cleaning
	c.served.Store(monotonic())
	c.swap.RLock()
	defer c.swap.RUnlock()
	if method != callManifest && q.State != c.state.Load() {
		return nil, fmt.Errorf("%w: shard %d has been compacted meanwhile", errNotServed, q.Shard)
	}
	switch method {
	case callManifest:
		m, err := p.manifest()
		if err != nil {
			return nil, err
		}
		return json.Marshal(m) //nolint:wrapcheck // it cannot fail
	case callState:
		st, err := p.shard.log.StateAt(q.From)
		if err != nil {
			return nil, p.readError(err)
		}
		return commitlog.AppendProducerSnapshot(nil, st.Producers), nil
	default:
		return p.serveBatches(q)
	}
}

// serveBatches answers with batches below what is committed, whole and checked, behind a checksum over all of them.
func (p *Partition) serveBatches(q *catchUpQuestion) ([]byte, error) {
	upTo := min(q.UpTo, p.shard.committedOffset())
	b, err := p.shard.log.now().ReadStored(make([]byte, 4, 4+catchUpChunk), q.From, upTo, catchUpChunk, true)
	if err != nil {
		return nil, p.readError(err)
	}
	binary.LittleEndian.PutUint32(b, raftfile.Castagnoli(0, b[4:]))
	return b, nil
}

// manifest describes the replica as of its commit index.
func (p *Partition) manifest() (*manifest, error) {
	s := p.shard
	s.mu.Lock()
	defer s.mu.Unlock()
	i := s.committedTo
	if i == 0 {
		return nil, fmt.Errorf("%w: nothing is known to be committed", errNotServed)
	}
	m := &manifest{
		Version: manifestVersion, Shard: s.key.Shard, Generation: s.generation, Index: i, LogStart: s.state.logStart,
		First: s.log.Segments()[0].Base,
	}
	if i == s.file.Index {
		m.Term, m.Next, m.Fence = s.file.Term, s.file.Next, s.file.Fence
	} else {
		r, err := s.recordLocked(i)
		if err != nil {
			return nil, err
		}
		m.Term, m.Next = r.Term, r.Next
		if m.Fence, err = s.fenceAtLocked(i); err != nil {
			return nil, err
		}
	}
	m.Rewritten, m.State = s.log.now().Rewritten(), p.cleaning.state.Load()
	var err error
	if m.Membership, err = toBase64(&s.state.membership); err != nil {
		return nil, err
	}
	for _, e := range s.log.Epochs() {
		if e.Start <= m.Next && e.Epoch <= LeaderEpochOf(s.generation, m.Term) {
			m.Epochs = append(m.Epochs, manifestEpoch(e))
		}
	}
	return m, nil
}
