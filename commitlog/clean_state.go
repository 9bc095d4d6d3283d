package commitlog

import (
	"errors"
	"fmt"
	"io/fs"
	"strconv"
	"strings"

	"github.com/stelemq/stele/protocol/record"
)

// cleanedName is the file that says how far a log has been compacted.
const cleanedName = "cleaner-checkpoint"

// cleanedState is how far a log has been compacted. Immutable.
type cleanedState struct {
	// clean is where the dirty part begins: below it each key occurs once, or is known to later ones.
	clean record.Offset
	// rewritten is the offset below which batches may have been removed or changed. Invariant: never too low.
	rewritten record.Offset
}

// encode makes the file's content:
//
//	0           version
//	100 250     clean, rewritten
func (c cleanedState) encode() []byte { return fmt.Appendf(nil, "0\n%d %d\n", c.clean, c.rewritten) }

func parseCleaned(b []byte) (c cleanedState, err error) {
	lines := strings.Split(string(b), "\n")
	if len(lines) != 3 || lines[2] != "" {
		return c, errCheckpoint
	}
	if err := checkVersion(lines[0]); err != nil {
		return c, err
	}
	one, two, ok := strings.Cut(lines[1], " ")
	clean, err1 := strconv.ParseInt(one, 10, 64)
	rewritten, err2 := strconv.ParseInt(two, 10, 64)
	if !ok || err1 != nil || err2 != nil || clean < 0 || rewritten < 0 {
		return c, errCheckpoint
	}
	return cleanedState{record.Offset(clean), record.Offset(rewritten)}, nil
}

// storeCleaned makes the state durable.
func (l *Log) storeCleaned(c cleanedState) error {
	if *l.cleaned.Load() == c {
		return nil
	}
	l.filesMu.Lock()
	defer l.filesMu.Unlock()
	if err := writeAtomic(l.env.fs, l.env.path(cleanedName), c.encode()); err != nil {
		return fmt.Errorf("%s: %w", cleanedName, err)
	}
	if err := l.env.fs.SyncDir(l.env.dir); err != nil {
		return l.fail(fmt.Errorf("sync directory: %w", err))
	}
	l.cleaned.Store(&c)
	return nil
}

// loadCleaned reads the state. One that cannot be read says nothing of what is clean, and that all may have been rewritten.
func (r *Recovery) loadCleaned(l *Log) error {
	c := cleanedState{}
	b, err := readFile(l.env.fs, l.env.path(cleanedName), maxMetadataBytes)
	if err == nil {
		c, err = parseCleaned(b)
	}
	switch {
	case err == nil, errors.Is(err, fs.ErrNotExist):
	case errors.Is(err, ErrUnsupportedVersion):
		return fmt.Errorf("%s: %w", cleanedName, err)
	case errors.Is(err, errCheckpoint), errors.Is(err, ErrCorrupt):
		l.env.opts.Logger.Warn("what has been compacted is not known: it is compacted again", "err", err)
		c = cleanedState{rewritten: r.segs[len(r.segs)-1].base}
	default:
		return err
	}
	end := record.Offset(l.next.Load())
	c.clean, c.rewritten = min(c.clean, end), min(c.rewritten, end)
	l.cleaned.Store(&c)
	return nil
}
