package broker

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/stelemq/stele/protocol"
)

func entity(parts ...string) []kmsg.AlterClientQuotasRequestEntryEntity {
	var out []kmsg.AlterClientQuotasRequestEntryEntity
	for _, p := range parts {
		kind, name, named := strings.Cut(p, "=")
		e := kmsg.AlterClientQuotasRequestEntryEntity{Type: kind}
		if named {
			e.Name = &name
		}
		out = append(out, e)
	}
	return out
}

// setQuota sets, or with a negative value removes, one quota.
func (c *testConn) setQuota(only bool, key string, value float64, parts ...string) protocol.Code {
	r := ask[*kmsg.AlterClientQuotasResponse](c, &kmsg.AlterClientQuotasRequest{Version: 1, ValidateOnly: only, Entries: []kmsg.AlterClientQuotasRequestEntry{{
		Entity: entity(parts...), Ops: []kmsg.AlterClientQuotasRequestEntryOp{{Key: key, Value: value, Remove: value < -1}},
	}}})
	return protocol.Code(r.Entries[0].ErrorCode)
}

func (c *testConn) quotas(strict bool, parts ...string) (string, protocol.Code) {
	req := &kmsg.DescribeClientQuotasRequest{Version: 1, Strict: strict}
	for _, p := range parts {
		kind, name, named := strings.Cut(p, "=")
		f := kmsg.DescribeClientQuotasRequestComponent{EntityType: kind, MatchType: matchAny}
		if named && name == "" {
			f.MatchType = matchDefault
		} else if named {
			f.MatchType, f.Match = matchExact, &name
		}
		req.Components = append(req.Components, f)
	}
	r := ask[*kmsg.DescribeClientQuotasResponse](c, req)
	var out []string
	for _, e := range r.Entries {
		var names []string
		for _, x := range e.Entity {
			name := "*"
			if x.Name != nil {
				name = *x.Name
			}
			names = append(names, name)
		}
		for _, v := range e.Values {
			out = append(out, fmt.Sprintf("%s:%s=%v", strings.Join(names, "/"), v.Key, v.Value))
		}
	}
	return strings.Join(out, " "), protocol.Code(r.ErrorCode)
}

func TestClientQuotas_AlterAndDescribe(t *testing.T) {
	b := startBroker(t)
	c := b.dial(t)
	for _, row := range []struct {
		only  bool
		key   string
		value float64
		who   string
		want  protocol.Code
	}{
		{false, "producer_byte_rate", 1024, "client-id=a", protocol.None},
		{true, "producer_byte_rate", 4096, "client-id=a", protocol.None},
		{false, "consumer_byte_rate", 2048, "client-id=a", protocol.None},
		{false, "request_percentage", 12.5, "client-id=a user=u", protocol.None},
		{false, "producer_byte_rate", 9, "user", protocol.None},
		{false, "connection_creation_rate", 9, "ip=1.2.3.4", protocol.None},
		{false, "producer_byte_rate", 0, "user", protocol.InvalidRequest},
		{false, "producer_byte_rate", 0.5, "user", protocol.InvalidRequest},
		{false, "no.such", 1, "user", protocol.InvalidRequest},
		{false, "producer_byte_rate", 1, "ip=1.2.3.4", protocol.InvalidRequest},
		{false, "producer_byte_rate", 1, "colour=red", protocol.InvalidRequest},
		{false, "producer_byte_rate", 1, "user=u user=v", protocol.InvalidRequest},
		{false, "producer_byte_rate", 1, "user=u ip=1.2.3.4", protocol.InvalidRequest},
		{false, "producer_byte_rate", 1, "user=", protocol.InvalidRequest},
		{false, "producer_byte_rate", 1, "", protocol.InvalidRequest},
	} {
		if got := c.setQuota(row.only, row.key, row.value, strings.Fields(row.who)...); got != row.want {
			t.Errorf("%+v: %v", row, got)
		}
	}
	for _, row := range []struct {
		strict bool
		who    string
		want   string
		code   protocol.Code
	}{
		{false, "client-id=a", "a:consumer_byte_rate=2048 a:producer_byte_rate=1024 a/u:request_percentage=12.5", 0},
		{true, "client-id=a", "a:consumer_byte_rate=2048 a:producer_byte_rate=1024", 0},
		{true, "client-id=a user", "a/u:request_percentage=12.5", 0},
		{false, "user=", "*:producer_byte_rate=9", 0},
		{false, "user=v", "", 0},
		{false, "ip", "1.2.3.4:connection_creation_rate=9", 0},
		{false, "ip user", "", protocol.InvalidRequest},
		{false, "user user", "", protocol.InvalidRequest},
		{false, "colour", "", protocol.UnsupportedVersion},
	} {
		if got, code := c.quotas(row.strict, strings.Fields(row.who)...); got != row.want || code != row.code {
			t.Errorf("%+v: %q %v", row, got, code)
		}
	}
	if all, _ := c.quotas(false); strings.Count(all, "=") != 5 {
		t.Errorf("all: %s", all)
	}
	if got := c.setQuota(false, "producer_byte_rate", -9, "client-id=a"); got != protocol.None {
		t.Error(got)
	}
	if got, _ := c.quotas(true, "client-id=a"); got != "a:consumer_byte_rate=2048" {
		t.Errorf("after one was removed: %s", got)
	}
}

// Who has used too much is answered at once, told for how long to wait, and not read for that long.
func TestClientQuotas_ThrottleProduceFetchAndRequests(t *testing.T) {
	b := startBroker(t)
	admin, c := b.dial(t), b.dial(t)
	admin.createTopic("t", 1)
	if got := admin.setQuota(false, "producer_byte_rate", 100, "client-id"); got != protocol.None {
		t.Fatal(got)
	}
	produce := func() int32 {
		return ask[*kmsg.ProduceResponse](c, produceRequest("t", 0, batchOf(t, "some text"))).ThrottleMillis
	}
	throttled := int32(0)
	for i := 0; i < 80 && throttled < 500; i++ { // the first may be short
		throttled = produce()
	}
	if throttled <= 0 {
		t.Fatal("never throttled")
	}
	answered := make(chan int32, 1)
	go func() { answered <- produce() }()
	select {
	case <-answered:
		t.Fatal("a connection that is to be left alone is read")
	case <-time.After(100 * time.Millisecond):
	}
	if got := admin.setQuota(false, "producer_byte_rate", -9, "client-id"); got != protocol.None {
		t.Fatal(got)
	}
	select {
	case <-answered:
	case <-time.After(time.Duration(throttled)*time.Millisecond + 5*time.Second):
		t.Fatal("the connection is never read again")
	}
	if got := admin.setQuota(false, "consumer_byte_rate", 1, "client-id"); got != protocol.None {
		t.Fatal(got)
	}
	f := ask[*kmsg.FetchResponse](c, fetchBytes("t"))
	if f.ThrottleMillis <= 0 || len(f.Topics) != 0 {
		t.Errorf("a fetch beyond the quota: %d ms, %d topics", f.ThrottleMillis, len(f.Topics))
	}
	d := b.dial(t)
	if got := admin.setQuota(false, "consumer_byte_rate", -9, "client-id"); got != protocol.None {
		t.Fatal(got)
	}
	if f := ask[*kmsg.FetchResponse](d, fetchBytes("t")); f.ThrottleMillis != 0 || len(f.Topics) != 1 {
		t.Errorf("without a quota: %d ms, %d topics", f.ThrottleMillis, len(f.Topics))
	}
	// Every request takes some time.
	if got := admin.setQuota(false, "request_percentage", 0.0000001, "client-id"); got != protocol.None {
		t.Fatal(got)
	}
	e := b.dial(t)
	if r := ask[*kmsg.ListOffsetsResponse](e, &kmsg.ListOffsetsRequest{Version: 7, ReplicaID: -1}); r.ThrottleMillis <= 0 {
		t.Error("no request is throttled")
	}
}

func fetchBytes(topic string) *kmsg.FetchRequest {
	return &kmsg.FetchRequest{
		Version: 11, ReplicaID: -1, MaxBytes: 1 << 20, SessionEpoch: -1, Topics: []kmsg.FetchRequestTopic{{
			Topic: topic, Partitions: []kmsg.FetchRequestTopicPartition{{PartitionMaxBytes: 1 << 20, CurrentLeaderEpoch: -1}},
		}},
	}
}
