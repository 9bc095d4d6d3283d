package main

import (
	"slices"
	"strings"
	"time"

	"github.com/stelemq/stele/broker"
	"github.com/stelemq/stele/broker/controller"
	"github.com/stelemq/stele/broker/group"
	"github.com/stelemq/stele/dledger"
	"github.com/stelemq/stele/internal/config"
)

// listenersOf are the listeners to open with what each advertises.
func listenersOf(c *config.Config) []broker.Listener {
	var listeners []broker.Listener
	for _, l := range c.Open() {
		b := broker.Listener{Name: l.Name, Address: l.Address()}
		if a, ok := c.Advertised(l.Name); ok {
			b.AdvertisedHost, b.AdvertisedPort = a.Host, int32(a.Port) //nolint:gosec // a port
		}
		listeners = append(listeners, b)
	}
	return listeners
}

// brokerConfig is what the settings say to the broker.
func brokerConfig(c *config.Config) broker.Config {
	b := broker.DefaultConfig()
	b.ClusterID = c.ClusterID
	b.Rack = c.Rack
	b.AutoCreateTopics = c.AutoCreateTopics
	b.DeleteTopics = c.DeleteTopics
	b.NumPartitions = c.NumPartitions
	b.ReplicationFactor = c.ReplicationFactor
	b.MaxRequestBytes = int(c.SocketRequestMax)
	b.QueuedBytesPerConnection = int(c.QueuedMaxBytes)
	b.RequestMemory = int64(c.RequestMemory)
	b.FetchMaxBytes = int(c.FetchMaxBytes)
	b.FetchSessionSlots = c.FetchSessions
	b.MaxConnections = c.MaxConnections
	b.MaxConnectionsPerIP = c.MaxConnectionsPerIP
	b.MaxIdle = c.ConnectionsMaxIdle
	b.ShutdownTimeout = c.ShutdownTimeout
	b.HeartbeatInterval = c.HeartbeatInterval
	b.SessionTimeout = c.SessionTimeout
	b.ReadFromRack = c.ReplicaSelector != "leader"
	b.Controller = func(k *controller.Config) {
		k.AutoRebalance, k.ImbalancePercentage = c.LeaderRebalance, c.ImbalancePercent
		k.ImbalanceInterval = time.Duration(c.ImbalanceInterval) * time.Second
	}
	b.MaxPartitionsPerRequest = c.MaxPartitionsPerCreate
	b.PartitionMetricsMax = c.PartitionMetricsMax
	groupSettings(&b, c)
	b.HTTPListen = httpListen(c)
	b.Settings = kafkaSettings(c)
	return b
}

// groupSettings are the settings of the group coordinators.
func groupSettings(b *broker.Config, c *config.Config) {
	b.Groups.InitialRebalanceDelay = c.GroupRebalanceDelay
	b.Groups.MinSessionTimeout, b.Groups.MaxSessionTimeout = c.GroupSessionMin, c.GroupSessionMax
	b.Groups.MaxSize = c.GroupMaxSize
	b.Groups.MaxMetadataBytes = int(c.OffsetMetadataMax)
	b.Groups.OffsetsRetention, b.Groups.RetentionCheck = c.OffsetsRetention, c.OffsetsCheck
	k := &b.Groups.Consumer
	k.SessionTimeout, k.HeartbeatInterval, k.MaxSize = c.ConsumerSession, c.ConsumerBeat, c.ConsumerMaxSize
	k.Assignors, k.Migration, k.AssignmentInterval = c.ConsumerAssignors, group.MigrationPolicy(c.ConsumerMigration), c.ConsumerInterval
	b.OffsetsTopic = broker.InternalTopic{
		Partitions: c.OffsetsPartitions, ReplicationFactor: c.OffsetsReplication, SegmentBytes: int64(c.OffsetsSegmentBytes),
	}
	b.CommitTimeout = c.OffsetsCommitWait
}

func httpListen(c *config.Config) string {
	if strings.EqualFold(c.HTTPListen, "off") {
		return ""
	}
	return c.HTTPListen
}

// kafkaSettings are the settings as DescribeConfigs shows them.
func kafkaSettings(c *config.Config) []broker.Setting {
	fields := config.Fields()
	settings := make([]broker.Setting, 0, len(fields))
	for _, f := range fields {
		settings = append(settings, broker.Setting{
			Name: f.Key, Value: f.KafkaText(c.Value(f)), Default: f.KafkaText(f.DefaultValue()),
			Explicit: c.Origins[f.Key].Source != config.SourceDefault, Dynamic: f.Dynamic, Type: settingType(f), Doc: f.Doc,
			// Brokers that disagree on it would promise different things in one topic.
			ClusterOnly: f.Key == "min.insync.replicas",
			Validate:    func(value string) error { _, err := f.ParseText(value); return err }, //nolint:wrapcheck // a sentence for the client
		})
	}
	return settings
}

// kafkaInts are settings whose numbers are 32 bits wide in Kafka, and here or in the configuration's file something larger.
//
//nolint:gochecknoglobals // constant table
var kafkaInts = [...]string{
	"broker.heartbeat.interval.ms", "broker.session.timeout.ms", "default.replication.factor", "fetch.max.bytes", "group.consumer.assignment.interval.ms",
	"group.consumer.heartbeat.interval.ms", "group.consumer.max.heartbeat.interval.ms", "group.consumer.max.session.timeout.ms", "group.consumer.max.size",
	"group.consumer.min.heartbeat.interval.ms", "group.consumer.min.session.timeout.ms", "group.consumer.session.timeout.ms", "group.initial.rebalance.delay.ms",
	"group.max.session.timeout.ms", "group.max.size", "group.min.session.timeout.ms", "log.cleaner.threads", "log.index.interval.bytes", "log.index.size.max.bytes",
	"log.segment.bytes", "max.connections", "max.connections.per.ip", "max.incremental.fetch.session.cache.slots", "max.request.partition.size.limit",
	"message.max.bytes", "offset.metadata.max.bytes", "offsets.commit.timeout.ms", "offsets.retention.minutes", "offsets.topic.segment.bytes", "socket.request.max.bytes",
}

func settingType(f config.Field) broker.SettingType {
	switch {
	case slices.Contains(kafkaInts[:], f.Key):
		return broker.TypeInt
	case f.Key == "log.cleaner.min.cleanable.ratio", f.Key == "log.cleaner.io.max.bytes.per.second":
		return broker.TypeDouble
	}
	switch f.Kind {
	case config.KindBool:
		return broker.TypeBoolean
	case config.KindList:
		return broker.TypeList
	case config.KindInt:
		switch f.Bits {
		case 16:
			return broker.TypeShort
		case 32:
			return broker.TypeInt
		}
		return broker.TypeLong
	case config.KindSize, config.KindDuration:
		return broker.TypeLong
	case config.KindString:
	}
	return broker.TypeString
}

// cleanerOptions is what the settings say to compaction.
func cleanerOptions(c *config.Config) dledger.CleanerOptions {
	return dledger.CleanerOptions{
		Disabled: !c.CleanerEnable, Threads: c.CleanerThreads, DedupeBytes: int64(c.CleanerDedupeBytes),
		IOBytesPerSecond: int64(c.CleanerIOBytes), Backoff: c.CleanerBackoff,
	}
}
