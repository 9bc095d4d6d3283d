package workload

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// answer is what came of one sending of a batch, or, without a batch, the end of a link.
type answer struct {
	link *link
	sending
	code   int16
	offset int64
	hint   *kmsg.ProduceResponseTopicPartitionCurrentLeader
	err    error // the link is broken
}

// sending is a batch on its way.
type sending struct {
	batch   *batch
	turn    int // of its lane: answers of an earlier turn come late
	attempt int
	sent    time.Time
	id      int32
}

// link is a producer's connection to one broker: one goroutine connects and writes, one reads.
type link struct {
	node    int32
	addr    string
	out     chan sending
	answers chan<- answer
	cancel  context.CancelFunc
	done    sync.WaitGroup
}

// openLink connects in the background. limit bounds what is outstanding.
func openLink(ctx context.Context, p *producer, node int32, addr string, limit int) *link {
	ctx, cancel := context.WithCancel(ctx)
	l := &link{node: node, addr: addr, out: make(chan sending, limit), answers: p.answers, cancel: cancel}
	l.done.Go(func() {
		err := l.run(ctx, p.cfg)
		l.post(ctx, answer{link: l, err: err})
	})
	return l
}

func (l *link) post(ctx context.Context, a answer) {
	select {
	case l.answers <- a:
	case <-ctx.Done():
	}
}

func (l *link) close() {
	l.cancel()
	l.done.Wait()
}

func (l *link) run(ctx context.Context, cfg Config) error {
	c, err := dialOnce(ctx, l.addr)
	if err != nil {
		return err
	}
	stop := context.AfterFunc(ctx, c.close)
	defer stop()
	defer c.close()
	sent := make(chan sending, cap(l.out))
	broken := make(chan error, 1)
	var reader sync.WaitGroup
	reader.Go(func() { broken <- l.read(ctx, c, sent) })
	defer reader.Wait()
	defer c.close()
	defer close(sent)
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case err := <-broken:
			return err
		case s := <-l.out:
			s.id = c.next
			s.sent = time.Now()
			if err := c.write(produceRequest(cfg, s.batch, -1), requestTimeout); err != nil {
				return err
			}
			sent <- s
		}
	}
}

// read reads one answer for each sending, and ends with the connection.
func (l *link) read(ctx context.Context, c *conn, sent <-chan sending) error {
	for s := range sent {
		a := answer{link: l, sending: s}
		resp := kmsg.NewPtrProduceResponse()
		resp.SetVersion(produceVersion)
		if err := c.read(s.id, resp); err != nil {
			return err
		}
		if len(resp.Topics) != 1 || len(resp.Topics[0].Partitions) != 1 || resp.Topics[0].Partitions[0].Partition != s.batch.partition {
			return fmt.Errorf("%w to Produce: %+v", errAnswer, resp.Topics)
		}
		part := &resp.Topics[0].Partitions[0]
		a.code, a.offset = part.ErrorCode, part.BaseOffset
		if part.CurrentLeader.LeaderID > 0 {
			a.hint = &part.CurrentLeader
		}
		l.post(ctx, a)
	}
	return nil
}

const produceVersion = 10

func produceRequest(cfg Config, b *batch, acks int16) *kmsg.ProduceRequest {
	req := kmsg.NewPtrProduceRequest()
	req.SetVersion(produceVersion)
	req.Acks, req.TimeoutMillis = acks, 3000
	part := kmsg.NewProduceRequestTopicPartition()
	part.Partition = b.partition
	part.Records = appendBatch(nil, b.partition, b.values, b.seq, time.Now().UnixMilli())
	req.Topics = []kmsg.ProduceRequestTopic{{Topic: cfg.Topic, Partitions: []kmsg.ProduceRequestTopicPartition{part}}}
	return req
}
