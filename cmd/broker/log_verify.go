package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"github.com/stelemq/stele/commitlog"
	"github.com/stelemq/stele/internal/vfs"
	"github.com/stelemq/stele/protocol/record"
)

// logVerify is `broker log verify`.
type logVerify struct {
	streams
	output
	deep bool

	segments []verifiedSegment
	problems []verifiedProblem
}

// verification is the answer.
type verification struct {
	Segments []verifiedSegment `json:"segments"`
	Problems []verifiedProblem `json:"problems"`
}

type verifiedSegment struct {
	Path       string `json:"path"`
	Batches    int    `json:"batches"`
	Records    int64  `json:"records"`
	Bytes      int64  `json:"bytes"`
	NextOffset int64  `json:"next_offset"`
}

type verifiedProblem struct {
	Path     string `json:"path"`
	Position int64  `json:"position"`
	Kind     string `json:"kind"`
	Problem  string `json:"problem"`
}

// Kinds of problems.
const (
	kindDamage = "DAMAGE" // a finding
	kindTorn   = "TORN"   // what a crash leaves: cut by the next start
	kindStale  = "STALE"  // a file that is made anew by the next start
)

func newLogVerify(s streams) *cobra.Command {
	v := &logVerify{streams: s}
	cmd := &cobra.Command{
		Use: "verify DIR...", Short: "Check the files of partitions for damage", Args: cobra.MinimumNArgs(1),
		Long: `Reads everything in partitions' directories and holds it against each other: form, checksum and offsets of every batch,
indexes, leader epochs, producer snapshots. DIR is a partition's directory or a data directory. Exit code 10 if records
are damaged (DAMAGE). What a crash leaves at the end (TORN) is cut and what is derived from records (STALE) is made anew
by the next start: both are reported and are no finding. Stop the broker first: what it is writing may look torn.`,
		Example: "  broker log verify data\n  broker log verify data/logs-0 --deep -o json",
		RunE:    func(_ *cobra.Command, dirs []string) error { return v.run(dirs) },
	}
	v.addFlags(cmd.Flags())
	cmd.Flags().BoolVar(&v.deep, "deep", false, "also decompress and parse the records")
	return cmd
}

func (v *logVerify) run(dirs []string) error {
	if err := v.check(); err != nil {
		return err
	}
	for _, dir := range dirs {
		partitions, err := partitionDirs(dir)
		if err != nil {
			return err
		}
		for _, p := range partitions {
			if err := v.partition(p); err != nil {
				return err
			}
		}
	}
	if err := v.write(v.out, v.answer()); err != nil {
		return err
	}
	damaged := 0
	for _, p := range v.problems {
		if p.Kind == kindDamage {
			damaged++
		}
	}
	if damaged > 0 {
		return &codeError{exitFinding, fmt.Errorf("damage in %s", plural(damaged, "place"))}
	}
	return nil
}

// partitionDirs are dir itself or those below it that hold segment files.
func partitionDirs(dir string) ([]string, error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, err //nolint:wrapcheck // says operation and path
	}
	var below []string
	for _, e := range entries {
		switch {
		case isSegment(e.Name()):
			return []string{dir}, nil
		case e.IsDir():
			files, err := os.ReadDir(filepath.Join(dir, e.Name()))
			if err != nil {
				return nil, err //nolint:wrapcheck // as above
			}
			for _, f := range files {
				if isSegment(f.Name()) {
					below = append(below, filepath.Join(dir, e.Name()))
					break
				}
			}
		}
	}
	if len(below) == 0 {
		return nil, fmt.Errorf("%s: no segment files in it or one folder below", dir)
	}
	return below, nil
}

// isSegment reports whether a file is named as segments are: twenty digits and .log.
func isSegment(name string) bool {
	const digits = 20
	base, ok := strings.CutSuffix(name, ".log")
	return ok && len(base) == digits && strings.Trim(base, "0123456789") == ""
}

func (v *logVerify) partition(dir string) error {
	report, err := commitlog.VerifyDir(vfs.OS{}, dir)
	if err != nil {
		return err //nolint:wrapcheck // says all
	}
	lastPath := ""
	for _, s := range report.Segments {
		lastPath = filepath.Join(dir, fmt.Sprintf("%020d.log", s.Base))
		v.segments = append(v.segments, verifiedSegment{lastPath, s.Batches, s.Records, s.Bytes, int64(s.Next)})
		if v.deep {
			if err := v.records(lastPath); err != nil {
				return err
			}
		}
	}
	for _, p := range report.Problems {
		kind := kindDamage
		switch {
		case p.Derived:
			kind = kindStale
		case errors.Is(p.Err, commitlog.ErrTorn) && p.Path == lastPath:
			kind = kindTorn
		}
		v.problems = append(v.problems, verifiedProblem{p.Path, p.Pos, kind, p.Err.Error()})
	}
	return nil
}

// records decompresses and parses what has a right checksum.
func (v *logVerify) records(path string) error {
	for b, err := range commitlog.Batches(vfs.OS{}, path) {
		switch {
		case errors.Is(err, commitlog.ErrCorrupt):
			return nil // reported by VerifyDir
		case err != nil:
			return err //nolint:wrapcheck // says all
		case b.Err == nil:
			if err := parseRecords(b.Batch); err != nil {
				v.problems = append(v.problems, verifiedProblem{path, b.Pos, kindDamage, err.Error()})
			}
		}
	}
	return nil
}

func parseRecords(b record.Batch) error {
	for _, err := range b.Records(maxDecompressed) {
		if err != nil {
			return err //nolint:wrapcheck // says all
		}
	}
	return nil
}

func (v *logVerify) answer() answer {
	a := answer{kind: "LogVerification", items: []verification{{v.segments, append([]verifiedProblem{}, v.problems...)}}}
	segments := section{header: []string{"SEGMENT", "BATCHES", "RECORDS", "SIZE", "NEXT-OFFSET"}}
	for _, s := range v.segments {
		segments.rows = append(segments.rows, []string{s.Path, fmt.Sprint(s.Batches), fmt.Sprint(s.Records), humanBytes(s.Bytes), fmt.Sprint(s.NextOffset)})
	}
	a.sections = []section{segments}
	if len(v.problems) == 0 {
		return a
	}
	problems := section{header: []string{"FILE", "POSITION", "KIND", "PROBLEM"}}
	for _, p := range v.problems {
		a.names = append(a.names, p.Path)
		problems.rows = append(problems.rows, []string{p.Path, fmt.Sprint(p.Position), p.Kind, p.Problem})
	}
	a.sections = append(a.sections, problems)
	return a
}
