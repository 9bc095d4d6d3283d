package broker

import (
	"context"
	"fmt"
	"slices"
	"sync"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/stelemq/stele/broker/metadata"
	"github.com/stelemq/stele/protocol"
)

// ElectLeaders: v0-v2
//
// Behaviour: preferred: asks leaders to hand over to the preferred replica, if it is in sync. Unclean: asks the
// controller to let a partition that has lost its majority go on from its longest surviving replica, and waits
// for that within the request's timeout: it takes longer than broker.session.timeout.ms. Null topics mean all
// partitions; then those that need no election are left out.
//
// Version notes: v1 election types and a code for the whole request.

const (
	electPreferred = 0
	electUnclean   = 1
	// electionsMax bounds the hand-overs at one time.
	electionsMax = 16
)

// election is one partition of a request.
type election struct {
	topic *metadata.Topic
	name  string
	index int32
	code  protocol.Code
	text  string
}

func (e *election) fail(code protocol.Code, format string, args ...any) {
	e.code, e.text = code, fmt.Sprintf(format, args...)
}

func (k *call) electLeaders(req *kmsg.ElectLeadersRequest) kmsg.Response {
	resp := kmsg.NewPtrElectLeadersResponse()
	kind := req.ElectionType
	if req.Version == 0 {
		kind = electPreferred
	}
	if kind != electPreferred && kind != electUnclean {
		resp.ErrorCode = k.code(protocol.InvalidRequest)
		return resp
	}
	ctx, cancel := context.WithTimeout(k.ctx, requestTimeout(req.TimeoutMillis))
	defer cancel()
	elections := electionsOf(k.b.opts.Metadata.Image(), req)
	var wg sync.WaitGroup
	slots := make(chan struct{}, electionsMax)
	for i := range elections {
		e := &elections[i]
		if e.code != protocol.None {
			continue
		}
		slots <- struct{}{}
		wg.Go(func() {
			defer func() { <-slots }()
			if kind == electUnclean {
				k.b.electUnclean(ctx, e)
			} else {
				k.b.electPreferred(ctx, e)
			}
		})
	}
	wg.Wait()
	for i := range elections {
		if e := &elections[i]; req.Topics != nil || e.code != protocol.ElectionNotNeeded {
			k.answerElection(resp, e)
		}
	}
	return resp
}

func (k *call) answerElection(resp *kmsg.ElectLeadersResponse, e *election) {
	n := slices.IndexFunc(resp.Topics, func(t kmsg.ElectLeadersResponseTopic) bool { return t.Topic == e.name })
	if n < 0 {
		t := kmsg.NewElectLeadersResponseTopic()
		t.Topic = e.name
		resp.Topics = append(resp.Topics, t)
		n = len(resp.Topics) - 1
	}
	p := kmsg.NewElectLeadersResponseTopicPartition()
	p.Partition = e.index
	if e.code != protocol.None {
		p.ErrorCode, p.ErrorMessage = k.code(e.code), &e.text
	}
	resp.Topics[n].Partitions = append(resp.Topics[n].Partitions, p)
}

// electionsOf are the partitions that a request names, or all.
func electionsOf(image *metadata.Image, req *kmsg.ElectLeadersRequest) []election {
	var out []election
	if req.Topics == nil {
		for _, name := range image.TopicNames() {
			t, _ := image.Topic(name)
			for n := range t.Partitions {
				out = append(out, election{topic: t, name: name, index: int32(n)}) //nolint:gosec // bounded by the metadata
			}
		}
		return out
	}
	for i := range req.Topics {
		t, ok := image.Topic(req.Topics[i].Topic)
		for _, index := range req.Topics[i].Partitions {
			e := election{topic: t, name: req.Topics[i].Topic, index: index}
			switch {
			case !ok:
				e.fail(protocol.UnknownTopicOrPartition, "No such topic as %s", e.name)
			case index < 0 || int(index) >= len(t.Partitions):
				e.fail(protocol.UnknownTopicOrPartition, "No such partition as %s-%d", e.name, index)
			}
			out = append(out, e)
		}
	}
	return out
}

// electPreferred has the leader of a partition hand over to the preferred replica.
func (b *Broker) electPreferred(ctx context.Context, e *election) {
	p := &e.topic.Partitions[e.index]
	view := b.leaderOf(p.Shard, b.partitions.shard(dledgerShard(p.Shard)))
	preferred := p.PreferredLeader()
	switch {
	case view.Leader == preferred:
		e.fail(protocol.ElectionNotNeeded, "Leader election not needed for topic partition.")
	case view.Leader < 0 || !slices.Contains(view.ISR, preferred):
		e.fail(protocol.PreferredLeaderNotAvailable, "The preferred leader was not available.")
	default:
		if err := b.transferLeader(ctx, view.Leader, p.Shard, preferred); err != nil {
			code := protocol.PreferredLeaderNotAvailable
			if ctx.Err() != nil {
				code = protocol.RequestTimedOut
			}
			e.fail(code, "Broker %d did not hand over to broker %d: %s", view.Leader, preferred, err)
		}
	}
}

// electUnclean asks for the recovery of a partition that has lost its majority, and waits until it has a leader.
func (b *Broker) electUnclean(ctx context.Context, e *election) {
	p := &e.topic.Partitions[e.index]
	leads := func(shard metadata.ShardID) bool {
		view := b.leaderOf(shard, b.partitions.shard(dledgerShard(shard)))
		br, ok := b.opts.Metadata.Image().Broker(view.Leader)
		return view.Leader >= 0 && ok && !br.Fenced
	}
	if leads(p.Shard) {
		e.fail(protocol.ElectionNotNeeded, "Leader election not needed for topic partition.")
		return
	}
	if !anyAlive(b.opts.Metadata.Image(), p) {
		e.fail(protocol.EligibleLeadersNotAvailable, "Eligible topic partition leaders are not available.")
		return
	}
	if _, err := b.propose(ctx, &metadata.RecoverPartition{Topic: e.topic.ID, Partition: e.index}); err != nil {
		code, text := refusal(err)
		e.fail(code, "%s", *text)
		return
	}
	for {
		changed := b.partitions.changes()
		if t, ok := b.opts.Metadata.Image().TopicByID(e.topic.ID); !ok {
			e.fail(protocol.UnknownTopicOrPartition, "No such topic as %s", e.name)
			return
		} else if leads(t.Partitions[e.index].Shard) {
			return
		}
		select {
		case <-changed:
		case <-ctx.Done():
			e.fail(protocol.RequestTimedOut, "The recovery goes on; it takes longer than broker.session.timeout.ms.")
			return
		}
	}
}

func anyAlive(image *metadata.Image, p *metadata.Partition) bool {
	return slices.ContainsFunc(p.Nodes(), func(node int32) bool {
		b, ok := image.Broker(node)
		return ok && !b.Fenced
	})
}
