package broker

import (
	"slices"
	"strings"
	"testing"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/stelemq/stele/protocol"
)

func TestFeatures_ToldAndUpdated(t *testing.T) {
	b := startBroker(t)
	c := b.dial(t)
	finalized := func(version int16) map[string]int16 {
		r := ask[*kmsg.ApiVersionsResponse](c, &kmsg.ApiVersionsRequest{Version: version, ClientSoftwareName: "a", ClientSoftwareVersion: "1", NodeID: -1})
		out := map[string]int16{}
		for _, f := range r.FinalizedFeatures {
			out[f.Name] = f.MaxVersionLevel
		}
		for _, f := range r.SupportedFeatures {
			if version < 4 && f.MinVersion == 0 {
				t.Errorf("v%d tells the feature %s with the lowest level 0", version, f.Name)
			}
		}
		return out
	}
	if got := finalized(2); len(got) != 0 {
		t.Errorf("v2 tells %v", got)
	}
	if got := finalized(4); got["metadata.version"] != 30 || got["group.version"] != 1 {
		t.Errorf("%v", got)
	}
	update := func(version int16, only bool, name string, level int16, kind int8) protocol.Code {
		u := kmsg.UpdateFeaturesRequestFeatureUpdate{Feature: name, MaxVersionLevel: level, UpgradeType: kind, AllowDowngrade: kind > 1}
		r := ask[*kmsg.UpdateFeaturesResponse](c, &kmsg.UpdateFeaturesRequest{Version: version, ValidateOnly: only, TimeoutMillis: 1000, FeatureUpdates: []kmsg.UpdateFeaturesRequestFeatureUpdate{u}})
		if version <= 1 && r.ErrorCode == 0 && len(r.Results) != 1 {
			t.Errorf("v%d: %+v", version, r)
		}
		return protocol.Code(r.ErrorCode)
	}
	for _, row := range []struct {
		name  string
		only  bool
		level int16
		kind  int8
		want  protocol.Code
	}{
		{"no.such", false, 1, 1, protocol.InvalidUpdateVersion},
		{"group.version", false, 2, 1, protocol.InvalidUpdateVersion},
		{"group.version", false, 0, 1, protocol.InvalidUpdateVersion}, // lower, and not said to be
		{"group.version", true, 0, 2, protocol.None},                  // not done
		{"group.version", false, 1, 1, protocol.None},
		{"metadata.version", false, 20, 3, protocol.InvalidUpdateVersion},
	} {
		for _, version := range []int16{0, 1, 2} {
			if version == 0 && row.only {
				continue
			}
			if got := update(version, row.only, row.name, row.level, row.kind); got != row.want {
				t.Errorf("%+v v%d: %v", row, version, got)
			}
		}
	}
	if got := update(1, false, "group.version", 0, 9); got != protocol.InvalidUpdateVersion {
		t.Errorf("an unknown kind of change: %v", got)
	}
	if got := update(1, false, "group.version", 0, 2); got != protocol.None || finalized(5)["group.version"] != 0 {
		t.Errorf("after the downgrade: %v %v", got, finalized(5))
	}
	// Groups of the consumer protocol are refused then.
	beat := ask[*kmsg.ConsumerGroupHeartbeatResponse](c, &kmsg.ConsumerGroupHeartbeatRequest{Version: 1, Group: "g", MemberID: "m", RebalanceTimeoutMillis: 1000, SubscribedTopicNames: []string{"t"}})
	if protocol.Code(beat.ErrorCode) != protocol.UnsupportedVersion {
		t.Errorf("ConsumerGroupHeartbeat with group.version 0: %v", protocol.Code(beat.ErrorCode))
	}
	told := ask[*kmsg.ConsumerGroupDescribeResponse](c, &kmsg.ConsumerGroupDescribeRequest{Version: 1, Groups: []string{"g"}})
	if len(told.Groups) != 1 || protocol.Code(told.Groups[0].ErrorCode) != protocol.UnsupportedVersion {
		t.Errorf("ConsumerGroupDescribe with group.version 0: %+v", told.Groups)
	}
	if got := update(2, false, "group.version", 1, 2); got != protocol.InvalidUpdateVersion {
		t.Errorf("a downgrade upwards: %v", got)
	}
	if got := update(0, false, "group.version", 1, 1); got != protocol.None || finalized(3)["group.version"] != 1 {
		t.Errorf("after the upgrade: %v %v", got, finalized(3))
	}
}

func TestDescribeLogDirs(t *testing.T) {
	b := startBroker(t)
	c := b.dial(t)
	c.createTopic("a", 2)
	c.createTopic("b", 1)
	for version := range int16(6) {
		all := ask[*kmsg.DescribeLogDirsResponse](c, &kmsg.DescribeLogDirsRequest{Version: version})
		if len(all.Dirs) != 1 || all.Dirs[0].Dir != "/data" || len(all.Dirs[0].Topics) != 2 {
			t.Fatalf("v%d: %+v", version, all)
		}
		if d := all.Dirs[0]; version >= 4 && (d.TotalBytes != 100 || d.UsableBytes != 40) {
			t.Errorf("v%d: %+v", version, d)
		}
		some := ask[*kmsg.DescribeLogDirsResponse](c, &kmsg.DescribeLogDirsRequest{Version: version, Topics: []kmsg.DescribeLogDirsRequestTopic{
			{Topic: "a", Partitions: []int32{1, 9}}, {Topic: "none", Partitions: []int32{0}},
		}})
		if d := some.Dirs[0]; len(d.Topics) != 1 || len(d.Topics[0].Partitions) != 1 || d.Topics[0].Partitions[0].Partition != 1 {
			t.Errorf("v%d: %+v", version, d)
		}
	}
}

func TestDescribeProducers(t *testing.T) {
	b := startBroker(t)
	c := b.dial(t)
	c.createTopic("a", 1)
	r := ask[*kmsg.DescribeProducersResponse](c, &kmsg.DescribeProducersRequest{Topics: []kmsg.DescribeProducersRequestTopic{
		{Topic: "a", Partitions: []int32{0, 1}}, {Topic: "none", Partitions: []int32{0}}, {Topic: "a/b", Partitions: []int32{0}},
	}})
	got := []protocol.Code{}
	for _, topic := range r.Topics {
		for _, p := range topic.Partitions {
			got = append(got, protocol.Code(p.ErrorCode))
		}
	}
	if want := []protocol.Code{protocol.None, protocol.UnknownTopicOrPartition, protocol.UnknownTopicOrPartition, protocol.InvalidTopicException}; !slices.Equal(got, want) {
		t.Errorf("%v, want %v", got, want)
	}
	if p := r.Topics[0].Partitions[0].ActiveProducers; len(p) != 1 || p[0].ProducerID != 7 || p[0].LastSequence != 41 || p[0].CurrentTxnStartOffset != -1 {
		t.Errorf("%+v", p)
	}
}

// alterNamed sets settings of a resource.
func (c *testConn) alterNamed(kind kmsg.ConfigResourceType, name string, changes ...kmsg.IncrementalAlterConfigsRequestResourceConfig) (protocol.Code, string) {
	r := ask[*kmsg.IncrementalAlterConfigsResponse](c, &kmsg.IncrementalAlterConfigsRequest{
		Version: 1, Resources: []kmsg.IncrementalAlterConfigsRequestResource{{ResourceType: kind, ResourceName: name, Configs: changes}},
	})
	text := ""
	if m := r.Resources[0].ErrorMessage; m != nil {
		text = *m
	}
	return protocol.Code(r.Resources[0].ErrorCode), text
}

// describe returns the values and sources of a resource's settings.
func (c *testConn) describe(kind kmsg.ConfigResourceType, name string) (map[string]string, protocol.Code) {
	r := ask[*kmsg.DescribeConfigsResponse](c, &kmsg.DescribeConfigsRequest{
		Version: 4, IncludeSynonyms: true, IncludeDocumentation: true, Resources: []kmsg.DescribeConfigsRequestResource{{ResourceType: kind, ResourceName: name}},
	})
	out := map[string]string{}
	for _, config := range r.Resources[0].Configs {
		out[config.Name] = *config.Value + " " + config.Source.String()
	}
	return out, protocol.Code(r.Resources[0].ErrorCode)
}

func TestNamedConfigs(t *testing.T) {
	b := startBroker(t, func(o *Options) {
		o.Config.Settings = []Setting{{Name: "log.level", Type: TypeString, Value: "info", Default: "info", Dynamic: true}}
	})
	c := b.dial(t)
	c.createTopic("a", 1)
	const (
		metrics = kmsg.ConfigResourceTypeClientMetrics
		groups  = kmsg.ConfigResourceTypeGroupConfig
		logger  = kmsg.ConfigResourceTypeBrokerLogger
		set     = kmsg.IncrementalAlterConfigOpSet
		remove  = kmsg.IncrementalAlterConfigOpDelete
		add     = kmsg.IncrementalAlterConfigOpAppend
	)
	for _, row := range []struct {
		kind     kmsg.ConfigResourceType
		resource string
		change   kmsg.IncrementalAlterConfigsRequestResourceConfig
		want     protocol.Code
	}{
		{metrics, "m", change("metrics", set, "org.apache.kafka.producer."), protocol.None},
		{metrics, "m", change("metrics", add, "org.apache.kafka.consumer."), protocol.None},
		{metrics, "m", change("interval.ms", set, "1000"), protocol.None},
		{metrics, "m", change("interval.ms", set, "99"), protocol.InvalidConfig},
		{metrics, "m", change("match", set, "client_id=a.*"), protocol.None},
		{metrics, "m", change("match", set, "client_colour=red"), protocol.InvalidConfig},
		{metrics, "m", change("match", set, "client_id=("), protocol.InvalidConfig},
		{metrics, "m", change("no.such", set, "1"), protocol.InvalidConfig},
		{metrics, "", change("metrics", set, "*"), protocol.InvalidRequest},
		{groups, "g", change("consumer.session.timeout.ms", set, "50000"), protocol.None},
		{groups, "g", change("consumer.session.timeout.ms", set, "x"), protocol.InvalidConfig},
		{logger, "1", change("root", set, "DEBUG"), protocol.None},
		{logger, "1", change("kafka.server", set, "DEBUG"), protocol.InvalidConfig},
		{logger, "1", change("root", add, "DEBUG"), protocol.InvalidRequest},
		{logger, "7", change("root", set, "DEBUG"), protocol.InvalidRequest},
	} {
		if got, text := c.alterNamed(row.kind, row.resource, row.change); got != row.want || (got == protocol.None) != (text == "") {
			t.Errorf("%+v: %v %q", row, got, text)
		}
	}
	if got, code := c.describe(metrics, "m"); code != 0 || got["metrics"] != "org.apache.kafka.producer.,org.apache.kafka.consumer. DYNAMIC_CLIENT_METRICS_CONFIG" && !strings.HasPrefix(got["metrics"], "org.apache.kafka.producer.,org") || !strings.HasPrefix(got["interval.ms"], "1000 ") {
		t.Errorf("%v %v", got, code)
	}
	if got, _ := c.describe(groups, "g"); !strings.HasPrefix(got["consumer.session.timeout.ms"], "50000 ") || !strings.HasPrefix(got["consumer.heartbeat.interval.ms"], "5000 ") {
		t.Errorf("%v", got)
	}
	if got, _ := c.describe(logger, "1"); !strings.HasPrefix(got["root"], "DEBUG ") {
		t.Errorf("%v", got)
	}
	list := func(version int16, types ...int8) ([]string, protocol.Code) {
		r := ask[*kmsg.ListConfigResourcesResponse](c, &kmsg.ListConfigResourcesRequest{Version: version, ResourceTypes: types})
		var out []string
		for _, x := range r.ConfigResources {
			out = append(out, x.Name)
		}
		return out, protocol.Code(r.ErrorCode)
	}
	for _, row := range []struct {
		version int16
		types   []int8
		want    string
		code    protocol.Code
	}{{0, nil, "m", 0}, {1, nil, "a 1 1 m g", 0}, {1, []int8{32, 2}, "a g", 0}, {1, []int8{3}, "", protocol.UnsupportedVersion}} {
		if got, code := list(row.version, row.types...); strings.Join(got, " ") != row.want || code != row.code {
			t.Errorf("%+v: %v %v", row, got, code)
		}
	}
	for _, key := range []string{"metrics", "interval.ms", "match"} {
		if got, text := c.alterNamed(metrics, "m", change(key, remove)); got != protocol.None {
			t.Errorf("%v %s", got, text)
		}
	}
	if got, _ := list(0); len(got) != 0 {
		t.Errorf("still there: %v", got)
	}
}
