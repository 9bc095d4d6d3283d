package dledger

// A client id of an entry is term<<32 | command<<31 | sequence: what the proposing leader's term was, whether
// the payload is a command, and the entry's place in the order of that leader's proposals.
const (
	commandBit   = uint64(1) << 31
	sequenceMask = uint32(1)<<31 - 1
)

func clientID(t Term, seq uint32, command bool) uint64 {
	id := uint64(uint32(t))<<32 | uint64(seq&sequenceMask) //nolint:gosec // terms are compared modulo 2^32
	if command {
		id |= commandBit
	}
	return id
}

// fence judges from the log alone whether a proposal is accepted: its term must be the entry's own and its
// sequence the successor of the last accepted one of that term. So what was validated by another
// leader, was forwarded, or stands behind a dropped proposal is void on every replica alike.
type fence struct {
	Term     uint32 `json:"term"`
	Sequence uint32 `json:"sequence"`
}

// accepts reports the verdict on an entry with the given term and client id, and the fence after it.
func (f fence) accepts(t Term, client uint64) (bool, fence) {
	claimed, seq := uint32(client>>32), uint32(client)&sequenceMask //nolint:gosec // by layout
	if claimed != uint32(t) {                                       //nolint:gosec // compared modulo 2^32
		return false, f
	}
	want := uint32(1)
	if f.Term == claimed {
		want = nextSequence(f.Sequence)
	}
	if seq != want {
		return false, f
	}
	return true, fence{Term: claimed, Sequence: seq}
}

// nextSequence follows s, skipping zero at the wrap so that a client id is never zero.
func nextSequence(s uint32) uint32 {
	if s = (s + 1) & sequenceMask; s == 0 {
		return 1
	}
	return s
}
