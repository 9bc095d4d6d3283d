package commitlog

import (
	"bytes"
	"math/rand/v2"
	"testing"

	"github.com/stelemq/stele/internal/vfs"
)

// stepFile notes what each call writes.
type stepFile struct {
	vfs.File
	written []byte
	largest int
	calls   int
}

func (f *stepFile) WriteAt(p []byte, off int64) (int, error) {
	n, err := f.WriteVec([][]byte{p}, off)
	return int(n), err
}

func (f *stepFile) WriteVec(v [][]byte, off int64) (int64, error) {
	n := 0
	for _, p := range v {
		f.written = append(f.written[:off+int64(n)], p...)
		n += len(p)
	}
	f.largest, f.calls = max(f.largest, n), f.calls+1
	return int64(n), nil
}

// One call never writes more than a step, however the vector is cut, and nothing is lost between calls.
func TestAppend_WritesInSteps(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	for _, sizes := range [][]int{
		{1}, {writeStep}, {writeStep + 1}, {writeStep, writeStep}, {16, 3*writeStep - 16, 16, 5}, {100, 20, writeStep - 121, 2, 7}, {16, 1 << 20, 16, 1 << 20},
	} {
		var a appendState
		var want []byte
		for _, n := range sizes {
			b := make([]byte, n)
			for i := range b {
				b[i] = byte(rng.Uint32())
			}
			a.vec, want = append(a.vec, b), append(want, b...)
		}
		f := &stepFile{}
		if err := a.write(f, 0); err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(f.written, want) || f.largest > writeStep || f.calls != (len(want)+writeStep-1)/writeStep {
			t.Fatalf("%v: %d bytes of %d, %d calls of up to %d", sizes, len(f.written), len(want), f.calls, f.largest)
		}
	}
}
