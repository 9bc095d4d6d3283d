package broker

import (
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/stelemq/stele/broker/metadata"
	"github.com/stelemq/stele/dledger"
	"github.com/stelemq/stele/protocol/record"
)

// announcedKeep is how long an announcement is kept of which the metadata knows no partition (yet).
const announcedKeep = 30 * time.Second

// announced is a partition's leadership as its leader says it to all others.
type announced struct {
	Shard metadata.ShardID `json:"shard"`
	// Leader is the node that announces, or -1: it leads no more, and knows of nobody else.
	Leader int32              `json:"leader"`
	Epoch  record.LeaderEpoch `json:"epoch"`
	// ISR are the nodes in sync.
	ISR []int32 `json:"isr,omitempty"`
	// Voters and Learners are Raft's membership.
	Voters   map[dledger.ReplicaID]int32 `json:"voters,omitempty"`
	Learners map[dledger.ReplicaID]int32 `json:"learners,omitempty"`
}

// announcement is what one broker says to another. Each carries on from the one before.
type announcement struct {
	// Incarnation of the sender, and Sequence among what it has sent to this receiver, from 1.
	Incarnation string `json:"incarnation"`
	Sequence    uint64 `json:"sequence"`
	// Full: what is not named the sender does not lead.
	Full       bool        `json:"full,omitempty"`
	Partitions []announced `json:"partitions"`
}

// leaderTable is who leads what by the leaders' own word. The newest leader epoch wins.
type leaderTable struct {
	now func() time.Time

	mu      sync.RWMutex
	shards  map[metadata.ShardID]*heardLeader // mu guards
	senders map[int32]*heardSender            // mu guards
}

// heardLeader is an announcement that holds. Immutable.
type heardLeader struct {
	announced

	by int32 // node that announced it
	at time.Time
}

type heardSender struct {
	incarnation string
	sequence    uint64
}

func newLeaderTable(now func() time.Time) *leaderTable {
	return &leaderTable{now: now, shards: map[metadata.ShardID]*heardLeader{}, senders: map[int32]*heardSender{}}
}

// take enters what a node announces. It reports what has changed, whether the sender is to announce everything because
// something was missed, and whether it has just come up.
func (t *leaderTable) take(from int32, m *announcement) (changed, again, cameUp bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	s := t.senders[from]
	if s == nil || s.incarnation != m.Incarnation {
		s = &heardSender{incarnation: m.Incarnation}
		t.senders[from] = s
		cameUp = true
	}
	if m.Sequence <= s.sequence {
		return false, false, false // overtaken by a later one
	}
	again = !m.Full && m.Sequence != s.sequence+1
	s.sequence = m.Sequence
	at := t.now()
	named := make(map[metadata.ShardID]struct{}, len(m.Partitions))
	for i := range m.Partitions {
		a := &m.Partitions[i]
		named[a.Shard] = struct{}{}
		changed = t.enter(&heardLeader{announced: *a, by: from, at: at}) || changed
	}
	if m.Full {
		for shard, old := range t.shards {
			if _, ok := named[shard]; !ok && old.by == from && old.Leader >= 0 {
				gone := *old
				gone.Leader, gone.ISR, gone.at = -1, nil, at
				t.shards[shard] = &gone
				changed = true
			}
		}
	}
	return changed, again, cameUp
}

func (t *leaderTable) enter(a *heardLeader) bool {
	if a.Leader >= 0 && a.Leader != a.by {
		return false // nobody speaks for another
	}
	old := t.shards[a.Shard]
	if old != nil && (a.Epoch < old.Epoch || a.Epoch == old.Epoch && old.by != a.by && old.by != nobody) {
		return false
	}
	t.shards[a.Shard] = a
	return old == nil || !old.same(&a.announced)
}

// nobody has announced what a replica here knew of a leader epoch.
const nobody int32 = -1

// remember enters the newest leader epoch that a replica on this node knew, which is about to go: what was announced may be
// older. Who leads is announced by whoever does.
func (t *leaderTable) remember(shard metadata.ShardID, epoch record.LeaderEpoch, self int32) {
	t.mu.Lock()
	defer t.mu.Unlock()
	old := t.shards[shard]
	if epoch < 0 || old != nil && epoch <= old.Epoch {
		return
	}
	a := heardLeader{announced: announced{Shard: shard, Leader: -1, Epoch: epoch}, by: nobody, at: t.now()}
	if old != nil { // who was in sync before is the best guess, but for the one that goes
		a.Voters, a.Learners = old.Voters, old.Learners
		a.ISR = slices.DeleteFunc(slices.Clone(old.ISR), func(n int32) bool { return n == self })
	}
	t.shards[shard] = &a
}

func (a *announced) same(b *announced) bool {
	return a.Leader == b.Leader && a.Epoch == b.Epoch && slices.Equal(a.ISR, b.ISR) &&
		maps.Equal(a.Voters, b.Voters) && maps.Equal(a.Learners, b.Learners)
}

// get returns what was announced of a shard, nil where nothing was.
func (t *leaderTable) get(s metadata.ShardID) *heardLeader {
	t.mu.RLock()
	defer t.mu.RUnlock()
	return t.shards[s]
}

// prune forgets shards that the metadata does not know any more.
func (t *leaderTable) prune(image *metadata.Image) {
	known := make(map[metadata.ShardID]struct{}, image.PartitionCount())
	for topic := range image.Topics() {
		for i := range topic.Partitions {
			known[topic.Partitions[i].Shard] = struct{}{}
		}
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	oldest := t.now().Add(-announcedKeep)
	maps.DeleteFunc(t.shards, func(s metadata.ShardID, a *heardLeader) bool {
		_, ok := known[s]
		return !ok && a.at.Before(oldest)
	})
}

// leaderView is who leads a partition, by the newest that is known here.
type leaderView struct {
	// Leader is -1 where nobody leads, as far as is known.
	Leader int32
	Epoch  record.LeaderEpoch
	// ISR are node ids; nil where they are not known.
	ISR []int32
	// Voters and Learners are Raft's membership; nil where it is not known.
	Voters, Learners map[dledger.ReplicaID]int32
	// Serves: the leader has said itself that it leads.
	Serves bool
	// At is when it said so last, if it is another node.
	At time.Time
}

// leaderOf joins what this node's replica knows with what was announced.
func (b *Broker) leaderOf(shard metadata.ShardID, local *partition) leaderView {
	a := b.leaders.get(shard)
	here := dledger.Leadership{Leader: -1, Epoch: -1}
	if local != nil && local.spec.Shard == dledger.ShardID(shard) {
		here = local.leadership()
	}
	switch {
	case here.IsLeader:
		v := leaderView{Leader: here.Leader, Epoch: here.Epoch, ISR: here.ISR, Serves: true}
		if l := local.open(); l != nil {
			v.Voters, v.Learners = membersOf(l)
		}
		return v
	case a != nil && a.Epoch >= here.Epoch:
		return leaderView{Leader: a.Leader, Epoch: a.Epoch, ISR: a.ISR, Voters: a.Voters, Learners: a.Learners, Serves: a.Leader >= 0, At: a.at}
	case a != nil: // who was in sync before an election is the best guess
		return leaderView{Leader: here.Leader, Epoch: here.Epoch, ISR: a.ISR, Voters: a.Voters, Learners: a.Learners}
	}
	return leaderView{Leader: here.Leader, Epoch: here.Epoch, ISR: here.ISR}
}

func membersOf(l PartitionLog) (voters, learners map[dledger.ReplicaID]int32) {
	voters, learners = map[dledger.ReplicaID]int32{}, map[dledger.ReplicaID]int32{}
	for _, m := range l.Members() {
		if m.Voter {
			voters[m.Replica] = m.Node
		} else {
			learners[m.Replica] = m.Node
		}
	}
	return voters, learners
}
