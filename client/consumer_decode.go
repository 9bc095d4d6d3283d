package client

import (
	"time"

	"github.com/stelemq/stele/protocol/record"
)

// decode returns the records of a batch in [from, stop); stop -1 is no bound.
// Control batches have none for a reader.
func (k *Consumer) decode(part *fetchPartition, b record.Batch, from, stop int64) ([]Record, error) {
	if b.Attributes().Control() {
		return nil, nil
	}
	epoch := int32(b.LeaderEpoch())
	out := make([]Record, 0, min(int(b.Count()), len(b)))
	for r, err := range b.Records(k.opts.DecompressBytes) {
		if err != nil {
			return nil, err //nolint:wrapcheck // the caller names the partition
		}
		offset := int64(r.Offset)
		if offset < from || stop >= 0 && offset >= stop {
			continue
		}
		out = append(out, Record{
			Topic: part.Topic, Partition: part.Partition, Offset: offset, LeaderEpoch: epoch,
			Timestamp: time.UnixMilli(r.Timestamp), Key: r.Key, Value: r.Value, Headers: r.Headers,
		})
	}
	return out, nil
}
