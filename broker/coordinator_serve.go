package broker

import (
	"context"
	"errors"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/stelemq/stele/broker/group"
	"github.com/stelemq/stele/dledger"
	"github.com/stelemq/stele/protocol"
	"github.com/stelemq/stele/protocol/record"
)

// serve carries out what has been asked and what is due, and appends what comes of it.
func (k *coordinator) serve(ctx context.Context) {
	if k.epoch == record.NoEpoch {
		k.refuse()
		return
	}
	for len(k.inflight) < coordinatorAppends {
		queue := k.takeQueue()
		writable := k.writable()
		if writable {
			k.state.Tick(k.b.now())
		}
		bytes := 0
		for i, r := range queue {
			if !writable && writes(r.Req) {
				r.Fail(protocol.CoordinatorNotAvailable)
				continue
			}
			k.state.Handle(k.b.now(), r)
			if bytes += requestBytes(r.Req); bytes >= coordinatorBatchBytes && i+1 < len(queue) {
				k.putBack(queue[i+1:])
				break
			}
		}
		more := k.append(ctx)
		if k.broken {
			k.follow(ctx)
			return
		}
		if !more {
			return
		}
	}
}

// refuse answers requests that this replica cannot carry out.
func (k *coordinator) refuse() {
	code := protocol.NotCoordinator
	if k.log.Leadership().IsLeader {
		code = protocol.CoordinatorLoadInProgress
	}
	for _, r := range k.takeQueue() {
		r.Fail(code)
	}
}

func (k *coordinator) takeQueue() []*group.Request {
	k.mu.Lock()
	defer k.mu.Unlock()
	queue := k.queue
	k.queue = nil
	return queue
}

func (k *coordinator) putBack(rest []*group.Request) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.queue = append(append([]*group.Request{}, rest...), k.queue...)
}

// writable reports whether an append could be acknowledged: the state is not changed for what would be refused.
func (k *coordinator) writable() bool {
	return len(k.log.Leadership().ISR) >= k.p.topic.settings.Load().MinInSyncReplicas
}

// writes reports whether a request may change what is recorded.
func writes(req kmsg.Request) bool {
	switch req.(type) {
	case *kmsg.OffsetFetchRequest, *kmsg.HeartbeatRequest, *kmsg.ListGroupsRequest, *kmsg.DescribeGroupsRequest, *kmsg.ConsumerGroupDescribeRequest:
		return false
	}
	return true
}

// requestBytes is about what a request adds to a batch.
func requestBytes(req kmsg.Request) int {
	const perPartition, small = 128, 256
	switch req := req.(type) {
	case *kmsg.OffsetCommitRequest:
		n := 0
		for i := range req.Topics {
			for j := range req.Topics[i].Partitions {
				n += perPartition
				if m := req.Topics[i].Partitions[j].Metadata; m != nil {
					n += len(*m)
				}
			}
		}
		return n
	case *kmsg.SyncGroupRequest:
		n := 0
		for i := range req.GroupAssignment {
			n += 2 * (perPartition + len(req.GroupAssignment[i].MemberAssignment))
		}
		return n
	}
	return small
}

// append takes what the state has made and appends it. It reports whether there may be more to do at once.
func (k *coordinator) append(ctx context.Context) bool {
	records, answers := k.state.Take()
	if len(records) == 0 {
		k.holdAnswers(answers)
		return false
	}
	a := &coordinatorAppend{answers: answers, records: int64(len(records))}
	batch, err := buildGroupBatch(records, k.b.now().UnixMilli())
	if err == nil {
		a.request = dledger.AppendRequest{Batch: batch, Acks: dledger.AcksAll, Timeout: coordinatorAppendTimeout, Done: func(r dledger.AppendResult) {
			k.mu.Lock()
			a.finished, a.result = true, r
			k.mu.Unlock()
			signal(k.wake)
		}}
		k.inflight = append(k.inflight, a)
		if err = k.log.Append(ctx, &a.request); err == nil {
			return true
		}
		k.inflight = k.inflight[:len(k.inflight)-1]
	}
	code := coordinatorCode(err)
	k.slog.Warn("group metadata cannot be written", "error", err)
	for _, answer := range answers {
		answer.Send(code)
	}
	k.broken = true
	return false
}

func buildGroupBatch(records []group.Record, timestamp int64) (record.Batch, error) {
	var b record.Builder
	for i := range records {
		b.Append(record.Record{Key: records[i].Key, Value: records[i].Value, Timestamp: timestamp})
	}
	batch, err := b.Build(record.None, record.DefaultLevel)
	if err != nil {
		return nil, err //nolint:wrapcheck // said by the caller
	}
	return batch, nil
}

// holdAnswers has answers without records wait for what has been appended before: they may tell of it.
func (k *coordinator) holdAnswers(answers []group.Answer) {
	if n := len(k.inflight); n > 0 {
		last := k.inflight[n-1]
		last.answers = append(last.answers, answers...)
		return
	}
	k.unleased = append(k.unleased, answers...)
}

// release sends the answers that wait for nothing but the knowledge that nobody else leads: another coordinator may have
// taken commits meanwhile.
func (k *coordinator) release() {
	if len(k.unleased) == 0 || !k.log.InLease() {
		return
	}
	for _, a := range k.unleased {
		a.Send(protocol.None)
	}
	k.unleased = k.unleased[:0]
}

// finish sends the answers of what has been committed.
func (k *coordinator) finish() {
	for len(k.inflight) > 0 {
		a := k.inflight[0]
		k.mu.Lock()
		finished, result := a.finished, a.result
		k.mu.Unlock()
		if !finished {
			return
		}
		k.inflight = k.inflight[1:]
		switch {
		case result.Err == nil:
			k.next = max(k.next, result.BaseOffset+record.Offset(a.records))
		case errors.Is(result.Err, dledger.ErrNotEnoughReplicasAfterAppend):
			// It is in the log and will stay there, so the state holds; nobody is told that it is safe. What comes
			// after it cannot be answered before it is committed, either.
		default:
			k.broken = true
		}
		code := coordinatorCode(result.Err)
		for _, answer := range a.answers {
			answer.Send(code)
		}
	}
}

// coordinatorCode is what members are told of an append that failed, as Kafka translates it.
func coordinatorCode(err error) protocol.Code {
	switch {
	case err == nil:
		return protocol.None
	case errors.Is(err, dledger.ErrNotLeader), errors.Is(err, dledger.ErrClosed):
		return protocol.NotCoordinator
	}
	return protocol.CoordinatorNotAvailable
}
