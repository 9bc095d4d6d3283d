package dledger

import (
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/lni/dragonboat/v4"

	"github.com/stelemq/stele/protocol/record"
)

// Partition is this node's replica of a partition. All methods are safe for concurrent use.
type Partition struct {
	host   *Host
	spec   PartitionSpec
	shard  *shardLog
	logger *slog.Logger
	// bytes bounds what is in flight in this partition alone.
	bytes *admission

	hw       atomic.Int64
	epoch    atomic.Int32
	isLeader atomic.Bool
	config   atomic.Pointer[LogConfig]
	roster   atomic.Pointer[roster]
	voters   atomic.Pointer[[]int32] // node ids, sorted; as learners
	learners atomic.Pointer[[]int32]
	isr      atomic.Pointer[[]int32] // node ids of the replicas in sync, sorted; nil where this replica does not lead
	strict   atomic.Bool             // acks=all needs more replicas than Raft's majority
	progress progress
	// quarantined: this replica may have lost entries that it had acknowledged, and neither votes nor stands for election
	// until it has caught up.
	quarantined atomic.Bool
	newest      atomic.Uint64 // the replica that may be voted for in quarantine all the same; 0 = none
	fresh       atomic.Bool   // a founder that has never voted
	sweepAgain  atomic.Bool   // the log start has moved: one more entry lets all replicas delete what they could not then
	started     time.Time
	raftNode    atomic.Int32 // node id of the Raft leader, -1 if unknown
	pendingN    atomic.Int32 // appends and proposals that wait for something; 0 = the sweeper passes by
	holdUntil   atomic.Int64 // by monotonic(): acknowledge nothing before
	subs        subscribers
	catching    catchUp
	cleaning    cleaning
	began       atomic.Int64 // when it was started, by monotonic()
	restless    bool         // it is in ticker.restless; the ticker's

	unloadMu sync.Mutex
	unloaded bool         // its Raft group has been stopped for good; unloadMu guards
	flushed  atomic.Int64 // when the background last synced it, in Unix nanoseconds

	mu sync.Mutex
	// mu guards:
	user       dragonboat.INodeUser
	term       Term      // of the newest leader seen
	raftLeader ReplicaID // in term; 0 = unknown
	noop       Term      // newest term whose no-op has been committed
	closed     bool
	sequence   uint32           // of the newest proposal in term
	queue      []*pendingAppend // not yet proposed
	queueBytes int
	scheduled  bool                      // a proposer will look at the queue
	inflight   []*proposal               // proposed, not saved; in order of sequence
	appendedN  int                       // the first appendedN of inflight stand in the log
	waiting    []*pendingAppend          // appended, waiting for the high watermark; by offset
	commands   []*proposal               // saved, waiting to be committed; by index
	producers  map[int64]*queuedProducer // idempotent producers with batches that are not appended
	scratch    []byte
	reproposed int64 // nanoseconds of the last re-proposal
}

func newPartition(h *Host, spec PartitionSpec, s *shardLog) *Partition {
	p := &Partition{
		host: h, spec: spec, shard: s, bytes: newAdmission(partitionBytesMax),
		logger:    h.logger.With("topic", spec.Topic, "partition", spec.Partition),
		producers: make(map[int64]*queuedProducer), started: time.Now(),
	}
	p.raftNode.Store(-1)
	if h.neighbors != nil {
		p.progress.near = h.neighbors.of
	}
	p.cleaning.begin()
	p.epoch.Store(int32(LeaderEpochOf(spec.Generation, s.hardNow().Term)))
	p.hw.Store(int64(s.committedOffset()))
	p.SetConfig(spec.Config)
	p.refreshRoster()
	return p
}

// committedOffset is the offset behind the last entry known to be committed.
func (s *shardLog) committedOffset() record.Offset {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.committedTo <= s.file.Index {
		return s.file.Next
	}
	r, err := s.recordLocked(s.committedTo)
	if err != nil {
		return s.file.Next
	}
	return r.Next
}

// SetConfig changes the settings that the log follows, from the next append on.
func (p *Partition) SetConfig(c LogConfig) {
	p.config.Store(&c)
	p.noteStrict()
	p.shard.configure(c)
}

// Offsets returns the watermarks, taken together.
func (p *Partition) Offsets() Offsets {
	// The order of the reads keeps the invariant: each is read before what bounds it from above.
	start := p.shard.log.LogStart()
	hw := record.Offset(p.hw.Load())
	end := p.shard.log.End().Next
	return Offsets{LogStart: min(start, hw), LastStable: hw, HighWatermark: hw, LogEnd: max(end, hw)}
}

// Leadership returns who leads, as this replica knows it.
func (p *Partition) Leadership() Leadership {
	l := Leadership{
		Leader: p.raftNode.Load(), Epoch: record.LeaderEpoch(p.epoch.Load()), IsLeader: p.isLeader.Load(),
		Voters: *p.voters.Load(), Learners: *p.learners.Load(),
	}
	if isr := p.isr.Load(); l.IsLeader && isr != nil {
		l.ISR = *isr
	}
	return l
}

// Size is the number of bytes stored.
func (p *Partition) Size() int64 { return p.shard.log.Size() }

// Spec returns what the partition was started with.
func (p *Partition) Spec() PartitionSpec { return p.spec }

// Subscribe sends on ch, without blocking, when the high watermark, the log start or the leadership changes, until
// cancel is called.
func (p *Partition) Subscribe(ch chan<- struct{}) (cancel func()) { return p.subs.add(ch) }

// subscribers are the channels to poke on a change.
type subscribers struct {
	n  atomic.Int32
	mu sync.Mutex
	// mu guards:
	set map[*subscription]struct{}
}

type subscription struct{ ch chan<- struct{} }

func (s *subscribers) add(ch chan<- struct{}) func() {
	sub := &subscription{ch}
	s.mu.Lock()
	if s.set == nil {
		s.set = make(map[*subscription]struct{})
	}
	s.set[sub] = struct{}{}
	s.n.Store(int32(len(s.set))) //nolint:gosec // few
	s.mu.Unlock()
	return func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		delete(s.set, sub)
		s.n.Store(int32(len(s.set))) //nolint:gosec // few
	}
}

func (s *subscribers) notify() {
	if s.n.Load() == 0 {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for sub := range s.set {
		select {
		case sub.ch <- struct{}{}:
		default:
		}
	}
}
