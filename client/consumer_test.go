package client

import (
	"context"
	"errors"
	"fmt"
	"io"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/stelemq/stele/client/clienttest"
	"github.com/stelemq/stele/protocol"
	"github.com/stelemq/stele/protocol/record"
)

// filled is a cluster with topic t of n numbered records in batches of ten.
func filled(t *testing.T, brokers, n int) (*clienttest.Cluster, *Client) {
	t.Helper()
	f := clienttest.New(t, brokers)
	f.CreateTopic("t", 1)
	c := dial(t, f)
	p := producer(t, c, ProducerOptions{Codec: record.LZ4, Linger: time.Hour})
	for i := range n {
		r := &Record{Topic: "t", Value: fmt.Append(nil, i), Timestamp: time.UnixMilli(int64(1000 + i))}
		if err := p.Produce(t.Context(), r, nil); err != nil {
			t.Fatal(err)
		}
		if i%10 == 9 {
			if err := p.Flush(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := p.Flush(t.Context()); err != nil {
		t.Fatal(err)
	}
	return f, c
}

func consumer(t *testing.T, c *Client, o ConsumerOptions) *Consumer {
	t.Helper()
	k, err := c.NewConsumer(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = k.Close() })
	return k
}

// drain reads to the end of the assignment, or n records.
func drain(t *testing.T, k *Consumer, n int) []Record {
	t.Helper()
	ctx := within(t, 20*time.Second)
	var out []Record
	for n < 0 || len(out) < n {
		records, err := k.Poll(ctx)
		if errors.Is(err, io.EOF) {
			return out
		}
		if err != nil {
			t.Fatalf("after %d records: %v", len(out), err)
		}
		out = append(out, records...)
	}
	return out
}

func TestConsumer_Positions(t *testing.T) {
	_, c := filled(t, 1, 100)
	end := End()
	at := func(p Position) *Position { return &p }
	for _, row := range []struct {
		name       string
		from       Position
		to         *Position
		first, to1 int
	}{
		{"start", Start(), &end, 0, 100},
		{"offset within a batch", At(37), &end, 37, 100},
		{"after the start", AfterStart(5), &end, 5, 100},
		{"before the end", BeforeEnd(10), &end, 90, 100},
		{"before the start", BeforeEnd(1000), &end, 0, 100},
		{"time", AtTime(time.UnixMilli(1042)), &end, 42, 100},
		{"time after all", AtTime(time.UnixMilli(5000)), &end, 100, 100},
		{"end", End(), &end, 100, 100},
		{"range", At(13), at(At(27)), 13, 27},
		{"range of times", AtTime(time.UnixMilli(1013)), at(AtTime(time.UnixMilli(1027))), 13, 27},
	} {
		t.Run(row.name, func(t *testing.T) {
			k := consumer(t, c, ConsumerOptions{Assign: []Assignment{{Topic: "t", From: row.from, To: row.to}}})
			records := drain(t, k, -1)
			if len(records) != row.to1-row.first {
				t.Fatalf("%d records, want %d", len(records), row.to1-row.first)
			}
			for i, r := range records {
				want := row.first + i
				if r.Offset != int64(want) || string(r.Value) != fmt.Sprint(want) || r.Timestamp.UnixMilli() != int64(1000+want) || r.LeaderEpoch != 7 {
					t.Fatalf("record %d is %+v", want, r)
				}
			}
			if got := k.Progress()[0]; got.Position != int64(row.to1) {
				t.Fatalf("progress %+v", got)
			}
		})
	}
}

func TestConsumer_ConnectionsCut(t *testing.T) {
	f, c := filled(t, 1, 300)
	var n int
	f.Intercept(func(_ int32, req kmsg.Request) (clienttest.Action, kmsg.Response) {
		if _, ok := req.(*kmsg.FetchRequest); !ok {
			return clienttest.Pass, nil
		}
		n++ // one connection fetches
		switch n % 3 {
		case 0:
			return clienttest.Lose, nil
		case 1:
			return clienttest.Drop, nil
		}
		return clienttest.Pass, nil
	})
	k := consumer(t, c, ConsumerOptions{Assign: []Assignment{{Topic: "t"}}, PartitionBytes: 1})
	for i, r := range drain(t, k, 60) {
		if r.Offset != int64(i) {
			t.Fatalf("record %d has offset %d", i, r.Offset)
		}
	}
}

func TestConsumer_LeaderMovesAndRecordsCome(t *testing.T) {
	f, c := filled(t, 3, 50)
	k := consumer(t, c, ConsumerOptions{Assign: []Assignment{{Topic: "t"}}})
	drain(t, k, 50)
	f.MoveLeader("t", 0, 3)
	p := producer(t, c, ProducerOptions{})
	for i := range 10 {
		if _, err := p.ProduceSync(within(t, 10*time.Second), &Record{Topic: "t", Value: fmt.Append(nil, 50+i)}); err != nil {
			t.Fatal(err)
		}
	}
	for i, r := range drain(t, k, 10) {
		if r.Offset != int64(50+i) {
			t.Fatalf("record %d has offset %d", 50+i, r.Offset)
		}
	}
}

func TestConsumer_OutOfRange(t *testing.T) {
	for _, row := range []struct {
		name   string
		policy OutOfRange
		first  int64
	}{{"start", OutOfRangeStart, 50}, {"end", OutOfRangeEnd, 100}, {"fail", OutOfRangeFail, -1}} {
		t.Run(row.name, func(t *testing.T) {
			f, c := filled(t, 1, 100)
			f.TruncateStart("t", 0, 50)
			k := consumer(t, c, ConsumerOptions{Assign: []Assignment{{Topic: "t", From: At(3)}}, OutOfRange: row.policy})
			ctx := within(t, 10*time.Second)
			if row.policy == OutOfRangeFail {
				if _, err := k.Poll(ctx); !errors.Is(err, protocol.OffsetOutOfRange) {
					t.Fatalf("got %v", err)
				}
				return
			}
			for k.Progress()[0].Position != row.first { // it is looked up once the broker has refused
				short, cancel := context.WithTimeout(ctx, 20*time.Millisecond)
				records, err := k.Poll(short)
				cancel()
				if err == nil {
					if records[0].Offset != row.first {
						t.Fatalf("the first offset is %d", records[0].Offset)
					}
					return
				}
				if ctx.Err() != nil {
					t.Fatal("the position stays where it was")
				}
			}
		})
	}
}

func TestConsumer_BoundedPrefetch(t *testing.T) {
	_, c := filled(t, 1, 1000)
	k := consumer(t, c, ConsumerOptions{Assign: []Assignment{{Topic: "t"}}, PartitionBytes: 1, BufferBytes: 500})
	deadline := time.Now().Add(200 * time.Millisecond)
	for time.Now().Before(deadline) {
		k.mu.Lock()
		buffered := k.buffered
		k.mu.Unlock()
		if buffered > 1000 {
			t.Fatalf("%d bytes are buffered", buffered)
		}
	}
	inOrder(t, values(drain(t, k, 1000)), 1000)
}

func values(records []Record) []string {
	out := make([]string, 0, len(records))
	for _, r := range records {
		out = append(out, string(r.Value))
	}
	return out
}

func TestConsumer_NoSuchPartitionOrTopic(t *testing.T) {
	f, c := filled(t, 1, 1)
	k := consumer(t, c, ConsumerOptions{Assign: []Assignment{{Topic: "t", Partition: 4}}})
	if _, err := k.Poll(within(t, 5*time.Second)); err == nil || err.Error() != `topic "t" has no partition 4: it has 1, from 0` {
		t.Fatalf("got %v", err)
	}
	_ = f
	k = consumer(t, c, ConsumerOptions{Assign: []Assignment{{Topic: "tt"}}})
	if _, err := k.Poll(within(t, 10*time.Second)); !errors.Is(err, ErrUnknownTopic) {
		t.Fatalf("got %v", err)
	}
}

func TestConsumer_CloseEndsPoll(t *testing.T) {
	_, c := filled(t, 1, 1)
	k := consumer(t, c, ConsumerOptions{Assign: []Assignment{{Topic: "t", From: End()}}})
	ended := make(chan error, 1)
	go func() {
		_, err := k.Poll(t.Context())
		ended <- err
	}()
	if err := k.Close(); err != nil {
		t.Fatal(err)
	}
	select {
	case err := <-ended:
		if !errors.Is(err, ErrClosed) {
			t.Fatalf("got %v", err)
		}
	case <-time.After(5 * time.Second):
		t.Fatal("Poll goes on")
	}
}
