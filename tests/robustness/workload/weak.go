package workload

import (
	"context"
	"math/rand/v2"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/stelemq/stele/tests/robustness/history"
)

// weakTimeout is how long a weak producer waits for anything before it goes on with another partition.
const weakTimeout = time.Second

// codeNotEnoughReplicas is the one refusal of a write that says for certain that it was not done.
const codeNotEnoughReplicas = 19

// weakProducer writes with acks=1 or 0, one batch at a time, and never sends again.
type weakProducer struct {
	w       *Workload
	process int
	rng     *rand.Rand
	order   []int64
	conns   map[int32]*conn
}

func newWeakProducer(w *Workload, process int) *weakProducer {
	return &weakProducer{
		w: w, process: process, rng: rand.New(rand.NewPCG(w.cfg.Seed, uint64(process))),
		order: make([]int64, w.cfg.Partitions), conns: map[int32]*conn{},
	}
}

func (p *weakProducer) run(ctx context.Context, stop <-chan struct{}) {
	defer func() {
		for _, c := range p.conns {
			c.close()
		}
	}()
	tick := time.NewTicker(p.w.cfg.Pause)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-stop:
			return
		case <-tick.C:
			p.write(ctx, p.rng.Int32N(p.w.cfg.Partitions))
		}
	}
}

// write writes one batch.
func (p *weakProducer) write(ctx context.Context, partition int32) {
	cfg := p.w.cfg
	route, _ := p.w.Router.Route(partition)
	if route.Addr == "" {
		p.w.Router.Refresh()
		return
	}
	c := p.conns[route.Node]
	if c == nil || c.addr != route.Addr {
		var err error
		if c, err = dialOnce(ctx, route.Addr); err != nil {
			p.w.Router.Refresh()
			return // nothing was sent
		}
		p.conns[route.Node] = c
	}
	b := &batch{partition: partition, order: p.order[partition], start: cfg.Recorder.Now(), seq: sequence{-1, -1, -1}}
	p.order[partition]++
	for range 1 + p.rng.IntN(cfg.MaxBatch) {
		b.values = append(b.values, p.w.values.Add(1))
	}
	sent := time.Now()
	op := history.Op{
		Kind: history.Send, Process: p.process, Partition: partition, Status: history.Unknown, Start: b.start, Node: route.Node, Attempts: 1,
		Values: b.values, Offset: history.None, Order: b.order, HighWatermark: history.None, LogStart: history.None,
	}
	if cfg.Acks == None {
		if err := c.write(produceRequest(cfg, b, 0), weakTimeout); err != nil {
			op.Error = err.Error()
			p.lost(route.Node)
		}
		cfg.Recorder.Record(op)
		return
	}
	resp := kmsg.NewPtrProduceResponse()
	err := c.doWithin(produceRequest(cfg, b, 1), resp, weakTimeout)
	switch {
	case err != nil:
		p.lost(route.Node)
	case len(resp.Topics) != 1 || len(resp.Topics[0].Partitions) != 1:
		err = errAnswer
	default:
		part := resp.Topics[0].Partitions[0]
		if err = errorOf(part.ErrorCode); err == nil {
			op.Status, op.Offset = history.OK, part.BaseOffset
			p.w.Availability.acked(partition, len(b.values), sent, time.Since(sent))
		} else if part.ErrorCode == codeNotEnoughReplicas {
			op.Status = history.Fail
		}
	}
	if err != nil {
		op.Error = err.Error()
		p.w.Availability.failed(partition)
		p.w.Router.Refresh()
	}
	cfg.Recorder.Record(op)
}

func (p *weakProducer) lost(node int32) {
	p.conns[node].close()
	delete(p.conns, node)
	p.w.Router.Refresh()
}
