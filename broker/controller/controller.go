package controller

import (
	"maps"
	"slices"
	"time"

	"github.com/stelemq/stele/broker/metadata"
)

// Config are the settings that decisions follow. Start from [DefaultConfig].
type Config struct {
	// SessionTimeout is broker.session.timeout.ms: a broker silent for longer is fenced.
	SessionTimeout time.Duration
	// AutoRebalance is auto.leader.rebalance.enable.
	AutoRebalance bool
	// ImbalanceInterval is leader.imbalance.check.interval.seconds.
	ImbalanceInterval time.Duration
	// ImbalancePercentage is leader.imbalance.per.broker.percentage.
	ImbalancePercentage int
	// MovesMax bounds the partitions that decommissioning moves at the same time.
	MovesMax int
	// TransfersMax bounds the leaderships moved by one decision.
	TransfersMax int
	// Patience is how long the effect of a transfer, a survey or a change of the metadata group is waited
	// for before it is asked for again.
	Patience time.Duration
	// VoterReplaceAfter is how long a voter of the metadata may be fenced before another node votes in its
	// place, if there is one.
	VoterReplaceAfter time.Duration
	// Demote: voters of the metadata that are too many become learners, under another replica id that their
	// nodes must take over. Otherwise they go on voting.
	Demote bool
}

// DefaultConfig returns Kafka's defaults where Kafka has them.
func DefaultConfig() Config {
	return Config{
		SessionTimeout: 9 * time.Second, AutoRebalance: true, ImbalanceInterval: 300 * time.Second, ImbalancePercentage: 10,
		MovesMax: 8, TransfersMax: 100, Patience: 5 * time.Second, VoterReplaceAfter: 5 * time.Minute,
	}
}

// UncleanWait is how long the majority of a partition must have been fenced before it is given up. A leader
// that may be replaced uncleanly stops acknowledging when it has not heard from the controller for
// SessionTimeout; fencing takes that long, and then as long again passes, with half of it for clocks that
// differ and heartbeats on their way.
func (c Config) UncleanWait() time.Duration { return c.SessionTimeout + c.SessionTimeout/2 }

// Node is what is known of a broker.
type Node struct {
	// LastHeard is when its last heartbeat reached this controller; zero: never.
	LastHeard time.Time
	// Incarnation that it said. Only the incarnation that has registered is unfenced.
	Incarnation string
	// ShuttingDown: it wants to give its leaderships away.
	ShuttingDown bool
}

// PartitionState is a partition as its leader announced it.
type PartitionState struct {
	// Leader is a node id, -1 where none is known.
	Leader int32
	// Heard is when the leader last said so. Leaders repeat it every few seconds: one that has not for the
	// session timeout leads no more.
	Heard time.Time
	// Voters and Learners are Raft's membership; without Voters nothing is known of it.
	Voters, Learners []metadata.ReplicaID
	// ISR are the node ids of the voters that are in sync.
	ISR []int32
}

// Member is a replica of the metadata log as Raft has it.
type Member struct {
	Replica metadata.ReplicaID
	Node    int32
	Voter   bool
}

// View is everything that a decision goes by.
type View struct {
	// Now is monotonic.
	Now time.Time
	// Self is the node that decides: it is alive.
	Self  int32
	Image *metadata.Image
	Nodes map[int32]Node
	// Partition returns what is known of a generation of a partition.
	Partition func(metadata.ShardID) (PartitionState, bool)
	// Members of the metadata group; nil: not known.
	Members []Member
	// Unclean reports whether a topic has unclean.leader.election.enable=true.
	Unclean func(*metadata.Topic) bool

	staleAfter time.Duration
}

func (v *View) state(s metadata.ShardID) PartitionState {
	if v.Partition != nil {
		if p, ok := v.Partition(s); ok && v.Now.Sub(p.Heard) <= v.staleAfter {
			return p
		}
	}
	return PartitionState{Leader: -1}
}

// live reports whether a node is not fenced.
func (v *View) live(node int32) bool {
	b, ok := v.Image.Broker(node)
	return ok && !b.Fenced
}

// present reports whether a node is not fenced, or has spoken lately and will not be for long.
func (v *View) present(node int32) bool {
	at := v.Nodes[node].LastHeard
	return v.live(node) || !at.IsZero() && v.Now.Sub(at) <= v.staleAfter
}

// fresh reports whether a node has spoken within a third of the session timeout: it is not only not fenced.
func (v *View) fresh(node int32) bool {
	return node == v.Self || v.live(node) && v.Now.Sub(v.Nodes[node].LastHeard) <= v.staleAfter/3
}

// mayLead reports whether a node should be given leaderships.
func (v *View) mayLead(node int32) bool {
	b, ok := v.Image.Broker(node)
	return ok && b.MayLead() && !v.Nodes[node].ShuttingDown
}

// led reports whether a partition has a leader on a live node.
func (v *View) led(s PartitionState) bool { return s.Leader >= 0 && v.live(s.Leader) }

// Transfer asks the leader of a partition to hand over.
type Transfer struct {
	Topic     metadata.TopicID
	Partition int32
	Shard     metadata.ShardID
	From, To  int32
}

// SurveyRequest asks a node how far its replicas of some shards reach. The answers go to
// [Controller.Surveyed].
type SurveyRequest struct {
	Node   int32
	Shards []metadata.ShardID
	// Hold is for how long after its answer the node must not acknowledge anything in these shards, should it
	// come to lead them: a new generation may begin from what it has answered.
	Hold time.Duration
}

// MemberChangeKind is a change of the metadata group.
type MemberChangeKind int

// Kinds of changes.
const (
	// AddMember adds the replica as a learner.
	AddMember MemberChangeKind = iota + 1
	// PromoteMember makes a learner a voter.
	PromoteMember
	// RemoveMember removes the replica.
	RemoveMember
	// HandOver lets another voter lead the group, and so decide.
	HandOver
)

// MemberChange is one change of the metadata group.
type MemberChange struct {
	Kind    MemberChangeKind
	Replica metadata.ReplicaID
	Node    int32
}

// Note is a decision that people should know of, for the log.
type Note struct {
	// Text is constant for its kind.
	Text      string
	Node      int32 // -1 where it concerns none
	Topic     string
	Partition int32
}

// Actions are what is to be done, in any order but for Commands, which come in order.
type Actions struct {
	Commands  []metadata.Command
	Transfers []Transfer
	Surveys   []SurveyRequest
	// Member is a change of the metadata group; nil: none. There is never more than one.
	Member *MemberChange
	Notes  []Note
}

// Empty reports whether there is nothing to do.
func (a *Actions) Empty() bool {
	return len(a.Commands) == 0 && len(a.Transfers) == 0 && len(a.Surveys) == 0 && a.Member == nil
}

// Controller remembers between decisions. It must be used by one goroutine at a time.
type Controller struct {
	cfg   Config
	since time.Time
	// fenced is since when this controller has known a node to be fenced.
	fenced map[int32]time.Time
	// asked is when a leadership was last asked to move.
	asked map[metadata.ShardID]time.Time
	// lost is what is known of partitions that may need recovery.
	lost map[metadata.ShardID]*lost
	// member is the last change of the metadata group that was asked for, and memberAt when.
	member      MemberChange
	memberAt    time.Time
	nextBalance time.Time
}

// New makes a controller that begins at now. Brokers of which it has not heard yet are given the whole
// session timeout from then on.
func New(cfg Config, now time.Time) *Controller {
	return &Controller{
		cfg: cfg, since: now, fenced: map[int32]time.Time{}, asked: map[metadata.ShardID]time.Time{},
		lost: map[metadata.ShardID]*lost{}, nextBalance: now.Add(cfg.ImbalanceInterval),
	}
}

// SetConfig changes the settings.
func (c *Controller) SetConfig(cfg Config) { c.cfg = cfg }

// Decide returns what to do now. Call it again when anything has changed, and every second at least; the
// commands of the last call should have been applied, or have failed, before.
func (c *Controller) Decide(v View) Actions {
	var a Actions
	v.staleAfter = c.cfg.SessionTimeout
	c.liveness(&v, &a)
	d := c.scan(&v, &a)
	c.quorum(&v, d, &a)
	c.decommission(&v, d, &a)
	c.balance(&v, d, &a)
	c.recoverLost(&v, d, &a)
	c.forget(&v, d)
	return a
}

// scan is one pass over all partitions: what the passes after it need.
type scan struct {
	// moving counts partitions with a reassignment, or that lose a replica.
	moving int
	// leaving are the partitions that want a replica on nodes being decommissioned, or removed.
	leaving []place
	// held is not zero for nodes being decommissioned that partitions still have replicas on, or want them.
	held map[int32]int
	// preferred counts partitions by preferred leader; astray are those that another one leads.
	preferred map[int32]int
	astray    map[int32][]Transfer
	// lost are partitions whose majority is fenced or that an operator wants recovered.
	lost   []place
	shards map[metadata.ShardID]struct{}
}

// place is a partition.
type place struct {
	topic *metadata.Topic
	index int32
	p     *metadata.Partition
	state PartitionState
}

func (c *Controller) scan(v *View, a *Actions) *scan {
	d := &scan{
		held: map[int32]int{}, preferred: map[int32]int{}, astray: map[int32][]Transfer{},
		shards: make(map[metadata.ShardID]struct{}, v.Image.PartitionCount()),
	}
	var reports metadata.ReplicaStates
	var steps metadata.ChangeReplicas
	for _, name := range v.Image.TopicNames() {
		t, _ := v.Image.Topic(name)
		for n := range t.Partitions {
			pl := place{topic: t, index: int32(n), p: &t.Partitions[n]} //nolint:gosec // bounded by the metadata
			pl.state = v.state(pl.p.Shard)
			d.shards[pl.p.Shard] = struct{}{}
			if r, ok := pl.report(v); ok {
				reports.Reports = append(reports.Reports, r)
			} else if s, ok := pl.step(v); ok {
				steps.Steps = append(steps.Steps, s)
			}
			d.note(v, pl)
			c.drain(v, pl, a)
		}
	}
	if len(reports.Reports) > 0 {
		a.Commands = append(a.Commands, &reports)
	}
	if len(steps.Steps) > 0 {
		a.Commands = append(a.Commands, &steps)
	}
	return d
}

func (d *scan) note(v *View, pl place) {
	if pl.p.Target != nil {
		d.moving++
	}
	leaving := false
	for _, node := range append(pl.p.Nodes(), pl.p.Target...) {
		if b, ok := v.Image.Broker(node); !ok || b.State == metadata.NodeDecommissioning {
			d.held[node]++
			leaving = leaving || slices.Contains(pl.p.Wanted(), node)
		}
	}
	if leaving {
		d.leaving = append(d.leaving, pl)
	}
	preferred := pl.p.PreferredLeader()
	d.preferred[preferred]++
	if v.led(pl.state) && pl.state.Leader != preferred && !pl.changing(v) && slices.Contains(pl.state.ISR, preferred) {
		d.astray[preferred] = append(d.astray[preferred], pl.transfer(preferred))
	}
	if pl.p.Recover || !v.led(pl.state) && !pl.majorityLives(v) {
		d.lost = append(d.lost, pl)
	}
}

func (pl *place) transfer(to int32) Transfer {
	return Transfer{Topic: pl.topic.ID, Partition: pl.index, Shard: pl.p.Shard, From: pl.state.Leader, To: to}
}

// forget drops what is remembered of what is gone.
func (c *Controller) forget(v *View, d *scan) {
	gone := func(s metadata.ShardID) bool { _, ok := d.shards[s]; return !ok }
	maps.DeleteFunc(c.asked, func(s metadata.ShardID, at time.Time) bool { return gone(s) || v.Now.Sub(at) > c.cfg.Patience })
	maps.DeleteFunc(c.lost, func(s metadata.ShardID, _ *lost) bool { return gone(s) })
}
