package main

import (
	"errors"
	"fmt"
	"path/filepath"

	"github.com/spf13/cobra"

	"github.com/stelemq/stele/protocol/record"
)

// logVerify is `broker log verify`.
type logVerify struct {
	streams
	output
	deep bool
}

// verifiedSegment is a segment in the answer.
type verifiedSegment struct {
	Path       string `json:"path"`
	Status     string `json:"status"`
	Batches    int64  `json:"batches"`
	Records    int64  `json:"records"`
	Bytes      int64  `json:"bytes"`
	NextOffset int64  `json:"next_offset"`
	Problem    string `json:"problem,omitempty"`
}

func newLogVerify(s streams) *cobra.Command {
	v := &logVerify{streams: s}
	cmd := &cobra.Command{
		Use: "verify PATH...", Short: "Check segment files for damage", Args: cobra.MinimumNArgs(1),
		Long: `Checks every batch of segment files: form, CRC, offsets; with --deep also that records decompress and parse. PATH is a
segment, a partition's directory or a data directory. Exit code 10 if something is damaged. A torn tail of a partition's
last segment is what a crash leaves and the next start cuts: it is reported, and is no finding.`,
		Example: "  broker log verify data\n  broker log verify data/logs-0 --deep -o json",
		RunE:    func(_ *cobra.Command, paths []string) error { return v.run(paths) },
	}
	v.addFlags(cmd.Flags())
	cmd.Flags().BoolVar(&v.deep, "deep", false, "also decompress and parse the records")
	return cmd
}

func (v *logVerify) run(paths []string) error {
	if err := v.check(); err != nil {
		return err
	}
	table := section{header: []string{"SEGMENT", "STATUS", "BATCHES", "RECORDS", "SIZE", "NEXT-OFFSET", "PROBLEM"}}
	a := answer{kind: "SegmentVerification"}
	items := []verifiedSegment{}
	found := 0
	for _, path := range paths {
		files, err := segments(path)
		if err != nil {
			return err
		}
		for i, file := range files {
			last := i+1 == len(files) || filepath.Dir(files[i+1]) != filepath.Dir(file)
			row, err := v.verify(file, last)
			if err != nil {
				return err
			}
			if row.Status == "DAMAGED" {
				found++
				a.names = append(a.names, file)
			}
			items = append(items, row)
			table.rows = append(table.rows, []string{
				file, row.Status, fmt.Sprint(row.Batches), fmt.Sprint(row.Records), humanBytes(row.Bytes), fmt.Sprint(row.NextOffset), row.Problem,
			})
		}
	}
	a.items, a.sections = items, []section{table}
	if err := v.write(v.out, a); err != nil {
		return err
	}
	if found > 0 {
		return &codeError{exitFinding, fmt.Errorf("damage in %s of %d", plural(found, "segment"), len(items))}
	}
	return nil
}

func (v *logVerify) verify(file string, last bool) (verifiedSegment, error) {
	sum, err := scanSegment(file, func(pos int64, b record.Batch) error {
		if !v.deep {
			return nil
		}
		for _, err := range b.Records(maxDecompressed) {
			if err != nil {
				return &damage{pos: pos, err: err}
			}
		}
		return nil
	})
	row := verifiedSegment{Path: file, Status: "OK", Batches: sum.batches, Records: sum.records, Bytes: sum.bytes, NextOffset: int64(sum.next)}
	var bad *damage
	switch {
	case err == nil:
	case errors.As(err, &bad):
		row.Status, row.Problem = "DAMAGED", bad.Error()
		if bad.torn && last {
			row.Status = "TORN-TAIL"
		}
	default:
		return row, err
	}
	return row, nil
}
