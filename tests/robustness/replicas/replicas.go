package replicas

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"

	"github.com/stelemq/stele/commitlog"
	"github.com/stelemq/stele/internal/vfs"
	"github.com/stelemq/stele/protocol/record"
)

// Result says what was compared.
type Result struct {
	Pairs       int // of replicas
	Batches     int // compared
	Differences []string
	// Damaged says where a checksum is wrong or nothing can be made out. What follows there is not compared.
	Damaged []string
}

type batch struct {
	base, next record.Offset
	sum        [sha256.Size]byte
}

type replica struct {
	dir     string
	batches []batch
	// rewritten: below this offset compaction has been at work, each replica's own.
	rewritten record.Offset
}

var (
	partitionDir = regexp.MustCompile(`.-\d+$`)
	segmentFile  = regexp.MustCompile(`^\d{20}\.log$`)
)

// Compare compares the partitions in data directories, each of another broker. Errors: of files that cannot be read.
func Compare(dirs []string) (Result, error) {
	var result Result
	partitions := map[string][]replica{}
	for _, dir := range dirs {
		entries, err := os.ReadDir(dir)
		if err != nil {
			return Result{}, fmt.Errorf("replicas: %w", err)
		}
		for _, e := range entries {
			if !e.IsDir() || !partitionDir.MatchString(e.Name()) {
				continue
			}
			path := filepath.Join(dir, e.Name())
			batches, err := read(path)
			switch {
			case errors.Is(err, commitlog.ErrCorrupt) || errors.Is(err, commitlog.ErrTorn):
				result.Damaged = append(result.Damaged, err.Error())
			case err != nil:
				return Result{}, err
			}
			rewritten, err := compacted(path)
			if err != nil {
				return Result{}, err
			}
			if len(batches) > 0 {
				partitions[e.Name()] = append(partitions[e.Name()], replica{path, batches, rewritten})
			}
		}
	}
	for _, list := range partitions {
		// With the longest: two short ones might not meet.
		slices.SortFunc(list, func(a, b replica) int { return len(b.batches) - len(a.batches) })
		for _, r := range list[1:] {
			n, difference := compare(list[0], r)
			result.Pairs++
			result.Batches += n
			if difference != "" {
				result.Differences = append(result.Differences, difference)
			}
		}
	}
	return result, nil
}

// read reads the segment files of a directory, up to the first damage.
func read(dir string) (all []batch, err error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, fmt.Errorf("replicas: %w", err)
	}
	for _, e := range entries { // sorted by name, which is by offset
		if !segmentFile.MatchString(e.Name()) {
			continue
		}
		path := filepath.Join(dir, e.Name())
		for b, err := range commitlog.Batches(vfs.OS{}, path) {
			if err == nil && b.Err != nil {
				err = fmt.Errorf("%w: %w", commitlog.ErrCorrupt, b.Err)
			}
			if err != nil {
				return all, fmt.Errorf("replicas: %s at %d: %w", path, b.Pos, err)
			}
			all = append(all, batch{b.Batch.BaseOffset(), b.Batch.NextOffset(), sha256.Sum256(b.Batch)})
		}
	}
	return all, nil
}

// compacted returns the offset below which a partition's batches are not comparable.
func compacted(dir string) (record.Offset, error) {
	b, err := os.ReadFile(filepath.Join(dir, "cleaner-checkpoint"))
	if errors.Is(err, os.ErrNotExist) {
		return 0, nil
	}
	var version, clean, rewritten int64
	if err == nil {
		_, err = fmt.Sscanf(string(b), "%d\n%d %d\n", &version, &clean, &rewritten)
	}
	if err != nil {
		return 0, fmt.Errorf("replicas: %s: %w", dir, err)
	}
	return record.Offset(rewritten), nil
}

// compare returns how many batches were compared, and the first difference.
func compare(a, b replica) (n int, difference string) {
	from := max(a.batches[0].base, b.batches[0].base, a.rewritten, b.rewritten)
	x, y := a.since(from), b.since(from)
	n = min(len(x), len(y))
	for i := range n {
		if x[i] != y[i] {
			return i, fmt.Sprintf("%s has a batch of offsets [%d, %d), %s one of [%d, %d), of the same bytes: %v", a.dir, x[i].base, x[i].next, b.dir, y[i].base, y[i].next, x[i].sum == y[i].sum)
		}
	}
	return n, ""
}

func (r replica) since(o record.Offset) []batch {
	i, _ := slices.BinarySearchFunc(r.batches, o, func(b batch, o record.Offset) int { return int(b.base - o) })
	return r.batches[i:]
}
