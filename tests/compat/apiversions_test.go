package compat

import (
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"slices"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// versionRange is what a client must find advertised: at most min, at least max.
type versionRange struct{ min, max int16 }

// required are the APIs of one broker without groups, and the versions that clients in use depend on. The
// minima follow what Apache Kafka 4 advertises for the sake of old clients.
var required = map[kmsg.Key]versionRange{
	kmsg.Produce:                 {0, 13},
	kmsg.Fetch:                   {4, 17},
	kmsg.ListOffsets:             {1, 10},
	kmsg.Metadata:                {0, 13},
	kmsg.ApiVersions:             {0, 4},
	kmsg.CreateTopics:            {2, 7},
	kmsg.DeleteTopics:            {1, 6},
	kmsg.InitProducerID:          {0, 5},
	kmsg.OffsetForLeaderEpoch:    {2, 4},
	kmsg.DescribeConfigs:         {1, 4},
	kmsg.CreatePartitions:        {0, 3},
	kmsg.DescribeCluster:         {0, 2},
	kmsg.DescribeTopicPartitions: {0, 0},
}

func apiVersions(t *testing.T, version int16) *kmsg.ApiVersionsResponse {
	t.Helper()
	versions := kmsg.NewPtrApiVersionsRequest()
	versions.SetVersion(version)
	versions.ClientSoftwareName, versions.ClientSoftwareVersion = "compat", "1"
	resp := kmsg.NewPtrApiVersionsResponse()
	resp.Version = version
	rawRoundTrip(t, versions, 0, resp)
	return resp
}

// rawRoundTrip sends one request over a connection of its own. tags is 1 if the response header has tags.
func rawRoundTrip(t *testing.T, req kmsg.Request, tags int, resp kmsg.Response) {
	t.Helper()
	body := rawExchange(t, kmsg.NewRequestFormatter(kmsg.FormatterClientID("compat")).AppendRequest(nil, req, 77))
	if got := binary.BigEndian.Uint32(body); got != 77 {
		t.Fatalf("correlation id %d, want 77", got)
	}
	if err := resp.ReadFrom(body[4+tags:]); err != nil {
		t.Fatalf("%s v%d: %v", kmsg.NameForKey(req.Key()), req.GetVersion(), err)
	}
}

// rawExchange writes a whole frame and reads the frame that comes back.
func rawExchange(t *testing.T, frame []byte) []byte {
	t.Helper()
	conn, err := net.DialTimeout("tcp", theBroker.bootstrap, 5*time.Second)
	if err != nil {
		t.Fatal(err)
	}
	defer quietly(conn)
	if err := conn.SetDeadline(time.Now().Add(10 * time.Second)); err != nil {
		t.Fatal(err)
	}
	if _, err := conn.Write(frame); err != nil {
		t.Fatal(err)
	}
	var size [4]byte
	if _, err := io.ReadFull(conn, size[:]); err != nil {
		t.Fatalf("no answer: %v", err)
	}
	body := make([]byte, binary.BigEndian.Uint32(size[:]))
	if _, err := io.ReadFull(conn, body); err != nil {
		t.Fatal(err)
	}
	return body
}

func TestApiVersions_AdvertisesWhatClientsNeed(t *testing.T) {
	for version := range int16(5) {
		t.Run(fmt.Sprintf("v%d", version), func(t *testing.T) {
			resp := apiVersions(t, version)
			if resp.ErrorCode != 0 {
				t.Fatalf("error %d", resp.ErrorCode)
			}
			got := map[kmsg.Key]versionRange{}
			for _, k := range resp.ApiKeys {
				if _, twice := got[kmsg.Key(k.ApiKey)]; twice {
					t.Errorf("key %d stands there twice", k.ApiKey)
				}
				if k.MinVersion > k.MaxVersion {
					t.Errorf("key %d: versions %d to %d", k.ApiKey, k.MinVersion, k.MaxVersion)
				}
				got[kmsg.Key(k.ApiKey)] = versionRange{k.MinVersion, k.MaxVersion}
			}
			for key, want := range required {
				have, ok := got[key]
				if !ok || have.min > want.min || have.max < want.max {
					t.Errorf("%s: versions %d to %d (there: %v), want at least %d to %d", key.Name(), have.min, have.max, ok, want.min, want.max)
				}
			}
		})
	}
}

// TestApiVersions_NamesOnlyServedFeatures: a client that sees transaction.version or group.version uses them.
func TestApiVersions_NamesOnlyServedFeatures(t *testing.T) {
	resp := apiVersions(t, 4)
	advertised := func(key kmsg.Key) bool {
		return slices.ContainsFunc(resp.ApiKeys, func(k kmsg.ApiVersionsResponseApiKey) bool { return k.ApiKey == key.Int16() })
	}
	for _, f := range resp.FinalizedFeatures {
		switch f.Name {
		case "transaction.version":
			if !advertised(kmsg.EndTxn) {
				t.Error("transaction.version is finalized, and EndTxn is not served")
			}
		case "group.version":
			if !advertised(kmsg.ConsumerGroupHeartbeat) {
				t.Error("group.version is finalized, and ConsumerGroupHeartbeat is not served")
			}
		case "share.version":
			if !advertised(kmsg.ShareFetch) {
				t.Error("share.version is finalized, and ShareFetch is not served")
			}
		}
	}
}

// TestApiVersions_UnknownVersionGetsTheRange is KIP-511: a version from the future is answered with version 0,
// error 35 and the range of ApiVersions, and the connection stays usable.
func TestApiVersions_UnknownVersionGetsTheRange(t *testing.T) {
	frame := binary.BigEndian.AppendUint16(nil, uint16(kmsg.ApiVersions))
	frame = binary.BigEndian.AppendUint16(frame, 99)
	frame = binary.BigEndian.AppendUint32(frame, 78)
	frame = append(binary.BigEndian.AppendUint16(frame, 3), "abc"...)
	frame = append(frame, 0, 1, 1, 0) // tags, and the body of version 3 with empty names
	body := rawExchange(t, append(binary.BigEndian.AppendUint32(nil, uint32(len(frame))), frame...))
	resp := kmsg.NewPtrApiVersionsResponse()
	if err := resp.ReadFrom(body[4:]); err != nil {
		t.Fatal(err)
	}
	i := slices.IndexFunc(resp.ApiKeys, func(k kmsg.ApiVersionsResponseApiKey) bool { return k.ApiKey == int16(kmsg.ApiVersions) })
	if resp.ErrorCode != 35 || i < 0 || resp.ApiKeys[i].MaxVersion < 4 {
		t.Fatalf("got error %d and keys %+v, want error 35 and the range of ApiVersions", resp.ErrorCode, resp.ApiKeys)
	}
}

// TestApiVersions_EveryAdvertisedVersionIsServed sends each API that is safe to send in each version.
func TestApiVersions_EveryAdvertisedVersionIsServed(t *testing.T) {
	topic := newTopic(t, 1)
	franzProduce(t, topic, "none", generate(shape{}, 5, 11))
	id := topicID(t, admin(t), topic)
	advertised := map[int16]versionRange{}
	for _, k := range apiVersions(t, 4).ApiKeys {
		advertised[k.ApiKey] = versionRange{k.MinVersion, k.MaxVersion}
	}
	for _, row := range everyRequest(topic, id) {
		r := advertised[row.req().Key()]
		for version := max(r.min, row.from); version <= min(r.max, row.req().MaxVersion()); version++ {
			req := row.req()
			req.SetVersion(version)
			resp := req.ResponseKind()
			resp.SetVersion(version)
			tags := 0
			if req.IsFlexible() && req.Key() != int16(kmsg.ApiVersions) {
				tags = 1
			}
			rawRoundTrip(t, req, tags, resp)
			if code := row.code(resp); code != row.want {
				t.Errorf("%s v%d: error %d, want %d", kmsg.NameForKey(req.Key()), version, code, row.want)
			}
		}
	}
}

// requestRow is one request that every version of an API can express.
type requestRow struct {
	from int16 // skip versions below, which Kafka advertises and does not serve
	req  func() kmsg.Request
	code func(kmsg.Response) int16
	want int16
}

func everyRequest(topic string, id [16]byte) []requestRow {
	return []requestRow{
		{req: func() kmsg.Request {
			r := kmsg.NewPtrMetadataRequest()
			name := kmsg.NewMetadataRequestTopic()
			name.Topic = new(topic)
			r.Topics = append(r.Topics, name)
			return r
		}, code: func(r kmsg.Response) int16 {
			m := r.(*kmsg.MetadataResponse)
			if len(m.Topics) != 1 || len(m.Topics[0].Partitions) != 1 || len(m.Brokers) != 1 || m.Topics[0].Partitions[0].Leader != m.Brokers[0].NodeID {
				return -99
			}
			return m.Topics[0].ErrorCode
		}},
		{req: func() kmsg.Request {
			r := kmsg.NewPtrListOffsetsRequest()
			p := kmsg.NewListOffsetsRequestTopicPartition()
			p.Timestamp, p.CurrentLeaderEpoch = -1, -1
			r.ReplicaID = -1
			r.Topics = []kmsg.ListOffsetsRequestTopic{{Topic: topic, Partitions: []kmsg.ListOffsetsRequestTopicPartition{p}}}
			return r
		}, from: 1, code: func(r kmsg.Response) int16 {
			p := r.(*kmsg.ListOffsetsResponse).Topics[0].Partitions[0]
			if p.Offset != 5 {
				return -99
			}
			return p.ErrorCode
		}},
		{req: func() kmsg.Request {
			r := kmsg.NewPtrFetchRequest()
			p := kmsg.NewFetchRequestTopicPartition()
			p.FetchOffset, p.PartitionMaxBytes, p.CurrentLeaderEpoch, p.LastFetchedEpoch = 0, 1<<20, -1, -1
			r.ReplicaID, r.MaxWaitMillis, r.MinBytes, r.MaxBytes, r.SessionEpoch = -1, 100, 1, 1<<20, -1
			r.Topics = []kmsg.FetchRequestTopic{{Topic: topic, TopicID: id, Partitions: []kmsg.FetchRequestTopicPartition{p}}}
			return r
		}, from: 4, code: func(r kmsg.Response) int16 {
			f := r.(*kmsg.FetchResponse)
			if f.ErrorCode != 0 || len(f.Topics) != 1 || len(f.Topics[0].Partitions) != 1 {
				return -99
			}
			p := f.Topics[0].Partitions[0]
			if p.HighWatermark != 5 || len(p.RecordBatches) == 0 {
				return -98
			}
			return p.ErrorCode
		}},
		{req: func() kmsg.Request {
			r := kmsg.NewPtrOffsetForLeaderEpochRequest()
			p := kmsg.NewOffsetForLeaderEpochRequestTopicPartition()
			p.CurrentLeaderEpoch, p.LeaderEpoch = -1, 1<<30
			r.ReplicaID = -1
			r.Topics = []kmsg.OffsetForLeaderEpochRequestTopic{{Topic: topic, Partitions: []kmsg.OffsetForLeaderEpochRequestTopicPartition{p}}}
			return r
		}, code: func(r kmsg.Response) int16 {
			p := r.(*kmsg.OffsetForLeaderEpochResponse).Topics[0].Partitions[0]
			if p.EndOffset != -1 || p.LeaderEpoch != -1 {
				return -99
			}
			return p.ErrorCode
		}},
		{req: func() kmsg.Request {
			r := kmsg.NewPtrInitProducerIDRequest()
			r.ProducerID, r.ProducerEpoch, r.TransactionTimeoutMillis = -1, -1, 60_000
			return r
		}, code: func(r kmsg.Response) int16 { return r.(*kmsg.InitProducerIDResponse).ErrorCode }},
		{req: func() kmsg.Request {
			r := kmsg.NewPtrCreateTopicsRequest()
			t := kmsg.NewCreateTopicsRequestTopic()
			t.Topic, t.NumPartitions, t.ReplicationFactor = topic, 1, 1
			r.Topics, r.TimeoutMillis = []kmsg.CreateTopicsRequestTopic{t}, 10_000
			return r
		}, code: func(r kmsg.Response) int16 { return r.(*kmsg.CreateTopicsResponse).Topics[0].ErrorCode }, want: 36},
		{req: func() kmsg.Request {
			r := kmsg.NewPtrDeleteTopicsRequest()
			r.TopicNames, r.TimeoutMillis = []string{"no-such-topic"}, 10_000
			t := kmsg.NewDeleteTopicsRequestTopic()
			t.Topic = new("no-such-topic")
			r.Topics = append(r.Topics, t)
			return r
		}, code: func(r kmsg.Response) int16 { return r.(*kmsg.DeleteTopicsResponse).Topics[0].ErrorCode }, want: 3},
		{req: func() kmsg.Request {
			r := kmsg.NewPtrCreatePartitionsRequest()
			r.Topics, r.TimeoutMillis = []kmsg.CreatePartitionsRequestTopic{{Topic: topic, Count: 1}}, 10_000
			return r
		}, code: func(r kmsg.Response) int16 { return r.(*kmsg.CreatePartitionsResponse).Topics[0].ErrorCode }, want: 37},
		{req: func() kmsg.Request {
			r := kmsg.NewPtrDescribeConfigsRequest()
			r.Resources = []kmsg.DescribeConfigsRequestResource{{ResourceType: kmsg.ConfigResourceTypeTopic, ResourceName: topic}}
			return r
		}, code: func(r kmsg.Response) int16 {
			d := r.(*kmsg.DescribeConfigsResponse).Resources[0]
			if !slices.ContainsFunc(d.Configs, func(c kmsg.DescribeConfigsResponseResourceConfig) bool { return c.Name == "retention.ms" }) {
				return -99
			}
			return d.ErrorCode
		}},
		{req: func() kmsg.Request { r := kmsg.NewPtrDescribeClusterRequest(); return r }, code: func(r kmsg.Response) int16 {
			d := r.(*kmsg.DescribeClusterResponse)
			if len(d.Brokers) != 1 || d.ClusterID == "" {
				return -99
			}
			return d.ErrorCode
		}},
		{req: func() kmsg.Request {
			r := kmsg.NewPtrDescribeTopicPartitionsRequest()
			r.Topics, r.ResponsePartitionLimit = []kmsg.DescribeTopicPartitionsRequestTopic{{Topic: topic}}, 10
			return r
		}, code: func(r kmsg.Response) int16 {
			d := r.(*kmsg.DescribeTopicPartitionsResponse)
			if len(d.Topics) != 1 || len(d.Topics[0].Partitions) != 1 {
				return -99
			}
			return d.Topics[0].ErrorCode
		}},
	}
}

// endOffsets returns the end offset of each partition of a topic.
func endOffsets(t *testing.T, topic string, partitions int32) []int64 {
	t.Helper()
	req := kmsg.NewPtrListOffsetsRequest()
	req.ReplicaID = -1
	rt := kmsg.NewListOffsetsRequestTopic()
	rt.Topic = topic
	for p := range partitions {
		part := kmsg.NewListOffsetsRequestTopicPartition()
		part.Partition, part.Timestamp = p, -1
		rt.Partitions = append(rt.Partitions, part)
	}
	req.Topics = append(req.Topics, rt)
	ends := make([]int64, partitions)
	for _, shard := range admin(t, kgo.RetryTimeout(10*time.Second)).RequestSharded(limit(t), req) {
		if shard.Err != nil {
			t.Fatal(shard.Err)
		}
		for _, topic := range shard.Resp.(*kmsg.ListOffsetsResponse).Topics {
			for _, p := range topic.Partitions {
				if p.ErrorCode != 0 {
					t.Fatalf("ListOffsets of partition %d: error %d", p.Partition, p.ErrorCode)
				}
				ends[p.Partition] = p.Offset
			}
		}
	}
	return ends
}
