package record

import (
	"encoding/binary"
	"hash/crc32"
)

// CRC continues crc over p by CRC-32C (Castagnoli), the checksum of Kafka's batches; begin with 0.
func CRC(crc uint32, p []byte) uint32 { return crc32.Update(crc, Castagnoli(), p) }

// Castagnoli is the table of CRC-32C. It is shared and must not be written.
func Castagnoli() *crc32.Table { return crc32.MakeTable(crc32.Castagnoli) }

// Patch writes to dst the first PatchLen bytes of b as stored: with base and e in place of the producer's. b itself
// is not touched; dst followed by b[PatchLen:] is the stored batch.
func Patch(dst *[PatchLen]byte, b Batch, base Offset, e LeaderEpoch) {
	binary.BigEndian.PutUint64(dst[posBaseOffset:], uint64(base))
	copy(dst[posLength:posLeaderEpoch], b[posLength:])
	binary.BigEndian.PutUint32(dst[posLeaderEpoch:], uint32(e))
}

// StoredCRC continues crc by CRC-32C over all bytes of b as stored with base and e: Patch's bytes, then the rest.
// It covers what the batch's own CRC does not.
func StoredCRC(crc uint32, b Batch, base Offset, e LeaderEpoch) uint32 {
	var head [PatchLen]byte
	Patch(&head, b, base, e)
	// By hand: a slice of head given to crc32.Update would move it to the heap.
	table := Castagnoli()
	crc = ^crc
	for _, v := range head {
		crc = table[byte(crc)^v] ^ (crc >> 8)
	}
	return CRC(^crc, b[PatchLen:])
}
