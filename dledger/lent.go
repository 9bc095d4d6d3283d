package dledger

import (
	"errors"
	"fmt"
	"math/bits"
	"sync"

	pb "github.com/lni/dragonboat/v4/raftpb"

	"github.com/stelemq/stele/dledger/raftfile"
	"github.com/stelemq/stele/internal/invariants"
)

// A proposal's bytes are lent, not given, to Raft where nobody else needs them: the entry of a partition with a single
// replica says only that it has some (lentCommand), and the bytes stay where the request has put them until the entry is
// appended. Raft would copy them into new memory, for itself and, as the replica has no followers, for nobody else.
// docs/adr/0028-lent-bytes.md has the argument.
//
// The bytes are found by the entry's client id, which names one proposal of one term: what is lent under it never
// changes. An entry is either here, or in the log, or void.

const (
	// lendMin is the fewest bytes that are lent: fewer are copied for less.
	lendMin = 4 << 10
	// lentMark stands behind dragonboat's encoding byte where an entry's bytes are lent; noBytes has 0 there.
	lentMark = 1
	// poison overwrites buffers that go back to their pool in checked builds.
	poison = 0xdb
)

// lentCommand is what Raft is given instead of the bytes. It is not empty: that would be a no-op.
//
//nolint:gochecknoglobals // a constant
var lentCommand = []byte{lentMark}

// errBytesGone says that an entry must be stored and nobody has its bytes. It cannot be answered for: the process ends.
var errBytesGone = errors.New("the bytes of an entry are gone")

// isLent reports whether an entry says of its bytes only that they are lent. No entry that comes from another node may.
func isLent(e *pb.Entry) bool {
	return e.Type == pb.EncodedEntry && len(e.Cmd) == 2 && e.Cmd[1] == lentMark && e.ClientID&commandBit == 0
}

func anyLent(entries []pb.Entry) bool {
	for i := range entries {
		if isLent(&entries[i]) {
			return true
		}
	}
	return false
}

// lender holds what one replica has lent to Raft, from the proposal to the append. Safe for concurrent use.
type lender struct {
	mu sync.Mutex
	// mu guards:
	lent map[uint64]lentBytes // by client id
	term Term                 // nothing of an earlier one is lent
}

type lentBytes struct {
	b    []byte
	pool *sync.Pool // where b goes back to; nil: it is the request's
}

// lend keeps the batches of a proposal: one as it lies, several in a buffer. It reports false where an earlier attempt has
// lent them already.
func (l *lender) lend(client uint64, appends []*pendingAppend, size int) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if _, ok := l.lent[client]; ok {
		return false
	}
	x := lentBytes{b: appends[0].batch}
	if len(appends) > 1 {
		x = joinBuffer(size)
		for _, a := range appends {
			x.b = append(x.b, a.batch...)
		}
	}
	if l.lent == nil {
		l.lent = make(map[uint64]lentBytes)
	}
	l.lent[client] = x
	return true
}

// bytesOf returns the batches of an entry that is to be appended. They stay until settle. Errors: errBytesGone.
func (l *lender) bytesOf(e *pb.Entry) ([]byte, error) {
	if !isLent(e) {
		return e.Cmd[1:], nil
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	x, ok := l.lent[e.ClientID]
	if !ok {
		return nil, fmt.Errorf("%w: entry %d of term %d, client id %x", errBytesGone, e.Index, e.Term, e.ClientID)
	}
	return x.b, nil
}

// copyOf returns a copy of what is lent under a client id, behind a byte of dragonboat's encoding.
func (l *lender) copyOf(client uint64) ([]byte, bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	x, ok := l.lent[client]
	if !ok {
		return nil, false
	}
	return append(make([]byte, 1, 1+len(x.b)), x.b...), true
}

// settle takes back what stands in the log now. A void entry is none of that: the proposal may be made again.
func (l *lender) settle(recs []raftfile.Entry) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.lent) == 0 {
		return
	}
	for i := range recs {
		if recs[i].Kind == raftfile.KindData {
			l.takeLocked(recs[i].Client)
		}
	}
}

// take ends a loan that Raft has not taken.
func (l *lender) take(client uint64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.takeLocked(client)
}

func (l *lender) takeLocked(client uint64) {
	x, ok := l.lent[client]
	if !ok {
		return
	}
	delete(l.lent, client)
	if x.pool != nil {
		b := x.b[:0]
		if invariants.Enabled { // whoever still reads it is found out
			for i := range cap(b) {
				b[:cap(b)][i] = poison
			}
		}
		x.pool.Put(&b)
	}
}

// forgetBefore drops what was lent in terms before t. It may be called once every entry of those terms that Raft had when t
// began has been appended: any other of their proposals is void.
func (l *lender) forgetBefore(t Term) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.term == t {
		return
	}
	l.term = t
	for client := range l.lent {
		if uint32(client>>32) != uint32(t) { //nolint:gosec // compared modulo 2^32, as by the fence
			delete(l.lent, client)
		}
	}
}

// joinPools hold buffers for proposals of several batches, by powers of two up to entryBytesMax.
//
//nolint:gochecknoglobals // a pool
var joinPools [19]sync.Pool

func joinBuffer(size int) lentBytes {
	class := bits.Len(uint(max(size, 1) - 1)) //nolint:gosec // not negative
	if class >= len(joinPools) {
		return lentBytes{b: make([]byte, 0, size)}
	}
	pool := &joinPools[class]
	if b, ok := pool.Get().(*[]byte); ok {
		return lentBytes{b: *b, pool: pool}
	}
	return lentBytes{b: make([]byte, 0, 1<<class), pool: pool}
}

// complete gives the entries of a message to another node the bytes that they have lent. It reports false where one has
// none yet, or none any more: such a message must not leave. Raft sends what is missing again.
func (s *shardLog) complete(m *pb.Message) bool {
	if !anyLent(m.Entries) {
		return true
	}
	// The entries themselves are Raft's.
	m.Entries = append([]pb.Entry(nil), m.Entries...)
	for i := range m.Entries {
		if e := &m.Entries[i]; isLent(e) {
			cmd, ok := s.borrowed(e)
			if !ok {
				return false
			}
			e.Cmd = cmd
		}
	}
	return true
}

// borrowed returns the command that an entry would have if its bytes had not been lent.
func (s *shardLog) borrowed(e *pb.Entry) ([]byte, bool) {
	if b, ok := s.lender.copyOf(e.ClientID); ok {
		return b, true
	}
	// Not here any more: appended, or of a term that is over.
	s.mu.Lock()
	defer s.mu.Unlock()
	if Index(e.Index) > s.last {
		return nil, false
	}
	r, err := s.recordLocked(Index(e.Index))
	if err != nil || uint64(r.Term) != e.Term || r.Client != e.ClientID {
		return nil, false
	}
	whole := pb.Entry{}
	if err := s.fillCommand(&whole, r, false); err != nil {
		return nil, false
	}
	return whole.Cmd, true
}
