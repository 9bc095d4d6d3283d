package commitlog

import (
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/stelemq/stele/protocol/record"
)

// Layout of a .snapshot file, Kafka's ProducerSnapshot version 1, big-endian:
//
//	+-------------+---------+-----------+------------------------------------------------+
//	| version (2) | crc (4) | count (4) | entries                                         |
//	+-------------+---------+-----------+------------------------------------------------+
//	entry: producer id (8) epoch (2) last sequence (4) last offset (8) offset delta (4)
//	       timestamp (8) coordinator epoch (4) first offset of the open transaction, or −1 (8)
//
// The CRC32C covers everything after itself. Of each producer's batches an entry has only the last one;
// last sequence and last offset are −1 without one. What Kafka does not look at follows behind (appendOlderBatches).
const (
	snapshotVersion    = 1
	snapshotHeaderLen  = 10
	snapshotCRCEnd     = 6
	snapshotEntryLen   = 46
	maxSnapshotEntries = (1 << 30) / snapshotEntryLen
)

var errSnapshot = errors.New("malformed producer snapshot")

// AppendProducerSnapshot encodes producers as Kafka does, which keeps the last batch of each. Behind that, where Kafka does not look,
// follow the batches before the last one: without them a producer whose broker restarts meets an error for what it sends again
// and is in the log.
func AppendProducerSnapshot(b []byte, ps []Producer) []byte {
	at := len(b)
	be := binary.BigEndian
	b = be.AppendUint16(b, snapshotVersion)
	b = be.AppendUint32(b, 0)
	b = be.AppendUint32(b, uint32(len(ps))) //nolint:gosec // bounded by memory
	for i := range ps {
		p := &ps[i]
		last := ProducerBatch{LastSequence: noSequence, LastOffset: record.NoOffset, BaseOffset: record.NoOffset}
		if p.n > 0 {
			last = p.batches[p.n-1]
		}
		b = be.AppendUint64(b, uint64(p.ID))                                   //nolint:gosec // bits
		b = be.AppendUint16(b, uint16(p.Epoch))                                //nolint:gosec // bits
		b = be.AppendUint32(b, uint32(last.LastSequence))                      //nolint:gosec // bits
		b = be.AppendUint64(b, uint64(last.LastOffset))                        //nolint:gosec // bits
		b = be.AppendUint32(b, uint32(last.LastOffset-last.BaseOffset))        //nolint:gosec // bits
		b = be.AppendUint64(b, uint64(p.LastTimestamp))                        //nolint:gosec // bits
		b = be.AppendUint32(b, uint32(p.CoordinatorEpoch))                     //nolint:gosec // bits
		b = be.AppendUint64(b, uint64(max(p.TxnFirstOffset, record.NoOffset))) //nolint:gosec // bits
	}
	b = appendOlderBatches(b, ps)
	be.PutUint32(b[at+2:], record.CRC(0, b[at+snapshotCRCEnd:]))
	return b
}

// The batches before the last ones: magic (4 bytes), then for each of them
//
//	place of its producer among the entries (4) | first and last sequence (4, 4) | first and last offset (8, 8) | timestamp (8)
//
// in the order of the producers and of the log.
const (
	olderMagic    = 0x53544f42 // "STOB"
	olderBatchLen = 36
)

//nolint:gosec // bits
func appendOlderBatches(b []byte, ps []Producer) []byte {
	be := binary.BigEndian
	begun := false
	for i := range ps {
		for _, x := range ps[i].batches[:max(ps[i].n, 1)-1] {
			if !begun {
				b, begun = be.AppendUint32(b, olderMagic), true
			}
			b = be.AppendUint32(b, uint32(i))
			b = be.AppendUint32(b, uint32(x.BaseSequence))
			b = be.AppendUint32(b, uint32(x.LastSequence))
			b = be.AppendUint64(b, uint64(x.BaseOffset))
			b = be.AppendUint64(b, uint64(x.LastOffset))
			b = be.AppendUint64(b, uint64(x.Timestamp))
		}
	}
	return b
}

// addOlderBatches puts the batches before the last ones back.
//
//nolint:gosec // bits
func addOlderBatches(ps []Producer, b []byte) error {
	be := binary.BigEndian
	if len(b) == 0 {
		return nil // Kafka's
	}
	if len(b) < 4 || be.Uint32(b) != olderMagic || (len(b)-4)%olderBatchLen != 0 {
		return fmt.Errorf("%w: %w", ErrCorrupt, errSnapshot)
	}
	for b = b[4:]; len(b) > 0; b = b[olderBatchLen:] {
		i := int64(be.Uint32(b))
		if i >= int64(len(ps)) || ps[i].n == 0 || ps[i].n == producerBatches {
			return fmt.Errorf("%w: %w", ErrCorrupt, errSnapshot)
		}
		p := &ps[i]
		p.batches[p.n] = p.batches[p.n-1] // the last one stays the last
		p.batches[p.n-1] = ProducerBatch{
			BaseSequence: int32(be.Uint32(b[4:])), LastSequence: int32(be.Uint32(b[8:])),
			BaseOffset: record.Offset(be.Uint64(b[12:])), LastOffset: record.Offset(be.Uint64(b[20:])), Timestamp: int64(be.Uint64(b[28:])),
		}
		p.n++
	}
	return nil
}

// ParseProducerSnapshot decodes what AppendProducerSnapshot or Kafka wrote.
// Errors: ErrCorrupt, ErrUnsupportedVersion.
func ParseProducerSnapshot(b []byte) ([]Producer, error) {
	be := binary.BigEndian
	if len(b) < snapshotHeaderLen {
		return nil, fmt.Errorf("%w: %w", ErrCorrupt, errSnapshot)
	}
	if record.CRC(0, b[snapshotCRCEnd:]) != be.Uint32(b[2:]) {
		return nil, fmt.Errorf("%w: producer snapshot does not match its checksum", ErrCorrupt)
	}
	if v := be.Uint16(b); v != snapshotVersion {
		return nil, fmt.Errorf("%w: producer snapshot version %d, newest known %d", ErrUnsupportedVersion, v, snapshotVersion)
	}
	n := int64(be.Uint32(b[6:]))
	b = b[snapshotHeaderLen:]
	if n > maxSnapshotEntries || int64(len(b)) < n*snapshotEntryLen {
		return nil, fmt.Errorf("%w: %w", ErrCorrupt, errSnapshot)
	}
	ps := make([]Producer, n)
	for i := range ps {
		ps[i] = parseSnapshotEntry(b[i*snapshotEntryLen:])
	}
	if err := addOlderBatches(ps, b[n*snapshotEntryLen:]); err != nil {
		return nil, err
	}
	return ps, nil
}

//nolint:gosec // bits
func parseSnapshotEntry(e []byte) Producer {
	be := binary.BigEndian
	p := Producer{
		ID: int64(be.Uint64(e)), Epoch: int16(be.Uint16(e[8:])), LastTimestamp: int64(be.Uint64(e[26:])),
		CoordinatorEpoch: int32(be.Uint32(e[34:])), TxnFirstOffset: record.Offset(be.Uint64(e[38:])),
	}
	last := record.Offset(be.Uint64(e[14:]))
	if last < 0 {
		return p
	}
	seq, delta := int32(be.Uint32(e[10:])), int32(be.Uint32(e[22:]))
	first := int64(seq) - int64(delta)
	if first < 0 && seq >= 0 {
		first += 1 << 31
	}
	if seq < 0 {
		first = noSequence
	}
	p.batches[0] = ProducerBatch{
		BaseSequence: int32(first), LastSequence: seq,
		BaseOffset: last - record.Offset(delta), LastOffset: last, Timestamp: p.LastTimestamp,
	}
	p.n = 1
	return p
}
