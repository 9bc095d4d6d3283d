package client

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/stelemq/stele/client/clienttest"
	"github.com/stelemq/stele/protocol"
	"github.com/stelemq/stele/protocol/record"
)

// deliveries collects what became of records.
type deliveries struct {
	mu   sync.Mutex
	list []Delivery
}

func (d *deliveries) add(x Delivery) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.list = append(d.list, x)
}

// at returns a callback for the record that is number i.
func (d *deliveries) at(i int) func(Delivery) {
	return func(x Delivery) {
		d.mu.Lock()
		defer d.mu.Unlock()
		for len(d.list) <= i {
			d.list = append(d.list, Delivery{Offset: -2})
		}
		d.list[i] = x
	}
}

// numbered produces values 0 to n-1, one batch each, and flushes.
func numbered(t *testing.T, p *Producer, topic string, n int) *deliveries {
	t.Helper()
	d := new(deliveries)
	for i := range n {
		if err := p.Produce(t.Context(), &Record{Topic: topic, Value: fmt.Append(nil, i)}, d.at(i)); err != nil {
			t.Fatal(err)
		}
	}
	if err := p.Flush(within(t, 20*time.Second)); err != nil {
		t.Fatal(err)
	}
	return d
}

// inOrder checks that a log holds 0 to n-1, each once.
func inOrder(t *testing.T, values []string, n int) {
	t.Helper()
	if len(values) != n {
		t.Fatalf("%d records, want %d", len(values), n)
	}
	for i, v := range values {
		if v != fmt.Sprint(i) {
			t.Fatalf("record %d is %q", i, v)
		}
	}
}

// onProduce intercepts the n-th Produce request, from 1, and those after it.
func onProduce(f *clienttest.Cluster, do func(n int64, r *kmsg.ProduceRequest) (clienttest.Action, protocol.Code)) {
	var count atomic.Int64
	f.Intercept(func(_ int32, req kmsg.Request) (clienttest.Action, kmsg.Response) {
		r, ok := req.(*kmsg.ProduceRequest)
		if !ok {
			return clienttest.Pass, nil
		}
		action, code := do(count.Add(1), r)
		if action != clienttest.Replace {
			return action, nil
		}
		res := kmsg.NewPtrProduceResponse()
		for _, t := range r.Topics {
			out := kmsg.ProduceResponseTopic{Topic: t.Topic}
			for _, p := range t.Partitions {
				o := kmsg.NewProduceResponseTopicPartition()
				o.Partition, o.BaseOffset, o.ErrorCode = p.Partition, -1, int16(code)
				out.Partitions = append(out.Partitions, o)
			}
			res.Topics = append(res.Topics, out)
		}
		return action, res
	})
}

func TestProducer_AnswersLostAtRandom(t *testing.T) {
	f := clienttest.New(t, 1)
	f.CreateTopic("t", 1)
	seed := uint64(time.Now().UnixNano()) //nolint:gosec // a seed
	t.Logf("seed %d", seed)
	rng := rand.New(rand.NewPCG(seed, 1)) //nolint:gosec // a test
	var mu sync.Mutex
	onProduce(f, func(int64, *kmsg.ProduceRequest) (clienttest.Action, protocol.Code) {
		mu.Lock()
		defer mu.Unlock()
		switch rng.IntN(10) {
		case 0:
			return clienttest.Lose, 0
		case 1:
			return clienttest.Drop, 0
		case 2:
			return clienttest.Replace, protocol.NotLeaderOrFollower
		default:
			return clienttest.Pass, 0
		}
	})
	p := producer(t, dial(t, f), ProducerOptions{BatchBytes: 1, Linger: -1})
	d := numbered(t, p, "t", 100)
	inOrder(t, f.Values(t, "t", 0), 100)
	for i, x := range d.list {
		if x.Err != nil || x.Offset != int64(i) {
			t.Fatalf("record %d: %+v", i, x)
		}
	}
}

func TestProducer_BatchRefusedAmongOthers(t *testing.T) {
	f := clienttest.New(t, 1)
	f.CreateTopic("t", 1)
	onProduce(f, func(n int64, _ *kmsg.ProduceRequest) (clienttest.Action, protocol.Code) {
		if n == 3 {
			return clienttest.Replace, protocol.MessageTooLarge
		}
		return clienttest.Pass, 0
	})
	p := producer(t, dial(t, f), ProducerOptions{BatchBytes: 1, Linger: -1})
	d := numbered(t, p, "t", 12)
	refused := 0
	for _, x := range d.list {
		if errors.Is(x.Err, protocol.MessageTooLarge) {
			refused++
		} else if x.Err != nil {
			t.Errorf("unexpected: %v", x.Err)
		}
	}
	values := f.Values(t, "t", 0)
	if refused != 1 || len(values) != 11 {
		t.Fatalf("%d refused, %d stored", refused, len(values))
	}
	last := ""
	for _, v := range values {
		if len(last) == len(v) && v <= last {
			t.Fatalf("out of order: %v", values)
		}
		last = v
	}
	ids := make(map[int64]bool)
	for _, b := range f.Batches("t", 0) {
		ids[b.ProducerID()] = true
	}
	if len(ids) != 1 {
		t.Fatalf("%d producer ids: a refused batch needs no new one", len(ids))
	}
}

func TestProducer_BrokerForgotTheProducer(t *testing.T) {
	for _, code := range []protocol.Code{protocol.OutOfOrderSequenceNumber, protocol.UnknownProducerID, protocol.InvalidProducerEpoch} {
		t.Run(code.String(), func(t *testing.T) {
			f := clienttest.New(t, 1)
			f.CreateTopic("t", 1)
			var forgotten int64
			var mu sync.Mutex
			onProduce(f, func(n int64, r *kmsg.ProduceRequest) (clienttest.Action, protocol.Code) {
				mu.Lock()
				defer mu.Unlock()
				id := record.Batch(r.Topics[0].Partitions[0].Records).ProducerID()
				if n == 4 {
					forgotten = id
				}
				if forgotten != 0 && id == forgotten {
					return clienttest.Replace, code
				}
				return clienttest.Pass, 0
			})
			p := producer(t, dial(t, f), ProducerOptions{BatchBytes: 1, Linger: -1})
			d := numbered(t, p, "t", 20)
			for i, x := range d.list {
				if x.Err != nil {
					t.Errorf("record %d: %v", i, x.Err)
				}
			}
			inOrder(t, f.Values(t, "t", 0), 20)
		})
	}
}

func TestProducer_LeaderMoves(t *testing.T) {
	f := clienttest.New(t, 3)
	f.CreateTopic("t", 1)
	p := producer(t, dial(t, f), ProducerOptions{BatchBytes: 1, Linger: -1})
	d := new(deliveries)
	for i := range 60 {
		if i%10 == 5 {
			f.MoveLeader("t", 0, int32(i/10%3+1)) //nolint:gosec // 1 to 3
		}
		if err := p.Produce(t.Context(), &Record{Topic: "t", Value: fmt.Append(nil, i)}, d.add); err != nil {
			t.Fatal(err)
		}
	}
	if err := p.Flush(within(t, 20*time.Second)); err != nil {
		t.Fatal(err)
	}
	inOrder(t, f.Values(t, "t", 0), 60)
}

func TestProducer_NoLeader(t *testing.T) {
	f := clienttest.New(t, 1)
	f.CreateTopic("events", 1)
	f.MoveLeader("events", 0, -1)
	p := producer(t, dial(t, f), ProducerOptions{DeliveryTimeout: 300 * time.Millisecond})
	_, err := p.ProduceSync(within(t, 10*time.Second), &Record{Topic: "events", Value: []byte("x")})
	if !errors.Is(err, ErrNoLeader) || !errors.Is(err, ErrTimeout) ||
		!strings.Contains(err.Error(), "events-0 has no leader: 0 of 1 replicas reachable, 1 needed") {
		t.Fatalf("got %v", err)
	}
}

func TestProducer_BufferFull(t *testing.T) {
	f := clienttest.New(t, 1)
	f.CreateTopic("t", 1)
	onProduce(f, func(int64, *kmsg.ProduceRequest) (clienttest.Action, protocol.Code) { return clienttest.Hang, 0 })
	p := producer(t, dial(t, f), ProducerOptions{BatchBytes: 1 << 10, BufferBytes: 4 << 10})
	ctx := within(t, 300*time.Millisecond)
	var err error
	for n := 0; err == nil; n++ {
		if n > 100 {
			t.Fatal("100 records of 100 bytes fit 4 KiB")
		}
		err = p.Produce(ctx, &Record{Topic: "t", Value: make([]byte, 100)}, nil)
	}
	if !errors.Is(err, context.DeadlineExceeded) {
		t.Fatalf("got %v", err)
	}
	if err := p.Produce(t.Context(), &Record{Topic: "t", Value: make([]byte, 5<<10)}, nil); !errors.Is(err, ErrTooLarge) {
		t.Fatalf("a record larger than the buffer: %v", err)
	}
}

func TestProducer_CloseGivesUp(t *testing.T) {
	f := clienttest.New(t, 1)
	f.CreateTopic("t", 1)
	onProduce(f, func(int64, *kmsg.ProduceRequest) (clienttest.Action, protocol.Code) { return clienttest.Hang, 0 })
	p := producer(t, dial(t, f), ProducerOptions{})
	d := new(deliveries)
	if err := p.Produce(t.Context(), &Record{Topic: "t", Value: []byte("x")}, d.add); err != nil {
		t.Fatal(err)
	}
	if err := p.Close(within(t, 100*time.Millisecond)); !errors.Is(err, context.DeadlineExceeded) {
		t.Fatalf("Close: %v", err)
	}
	if len(d.list) != 1 || !errors.Is(d.list[0].Err, ErrClosed) {
		t.Fatalf("deliveries %+v", d.list)
	}
	if err := p.Produce(t.Context(), &Record{Topic: "t"}, nil); !errors.Is(err, ErrClosed) {
		t.Fatalf("Produce after Close: %v", err)
	}
}

func TestProducer_Acks(t *testing.T) {
	for _, acks := range []Acks{AcksAll, AcksLeader, AcksNone} {
		f := clienttest.New(t, 1)
		f.CreateTopic("t", 1)
		p := producer(t, dial(t, f), ProducerOptions{Acks: acks, BatchBytes: 1, Linger: -1})
		d := numbered(t, p, "t", 10)
		for i, x := range d.list {
			if want := int64(i); x.Err != nil || acks != AcksNone && x.Offset != want {
				t.Fatalf("acks %d: record %d: %+v", acks, i, x)
			}
		}
		for deadline := time.Now().Add(5 * time.Second); len(f.Values(t, "t", 0)) < 10 && time.Now().Before(deadline); {
		}
		inOrder(t, f.Values(t, "t", 0), 10)
		if id := f.Batches("t", 0)[0].ProducerID(); (id >= 0) != (acks == AcksAll) {
			t.Fatalf("acks %d: producer id %d", acks, id)
		}
	}
}

func TestProducer_PartitionsByKeyAndStickyWithout(t *testing.T) {
	f := clienttest.New(t, 2)
	f.AutoCreate(6)
	p := producer(t, dial(t, f), ProducerOptions{})
	ctx := within(t, 10*time.Second)
	for i := range 40 {
		key := fmt.Appendf(nil, "key-%d", i%4)
		want := ByKey(&Record{Key: key}, 6)
		d, err := p.ProduceSync(ctx, &Record{Topic: "t", Key: key, Value: []byte("v")})
		if err != nil || d.Partition != want {
			t.Fatalf("key %s: %+v, %v, want partition %d", key, d, err, want)
		}
	}
	used := make(map[int32]int)
	var mu sync.Mutex
	for range 1000 {
		if err := p.Produce(ctx, &Record{Topic: "t", Value: []byte("v")}, func(d Delivery) {
			mu.Lock()
			defer mu.Unlock()
			used[d.Partition]++
		}); err != nil {
			t.Fatal(err)
		}
	}
	if err := p.Flush(ctx); err != nil {
		t.Fatal(err)
	}
	if len(used) > 3 {
		t.Fatalf("1000 small records went to %d partitions: %v", len(used), used)
	}
	if _, err := p.ProduceSync(ctx, &Record{Topic: "t", Key: []byte("k"), Value: nil}); err != nil {
		t.Fatal(err)
	}
}

func TestProducer_UnknownTopic(t *testing.T) {
	f := clienttest.New(t, 1)
	f.CreateTopic("logs", 1)
	p := producer(t, dial(t, f), ProducerOptions{NoTopicCreation: true})
	err := p.Produce(within(t, 5*time.Second), &Record{Topic: "logz"}, nil)
	want := `topic "logz" does not exist. Did you mean "logs"? (create: broker topic create logz)`
	if !errors.Is(err, ErrUnknownTopic) || err.Error() != want {
		t.Fatalf("got %v", err)
	}
}

func TestAddSequence_Wraps(t *testing.T) {
	for _, row := range []struct {
		from int32
		n    int
		want int32
	}{{0, 5, 5}, {1<<31 - 1, 1, 0}, {1<<31 - 3, 5, 2}, {1<<31 - 1, 0, 1<<31 - 1}} {
		if got := addSequence(row.from, row.n); got != row.want {
			t.Errorf("%d + %d is %d, want %d", row.from, row.n, got, row.want)
		}
	}
}

func TestProducer_SequenceWraps(t *testing.T) {
	f := clienttest.New(t, 1)
	f.CreateTopic("t", 1)
	p := producer(t, dial(t, f), ProducerOptions{BatchBytes: 1, Linger: -1})
	numbered(t, p, "t", 1)
	p.mu.Lock() // as if 2^31-4 records had gone before
	part := p.topics["t"].parts[0]
	part.nextSequence, part.ackSequence = 1<<31-4, 1<<31-4
	p.mu.Unlock()
	f.ForgetProducers("t", 0)
	numbered(t, p, "t", 10)
	if n := len(f.Values(t, "t", 0)); n != 11 {
		t.Fatalf("%d records", n)
	}
	batches := f.Batches("t", 0)
	if got := batches[len(batches)-1].BaseSequence(); got != 5 {
		t.Fatalf("the last sequence is %d, want 5", got)
	}
}

// The first metadata names a leader that is gone already; nobody answers at its address. Later metadata names another.
func TestProducer_LeaderUnreachable(t *testing.T) {
	f := clienttest.New(t, 2)
	f.CreateTopic("t", 2)
	f.Stop(2)
	p := producer(t, dial(t, f), ProducerOptions{Linger: -1, Partitioner: func(*Record, int32) int32 { return 1 }})
	done := make(chan error, 1)
	if err := p.Produce(t.Context(), &Record{Topic: "t", Value: []byte("x")}, func(d Delivery) { done <- d.Err }); err != nil {
		t.Fatal(err)
	}
	time.Sleep(200 * time.Millisecond) //nolint:forbidigo // it tries meanwhile
	f.MoveLeader("t", 1, 1)
	select {
	case err := <-done:
		if err != nil {
			t.Fatal(err)
		}
	case <-time.After(5 * time.Second):
		t.Fatal("the new leader is not asked for")
	}
}
