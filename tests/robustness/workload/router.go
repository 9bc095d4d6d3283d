package workload

import (
	"context"
	"fmt"
	"maps"
	"net"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/stelemq/stele/tests/robustness/history"
)

const (
	routeInterval = 100 * time.Millisecond // between two Metadata requests to one broker
	routeAtOnce   = 10 * time.Millisecond  // when somebody asked for it
	routeTimeout  = 3 * time.Second
)

// Route says who leads a partition.
type Route struct {
	Node  int32 // 0: nobody is known
	Addr  string
	Epoch int32
}

// Router knows who leads each partition. Its methods may be called concurrently.
type Router struct {
	cfg      Config
	sessions atomic.Int64

	mu sync.Mutex
	// mu guards:
	nodes   map[int32]string
	routes  []Route
	isr     []int                // of each partition, as its leader said last
	since   []time.Time          // of each route
	epochs  []map[int32]struct{} // of each partition, all that were seen
	changed chan struct{}        // closed when routes change
	asked   chan struct{}        // closed when somebody wants to know at once
}

func newRouter(cfg Config) *Router {
	r := &Router{cfg: cfg, nodes: map[int32]string{}, routes: make([]Route, cfg.Partitions), isr: make([]int, cfg.Partitions), since: make([]time.Time, cfg.Partitions), changed: make(chan struct{}), asked: make(chan struct{})}
	for range cfg.Partitions {
		r.epochs = append(r.epochs, map[int32]struct{}{})
	}
	return r
}

// run asks the brokers until ctx ends.
func (r *Router) run(ctx context.Context) {
	var all sync.WaitGroup
	for _, addr := range r.cfg.Bootstrap {
		all.Go(func() { r.ask(ctx, addr) })
	}
	all.Wait()
}

// ask asks one broker, again and again.
func (r *Router) ask(ctx context.Context, addr string) {
	for ctx.Err() == nil {
		c, err := dialOnce(ctx, addr)
		if err == nil {
			session := r.sessions.Add(1)
			told := make([]answered, r.cfg.Partitions)
			for err == nil && ctx.Err() == nil {
				if err = r.metadata(c, session, told); err == nil {
					r.idle(ctx)
				}
			}
			c.close()
		}
		if pause(ctx, retryPause) != nil {
			return
		}
	}
}

// idle waits until it is time to ask again.
func (r *Router) idle(ctx context.Context) {
	if pause(ctx, routeAtOnce) != nil {
		return
	}
	r.mu.Lock()
	asked := r.asked
	r.mu.Unlock()
	t := time.NewTimer(routeInterval - routeAtOnce)
	defer t.Stop()
	select {
	case <-ctx.Done():
	case <-asked:
	case <-t.C:
	}
}

// answered is what a broker said of a partition.
type answered struct {
	Route
	isr []int32
}

// metadata makes one request. told is what this broker said last on this connection.
func (r *Router) metadata(c *conn, session int64, told []answered) error {
	req := kmsg.NewPtrMetadataRequest()
	req.SetVersion(9)
	topic := kmsg.NewMetadataRequestTopic()
	topic.Topic = new(r.cfg.Topic)
	req.Topics = append(req.Topics, topic)
	resp := kmsg.NewPtrMetadataResponse()
	start := r.cfg.Recorder.Now()
	if err := c.doWithin(req, resp, routeTimeout); err != nil {
		return err
	}
	self := r.learnNodes(resp, c.addr)
	for i := range resp.Topics {
		t := &resp.Topics[i]
		if t.Topic == nil || *t.Topic != r.cfg.Topic {
			return fmt.Errorf("%w to Metadata: another topic", errAnswer)
		}
		for j := range t.Partitions {
			p := &t.Partitions[j]
			if p.Partition < 0 || p.Partition >= r.cfg.Partitions || p.LeaderEpoch < 0 {
				continue
			}
			r.learnISR(p, self)
			now := answered{Route{Node: max(p.Leader, 0), Epoch: p.LeaderEpoch}, p.ISR}
			if was := told[p.Partition]; now.Route == was.Route && slices.Equal(now.isr, was.isr) {
				continue
			}
			told[p.Partition] = now
			r.cfg.Recorder.Record(history.Op{
				Kind: history.Leader, Partition: p.Partition, Status: history.OK, Start: start, Session: session,
				Node: self, Leader: now.Node, Epoch: now.Epoch, ISR: now.isr, Offset: history.None, HighWatermark: history.None, LogStart: history.None,
			})
			r.learn(p.Partition, p.Leader, p.LeaderEpoch)
		}
	}
	return nil
}

// learnNodes takes the addresses of brokers, and returns the id of the one at addr, or 0.
func (r *Router) learnNodes(resp *kmsg.MetadataResponse, addr string) (self int32) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, b := range resp.Brokers {
		r.nodes[b.NodeID] = net.JoinHostPort(b.Host, strconv.Itoa(int(b.Port)))
	}
	for id, a := range r.nodes {
		if a == addr {
			self = id
		}
	}
	return self
}

// learn takes what somebody said of a partition: the newest epoch wins.
func (r *Router) learn(p, node, epoch int32) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.epochs[p][epoch] = struct{}{}
	was := r.routes[p]
	if was.Node > 0 && epoch <= was.Epoch || node <= 0 && epoch <= was.Epoch {
		return
	}
	now := Route{Node: max(node, 0), Addr: r.nodes[node], Epoch: epoch}
	if now == was {
		return
	}
	r.routes[p] = now
	r.isr[p], r.since[p] = 0, time.Now()
	close(r.changed)
	r.changed = make(chan struct{})
}

// learnISR takes what the leader itself says of its in-sync replicas.
func (r *Router) learnISR(p *kmsg.MetadataResponseTopicPartition, self int32) {
	if p.Leader != self {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if p.LeaderEpoch >= r.routes[p.Partition].Epoch {
		r.isr[p.Partition] = len(p.ISR)
	}
}

// InSync reports whether every partition has at least n in-sync replicas, by what their leaders said last. A leader
// takes all for in sync at first: it counts only once it has led for the time settled.
func (r *Router) InSync(n int, settled time.Duration) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	for p, have := range r.isr {
		if have < n || time.Since(r.since[p]) < settled {
			return false
		}
	}
	return true
}

// Refresh makes the brokers be asked at once.
func (r *Router) Refresh() {
	r.mu.Lock()
	defer r.mu.Unlock()
	close(r.asked)
	r.asked = make(chan struct{})
}

// Route returns who leads the partition, as far as is known, and a channel that is closed when any route changes.
func (r *Router) Route(p int32) (Route, <-chan struct{}) {
	r.mu.Lock()
	defer r.mu.Unlock()
	route := r.routes[p]
	if route.Addr == "" && route.Node > 0 {
		route.Addr = r.nodes[route.Node]
	}
	return route, r.changed
}

// Led returns the partitions that the node leads, as far as is known.
func (r *Router) Led(node int32) (led []int32) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for p, route := range r.routes {
		if route.Node == node {
			led = append(led, int32(p))
		}
	}
	return led
}

// Epochs returns the leader epochs of the partition that were seen, ascending.
func (r *Router) Epochs(p int32) []int32 {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Sorted(maps.Keys(r.epochs[p]))
}

// leaderConn waits until the leader of the partition is known and connects to it. It returns nil when ctx ends.
func (r *Router) leaderConn(ctx context.Context, p int32) (*conn, Route) {
	for ctx.Err() == nil {
		route, changed := r.Route(p)
		if route.Addr == "" {
			r.Refresh()
			select {
			case <-ctx.Done():
			case <-changed:
			case <-time.After(routeInterval):
			}
			continue
		}
		c, err := dialOnce(ctx, route.Addr)
		if err == nil {
			return c, route
		}
		r.Refresh()
		if pause(ctx, retryPause) != nil {
			break
		}
	}
	return nil, Route{}
}
