package workload

import (
	"context"
	"math/rand/v2"
	"slices"
	"sync/atomic"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/stelemq/stele/tests/robustness/history"
)

// batch is what a producer has issued.
type batch struct {
	partition int32
	values    []int64
	seq       sequence
	order     int64
	start     int64 // of its first sending
	process   int
	attempts  int
	resolved  bool
}

// lane is the way of a producer's batches to one partition. They are resolved in their order: after a retriable
// error everything unresolved is sent again, once nothing of this turn is outstanding, or at once to a new leader.
type lane struct {
	unresolved  []*batch // in the order of issue
	order       int64
	next        int32 // sequence number
	begun       bool  // a batch was acknowledged
	turn        int
	outstanding int
	again       bool // everything unresolved must be sent again
	notBefore   time.Time
	link        *link // of this turn
	route       Route
}

// restart gives up what is outstanding: its answers come late from now on.
func (l *lane) restart() {
	l.turn++
	l.outstanding, l.link = 0, nil
	l.again = len(l.unresolved) > 0
}

// producer is an idempotent producer with acks=all.
type producer struct {
	cfg     Config
	process int
	rng     *rand.Rand
	values  *atomic.Int64 // hands out unique values
	quiet   *atomic.Bool  // nothing new is issued
	avail   *Availability
	router  *Router

	id      int64 // history.None before it has one
	epoch   int16
	lanes   []lane
	links   map[int32]*link
	answers chan answer
}

func newProducer(w *Workload, process int) *producer {
	p := &producer{
		cfg: w.cfg, process: process, values: &w.values, quiet: &w.quiet, avail: w.Availability, router: w.Router,
		links: map[int32]*link{}, answers: make(chan answer, 1024),
	}
	p.rng = rand.New(rand.NewPCG(p.cfg.Seed, uint64(process)))
	p.forget()
	return p
}

// forget makes it a producer without an id.
func (p *producer) forget() {
	p.id, p.lanes = history.None, make([]lane, p.cfg.Partitions)
}

// run produces until stop is closed and everything is resolved. When ctx ends, what is unresolved is unknown.
func (p *producer) run(ctx context.Context, stop <-chan struct{}) {
	defer func() {
		for _, l := range p.links {
			l.close()
		}
	}()
	for p.id != history.None || p.initialise(ctx) {
		if p.loop(ctx, stop) {
			return
		}
		if ctx.Err() != nil {
			break
		}
	}
	for i := range p.lanes {
		for _, b := range p.lanes[i].unresolved {
			p.record(b, history.Op{Status: history.Unknown, Offset: history.None, Error: "the workload ended"})
		}
	}
}

// loop produces until it has stopped and everything is resolved, which it reports by true, or the broker has
// forgotten it, or ctx ends.
func (p *producer) loop(ctx context.Context, stop <-chan struct{}) bool {
	tick := time.NewTicker(p.cfg.Pause)
	defer tick.Stop()
	stopping := false
	for {
		idle := true
		for i := range p.lanes {
			p.pump(ctx, int32(i))
			idle = idle && len(p.lanes[i].unresolved) == 0
		}
		if stopping && idle {
			return true
		}
		select {
		case <-ctx.Done():
			return false
		case <-stop:
			stopping, stop = true, nil
		case <-tick.C:
			if !stopping && !p.quiet.Load() {
				p.issue(ctx)
			}
		case a := <-p.answers:
			if fatal := p.take(a); fatal {
				return false
			}
		}
	}
}

// initialise asks for a producer id, until it has one or ctx ends.
func (p *producer) initialise(ctx context.Context) bool {
	for {
		for _, addr := range p.cfg.Bootstrap {
			c, err := dialOnce(ctx, addr)
			if err != nil {
				continue
			}
			err = p.askID(c)
			c.close()
			if err == nil {
				return true
			}
		}
		if pause(ctx, retryPause) != nil {
			return false
		}
	}
}

func (p *producer) askID(c *conn) error {
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

// issue makes the next batch and sends it, unless its partition may have no other one in flight.
func (p *producer) issue(ctx context.Context) {
	partition := p.rng.Int32N(p.cfg.Partitions)
	l := &p.lanes[partition]
	// Not the number of unresolved batches counts, but how far back the oldest of them lies: a broker knows only
	// the last five, and the others may be there already.
	if len(l.unresolved) > 0 && l.order-l.unresolved[0].order >= int64(p.cfg.InFlight) {
		return
	}
	// A broker takes any sequence number for the first of a producer that it does not know, as Kafka's do. If the
	// first batch met a broker that was no leader yet, the second must not overtake it.
	if len(l.unresolved) > 0 && !l.begun {
		return
	}
	n := 1 + p.rng.IntN(p.cfg.MaxBatch)
	b := &batch{
		partition: partition, order: l.order, start: p.cfg.Recorder.Now(), process: p.process,
		seq: sequence{p.id, p.epoch, l.next},
	}
	for range n {
		b.values = append(b.values, p.values.Add(1))
	}
	l.order++
	l.next += int32(n)
	l.unresolved = append(l.unresolved, b)
	if l.again || l.link == nil {
		l.again = true // sent with the others
		p.pump(ctx, partition)
		return
	}
	p.send(l, b)
}

// pump follows the leader of a partition, and sends again what must be.
func (p *producer) pump(ctx context.Context, partition int32) {
	l := &p.lanes[partition]
	route, _ := p.router.Route(partition)
	if l.link != nil && (route.Node != l.route.Node || route.Addr != l.route.Addr) && route.Epoch > l.route.Epoch && route.Addr != "" {
		l.restart() // another leader
		l.notBefore = time.Time{}
	}
	if !l.again || l.outstanding > 0 || route.Addr == "" || time.Now().Before(l.notBefore) {
		return
	}
	if l.link == nil || p.links[l.link.node] != l.link || l.link.node != route.Node {
		l.link = p.linkTo(ctx, route)
	}
	l.route, l.again = route, false
	l.turn++
	for _, b := range l.unresolved {
		p.send(l, b)
	}
}

func (p *producer) linkTo(ctx context.Context, r Route) *link {
	if l := p.links[r.Node]; l != nil {
		if l.addr == r.Addr {
			return l
		}
		p.drop(l)
	}
	// Of each turn of each partition no more is outstanding; late turns are bounded by what leaders change.
	l := openLink(ctx, p, r.Node, r.Addr, 64*int(p.cfg.Partitions)*p.cfg.InFlight)
	p.links[r.Node] = l
	return l
}

func (p *producer) send(l *lane, b *batch) {
	b.attempts++
	select {
	case l.link.out <- sending{batch: b, turn: l.turn, attempt: b.attempts, sent: time.Now()}:
		l.outstanding++
	default: // the broker takes nothing
		p.drop(l.link)
	}
}

// drop gives up a link: what was under way on it must be sent again.
func (p *producer) drop(broken *link) {
	if p.links[broken.node] == broken {
		delete(p.links, broken.node)
	}
	broken.cancel() // its goroutines end by themselves
	for i := range p.lanes {
		l := &p.lanes[i]
		if l.link != broken {
			continue
		}
		if l.outstanding > 0 {
			p.avail.failed(int32(i))
		}
		l.restart()
		l.notBefore = time.Now().Add(retryPause)
	}
	p.router.Refresh()
}

// take handles one answer. It reports true when the producer's id is of no more use.
func (p *producer) take(a answer) (fatal bool) {
	if a.batch == nil {
		p.drop(a.link)
		return false
	}
	b := a.batch
	if b.process != p.process {
		return false // of an earlier life
	}
	l := &p.lanes[b.partition]
	late := a.turn != l.turn
	if !late {
		l.outstanding--
	}
	if a.hint != nil {
		p.router.learn(b.partition, a.hint.LeaderID, a.hint.LeaderEpoch)
	}
	failed := code(a.code)
	switch {
	case failed == 0:
		p.resolve(l, a, a.offset)
		return false
	case failed == codeDuplicateSequenceNumber:
		p.resolve(l, a, history.None) // it is there; the broker no longer knows where
		return false
	case late || b.resolved:
		return false // what is under way now will tell
	}
	p.avail.failed(b.partition)
	if failed.retriable() || failed == codeOutOfOrderSequence && l.unresolved[0] != b { // one before it failed
		l.again = true
		l.notBefore = time.Now().Add(retryPause)
		p.router.Refresh()
		return false
	}
	for i := range p.lanes {
		for _, u := range p.lanes[i].unresolved {
			p.record(u, history.Op{Status: history.Unknown, Offset: history.None, Error: failed.Error(), Lost: u == b, Node: a.link.node})
		}
	}
	p.process += p.cfg.Producers
	p.forget()
	return true
}

// resolve takes an acknowledgement, the first or a further one.
func (p *producer) resolve(l *lane, a answer, offset int64) {
	b := a.batch
	if b.resolved {
		p.record(b, history.Op{Kind: history.Echo, Status: history.OK, Offset: offset, Node: a.link.node})
		return
	}
	b.resolved, l.begun = true, true
	p.record(b, history.Op{Status: history.OK, Offset: offset, Node: a.link.node})
	l.unresolved = slices.DeleteFunc(l.unresolved, func(u *batch) bool { return u == b })
	p.avail.acked(b.partition, len(b.values), a.sent, time.Duration(p.cfg.Recorder.Now()-b.start))
}

// record completes op with what is known of the batch.
func (p *producer) record(b *batch, op history.Op) {
	if op.Kind == "" {
		op.Kind = history.Send
	}
	op.Process, op.Partition, op.Start, op.Values, op.Order, op.Attempts = b.process, b.partition, b.start, b.values, b.order, b.attempts
	op.HighWatermark, op.LogStart = history.None, history.None
	p.cfg.Recorder.Record(op)
}
