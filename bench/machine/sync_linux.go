package machine

import (
	"os"

	"golang.org/x/sys/unix"
)

func dataSync(f *os.File) error {
	return unix.Fdatasync(int(f.Fd())) //nolint:wrapcheck // the caller does
}

// Settle writes what all processes left in the page cache, so that the next measurement does not pay for it.
func Settle() { unix.Sync() }
