package dledger

import (
	"errors"
	"sync/atomic"
	"testing"

	"github.com/stelemq/stele/internal/vfs"
)

// cappedFS says how much is free.
type cappedFS struct {
	vfs.OS
	free atomic.Uint64
}

func (c *cappedFS) Free(string) (available, total uint64, err error) {
	return c.free.Load(), 1 << 30, nil
}

func TestAppend_RefusedOnAFullDiskUntilSpaceReturns(t *testing.T) {
	fsys := &cappedFS{}
	fsys.free.Store(1 << 30)
	h, ps := startHost(t, t.TempDir(), 1, 1, Options{FS: fsys})
	defer closeHost(t, h)
	p := ps[0]
	batch := batchOf(t, 5000, -1, -1, -1)
	if r := appendWait(t, p, batch); r.Err != nil {
		t.Fatal(r.Err)
	}
	fsys.free.Store(spaceReserveMin)
	n := 0
	for ; ; n++ { // what was granted before may be used up
		r := appendWait(t, p, batch)
		if errors.Is(r.Err, ErrNoSpace) {
			break
		}
		if r.Err != nil || int64(n)*int64(len(batch)) > 1<<30 {
			t.Fatalf("append %d: %+v", n, r)
		}
	}
	if !h.LowSpace() {
		t.Error("LowSpace is false")
	}
	if b, _, err := p.Read(nil, ReadRequest{MaxBytes: 1, AtLeastOne: true}); err != nil || len(b) != len(batch) {
		t.Fatalf("read on a full disk: %d bytes, %v", len(b), err)
	}
	fsys.free.Store(1 << 29)
	if r := appendWait(t, p, batch); r.Err != nil {
		t.Fatalf("after space returned: %v", r.Err)
	}
	if h.LowSpace() {
		t.Error("LowSpace stays true")
	}
}

func TestReserve_GivenUpOnAFullDisk(t *testing.T) {
	fsys := &cappedFS{}
	dir := t.TempDir()
	fsys.free.Store(1 << 29)
	if err := keepReserve(fsys, dir); err != nil {
		t.Fatal(err)
	}
	if _, err := fsys.Stat(dir + "/reserve"); err != nil {
		t.Fatal(err)
	}
	fsys.free.Store(0)
	if err := keepReserve(fsys, dir); err != nil {
		t.Fatal(err)
	}
	if _, err := fsys.Stat(dir + "/reserve"); !notExist(err) {
		t.Fatalf("the reserve is still there: %v", err)
	}
}
