package client

import (
	"context"
	"errors"
	"fmt"
	"time"

	kproto "github.com/segmentio/kafka-go/protocol"
	"github.com/segmentio/kafka-go/protocol/fetch"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/stelemq/stele/protocol"
	"github.com/stelemq/stele/protocol/record"
)

func (part *fetchPartition) name() string { return fmt.Sprintf("%s-%d", part.Topic, part.Partition) }

// fetcher reads from one broker the partitions that it leads, with one request
// at a time.
type fetcher struct {
	k      *Consumer
	broker int32
	wake   chan struct{}

	// Under the Consumer's mutex:
	parts []*fetchPartition
	next  int // where to begin, so that no partition starves
}

func (f *fetcher) poke() { poke(f.wake) }

func (k *Consumer) fetcherLocked(broker int32) *fetcher {
	f := k.fetchers[broker]
	if f == nil {
		f = &fetcher{k: k, broker: broker, wake: make(chan struct{}, 1)}
		k.fetchers[broker] = f
		life := k.life
		k.wg.Go(func() { f.run(life) })
	}
	return f
}

// want is a partition in a fetch, and the offset that it was asked from.
type want struct {
	part   *fetchPartition
	offset int64
}

func (f *fetcher) run(ctx context.Context) {
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	for ctx.Err() == nil {
		f.k.mu.Lock()
		wants, req, wait := f.requestLocked(time.Now())
		f.k.mu.Unlock()
		if req == nil {
			timer.Reset(wait)
			select {
			case <-f.wake:
			case <-timer.C:
			case <-ctx.Done():
			}
			continue
		}
		res, err := f.ask(ctx, req)
		if ctx.Err() != nil {
			return
		}
		f.k.fetched(wants, res, err)
	}
}

// crowdedWait is how long a fetch waits at the broker when partitions are left
// out of it because enough of them is buffered: not long, or they would be
// drained and wait for the others.
const crowdedWait = 20 * time.Millisecond

// requestLocked asks for what there is room for.
func (f *fetcher) requestLocked(now time.Time) ([]want, *fetch.Request, time.Duration) {
	k := f.k
	wait := idleWait
	if k.buffered >= k.opts.BufferBytes {
		return nil, nil, wait
	}
	share := max(k.opts.PartitionBytes, k.opts.BufferBytes/len(k.parts))
	req := &fetch.Request{
		ReplicaID: -1, MinBytes: int32(min(k.opts.MinBytes, 1<<30)), MaxBytes: int32(min(k.opts.FetchBytes, 1<<30)), //nolint:gosec // bounded
		MaxWaitTime: int32(k.opts.MaxWait.Milliseconds()), SessionEpoch: -1, //nolint:gosec // small
	}
	var wants []want
	topics := make(map[string]int)
	for i := range f.parts {
		part := f.parts[(f.next+i)%len(f.parts)]
		switch d := part.retryAt.Sub(now); {
		case !part.resolved || part.done():
			continue
		case d > 0:
			wait = min(wait, d)
			continue
		case part.buffered >= share:
			req.MaxWaitTime = min(req.MaxWaitTime, int32(crowdedWait.Milliseconds()))
			continue
		}
		at, ok := topics[part.Topic]
		if !ok {
			at = len(req.Topics)
			topics[part.Topic] = at
			req.Topics = append(req.Topics, fetch.RequestTopic{Topic: part.Topic})
		}
		t := &req.Topics[at]
		t.Partitions = append(t.Partitions, fetch.RequestPartition{
			Partition: part.Partition, CurrentLeaderEpoch: -1, FetchOffset: part.offset, LogStartOffset: -1, PartitionMaxBytes: part.maxBytes,
		})
		wants = append(wants, want{part, part.offset})
	}
	f.next++
	if len(wants) == 0 {
		return nil, nil, wait
	}
	return wants, req, 0
}

// ask sends a fetch and reads the answer. kafka-go would decode every record
// of it; here only the frame around the batches is read, by kmsg.
func (f *fetcher) ask(ctx context.Context, req *fetch.Request) (*kmsg.FetchResponse, error) {
	l, err := f.k.pool.get(ctx, f.broker)
	if err != nil {
		return nil, err
	}
	version, err := l.version(kproto.Fetch)
	if err == nil && version < 4 {
		err = &Error{Op: "fetch", Reason: "the broker is older than Kafka 0.11", Err: ErrUnsupported}
	}
	if err != nil {
		return nil, err
	}
	answers := make(chan answer, 1)
	l.send(req, version, sendOptions{
		timeout: f.k.opts.MaxWait + f.k.opts.RequestTimeout, raw: true, finish: func(a answer) { answers <- a },
	})
	var a answer
	select {
	case a = <-answers:
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
	if a.err != nil {
		return nil, a.err
	}
	res := kmsg.NewPtrFetchResponse()
	res.Version = a.version
	if err := res.ReadFrom(a.body); err != nil {
		return nil, fmt.Errorf("%w: decode an answer to Fetch: %w", ErrConnectionLost, err)
	}
	return res, codeError("fetch", res.ErrorCode, "")
}

// fetched takes the answer to a fetch.
func (k *Consumer) fetched(wants []want, res *kmsg.FetchResponse, err error) {
	if err != nil {
		k.fetchFailed(wants, err)
		return
	}
	type key struct {
		topic string
		id    int32
	}
	byKey := make(map[key]*want, len(wants))
	for i := range wants {
		byKey[key{wants[i].part.Topic, wants[i].part.Partition}] = &wants[i]
	}
	for i := range res.Topics {
		t := &res.Topics[i]
		for j := range t.Partitions {
			p := &t.Partitions[j]
			if w := byKey[key{t.Topic, p.Partition}]; w != nil {
				k.fetchedPartition(w, p)
			}
		}
	}
	poke(k.avail)
}

// fetchFailed puts off what a fetch asked for. Nothing is lost: it is asked for
// again from the same offsets.
func (k *Consumer) fetchFailed(wants []want, err error) {
	k.client.opts.Logger.Debug("fetch failed", "error", err)
	k.mu.Lock()
	defer k.mu.Unlock()
	var e *Error
	if errors.As(err, &e) && !e.Retriable() {
		k.failLocked(err)
		return
	}
	for _, w := range wants {
		k.staleLocked(w.part)
	}
}

// failLocked makes err what Poll returns.
func (k *Consumer) failLocked(err error) {
	if k.err == nil {
		k.err = err
	}
	poke(k.avail)
}

// staleLocked has the leader of a partition looked up.
func (k *Consumer) staleLocked(part *fetchPartition) {
	part.stale = true
	part.retryAt = time.Now().Add(part.wait.duration())
	poke(k.wake)
}

// fetchedPartition takes what an answer has of one partition.
func (k *Consumer) fetchedPartition(w *want, p *kmsg.FetchResponseTopicPartition) {
	part := w.part
	var batches []byte
	var next int64
	var damage error
	if p.ErrorCode == 0 {
		batches, next, damage = wholeBatches(p.RecordBatches, w.offset)
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	if part.offset != w.offset { // it has been sought elsewhere meanwhile
		return
	}
	switch code := protocol.Code(p.ErrorCode); {
	case code == protocol.OffsetOutOfRange:
		k.outOfRangeLocked(part)
		return
	case code.Retriable():
		k.staleLocked(part)
		return
	case code != protocol.None:
		k.failLocked(codeError("read "+part.name(), p.ErrorCode, ""))
		return
	case damage != nil:
		k.failLocked(&Error{Op: fmt.Sprintf("read %s at offset %d", part.name(), next), Reason: damage.Error(), Err: damage})
		return
	}
	part.wait.reset()
	part.end = p.HighWatermark
	if p.LogStartOffset >= 0 {
		part.start = p.LogStartOffset
	}
	if len(batches) == 0 {
		if len(p.RecordBatches) > 0 && part.maxBytes < 1<<30 { // a piece of a batch, from an old broker
			part.maxBytes *= 2
		}
		return
	}
	k.ready = append(k.ready, chunk{part: part, batches: batches, from: w.offset, size: len(batches)})
	k.buffered += len(batches)
	part.buffered += len(batches)
	part.offset = next
}

// outOfRangeLocked does what the options say about an offset outside the log.
func (k *Consumer) outOfRangeLocked(part *fetchPartition) {
	k.client.opts.Logger.Warn("offset out of range", "topic", part.Topic, "partition", part.Partition, "offset", part.offset)
	switch k.opts.OutOfRange {
	case OutOfRangeFail:
		k.failLocked(&Error{
			Op: "read " + part.name(), Code: protocol.OffsetOutOfRange, Err: protocol.OffsetOutOfRange,
			Reason: fmt.Sprintf("offset %d is outside the log", part.offset),
		})
		return
	case OutOfRangeEnd:
		part.From = End()
	case OutOfRangeStart:
		part.From = Start()
	}
	part.resolved = false
	poke(k.wake)
}

// wholeBatches returns the whole batches at the beginning of b, checked, and
// the offset after the last. A broker may cut the last one short.
func wholeBatches(b []byte, from int64) (batches []byte, next int64, err error) {
	next = from
	rest := b
	for len(rest) > 0 {
		batch, after, err := record.Next(rest)
		if errors.Is(err, record.ErrIncomplete) {
			break
		}
		if err == nil {
			err = batch.VerifyCRC()
		}
		if err != nil {
			return nil, next, err //nolint:wrapcheck // the caller names the partition
		}
		next = max(next, int64(batch.NextOffset()))
		rest = after
	}
	return b[:len(b)-len(rest)], next, nil
}
