package broker

import (
	"errors"
	"fmt"
	"math"
	"time"

	"github.com/stelemq/stele/broker/topicconfig"
	"github.com/stelemq/stele/protocol"
	"github.com/stelemq/stele/protocol/record"
)

const (
	// recordErrorsMax bounds the records that an answer complains of one by one.
	recordErrorsMax = 100
	// decompressedMax bounds the records of a batch that must be looked into.
	decompressedMax = 64 << 20
	// zstdVersion is the first version of Produce that may carry zstd (KIP-110).
	zstdVersion = 7
)

// badBatch is why a batch is refused.
type badBatch struct {
	code    protocol.Code
	text    string
	records []recordError
}

func bad(code protocol.Code, format string, args ...any) *badBatch {
	return &badBatch{code: code, text: fmt.Sprintf(format, args...)}
}

// validateProduced checks what a producer sent for one partition, in the order in which Kafka does. It
// does not look into records, except where a topic's settings need it.
func (b *Broker) validateProduced(version int16, records []byte, t *localTopic) (record.Batch, *badBatch) {
	settings := t.settings.Load()
	if len(records) == 0 {
		return nil, bad(protocol.InvalidRecord, "Produce requests with version %d must have at least one record batch per partition", version)
	}
	batch, rest, err := record.Next(records)
	switch {
	case errors.Is(err, record.ErrIncomplete):
		return nil, bad(protocol.InvalidRecord, "Produce requests with version %d must have at least one whole record batch per partition", version)
	case errors.Is(err, record.ErrMagic) && !knownMagic(record.Batch(records).Magic()):
		return nil, bad(protocol.CorruptMessage, "%s", err)
	case err != nil:
		return nil, batchError(err)
	}
	if batch.Attributes().Codec() == record.Zstd && version < zstdVersion {
		return nil, bad(protocol.UnsupportedCompressionType, "Produce requests with version %d are not allowed to use ZStandard compression", version)
	}
	if len(rest) > 0 {
		return nil, bad(protocol.InvalidRecord, "Produce requests with version %d are only allowed to contain exactly one record batch per partition", version)
	}
	if len(batch) > settings.MaxMessageBytes {
		return nil, bad(protocol.MessageTooLarge, "The record batch size in the append to %s is %d bytes which exceeds the maximum configured value of %d (max.message.bytes).",
			t.name, len(batch), settings.MaxMessageBytes)
	}
	if int64(len(batch)) > settings.SegmentBytes {
		return nil, bad(protocol.RecordListTooLarge, "Message batch size is %d bytes in append to partition %s, which exceeds the maximum configured segment size of %d.",
			len(batch), t.name, settings.SegmentBytes)
	}
	if err := batch.Validate(); err != nil {
		return nil, batchError(err)
	}
	if err := batch.ValidateProduced(); err != nil {
		return nil, batchError(err)
	}
	if batch.Attributes().Transactional() {
		return nil, bad(protocol.InvalidTxnState, "This broker does not serve transactions.")
	}
	if refused := b.checkRecords(batch, settings); refused != nil {
		return nil, refused
	}
	return batch, nil
}

// knownMagic says whether Kafka ever had such a format; what it never had is corruption to it.
func knownMagic(magic int8) bool { return magic >= 0 && magic <= 2 }

// batchError turns an error of package record into a Kafka code.
func batchError(err error) *badBatch {
	code := protocol.CorruptMessage
	switch {
	case errors.Is(err, record.ErrTimestampType):
		code = protocol.InvalidTimestamp
	case errors.Is(err, record.ErrCodec):
		code = protocol.UnsupportedCompressionType
	case errors.Is(err, record.ErrInvalid), errors.Is(err, record.ErrMagic):
		code = protocol.InvalidRecord
	case errors.Is(err, record.ErrTooLarge):
		code = protocol.MessageTooLarge
	}
	return &badBatch{code: code, text: err.Error()}
}

// checkRecords checks the records' times, and their keys where the topic is compacted.
func (b *Broker) checkRecords(batch record.Batch, settings *topicconfig.Values) *badBatch {
	earliest, latest := b.timestampBounds(settings)
	late := !settings.LogAppendTime && batch.MaxTimestamp() > latest
	// The header tells the largest timestamp, not the smallest: where there is a bound each is looked at.
	if !late && !settings.Compact && (settings.LogAppendTime || earliest == math.MinInt64) {
		return nil
	}
	var wrong []recordError
	code := protocol.None
	index := int32(0)
	for r, err := range batch.Records(decompressedMax) {
		if err != nil {
			return batchError(err)
		}
		switch {
		case settings.Compact && r.Key == nil:
			code = protocol.InvalidRecord
			wrong = append(wrong, recordError{index, "Compacted topic cannot accept message without key."})
		case !settings.LogAppendTime && r.Timestamp >= 0 && (r.Timestamp < earliest || r.Timestamp > latest):
			if code == protocol.None {
				code = protocol.InvalidTimestamp
			}
			wrong = append(wrong, recordError{index, fmt.Sprintf("Timestamp %d of message with offset %d is out of range. The timestamp should be within [%d, %d]",
				r.Timestamp, index, earliest, latest)})
		}
		index++
		if len(wrong) == recordErrorsMax {
			break
		}
	}
	if late && len(wrong) == 0 {
		return bad(protocol.InvalidTimestamp, "The largest timestamp of the batch, %d, is out of range [%d, %d]", batch.MaxTimestamp(), earliest, latest)
	}
	if code == protocol.None {
		return nil
	}
	return &badBatch{code: code, text: "One or more records have been rejected", records: wrong}
}

// timestampBounds are the times that records may carry now.
func (b *Broker) timestampBounds(settings *topicconfig.Values) (earliest, latest int64) {
	now := b.now().UnixMilli()
	earliest, latest = math.MinInt64, math.MaxInt64
	if before := settings.TimestampBeforeMax.Milliseconds(); before < now {
		earliest = now - before
	}
	if after := settings.TimestampAfterMax.Milliseconds(); after < math.MaxInt64-now {
		latest = now + after
	}
	return earliest, latest
}

// rewrite makes of a batch what the topic wants stored: with the time of the append in its header, or with
// another codec. It returns the batch itself where nothing is to be changed; the request's bytes never
// are. appendTime is -1 unless the topic has LogAppendTime.
func (b *Broker) rewrite(batch record.Batch, settings *topicconfig.Values) (stored record.Batch, copied *buffer, appendTime int64, refused *badBatch) {
	if batch, refused = inCodec(batch, settings); refused != nil {
		return nil, nil, -1, refused
	}
	if !settings.LogAppendTime {
		return batch, nil, -1, nil
	}
	appendTime = b.now().Truncate(time.Millisecond).UnixMilli()
	copied = b.buffers.get(len(batch))
	copy(copied.b, batch)
	stored = record.Batch(copied.b)
	stampAppendTime(stored, appendTime)
	return stored, copied, appendTime, nil
}

// inCodec returns the batch with its records as compression.type wants them.
func inCodec(batch record.Batch, settings *topicconfig.Values) (record.Batch, *badBatch) {
	if settings.Compression == "producer" {
		return batch, nil
	}
	codec, err := record.ParseCodec(settings.Compression)
	if err != nil {
		return nil, batchError(err)
	}
	if codec == batch.Attributes().Codec() {
		return batch, nil
	}
	if batch, err = recompress(batch, codec, settings.CompressionLevel); err != nil {
		return nil, batchError(err)
	}
	if len(batch) > settings.MaxMessageBytes {
		return nil, bad(protocol.MessageTooLarge, "The record batch takes %d bytes with compression.type=%s, which exceeds the maximum configured value of %d (max.message.bytes).",
			len(batch), settings.Compression, settings.MaxMessageBytes)
	}
	return batch, nil
}

// recompress builds the batch anew with another codec.
func recompress(batch record.Batch, codec record.Codec, level int) (record.Batch, error) {
	var builder record.Builder
	for r, err := range batch.Records(decompressedMax) {
		if err != nil {
			return nil, err //nolint:wrapcheck // translated to a code by the caller
		}
		builder.Append(r)
	}
	if batch.HasProducerID() {
		builder.SetProducer(batch.ProducerID(), batch.ProducerEpoch(), batch.BaseSequence())
	}
	return builder.Build(codec, level) //nolint:wrapcheck // translated to a code by the caller
}
