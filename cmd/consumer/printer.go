package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"sync/atomic"
	"time"

	"github.com/stelemq/stele/client"
	"github.com/stelemq/stele/internal/cli"
	"github.com/stelemq/stele/internal/recordfmt"
)

// source is where records come from: a consumer, or a member of a group.
type source interface {
	Poll(ctx context.Context) ([]client.Record, error)
	Ready() bool
	Progress() []client.Progress
	HighWatermark(topic string, partition int32) int64
}

// printer prints records until it has seen enough.
type printer struct {
	o        *options
	consumer source
	out      *bufio.Writer
	stderr   io.Writer
	terminal bool
	line     []byte
	printed  int64
	// next is the offset after the last record that was printed, or passed over, of each partition.
	next map[client.TopicPartition]int64

	records, bytes atomic.Int64 // read, for --stats
}

func newPrinter(o *options, k source, stdout, stderr io.Writer) *printer {
	p := &printer{o: o, consumer: k, out: bufio.NewWriterSize(stdout, 256<<10), stderr: stderr, terminal: cli.IsTerminal(stdout), next: map[client.TopicPartition]int64{}}
	if p.terminal && o.layout != nil {
		o.layout = o.layout.TerminalSafe()
	}
	return p
}

// run prints until the end, the number asked for, or an interruption.
func (p *printer) run(ctx context.Context) error {
	if p.o.stats {
		stop := p.startStats()
		defer stop()
	}
	for {
		records, err := p.poll(ctx)
		switch {
		case errors.Is(err, io.EOF):
			return p.flush()
		case err != nil && ctx.Err() != nil:
			if err := p.flush(); err != nil {
				return err
			}
			return cli.ErrInterrupted
		case err != nil:
			return errors.Join(p.flush(), err)
		}
		enough, err := p.print(records)
		if err != nil {
			return err
		}
		if enough {
			return p.flush()
		}
	}
}

// poll returns the next records; it writes out what is buffered before it
// waits for some.
func (p *printer) poll(ctx context.Context) ([]client.Record, error) {
	if p.terminal || !p.consumer.Ready() {
		if err := p.flush(); err != nil {
			return nil, err
		}
	}
	return p.consumer.Poll(ctx) //nolint:wrapcheck // says it all
}

// print prints records of one partition and tells whether there were enough.
func (p *printer) print(records []client.Record) (enough bool, err error) {
	if len(records) == 0 {
		return false, nil
	}
	around := recordfmt.Surroundings{HighWatermark: p.consumer.HighWatermark(records[0].Topic, records[0].Partition)}
	size := int64(0)
	for i := range records {
		r := &records[i]
		size += int64(len(r.Key) + len(r.Value))
		p.next[client.TopicPartition{Topic: r.Topic, Partition: r.Partition}] = r.Offset + 1
		if !matches(p.o.filters, r) {
			continue
		}
		p.printed++
		around.Number = p.printed
		p.line = p.append(p.line[:0], r, around)
		if _, err := p.out.Write(p.line); err != nil {
			return false, fmt.Errorf("write: %w", err)
		}
		if p.o.num > 0 && p.printed >= p.o.num {
			enough = true
			break
		}
	}
	p.records.Add(int64(len(records)))
	p.bytes.Add(size)
	return enough, nil
}

func (p *printer) append(dst []byte, r *client.Record, around recordfmt.Surroundings) []byte {
	f := (*recordfmt.Record)(r)
	switch {
	case p.o.layout != nil:
		return p.o.layout.Append(dst, f, around)
	case p.o.format == "json":
		return recordfmt.AppendJSON(dst, f)
	default:
		return recordfmt.AppendPretty(dst, f, p.terminal)
	}
}

func (p *printer) flush() error {
	if err := p.out.Flush(); err != nil {
		return fmt.Errorf("write: %w", err)
	}
	return nil
}

// startStats prints rates and lag each second until the function that it
// returns is called.
func (p *printer) startStats() (stop func()) {
	done, ended := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(ended)
		tick := time.NewTicker(time.Second)
		defer tick.Stop()
		var records, bytes int64
		for {
			select {
			case <-tick.C:
			case <-done:
				return
			}
			r, b := p.records.Load(), p.bytes.Load()
			var lag int64
			for _, progress := range p.consumer.Progress() {
				lag += progress.Lag()
			}
			_, _ = fmt.Fprintf(p.stderr, "%s/s  %s/s  lag %s  total %s\n",
				cli.Plural(r-records, "record"), cli.Bytes(b-bytes), cli.Count(lag), cli.Count(r))
			records, bytes = r, b
		}
	}()
	return func() {
		close(done)
		<-ended
	}
}
