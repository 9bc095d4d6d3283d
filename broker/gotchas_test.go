package broker

import (
	"bytes"
	"encoding/binary"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/klauspost/compress/snappy"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/stelemq/stele/broker/metadata"
	"github.com/stelemq/stele/dledger"
	"github.com/stelemq/stele/protocol"
	"github.com/stelemq/stele/protocol/record"
)

// The tests of this file hold what clients trip over; the numbers are those of the list in the protocol
// notes: ApiVersions, advertised versions, headers, Metadata, topic ids, fetch sessions, whole batches and so on.

func TestGotcha01_ApiVersionsAboveOursIsAnsweredInVersion0(t *testing.T) {
	b := startBroker(t)
	c := b.dial(t)
	f := frame(&kmsg.ApiVersionsRequest{Version: 3, ClientSoftwareName: "x", ClientSoftwareVersion: "1"}, 7)
	binary.BigEndian.PutUint16(f[6:], 99)
	c.write(f)
	raw, err := c.raw()
	if err != nil {
		t.Fatal(err)
	}
	r := kmsg.ApiVersionsResponse{Version: 0}
	if err := r.ReadFrom(raw[4:]); err != nil {
		t.Fatal(err)
	}
	if r.ErrorCode != int16(protocol.UnsupportedVersion) || len(r.ApiKeys) != 1 || r.ApiKeys[0].ApiKey != 18 || r.ApiKeys[0].MaxVersion != 5 {
		t.Fatalf("%+v", r)
	}
	c.alive()
}

func TestGotcha01_ApiVersionsInAllVersions(t *testing.T) {
	b := startBroker(t)
	c := b.dial(t)
	for v := range int16(6) {
		req := &kmsg.ApiVersionsRequest{Version: v, ClientSoftwareName: "franz-go", ClientSoftwareVersion: "1.2.3", NodeID: -1}
		r := ask[*kmsg.ApiVersionsResponse](c, req)
		if r.ErrorCode != 0 || len(r.ApiKeys) != len(b.apis) {
			t.Fatalf("v%d: %+v", v, r)
		}
		// Features have their fields from v3 on; ranges from 0 are left out below v4 (KAFKA-17011).
		supported, finalized := 0, 0
		if v >= 3 {
			supported, finalized = 1, len(featureTable)
		}
		if v >= 4 {
			supported = len(featureTable)
		}
		if len(r.SupportedFeatures) != supported || len(r.FinalizedFeatures) != finalized || finalized > 0 && r.FinalizedFeaturesEpoch < 0 {
			t.Fatalf("v%d: supported %v, finalized %v in epoch %d", v, r.SupportedFeatures, r.FinalizedFeatures, r.FinalizedFeaturesEpoch)
		}
	}
}

func TestGotcha01_ApiVersionsChecksTheClient(t *testing.T) {
	b := startBroker(t)
	c := b.dial(t)
	cluster, strange := b.ClusterID(), "another"
	for name, row := range map[string]struct {
		req  kmsg.ApiVersionsRequest
		code protocol.Code
	}{
		"no software":     {kmsg.ApiVersionsRequest{Version: 3}, protocol.InvalidRequest},
		"odd software":    {kmsg.ApiVersionsRequest{Version: 3, ClientSoftwareName: "-a", ClientSoftwareVersion: "1"}, protocol.InvalidRequest},
		"odd version":     {kmsg.ApiVersionsRequest{Version: 3, ClientSoftwareName: "a", ClientSoftwareVersion: "1 2"}, protocol.InvalidRequest},
		"cluster alone":   {kmsg.ApiVersionsRequest{Version: 5, ClientSoftwareName: "a", ClientSoftwareVersion: "1", ClusterID: &cluster, NodeID: -1}, protocol.InvalidRequest},
		"node alone":      {kmsg.ApiVersionsRequest{Version: 5, ClientSoftwareName: "a", ClientSoftwareVersion: "1", NodeID: 1}, protocol.InvalidRequest},
		"other cluster":   {kmsg.ApiVersionsRequest{Version: 5, ClientSoftwareName: "a", ClientSoftwareVersion: "1", ClusterID: &strange, NodeID: 1}, protocol.RebootstrapRequired},
		"other node":      {kmsg.ApiVersionsRequest{Version: 5, ClientSoftwareName: "a", ClientSoftwareVersion: "1", ClusterID: &cluster, NodeID: 9}, protocol.RebootstrapRequired},
		"who it means":    {kmsg.ApiVersionsRequest{Version: 5, ClientSoftwareName: "a", ClientSoftwareVersion: "1", ClusterID: &cluster, NodeID: 1}, protocol.None},
		"whoever it be":   {kmsg.ApiVersionsRequest{Version: 5, ClientSoftwareName: "a", ClientSoftwareVersion: "1", NodeID: -1}, protocol.None},
		"one letter name": {kmsg.ApiVersionsRequest{Version: 4, ClientSoftwareName: "a", ClientSoftwareVersion: "b.1-2"}, protocol.None},
	} {
		if r := ask[*kmsg.ApiVersionsResponse](c, &row.req); r.ErrorCode != int16(row.code) {
			t.Errorf("%s: %v, want %v", name, protocol.Code(r.ErrorCode), row.code)
		}
	}
}

func TestGotcha02_AdvertisesOldVersions(t *testing.T) {
	b := startBroker(t)
	r := ask[*kmsg.ApiVersionsResponse](b.dial(t), &kmsg.ApiVersionsRequest{})
	want := map[int16][2]int16{
		0: {0, 13}, 1: {4, 18}, 2: {0, 11}, 3: {0, 13}, 18: {0, 5}, 19: {0, 7}, 20: {0, 6}, 22: {0, 5}, 23: {0, 4},
		32: {0, 4}, 33: {0, 2}, 37: {0, 3}, 43: {0, 2}, 44: {0, 1}, 45: {0, 1}, 46: {0, 0}, 60: {0, 2}, 64: {0, 0}, 75: {0, 0},
	}
	for _, k := range r.ApiKeys {
		// The others are held to the documented table by package protocol.
		if got := [2]int16{k.MinVersion, k.MaxVersion}; want[k.ApiKey] != [2]int16{} && got != want[k.ApiKey] {
			t.Errorf("%s: %v, want %v", kmsg.NameForKey(k.ApiKey), got, want[k.ApiKey])
		}
		delete(want, k.ApiKey)
	}
	if len(want) > 0 {
		t.Errorf("not advertised: %v", want)
	}
}

func TestGotcha03_TagsInHeadersAreSkippedAndDuplicatesRefused(t *testing.T) {
	b := startBroker(t)
	req := &kmsg.MetadataRequest{Version: 12, Topics: []kmsg.MetadataRequestTopic{}}
	withTags := func(tags ...byte) []byte {
		f := frame(req, 1)
		at := 4 + 2 + 2 + 4 + 2 + 4 // the tags of the header
		out := slices.Concat(f[:at], tags, f[at+1:])
		binary.BigEndian.PutUint32(out, uint32(len(out)-4))
		return out
	}
	c := b.dial(t)
	c.write(withTags(2, 5, 1, 'x', 9, 0))
	c.receive(req, 1)
	c.write(withTags(2, 5, 1, 'x', 5, 1, 'y'))
	c.closed()
}

func TestGotcha04_MetadataTellsNoTopicsFromAllTopics(t *testing.T) {
	b := startBroker(t)
	c := b.dial(t)
	c.createTopic("a", 1)
	c.createTopic("b", 2)
	for v := range int16(14) {
		empty := ask[*kmsg.MetadataResponse](c, &kmsg.MetadataRequest{Version: v, Topics: []kmsg.MetadataRequestTopic{}})
		if want := map[bool]int{true: 2, false: 0}[v == 0]; len(empty.Topics) != want {
			t.Errorf("v%d: %d topics for an empty list", v, len(empty.Topics))
		}
		if v > 0 {
			all := ask[*kmsg.MetadataResponse](c, &kmsg.MetadataRequest{Version: v})
			if len(all.Topics) != 2 || all.ControllerID != 1 {
				t.Errorf("v%d: %+v", v, all)
			}
		}
		if len(empty.Brokers) != 1 || empty.Brokers[0].NodeID != 1 || empty.Brokers[0].Host != "127.0.0.1" {
			t.Errorf("v%d: brokers %+v", v, empty.Brokers)
		}
	}
}

func metadataOf(names ...string) *kmsg.MetadataRequest {
	req := &kmsg.MetadataRequest{Version: 12, AllowAutoTopicCreation: true}
	for i := range names {
		req.Topics = append(req.Topics, kmsg.MetadataRequestTopic{Topic: &names[i]})
	}
	return req
}

func TestGotcha04_MetadataCreatesTopicsAndWaitsForTheirLeaders(t *testing.T) {
	b := startBroker(t, func(o *Options) { o.Config.NumPartitions = 3 })
	c := b.dial(t)
	r := ask[*kmsg.MetadataResponse](c, metadataOf("new", "bad/name", "new"))
	if len(r.Topics) != 2 {
		t.Fatalf("%+v", r.Topics)
	}
	if tp := r.Topics[0]; tp.ErrorCode != 0 || len(tp.Partitions) != 3 || tp.Partitions[2].Leader != 1 || tp.Partitions[2].LeaderEpoch != 5 || tp.TopicID == [16]byte{} {
		t.Errorf("%+v", tp)
	}
	if r.Topics[1].ErrorCode != int16(protocol.InvalidTopicException) {
		t.Errorf("%+v", r.Topics[1])
	}
	no := metadataOf("other")
	no.AllowAutoTopicCreation = false
	if r := ask[*kmsg.MetadataResponse](c, no); r.Topics[0].ErrorCode != int16(protocol.UnknownTopicOrPartition) {
		t.Errorf("%+v", r.Topics[0])
	}
}

func TestGotcha04_MetadataDoesNotNameALeaderThatIsNotThere(t *testing.T) {
	b := startBroker(t, func(o *Options) { o.Config.LeaderWait = 20 * time.Millisecond })
	c := b.dial(t)
	c.createTopic("t", 1)
	l := b.host.log(t, "t", 0)
	for _, leader := range []int32{-1, 9} {
		l.set(func() { l.leader.Leader = leader })
		p := ask[*kmsg.MetadataResponse](c, metadataOf("t")).Topics[0].Partitions[0]
		if p.Leader != -1 || p.ErrorCode != int16(protocol.LeaderNotAvailable) {
			t.Errorf("leader %d: %+v", leader, p)
		}
	}
}

func TestGotcha04_AdvertisesByListener(t *testing.T) {
	b := startBroker(t, func(o *Options) {
		o.Listeners = append(o.Listeners, Listener{Name: "OUT", Address: "127.0.0.1:0", AdvertisedHost: "example.test", AdvertisedPort: 1234})
	})
	c := dialAddr(t, b.Addr("OUT").String())
	r := ask[*kmsg.MetadataResponse](c, metadataOf())
	if br := r.Brokers[0]; br.Host != "example.test" || br.Port != 1234 {
		t.Errorf("%+v", br)
	}
	d := ask[*kmsg.DescribeClusterResponse](c, &kmsg.DescribeClusterRequest{Version: 2, EndpointType: 1})
	if br := d.Brokers[0]; br.Host != "example.test" || br.Port != 1234 {
		t.Errorf("%+v", br)
	}
}

func TestGotcha05_TopicIDsEverywhere(t *testing.T) {
	b := startBroker(t)
	c := b.dial(t)
	id := c.createTopic("t", 1)
	for v := int16(10); v <= 13; v++ {
		req := metadataOf("t")
		req.Version = v
		if r := ask[*kmsg.MetadataResponse](c, req); r.Topics[0].TopicID != id {
			t.Errorf("v%d: id %x", v, r.Topics[0].TopicID)
		}
	}
	r := ask[*kmsg.MetadataResponse](c, &kmsg.MetadataRequest{Version: 12, Topics: []kmsg.MetadataRequestTopic{{TopicID: id}, {TopicID: [16]byte{1}}}})
	if *r.Topics[0].Topic != "t" || r.Topics[1].ErrorCode != int16(protocol.UnknownTopicID) {
		t.Errorf("%+v", r.Topics)
	}
	p := produceRequest("", 0, batchOf(t, "x"))
	p.Version, p.Topics[0].TopicID = 13, [16]byte{1}
	if code := ask[*kmsg.ProduceResponse](c, p).Topics[0].Partitions[0].ErrorCode; code != int16(protocol.UnknownTopicID) {
		t.Errorf("produce: %v", protocol.Code(code))
	}
	f := fetchRequest(13, "", [16]byte{1}, 0, 0)
	if code := ask[*kmsg.FetchResponse](c, f).Topics[0].Partitions[0].ErrorCode; code != int16(protocol.UnknownTopicID) {
		t.Errorf("fetch: %v", protocol.Code(code))
	}
}

func TestGotcha07_WholeBatchesFromBeforeTheOffset(t *testing.T) {
	b := startBroker(t)
	c := b.dial(t)
	c.createTopic("t", 1)
	c.produce("t", 0, batchOf(t, "0", "1", "2"))
	c.produce("t", 0, batchOf(t, "3", "4"))
	for offset, want := range [][]string{{"0", "1", "2", "3", "4"}, {"0", "1", "2", "3", "4"}, {"0", "1", "2", "3", "4"}, {"3", "4"}, {"3", "4"}, {}} {
		r := ask[*kmsg.FetchResponse](c, fetchRequest(12, "t", [16]byte{}, 0, int64(offset)))
		if got := valuesOf(t, r.Topics[0].Partitions[0].RecordBatches); !slices.Equal(got, want) && len(got)+len(want) > 0 {
			t.Errorf("from %d: %v, want %v", offset, got, want)
		}
	}
}

func TestGotcha07_FirstBatchComesWhateverTheLimits(t *testing.T) {
	b := startBroker(t)
	c := b.dial(t)
	c.createTopic("t", 2)
	c.produce("t", 0, batchOf(t, strings.Repeat("a", 1000)))
	c.produce("t", 0, batchOf(t, "second"))
	c.produce("t", 1, batchOf(t, strings.Repeat("b", 1000)))
	req := fetchRequest(12, "t", [16]byte{}, 0, 0)
	req.MaxBytes = 10
	req.Topics[0].Partitions[0].PartitionMaxBytes = 10
	second := req.Topics[0].Partitions[0]
	second.Partition = 1
	req.Topics[0].Partitions = append(req.Topics[0].Partitions, second)
	r := ask[*kmsg.FetchResponse](c, req)
	if got := valuesOf(t, r.Topics[0].Partitions[0].RecordBatches); len(got) != 1 || len(got[0]) != 1000 {
		t.Errorf("first partition: %d values", len(got))
	}
	if got := r.Topics[0].Partitions[1].RecordBatches; len(got) != 0 {
		t.Errorf("second partition: %d bytes above the limit", len(got))
	}
}

func TestGotcha07_ControlBatchesAreSent(t *testing.T) {
	b := startBroker(t)
	c := b.dial(t)
	c.createTopic("t", 1)
	l := b.host.log(t, "t", 0)
	control := buildBatch(t, record.None, func(b *record.Builder) {
		b.SetProducer(1, 0, -1)
		b.SetTransactional(true)
		b.SetControl(true)
	}, "marker")
	if err := l.Append(t.Context(), &dledger.AppendRequest{Batch: control, Done: func(dledger.AppendResult) {}}); err != nil {
		t.Fatal(err)
	}
	r := ask[*kmsg.FetchResponse](c, fetchRequest(12, "t", [16]byte{}, 0, 0))
	if got := r.Topics[0].Partitions[0].RecordBatches; len(got) != len(control) {
		t.Errorf("%d bytes", len(got))
	}
}

func TestGotcha08_LatestIsTheHighWatermark(t *testing.T) {
	b := startBroker(t)
	c := b.dial(t)
	c.createTopic("t", 1)
	c.produce("t", 0, batchOf(t, "0", "1"))
	l := b.host.log(t, "t", 0)
	l.set(func() { l.lastOK = 1 })
	for isolation, want := range []int64{2, 1} {
		if r := listOffset(c, 5, "t", -1, int8(isolation)); r.Offset != want {
			t.Errorf("isolation %d: %+v", isolation, r)
		}
	}
}

func listOffset(c *testConn, version int16, topic string, timestamp int64, isolation int8) kmsg.ListOffsetsResponseTopicPartition {
	c.t.Helper()
	req := kmsg.NewPtrListOffsetsRequest()
	req.Version, req.IsolationLevel, req.ReplicaID = version, isolation, -1
	rp := kmsg.NewListOffsetsRequestTopicPartition()
	rp.Timestamp, rp.MaxNumOffsets = timestamp, 1
	rt := kmsg.NewListOffsetsRequestTopic()
	rt.Topic = topic
	rt.Partitions = append(rt.Partitions, rp)
	req.Topics = append(req.Topics, rt)
	return ask[*kmsg.ListOffsetsResponse](c, req).Topics[0].Partitions[0]
}

func TestGotcha09_TopicCreatedAnewHasAnotherID(t *testing.T) {
	b := startBroker(t)
	c := b.dial(t)
	old := c.createTopic("t", 1)
	c.produce("t", 0, batchOf(t, "old"))
	session := fetchRequest(13, "", old, 0, 0)
	session.SessionEpoch = 0
	sid := ask[*kmsg.FetchResponse](c, session).SessionID
	del := &kmsg.DeleteTopicsRequest{Version: 6, TimeoutMillis: 1000, Topics: []kmsg.DeleteTopicsRequestTopic{{TopicID: old}}}
	if r := ask[*kmsg.DeleteTopicsResponse](c, del); r.Topics[0].ErrorCode != 0 || *r.Topics[0].Topic != "t" {
		t.Fatalf("%+v", r)
	}
	fresh := c.createTopic("t", 1)
	if fresh == old {
		t.Fatal("same id")
	}
	next := &kmsg.FetchRequest{Version: 13, SessionID: sid, SessionEpoch: 1, MaxBytes: 1 << 20}
	r := ask[*kmsg.FetchResponse](c, next)
	if r.ErrorCode != 0 || len(r.Topics) != 1 || r.Topics[0].Partitions[0].ErrorCode != int16(protocol.UnknownTopicID) {
		t.Fatalf("session with the old id: %+v", r)
	}
	next = fetchRequest(13, "", fresh, 0, 0)
	next.SessionID, next.SessionEpoch = sid, 2
	next.ForgottenTopics = []kmsg.FetchRequestForgottenTopic{{TopicID: old, Partitions: []int32{0}}}
	r = ask[*kmsg.FetchResponse](c, next)
	if len(r.Topics) != 1 || r.Topics[0].Partitions[0].ErrorCode != 0 || r.Topics[0].Partitions[0].HighWatermark != 0 {
		t.Fatalf("session with the new id: %+v", r)
	}
	eventually(t, func() bool {
		b.host.mu.Lock()
		defer b.host.mu.Unlock()
		return len(b.host.deleted) == 1 && b.host.deleted[0].TopicID == old
	})
}

func TestGotcha10_LeaderEpochs(t *testing.T) {
	b := startBroker(t)
	c := b.dial(t)
	c.createTopic("t", 1)
	c.produce("t", 0, batchOf(t, "0", "1", "2"))
	l := b.host.log(t, "t", 0)
	l.set(func() { l.epochs = []fakeEpoch{{2, 0}, {5, 2}} })
	for client, want := range map[int32]protocol.Code{-1: protocol.None, 4: protocol.FencedLeaderEpoch, 5: protocol.None, 6: protocol.UnknownLeaderEpoch} {
		f := fetchRequest(12, "t", [16]byte{}, 0, 0)
		f.Topics[0].Partitions[0].CurrentLeaderEpoch = client
		if code := ask[*kmsg.FetchResponse](c, f).Topics[0].Partitions[0].ErrorCode; code != int16(want) {
			t.Errorf("fetch with epoch %d: %v", client, protocol.Code(code))
		}
		e := epochRequest(client, 2)
		if code := ask[*kmsg.OffsetForLeaderEpochResponse](c, e).Topics[0].Partitions[0].ErrorCode; code != int16(want) {
			t.Errorf("epoch end with epoch %d: %v", client, protocol.Code(code))
		}
	}
	for asked, want := range map[int32][2]int64{1: {1, 0}, 2: {2, 2}, 3: {2, 2}, 5: {5, 3}, 6: {-1, -1}} {
		p := ask[*kmsg.OffsetForLeaderEpochResponse](c, epochRequest(-1, asked)).Topics[0].Partitions[0]
		if got := [2]int64{int64(p.LeaderEpoch), p.EndOffset}; got != want {
			t.Errorf("end of epoch %d: %v, want %v", asked, got, want)
		}
	}
	f := fetchRequest(12, "t", [16]byte{}, 0, 3)
	f.Topics[0].Partitions[0].LastFetchedEpoch = 2
	p := ask[*kmsg.FetchResponse](c, f).Topics[0].Partitions[0]
	if p.DivergingEpoch.Epoch != 2 || p.DivergingEpoch.EndOffset != 2 || len(p.RecordBatches) != 0 {
		t.Errorf("diverging: %+v", p)
	}
}

func epochRequest(current, asked int32) *kmsg.OffsetForLeaderEpochRequest {
	req := kmsg.NewPtrOffsetForLeaderEpochRequest()
	req.Version, req.ReplicaID = 4, -1
	rp := kmsg.NewOffsetForLeaderEpochRequestTopicPartition()
	rp.CurrentLeaderEpoch, rp.LeaderEpoch = current, asked
	req.Topics = append(req.Topics, kmsg.OffsetForLeaderEpochRequestTopic{Topic: "t", Partitions: []kmsg.OffsetForLeaderEpochRequestTopicPartition{rp}})
	return req
}

func TestGotcha11_NotLeaderTellsWhoLeads(t *testing.T) {
	b := startBroker(t)
	c := b.dial(t)
	id := c.createTopic("t", 1)
	if _, err := b.propose(t.Context(), &metadata.RegisterBroker{Node: 2, Endpoints: []metadata.Endpoint{{Listener: "PLAINTEXT", Host: "two", Port: 92}}}); err != nil {
		t.Fatal(err)
	}
	l := b.host.log(t, "t", 0)
	l.set(func() { l.leader = dledger.Leadership{Leader: 2, Epoch: 6} })
	p := produceRequest("t", 0, batchOf(t, "x"))
	p.Version = 10
	pr := ask[*kmsg.ProduceResponse](c, p)
	pp := pr.Topics[0].Partitions[0]
	if pp.ErrorCode != int16(protocol.NotLeaderOrFollower) || pp.CurrentLeader.LeaderID != 2 || pp.CurrentLeader.LeaderEpoch != 6 ||
		len(pr.Brokers) != 1 || pr.Brokers[0].Host != "two" || pr.Brokers[0].Port != 92 {
		t.Errorf("produce: %+v", pr)
	}
	fr := ask[*kmsg.FetchResponse](c, fetchRequest(16, "", id, 0, 0))
	fp := fr.Topics[0].Partitions[0]
	if fp.ErrorCode != int16(protocol.NotLeaderOrFollower) || fp.CurrentLeader.LeaderID != 2 || fp.CurrentLeader.LeaderEpoch != 6 ||
		len(fr.Brokers) != 1 || fr.Brokers[0].NodeID != 2 {
		t.Errorf("fetch: %+v", fr)
	}
}

func TestGotcha18_OldFormatsAreRefusedInTheirOwnVersion(t *testing.T) {
	b := startBroker(t)
	c := b.dial(t)
	c.createTopic("t", 1)
	for v := range int16(3) {
		req := produceRequest("t", 0, []byte("an old message set"))
		req.Version = v
		p := ask[*kmsg.ProduceResponse](c, req).Topics[0].Partitions[0]
		if p.ErrorCode != int16(protocol.UnsupportedVersion) || p.BaseOffset != -1 {
			t.Errorf("v%d: %+v", v, p)
		}
	}
	old := buildBatch(t, record.None, func(*record.Builder) {}, "x")
	old[16] = 1
	if p := ask[*kmsg.ProduceResponse](c, produceRequest("t", 0, old)).Topics[0].Partitions[0]; p.ErrorCode != int16(protocol.InvalidRecord) {
		t.Errorf("magic 1: %v", protocol.Code(p.ErrorCode))
	}
	c.alive()
}

func TestGotcha19_CompressedBatchesPassUntouched(t *testing.T) {
	b := startBroker(t)
	c := b.dial(t)
	c.createTopic("t", 1)
	var want []byte
	send := func(batch record.Batch) {
		t.Helper()
		at := c.produce("t", 0, batch)
		var head [record.PatchLen]byte
		record.Patch(&head, batch, record.Offset(at), 5)
		want = append(append(want, head[:]...), batch[record.PatchLen:]...)
	}
	for _, codec := range []record.Codec{record.None, record.Gzip, record.Snappy, record.LZ4, record.Zstd} {
		send(buildBatch(t, codec, func(*record.Builder) {}, strings.Repeat("squeeze me ", 100)))
	}
	// Snappy as others than Java frame it: a raw block.
	plain := batchOf(t, strings.Repeat("raw ", 100))
	raw := append(slices.Clone(plain[:record.HeaderLen]), snappy.Encode(nil, plain.Payload())...)
	binary.BigEndian.PutUint32(raw[8:], uint32(len(raw)-12))
	binary.BigEndian.PutUint16(raw[21:], uint16(record.Snappy))
	binary.BigEndian.PutUint32(raw[17:], record.CRC(0, raw[21:]))
	send(raw)
	r := ask[*kmsg.FetchResponse](c, fetchRequest(12, "t", [16]byte{}, 0, 0))
	if got := r.Topics[0].Partitions[0].RecordBatches; !bytes.Equal(got, want) {
		t.Errorf("%d bytes differ from the %d sent", len(got), len(want))
	}
	if got := valuesOf(t, want); len(got) != 6 {
		t.Errorf("%d values", len(got))
	}
}

func TestGotcha21_ListOffsetsSpecialTimes(t *testing.T) {
	b := startBroker(t)
	c := b.dial(t)
	c.createTopic("t", 1)
	c.produce("t", 0, buildBatch(t, record.None, func(b *record.Builder) {
		b.Append(record.Record{Timestamp: 100, Value: []byte("a")})
		b.Append(record.Record{Timestamp: 300, Value: []byte("b")})
		b.Append(record.Record{Timestamp: 200, Value: []byte("c")})
	}))
	l := b.host.log(t, "t", 0)
	for _, row := range []struct {
		time   int64
		since  int16
		offset int64
		stamp  int64
	}{
		{-1, 1, 3, -1},
		{-2, 1, 0, -1},
		{-3, 7, 1, 300},
		{-4, 8, 0, -1},
		{-5, 9, -1, -1},
		{-6, 11, -1, -1},
		{100, 1, 0, 100},
		{150, 1, 1, 300},
		{301, 1, -1, -1},
		{-7, 99, 0, 0},
		{-99, 99, 0, 0},
	} {
		for v := int16(1); v <= 11; v++ {
			r := listOffset(c, v, "t", row.time, 0)
			if v < row.since {
				if r.ErrorCode != int16(protocol.UnsupportedVersion) {
					t.Errorf("v%d time %d: %+v", v, row.time, r)
				}
			} else if r.ErrorCode != 0 || r.Offset != row.offset || r.Timestamp != row.stamp {
				t.Errorf("v%d time %d: %+v, want %d at %d", v, row.time, r, row.offset, row.stamp)
			}
		}
	}
	if r := listOffset(c, 4, "t", -1, 0); r.LeaderEpoch != 5 {
		t.Errorf("epoch: %+v", r)
	}
	if r := listOffset(c, 0, "t", -1, 0); !slices.Equal(r.OldStyleOffsets, []int64{3}) {
		t.Errorf("v0: %+v", r)
	}
	l.set(func() { l.hwHeld, l.hw = true, 0 })
	if r := listOffset(c, 5, "t", 100, 0); r.Offset != -1 {
		t.Errorf("beyond the high watermark: %+v", r)
	}
}
