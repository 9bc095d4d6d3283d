package load

import (
	"encoding/binary"
	"math/rand/v2"
	"time"
)

// stampLen is what a value needs for the moment at which it was due.
const stampLen = 8

// values are bodies of records, used in turn. The first stampLen bytes of each are for the caller.
type values struct {
	all  [][]byte
	next int
}

// newValues makes bodies of which random percent cannot be compressed. Their seed is fixed: every system gets the same.
func newValues(bytes, random int) *values {
	const total, most = 4 << 20, 64
	rng := rand.New(rand.NewPCG(1, 2)) //nolint:gosec // incompressible, not secret
	v := &values{all: make([][]byte, min(most, max(1, total/bytes)))}
	for i := range v.all {
		b := make([]byte, bytes)
		for j := range bytes * random / 100 {
			b[j] = byte(rng.Uint32()) //nolint:gosec // the low byte
		}
		v.all[i] = b
	}
	return v
}

func (v *values) take() []byte {
	b := v.all[v.next]
	if v.next++; v.next == len(v.all) {
		v.next = 0
	}
	return b
}

// stamp writes a moment into a value.
func stamp(value []byte, t time.Time) {
	binary.BigEndian.PutUint64(value, uint64(t.UnixNano())) //nolint:gosec // after 1970
}

// stamped reads it.
func stamped(value []byte) (time.Time, bool) {
	if len(value) < stampLen {
		return time.Time{}, false
	}
	return time.Unix(0, int64(binary.BigEndian.Uint64(value))), true //nolint:gosec // as written
}
