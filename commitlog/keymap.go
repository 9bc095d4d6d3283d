package commitlog

import (
	"crypto/sha256"
	"encoding/binary"
	"math/bits"

	"github.com/stelemq/stele/protocol/record"
)

// keySlot is a key, by 128 bits of its SHA-256, and the newest offset at which it occurs, plus one; 0 = free. Two keys that
// nobody can tell apart by that would be one to compaction; there are none known.
type keySlot struct {
	high, low uint64
	next      int64
}

// keySlotBytes is the size of a slot.
const keySlotBytes = 24

// keyMap is the newest offset of each key, in memory of a fixed size, as Kafka's SkimpyOffsetMap: open addressing, no
// pointers, nothing is removed.
type keyMap struct {
	slots []keySlot
	used  int
	free  func()
}

// newKeyMap returns a map for so many keys, within a number of bytes; release it. For at least one key.
func newKeyMap(keys, limit int64) (*keyMap, error) {
	n := max(min(keys+keys/3+1, limit/keySlotBytes), 8)
	slots, free, err := allocateSlots(n)
	if err != nil {
		return nil, err
	}
	return &keyMap{slots: slots, free: free}, nil
}

func (m *keyMap) release() { m.free() }

// full reports whether no further key fits: a quarter stays free, so that searches stay short.
func (m *keyMap) full() bool { return m.used >= len(m.slots)-len(m.slots)/4 }

// find returns the slot of a key, or the free one where it goes.
func (m *keyMap) find(key []byte) (*keySlot, uint64, uint64) {
	sum := sha256.Sum256(key)
	high, low := binary.LittleEndian.Uint64(sum[:]), binary.LittleEndian.Uint64(sum[8:])
	i, _ := bits.Mul64(high, uint64(len(m.slots))) // high scaled to the table
	for {
		s := &m.slots[i]
		if s.next == 0 || s.high == high && s.low == low {
			return s, high, low
		}
		if i++; i == uint64(len(m.slots)) {
			i = 0
		}
	}
}

// put notes that a key occurs at o, and reports false if there is no room for it. Offsets grow from call to call.
func (m *keyMap) put(key []byte, o record.Offset) bool {
	s, high, low := m.find(key)
	if s.next == 0 {
		if m.full() {
			return false
		}
		m.used++
		s.high, s.low = high, low
	}
	s.next = int64(o) + 1
	return true
}

// newest is the newest offset of a key, record.NoOffset if it is not in the map.
func (m *keyMap) newest(key []byte) record.Offset {
	s, _, _ := m.find(key)
	return record.Offset(s.next - 1)
}
