package brokertest_test

import (
	"math"
	"net"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/stelemq/stele/broker/brokertest"
	"github.com/stelemq/stele/protocol"
	"github.com/stelemq/stele/protocol/record"
)

// Gotcha 13: idempotent producers, over a real log: duplicates are answered with the original offset, for
// the last five batches, over restarts and beyond the largest sequence number.

type producer struct {
	t     testing.TB
	nc    net.Conn
	id    int64
	epoch int16
}

func (p *producer) ask(req kmsg.Request, resp kmsg.Response) {
	p.t.Helper()
	b := request(req)
	if _, err := p.nc.Write(b); err != nil {
		p.t.Fatal(err)
	}
	_ = p.nc.SetReadDeadline(time.Now().Add(10 * time.Second))
	frame, err := protocol.ReadFrame(nil, p.nc, 1<<20)
	if err != nil {
		p.t.Fatal(err)
	}
	resp.SetVersion(req.GetVersion())
	at := 4
	if req.IsFlexible() {
		at++
	}
	if err := resp.ReadFrom(frame[at:]); err != nil {
		p.t.Fatal(err)
	}
}

func request(req kmsg.Request) []byte { return kmsg.NewRequestFormatter().AppendRequest(nil, req, 1) }

func connect(t *testing.T, b *brokertest.Broker) *producer {
	t.Helper()
	return connectTo(t, b)
}

func connectTo(t testing.TB, b *brokertest.Broker) *producer {
	t.Helper()
	var d net.Dialer
	nc, err := d.DialContext(t.Context(), "tcp", b.Address())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = nc.Close() })
	return &producer{t: t, nc: nc}
}

// send appends n records from a sequence number on.
func (p *producer) send(sequence int32, n int) (protocol.Code, int64) {
	p.t.Helper()
	var b record.Builder
	for range n {
		b.Append(record.Record{Timestamp: time.Now().UnixMilli(), Value: []byte("x")})
	}
	b.SetProducer(p.id, p.epoch, sequence)
	batch, err := b.Build(record.None, record.DefaultLevel)
	if err != nil {
		p.t.Fatal(err)
	}
	req := kmsg.NewPtrProduceRequest()
	req.Version, req.Acks, req.TimeoutMillis = 9, -1, 10_000
	req.Topics = []kmsg.ProduceRequestTopic{{Topic: "t", Partitions: []kmsg.ProduceRequestTopicPartition{{Records: batch}}}}
	resp := kmsg.NewPtrProduceResponse()
	p.ask(req, resp)
	r := resp.Topics[0].Partitions[0]
	return protocol.Code(r.ErrorCode), r.BaseOffset
}

func (p *producer) want(sequence int32, n int, code protocol.Code, offset int64) {
	p.t.Helper()
	if c, o := p.send(sequence, n); c != code || o != offset {
		p.t.Fatalf("sequence %d: %v at %d, want %v at %d", sequence, c, o, code, offset)
	}
}

func TestGotcha13_IdempotentProducers(t *testing.T) {
	dir := t.TempDir()
	b := brokertest.Start(t, brokertest.Options{Dir: dir})
	p := connect(t, b)
	create := &kmsg.CreateTopicsRequest{TimeoutMillis: 5000, Topics: []kmsg.CreateTopicsRequestTopic{{Topic: "t", NumPartitions: 1, ReplicationFactor: 1}}}
	p.ask(create, kmsg.NewPtrCreateTopicsResponse())
	init := kmsg.NewPtrInitProducerIDResponse()
	p.ask(&kmsg.InitProducerIDRequest{}, init)
	p.id, p.epoch = init.ProducerID, init.ProducerEpoch

	for i := range int64(7) {
		p.want(int32(2*i), 2, protocol.None, 2*i)
	}
	for i := int64(2); i < 7; i++ { // the last five
		p.want(int32(2*i), 2, protocol.None, 2*i)
	}
	p.want(16, 2, protocol.OutOfOrderSequenceNumber, -1)
	p.want(13, 2, protocol.OutOfOrderSequenceNumber, -1)
	if err := b.Stop(); err != nil {
		t.Fatal(err)
	}

	b = brokertest.Start(t, brokertest.Options{Dir: dir})
	again := connect(t, b)
	again.id, again.epoch = p.id, p.epoch
	again.ask(&kmsg.MetadataRequest{Version: 1}, kmsg.NewPtrMetadataResponse()) // waits for the leader
	again.want(12, 2, protocol.None, 12)
	again.want(14, 2, protocol.None, 14)
	again.epoch++
	again.want(5, 1, protocol.OutOfOrderSequenceNumber, -1) // a new epoch begins at 0
	again.want(0, 1, protocol.None, 16)
	again.epoch--
	again.want(16, 1, protocol.InvalidProducerEpoch, -1)

	wrap := connect(t, b)
	wrap.id = 1 << 40 // unknown here: any first sequence will do
	wrap.want(math.MaxInt32-1, 2, protocol.None, 17)
	wrap.want(0, 1, protocol.None, 19)
	wrap.want(math.MaxInt32-1, 2, protocol.None, 17)
	wrap.want(2, 1, protocol.OutOfOrderSequenceNumber, -1)
}
