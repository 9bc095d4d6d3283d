package brokertest_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/segmentio/kafka-go"

	"github.com/stelemq/stele/broker/brokertest"
)

func TestStart_KeepsRecordsOverARestart(t *testing.T) {
	dir := t.TempDir()
	const rounds, records = 3, 20
	for round := range rounds {
		b := brokertest.Start(t, brokertest.Options{Dir: dir})
		w := &kafka.Writer{
			Addr: kafka.TCP(b.Address()), Topic: "log", AllowAutoTopicCreation: true, RequiredAcks: kafka.RequireAll,
			BatchTimeout: time.Millisecond,
		}
		for i := range records {
			if err := w.WriteMessages(t.Context(), kafka.Message{Value: fmt.Appendf(nil, "%d-%d", round, i)}); err != nil {
				t.Fatalf("round %d: %v", round, err)
			}
		}
		if err := w.Close(); err != nil {
			t.Fatal(err)
		}
		r := kafka.NewReader(kafka.ReaderConfig{Brokers: []string{b.Address()}, Topic: "log", MaxWait: 50 * time.Millisecond})
		for i := range (round + 1) * records {
			m, err := r.ReadMessage(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			if want := fmt.Sprintf("%d-%d", i/records, i%records); string(m.Value) != want || m.Offset != int64(i) {
				t.Fatalf("offset %d: %q, want %q", m.Offset, m.Value, want)
			}
		}
		if err := r.Close(); err != nil {
			t.Fatal(err)
		}
		if err := b.Stop(); err != nil {
			t.Fatal(err)
		}
	}
}
