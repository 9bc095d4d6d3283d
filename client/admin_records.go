package client

import (
	"context"
	"fmt"
	"slices"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// DeletedRecords is what became of one partition of DeleteRecords.
type DeletedRecords struct {
	Partition int32
	// LogStart is the first offset that is left; -1 with Err.
	LogStart int64
	Err      error
}

// DeleteRecords removes the records of a topic below an offset in each partition, for good; -1 means all that there are.
// Results are by partition, each with its own error.
func (c *Client) DeleteRecords(ctx context.Context, topic string, before map[int32]int64) ([]DeletedRecords, error) {
	t, err := c.topic(ctx, topic, false)
	if err != nil {
		return nil, err
	}
	byLeader := map[int32]map[int32]int64{}
	var out []DeletedRecords
	for i := range t.Partitions {
		p := &t.Partitions[i]
		o, ok := before[p.ID]
		switch {
		case !ok:
		case p.Leader < 0:
			out = append(out, DeletedRecords{p.ID, -1, p.noLeader(topic, nil)})
		default:
			if byLeader[p.Leader] == nil {
				byLeader[p.Leader] = map[int32]int64{}
			}
			byLeader[p.Leader][p.ID] = o
		}
	}
	for leader, offsets := range byLeader {
		results, err := c.deleteRecordsOf(ctx, leader, topic, offsets)
		if err != nil {
			return nil, err
		}
		out = append(out, results...)
	}
	slices.SortFunc(out, func(a, b DeletedRecords) int { return int(a.Partition) - int(b.Partition) })
	return out, nil
}

func (c *Client) deleteRecordsOf(ctx context.Context, leader int32, topic string, offsets map[int32]int64) ([]DeletedRecords, error) {
	req := kmsg.NewPtrDeleteRecordsRequest()
	req.TimeoutMillis = c.timeoutMillis()
	rt := kmsg.NewDeleteRecordsRequestTopic()
	rt.Topic = topic
	for id, o := range offsets {
		rt.Partitions = append(rt.Partitions, kmsg.DeleteRecordsRequestTopicPartition{Partition: id, Offset: o})
	}
	req.Topics = append(req.Topics, rt)
	resp, err := c.Request(ctx, leader, req)
	if err != nil {
		return nil, err
	}
	var out []DeletedRecords
	res := resp.(*kmsg.DeleteRecordsResponse) //nolint:errcheck,forcetypeassert // decoded as such
	for i := range res.Topics {
		for _, p := range res.Topics[i].Partitions {
			err := codeError(fmt.Sprintf("delete records of %s-%d", topic, p.Partition), p.ErrorCode, "")
			out = append(out, DeletedRecords{p.Partition, p.LowWatermark, err})
		}
	}
	return out, nil
}
