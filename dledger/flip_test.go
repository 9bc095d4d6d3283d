package dledger

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"strings"
	"testing"

	pb "github.com/lni/dragonboat/v4/raftpb"

	"github.com/stelemq/stele/commitlog"
	"github.com/stelemq/stele/dledger/journal"
	"github.com/stelemq/stele/internal/vfs"
	"github.com/stelemq/stele/protocol/record"
)

// soleSpecs are partitions with one voter each: a small log with several segments, and one that stays in its first.
func soleSpecs() []PartitionSpec {
	out := make([]PartitionSpec, 2)
	for i := range out {
		out[i] = PartitionSpec{
			Topic: "s", Partition: int32(i), Shard: ShardID(2 + i), Replica: 1, Members: map[ReplicaID]int32{1: 1},
			Config: LogConfig{SegmentBytes: 4 << 10, FlushMessages: 1, IndexIntervalBytes: 512},
		}
	}
	return out
}

// soleLog writes one voter's log, entry by entry, as a leader would.
type soleLog struct {
	shard ShardID
	term  uint64
	index uint64
	seq   uint32
	next  record.Offset
	sent  map[record.Offset][]byte // what was acknowledged, by offset
}

func newSoleLog(shard ShardID) *soleLog {
	return &soleLog{shard: shard, sent: map[record.Offset][]byte{}}
}

func (l *soleLog) save(r *rig, e pb.Entry) error {
	l.index++
	e.Index, e.Term, e.Key = l.index, l.term, l.index
	return r.save([]pb.Update{{
		ShardID: uint64(l.shard), ReplicaID: 1, EntriesToSave: []pb.Entry{e},
		State: pb.State{Term: l.term, Vote: 1, Commit: l.index},
	}})
}

// lead begins a term at the shard's end.
func (l *soleLog) lead(r *rig) error {
	s := r.h.db.shards[l.shard]
	l.term, l.index, l.seq = uint64(s.hard.Term)+1, uint64(s.last), 0
	return l.save(r, pb.Entry{Type: pb.ApplicationEntry})
}

func (l *soleLog) append(r *rig, rng *rand.Rand, payload int) error {
	l.seq = nextSequence(l.seq)
	b := testBatch(rng, payload)
	cmd := append([]byte{0}, b...)
	if err := l.save(r, pb.Entry{Type: pb.EncodedEntry, ClientID: clientID(Term(l.term), l.seq, false), Cmd: cmd}); err != nil {
		return err
	}
	l.sent[l.next] = b
	l.next++
	return nil
}

// check reads what a recovered log holds: every batch is one that was sent, at its offset; those below need are there.
func (l *soleLog) check(r *rig, need record.Offset) error {
	s := r.h.db.shards[l.shard]
	if s.hard.Term < Term(l.term) {
		return fmt.Errorf("shard %d: term %d after %d", l.shard, s.hard.Term, l.term)
	}
	at := record.Offset(0)
	for at < s.log.End().Next {
		b, err := s.log.Read(nil, at, s.log.End().Next, 1, true)
		if errors.Is(err, commitlog.ErrCorrupt) {
			break
		}
		if err != nil {
			return fmt.Errorf("shard %d at %d: %w", l.shard, at, err)
		}
		batch, _, err := record.Next(b)
		if err != nil {
			return fmt.Errorf("shard %d at %d: %w", l.shard, at, err)
		}
		want := l.sent[batch.BaseOffset()]
		if batch.BaseOffset() != at || want == nil || !bytes.Equal(batch[record.PatchLen:], want[record.PatchLen:]) {
			return fmt.Errorf("shard %d: wrong bytes at offset %d", l.shard, at)
		}
		at = batch.NextOffset()
	}
	if at < need {
		return fmt.Errorf("shard %d: %d of %d acknowledged records are readable", l.shard, at, need)
	}
	return nil
}

// soleImage is a file system with two logs written over two terms, as a kill leaves it (clean: as a clean end does).
func soleImage(t *testing.T, clean bool) (*vfs.Mem, []*soleLog) {
	t.Helper()
	rng := rand.New(rand.NewPCG(8, 8))
	mem := vfs.NewMem()
	logs := []*soleLog{newSoleLog(2), newSoleLog(3)}
	for round := range 2 {
		r, err := openRig(mem, soleSpecs())
		if err != nil {
			t.Fatal(err)
		}
		for _, l := range logs {
			if err := l.lead(r); err != nil {
				t.Fatal(err)
			}
		}
		for i := range 40 {
			for k, l := range logs {
				if k == 1 && i%5 > 0 {
					continue
				}
				if err := l.append(r, rng, 20+rng.IntN(300)); err != nil {
					t.Fatal(err)
				}
			}
			if i == 25 {
				if err := r.h.journal.Checkpoint(); err != nil {
					t.Fatal(err)
				}
			}
		}
		killed := mem.CrashClone(vfs.Crash{KeepPercent: 100})
		if err := r.close(); err != nil {
			t.Fatal(err)
		}
		if round == 1 && !clean {
			mem = killed
		}
	}
	return mem, logs
}

// files lists the files of a directory and below.
func files(t *testing.T, fsys vfs.FS, dir string) (out []string) {
	t.Helper()
	names, err := fsys.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, n := range names {
		fi, err := fsys.Stat(filepath.Join(dir, n))
		switch {
		case err != nil:
			t.Fatal(err)
		case fi.IsDir():
			out = append(out, files(t, fsys, filepath.Join(dir, n))...)
		default:
			out = append(out, filepath.Join(dir, n))
		}
	}
	return out
}

func mustRead(t *testing.T, fsys vfs.FS, name string) []byte {
	t.Helper()
	b, err := vfs.ReadFile(fsys, name)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// readableBefore is how many records of a log must be readable when a byte of one of its segments has changed.
func readableBefore(t *testing.T, fsys vfs.FS, name string, pos int) record.Offset {
	t.Helper()
	b := mustRead(t, fsys, name)
	var next record.Offset
	if _, err := fmt.Sscanf(filepath.Base(name), "%d", &next); err != nil {
		t.Fatal(err)
	}
	for at := 0; at < pos; {
		batch, _, err := record.Next(b[at:])
		if err != nil || at+len(batch) > pos {
			break
		}
		at, next = at+len(batch), batch.NextOffset()
	}
	return next
}

// One bit changes, in any region of any file, while the broker is down. No wrong byte is read; what was acknowledged before
// the damage is readable, all of it unless the damage is in a segment; terms do not go back; segments are set aside, not
// deleted; and it stays so at the next start, after more appends.
func TestSave_BitFlips(t *testing.T) {
	for _, clean := range []bool{false, true} {
		image, logs := soleImage(t, clean)
		perFile := 12
		if testing.Short() {
			perFile = 3
		}
		for _, name := range files(t, image, rigDir) {
			size := len(mustRead(t, image, name))
			if size == 0 || strings.HasSuffix(name, ".lock") {
				continue
			}
			t.Run(fmt.Sprintf("clean %v%s", clean, strings.ReplaceAll(name, "/", " ")), func(t *testing.T) {
				t.Parallel()
				rng := rand.New(rand.NewPCG(uint64(size), 9))
				for i := range perFile {
					pos := i * size / perFile
					pos += rng.IntN(max(size/perFile, 1))
					if i < 3 {
						pos = min(i*9, size-1) // headers
					}
					flipOnce(t, image, logs, name, pos, byte(1)<<rng.IntN(8))
				}
			})
		}
	}
}

func flipOnce(t *testing.T, image *vfs.Mem, logs []*soleLog, name string, pos int, bit byte) {
	t.Helper()
	fsys := image.CrashClone(vfs.Crash{KeepPercent: 100})
	f, err := fsys.Open(name)
	if err != nil {
		t.Fatal(err)
	}
	var b [1]byte
	_, err1 := f.ReadAt(b[:], int64(pos))
	b[0] ^= bit
	_, err2 := f.WriteAt(b[:], int64(pos))
	if err := errors.Join(err1, err2, f.Sync()); err != nil {
		t.Fatal(err)
	}
	before := map[string][]byte{}
	for _, n := range files(t, fsys, rigDir) {
		if strings.HasSuffix(n, ".log") {
			before[n] = mustRead(t, fsys, n)
		}
	}
	what := fmt.Sprintf("flip %#x at %d", bit, pos)
	for start := range 2 {
		r, err := openRig(fsys, soleSpecs())
		if errors.Is(err, commitlog.ErrUnsupportedVersion) {
			return // Kafka's text files have no checksum: another version it may be
		}
		if err != nil {
			t.Fatalf("%s: start %d: %v", what, start, err)
		}
		for k, l := range logs {
			need := l.next
			if strings.HasSuffix(name, ".log") && strings.Contains(name, fmt.Sprintf("s-%d/", k)) {
				need = readableBefore(t, image, name, pos)
			}
			if err := l.check(r, need); err != nil {
				t.Fatalf("%s: start %d: %v", what, start, err)
			}
		}
		for n, want := range before {
			if !kept(t, fsys, n, want) && !kept(t, fsys, n, mustRead(t, image, n)) {
				t.Fatalf("%s: start %d: bytes of %s are gone", what, start, n)
			}
		}
		if err := r.close(); err != nil {
			t.Fatal(err)
		}
	}
}

// kept reports whether a file, or one that was set aside, still has what it had.
func kept(t *testing.T, fsys vfs.FS, name string, want []byte) bool {
	t.Helper()
	for _, n := range files(t, fsys, filepath.Dir(name)) {
		if strings.HasPrefix(n, name) && bytes.HasPrefix(mustRead(t, fsys, n), want) {
			return true
		}
	}
	return false
}

// A file ends early, at every byte of its last entries: what stands elsewhere is taken from there, and nothing before is lost.
func TestSave_TornAtEveryByte(t *testing.T) {
	image, logs := soleImage(t, false)
	dir := filepath.Join(rigDir, "journal")
	replay, err := journal.Replay(image, dir)
	if err != nil {
		t.Fatal(err)
	}
	newest := filepath.Join(dir, fmt.Sprintf("%d.journal", replay.LastSlot))
	for _, c := range []struct {
		name string
		from int64         // where what is synced ends
		end  int64         // -1: of the file
		lost record.Offset // records that may be lost: they stand nowhere else
	}{
		{lastWith(t, image, filepath.Join(rigDir, "s-0"), ".log"), replay.Shards[journal.Key{Shard: 2, Replica: 1}].Sync.Pos, -1, 0},
		{lastWith(t, image, filepath.Join(rigDir, "s-1"), ".log"), replay.Shards[journal.Key{Shard: 3, Replica: 1}].Sync.Pos, -1, 0},
		{lastWith(t, image, filepath.Join(rigDir, "s-1"), ".raft"), 0, -1, 0},
		{newest, 0, replay.LastPos, 3},
	} {
		t.Run(strings.ReplaceAll(c.name, "/", " "), func(t *testing.T) {
			t.Parallel()
			if c.end < 0 {
				c.end = int64(len(mustRead(t, image, c.name)))
			}
			step := int64(1)
			if testing.Short() {
				step = 13
			}
			for cut := c.end - 1; cut >= max(c.end-400, c.from); cut -= step {
				fsys := image.CrashClone(vfs.Crash{KeepPercent: 100})
				f, err := fsys.Open(c.name)
				if err == nil {
					err = f.Truncate(cut)
				}
				if err != nil {
					t.Fatal(err)
				}
				r, err := openRig(fsys, soleSpecs())
				if err != nil {
					t.Fatalf("cut at %d: %v", cut, err)
				}
				for _, l := range logs {
					if err := l.check(r, l.next-c.lost); err != nil {
						t.Fatalf("cut at %d: %v", cut, err)
					}
				}
				if err := r.close(); err != nil {
					t.Fatal(err)
				}
			}
		})
	}
}

func lastWith(t *testing.T, fsys vfs.FS, dir, suffix string) (out string) {
	t.Helper()
	for _, n := range files(t, fsys, dir) {
		if strings.HasSuffix(n, suffix) && len(mustRead(t, fsys, n)) > 0 {
			out = n
		}
	}
	return out
}
