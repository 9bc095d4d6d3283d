package broker

import (
	"testing"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/stelemq/stele/protocol"
)

// deleteRecords asks for one partition in a version, and returns the code and the low watermark.
func (c *testConn) deleteRecords(version int16, topic string, partition int32, offset int64) (protocol.Code, int64) {
	c.t.Helper()
	req := kmsg.NewPtrDeleteRecordsRequest()
	req.Version, req.TimeoutMillis = version, 10_000
	rt := kmsg.NewDeleteRecordsRequestTopic()
	rt.Topic = topic
	rt.Partitions = []kmsg.DeleteRecordsRequestTopicPartition{{Partition: partition, Offset: offset}}
	req.Topics = append(req.Topics, rt)
	p := ask[*kmsg.DeleteRecordsResponse](c, req).Topics[0].Partitions[0]
	return protocol.Code(p.ErrorCode), p.LowWatermark
}

func TestDeleteRecords_CodesAndListOffsets(t *testing.T) {
	b := startBroker(t)
	c := b.dial(t)
	c.createTopic("t", 2)
	c.createTopic("compacted", 1, "cleanup.policy", "compact")
	c.createTopic("both", 1, "cleanup.policy", "compact,delete")
	for range 10 {
		c.produce("t", 0, batchOf(t, "v"))
	}
	for _, row := range []struct {
		name      string
		topic     string
		partition int32
		offset    int64
		code      protocol.Code
		low       int64
	}{
		{"below the high watermark", "t", 0, 4, protocol.None, 4},
		{"again", "t", 0, 4, protocol.None, 4},
		{"back", "t", 0, 2, protocol.None, 4},
		{"beyond", "t", 0, 11, protocol.OffsetOutOfRange, -1},
		{"negative", "t", 0, -2, protocol.OffsetOutOfRange, -1},
		{"the end", "t", 0, -1, protocol.None, 10},
		{"empty", "t", 1, -1, protocol.None, 0},
		{"no such partition", "t", 2, 0, protocol.UnknownTopicOrPartition, -1},
		{"no such topic", "u", 0, 0, protocol.UnknownTopicOrPartition, -1},
		{"compacted alone", "compacted", 0, 0, protocol.PolicyViolation, -1},
		{"compacted and deleted", "both", 0, -1, protocol.None, 0},
		{"internal", "__consumer_offsets", 0, 0, protocol.UnknownTopicOrPartition, -1},
	} {
		for version := range int16(3) {
			if code, low := c.deleteRecords(version, row.topic, row.partition, row.offset); code != row.code || low != row.low {
				t.Errorf("%s, v%d: %v, low watermark %d", row.name, version, code, low)
			}
		}
		if row.name == "again" {
			if code, low := c.deleteRecords(2, "t", 0, 4); code != protocol.None || low != 4 {
				t.Errorf("%v %d", code, low)
			}
		}
	}
}
