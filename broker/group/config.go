package group

import (
	"iter"
	"time"
)

// Config is what a [Coordinator] goes by. Names in comments are Kafka's.
type Config struct {
	// InitialRebalanceDelay is group.initial.rebalance.delay.ms: how long the first members of an empty group wait for more.
	InitialRebalanceDelay time.Duration
	// MinSessionTimeout and MaxSessionTimeout are group.min.session.timeout.ms and group.max.session.timeout.ms.
	MinSessionTimeout, MaxSessionTimeout time.Duration
	// MaxSize is group.max.size.
	MaxSize int
	// MaxMetadataBytes is offset.metadata.max.bytes, of one partition's commit.
	MaxMetadataBytes int
	// OffsetsRetention is offsets.retention.minutes: how long offsets are kept once a group is empty; 0: for ever.
	OffsetsRetention time.Duration
	// RetentionCheck is offsets.retention.check.interval.ms.
	RetentionCheck time.Duration
	// Consumer is for groups of the consumer protocol.
	Consumer ConsumerConfig
	// NewID makes an id that nobody else has, as the random part of member ids.
	NewID func() string
	// Topics are the topics that exist.
	Topics Topics
	// Events takes what metrics are made of; nil: nobody.
	Events Events
}

// Defaults are Kafka's values; NewID and Topics are for the caller to set.
func Defaults() Config {
	return Config{
		InitialRebalanceDelay: 3 * time.Second,
		MinSessionTimeout:     6 * time.Second,
		MaxSessionTimeout:     30 * time.Minute,
		MaxSize:               1<<31 - 1,
		MaxMetadataBytes:      4096,
		OffsetsRetention:      7 * 24 * time.Hour,
		RetentionCheck:        10 * time.Minute,
		Consumer:              consumerDefaults(),
	}
}

// TopicID is Kafka's UUID of a topic.
type TopicID = [16]byte

// Topic is a topic as groups see it.
type Topic struct {
	Name string
	ID   TopicID
	// Partitions is how many there are; Racks are those of each partition's replicas, nil where none is known.
	Partitions int
	Racks      func(partition int) []string
}

// Topics is a view of the topics that exist. It may change between two calls.
type Topics interface {
	Topic(name string) (Topic, bool)
	TopicByID(id TopicID) (Topic, bool)
	// All yields every topic, in no particular order.
	All() iter.Seq[Topic]
	// Version is larger after every change.
	Version() uint64
}

// Events is told what happens; its methods must not block.
type Events interface {
	// RebalanceBegan tells that a group rebalances and why, RebalanceEnded how long that took.
	RebalanceBegan(group, reason string)
	RebalanceEnded(group string, took time.Duration)
}

type noEvents struct{}

func (noEvents) RebalanceBegan(string, string)        {}
func (noEvents) RebalanceEnded(string, time.Duration) {}

// Why groups rebalance, as Events are told.
const (
	ReasonJoined   = "joined"   // a member has joined
	ReasonLeft     = "left"     // members have left
	ReasonChanged  = "changed"  // a member asks for something else
	ReasonLeader   = "leader"   // the leader has joined again
	ReasonReplaced = "replaced" // a static member has been replaced
	ReasonSession  = "session"  // a member's session has ended
	ReasonSync     = "sync"     // members have not asked for their assignments in time
	ReasonSize     = "size"     // the group is larger than group.max.size

	// Of the consumer protocol alone.
	ReasonTopics   = "topics"   // topics that members subscribe to have come, gone or grown
	ReasonRevoke   = "revoke"   // a member has not given up its partitions in time
	ReasonRejoin   = "rejoin"   // a member of the classic protocol has not joined again in time
	ReasonProtocol = "protocol" // the group has changed between the classic and the consumer protocol
)
