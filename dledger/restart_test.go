package dledger

import (
	"encoding/binary"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stelemq/stele/dledger/raftfile"
	"github.com/stelemq/stele/internal/vfs"
	"github.com/stelemq/stele/protocol/record"
)

// appendN appends n batches of one record each and checks their offsets.
func appendN(t *testing.T, p *Partition, from, n int) {
	t.Helper()
	for i := range n {
		if r := appendWait(t, p, batchOf(t, 1, -1, -1, -1)); r.Err != nil || r.BaseOffset != record.Offset(from+i) {
			t.Fatalf("append %d: %+v", from+i, r)
		}
	}
}

// wantLog reads the whole log, batch by batch.
func wantLog(t *testing.T, p *Partition, from, to record.Offset) {
	t.Helper()
	if off := p.Offsets(); off.LogStart != from || off.HighWatermark != to || off.LogEnd != to {
		t.Fatalf("%+v, want [%d, %d)", off, from, to)
	}
	b, _, err := p.Read(nil, ReadRequest{From: from, MaxBytes: 64 << 20})
	if err != nil {
		t.Fatal(err)
	}
	for o := from; o < to; {
		batch, rest, err := record.Next(b)
		if err != nil || batch.BaseOffset() != o || batch.VerifyCRC() != nil {
			t.Fatalf("batch at %d: %v", o, err)
		}
		o, b = batch.NextOffset(), rest
	}
}

// image is the directory as a killed process leaves it, without its locks.
func image(t *testing.T, dir string) string {
	t.Helper()
	// A copy made while the host wrote is of no one moment: the background may have checkpointed between two files.
	for end := time.Now().Add(20 * time.Second); time.Now().Before(end); {
		before, out := stamps(t, dir), t.TempDir()
		if err := os.CopyFS(out, os.DirFS(dir)); err != nil {
			continue // a file was renamed away
		}
		if before != nil && slices.Equal(before, stamps(t, dir)) {
			return out
		}
	}
	t.Fatal("the directory never stood still")
	return ""
}

// stamps are the files below dir with what tells that they have changed.
func stamps(t *testing.T, dir string) (all []string) {
	t.Helper()
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := d.Info()
		if err == nil {
			all = append(all, fmt.Sprint(path, info.Size(), info.ModTime()))
		}
		return err
	})
	if err != nil {
		return nil // it changes right now
	}
	return append(all, dir)
}

func TestHost_StopAndStartAgain(t *testing.T) {
	dir := t.TempDir()
	h, ps := startHost(t, dir, 1, 1, Options{})
	appendN(t, ps[0], 0, 20)
	killed := image(t, dir)
	closeHost(t, h)
	h, ps = startHost(t, killed, 1, 1, Options{}) // with a journal to replay
	defer closeHost(t, h)
	p, end := ps[0], 20
	for range 3 {
		appendN(t, p, end, 30)
		end += 30
		epoch := p.Leadership().Epoch
		if err := h.StopPartition(p.Spec()); err != nil {
			t.Fatal(err)
		}
		if err := h.StopPartition(p.Spec()); err != nil {
			t.Fatalf("stopped twice: %v", err)
		}
		var err error
		if p, err = h.StartPartition(t.Context(), p.Spec()); err != nil {
			t.Fatal(err)
		}
		awaitLeader(t, p)
		if e := p.Leadership().Epoch; e <= epoch {
			t.Fatalf("epoch %d after %d", e, epoch)
		}
		wantLog(t, p, 0, record.Offset(end))
	}
	if aside, err := filepath.Glob(filepath.Join(killed, "bench-0", "*"+asideSuffix)); err != nil || len(aside) > 0 {
		t.Fatalf("it was taken for damaged: %v %v", aside, err)
	}
}

func TestHost_StartTwiceLeavesTheFirstAlone(t *testing.T) {
	h, ps := startHost(t, t.TempDir(), 1, 1, Options{})
	defer closeHost(t, h)
	appendN(t, ps[0], 0, 5)
	if _, err := h.StartPartition(t.Context(), ps[0].Spec()); err == nil {
		t.Fatal("started a second time")
	}
	other := ps[0].Spec()
	other.Shard = 77
	if _, err := h.StartPartition(t.Context(), other); err == nil {
		t.Fatal("started as another shard")
	}
	appendN(t, ps[0], 5, 5)
	wantLog(t, ps[0], 0, 10)
}

// A directory with records and without replica.json is damaged, as after a salvage that was cut short; it is not new.
func TestHost_MissingReplicaFileCutsNothing(t *testing.T) {
	dir := t.TempDir()
	h, ps := startHost(t, dir, 1, 1, Options{})
	appendN(t, ps[0], 0, 12)
	epoch := ps[0].Leadership().Epoch
	closeHost(t, h)
	if err := os.Remove(filepath.Join(dir, "bench-0", replicaFileName)); err != nil {
		t.Fatal(err)
	}
	h, ps = startHost(t, dir, 1, 1, Options{})
	defer closeHost(t, h)
	wantLog(t, ps[0], 0, 12)
	if e := ps[0].Leadership().Epoch; e <= epoch {
		t.Fatalf("epoch %d after %d", e, epoch)
	}
	appendN(t, ps[0], 12, 3)
}

// Neither the leader epoch nor the log start goes back when replica.json is damaged, after terms in which nothing was appended.
func TestHost_DamagedReplicaFileKeepsEpochAndLogStart(t *testing.T) {
	dir := t.TempDir()
	h, ps := startHost(t, dir, 1, 1, Options{})
	appendN(t, ps[0], 0, 12)
	if err := ps[0].AdvanceLogStart(t.Context(), 7); err != nil {
		t.Fatal(err)
	}
	if off := ps[0].Offsets(); off.LogStart != 7 {
		t.Fatalf("log start %d when the command has been answered", off.LogStart)
	}
	for range 4 {
		closeHost(t, h)
		h, ps = startHost(t, dir, 1, 1, Options{})
	}
	epoch := ps[0].Leadership().Epoch
	closeHost(t, h)
	name := filepath.Join(dir, "bench-0", replicaFileName)
	b, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	b[len(b)/2] ^= 1
	if err := os.WriteFile(name, b, 0o600); err != nil {
		t.Fatal(err)
	}
	h, ps = startHost(t, dir, 1, 1, Options{})
	defer closeHost(t, h)
	if e := ps[0].Leadership().Epoch; e <= epoch {
		t.Fatalf("epoch %d after %d", e, epoch)
	}
	wantLog(t, ps[0], 7, 12)
	if _, err := os.Stat(name + asideSuffix); err != nil {
		t.Fatalf("the damaged file was not set aside: %v", err)
	}
}

// A topic is deleted and made again while the broker is down with the old one's records in the journal: closing the old
// files must not write into the new directory.
func TestHost_RecoveredReplicaOfADeletedTopic(t *testing.T) {
	dir := t.TempDir()
	h, ps := startHost(t, dir, 1, 1, Options{})
	for i := range 30 {
		if r := appendWait(t, ps[0], batchOf(t, 1, 5, 0, int32(i))); r.Err != nil {
			t.Fatal(r.Err)
		}
	}
	killed := image(t, dir)
	spec := ps[0].Spec()
	closeHost(t, h)
	h, _ = startHost(t, killed, 0, 1, Options{})
	spec.Shard = 50
	p, err := h.StartPartition(t.Context(), spec)
	if err != nil {
		t.Fatal(err)
	}
	awaitLeader(t, p)
	wantLog(t, p, 0, 0)
	closeHost(t, h)
	es, err := os.ReadDir(filepath.Join(killed, "bench-0"))
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range es {
		if strings.HasSuffix(e.Name(), ".snapshot") && !strings.HasPrefix(e.Name(), strings.Repeat("0", 20)) {
			t.Errorf("%s in the directory of an empty partition", e.Name())
		}
	}
}

// With the sync of flush.ms the records of a relaxed partition survive a power loss, not only their bytes.
func TestHost_FlushIntervalKeepsRelaxedRecords(t *testing.T) {
	mem, dir := vfs.NewMem(), t.TempDir()
	h, ps := startHost(t, dir, 1, 1<<40, Options{FS: mem})
	p := ps[0]
	appendN(t, p, 0, 10)
	c := *p.config.Load()
	c.FlushInterval = 1
	p.SetConfig(c)
	if err := p.flushIfDue(time.Now().Add(1 << 40)); err != nil {
		t.Fatal(err)
	}
	lost := mem.CrashClone(vfs.Crash{})
	closeHost(t, h)
	h, ps = startHost(t, dir, 1, 1<<40, Options{FS: lost})
	defer closeHost(t, h)
	wantLog(t, ps[0], 0, 10)
}

// The process is killed, and power lost, at any time while real groups append: what was acknowledged is there.
func TestHost_PowerLossWhileAppending(t *testing.T) {
	mem, dir := vfs.NewMem(), t.TempDir()
	h, ps := startHost(t, dir, 3, 1, Options{FS: mem, JournalFileBytes: 64 << 10})
	acked := 0
	for range 4 {
		for range 40 {
			for i, p := range ps {
				b := batchOf(t, 1+i*100, -1, -1, -1)
				binary.BigEndian.PutUint32(b[17:], raftfile.Castagnoli(0, b[21:]))
				if r := appendWait(t, p, b); r.Err != nil {
					t.Fatal(r.Err)
				}
			}
			acked++
		}
		lost := mem.CrashClone(vfs.Crash{})
		closeHost(t, h)
		mem = lost
		h, ps = startHost(t, dir, 3, 1, Options{FS: mem, JournalFileBytes: 64 << 10})
		for i, p := range ps {
			wantLog(t, p, 0, record.Offset(acked*(1+i*100)))
		}
	}
	closeHost(t, h)
}
