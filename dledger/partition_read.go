package dledger

import (
	"errors"
	"fmt"

	"github.com/stelemq/stele/commitlog"
	"github.com/stelemq/stele/protocol/record"
)

// Read appends whole batches from r.From on to dst and returns it with the watermarks that bounded it. Every batch's CRC
// has been verified. Errors: ErrOffsetOutOfRange (From outside [log start, log end]), ErrCorrupt, ErrClosed.
func (p *Partition) Read(dst []byte, r ReadRequest) ([]byte, Offsets, error) {
	off := p.Offsets()
	if p.shard.condemned() {
		return dst, off, ErrCorrupt
	}
	if r.From < off.LogStart || r.From > off.LogEnd {
		return dst, off, ErrOffsetOutOfRange
	}
	upTo := off.HighWatermark
	switch r.Limit {
	case ReadToLastStable:
		upTo = off.LastStable
	case ReadToLogEnd:
		upTo = off.LogEnd
	case ReadToHighWatermark:
	}
	if r.From >= upTo {
		return dst, off, nil
	}
	read := p.shard.log.Read
	if r.Records {
		read = p.shard.log.ReadRecords
	}
	out, err := read(dst, r.From, upTo, r.MaxBytes, r.AtLeastOne)
	if err != nil {
		return dst, off, p.readError(err)
	}
	p.host.metrics.readDisk.Add(float64(len(out) - len(dst)))
	return out, off, nil
}

func (p *Partition) readError(err error) error {
	switch {
	case errors.Is(err, commitlog.ErrOffsetOutOfRange):
		return ErrOffsetOutOfRange
	case unreadable(err):
		p.host.metrics.corrupt.Inc()
		p.logger.Error("stored data is corrupt", "error", err)
		p.shard.condemn(err)
		return fmt.Errorf("%w: %w", ErrCorrupt, err)
	case errors.Is(err, commitlog.ErrClosed):
		return ErrClosed
	default:
		return fmt.Errorf("read: %w", err)
	}
}

// OffsetForTimestamp finds the first record at or after ts (milliseconds) below the high watermark.
func (p *Partition) OffsetForTimestamp(ts int64) (TimestampOffset, error) {
	t, err := p.shard.log.OffsetForTimestamp(ts, p.Offsets().HighWatermark)
	if err != nil {
		return TimestampOffset{}, p.readError(err)
	}
	return TimestampOffset(t), nil
}

// MaxTimestamp finds the record with the largest timestamp below the high watermark.
func (p *Partition) MaxTimestamp() (TimestampOffset, error) {
	t, err := p.shard.log.MaxTimestamp(p.Offsets().HighWatermark)
	if err != nil {
		return TimestampOffset{}, p.readError(err)
	}
	return TimestampOffset(t), nil
}

// EpochAt returns the leader epoch in force at o, record.NoEpoch if none is known.
func (p *Partition) EpochAt(o record.Offset) record.LeaderEpoch { return p.shard.log.EpochAt(o) }

// EndOffsetForEpoch returns the largest epoch not above e and the offset where it ended (KIP-101, KIP-279).
func (p *Partition) EndOffsetForEpoch(e record.LeaderEpoch) (record.LeaderEpoch, record.Offset, error) {
	epoch, end, err := p.shard.log.EndOffsetForEpoch(e)
	if err != nil {
		return record.NoEpoch, record.NoOffset, p.readError(err)
	}
	return epoch, end, nil
}
