package commitlog_test

import (
	"bytes"
	"math"
	"math/rand/v2"
	"testing"

	"github.com/stelemq/stele/internal/vfs"
	"github.com/stelemq/stele/protocol/record"
)

// countingFS counts the bytes that are read from files.
type countingFS struct {
	vfs.FS
	read *int64
}

func (c countingFS) Open(path string) (vfs.File, error)   { return c.count(c.FS.Open(path)) }
func (c countingFS) Create(path string) (vfs.File, error) { return c.count(c.FS.Create(path)) }
func (c countingFS) count(f vfs.File, err error) (vfs.File, error) {
	if err != nil {
		return nil, err
	}
	return countingFile{f, c.read}, nil
}

type countingFile struct {
	vfs.File
	read *int64
}

func (c countingFile) ReadAt(p []byte, off int64) (int, error) {
	n, err := c.File.ReadAt(p, off)
	*c.read += int64(n)
	return n, err //nolint:wrapcheck // a test's
}

// A read returns the same whatever steps it takes: all whole batches that fit, below the bound. And it does not read much that
// it does not return.
func TestRead_StepsAreNotSeen(t *testing.T) {
	rng := rand.New(rand.NewPCG(5, 6))
	var read int64
	l := create(t, options(countingFS{newFS(t), &read}))
	var batches []record.Batch
	var stored []byte
	for range 60 {
		size := []int{10, 900, 16 << 10, 255 << 10, 256<<10 - 100, 300 << 10, 1000 << 10}[rng.IntN(7)]
		e := appendOne(t, l, batch(t, 1+rng.IntN(3), size, 1, nil), 1)
		p := make([]byte, e.Length)
		must(t, l.ReadAt(e.Segment, e.Pos, p))
		batches, stored = append(batches, p), append(stored, p...)
	}
	for range 400 {
		first := rng.IntN(len(batches))
		bound := first + 1 + rng.IntN(len(batches)-first)
		budget := []int{0, 61, 5000, 256 << 10, 600 << 10, 1 << 20, 3 << 20, math.MaxInt32}[rng.IntN(8)]
		upTo, whole := batches[bound-1].NextOffset(), rng.IntN(2) == 0
		var want []byte
		for i := first; i < bound && (len(want)+len(batches[i]) <= budget || whole && i == first); i++ {
			want = append(want, batches[i]...)
		}
		head := []byte("before")
		read = 0
		got, err := l.Read(bytes.Clone(head), batches[first].BaseOffset(), upTo, budget, whole)
		must(t, err)
		if !bytes.Equal(got, append(head, want...)) {
			t.Fatalf("batches %d to %d, budget %d, whole %v: %d bytes, want %d", first, bound, budget, whole, len(got)-len(head), len(want))
		}
		if read > int64(len(want))+600<<10 {
			t.Fatalf("batches %d to %d, budget %d: %d bytes read for %d", first, bound, budget, read, len(want))
		}
	}
	all, err := l.Read(nil, 0, math.MaxInt64, math.MaxInt32, true)
	if err != nil || !bytes.Equal(all, stored) {
		t.Fatalf("%d of %d bytes: %v", len(all), len(stored), err)
	}
	must(t, l.Close())
}
