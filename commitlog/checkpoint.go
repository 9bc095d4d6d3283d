package commitlog

import (
	"bytes"
	"encoding/base64"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/stelemq/stele/internal/vfs"
	"github.com/stelemq/stele/protocol/record"
)

// Bounds of what is read into memory.
const (
	maxCheckpointBytes = 64 << 20
	maxMetadataBytes   = 4 << 10
)

// errCheckpoint: a text file is not in Kafka's format.
var errCheckpoint = errors.New("malformed")

// epochEntry says that a leader epoch begins at an offset.
type epochEntry struct {
	epoch record.LeaderEpoch
	start record.Offset
}

// appendEpochs encodes a leader-epoch-checkpoint:
//
//	0           version
//	2           number of entries
//	3 0         epoch, start offset: one line each
//	5 117
func appendEpochs(b []byte, es []epochEntry) []byte {
	b = fmt.Appendf(b, "0\n%d\n", len(es))
	for _, e := range es {
		b = fmt.Appendf(b, "%d %d\n", e.epoch, e.start)
	}
	return b
}

// parseEpochs decodes a leader-epoch-checkpoint; epochs and offsets must grow.
func parseEpochs(b []byte) ([]epochEntry, error) {
	lines := strings.Split(string(b), "\n")
	if len(lines) < 3 || lines[len(lines)-1] != "" {
		return nil, errCheckpoint
	}
	if err := checkVersion(lines[0]); err != nil {
		return nil, err
	}
	n, err := strconv.Atoi(lines[1])
	lines = lines[2 : len(lines)-1]
	if err != nil || n != len(lines) {
		return nil, errCheckpoint
	}
	es := make([]epochEntry, 0, n)
	for _, l := range lines {
		es0, es1, ok := strings.Cut(l, " ")
		e, err1 := strconv.ParseInt(es0, 10, 32)
		o, err2 := strconv.ParseInt(es1, 10, 64)
		if !ok || err1 != nil || err2 != nil || e < 0 || o < 0 {
			return nil, errCheckpoint
		}
		x := epochEntry{record.LeaderEpoch(e), record.Offset(o)}
		if k := len(es); k > 0 && (x.epoch <= es[k-1].epoch || x.start <= es[k-1].start) {
			return nil, errCheckpoint
		}
		es = append(es, x)
	}
	return es, nil
}

func checkVersion(s string) error {
	v, err := strconv.Atoi(s)
	switch {
	case err != nil || v < 0:
		return errCheckpoint
	case v > 0:
		return fmt.Errorf("%w: version %d, newest known 0", ErrUnsupportedVersion, v)
	default:
		return nil
	}
}

// metadata is the content of partition.metadata:
//
//	version: 0
//	topic_id: vPQOh4rRRRuhqm3rXdlDtw     the 16 bytes in URL-safe base64 without padding
func appendMetadata(b []byte, id [16]byte) []byte {
	return fmt.Appendf(b, "version: 0\ntopic_id: %s\n", base64.RawURLEncoding.EncodeToString(id[:]))
}

func parseMetadata(b []byte) (id [16]byte, err error) {
	version, rest, ok1 := bytes.Cut(b, []byte("\n"))
	topic, rest, _ := bytes.Cut(rest, []byte("\n"))
	v, ok2 := bytes.CutPrefix(version, []byte("version: "))
	t, ok3 := bytes.CutPrefix(topic, []byte("topic_id: "))
	if !ok1 || !ok2 {
		return id, errCheckpoint
	}
	if err := checkVersion(string(v)); err != nil {
		return id, err
	}
	if !ok3 || len(rest) > 0 {
		return id, errCheckpoint
	}
	raw, err := base64.RawURLEncoding.Strict().DecodeString(string(t))
	if err != nil || len(raw) != len(id) {
		return id, errCheckpoint
	}
	return [16]byte(raw), nil
}

// readMetadata reads partition.metadata. Errors: fs.ErrNotExist, ErrUnsupportedVersion, *CorruptionError.
func readMetadata(fsys vfs.FS, dir string) (id [16]byte, err error) {
	path := filepath.Join(dir, metadataName)
	b, err := readFile(fsys, path, maxMetadataBytes)
	if err != nil {
		return id, err
	}
	id, err = parseMetadata(b)
	if errors.Is(err, errCheckpoint) {
		return id, &CorruptionError{Path: path, Err: err}
	}
	if err != nil {
		return id, fmt.Errorf("%s: %w", path, err)
	}
	return id, nil
}

// TopicID reads the topic's id from a partition's directory. Errors: fs.ErrNotExist, ErrUnsupportedVersion, *CorruptionError.
func TopicID(fsys vfs.FS, dir string) ([16]byte, error) { return readMetadata(fsys, dir) }

// checkMetadata holds partition.metadata against the topic's id, and writes it if it is absent. It
// returns the id in force.
func checkMetadata(fsys vfs.FS, dir string, want [16]byte) ([16]byte, error) {
	id, err := readMetadata(fsys, dir)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		if err := writeAtomic(fsys, filepath.Join(dir, metadataName), appendMetadata(nil, want)); err != nil {
			return want, fmt.Errorf("%s: %w", metadataName, err)
		}
		if err := fsys.SyncDir(dir); err != nil {
			return want, fmt.Errorf("sync %s: %w", dir, err)
		}
		if err := fsys.SyncDir(filepath.Dir(dir)); err != nil {
			return want, fmt.Errorf("sync %s: %w", filepath.Dir(dir), err)
		}
		return want, nil
	case err != nil:
		return id, err
	case want != [16]byte{} && id != want:
		return id, fmt.Errorf("%w: %s has %s, expected %s", ErrTopicIDMismatch, dir,
			base64.RawURLEncoding.EncodeToString(id[:]), base64.RawURLEncoding.EncodeToString(want[:]))
	default:
		return id, nil
	}
}
