package brokertest_test

import (
	"sync"
	"sync/atomic"
	"testing"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/stelemq/stele/broker"
	"github.com/stelemq/stele/broker/brokertest"
)

// BenchmarkCommits commits offsets of one group from many connections, one commit at a time each, all at one coordinator and
// durable before the answer.
func BenchmarkCommits(b *testing.B) {
	const connections = 200
	br := brokertest.Start(b, brokertest.Options{Config: func(c *broker.Config) { c.OffsetsTopic.Partitions = 1 }})
	conns := make([]*producer, connections)
	for i := range conns {
		conns[i] = connectTo(b, br)
	}
	conns[0].ask(&kmsg.MetadataRequest{Version: 4, AllowAutoTopicCreation: true, Topics: []kmsg.MetadataRequestTopic{{Topic: new("t")}}}, kmsg.NewPtrMetadataResponse())
	conns[0].ask(&kmsg.FindCoordinatorRequest{Version: 3, CoordinatorKey: "g"}, kmsg.NewPtrFindCoordinatorResponse())
	var next atomic.Int64
	var wg sync.WaitGroup
	b.ResetTimer()
	for i, c := range conns {
		wg.Go(func() {
			for next.Add(1) <= int64(b.N) {
				p := kmsg.NewOffsetCommitRequestTopicPartition()
				p.Partition, p.Offset = int32(i), next.Load()
				req := &kmsg.OffsetCommitRequest{Version: 7, Group: "g", Generation: -1, Topics: []kmsg.OffsetCommitRequestTopic{{Topic: "t", Partitions: []kmsg.OffsetCommitRequestTopicPartition{p}}}}
				resp := kmsg.NewPtrOffsetCommitResponse()
				c.ask(req, resp)
				if code := resp.Topics[0].Partitions[0].ErrorCode; code != 0 {
					b.Errorf("code %d", code)
					return
				}
			}
		})
	}
	wg.Wait()
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "commits/s")
}
