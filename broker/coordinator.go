package broker

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"github.com/stelemq/stele/broker/group"
	"github.com/stelemq/stele/dledger"
	"github.com/stelemq/stele/protocol"
	"github.com/stelemq/stele/protocol/record"
)

const (
	// coordinatorAppends is how many batches of a coordinator may be on their way; requests that come meanwhile collect for
	// the next.
	coordinatorAppends = 2
	// coordinatorBatchBytes is when a batch goes without waiting for further requests.
	coordinatorBatchBytes = 512 << 10
	// coordinatorReadBytes is how much of the log is replayed at once.
	coordinatorReadBytes = 1 << 20
	// coordinatorAppendTimeout is longer than anybody waits: what may still be appended must not be taken for lost.
	coordinatorAppendTimeout = time.Hour
)

// coordinator is a local replica of a partition of __consumer_offsets: it replays what is committed, and while the replica
// leads it answers the requests of the partition's groups. One goroutine owns the state.
type coordinator struct {
	b    *Broker
	p    *partition
	log  PartitionLog
	slog *slog.Logger

	wake chan struct{}
	stop context.CancelFunc
	done chan struct{}

	mu     sync.Mutex
	queue  []*group.Request           // mu guards
	calls  []func(*group.Coordinator) // mu guards
	closed bool                       // mu guards

	// What follows belongs to run.
	state *group.Coordinator
	// next is the offset from which on nothing has been replayed.
	next record.Offset
	// loaded: everything committed has been replayed once; from then on records come as they were written, or what is
	// missing of them may have been a tombstone.
	loaded bool
	// epoch is the leader epoch in which requests are answered, record.NoEpoch while they are not.
	epoch record.LeaderEpoch
	// broken: what state holds may never be in the log.
	broken bool
	// inflight are the appends that have not been answered, in the order of the log.
	inflight []*coordinatorAppend
	// unleased are answers without records that wait to know that nobody else leads.
	unleased []group.Answer
}

// coordinatorAppend is a batch on its way, and the answers that wait for it.
type coordinatorAppend struct {
	request  dledger.AppendRequest
	answers  []group.Answer
	records  int64
	finished bool
	result   dledger.AppendResult
}

// enqueue hands a request over; it is answered in any case.
func (k *coordinator) enqueue(r *group.Request) {
	k.mu.Lock()
	closed := k.closed
	if !closed {
		k.queue = append(k.queue, r)
	}
	k.mu.Unlock()
	if closed {
		r.Fail(protocol.NotCoordinator)
		return
	}
	signal(k.wake)
}

// read has f look at the state if this replica answers requests; false: it does not, or ctx has ended.
func (k *coordinator) read(ctx context.Context, f func(*group.Coordinator)) bool {
	ran := make(chan bool, 1)
	k.mu.Lock()
	closed := k.closed
	if !closed {
		k.calls = append(k.calls, func(c *group.Coordinator) {
			if c != nil {
				f(c)
			}
			ran <- c != nil
		})
	}
	k.mu.Unlock()
	if closed {
		return false
	}
	signal(k.wake)
	select {
	case ok := <-ran:
		return ok
	case <-ctx.Done():
		return false
	}
}

// change has f change the state, if this replica answers requests then.
func (k *coordinator) change(f func(*group.Coordinator)) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.closed {
		return
	}
	k.calls = append(k.calls, func(c *group.Coordinator) {
		if c != nil {
			f(c)
		}
	})
	signal(k.wake)
}

// run follows the log until ctx ends.
func (k *coordinator) run(ctx context.Context) {
	defer close(k.done)
	changed := make(chan struct{}, 1)
	unsubscribe := k.log.Subscribe(changed)
	defer unsubscribe()
	k.reset()
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		k.turn(ctx)
		k.arm(timer)
		select {
		case <-ctx.Done():
			k.end()
			return
		case <-changed:
		case <-k.wake:
		case <-timer.C:
		}
	}
}

// coordinatorIdle is how long a coordinator sleeps that nothing wakes.
const coordinatorIdle = time.Hour

// coordinatorRetry is after how long a coordinator tries again to load what it has not been able to read.
const coordinatorRetry = 100 * time.Millisecond

// arm sets the timer to when something has to be done next.
func (k *coordinator) arm(timer *time.Timer) {
	wait := coordinatorIdle
	if at, ok := k.state.NextDeadline(); ok && k.epoch != record.NoEpoch {
		wait = min(wait, max(at.Sub(k.b.now()), 0))
	}
	if len(k.unleased) > 0 {
		wait = min(wait, leasePoll)
	}
	if k.epoch == record.NoEpoch && k.log.Leadership().IsLeader {
		wait = min(wait, coordinatorRetry)
	}
	timer.Reset(wait)
}

// turn does everything that can be done now.
func (k *coordinator) turn(ctx context.Context) {
	k.finish()
	k.follow(ctx)
	k.runCalls()
	k.serve(ctx)
	k.release()
}

// end answers whatever waits.
func (k *coordinator) end() {
	k.lose(protocol.NotCoordinator)
	k.mu.Lock()
	k.closed = true
	queue, calls := k.queue, k.calls
	k.queue, k.calls = nil, nil
	k.mu.Unlock()
	for _, r := range queue {
		r.Fail(protocol.NotCoordinator)
	}
	for _, f := range calls {
		f(nil)
	}
}

// reset begins with an empty state.
func (k *coordinator) reset() {
	k.state = group.New(k.b.groupConfig())
	k.next, k.epoch, k.broken, k.loaded = k.log.Offsets().LogStart, record.NoEpoch, false, false
}

// follow makes the state what the log and the leadership say.
func (k *coordinator) follow(ctx context.Context) {
	l := k.log.Leadership()
	if k.epoch != record.NoEpoch && (!l.IsLeader || l.Epoch != k.epoch || k.broken) {
		k.lose(protocol.NotCoordinator)
	}
	if k.epoch != record.NoEpoch || len(k.inflight) > 0 {
		return // what is in flight is appended, or not, before the log is read again
	}
	if k.broken {
		k.reset()
	}
	end := k.log.Offsets()
	if !k.replay(ctx, end.HighWatermark) || !l.IsLeader || k.next < end.LogEnd {
		return
	}
	k.epoch = l.Epoch
	k.state.Lead(k.b.now())
	k.slog.Debug("group coordinator serves", "leader_epoch", l.Epoch, "next_offset", k.next)
}

// lose ends the answering. Where something is still on its way nobody knows whether it will be in the log: then the state
// must be read again.
func (k *coordinator) lose(code protocol.Code) {
	if k.epoch == record.NoEpoch {
		return
	}
	k.epoch = record.NoEpoch
	for _, a := range k.unleased {
		a.Send(code)
	}
	k.unleased = nil
	lost := k.broken || len(k.inflight) > 0
	for _, a := range k.inflight {
		for _, answer := range a.answers {
			answer.Send(code)
		}
		a.answers = nil
	}
	records, answers := k.state.Take()
	for _, a := range answers {
		a.Send(code)
	}
	if k.broken = lost || len(records) > 0; k.broken {
		k.state.Abandon(code)
		return
	}
	k.state.Resign(code)
}

// replay applies what is committed below end; false: there is more to come, or it cannot be read now.
func (k *coordinator) replay(ctx context.Context, end record.Offset) bool {
	var buf []byte
	for k.next < end {
		if ctx.Err() != nil {
			return false
		}
		got, _, err := k.log.Read(buf[:0], dledger.ReadRequest{From: k.next, Limit: dledger.ReadToHighWatermark, MaxBytes: coordinatorReadBytes, AtLeastOne: true})
		if err != nil {
			if start := k.log.Offsets().LogStart; start > k.next { // the log begins later by now
				k.reset()
				continue
			}
			k.slog.Error("group metadata cannot be read", "offset", k.next, "error", err)
			return false
		}
		buf = got
		before := k.next
		if !k.replayBatches(got) {
			k.slog.Info("group metadata was compacted ahead of its reader: it is read again", "offset", k.next)
			k.reset()
			continue
		}
		if k.next == before {
			k.next = end // compaction has left nothing
		}
	}
	k.loaded = true
	return true
}

// replayBatches applies batches. False: records are missing although everything before had been read as it was written, as
// when a replica that was far behind got the log of another one. What they deleted would stay for ever.
func (k *coordinator) replayBatches(rest []byte) bool {
	for len(rest) > 0 {
		var batch record.Batch
		var err error
		if batch, rest, err = record.Next(rest); err != nil {
			return true // cut off by the limit of the read
		}
		if whole := batch.Count() == batch.LastOffsetDelta()+1; k.loaded && (batch.BaseOffset() > k.next || !whole && batch.LastOffset() >= k.next) {
			return false
		}
		k.replayBatch(batch)
	}
	return true
}

// replayBatch applies the records of a batch. One that cannot be read is passed over: the others must not be lost with it.
func (k *coordinator) replayBatch(batch record.Batch) {
	if !batch.Attributes().Control() {
		for r, err := range batch.Records(k.b.opts.Config.MaxRequestBytes) {
			if err == nil && r.Offset >= k.next {
				err = k.state.Replay(group.Record{Key: r.Key, Value: r.Value})
			}
			if err != nil {
				k.slog.Error("record of group metadata cannot be read", "offset", r.Offset, "error", err)
			}
		}
	}
	k.next = max(k.next, batch.NextOffset())
}

func (k *coordinator) runCalls() {
	k.mu.Lock()
	calls := k.calls
	k.calls = nil
	k.mu.Unlock()
	for _, f := range calls {
		if k.epoch == record.NoEpoch {
			f(nil)
			continue
		}
		f(k.state)
	}
}
