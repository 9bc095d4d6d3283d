package broker

import (
	"fmt"
	"sync/atomic"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/stelemq/stele/broker/metadata"
	"github.com/stelemq/stele/broker/quota"
	"github.com/stelemq/stele/dledger"
	"github.com/stelemq/stele/protocol"
	"github.com/stelemq/stele/protocol/record"
)

// Produce: v0-v13 advertised, v3-v13 served
//
// Behaviour: each partition's batch is checked in place and offered to its log in the order of the
// requests; the answer is sent when all partitions have answered. acks=0 is never answered: an error ends
// the connection, the only way to tell (as in Kafka).
//
// Version notes: v0-v2 carry old formats: UNSUPPORTED_VERSION per partition (they are advertised because
// old librdkafka turns compression off without them, KAFKA-18659); zstd from v7; v8 errors of single
// records; v10 the leader and its address on NOT_LEADER_OR_FOLLOWER (KIP-951); v13 topic ids.
//
// Not implemented: transactions, INVALID_TXN_STATE.

// produceCall is one Produce on its way through the logs.
type produceCall struct {
	c    *conn
	s    *slot
	req  protocol.ProduceRequest
	acks int16
	// parts answers the partitions in the request's order.
	parts []*producePart
	used  int
	// pending counts the appends not yet answered, and one for the reader while it still starts some.
	pending atomic.Int32
	resp    kmsg.ProduceResponse
}

// producePart is one partition's part of a Produce.
type producePart struct {
	call    *produceCall
	index   int32
	topic   *localTopic // nil if unknown
	batch   record.Batch
	request dledger.AppendRequest
	copied  *buffer // holds the batch where it had to be rewritten

	code       protocol.Code
	message    string
	recordErrs []recordError
	base       record.Offset
	logStart   record.Offset
	appendTime int64
	leader     dledger.Leadership
}

// recordError is what is wrong with one record of a batch.
type recordError struct {
	index   int32
	message string
}

func (b *Broker) newProduceCall() *produceCall {
	if p, ok := b.produceCalls.Get().(*produceCall); ok {
		return p
	}
	return &produceCall{}
}

// part returns a fresh part; parts and their callbacks are used again by later requests.
func (p *produceCall) part() *producePart {
	if p.used == len(p.parts) {
		part := &producePart{call: p}
		part.request.Done = part.done
		p.parts = append(p.parts, part)
	}
	part := p.parts[p.used]
	p.used++
	done := part.request.Done
	*part = producePart{call: p, base: record.NoOffset, logStart: record.NoOffset, appendTime: -1}
	part.request.Done = done
	return part
}

// startProduce checks a Produce and offers its batches to the logs; it runs in the connection's reader and
// blocks for admission only.
func startProduce(c *conn, s *slot) error {
	p := c.b.newProduceCall()
	p.c, p.s, p.used = c, s, 0
	s.produce = p
	p.pending.Store(1)
	if s.version < protocol.ProduceMin {
		if err := p.refuseOld(); err != nil {
			return err
		}
	} else {
		if err := p.req.Parse(s.version, s.body); err != nil {
			return fmt.Errorf("%w: %w", errRequest, err)
		}
		p.acks = p.req.Acks
		p.start()
	}
	s.appended = c.b.now()
	p.finishOne()
	return nil
}

// refuseOld answers versions that carry record formats that Kafka has dropped.
func (p *produceCall) refuseOld() error {
	req := &kmsg.ProduceRequest{Version: p.s.version}
	if err := protocol.CheckRequest(req.Key(), p.s.version, p.s.body, p.c.b.opts.Config.MaxRequestBytes); err != nil {
		return fmt.Errorf("%w: %w", errRequest, err)
	}
	if err := req.UnsafeReadFrom(p.s.body); err != nil {
		return fmt.Errorf("%w: Produce: %w", errRequest, err)
	}
	p.acks = req.Acks
	p.resp.Topics = p.resp.Topics[:0]
	for i := range req.Topics {
		t := p.respTopic()
		t.Topic = string([]byte(req.Topics[i].Topic))
		for j := range req.Topics[i].Partitions {
			part := p.part()
			part.index = req.Topics[i].Partitions[j].Partition
			part.fail(protocol.UnsupportedVersion, "")
			t.Partitions = append(t.Partitions, kmsg.ProduceResponseTopicPartition{})
		}
	}
	return nil
}

func (p *produceCall) respTopic() *kmsg.ProduceResponseTopic {
	n := len(p.resp.Topics)
	if n < cap(p.resp.Topics) {
		p.resp.Topics = p.resp.Topics[:n+1]
		t := &p.resp.Topics[n]
		*t = kmsg.ProduceResponseTopic{Partitions: t.Partitions[:0]}
		return t
	}
	p.resp.Topics = append(p.resp.Topics, kmsg.ProduceResponseTopic{})
	return &p.resp.Topics[n]
}

// start walks the request's partitions.
func (p *produceCall) start() {
	image := p.c.b.opts.Metadata.Image()
	p.resp.Topics = p.resp.Topics[:0]
	for i := range p.req.Topics {
		rt := &p.req.Topics[i]
		out := p.respTopic()
		t, code := p.find(image, rt, out)
		for j := range rt.Partitions {
			part := p.part()
			part.index = rt.Partitions[j].Partition
			out.Partitions = append(out.Partitions, kmsg.ProduceResponseTopicPartition{})
			if code != protocol.None {
				part.fail(code, "")
				continue
			}
			p.offer(part, t, rt.Partitions[j].Records)
		}
	}
}

// find looks a topic up and names it in the answer.
func (p *produceCall) find(image *metadata.Image, rt *protocol.ProduceTopic, out *kmsg.ProduceResponseTopic) (*metadata.Topic, protocol.Code) {
	if p.s.version >= 13 {
		out.TopicID = rt.TopicID
		t, ok := image.TopicByID(rt.TopicID)
		if !ok {
			return nil, protocol.UnknownTopicID
		}
		return t, protocol.None
	}
	t, ok := image.TopicBytes(rt.Name)
	if !ok {
		out.Topic = string(rt.Name)
		return nil, protocol.UnknownTopicOrPartition
	}
	out.Topic = t.Name
	return t, protocol.None
}

// offer checks a partition's batch and appends it.
func (p *produceCall) offer(part *producePart, t *metadata.Topic, records []byte) {
	b := p.c.b
	l, code := b.lead(t, part.index, noEpochCheck)
	part.leader = l.leader
	if l.partition != nil {
		part.topic = l.partition.topic
	}
	if (p.acks < -1 || p.acks > 1) && code != protocol.UnknownTopicOrPartition {
		code = protocol.InvalidRequiredAcks
	}
	if code == protocol.None && metadata.InternalTopic(t.Name) {
		code = protocol.InvalidTopicException // its leader's state is what it has written itself
	}
	if code != protocol.None {
		part.fail(code, "")
		return
	}
	batch, bad := b.validateProduced(p.s.version, records, part.topic)
	if bad != nil {
		part.recordErrs = bad.records
		part.fail(bad.code, bad.text)
		return
	}
	if batch, part.copied, part.appendTime, bad = b.rewrite(batch, part.topic.settings.Load()); bad != nil {
		part.fail(bad.code, bad.text)
		return
	}
	part.batch = batch
	part.request.Batch, part.request.Acks = batch, dledger.Acks(p.acks)
	part.request.Timeout = max(time.Duration(p.req.TimeoutMillis)*time.Millisecond, time.Millisecond)
	p.pending.Add(1)
	if err := l.log.Append(p.c.ctx, &part.request); err != nil {
		part.fail(b.logCode(err), "")
		p.finishOne()
	}
}

// fail notes an error that is known before the append.
func (part *producePart) fail(code protocol.Code, message string) {
	part.code, part.message = code, message
	if part.topic != nil {
		part.topic.metrics.reject(code)
	}
}

// done takes the log's answer, from any goroutine.
func (part *producePart) done(r dledger.AppendResult) {
	p := part.call
	part.logStart = r.LogStartOffset
	if r.Err != nil {
		part.logStart = record.NoOffset
		part.fail(p.c.b.logCode(r.Err), "")
		// The log may still hold the batch, to append it after all.
		p.s.req.abandon()
		if part.copied != nil {
			part.copied.abandon()
		}
	} else {
		part.base = r.BaseOffset
		part.topic.metrics.received(len(part.batch), part.batch.Count())
	}
	p.finishOne()
}

// finishOne counts one answer; the last one makes the slot ready for the writer.
func (p *produceCall) finishOne() {
	if p.pending.Add(-1) == 0 {
		p.s.complete()
	}
}

// finishProduce makes the answer; it runs in the connection's writer when all partitions have answered.
func finishProduce(c *conn, s *slot) error {
	p := s.produce
	var failed *producePart
	n := 0
	endpoints := false
	for i := range p.resp.Topics {
		t := &p.resp.Topics[i]
		for j := range t.Partitions {
			part := p.parts[n]
			n++
			part.respond(&t.Partitions[j])
			if part.copied != nil {
				s.hold(part.copied)
			}
			if part.code != protocol.None {
				failed = part
				c.b.metrics.requestError(s.api, part.code)
				endpoints = endpoints || part.code == protocol.NotLeaderOrFollower && part.leader.Leader >= 0
			}
		}
	}
	kind, wait := quota.Produce, c.use(s, quota.Produce, float64(s.size))
	if d := c.useTime(s, s.appended.Sub(s.started)); d > wait {
		kind, wait = quota.Request, d
	}
	p.resp.ThrottleMillis = 0
	c.throttle(&p.resp, kind, wait)
	if p.acks == 0 {
		s.silent = true
		if failed != nil {
			s.hangUp = fmt.Errorf("%w: produce with acks=0: %w", errRequest, failed.code)
		}
		return nil
	}
	return p.encode(endpoints)
}

// respond fills a partition's part of the answer.
func (part *producePart) respond(r *kmsg.ProduceResponseTopicPartition) {
	*r = kmsg.ProduceResponseTopicPartition{
		Partition: part.index, ErrorCode: int16(part.code), BaseOffset: int64(part.base), LogAppendTime: part.appendTime,
		LogStartOffset: int64(part.logStart),
		CurrentLeader:  kmsg.ProduceResponseTopicPartitionCurrentLeader{LeaderID: -1, LeaderEpoch: -1},
	}
	if part.code == protocol.None {
		return
	}
	r.BaseOffset, r.LogAppendTime = -1, -1
	if part.message != "" {
		r.ErrorMessage = &part.message
	}
	for i := range part.recordErrs {
		e := &part.recordErrs[i]
		r.ErrorRecords = append(r.ErrorRecords, kmsg.ProduceResponseTopicPartitionErrorRecord{RelativeOffset: e.index, ErrorMessage: &e.message})
	}
	if part.code == protocol.NotLeaderOrFollower && part.leader.Leader >= 0 {
		r.CurrentLeader.LeaderID, r.CurrentLeader.LeaderEpoch = part.leader.Leader, int32(part.leader.Epoch)
	}
}

// encode appends the answer to the slot.
func (p *produceCall) encode(endpoints bool) error {
	p.resp.SetVersion(p.s.version)
	p.resp.Brokers = p.resp.Brokers[:0]
	if endpoints && p.s.version >= 10 {
		for _, e := range p.c.b.endpointsOf(p.c.listener.Name, p.leaders()) {
			p.resp.Brokers = append(p.resp.Brokers, kmsg.ProduceResponseBroker{NodeID: e.NodeID, Host: e.Host, Port: e.Port, Rack: e.Rack})
		}
	}
	return p.c.respond(p.s, &p.resp)
}

func (p *produceCall) leaders() []int32 {
	var nodes []int32
	for _, part := range p.parts[:p.used] {
		if part.code == protocol.NotLeaderOrFollower && part.leader.Leader >= 0 {
			nodes = append(nodes, part.leader.Leader)
		}
	}
	return nodes
}

// recycle gives the call back once its answer has been written.
func (p *produceCall) recycle(b *Broker) {
	p.req.Reset()
	for _, part := range p.parts[:p.used] {
		part.batch, part.request.Batch, part.copied, part.topic, part.recordErrs = nil, nil, nil, nil, nil
	}
	p.c, p.s = nil, nil
	b.produceCalls.Put(p)
}
