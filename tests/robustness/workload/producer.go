package workload

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/stelemq/stele/tests/robustness/history"
)

// batch is what a producer has issued and not resolved.
type batch struct {
	partition int32
	values    []int64
	seq       sequence
	order     int64
	start     int64 // of its first sending
}

// producer is an idempotent producer with acks=all. Its batches of one partition are resolved in their order:
// what fails with a retriable error is sent again together with everything behind it.
type producer struct {
	cfg     Config
	process int
	rng     *rand.Rand
	values  *atomic.Int64 // hands out unique values
	acked   *atomic.Int64

	id    int64 // None before it has one
	epoch int16
	next  []int32 // sequence number per partition
	order []int64
	// unresolved batches, in the order of issue.
	unresolved []*batch
}

func newProducer(cfg Config, process int, values, acked *atomic.Int64) *producer {
	p := &producer{cfg: cfg, process: process, values: values, acked: acked}
	p.rng = rand.New(rand.NewPCG(cfg.Seed, uint64(process)))
	p.forget()
	return p
}

// forget makes it a producer without an id.
func (p *producer) forget() {
	p.id, p.unresolved = history.None, nil
	p.next, p.order = make([]int32, p.cfg.Partitions), make([]int64, p.cfg.Partitions)
}

// run produces until stop is closed and everything is resolved. When ctx ends, what is unresolved is unknown.
func (p *producer) run(ctx context.Context, stop <-chan struct{}) {
	for {
		c, err := dial(ctx, p.cfg.Addr)
		if err != nil {
			break
		}
		err = p.session(ctx, stop, c)
		if err == nil {
			return
		}
		if pause(ctx, retryPause) != nil {
			break
		}
	}
	for _, b := range p.unresolved {
		p.record(b, history.Unknown, history.None, "the workload ended", false)
	}
}

// answer is what came of one sending of a batch.
type answer struct {
	batch  *batch
	code   int16
	offset int64
	err    error // the connection is broken
}

// sending is a request that waits for its answer.
type sending struct {
	batch *batch
	id    int32
}

// session uses one connection. It returns nil when the producer has stopped and everything is resolved.
func (p *producer) session(ctx context.Context, stop <-chan struct{}, c *conn) error {
	if p.id == history.None {
		if err := p.initialise(c); err != nil {
			c.close()
			return err
		}
	}
	limit := int(p.cfg.Partitions) * p.cfg.InFlight // no more is ever outstanding
	sent, answers := make(chan sending, limit), make(chan answer, limit)
	var reader sync.WaitGroup
	reader.Go(func() { readAnswers(c, sent, answers) })
	defer func() {
		c.close()
		close(sent)
		reader.Wait()
	}()

	tick := time.NewTicker(p.cfg.Pause)
	defer tick.Stop()
	outstanding, again, stopping := 0, true, false
	for {
		if again && outstanding == 0 {
			for _, b := range p.unresolved {
				if err := p.send(c, b, sent); err != nil {
					return err
				}
			}
			outstanding, again = len(p.unresolved), false
		}
		if stopping && len(p.unresolved) == 0 {
			return nil
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-stop:
			stopping, stop = true, nil
		case <-tick.C:
			if stopping || again {
				continue
			}
			b := p.issue()
			if b == nil {
				continue
			}
			if err := p.send(c, b, sent); err != nil {
				return err
			}
			outstanding++
		case a := <-answers:
			outstanding--
			retry, err := p.settle(a)
			if err != nil {
				return err
			}
			again = again || retry
		}
	}
}

// initialise asks for a producer id.
func (p *producer) initialise(c *conn) error {
	req := kmsg.NewPtrInitProducerIDRequest()
	req.SetVersion(4)
	req.ProducerID, req.ProducerEpoch, req.TransactionTimeoutMillis = -1, -1, 60_000
	resp := kmsg.NewPtrInitProducerIDResponse()
	if err := c.do(req, resp); err != nil {
		return err
	}
	if err := errorOf(resp.ErrorCode); err != nil {
		return err
	}
	p.id, p.epoch = resp.ProducerID, resp.ProducerEpoch
	return nil
}

// issue makes the next batch, or returns nil if no partition may have another one in flight.
func (p *producer) issue() *batch {
	partition := p.rng.Int32N(p.cfg.Partitions)
	// Not the number of unresolved batches counts, but how far back the oldest of them lies: a broker knows only
	// the last five, and the others may be there already.
	oldest := slices.IndexFunc(p.unresolved, func(b *batch) bool { return b.partition == partition })
	if oldest >= 0 && p.order[partition]-p.unresolved[oldest].order >= int64(p.cfg.InFlight) {
		return nil
	}
	n := 1 + p.rng.IntN(p.cfg.MaxBatch)
	b := &batch{
		partition: partition, order: p.order[partition], start: p.cfg.Recorder.Now(),
		seq: sequence{p.id, p.epoch, p.next[partition]},
	}
	for range n {
		b.values = append(b.values, p.values.Add(1))
	}
	p.order[partition]++
	p.next[partition] += int32(n)
	p.unresolved = append(p.unresolved, b)
	return b
}

func (p *producer) send(c *conn, b *batch, sent chan<- sending) error {
	req := kmsg.NewPtrProduceRequest()
	req.SetVersion(9)
	req.Acks, req.TimeoutMillis = -1, 5000
	part := kmsg.NewProduceRequestTopicPartition()
	part.Partition = b.partition
	part.Records = appendBatch(nil, b.partition, b.values, b.seq, time.Now().UnixMilli())
	req.Topics = []kmsg.ProduceRequestTopic{{Topic: p.cfg.Topic, Partitions: []kmsg.ProduceRequestTopicPartition{part}}}
	id := c.next
	if err := c.write(req); err != nil {
		return err
	}
	sent <- sending{b, id}
	return nil
}

// readAnswers reads one answer for each sending, and ends with the connection.
func readAnswers(c *conn, sent <-chan sending, answers chan<- answer) {
	for s := range sent {
		resp := kmsg.NewPtrProduceResponse()
		resp.SetVersion(9)
		a := answer{batch: s.batch, err: c.read(s.id, resp)}
		if a.err == nil {
			if len(resp.Topics) == 1 && len(resp.Topics[0].Partitions) == 1 && resp.Topics[0].Partitions[0].Partition == s.batch.partition {
				a.code, a.offset = resp.Topics[0].Partitions[0].ErrorCode, resp.Topics[0].Partitions[0].BaseOffset
			} else {
				a.err = fmt.Errorf("%w to Produce: %+v", errAnswer, resp.Topics)
			}
		}
		answers <- a
		if a.err != nil {
			return
		}
	}
}

// settle resolves the batch of an answer. retry says that everything unresolved must be sent again; after an
// error the connection must be given up.
func (p *producer) settle(a answer) (retry bool, err error) {
	if a.err != nil {
		return false, a.err
	}
	failed := code(a.code)
	first := p.unresolved[slices.IndexFunc(p.unresolved, func(b *batch) bool { return b.partition == a.batch.partition })]
	switch {
	case failed == 0:
		p.resolve(a.batch, a.offset)
		return false, nil
	case failed == codeDuplicateSequenceNumber:
		p.resolve(a.batch, history.None) // it is there; the broker no longer knows where
		return false, nil
	case failed == codeOutOfOrderSequence && first != a.batch:
		return true, nil // one before it failed
	case failed.retriable():
		return true, nil
	}
	for _, b := range p.unresolved {
		p.record(b, history.Unknown, history.None, failed.Error(), b == a.batch)
	}
	p.process += p.cfg.Producers
	p.forget()
	return false, failed
}

func (p *producer) resolve(b *batch, offset int64) {
	p.record(b, history.OK, offset, "", false)
	p.unresolved = slices.DeleteFunc(p.unresolved, func(u *batch) bool { return u == b })
	p.acked.Add(int64(len(b.values)))
}

func (p *producer) record(b *batch, s history.Status, offset int64, why string, lost bool) {
	p.cfg.Recorder.Record(history.Op{
		Kind: history.Send, Process: p.process, Partition: b.partition, Status: s, Start: b.start, Error: why,
		Values: b.values, Offset: offset, Order: b.order, HighWatermark: history.None, LogStart: history.None, Lost: lost,
	})
}
