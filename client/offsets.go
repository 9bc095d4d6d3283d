package client

import (
	"context"
	"fmt"

	"github.com/segmentio/kafka-go/protocol/listoffsets"

	"github.com/stelemq/stele/protocol"
)

// Special timestamps of ListOffsetsRequest.json.
const (
	timestampLatest   = -1
	timestampEarliest = -2
)

// Offsets returns the offset that a position means in each partition of a
// topic, at present.
func (c *Client) Offsets(ctx context.Context, topic string, p Position) (map[int32]int64, error) {
	t, err := c.topic(ctx, topic, false)
	if err != nil {
		if Code(err) == protocol.UnknownTopicOrPartition {
			return nil, c.unknownTopic(ctx, topic)
		}
		return nil, err
	}
	at := make(map[int32]Position, len(t.Partitions))
	for i := range t.Partitions {
		at[t.Partitions[i].ID] = p
	}
	return c.ResolveOffsets(ctx, topic, at)
}

// ResolveOffsets returns the offset that each position means in its partition,
// at present. It asks the leaders, and asks again while one is missing, until
// the context ends.
func (c *Client) ResolveOffsets(ctx context.Context, topic string, at map[int32]Position) (map[int32]int64, error) {
	out := make(map[int32]int64, len(at))
	asks := make(map[int32]int64, len(at)) // partition -> timestamp
	for id, p := range at {
		switch p.kind {
		case atOffset:
			out[id] = p.n
		case atTime:
			asks[id] = max(p.n, 0)
		case fromStart:
			asks[id] = timestampEarliest
		case fromEnd:
			asks[id] = timestampLatest
		}
	}
	found, err := c.listOffsets(ctx, topic, asks)
	if err != nil {
		return nil, err
	}
	second := make(map[int32]int64) // ends of what has no later record, starts to clamp with
	for id, offset := range found {
		p := at[id]
		switch {
		case p.kind == atTime && offset < 0:
			second[id] = timestampLatest
		case p.kind == fromStart:
			out[id] = offset + p.n
		case p.kind == fromEnd && p.n > 0:
			second[id] = timestampEarliest
		default:
			out[id] = offset
		}
	}
	bounds, err := c.listOffsets(ctx, topic, second)
	if err != nil {
		return nil, err
	}
	for id, bound := range bounds {
		out[id] = bound
		if p := at[id]; p.kind == fromEnd {
			out[id] = max(bound, found[id]-p.n)
		}
	}
	return out, nil
}

// listOffsets asks the leaders for the offsets of timestamps.
func (c *Client) listOffsets(ctx context.Context, topic string, timestamps map[int32]int64) (map[int32]int64, error) {
	out := make(map[int32]int64, len(timestamps))
	wait := backoff{}
	var last error
	for len(out) < len(timestamps) {
		err := c.listOffsetsOnce(ctx, topic, timestamps, out)
		if err == nil {
			continue
		}
		if ctx.Err() != nil && last != nil {
			return nil, last
		}
		if !Retriable(err) {
			return nil, err
		}
		last = err
		c.forget(topic)
		if wait.sleep(ctx) != nil {
			return nil, last
		}
	}
	return out, nil
}

// listOffsetsOnce asks each leader once for what is not in out yet.
func (c *Client) listOffsetsOnce(ctx context.Context, topic string, timestamps, out map[int32]int64) error {
	t, err := c.topic(ctx, topic, false)
	if err != nil {
		return err
	}
	byLeader := make(map[int32][]listoffsets.RequestPartition)
	known := 0
	for i := range t.Partitions {
		p := &t.Partitions[i]
		ts, asked := timestamps[p.ID]
		if !asked {
			continue
		}
		known++
		if _, done := out[p.ID]; done {
			continue
		}
		if p.Leader < 0 {
			return p.noLeader(topic, nil)
		}
		byLeader[p.Leader] = append(byLeader[p.Leader], listoffsets.RequestPartition{
			Partition: p.ID, CurrentLeaderEpoch: -1, Timestamp: ts,
		})
	}
	if known < len(timestamps) {
		return noSuchPartition(t, timestamps)
	}
	for leader, partitions := range byLeader {
		if err := c.listOffsetsOf(ctx, leader, topic, partitions, out); err != nil {
			return err
		}
	}
	return nil
}

func noSuchPartition(t *Topic, asked map[int32]int64) error {
	for id := range asked {
		if int(id) >= len(t.Partitions) {
			return &Error{
				Reason: fmt.Sprintf("topic %q has no partition %d: it has %d, from 0", t.Name, id, len(t.Partitions)),
				Err:    ErrUnknownTopic,
			}
		}
	}
	return &Error{Reason: fmt.Sprintf("topic %q has no such partition", t.Name), Err: ErrUnknownTopic}
}

func (c *Client) listOffsetsOf(
	ctx context.Context, leader int32, topic string, partitions []listoffsets.RequestPartition, out map[int32]int64,
) error {
	msg, err := c.askBroker(ctx, leader, &listoffsets.Request{
		ReplicaID: -1,
		Topics:    []listoffsets.RequestTopic{{Topic: topic, Partitions: partitions}},
	})
	if err != nil {
		return err
	}
	res := msg.(*listoffsets.Response) //nolint:errcheck,forcetypeassert // decoded as such
	var failed error
	for i := range res.Topics {
		for _, p := range res.Topics[i].Partitions {
			if err := codeError(fmt.Sprintf("look up an offset of %s-%d", topic, p.Partition), p.ErrorCode, ""); err != nil {
				failed = err
				continue
			}
			out[p.Partition] = p.Offset
		}
	}
	return failed
}
