package dledger

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/cespare/xxhash/v2"
)

// Tan writes its log in blocks; a record is one chunk, or several that fill the rest of a block each:
//
//	checksum (4 bytes, little endian) | length (2) | type (1) | bytes
//
// The record that was being written when the machine went down may be there in part. Where only its bytes are missing, not its
// header, tan does not take that for the end of the log and refuses to open it: on all nodes at once, after a power failure.
const (
	tanBlock       = 32 << 10
	tanChunkHeader = 7
	tanFullChunk   = 1
	tanFirstChunk  = 2
	tanLastChunk   = 4
)

// tanTail returns where the records end that are whole and check, and whether bytes follow that do not check.
func tanTail(b []byte) (end int, torn bool) {
	for at := 0; ; {
		if tanBlock-at%tanBlock < tanChunkHeader {
			at += tanBlock - at%tanBlock
		}
		if at+tanChunkHeader > len(b) {
			return end, false
		}
		sum, length, kind := binary.LittleEndian.Uint32(b[at:]), int(binary.LittleEndian.Uint16(b[at+4:])), b[at+6]
		next := at + tanChunkHeader + length
		if sum == 0 && length == 0 && kind == 0 || kind == 0 || kind > tanLastChunk {
			return end, false // tan's own reader judges it
		}
		if next > len(b) || next > at-at%tanBlock+tanBlock {
			return end, false
		}
		if uint32(xxhash.Sum64(b[at+6:next])) != sum { //nolint:gosec // its lower half is meant
			return end, true
		}
		if kind == tanFullChunk || kind == tanLastChunk {
			end = next
		}
		at = next
	}
}

// cutMetadataTail takes a record that is there in part from the end of the metadata log, and keeps it below damaged/. Whether
// anything is missing then that was acknowledged, the mark tells.
func (h *Host) cutMetadataTail() error {
	spec := h.metadata()
	dirs, err := filepath.Glob(filepath.Join(h.raftDir(), "*", "*", "tandb", fmt.Sprintf("node-%d-%d", h.metadataGroup(), spec.Replica)))
	if err != nil {
		return fmt.Errorf("find the metadata log: %w", err)
	}
	for _, dir := range dirs {
		name, err := lastTanLog(dir)
		if err != nil || name == "" {
			return err
		}
		b, err := os.ReadFile(name) //nolint:gosec // the operator names the directory
		if err != nil {
			return fmt.Errorf("read the metadata log: %w", err)
		}
		end, torn := tanTail(b)
		if !torn {
			continue
		}
		h.logger.Warn("the metadata log ends in the middle of a record; the rest is cut off", "file", name, "at", end, "bytes", len(b)-end)
		if err := h.keepTail(name, b[end:]); err != nil {
			return err
		}
		if err := truncateFile(name, int64(end)); err != nil {
			return err
		}
	}
	return nil
}

// lastTanLog is the log that was written last, if it was not closed; "": it was.
func lastTanLog(dir string) (string, error) {
	logs, err := filepath.Glob(filepath.Join(dir, "*.log"))
	if err != nil || len(logs) == 0 {
		return "", err //nolint:wrapcheck // of the pattern only
	}
	last := slices.MaxFunc(logs, func(a, b string) int { return strings.Compare(filepath.Base(a), filepath.Base(b)) })
	if _, err := os.Stat(strings.TrimSuffix(last, ".log") + ".index"); !errors.Is(err, os.ErrNotExist) {
		return "", err //nolint:wrapcheck // says operation and path
	}
	return last, nil
}

func (h *Host) keepTail(name string, tail []byte) error {
	to := filepath.Join(h.opts.Dir, damagedDirName)
	if err := os.MkdirAll(to, 0o750); err != nil {
		return fmt.Errorf("keep the end of the metadata log: %w", err)
	}
	if err := os.WriteFile(filepath.Join(to, "metadata-"+filepath.Base(name)+".tail"), tail, 0o600); err != nil {
		return fmt.Errorf("keep the end of the metadata log: %w", err)
	}
	return nil
}

func truncateFile(name string, size int64) error {
	f, err := os.OpenFile(name, os.O_RDWR, 0) //nolint:gosec // the operator names the directory
	if err != nil {
		return err //nolint:wrapcheck // says operation and path
	}
	return errors.Join(f.Truncate(size), f.Sync(), f.Close())
}
