package dledger

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"

	"github.com/lni/dragonboat/v4/raftio"
	pb "github.com/lni/dragonboat/v4/raftpb"

	"github.com/stelemq/stele/dledger/raftfile"
	"github.com/stelemq/stele/internal/vfs"
)

// The log of the metadata is dragonboat's (tan). Its reader takes a record that cannot be read for the end of the log in
// some cases, and a file that is gone for one that never was: then the replica would have forgotten votes and entries that it has
// acknowledged. So the mark says, apart from it, how far the log was when something was said last. A log that holds less is
// damaged (ErrMetadataDamaged), and its replica takes part in nothing any more.
//
// The mark is written after the log, so that a crash between leaves a log that holds more. Where a step makes the log
// shorter, the mark comes down first.

// ErrMetadataDamaged: this node's replica of the cluster metadata has lost what it had. It must be replaced by a new one
// (then ForgetMetadata).
var ErrMetadataDamaged = errors.New("dledger: the metadata log is damaged")

const (
	markName  = "metadata.mark"
	markMagic = 0x53544d31 // "STM1"
	markBytes = 64
	// markSlots lie a block apart: one that is torn leaves the other.
	markSlot  = 4096
	markSlots = 2
)

// metadataMark is how far a replica of the metadata was.
type metadataMark struct {
	group    ShardID
	replica  ReplicaID
	term     Term
	vote     ReplicaID
	lastTerm Term
	last     Index
}

// holds reports whether a log that is at h has what the mark says.
func (m metadataMark) holds(h metadataMark) error {
	switch {
	case h.term < m.term || h.term == m.term && m.vote != 0 && h.vote != m.vote:
		return fmt.Errorf("%w: it is at term %d with a vote for %d, and was at term %d with a vote for %d", ErrMetadataDamaged, h.term, h.vote, m.term, m.vote)
	case h.lastTerm < m.lastTerm || h.lastTerm == m.lastTerm && h.last < m.last:
		return fmt.Errorf("%w: it ends at entry %d of term %d, and held entry %d of term %d", ErrMetadataDamaged, h.last, h.lastTerm, m.last, m.lastTerm)
	}
	return nil
}

// shorter reports whether the mark m promises less than old of the same replica.
func (m metadataMark) shorter(old metadataMark) bool {
	return m.lastTerm < old.lastTerm || m.lastTerm == old.lastTerm && m.last < old.last
}

// after is the mark once an update has been saved.
func (m metadataMark) after(u *pb.Update) metadataMark {
	if m.group != ShardID(u.ShardID) || m.replica != ReplicaID(u.ReplicaID) {
		m = metadataMark{group: ShardID(u.ShardID), replica: ReplicaID(u.ReplicaID)}
	}
	if !pb.IsEmptyState(u.State) {
		m.term, m.vote = Term(u.Term), ReplicaID(u.Vote)
	}
	if !pb.IsEmptySnapshot(u.Snapshot) && Index(u.Snapshot.Index) > m.last {
		m.last, m.lastTerm = Index(u.Snapshot.Index), Term(u.Snapshot.Term)
	}
	if n := len(u.EntriesToSave); n > 0 {
		m.last, m.lastTerm = Index(u.EntriesToSave[n-1].Index), Term(u.EntriesToSave[n-1].Term)
	}
	return m
}

func (m metadataMark) encode(sequence uint64) []byte {
	b := make([]byte, 0, markBytes)
	b = binary.BigEndian.AppendUint32(b, markMagic)
	for _, v := range []uint64{sequence, uint64(m.group), uint64(m.replica), uint64(m.term), uint64(m.vote), uint64(m.lastTerm), uint64(m.last)} {
		b = binary.BigEndian.AppendUint64(b, v)
	}
	return binary.BigEndian.AppendUint32(b, raftfile.Castagnoli(0, b))
}

func decodeMark(b []byte) (m metadataMark, sequence uint64, ok bool) {
	body := b[:markBytes-4]
	if binary.BigEndian.Uint32(b) != markMagic || binary.BigEndian.Uint32(b[markBytes-4:]) != raftfile.Castagnoli(0, body) {
		return m, 0, false
	}
	v := func(i int) uint64 { return binary.BigEndian.Uint64(body[4+8*i:]) }
	return metadataMark{ShardID(v(1)), ReplicaID(v(2)), Term(v(3)), ReplicaID(v(4)), Term(v(5)), Index(v(6))}, v(0), true
}

// markFile is the mark on the disk, in two slots that are written in turns. It lies beside dragonboat's directory and, as
// that, always in the operating system's files.
type markFile struct {
	dir string

	mu sync.Mutex
	// mu guards:
	file     vfs.File // nil until something is saved
	sequence uint64
	mark     metadataMark
	// known: the directory has a mark.
	known bool
}

// readMark reads the mark of a directory. Errors: ErrMetadataDamaged.
func readMark(dir string) (*markFile, error) {
	f := &markFile{dir: dir}
	b, err := os.ReadFile(filepath.Join(dir, markName)) //nolint:gosec // the operator names the directory
	if errors.Is(err, os.ErrNotExist) {
		return f, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read the metadata's mark: %w", err)
	}
	for at := 0; at+markBytes <= len(b); at += markSlot {
		if m, sequence, ok := decodeMark(b[at : at+markBytes]); ok && (!f.known || sequence > f.sequence) {
			f.mark, f.sequence, f.known = m, sequence, true
		}
	}
	if !f.known {
		return nil, fmt.Errorf("%w: nothing in %s can be read", ErrMetadataDamaged, markName)
	}
	return f, nil
}

// ForgetMetadata removes the mark of a stopped node's replica of the metadata. The node must have been given another one, and its
// directory must say so.
func ForgetMetadata(dir string) error {
	if err := os.Remove(filepath.Join(dir, markName)); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err //nolint:wrapcheck // says operation and path
	}
	return vfs.OS{}.SyncDir(dir) //nolint:wrapcheck // says operation and path
}

// of returns what the mark says of a replica.
func (f *markFile) of(group ShardID, replica ReplicaID) (metadataMark, bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.mark, f.known && f.mark.group == group && f.mark.replica == replica
}

// save saves updates of the metadata's replica, and the mark with them.
func (f *markFile) save(updates []pb.Update, save func() error) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	next := f.mark
	for i := range updates {
		next = next.after(&updates[i])
	}
	if f.known && next.group == f.mark.group && next.replica == f.mark.replica && next.shorter(f.mark) {
		less := f.mark
		less.last, less.lastTerm = next.last, next.lastTerm
		if err := f.writeLocked(less); err != nil {
			return err
		}
	}
	if err := save(); err != nil {
		return err
	}
	return f.writeLocked(next)
}

// set makes the mark say what a log is that had none.
func (f *markFile) set(m metadataMark) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.writeLocked(m)
}

func (f *markFile) writeLocked(m metadataMark) error {
	if f.known && m == f.mark {
		return nil
	}
	if f.file == nil {
		if err := f.openLocked(); err != nil {
			return err
		}
	}
	sequence := f.sequence + 1
	if _, err := f.file.WriteAt(m.encode(sequence), int64(sequence%markSlots)*markSlot); err != nil {
		return fmt.Errorf("write the metadata's mark: %w", err)
	}
	if err := f.file.Sync(); err != nil {
		return fmt.Errorf("sync the metadata's mark: %w", err)
	}
	f.sequence, f.mark, f.known = sequence, m, true
	return nil
}

func (f *markFile) openLocked() error {
	name := filepath.Join(f.dir, markName)
	file, err := vfs.OS{}.Open(name)
	if notExist(err) {
		if file, err = (vfs.OS{}).Create(name); err == nil {
			err = vfs.OS{}.SyncDir(f.dir)
		}
	}
	if err != nil {
		return fmt.Errorf("open the metadata's mark: %w", err)
	}
	f.file = file
	return nil
}

func (f *markFile) close() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.file == nil {
		return nil
	}
	err := f.file.Close()
	f.file = nil
	return err //nolint:wrapcheck // says operation and path
}

// checkMetadata reads all that dragonboat has of this node's replica of the metadata, before Raft does, which would end the
// process, and holds it against the mark. Errors: ErrMetadataDamaged.
func (h *Host) checkMetadata() error {
	spec := h.metadata()
	group, replica := h.metadataGroup(), spec.Replica
	mark, marked := h.db.mark.of(group, replica)
	if err := h.cutMetadataTail(); err != nil {
		return err
	}
	have, err := readMetadataState(h.db, uint64(group), uint64(replica))
	if err != nil {
		return err
	}
	if !marked {
		if have == (metadataMark{}) {
			return nil
		}
		have.group, have.replica = group, replica
		return h.db.mark.set(have)
	}
	return mark.holds(have)
}

// readMetadataState says how far the log of a replica is; where nothing is there, the zero mark.
func readMetadataState(db *logDB, group, replica uint64) (m metadataMark, err error) {
	defer func() {
		if p := recover(); p != nil { // that is how tan says that it cannot go on
			m, err = metadataMark{}, fmt.Errorf("%w: %v", ErrMetadataDamaged, p)
		}
	}()
	if _, err := db.meta.GetBootstrapInfo(group, replica); errors.Is(err, raftio.ErrNoBootstrapInfo) {
		return m, nil // it is about to begin
	} else if err != nil {
		return m, fmt.Errorf("%w: bootstrap record: %w", ErrMetadataDamaged, err)
	}
	ss, err := db.meta.GetSnapshot(group, replica)
	if err != nil {
		return m, fmt.Errorf("%w: snapshot record: %w", ErrMetadataDamaged, err)
	}
	if _, err := db.meta.ReadRaftState(group, replica, ss.Index); noSavedLog(err) && ss.Index == 0 {
		return m, nil
	}
	l, err := readMetadataLog(db.meta, group, replica)
	if err != nil {
		return m, fmt.Errorf("%w: %w", ErrMetadataDamaged, err)
	}
	m = metadataMark{term: Term(l.state.Term), vote: ReplicaID(l.state.Vote), last: Index(l.snapshot.Index), lastTerm: Term(l.snapshot.Term)}
	for i := range l.entries {
		if e := &l.entries[i]; Index(e.Index) != m.last+1 {
			return m, fmt.Errorf("%w: entry %d follows entry %d", ErrMetadataDamaged, e.Index, m.last)
		}
		m.last, m.lastTerm = Index(l.entries[i].Index), Term(l.entries[i].Term)
	}
	return m, nil
}
