package broker

import (
	"context"
	"errors"
	"log/slog"
	"maps"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/stelemq/stele/broker/metadata"
	"github.com/stelemq/stele/broker/topicconfig"
	"github.com/stelemq/stele/dledger"
)

const (
	// partitionWorkers is how many partitions are opened or removed at the same time.
	partitionWorkers = 16
	// partitionRetry is how long a partition that failed to open rests before the next attempt.
	partitionRetry = 10 * time.Second
	// inUseRetry is how soon one is tried again whose predecessor is being removed.
	inUseRetry = 20 * time.Millisecond
)

// partition is a replica on this node. Its fields do not change but for those said to.
type partition struct {
	topic *localTopic
	index int32
	spec  dledger.PartitionSpec
	// log is nil until the replica has been opened.
	log atomic.Pointer[PartitionLog]
	// failure is why it could not be opened, nil otherwise.
	failure atomic.Pointer[error]
	// opened is when the replica was opened, in Unix nanoseconds.
	opened atomic.Int64
	// damaged: its files cannot be used any more.
	damaged atomic.Bool

	mu        sync.Mutex
	replaces  *partition // mu guards: has the directory, and must be settled first
	unwanted  bool       // mu guards: the topic has been deleted, or the replica is not to be here any more
	keepFiles bool       // mu guards: unwanted, and its files are for the next generation
	missing   bool       // mu guards: unwanted, since the metadata was replaced as a whole by one without it
	running   bool       // mu guards
	removed   bool       // mu guards
}

// open returns the log, nil while the partition is being opened.
func (p *partition) open() PartitionLog {
	if l := p.log.Load(); l != nil {
		return *l
	}
	return nil
}

// leadership is who leads, as far as this node knows.
func (p *partition) leadership() dledger.Leadership {
	if l := p.open(); l != nil {
		return l.Leadership()
	}
	return dledger.Leadership{Leader: -1, Epoch: -1}
}

// localTopic is a topic of the metadata as this node knows it, whether it has replicas of it or not.
type localTopic struct {
	id       metadata.TopicID
	name     string
	settings atomic.Pointer[topicconfig.Values]
	metrics  *topicMetrics
	// partitions by index; nil where this node has no replica. Replaced when partitions are added.
	partitions atomic.Pointer[[]*partition]
	// grown is when the topic became known here or got partitions, in Unix nanoseconds.
	grown atomic.Int64
}

func (t *localTopic) partition(index int32) *partition {
	parts := *t.partitions.Load()
	if index < 0 || int(index) >= len(parts) {
		return nil
	}
	return parts[index]
}

// partitions is who is here: it makes what runs on this node follow the metadata.
type partitions struct {
	b *Broker

	mu     sync.RWMutex
	topics map[metadata.TopicID]*localTopic // mu guards
	shards map[dledger.ShardID]*partition   // mu guards: those that run
	count  int                              // mu guards: partitions on this node

	dirtyMu sync.Mutex
	dirty   map[metadata.TopicID]struct{} // dirtyMu guards
	all     bool                          // dirtyMu guards
	wake    chan struct{}

	queueMu sync.Mutex
	queue   []*partition // queueMu guards
	work    chan struct{}

	changedMu sync.Mutex
	changed   chan struct{} // changedMu guards; closed and replaced by broadcast
	opening   atomic.Int64  // partitions not yet opened, failed ones included
	current   atomic.Bool   // the metadata is not older than this start
	late      bool          // it is followed all the same; only run uses it
	wg        sync.WaitGroup
}

func newPartitions(b *Broker) *partitions {
	return &partitions{
		b: b, topics: map[metadata.TopicID]*localTopic{}, shards: map[dledger.ShardID]*partition{}, dirty: map[metadata.TopicID]struct{}{},
		wake: make(chan struct{}, 1), work: make(chan struct{}, partitionWorkers), changed: make(chan struct{}),
	}
}

// run follows the metadata until ctx ends, and waits for the workers.
func (ps *partitions) run(ctx context.Context) {
	cancel := ps.b.opts.Metadata.Watch(ps.note)
	defer cancel()
	for range partitionWorkers {
		ps.wg.Go(func() { ps.worker(ctx) })
	}
	defer ps.wg.Wait()
	known := ps.awaitMetadata(ctx)
	late := time.NewTimer(metadataWait)
	defer late.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-known:
			known = nil
			ps.current.Store(true)
			ps.note(metadata.Change{All: true})
		case <-late.C:
			ps.note(metadata.Change{All: true})
			if known == nil {
				continue
			}
			ps.b.log.Warn("no majority of the metadata's voters answers: replicas are started as they were last known, and none is removed")
			ps.late = true
		case <-ps.wake:
			if ps.current.Load() || ps.late {
				ps.reconcile()
			}
		}
	}
}

// metadataWait is how long a broker that has just started waits to be sure of the metadata before it starts its replicas as
// they were last known.
const metadataWait = 3 * time.Second

// awaitMetadata returns a channel that is closed once the metadata here is not older than this start. Before, the log of
// the metadata is being replayed: what it says for a moment may have been true long ago, of replicas whose directories are
// others' by now.
func (ps *partitions) awaitMetadata(ctx context.Context) <-chan struct{} {
	known := make(chan struct{})
	ps.wg.Go(func() {
		const pause = 20 * time.Millisecond
		for ctx.Err() == nil {
			if ps.b.opts.Host.MetadataCurrent(ctx) == nil {
				// Nothing is voted or acknowledged by a start that the cluster has not taken down: if this directory is put
				// back one day as it was before, that shows by the start it does not know.
				select {
				case <-ps.b.ready:
					close(known)
				case <-ctx.Done():
				}
				return
			}
			select {
			case <-ctx.Done():
			case <-time.After(pause):
			}
		}
	})
	return known
}

// note remembers what has changed; it is called from the goroutine that applies commands.
func (ps *partitions) note(c metadata.Change) {
	if len(c.Topics) == 0 && !c.All {
		return
	}
	ps.dirtyMu.Lock()
	for _, id := range c.Topics {
		ps.dirty[id] = struct{}{}
	}
	ps.all = ps.all || c.All
	ps.dirtyMu.Unlock()
	signal(ps.wake)
}

func signal(ch chan struct{}) {
	select {
	case ch <- struct{}{}:
	default:
	}
}

func (ps *partitions) reconcile() {
	ps.dirtyMu.Lock()
	dirty, all := ps.dirty, ps.all
	ps.dirty, ps.all = map[metadata.TopicID]struct{}{}, false
	ps.dirtyMu.Unlock()
	image := ps.b.opts.Metadata.Image()
	missing := map[metadata.TopicID]bool{} // unless they were deleted by a command
	if all {
		for t := range image.Topics() {
			dirty[t.ID] = struct{}{}
		}
		ps.mu.RLock()
		for id := range ps.topics {
			if _, named := dirty[id]; !named {
				dirty[id], missing[id] = struct{}{}, true
			}
		}
		ps.mu.RUnlock()
	}
	for id := range dirty {
		if t, ok := image.TopicByID(id); ok {
			ps.follow(image, t)
		} else {
			ps.drop(id, missing[id])
		}
	}
	ps.broadcast()
}

// follow makes a topic here what the metadata says.
func (ps *partitions) follow(image *metadata.Image, t *metadata.Topic) {
	ps.mu.RLock()
	local := ps.topics[t.ID]
	ps.mu.RUnlock()
	settings := ps.b.topicSettings(image, t)
	known := local != nil
	if !known {
		local = &localTopic{id: t.ID, name: t.Name, metrics: ps.b.metrics.topic(t.Name)}
		local.partitions.Store(&[]*partition{})
	}
	old := local.settings.Swap(&settings)
	have := *local.partitions.Load()
	if old == nil || *old != settings {
		for _, p := range have {
			if l := openLog(p); l != nil {
				l.SetConfig(logConfig(settings))
			}
		}
	}
	parts, changed := ps.followReplicas(local, t, settings)
	if known && len(changed) == 0 && len(parts) == len(have) {
		return
	}
	if len(parts) > len(have) {
		local.grown.Store(ps.b.now().UnixNano())
	}
	local.partitions.Store(&parts)
	added := int64(0)
	for _, p := range changed {
		if !p.retired() {
			added++
		}
	}
	ps.mu.Lock()
	ps.topics[t.ID] = local
	ps.count += int(added)
	ps.mu.Unlock()
	ps.opening.Add(added)
	for _, p := range changed {
		ps.enqueue(p)
	}
}

// followReplicas returns the topic's replicas here as the metadata wants them, and those that must be settled.
func (ps *partitions) followReplicas(local *localTopic, t *metadata.Topic, settings topicconfig.Values) (parts, changed []*partition) {
	have := *local.partitions.Load()
	parts = slices.Clone(have)
	for i := range t.Partitions {
		var here *partition
		if i < len(have) {
			here = have[i]
		}
		p := ps.b.replicaOf(local, int32(i), &t.Partitions[i], settings) //nolint:gosec // bounded by the metadata
		if i == len(parts) {
			parts = append(parts, nil)
		}
		switch {
		case p == nil && here == nil, p != nil && here != nil && p.spec.Shard == here.spec.Shard && p.spec.Replica == here.spec.Replica:
			continue
		case p == nil: // the partition has left this node
			parts[i] = nil
			ps.retire(here, true)
			changed = append(changed, here)
		case here == nil:
			parts[i] = p
			changed = append(changed, p)
		default:
			// A new generation goes on with the files, or finds them to be another's; a new replica of the same
			// one begins anew.
			ps.retire(here, p.spec.Shard == here.spec.Shard)
			p.replaces = here
			parts[i] = p
			changed = append(changed, p)
		}
	}
	return parts, changed
}

// retire takes a replica out of service; with remove its files go, too. Whoever calls it sees to it that the
// replica is settled.
func (ps *partitions) retire(p *partition, remove bool) {
	ps.remember(p)
	p.mu.Lock()
	p.unwanted, p.keepFiles = true, !remove || !ps.current.Load() // what is not sure removes nothing
	p.mu.Unlock()
	ps.mu.Lock()
	ps.count--
	ps.mu.Unlock()
}

// remember keeps the newest leader epoch that a replica knows beyond its end.
func (ps *partitions) remember(p *partition) {
	ps.b.leaders.remember(metadata.ShardID(p.spec.Shard), p.leadership().Epoch, ps.b.opts.NodeID)
}

func (p *partition) retired() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.unwanted
}

func openLog(p *partition) PartitionLog {
	if p == nil {
		return nil
	}
	return p.open()
}

// replicaOf returns this node's replica of a partition, nil where it has none.
func (b *Broker) replicaOf(t *localTopic, index int32, p *metadata.Partition, settings topicconfig.Values) *partition {
	mine, ok := p.ReplicaOn(b.opts.NodeID)
	if !ok {
		return nil
	}
	members, join := foundersOf(p)
	if join = join || !p.Founder(mine.ID); join {
		members = make(map[dledger.ReplicaID]int32, len(p.Replicas))
		for _, r := range p.Replicas {
			members[dledger.ReplicaID(r.ID)] = r.Node
		}
	}
	return &partition{topic: t, index: index, spec: dledger.PartitionSpec{
		Topic: t.name, TopicID: t.id, Partition: index, Shard: dledger.ShardID(p.Shard), Generation: p.Generation,
		Replica: dledger.ReplicaID(mine.ID), Members: members, Join: join, Config: logConfig(settings),
	}}
}

// foundersOf are the voters with which a generation began. Where one is not known any more nobody can begin as
// a founder: all must begin alike. Who has not begun yet then gets the log from the others (join).
func foundersOf(p *metadata.Partition) (members map[dledger.ReplicaID]int32, join bool) {
	members = make(map[dledger.ReplicaID]int32, len(p.Founders))
	for _, id := range p.Founders {
		r, ok := p.Replica(id)
		if !ok {
			return nil, true
		}
		members[dledger.ReplicaID(id)] = r.Node
	}
	return members, false
}

func logConfig(v topicconfig.Values) dledger.LogConfig {
	return dledger.LogConfig{
		SegmentBytes: v.SegmentBytes, SegmentAge: v.SegmentAge, IndexIntervalBytes: v.IndexIntervalBytes,
		SegmentJitter: v.SegmentJitter, MaxIndexBytes: v.MaxIndexBytes, FileDeleteDelay: v.FileDeleteDelay,
		FlushMessages: v.FlushMessages, FlushInterval: v.FlushInterval, MinInSyncReplicas: v.MinInSyncReplicas,
		UncleanLeaderElection: v.UncleanElection, Delete: v.Delete, Compact: v.Compact, RetentionAge: v.RetentionAge, RetentionBytes: v.RetentionBytes,
		DeleteRetention: v.DeleteRetention, MinDirtyRatio: v.MinDirtyRatio, MinCompactionLag: v.MinCompactionLag, MaxCompactionLag: v.MaxCompactionLag,
	}
}

// drop takes a deleted topic out of service and has its files removed; those of one that is only missing are set aside.
func (ps *partitions) drop(id metadata.TopicID, missing bool) {
	ps.mu.Lock()
	local := ps.topics[id]
	delete(ps.topics, id)
	ps.mu.Unlock()
	if local == nil {
		return
	}
	for _, p := range *local.partitions.Load() {
		if p == nil {
			continue
		}
		ps.retire(p, true)
		p.mu.Lock()
		p.missing = missing
		p.mu.Unlock()
		ps.enqueue(p)
	}
	ps.b.metrics.dropTopic(local.name)
	if !missing {
		ps.b.coordinators.topicDeleted(local.name)
	}
}

func (ps *partitions) enqueue(p *partition) {
	ps.queueMu.Lock()
	ps.queue = append(ps.queue, p)
	ps.queueMu.Unlock()
	signal(ps.work)
}

func (ps *partitions) dequeue() *partition {
	ps.queueMu.Lock()
	defer ps.queueMu.Unlock()
	if len(ps.queue) == 0 {
		return nil
	}
	p := ps.queue[0]
	ps.queue[0] = nil
	ps.queue = ps.queue[1:]
	return p
}

func (ps *partitions) worker(ctx context.Context) {
	retry := time.NewTimer(partitionRetry)
	defer retry.Stop()
	var failed []*partition
	for {
		select {
		case <-ctx.Done():
			return
		case <-ps.work:
		case <-retry.C:
			for _, p := range failed {
				ps.enqueue(p)
			}
			failed = nil
			retry.Reset(partitionRetry)
		}
		for p := ps.dequeue(); p != nil && ctx.Err() == nil; p = ps.dequeue() {
			signal(ps.work) // there may be more for the others
			if !ps.settle(ctx, p) {
				failed = append(failed, p)
			}
		}
	}
}

// settle opens or removes a replica, as it is wanted; it reports whether that is done.
func (ps *partitions) settle(ctx context.Context, p *partition) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	log := ps.b.log.With("topic", p.spec.Topic, "partition", p.spec.Partition)
	if p.removed {
		return true
	}
	if p.replaces != nil {
		if !ps.settle(ctx, p.replaces) {
			return false
		}
		p.replaces = nil
	}
	if p.unwanted {
		return ps.remove(p, log)
	}
	if p.running {
		return true
	}
	spec := p.spec
	spec.Config = logConfig(*p.topic.settings.Load())
	l, err := ps.b.opts.Host.StartPartition(ctx, spec)
	if errors.Is(err, dledger.ErrInUse) {
		time.AfterFunc(inUseRetry, func() { ps.enqueue(p) }) // a topic of the same name has just been deleted
		return true
	}
	if err != nil {
		if ctx.Err() == nil {
			p.failure.Store(&err)
			log.Error("partition could not be opened", "error", err, "retry_in", partitionRetry)
		}
		return false
	}
	if current := logConfig(*p.topic.settings.Load()); current != spec.Config {
		l.SetConfig(current)
	}
	p.running = true
	p.failure.Store(nil)
	p.opened.Store(ps.b.now().UnixNano())
	ps.b.coordinators.opened(p, l) // before anybody can see that it leads, and is sent here
	p.log.Store(&l)
	ps.mu.Lock()
	ps.shards[p.spec.Shard] = p
	ps.mu.Unlock()
	ps.opening.Add(-1)
	ps.b.announcer.note(p.spec.Shard)
	ps.broadcast()
	return true
}

// remove ends a replica that is unwanted; p.mu is held.
func (ps *partitions) remove(p *partition, log *slog.Logger) bool {
	ps.b.coordinators.closing(p)
	ps.remember(p) // it has gone on since it was retired
	p.log.Store(nil)
	ps.forget(p)
	end := ps.b.opts.Host.DeletePartition
	switch {
	case p.keepFiles:
		end = ps.b.opts.Host.StopPartition
	case p.missing:
		end = ps.b.stopAndSetAside
	case p.damaged.Load():
		end = ps.b.opts.Host.ReplaceDamaged
	}
	if err := end(p.spec); err != nil && !errors.Is(err, dledger.ErrClosed) {
		log.Error("partition could not be removed", "error", err)
		return false
	}
	if p.removed = true; !p.running {
		ps.opening.Add(-1)
	}
	log.Info("partition removed", "files_kept", p.keepFiles)
	return true
}

// forget takes a replica out of those that run.
func (ps *partitions) forget(p *partition) {
	ps.mu.Lock()
	if ps.shards[p.spec.Shard] == p {
		delete(ps.shards, p.spec.Shard)
	}
	ps.mu.Unlock()
	ps.b.announcer.note(p.spec.Shard)
}

// shard returns the replica of a shard that runs here, or nil.
func (ps *partitions) shard(s dledger.ShardID) *partition {
	ps.mu.RLock()
	defer ps.mu.RUnlock()
	return ps.shards[s]
}

// running returns all replicas that run here.
func (ps *partitions) running() []*partition {
	ps.mu.RLock()
	defer ps.mu.RUnlock()
	return slices.Collect(maps.Values(ps.shards))
}

// broadcast wakes those who wait for partitions to be opened, or to get leaders.
func (ps *partitions) broadcast() {
	ps.changedMu.Lock()
	close(ps.changed)
	ps.changed = make(chan struct{})
	ps.changedMu.Unlock()
}

func (ps *partitions) changes() <-chan struct{} {
	ps.changedMu.Lock()
	defer ps.changedMu.Unlock()
	return ps.changed
}

// topic returns a topic of which this node has replicas, or nil.
func (ps *partitions) topic(id metadata.TopicID) *localTopic {
	ps.mu.RLock()
	defer ps.mu.RUnlock()
	return ps.topics[id]
}

// snapshot returns all topics here.
func (ps *partitions) snapshot() []*localTopic {
	ps.mu.RLock()
	defer ps.mu.RUnlock()
	return slices.Collect(maps.Values(ps.topics))
}

// awaitLeaders waits until every partition of the topics that is expected to get a leader has one, at most
// for Config.LeaderWait.
func (ps *partitions) awaitLeaders(ctx context.Context, topics []metadata.TopicID, atMost time.Duration) {
	timer := time.NewTimer(min(atMost, ps.b.opts.Config.LeaderWait))
	defer timer.Stop()
	for {
		changed := ps.changes()
		if !ps.anyExpected(topics) {
			return
		}
		select {
		case <-changed:
		case <-timer.C:
			return
		case <-ctx.Done():
			return
		case <-ps.b.drained:
			return
		}
	}
}

func (ps *partitions) anyExpected(topics []metadata.TopicID) bool {
	image := ps.b.opts.Metadata.Image()
	for _, id := range topics {
		if t, ok := image.TopicByID(id); ok && ps.leaderExpected(t) {
			return true
		}
	}
	return false
}

// find returns a partition of this node, nil while it is not known here.
func (ps *partitions) find(id metadata.TopicID, index int32) *partition {
	if t := ps.topic(id); t != nil {
		return t.partition(index)
	}
	return nil
}

// leaderExpected reports whether a partition of the topic has no leader that serves yet and can be expected to
// get one in a moment: it is being opened, or has become known a moment ago.
func (ps *partitions) leaderExpected(t *metadata.Topic) bool {
	local := ps.topic(t.ID)
	if local == nil {
		return true
	}
	parts := *local.partitions.Load()
	if len(parts) < len(t.Partitions) {
		return true
	}
	now, wait := ps.b.now().UnixNano(), int64(ps.b.opts.Config.LeaderWait)
	young := now-local.grown.Load() < wait
	for i := range t.Partitions {
		p := parts[i]
		if p != nil && p.failure.Load() != nil || ps.b.leaderOf(t.Partitions[i].Shard, p).Serves {
			continue
		}
		if young || p != nil && (p.open() == nil || now-p.opened.Load() < wait) {
			return true
		}
	}
	return false
}
