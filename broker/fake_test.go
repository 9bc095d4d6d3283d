package broker

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/stelemq/stele/broker/metadata"
	"github.com/stelemq/stele/dledger"
	"github.com/stelemq/stele/protocol/record"
)

// fakeHost keeps everything in memory, and fails as told.
type fakeHost struct {
	machine *metadata.Machine

	mu          sync.Mutex
	index       uint64
	logs        map[dledger.ShardID]*fakeLog
	deleted     []dledger.PartitionSpec
	proposeErr  error
	startErr    error
	startGate   chan struct{} // StartPartition waits for it to be closed, if set
	leadership  func(dledger.ShardID)
	controller  int32                // node that leads the metadata; 0: this one
	idle, aside []dledger.ReplicaDir // on disk and not started; set aside
	stopped     []dledger.PartitionSpec

	heardController int
}

func newFakeHost() *fakeHost {
	return &fakeHost{machine: metadata.NewMachine(), logs: map[dledger.ShardID]*fakeLog{}}
}

func (h *fakeHost) StartPartition(ctx context.Context, spec dledger.PartitionSpec) (PartitionLog, error) {
	h.mu.Lock()
	gate, err := h.startGate, h.startErr
	h.mu.Unlock()
	if gate != nil {
		select {
		case <-gate:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
	if err != nil {
		return nil, err
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	l := h.logs[spec.Shard]
	if l == nil {
		l = &fakeLog{host: h, shard: spec.Shard, subs: map[int]chan<- struct{}{}, config: spec.Config, inLease: true}
		l.leader = dledger.Leadership{Leader: 1, Epoch: 5, IsLeader: true, Voters: []int32{1}, ISR: []int32{1}}
		h.logs[spec.Shard] = l
	}
	return l, nil
}

func (h *fakeHost) StopPartition(spec dledger.PartitionSpec) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.stopped = append(h.stopped, spec)
	return nil
}

func (h *fakeHost) DeletePartition(spec dledger.PartitionSpec) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.deleted = append(h.deleted, spec)
	delete(h.logs, spec.Shard)
	return nil
}

func (h *fakeHost) IdleReplicas() ([]dledger.ReplicaDir, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	return slices.Clone(h.idle), nil
}

func (h *fakeHost) SetAside(r dledger.ReplicaDir) (string, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.aside = append(h.aside, r)
	return r.Name + "-stray", nil
}

func (h *fakeHost) Propose(_ context.Context, command []byte) ([]byte, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.proposeErr != nil {
		return nil, h.proposeErr
	}
	h.index++
	return h.machine.Apply(h.index, command), nil
}

func (h *fakeHost) ReplaceDamaged(s dledger.PartitionSpec) error { return h.DeletePartition(s) }
func (h *fakeHost) MetadataCurrent(context.Context) error        { return nil }
func (h *fakeHost) IsController() bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.controller == 0
}

func (h *fakeHost) Controller() (int32, bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.controller == 0 {
		return 1, true
	}
	return h.controller, h.controller > 0
}

func (h *fakeHost) WatchLeadership(f func(dledger.ShardID)) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.leadership = f
}

func (h *fakeHost) HeardController(time.Time) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.heardController++
}

func (h *fakeHost) Disk() (dir string, free, total int64, err error) { return "/data", 40, 100, nil }

func (h *fakeHost) MetadataTerm() uint64 { return 1 }

func (h *fakeHost) MetadataMembers() (dledger.MetadataMembership, bool) {
	return dledger.MetadataMembership{}, false
}

func (h *fakeHost) MetadataMembersNow(context.Context) (dledger.MetadataMembership, error) {
	return dledger.MetadataMembership{}, dledger.ErrTimeout
}

func (h *fakeHost) AddMetadataLearner(context.Context, dledger.ReplicaID, int32) error { return nil }

func (h *fakeHost) PromoteMetadata(context.Context, dledger.ReplicaID, int32) error { return nil }

func (h *fakeHost) RemoveMetadata(context.Context, dledger.ReplicaID) error { return nil }

func (h *fakeHost) TransferMetadata(int32) error { return nil }

func (h *fakeHost) PeerRTT() map[int32]time.Duration { return nil }

// log returns the log of a partition once it has been started.
func (h *fakeHost) log(t testing.TB, topic string, partition int) *fakeLog {
	t.Helper()
	tp, ok := h.machine.Image().Topic(topic)
	if !ok {
		t.Fatalf("no topic %q", topic)
	}
	var l *fakeLog
	eventually(t, func() bool {
		h.mu.Lock()
		defer h.mu.Unlock()
		l = h.logs[dledger.ShardID(tp.Partitions[partition].Shard)]
		return l != nil
	})
	return l
}

// eventually polls until ok.
func eventually(t testing.TB, ok func() bool) {
	t.Helper()
	deadline := time.NewTimer(10 * time.Second)
	defer deadline.Stop()
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for !ok() {
		select {
		case <-tick.C:
		case <-deadline.C:
			t.Fatal("condition did not hold within 10 s")
		}
	}
}

// fakeLog is a log of batches in memory.
type fakeLog struct {
	host  *fakeHost
	shard dledger.ShardID

	mu        sync.Mutex
	inLease   bool
	follows   bool
	lags      map[int32]int64
	members   []dledger.Member
	status    dledger.RaftStatus
	changes   []string // of the membership, in words
	changeErr error
	heldFor   time.Duration
	batches   []record.Batch // stored, offsets patched
	next      record.Offset
	start     record.Offset
	hwHeld    bool          // the high watermark stays where it is
	hw        record.Offset // while held
	lastOK    record.Offset // last stable offset is hw unless set
	leader    dledger.Leadership
	config    dledger.LogConfig
	appendErr error // Append returns it
	answerErr error // Done gets it
	held      []func()
	hold      bool // Done waits for release
	acks      []dledger.Acks
	readErr   error
	epochs    []fakeEpoch
	subs      map[int]chan<- struct{}
	nextSub   int
	duplicate record.Offset // answered instead of an append, if positive
	forget    bool          // batches are answered and not kept
}

type fakeEpoch struct {
	epoch record.LeaderEpoch
	start record.Offset
}

func (l *fakeLog) Append(_ context.Context, r *dledger.AppendRequest) error {
	l.mu.Lock()
	if l.appendErr != nil {
		defer l.mu.Unlock()
		return l.appendErr
	}
	l.acks = append(l.acks, r.Acks)
	res := dledger.AppendResult{BaseOffset: l.next, LogStartOffset: l.start, Err: l.answerErr}
	switch {
	case l.answerErr != nil:
		res.BaseOffset = record.NoOffset
	case l.forget:
		l.acks = l.acks[:0]
		l.next += record.Offset(r.Batch.Count())
	case l.duplicate > 0:
		res.BaseOffset = l.duplicate
	default:
		stored := slices.Clone(r.Batch)
		var head [record.PatchLen]byte
		record.Patch(&head, r.Batch, l.next, l.leader.Epoch)
		copy(stored, head[:])
		l.batches = append(l.batches, stored)
		l.next = stored.NextOffset()
	}
	done := func() { r.Done(res) }
	if l.hold {
		l.held = append(l.held, done)
		done = func() {}
	}
	l.mu.Unlock()
	done()
	l.notify()
	return nil
}

// release answers what was held back.
func (l *fakeLog) release() {
	l.mu.Lock()
	held := l.held
	l.held, l.hold = nil, false
	l.mu.Unlock()
	for _, f := range held {
		f()
	}
}

func (l *fakeLog) set(f func()) {
	l.mu.Lock()
	f()
	l.mu.Unlock()
	l.notify()
}

func (l *fakeLog) notify() {
	l.mu.Lock()
	for _, ch := range l.subs {
		select {
		case ch <- struct{}{}:
		default:
		}
	}
	l.mu.Unlock()
	l.host.mu.Lock()
	defer l.host.mu.Unlock()
	if l.host.leadership != nil {
		l.host.leadership(l.shard)
	}
}

func (l *fakeLog) InLease() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.inLease && l.leader.IsLeader
}

func (l *fakeLog) Follows() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.follows && !l.leader.IsLeader
}

func (l *fakeLog) Members() []dledger.Member {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.Clone(l.members)
}

func (l *fakeLog) Status() dledger.RaftStatus {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.status
}

func (l *fakeLog) Survey() (record.LeaderEpoch, record.Offset) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.leader.Epoch, l.next
}

func (l *fakeLog) HoldAcknowledgements(d time.Duration) { l.set(func() { l.heldFor = d }) }

func (l *fakeLog) Lags() map[int32]int64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.lags
}

// change carries out a change of the membership unless told to fail.
func (l *fakeLog) change(words string, f func()) error {
	l.mu.Lock()
	err := l.changeErr
	if err == nil {
		l.changes = append(l.changes, words)
		f()
	}
	l.mu.Unlock()
	l.notify()
	return err
}

func (l *fakeLog) AddLearner(_ context.Context, id dledger.ReplicaID, node int32) error {
	return l.change(fmt.Sprintf("add %d on %d", id, node), func() {
		l.members = append(l.members, dledger.Member{Replica: id, Node: node})
	})
}

func (l *fakeLog) Promote(_ context.Context, id dledger.ReplicaID) error {
	return l.change(fmt.Sprintf("promote %d", id), func() {
		for i := range l.members {
			if l.members[i].Replica == id {
				l.members[i].Voter = true
			}
		}
	})
}

func (l *fakeLog) Remove(_ context.Context, id dledger.ReplicaID) error {
	return l.change(fmt.Sprintf("remove %d", id), func() {
		l.members = slices.DeleteFunc(l.members, func(m dledger.Member) bool { return m.Replica == id })
	})
}

func (l *fakeLog) TransferLeadership(_ context.Context, node int32) error {
	return l.change(fmt.Sprintf("transfer to %d", node), func() {
		l.leader.Leader, l.leader.IsLeader = node, false
		l.leader.Epoch++
	})
}

func (l *fakeLog) DeleteRecords(_ context.Context, o record.Offset) (record.Offset, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if o == -1 {
		o = l.next
	}
	if o < 0 || o > l.next {
		return 0, dledger.ErrOffsetOutOfRange
	}
	l.start = max(l.start, o)
	return l.start, nil
}

func (l *fakeLog) SetConfig(c dledger.LogConfig) { l.set(func() { l.config = c }) }

func (l *fakeLog) offsetsLocked() dledger.Offsets {
	hw := l.next
	if l.hwHeld {
		hw = l.hw
	}
	lso := hw
	if l.lastOK > 0 {
		lso = l.lastOK
	}
	return dledger.Offsets{LogStart: l.start, LastStable: lso, HighWatermark: hw, LogEnd: l.next}
}

func (l *fakeLog) Offsets() dledger.Offsets {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.offsetsLocked()
}

func (l *fakeLog) Read(dst []byte, r dledger.ReadRequest) ([]byte, dledger.Offsets, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	o := l.offsetsLocked()
	if l.readErr != nil {
		return dst, o, l.readErr
	}
	if r.From < o.LogStart || r.From > o.LogEnd {
		return dst, o, dledger.ErrOffsetOutOfRange
	}
	bound := o.HighWatermark
	if r.Limit == dledger.ReadToLastStable {
		bound = o.LastStable
	}
	n := 0
	for _, b := range l.batches {
		if b.NextOffset() <= r.From || b.NextOffset() > bound {
			continue
		}
		if n+len(b) > r.MaxBytes && (n > 0 || !r.AtLeastOne) {
			break
		}
		dst = append(dst, b...)
		n += len(b)
	}
	return dst, o, nil
}

func (l *fakeLog) OffsetForTimestamp(ts int64) (dledger.TimestampOffset, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, b := range l.batches {
		if b.MaxTimestamp() < ts {
			continue
		}
		for r, err := range b.Records(1 << 20) {
			if err == nil && r.Timestamp >= ts {
				return dledger.TimestampOffset{Timestamp: r.Timestamp, Offset: r.Offset, Epoch: b.LeaderEpoch()}, nil
			}
		}
	}
	return dledger.TimestampOffset{Timestamp: -1, Offset: record.NoOffset, Epoch: record.NoEpoch}, nil
}

func (l *fakeLog) MaxTimestamp() (dledger.TimestampOffset, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	found := dledger.TimestampOffset{Timestamp: -1, Offset: record.NoOffset, Epoch: record.NoEpoch}
	for _, b := range l.batches {
		for r, err := range b.Records(1 << 20) {
			if err == nil && r.Timestamp > found.Timestamp {
				found = dledger.TimestampOffset{Timestamp: r.Timestamp, Offset: r.Offset, Epoch: b.LeaderEpoch()}
			}
		}
	}
	return found, nil
}

func (l *fakeLog) EpochAt(o record.Offset) record.LeaderEpoch {
	l.mu.Lock()
	defer l.mu.Unlock()
	at := l.leader.Epoch
	for _, e := range l.epochs {
		if e.start <= o {
			at = e.epoch
		}
	}
	return at
}

func (l *fakeLog) EndOffsetForEpoch(e record.LeaderEpoch) (record.LeaderEpoch, record.Offset, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if e >= l.leader.Epoch || len(l.epochs) == 0 {
		return l.leader.Epoch, l.next, nil
	}
	if e < l.epochs[0].epoch {
		return e, l.epochs[0].start, nil
	}
	for i := len(l.epochs) - 1; i >= 0; i-- {
		if l.epochs[i].epoch <= e {
			end := l.next
			if i+1 < len(l.epochs) {
				end = l.epochs[i+1].start
			}
			return l.epochs[i].epoch, end, nil
		}
	}
	return record.NoEpoch, record.NoOffset, nil
}

func (l *fakeLog) Leadership() dledger.Leadership {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.leader
}

func (l *fakeLog) Subscribe(ch chan<- struct{}) (cancel func()) {
	l.mu.Lock()
	defer l.mu.Unlock()
	id := l.nextSub
	l.nextSub++
	l.subs[id] = ch
	return func() {
		l.mu.Lock()
		defer l.mu.Unlock()
		delete(l.subs, id)
	}
}

func (l *fakeLog) Producers() []dledger.ActiveProducer {
	return []dledger.ActiveProducer{{ID: 7, Epoch: 1, LastSequence: 41, LastTimestamp: 1234, CoordinatorEpoch: -1, TxnFirstOffset: record.NoOffset}}
}

func (l *fakeLog) Size() int64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	n := int64(0)
	for _, b := range l.batches {
		n += int64(len(b))
	}
	return n
}
