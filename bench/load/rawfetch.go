package load

import (
	"context"
	"fmt"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/stelemq/stele/protocol"
	"github.com/stelemq/stele/protocol/record"
)

// fetchBytes is what a raw fetch asks for of each partition, and of all.
const (
	fetchPartitionBytes = 1 << 20
	fetchBytes          = 16 << 20
)

// rawFetchers read the whole topic, again and again, after it was filled: one connection per client and leader.
func (r *session) rawFetchers(ctx context.Context) ([]worker, error) {
	if err := r.fill(ctx, r.s.FillBytes); err != nil {
		return nil, err
	}
	leaders, err := r.leaders(ctx)
	if err != nil {
		return nil, err
	}
	var out []worker
	for address, parts := range leaders {
		for range r.s.Clients {
			out = append(out, func(ctx context.Context) error { return r.rawFetch(ctx, address, parts) })
		}
	}
	return out, nil
}

// rawFetch reads the partitions from their starts to their high watermarks, and begins again.
func (r *session) rawFetch(ctx context.Context, address string, parts []int32) error {
	c, err := dialRaw(ctx, address, 1)
	if err != nil {
		return err
	}
	stop := context.AfterFunc(ctx, func() { _ = c.conn.Close() })
	defer stop()
	defer c.conn.Close() //nolint:errcheck // nothing is pending
	req := kmsg.NewPtrFetchRequest()
	req.ReplicaID, req.MaxWaitMillis, req.MinBytes, req.MaxBytes = -1, 100, 1, fetchBytes
	topic := kmsg.NewFetchRequestTopic()
	topic.Topic = r.target.Topic
	next := make(map[int32]*int64)
	for _, p := range parts {
		q := kmsg.NewFetchRequestTopicPartition()
		q.Partition, q.PartitionMaxBytes, q.CurrentLeaderEpoch = p, fetchPartitionBytes, -1
		topic.Partitions = append(topic.Partitions, q)
	}
	req.Topics = []kmsg.FetchRequestTopic{topic}
	for i := range topic.Partitions {
		next[topic.Partitions[i].Partition] = &topic.Partitions[i].FetchOffset
	}
	c.limit(req, rawFetchVersion)
	for turn := 0; ctx.Err() == nil; turn++ {
		// The broker fills its answer in the order of the request: let each partition be first in turn.
		ps := topic.Partitions
		req.Topics[0].Partitions = append(append(make([]kmsg.FetchRequestTopicPartition, 0, len(ps)), ps[turn%len(ps):]...), ps[:turn%len(ps)]...)
		resp, err := c.roundTrip(req)
		if ctx.Err() != nil {
			return nil
		}
		if err != nil {
			return err
		}
		if err := r.fetched(resp.(*kmsg.FetchResponse), next); err != nil { //nolint:errcheck,forcetypeassert // decoded as such
			return err
		}
	}
	return nil
}

// fetched counts what came, and moves the positions.
func (r *session) fetched(resp *kmsg.FetchResponse, next map[int32]*int64) error {
	if resp.ErrorCode != 0 {
		return fmt.Errorf("fetch: %w", protocol.Code(resp.ErrorCode))
	}
	for _, t := range resp.Topics {
		for i := range t.Partitions {
			p := &t.Partitions[i]
			if p.ErrorCode != 0 {
				return fmt.Errorf("fetch partition %d: %w", p.Partition, protocol.Code(p.ErrorCode))
			}
			at, ok := next[p.Partition]
			if !ok {
				continue
			}
			records := 0
			rest := p.RecordBatches
			for len(rest) > 0 {
				b, after, err := record.Next(rest)
				if err != nil {
					break // the rest of a batch that did not fit
				}
				records += int(b.Count())
				*at = int64(b.NextOffset())
				rest = after
			}
			r.meter.done(records, records*r.s.Bytes)
			if *at >= p.HighWatermark {
				*at = max(p.LogStartOffset, 0)
			}
		}
	}
	return nil
}
