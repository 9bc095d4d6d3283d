package vfstest

import (
	"testing"

	"github.com/stelemq/stele/internal/vfs"
)

// Flip changes one bit of the byte at a position.
func Flip(t *testing.T, f vfs.File, pos int64) {
	t.Helper()
	var b [1]byte
	if _, err := f.ReadAt(b[:], pos); err != nil {
		t.Fatal(err)
	}
	b[0] ^= 0x10
	if _, err := f.WriteAt(b[:], pos); err != nil {
		t.Fatal(err)
	}
}
