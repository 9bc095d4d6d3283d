package client

import (
	"context"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// EndOffsets returns where the logs of topics end, their high watermarks, by topic and partition. Each leader is asked once, all
// at the same time. What has no leader, or whose leader fails or does not answer within patience, is left out: the answer is as
// much as is known now.
func (c *Client) EndOffsets(ctx context.Context, topics []Topic, patience time.Duration) map[string]map[int32]int64 {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	ends := make(map[string]map[int32]int64, len(topics))
	byLeader := endsByLeader(topics)
	for i := range topics {
		ends[topics[i].Name] = map[int32]int64{}
	}
	var mu sync.Mutex
	var wg sync.WaitGroup
	for leader, req := range byLeader {
		wg.Go(func() {
			resp, err := c.Request(ctx, leader, req)
			r, ok := resp.(*kmsg.ListOffsetsResponse)
			if err != nil || !ok {
				return
			}
			mu.Lock()
			defer mu.Unlock()
			for i := range r.Topics {
				of := ends[r.Topics[i].Topic]
				for _, p := range r.Topics[i].Partitions {
					if of != nil && p.ErrorCode == 0 {
						of[p.Partition] = p.Offset
					}
				}
			}
		})
	}
	wg.Wait()
	return ends
}

// endsByLeader makes one request for each leader of partitions.
func endsByLeader(topics []Topic) map[int32]*kmsg.ListOffsetsRequest {
	requests := map[int32]*kmsg.ListOffsetsRequest{}
	for i := range topics {
		t := &topics[i]
		for _, p := range t.Partitions {
			if p.Leader < 0 {
				continue
			}
			req := requests[p.Leader]
			if req == nil {
				req = kmsg.NewPtrListOffsetsRequest()
				req.ReplicaID = -1
				requests[p.Leader] = req
			}
			if n := len(req.Topics); n == 0 || req.Topics[n-1].Topic != t.Name {
				req.Topics = append(req.Topics, kmsg.ListOffsetsRequestTopic{Topic: t.Name})
			}
			rt := &req.Topics[len(req.Topics)-1]
			rp := kmsg.NewListOffsetsRequestTopicPartition()
			rp.Partition, rp.Timestamp = p.ID, timestampLatest
			rt.Partitions = append(rt.Partitions, rp)
		}
	}
	return requests
}
