package broker

import (
	"context"
	"fmt"

	"github.com/stelemq/stele/broker/metadata"
	"github.com/stelemq/stele/dledger"
	"github.com/stelemq/stele/protocol/record"
)

// Call "partition_status": how a broker's replica of a partition stands, for people.
const callPartitionStatus = "partition_status"

type partitionStatusRequest struct {
	Shard metadata.ShardID `json:"shard"`
}

// replicaStatus is a replica as its node sees it.
type replicaStatus struct {
	Node    int32             `json:"node"`
	Replica dledger.ReplicaID `json:"replica,omitempty"`
	// State is what the cluster wants of it: voter, learner or leaving.
	State string `json:"state"`
	// Role is what it is in Raft.
	Role   string        `json:"role,omitempty"`
	Leader int32         `json:"leader"`
	Term   dledger.Term  `json:"term"`
	First  dledger.Index `json:"first_index"`
	Last   dledger.Index `json:"last_index"`
	Commit dledger.Index `json:"commit_index"`
	// Applied is the index up to which the high watermark shows what is committed.
	Applied     dledger.Index `json:"applied_index"`
	Quarantined bool          `json:"quarantined,omitempty"`
	// LastContactMillis is how long ago it heard its leader, 0 on the leader.
	LastContactMillis int64         `json:"last_contact_ms"`
	LogStart          record.Offset `json:"log_start_offset"`
	HighWatermark     record.Offset `json:"high_watermark"`
	LogEnd            record.Offset `json:"log_end_offset"`
	SizeBytes         int64         `json:"size_bytes"`
	// Lag is how many offsets it lacks, as the leader knows; null where it does not.
	Lag *int64 `json:"lag"`
	// Error is why nothing is known of it.
	Error string `json:"error,omitempty"`
}

// statusAnswer carries what replicaStatus does not show.
type statusAnswer struct {
	replicaStatus

	Lags map[int32]int64 `json:"lags,omitempty"`
}

func (b *Broker) hearPartitionStatus(_ context.Context, _ int32, q *partitionStatusRequest) (statusAnswer, error) {
	var log PartitionLog
	if p := b.partitions.shard(dledgerShard(q.Shard)); p != nil {
		log = p.open()
	}
	if log == nil {
		return statusAnswer{}, fmt.Errorf("no replica of shard %d is open here", q.Shard)
	}
	st, o := log.Status(), log.Offsets()
	return statusAnswer{replicaStatus: replicaStatus{
		Node: b.opts.NodeID, Replica: st.Replica, Role: fmt.Sprint(st.Role), Leader: st.Leader, Term: st.Term, First: st.Base + 1, Last: st.Last, Commit: st.Commit, Applied: st.Applied,
		Quarantined: st.Quarantined, LastContactMillis: st.LastContact.Milliseconds(),
		LogStart: o.LogStart, HighWatermark: o.HighWatermark, LogEnd: o.LogEnd, SizeBytes: log.Size(),
	}, Lags: log.Lags()}, nil
}

// partitionStatus asks every node with a replica.
func (b *Broker) partitionStatus(ctx context.Context, p *metadata.Partition) []replicaStatus {
	out := make([]replicaStatus, len(p.Replicas))
	done := make(chan struct{}, len(p.Replicas))
	lags := make([]map[int32]int64, len(p.Replicas))
	for n := range p.Replicas {
		go func() {
			defer func() { done <- struct{}{} }()
			out[n], lags[n] = b.replicaStatus(ctx, p, p.Replicas[n])
		}()
	}
	for range p.Replicas {
		<-done
	}
	for _, known := range lags {
		for n := range out {
			if lag, ok := known[out[n].Node]; ok {
				out[n].Lag = &lag
			}
		}
	}
	for n := range out {
		if out[n].Error == "" && out[n].Leader == out[n].Node {
			zero := int64(0)
			out[n].Lag = &zero
		}
	}
	return out
}

func (b *Broker) replicaStatus(ctx context.Context, p *metadata.Partition, r metadata.Replica) (replicaStatus, map[int32]int64) {
	var a statusAnswer
	var err error
	q := partitionStatusRequest{Shard: p.Shard}
	switch {
	case r.Node == b.opts.NodeID:
		a, err = b.hearPartitionStatus(ctx, r.Node, &q)
	case b.opts.Transport == nil:
		err = errNoTransport
	default:
		a, err = callNode[partitionStatusRequest, statusAnswer](ctx, b.opts.Transport, r.Node, callPartitionStatus, &q)
	}
	s := a.replicaStatus
	s.Node, s.State = r.Node, r.State.String()
	switch {
	case err != nil:
		s = replicaStatus{Node: r.Node, Replica: dledger.ReplicaID(r.ID), State: r.State.String(), Leader: -1, Error: err.Error()}
	case s.Replica != dledger.ReplicaID(r.ID):
		s = replicaStatus{Node: r.Node, Replica: dledger.ReplicaID(r.ID), State: r.State.String(), Leader: -1, Error: fmt.Sprintf("the node runs replica %d", s.Replica)}
	}
	return s, a.Lags
}
