package load

import (
	"context"
	"fmt"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/stelemq/stele/protocol"
	"github.com/stelemq/stele/protocol/record"
)

// Versions of raw requests: the last ones that name topics by their names.
const (
	rawProduceVersion = 12
	rawFetchVersion   = 12
)

// encodedBatch is a batch as it goes into requests.
type encodedBatch struct {
	bytes   []byte
	records int
	values  int // bytes of values
}

// encodeBatches makes a few batches of about BatchBytes, or of one record.
func (r *session) encodeBatches() ([]encodedBatch, error) {
	const variants = 8
	codec, _ := record.ParseCodec(r.s.Compression) // checked
	v := newValues(r.s.Bytes, *r.s.Random)
	out := make([]encodedBatch, variants)
	for i := range out {
		var b record.Builder
		now := time.Now().UnixMilli()
		for b.Count() == 0 || !r.s.OneBatchEach && b.Len()+r.s.Bytes < r.s.BatchBytes {
			b.Append(record.Record{Timestamp: now, Value: v.take()})
		}
		records := b.Count()
		batch, err := b.Build(codec, record.DefaultLevel)
		if err != nil {
			return nil, fmt.Errorf("encode a batch: %w", err)
		}
		out[i] = encodedBatch{append([]byte(nil), batch...), records, records * r.s.Bytes}
	}
	return out, nil
}

// rawProducers are one connection per client and leader, each with a batch of one partition in each request.
func (r *session) rawProducers(ctx context.Context) ([]worker, error) {
	leaders, err := r.leaders(ctx)
	if err != nil {
		return nil, err
	}
	batches, err := r.encodeBatches()
	if err != nil {
		return nil, err
	}
	var out []worker
	for address, parts := range leaders {
		share := float64(len(parts)) / float64(r.s.Partitions)
		for range r.s.Clients {
			out = append(out, func(ctx context.Context) error { return r.rawProduce(ctx, address, parts, batches, share) })
		}
	}
	return out, nil
}

// sent is a request in flight.
type sent struct {
	due   time.Time
	batch *encodedBatch
}

func (r *session) rawProduce(ctx context.Context, address string, parts []int32, batches []encodedBatch, share float64) error {
	c, err := dialRaw(ctx, address, r.s.InFlight)
	if err != nil {
		return err
	}
	req := r.produceRequest(c)
	topic := &req.Topics[0]
	flying := make(chan sent, r.s.InFlight+1)
	n := 0
	one := func(due time.Time) error {
		b := &batches[n%len(batches)]
		topic.Partitions[0].Partition = parts[n%len(parts)]
		topic.Partitions[0].Records = b.bytes
		n++
		if *r.s.Acks != 0 {
			flying <- sent{due, b}
		}
		if err := c.send(ctx, req); err != nil {
			return err
		}
		if *r.s.Acks == 0 {
			<-c.slots
			r.meter.done(b.records, b.values)
		}
		return nil
	}
	send := func() error {
		defer close(flying)
		if r.s.Rate > 0 {
			each := float64(batches[0].records)
			return pace(ctx, float64(r.s.Rate)*share/float64(r.s.Clients)/each, one)
		}
		for ctx.Err() == nil {
			if err := one(time.Now()); err != nil && ctx.Err() == nil {
				return err
			}
		}
		return nil
	}
	return both(c, send, func() error { return r.rawAcks(c, req, flying) })
}

func (r *session) produceRequest(c *rawConn) *kmsg.ProduceRequest {
	req := kmsg.NewPtrProduceRequest()
	req.Acks = int16(*r.s.Acks) //nolint:gosec // -1, 0 or 1
	req.TimeoutMillis = int32(drainTimeout / time.Millisecond)
	topic := kmsg.NewProduceRequestTopic()
	topic.Topic = r.target.Topic
	topic.Partitions = []kmsg.ProduceRequestTopicPartition{kmsg.NewProduceRequestTopicPartition()}
	req.Topics = []kmsg.ProduceRequestTopic{topic}
	c.limit(req, rawProduceVersion)
	return req
}

// rawAcks reads the answers, in the order of the requests.
func (r *session) rawAcks(c *rawConn, req *kmsg.ProduceRequest, flying <-chan sent) error {
	resp := kmsg.NewPtrProduceResponse()
	for s := range flying {
		*resp = kmsg.ProduceResponse{Version: req.Version}
		if err := c.receive(resp); err != nil {
			return err
		}
		code := int16(-1)
		if len(resp.Topics) == 1 && len(resp.Topics[0].Partitions) == 1 {
			code = resp.Topics[0].Partitions[0].ErrorCode
		}
		if code != 0 {
			r.meter.failed(s.batch.records, protocol.Code(code))
			continue
		}
		r.meter.done(s.batch.records, s.batch.values)
		r.meter.latency(s.due, time.Now())
	}
	return nil
}

// fill writes at least so many bytes of values, spread over the partitions, as fast as possible.
func (r *session) fill(ctx context.Context, bytes int64) error {
	filling := *r
	filling.meter = NewMeter(nil)
	filling.s.Rate, filling.s.InFlight = 0, 16
	life, enough := context.WithCancel(ctx)
	defer enough()
	workers, err := filling.rawProducers(ctx)
	if err != nil {
		return err
	}
	ended := make(chan error, len(workers))
	for _, w := range workers {
		go func() { ended <- w(life) }()
	}
	for left := len(workers); left > 0; {
		select {
		case err = <-ended:
			left--
			if err != nil {
				enough()
				return fmt.Errorf("fill the topic: %w", err)
			}
		case <-time.After(10 * time.Millisecond):
			if filling.meter.bytes.Load() >= bytes {
				enough()
			}
		}
	}
	if err := filling.meter.Err(); err != nil {
		return fmt.Errorf("fill the topic: %w", err)
	}
	return ctx.Err() //nolint:wrapcheck // an interrupt
}
