package protocol_test

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"math"
	"net"
	"slices"
	"strings"
	"testing"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/stelemq/stele/protocol"
	"github.com/stelemq/stele/protocol/record"
)

// fetchResponses are responses with all that differs on the wire.
func fetchResponses(tb testing.TB) map[string]*protocol.FetchResponse {
	tb.Helper()
	full := func(n int32, records []byte) protocol.FetchPartition {
		return protocol.FetchPartition{
			Partition: n, HighWatermark: 1 << 40, LastStableOffset: 1<<40 - 1, LogStartOffset: 5, PreferredReadReplica: -1, Records: records,
		}
	}
	aborted := full(1, batch(tb, "aborted"))
	aborted.AbortedTransactions = []protocol.AbortedTransaction{{ProducerID: 7, FirstOffset: 8}, {ProducerID: 9, FirstOffset: 1 << 33}}
	none := full(2, nil)
	none.AbortedTransactions = []protocol.AbortedTransaction{}
	none.PreferredReadReplica = 3
	diverging := protocol.NewFetchPartition(3, protocol.None)
	diverging.DivergingEpoch = &protocol.EpochEndOffset{Epoch: 4, EndOffset: 77}
	moved := protocol.NewFetchPartition(4, protocol.NotLeaderOrFollower)
	moved.CurrentLeader = &protocol.LeaderIDEpoch{LeaderID: 2, LeaderEpoch: 9}
	both := full(5, batch(tb, strings.Repeat("b", 5000)))
	both.DivergingEpoch, both.CurrentLeader = diverging.DivergingEpoch, moved.CurrentLeader
	defaults := full(6, []byte{})
	defaults.DivergingEpoch = &protocol.EpochEndOffset{Epoch: -1, EndOffset: -1}
	defaults.CurrentLeader = &protocol.LeaderIDEpoch{LeaderID: -1, LeaderEpoch: -1}
	rack := "rack-1"
	return map[string]*protocol.FetchResponse{
		"empty":           {},
		"session error":   {ThrottleMillis: 100, ErrorCode: protocol.FetchSessionIDNotFound, SessionID: math.MaxInt32},
		"one partition":   {Topics: []protocol.FetchTopic{{Name: "t", TopicID: [16]byte{1}, Partitions: []protocol.FetchPartition{full(0, batch(tb, "hello"))}}}},
		"no partitions":   {Topics: []protocol.FetchTopic{{Name: "t"}, {Name: strings.Repeat("u", 249), TopicID: [16]byte{15: 3}}}},
		"tagged defaults": {Topics: []protocol.FetchTopic{{Name: "t", Partitions: []protocol.FetchPartition{defaults}}}},
		"everything": {
			SessionID: 12, Topics: []protocol.FetchTopic{
				{Name: "a", TopicID: [16]byte{2}, Partitions: []protocol.FetchPartition{full(0, batch(tb, "1")), aborted, none, diverging}},
				{Name: "b", TopicID: [16]byte{3}, Partitions: []protocol.FetchPartition{moved, both}},
			},
			NodeEndpoints: []protocol.NodeEndpoint{{NodeID: 1, Host: "one.example", Port: 9092}, {NodeID: 2, Host: strings.Repeat("h", 130), Port: 65535, Rack: &rack}},
		},
		"endpoint with empty names": {NodeEndpoints: []protocol.NodeEndpoint{{Rack: new(string)}}},
	}
}

// kmsgFetch is the same response in kmsg's types.
func kmsgFetch(r *protocol.FetchResponse, version int16) *kmsg.FetchResponse {
	k := kmsg.NewPtrFetchResponse()
	k.Version, k.ThrottleMillis, k.ErrorCode, k.SessionID = version, r.ThrottleMillis, int16(r.ErrorCode), r.SessionID
	for _, t := range r.Topics {
		kt := kmsg.NewFetchResponseTopic()
		kt.Topic, kt.TopicID = t.Name, t.TopicID
		for _, p := range t.Partitions {
			kp := kmsg.NewFetchResponseTopicPartition()
			kp.Partition, kp.ErrorCode, kp.HighWatermark = p.Partition, int16(p.ErrorCode), int64(p.HighWatermark)
			kp.LastStableOffset, kp.LogStartOffset, kp.PreferredReadReplica = int64(p.LastStableOffset), int64(p.LogStartOffset), p.PreferredReadReplica
			if p.AbortedTransactions != nil {
				kp.AbortedTransactions = []kmsg.FetchResponseTopicPartitionAbortedTransaction{}
			}
			for _, a := range p.AbortedTransactions {
				ka := kmsg.NewFetchResponseTopicPartitionAbortedTransaction()
				ka.ProducerID, ka.FirstOffset = a.ProducerID, int64(a.FirstOffset)
				kp.AbortedTransactions = append(kp.AbortedTransactions, ka)
			}
			if d := p.DivergingEpoch; d != nil {
				kp.DivergingEpoch.Epoch, kp.DivergingEpoch.EndOffset = int32(d.Epoch), int64(d.EndOffset)
			}
			if l := p.CurrentLeader; l != nil {
				kp.CurrentLeader.LeaderID, kp.CurrentLeader.LeaderEpoch = l.LeaderID, int32(l.LeaderEpoch)
			}
			kp.RecordBatches = append([]byte{}, p.Records...)
			kt.Partitions = append(kt.Partitions, kp)
		}
		k.Topics = append(k.Topics, kt)
	}
	for _, e := range r.NodeEndpoints {
		if version >= 16 { // older clients do not know the tag; kmsg would write it
			ke := kmsg.NewFetchResponseBroker()
			ke.NodeID, ke.Host, ke.Port, ke.Rack = e.NodeID, e.Host, e.Port, e.Rack
			k.Brokers = append(k.Brokers, ke)
		}
	}
	return k
}

func TestFetchResponse_SameBytesAsKmsgInAllVersions(t *testing.T) {
	for name, r := range fetchResponses(t) {
		for version := int16(protocol.FetchMin); version <= protocol.FetchMax; version++ {
			buffers, _, err := r.AppendBuffers(nil, nil, version, -42)
			if err != nil {
				t.Fatal(err)
			}
			got := bytes.Join(buffers, nil)
			want, err := protocol.AppendResponse(nil, -42, kmsgFetch(r, version))
			if err != nil {
				t.Fatal(err)
			}
			if !bytes.Equal(got, want) {
				t.Errorf("%s v%d:\n%swant\n%s", name, version, hex.Dump(got), hex.Dump(want))
			}
			if int(binary.BigEndian.Uint32(got)) != len(got)-4 {
				t.Errorf("%s v%d: length %x of %d bytes", name, version, got[:4], len(got))
			}
		}
	}
}

func TestFetchResponse_Golden(t *testing.T) {
	p := protocol.NewFetchPartition(1, protocol.OffsetOutOfRange)
	p.Records = []byte{0xca, 0xfe}
	p.CurrentLeader = &protocol.LeaderIDEpoch{LeaderID: 2, LeaderEpoch: 3}
	r := protocol.FetchResponse{SessionID: 5, Topics: []protocol.FetchTopic{{Name: "t", TopicID: [16]byte{0xaa}, Partitions: []protocol.FetchPartition{p}}}}
	no := "ffffffffffffffff"
	for version, want := range map[int16]string{
		4: "00000033 00000007 00000000 00000001 0001 74 00000001 00000001 0001" + no + no + "ffffffff 00000002 cafe",
		11: "00000045 00000007 00000000 0000 00000005 00000001 0001 74 00000001 00000001 0001" + no + no + no +
			"ffffffff ffffffff 00000002 cafe",
		18: "00000055 00000007 00 00000000 0000 00000005 02 aa000000000000000000000000000000 02 00000001 0001" + no + no + no +
			"00 ffffffff 03 cafe 01 01 09 00000002 00000003 00 00 00",
	} {
		buffers, _, err := r.AppendBuffers(nil, nil, version, 7)
		if err != nil {
			t.Fatal(err)
		}
		if got := bytes.Join(buffers, nil); !bytes.Equal(got, fromHex(t, want)) {
			t.Errorf("v%d: %x", version, got)
		}
	}
}

func TestFetchResponse_DoesNotCopyRecords(t *testing.T) {
	r := fetchResponses(t)["everything"]
	scratch := make([]byte, 0, 4096)
	buffers := make(net.Buffers, 0, 64)
	var err error
	if n := testing.AllocsPerRun(10, func() {
		if buffers, scratch, err = r.AppendBuffers(buffers[:0], scratch[:0], 17, 1); err != nil {
			t.Fatal(err)
		}
	}); n != 0 {
		t.Errorf("%v allocations with scratch large enough", n)
	}
	found := 0
	for _, topic := range r.Topics {
		for _, p := range topic.Partitions {
			for _, b := range buffers {
				if len(p.Records) > 0 && &b[0] == &p.Records[0] && len(b) == len(p.Records) {
					found++
				}
			}
		}
	}
	if found != 3 {
		t.Errorf("%d of 3 partitions' records stand in the buffers as they are", found)
	}
}

func TestFetchResponse_AfterOthersInScratch(t *testing.T) {
	r := fetchResponses(t)["everything"]
	once, _, err := r.AppendBuffers(nil, nil, 12, 1)
	if err != nil {
		t.Fatal(err)
	}
	twice, scratch, err := r.AppendBuffers(nil, make([]byte, 0, 10), 12, 1) // grows on the way
	if err != nil {
		t.Fatal(err)
	}
	if twice, _, err = r.AppendBuffers(twice, scratch, 12, 1); err != nil {
		t.Fatal(err)
	}
	want := bytes.Join(once, nil)
	if got := bytes.Join(twice, nil); !bytes.Equal(got, append(slices.Clip(want), want...)) {
		t.Error("two responses one after the other differ from one twice")
	}
}

func TestFetchResponse_Refuses(t *testing.T) {
	var r protocol.FetchResponse
	for _, version := range []int16{-1, 3, 19} {
		if _, _, err := r.AppendBuffers(nil, nil, version, 1); !errors.Is(err, protocol.ErrUnsupportedVersion) {
			t.Errorf("v%d: %v", version, err)
		}
	}
	records := make([]byte, 1<<28) // never touched: pages of zeros
	for range 8 {
		p := protocol.NewFetchPartition(0, protocol.None)
		p.Records = records
		r.Topics = append(r.Topics, protocol.FetchTopic{Partitions: []protocol.FetchPartition{p}})
	}
	if _, _, err := r.AppendBuffers(nil, nil, 12, 1); !errors.Is(err, protocol.ErrTooLarge) {
		t.Errorf("2 GiB: %v", err)
	}
}

// FuzzFetchResponse makes a response of what kmsg can read and compares the bytes of both.
func FuzzFetchResponse(f *testing.F) {
	for _, r := range fetchResponses(f) {
		for _, version := range []int16{4, 11, 12, 16, 18} {
			f.Add(version, kmsgFetch(r, version).AppendTo(nil))
		}
	}
	f.Fuzz(func(t *testing.T, version int16, body []byte) {
		if version < protocol.FetchMin || version > protocol.FetchMax || len(body) > 64<<10 || strings.Contains(string(body), "\xff\xff\xff\xff") && len(body) > 1<<10 {
			return
		}
		k := kmsg.NewPtrFetchResponse()
		k.Version = version
		if err := boundedTags(body); err != nil || k.ReadFrom(body) != nil {
			return
		}
		r := ofKmsg(k)
		buffers, _, err := r.AppendBuffers(nil, nil, version, 1)
		if err != nil {
			t.Fatal(err)
		}
		want, err := protocol.AppendResponse(nil, 1, kmsgFetch(r, version))
		if err != nil {
			t.Fatal(err)
		}
		if got := bytes.Join(buffers, nil); !bytes.Equal(got, want) {
			t.Fatalf("v%d:\n%swant\n%s", version, hex.Dump(got), hex.Dump(want))
		}
	})
}

// boundedTags refuses bodies in which a varint of five bytes stands: as a count of tags it would keep kmsg busy for long.
func boundedTags(body []byte) error {
	run := 0
	for _, b := range body {
		if run++; b < 0x80 {
			run = 0
		}
		if run >= 3 {
			return errors.New("long varint")
		}
	}
	return nil
}

func ofKmsg(k *kmsg.FetchResponse) *protocol.FetchResponse {
	r := &protocol.FetchResponse{ThrottleMillis: k.ThrottleMillis, ErrorCode: protocol.Code(k.ErrorCode), SessionID: k.SessionID}
	for _, kt := range k.Topics {
		t := protocol.FetchTopic{Name: kt.Topic, TopicID: kt.TopicID}
		for _, kp := range kt.Partitions {
			p := protocol.FetchPartition{
				Partition: kp.Partition, ErrorCode: protocol.Code(kp.ErrorCode), HighWatermark: record.Offset(kp.HighWatermark),
				LastStableOffset: record.Offset(kp.LastStableOffset), LogStartOffset: record.Offset(kp.LogStartOffset),
				PreferredReadReplica: kp.PreferredReadReplica, Records: kp.RecordBatches,
				DivergingEpoch: &protocol.EpochEndOffset{Epoch: record.LeaderEpoch(kp.DivergingEpoch.Epoch), EndOffset: record.Offset(kp.DivergingEpoch.EndOffset)},
				CurrentLeader:  &protocol.LeaderIDEpoch{LeaderID: kp.CurrentLeader.LeaderID, LeaderEpoch: record.LeaderEpoch(kp.CurrentLeader.LeaderEpoch)},
			}
			for _, a := range kp.AbortedTransactions {
				p.AbortedTransactions = append(p.AbortedTransactions, protocol.AbortedTransaction{ProducerID: a.ProducerID, FirstOffset: record.Offset(a.FirstOffset)})
			}
			t.Partitions = append(t.Partitions, p)
		}
		r.Topics = append(r.Topics, t)
	}
	for _, e := range k.Brokers {
		r.NodeEndpoints = append(r.NodeEndpoints, protocol.NodeEndpoint{NodeID: e.NodeID, Host: e.Host, Port: e.Port, Rack: e.Rack})
	}
	return r
}

func BenchmarkFetchResponse(b *testing.B) {
	r := fetchResponses(b)["one partition"]
	scratch := make([]byte, 0, 4096)
	var buffers net.Buffers
	b.ReportAllocs()
	for b.Loop() {
		var err error
		if buffers, scratch, err = r.AppendBuffers(buffers[:0], scratch[:0], 17, 1); err != nil {
			b.Fatal(err)
		}
	}
}
