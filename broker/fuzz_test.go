package broker

import (
	"context"
	"encoding/binary"
	"log/slog"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/stelemq/stele/protocol"
)

// panicWatch notes when a handler's panic is logged.
type panicWatch struct{ seen *atomic.Pointer[string] }

func (panicWatch) Enabled(context.Context, slog.Level) bool { return true }
func (w panicWatch) WithAttrs([]slog.Attr) slog.Handler     { return w }
func (w panicWatch) WithGroup(string) slog.Handler          { return w }

func (w panicWatch) Handle(_ context.Context, r slog.Record) error {
	if strings.Contains(r.Message, "panicked") {
		text := r.Message
		r.Attrs(func(a slog.Attr) bool { text += "\n" + a.String(); return true })
		w.seen.Store(&text)
	}
	return nil
}

// FuzzRequests sends any bytes as the body of any request: the answer is a response or the end of the
// connection, never a panic, and never silence.
func FuzzRequests(f *testing.F) {
	var seen atomic.Pointer[string]
	b := startBroker(f, func(o *Options) {
		o.Logger = slog.New(panicWatch{&seen})
		o.Config.LeaderWait = time.Millisecond
		o.Config.MaxPartitionsPerRequest = 10
		o.Config.DeleteTopics = false
	})
	setup := b.dial(f)
	setup.createTopic("t", 1)
	setup.produce("t", 0, batchOf(f, "x"))
	name := "t"
	for _, req := range []kmsg.Request{
		produceRequest("t", 0, batchOf(f, "y")), fetchRequest(12, "t", [16]byte{}, 0, 0), metadataOf("t"),
		&kmsg.ApiVersionsRequest{Version: 3, ClientSoftwareName: "a", ClientSoftwareVersion: "1"},
		&kmsg.CreateTopicsRequest{Version: 7, ValidateOnly: true, Topics: []kmsg.CreateTopicsRequestTopic{configured("n", "retention.ms", "1")}},
		&kmsg.DeleteTopicsRequest{Version: 6, Topics: []kmsg.DeleteTopicsRequestTopic{{Topic: &name}}},
		&kmsg.CreatePartitionsRequest{Version: 3, ValidateOnly: true, Topics: []kmsg.CreatePartitionsRequestTopic{{Topic: "t", Count: 2}}},
		&kmsg.DescribeConfigsRequest{Version: 4, Resources: []kmsg.DescribeConfigsRequestResource{{ResourceType: 2, ResourceName: "t"}}},
		&kmsg.DescribeTopicPartitionsRequest{ResponsePartitionLimit: 1}, &kmsg.DescribeClusterRequest{Version: 2},
		&kmsg.InitProducerIDRequest{Version: 4}, epochRequest(-1, 1),
		alterRequest(1, "t", 0, []int32{1}), &kmsg.ListPartitionReassignmentsRequest{}, &kmsg.UnregisterBrokerRequest{BrokerID: 7},
		&kmsg.ElectLeadersRequest{Version: 2, TimeoutMillis: 10, Topics: []kmsg.ElectLeadersRequestTopic{{Topic: "t", Partitions: []int32{0}}}},
		&kmsg.IncrementalAlterConfigsRequest{Version: 1, ValidateOnly: true, Resources: []kmsg.IncrementalAlterConfigsRequestResource{{ResourceType: 2, ResourceName: "t", Configs: []kmsg.IncrementalAlterConfigsRequestResourceConfig{change("retention.ms", 0, "1")}}}},
		&kmsg.AlterConfigsRequest{Version: 2, ValidateOnly: true, Resources: []kmsg.AlterConfigsRequestResource{{ResourceType: 2, ResourceName: "t"}}},
		&kmsg.ListOffsetsRequest{Version: 11, Topics: []kmsg.ListOffsetsRequestTopic{{Topic: "t", Partitions: []kmsg.ListOffsetsRequestTopicPartition{{Timestamp: -1}}}}},
	} {
		f.Add(req.Key(), req.GetVersion(), req.AppendTo(nil))
	}
	f.Fuzz(func(t *testing.T, key, version int16, body []byte) {
		if len(body) > 1<<16 {
			return
		}
		c := b.dial(t)
		p := []byte{0, 0, 0, 0}
		p = binary.BigEndian.AppendUint16(p, uint16(key))
		p = binary.BigEndian.AppendUint16(p, uint16(version))
		p = append(p, 0, 0, 0, 9, 0xff, 0xff)
		if a, ok := protocol.Lookup(key); ok && a.Flexible(version) {
			p = append(p, 0)
		}
		p = append(p, body...)
		binary.BigEndian.PutUint32(p, uint32(len(p)-4))
		c.write(p)
		c.write(frame(&kmsg.ApiVersionsRequest{}, 10)) // what is not answered (acks=0) is followed by this
		if fetchWaits(key, version, body) {
			return
		}
		if raw, err := c.raw(); err == nil && len(raw) < 4 {
			t.Errorf("answer of %d bytes", len(raw))
		}
		if text := seen.Load(); text != nil {
			t.Fatal(*text)
		}
	})
}

// fetchWaits is true for a Fetch that may wait longer than the test wants to.
func fetchWaits(key, version int16, body []byte) bool {
	req := &kmsg.FetchRequest{Version: version}
	return key == keyFetch && version >= 4 && version <= 18 && protocol.CheckRequest(key, version, body, 1<<20) == nil &&
		req.ReadFrom(body) == nil && req.MaxWaitMillis > 100
}
