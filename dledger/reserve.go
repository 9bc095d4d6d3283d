package dledger

import (
	"errors"
	"fmt"
	"path/filepath"

	"github.com/stelemq/stele/internal/vfs"
)

// reserveBytes is what the reserve file holds back at most, less on a small disk: enough for recovery, the metadata
// group and a clean shutdown on a disk that others have filled.
const reserveBytes = 16 << 20

// keepReserve makes the reserve file, or gives it up if the disk is full: a broker always starts, to serve what it has.
func keepReserve(fsys vfs.FS, dir string) error {
	name := filepath.Join(dir, "reserve")
	free, total, err := fsys.Free(dir)
	if err != nil {
		return fmt.Errorf("free space of %s: %w", dir, err)
	}
	size := min(reserveBytes, total/16)
	_, err = fsys.Stat(name)
	switch {
	case err == nil && free < size:
		err = fsys.Remove(name)
	case err != nil && notExist(err) && free > 4*size:
		err = makeReserve(fsys, name, int64(size)) //nolint:gosec // at most reserveBytes
	case notExist(err):
		err = nil
	}
	if err != nil {
		return fmt.Errorf("reserve: %w", err)
	}
	return nil
}

func makeReserve(fsys vfs.FS, name string, size int64) error {
	f, err := fsys.Create(name)
	if err != nil {
		return err //nolint:wrapcheck // wrapped by keepReserve
	}
	return errors.Join(f.Preallocate(0, size), f.Close())
}
