package commitlog

import (
	"errors"

	"github.com/stelemq/stele/protocol/record"
)

var errLater = errors.New("commitlog: not yet")

const defaultOpenFiles = 16

// FileCache bounds how many files of closed segments are open.
type FileCache struct{ max int }

// NewFileCache returns a cache of at most n open files.
func NewFileCache(n int) *FileCache { return &FileCache{max: n} }

// SegmentInfo describes one segment.
type SegmentInfo struct {
	Base record.Offset
	Size int64 // bytes
}

// End is where a log ends.
type End struct {
	Segment record.Offset // base offset of the last segment
	Pos     int64         // the byte after the last one
	Next    record.Offset // the offset that the next record gets
}

// DirtySegment is what of a segment has been appended and not synced: bytes [From, From+Bytes).
type DirtySegment struct {
	Segment     record.Offset
	From, Bytes int64
}

// Entry is what Append writes as one piece: it never spans two segments.
type Entry struct {
	// Batches are whole batches back to back. They are not modified and not kept.
	Batches []byte
	// Epoch is written to each batch as its partition leader epoch.
	Epoch record.LeaderEpoch

	// Set by Append: offsets [Base, Next), the bytes [Pos, Pos+Length) of Segment, and
	// record.StoredCRC over them.
	Base, Next record.Offset
	Segment    record.Offset
	Pos        int64
	Length     int64
	CRC        uint32
}

// TimestampOffset is a record found by its time; Timestamp -1 and Offset record.NoOffset where none.
type TimestampOffset struct {
	Timestamp int64
	Offset    record.Offset
	Epoch     record.LeaderEpoch
}

// ProducerBatch is one batch of an idempotent producer as a partition remembers it.
type ProducerBatch struct {
	BaseSequence, LastSequence int32
	BaseOffset, LastOffset     record.Offset
	Timestamp                  int64
}

// Producer is one idempotent producer as a partition remembers it: a plain value, copied freely.
type Producer struct {
	ID               int64
	Epoch            int16 // -1: none seen
	CoordinatorEpoch int32
	LastTimestamp    int64
	TxnFirstOffset   record.Offset // record.NoOffset: no open transaction
	batches          [5]ProducerBatch
	n                int
}

// Recovery is a partition directory before its end is known.
type Recovery struct{}

// Log is one replica's log.
type Log struct{}

// OpenRecovery opens a partition's directory, creating it and partition.metadata if absent.
// Errors: ErrUnsupportedVersion, ErrTopicIDMismatch, *CorruptionError (partition.metadata).
func OpenRecovery(dir string, o Options) (*Recovery, error) { return nil, errLater }

// Segments lists the segments, ascending.
func (r *Recovery) Segments() []SegmentInfo { return nil }

// ReadAt reads stored bytes; io.EOF at the end of the file as io.ReaderAt.
func (r *Recovery) ReadAt(segment record.Offset, pos int64, p []byte) (int, error) { return 0, errLater }

// WriteAt writes bytes that the journal holds to where they belong, creating the segment if it is missing.
func (r *Recovery) WriteAt(segment record.Offset, pos int64, p []byte) error { return errLater }

// ScanEnd finds the end by scanning the last segment (offline tools and adopted directories only).
func (r *Recovery) ScanEnd() (End, error) { return End{}, errLater }

// Finish cuts everything after end and opens the log; everything counts as not synced.
// The zero End of an empty directory is End{Segment: o, Next: o} for the first offset o.
func (r *Recovery) Finish(end End, logStart record.Offset) (*Log, error) { return nil, errLater }

// Close gives the directory up without a log.
func (r *Recovery) Close() error { return nil }

// SetConfig changes what may change at run time; it holds from the next Append on.
func (l *Log) SetConfig(c Config) {}

// Append writes entries at the end of the log and sets their positions.
func (l *Log) Append(entries []Entry) error { return errLater }

// AppendStored appends the bytes of e as they are stored to dst; e has been appended.
func (l *Log) AppendStored(dst []byte, e *Entry) []byte { return dst }

// Dirty lists what has been appended and not synced, by segment, ascending.
func (l *Log) Dirty() []DirtySegment { return nil }

// Sync makes everything appended before the call durable.
func (l *Log) Sync() error { return errLater }

// SyncSegment makes the bytes and the name of one segment durable.
func (l *Log) SyncSegment(segment record.Offset) error { return errLater }

// AssignEpoch notes that leader epoch e begins at start, even before a batch of it exists.
func (l *Log) AssignEpoch(e record.LeaderEpoch, start record.Offset) error { return errLater }

// Roll closes the active segment and starts a new one at the log's end, unless it is empty.
func (l *Log) Roll() error { return errLater }

// TruncateTo drops [o, end). o is the base of a batch or the end. Errors: ErrNotBatchBoundary, ErrOffsetOutOfRange.
func (l *Log) TruncateTo(o record.Offset) error { return errLater }

// AdvanceLogStart moves the log start offset up to o; a lower o does nothing.
func (l *Log) AdvanceLogStart(o record.Offset, reason string) error { return errLater }

// DeleteSegmentsBelow deletes the segments that lie wholly below o, never the active one.
func (l *Log) DeleteSegmentsBelow(o record.Offset) (deleted []record.Offset, err error) {
	return nil, errLater
}

// Read appends whole batches to dst.
func (l *Log) Read(dst []byte, from, upTo record.Offset, maxBytes int, atLeastOne bool) ([]byte, error) {
	return dst, errLater
}

// ReadAt fills p with stored bytes of a segment. They are not verified.
func (l *Log) ReadAt(segment record.Offset, pos int64, p []byte) error { return errLater }

// OffsetForTimestamp finds the first record at or after ts in [log start, upTo).
func (l *Log) OffsetForTimestamp(ts int64, upTo record.Offset) (TimestampOffset, error) {
	return TimestampOffset{}, errLater
}

// MaxTimestamp finds the record with the largest timestamp in [log start, upTo).
func (l *Log) MaxTimestamp(upTo record.Offset) (TimestampOffset, error) {
	return TimestampOffset{}, errLater
}

// EndOffsetForEpoch answers OffsetForLeaderEpoch as Kafka does.
func (l *Log) EndOffsetForEpoch(e record.LeaderEpoch) (record.LeaderEpoch, record.Offset, error) {
	return 0, 0, errLater
}

// LatestEpoch is the newest leader epoch assigned, record.NoEpoch if none.
func (l *Log) LatestEpoch() record.LeaderEpoch { return record.NoEpoch }

// LogStart is the first offset that may be read.
func (l *Log) LogStart() record.Offset { return 0 }

// End is where the next entry goes.
func (l *Log) End() End { return End{} }

// Size is the sum of the segments' bytes.
func (l *Log) Size() int64 { return 0 }

// Segments lists the segments, ascending; the last one is active.
func (l *Log) Segments() []SegmentInfo { return nil }

// SegmentMaxTimestamp is the largest timestamp in a segment, -1 if it is empty.
func (l *Log) SegmentMaxTimestamp(segment record.Offset) (int64, error) { return 0, errLater }

// ProducerEntry is a copy of what the log knows of a producer.
func (l *Log) ProducerEntry(id int64) (Producer, bool) { return Producer{}, false }

// Producers lists the producers the log knows, by id.
func (l *Log) Producers() []Producer { return nil }

// ExpireProducers forgets the producers without an open transaction whose last timestamp is before beforeMillis.
func (l *Log) ExpireProducers(beforeMillis int64) (ids []int64, err error) { return nil, nil }

// Close flushes indexes and producer state, syncs, and closes the log. Idempotent.
func (l *Log) Close() error { return nil }

// NewProducer is a producer of which nothing is known.
func NewProducer(id int64) Producer { return Producer{ID: id, Epoch: -1, TxnFirstOffset: record.NoOffset} }

// Check says whether batch b may follow: (zero, false, nil) if so; the batch it repeats and true for a duplicate;
// else ErrOutOfOrderSequence, ErrDuplicateSequence or ErrInvalidProducerEpoch.
func (p *Producer) Check(b record.Batch) (dup ProducerBatch, duplicate bool, err error) {
	return dup, false, nil
}

// Update notes that b, with its final offsets, follows. It does not check.
func (p *Producer) Update(b record.Batch) {}

// LastSequence is the last sequence number appended, -1 if none is known.
func (p *Producer) LastSequence() int32 { return -1 }

// Batches are the last batches, at most 5, oldest first.
func (p *Producer) Batches() []ProducerBatch { return p.batches[:p.n] }
