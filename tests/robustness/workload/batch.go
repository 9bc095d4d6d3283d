package workload

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"math/rand/v2"
)

// A value is stored as
//
//	offset  bytes
//	0       4      magic "stlv"
//	4       4      partition
//	8       8      value
//	16      n      bytes that follow from the value
//	16+n    4      CRC32C of all before
const (
	valueMagic  = "stlv"
	valueHeader = 16
	maxPadding  = 200
	longPadding = 8000 // of one value in 16, so that segments fill up
)

func castagnoli(p []byte) uint32 { return crc32.Checksum(p, crc32.MakeTable(crc32.Castagnoli)) }

// appendValue appends the bytes of a value.
func appendValue(dst []byte, partition int32, value int64) []byte {
	start := len(dst)
	dst = append(dst, valueMagic...)
	dst = binary.BigEndian.AppendUint32(dst, uint32(partition))
	dst = binary.BigEndian.AppendUint64(dst, uint64(value))
	rng := rand.New(rand.NewPCG(uint64(value), 3))
	padding := rng.IntN(maxPadding)
	if rng.IntN(16) == 0 {
		padding = rng.IntN(longPadding)
	}
	for range padding {
		dst = append(dst, byte(rng.Uint32()))
	}
	return binary.BigEndian.AppendUint32(dst, castagnoli(dst[start:]))
}

var errDamaged = errors.New("not a value of this partition")

// parseValue returns the value in b, which must have been written to this partition.
func parseValue(b []byte, partition int32) (int64, error) {
	if len(b) < valueHeader+4 || string(b[:4]) != valueMagic {
		return 0, errDamaged
	}
	body, sum := b[:len(b)-4], binary.BigEndian.Uint32(b[len(b)-4:])
	if castagnoli(body) != sum || binary.BigEndian.Uint32(b[4:]) != uint32(partition) {
		return 0, errDamaged
	}
	return int64(binary.BigEndian.Uint64(b[8:])), nil
}

// Positions in a RecordBatch v2.
const (
	posLength   = 8
	posEpoch    = 12
	posMagic    = 16
	posCRC      = 17
	posChecked  = 21 // the CRC covers all from here
	posDelta    = 23
	posCount    = 57
	batchHeader = 61
)

// sequence is the place of a batch in the numbering of an idempotent producer.
type sequence struct {
	producer int64
	epoch    int16
	first    int32
}

// appendBatch appends a RecordBatch v2 with one record for each value.
func appendBatch(dst []byte, partition int32, values []int64, s sequence, millis int64) []byte {
	start := len(dst)
	n := uint32(len(values))
	dst = binary.BigEndian.AppendUint64(dst, 0)          // base offset
	dst = binary.BigEndian.AppendUint32(dst, 0)          // length, below
	dst = binary.BigEndian.AppendUint32(dst, ^uint32(0)) // leader epoch
	dst = append(dst, 2)                                 // magic
	dst = binary.BigEndian.AppendUint32(dst, 0)          // CRC, below
	dst = binary.BigEndian.AppendUint16(dst, 0)          // attributes
	dst = binary.BigEndian.AppendUint32(dst, n-1)        // last offset delta
	dst = binary.BigEndian.AppendUint64(dst, uint64(millis))
	dst = binary.BigEndian.AppendUint64(dst, uint64(millis))
	dst = binary.BigEndian.AppendUint64(dst, uint64(s.producer))
	dst = binary.BigEndian.AppendUint16(dst, uint16(s.epoch))
	dst = binary.BigEndian.AppendUint32(dst, uint32(s.first))
	dst = binary.BigEndian.AppendUint32(dst, n)
	var rec, value []byte
	for i, v := range values {
		value = appendValue(value[:0], partition, v)
		rec = append(rec[:0], 0)                 // attributes
		rec = binary.AppendVarint(rec, 0)        // timestamp delta
		rec = binary.AppendVarint(rec, int64(i)) // offset delta
		rec = binary.AppendVarint(rec, -1)       // null key
		rec = binary.AppendVarint(rec, int64(len(value)))
		rec = append(rec, value...)
		rec = binary.AppendVarint(rec, 0) // headers
		dst = binary.AppendVarint(dst, int64(len(rec)))
		dst = append(dst, rec...)
	}
	b := dst[start:]
	binary.BigEndian.PutUint32(b[posLength:], uint32(len(b)-posEpoch))
	binary.BigEndian.PutUint32(b[posCRC:], castagnoli(b[posChecked:]))
	return dst
}

// entry is one record that was read.
type entry struct {
	offset  int64
	epoch   int32
	value   int64
	damaged bool
}

// parseBatches returns the records in b from the offset on. A batch that is cut off at the end is left out.
func parseBatches(b []byte, partition int32, from int64) ([]entry, error) {
	var out []entry
	for len(b) >= batchHeader {
		size := posEpoch + int64(binary.BigEndian.Uint32(b[posLength:]))
		if size < batchHeader || b[posMagic] != 2 {
			return out, fmt.Errorf("a batch of %d bytes with magic %d", size, b[posMagic])
		}
		if size > int64(len(b)) {
			return out, nil
		}
		entries, err := parseBatch(b[:size], partition)
		if err != nil {
			return out, err
		}
		for _, e := range entries {
			if e.offset >= from {
				out = append(out, e)
			}
		}
		b = b[size:]
	}
	return out, nil
}

func parseBatch(b []byte, partition int32) ([]entry, error) {
	base := int64(binary.BigEndian.Uint64(b))
	epoch := int32(binary.BigEndian.Uint32(b[posEpoch:]))
	n := int(binary.BigEndian.Uint32(b[posCount:]))
	if castagnoli(b[posChecked:]) != binary.BigEndian.Uint32(b[posCRC:]) {
		return nil, fmt.Errorf("batch at offset %d: wrong checksum", base)
	}
	if last := int(binary.BigEndian.Uint32(b[posDelta:])); last != n-1 || n > len(b) {
		return nil, fmt.Errorf("batch at offset %d: %d records and last offset delta %d", base, n, last)
	}
	if attributes := binary.BigEndian.Uint16(b[posChecked:]); attributes != 0 {
		return nil, fmt.Errorf("batch at offset %d: attributes %#x", base, attributes)
	}
	out := make([]entry, 0, n)
	rest := b[batchHeader:]
	for i := range n {
		value, next, err := recordValue(rest)
		if err != nil {
			return nil, fmt.Errorf("batch at offset %d, record %d: %w", base, i, err)
		}
		e := entry{offset: base + int64(i), epoch: epoch}
		if e.value, err = parseValue(value, partition); err != nil {
			e.damaged = true
		}
		out, rest = append(out, e), next
	}
	return out, nil
}

var errRecord = errors.New("malformed record")

// recordValue returns the value of the record that b begins with, and what follows the record.
func recordValue(b []byte) (value, rest []byte, err error) {
	size, k := binary.Varint(b)
	if k <= 0 || size < 1 || size > int64(len(b)-k) {
		return nil, nil, errRecord
	}
	rec, rest := b[k+1:k+int(size)], b[k+int(size):] // without the attributes
	var fields [4]int64                              // timestamp delta, offset delta, key length, value length
	for i := range fields {
		v, k := binary.Varint(rec)
		if k <= 0 {
			return nil, nil, errRecord
		}
		fields[i], rec = v, rec[k:]
	}
	if fields[2] != -1 || fields[3] < 0 || fields[3] > int64(len(rec)) {
		return nil, nil, errRecord
	}
	return rec[:fields[3]], rest, nil
}
