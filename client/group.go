package client

import (
	"context"
	"errors"
	"slices"
	"sync"
	"time"
)

// GroupOptions say what a member of a group reads, and how.
type GroupOptions struct {
	// Group is the group's id, and Topics are what it reads. Both are required.
	Group  string
	Topics []string
	// Instance makes the member a static one: a process that comes back under this name within the session timeout keeps its
	// partitions without a rebalance (KIP-345). Empty: a dynamic member.
	Instance string
	// Assignors are ways to share partitions that the member offers, the best first; all members must have one in common.
	// Only where all of them are cooperative partitions are kept through a rebalance. Default: Range, CooperativeSticky.
	Assignors []Assignor
	// From is where to begin in a partition of which nothing is committed. The zero value is the start.
	From Position
	// AutoCommit is how often what has been consumed is committed. Default: 5 s; negative: only by Commit.
	AutoCommit time.Duration
	// SessionTimeout is how long the group does without a word of the member, RebalanceTimeout how long a rebalance waits for
	// it, HeartbeatInterval how often it speaks. Defaults: 45 s, 60 s, 3 s.
	SessionTimeout, RebalanceTimeout, HeartbeatInterval time.Duration
	// Consumer says how records are fetched; its Assign is not used.
	Consumer ConsumerOptions
	// OnAssigned, OnRevoked and OnLost are told of partitions that come, that go in order, and that have gone without a
	// chance to commit. They are called from one goroutine, which keeps the member alive: a rebalance waits for them. Records
	// of a partition are returned after OnAssigned and before OnRevoked has been called.
	OnAssigned, OnRevoked, OnLost func(generation int32, partitions []TopicPartition)
}

func (o GroupOptions) withDefaults() GroupOptions {
	if len(o.Assignors) == 0 {
		o.Assignors = []Assignor{Range(), CooperativeSticky()}
	}
	if o.AutoCommit == 0 {
		o.AutoCommit = 5 * time.Second
	}
	if o.SessionTimeout <= 0 {
		o.SessionTimeout = 45 * time.Second
	}
	if o.RebalanceTimeout <= 0 {
		o.RebalanceTimeout = time.Minute
	}
	if o.HeartbeatInterval <= 0 {
		o.HeartbeatInterval = 3 * time.Second
	}
	none := func(int32, []TopicPartition) {}
	if o.OnAssigned == nil {
		o.OnAssigned = none
	}
	if o.OnRevoked == nil {
		o.OnRevoked = none
	}
	if o.OnLost == nil {
		o.OnLost = none
	}
	return o
}

// GroupConsumer reads the partitions that its group gives it, by the classic protocol.
//
// What Poll returns counts as consumed when Poll is called again: then it may be committed, by itself or by Commit. So each
// record is consumed at least once.
//
// One goroutine keeps the member in its group; a Consumer fetches what is assigned.
type GroupConsumer struct {
	client *Client
	opts   GroupOptions
	stop   context.CancelFunc
	done   chan struct{}
	member *groupMember

	mu sync.Mutex
	// mu guards:
	closed   bool
	err      error
	inner    *Consumer // nil while nothing is assigned
	owned    []TopicPartition
	changed  chan struct{} // closed when inner is exchanged
	returned map[TopicPartition]int64
	consumed map[TopicPartition]int64
	// committed is what of consumed is known to be committed.
	committed map[TopicPartition]int64
}

// NewGroupConsumer returns a member of a group and has it join.
func (c *Client) NewGroupConsumer(o GroupOptions) (*GroupConsumer, error) {
	if o.Group == "" || len(o.Topics) == 0 {
		return nil, &Error{Op: "new group consumer", Reason: "it needs a group and topics"}
	}
	ctx, stop := context.WithCancel(context.Background())
	g := &GroupConsumer{
		client: c, opts: o.withDefaults(), stop: stop, done: make(chan struct{}), changed: make(chan struct{}),
		returned: map[TopicPartition]int64{}, consumed: map[TopicPartition]int64{}, committed: map[TopicPartition]int64{},
	}
	g.member = newGroupMember(g)
	go func() {
		defer close(g.done)
		g.member.run(ctx)
	}()
	return g, nil
}

// Poll returns the next records, at least one, all of one partition, and takes those it returned before as consumed. Their
// bytes stay valid and must not be changed. Any error but the context's is final. Poll must not be called concurrently.
func (g *GroupConsumer) Poll(ctx context.Context) ([]Record, error) {
	g.mu.Lock()
	for tp, o := range g.returned {
		g.consumed[tp] = o
	}
	g.mu.Unlock()
	for {
		g.mu.Lock()
		inner, changed, err := g.inner, g.changed, g.err
		if g.closed {
			err = ErrClosed
		}
		g.mu.Unlock()
		if err != nil {
			return nil, err
		}
		if inner == nil {
			select {
			case <-changed:
				continue
			case <-ctx.Done():
				return nil, context.Cause(ctx)
			}
		}
		records, err := inner.Poll(ctx)
		if ctx.Err() != nil && err != nil {
			return nil, err
		}
		if records, err := g.take(inner, records, err); err != nil || len(records) > 0 {
			return records, err
		}
	}
}

// take notes what is returned; of a consumer that has been exchanged meanwhile nothing is.
func (g *GroupConsumer) take(inner *Consumer, records []Record, err error) ([]Record, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.inner != inner || errors.Is(err, ErrClosed) {
		return nil, nil
	}
	if err == nil && len(records) > 0 {
		last := &records[len(records)-1]
		g.returned[TopicPartition{last.Topic, last.Partition}] = last.Offset + 1
	}
	return records, err
}

// Commit commits everything that Poll has returned.
func (g *GroupConsumer) Commit(ctx context.Context) error {
	g.mu.Lock()
	for tp, o := range g.returned {
		g.consumed[tp] = o
	}
	g.mu.Unlock()
	return g.commitConsumed(ctx)
}

// CommitTo commits offsets of partitions that are assigned: those of the records to be read next. What Poll has returned
// beyond them does not count as consumed.
func (g *GroupConsumer) CommitTo(ctx context.Context, offsets map[TopicPartition]int64) error {
	g.mu.Lock()
	for tp := range g.returned {
		if o, ok := offsets[tp]; ok {
			g.returned[tp], g.consumed[tp] = o, o
		}
	}
	g.mu.Unlock()
	return g.commitConsumed(ctx)
}

// commitConsumed commits what is consumed and not yet committed.
func (g *GroupConsumer) commitConsumed(ctx context.Context) error {
	g.mu.Lock()
	offsets := map[TopicPartition]Committed{}
	for tp, o := range g.consumed {
		if known, ok := g.committed[tp]; !ok || known != o {
			offsets[tp] = Committed{Offset: o, LeaderEpoch: -1}
		}
	}
	g.mu.Unlock()
	if len(offsets) == 0 {
		return nil
	}
	id, generation := g.member.identity()
	req := commitRequest(g.opts.Group, id, optionalString(g.opts.Instance), generation, offsets)
	if err := g.client.commit(ctx, req, g.opts.Group); err != nil {
		return err
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	for tp, o := range offsets {
		if slices.Contains(g.owned, tp) {
			g.committed[tp] = o.Offset
		}
	}
	return nil
}

// Assignment returns the partitions that are assigned at present, and the generation.
func (g *GroupConsumer) Assignment() ([]TopicPartition, int32) {
	_, generation := g.member.identity()
	g.mu.Lock()
	defer g.mu.Unlock()
	return slices.Clone(g.owned), generation
}

// current is the consumer of what is assigned, nil for nothing.
func (g *GroupConsumer) current() *Consumer {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.inner
}

// Ready tells whether Poll would return without waiting.
func (g *GroupConsumer) Ready() bool {
	inner := g.current()
	return inner != nil && inner.Ready()
}

// Progress returns how far each assigned partition is read.
func (g *GroupConsumer) Progress() []Progress {
	if inner := g.current(); inner != nil {
		return inner.Progress()
	}
	return nil
}

// HighWatermark returns the high watermark of an assigned partition as its leader last told it, -1 if it has not.
func (g *GroupConsumer) HighWatermark(topic string, partition int32) int64 {
	if inner := g.current(); inner != nil {
		return inner.HighWatermark(topic, partition)
	}
	return -1
}

// Close commits what is consumed, unless AutoCommit is negative, and leaves the group, unless the member is a static one. It
// is idempotent.
func (g *GroupConsumer) Close() error {
	g.mu.Lock()
	was := g.closed
	g.closed = true
	g.mu.Unlock()
	g.stop()
	<-g.done
	if was {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.Background(), closeTimeout)
	defer cancel()
	var err error
	if g.opts.AutoCommit > 0 {
		err = g.commitConsumed(ctx)
	}
	g.exchange(nil, nil)
	g.member.leave(ctx)
	g.member.pool.close()
	return err
}

// closeTimeout bounds the last commit and the leaving.
const closeTimeout = 5 * time.Second

// exchange has other partitions be read from now on.
func (g *GroupConsumer) exchange(owned []TopicPartition, inner *Consumer) {
	g.mu.Lock()
	old := g.inner
	g.inner, g.owned = inner, owned
	for _, m := range []map[TopicPartition]int64{g.returned, g.consumed, g.committed} {
		for tp := range m {
			if !slices.Contains(owned, tp) {
				delete(m, tp)
			}
		}
	}
	close(g.changed)
	g.changed = make(chan struct{})
	g.mu.Unlock()
	if old != nil {
		_ = old.Close() // never fails
	}
}

// fail ends the member for good.
func (g *GroupConsumer) fail(err error) {
	g.mu.Lock()
	if g.err == nil {
		g.err = err
	}
	g.mu.Unlock()
	g.exchange(nil, nil)
}

// adopt reads owned from now on: where it is, or where the group has committed.
func (g *GroupConsumer) adopt(ctx context.Context, owned []TopicPartition) error {
	g.mu.Lock()
	at := make(map[TopicPartition]int64, len(owned))
	for tp, o := range g.returned {
		at[tp] = o
	}
	g.mu.Unlock()
	if len(owned) == 0 {
		g.exchange(nil, nil)
		return nil
	}
	committed := map[TopicPartition]Committed{}
	if slices.ContainsFunc(owned, func(tp TopicPartition) bool { _, ok := at[tp]; return !ok }) {
		var err error
		if committed, err = g.client.Committed(ctx, g.opts.Group); err != nil {
			return err
		}
	}
	o := g.opts.Consumer
	o.Assign = nil
	for _, tp := range owned {
		from := g.opts.From
		if c, ok := committed[tp]; ok {
			from = At(c.Offset)
		}
		if n, ok := at[tp]; ok {
			from = At(n)
		}
		o.Assign = append(o.Assign, Assignment{Topic: tp.Topic, Partition: tp.Partition, From: from})
	}
	inner, err := g.client.NewConsumer(o)
	if err != nil {
		return err
	}
	g.exchange(owned, inner)
	return nil
}

func optionalString(s string) *string {
	if s == "" {
		return nil
	}
	return &s
}
