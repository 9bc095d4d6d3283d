package compat

import (
	"encoding/binary"
	"hash/crc32"
	"net"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// Error codes of Kafka's protocol that clients do not show.
const (
	none                      = 0
	offsetOutOfRange          = 1
	corruptMessage            = 2
	unknownTopicOrPartition   = 3
	coordinatorLoadInProgress = 14
	invalidRequiredAcks       = 21
	unsupportedVersion        = 35
	outOfOrderSequence        = 45
	invalidTimestamp          = 32
	invalidProducerEpoch      = 47
	fetchSessionIDNotFound    = 70
	invalidFetchSessionEpoch  = 71
	fencedLeaderEpoch         = 74
	unknownLeaderEpoch        = 75
	invalidRecord             = 87
	unknownTopicID            = 100
)

// wireBatch makes a RecordBatch v2 with n empty records; change may spoil it before the checksum is made.
func wireBatch(id int64, epoch int16, sequence int32, n int, change func(b []byte)) []byte {
	b := make([]byte, 61)
	binary.BigEndian.PutUint32(b[12:], ^uint32(0))
	b[16] = 2
	binary.BigEndian.PutUint32(b[23:], uint32(n-1))
	now := uint64(time.Now().UnixMilli())
	binary.BigEndian.PutUint64(b[27:], now)
	binary.BigEndian.PutUint64(b[35:], now)
	binary.BigEndian.PutUint64(b[43:], uint64(id))
	binary.BigEndian.PutUint16(b[51:], uint16(epoch))
	binary.BigEndian.PutUint32(b[53:], uint32(sequence))
	binary.BigEndian.PutUint32(b[57:], uint32(n))
	for i := range n {
		rec := binary.AppendVarint([]byte{0, 0}, int64(i)) // attributes, timestamp delta, offset delta
		rec = append(rec, 1, 0, 0)                         // null key, empty value, no headers
		b = append(binary.AppendVarint(b, int64(len(rec))), rec...)
	}
	binary.BigEndian.PutUint32(b[8:], uint32(len(b)-12))
	if change != nil {
		change(b)
	}
	binary.BigEndian.PutUint32(b[17:], crc32.Checksum(b[21:], crc32.MakeTable(crc32.Castagnoli)))
	return b
}

func produceRequest(topic string, partition int32, acks int16, batch []byte) *kmsg.ProduceRequest {
	req := kmsg.NewPtrProduceRequest()
	req.SetVersion(9)
	req.Acks, req.TimeoutMillis = acks, 10_000
	part := kmsg.NewProduceRequestTopicPartition()
	part.Partition, part.Records = partition, batch
	req.Topics = []kmsg.ProduceRequestTopic{{Topic: topic, Partitions: []kmsg.ProduceRequestTopicPartition{part}}}
	return req
}

func wireProduce(t *testing.T, topic string, partition int32, acks int16, batch []byte) kmsg.ProduceResponseTopicPartition {
	t.Helper()
	resp := kmsg.NewPtrProduceResponse()
	resp.Version = 9
	rawRoundTrip(t, produceRequest(topic, partition, acks, batch), 1, resp)
	if len(resp.Topics) != 1 || len(resp.Topics[0].Partitions) != 1 {
		t.Fatalf("answer to Produce: %+v", resp.Topics)
	}
	return resp.Topics[0].Partitions[0]
}

func producerID(t *testing.T) (id int64, epoch int16) {
	t.Helper()
	req := kmsg.NewPtrInitProducerIDRequest()
	req.SetVersion(4)
	req.ProducerID, req.ProducerEpoch, req.TransactionTimeoutMillis = -1, -1, 60_000
	resp := kmsg.NewPtrInitProducerIDResponse()
	resp.Version = 4
	poll(t, "a producer id", func() bool {
		rawRoundTrip(t, req, 1, resp)
		return resp.ErrorCode != coordinatorLoadInProgress
	})
	if resp.ErrorCode != 0 {
		t.Fatalf("InitProducerId: error %d", resp.ErrorCode)
	}
	return resp.ProducerID, resp.ProducerEpoch
}

// TestWire_IdempotentProducer walks through what a broker must remember of a producer.
func TestWire_IdempotentProducer(t *testing.T) {
	topic := newTopic(t, 1)
	id, epoch := producerID(t)
	if other, _ := producerID(t); other == id {
		t.Fatalf("producer id %d was given twice", id)
	}
	for _, row := range []struct {
		name     string
		epoch    int16
		sequence int32
		n        int
		code     int16
		offset   int64
	}{
		{"first", epoch, 0, 2, none, 0},
		{"next", epoch, 2, 1, none, 2},
		{"again", epoch, 2, 1, none, 2},
		{"the first again", epoch, 0, 2, none, 0},
		{"gap", epoch, 5, 1, outOfOrderSequence, -1},
		{"third", epoch, 3, 1, none, 3},
		{"fourth", epoch, 4, 1, none, 4},
		{"fifth", epoch, 5, 1, none, 5},
		{"the oldest of five again", epoch, 2, 1, none, 2},
		{"sixth", epoch, 6, 1, none, 6},
		{"older than five", epoch, 0, 2, outOfOrderSequence, -1},
		{"new epoch", epoch + 1, 0, 1, none, 7},
		{"old epoch", epoch, 7, 1, invalidProducerEpoch, -1},
		{"new epoch does not begin at 0", epoch + 2, 3, 1, outOfOrderSequence, -1},
	} {
		p := wireProduce(t, topic, 0, -1, wireBatch(id, row.epoch, row.sequence, row.n, nil))
		if p.ErrorCode != row.code || p.BaseOffset != row.offset {
			t.Errorf("%s: error %d and offset %d, want %d and %d", row.name, p.ErrorCode, p.BaseOffset, row.code, row.offset)
		}
	}
}

func TestWire_RefusedBatches(t *testing.T) {
	topic := newTopic(t, 1)
	spoil := func(at int, v byte) func([]byte) { return func(b []byte) { b[at] = v } }
	for _, row := range []struct {
		name      string
		partition int32
		acks      int16
		batch     []byte
		code      int16
	}{
		{"no such partition", 9, -1, wireBatch(-1, -1, -1, 1, nil), unknownTopicOrPartition},
		{"acks 2", 0, 2, wireBatch(-1, -1, -1, 1, nil), invalidRequiredAcks},
		{"acks -2", 0, -2, wireBatch(-1, -1, -1, 1, nil), invalidRequiredAcks},
		{"wrong checksum", 0, -1, func() []byte { b := wireBatch(-1, -1, -1, 3, nil); b[len(b)-1] ^= 1; return b }(), corruptMessage},
		{"last offset delta is not the count", 0, -1, wireBatch(-1, -1, -1, 3, spoil(26, 7)), invalidRecord},
		{"control batch", 0, -1, wireBatch(-1, -1, -1, 1, spoil(22, 0x20)), invalidRecord},
		{"magic 7", 0, -1, wireBatch(-1, -1, -1, 1, spoil(16, 7)), corruptMessage},
		{"magic 1", 0, -1, wireBatch(-1, -1, -1, 1, spoil(16, 1)), invalidRecord},
		{"two batches", 0, -1, append(wireBatch(-1, -1, -1, 1, nil), wireBatch(-1, -1, -1, 1, nil)...), invalidRecord},
		{"half a header", 0, -1, wireBatch(-1, -1, -1, 1, nil)[:40], invalidRecord},
		{"cut off", 0, -1, wireBatch(-1, -1, -1, 3, nil)[:65], invalidRecord},
		{"length below a header", 0, -1, wireBatch(-1, -1, -1, 1, spoil(11, 20)), corruptMessage},
		{"no records", 0, -1, wireBatch(-1, -1, -1, 0, nil), invalidRecord},
		{"timestamp of the far future", 0, -1, wireBatch(-1, -1, -1, 1, func(b []byte) {
			binary.BigEndian.PutUint64(b[27:], uint64(time.Now().Add(1000*time.Hour).UnixMilli()))
			binary.BigEndian.PutUint64(b[35:], uint64(time.Now().Add(1000*time.Hour).UnixMilli()))
		}), invalidTimestamp},
	} {
		t.Run(row.name, func(t *testing.T) {
			if p := wireProduce(t, topic, row.partition, row.acks, row.batch); p.ErrorCode != row.code {
				t.Errorf("error %d, want %d", p.ErrorCode, row.code)
			}
		})
	}
	if end := endOffsets(t, topic, 1)[0]; end != 0 {
		t.Errorf("the log ends at %d after nothing but refused batches", end)
	}
}

// TestWire_AcksNoneIsNotAnswered: the next answer on the connection is that of the next request.
func TestWire_AcksNoneIsNotAnswered(t *testing.T) {
	topic := newTopic(t, 1)
	conn, err := net.DialTimeout("tcp", theBroker.bootstrap, 5*time.Second)
	if err != nil {
		t.Fatal(err)
	}
	defer quietly(conn)
	if err := conn.SetDeadline(time.Now().Add(10 * time.Second)); err != nil {
		t.Fatal(err)
	}
	f := kmsg.NewRequestFormatter(kmsg.FormatterClientID("compat"))
	versions := kmsg.NewPtrApiVersionsRequest()
	versions.SetVersion(0)
	frames := f.AppendRequest(nil, produceRequest(topic, 0, 0, wireBatch(-1, -1, -1, 1, nil)), 1)
	if _, err := conn.Write(append(frames, f.AppendRequest(nil, versions, 2)...)); err != nil {
		t.Fatal(err)
	}
	var head [8]byte
	if _, err := conn.Read(head[:]); err != nil {
		t.Fatal(err)
	}
	if id := binary.BigEndian.Uint32(head[4:]); id != 2 {
		t.Fatalf("first answer is to request %d, want 2", id)
	}
	poll(t, "the record that was not acknowledged", func() bool { return endOffsets(t, topic, 1)[0] == 1 })
}

func fetchRequest(topic string, offset int64, session, sessionEpoch, leaderEpoch int32) *kmsg.FetchRequest {
	req := kmsg.NewPtrFetchRequest()
	req.SetVersion(12)
	req.ReplicaID, req.MaxWaitMillis, req.MinBytes, req.MaxBytes = -1, 50, 1, 1<<20
	req.SessionID, req.SessionEpoch = session, sessionEpoch
	p := kmsg.NewFetchRequestTopicPartition()
	p.FetchOffset, p.PartitionMaxBytes, p.CurrentLeaderEpoch, p.LastFetchedEpoch = offset, 1<<20, leaderEpoch, -1
	req.Topics = []kmsg.FetchRequestTopic{{Topic: topic, Partitions: []kmsg.FetchRequestTopicPartition{p}}}
	return req
}

func wireFetch(t *testing.T, req *kmsg.FetchRequest) *kmsg.FetchResponse {
	t.Helper()
	resp := kmsg.NewPtrFetchResponse()
	resp.Version = req.Version
	rawRoundTrip(t, req, 1, resp)
	return resp
}

func TestWire_FetchErrors(t *testing.T) {
	topic := newTopic(t, 1)
	wireProduce(t, topic, 0, -1, wireBatch(-1, -1, -1, 4, nil))
	const newest = 1 << 30
	for _, row := range []struct {
		name   string
		offset int64
		epoch  int32
		code   int16
		bytes  bool
	}{
		{"all", 0, -1, none, true},
		{"middle of a batch", 2, -1, none, true},
		{"end", 4, -1, none, false},
		{"beyond the end", 5, -1, offsetOutOfRange, false},
		{"negative", -1, -1, offsetOutOfRange, false},
		{"epoch of the future", 0, newest, unknownLeaderEpoch, false},
	} {
		resp := wireFetch(t, fetchRequest(topic, row.offset, 0, -1, row.epoch))
		p := resp.Topics[0].Partitions[0]
		if p.ErrorCode != row.code || (len(p.RecordBatches) > 0) != row.bytes {
			t.Errorf("%s: error %d and %d bytes, want error %d, bytes: %v", row.name, p.ErrorCode, len(p.RecordBatches), row.code, row.bytes)
		}
		if row.code == none && (p.HighWatermark != 4 || p.LastStableOffset != 4 || p.LogStartOffset != 0) {
			t.Errorf("%s: high watermark %d, last stable offset %d, log start %d", row.name, p.HighWatermark, p.LastStableOffset, p.LogStartOffset)
		}
	}
	byID := fetchRequest(topic, 0, 0, -1, -1)
	byID.SetVersion(13)
	byID.Topics[0].TopicID = [16]byte{1, 2, 3}
	if p := wireFetch(t, byID).Topics[0].Partitions[0]; p.ErrorCode != unknownTopicID {
		t.Errorf("unknown topic id: error %d, want %d", p.ErrorCode, unknownTopicID)
	}
}

// TestWire_FetchSessions follows KIP-227: what has not changed is left out of an incremental answer.
func TestWire_FetchSessions(t *testing.T) {
	topic := newTopic(t, 1)
	wireProduce(t, topic, 0, -1, wireBatch(-1, -1, -1, 1, nil))
	first := wireFetch(t, fetchRequest(topic, 1, 0, 0, -1))
	if first.SessionID == 0 || len(first.Topics) != 1 {
		t.Fatalf("full fetch: session %d, %d topics", first.SessionID, len(first.Topics))
	}
	incremental := func(epoch int32) *kmsg.FetchRequest {
		req := fetchRequest(topic, 1, first.SessionID, epoch, -1)
		req.Topics = nil
		return req
	}
	if quiet := wireFetch(t, incremental(1)); quiet.ErrorCode != none || quiet.SessionID != first.SessionID || len(quiet.Topics) != 0 {
		t.Errorf("nothing new: error %d, session %d, %d topics", quiet.ErrorCode, quiet.SessionID, len(quiet.Topics))
	}
	wireProduce(t, topic, 0, -1, wireBatch(-1, -1, -1, 1, nil))
	news := wireFetch(t, incremental(2))
	if len(news.Topics) != 1 || news.Topics[0].Partitions[0].HighWatermark != 2 || len(news.Topics[0].Partitions[0].RecordBatches) == 0 {
		t.Errorf("one record more: %+v", news.Topics)
	}
	if wrong := wireFetch(t, incremental(7)); wrong.ErrorCode != invalidFetchSessionEpoch {
		t.Errorf("wrong epoch: error %d, want %d", wrong.ErrorCode, invalidFetchSessionEpoch)
	}
	unknown := incremental(1)
	unknown.SessionID = first.SessionID ^ 0x5555
	if r := wireFetch(t, unknown); r.ErrorCode != fetchSessionIDNotFound {
		t.Errorf("unknown session: error %d, want %d", r.ErrorCode, fetchSessionIDNotFound)
	}
}

func TestWire_ListOffsetsByTime(t *testing.T) {
	topic := newTopic(t, 1)
	recs := generate(shape{}, 10, 30)
	recs[4].Timestamp = recs[9].Timestamp + 500
	franzProduce(t, topic, "none", recs[:5])
	franzProduce(t, topic, "none", recs[5:])
	for _, row := range []struct {
		name              string
		timestamp         int64
		code              int16
		offset, answeredT int64
	}{
		{"latest", -1, none, 10, -1},
		{"earliest", -2, none, 0, -1},
		{"greatest timestamp", -3, none, 4, recs[4].Timestamp},
		{"exact", recs[2].Timestamp, none, 2, recs[2].Timestamp},
		{"between", recs[2].Timestamp + 1, none, 3, recs[3].Timestamp},
		{"before all", 1, none, 0, recs[0].Timestamp},
		{"found in the batch with the greatest", recs[9].Timestamp, none, 4, recs[4].Timestamp},
		{"after all", recs[4].Timestamp + 1, none, -1, -1},
		{"earliest local", -4, none, 0, -1},
		{"nonsense", -77, unsupportedVersion, -1, -1},
	} {
		req := kmsg.NewPtrListOffsetsRequest()
		req.SetVersion(8)
		req.ReplicaID = -1
		p := kmsg.NewListOffsetsRequestTopicPartition()
		p.Timestamp, p.CurrentLeaderEpoch = row.timestamp, -1
		req.Topics = []kmsg.ListOffsetsRequestTopic{{Topic: topic, Partitions: []kmsg.ListOffsetsRequestTopicPartition{p}}}
		resp := kmsg.NewPtrListOffsetsResponse()
		resp.Version = 8
		rawRoundTrip(t, req, 1, resp)
		got := resp.Topics[0].Partitions[0]
		if known := row.offset >= 0; known != (got.LeaderEpoch >= 0) {
			t.Errorf("%s: leader epoch %d", row.name, got.LeaderEpoch)
		}
		if got.ErrorCode != row.code || got.Offset != row.offset || got.Timestamp != row.answeredT {
			t.Errorf("%s: error %d, offset %d, time %d, want %d, %d, %d", row.name, got.ErrorCode, got.Offset, got.Timestamp, row.code, row.offset, row.answeredT)
		}
	}
}

// TestWire_LeaderEpochs asks for the end of epochs, as a consumer does that checks for truncation (KIP-320).
func TestWire_LeaderEpochs(t *testing.T) {
	topic := newTopic(t, 1)
	wireProduce(t, topic, 0, -1, wireBatch(-1, -1, -1, 3, nil))
	batches := wireFetch(t, fetchRequest(topic, 0, 0, -1, -1)).Topics[0].Partitions[0].RecordBatches
	epoch := int32(binary.BigEndian.Uint32(batches[12:]))
	ask := func(current, of int32) kmsg.OffsetForLeaderEpochResponseTopicPartition {
		req := kmsg.NewPtrOffsetForLeaderEpochRequest()
		req.SetVersion(4)
		req.ReplicaID = -1
		p := kmsg.NewOffsetForLeaderEpochRequestTopicPartition()
		p.CurrentLeaderEpoch, p.LeaderEpoch = current, of
		req.Topics = []kmsg.OffsetForLeaderEpochRequestTopic{{Topic: topic, Partitions: []kmsg.OffsetForLeaderEpochRequestTopicPartition{p}}}
		resp := kmsg.NewPtrOffsetForLeaderEpochResponse()
		resp.Version = 4
		rawRoundTrip(t, req, 1, resp)
		return resp.Topics[0].Partitions[0]
	}
	for _, row := range []struct {
		name        string
		current, of int32
		code        int16
		epoch       int32
		end         int64
	}{
		{"the epoch of the records", -1, epoch, none, epoch, 3},
		{"with the current epoch", epoch, epoch, none, epoch, 3},
		{"of the future", -1, epoch + 1, none, -1, -1},
		{"asked by one from the future", epoch + 1, epoch, unknownLeaderEpoch, -1, -1},
		{"asked by one from the past", epoch - 1, epoch, fencedLeaderEpoch, -1, -1},
	} {
		if epoch == 0 && row.code == fencedLeaderEpoch {
			continue // there is no past, and -1 means "unknown"
		}
		if got := ask(row.current, row.of); got.ErrorCode != row.code || got.LeaderEpoch != row.epoch || got.EndOffset != row.end {
			t.Errorf("%s: error %d, epoch %d, end %d, want %d, %d, %d", row.name, got.ErrorCode, got.LeaderEpoch, got.EndOffset, row.code, row.epoch, row.end)
		}
	}
}

// TestWire_TopicCreatedAnew: a topic that was deleted and created again has another id, starts empty, and the old
// id is unknown.
func TestWire_TopicCreatedAnew(t *testing.T) {
	cl := admin(t)
	topic := newTopic(t, 1)
	old := topicID(t, cl, topic)
	wireProduce(t, topic, 0, -1, wireBatch(-1, -1, -1, 3, nil))
	del := kmsg.NewPtrDeleteTopicsRequest()
	del.TimeoutMillis, del.TopicNames = 10_000, []string{topic}
	name := kmsg.NewDeleteTopicsRequestTopic()
	name.Topic = &topic
	del.Topics = append(del.Topics, name)
	resp, err := del.RequestWith(limit(t), cl)
	if err != nil || resp.Topics[0].ErrorCode != 0 {
		t.Fatalf("delete: %v, %+v", err, resp)
	}
	poll(t, "the name to be free", func() bool { return createTopic(limit(t), cl, topic, 1) == nil })
	if end := endOffsets(t, topic, 1)[0]; end != 0 {
		t.Errorf("the new topic ends at %d", end)
	}
	if again := topicID(t, cl, topic); again == old {
		t.Errorf("the new topic has the id of the old one, %x", again)
	}
	byID := fetchRequest(topic, 0, 0, -1, -1)
	byID.SetVersion(13)
	byID.Topics[0].TopicID = old
	if p := wireFetch(t, byID).Topics[0].Partitions[0]; p.ErrorCode != unknownTopicID {
		t.Errorf("fetch with the old id: error %d, want %d", p.ErrorCode, unknownTopicID)
	}
}
