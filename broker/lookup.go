package broker

import (
	"context"
	"time"

	"github.com/stelemq/stele/broker/metadata"
	"github.com/stelemq/stele/dledger"
	"github.com/stelemq/stele/protocol"
	"github.com/stelemq/stele/protocol/record"
)

// noEpochCheck is the wire's "no current leader epoch".
const noEpochCheck = int32(-1)

// leading is a partition that this node may answer for.
type leading struct {
	partition *partition
	log       PartitionLog
	leader    dledger.Leadership
}

// topicNamed finds a topic by name.
func (b *Broker) topicNamed(image *metadata.Image, name string) (*metadata.Topic, protocol.Code) {
	t, ok := image.Topic(name)
	if !ok {
		return nil, protocol.UnknownTopicOrPartition
	}
	return t, protocol.None
}

// lead finds a partition that this node leads. As in Kafka, the client's idea of the leader epoch is
// judged before the leadership: a fenced client must learn of its mistake from any replica.
func (b *Broker) lead(t *metadata.Topic, index, clientEpoch int32) (leading, protocol.Code) {
	if index < 0 || int(index) >= len(t.Partitions) {
		return leading{}, protocol.UnknownTopicOrPartition
	}
	shard := t.Partitions[index].Shard
	p := b.partitions.find(t.ID, index)
	l, code := leading{}, protocol.NotLeaderOrFollower
	if p != nil && p.spec.Shard == dledger.ShardID(shard) {
		l, code = leadLocal(p, clientEpoch)
	}
	if code == protocol.NotLeaderOrFollower || code == protocol.FencedLeaderEpoch {
		v := b.leaderOf(shard, p) // for the client, to go on there
		l.leader.Leader, l.leader.Epoch = v.Leader, v.Epoch
	}
	return l, code
}

// leadLocal is lead for a replica of this node.
func leadLocal(p *partition, clientEpoch int32) (leading, protocol.Code) {
	l := leading{partition: p, log: p.open()}
	if l.log == nil {
		if p.failure.Load() != nil {
			return l, protocol.KafkaStorageError
		}
		return l, protocol.NotLeaderOrFollower
	}
	l.leader = l.log.Leadership()
	if code := checkEpoch(clientEpoch, l.leader.Epoch); code != protocol.None {
		return l, code
	}
	if !l.leader.IsLeader {
		return l, protocol.NotLeaderOrFollower
	}
	return l, protocol.None
}

// checkEpoch compares the client's leader epoch with ours (KIP-320).
func checkEpoch(client int32, ours record.LeaderEpoch) protocol.Code {
	switch {
	case client == noEpochCheck || client == int32(ours):
		return protocol.None
	case client < int32(ours):
		return protocol.FencedLeaderEpoch
	}
	return protocol.UnknownLeaderEpoch
}

const (
	// leaseWait bounds how long a leader waits to know that nobody else leads, before it says where its log ends.
	leaseWait = time.Second
	leasePoll = 5 * time.Millisecond
)

// awaitLease waits until nobody else can lead the partition. A leader that was paused must not tell an old high
// watermark while another one has gone on. False: it is not known, or this node leads no more.
func awaitLease(ctx context.Context, l PartitionLog, until time.Time) bool {
	if l.InLease() {
		return true
	}
	tick := time.NewTicker(leasePoll)
	defer tick.Stop()
	for l.Leadership().IsLeader && time.Now().Before(until) {
		select {
		case <-ctx.Done():
			return false
		case <-tick.C:
		}
		if l.InLease() {
			return true
		}
	}
	return false
}
