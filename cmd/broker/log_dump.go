package main

import (
	"bufio"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"strconv"
	"time"

	"github.com/spf13/cobra"

	"github.com/stelemq/stele/commitlog"
	"github.com/stelemq/stele/internal/vfs"
	"github.com/stelemq/stele/protocol/record"
)

// maxDecompressed bounds what one batch may take in memory.
const maxDecompressed = 1 << 30

// logDump is `broker log dump`.
type logDump struct {
	streams
	records bool
	json    bool
	from    int64
	limit   int
}

// dumpedBatch is a line of --json.
type dumpedBatch struct {
	Position      int64          `json:"position"`
	Size          int            `json:"size"`
	BaseOffset    int64          `json:"base_offset"`
	LastOffset    int64          `json:"last_offset"`
	LeaderEpoch   int32          `json:"leader_epoch"`
	Count         int32          `json:"count"`
	Codec         string         `json:"codec"`
	Timestamp     int64          `json:"max_timestamp"`
	ProducerID    int64          `json:"producer_id"`
	ProducerEpoch int16          `json:"producer_epoch"`
	BaseSequence  int32          `json:"base_sequence"`
	Transactional bool           `json:"transactional,omitempty"`
	Control       bool           `json:"control,omitempty"`
	CRC           uint32         `json:"crc"`
	Records       []dumpedRecord `json:"records,omitempty"`
}

// dumpedRecord has keys and values as base64; null stays null.
type dumpedRecord struct {
	Offset    int64          `json:"offset"`
	Timestamp int64          `json:"timestamp"`
	Key       *string        `json:"key"`
	Value     *string        `json:"value"`
	Headers   []dumpedHeader `json:"headers,omitempty"`
}

type dumpedHeader struct {
	Key   string  `json:"key"`
	Value *string `json:"value"`
}

func newLogDump(s streams) *cobra.Command {
	d := &logDump{streams: s}
	cmd := &cobra.Command{
		Use: "dump SEGMENT.log", Short: "Print the batches of a segment file", Args: cobra.ExactArgs(1),
		Long: `Prints the batches of a segment file, checking each CRC, and stops at the first that is damaged (exit code 10). Works
while a broker runs; what it is writing at that moment may look torn.`,
		Example: `  broker log dump data/logs-0/00000000000000000000.log
  broker log dump data/logs-0/00000000000000000000.log --records -n 10 --from 1000
  broker log dump data/logs-0/00000000000000000000.log --json | jq .base_offset`,
		RunE: func(_ *cobra.Command, args []string) error { return d.run(args[0]) },
	}
	cmd.Flags().BoolVar(&d.records, "records", false, "also print the records")
	cmd.Flags().BoolVar(&d.json, "json", false, "one JSON object per batch and line; keys and values as base64")
	cmd.Flags().Int64Var(&d.from, "from", 0, "begin at the batch that holds this offset")
	cmd.Flags().IntVarP(&d.limit, "number", "n", 0, "stop after so many batches; 0: all")
	return cmd
}

func (d *logDump) run(path string) error {
	w := bufio.NewWriter(d.out)
	err := d.dump(w, path)
	if flushErr := w.Flush(); flushErr != nil {
		return fmt.Errorf("print: %w", flushErr)
	}
	var bad *commitlog.CorruptionError
	if errors.As(err, &bad) {
		return &codeError{exitFinding, err}
	}
	return err
}

func (d *logDump) dump(w io.Writer, path string) error {
	if !isSegment(filepath.Base(path)) {
		return fmt.Errorf("%s: not a segment: want a name like 00000000000000000000.log", path)
	}
	if !d.json {
		fmt.Fprintf(w, "%-12s %-12s %-9s %-10s %-8s %-7s %-8s %-12s %-10s %s\n",
			"BASE-OFFSET", "LAST-OFFSET", "EPOCH", "POSITION", "SIZE", "COUNT", "CODEC", "PRODUCER", "SEQUENCE", "MAX-TIMESTAMP")
	}
	write := d.writeText
	if d.json {
		write = d.writeJSON
	}
	printed := 0
	for b, err := range commitlog.Batches(vfs.OS{}, path) {
		if err == nil {
			err = b.Err
		}
		switch {
		case err != nil:
			return &commitlog.CorruptionError{Path: path, Pos: b.Pos, Err: cause(err)}
		case int64(b.Batch.LastOffset()) < d.from:
			continue
		case d.limit > 0 && printed == d.limit:
			return nil
		}
		printed++
		if err := write(w, b.Pos, b.Batch); err != nil {
			return &commitlog.CorruptionError{Path: path, Pos: b.Pos, Err: err}
		}
	}
	return nil
}

// cause is what is wrong, without the path that is named anyway.
func cause(err error) error {
	var bad *commitlog.CorruptionError
	if errors.As(err, &bad) {
		return bad.Err
	}
	return err
}

func (d *logDump) writeText(w io.Writer, pos int64, b record.Batch) error {
	producer, sequence := "-", "-"
	if b.HasProducerID() {
		producer = fmt.Sprintf("%d/%d", b.ProducerID(), b.ProducerEpoch())
		sequence = fmt.Sprintf("%d-%d", b.BaseSequence(), b.LastSequence())
	}
	marks := ""
	if b.Attributes().Transactional() {
		marks += " transactional"
	}
	if b.Attributes().Control() {
		marks += " control"
	}
	fmt.Fprintf(w, "%-12d %-12d %-9d %-10d %-8d %-7d %-8s %-12s %-10s %s%s\n",
		b.BaseOffset(), b.LastOffset(), b.LeaderEpoch(), pos, len(b), b.Count(), b.Attributes().Codec(), producer, sequence, timeText(b.MaxTimestamp()), marks)
	if !d.records {
		return nil
	}
	for r, err := range b.Records(maxDecompressed) {
		if err != nil {
			return err
		}
		fmt.Fprintf(w, "  %-12d %s key=%s value=%s", r.Offset, timeText(r.Timestamp), quoted(r.Key), quoted(r.Value))
		for _, h := range r.Headers {
			fmt.Fprintf(w, " %s=%s", strconv.Quote(h.Key), quoted(h.Value))
		}
		fmt.Fprintln(w)
	}
	return nil
}

func (d *logDump) writeJSON(w io.Writer, pos int64, b record.Batch) error {
	a := b.Attributes()
	line := dumpedBatch{
		Position: pos, Size: len(b), BaseOffset: int64(b.BaseOffset()), LastOffset: int64(b.LastOffset()), LeaderEpoch: int32(b.LeaderEpoch()),
		Count: b.Count(), Codec: a.Codec().String(), Timestamp: b.MaxTimestamp(), ProducerID: b.ProducerID(), ProducerEpoch: b.ProducerEpoch(),
		BaseSequence: b.BaseSequence(), Transactional: a.Transactional(), Control: a.Control(), CRC: b.CRC(),
	}
	if d.records {
		for r, err := range b.Records(maxDecompressed) {
			if err != nil {
				return err
			}
			line.Records = append(line.Records, dumpRecord(r))
		}
	}
	return json.NewEncoder(w).Encode(line)
}

func dumpRecord(r record.Record) dumpedRecord {
	d := dumpedRecord{Offset: int64(r.Offset), Timestamp: r.Timestamp, Key: encoded(r.Key), Value: encoded(r.Value)}
	for _, h := range r.Headers {
		d.Headers = append(d.Headers, dumpedHeader{h.Key, encoded(h.Value)})
	}
	return d
}

func encoded(p []byte) *string {
	if p == nil {
		return nil
	}
	text := base64.StdEncoding.EncodeToString(p)
	return &text
}

// quoted shows bytes so that no terminal obeys them.
func quoted(p []byte) string {
	if p == nil {
		return "null"
	}
	return strconv.QuoteToGraphic(string(p))
}

func timeText(millis int64) string {
	if millis < 0 {
		return "-"
	}
	return time.UnixMilli(millis).UTC().Format("2006-01-02T15:04:05.000Z")
}
