package config

import "time"

// Size is a number of bytes.
type Size int64

// group, ignored and refused mark blank fields of the schema that carry no value: a heading, a key that is
// accepted and does nothing, a key that must not be there.
type (
	group   struct{}
	ignored struct{}
	refused struct{}
)

// Settings is the schema and, filled by [Load], the values. Tags:
//
//	key      the name; alias: further names, "name" or "name=unit" where a plain number has another unit
//	default  as a user would write it; dev: the default of `broker` without arguments
//	unit     of a plain number of a duration: ms, s, min, h
//	min, max bounds, as a user would write them; enum: the words allowed, by |
//	special  words for numbers, as "auto=-1|unlimited=9"
//	dynamic  may change at run time
//	status   K as Kafka's, A adapted (doc says how), empty: ours
//	type     of DescribeConfigs, where it is not the field's own
type Settings struct {
	_ group `name:"Node"`

	NodeID          int32         `key:"node.id" alias:"broker.id" default:"auto" dev:"1" special:"auto=-1" min:"0" status:"A" doc:"Id of this broker, unique in its cluster and kept in the data directory. auto takes the kept one, else the number at the end of the host's name, else 1."`
	ClusterID       string        `key:"cluster.id" default:"" status:"K" doc:"Id of the cluster. Empty: the one kept in the data directory, else a new one."`
	Peers           []string      `key:"cluster.peers" alias:"controller.quorum.voters" default:"" status:"A" doc:"The brokers that found the cluster, the same on all of them: id@host:port, several by commas; the ports are those of cluster.listen. Odd numbers, best 3. Empty: this broker founds a cluster of its own, which can grow. Later it only says where those brokers are."`
	Join            string        `key:"cluster.join" default:"" doc:"Address of a broker of the cluster to join, host:port, its own or the one for clients; several by commas. Has no effect once joined."`
	ClusterListen   string        `key:"cluster.listen" default:"auto" doc:"Where the other brokers connect (the Raft address), host:port. auto: the own entry of cluster.peers, else the first listener's host and its port + 100 (9092: 9192), else any free port, kept."`
	ClusterAddress  string        `key:"cluster.advertised.address" default:"auto" doc:"The Raft address that the other brokers are told, host:port. auto: the own entry of cluster.peers, else the host that the first listener advertises."`
	Rack            string        `key:"broker.rack" default:"" status:"K" doc:"Where this broker stands; answered in metadata so that clients can prefer what is near."`
	LogDirs         []string      `key:"log.dirs" alias:"log.dir" default:"/var/lib/broker" dev:"./data" status:"A" doc:"The data directory: one. It is made on the first start; there is no format step."`
	ShutdownTimeout time.Duration `key:"shutdown.timeout" default:"30s" min:"0s" doc:"How long a stopping broker lets requests in progress finish."`
	MemoryLimit     Size          `key:"memory.limit" default:"auto" special:"auto=-1|off=0" min:"64MiB" doc:"Soft limit of the Go heap and what belongs to it. auto: nine tenths of the control group's limit, if there is one and GOMEMLIMIT is not set."`
	LogLevel        string        `key:"log.level" default:"info" dev:"warn" enum:"debug|info|warn|error" dynamic:"true" doc:"The least important messages that are written to standard error."`
	LogFormat       string        `key:"log.format" default:"auto" enum:"auto|text|json" doc:"Form of those messages. auto: text on a terminal, else JSON."`

	_ group `name:"Listeners and connections"`

	Listeners              []string      `key:"listeners" default:"PLAINTEXT://:9092" dev:"PLAINTEXT://127.0.0.1:9092" status:"K" doc:"Where clients connect: NAME://host:port, several by commas. An empty host binds all interfaces."`
	AdvertisedListeners    []string      `key:"advertised.listeners" default:"" status:"A" doc:"The addresses that clients are told, by listener name. A listener that is not named here is advertised under its own host, or the name of the machine where it binds all interfaces."`
	ControllerListeners    []string      `key:"controller.listener.names" default:"" status:"A" doc:"Listeners of these names are not opened: there are no separate controllers. For Kafka's files."`
	HTTPListen             string        `key:"http.listen" default:"127.0.0.1:8080" doc:"Address of /metrics, /healthz and /readyz (and, on loopback only, /debug/pprof). off: none."`
	MaxConnections         int           `key:"max.connections" default:"2147483647" min:"1" max:"2147483647" status:"K" dynamic:"true" doc:"Connections served at a time, over all listeners."`
	MaxConnectionsPerIP    int           `key:"max.connections.per.ip" default:"2147483647" min:"1" max:"2147483647" status:"K" dynamic:"true" doc:"Connections served at a time from one address."`
	ConnectionsMaxIdle     time.Duration `key:"connections.max.idle.ms" default:"10m" unit:"ms" min:"1s" status:"K" doc:"A connection without requests for so long is closed."`
	SocketRequestMax       Size          `key:"socket.request.max.bytes" default:"100MiB" min:"512KiB" max:"1GiB" status:"K" doc:"The largest request that is read."`
	QueuedMaxBytes         Size          `key:"queued.max.request.bytes" default:"64MiB" min:"1MiB" status:"A" doc:"Bytes of requests and answers that one connection may hold; above it, it is not read."`
	RequestMemory          Size          `key:"request.memory.bytes" default:"512MiB" min:"16MiB" doc:"Bytes of requests being read or processed, over all connections; above it, no request is read until others are done."`
	FetchMaxBytes          Size          `key:"fetch.max.bytes" default:"55MiB" min:"1KiB" max:"1GiB" status:"K" doc:"Most bytes of records in one answer to a fetch, except for a first batch that is larger."`
	FetchSessions          int           `key:"max.incremental.fetch.session.cache.slots" default:"1000" min:"0" status:"K" doc:"Incremental fetch sessions remembered."`
	MaxPartitionsPerCreate int           `key:"max.request.partition.size.limit" default:"10000" min:"1" status:"A" doc:"Partitions that one request may create."`

	_ group `name:"Topics"`

	AutoCreateTopics  bool          `key:"auto.create.topics.enable" default:"true" status:"K" doc:"A topic that a client asks for is created."`
	DeleteTopics      bool          `key:"delete.topic.enable" default:"true" status:"K" doc:"Topics may be deleted."`
	NumPartitions     int32         `key:"num.partitions" default:"1" min:"1" max:"10000" status:"K" doc:"Partitions of a topic whose creator does not say how many."`
	ReplicationFactor int16         `key:"default.replication.factor" default:"auto" special:"auto=0" min:"1" status:"A" doc:"Replicas of a topic whose creator does not say how many. auto: three from three brokers on, else one."`
	MinInSyncReplicas int32         `key:"min.insync.replicas" default:"auto" special:"auto=0" min:"1" status:"A" dynamic:"true" doc:"Replicas that must have a record before acks=all is answered. auto: a majority of the topic's replicas, which always has."`
	ReplicaLagTimeMax time.Duration `key:"replica.lag.time.max.ms" default:"30s" unit:"ms" min:"100ms" status:"K" doc:"A replica that has not caught up with its leader for so long is no longer in sync."`

	UncleanElection   bool          `key:"unclean.leader.election.enable" default:"false" status:"K" dynamic:"true" doc:"When the majority of a partition's replicas is gone, the longest log among those that remain goes on: records may be lost. Topics override it."`
	HeartbeatInterval time.Duration `key:"broker.heartbeat.interval.ms" default:"500ms" unit:"ms" min:"10ms" max:"10s" status:"A" doc:"How often a broker tells the controller that it lives."`
	SessionTimeout    time.Duration `key:"broker.session.timeout.ms" default:"9s" unit:"ms" min:"100ms" max:"10m" status:"K" doc:"A broker that the controller has not heard for so long is fenced: it is not named to clients, and gets nothing new."`
	LeaderRebalance   bool          `key:"auto.leader.rebalance.enable" default:"true" status:"K" doc:"Leaderships go back to the preferred leaders where too many are elsewhere."`
	ImbalanceInterval int           `key:"leader.imbalance.check.interval.seconds" default:"300" min:"1" max:"86400" status:"K" doc:"How often the leaderships are looked at for that, in seconds."`
	ImbalancePercent  int           `key:"leader.imbalance.per.broker.percentage" default:"10" min:"0" max:"100" status:"K" doc:"How many hundredths of a broker's preferred leaderships may be elsewhere."`
	ReplicationRate   Size          `key:"leader.replication.throttled.rate" default:"64MiB" special:"unlimited=9223372036854775807" min:"1" status:"A" dynamic:"true" doc:"Bytes per second that this broker hands to replicas elsewhere that have fallen behind or are new, whatever the topic, and once more from the logs that Raft still reaches. Replicas in sync are not throttled."`
	FollowerRate      Size          `key:"follower.replication.throttled.rate" default:"unlimited" special:"unlimited=9223372036854775807" min:"1" status:"A" dynamic:"true" doc:"For Kafka's tools; it is the leader's rate that bounds replicas that catch up."`
	ReplicaSelector   string        `key:"replica.selector.class" default:"rack" enum:"rack|leader|org.apache.kafka.common.replica.RackAwareReplicaSelector" status:"A" doc:"Where consumers read that name their rack: rack, from a replica in sync in it; leader, always from the leader."`

	_ group `name:"Log"`

	FlushMessages       int64         `key:"log.flush.interval.messages" default:"1" min:"1" status:"A" dynamic:"true" doc:"1: a record is on stable storage before it is acknowledged, shared by all that wait (group commit). More: relaxed, the page cache is the promise. Topics override it by flush.messages."`
	FlushInterval       time.Duration `key:"log.flush.interval.ms" default:"unlimited" unit:"ms" special:"unlimited=9223372036854775807" min:"1ms" status:"A" dynamic:"true" doc:"How often a relaxed partition is synced in the background; unlimited leaves it to the system."`
	SegmentBytes        Size          `key:"log.segment.bytes" default:"256MiB" min:"1MiB" max:"2147483647" status:"K" dynamic:"true" doc:"Size at which a segment file is closed and the next one begun."`
	SegmentAge          time.Duration `key:"log.roll.ms" alias:"log.roll.hours=h" default:"7d" unit:"ms" min:"1s" status:"K" dynamic:"true" doc:"Age at which a segment file is closed and the next one begun."`
	SegmentJitter       time.Duration `key:"log.roll.jitter.ms" alias:"log.roll.jitter.hours=h" default:"0s" unit:"ms" min:"0s" status:"K" dynamic:"true" doc:"The largest random part taken off log.roll.ms, so that segments are not all closed at the same time."`
	MaxIndexBytes       Size          `key:"log.index.size.max.bytes" default:"10MiB" min:"4" max:"2147483647" status:"K" dynamic:"true" doc:"Size of an index at which its segment is closed."`
	IndexIntervalBytes  Size          `key:"log.index.interval.bytes" default:"4096" min:"0" max:"2147483647" status:"K" dynamic:"true" doc:"Bytes of records between two entries of an index."`
	MessageMaxBytes     Size          `key:"message.max.bytes" default:"1048588" min:"1" max:"1GiB" status:"K" dynamic:"true" doc:"The largest record batch, as stored."`
	TimestampType       string        `key:"log.message.timestamp.type" default:"CreateTime" enum:"CreateTime|LogAppendTime" status:"K" dynamic:"true" doc:"Whose clock stamps records: the producer's or the broker's."`
	TimestampBeforeMax  time.Duration `key:"log.message.timestamp.before.max.ms" default:"unlimited" unit:"ms" special:"unlimited=9223372036854775807" min:"0s" status:"K" dynamic:"true" doc:"How far a producer's timestamp may lie in the past."`
	TimestampAfterMax   time.Duration `key:"log.message.timestamp.after.max.ms" default:"1h" unit:"ms" special:"unlimited=9223372036854775807" min:"0s" status:"K" dynamic:"true" doc:"How far a producer's timestamp may lie in the future."`
	CompressionType     string        `key:"compression.type" default:"producer" enum:"producer|uncompressed|gzip|snappy|lz4|zstd" status:"K" dynamic:"true" doc:"How batches are stored: as producers compress them, or with this codec. Topics override it, and say the level."`
	InFlightBytes       Size          `key:"log.inflight.max.bytes" default:"32MiB" min:"1MiB" max:"1GiB" doc:"Bytes between arrival and answer, over all partitions; above it, producers wait."`
	JournalFileBytes    Size          `key:"journal.file.bytes" default:"auto" special:"auto=0" min:"1MiB" max:"1GiB" doc:"Size of a file of the journal. auto: 32MiB, less on a small disk."`
	ReservePercent      int64         `key:"storage.reject.percent" default:"5" dev:"1" min:"0" max:"50" doc:"Producers are refused, and readers served, while less than so many hundredths of the disk are free."`
	PartitionMetricsMax int           `key:"metrics.partition.level.max" default:"2000" min:"0" doc:"Series per partition are exported while there are at most so many partitions."`

	_ group `name:"Consumer groups"`

	GroupRebalanceDelay time.Duration `key:"group.initial.rebalance.delay.ms" default:"3s" dev:"0s" unit:"ms" min:"0s" max:"5m" status:"K" doc:"How long the first members of an empty group wait for more, so that they do not each set off a rebalance."`
	GroupSessionMin     time.Duration `key:"group.min.session.timeout.ms" default:"6s" unit:"ms" min:"1ms" status:"K" doc:"The shortest session timeout that a member may ask for."`
	GroupSessionMax     time.Duration `key:"group.max.session.timeout.ms" default:"30m" unit:"ms" min:"1ms" status:"K" doc:"The longest session timeout that a member may ask for."`
	GroupMaxSize        int           `key:"group.max.size" default:"2147483647" min:"1" max:"2147483647" status:"K" doc:"Members that a group may have."`
	ConsumerSession     time.Duration `key:"group.consumer.session.timeout.ms" default:"45s" unit:"ms" min:"1ms" status:"K" doc:"After how long without a heartbeat a member of the consumer protocol (KIP-848) is out."`
	ConsumerSessionMin  time.Duration `key:"group.consumer.min.session.timeout.ms" default:"45s" unit:"ms" min:"1ms" status:"K" doc:"The least that group.consumer.session.timeout.ms may be."`
	ConsumerSessionMax  time.Duration `key:"group.consumer.max.session.timeout.ms" default:"60s" unit:"ms" min:"1ms" status:"K" doc:"The most that group.consumer.session.timeout.ms may be."`
	ConsumerBeat        time.Duration `key:"group.consumer.heartbeat.interval.ms" default:"5s" dev:"1s" unit:"ms" min:"1ms" status:"K" doc:"How often members of the consumer protocol are told to send heartbeats. A rebalance takes a few of them."`
	ConsumerBeatMin     time.Duration `key:"group.consumer.min.heartbeat.interval.ms" default:"5s" dev:"1s" unit:"ms" min:"1ms" status:"K" doc:"The least that group.consumer.heartbeat.interval.ms may be."`
	ConsumerBeatMax     time.Duration `key:"group.consumer.max.heartbeat.interval.ms" default:"15s" unit:"ms" min:"1ms" status:"K" doc:"The most that group.consumer.heartbeat.interval.ms may be."`
	ConsumerMaxSize     int           `key:"group.consumer.max.size" default:"2147483647" min:"1" max:"2147483647" status:"K" doc:"Members that a group of the consumer protocol may have."`
	ConsumerAssignors   []string      `key:"group.consumer.assignors" default:"uniform,range" status:"K" doc:"How partitions are distributed over members of the consumer protocol: uniform (as evenly as possible, moving as little as possible), range (contiguous ranges, the same of every topic). The first is the default."`
	ConsumerMigration   string        `key:"group.consumer.migration.policy" default:"bidirectional" enum:"bidirectional|upgrade|downgrade|disabled" status:"K" doc:"Whether groups with members may change their protocol: upgrade, from classic to consumer when the first such member joins; downgrade, when the last one leaves; both; or neither."`
	ConsumerInterval    time.Duration `key:"group.consumer.assignment.interval.ms" default:"1s" unit:"ms" min:"0s" max:"15s" status:"K" doc:"The least time between two assignments of a group of the consumer protocol, so that members that come together are assigned together."`
	OffsetsRetention    time.Duration `key:"offsets.retention.minutes" default:"7d" unit:"m" min:"1m" status:"K" doc:"How long a group's offsets are kept once it has no members."`
	OffsetsCheck        time.Duration `key:"offsets.retention.check.interval.ms" default:"10m" unit:"ms" min:"1ms" status:"K" doc:"How often offsets are looked for that need not be kept any more."`
	OffsetMetadataMax   Size          `key:"offset.metadata.max.bytes" default:"4096" min:"0" max:"1MiB" status:"K" doc:"The longest text that a consumer may add to a committed offset."`
	OffsetsCommitWait   time.Duration `key:"offsets.commit.timeout.ms" default:"5s" unit:"ms" min:"1ms" max:"10m" status:"K" doc:"How long a commit may take until it is answered that it may not have been made."`
	OffsetsPartitions   int32         `key:"offsets.topic.num.partitions" default:"50" min:"1" max:"10000" status:"K" doc:"Partitions of __consumer_offsets when it is created, at the first use of a group: over so many coordinators groups are spread."`
	OffsetsReplication  int16         `key:"offsets.topic.replication.factor" default:"auto" special:"auto=0" min:"1" status:"A" doc:"Replicas of __consumer_offsets when it is created. auto: as default.replication.factor says."`
	OffsetsSegmentBytes Size          `key:"offsets.topic.segment.bytes" default:"100MiB" min:"1MiB" max:"2147483647" status:"K" doc:"Size of a segment file of __consumer_offsets when it is created: smaller ones are compacted sooner."`

	_ group `name:"Retention and compaction"`

	CleanupPolicy      []string      `key:"log.cleanup.policy" default:"delete" status:"K" dynamic:"true" doc:"What happens to old segments: delete (by age and size), compact (keep the last record of each key), or both, by a comma. Topics override it."`
	RetentionAge       time.Duration `key:"log.retention.ms" alias:"log.retention.minutes=min,log.retention.hours=h" default:"7d" unit:"ms" special:"unlimited=-1" min:"0s" status:"K" dynamic:"true" doc:"How long records are kept, by the largest timestamp of their segment; unlimited (or -1): for ever."`
	RetentionBytes     Size          `key:"log.retention.bytes" default:"unlimited" special:"unlimited=-1" min:"0" status:"K" dynamic:"true" doc:"The largest size of one partition, not of a topic or the disk; above it its oldest segments go. unlimited (or -1): no limit."`
	RetentionInterval  time.Duration `key:"log.retention.check.interval.ms" default:"1min" unit:"ms" min:"1ms" status:"A" doc:"How often leaders look for records that have expired (Kafka's default is 5 minutes)."`
	SegmentDeleteDelay time.Duration `key:"log.segment.delete.delay.ms" default:"1min" unit:"ms" min:"0s" status:"K" dynamic:"true" doc:"How long files are kept, renamed, after they have left the log."`
	CleanerEnable      bool          `key:"log.cleaner.enable" default:"true" status:"K" doc:"Compacted topics are compacted."`
	CleanerThreads     int           `key:"log.cleaner.threads" default:"1" min:"1" max:"64" status:"K" doc:"Partitions compacted at the same time."`
	CleanerDedupeBytes Size          `key:"log.cleaner.dedupe.buffer.size" default:"128MiB" min:"1MiB" max:"64GiB" status:"K" doc:"Memory for keys of records, over all threads, taken while they compact: 24 bytes for each. A log with more new keys is compacted in several turns."`
	CleanerIOBytes     Size          `key:"log.cleaner.io.max.bytes.per.second" default:"unlimited" special:"unlimited=9223372036854775807" min:"1KiB" status:"K" doc:"Bytes per second that compaction reads and writes, over all threads."`
	CleanerBackoff     time.Duration `key:"log.cleaner.backoff.ms" default:"15s" unit:"ms" min:"1ms" status:"K" doc:"How long a thread rests that finds nothing to compact."`
	CleanerRatio       string        `key:"log.cleaner.min.cleanable.ratio" default:"0.5" status:"K" dynamic:"true" doc:"How much of a log must be uncompacted, between 0 and 1, before it is compacted."`
	CleanerRetention   time.Duration `key:"log.cleaner.delete.retention.ms" default:"1d" unit:"ms" min:"0s" status:"K" dynamic:"true" doc:"How long tombstones (records without a value) are kept once what they delete is gone: consumers must see them in that time."`
	CleanerMinLag      time.Duration `key:"log.cleaner.min.compaction.lag.ms" default:"0s" unit:"ms" min:"0s" status:"K" dynamic:"true" doc:"The shortest time a record stays uncompacted."`
	CleanerMaxLag      time.Duration `key:"log.cleaner.max.compaction.lag.ms" default:"unlimited" unit:"ms" special:"unlimited=9223372036854775807" min:"1ms" status:"K" dynamic:"true" doc:"The longest time a record stays uncompacted."`

	_ ignored `key:"controller.quorum.bootstrap.servers" doc:"names no node ids; see cluster.peers and cluster.join"`
	_ ignored `key:"process.roles" doc:"every broker has all roles"`
	_ ignored `key:"inter.broker.listener.name" doc:"brokers talk to each other on their own port"`
	_ ignored `key:"listener.security.protocol.map" doc:"the protocol follows from the listener's name"`
	_ ignored `key:"num.network.threads" doc:"Go schedules this"`
	_ ignored `key:"num.io.threads" doc:"Go schedules this"`
	_ ignored `key:"background.threads" doc:"Go schedules this"`
	_ ignored `key:"num.replica.fetchers" doc:"Go schedules this"`
	_ ignored `key:"num.recovery.threads.per.data.dir" doc:"Go schedules this"`
	_ ignored `key:"queued.max.requests" doc:"bytes are bounded instead, by queued.max.request.bytes"`
	_ ignored `key:"socket.send.buffer.bytes" doc:"the system sizes socket buffers"`
	_ ignored `key:"socket.receive.buffer.bytes" doc:"the system sizes socket buffers"`
	_ ignored `key:"controlled.shutdown.*" doc:"see shutdown.timeout"`
	_ ignored `key:"metric.reporters" doc:"Prometheus is built in, see http.listen"`
	_ ignored `key:"metrics.num.samples" doc:"Prometheus is built in, see http.listen"`
	_ ignored `key:"metrics.sample.*" doc:"Prometheus is built in, see http.listen"`
	_ ignored `key:"metrics.recording.*" doc:"Prometheus is built in, see http.listen"`
	_ ignored `key:"log4j.*" doc:"see log.level and log.format"`
	_ ignored `key:"confluent.*" doc:"not a setting of Kafka's broker"`
	_ ignored `key:"share.coordinator.*" doc:"share groups are not served"`
	_ ignored `key:"offsets.load.buffer.size" doc:"nothing is loaded: every replica follows its log"`
	_ ignored `key:"offsets.topic.compression.codec" doc:"it is not compressed"`
	_ ignored `key:"group.coordinator.*" doc:"each partition of __consumer_offsets has a coordinator of its own"`
	_ ignored `key:"group.share.*" doc:"groups of this kind are not served yet"`
	_ ignored `key:"group.streams.*" doc:"groups of this kind are not served yet"`
	_ ignored `key:"transaction.*" doc:"transactions are not served yet"`
	_ ignored `key:"transactional.*" doc:"transactions are not served yet"`
	_ ignored `key:"log.cleaner.io.buffer.*" doc:"the cleaner sizes its buffers"`
	_ ignored `key:"replica.fetch.*" doc:"replicas are sent what they lack"`
	_ ignored `key:"replica.socket.*" doc:"replicas are sent what they lack"`
	_ ignored `key:"replica.high.watermark.checkpoint.interval.ms" doc:"the journal keeps it"`

	_ refused `key:"zookeeper.*" doc:"there is no ZooKeeper here; remove it"`
	_ refused `key:"ssl.*" doc:"this version serves no TLS: it would listen in the clear; remove it, or put a TLS proxy in front"`
	_ refused `key:"sasl.*" doc:"this version authenticates nobody; remove it, and let only trusted hosts reach the listeners"`
	_ refused `key:"security.inter.broker.protocol" doc:"this version serves PLAINTEXT alone; remove it"`
	_ refused `key:"authorizer.class.name" doc:"this version authorizes everybody; remove it, and let only trusted hosts reach the listeners"`
	_ refused `key:"super.users" doc:"this version authorizes everybody; remove it"`
	_ refused `key:"allow.everyone.if.no.acl.found" doc:"this version has no ACLs; remove it"`
	_ refused `key:"quota.*" doc:"quotas are set while brokers run, by user and client id, as with kafka-configs; remove it"`
}
