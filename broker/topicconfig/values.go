package topicconfig

import (
	"math"
	"strconv"
	"strings"
	"time"
)

// Values are the configurations of a topic that the broker and the log act on, typed.
type Values struct {
	MaxMessageBytes    int
	LogAppendTime      bool
	TimestampBeforeMax time.Duration
	TimestampAfterMax  time.Duration
	// Compression is compression.type: a codec's name, or producer. Level is that codec's level.
	Compression       string
	CompressionLevel  int
	MinInSyncReplicas int
	UncleanElection   bool

	SegmentBytes       int64
	SegmentAge         time.Duration
	SegmentJitter      time.Duration
	IndexIntervalBytes int
	MaxIndexBytes      int
	FileDeleteDelay    time.Duration
	FlushMessages      int64
	FlushInterval      time.Duration // 0: never

	RetentionAge   time.Duration // negative: for ever
	RetentionBytes int64         // negative: no limit
	Delete         bool          // cleanup.policy contains delete
	Compact        bool          // cleanup.policy contains compact

	// What compaction goes by; see package commitlog.
	DeleteRetention  time.Duration
	MinDirtyRatio    float64
	MinCompactionLag time.Duration
	MaxCompactionLag time.Duration
}

// Parse resolves all configurations of a topic with so many replicas. Values that do not parse (which
// Validate would have refused) fall back to the default.
func (s *Schema) Parse(topic map[string]string, inherited Inherited, replicas int) Values {
	get := func(name string) string {
		d := s.byName[name]
		for _, v := range Resolve(d, topic, inherited, replicas) {
			if d.Validate(v.Value) == nil {
				return v.Value
			}
		}
		return auto(d.Default, replicas)
	}
	num := func(name string) int64 {
		n, _ := strconv.ParseInt(strings.TrimSpace(get(name)), 10, 64)
		return n
	}
	v := Values{
		MaxMessageBytes:    int(num("max.message.bytes")),
		LogAppendTime:      get("message.timestamp.type") == "LogAppendTime",
		TimestampBeforeMax: millis(num("message.timestamp.before.max.ms")),
		TimestampAfterMax:  millis(num("message.timestamp.after.max.ms")),
		Compression:        get("compression.type"),
		MinInSyncReplicas:  int(num("min.insync.replicas")),
		UncleanElection:    strings.EqualFold(get("unclean.leader.election.enable"), "true"),
		SegmentBytes:       num("segment.bytes"),
		SegmentAge:         millis(num("segment.ms")),
		SegmentJitter:      millis(num("segment.jitter.ms")),
		IndexIntervalBytes: int(num("index.interval.bytes")),
		MaxIndexBytes:      int(num("segment.index.bytes")),
		FileDeleteDelay:    millis(num("file.delete.delay.ms")),
		DeleteRetention:    millis(num("delete.retention.ms")),
		MinCompactionLag:   millis(num("min.compaction.lag.ms")),
		MaxCompactionLag:   millis(num("max.compaction.lag.ms")),
		FlushMessages:      num("flush.messages"),
		RetentionAge:       millis(num("retention.ms")),
		RetentionBytes:     num("retention.bytes"),
	}
	switch v.Compression {
	case "gzip", "lz4", "zstd":
		v.CompressionLevel = int(num("compression." + v.Compression + ".level"))
	}
	v.MinDirtyRatio, _ = strconv.ParseFloat(strings.TrimSpace(get("min.cleanable.dirty.ratio")), 64)
	if ms := num("flush.ms"); ms < math.MaxInt64 {
		v.FlushInterval = millis(ms)
	}
	for _, p := range SplitList(get("cleanup.policy")) {
		v.Delete = v.Delete || p == "delete"
		v.Compact = v.Compact || p == "compact"
	}
	return v
}

// millis converts without overflow.
func millis(ms int64) time.Duration {
	const most = math.MaxInt64 / int64(time.Millisecond)
	return time.Duration(min(ms, most)) * time.Millisecond
}
