package record

import (
	"encoding/binary"
	"math/bits"
	"sync"
)

// combineMin is the batch size from which StoredCRCOfValid computes from checksums instead of bytes.
const combineMin = 8 << 10

// StoredCRCOfValid is StoredCRC of a batch whose own CRC is known to hold: what that covers is not read again. Should the
// bytes have changed since somebody checked them, the result does not fit them, so that reading finds it out.
func StoredCRCOfValid(crc uint32, b Batch, base Offset, e LeaderEpoch) uint32 {
	if len(b) < combineMin {
		return StoredCRC(crc, b, base, e)
	}
	var head [posAttributes]byte
	copy(head[:], b)
	Patch((*[PatchLen]byte)(head[:]), b, base, e)
	table := Castagnoli()
	crc = ^crc
	for _, v := range head {
		crc = table[byte(crc)^v] ^ (crc >> 8)
	}
	return combineCRC(^crc, binary.BigEndian.Uint32(b[posCRC:]), len(b)-posAttributes)
}

// combineCRC is the CRC-32C of two pieces back to back, given that of each and the length of the second. A CRC is a
// remainder of polynomials over GF(2): n more bytes behind the first piece multiply its remainder by x^(8n).
func combineCRC(first, second uint32, n int) uint32 {
	for powers := shiftPowers(); n > 0; n &= n - 1 {
		first = multiplyCRC(powers[bits.TrailingZeros(uint(n))], first) //nolint:gosec // n is positive
	}
	return first ^ second
}

// shiftPowers returns x^(8·2^i) modulo the polynomial, for every i.
//
//nolint:gochecknoglobals // a table of constants
var shiftPowers = sync.OnceValue(func() *[32]uint32 {
	var t [32]uint32
	t[0] = 1 << (31 - 8) // the highest bit is x^0
	for i := 1; i < len(t); i++ {
		t[i] = multiplyCRC(t[i-1], t[i-1])
	}
	return &t
})

// multiplyCRC multiplies two remainders, their bits reversed as in the checksum.
func multiplyCRC(a, b uint32) (product uint32) {
	const polynomial = 0x82f63b78
	for m := uint32(1) << 31; m > 0; m >>= 1 {
		product ^= b & -(a >> 31)
		a <<= 1
		b = b>>1 ^ polynomial&-(b&1)
	}
	return product
}
