package commitlog

import (
	"log/slog"
	"math"
	"time"

	"github.com/stelemq/stele/internal/vfs"
)

// Defaults of Config, Kafka's.
const (
	DefaultSegmentBytes       = 1 << 30
	DefaultSegmentAge         = 7 * 24 * time.Hour
	DefaultIndexIntervalBytes = 4096
	DefaultMaxIndexBytes      = 10 << 20
	DefaultSnapshotBytes      = 32 << 20
)

// Config is what may change at run time ([Log.SetConfig]). Zero values mean Kafka's defaults.
type Config struct {
	// SegmentBytes is the size at which a segment is closed (segment.bytes); at most MaxInt32. An entry
	// larger than it gets a segment of its own.
	SegmentBytes int64
	// SegmentAge closes a segment this long after its first append (segment.ms); checked by Append.
	SegmentAge time.Duration
	// SegmentJitter is the largest random part by which a segment is closed earlier (segment.jitter.ms).
	SegmentJitter time.Duration
	// IndexIntervalBytes is the distance between index entries (index.interval.bytes).
	IndexIntervalBytes int
	// MaxIndexBytes closes a segment whose offset index has reached it (segment.index.bytes).
	MaxIndexBytes int
	// DeleteDelay is how long files that retention or compaction has taken out of the log are kept, renamed, until
	// RemoveDeleted takes them (file.delete.delay.ms); 0: they go at once.
	DeleteDelay time.Duration
	// SnapshotBytes is how much may be appended between two snapshots of the producer state; a Sync
	// after it writes one. It bounds what an unclean start has to scan.
	SnapshotBytes int64
}

// Options configure a log for its lifetime.
type Options struct {
	Config

	FS     vfs.FS           // the host's file system if nil
	Logger *slog.Logger     // discards if nil
	Now    func() time.Time // time.Now if nil
	// Files bounds the open files of closed segments, shared by the logs that name the same cache; a
	// small cache of its own if nil.
	Files *FileCache

	// Topic, Partition and TopicID stand in partition.metadata and in log lines. A zero TopicID takes
	// the one that the directory has.
	Topic     string
	Partition int32
	TopicID   [16]byte

	Metrics Metrics
}

// Metrics are called where something happens that is worth counting; nil functions are skipped. They
// must not block.
type Metrics struct {
	// Appended: bytes were written to segments by one Append.
	Appended func(entries int, bytes int64)
	// Synced: one file was synced in d.
	Synced func(d time.Duration)
	// Rolled: a new segment was started.
	Rolled func()
	// Corrupted: a read found bytes that do not match their checksum.
	Corrupted func()
	// IndexRebuilt: an index was missing or damaged and was made anew from the segment.
	IndexRebuilt func()
}

func (c Config) withDefaults() Config {
	if c.SegmentBytes <= 0 {
		c.SegmentBytes = DefaultSegmentBytes
	}
	c.SegmentBytes = min(c.SegmentBytes, math.MaxInt32)
	if c.SegmentAge <= 0 {
		c.SegmentAge = DefaultSegmentAge
	}
	if c.IndexIntervalBytes <= 0 {
		c.IndexIntervalBytes = DefaultIndexIntervalBytes
	}
	if c.MaxIndexBytes <= 0 {
		c.MaxIndexBytes = DefaultMaxIndexBytes
	}
	if c.SnapshotBytes <= 0 {
		c.SnapshotBytes = DefaultSnapshotBytes
	}
	return c
}

func (o Options) withDefaults() Options {
	o.Config = o.Config.withDefaults()
	if o.FS == nil {
		o.FS = vfs.OS{}
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Files == nil {
		o.Files = NewFileCache(defaultOpenFiles)
	}
	o.Logger = o.Logger.With("topic", o.Topic, "partition", o.Partition)
	return o
}
