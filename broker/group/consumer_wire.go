package group

import (
	"encoding/binary"
	"fmt"
	"math"
)

// The records of KIP-848 are Kafka's "flexible" structs: compact strings and arrays (their length plus one as an
// unsigned varint, zero for null) and tagged fields at the end of each struct. Keys are not flexible.

func appendInt16(b []byte, v int16) []byte {
	return binary.BigEndian.AppendUint16(b, uint16(v)) //nolint:gosec // the same bits
}

func appendInt32(b []byte, v int32) []byte {
	return binary.BigEndian.AppendUint32(b, uint32(v)) //nolint:gosec // the same bits
}

func appendInt64(b []byte, v int64) []byte {
	return binary.BigEndian.AppendUint64(b, uint64(v)) //nolint:gosec // the same bits
}

// appendString is a string of a key: two bytes of length.
func appendString(b []byte, s string) []byte {
	return append(appendInt16(b, int16(len(s))), s...) //nolint:gosec // ids come from requests, whose strings are as short
}

func appendLen(b []byte, n int) []byte {
	return binary.AppendUvarint(b, uint64(n)+1) //nolint:gosec // a length
}

func appendCompact(b []byte, s string) []byte { return append(appendLen(b, len(s)), s...) }

// appendOptional writes the empty string as null.
func appendOptional(b []byte, s string) []byte {
	if s == "" {
		return append(b, 0)
	}
	return appendCompact(b, s)
}

func appendStrings(b []byte, list []string) []byte {
	b = appendLen(b, len(list))
	for _, s := range list {
		b = appendCompact(b, s)
	}
	return b
}

func appendInt32s(b []byte, list []int32) []byte {
	b = appendLen(b, len(list))
	for _, v := range list {
		b = appendInt32(b, v)
	}
	return b
}

// appendTag writes one tagged field; the number of fields comes before the first.
func appendTag(b []byte, tag uint64, value []byte) []byte {
	b = binary.AppendUvarint(b, tag)
	b = binary.AppendUvarint(b, uint64(len(value)))
	return append(b, value...)
}

// wireReader reads what the functions above write. The first failure stays in err and everything after it is zero.
type wireReader struct {
	b   []byte
	err error
}

func (r *wireReader) fail(what string) {
	if r.err == nil {
		r.err = fmt.Errorf("%w: %s", ErrRecord, what)
	}
	r.b = nil
}

func (r *wireReader) take(n int) []byte {
	if n < 0 || n > len(r.b) {
		r.fail("truncated")
		return nil
	}
	taken := r.b[:n]
	r.b = r.b[n:]
	return taken
}

func (r *wireReader) int8() int8 {
	if b := r.take(1); b != nil {
		return int8(b[0]) //nolint:gosec // the same bits
	}
	return 0
}

func (r *wireReader) int16() int16 {
	if b := r.take(2); b != nil {
		return int16(binary.BigEndian.Uint16(b)) //nolint:gosec // the same bits
	}
	return 0
}

func (r *wireReader) int32() int32 {
	if b := r.take(4); b != nil {
		return int32(binary.BigEndian.Uint32(b)) //nolint:gosec // the same bits
	}
	return 0
}

func (r *wireReader) int64() int64 {
	if b := r.take(8); b != nil {
		return int64(binary.BigEndian.Uint64(b)) //nolint:gosec // the same bits
	}
	return 0
}

func (r *wireReader) uuid() (id TopicID) {
	copy(id[:], r.take(len(id)))
	return id
}

func (r *wireReader) uvarint() uint64 {
	v, n := binary.Uvarint(r.b)
	if n <= 0 || v > math.MaxUint32 {
		r.fail("malformed varint")
		return 0
	}
	r.b = r.b[n:]
	return v
}

// length reads the length of a compact string or array, -1 for null. Every element takes a byte at least, so a
// length is never larger than what is left.
func (r *wireReader) length() int {
	n := int(r.uvarint()) - 1 //nolint:gosec // below 2^32
	if n > len(r.b) {
		r.fail("length beyond the end")
		return -1
	}
	return n
}

func (r *wireReader) string() string { return string(r.take(int(r.int16()))) }

func (r *wireReader) compact() string { return string(r.take(max(0, r.length()))) }

func (r *wireReader) strings() []string {
	n := r.length()
	if n <= 0 {
		return nil
	}
	list := make([]string, 0, n)
	for range n {
		list = append(list, r.compact())
	}
	return list
}

func (r *wireReader) int32s() []int32 {
	n := r.length()
	if n <= 0 {
		return nil
	}
	list := make([]int32, 0, n)
	for range n {
		list = append(list, r.int32())
	}
	return list
}

// tags reads the tagged fields at the end of a struct; unknown ones are passed over.
func (r *wireReader) tags(known func(tag uint64, value *wireReader)) {
	for range r.uvarint() {
		tag := r.uvarint()
		value := wireReader{b: r.take(int(r.uvarint()))} //nolint:gosec // below 2^32
		if r.err != nil {
			return
		}
		if known != nil {
			known(tag, &value)
		}
		if value.err != nil {
			r.fail("malformed tagged field")
		}
	}
}
