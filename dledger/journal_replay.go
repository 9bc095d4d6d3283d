package dledger

import (
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"slices"

	"github.com/stelemq/stele/internal/vfs"
)

// pendingShard is what the journal knows of a shard: the fold of its records, oldest to newest.
type pendingShard struct {
	key        shardKey
	hard       hardState
	hasHard    bool
	checkpoint Index
	sync       syncPoint
	// truncate is the lowest index that a truncation removed since the checkpoint, 0 if none: .raft records from
	// it on are superseded even where no newer entry stands.
	truncate Index
	// suspect: the journal was damaged, so the shard may have had more than this.
	suspect bool
	entries []entryRecord // contiguous
	runs    []inlineRun   // oldest first; a later run supersedes an earlier one where they overlap
}

// suspectCheckpoint stands for the checkpoint of a suspect shard in the journal, until the shard has been salvaged or fetched
// again.
const suspectCheckpoint = Index(1<<63 - 1)

// JournalDamageError is what replay found wrong with a journal file; its readable prefix was used.
type JournalDamageError struct {
	Path string
	Pos  int64
	Err  error
}

func (d *JournalDamageError) Error() string {
	return fmt.Sprintf("dledger: journal %s is damaged at %d: %v", d.Path, d.Pos, d.Err)
}

func (d *JournalDamageError) Unwrap() error { return d.Err }

// Is makes errors.Is(d, ErrCorrupt) true.
func (d *JournalDamageError) Is(target error) bool { return target == ErrCorrupt }

// journalReplay is the outcome of reading a journal directory.
type journalReplay struct {
	shards map[shardKey]*pendingShard
	last   uint64 // newest sequence
	// liveFrom is the oldest sequence that is still needed.
	liveFrom uint64
	// lastSlot and lastPos are where the newest file is, and where its readable part ends.
	lastSlot int
	lastPos  int64
	slots    map[int]uint64 // the sequence of each file
	broken   map[int]bool   // files whose header does not check
	damage   *JournalDamageError
}

type replayFile struct {
	slot        int
	path        string
	seq, oldest uint64
	bytes       []byte // of live files only
}

// replayJournal reads all files. Errors are those of reading and ErrUnsupportedVersion; damage is part of the
// outcome, since what to do about it is the replica's affair.
func replayJournal(fsys vfs.FS, dir string) (*journalReplay, error) {
	out := &journalReplay{shards: make(map[shardKey]*pendingShard), slots: make(map[int]uint64), broken: make(map[int]bool)}
	var files []replayFile
	for slot := range journalSlots {
		path := filepath.Join(dir, fmt.Sprintf("%d.journal", slot))
		b, err := readHead(fsys, path, journalHeaderSize)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("replay: %w", err)
		}
		seq, oldest, err := decodeJournalHeader(b)
		out.slots[slot] = seq
		switch {
		case errors.Is(err, ErrUnsupportedVersion):
			return nil, fmt.Errorf("%s: %w", path, err)
		case err != nil:
			out.damage, out.broken[slot] = &JournalDamageError{Path: path, Err: err}, true
		case seq > 0:
			files = append(files, replayFile{slot: slot, path: path, seq: seq, oldest: oldest})
		}
	}
	slices.SortFunc(files, func(a, b replayFile) int { return int(int64(a.seq) - int64(b.seq)) }) //nolint:gosec // few files
	if len(files) == 0 {
		return out, nil
	}
	newest := files[len(files)-1]
	out.last, out.lastSlot, out.liveFrom = newest.seq, newest.slot, newest.oldest
	live := slices.DeleteFunc(files, func(f replayFile) bool { return f.seq < newest.oldest })
	for i := range live {
		b, err := readFile(fsys, live[i].path)
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
	if out.damage != nil {
		for _, p := range out.shards {
			p.suspect = true
		}
	}
	return out, nil
}

// checkChain reports a live sequence that has no file. A header that does not check is damage only if a file is
// missing: a slot being begun for the first time may be torn.
func (o *journalReplay) checkChain(live []replayFile) {
	broken := o.damage
	o.damage = nil
	want := live[len(live)-1].oldest
	for _, f := range live {
		if f.seq != want {
			o.damage = &JournalDamageError{Path: f.path, Err: fmt.Errorf("the file with sequence %d is missing", want)}
			if broken != nil {
				o.damage = broken
			}
			return
		}
		want++
	}
	// The newest readable file is complete, so its successor had been begun.
	if last := &live[len(live)-1]; broken != nil && last.endsComplete() {
		o.damage = broken
	}
}

func (f *replayFile) endsComplete() bool {
	pos := int64(journalHeaderSize)
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
func (o *journalReplay) fold(f *replayFile, later []replayFile) error {
	pos := int64(journalHeaderSize)
	for {
		fr, err := decodeFrame(f.bytes, pos, f.seq)
		if len(later) == 0 {
			o.lastPos = pos
		}
		if err != nil {
			break
		}
		if fr.kind == frameEnd {
			if len(later) == 0 && o.damage == nil {
				o.damage = &JournalDamageError{Path: f.path, Pos: pos, Err: errors.New("the file after it is missing")}
			}
			return nil
		}
		if err := decodeShardRecords(fr.body, o.add); err != nil {
			return fmt.Errorf("%s at %d: %w", f.path, pos, err)
		}
		pos = fr.next
	}
	if torn(f, pos, later) {
		return nil
	}
	if o.damage == nil {
		o.damage = &JournalDamageError{Path: f.path, Pos: pos, Err: errTornFrame}
	}
	return nil
}

// torn reports whether the frame at pos may be missing: nothing written later says that it was durable.
func torn(f *replayFile, pos int64, later []replayFile) bool {
	for i := range later {
		if _, err := decodeFrame(later[i].bytes, journalHeaderSize, later[i].seq); err == nil {
			return false // a later file has frames, so this one had been completed
		}
	}
	for at := pos + 8; at+frameHeaderSize <= int64(len(f.bytes)); at += 8 {
		if fr, err := decodeFrame(f.bytes, at, f.seq); err == nil && fr.durable > pos {
			return false
		}
	}
	return true
}

// add folds one record into its shard. Everything that is kept is copied: frames are large.
func (o *journalReplay) add(r *shardRecord) {
	p := o.shards[r.key]
	if p == nil {
		p = &pendingShard{key: r.key}
		o.shards[r.key] = p
	}
	if r.hard != nil {
		p.hard, p.hasHard = *r.hard, true
	}
	if r.truncate > 0 {
		p.cut(r.truncate)
	}
	for _, e := range r.entries {
		e.payload = slices.Clone(e.payload)
		if n := len(p.entries); n > 0 && e.index > p.entries[n-1].index+1 {
			p.entries = p.entries[:0] // what lay between stands in .raft
		}
		p.entries = supersede(p.entries, e)
	}
	for _, run := range r.runs {
		run.bytes = slices.Clone(run.bytes)
		p.runs = append(p.runs, run)
	}
	p.sync = r.sync // also where it goes back: to what a truncation left
	switch {
	case r.checkpoint == suspectCheckpoint:
		p.suspect = true
	case r.checkpoint > 0:
		p.checkpoint, p.truncate, p.suspect = r.checkpoint, r.truncate, false
		p.forget(r.checkpoint)
	}
}

func (p *pendingShard) cut(from Index) {
	p.checkpoint = min(p.checkpoint, from-1)
	if p.truncate == 0 || from < p.truncate {
		p.truncate = from
	}
	if n := len(p.entries); n > 0 && from <= p.entries[n-1].index {
		if from <= p.entries[0].index {
			p.entries = p.entries[:0]
		} else {
			p.entries = p.entries[:from-p.entries[0].index]
		}
	}
}

// forget drops entries that stand in .raft, synced.
func (p *pendingShard) forget(upTo Index) {
	n := 0
	for n < len(p.entries) && p.entries[n].index <= upTo {
		n++
	}
	p.entries = slices.Clone(p.entries[n:])
	if len(p.entries) == 0 {
		p.runs = nil
	}
}

// inlined returns the stored bytes of e if the journal carries them.
func (p *pendingShard) inlined(e *entryRecord) []byte {
	from, to := int64(e.pos), int64(e.pos)+int64(e.length)
	for i := len(p.runs) - 1; i >= 0; i-- {
		r := &p.runs[i]
		if r.segment != e.segment || from < r.pos || to > r.pos+int64(len(r.bytes)) {
			continue
		}
		if b := r.bytes[from-r.pos : to-r.pos]; castagnoli(0, b) == e.crc {
			return b
		}
	}
	return nil
}
