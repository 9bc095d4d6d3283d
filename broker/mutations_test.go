package broker

import (
	"fmt"
	"io"
	"net"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/stelemq/stele/protocol"
)

func createMany(c *testConn, version int16, name string, partitions int32) (protocol.Code, int32) {
	r := ask[*kmsg.CreateTopicsResponse](c, &kmsg.CreateTopicsRequest{Version: version, TimeoutMillis: 10_000, Topics: []kmsg.CreateTopicsRequestTopic{{
		Topic: name, NumPartitions: partitions, ReplicationFactor: 1,
	}}})
	return protocol.Code(r.Topics[0].ErrorCode), r.ThrottleMillis
}

func TestClientQuotas_Mutations(t *testing.T) {
	b := startBroker(t)
	if code := b.dial(t).setQuota(false, "controller_mutation_rate", 1, "user"); code != protocol.None {
		t.Fatal(code)
	}
	if code, wait := createMany(b.dial(t), 7, "a", 12); code != protocol.None || wait != 0 { // eleven may be made at once, and one more is owed
		t.Fatal(code, wait)
	}
	if code, wait := createMany(b.dial(t), 6, "b", 1); code != protocol.ThrottlingQuotaExceeded || wait <= 0 || wait > 1000 {
		t.Errorf("CreateTopics v6: %v, %d ms", code, wait)
	}
	name := "a"
	d := ask[*kmsg.DeleteTopicsResponse](b.dial(t), &kmsg.DeleteTopicsRequest{Version: 6, TimeoutMillis: 10_000, Topics: []kmsg.DeleteTopicsRequestTopic{{Topic: &name}}})
	if protocol.Code(d.Topics[0].ErrorCode) != protocol.ThrottlingQuotaExceeded || d.ThrottleMillis <= 0 {
		t.Errorf("DeleteTopics v6: %+v", d)
	}
	p := ask[*kmsg.CreatePartitionsResponse](b.dial(t), &kmsg.CreatePartitionsRequest{Version: 3, TimeoutMillis: 10_000, Topics: []kmsg.CreatePartitionsRequestTopic{{Topic: name, Count: 13}}})
	if protocol.Code(p.Topics[0].ErrorCode) != protocol.ThrottlingQuotaExceeded || p.ThrottleMillis <= 0 {
		t.Errorf("CreatePartitions v3: %+v", p)
	}
	// A client that knows nothing of it is served, and told to wait.
	if code, wait := createMany(b.dial(t), 5, "c", 1); code != protocol.None || wait <= 0 {
		t.Errorf("CreateTopics v5: %v, %d ms", code, wait)
	}
}

func TestClientQuotas_ConnectionsOfAnAddress(t *testing.T) {
	b := startBroker(t)
	admin := b.dial(t)
	if code := admin.setQuota(false, "connection_creation_rate", 1, "ip=host.example"); code != protocol.InvalidRequest {
		t.Error(code)
	}
	if code := admin.setQuota(false, "connection_creation_rate", 1, "ip=127.0.0.1"); code != protocol.None {
		t.Fatal(code)
	}
	var refused net.Conn
	began := time.Now()
	for n := range 100 {
		c, err := net.Dial("tcp", b.Addr("").String())
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close() //nolint:errcheck,gocritic,revive // the test ends
		if n < 20 {
			continue
		}
		refused = c
		break
	}
	if err := refused.SetReadDeadline(time.Now().Add(20 * time.Second)); err != nil {
		t.Fatal(err)
	}
	if _, err := refused.Read(make([]byte, 1)); err != io.EOF { //nolint:errorlint // as it is
		t.Errorf("%v after %s", err, time.Since(began))
	}
	eventually(t, func() bool { // what was open before is served
		got, code := admin.quotas(false, "ip=127.0.0.1")
		return code == protocol.None && got == "127.0.0.1:connection_creation_rate=1"
	})
}

func TestGroupConfigs_BoundsAndEffect(t *testing.T) {
	b := startBroker(t, func(o *Options) {
		for name, value := range map[string]string{
			"group.consumer.session.timeout.ms": "45000", "group.consumer.min.session.timeout.ms": "45000", "group.consumer.max.session.timeout.ms": "60000",
			"group.consumer.heartbeat.interval.ms": "5000", "group.consumer.min.heartbeat.interval.ms": "5000", "group.consumer.max.heartbeat.interval.ms": "15000",
		} {
			o.Config.Settings = append(o.Config.Settings, Setting{Name: name, Value: value, Default: value, Type: TypeInt})
		}
	})
	c := b.dial(t)
	set := func(values ...string) protocol.Code {
		r := kmsg.IncrementalAlterConfigsRequestResource{ResourceType: kmsg.ConfigResourceTypeGroupConfig, ResourceName: "g"}
		for i := 0; i < len(values); i += 2 {
			r.Configs = append(r.Configs, kmsg.IncrementalAlterConfigsRequestResourceConfig{Name: values[i], Value: &values[i+1]})
		}
		a := ask[*kmsg.IncrementalAlterConfigsResponse](c, &kmsg.IncrementalAlterConfigsRequest{Version: 1, Resources: []kmsg.IncrementalAlterConfigsRequestResource{r}})
		return protocol.Code(a.Resources[0].ErrorCode)
	}
	for _, row := range []struct {
		want   protocol.Code
		values []string
	}{
		{protocol.InvalidConfig, []string{groupSession, "44999"}},
		{protocol.InvalidConfig, []string{groupSession, "60001"}},
		{protocol.InvalidConfig, []string{groupSession, "x"}},
		{protocol.InvalidConfig, []string{groupHeartbeat, "4999"}},
		{protocol.InvalidConfig, []string{groupHeartbeat, "15001"}},
		{protocol.InvalidConfig, []string{"consumer.nonsense", "1"}},
		{protocol.None, []string{groupSession, "50000", groupHeartbeat, "6000"}},
	} {
		if code := set(row.values...); code != row.want {
			t.Errorf("%v: %v, want %v", row.values, code, row.want)
		}
	}
	eventually(t, func() bool {
		session, heartbeat := b.groupTimes("g")
		return session == 50*time.Second && heartbeat == 6*time.Second
	})
	d := ask[*kmsg.DescribeConfigsResponse](c, &kmsg.DescribeConfigsRequest{Version: 4, Resources: []kmsg.DescribeConfigsRequestResource{
		{ResourceType: kmsg.ConfigResourceTypeGroupConfig, ResourceName: "g"}, {ResourceType: kmsg.ConfigResourceTypeGroupConfig, ResourceName: "other"},
	}})
	for i, want := range []string{"50000 8", "45000 5"} {
		for _, e := range d.Resources[i].Configs {
			if got := fmt.Sprintf("%s %d", *e.Value, e.Source); e.Name == groupSession && got != want {
				t.Errorf("%s: %s, want %s", d.Resources[i].ResourceName, got, want)
			}
		}
	}
}
