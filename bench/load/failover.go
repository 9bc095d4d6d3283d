package load

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/stelemq/stele/client"
)

// Gaps are the longest times without an acknowledgement after a broker was killed.
type Gaps struct {
	// Killed is of partitions that the broker led, Others of the others; Others is 0 if it led them all.
	Killed time.Duration `json:"killed"`
	Others time.Duration `json:"others"`
	Errors int64         `json:"errors"` // records that were given up
}

// Failover makes a topic, writes to each partition at the scenario's rate (a second and partition; default 100), kills the
// broker that leads partition 0 and goes on for the scenario's duration. kill gets the broker's id.
func Failover(ctx context.Context, t Target, s Scenario, kill func(id int32) error) (Gaps, error) {
	s.Kind = Produce
	setDefault(&s.Rate, 100)
	s, err := s.WithDefaults()
	if err != nil {
		return Gaps{}, err
	}
	c, err := t.connect("bench-failover")
	if err != nil {
		return Gaps{}, err
	}
	defer c.Close() //nolint:errcheck // nothing is pending
	if err := t.makeTopic(ctx, c, &s); err != nil {
		return Gaps{}, err
	}
	gaps, err := t.failover(ctx, c, &s, kill)
	return gaps, errors.Join(err, t.dropTopic(c))
}

func (t *Target) failover(ctx context.Context, c *client.Client, s *Scenario, kill func(int32) error) (Gaps, error) {
	p, err := c.NewProducer(client.ProducerOptions{
		Linger: -1, Partitioner: func(r *client.Record, _ int32) int32 { return r.Partition },
	})
	if err != nil {
		return Gaps{}, err //nolint:wrapcheck // says what is wrong
	}
	clock := newGapClock(s.Partitions)
	life, end := context.WithCancel(ctx)
	defer end()
	var wg sync.WaitGroup
	var sendErr error
	wg.Go(func() { sendErr = t.drip(life, p, s, clock) })
	gaps, err := t.killAndWatch(ctx, c, s, clock, kill)
	end()
	wg.Wait()
	drain, cancel := context.WithTimeout(context.WithoutCancel(ctx), drainTimeout)
	defer cancel()
	return gaps, errors.Join(err, sendErr, p.Close(drain))
}

// drip writes to the partitions in turn.
func (t *Target) drip(ctx context.Context, p *client.Producer, s *Scenario, clock *gapClock) error {
	v := newValues(s.Bytes, *s.Random)
	rec := client.Record{Topic: t.Topic}
	n := 0
	return pace(ctx, float64(s.Rate*s.Partitions), func(time.Time) error {
		part := n % s.Partitions
		n++
		rec.Partition, rec.Value = int32(part), v.take() //nolint:gosec // bounded
		return p.Produce(ctx, &rec, func(d client.Delivery) { clock.ack(part, d.Err) })
	})
}

func (t *Target) killAndWatch(ctx context.Context, c *client.Client, s *Scenario, clock *gapClock, kill func(int32) error) (Gaps, error) {
	if err := wait(ctx, s.WarmUp); err != nil {
		return Gaps{}, err
	}
	topics, err := c.Topics(ctx, t.Topic)
	if err != nil {
		return Gaps{}, err //nolint:wrapcheck // says operation and topic
	}
	if len(topics) != 1 || len(topics[0].Partitions) != s.Partitions {
		return Gaps{}, fmt.Errorf("topic %s: its partitions are not known", t.Topic)
	}
	victim := topics[0].Partitions[0].Leader
	clock.start()
	if err := kill(victim); err != nil {
		return Gaps{}, err
	}
	if err := wait(ctx, s.Duration); err != nil {
		return Gaps{}, err
	}
	longest, failed := clock.stop()
	gaps := Gaps{Errors: failed}
	for _, p := range topics[0].Partitions {
		if p.Leader == victim {
			gaps.Killed = max(gaps.Killed, longest[p.ID])
		} else {
			gaps.Others = max(gaps.Others, longest[p.ID])
		}
	}
	return gaps, nil
}

// gapClock keeps the longest time between acknowledgements of each partition.
type gapClock struct {
	mu      sync.Mutex
	running bool
	last    []time.Time
	longest []time.Duration
	failed  int64
}

func newGapClock(n int) *gapClock {
	return &gapClock{last: make([]time.Time, n), longest: make([]time.Duration, n)}
}

func (g *gapClock) ack(part int, err error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	switch {
	case !g.running:
	case err != nil:
		g.failed++
	default:
		now := time.Now()
		g.longest[part] = max(g.longest[part], now.Sub(g.last[part]))
		g.last[part] = now
	}
}

func (g *gapClock) start() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.running = true
	now := time.Now()
	for i := range g.last {
		g.last[i] = now
	}
}

// stop counts what is still waiting as a gap, too.
func (g *gapClock) stop() ([]time.Duration, int64) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.running = false
	now := time.Now()
	for i := range g.last {
		g.longest[i] = max(g.longest[i], now.Sub(g.last[i]))
	}
	return g.longest, g.failed
}
