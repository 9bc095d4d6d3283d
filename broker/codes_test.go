package broker

import (
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/stelemq/stele/dledger"
	"github.com/stelemq/stele/protocol"
	"github.com/stelemq/stele/protocol/record"
)

// produceCode sends one batch and returns the partition's error.
func produceCode(c *testConn, topic string, batch []byte, change func(*kmsg.ProduceRequest)) (protocol.Code, kmsg.ProduceResponseTopicPartition) {
	c.t.Helper()
	req := produceRequest(topic, 0, batch)
	if change != nil {
		change(req)
	}
	p := ask[*kmsg.ProduceResponse](c, req).Topics[0].Partitions[0]
	return protocol.Code(p.ErrorCode), p
}

func changed(b record.Batch, f func(record.Batch)) record.Batch {
	b = slices.Clone(b)
	f(b)
	return b
}

func resealed(b record.Batch, f func(record.Batch)) record.Batch {
	return changed(b, func(b record.Batch) {
		f(b)
		binary.BigEndian.PutUint32(b[17:], record.CRC(0, b[21:]))
	})
}

func at(t *testing.T, when time.Time) record.Batch {
	t.Helper()
	var b record.Builder
	b.Append(record.Record{Timestamp: time.Now().UnixMilli(), Value: []byte("now")})
	b.Append(record.Record{Timestamp: when.UnixMilli(), Value: []byte("then")})
	batch, err := b.Build(record.None, record.DefaultLevel)
	if err != nil {
		t.Fatal(err)
	}
	return batch
}

// Gotcha 12: each wrong Produce gets Kafka's code, and the connection lives on.
func TestGotcha12_ProduceValidation(t *testing.T) {
	b := startBroker(t)
	c := b.dial(t)
	c.createTopic("t", 1)
	c.createTopic("small", 1, "max.message.bytes", "100")
	c.createTopic("segment", 1, "max.message.bytes", "9000000", "segment.bytes", "1048576")
	c.createTopic("old", 1, "message.timestamp.before.max.ms", "60000")
	c.createTopic("compact", 1, "cleanup.policy", "compact")
	good := batchOf(t, "x")
	for name, row := range map[string]struct {
		topic  string
		batch  []byte
		change func(*kmsg.ProduceRequest)
		want   protocol.Code
	}{
		"good":                    {"t", good, nil, protocol.None},
		"no records":              {"t", nil, nil, protocol.InvalidRecord},
		"empty records":           {"t", []byte{}, nil, protocol.InvalidRecord},
		"cut short":               {"t", good[:len(good)-1], nil, protocol.InvalidRecord},
		"shorter than a header":   {"t", good[:30], nil, protocol.InvalidRecord},
		"length below a header":   {"t", changed(good, func(b record.Batch) { binary.BigEndian.PutUint32(b[8:], 10) }), nil, protocol.CorruptMessage},
		"wrong CRC":               {"t", changed(good, func(b record.Batch) { b[len(b)-1] ^= 1 }), nil, protocol.CorruptMessage},
		"magic 0":                 {"t", changed(good, func(b record.Batch) { b[16] = 0 }), nil, protocol.InvalidRecord},
		"magic 7":                 {"t", changed(good, func(b record.Batch) { b[16] = 7 }), nil, protocol.CorruptMessage},
		"two batches":             {"t", slices.Concat(good, good), nil, protocol.InvalidRecord},
		"count and offsets":       {"t", resealed(good, func(b record.Batch) { b[26] = 3 }), nil, protocol.InvalidRecord},
		"base offset":             {"t", changed(good, func(b record.Batch) { b[7] = 1 }), nil, protocol.InvalidRecord},
		"control batch":           {"t", resealed(good, func(b record.Batch) { b[22] |= 0x20 }), nil, protocol.InvalidRecord},
		"unknown codec":           {"t", resealed(good, func(b record.Batch) { b[22] |= 7 }), nil, protocol.UnsupportedCompressionType},
		"log append time set":     {"t", resealed(good, func(b record.Batch) { b[22] |= 8 }), nil, protocol.InvalidTimestamp},
		"producer, no sequence":   {"t", resealed(good, func(b record.Batch) { copy(b[43:], make([]byte, 10)) }), nil, protocol.InvalidRecord},
		"transactional":           {"t", buildBatch(t, record.None, func(b *record.Builder) { b.SetProducer(1, 0, 0); b.SetTransactional(true) }, "x"), nil, protocol.InvalidTxnState},
		"zstd before v7":          {"t", buildBatch(t, record.Zstd, func(*record.Builder) {}, "x"), func(r *kmsg.ProduceRequest) { r.Version = 6 }, protocol.UnsupportedCompressionType},
		"zstd in v7":              {"t", buildBatch(t, record.Zstd, func(*record.Builder) {}, "x"), func(r *kmsg.ProduceRequest) { r.Version = 7 }, protocol.None},
		"too large":               {"small", batchOf(t, strings.Repeat("x", 100)), nil, protocol.MessageTooLarge},
		"larger than a segment":   {"segment", batchOf(t, strings.Repeat("x", 2<<20)), nil, protocol.RecordListTooLarge},
		"from the future":         {"t", at(t, time.Now().Add(2*time.Hour)), nil, protocol.InvalidTimestamp},
		"from the past":           {"old", at(t, time.Now().Add(-time.Hour)), nil, protocol.InvalidTimestamp},
		"from the past, allowed":  {"t", at(t, time.Now().Add(-1000*time.Hour)), nil, protocol.None},
		"compacted without key":   {"compact", at(t, time.Now()), nil, protocol.InvalidRecord},
		"compacted with key":      {"compact", good, nil, protocol.None},
		"acks 2":                  {"t", good, func(r *kmsg.ProduceRequest) { r.Acks = 2 }, protocol.InvalidRequiredAcks},
		"acks -2":                 {"t", good, func(r *kmsg.ProduceRequest) { r.Acks = -2 }, protocol.InvalidRequiredAcks},
		"acks 1":                  {"t", good, func(r *kmsg.ProduceRequest) { r.Acks = 1 }, protocol.None},
		"unknown topic":           {"nope", good, nil, protocol.UnknownTopicOrPartition},
		"unknown partition":       {"t", good, func(r *kmsg.ProduceRequest) { r.Topics[0].Partitions[0].Partition = 7 }, protocol.UnknownTopicOrPartition},
		"negative partition":      {"t", good, func(r *kmsg.ProduceRequest) { r.Topics[0].Partitions[0].Partition = -1 }, protocol.UnknownTopicOrPartition},
		"unknown topic and acks":  {"nope", good, func(r *kmsg.ProduceRequest) { r.Acks = 5 }, protocol.UnknownTopicOrPartition},
		"unknown id":              {"t", good, func(r *kmsg.ProduceRequest) { r.Version = 13 }, protocol.UnknownTopicID},
		"old format":              {"t", good, func(r *kmsg.ProduceRequest) { r.Version = 2 }, protocol.UnsupportedVersion},
		"empty transactional id?": {"t", good, func(r *kmsg.ProduceRequest) { id := ""; r.TransactionID = &id }, protocol.None},
	} {
		code, p := produceCode(c, row.topic, row.batch, row.change)
		if code != row.want {
			t.Errorf("%s: %v (%s), want %v", name, code, text(p.ErrorMessage), row.want)
		}
		if code != protocol.None && p.BaseOffset != -1 {
			t.Errorf("%s: base offset %d", name, p.BaseOffset)
		}
	}
	c.alive()
}

func TestProduce_NamesTheRecordsThatAreWrong(t *testing.T) {
	b := startBroker(t)
	c := b.dial(t)
	c.createTopic("t", 1)
	_, p := produceCode(c, "t", at(t, time.Now().Add(2*time.Hour)), nil)
	if len(p.ErrorRecords) != 1 || p.ErrorRecords[0].RelativeOffset != 1 || p.ErrorMessage == nil {
		t.Errorf("%+v", p)
	}
}

func TestProduce_LogAppendTimeIsStampedInACopy(t *testing.T) {
	b := startBroker(t)
	c := b.dial(t)
	c.createTopic("t", 1, "message.timestamp.type", "LogAppendTime")
	before := time.Now().UnixMilli()
	_, p := produceCode(c, "t", at(t, time.Now().Add(1000*time.Hour)), nil)
	if p.ErrorCode != 0 || p.LogAppendTime < before || p.LogAppendTime > time.Now().UnixMilli() {
		t.Fatalf("%+v", p)
	}
	r := ask[*kmsg.FetchResponse](c, fetchRequest(12, "t", [16]byte{}, 0, 0))
	stored, _, err := record.Next(r.Topics[0].Partitions[0].RecordBatches)
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(stored.VerifyCRC(), stored.Validate()); err != nil || !stored.Attributes().LogAppendTime() || stored.MaxTimestamp() != p.LogAppendTime {
		t.Errorf("%v, max timestamp %d, want %d", err, stored.MaxTimestamp(), p.LogAppendTime)
	}
}

func TestProduce_CompressesWhereTheTopicSaysSo(t *testing.T) {
	b := startBroker(t)
	c := b.dial(t)
	for _, codec := range []record.Codec{record.None, record.Gzip, record.Snappy, record.LZ4, record.Zstd} {
		name := codec.String()
		if codec == record.None {
			name = "uncompressed"
		}
		c.createTopic(name, 1, "compression.type", name)
		c.produce(name, 0, buildBatch(t, record.Gzip, func(b *record.Builder) { b.SetProducer(7, 1, 42) }, "a", "b"))
		r := ask[*kmsg.FetchResponse](c, fetchRequest(12, name, [16]byte{}, 0, 0))
		data := r.Topics[0].Partitions[0].RecordBatches
		stored, _, err := record.Next(data)
		if err != nil || stored.Attributes().Codec() != codec || stored.ProducerID() != 7 || stored.ProducerEpoch() != 1 || stored.BaseSequence() != 42 {
			t.Errorf("%s: %v %v", name, err, stored.Attributes().Codec())
		}
		if got := valuesOf(t, data); !slices.Equal(got, []string{"a", "b"}) {
			t.Errorf("%s: %v", name, got)
		}
	}
}

func TestGotcha12_AcksZeroIsNeverAnswered(t *testing.T) {
	b := startBroker(t)
	c := b.dial(t)
	c.createTopic("t", 1)
	none := produceRequest("t", 0, batchOf(t, "x"))
	none.Acks = 0
	c.send(none)
	c.alive() // the next answer is that of the next request
	l := b.host.log(t, "t", 0)
	l.mu.Lock()
	got := l.acks
	l.mu.Unlock()
	if !slices.Equal(got, []dledger.Acks{dledger.AcksNone}) {
		t.Errorf("acks %v", got)
	}
	for name, change := range map[string]func(){
		"refused at once": func() { none.Topics[0].Topic = "nope" },
		"refused later": func() {
			none.Topics[0].Topic = "t"
			l := b.host.log(t, "t", 0)
			l.set(func() { l.answerErr = dledger.ErrNotLeader })
		},
	} {
		t.Run(name, func(t *testing.T) {
			change()
			c := b.dial(t)
			c.send(none)
			c.closed()
		})
	}
}

// Every error of the log becomes one code, for Produce when it is known at once and when it comes later.
func TestErrors_OfTheLogBecomeKafkaCodes(t *testing.T) {
	b := startBroker(t)
	c := b.dial(t)
	c.createTopic("t", 1)
	l := b.host.log(t, "t", 0)
	for err, want := range map[error]protocol.Code{
		dledger.ErrNotLeader: 6, dledger.ErrFencedEpoch: 74, dledger.ErrUnknownEpoch: 75, dledger.ErrNotEnoughReplicas: 19,
		dledger.ErrTimeout: 7, dledger.ErrOffsetOutOfRange: 1, dledger.ErrOutOfOrderSequence: 45, dledger.ErrDuplicateSequence: 45,
		dledger.ErrInvalidProducerEpoch: 47, dledger.ErrNoSpace: 56, dledger.ErrCorrupt: 56, dledger.ErrClosed: 6,
		dledger.ErrUnsupportedVersion: 56, errors.New("something else"): -1,
	} {
		for _, wrapped := range []error{err, fmt.Errorf("append: %w", err)} {
			l.set(func() { l.appendErr, l.answerErr, l.readErr = wrapped, nil, nil })
			if code, _ := produceCode(c, "t", batchOf(t, "x"), nil); code != want {
				t.Errorf("append %v: %v", wrapped, code)
			}
			l.set(func() { l.appendErr, l.answerErr = nil, wrapped })
			if code, _ := produceCode(c, "t", batchOf(t, "x"), nil); code != want {
				t.Errorf("answer %v: %v", wrapped, code)
			}
			l.set(func() { l.answerErr = nil })
			l.set(func() { l.next, l.readErr = 1, wrapped })
			r := ask[*kmsg.FetchResponse](c, fetchRequest(12, "t", [16]byte{}, 0, 0))
			if code := protocol.Code(r.Topics[0].Partitions[0].ErrorCode); code != want {
				t.Errorf("read %v: %v", wrapped, code)
			}
			l.set(func() { l.next, l.readErr = 0, nil })
		}
	}
}

// A full disk refuses appends with a code that clients retry; reads go on, and so do appends once there is
// space again.
func TestProduce_DiskFull(t *testing.T) {
	b := startBroker(t)
	c := b.dial(t)
	c.createTopic("t", 1)
	c.produce("t", 0, batchOf(t, "before"))
	l := b.host.log(t, "t", 0)
	l.set(func() { l.appendErr = dledger.ErrNoSpace })
	if code, _ := produceCode(c, "t", batchOf(t, "x"), nil); code != protocol.KafkaStorageError || !code.Retriable() {
		t.Error(code)
	}
	r := ask[*kmsg.FetchResponse](c, fetchRequest(12, "t", [16]byte{}, 0, 0))
	if got := valuesOf(t, r.Topics[0].Partitions[0].RecordBatches); !slices.Equal(got, []string{"before"}) {
		t.Error(got)
	}
	l.set(func() { l.appendErr = nil })
	if got := c.produce("t", 0, batchOf(t, "after")); got != 1 {
		t.Error(got)
	}
}

func TestFetch_Codes(t *testing.T) {
	b := startBroker(t)
	c := b.dial(t)
	id := c.createTopic("t", 1)
	c.produce("t", 0, batchOf(t, "0", "1", "2"))
	l := b.host.log(t, "t", 0)
	l.set(func() { l.start = 1; l.hwHeld, l.hw = true, 2 })
	for name, row := range map[string]struct {
		req  *kmsg.FetchRequest
		want protocol.Code
	}{
		"below the log start":       {fetchRequest(12, "t", id, 0, 0), protocol.OffsetOutOfRange},
		"negative":                  {fetchRequest(12, "t", id, 0, -1), protocol.OffsetOutOfRange},
		"above the log end":         {fetchRequest(12, "t", id, 0, 4), protocol.OffsetOutOfRange},
		"at the log end":            {fetchRequest(12, "t", id, 0, 3), protocol.None},
		"above the high watermark":  {fetchRequest(12, "t", id, 0, 2), protocol.None},
		"unknown topic":             {fetchRequest(12, "nope", id, 0, 0), protocol.UnknownTopicOrPartition},
		"unknown partition":         {fetchRequest(12, "t", id, 5, 0), protocol.UnknownTopicOrPartition},
		"unknown partition, by id":  {fetchRequest(18, "", id, 5, 0), protocol.UnknownTopicOrPartition},
		"negative partition, by id": {fetchRequest(18, "", id, -5, 0), protocol.UnknownTopicOrPartition},
	} {
		r := ask[*kmsg.FetchResponse](c, row.req)
		if p := r.Topics[0].Partitions[0]; p.ErrorCode != int16(row.want) || len(p.RecordBatches) != 0 {
			t.Errorf("%s: %v, want %v", name, protocol.Code(p.ErrorCode), row.want)
		}
	}
	c.alive()
}

func TestFetch_ReadCommittedEndsAtTheLastStableOffset(t *testing.T) {
	b := startBroker(t)
	c := b.dial(t)
	c.createTopic("t", 1)
	c.produce("t", 0, batchOf(t, "0"))
	c.produce("t", 0, batchOf(t, "1"))
	l := b.host.log(t, "t", 0)
	l.set(func() { l.lastOK = 1 })
	req := fetchRequest(12, "t", [16]byte{}, 0, 0)
	for isolation, want := range [][]string{{"0", "1"}, {"0"}} {
		req.IsolationLevel = int8(isolation)
		p := ask[*kmsg.FetchResponse](c, req).Topics[0].Partitions[0]
		if got := valuesOf(t, p.RecordBatches); !slices.Equal(got, want) || p.LastStableOffset != 1 || (p.AbortedTransactions == nil) != (isolation == 0) {
			t.Errorf("isolation %d: %v, %+v", isolation, got, p)
		}
	}
}

func TestFetch_WaitsForBytesAndIsWoken(t *testing.T) {
	b := startBroker(t)
	c, other := b.dial(t), b.dial(t)
	c.createTopic("t", 1)
	l := b.host.log(t, "t", 0)
	waiting := func() bool { l.mu.Lock(); defer l.mu.Unlock(); return len(l.subs) > 0 }
	req := fetchRequest(12, "t", [16]byte{}, 0, 0)
	req.MaxWaitMillis, req.MinBytes = 30_000, 200
	id := c.send(req)
	eventually(t, waiting)
	for i := range 3 { // the third reaches the minimum
		other.produce("t", 0, batchOf(t, fmt.Sprint(i)))
	}
	p := c.receive(req, id).(*kmsg.FetchResponse).Topics[0].Partitions[0]
	if got := valuesOf(t, p.RecordBatches); !slices.Equal(got, []string{"0", "1", "2"}) || p.HighWatermark != 3 {
		t.Errorf("%v, high watermark %d", got, p.HighWatermark)
	}
	eventually(t, func() bool { return !waiting() })

	// The time passes: what there is comes.
	req = fetchRequest(12, "t", [16]byte{}, 0, 1)
	req.MaxWaitMillis, req.MinBytes = 50, 1<<20
	began := time.Now()
	r := ask[*kmsg.FetchResponse](c, req)
	if got := valuesOf(t, r.Topics[0].Partitions[0].RecordBatches); len(got) != 2 || time.Since(began) < 40*time.Millisecond {
		t.Errorf("%v after %s", got, time.Since(began))
	}

	// The leadership ends: the client is told at once.
	req = fetchRequest(12, "t", [16]byte{}, 0, 3)
	req.MaxWaitMillis = 30_000
	id = c.send(req)
	eventually(t, waiting)
	l.set(func() { l.leader.IsLeader = false })
	r = c.receive(req, id).(*kmsg.FetchResponse)
	if code := protocol.Code(r.Topics[0].Partitions[0].ErrorCode); code != protocol.NotLeaderOrFollower {
		t.Error(code)
	}
}

func TestFetch_EndsWhenTheClientGoes(t *testing.T) {
	b := startBroker(t)
	c := b.dial(t)
	c.createTopic("t", 1)
	l := b.host.log(t, "t", 0)
	subs := func() int { l.mu.Lock(); defer l.mu.Unlock(); return len(l.subs) }
	req := fetchRequest(12, "t", [16]byte{}, 0, 0)
	req.MaxWaitMillis = 60_000
	c.send(req)
	eventually(t, func() bool { return subs() == 1 })
	_ = c.nc.Close()
	eventually(t, func() bool { return subs() == 0 })
}

func TestFetch_ManyPartitionsShareOneBuffer(t *testing.T) {
	b := startBroker(t)
	c := b.dial(t)
	const n = 40
	c.createTopic("t", n)
	req := fetchRequest(12, "t", [16]byte{}, 0, 0)
	req.MinBytes, req.MaxWaitMillis = 1, 100
	one := req.Topics[0].Partitions[0]
	req.Topics[0].Partitions = nil
	for i := range int32(n) {
		c.produce("t", i, batchOf(t, strings.Repeat(fmt.Sprintf("%02d", i), 500)))
		one.Partition = i
		req.Topics[0].Partitions = append(req.Topics[0].Partitions, one)
	}
	for range 5 {
		r := ask[*kmsg.FetchResponse](c, req)
		for i, p := range r.Topics[0].Partitions {
			if got := valuesOf(t, p.RecordBatches); len(got) != 1 || got[0] != strings.Repeat(fmt.Sprintf("%02d", i), 500) {
				t.Fatalf("partition %d: %d values", i, len(got))
			}
		}
	}
}

// A compacted topic takes no record without a key, and the answer names those that have none (KIP-467).
func TestProduce_CompactedTopicsWantKeys(t *testing.T) {
	b := startBroker(t)
	c := b.dial(t)
	c.createTopic("compacted", 1, "cleanup.policy", "compact")
	var builder record.Builder
	for i, key := range []string{"a", "", "b", ""} {
		r := record.Record{Timestamp: time.Now().UnixMilli(), Value: []byte{byte(i)}}
		if key != "" {
			r.Key = []byte(key)
		}
		builder.Append(r)
	}
	batch, err := builder.Build(record.Zstd, record.DefaultLevel)
	if err != nil {
		t.Fatal(err)
	}
	code, p := produceCode(c, "compacted", batch, nil)
	if code != protocol.InvalidRecord || len(p.ErrorRecords) != 2 || p.ErrorRecords[0].RelativeOffset != 1 || p.ErrorRecords[1].RelativeOffset != 3 || p.BaseOffset != -1 {
		t.Errorf("%v: %+v", code, p)
	}
	if len(p.ErrorRecords) > 0 && !strings.Contains(text(p.ErrorRecords[0].ErrorMessage), "without key") {
		t.Errorf("%s", text(p.ErrorRecords[0].ErrorMessage))
	}
}

// What recompression has made too large is refused like what came so.
func TestProduce_TooLargeOnceRecompressed(t *testing.T) {
	b := startBroker(t)
	c := b.dial(t)
	c.createTopic("t", 1, "compression.type", "uncompressed", "max.message.bytes", "2000")
	large := buildBatch(t, record.Zstd, func(*record.Builder) {}, strings.Repeat("x", 3000))
	if code, p := produceCode(c, "t", large, nil); code != protocol.MessageTooLarge {
		t.Errorf("%v (%s)", code, text(p.ErrorMessage))
	}
	c.produce("t", 0, buildBatch(t, record.Zstd, func(*record.Builder) {}, strings.Repeat("x", 1000)))
}
