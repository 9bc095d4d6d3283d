package record

import "math/bits"

// Zigzag varints as in records: at most 5 bytes for 32 bits and 10 for 64. Values that overflow are refused; longer forms
// than needed are accepted, as Kafka does.

// varint reads a zigzag varint of 32 bits.
func varint(p []byte) (v int32, rest []byte, ok bool) {
	var u uint32
	for i := range min(len(p), 5) {
		c := p[i]
		if i == 4 && c > 0x0f {
			return 0, p, false
		}
		u |= uint32(c&0x7f) << (7 * i)
		if c < 0x80 {
			return int32(u>>1) ^ -int32(u&1), p[i+1:], true
		}
	}
	return 0, p, false
}

// varlong reads a zigzag varint of 64 bits.
func varlong(p []byte) (v int64, rest []byte, ok bool) {
	var u uint64
	for i := range min(len(p), 10) {
		c := p[i]
		if i == 9 && c > 0x01 {
			return 0, p, false
		}
		u |= uint64(c&0x7f) << (7 * i)
		if c < 0x80 {
			return int64(u>>1) ^ -int64(u&1), p[i+1:], true
		}
	}
	return 0, p, false
}

// nullableBytes reads a length as varint, -1 for null, and as many bytes. The result aliases p.
func nullableBytes(p []byte) (v, rest []byte, ok bool) {
	n, p, ok := varint(p)
	if !ok || n < -1 || int(n) > len(p) {
		return nil, p, false
	}
	if n == -1 {
		return nil, p, true
	}
	return p[:n:n], p[n:], true
}

func zigzag(v int64) uint64 { return uint64(v<<1) ^ uint64(v>>63) }

// varintLen is the length of v as zigzag varint; the same for 32 and 64 bits.
func varintLen(v int64) int { return (bits.Len64(zigzag(v)|1) + 6) / 7 }

// appendVarint appends v as zigzag varint.
func appendVarint(dst []byte, v int64) []byte {
	u := zigzag(v)
	for u >= 0x80 {
		dst = append(dst, byte(u)|0x80)
		u >>= 7
	}
	return append(dst, byte(u))
}

// appendNullableBytes appends the length of v, -1 for nil, and v.
func appendNullableBytes(dst, v []byte) []byte {
	if v == nil {
		return appendVarint(dst, -1)
	}
	return append(appendVarint(dst, int64(len(v))), v...)
}

// nullableLen is how many bytes appendNullableBytes appends.
func nullableLen(v []byte) int {
	if v == nil {
		return 1
	}
	return varintLen(int64(len(v))) + len(v)
}
