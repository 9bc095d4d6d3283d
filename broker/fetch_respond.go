package broker

import (
	"slices"
	"time"

	"github.com/stelemq/stele/broker/metadata"
	"github.com/stelemq/stele/protocol"
)

// fetchAnswer is what an answer to Fetch is made of; each connection's writer keeps one.
type fetchAnswer struct {
	resp       protocol.FetchResponse
	partitions []protocol.FetchPartition
}

// respondFetch encodes the answer around the batches, which are not copied.
func respondFetch(c *conn, s *slot, results []fetchResult, code protocol.Code, session int32) error {
	return respondFetchAfter(c, s, results, code, session, 0)
}

// respondThrottled answers nothing but for how long the client is left alone.
func respondThrottled(c *conn, s *slot, session int32, wait time.Duration) error {
	return respondFetchAfter(c, s, nil, protocol.None, session, wait)
}

func respondFetchAfter(c *conn, s *slot, results []fetchResult, code protocol.Code, session int32, wait time.Duration) error {
	a := &c.fetchAnswer
	a.resp = protocol.FetchResponse{ThrottleMillis: throttleMillis(wait), ErrorCode: code, SessionID: session, Topics: a.resp.Topics[:0], NodeEndpoints: a.resp.NodeEndpoints[:0]}
	a.partitions = slices.Grow(a.partitions[:0], len(results))
	committed := c.fetchRequest.IsolationLevel == 1
	var leaders []int32
	for i := range results {
		r := &results[i]
		if r.omit {
			continue
		}
		from := len(a.partitions)
		a.partitions = append(a.partitions, r.partition(committed))
		if r.hintLeader() {
			leaders = append(leaders, r.leader.Leader)
		}
		key := r.want.key
		if n := len(a.resp.Topics); n > 0 && a.resp.Topics[n-1].Name == key.name && a.resp.Topics[n-1].TopicID == key.id {
			t := &a.resp.Topics[n-1]
			t.Partitions = a.partitions[from-len(t.Partitions) : from+1]
			continue
		}
		a.resp.Topics = append(a.resp.Topics, protocol.FetchTopic{Name: key.name, TopicID: key.id, Partitions: a.partitions[from : from+1]})
	}
	if len(leaders) > 0 && s.version >= 16 {
		a.resp.NodeEndpoints = c.b.endpointsOf(c.listener.Name, leaders)
	}
	buf := c.b.buffers.get(int(s.api.hint.Load()) + hintMargin)
	s.hold(buf)
	out, scratch, err := a.resp.AppendBuffers(s.out, buf.b[:0], s.version, s.correlationID)
	if err != nil {
		return err //nolint:wrapcheck // ends the connection
	}
	buf.fill(scratch)
	s.api.hint.Store(int64(len(scratch)))
	s.out = out
	s.outLen = 0
	for _, p := range out {
		s.outLen += len(p)
	}
	// Let go of the batches: the slot's buffers hold them until they are written.
	clear(a.partitions)
	clear(a.resp.Topics)
	return nil
}

// partition is a result as the protocol says it.
func (r *fetchResult) partition(committed bool) protocol.FetchPartition {
	p := protocol.NewFetchPartition(r.want.key.index, r.code)
	if r.code == protocol.None {
		p.HighWatermark, p.LastStableOffset, p.LogStartOffset = r.offsets.HighWatermark, r.offsets.LastStable, r.offsets.LogStart
		if committed {
			p.AbortedTransactions = []protocol.AbortedTransaction{}
		}
		p.Records = r.data
	}
	if r.code == protocol.UnknownTopicOrPartition || r.code == protocol.UnknownTopicID {
		p.AbortedTransactions = []protocol.AbortedTransaction{} // as Kafka, which has null elsewhere
	}
	p.PreferredReadReplica = r.preferred
	if r.diverging {
		p.DivergingEpoch = &protocol.EpochEndOffset{Epoch: r.divergedEpoch, EndOffset: r.divergedEnd}
	}
	if r.hintLeader() {
		p.CurrentLeader = &protocol.LeaderIDEpoch{LeaderID: r.leader.Leader, LeaderEpoch: r.leader.Epoch}
	}
	return p
}

// hintLeader reports whether the client should be told who leads (KIP-951).
func (r *fetchResult) hintLeader() bool {
	return (r.code == protocol.NotLeaderOrFollower || r.code == protocol.FencedLeaderEpoch) && r.leader.Leader >= 0
}

// endpointsOf returns the addresses of brokers on a listener, each once.
func (b *Broker) endpointsOf(listener string, nodes []int32) []protocol.NodeEndpoint {
	slices.Sort(nodes)
	image := b.opts.Metadata.Image()
	var out []protocol.NodeEndpoint
	for _, node := range slices.Compact(nodes) {
		if e, rack, ok := endpoint(image, node, listener); ok {
			out = append(out, protocol.NodeEndpoint{NodeID: node, Host: e.Host, Port: e.Port, Rack: rack})
		}
	}
	return out
}

func endpoint(image *metadata.Image, node int32, listener string) (metadata.Endpoint, *string, bool) {
	br, ok := image.Broker(node)
	if !ok || br.Fenced {
		return metadata.Endpoint{}, nil, false
	}
	e, ok := br.Endpoint(listener)
	return e, rackOf(br), ok
}
