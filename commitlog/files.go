package commitlog

import (
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/stelemq/stele/internal/vfs"
	"github.com/stelemq/stele/protocol/record"
)

// Names of files, Kafka's.
const (
	logSuffix       = ".log"
	indexSuffix     = ".index"
	timeIndexSuffix = ".timeindex"
	snapshotSuffix  = ".snapshot"
	deletedSuffix   = ".deleted"
	tmpSuffix       = ".tmp"
	cleanedSuffix   = ".cleaned"
	swapSuffix      = ".swap"

	epochsName   = "leader-epoch-checkpoint"
	metadataName = "partition.metadata"
)

// offsetDigits is the width of the offset in a file's name.
const offsetDigits = 20

func fileName(dir string, o record.Offset, suffix string) string {
	return filepath.Join(dir, fmt.Sprintf("%0*d%s", offsetDigits, o, suffix))
}

// parseName returns the offset in the name of a file with this suffix.
func parseName(name, suffix string) (record.Offset, bool) {
	digits, ok := strings.CutSuffix(name, suffix)
	if !ok || len(digits) != offsetDigits || digits[0] == '-' || digits[0] == '+' {
		return 0, false
	}
	n, err := strconv.ParseInt(digits, 10, 64)
	if err != nil || n < 0 {
		return 0, false
	}
	return record.Offset(n), true
}

// readFile reads a whole file of at most limit bytes.
func readFile(fsys vfs.FS, path string, limit int64) ([]byte, error) {
	f, err := fsys.Open(path)
	if err != nil {
		return nil, fmt.Errorf("open: %w", err)
	}
	b, err := readAll(f, limit)
	return b, errors.Join(err, f.Close())
}

func readAll(f vfs.File, limit int64) ([]byte, error) {
	n, err := f.Size()
	if err != nil {
		return nil, fmt.Errorf("size: %w", err)
	}
	if n > limit {
		return nil, &CorruptionError{Path: f.Name(), Pos: limit, Err: fmt.Errorf("%d bytes, at most %d expected", n, limit)}
	}
	b := make([]byte, n)
	if m, err := f.ReadAt(b, 0); int64(m) < n {
		return nil, fmt.Errorf("read %s: %w", f.Name(), noEOF(err))
	}
	return b, nil
}

// noEOF turns the end of a file into an unexpected one.
func noEOF(err error) error {
	if err == nil || errors.Is(err, io.EOF) {
		return io.ErrUnexpectedEOF
	}
	return err
}

// writeAtomic replaces a file: temporary file, sync, rename. The new name is durable after a SyncDir.
func writeAtomic(fsys vfs.FS, path string, b []byte) error {
	tmp := path + tmpSuffix
	f, err := fsys.Create(tmp)
	if err != nil {
		return fmt.Errorf("create: %w", err)
	}
	if _, err = f.WriteAt(b, 0); err == nil {
		err = f.Sync()
	}
	if err := errors.Join(err, f.Close()); err != nil {
		return fmt.Errorf("write: %w", err)
	}
	if err := fsys.Rename(tmp, path); err != nil {
		return fmt.Errorf("rename: %w", err)
	}
	return nil
}
