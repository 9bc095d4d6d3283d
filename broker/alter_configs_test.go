package broker

import (
	"testing"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/stelemq/stele/protocol"
)

func change(name string, op kmsg.IncrementalAlterConfigOp, value ...string) kmsg.IncrementalAlterConfigsRequestResourceConfig {
	c := kmsg.IncrementalAlterConfigsRequestResourceConfig{Name: name, Op: op}
	if len(value) > 0 {
		c.Value = &value[0]
	}
	return c
}

func TestIncrementalAlterConfigs(t *testing.T) {
	const (
		topic   = kmsg.ConfigResourceTypeTopic
		brokers = kmsg.ConfigResourceTypeBroker
		set     = kmsg.IncrementalAlterConfigOpSet
		remove  = kmsg.IncrementalAlterConfigOpDelete
		add     = kmsg.IncrementalAlterConfigOpAppend
		take    = kmsg.IncrementalAlterConfigOpSubtract
	)
	b := startBroker(t, func(o *Options) {
		o.Config.Settings = []Setting{
			{Name: "log.retention.ms", Type: TypeLong, Dynamic: true},
			{Name: "min.insync.replicas", Type: TypeInt, Dynamic: true},
			{Name: "log.dirs", Type: TypeString, Value: "/x"},
			{Name: "flag", Type: TypeBoolean, Dynamic: true},
			{Name: "number", Type: TypeInt, Dynamic: true},
		}
	})
	c := b.dial(t)
	c.createTopic("t", 1)
	alter := func(version int16, kind kmsg.ConfigResourceType, name string, only bool, changes ...kmsg.IncrementalAlterConfigsRequestResourceConfig) protocol.Code {
		r := ask[*kmsg.IncrementalAlterConfigsResponse](c, &kmsg.IncrementalAlterConfigsRequest{
			Version: version, ValidateOnly: only, Resources: []kmsg.IncrementalAlterConfigsRequestResource{{ResourceType: kind, ResourceName: name, Configs: changes}},
		})
		got := r.Resources[0]
		if got.ResourceType != kind || got.ResourceName != name || (got.ErrorCode == 0) != (got.ErrorMessage == nil) {
			t.Errorf("%+v", got)
		}
		return protocol.Code(got.ErrorCode)
	}
	for _, row := range []struct {
		name     string
		kind     kmsg.ConfigResourceType
		resource string
		want     protocol.Code
		changes  []kmsg.IncrementalAlterConfigsRequestResourceConfig
	}{
		{"set", topic, "t", protocol.None, []kmsg.IncrementalAlterConfigsRequestResourceConfig{change("retention.ms", set, "1000"), change("min.insync.replicas", set, "1")}},
		{"append to the default", topic, "t", protocol.None, []kmsg.IncrementalAlterConfigsRequestResourceConfig{change("cleanup.policy", add, "compact")}},
		{"subtract", topic, "t", protocol.None, []kmsg.IncrementalAlterConfigsRequestResourceConfig{change("cleanup.policy", take, "delete")}},
		{"subtract the last", topic, "t", protocol.None, []kmsg.IncrementalAlterConfigsRequestResourceConfig{change("cleanup.policy", take, "compact")}},
		{"append to a number", topic, "t", protocol.InvalidConfig, []kmsg.IncrementalAlterConfigsRequestResourceConfig{change("retention.ms", add, "1")}},
		{"append to nothing known", topic, "t", protocol.InvalidConfig, []kmsg.IncrementalAlterConfigsRequestResourceConfig{change("no.such", add, "1")}},
		{"remove", topic, "t", protocol.None, []kmsg.IncrementalAlterConfigsRequestResourceConfig{change("min.insync.replicas", remove)}},
		{"invalid value", topic, "t", protocol.InvalidConfig, []kmsg.IncrementalAlterConfigsRequestResourceConfig{change("min.insync.replicas", set, "0")}},
		{"unknown name", topic, "t", protocol.InvalidConfig, []kmsg.IncrementalAlterConfigsRequestResourceConfig{change("no.such", set, "0")}},
		{"null", topic, "t", protocol.InvalidRequest, []kmsg.IncrementalAlterConfigsRequestResourceConfig{change("retention.ms", set)}},
		{"twice", topic, "t", protocol.InvalidRequest, []kmsg.IncrementalAlterConfigsRequestResourceConfig{change("retention.ms", set, "1"), change("retention.ms", remove)}},
		{"unknown operation", topic, "t", protocol.InvalidRequest, []kmsg.IncrementalAlterConfigsRequestResourceConfig{change("retention.ms", 9, "1")}},
		{"unknown topic", topic, "x", protocol.UnknownTopicOrPartition, nil},
		{"invalid topic", topic, "a/b", protocol.InvalidTopicException, nil},
		{"lag the wrong way round", topic, "t", protocol.InvalidConfig, []kmsg.IncrementalAlterConfigsRequestResourceConfig{change("min.compaction.lag.ms", set, "9"), change("max.compaction.lag.ms", set, "8")}},
		{"an unknown type", 9, "1", protocol.InvalidRequest, nil},
		{"all brokers", brokers, "", protocol.None, []kmsg.IncrementalAlterConfigsRequestResourceConfig{change("log.retention.ms", set, "5000")}},
		{"one broker", brokers, "1", protocol.None, []kmsg.IncrementalAlterConfigsRequestResourceConfig{change("min.insync.replicas", set, "1")}},
		{"another broker", brokers, "9", protocol.InvalidRequest, nil},
		{"no broker", brokers, "x", protocol.InvalidRequest, nil},
		{"not dynamic", brokers, "", protocol.InvalidRequest, []kmsg.IncrementalAlterConfigsRequestResourceConfig{change("log.dirs", set, "/y")}},
		{"not known", brokers, "", protocol.InvalidRequest, []kmsg.IncrementalAlterConfigsRequestResourceConfig{change("no.such", set, "/y")}},
		{"invalid, as a topic's", brokers, "", protocol.InvalidRequest, []kmsg.IncrementalAlterConfigsRequestResourceConfig{change("log.retention.ms", set, "-2")}},
		{"no retention at all", brokers, "", protocol.InvalidRequest, []kmsg.IncrementalAlterConfigsRequestResourceConfig{change("log.retention.ms", set, "0")}},
		{"invalid boolean", brokers, "", protocol.InvalidRequest, []kmsg.IncrementalAlterConfigsRequestResourceConfig{change("flag", set, "maybe")}},
		{"invalid number", brokers, "", protocol.InvalidRequest, []kmsg.IncrementalAlterConfigsRequestResourceConfig{change("number", set, "many")}},
	} {
		for _, version := range []int16{0, 1} {
			before := b.host.machine.Image().Index()
			if got := alter(version, row.kind, row.resource, true, row.changes...); got != row.want || b.host.machine.Image().Index() != before {
				t.Errorf("%s v%d, validate only: %v, want %v", row.name, version, got, row.want)
			}
		}
		if got := alter(1, row.kind, row.resource, false, row.changes...); got != row.want {
			t.Errorf("%s: %v, want %v", row.name, got, row.want)
		}
	}
	image := b.host.machine.Image()
	tp, _ := image.Topic("t")
	if len(tp.Configs) != 2 || tp.Configs["retention.ms"] != "1000" || tp.Configs["cleanup.policy"] != "" {
		t.Errorf("%v", tp.Configs)
	}
	if v, _ := image.ClusterConfig("log.retention.ms"); v != "5000" {
		t.Error(v)
	}
	if v, _ := image.BrokerConfig(1, "min.insync.replicas"); v != "1" {
		t.Error(v)
	}
	twice := ask[*kmsg.IncrementalAlterConfigsResponse](c, &kmsg.IncrementalAlterConfigsRequest{Version: 1, Resources: []kmsg.IncrementalAlterConfigsRequestResource{
		{ResourceType: topic, ResourceName: "t"}, {ResourceType: topic, ResourceName: "t"},
	}})
	if len(twice.Resources) != 1 || protocol.Code(twice.Resources[0].ErrorCode) != protocol.InvalidRequest {
		t.Errorf("%+v", twice.Resources)
	}
}

func TestAlterConfigs_Replaces(t *testing.T) {
	b := startBroker(t)
	c := b.dial(t)
	c.createTopic("t", 1)
	alter := func(version int16, pairs ...string) protocol.Code {
		r := kmsg.AlterConfigsRequestResource{ResourceType: kmsg.ConfigResourceTypeTopic, ResourceName: "t"}
		for i := 0; i < len(pairs); i += 2 {
			r.Configs = append(r.Configs, kmsg.AlterConfigsRequestResourceConfig{Name: pairs[i], Value: &pairs[i+1]})
		}
		return protocol.Code(ask[*kmsg.AlterConfigsResponse](c, &kmsg.AlterConfigsRequest{Version: version, Resources: []kmsg.AlterConfigsRequestResource{r}}).Resources[0].ErrorCode)
	}
	configs := func() map[string]string {
		tp, _ := b.host.machine.Image().Topic("t")
		return tp.Configs
	}
	if got := alter(0, "retention.ms", "1", "segment.bytes", "2000000"); got != protocol.None || len(configs()) != 2 {
		t.Errorf("%v %v", got, configs())
	}
	if got := alter(1, "retention.ms", "x"); got != protocol.InvalidConfig || len(configs()) != 2 {
		t.Errorf("%v %v", got, configs())
	}
	if got := alter(2, "retention.ms", "2"); got != protocol.None || len(configs()) != 1 || configs()["retention.ms"] != "2" {
		t.Errorf("%v %v", got, configs())
	}
	if got := alter(2); got != protocol.None || len(configs()) != 0 {
		t.Errorf("%v %v", got, configs())
	}
}
