package client

import (
	"errors"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/segmentio/kafka-go"

	"github.com/stelemq/stele/client/clienttest"
	"github.com/stelemq/stele/protocol"
)

// closedPort is an address where nobody listens.
func closedPort(t *testing.T) string {
	t.Helper()
	l, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close() //nolint:errcheck // it was never used
	return l.Addr().String()
}

func TestClient_NobodyListens(t *testing.T) {
	addr := closedPort(t)
	c, err := New(Options{Bootstrap: []string{addr}})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close() //nolint:errcheck // nothing is open
	_, err = c.Cluster(within(t, 5*time.Second))
	want := "cannot reach " + addr + " (connection refused). Is the broker running? Start one with: broker"
	if !errors.Is(err, ErrUnreachable) || err.Error() != want || !Retriable(err) {
		t.Fatalf("got %v", err)
	}
}

func TestClient_AdvertisedAddressUnreachable(t *testing.T) {
	f := clienttest.New(t, 1)
	f.CreateTopic("t", 1)
	nowhere := closedPort(t)
	f.Advertise(nowhere)
	c := dial(t, f)
	_, err := c.Offsets(within(t, 300*time.Millisecond), "t", End())
	if err == nil || !errors.Is(err, ErrUnreachable) || !strings.Contains(err.Error(), f.Addr()+" answered, but") ||
		!strings.Contains(err.Error(), nowhere) || !strings.Contains(err.Error(), "advertised.listeners") {
		t.Fatalf("got %v", err)
	}
}

func TestClient_NotKafka(t *testing.T) {
	l, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close() //nolint:errcheck // the end of the test
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			_ = conn.Close()
		}
	}()
	c, err := New(Options{Bootstrap: []string{l.Addr().String()}})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close() //nolint:errcheck // nothing is open
	if _, err := c.Cluster(within(t, 5*time.Second)); err == nil || !strings.Contains(err.Error(), "not a Kafka listener") {
		t.Fatalf("got %v", err)
	}
}

func TestClient_BootstrapGoesOnToTheNext(t *testing.T) {
	f := clienttest.New(t, 2)
	c, err := New(Options{Bootstrap: []string{closedPort(t), f.Addr()}})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close() //nolint:errcheck // nothing to be done about it
	k, err := c.Cluster(t.Context())
	if err != nil || len(k.Brokers) != 2 {
		t.Fatalf("%+v, %v", k, err)
	}
}

func TestClient_ConnectionClosedWhileIdle(t *testing.T) {
	f := clienttest.New(t, 1)
	f.CreateTopic("t", 1)
	c := dial(t, f)
	for range 5 {
		if _, err := c.Offsets(t.Context(), "t", End()); err != nil {
			t.Fatal(err)
		}
		f.CutConnections()
	}
}

func TestClient_IsRoundTripperOfKafkaGo(t *testing.T) {
	f := clienttest.New(t, 2)
	f.CreateTopic("t", 4)
	k := kafka.Client{Transport: dial(t, f)}
	res, err := k.ListOffsets(t.Context(), &kafka.ListOffsetsRequest{
		Addr:   kafka.TCP("not used:1"),
		Topics: map[string][]kafka.OffsetRequest{"t": {kafka.LastOffsetOf(0), kafka.LastOffsetOf(1), kafka.LastOffsetOf(3)}},
	})
	if err != nil || len(res.Topics["t"]) != 3 {
		t.Fatalf("%+v, %v", res, err)
	}
	created, err := k.CreateTopics(t.Context(), &kafka.CreateTopicsRequest{Addr: kafka.TCP("not used:1"), Topics: []kafka.TopicConfig{{Topic: "u", NumPartitions: 2, ReplicationFactor: 1}}})
	if err != nil || created.Errors["u"] != nil {
		t.Fatalf("%+v, %v", created, err)
	}
}

func TestClient_CreateTopicsErrors(t *testing.T) {
	f := clienttest.New(t, 1)
	c := dial(t, f)
	res, err := c.CreateTopics(t.Context(), []NewTopic{{Name: "a", Partitions: 3}, {Name: "b", ReplicationFactor: 3}}, false)
	if err != nil || res[0].Err != nil || res[0].Partitions != 3 || !errors.Is(res[1].Err, protocol.InvalidReplicationFactor) {
		t.Fatalf("%+v, %v", res, err)
	}
	deleted, err := c.DeleteTopics(t.Context(), "a", "c")
	if err != nil || deleted[0].Err != nil || !errors.Is(deleted[1].Err, ErrUnknownTopic) {
		t.Fatalf("%+v, %v", deleted, err)
	}
}

func TestClosest(t *testing.T) {
	names := []string{"logs", "events", "metrics"}
	for give, want := range map[string]string{"logz": "logs", "log": "logs", "event": "events", "matrics": "metrics", "orders": "", "x": "", "lgosx": ""} {
		if got := closest(give, names); got != want {
			t.Errorf("%s: %q, want %q", give, got, want)
		}
	}
}

func TestMurmur2_JavaVectors(t *testing.T) {
	// org.apache.kafka.common.utils.UtilsTest.testMurmur2
	for give, want := range map[string]int32{
		"21": -973932308, "foobar": -790332482, "a-little-bit-long-string": -985981536,
		"a-little-bit-longer-string":                       -1486304829,
		"lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8": -58897971,
		"abc": 479470107,
	} {
		if got := int32(murmur2([]byte(give))); got != want { //nolint:gosec // as Java's int
			t.Errorf("%q: %d, want %d", give, got, want)
		}
	}
}
