package broker

import (
	"context"
	"errors"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/stelemq/stele/broker/controller"
	"github.com/stelemq/stele/broker/metadata"
	"github.com/stelemq/stele/dledger"
)

const (
	// controlTick is how often the controller looks without having been woken, controlBatch how long changes
	// collect.
	controlTick  = time.Second
	controlBatch = 50 * time.Millisecond
	// controlTimeout bounds one command, transfer or survey of the controller.
	controlTimeout = 5 * time.Second
	// controlCalls bounds the calls to other brokers under way.
	controlCalls = 32
)

// control carries out what package controller decides, as long as this broker leads the metadata.
type control struct {
	b     *Broker
	calls sync.WaitGroup
	slots chan struct{}
	// surveyed are answers on their way to the decisions.
	surveyed chan surveyResult
	// decisions is nil while this broker is not the controller.
	decisions *controller.Controller
	// changing holds a token while the metadata group is not being changed.
	changing chan struct{}
	// members of the metadata group, as of asked.
	members []controller.Member
	asked   time.Time
}

type surveyResult struct {
	by     *controller.Controller // that asked
	node   int32
	answer surveyAnswer
}

func newControl(b *Broker) *control {
	c := &control{b: b, slots: make(chan struct{}, controlCalls), surveyed: make(chan surveyResult, controlCalls), changing: make(chan struct{}, 1)}
	c.changing <- struct{}{}
	return c
}

func (b *Broker) controllerConfig() controller.Config {
	c := controller.DefaultConfig()
	c.SessionTimeout = b.opts.Config.SessionTimeout
	if f := b.opts.Config.Controller; f != nil {
		f(&c)
	}
	return c
}

// run decides until ctx ends.
func (c *control) run(ctx context.Context) {
	defer c.calls.Wait()
	defer c.b.opts.Metadata.Watch(func(metadata.Change) { c.b.pokeController() })()
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case r := <-c.surveyed:
			c.takeSurvey(r)
			continue
		case <-c.b.controlWake:
			if !c.b.opts.Host.IsController() {
				c.decisions = nil
				continue
			}
			select {
			case <-ctx.Done():
				return
			case <-time.After(controlBatch):
			}
		case <-timer.C:
		}
		c.decide(ctx)
		timer.Reset(controlTick)
	}
}

func (c *control) takeSurvey(r surveyResult) {
	if c.decisions == nil || c.decisions != r.by {
		return
	}
	for _, s := range r.answer.Shards {
		c.decisions.Surveyed(r.node, s.Shard, controller.Survey{Epoch: s.Epoch, LogEnd: s.LogEnd, Leader: s.Leader, Missing: s.Missing})
	}
	c.b.pokeController()
}

func (c *control) decide(ctx context.Context) {
	if !c.b.opts.Host.IsController() {
		c.decisions = nil
		return
	}
	now := c.b.now()
	if c.decisions == nil {
		c.decisions = controller.New(c.b.controllerConfig(), now)
		c.b.log.Info("this broker is the controller")
	}
	c.askMembers(ctx, now)
	actions := c.decisions.Decide(c.view(now))
	for _, n := range actions.Notes {
		c.b.log.Info(n.Text, "node_id", n.Node, "topic", n.Topic, "partition", n.Partition) //nolint:sloglint // constant for its kind
	}
	for _, command := range actions.Commands {
		own, cancel := context.WithTimeout(ctx, controlTimeout)
		_, err := c.b.propose(own, command)
		cancel()
		var refused *metadata.Error
		if errors.As(err, &refused) { // overtaken by events, which must not keep the rest from being done
			c.b.log.Info("command of the controller is refused", "error", refused)
			continue
		}
		if _, unclean := command.(*metadata.NewGeneration); unclean && err == nil {
			c.b.metrics.uncleanElections.Inc()
		}
		if err != nil {
			c.b.log.Debug("command of the controller", "error", err)
			break // what follows may build on it
		}
	}
	for _, t := range actions.Transfers {
		c.call(ctx, "transfer a leadership", func(ctx context.Context) error { return c.b.transferLeader(ctx, t.From, t.Shard, t.To) })
	}
	by := c.decisions
	for _, s := range actions.Surveys {
		c.call(ctx, "ask a survivor", func(ctx context.Context) error { return c.survey(ctx, by, s) })
	}
	if m := actions.Member; m != nil {
		select {
		case <-c.changing:
			c.call(ctx, "change the metadata group", func(ctx context.Context) error {
				defer func() { c.changing <- struct{}{} }()
				return c.changeMember(ctx, m)
			})
		default: // the last one is still under way
		}
	}
}

// call carries something out in the background.
func (c *control) call(ctx context.Context, what string, f func(context.Context) error) {
	c.calls.Go(func() {
		c.slots <- struct{}{}
		defer func() { <-c.slots }()
		ctx, cancel := context.WithTimeout(ctx, controlTimeout)
		defer cancel()
		if err := f(ctx); err != nil && ctx.Err() == nil {
			c.b.log.Debug("controller", "call", what, "error", err)
		}
	})
}

func (c *control) survey(ctx context.Context, by *controller.Controller, s controller.SurveyRequest) error {
	q := surveyRequest{Shards: s.Shards, HoldMillis: s.Hold.Milliseconds()}
	var a surveyAnswer
	var err error
	switch {
	case s.Node == c.b.opts.NodeID:
		a, err = c.b.hearSurvey(ctx, s.Node, &q)
	case c.b.opts.Transport != nil:
		a, err = callNode[surveyRequest, surveyAnswer](ctx, c.b.opts.Transport, s.Node, callSurvey, &q)
	}
	if err != nil {
		return err
	}
	select {
	case c.surveyed <- surveyResult{by: by, node: s.Node, answer: a}:
	case <-ctx.Done():
	}
	return nil
}

func (c *control) changeMember(ctx context.Context, m *controller.MemberChange) error {
	host, id := c.b.opts.Host, dledger.ReplicaID(m.Replica)
	switch m.Kind {
	case controller.AddMember:
		return host.AddMetadataLearner(ctx, id, m.Node) //nolint:wrapcheck // says all
	case controller.PromoteMember:
		return host.PromoteMetadata(ctx, id, m.Node) //nolint:wrapcheck // says all
	case controller.RemoveMember:
		return host.RemoveMetadata(ctx, id) //nolint:wrapcheck // says all
	case controller.HandOver:
		return host.TransferMetadata(m.Node) //nolint:wrapcheck // says all
	}
	return nil
}

// askMembers finds out who replicates the metadata, every second; without a majority nobody knows.
func (c *control) askMembers(ctx context.Context, now time.Time) {
	if !c.asked.IsZero() && now.Sub(c.asked) < controlTick {
		return
	}
	c.asked = now
	ctx, cancel := context.WithTimeout(ctx, controlTick)
	defer cancel()
	m, err := c.b.opts.Host.MetadataMembersNow(ctx)
	c.members = nil
	if err != nil {
		return
	}
	for id, node := range m.Voters {
		c.members = append(c.members, controller.Member{Replica: metadata.ReplicaID(id), Node: node, Voter: true})
	}
	for id, node := range m.Learners {
		c.members = append(c.members, controller.Member{Replica: metadata.ReplicaID(id), Node: node})
	}
	slices.SortFunc(c.members, func(a, b controller.Member) int { return int(a.Replica) - int(b.Replica) }) //nolint:gosec // small
	members := c.members
	c.b.quorumMembers.Store(&members)
}

// view is what the decisions go by.
func (c *control) view(now time.Time) controller.View {
	b := c.b
	image := b.opts.Metadata.Image()
	v := controller.View{
		Now: now, Self: b.opts.NodeID, Image: image, Nodes: map[int32]controller.Node{},
		Partition: func(s metadata.ShardID) (controller.PartitionState, bool) { return b.partitionState(s, now) },
		Members:   c.members,
		Unclean:   func(t *metadata.Topic) bool { return b.topicSettings(image, t).UncleanElection },
	}
	for node, h := range b.liveness.heard() {
		v.Nodes[node] = controller.Node{LastHeard: h.At, Incarnation: h.Incarnation, ShuttingDown: h.ShuttingDown}
	}
	return v
}

// partitionState is a partition as its leader says it is.
func (b *Broker) partitionState(s metadata.ShardID, now time.Time) (controller.PartitionState, bool) {
	l := b.leaderOf(s, b.partitions.shard(dledger.ShardID(s)))
	if !l.Serves {
		return controller.PartitionState{Leader: -1}, l.Voters != nil
	}
	state := controller.PartitionState{Leader: l.Leader, Heard: l.At, ISR: l.ISR, Voters: replicaIDs(l.Voters), Learners: replicaIDs(l.Learners)}
	if l.Leader == b.opts.NodeID {
		state.Heard = now
	}
	return state, true
}

func replicaIDs(members map[dledger.ReplicaID]int32) []metadata.ReplicaID {
	var out []metadata.ReplicaID
	for _, id := range slices.Sorted(maps.Keys(members)) {
		out = append(out, metadata.ReplicaID(id))
	}
	return out
}
