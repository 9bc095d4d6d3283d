package broker

import (
	"fmt"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/stelemq/stele/broker/metadata"
	"github.com/stelemq/stele/broker/quota"
	"github.com/stelemq/stele/dledger"
	"github.com/stelemq/stele/protocol"
	"github.com/stelemq/stele/protocol/record"
)

// Fetch: v4-v18
//
// Behaviour: whole batches from the offset wanted up to the high watermark, or the last stable offset
// for read_committed. The answer waits until there are min.bytes or max.wait has passed; it is woken by
// the partitions, not by a timer. The first batch comes even if it is larger than every limit (KIP-74),
// so that a client always gets on.
//
// Consumers may read from followers, up to their high watermark (KIP-392): from v11 on; who names a rack is sent to
// a replica in it.
//
// A leader says where its log ends only while nobody else can lead: one that was paused waits for the others' word.
//
// Version notes: v7 sessions (KIP-227); v9 the client's leader epoch is checked; v12 a diverging epoch is
// answered instead of records; v13 topic ids; v16 the leader and its address on NOT_LEADER_OR_FOLLOWER
// and FENCED_LEADER_EPOCH (KIP-951).
//
// Not implemented: aborted transactions, an empty list; fetches of other brokers: a replica id is taken
// for a consumer's. Brokers replicate by Raft.

// fetchResult is one partition's part of an answer.
type fetchResult struct {
	want  fetchWant
	topic *localTopic
	log   PartitionLog
	// next is where reading goes on if the answer still waits.
	next    record.Offset
	code    protocol.Code
	data    []byte
	offsets dledger.Offsets
	leader  dledger.Leadership
	records int64

	diverging     bool
	divergedEpoch record.LeaderEpoch
	divergedEnd   record.Offset
	omit          bool // nothing new for the session

	// follower: this node does not lead, and serves up to its high watermark.
	follower bool
	// preferred is the node to read from instead, -1: none.
	preferred int32
}

// fetchCall is one Fetch being answered.
type fetchCall struct {
	c        *conn
	s        *slot
	req      *kmsg.FetchRequest
	results  []fetchResult
	limit    dledger.ReadLimit
	maxBytes int
	minBytes int
	bytes    int
	settled  bool // an error or a divergence: answer at once
	buf      *buffer
	free     []byte        // the unused rest of buf
	waited   time.Duration // for records to come
}

func handleFetch(c *conn, s *slot) error {
	req := &c.fetchRequest
	req.SetVersion(s.version)
	if err := protocol.CheckRequest(s.api.Key, s.version, s.body, c.b.opts.Config.MaxRequestBytes); err != nil {
		return fmt.Errorf("%w: %w", errRequest, err)
	}
	if err := req.UnsafeReadFrom(s.body); err != nil {
		return fmt.Errorf("%w: Fetch: %w", errRequest, err)
	}
	session, wants, full, code := c.b.fetchContext(req)
	if code != protocol.None {
		c.b.metrics.requestError(s.api, code)
		return respondFetch(c, s, nil, code, sessionNone)
	}
	f := newFetchCall(c, s, req, wants)
	began := c.b.now()
	f.run()
	id := sessionNone
	if wait := f.quota(c.b.now().Sub(began) - f.waited); wait > 0 {
		if session != nil {
			id = session.id
		}
		return respondThrottled(c, s, id, wait)
	}
	if session != nil {
		session.settle(f.results, full)
		id = session.id
	}
	f.count()
	return respondFetch(c, s, f.results, protocol.None, id)
}

// fetchContext finds what a request asks for, with the help of its session. Full is set where every
// partition must be answered.
func (b *Broker) fetchContext(req *kmsg.FetchRequest) (session *fetchSession, wants []fetchWant, full bool, code protocol.Code) {
	switch {
	case req.Version < 7:
		return nil, wantsOf(req, nil), true, protocol.None
	case req.SessionEpoch == epochFinal || req.SessionEpoch == epochInitial:
		if req.SessionID != sessionNone {
			b.sessions.end(req.SessionID)
		}
		wants = wantsOf(req, nil)
		if req.SessionEpoch == epochInitial {
			session = b.sessions.create(wants, req.Version >= 13)
		}
		return session, wants, true, protocol.None
	}
	session, wants, code = b.sessions.update(req)
	return session, wants, false, code
}

func newFetchCall(c *conn, s *slot, req *kmsg.FetchRequest, wants []fetchWant) *fetchCall {
	f := &fetchCall{c: c, s: s, req: req, maxBytes: c.b.opts.Config.FetchMaxBytes}
	if req.MaxBytes >= 0 {
		f.maxBytes = min(f.maxBytes, int(req.MaxBytes))
	}
	f.minBytes = min(int(req.MinBytes), f.maxBytes)
	f.limit = dledger.ReadToHighWatermark
	if req.IsolationLevel == 1 {
		f.limit = dledger.ReadToLastStable
	}
	image := c.b.opts.Metadata.Image()
	f.results = make([]fetchResult, len(wants))
	for i := range wants {
		f.results[i].want, f.results[i].preferred = wants[i], -1
		f.find(image, &f.results[i])
	}
	return f
}

// find looks a partition up and checks what the client believes of it.
func (f *fetchCall) find(image *metadata.Image, r *fetchResult) {
	w := &r.want
	r.offsets = dledger.Offsets{LogStart: record.NoOffset, LastStable: record.NoOffset, HighWatermark: record.NoOffset, LogEnd: record.NoOffset}
	var t *metadata.Topic
	var ok bool
	if f.req.Version >= 13 {
		if t, ok = image.TopicByID(w.key.id); !ok {
			f.fail(r, protocol.UnknownTopicID)
			return
		}
	} else if t, ok = image.Topic(w.key.name); !ok {
		f.fail(r, protocol.UnknownTopicOrPartition)
		return
	}
	l, code := f.c.b.lead(t, w.key.index, w.currentEpoch)
	r.leader = l.leader
	if code == protocol.NotLeaderOrFollower && f.req.Version >= 11 && l.log != nil && l.log.Follows() {
		r.follower, code = true, protocol.None
		r.leader = l.log.Leadership()
	}
	if code != protocol.None {
		f.fail(r, code)
		return
	}
	r.topic, r.log, r.next = l.partition.topic, l.log, record.Offset(w.offset)
	if r.follower && !f.reaches(r) {
		return
	}
	if f.req.Version >= 12 && w.lastFetchedEpoch >= 0 {
		f.checkDivergence(r)
	}
	if !r.follower && r.code == protocol.None && !r.diverging {
		f.prefer(image, r)
	}
}

// reaches checks that a follower has what is asked for.
func (f *fetchCall) reaches(r *fetchResult) bool {
	o := r.log.Offsets()
	switch {
	case r.next > o.LogEnd || r.next < o.LogStart:
		f.fail(r, protocol.OffsetOutOfRange)
	case r.next > o.HighWatermark:
		f.fail(r, protocol.OffsetNotAvailable)
	default:
		return true
	}
	return false
}

// prefer sends a client that has named its rack to a replica in it: the one in sync that is furthest.
func (f *fetchCall) prefer(image *metadata.Image, r *fetchResult) {
	rack := f.req.Rack
	if rack == "" || f.req.Version < 11 || !f.c.b.opts.Config.ReadFromRack || rack == f.c.b.opts.Config.Rack || len(r.leader.ISR) < 2 {
		return
	}
	best, bestLag := int32(-1), int64(0)
	lags := r.log.Lags()
	end := r.log.Offsets().LogEnd
	for _, node := range r.leader.ISR {
		br, ok := image.Broker(node)
		lag, known := lags[node]
		if !ok || br.Fenced || br.Rack != rack || !known || end-record.Offset(lag) < r.next {
			continue
		}
		if best < 0 || lag < bestLag {
			best, bestLag = node, lag
		}
	}
	if best >= 0 {
		r.preferred, r.offsets = best, r.log.Offsets()
		f.settled = true
	}
}

// checkDivergence compares the end of the client's last epoch with ours (KIP-595).
func (f *fetchCall) checkDivergence(r *fetchResult) {
	last := record.LeaderEpoch(r.want.lastFetchedEpoch)
	epoch, end, err := r.log.EndOffsetForEpoch(last)
	switch {
	case err != nil:
		f.fail(r, f.c.b.logCode(err))
	case epoch < 0 || end < 0:
		f.fail(r, protocol.OffsetOutOfRange)
	case epoch < last || end < r.next:
		r.diverging, r.divergedEpoch, r.divergedEnd = true, epoch, end
		r.offsets = r.log.Offsets()
		f.settled = true
	}
}

func (f *fetchCall) fail(r *fetchResult, code protocol.Code) {
	r.code = code
	r.data = nil
	f.settled = true
}

// run reads until there is enough, and waits for more as long as the client wants.
func (f *fetchCall) run() {
	defer f.confirmLeases()
	f.readAll(false)
	wait := time.Duration(f.req.MaxWaitMillis) * time.Millisecond
	if f.enough() || wait <= 0 || len(f.results) == 0 && f.req.SessionEpoch <= 0 {
		return
	}
	woken := make(chan struct{}, 1)
	cancels := make([]func(), 0, len(f.results))
	for i := range f.results {
		if l := f.results[i].log; l != nil {
			cancels = append(cancels, l.Subscribe(woken))
		}
	}
	defer func() {
		for _, cancel := range cancels {
			cancel()
		}
	}()
	timer := time.NewTimer(wait)
	defer timer.Stop()
	for {
		f.readAll(true) // what changed before the subscription is seen here
		if f.enough() {
			return
		}
		resting := f.c.b.now()
		select {
		case <-woken:
			f.waited += f.c.b.now().Sub(resting)
			continue
		case <-timer.C:
		case <-f.c.ctx.Done():
		case <-f.c.b.drained:
		}
		f.waited += f.c.b.now().Sub(resting)
		return
	}
}

// quota counts what the answer would take, and returns for how long the client must be left alone instead.
func (f *fetchCall) quota(took time.Duration) time.Duration {
	c, s := f.c, f.s
	if !c.b.quotas.Active() {
		return 0
	}
	kind, wait := quota.Fetch, c.use(s, quota.Fetch, float64(f.bytes))
	if wait > 0 { // it gets the bytes when it asks again
		c.b.quotas.Return(quota.Fetch, quota.Anonymous, c.clientID(s), float64(f.bytes), c.b.now())
	}
	if d := c.useTime(s, took); d > wait {
		kind, wait = quota.Request, d
	}
	c.mute(kind, wait)
	return wait
}

// confirmLeases makes sure that where nothing is answered of a partition that this node leads, there is nothing.
func (f *fetchCall) confirmLeases() {
	until := time.Now().Add(leaseWait)
	for i := range f.results {
		r := &f.results[i]
		if r.code != protocol.None || r.log == nil || r.follower || r.diverging || r.preferred >= 0 || len(r.data) > 0 {
			continue
		}
		now := r.log.Leadership()
		if !now.IsLeader || now.Epoch != r.leader.Epoch || !awaitLease(f.c.ctx, r.log, until) {
			r.leader = r.log.Leadership()
			f.fail(r, protocol.NotLeaderOrFollower)
		}
	}
}

func (f *fetchCall) enough() bool { return f.settled || f.bytes >= f.minBytes }

// readAll reads what is there of every partition. With again, leadership may have changed meanwhile.
func (f *fetchCall) readAll(again bool) {
	for i := range f.results {
		r := &f.results[i]
		if r.code != protocol.None || r.diverging || r.log == nil || r.preferred >= 0 {
			continue
		}
		if again {
			now := r.log.Leadership()
			if now.IsLeader == r.follower || now.Epoch != r.leader.Epoch || r.follower && !r.log.Follows() {
				r.leader = now
				f.bytes -= len(r.data)
				f.fail(r, protocol.NotLeaderOrFollower)
				continue
			}
		}
		f.readOne(r)
	}
}

// readOne reads more of a partition, if there is more that fits.
func (f *fetchCall) readOne(r *fetchResult) {
	offsets := r.log.Offsets()
	room := min(int(r.want.maxBytes)-len(r.data), f.maxBytes-f.bytes)
	first := f.bytes == 0
	bound := offsets.HighWatermark
	if f.limit == dledger.ReadToLastStable {
		bound = offsets.LastStable
	}
	switch {
	case r.next < offsets.LogStart || r.next > offsets.LogEnd:
		f.fail(r, protocol.OffsetOutOfRange)
		return
	case r.next >= bound || room <= 0 && !first:
		r.offsets = offsets
		return
	}
	dst := r.data
	if len(dst) == 0 {
		dst = f.space()
	}
	had := len(r.data)
	data, offsets, err := r.log.Read(dst, dledger.ReadRequest{From: r.next, Limit: f.limit, MaxBytes: max(room, 0), AtLeastOne: first, Records: true})
	if err != nil {
		f.bytes -= had
		f.fail(r, f.c.b.logCode(err))
		return
	}
	r.data, r.offsets = data[:len(data):len(data)], offsets // what lies behind is for other partitions
	f.bytes += len(data) - had
	f.advance(r, had)
	if had == 0 {
		f.claim(data)
	}
}

// space is where the next partition's batches may go without a new allocation.
func (f *fetchCall) space() []byte {
	if f.buf == nil {
		f.buf = f.c.b.buffers.get(max(f.c.fetchHint, 16<<10))
		f.buf.b = f.buf.b[:cap(f.buf.b)]
		f.free = f.buf.b
		f.s.hold(f.buf)
	}
	return f.free[:0:len(f.free)]
}

// claim takes what Read has used of the space; if it did not fit, Read has allocated its own.
func (f *fetchCall) claim(data []byte) {
	if len(data) > 0 && len(f.free) > 0 && &data[0] == &f.free[0] {
		f.free = f.free[len(data):]
	}
}

// advance finds where the batches read end, and counts their records.
func (f *fetchCall) advance(r *fetchResult, from int) {
	rest := r.data[from:]
	for len(rest) > 0 {
		var b record.Batch
		var err error
		if b, rest, err = record.Next(rest); err != nil {
			return
		}
		r.next = b.NextOffset()
		r.records += int64(b.Count())
	}
}

// count tells the metrics what is sent, and the next Fetch how much room it may need.
func (f *fetchCall) count() {
	for i := range f.results {
		r := &f.results[i]
		if r.code != protocol.None {
			f.c.b.metrics.requestError(f.s.api, r.code)
		}
		if len(r.data) > 0 {
			r.topic.metrics.sent(len(r.data), r.records)
		}
	}
	f.c.fetchHint = min(max(f.bytes, f.c.fetchHint-f.c.fetchHint/8), 1<<maxClass)
}
