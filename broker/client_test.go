package broker

import (
	"bufio"
	"context"
	"encoding/binary"
	"errors"
	"io"
	"log/slog"
	"net"
	"os"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"
	"go.uber.org/goleak"

	"github.com/stelemq/stele/protocol"
	"github.com/stelemq/stele/protocol/record"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// testBroker is a broker over a fake host.
type testBroker struct {
	*Broker

	host *fakeHost
}

// startBroker runs a broker on a free loopback port until the test ends.
func startBroker(t testing.TB, change ...func(*Options)) *testBroker {
	t.Helper()
	h := newFakeHost()
	o := Options{
		NodeID: 1, Listeners: []Listener{{Name: "PLAINTEXT", Address: "127.0.0.1:0"}}, Host: h, Metadata: h.machine,
		Config: DefaultConfig(), Logger: testLogger(),
	}
	o.Config.ShutdownTimeout = 5 * time.Second
	for _, f := range change {
		f(&o)
	}
	b, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	ran := make(chan error, 1)
	go func() { ran <- b.Run(context.WithoutCancel(t.Context())) }()
	t.Cleanup(func() {
		if err := b.Close(); err != nil {
			t.Error(err)
		}
		if err := <-ran; err != nil {
			t.Error(err)
		}
	})
	select {
	case <-b.Ready():
	case err := <-ran:
		t.Fatalf("Run ended: %v", err)
	case <-time.After(10 * time.Second):
		t.Fatal("broker is not ready after 10 s")
	}
	return &testBroker{b, h}
}

func testLogger() *slog.Logger {
	if os.Getenv("STELE_TEST_LOG") == "" {
		return slog.New(slog.DiscardHandler)
	}
	return slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelDebug}))
}

// testConn is a client's connection.
type testConn struct {
	t  testing.TB
	nc net.Conn
	r  *bufio.Reader
	id int32
}

func (b *testBroker) dial(t testing.TB) *testConn {
	t.Helper()
	return dialAddr(t, b.Addr("").String())
}

func dialAddr(t testing.TB, addr string) *testConn {
	t.Helper()
	var d net.Dialer
	nc, err := d.DialContext(t.Context(), "tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = nc.Close() })
	return &testConn{t: t, nc: nc, r: bufio.NewReader(nc)}
}

// frame encodes a request with the header of its version.
func frame(req kmsg.Request, id int32) []byte {
	b := []byte{0, 0, 0, 0}
	b = binary.BigEndian.AppendUint16(b, uint16(req.Key()))
	b = binary.BigEndian.AppendUint16(b, uint16(req.GetVersion()))
	b = binary.BigEndian.AppendUint32(b, uint32(id))
	b = binary.BigEndian.AppendUint16(b, 4)
	b = append(b, "test"...)
	if req.IsFlexible() {
		b = append(b, 0)
	}
	b = req.AppendTo(b)
	binary.BigEndian.PutUint32(b, uint32(len(b)-4))
	return b
}

func (c *testConn) write(p []byte) {
	c.t.Helper()
	if _, err := c.nc.Write(p); err != nil {
		c.t.Fatal(err)
	}
}

// send writes a request and returns its correlation id.
func (c *testConn) send(req kmsg.Request) int32 {
	c.t.Helper()
	c.id++
	c.write(frame(req, c.id))
	return c.id
}

// raw reads a response's frame.
func (c *testConn) raw() ([]byte, error) {
	_ = c.nc.SetReadDeadline(time.Now().Add(10 * time.Second))
	var head [4]byte
	if _, err := io.ReadFull(c.r, head[:]); err != nil {
		return nil, err
	}
	b := make([]byte, binary.BigEndian.Uint32(head[:]))
	_, err := io.ReadFull(c.r, b)
	return b, err
}

// receive reads the response to a request.
func (c *testConn) receive(req kmsg.Request, id int32) kmsg.Response {
	c.t.Helper()
	b, err := c.raw()
	if err != nil {
		c.t.Fatalf("response to %s: %v", kmsg.NameForKey(req.Key()), err)
	}
	if got := int32(binary.BigEndian.Uint32(b)); got != id {
		c.t.Fatalf("correlation id %d, want %d", got, id)
	}
	b = b[4:]
	a, _ := protocol.Lookup(req.Key())
	if a.ResponseHeaderVersion(req.GetVersion()) >= 1 {
		if b[0] != 0 {
			c.t.Fatalf("tags in the response header: %x", b[0])
		}
		b = b[1:]
	}
	resp := req.ResponseKind()
	if err := resp.ReadFrom(b); err != nil {
		c.t.Fatalf("%s v%d: %v (%x)", kmsg.NameForKey(req.Key()), req.GetVersion(), err, b)
	}
	return resp
}

// ask sends a request and reads its response.
func ask[R kmsg.Response](c *testConn, req kmsg.Request) R {
	c.t.Helper()
	resp, ok := c.receive(req, c.send(req)).(R)
	if !ok {
		c.t.Fatalf("response to %s is a %T", kmsg.NameForKey(req.Key()), resp)
	}
	return resp
}

// closed waits for the broker to hang up.
func (c *testConn) closed() {
	c.t.Helper()
	if b, err := c.raw(); err == nil {
		c.t.Fatalf("answered (%x), want the connection closed", b)
	} else if errors.Is(err, os.ErrDeadlineExceeded) {
		c.t.Fatal("connection stays open")
	}
}

// alive shows that the connection still works.
func (c *testConn) alive() {
	c.t.Helper()
	if r := ask[*kmsg.ApiVersionsResponse](c, &kmsg.ApiVersionsRequest{}); r.ErrorCode != 0 {
		c.t.Fatalf("ApiVersions: error %d", r.ErrorCode)
	}
}

// createTopic creates a topic with settings given as name, value, ...
func (c *testConn) createTopic(name string, partitions int32, configs ...string) [16]byte {
	c.t.Helper()
	req := kmsg.NewPtrCreateTopicsRequest()
	req.Version = 7
	req.TimeoutMillis = 5000
	rt := kmsg.NewCreateTopicsRequestTopic()
	rt.Topic, rt.NumPartitions, rt.ReplicationFactor = name, partitions, 1
	for i := 0; i < len(configs); i += 2 {
		rt.Configs = append(rt.Configs, kmsg.CreateTopicsRequestTopicConfig{Name: configs[i], Value: &configs[i+1]})
	}
	req.Topics = append(req.Topics, rt)
	r := ask[*kmsg.CreateTopicsResponse](c, req)
	if r.Topics[0].ErrorCode != 0 {
		c.t.Fatalf("create topic %q: error %d %s", name, r.Topics[0].ErrorCode, text(r.Topics[0].ErrorMessage))
	}
	return r.Topics[0].TopicID
}

func text(s *string) string {
	if s == nil {
		return "<null>"
	}
	return *s
}

// batchOf builds a batch of records with these values.
func batchOf(t testing.TB, values ...string) record.Batch {
	t.Helper()
	return buildBatch(t, record.None, func(*record.Builder) {}, values...)
}

func buildBatch(t testing.TB, codec record.Codec, set func(*record.Builder), values ...string) record.Batch {
	t.Helper()
	var b record.Builder
	for _, v := range values {
		b.Append(record.Record{Timestamp: time.Now().UnixMilli(), Key: []byte("k"), Value: []byte(v)})
	}
	set(&b)
	batch, err := b.Build(codec, record.DefaultLevel)
	if err != nil {
		t.Fatal(err)
	}
	return batch
}

// produceRequest makes a Produce v9 for one partition.
func produceRequest(topic string, partition int32, records []byte) *kmsg.ProduceRequest {
	req := kmsg.NewPtrProduceRequest()
	req.Version, req.Acks, req.TimeoutMillis = 9, -1, 5000
	rp := kmsg.NewProduceRequestTopicPartition()
	rp.Partition, rp.Records = partition, records
	rt := kmsg.NewProduceRequestTopic()
	rt.Topic = topic
	rt.Partitions = append(rt.Partitions, rp)
	req.Topics = append(req.Topics, rt)
	return req
}

// produce sends one batch and returns its base offset.
func (c *testConn) produce(topic string, partition int32, batch record.Batch) int64 {
	c.t.Helper()
	r := ask[*kmsg.ProduceResponse](c, produceRequest(topic, partition, batch))
	p := r.Topics[0].Partitions[0]
	if p.ErrorCode != 0 {
		c.t.Fatalf("produce: error %v %s", protocol.Code(p.ErrorCode), text(p.ErrorMessage))
	}
	return p.BaseOffset
}

// fetchRequest makes a sessionless Fetch for one partition.
func fetchRequest(version int16, topic string, id [16]byte, partition int32, offset int64) *kmsg.FetchRequest {
	req := kmsg.NewPtrFetchRequest()
	req.Version, req.MaxBytes, req.MinBytes = version, 50<<20, 1
	req.ReplicaID, req.SessionEpoch = -1, -1
	rp := kmsg.NewFetchRequestTopicPartition()
	rp.Partition, rp.FetchOffset, rp.PartitionMaxBytes, rp.CurrentLeaderEpoch = partition, offset, 1<<20, -1
	rt := kmsg.NewFetchRequestTopic()
	rt.Topic, rt.TopicID = topic, id
	rt.Partitions = append(rt.Partitions, rp)
	req.Topics = append(req.Topics, rt)
	return req
}

// valuesOf reads the records' values from fetched bytes.
func valuesOf(t *testing.T, b []byte) []string {
	t.Helper()
	var out []string
	for len(b) > 0 {
		batch, rest, err := record.Next(b)
		if err != nil {
			t.Fatal(err)
		}
		if err := batch.VerifyCRC(); err != nil {
			t.Fatal(err)
		}
		for r, err := range batch.Records(1 << 26) {
			if err != nil {
				t.Fatal(err)
			}
			out = append(out, string(r.Value))
		}
		b = rest
	}
	return out
}
