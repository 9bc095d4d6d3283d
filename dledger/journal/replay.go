package journal

import (
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"slices"

	"github.com/stelemq/stele/dledger/raftfile"
	"github.com/stelemq/stele/internal/vfs"
)

// Pending is what the journal knows of a shard: the fold of its records, oldest to newest.
type Pending struct {
	Key        Key
	Hard       HardState
	HasHard    bool
	Checkpoint raftfile.Index
	Sync       SyncPoint
	// Truncate is the lowest index that a truncation removed since the checkpoint, 0 if none: .raft records from
	// it on are superseded even where no newer entry stands.
	Truncate raftfile.Index
	// Suspect: the journal was damaged, so the shard may have had more than this.
	Suspect bool
	Entries []raftfile.Entry // contiguous
	Runs    []Run            // oldest first; a later run supersedes an earlier one where they overlap
}

// suspectCheckpoint stands for the checkpoint of a suspect shard in the journal, until the shard has been salvaged or fetched
// again.
const suspectCheckpoint = raftfile.Index(1<<63 - 1)

// DamageError is what replay found wrong with a journal file; its readable prefix was used.
type DamageError struct {
	Path string
	Pos  int64
	Err  error
}

func (d *DamageError) Error() string {
	return fmt.Sprintf("dledger: journal %s is damaged at %d: %v", d.Path, d.Pos, d.Err)
}

func (d *DamageError) Unwrap() error { return d.Err }

// Is makes errors.Is(d, ErrCorrupt) true.
func (d *DamageError) Is(target error) bool { return target == raftfile.ErrCorrupt }

// Replayed is the outcome of reading a journal directory. It belongs to the caller, entries and runs included.
type Replayed struct {
	Shards map[Key]*Pending
	Last   uint64 // newest sequence
	// liveFrom is the oldest sequence that is still needed.
	liveFrom uint64
	// LastSlot and LastPos are where the newest file is, and where its readable part ends.
	LastSlot int
	LastPos  int64
	slots    map[int]uint64 // the sequence of each file
	broken   map[int]bool   // files whose header does not check
	// Damage is what is wrong, nil if nothing; every shard in Shards is then suspect.
	Damage *DamageError
}

type replayFile struct {
	slot        int
	path        string
	seq, oldest uint64
	bytes       []byte // of live files only
}

// Replay reads all files and writes nothing. Errors are those of reading and ErrUnsupportedVersion; damage is part of the
// outcome, since what to do about it is the replica's affair.
func Replay(fsys vfs.FS, dir string) (*Replayed, error) {
	out := &Replayed{Shards: make(map[Key]*Pending), slots: make(map[int]uint64), broken: make(map[int]bool)}
	var files []replayFile
	for slot := range slotCount {
		path := filepath.Join(dir, fmt.Sprintf("%d.journal", slot))
		b, err := vfs.ReadHead(fsys, path, HeaderSize)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("replay: %w", err)
		}
		seq, oldest, err := decodeHeader(b)
		out.slots[slot] = seq
		switch {
		case errors.Is(err, raftfile.ErrUnsupportedVersion):
			return nil, fmt.Errorf("%s: %w", path, err)
		case err != nil:
			out.Damage, out.broken[slot] = &DamageError{Path: path, Err: err}, true
		case seq > 0:
			files = append(files, replayFile{slot: slot, path: path, seq: seq, oldest: oldest})
		}
	}
	slices.SortFunc(files, func(a, b replayFile) int { return int(int64(a.seq) - int64(b.seq)) }) //nolint:gosec // few files
	if len(files) == 0 {
		return out, nil
	}
	newest := files[len(files)-1]
	out.Last, out.LastSlot, out.liveFrom = newest.seq, newest.slot, newest.oldest
	live := slices.DeleteFunc(files, func(f replayFile) bool { return f.seq < newest.oldest })
	for i := range live {
		b, err := vfs.ReadFile(fsys, live[i].path)
		if err != nil {
			return nil, fmt.Errorf("replay: %w", err)
		}
		live[i].bytes = b
	}
	out.checkChain(live)
	for i := range live {
		if err := out.fold(&live[i], live[i+1:]); err != nil {
			return nil, err
		}
	}
	if out.Damage != nil {
		for _, p := range out.Shards {
			p.Suspect = true
		}
	}
	return out, nil
}

// checkChain reports a live sequence that has no file. A header that does not check is damage only if a file is
// missing: a slot being begun for the first time may be torn.
func (o *Replayed) checkChain(live []replayFile) {
	broken := o.Damage
	o.Damage = nil
	want := live[len(live)-1].oldest
	for _, f := range live {
		if f.seq != want {
			o.Damage = &DamageError{Path: f.path, Err: fmt.Errorf("the file with sequence %d is missing", want)}
			if broken != nil {
				o.Damage = broken
			}
			return
		}
		want++
	}
	// The newest readable file is complete, so its successor had been begun.
	if last := &live[len(live)-1]; broken != nil && last.endsComplete() {
		o.Damage = broken
	}
}

func (f *replayFile) endsComplete() bool {
	pos := int64(HeaderSize)
	for {
		fr, err := decodeFrame(f.bytes, pos, f.seq)
		if err != nil {
			return false
		}
		if fr.kind == frameEnd {
			return true
		}
		pos = fr.next
	}
}

// fold reads the frames of f up to its end; later are the files after it.
func (o *Replayed) fold(f *replayFile, later []replayFile) error {
	pos := int64(HeaderSize)
	for {
		fr, err := decodeFrame(f.bytes, pos, f.seq)
		if len(later) == 0 {
			o.LastPos = pos
		}
		if err != nil {
			break
		}
		if fr.kind == frameEnd {
			if len(later) == 0 && o.Damage == nil {
				o.Damage = &DamageError{Path: f.path, Pos: pos, Err: errors.New("the file after it is missing")}
			}
			return nil
		}
		if err := decodeRecords(fr.body, o.add); err != nil {
			return fmt.Errorf("%s at %d: %w", f.path, pos, err)
		}
		pos = fr.next
	}
	if torn(f, pos, later) {
		return nil
	}
	if o.Damage == nil {
		o.Damage = &DamageError{Path: f.path, Pos: pos, Err: errTornFrame}
	}
	return nil
}

// torn reports whether the frame at pos may be missing: nothing written later says that it was durable.
func torn(f *replayFile, pos int64, later []replayFile) bool {
	for i := range later {
		if _, err := decodeFrame(later[i].bytes, HeaderSize, later[i].seq); err == nil {
			return false // a later file has frames, so this one had been completed
		}
	}
	for at := pos + 8; at+FrameHeaderSize <= int64(len(f.bytes)); at += 8 {
		if fr, err := decodeFrame(f.bytes, at, f.seq); err == nil && fr.durable > pos {
			return false
		}
	}
	return true
}

// add folds one record into its shard. Everything that is kept is copied: frames are large.
func (o *Replayed) add(r *Record) {
	p := o.Shards[r.Key]
	if p == nil {
		p = &Pending{Key: r.Key}
		o.Shards[r.Key] = p
	}
	if r.Hard != nil {
		p.Hard, p.HasHard = *r.Hard, true
	}
	if r.Truncate > 0 {
		p.cut(r.Truncate)
	}
	for _, e := range r.Entries {
		e.Payload = slices.Clone(e.Payload)
		if n := len(p.Entries); n > 0 && e.Index > p.Entries[n-1].Index+1 {
			p.Entries = p.Entries[:0] // what lay between stands in .raft
		}
		p.Entries = raftfile.Supersede(p.Entries, e)
	}
	for _, run := range r.Runs {
		run.Bytes = slices.Clone(run.Bytes)
		p.Runs = append(p.Runs, run)
	}
	p.Sync = r.Sync // also where it goes back: to what a truncation left
	switch {
	case r.Checkpoint == suspectCheckpoint:
		p.Suspect = true
	case r.Checkpoint > 0:
		p.Checkpoint, p.Truncate, p.Suspect = r.Checkpoint, r.Truncate, false
		p.forget(r.Checkpoint)
	}
}

func (p *Pending) cut(from raftfile.Index) {
	p.Checkpoint = min(p.Checkpoint, from-1)
	if p.Truncate == 0 || from < p.Truncate {
		p.Truncate = from
	}
	if n := len(p.Entries); n > 0 && from <= p.Entries[n-1].Index {
		if from <= p.Entries[0].Index {
			p.Entries = p.Entries[:0]
		} else {
			p.Entries = p.Entries[:from-p.Entries[0].Index]
		}
	}
}

// forget drops entries that stand in .raft, synced.
func (p *Pending) forget(upTo raftfile.Index) {
	n := 0
	for n < len(p.Entries) && p.Entries[n].Index <= upTo {
		n++
	}
	p.Entries = slices.Clone(p.Entries[n:])
	if len(p.Entries) == 0 {
		p.Runs = nil
	}
}

// Inlined returns the stored bytes of e if the journal carries them.
func (p *Pending) Inlined(e *raftfile.Entry) []byte {
	from, to := int64(e.Pos), int64(e.Pos)+int64(e.Length)
	for i := len(p.Runs) - 1; i >= 0; i-- {
		r := &p.Runs[i]
		if r.Segment != e.Segment || from < r.Pos || to > r.Pos+int64(len(r.Bytes)) {
			continue
		}
		if b := r.Bytes[from-r.Pos : to-r.Pos]; raftfile.Castagnoli(0, b) == e.CRC {
			return b
		}
	}
	return nil
}
