package broker

import (
	"math"
	"time"

	"github.com/stelemq/stele/broker/controller"
	"github.com/stelemq/stele/broker/group"
)

// Config are the settings of a broker that it uses itself. Names in comments are Kafka's. Start from
// [DefaultConfig]; the zero value is not usable.
type Config struct {
	// ClusterID names a new cluster (cluster.id); empty: generated. An existing cluster keeps its own.
	ClusterID string
	// Rack is broker.rack; empty: none.
	Rack string
	// AutoCreateTopics is auto.create.topics.enable.
	AutoCreateTopics bool
	// DeleteTopics is delete.topic.enable.
	DeleteTopics bool
	// NumPartitions is num.partitions.
	NumPartitions int32
	// ReplicationFactor is default.replication.factor; 0: three from three nodes on, else one.
	ReplicationFactor int16
	// MaxRequestBytes is socket.request.max.bytes.
	MaxRequestBytes int
	// QueuedBytesPerConnection bounds the requests and responses that one connection may hold.
	QueuedBytesPerConnection int
	// RequestMemory bounds the bytes of requests being read or processed, over all connections.
	RequestMemory int64
	// FetchMaxBytes is fetch.max.bytes.
	FetchMaxBytes int
	// FetchSessionSlots is max.incremental.fetch.session.cache.slots.
	FetchSessionSlots int
	// MaxConnections and MaxConnectionsPerIP are max.connections and max.connections.per.ip.
	MaxConnections      int
	MaxConnectionsPerIP int
	// MaxIdle is connections.max.idle.ms.
	MaxIdle time.Duration
	// FrameTimeout is the grace given to a frame (or a response) on top of what its bytes need at
	// 64 KiB/s; a peer that is slower is disconnected.
	FrameTimeout time.Duration
	// ShutdownTimeout bounds how long requests in progress are waited for (shutdown.timeout).
	ShutdownTimeout time.Duration
	// HeartbeatInterval is broker.heartbeat.interval.ms and SessionTimeout broker.session.timeout.ms: how
	// often the controller is told that this broker lives, and after how long without a word it is fenced.
	HeartbeatInterval time.Duration
	SessionTimeout    time.Duration
	// ReadFromRack has consumers that name their rack read from a replica in it (KIP-392).
	ReadFromRack bool
	// Controller changes what the controller goes by; nil: Kafka's defaults.
	Controller func(*controller.Config)
	// LeaderWait bounds how long the creation of a topic, and Metadata for one that has just been
	// created or is being opened, waits for leaders.
	LeaderWait time.Duration
	// MaxPartitionsPerRequest bounds the partitions that one CreateTopics or CreatePartitions request
	// may create (max.partitions.per.request of this broker).
	MaxPartitionsPerRequest int
	// PartitionMetricsMax: partition series are exported while there are at most so many partitions
	// (metrics.partition_level).
	PartitionMetricsMax int
	// Groups is what group coordinators go by; NewID, Topics and Events are set by the broker.
	Groups group.Config
	// OffsetsTopic and TransactionsTopic are how the coordinators' topics are created when they are first needed
	// (offsets.topic.* and transaction.state.log.*).
	OffsetsTopic, TransactionsTopic InternalTopic
	// CommitTimeout is offsets.commit.timeout.ms: how long a coordinator's answer is waited for.
	CommitTimeout time.Duration
	// HTTPListen is the address of /metrics, /healthz and /readyz (http.listen); empty: none.
	HTTPListen string
	// Settings are all settings of the process under Kafka's names, for DescribeConfigs and for what
	// topics inherit (log.segment.bytes, ...). Missing ones have the defaults of package topicconfig.
	Settings []Setting
}

// InternalTopic is how a topic of the cluster's own is created.
type InternalTopic struct {
	Partitions int32
	// ReplicationFactor 0: as topics get it that do not say.
	ReplicationFactor int16
	SegmentBytes      int64
}

// Setting is one setting of the process as DescribeConfigs shows it.
type Setting struct {
	// Name is Kafka's name; Value is in Kafka's unit (bytes, milliseconds, a plain number).
	Name, Value string
	// Default is the value it would have had if nobody had set it.
	Default string
	// Explicit: set by file, flag or environment.
	Explicit bool
	// Sensitive values are never shown.
	Sensitive bool
	// Dynamic settings can be changed at run time.
	Dynamic bool
	// Type is one of the constants below.
	Type SettingType
	// Validate says what is wrong with a new value of a dynamic setting, beyond its type; nil: nothing can be.
	Validate func(value string) error
	// ClusterOnly settings cannot differ between brokers.
	ClusterOnly bool
	// Doc is one sentence.
	Doc string
}

// SettingType is the type of a setting as DescribeConfigs v3 names it.
type SettingType int8

// Types of settings; the numbers are the protocol's.
const (
	TypeUnknown SettingType = iota
	TypeBoolean
	TypeString
	TypeInt
	TypeShort
	TypeLong
	TypeDouble
	TypeList
	TypeClass
	TypePassword
)

// DefaultConfig returns the defaults of a broker outside development.
func DefaultConfig() Config {
	return Config{
		AutoCreateTopics:         true,
		DeleteTopics:             true,
		NumPartitions:            1,
		MaxRequestBytes:          100 << 20,
		QueuedBytesPerConnection: 64 << 20,
		RequestMemory:            512 << 20,
		FetchMaxBytes:            55 << 20,
		FetchSessionSlots:        1000,
		MaxConnections:           math.MaxInt32,
		MaxConnectionsPerIP:      math.MaxInt32,
		MaxIdle:                  10 * time.Minute,
		FrameTimeout:             30 * time.Second,
		ShutdownTimeout:          30 * time.Second,
		HeartbeatInterval:        500 * time.Millisecond,
		SessionTimeout:           9 * time.Second,
		ReadFromRack:             true,
		LeaderWait:               2 * time.Second,
		MaxPartitionsPerRequest:  10_000,
		PartitionMetricsMax:      2000,
		Groups:                   group.Defaults(),
		OffsetsTopic:             InternalTopic{Partitions: 50, SegmentBytes: 100 << 20},
		TransactionsTopic:        InternalTopic{Partitions: 50, SegmentBytes: 100 << 20},
		CommitTimeout:            5 * time.Second,
	}
}
