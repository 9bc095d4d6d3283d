package protocol_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"runtime"
	"testing"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/stelemq/stele/protocol"
	"github.com/stelemq/stele/protocol/record"
)

func batch(tb testing.TB, value string) []byte {
	tb.Helper()
	var b record.Builder
	b.Append(record.Record{Timestamp: 1700000000000, Value: []byte(value)})
	out, err := b.Build(record.None, 0)
	if err != nil {
		tb.Fatal(err)
	}
	return out
}

// produceRequests are requests with all that differs on the wire.
func produceRequests(tb testing.TB, version int16) []*kmsg.ProduceRequest {
	tb.Helper()
	topic := func(name string, id byte, parts ...kmsg.ProduceRequestTopicPartition) kmsg.ProduceRequestTopic {
		return kmsg.ProduceRequestTopic{Topic: name, TopicID: [16]byte{15: id}, Partitions: parts}
	}
	part := func(n int32, records []byte) kmsg.ProduceRequestTopicPartition {
		return kmsg.ProduceRequestTopicPartition{Partition: n, Records: records}
	}
	all := []*kmsg.ProduceRequest{
		{},
		{TransactionID: new("tx"), Acks: -1, TimeoutMillis: 30000},
		{Acks: 1, TimeoutMillis: math.MaxInt32, Topics: []kmsg.ProduceRequestTopic{topic("one", 1, part(0, batch(tb, "hello")))}},
		{TransactionID: new(""), Acks: math.MinInt16, TimeoutMillis: -1, Topics: []kmsg.ProduceRequestTopic{
			topic("a", 1, part(3, nil), part(-1, []byte{}), part(math.MaxInt32, batch(tb, "x"))),
			topic("", 2),
			topic(string(bytes.Repeat([]byte("n"), 249)), 3, part(0, batch(tb, string(bytes.Repeat([]byte("y"), 70000)))), part(1, []byte("no batch"))),
		}},
	}
	tagged := *all[2]
	tagged.UnknownTags.Set(7, []byte("t"))
	tagged.Topics = []kmsg.ProduceRequestTopic{topic("t", 9, part(5, batch(tb, "tags")))}
	tagged.Topics[0].UnknownTags.Set(1000, nil)
	tagged.Topics[0].Partitions[0].UnknownTags.Set(3, make([]byte, 300))
	all = append(all, &tagged)
	for _, r := range all {
		r.Version = version
	}
	return all
}

// sameProduce compares what was parsed with what kmsg has.
func sameProduce(got *protocol.ProduceRequest, want *kmsg.ProduceRequest) error {
	id := want.TransactionID
	if (got.TransactionalID == nil) != (id == nil) || id != nil && string(got.TransactionalID) != *id {
		return fmt.Errorf("transactional id %q", got.TransactionalID)
	}
	if got.Acks != want.Acks || got.TimeoutMillis != want.TimeoutMillis || len(got.Topics) != len(want.Topics) {
		return fmt.Errorf("acks %d, timeout %d, %d topics", got.Acks, got.TimeoutMillis, len(got.Topics))
	}
	for i, w := range want.Topics {
		g := got.Topics[i]
		if want.Version >= 13 && (g.TopicID != w.TopicID || g.Name != nil) || want.Version < 13 && (string(g.Name) != w.Topic || g.TopicID != [16]byte{}) {
			return fmt.Errorf("topic %d: %q %x", i, g.Name, g.TopicID)
		}
		if len(g.Partitions) != len(w.Partitions) {
			return fmt.Errorf("topic %d: %d partitions", i, len(g.Partitions))
		}
		for j, wp := range w.Partitions {
			gp := g.Partitions[j]
			if gp.Partition != wp.Partition || !bytes.Equal(gp.Records, wp.Records) || (gp.Records == nil) != (wp.Records == nil) {
				return fmt.Errorf("topic %d partition %d: %+v", i, j, gp)
			}
		}
	}
	return nil
}

func TestProduceRequest_SameAsKmsgInAllVersions(t *testing.T) {
	var got protocol.ProduceRequest // one for all, to see that nothing stays from an earlier one
	for version := int16(protocol.ProduceMin); version <= protocol.ProduceMax; version++ {
		for i, req := range produceRequests(t, version) {
			body := req.AppendTo(nil)
			if err := got.Parse(version, body); err != nil {
				t.Fatalf("v%d request %d: %v", version, i, err)
			}
			want := kmsg.NewProduceRequest()
			want.Version = version
			if err := want.ReadFrom(body); err != nil {
				t.Fatal(err)
			}
			if err := sameProduce(&got, &want); err != nil {
				t.Errorf("v%d request %d: %v", version, i, err)
			}
			for n := range min(len(body), 500) {
				if err := got.Parse(version, body[:n]); !errors.Is(err, protocol.ErrMalformed) {
					t.Fatalf("v%d request %d, %d of %d bytes: %v", version, i, n, len(body), err)
				}
			}
		}
	}
}

func TestProduceRequest_Golden(t *testing.T) {
	for _, row := range []struct {
		name, body string
		version    int16
	}{
		{"v3", "ffff 0001 00000bb8 00000001 0001 74 00000001 00000002 00000003 abcdef", 3},
		{"v9", "00 0001 00000bb8 02 02 74 02 00000002 04 abcdef 00 00 00", 9},
	} {
		var r protocol.ProduceRequest
		if err := r.Parse(row.version, fromHex(t, row.body)); err != nil {
			t.Fatalf("%s: %v", row.name, err)
		}
		got := fmt.Sprintf("%q %d %d %s %d %x", r.TransactionalID, r.Acks, r.TimeoutMillis, r.Topics[0].Name, r.Topics[0].Partitions[0].Partition, r.Topics[0].Partitions[0].Records)
		if want := `"" 1 3000 t 2 abcdef`; got != want {
			t.Errorf("%s: %s, want %s", row.name, got, want)
		}
	}
}

func TestProduceRequest_ParsesInPlace(t *testing.T) {
	for _, version := range []int16{3, 9, 13} {
		body := produceRequests(t, version)[3].AppendTo(nil)
		var r protocol.ProduceRequest
		if n := testing.AllocsPerRun(10, func() {
			if err := r.Parse(version, body); err != nil {
				t.Fatal(err)
			}
		}); n != 0 {
			t.Errorf("v%d: %v allocations", version, n)
		}
		records := r.Topics[0].Partitions[2].Records
		at := bytes.Index(body, records)
		body[at+65] ^= 0xff
		if records[65] != body[at+65] || cap(records) != len(records) {
			t.Errorf("v%d: records do not alias the body", version)
		}
		r.Reset()
		if len(r.Topics) != 0 || r.Topics[:1][0].Partitions != nil || r.TransactionalID != nil {
			t.Errorf("v%d: Reset keeps %+v", version, r.Topics[:1])
		}
	}
}

func TestProduceRequest_RefusesHostileBodies(t *testing.T) {
	empty := func(n int) []byte { // a topic with n partitions without records
		b := fromHex(t, "00 0001 00000bb8 02 02 74")
		b = binary.AppendUvarint(b, uint64(n+1))
		return append(append(b, make([]byte, 6*n)...), 0, 0)
	}
	topics := func(n int) []byte { // n topics without partitions
		b := binary.AppendUvarint(fromHex(t, "00 0001 00000bb8"), uint64(n+1))
		return append(append(b, bytes.Repeat([]byte{2, 't', 1, 0}, n)...), 0)
	}
	for _, row := range []struct {
		name    string
		version int16
		body    []byte
		want    error
	}{
		{"v2", 2, nil, protocol.ErrUnsupportedVersion},
		{"v14", 14, nil, protocol.ErrUnsupportedVersion},
		{"topics of 2^31-1", 3, fromHex(t, "ffff 0001 00000bb8 7fffffff"), protocol.ErrMalformed},
		{"topics null", 3, fromHex(t, "ffff 0001 00000bb8 ffffffff"), protocol.ErrMalformed},
		{"topics null, compact", 9, fromHex(t, "00 0001 00000bb8 00 00"), protocol.ErrMalformed},
		{"topics of 2^32-2", 9, fromHex(t, "00 0001 00000bb8 ffffffff0f"), protocol.ErrMalformed},
		{"topic name null", 3, fromHex(t, "ffff 0001 00000bb8 00000001 ffff 00000000"), protocol.ErrMalformed},
		{"partitions of 2^31-1", 3, fromHex(t, "ffff 0001 00000bb8 00000001 0001 74 7fffffff 00"), protocol.ErrMalformed},
		{"partitions null", 3, fromHex(t, "ffff 0001 00000bb8 00000001 0001 74 ffffffff"), protocol.ErrMalformed},
		{"records of 2^31-1", 3, fromHex(t, "ffff 0001 00000bb8 00000001 0001 74 00000001 00000000 7fffffff 00"), protocol.ErrMalformed},
		{"records of -2", 3, fromHex(t, "ffff 0001 00000bb8 00000001 0001 74 00000001 00000000 fffffffe"), protocol.ErrMalformed},
		{"2^32-1 tags", 9, fromHex(t, "00 0001 00000bb8 01 ffffffff0f 0000"), protocol.ErrMalformed},
		{"tag twice", 9, fromHex(t, "00 0001 00000bb8 01 02 0500 0500"), protocol.ErrMalformed},
		{"some partitions without records", 9, empty(100), nil},
		{"a million partitions without records", 9, empty(1e6), protocol.ErrTooLarge},
		{"a million topics without partitions", 9, topics(1e6), protocol.ErrTooLarge},
	} {
		t.Run(row.name, func(t *testing.T) {
			var r protocol.ProduceRequest
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			err := r.Parse(row.version, row.body)
			runtime.ReadMemStats(&after)
			if !errors.Is(err, row.want) {
				t.Errorf("got %v, want %v", err, row.want)
			}
			if used := after.TotalAlloc - before.TotalAlloc; used > uint64(len(row.body))+16<<10 {
				t.Errorf("%d bytes allocated for %d", used, len(row.body))
			}
		})
	}
}

// FuzzProduce compares with kmsg: what is accepted must be read the same by it, in memory bounded by the body.
func FuzzProduce(f *testing.F) {
	for version := int16(protocol.ProduceMin); version <= protocol.ProduceMax; version++ {
		for _, req := range produceRequests(f, version)[:3] {
			f.Add(version, req.AppendTo(nil))
		}
	}
	f.Add(int16(9), produceRequests(f, 9)[4].AppendTo(nil))
	f.Fuzz(func(t *testing.T, version int16, body []byte) {
		var got protocol.ProduceRequest
		if err := got.Parse(version, body); err != nil {
			if !errors.Is(err, protocol.ErrMalformed) && !errors.Is(err, protocol.ErrTooLarge) && !errors.Is(err, protocol.ErrUnsupportedVersion) {
				t.Fatalf("an error outside the contract: %v", err)
			}
			return
		}
		if n := cap(got.Topics); n*64 > len(body)+8<<10 {
			t.Fatalf("room for %d topics for %d bytes", n, len(body))
		}
		want := kmsg.NewProduceRequest()
		want.Version = version
		if err := want.ReadFrom(body); err != nil {
			t.Fatalf("kmsg refuses it: %v", err)
		}
		if err := sameProduce(&got, &want); err != nil {
			t.Fatal(err)
		}
		if err := protocol.CheckRequest(protocol.KeyProduce, version, body, math.MaxInt32); err != nil {
			t.Fatalf("its shape is refused: %v", err)
		}
	})
}

func BenchmarkProduceRequest(b *testing.B) {
	req := produceRequests(b, 9)[2]
	for range 9 {
		req.Topics[0].Partitions = append(req.Topics[0].Partitions, req.Topics[0].Partitions[0])
	}
	body := req.AppendTo(nil)
	var r protocol.ProduceRequest
	b.ReportAllocs()
	for b.Loop() {
		if err := r.Parse(9, body); err != nil {
			b.Fatal(err)
		}
	}
}
