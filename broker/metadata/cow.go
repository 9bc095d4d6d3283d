package metadata

import "iter"

// cowBuckets is how many maps a cowMap is cut into: a change copies one of them, 1/256 of the keys.
const cowBuckets = 256

// cowMap is an immutable map: with and without return a changed copy that shares all but one bucket.
// The zero value is empty.
type cowMap[K comparable, V any] struct {
	buckets *[cowBuckets]map[K]V
	hash    func(K) uint8
	size    int
}

func (m cowMap[K, V]) get(k K) (V, bool) {
	if m.buckets == nil {
		var zero V
		return zero, false
	}
	v, ok := m.buckets[m.hash(k)][k]
	return v, ok
}

func (m cowMap[K, V]) with(k K, v V) cowMap[K, V] {
	buckets, h := m.copyBucket(k)
	if _, ok := buckets[h][k]; !ok {
		m.size++
	}
	buckets[h][k] = v
	m.buckets = buckets
	return m
}

func (m cowMap[K, V]) without(k K) cowMap[K, V] {
	if _, ok := m.get(k); !ok {
		return m
	}
	buckets, h := m.copyBucket(k)
	delete(buckets[h], k)
	m.buckets = buckets
	m.size--
	return m
}

func (m cowMap[K, V]) copyBucket(k K) (*[cowBuckets]map[K]V, uint8) {
	var buckets [cowBuckets]map[K]V
	if m.buckets != nil {
		buckets = *m.buckets
	}
	h := m.hash(k)
	bucket := make(map[K]V, len(buckets[h])+1)
	for key, value := range buckets[h] { //nolint:modernize // maps.Copy into a sized map is the same loop
		bucket[key] = value
	}
	buckets[h] = bucket
	return &buckets, h
}

// all yields every pair in no particular order.
func (m cowMap[K, V]) all() iter.Seq2[K, V] {
	return func(yield func(K, V) bool) {
		if m.buckets == nil {
			return
		}
		for _, bucket := range m.buckets {
			for k, v := range bucket {
				if !yield(k, v) {
					return
				}
			}
		}
	}
}

func hashName[T ~string | ~[]byte](s T) uint8 {
	h := uint32(2166136261)
	for i := range len(s) {
		h = (h ^ uint32(s[i])) * 16777619
	}
	return uint8(h ^ h>>8 ^ h>>16 ^ h>>24)
}

// hashID spreads topic ids, which are random.
func hashID(id TopicID) uint8 { return id[0] ^ id[15] }
