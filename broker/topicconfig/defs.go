package topicconfig

import (
	"math"
	"regexp"
	"strconv"
	"strings"
	"time"
)

// Type is the type of a value; the numbers are those of DescribeConfigs v3.
type Type int8

// Types that occur.
const (
	Boolean Type = 1
	String  Type = 2
	Int     Type = 3
	Long    Type = 5
	Double  Type = 6
	List    Type = 7
)

// Synonym is a broker setting from which a topic configuration is inherited.
type Synonym struct {
	Name string
	// Unit turns the setting's number into the topic's (hours into milliseconds); 0 means 1.
	Unit int64
}

// Def describes one topic configuration.
type Def struct {
	Name, Default, Doc string
	Type               Type
	// Synonyms in order of precedence.
	Synonyms []Synonym
	// Min and Max bound numbers, inclusive.
	Min, Max float64
	// Values are the words allowed, where they are limited.
	Values []string
	// check says what else is wrong with a value that is of the type; nil: nothing can be.
	check func(value string) string
}

const (
	hourMillis   = int64(time.Hour / time.Millisecond)
	minuteMillis = int64(time.Minute / time.Millisecond)
	maxLong      = "9223372036854775807"
)

func long(name, def string, least float64, doc string, from ...Synonym) Def {
	return Def{Name: name, Type: Long, Default: def, Min: least, Max: math.MaxInt64, Doc: doc, Synonyms: from}
}

func integer(name, def string, least float64, doc string, from ...Synonym) Def {
	return Def{Name: name, Type: Int, Default: def, Min: least, Max: math.MaxInt32, Doc: doc, Synonyms: from}
}

func from(name string) Synonym { return Synonym{Name: name, Unit: 1} }

// Defs returns the schema, sorted by name. The caller owns the slice.
func Defs() []Def {
	return []Def{
		{Name: "cleanup.policy", Type: List, Default: "delete", Values: []string{"compact", "delete"}, Synonyms: []Synonym{from("log.cleanup.policy")}, Doc: "What happens to old segments: delete, compact, or both."},
		{Name: "compression.gzip.level", Type: Int, Default: "-1", Min: -1, Max: 9, check: gzipLevel, Synonyms: []Synonym{from("compression.gzip.level")}, Doc: "The level if compression.type is gzip."},
		{Name: "compression.lz4.level", Type: Int, Default: "9", Min: 1, Max: 17, Synonyms: []Synonym{from("compression.lz4.level")}, Doc: "The level if compression.type is lz4."},
		{Name: "compression.type", Type: String, Default: "producer", Values: []string{"uncompressed", "zstd", "lz4", "snappy", "gzip", "producer"}, Synonyms: []Synonym{from("compression.type")}, Doc: "The codec batches are stored with; producer keeps what the producer chose."},
		{Name: "compression.zstd.level", Type: Int, Default: "3", Min: -131072, Max: 22, Synonyms: []Synonym{from("compression.zstd.level")}, Doc: "The level if compression.type is zstd."},
		long("delete.retention.ms", "86400000", 0, "How long tombstones of compacted topics are kept.", from("log.cleaner.delete.retention.ms")),
		long("file.delete.delay.ms", "60000", 0, "How long a file is kept after it was removed from the log.", from("log.segment.delete.delay.ms")),
		long("flush.messages", "1", 1, "1: an answer means stable storage on a majority; larger: the page cache of a majority.", from("log.flush.interval.messages")),
		long("flush.ms", maxLong, 0, "How often a log with flush.messages above 1 is synced.", from("log.flush.interval.ms"), from("log.flush.scheduler.interval.ms")),
		{Name: "follower.replication.throttled.replicas", Type: List, Default: "", check: throttledReplicas, Doc: "Kept for tools; replication is not throttled per topic."},
		integer("index.interval.bytes", "4096", 0, "How many bytes lie between two entries of the offset index.", from("log.index.interval.bytes")),
		{Name: "leader.replication.throttled.replicas", Type: List, Default: "", check: throttledReplicas, Doc: "Kept for tools; replication is not throttled per topic."},
		long("max.compaction.lag.ms", maxLong, 1, "The longest time a record stays uncompacted.", from("log.cleaner.max.compaction.lag.ms")),
		integer("max.message.bytes", "1048588", 0, "The largest record batch that is accepted.", from("message.max.bytes")),
		long("message.timestamp.after.max.ms", strconv.FormatInt(hourMillis, 10), 0, "How far a record's time may lie ahead of the broker's.", from("log.message.timestamp.after.max.ms")),
		long("message.timestamp.before.max.ms", maxLong, 0, "How far a record's time may lie behind the broker's.", from("log.message.timestamp.before.max.ms")),
		{Name: "message.timestamp.type", Type: String, Default: "CreateTime", Values: []string{"CreateTime", "LogAppendTime"}, Synonyms: []Synonym{from("log.message.timestamp.type")}, Doc: "Whether records carry the producer's time or the broker's."},
		{Name: "min.cleanable.dirty.ratio", Type: Double, Default: "0.5", Min: 0, Max: 1, Synonyms: []Synonym{from("log.cleaner.min.cleanable.ratio")}, Doc: "How much of a log must be uncompacted before compaction begins."},
		long("min.compaction.lag.ms", "0", 0, "The shortest time a record stays uncompacted.", from("log.cleaner.min.compaction.lag.ms")),
		integer("min.insync.replicas", Auto, 1, "How many replicas must have a record before acks=all is answered.", from("min.insync.replicas")),
		{Name: "preallocate", Type: Boolean, Default: "false", Synonyms: []Synonym{from("log.preallocate")}, Doc: "Kept for tools; segments are always preallocated."},
		long("retention.bytes", "-1", math.MinInt64, "The largest size of a partition, -1 for no limit.", from("log.retention.bytes")),
		long("retention.ms", "604800000", -1, "How long records are kept, -1 for ever.", from("log.retention.ms"), Synonym{"log.retention.minutes", minuteMillis}, Synonym{"log.retention.hours", hourMillis}),
		integer("segment.bytes", "268435456", 1<<20, "The size at which a segment is closed.", from("log.segment.bytes")),
		integer("segment.index.bytes", "10485760", 4, "The largest size of an offset index.", from("log.index.size.max.bytes")),
		long("segment.jitter.ms", "0", 0, "The largest random part taken off segment.ms.", from("log.roll.jitter.ms"), Synonym{"log.roll.jitter.hours", hourMillis}),
		long("segment.ms", "604800000", 1, "The age at which a segment is closed.", from("log.roll.ms"), Synonym{"log.roll.hours", hourMillis}),
		{Name: "unclean.leader.election.enable", Type: Boolean, Default: "false", Synonyms: []Synonym{from("unclean.leader.election.enable")}, Doc: "Whether the longest surviving log may lead when the majority is lost."},
	}
}

// gzipLevel refuses 0, which is no level of Kafka's.
func gzipLevel(value string) string {
	if strings.TrimSpace(value) == "0" {
		return "Value must be between 1 and 9 or equal to -1"
	}
	return ""
}

//nolint:gochecknoglobals // compiled once
var throttledReplica = regexp.MustCompile(`^\d+:\d+$`)

// throttledReplicas is Kafka's ThrottledReplicaListValidator.
func throttledReplicas(value string) string {
	parts := SplitList(value)
	if len(parts) == 1 && parts[0] == "*" {
		return ""
	}
	for _, p := range parts {
		if !throttledReplica.MatchString(p) {
			return "must be the literal '*' or a list of replicas in the following format: [partitionId]:[brokerId],[partitionId]:[brokerId],..."
		}
	}
	return ""
}

// Auto as a value of min.insync.replicas means a majority of the replicas.
const Auto = "auto"
