package group

import "unicode/utf16"

// PartitionOf is the partition of __consumer_offsets, of n, that a group belongs to: Java's String.hashCode, as Kafka and the
// tools that compute it themselves have it.
func PartitionOf(group string, n int) int32 {
	var h int32
	for _, u := range utf16.Encode([]rune(group)) {
		h = 31*h + int32(u)
	}
	return (h & 0x7fffffff) % int32(n) //nolint:gosec // n is a number of partitions
}
