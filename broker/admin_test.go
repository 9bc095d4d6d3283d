package broker

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/stelemq/stele/broker/topicconfig"
	"github.com/stelemq/stele/dledger"
	"github.com/stelemq/stele/protocol"
)

func newTopic(name string, partitions int32, factor int16) kmsg.CreateTopicsRequestTopic {
	t := kmsg.NewCreateTopicsRequestTopic()
	t.Topic, t.NumPartitions, t.ReplicationFactor = name, partitions, factor
	return t
}

func assigned(name string, partitions int32, factor int16, nodes ...[]int32) kmsg.CreateTopicsRequestTopic {
	t := newTopic(name, partitions, factor)
	for i, n := range nodes {
		t.ReplicaAssignment = append(t.ReplicaAssignment, kmsg.CreateTopicsRequestTopicReplicaAssignment{Partition: int32(i), Replicas: n})
	}
	return t
}

func configured(name string, pairs ...string) kmsg.CreateTopicsRequestTopic {
	t := newTopic(name, 1, 1)
	for i := 0; i < len(pairs); i += 2 {
		t.Configs = append(t.Configs, kmsg.CreateTopicsRequestTopicConfig{Name: pairs[i], Value: &pairs[i+1]})
	}
	return t
}

func TestCreateTopics_Codes(t *testing.T) {
	b := startBroker(t)
	c := b.dial(t)
	c.createTopic("exists", 1)
	c.createTopic("a.b", 1)
	withNull := newTopic("null", 1, 1)
	withNull.Configs = []kmsg.CreateTopicsRequestTopicConfig{{Name: "retention.ms"}}
	gap := assigned("gap", -1, -1, []int32{1}, []int32{1})
	gap.ReplicaAssignment[1].Partition = 2
	for name, row := range map[string]struct {
		topic kmsg.CreateTopicsRequestTopic
		want  protocol.Code
	}{
		"good":                        {newTopic("good", 3, 1), protocol.None},
		"defaults":                    {newTopic("defaults", -1, -1), protocol.None},
		"assigned":                    {assigned("assigned", -1, -1, []int32{1}, []int32{1}), protocol.None},
		"configured":                  {configured("configured", "retention.ms", "1000", "cleanup.policy", "compact,delete"), protocol.None},
		"exists":                      {newTopic("exists", 1, 1), protocol.TopicAlreadyExists},
		"collides":                    {newTopic("a_b", 1, 1), protocol.InvalidTopicException},
		"empty name":                  {newTopic("", 1, 1), protocol.InvalidTopicException},
		"dots":                        {newTopic("..", 1, 1), protocol.InvalidTopicException},
		"traversal":                   {newTopic("../../etc", 1, 1), protocol.InvalidTopicException},
		"line break":                  {newTopic("a\nlevel=ERROR", 1, 1), protocol.InvalidTopicException},
		"250 characters":              {newTopic(strings.Repeat("x", 250), 1, 1), protocol.InvalidTopicException},
		"249 characters":              {newTopic(strings.Repeat("x", 249), 1, 1), protocol.None},
		"no partitions":               {newTopic("p0", 0, 1), protocol.InvalidPartitions},
		"-2 partitions":               {newTopic("p2", -2, 1), protocol.InvalidPartitions},
		"too many partitions":         {newTopic("many", 10_001, 1), protocol.PolicyViolation},
		"2^31-1 partitions":           {newTopic("most", 1<<31-1, 1), protocol.PolicyViolation},
		"no replicas":                 {newTopic("r0", 1, 0), protocol.InvalidReplicationFactor},
		"-2 replicas":                 {newTopic("r2", 1, -2), protocol.InvalidReplicationFactor},
		"more replicas than brokers":  {newTopic("r3", 1, 3), protocol.InvalidReplicationFactor},
		"assignment and partitions":   {assigned("ap", 1, -1, []int32{1}), protocol.InvalidRequest},
		"assignment and factor":       {assigned("af", -1, 1, []int32{1}), protocol.InvalidRequest},
		"assignment to nobody":        {assigned("an", -1, -1, []int32{}), protocol.InvalidReplicaAssignment},
		"assignment to a stranger":    {assigned("as", -1, -1, []int32{9}), protocol.InvalidReplicaAssignment},
		"assignment twice":            {assigned("at", -1, -1, []int32{1, 1}), protocol.InvalidReplicaAssignment},
		"assignment of unequal sizes": {assigned("au", -1, -1, []int32{1}, []int32{1, 2}), protocol.InvalidReplicaAssignment},
		"assignment with a gap":       {gap, protocol.InvalidReplicaAssignment},
		"unknown config":              {configured("cu", "no.such", "1"), protocol.InvalidConfig},
		"config not a number":         {configured("cn", "retention.ms", "soon"), protocol.InvalidConfig},
		"config too small":            {configured("cs", "segment.bytes", "1"), protocol.InvalidConfig},
		"config null":                 {withNull, protocol.InvalidConfig},
		"config not a policy":         {configured("cp", "cleanup.policy", "shred"), protocol.InvalidConfig},
		"configs that contradict":     {configured("cc", "min.compaction.lag.ms", "10", "max.compaction.lag.ms", "5"), protocol.InvalidConfig},
	} {
		for _, validate := range []bool{true, false} {
			req := &kmsg.CreateTopicsRequest{Version: 7, TimeoutMillis: 5000, ValidateOnly: validate, Topics: []kmsg.CreateTopicsRequestTopic{row.topic}}
			r := ask[*kmsg.CreateTopicsResponse](c, req).Topics[0]
			if r.ErrorCode != int16(row.want) || (r.ErrorMessage == nil) != (row.want == protocol.None) {
				t.Errorf("%s: %v (%s), want %v", name, protocol.Code(r.ErrorCode), text(r.ErrorMessage), row.want)
			}
			if _, made := b.host.machine.Image().Topic(row.topic.Topic); made && validate && name != "exists" {
				t.Errorf("%s: made although it was only to be validated", name)
			}
		}
	}
}

func TestCreateTopics_DuplicatesAndTheRest(t *testing.T) {
	b := startBroker(t)
	c := b.dial(t)
	req := &kmsg.CreateTopicsRequest{Version: 7, TimeoutMillis: 5000, Topics: []kmsg.CreateTopicsRequestTopic{newTopic("twice", 1, 1), newTopic("once", 2, 1), newTopic("twice", 1, 1)}}
	r := ask[*kmsg.CreateTopicsResponse](c, req)
	if len(r.Topics) != 2 || r.Topics[0].ErrorCode != int16(protocol.InvalidRequest) || r.Topics[1].ErrorCode != 0 {
		t.Fatalf("%+v", r.Topics)
	}
	once := r.Topics[1]
	if once.NumPartitions != 2 || once.ReplicationFactor != 1 || once.TopicID == [16]byte{} || len(once.Configs) != len(topicconfig.Defs()) {
		t.Errorf("%+v", once)
	}
	if l := b.host.log(t, "once", 1).Leadership(); !l.IsLeader {
		t.Error("answered before there was a leader")
	}
	b.host.mu.Lock()
	b.host.proposeErr = dledger.ErrTimeout
	b.host.mu.Unlock()
	req = &kmsg.CreateTopicsRequest{Version: 1, TimeoutMillis: 5000, Topics: []kmsg.CreateTopicsRequestTopic{newTopic("late", 1, 1)}}
	if r := ask[*kmsg.CreateTopicsResponse](c, req); r.Topics[0].ErrorCode != int16(protocol.RequestTimedOut) {
		t.Errorf("%+v", r.Topics)
	}
}

func TestCreateTopics_AllVersions(t *testing.T) {
	b := startBroker(t)
	c := b.dial(t)
	for v := range int16(8) {
		name := fmt.Sprint("v", v)
		req := &kmsg.CreateTopicsRequest{Version: v, TimeoutMillis: 5000, Topics: []kmsg.CreateTopicsRequestTopic{newTopic(name, 1, 1)}}
		if r := ask[*kmsg.CreateTopicsResponse](c, req); r.Topics[0].ErrorCode != 0 {
			t.Errorf("create v%d: %+v", v, r.Topics)
		}
	}
	for v := range int16(7) {
		name := fmt.Sprint("v", v)
		req := &kmsg.DeleteTopicsRequest{Version: v, TimeoutMillis: 5000, TopicNames: []string{name}, Topics: []kmsg.DeleteTopicsRequestTopic{{Topic: &name}}}
		if v >= 6 {
			req.TopicNames = nil
		} else {
			req.Topics = nil
		}
		if r := ask[*kmsg.DeleteTopicsResponse](c, req); r.Topics[0].ErrorCode != 0 || *r.Topics[0].Topic != name {
			t.Errorf("delete v%d: %+v", v, r.Topics)
		}
	}
	if got := b.host.machine.Image().TopicNames(); !slices.Equal(got, []string{"v7"}) {
		t.Error(got)
	}
}

func TestDeleteTopics_Codes(t *testing.T) {
	b := startBroker(t)
	c := b.dial(t)
	id := c.createTopic("t", 1)
	name, unknown := "t", "nope"
	req := &kmsg.DeleteTopicsRequest{Version: 6, TimeoutMillis: 1000, Topics: []kmsg.DeleteTopicsRequestTopic{
		{Topic: &unknown}, {TopicID: [16]byte{1}}, {Topic: &name, TopicID: id}, {}, {TopicID: id}, {Topic: &name},
	}}
	r := ask[*kmsg.DeleteTopicsResponse](c, req)
	want := []protocol.Code{protocol.UnknownTopicOrPartition, protocol.UnknownTopicID, protocol.InvalidRequest, protocol.InvalidRequest, protocol.None, protocol.InvalidRequest}
	for i, code := range want {
		if r.Topics[i].ErrorCode != int16(code) {
			t.Errorf("%d: %v, want %v", i, protocol.Code(r.Topics[i].ErrorCode), code)
		}
	}
	forbidden := startBroker(t, func(o *Options) { o.Config.DeleteTopics = false }).dial(t)
	for v, code := range map[int16]protocol.Code{2: protocol.InvalidRequest, 3: protocol.TopicDeletionDisabled} {
		req := &kmsg.DeleteTopicsRequest{Version: v, TopicNames: []string{"t"}}
		if r := ask[*kmsg.DeleteTopicsResponse](forbidden, req); r.Topics[0].ErrorCode != int16(code) {
			t.Errorf("v%d: %v", v, protocol.Code(r.Topics[0].ErrorCode))
		}
	}
}

func TestCreatePartitions_Codes(t *testing.T) {
	b := startBroker(t)
	c := b.dial(t)
	c.createTopic("t", 2)
	grow := func(v int16, validate bool, topics ...kmsg.CreatePartitionsRequestTopic) []kmsg.CreatePartitionsResponseTopic {
		return ask[*kmsg.CreatePartitionsResponse](c, &kmsg.CreatePartitionsRequest{Version: v, TimeoutMillis: 5000, ValidateOnly: validate, Topics: topics}).Topics
	}
	one := []kmsg.CreatePartitionsRequestTopicAssignment{{Replicas: []int32{1}}}
	for name, row := range map[string]struct {
		topic kmsg.CreatePartitionsRequestTopic
		want  protocol.Code
	}{
		"unknown":             {kmsg.CreatePartitionsRequestTopic{Topic: "nope", Count: 3}, protocol.UnknownTopicOrPartition},
		"as many":             {kmsg.CreatePartitionsRequestTopic{Topic: "t", Count: 2}, protocol.InvalidPartitions},
		"fewer":               {kmsg.CreatePartitionsRequestTopic{Topic: "t", Count: 1}, protocol.InvalidPartitions},
		"negative":            {kmsg.CreatePartitionsRequestTopic{Topic: "t", Count: -1}, protocol.InvalidPartitions},
		"too many":            {kmsg.CreatePartitionsRequestTopic{Topic: "t", Count: 1<<31 - 1}, protocol.PolicyViolation},
		"too few assignments": {kmsg.CreatePartitionsRequestTopic{Topic: "t", Count: 4, Assignment: one}, protocol.InvalidReplicaAssignment},
		"stranger":            {kmsg.CreatePartitionsRequestTopic{Topic: "t", Count: 3, Assignment: []kmsg.CreatePartitionsRequestTopicAssignment{{Replicas: []int32{7}}}}, protocol.InvalidReplicaAssignment},
		"good":                {kmsg.CreatePartitionsRequestTopic{Topic: "t", Count: 3, Assignment: one}, protocol.None},
	} {
		if r := grow(3, true, row.topic); r[0].ErrorCode != int16(row.want) {
			t.Errorf("%s: %v %s, want %v", name, protocol.Code(r[0].ErrorCode), text(r[0].ErrorMessage), row.want)
		}
	}
	twice := kmsg.CreatePartitionsRequestTopic{Topic: "t", Count: 3}
	if r := grow(3, false, twice, twice); len(r) != 1 || r[0].ErrorCode != int16(protocol.InvalidRequest) {
		t.Errorf("%+v", r)
	}
	for v := range int16(4) {
		if r := grow(v, false, kmsg.CreatePartitionsRequestTopic{Topic: "t", Count: 3 + int32(v)}); r[0].ErrorCode != 0 {
			t.Errorf("v%d: %+v", v, r)
		}
	}
	if got := c.produce("t", 5, batchOf(t, "x")); got != 0 {
		t.Error(got)
	}
}

func TestInitProducerID(t *testing.T) {
	b := startBroker(t)
	c := b.dial(t)
	seen := map[int64]bool{}
	for v := range int16(6) {
		for range 300 { // more than a block in all
			r := ask[*kmsg.InitProducerIDResponse](c, &kmsg.InitProducerIDRequest{Version: v, ProducerID: -1, ProducerEpoch: -1})
			if r.ErrorCode != 0 || r.ProducerEpoch != 0 || seen[r.ProducerID] {
				t.Fatalf("v%d: %+v", v, r)
			}
			seen[r.ProducerID] = true
		}
	}
	id, none := "tx", ""
	for name, row := range map[string]struct {
		req  kmsg.InitProducerIDRequest
		want protocol.Code
	}{
		"transactional":    {kmsg.InitProducerIDRequest{Version: 4, TransactionalID: &id, ProducerID: -1, ProducerEpoch: -1, TransactionTimeoutMillis: 1}, protocol.CoordinatorNotAvailable},
		"no timeout":       {kmsg.InitProducerIDRequest{Version: 4, TransactionalID: &id, ProducerID: -1, ProducerEpoch: -1}, protocol.InvalidTransactionTimeout},
		"empty id":         {kmsg.InitProducerIDRequest{Version: 4, TransactionalID: &none, ProducerID: -1, ProducerEpoch: -1}, protocol.InvalidRequest},
		"id without epoch": {kmsg.InitProducerIDRequest{Version: 4, ProducerID: 5, ProducerEpoch: -1}, protocol.InvalidRequest},
		"epoch without id": {kmsg.InitProducerIDRequest{Version: 4, ProducerID: -1, ProducerEpoch: 5}, protocol.InvalidRequest},
		"renewed":          {kmsg.InitProducerIDRequest{Version: 4, ProducerID: 5, ProducerEpoch: 5}, protocol.None},
	} {
		r := ask[*kmsg.InitProducerIDResponse](c, &row.req)
		if r.ErrorCode != int16(row.want) || row.want != 0 && (r.ProducerID != -1 || r.ProducerEpoch != -1) {
			t.Errorf("%s: %+v", name, r)
		}
	}
}

func TestDescribeConfigs_SourcesAndSynonyms(t *testing.T) {
	b := startBroker(t, func(o *Options) {
		o.Config.Settings = []Setting{
			{Name: "log.retention.hours", Value: "24", Default: "168", Explicit: true, Type: TypeInt, Doc: "How long."},
			{Name: "log.segment.bytes", Value: "1073741824", Default: "1073741824", Type: TypeInt},
			{Name: "secret", Value: "hidden", Explicit: true, Sensitive: true, Type: TypePassword},
		}
	})
	c := b.dial(t)
	c.createTopic("t", 1, "flush.messages", "9")
	for v := range int16(5) {
		req := &kmsg.DescribeConfigsRequest{Version: v, IncludeSynonyms: true, IncludeDocumentation: true, Resources: []kmsg.DescribeConfigsRequestResource{
			{ResourceType: kmsg.ConfigResourceTypeTopic, ResourceName: "t"},
			{ResourceType: kmsg.ConfigResourceTypeTopic, ResourceName: "t", ConfigNames: []string{"retention.ms", "no.such"}},
			{ResourceType: kmsg.ConfigResourceTypeBroker, ResourceName: "1"},
		}}
		r := ask[*kmsg.DescribeConfigsResponse](c, req)
		all := map[string]kmsg.DescribeConfigsResponseResourceConfig{}
		for _, e := range r.Resources[0].Configs {
			all[e.Name] = e
		}
		if len(all) != len(topicconfig.Defs()) || *all["flush.messages"].Value != "9" || *all["retention.ms"].Value != "86400000" ||
			*all["segment.bytes"].Value != "1073741824" || *all["min.insync.replicas"].Value != "1" {
			t.Fatalf("v%d: %+v", v, all)
		}
		if len(r.Resources[1].Configs) != 1 || len(r.Resources[2].Configs) != 3 {
			t.Errorf("v%d: %d and %d", v, len(r.Resources[1].Configs), len(r.Resources[2].Configs))
		}
		for _, e := range r.Resources[2].Configs {
			if e.Name == "secret" && (e.Value != nil || !e.IsSensitive) {
				t.Errorf("v%d: a secret is shown: %+v", v, e)
			}
		}
		if v == 0 {
			if all["flush.messages"].IsDefault || !all["flush.ms"].IsDefault {
				t.Errorf("v0: %+v", all["flush.messages"])
			}
			continue
		}
		if all["flush.messages"].Source != kmsg.ConfigSourceDynamicTopicConfig || all["retention.ms"].Source != kmsg.ConfigSourceStaticBrokerConfig ||
			all["segment.bytes"].Source != kmsg.ConfigSourceDefaultConfig {
			t.Errorf("v%d: sources of %+v", v, all)
		}
		synonyms := all["retention.ms"].ConfigSynonyms
		if len(synonyms) != 2 || synonyms[0].Name != "log.retention.hours" || *synonyms[0].Value != "86400000" || *synonyms[1].Value != "604800000" {
			t.Errorf("v%d: synonyms %+v", v, synonyms)
		}
		if v >= 3 && (all["retention.ms"].ConfigType != kmsg.ConfigTypeLong || all["retention.ms"].Documentation == nil) {
			t.Errorf("v%d: %+v", v, all["retention.ms"])
		}
	}
	for name, row := range map[string]struct {
		kind kmsg.ConfigResourceType
		name string
		want protocol.Code
	}{
		"unknown topic": {kmsg.ConfigResourceTypeTopic, "nope", protocol.UnknownTopicOrPartition},
		"invalid topic": {kmsg.ConfigResourceTypeTopic, "a/b", protocol.InvalidTopicException},
		"other broker":  {kmsg.ConfigResourceTypeBroker, "2", protocol.InvalidRequest},
		"not a broker":  {kmsg.ConfigResourceTypeBroker, "x", protocol.InvalidRequest},
		"cluster":       {kmsg.ConfigResourceTypeBroker, "", protocol.None},
		"other loggers": {kmsg.ConfigResourceTypeBrokerLogger, "2", protocol.InvalidRequest},
	} {
		req := &kmsg.DescribeConfigsRequest{Version: 4, Resources: []kmsg.DescribeConfigsRequestResource{{ResourceType: row.kind, ResourceName: row.name}}}
		if r := ask[*kmsg.DescribeConfigsResponse](c, req); r.Resources[0].ErrorCode != int16(row.want) {
			t.Errorf("%s: %+v", name, r.Resources[0])
		}
	}
}

func TestDescribeCluster(t *testing.T) {
	b := startBroker(t)
	c := b.dial(t)
	for v := range int16(3) {
		r := ask[*kmsg.DescribeClusterResponse](c, &kmsg.DescribeClusterRequest{Version: v, EndpointType: 1, IncludeClusterAuthorizedOperations: true})
		if r.ErrorCode != 0 || r.ClusterID != b.ClusterID() || r.ControllerID != 1 || len(r.Brokers) != 1 || r.ClusterAuthorizedOperations <= 0 {
			t.Errorf("v%d: %+v", v, r)
		}
	}
	for kind, code := range map[int8]protocol.Code{2: protocol.None, 3: protocol.UnsupportedEndpointType} {
		r := ask[*kmsg.DescribeClusterResponse](c, &kmsg.DescribeClusterRequest{Version: 1, EndpointType: kind})
		if r.ErrorCode != int16(code) || len(r.Brokers) != 0 { // this one has no Raft address
			t.Errorf("endpoint type %d: %v %v", kind, protocol.Code(r.ErrorCode), r.Brokers)
		}
	}
}

func TestDescribeTopicPartitions_Pages(t *testing.T) {
	b := startBroker(t)
	c := b.dial(t)
	c.createTopic("b", 5)
	c.createTopic("a", 2)
	c.createTopic("c", 1)
	var got []string
	req := &kmsg.DescribeTopicPartitionsRequest{ResponsePartitionLimit: 3}
	for range 10 {
		r := ask[*kmsg.DescribeTopicPartitionsResponse](c, req)
		n := 0
		for _, tp := range r.Topics {
			for _, p := range tp.Partitions {
				n++
				got = append(got, fmt.Sprint(*tp.Topic, p.Partition, p.LeaderID))
			}
		}
		if n > 3 {
			t.Fatalf("a page of %d", n)
		}
		if r.NextCursor == nil {
			break
		}
		req.Cursor = &kmsg.DescribeTopicPartitionsRequestCursor{Topic: r.NextCursor.Topic, Partition: r.NextCursor.Partition}
	}
	if want := []string{"a0 1", "a1 1", "b0 1", "b1 1", "b2 1", "b3 1", "b4 1", "c0 1"}; !slices.Equal(got, want) {
		t.Errorf("%q", got)
	}
	r := ask[*kmsg.DescribeTopicPartitionsResponse](c, &kmsg.DescribeTopicPartitionsRequest{
		ResponsePartitionLimit: 10, Topics: []kmsg.DescribeTopicPartitionsRequestTopic{{Topic: "nope"}, {Topic: "a/b"}, {Topic: "c"}},
	})
	for i, code := range []protocol.Code{protocol.InvalidTopicException, protocol.None, protocol.UnknownTopicOrPartition} {
		if r.Topics[i].ErrorCode != int16(code) {
			t.Errorf("%s: %v", *r.Topics[i].Topic, protocol.Code(r.Topics[i].ErrorCode))
		}
	}
	for _, cursor := range []kmsg.DescribeTopicPartitionsRequestCursor{{Topic: "a", Partition: -1}, {Topic: "b", Partition: 0}} {
		r = ask[*kmsg.DescribeTopicPartitionsResponse](c, &kmsg.DescribeTopicPartitionsRequest{
			Topics: []kmsg.DescribeTopicPartitionsRequestTopic{{Topic: "a"}}, Cursor: &cursor,
		})
		if len(r.Topics) != 1 || r.Topics[0].ErrorCode != int16(protocol.InvalidRequest) {
			t.Errorf("cursor %+v: %+v", cursor, r.Topics)
		}
	}
}

func TestPartitions_OpenInTheBackground(t *testing.T) {
	gate := make(chan struct{})
	b := startBroker(t, func(o *Options) {
		o.Config.LeaderWait = 50 * time.Millisecond
		o.Host.(*fakeHost).startGate = gate
	})
	c := b.dial(t) // the listener is open although no partition is
	req := metadataOf("t")
	p := ask[*kmsg.MetadataResponse](c, req).Topics[0].Partitions[0]
	if p.ErrorCode != int16(protocol.LeaderNotAvailable) {
		t.Fatalf("%+v", p)
	}
	if code, _ := produceCode(c, "t", batchOf(t, "x"), nil); code != protocol.NotLeaderOrFollower {
		t.Error(code)
	}
	if reasons := b.readiness().Reasons; len(reasons) != 1 || reasons[0] != "partitions: 1 partitions are still being opened" {
		t.Errorf("%q", reasons)
	}
	close(gate)
	eventually(t, func() bool { return b.readiness().ready() })
	c.produce("t", 0, batchOf(t, "x"))
}

func TestPartitions_DamagedOneLeavesTheOthers(t *testing.T) {
	b := startBroker(t, func(o *Options) { o.Config.LeaderWait = 50 * time.Millisecond })
	c := b.dial(t)
	c.createTopic("good", 1)
	b.host.mu.Lock()
	b.host.startErr = errors.New("damaged")
	b.host.mu.Unlock()
	c.createTopic("bad", 1)
	eventually(t, func() bool { return b.partitions.find(topicID(t, b, "bad"), 0).failure.Load() != nil })
	if code, _ := produceCode(c, "bad", batchOf(t, "x"), nil); code != protocol.KafkaStorageError {
		t.Error(code)
	}
	c.produce("good", 0, batchOf(t, "x"))
	if b.readiness().ready() {
		t.Error("ready with a partition that cannot be opened")
	}
	name := "bad"
	del := &kmsg.DeleteTopicsRequest{Version: 6, Topics: []kmsg.DeleteTopicsRequestTopic{{Topic: &name}}}
	ask[*kmsg.DeleteTopicsResponse](c, del)
	eventually(t, func() bool { return b.readiness().ready() })
}

func topicID(t *testing.T, b *testBroker, name string) [16]byte {
	t.Helper()
	tp, ok := b.host.machine.Image().Topic(name)
	if !ok {
		t.Fatalf("no topic %q", name)
	}
	return tp.ID
}
