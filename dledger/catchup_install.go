package dledger

import (
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/stelemq/stele/commitlog"
	"github.com/stelemq/stele/dledger/journal"
	"github.com/stelemq/stele/dledger/raftfile"
	"github.com/stelemq/stele/internal/vfs"
	"github.com/stelemq/stele/protocol/record"
)

const (
	installFileName    = "install.json"
	installFileVersion = 1
)

// installFile says how a replica's files are to be replaced by those of its stage. Once it stands in the replica's directory
// the replacement has happened: whoever opens the directory carries out what is left of it. Format: docs/format/catchup.md.
type installFile struct {
	Version int         `json:"version"`
	Replica replicaFile `json:"replica"` // what replica.json is to say
	// Base is where the stage's log begins.
	Base record.Offset `json:"base"`
	// Keep is where the replica's own log is to end, at Base; nil: nothing of it stays.
	Keep  *installPoint `json:"keep,omitempty"`
	Files []string      `json:"files"` // of the stage, to be moved
}

type installPoint struct {
	Segment  record.Offset `json:"segment"`
	Position int64         `json:"position"`
}

// sealed is JSON with a checksum.
type sealed struct {
	CRC  uint32          `json:"crc32c"`
	Body json.RawMessage `json:"body"`
}

func writeInstallFile(fsys vfs.FS, dir string, f *installFile) error {
	f.Version = installFileVersion
	body, err := json.Marshal(f)
	if err != nil {
		return fmt.Errorf("encode %s: %w", installFileName, err)
	}
	b, err := json.Marshal(sealed{raftfile.Castagnoli(0, body), body})
	if err != nil {
		return fmt.Errorf("encode %s: %w", installFileName, err)
	}
	return vfs.WriteFileAtomic(fsys, dir, installFileName, append(b, '\n'))
}

func readInstallFile(fsys vfs.FS, dir string) (*installFile, error) {
	name := filepath.Join(dir, installFileName)
	b, err := vfs.ReadFile(fsys, name)
	if err != nil {
		return nil, err
	}
	var o sealed
	if err := json.Unmarshal(b, &o); err != nil {
		return nil, fmt.Errorf("%w: %s: %w", ErrCorrupt, name, err)
	}
	var f installFile
	if raftfile.Castagnoli(0, o.Body) != o.CRC {
		return nil, fmt.Errorf("%w: %s does not check", ErrCorrupt, name)
	}
	if err := json.Unmarshal(o.Body, &f); err != nil {
		return nil, fmt.Errorf("%w: %s: %w", ErrCorrupt, name, err)
	}
	if f.Version > installFileVersion {
		return nil, fmt.Errorf("%w: %s version %d", ErrUnsupportedVersion, name, f.Version)
	}
	return &f, nil
}

// install puts what has been fetched in place of the replica's own files. The Raft group is stopped meanwhile, some
// milliseconds; it starts again behind the manifest's index, as after a restart. A failure to write ends the process.
func (h *Host) install(p *Partition, m *manifest) error {
	c := &p.catching
	c.mu.Lock()
	st := c.stage
	c.stage = nil
	c.mu.Unlock()
	end, files, err := st.finish(m)
	if err != nil {
		return errors.Join(err, st.discard())
	}
	if err := h.unload(p); err != nil {
		return err
	}
	if p.has(m) { // Raft was faster
		err = st.discard()
	} else {
		err = h.replaceFiles(p, m, st, end, files)
	}
	if err == nil {
		err = h.startShard(p)
	}
	if err != nil && h.ctx.Err() == nil {
		return h.journal.Fail(fmt.Errorf("install what has been fetched in %s: %w", p.shard.dir, err))
	}
	return err
}

// replicaAfter is replica.json as it follows from a manifest.
func (s *shardLog) replicaAfter(m *manifest) replicaFile {
	s.mu.RLock()
	defer s.mu.RUnlock()
	f := s.file
	f.Index, f.Term, f.Membership, f.LogStart, f.Next, f.Fence = m.Index, m.Term, m.Membership, m.LogStart, m.Next, m.Fence
	return f
}

// pointBefore is where the stored bytes below an offset end, which is one at which a committed entry ends.
func (s *shardLog) pointBefore(o record.Offset) (*installPoint, error) {
	var segment record.Offset
	for _, x := range s.log.Segments() {
		if x.Base >= o {
			break
		}
		segment = x.Base
	}
	pos, err := s.log.now().PositionOf(o)
	if err != nil {
		return nil, fmt.Errorf("position of %d in %s: %w", o, s.dir, err)
	}
	return &installPoint{Segment: segment, Position: pos}, nil
}

// replaceFiles carries an installation out. The Raft group is stopped: nothing writes to the replica.
func (h *Host) replaceFiles(p *Partition, m *manifest, st *stage, end commitlog.End, files []string) error {
	s := p.shard
	f := &installFile{Base: st.base, Files: files, Replica: s.replicaAfter(m)}
	f.Replica.Segment, f.Replica.Position = end.Segment, end.Pos
	if st.keep {
		var err error
		if f.Keep, err = s.pointBefore(st.base); err != nil {
			return err
		}
	} else {
		f.Replica.LogStart = max(f.Replica.LogStart, st.base)
	}
	// The journal keeps nothing of the old log but the hard state. What it says of .raft is lowered to what is there in
	// either case.
	if err := h.journal.Checkpoint(); err != nil {
		return err
	}
	hard := s.hardNow()
	if hard.Term < m.Term {
		hard.Term, hard.Vote = m.Term, 0
	}
	s.mu.RLock()
	claim := max(min(s.committedTo, m.Index), min(s.last, 1))
	s.mu.RUnlock()
	if err := h.claim(s, hard, claim); err != nil {
		return err
	}
	if err := h.reload(p, f); err != nil {
		return err
	}
	hard.Commit = m.Index
	if err := h.claim(s, hard, m.Index); err != nil {
		return err
	}
	p.reloaded()
	return nil
}

// claim writes a hard state, and up to which index .raft and replica.json hold everything, to the journal, durably.
func (h *Host) claim(s *shardLog, hard journal.HardState, index Index) error {
	return h.journal.Commit(&journal.Request{Durable: true, Saves: []*journal.Save{{
		Shard: s, Durable: true, Record: journal.Record{Key: s.key, Hard: &hard, Checkpoint: index},
	}}})
}

// reload closes the replica's files, replaces them, and makes the replica what they say.
func (h *Host) reload(p *Partition, f *installFile) error {
	s := p.shard
	s.ckptMu.Lock()
	defer s.ckptMu.Unlock()
	if err := errors.Join(s.writer.Close(), s.log.Close()); err != nil {
		return fmt.Errorf("close %s: %w", s.dir, err)
	}
	if err := s.fs.SyncDir(filepath.Join(s.dir, stageDirName)); err != nil {
		return fmt.Errorf("sync: %w", err)
	}
	if err := writeInstallFile(s.fs, s.dir, f); err != nil {
		return err
	}
	spec := p.spec
	spec.Config = *p.config.Load()
	n, err := recoverShard(h.shardOptions(&spec), s.dir, h.journal.Known)
	if err != nil {
		return err
	}
	s.becomeLocked(n)
	return nil
}

// becomeLocked takes over another's log and state. ckptMu is held.
func (s *shardLog) becomeLocked(n *shardLog) {
	s.Become(&n.Durability)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.log.p.Store(n.log.now())
	s.recs, s.first, s.last, s.lastTerm, s.fence, s.snapshot = n.recs, n.first, n.last, n.lastTerm, n.fence, n.snapshot
	s.hard, s.hasHard = n.hard, n.hasHard
	s.savedIndex, s.journaled, s.checkpointed, s.committedTo = n.savedIndex, n.journaled, n.checkpointed, n.committedTo
	s.state, s.foldedTo, s.folded, s.stubUntil = n.state, n.foldedTo, n.folded, n.stubUntil
	s.file, s.candidate, s.writer, s.loaded = n.file, replicaFile{}, n.writer, loadedRecords{}
}

// reloaded has the partition follow its replaced log.
func (p *Partition) reloaded() {
	p.catching.installed.Add(1)
	p.cleaning.state.Add(1) // other files
	p.mu.Lock()
	p.hw.Store(max(p.hw.Load(), int64(p.shard.committedOffset())))
	p.mu.Unlock()
	p.refreshRoster()
	p.subs.notify()
}

// finishInstall carries out what is left of an installation, and removes what an attempt to catch up has left. Each step can
// be repeated.
func finishInstall(fsys vfs.FS, dir string) error {
	stageDir := filepath.Join(dir, stageDirName)
	f, err := readInstallFile(fsys, dir)
	if notExist(err) {
		if _, err := fsys.Stat(stageDir); notExist(err) {
			return nil
		}
		if err := fsys.RemoveAll(stageDir); err != nil {
			return fmt.Errorf("remove %s: %w", stageDir, err)
		}
		return nil
	}
	if err != nil {
		return err
	}
	if err := f.clear(fsys, dir); err != nil {
		return fmt.Errorf("install in %s: %w", dir, err)
	}
	for _, n := range f.Files {
		if err := fsys.Rename(filepath.Join(stageDir, n), filepath.Join(dir, n)); err != nil && !notExist(err) {
			return fmt.Errorf("install: %w", err)
		}
	}
	if err := fsys.SyncDir(dir); err != nil {
		return fmt.Errorf("install: %w", err)
	}
	if err := writeReplicaFile(fsys, dir, &f.Replica); err != nil {
		return err
	}
	if err := fsys.Remove(filepath.Join(dir, installFileName)); err != nil {
		return fmt.Errorf("install: %w", err)
	}
	if err := fsys.SyncDir(dir); err != nil {
		return fmt.Errorf("install: %w", err)
	}
	if err := fsys.RemoveAll(stageDir); err != nil {
		return fmt.Errorf("install: %w", err)
	}
	return nil
}

// clear removes what does not stay of the replica's old files. Those of the stage may have been moved already.
func (f *installFile) clear(fsys vfs.FS, dir string) error {
	names, err := fsys.ReadDir(dir)
	if err != nil {
		return fmt.Errorf("list: %w", err)
	}
	for _, n := range names {
		at, suffix, ok := offsetOfFile(n)
		if ext := filepath.Ext(n); ext == ".swap" || ext == ".cleaned" {
			ok, suffix, at = true, ".raft", math.MaxInt64 // of a compaction of what was here
		}
		if !ok || slices.Contains(f.Files, n) {
			continue
		}
		if f.Keep != nil && f.stays(at, suffix) {
			continue
		}
		if err := fsys.Remove(filepath.Join(dir, n)); err != nil {
			return fmt.Errorf("remove: %w", err)
		}
	}
	if f.Keep == nil {
		return nil
	}
	file, err := fsys.Open(filepath.Join(dir, fmt.Sprintf("%020d.log", f.Keep.Segment)))
	if err != nil {
		return fmt.Errorf("cut: %w", err)
	}
	if err := errors.Join(file.Truncate(f.Keep.Position), file.Sync(), file.Close()); err != nil {
		return fmt.Errorf("cut: %w", err)
	}
	return nil
}

// stays reports whether a file of the replica's old log holds only what is below Base, or is cut there.
func (f *installFile) stays(at record.Offset, suffix string) bool {
	switch suffix {
	case ".raft":
		return at < f.Keep.Segment // no record of the old log may be taken for one of the new
	case ".snapshot":
		return at <= f.Base
	default:
		return at <= f.Keep.Segment
	}
}

// offsetOfFile takes the name of one of a log's files apart.
func offsetOfFile(name string) (at record.Offset, suffix string, ok bool) {
	stem, _, found := strings.Cut(name, ".")
	if !found || len(stem) != 20 {
		return 0, "", false
	}
	n, err := strconv.ParseInt(stem, 10, 64)
	if err != nil {
		return 0, "", false
	}
	switch suffix = name[len(stem):]; suffix {
	case ".log", ".index", ".timeindex", ".raft", ".snapshot":
		return record.Offset(n), suffix, true
	default:
		return 0, "", false
	}
}
