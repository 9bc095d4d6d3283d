package client

import (
	"context"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/stelemq/stele/protocol"
)

// Quorum is who replicates a cluster's metadata.
type Quorum struct {
	// Leader is the node that leads it, the controller; Epoch of its leadership.
	Leader, Epoch int32
	// HighWatermark is the end of what is committed, exclusive.
	HighWatermark int64
	// Voters decide, Observers follow.
	Voters, Observers []QuorumReplica
	// Wanted is how many should vote, 0 where the cluster does not tell.
	Wanted int
}

// QuorumReplica is a node's replica of the metadata.
type QuorumReplica struct {
	Node int32
	// LogEndOffset is how far it is, -1 where that is not known.
	LogEndOffset int64
	// Heard is when the leader heard it last, CaughtUp when it was last known to have everything; zero: never.
	Heard, CaughtUp time.Time
}

// Voting returns the nodes whose present replica votes. A vote of a former disk of a node does not count.
func (q *Quorum) Voting() []int32 {
	observer := map[int32]bool{}
	for _, o := range q.Observers {
		observer[o.Node] = true
	}
	var out []int32
	for _, v := range q.Voters {
		if !observer[v.Node] {
			out = append(out, v.Node)
		}
	}
	return out
}

// Quorum asks who replicates the metadata. Errors: ErrUnsupported, protocol.NotLeaderOrFollower (there is no controller).
func (c *Client) Quorum(ctx context.Context) (*Quorum, error) {
	const op = "ask for the metadata's voters"
	req := kmsg.NewPtrDescribeQuorumRequest()
	req.Topics = []kmsg.DescribeQuorumRequestTopic{{
		Topic: "__cluster_metadata", Partitions: []kmsg.DescribeQuorumRequestTopicPartition{{}},
	}}
	resp, err := c.Request(ctx, AnyBroker, req)
	if err != nil {
		return nil, err
	}
	res := resp.(*kmsg.DescribeQuorumResponse) //nolint:errcheck,forcetypeassert // decoded as such
	if err := codeError(op, res.ErrorCode, deref(res.ErrorMessage)); err != nil {
		return nil, err
	}
	if len(res.Topics) != 1 || len(res.Topics[0].Partitions) != 1 {
		return nil, codeError(op, int16(protocol.UnknownTopicOrPartition), "the answer names no partition")
	}
	p := &res.Topics[0].Partitions[0]
	if err := codeError(op, p.ErrorCode, deref(p.ErrorMessage)); err != nil {
		return nil, err
	}
	q := &Quorum{Leader: p.LeaderID, Epoch: p.LeaderEpoch, HighWatermark: p.HighWatermark}
	q.Voters, q.Observers = quorumReplicas(p.CurrentVoters), quorumReplicas(p.Observers)
	res.UnknownTags.Each(func(key uint32, value []byte) {
		if key == protocol.TagVotersWanted && len(value) == 1 {
			q.Wanted = int(value[0])
		}
	})
	return q, nil
}

func quorumReplicas(states []kmsg.DescribeQuorumResponseTopicPartitionReplicaState) []QuorumReplica {
	at := func(millis int64) time.Time {
		if millis <= 0 {
			return time.Time{}
		}
		return time.UnixMilli(millis)
	}
	out := make([]QuorumReplica, 0, len(states))
	for i := range states {
		s := &states[i]
		out = append(out, QuorumReplica{s.ReplicaID, s.LogEndOffset, at(s.LastFetchTimestamp), at(s.LastCaughtUpTimestamp)})
	}
	return out
}
