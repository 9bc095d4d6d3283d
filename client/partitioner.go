package client

// Partitioner chooses the partition of a record among partitions 0 to n-1, or
// returns AnyPartition. It must be safe for concurrent use.
type Partitioner func(r *Record, n int32) int32

// AnyPartition leaves the choice to the Producer, which stays with one
// partition until a batch of it is full and then takes another one that has a
// leader (KIP-480).
const AnyPartition int32 = -1

// ByKey is what Java's producer does by default: records with a key go by its
// murmur2 hash, so that equal keys meet in one partition whichever client
// produces them; the others go anywhere.
func ByKey(r *Record, n int32) int32 {
	if r.Key == nil {
		return AnyPartition
	}
	return int32((murmur2(r.Key) & 0x7fffffff) % uint32(n)) //nolint:gosec // 31 bits, n > 0
}

// ByRecord takes the Partition field of the record.
func ByRecord(r *Record, _ int32) int32 { return r.Partition }

// murmur2 is the hash of org.apache.kafka.common.utils.Utils.murmur2, to the
// bit.
func murmur2(data []byte) uint32 {
	const (
		seed = 0x9747b28c
		m    = 0x5bd1e995
		r    = 24
	)
	h := uint32(seed) ^ uint32(len(data)) //nolint:gosec // as Java's int
	for ; len(data) >= 4; data = data[4:] {
		k := uint32(data[0]) | uint32(data[1])<<8 | uint32(data[2])<<16 | uint32(data[3])<<24
		k *= m
		k ^= k >> r
		k *= m
		h *= m
		h ^= k
	}
	switch len(data) {
	case 3:
		h ^= uint32(data[2]) << 16
		fallthrough
	case 2:
		h ^= uint32(data[1]) << 8
		fallthrough
	case 1:
		h ^= uint32(data[0])
		h *= m
	}
	h ^= h >> 13
	h *= m
	h ^= h >> 15
	return h
}
