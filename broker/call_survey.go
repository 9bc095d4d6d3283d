package broker

import (
	"context"
	"time"

	"github.com/stelemq/stele/broker/metadata"
	"github.com/stelemq/stele/dledger"
	"github.com/stelemq/stele/protocol/record"
)

// Call "survey": the controller asks a broker how far its replicas of some partitions reach that have lost
// their majority. Who has answered acknowledges nothing in them for a while: a new generation may begin from
// what it has said.
const callSurvey = "survey"

type surveyRequest struct {
	Shards []metadata.ShardID `json:"shards"`
	// HoldMillis is how long nothing may be acknowledged.
	HoldMillis int64 `json:"hold_ms"`
}

type surveyAnswer struct {
	Shards []surveyed `json:"shards"`
}

// surveyed is how far a replica reaches.
type surveyed struct {
	Shard metadata.ShardID `json:"shard"`
	// Missing: there is no such replica here that could be used.
	Missing bool               `json:"missing,omitempty"`
	Epoch   record.LeaderEpoch `json:"epoch"` // of the last entry
	LogEnd  record.Offset      `json:"log_end"`
	Leader  int32              `json:"leader"` // that its group knows, -1: none
}

func (b *Broker) hearSurvey(_ context.Context, _ int32, q *surveyRequest) (surveyAnswer, error) {
	var a surveyAnswer
	for _, shard := range q.Shards {
		s := surveyed{Shard: shard, Missing: true, Epoch: -1, LogEnd: record.NoOffset, Leader: -1}
		p := b.partitions.shard(dledger.ShardID(shard))
		var log PartitionLog
		if p != nil {
			log = p.open()
		}
		if log != nil {
			log.HoldAcknowledgements(time.Duration(q.HoldMillis) * time.Millisecond)
			s.Missing, s.Leader = false, log.Leadership().Leader
			s.Epoch, s.LogEnd = log.Survey()
		}
		a.Shards = append(a.Shards, s)
	}
	return a, nil
}
